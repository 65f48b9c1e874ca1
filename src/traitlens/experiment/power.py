"""Statistical power of an experiment, and simulated answers to rehearse its analysis."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from traitlens.columns import GROUP, IMAGE, RATER, RATING, REGION, TRAIT
from traitlens.experiment.counterbalancing import LIST
from traitlens.experiment.effects import BASE, EFFECT, STEP, estimate_effects
from traitlens.experiment.experiment_folder import ExperimentDesign
from traitlens.experiment.trials import join_trials
from traitlens.storage import write_table
from traitlens.study.cleaning import CHECKS
from traitlens.study.reading import Study

NUMBERS = (20, 40, 80)
"""Numbers of raters per group for which power is computed."""

EXPERIMENTS, PERMUTATIONS = 20, 99
"""Number of simulated experiments, and of permutations in each."""


def residual_noise(ratings: pd.DataFrame) -> float:
    """Estimate the residual standard deviation of single ratings, without the means of raters and images.

    Parameters
    ----------
    ratings : DataFrame
        A row per rating: rater, group, image, trait, rating.

    Returns
    -------
    float
        Standard deviation in rating points, pooled over groups and traits.
    """
    squares, freedom = 0.0, 0
    for _, rows in ratings.groupby([GROUP, TRAIT], observed=True):
        wide = rows.pivot_table(RATING, RATER, IMAGE, observed=True).to_numpy(float)
        left = wide - np.nanmean(wide, axis=1, keepdims=True)
        left -= np.nanmean(left, axis=0, keepdims=True)
        squares += float(np.nansum(left**2))
        freedom += int(np.isfinite(wide).sum()) - sum(wide.shape) + 1
    return float(np.sqrt(squares / max(freedom, 1)))


def simulate_answers(
    design: ExperimentDesign,
    effects: pd.DataFrame,
    raters: int,
    noise: float,
    scale: tuple[float, float],
    taste: float = 0.3,
    seed: int = 0,
) -> pd.DataFrame:
    """Simulate the ratings of an experiment with given effects.

    Parameters
    ----------
    design : ExperimentDesign
        The experiment.
    effects : DataFrame
        True effects: trait, region, group, effect (rating points per standard deviation of the cue).
    raters : int
        Number of raters in each group.
    noise : float
        Standard deviation of the error of a rating, in rating points.
    scale : (float, float)
        Lowest and highest rating; ratings are rounded to whole numbers.
    taste : float, default 0.3
        Standard deviation of effects between raters, relative to the mean absolute effect.
    seed : int, default 0
        Seed of the random number generator.

    Returns
    -------
    DataFrame
        A row per rating: rater, group, image, trait, rating.
    """
    rng = np.random.default_rng([seed, 21])
    pictures = design.lists.merge(design.pictures[[IMAGE, TRAIT, BASE, REGION, STEP]], on=[IMAGE, TRAIT])
    levels = dict(zip(pictures[BASE].unique(), rng.normal(0, noise, pictures[BASE].nunique()), strict=True))
    size = float(effects[EFFECT].abs().mean())
    lists = [rows for _, rows in pictures.groupby(LIST, sort=True)]
    blocks = []
    for group, own in effects.groupby(GROUP, sort=False):
        mean = own.set_index([TRAIT, REGION])[EFFECT]
        for rater in range(raters):
            rows = lists[rater % len(lists)]
            wanted = mean + rng.normal(0, taste * size, len(mean))
            level = np.mean(scale) + rng.normal(0, noise / 2)
            moved = (
                rows[STEP].to_numpy()
                * wanted.reindex(pd.MultiIndex.from_frame(rows[[TRAIT, REGION]])).to_numpy()
            )
            values = level + rows[BASE].map(levels).to_numpy() + moved + rng.normal(0, noise, len(rows))
            name = f"{group}-{rater + 1:03d}"
            answered = rows[[IMAGE, TRAIT]].assign(
                **{RATER: name, GROUP: group, RATING: np.clip(np.rint(values), *scale)}
            )
            blocks.append(answered)
    return pd.concat(blocks, ignore_index=True)[[RATER, GROUP, IMAGE, TRAIT, RATING]]


def write_simulated_answers(folder: Path, study: Study, raters: int, seed: int = 0) -> Path:
    """Write simulated ratings of an experiment whose predictions are true, to rehearse the analysis.

    Parameters
    ----------
    folder : Path
        Folder of the experiment.
    study : Study
        The study of the base faces, whose ratings determine the noise.
    raters : int
        Number of raters in each group.
    seed : int, default 0
        Seed of the random number generator.

    Returns
    -------
    Path
        The file `simulated_ratings.csv` in the folder.
    """
    design = ExperimentDesign.read(folder)
    noise = residual_noise(study.ratings) if study.has_raters else 1.0
    answers = simulate_answers(design, design.predicted_effects(), raters, noise, study.scale, seed=seed)
    path = Path(folder) / "simulated_ratings.csv"
    write_table(path, answers.assign(**{CHECKS: 1.0}))
    return path


def estimate_power(
    design: ExperimentDesign,
    noise: float,
    scale: tuple[float, float],
    numbers: Sequence[int] = NUMBERS,
    experiments: int = EXPERIMENTS,
    seed: int = 0,
) -> pd.DataFrame:
    """Estimate by simulation the power to find the predicted effects and differences between groups.

    Parameters
    ----------
    design : ExperimentDesign
        The experiment, whose predictions are assumed to be true.
    noise : float
        Standard deviation of the error of a rating, from :func:`residual_noise`.
    scale : (float, float)
        Lowest and highest rating.
    numbers : sequence of int, default (20, 40, 80)
        Numbers of raters in each group.
    experiments : int, default 20
        Number of simulated experiments for each number of raters.
    seed : int, default 0
        Seed of the random number generator.

    Returns
    -------
    DataFrame
        A row per number of raters: raters, effects (share of the groups' effects with p < .05),
        group_x_region (share of experiments with a significant difference between groups in any region and
        trait; missing with one group).
    """
    effects = design.predicted_effects()
    groups = list(dict.fromkeys(effects[GROUP]))
    rows = []
    for number in numbers:
        found, differ = [], []
        for one in range(experiments):
            answers = simulate_answers(design, effects, number, noise, scale, seed=seed + one)
            estimated = estimate_effects(
                join_trials(answers, design.pictures), groups, PERMUTATIONS, seed + one
            )
            found.append(float((estimated.effects["p"] < 0.05).mean()))
            if len(groups) > 1:
                differ.append(bool((estimated.differences["p"] < 0.05).any()))
        rows.append((number, np.mean(found), np.mean(differ) if differ else np.nan))
    return pd.DataFrame(rows, columns=["raters", "effects", "group_x_region"])
