"""Analysis of an experiment's ratings: check of the frozen plan, effects, and agreement with predictions."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from traitlens.artifacts import EXPERIMENT, EXPERIMENT_AGREEMENT, EXPERIMENT_DIFFERENCES, EXPERIMENT_EFFECTS
from traitlens.collecting.preregistration import CHANGED, changed_files, compare_with_plan, read_plan
from traitlens.columns import GROUP, IMAGE, RATER, TRAIT
from traitlens.experiment.agreement import join_predictions, measure_agreement
from traitlens.experiment.effects import estimate_effects
from traitlens.experiment.experiment_folder import ExperimentDesign
from traitlens.experiment.trials import join_trials
from traitlens.problems import Problem, StudyError, TraitlensError
from traitlens.storage import write_json, write_table
from traitlens.study.reading import Study

TIME = "time"
"""Column of collected ratings with the date and time of each answer in UTC."""


@dataclass(frozen=True)
class ExperimentResults:
    """Results of an experiment.

    Parameters
    ----------
    effects : DataFrame
        Observed and predicted effects, from :func:`~traitlens.experiment.agreement.join_predictions`.
    differences : DataFrame
        Differences between the first two groups; empty with one group.
    agreement : DataFrame
        Table of :func:`~traitlens.experiment.agreement.measure_agreement`.
    facts : dict
        Numbers of raters, faces, pictures and ratings, digest and time of the plan, and notices.
    """

    effects: pd.DataFrame
    differences: pd.DataFrame
    agreement: pd.DataFrame
    facts: dict[str, Any]

    def write(self, results: Path) -> None:
        """Write all tables to the study's results folder, where the report reads them."""
        write_table(EXPERIMENT_EFFECTS.of(results), self.effects)
        write_table(EXPERIMENT_DIFFERENCES.of(results), self.differences)
        write_table(EXPERIMENT_AGREEMENT.of(results), self.agreement)
        write_json(EXPERIMENT.of(results), self.facts)


def analyse_experiment(
    folder: Path, ratings: Path | None = None, exploratory: bool = False, permutations: int = 999
) -> ExperimentResults:
    """Estimate the effects in an experiment, and compare them with the predictions.

    Parameters
    ----------
    folder : Path
        Folder of the experiment.
    ratings : Path, optional
        The table of ratings; `ratings.csv` in the folder by default.
    exploratory : bool, default False
        Whether to allow a missing plan, and answers given before the plan was frozen.
    permutations : int, default 999
        Number of permutations of raters between groups.

    Raises
    ------
    TraitlensError
        If there is no plan, the plan or a table was changed, answers were given before the plan was frozen,
        or the ratings have faults; all problems are listed.
    """
    design = ExperimentDesign.read(folder)
    plan, problems = _check_plan(Path(folder), exploratory)
    study, faults = _read_ratings(Path(folder), ratings)
    early = _find_early(study.ratings, plan) if study is not None and plan is not None else 0
    if early and not exploratory:
        advice = "add --exploratory to analyse them as exploratory, or remove them"
        what = f"{early} answers were given before the plan was frozen ({plan['frozen']})" if plan else ""
        problems.append(Problem(what, advice, "ratings.csv" if ratings is None else str(ratings)))
    if problems or faults or study is None:
        raise TraitlensError([*problems, *faults])
    if RATER not in study.ratings:
        raise TraitlensError(
            Problem("raters are missing", "write a row per rating, with its rater", "ratings.csv")
        )
    trials = join_trials(study.ratings, design.pictures)
    if trials.empty:
        what = "no picture was rated on the trait for which it was altered"
        raise TraitlensError(Problem(what, "rate the pictures on the traits of pictures.csv", "ratings.csv"))
    groups = [name for name in study.groups if name in set(trials[GROUP])]
    found = estimate_effects(trials, groups, permutations, study.settings.seed)
    joined = join_predictions(found.effects, design.predicted_effects())
    facts = {
        "groups": groups,
        "traits": list(dict.fromkeys(trials[TRAIT].astype(str))),
        "raters": trials.groupby(GROUP, observed=True)[RATER].nunique().to_dict(),
        "faces": int(trials["base"].nunique()),
        "pictures": int(trials[IMAGE].nunique()),
        "ratings": len(trials),
        "permutations": permutations,
        "plan": None if plan is None else {"frozen": plan["frozen"], "digest": plan["digest"]},
        "early": early,
        "times_known": TIME in study.ratings,
        "deviations": [] if plan is None else _list_deviations(plan, study),
        "notices": [str(notice) for notice in study.notices],
    }
    return ExperimentResults(joined, found.differences, measure_agreement(joined), facts)


def _check_plan(folder: Path, exploratory: bool) -> tuple[dict[str, Any] | None, list[Problem]]:
    """Read the frozen plan, and return it with the problems of tables that have changed since."""
    plan = read_plan(folder)
    if plan is None:
        if exploratory:
            return None, []
        advice = f"freeze it before data are collected: traitlens plan {folder}; or add --exploratory"
        return None, [Problem("no plan was frozen for this experiment", advice, str(folder))]
    what = "was changed after the plan was frozen"
    changed = changed_files(plan, folder)
    return plan, [Problem(what, "restore the file that was frozen", str(folder / name)) for name in changed]


def _list_deviations(plan: dict[str, Any], study: Study) -> list[str]:
    """Describe each setting that was changed after the plan was frozen."""
    table = compare_with_plan(plan, study.settings, plan["content"]["tests"])
    changed = table[table["mark"] == CHANGED]
    return [f"{row.what}: {row.planned} → {row.now}" for row in changed.itertuples()]


def _read_ratings(folder: Path, ratings: Path | None) -> tuple[Study | None, list[Problem]]:
    """Read and check the ratings as those of a study; return the study, or None and its problems."""
    try:
        return Study.load(folder, ratings), []
    except StudyError as error:
        return None, list(error.problems)


def _find_early(ratings: pd.DataFrame, plan: dict[str, Any]) -> int:
    """Return the number of answers that were given before the plan was frozen."""
    if TIME not in ratings:
        return 0
    times = pd.to_datetime(ratings[TIME], utc=True, errors="coerce", format="ISO8601")
    return int((times < pd.Timestamp(plan["frozen"])).sum())
