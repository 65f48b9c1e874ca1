"""Validation of the test of use by simulated studies, with the same faces and new raters in each study."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from traitlens import comparison, readouts, storage
from traitlens.api import Run
from traitlens.artifacts import REGIONAL_KERNELS, TARGETS
from traitlens.columns import FOLD, IDENTITY, IMAGE, RATING, TRAIT
from traitlens.comparison.calibration import (
    NULL_CONDITIONS,
    PLANTED_CONDITIONS,
    calibrate,
    estimate_power,
    pool_rates,
)
from traitlens.comparison.face_sets import drawn_faces, faces_of_cues
from traitlens.comparison.planted_faces import Condition, PlantedFaces
from traitlens.computing.machine import Machine
from traitlens.computing.processes import process_pool
from traitlens.digests import digest
from traitlens.progress import SilentWatcher, Watcher
from traitlens.ratings.targets import pool_groups
from traitlens.report.validation_charts import draw_power, draw_validation
from traitlens.study.reading import Study
from traitlens.study.simulated_raters import TRAITS, RatingBehaviour
from traitlens.study.simulated_study import simulate_study

SIZES = (128, 224)
"""Side lengths in pixels of drawn faces: that of the demonstration, and the default."""

TRAITS_AT_ONCE = 3
DRAWS = 200


def run_validation(
    folder: str | Path,
    null_studies: int = 100,
    studies: int = 100,
    study: str | Path | None = None,
    seed: int = 1,
    machine: Machine | None = None,
    watcher: Watcher | None = None,
    *,
    identities: int = 40,
    images: int = 5,
    sizes: Sequence[int] = SIZES,
) -> pd.DataFrame:
    """Estimate false positive rate and power of the test of use, by condition and region.

    The features of the faces are computed once. Every simulated study has new raters, and cues that are
    fitted to their ratings.

    Parameters
    ----------
    folder : str or Path
        Folder for faces and results; if a run was interrupted, the next one continues.
    null_studies, studies : int, default 100 and 100
        Number of studies without and with a true difference, for each condition, set of faces and three
        traits.
    study : str or Path, optional
        A study of real faces; simulated raters weigh the cues that are estimated from its ratings.
    seed : int, default 1
        Seed of the random number generators for faces and raters.
    machine : Machine or None
        Device, precision and weights of the network.
    watcher : Watcher or None
        Shows the progress.
    identities, images : int, default 40 and 5
        Number of drawn identities, and of images per identity.
    sizes : sequence of int, default (128, 224)
        Side lengths in pixels of the drawn faces as the network sees them; multiples of 32.

    Returns
    -------
    DataFrame
        faces, traits, and the rates of :class:`~traitlens.comparison.calibration.Calibration`, pooled over
        traits for each set of faces. The table is also written to `validation.csv`, together with
        `validation_places.csv` and a figure.
    """
    folder, watcher = Path(folder), watcher or SilentWatcher()
    numbers = [(one, null_studies) for one in NULL_CONDITIONS] if null_studies else []
    numbers += [(one, studies) for one in PLANTED_CONDITIONS] if studies else []
    rates, places = [], []
    with process_pool() as pool:
        runner = _ConditionRunner(pool, folder, numbers, seed, watcher)
        for name, key, faces in _make_face_sets(
            folder, identities, images, sizes, study, seed, machine, watcher
        ):
            for start in range(0, len(faces.traits), TRAITS_AT_ONCE):
                some = range(start, min(start + TRAITS_AT_ONCE, len(faces.traits)))
                found = runner.run(name, key, faces.select_traits(some))
                rates.append(found[0].assign(faces=name))
                places.append(found[1].assign(faces=name))
    together = pd.concat(rates, ignore_index=True)
    pooled = [pool_rates(part).assign(faces=name) for name, part in together.groupby("faces", sort=False)]
    table = pd.concat(pooled, ignore_index=True)
    table.insert(0, "faces", table.pop("faces"))
    storage.write_table(folder / "validation.csv", table)
    storage.write_table(folder / "validation_places.csv", pd.concat(places, ignore_index=True))
    draw_validation(table, folder / "validation")
    return table


@dataclass(frozen=True)
class _ConditionRunner:
    """Simulation of studies under several conditions in parallel, with results stored on disk.

    Parameters
    ----------
    pool : Executor
        Pool of processes.
    folder : Path
        Folder in which the results of each condition are stored.
    numbers : list of (Condition, int)
        Number of studies of each condition.
    seed : int
        Seed of the random number generator.
    watcher : Watcher
        Shows the progress.
    """

    pool: Executor
    folder: Path
    numbers: list[tuple[Condition, int]]
    seed: int
    watcher: Watcher

    def run(self, name: str, key: str, faces: PlantedFaces) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the tables of rates and places for a set of faces; simulate only what is not stored yet."""
        files = [self._files(key, faces, *one) for one in self.numbers]
        missing = [place for place, pair in enumerate(files) if not all(file.exists() for file in pair)]
        total = sum(self.numbers[place][1] for place in missing)
        # The seed depends on faces and traits, so that each combination has different raters.
        own = int(digest(self.seed, name, faces.traits)[:8], 16)
        with self.watcher.stage(f"{name}, {', '.join(faces.traits)}", total) as advance:
            running = {}
            for place in missing:
                condition, number = self.numbers[place]
                job = self.pool.submit(calibrate, faces, [condition], number, draws=DRAWS, seed=own)
                running[job] = place
            for job in as_completed(running):
                found, place = job.result(), running[job]
                for file, table in zip(files[place], (found.rates, found.places), strict=True):
                    storage.write_table(file, table)
                advance(self.numbers[place][1])
        rates, places = zip(*([storage.read_table(file) for file in pair] for pair in files), strict=True)
        return pd.concat(rates, ignore_index=True), pd.concat(places, ignore_index=True)

    def _files(self, key: str, faces: PlantedFaces, condition: Condition, studies: int) -> list[Path]:
        """Return the files in which the rates and places of a condition are stored."""
        stem = digest(key, faces.traits, str(condition), studies, self.seed, DRAWS, _digest_code())[:12]
        return [self.folder / "simulated" / f"{kind}_{stem}.csv" for kind in ("rates", "places")]


@cache
def _digest_code() -> str:
    """Return the digest of the code that computes cues and tests, so that older results are not reused."""
    folders = [Path(str(package.__file__)).parent for package in (comparison, readouts)]
    return digest([file.read_bytes() for folder in folders for file in sorted(folder.glob("*.py"))])


def _make_face_sets(
    folder: Path,
    identities: int,
    images: int,
    sizes: Sequence[int],
    study: str | Path | None,
    seed: int,
    machine: Machine | None,
    watcher: Watcher,
) -> Iterator[tuple[str, str, PlantedFaces]]:
    """Yield name, digest of the features, and faces of each set: drawn faces, and those of the study."""
    for size in sizes:
        drawn = folder / f"faces_{size}"
        if not (drawn / "study.toml").exists():
            with watcher.stage(f"Drawing faces of {size} pixels", identities * images) as advance:
                simulate_study(
                    drawn, identities, images, len(TRAITS), 2, seed=seed, seen_size=size, progress=advance
                )
        run = Run(Study.load(drawn), folder / f"seen_{size}", machine, watcher)
        kernels, folds = _compute_kernels(run)
        parts = pd.read_csv(drawn / "truth" / "parts.csv").set_index(IMAGE).loc[folds[IMAGE]]
        faces = drawn_faces(kernels, folds[FOLD].to_numpy(), folds[IDENTITY].to_numpy(), parts)
        yield f"drawn, {size} pixels", run.context.digest(REGIONAL_KERNELS), faces
        run.close()
    if study is not None:
        run = Run(Study.load(study), folder / "seen_study", machine, watcher)
        kernels, folds = _compute_kernels(run)
        run.make("means")
        means = pool_groups(TARGETS.read(run.results)).pivot_table(index=IMAGE, columns=TRAIT, values=RATING)
        means = means.reindex(folds[IMAGE]).fillna(means.mean())[list(run.study.traits)]
        faces = faces_of_cues(kernels, folds[FOLD].to_numpy(), folds[IDENTITY].to_numpy(), means)
        yield run.study.settings.name or "study", run.context.digest(REGIONAL_KERNELS), faces
        run.close()


def _compute_kernels(run: Run) -> tuple[dict, pd.DataFrame]:
    """Compute the kernels of regional features for each feature space; also return the table of folds."""
    run.make("regional_kernels")
    kernels = dict(zip(run.context.value("regional_spaces"), REGIONAL_KERNELS.read(run.results), strict=True))
    return {space: np.array(kernel) for space, kernel in kernels.items()}, run.context.value("folds")


def run_power(
    folder: str | Path,
    raters: Sequence[int],
    differences: Sequence[float],
    faces: PlantedFaces,
    behaviour: RatingBehaviour | None = None,
    studies: int = 100,
    seed: int = 1,
    watcher: Watcher | None = None,
) -> pd.DataFrame:
    """Estimate the power to detect a difference in the use of the face, by number of raters.

    Parameters
    ----------
    folder : str or Path
        Folder to which `power.csv` and a figure are written.
    raters : sequence of int
        Numbers of raters per group.
    differences : sequence of float
        True differences between the groups.
    faces : PlantedFaces
        The faces.
    behaviour : RatingBehaviour, optional
        Differences between raters, and the error of their ratings.
    studies : int, default 100
        Number of simulated studies for each number of raters and each difference.
    seed : int, default 1
        Seed of the random number generator.
    watcher : Watcher or None
        Shows the progress.

    Returns
    -------
    DataFrame
        The table of `power.csv`.
    """
    total = len(raters) * len(differences) * studies
    with (watcher or SilentWatcher()).stage("Simulating studies", total) as advance:
        table = estimate_power(
            faces, differences, raters, behaviour, studies=studies, seed=seed, progress=advance
        )
    storage.write_table(Path(folder) / "power.csv", table)
    draw_power(table, Path(folder) / "power")
    return table
