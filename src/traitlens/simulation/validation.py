"""Simulated studies end to end: drawn faces seen by the network, raters drawn anew for each study."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from traitlens import keeping
from traitlens.artifacts import FEATURES
from traitlens.comparison.known_faces import KnownFaces
from traitlens.comparison.operator import RegionOperator
from traitlens.comparison.validation import power, validate
from traitlens.computing.engines import Threads
from traitlens.computing.machine import Machine
from traitlens.digests import digest
from traitlens.pipeline.flow import FLOW
from traitlens.pipeline.stages.refits import read_operator
from traitlens.pipeline.work import Work
from traitlens.report.validation_charts import draw_power, draw_validation
from traitlens.study.drawing.parameters import PARTS
from traitlens.study.raters import GROUPS, TRAITS, RatingBehaviour, find_differences, rate, weigh_parts
from traitlens.study.reading import Study
from traitlens.study.simulation import REGIONS_OF, simulate_study
from traitlens.verbs import Run
from traitlens.watching import Silent, Watcher
from traitlens.words import GROUP, IDENTITY, IMAGE, RATER, REGION, TRAIT

EFFECT = 0.6
"""The difference that `traitlens simulate` plants by default."""

TRAIT_COUNT = 3


def run_validation(
    folder: str | Path,
    raters: int = 20,
    effect: float = EFFECT,
    null_studies: int = 200,
    studies: int = 100,
    permutations: int = 499,
    seed: int = 1,
    machine: Machine | None = None,
    watcher: Watcher | None = None,
    *,
    identities: int = 80,
    size: int = 128,
) -> pd.DataFrame:
    """Count how often the tests err, and how often and where they find what was planted.

    Faces are drawn, seen by the network and taken back to their regions once; every study has new raters.

    Parameters
    ----------
    folder : str or Path
        Where the drawn faces and the results are kept; the same command goes on where it was.
    raters : int, default 20
        Raters in each group.
    effect : float, default 0.6
        How far the groups part in the studies with a difference; see `traitlens simulate`.
    null_studies, studies : int, default 200 and 100
        Studies without and with a difference.
    permutations : int, default 499
        Exchanges of raters in each study.
    seed : int, default 1
        Seed of faces and raters.
    machine : Machine or None
        Device, precision, weights.
    watcher : Watcher or None
        Who is told of the progress.
    identities : int, default 80
        Number of faces.
    size : int, default 128
        Side of what the network sees, in pixels; a multiple of 32.

    Returns
    -------
    DataFrame
        A row per difference and test, see `traitlens.comparison.validation.Validation`; also written to
        `validation.csv`, with `validation_places.csv` (where differences were found) and a figure.
    """
    folder = Path(folder)
    run = _faces_run(folder, identities, size, seed, machine, watcher)
    faces = known_faces(run, seed)
    features = run.context.digest(FEATURES)
    made = []
    for difference, number in ((0.0, null_studies), (effect, studies)):
        if not number:
            continue
        key = digest(features, raters, difference, number, permutations, seed)[:12]
        files = [folder / "simulated" / f"{kind}_{difference:g}_{key}.csv" for kind in ("rates", "places")]
        made.append(files)
        if all(file.exists() for file in files):
            continue
        with run.context.watcher.stage(f"Studies, difference {difference:g}", number) as advance:
            found = validate(
                faces,
                difference,
                (raters, raters),
                studies=number,
                permutations=permutations,
                seed=seed,
                progress=advance,
            )
        for file, table in zip(files, (found.rates, found.places), strict=True):
            keeping.write_table(file, table)
    rates, places = (pd.concat([keeping.read_table(files[part]) for files in made]) for part in (0, 1))
    keeping.write_table(folder / "validation.csv", rates)
    keeping.write_table(folder / "validation_places.csv", places)
    draw_validation(rates, places, folder / "validation")
    return rates


def run_power(
    folder: str | Path,
    raters: Sequence[int],
    differences: Sequence[float],
    faces: KnownFaces,
    studies: int = 100,
    seed: int = 1,
    watcher: Watcher | None = None,
) -> pd.DataFrame:
    """Tell how many raters a difference needs.

    Parameters
    ----------
    folder : str or Path
        Where `power.csv` and its figure are written.
    raters : sequence of int
        Numbers of raters per group.
    differences : sequence of float
        Differences.
    faces : KnownFaces
        The faces and their raters.
    studies : int, default 100
        Simulated studies for each number and difference.
    seed : int, default 1
        Seed.
    watcher : Watcher or None
        Who is told of the progress.

    Returns
    -------
    DataFrame
        See `traitlens.comparison.validation.power`.
    """
    total = len(raters) * len(differences) * studies
    with (watcher or Silent()).stage("Simulating studies", total) as advance:
        table = power(faces, differences, raters, studies=studies, seed=seed, progress=advance)
    keeping.write_table(Path(folder) / "power.csv", table)
    draw_power(table, Path(folder) / "power")
    return table


def _faces_run(
    folder: Path, identities: int, size: int, seed: int, machine: Machine | None, watcher: Watcher | None
) -> Run:
    """Draw the faces where they are not there yet."""
    faces = folder / "faces"
    if not (faces / "study.toml").exists():
        with (watcher or Silent()).stage("Drawing faces", identities) as advance:
            simulate_study(faces, identities, 1, TRAIT_COUNT, 2, seed=seed, seen_size=size, progress=advance)
    return Run(Study.load(faces), folder / "kept", machine, watcher)


def read_regions(run: Run) -> RegionOperator:
    """Compute what refitting readouts by region takes.

    Parameters
    ----------
    run : Run
        Of a study whose faces all have landmarks.

    Returns
    -------
    RegionOperator
        Kernels and folds.
    """
    run.make("region_kernels")
    stage = next(stage for stage in FLOW if stage.name == "rater_regions")
    return read_operator(Work(run.context, stage, lambda: Threads(1), lambda _: None))[0]


def known_faces(run: Run, seed: int) -> KnownFaces:
    """See drawn faces with the network, and let simulated raters judge them.

    Parameters
    ----------
    run : Run
        Of a simulated study.
    seed : int
        Seed of the raters, beside the seed of each study.

    Returns
    -------
    KnownFaces
        The faces.
    """
    scores = pd.read_csv(run.study.folder / "truth" / "parts.csv").set_index(IMAGE)
    traits = [trait for trait in TRAITS if trait in run.study.traits]
    operator = read_regions(run)
    scores = scores.loc[list(operator.images)]
    identities = run.context.value("folds").set_index(IMAGE)[IDENTITY][list(operator.images)].to_numpy()

    def draw(raters: tuple[int, int], difference: float, study: int) -> pd.DataFrame:
        weights = weigh_parts(traits, list(PARTS), difference)
        ratings = rate(scores, weights, max(raters), RatingBehaviour(), seed + 7919 * (study + 1))
        allowed = ratings[GROUP].map(dict(zip(GROUPS, raters, strict=True)))
        kept: pd.DataFrame = ratings[ratings[RATER].str[1:].astype(int) <= allowed]
        return kept

    def planted(difference: float) -> set[tuple[str, str]]:
        table = find_differences(weigh_parts(traits, list(PARTS), difference), REGIONS_OF)
        there = table[table["difference"].abs() > 1e-9]
        return set(zip(there[TRAIT], there[REGION], strict=True))

    return KnownFaces(operator, np.asarray(identities), draw, planted)
