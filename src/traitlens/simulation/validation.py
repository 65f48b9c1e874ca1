"""Validation of the test of use by simulated studies: features of faces, and new raters for each study."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
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
from traitlens.digests import digest
from traitlens.progress import SilentWatcher, Watcher
from traitlens.ratings.targets import pool_groups
from traitlens.report.validation_charts import draw_power, draw_validation
from traitlens.study.raters import TRAITS, RatingBehaviour
from traitlens.study.reading import Study
from traitlens.study.simulated_study import simulate_study

SIZES = (128, 224)
"""Sides of drawn faces, in pixels: of the demo, and the default."""

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

    Features of faces are computed once; every simulated study has new raters, and cues fitted to their
    ratings.

    Parameters
    ----------
    folder : str or Path
        Folder for faces and results; a stopped run resumes.
    null_studies, studies : int, default 100 and 100
        Studies without and with a difference, for each condition, set of faces and three traits.
    study : str or Path, optional
        A study of real faces, whose cues are taken as the truth that simulated raters weigh.
    seed : int, default 1
        Seed of faces and raters.
    machine : Machine or None
        Device, precision, weights.
    watcher : Watcher or None
        Shows the progress.
    identities, images : int, default 40 and 5
        Number of persons drawn, and of pictures of each.
    sizes : sequence of int, default (128, 224)
        Sides of the drawn faces that the network sees; multiples of 32.

    Returns
    -------
    DataFrame
        faces, traits, and the rates of :class:`~traitlens.comparison.calibration.Calibration`, pooled over
        traits for each set of faces. Also written to `validation.csv`, with
        `validation_places.csv` and a figure.
    """
    folder, watcher = Path(folder), watcher or SilentWatcher()
    numbers = [(one, null_studies) for one in NULL_CONDITIONS] if null_studies else []
    numbers += [(one, studies) for one in PLANTED_CONDITIONS] if studies else []
    rates, places = [], []
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        counter = _Counter(pool, folder, numbers, seed, watcher)
        for name, key, faces in _sets(folder, identities, images, sizes, study, seed, machine, watcher):
            for start in range(0, len(faces.traits), TRAITS_AT_ONCE):
                some = range(start, min(start + TRAITS_AT_ONCE, len(faces.traits)))
                found = counter.count(name, key, faces.take(some))
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
class _Counter:
    """Counts under all conditions, side by side; what was counted before is read.

    Parameters
    ----------
    pool : Executor
        Processes.
    folder : Path
        Folder of the counts.
    numbers : list of (Condition, int)
        Studies of each condition.
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

    def count(self, name: str, key: str, faces: PlantedFaces) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Count on one set of faces and traits: rates and places."""
        files = [self._files(key, faces, *one) for one in self.numbers]
        missing = [place for place, pair in enumerate(files) if not all(file.exists() for file in pair)]
        total = sum(self.numbers[place][1] for place in missing)
        # The seed depends on the face set and traits, so that each combination gets different raters.
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
        """Return the files of a condition's rates and places."""
        stem = digest(key, faces.traits, str(condition), studies, self.seed, DRAWS, _method())[:12]
        return [self.folder / "simulated" / f"{kind}_{stem}.csv" for kind in ("rates", "places")]


@cache
def _method() -> str:
    """Return the digest of the code of cues and tests: rates of another version are not reused."""
    folders = [Path(str(package.__file__)).parent for package in (comparison, readouts)]
    return digest([file.read_bytes() for folder in folders for file in sorted(folder.glob("*.py"))])


def _sets(
    folder: Path,
    identities: int,
    images: int,
    sizes: Sequence[int],
    study: str | Path | None,
    seed: int,
    machine: Machine | None,
    watcher: Watcher,
) -> Iterator[tuple[str, str, PlantedFaces]]:
    """Yield the sets of faces: name, digest of the features, faces."""
    for size in sizes:
        drawn = folder / f"faces_{size}"
        if not (drawn / "study.toml").exists():
            with watcher.stage(f"Drawing faces of {size} pixels", identities * images) as advance:
                simulate_study(
                    drawn, identities, images, len(TRAITS), 2, seed=seed, seen_size=size, progress=advance
                )
        run = Run(Study.load(drawn), folder / f"seen_{size}", machine, watcher)
        kernels, folds = _see(run)
        parts = pd.read_csv(drawn / "truth" / "parts.csv").set_index(IMAGE).loc[folds[IMAGE]]
        faces = drawn_faces(kernels, folds[FOLD].to_numpy(), folds[IDENTITY].to_numpy(), parts)
        yield f"drawn, {size} pixels", run.context.digest(REGIONAL_KERNELS), faces
        run.close()
    if study is not None:
        run = Run(Study.load(study), folder / "seen_study", machine, watcher)
        kernels, folds = _see(run)
        run.make("means")
        means = pool_groups(TARGETS.read(run.results)).pivot_table(index=IMAGE, columns=TRAIT, values=RATING)
        means = means.reindex(folds[IMAGE]).fillna(means.mean())[list(run.study.traits)]
        faces = faces_of_cues(kernels, folds[FOLD].to_numpy(), folds[IDENTITY].to_numpy(), means)
        yield run.study.settings.name or "study", run.context.digest(REGIONAL_KERNELS), faces
        run.close()


def _see(run: Run) -> tuple[dict, pd.DataFrame]:
    """Compute the regional features of all faces: kernels by feature space, and folds."""
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
    """Estimate the power to find a difference of use, by number of raters.

    Parameters
    ----------
    folder : str or Path
        Folder of `power.csv` and its figure.
    raters : sequence of int
        Numbers of raters per group.
    differences : sequence of float
        Differences.
    faces : PlantedFaces
        The faces.
    behaviour : RatingBehaviour, optional
        Variation of raters around their group's weights.
    studies : int, default 100
        Simulated studies for each number and difference.
    seed : int, default 1
        Seed of the random number generator.
    watcher : Watcher or None
        Shows the progress.
    """
    total = len(raters) * len(differences) * studies
    with (watcher or SilentWatcher()).stage("Simulating studies", total) as advance:
        table = estimate_power(
            faces, differences, raters, behaviour, studies=studies, seed=seed, progress=advance
        )
    storage.write_table(Path(folder) / "power.csv", table)
    draw_power(table, Path(folder) / "power")
    return table
