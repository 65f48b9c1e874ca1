"""Simulated experiments, in which raters with known weights rate drawn faces with exchanged parts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

from traitlens.columns import GROUP, IMAGE, RATER, RATING, REGION, TRAIT
from traitlens.experiment.counterbalancing import LIST
from traitlens.experiment.effects import BASE, EFFECT, STEP
from traitlens.study.drawing.parameters import PARTS, FaceParameters, draw_parameters, score_parts
from traitlens.study.simulated_raters import GROUPS, RatingBehaviour, make_part_weights, simulate_rater

DONORS = 60
"""Number of drawn faces among which the donor of a part is chosen."""

FIRST_BASE, FIRST_DONOR = 1000, 2000
"""Numbers of the first base face and the first donor; faces of simulated studies have lower numbers."""

TARGETS = (-1.0, 1.0)
"""Default scores of donated parts, in standard deviations."""


@dataclass(frozen=True)
class DrawnExperiment:
    """Drawn faces in which one part comes from another drawn face.

    Parameters
    ----------
    faces : dict of str to FaceParameters
        Parameters of the drawn faces, keyed by the name of the picture.
    pictures : DataFrame
        A row per picture: image, base, region, step (score of the donated part minus that of the original
        part, in standard deviations).
    """

    faces: dict[str, FaceParameters]
    pictures: pd.DataFrame

    @property
    def scores(self) -> pd.DataFrame:
        """Scores of the parts of each picture, with a row per picture and a column per part."""
        rows = {name: score_parts(face) for name, face in self.faces.items()}
        return pd.DataFrame.from_dict(rows, orient="index", columns=list(PARTS))

    def repeat_for_traits(self, traits: Sequence[str]) -> pd.DataFrame:
        """Return the table of pictures repeated for each trait, with the additional column trait."""
        return pd.concat([self.pictures.assign(**{TRAIT: trait}) for trait in traits], ignore_index=True)


def draw_experiment(
    bases: int = 12, regions: Sequence[str] = tuple(PARTS), seed: int = 1, targets: Sequence[float] = TARGETS
) -> DrawnExperiment:
    """Draw base faces, and versions of each in which one part comes from another face.

    Parameters
    ----------
    bases : int, default 12
        Number of base faces.
    regions : sequence of str
        Parts to exchange; all six parts by default.
    seed : int, default 1
        Seed of the population of faces, as in a simulated study.
    targets : sequence of float, default (-1, 1)
        Wanted scores of the donated parts; the donor with the nearest score is chosen.

    Returns
    -------
    DrawnExperiment
        A picture for each base face, part and target.

    Examples
    --------
    >>> draw_experiment(bases=2, regions=["mouth"]).pictures["image"].tolist()[:2]
    ['face01__mouth__low.png', 'face01__mouth__high.png']
    """
    donors = [draw_parameters(seed, FIRST_DONOR + number, 0) for number in range(DONORS)]
    donated = pd.DataFrame([score_parts(donor) for donor in donors])
    faces, rows = {}, []
    for number in range(bases):
        base = draw_parameters(seed, FIRST_BASE + number, 0)
        own = score_parts(base)
        for region in regions:
            for target, name in zip(targets, _version_names(targets), strict=True):
                donor = int((donated[region] - target).abs().idxmin())
                image = f"face{number + 1:02d}__{region}__{name}.png"
                faces[image] = exchange_part(base, donors[donor], region)
                rows.append((image, f"face{number + 1:02d}", region, donated[region][donor] - own[region]))
    return DrawnExperiment(faces, pd.DataFrame(rows, columns=[IMAGE, BASE, REGION, STEP]))


def _version_names(targets: Sequence[float]) -> list[str]:
    """Return a name for each version of a region."""
    if len(targets) == 2:
        return ["low", "high"]
    return [f"version{number + 1}" for number in range(len(targets))]


def exchange_part(base: FaceParameters, donor: FaceParameters, part: str) -> FaceParameters:
    """Return a drawn face in which one part comes from a donor.

    Parameters
    ----------
    base, donor : FaceParameters
        The face, and the face from which the part is taken.
    part : str
        A part in :data:`~traitlens.study.drawing.parameters.PARTS`.
    """
    return replace(base, features={**base.features, **{name: donor.features[name] for name in PARTS[part]}})


def planted_effects(
    traits: Sequence[str], regions: Sequence[str], difference: float, behaviour: RatingBehaviour
) -> pd.DataFrame:
    """Return the true effects in a simulated experiment.

    Parameters
    ----------
    traits, regions : sequence of str
        Names of simulated traits and of parts of drawn faces.
    difference : float
        Size of the difference between groups, in units of the weights of parts.
    behaviour : RatingBehaviour
        Variation of raters around the weights of their group.

    Returns
    -------
    DataFrame
        trait, region, group, effect (expected rating points per standard deviation of the part's score,
        without the limits of the scale).
    """
    table = make_part_weights(traits, list(PARTS), difference).rename(columns={"part": REGION})
    # The mean of a log-normal distribution, by which the raters' ranges vary.
    stretch = behaviour.spread * np.exp(behaviour.scale_use**2 / 2)
    table[EFFECT] = stretch * table.pop("weight")
    return table[table[REGION].isin(regions)][[TRAIT, REGION, GROUP, EFFECT]].reset_index(drop=True)


def simulate_ratings(
    experiment: DrawnExperiment,
    lists: pd.DataFrame,
    difference: float,
    raters: int = 40,
    behaviour: RatingBehaviour | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Simulate the ratings of an experiment with drawn faces.

    Parameters
    ----------
    experiment : DrawnExperiment
        The pictures.
    lists : DataFrame
        Lists of pictures (list, image, trait), which the raters of a group take in turn.
    difference : float
        Size of the difference between groups, in units of the weights of parts; 0 for no difference.
    raters : int, default 40
        Number of raters in each group.
    behaviour : RatingBehaviour, optional
        Variation of raters around the weights of their group.
    seed : int, default 0
        Seed of the random number generator.

    Returns
    -------
    DataFrame
        A row per rating: rater, group, image, trait, rating.
    """
    behaviour = behaviour or RatingBehaviour()
    traits = list(lists[TRAIT].unique())
    scores = experiment.scores
    seen = np.broadcast_to(scores.to_numpy(float), (len(traits), *scores.shape))
    weights = make_part_weights(traits, list(PARTS), difference)
    image_of, trait_of = scores.index.get_indexer(lists[IMAGE]), pd.Index(traits).get_indexer(lists[TRAIT])
    own_rows = [np.flatnonzero(lists[LIST] == number) for number in range(int(lists[LIST].max()) + 1)]
    blocks = []
    for number, group in enumerate(GROUPS):
        table = weights[weights[GROUP] == group].pivot_table("weight", TRAIT, "part")
        table = table.loc[traits, list(PARTS)]
        for rater in range(raters):
            rng = np.random.default_rng([seed, 7, number, rater])
            values = simulate_rater(seen, table.to_numpy(), behaviour, rng)
            rows = own_rows[rater % len(own_rows)]
            blocks.append(
                pd.DataFrame(
                    {
                        RATER: f"{group[0].upper()}{rater + 1:03d}",
                        GROUP: group,
                        IMAGE: lists[IMAGE].to_numpy()[rows],
                        TRAIT: lists[TRAIT].to_numpy()[rows],
                        RATING: values[trait_of[rows], image_of[rows]],
                    }
                )
            )
    return pd.concat(blocks, ignore_index=True)


def expected_power(
    difference: float,
    raters: int,
    faces: int,
    squares: float,
    noise: float,
    taste: float,
    tests: int = 1,
    faces_spread: float = 0.0,
) -> float:
    r"""Compute the power to find a difference between two groups in the effect of one region, in closed form.

    The variance of the difference is :math:`2 (\tau^2 + \sigma^2 / S) / n + 2 \omega^2 / m`, where
    :math:`\tau` is the standard deviation of effects between raters, :math:`\sigma` that of the error of a
    rating, S the sum of a rater's squared steps, :math:`\omega` the standard deviation of effects between
    faces, n the number of raters in each group and m the number of base faces (after Westfall, Kenny and Judd
    2014, doi:10.1037/xge0000014).

    Parameters
    ----------
    difference : float
        Difference between the groups' effects, in rating points per standard deviation of the cue.
    raters, faces : int
        Number of raters in each group, and number of base faces.
    squares : float
        Sum of a rater's squared steps of the region.
    noise, taste, faces_spread : float
        Standard deviations of the error of a rating, of effects between raters, and of effects between faces,
        in rating points.
    tests : int, default 1
        Number of tests in a Bonferroni correction of the level of 5 %.

    Returns
    -------
    float
        Power of the two-sided t test.

    Examples
    --------
    >>> round(expected_power(0.5, raters=40, faces=12, squares=24, noise=1, taste=0.3), 2)
    1.0
    """
    variance = 2 * (taste**2 + noise**2 / squares) / raters + 2 * faces_spread**2 / faces
    freedom = 2 * raters - 2
    limit = stats.t.ppf(1 - 0.025 / tests, freedom)
    shift = abs(difference) / np.sqrt(variance)
    return float(stats.nct.sf(limit, freedom, shift) + stats.nct.cdf(-limit, freedom, shift))
