"""The flow from a study to a report; the only module that knows every room.

A :class:`Run` takes one study to one results folder, stage by stage: prepare, rate, features, fit, explain,
regions, compare, report. Each stage is a function of its inputs and settings. What it makes is recorded
under the digest of both, so that a second run starts where the first one stopped, and a change of one
setting makes only what depends on it again.
"""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

import traitlens
from traitlens import keeping
from traitlens.arrays import map_coordinates, open_arrays, write_arrays
from traitlens.comparison.by_performance import compare_performance
from traitlens.comparison.by_rating import compare_means
from traitlens.comparison.by_region import compare_regions
from traitlens.comparison.operator import RegionOperator
from traitlens.faces.images import check_images, load_image, prepare_image
from traitlens.faces.landmarks import find_landmarks
from traitlens.faces.regions import REGIONS, region_labels
from traitlens.features.backbone import Backbone, load_backbone
from traitlens.features.taps import Tap, compute_features
from traitlens.problems import Problem, StudyError, TraitlensError
from traitlens.ratings.reliability import reliability_table
from traitlens.ratings.targets import make_targets
from traitlens.readouts.fitted import FittedReadouts
from traitlens.readouts.folds import assign_folds
from traitlens.readouts.kernels import linear_kernel
from traitlens.readouts.performance import performance
from traitlens.readouts.readout import FeatureSpace
from traitlens.readouts.registry import find_readout
from traitlens.relevance.analyze import explain_with_ledger
from traitlens.relevance.maps import average_maps
from traitlens.relevance.region_table import REGION_COLUMNS, region_relevance
from traitlens.relevance.regions import RegionOperators, region_kernels
from traitlens.report.description import describe_software, describe_study, digest_tables
from traitlens.report.page import write_report
from traitlens.study.reading import Study, find_images, read_study
from traitlens.watching import Advance, Silent, Watcher
from traitlens.words import FOLD, GROUP, IMAGE, READOUT, RELEVANCE, TRAIT, X, Y

BLOCK = 8
"""Images that are worked on together: bounds memory, and what a killed run loses."""

N_POINTS = 478
"""Points of the face mesh."""

LEDGER = ("prediction", "reference", "pixel_sum")
"""Beside each map: what was predicted, the value it is explained against, and the sum over its pixels."""

Make = Callable[[str, Advance], None]


@dataclass(frozen=True)
class Machine:
    """Where and how the network is run; numbers agree between machines within a stated tolerance.

    Parameters
    ----------
    device : str, default "cpu"
        "cpu", "cuda", "mps" or "auto".
    precision : str, default "float32"
        "float32" or "bf16".
    weights : Path or None
        A file with the backbone's weights.
    """

    device: str = "cpu"
    precision: str = "float32"
    weights: Path | None = None


def check(folder: str | Path, watcher: Watcher | None = None) -> Study:
    """Read a study and find every fault of its settings, tables and images.

    Parameters
    ----------
    folder : str or Path
        The study's folder.
    watcher : Watcher or None
        Who is told of the progress.

    Returns
    -------
    Study
        The study, without a fault.

    Raises
    ------
    StudyError
        With every fault.
    """
    folder = Path(folder)
    study, problems = read_study(folder)
    files = find_images(folder) if folder.is_dir() else []
    with (watcher or Silent()).stage("Checking images", len(files)) as advance:
        problems += check_images(
            [folder / "images" / file for file in files], [f"images/{file}" for file in files], advance
        )
    if problems or study is None:
        raise StudyError(problems)
    return study


def run(
    folder: str | Path,
    out: str | Path | None = None,
    machine: Machine | None = None,
    watcher: Watcher | None = None,
) -> "Run":
    """Take a study from its folder to a report.

    Parameters
    ----------
    folder : str or Path
        The study's folder.
    out : str, Path or None
        The results folder; `results` in the study's folder where None.
    machine : Machine or None
        Device, precision, weights.
    watcher : Watcher or None
        Who is told of the progress.

    Returns
    -------
    Run
        With `performance`, and the results in `Run.results`.

    Raises
    ------
    TraitlensError
        If the study has faults, or the weights cannot be had.
    """
    study = check(folder, watcher)
    done = Run(study, out, machine, watcher)
    done.report()
    return done


class Run:
    """One study on its way to one results folder.

    Parameters
    ----------
    study : Study
        What the researcher brought.
    out : str, Path or None
        The results folder; `results` in the study's folder where None.
    machine : Machine or None
        Device, precision, weights.
    watcher : Watcher or None
        Who is told of the progress.
    """

    def __init__(
        self,
        study: Study,
        out: str | Path | None = None,
        machine: Machine | None = None,
        watcher: Watcher | None = None,
    ):
        self.study = study
        self.results = Path(out) if out is not None else study.folder / "results"
        self.machine = machine or Machine()
        self.watcher = watcher or Silent()
        self.ledger = keeping.Ledger(self.results)
        try:
            self.results.mkdir(parents=True, exist_ok=True)
            keeping.remove_partial(self.results)
        except OSError as error:
            raise TraitlensError(
                Problem(f"cannot be written ({error.strerror})", "choose another --out", str(self.results))
            ) from error

    @cached_property
    def backbone(self) -> Backbone:
        """The frozen network, loaded when first needed."""
        backbone = load_backbone("vgg16", self.machine.weights, self.watcher.say)
        return backbone.to(self.machine.device, self.machine.precision)

    def _make(
        self, stage: str, inputs: list[Any], files: list[str], label: str, total: int, make: Make
    ) -> str:
        """Make a stage's files unless they are there from the same inputs; give the digest of the inputs."""
        key = keeping.digest(stage, traitlens.__version__, inputs)
        if not self.ledger.holds(stage, key):
            start = time.perf_counter()
            with self.watcher.stage(label, total) as advance:
                make(key, advance)
            seconds = round(time.perf_counter() - start, 2)
            self.ledger.record(stage, key, [self.results / file for file in files], seconds)
        return key

    @cached_property
    def targets(self) -> pd.DataFrame:
        """Mean ratings: group, trait, image, rating, n, sd."""
        return make_targets(self.study.ratings)

    def rate(self) -> str:
        """Write `ratings/targets.csv` and `ratings/reliability.csv`.

        Returns
        -------
        str
            Digest of what they depend on.
        """
        seed = self.study.settings.seed

        def make(_key: str, _advance: Advance) -> None:
            reliability = reliability_table(self.study.ratings, seed=seed)
            keeping.write_table(self.results / "ratings" / "targets.csv", self.targets)
            keeping.write_table(self.results / "ratings" / "reliability.csv", reliability)
            if self.study.cleaning is not None:
                keeping.write_table(self.results / "ratings" / "cleaning.csv", self.study.cleaning.steps)
                keeping.write_table(self.results / "ratings" / "left_out.csv", self.study.cleaning.left_out)

        files = ["ratings/targets.csv", "ratings/reliability.csv"]
        return self._make("rate", [self.study.ratings, seed], files, "Rating reliability", 1, make)

    def find_landmarks(self) -> str:
        """Write `landmarks.csv`: the landmarks that were given, completed by detected ones.

        Returns
        -------
        str
            Digest of what they depend on.
        """
        paths = {image: self.study.path(image) for image in self.study.images[IMAGE]}
        digests = {image: keeping.digest_file(path) for image, path in paths.items()}

        def make(_key: str, advance: Advance) -> None:
            found = find_landmarks(paths, self.study.landmarks, progress=advance)
            keeping.write_table(self.results / "landmarks.csv", found.table)
            keeping.write_json(self.results / "face_notices.json", list(map(str, found.notices)))

        inputs = [digests, self.study.landmarks]
        files = ["landmarks.csv", "face_notices.json"]
        return self._make("landmarks", inputs, files, "Finding landmarks", len(paths), make)

    def prepare(self) -> str:
        """Write `prepared.zarr`: every image as the square that the network sees, and its landmarks there.

        Returns
        -------
        str
            Digest of what it depends on.
        """
        faces = self.study.settings.faces
        images = list(self.study.images[IMAGE])

        def make(_key: str, advance: Advance) -> None:
            points = read_points(self.results / "landmarks.csv")
            crop = faces.crop
            if crop == "auto":
                crop = "face" if set(images) <= set(points) else "full"

            def prepared(image: str) -> tuple[np.ndarray, np.ndarray]:
                pixels = load_image(self.study.path(image))
                done = prepare_image(pixels, faces.size, crop, points.get(image))
                advance(1)
                there = points.get(image, np.full((N_POINTS, 2), np.nan))
                return done.pixels, done.frame.map_points(there)

            def blocks() -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
                with ThreadPoolExecutor() as pool:
                    for positions in _blocks(len(images)):
                        pixels, landmarks = zip(
                            *pool.map(prepared, [images[i] for i in positions]), strict=True
                        )
                        yield positions, {"pixels": np.stack(pixels), "points": np.stack(landmarks)}

            coordinates = {IMAGE: np.array(images, object), **map_coordinates(faces.size)}
            dataset = xr.Dataset(coords=coordinates, attrs={"crop": crop})
            dataset["points"] = (IMAGE, "point", "xy"), np.full((len(images), N_POINTS, 2), np.nan)
            dataset = dataset.assign_coords(colour=np.array(["red", "green", "blue"], object))
            with keeping.write_whole(self.results / "prepared.zarr") as temporary:
                write_arrays(temporary, dataset, {"pixels": ((IMAGE, Y, X, "colour"), "u1")}, blocks())

        inputs = [self.find_landmarks(), faces.model_dump()]
        return self._make("prepare", inputs, ["prepared.zarr"], "Preparing images", len(images), make)

    @cached_property
    def prepared(self) -> xr.Dataset:
        """The prepared images: pixels (image, y, x, colour) and points (image, point, xy)."""
        self.prepare()
        return open_arrays(self.results / "prepared.zarr")

    @cached_property
    def features(self) -> tuple[str, dict[FeatureSpace, np.ndarray]]:
        """The features that the readout reads, and the digest of what they depend on."""
        settings = self.study.settings.readout
        find_readout(settings.method)
        dense = settings.method == "dense"
        tap = Tap("block5_pool", 1) if dense else Tap(settings.tap, settings.grid)
        space = FeatureSpace(tap, mirror=settings.mirror and not dense)
        self.backbone.up_to(space.tap.layer)
        precision = self.machine.precision
        key = keeping.digest(
            self.prepare(), self.backbone.digest, str(space), precision, traitlens.__version__
        )
        blocks = keeping.Blocks(self.results, "features", key)
        total = len(self.prepared[IMAGE])
        kept = []
        start = time.perf_counter()
        with self.watcher.stage("Features", total) as advance:
            for number, positions in enumerate(_blocks(total)):

                def make(positions: np.ndarray = positions) -> dict[str, np.ndarray]:
                    pixels = self.prepared["pixels"][positions].to_numpy()
                    views = [pixels, pixels[:, :, ::-1]] if space.mirror else [pixels]
                    seen = [compute_features(self.backbone, [view], [space.tap])[space.tap] for view in views]
                    return {"features": np.asarray(np.mean(seen, axis=0, dtype=np.float32))}

                kept.append(blocks.make(number, make)["features"])
                advance(len(positions))
        if not self.ledger.holds("features", key):
            self.ledger.record("features", key, [], round(time.perf_counter() - start, 2))
        return key, {space: space.apply(np.concatenate(kept))}

    @cached_property
    def fitted(self) -> FittedReadouts:
        """The readouts of every group, trait and fold, and their out-of-fold predictions."""
        settings = self.study.settings
        _, features = self.features
        folds = self.folds
        count = len(self.targets[[GROUP, TRAIT]].drop_duplicates())
        with self.watcher.stage("Fitting readouts", count) as advance:
            fit = find_readout(settings.readout.method)
            options = {"sharing": settings.readout.sharing} if settings.readout.method == "ridge" else {}
            return fit(features, self.targets, folds, seed=settings.seed, progress=advance, **options)

    @cached_property
    def folds(self) -> pd.DataFrame:
        """The fold of each image: image, identity, fold."""
        settings = self.study.settings
        return assign_folds(self.study.images, settings.folds.number, settings.seed, settings.folds.column)

    def fit(self) -> str:
        """Write `predictions.csv` and `performance.csv`.

        Returns
        -------
        str
            Digest of what they depend on.
        """
        settings = self.study.settings
        self.rate()

        def make(_key: str, _advance: Advance) -> None:
            reliability = pd.read_csv(self.results / "ratings" / "reliability.csv")
            ceilings = reliability.reindex(columns=[GROUP, TRAIT, "ceiling_r", "ceiling_r2"])
            table = performance(self.fitted.predictions, ceilings, seed=settings.seed)
            keeping.write_table(self.results / "predictions.csv", self.fitted.predictions)
            keeping.write_table(self.results / "performance.csv", table)

        features_key, _ = self.features
        inputs = [features_key, self.targets, self.folds, settings.readout.model_dump(), settings.seed]
        return self._make("fit", inputs, ["predictions.csv", "performance.csv"], "Performance", 1, make)

    @property
    def performance(self) -> pd.DataFrame:
        """How well each group's ratings of each trait are predicted."""
        self.fit()
        return pd.read_csv(self.results / "performance.csv", dtype={GROUP: str, TRAIT: str})

    def explain(self) -> str:
        """Write `maps.zarr` and `average_maps.zarr`, by the readouts that did not see the identity.

        Returns
        -------
        str
            Digest of what they depend on.
        """
        method = self.study.settings.relevance.method

        def make(key: str, advance: Advance) -> None:
            blocks = keeping.Blocks(self.results, "maps", key)
            coordinates = {
                GROUP: np.array(self.study.groups, object),
                TRAIT: np.array(self.study.traits, object),
                IMAGE: self.prepared[IMAGE].to_numpy(),
                **map_coordinates(self.prepared.sizes[Y]),
            }
            shape = tuple(len(coordinates[name]) for name in (GROUP, TRAIT, IMAGE))
            ledger = {name: ((GROUP, TRAIT, IMAGE), np.full(shape, np.nan)) for name in LEDGER}
            dataset = xr.Dataset(ledger, coordinates, {"method": method, "units": "rating points per pixel"})
            large = {RELEVANCE: ((GROUP, TRAIT, IMAGE, Y, X), "f4")}
            with keeping.write_whole(self.results / "maps.zarr") as temporary:
                write_arrays(temporary, dataset, large, self._explained(blocks, method, advance))
            averages = average_maps(open_arrays(self.results / "maps.zarr"))
            averages["face"] = (Y, X, "colour"), self._average_face()
            with keeping.write_whole(self.results / "average_maps.zarr") as temporary:
                write_arrays(temporary, averages)
            blocks.remove()

        total = len(self.study.images)
        return self._make(
            "explain", [self.fit(), method], ["maps.zarr", "average_maps.zarr"], "Relevance maps", total, make
        )

    def _explained(
        self, blocks: keeping.Blocks, method: str, advance: Advance
    ) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        """Explain the images of each fold by the fold's readouts, a block at a time."""
        groups, traits = self.study.groups, self.study.traits
        number = 0
        for fold in sorted(self.folds[FOLD].unique()):
            readouts = [readout for readout in self.fitted.readouts if readout.fold == fold]
            where = [groups.index(r.group) * len(traits) + traits.index(r.trait) for r in readouts]
            in_fold = np.flatnonzero(self.folds[FOLD] == fold)
            for start in range(0, len(in_fold), BLOCK):
                positions = in_fold[start : start + BLOCK]

                def make(
                    positions: np.ndarray = positions, readouts: list = readouts, where: list = where
                ) -> dict[str, np.ndarray]:
                    pixels = self.prepared["pixels"][positions].to_numpy()
                    found = explain_with_ledger(self.backbone, readouts, pixels, method)
                    found = found.rename(pixels="pixel_sum").transpose(READOUT, IMAGE, Y, X)
                    made = {}
                    for name in (RELEVANCE, *LEDGER):
                        values = found[name].to_numpy()
                        full = np.full((len(groups) * len(traits), *values.shape[1:]), np.nan, values.dtype)
                        full[where] = values
                        made[name] = full.reshape(len(groups), len(traits), *values.shape[1:])
                    return made

                yield positions, blocks.make(number, make)
                advance(len(positions))
                number += 1

    def _average_face(self) -> np.ndarray:
        """Average the prepared images, one at a time."""
        pixels = self.prepared["pixels"]
        total = np.zeros(pixels.shape[1:])
        for image in range(len(pixels)):
            total += pixels[image].to_numpy()
        return (total / len(pixels)).round().astype(np.uint8)

    def regions(self) -> str:
        """Write `regions.csv`: the relevance of each region of each face.

        Returns
        -------
        str
            Digest of what it depends on.
        """

        def make(_key: str, advance: Advance) -> None:
            maps = open_arrays(self.results / "maps.zarr")
            tables = []
            for position, image in enumerate(maps[IMAGE].to_numpy()):
                points = self.prepared["points"][position].to_numpy()
                advance(1)
                if np.isfinite(points).all():
                    labels = region_labels(points, self.prepared.sizes[Y])
                    tables.append(region_relevance(maps[RELEVANCE][:, :, position], labels, REGIONS, image))
            table = pd.concat(tables) if tables else pd.DataFrame(columns=REGION_COLUMNS)
            keeping.write_table(self.results / "regions.csv", table)

        total = len(self.study.images)
        return self._make("regions", [self.explain()], ["regions.csv"], "Regions", total, make)

    def compare(self) -> str:
        """Write `comparisons/*.csv`: tests between groups by exchange of raters.

        Returns
        -------
        str
            Digest of what they depend on.
        """
        settings = self.study.settings
        permutations = settings.comparison.permutations
        asked = permutations > 0 and len(self.study.groups) > 1 and self.study.has_raters
        has_points = bool(np.isfinite(self.prepared["points"]).all())
        linear = settings.readout.method == "ridge" and has_points and settings.comparison.regions
        folder = self.results / "comparisons"
        names = ["means"] * asked + ["regions", "performance"] * (asked and linear)

        def make(key: str, advance: Advance) -> None:
            ratings, seed = self.study.ratings, settings.seed
            tables = {}
            if asked:
                tables["means"] = compare_means(ratings, permutations=permutations, seed=seed)
            if asked and linear:
                operator = self._region_operator(key, advance)
                penalties = self._common_penalties()
                for name, test in (("regions", compare_regions), ("performance", compare_performance)):
                    tables[name] = test(ratings, operator, penalties, permutations=permutations, seed=seed)
            for name, table in tables.items():
                keeping.write_table(folder / f"{name}.csv", table)

        inputs = [self.fit(), self.regions(), self.study.ratings, settings.comparison.model_dump()]
        files = [f"comparisons/{name}.csv" for name in names]
        return self._make("compare", inputs, files, "Comparing groups", len(self.study.images), make)

    def _common_penalties(self) -> dict[str, float]:
        """One penalty for each trait, the same for all groups: the median over groups and folds."""
        duals = pd.DataFrame(
            {TRAIT: dual.trait, "penalty": dual.penalty / sum(dual.factors.values())}
            for dual in self.fitted.duals
        )
        return duals.groupby(TRAIT)["penalty"].median().to_dict()

    def _region_operator(self, key: str, advance: Advance) -> RegionOperator:
        """What ridge readouts need to be refitted and explained by region, a block of images at a time."""
        _, ((space, features),) = self.features[0], self.features[1].items()
        blocks = keeping.Blocks(self.results, "regions", key)
        size, folds = self.prepared.sizes[Y], self.folds[FOLD].to_numpy()
        kernels = np.zeros((len(REGIONS), len(folds), len(folds)))
        operators = RegionOperators(self.backbone, [space], self.study.settings.relevance.method)
        number = 0
        for fold in np.unique(folds):
            reference = features[folds != fold].mean(0)
            in_fold = np.flatnonzero(folds == fold)
            for start in range(0, len(in_fold), BLOCK):
                positions = in_fold[start : start + BLOCK]

                def make(
                    positions: np.ndarray = positions, reference: np.ndarray = reference
                ) -> dict[str, np.ndarray]:
                    pixels = self.prepared["pixels"][positions].to_numpy()
                    points = self.prepared["points"][positions].to_numpy()
                    labels = np.stack([region_labels(mesh, size) for mesh in points])
                    masks = labels[:, None] == np.arange(len(REGIONS))[:, None, None]
                    regions = [operators.of(*pair) for pair in zip(pixels, masks, strict=True)]
                    rows = region_kernels(regions, space, features, reference).transpose("image", ...)
                    return {"rows": rows.to_numpy()}

                kernels[:, positions] = blocks.make(number, make)["rows"].transpose(1, 0, 2)
                advance(len(positions))
                number += 1
        images = tuple(self.folds[IMAGE])
        return RegionOperator(images, tuple(REGIONS), folds, linear_kernel(features), kernels)

    def report(self) -> Path:
        """Write `study.json`, `provenance.json`, the figures and `report.html`.

        Returns
        -------
        Path
            The report.
        """

        def make(_key: str, _advance: Advance) -> None:
            notices = json.loads((self.results / "face_notices.json").read_text("utf-8"))
            description = describe_study(self.study, self.prepared.attrs["crop"], notices)
            keeping.write_json(self.results / "study.json", description)
            keeping.write_json(self.results / "provenance.json", self._provenance())
            write_report(self.results)

        inputs = [self.compare(), self.study.images, self.study.settings.model_dump()]
        self._make("report", inputs, ["report.html"], "Report", 1, make)
        return self.results / "report.html"

    def _provenance(self) -> dict[str, Any]:
        """Say with what the results were made."""
        return {
            **describe_software(),
            "backbone": {
                "name": self.backbone.name,
                "weights_sha256": self.backbone.digest,
                "preprocessing": self.backbone.preprocessing.as_dict(),
            },
            "device": self.machine.device,
            "precision": self.machine.precision,
            "seed": self.study.settings.seed,
            "sha256": digest_tables(self.study.folder),
            "seconds": self.ledger.seconds(),
        }


def _blocks(total: int) -> Iterator[np.ndarray]:
    """Split positions into blocks."""
    for start in range(0, total, BLOCK):
        yield np.arange(start, min(start + BLOCK, total))


def read_points(path: Path) -> dict[str, np.ndarray]:
    """Read `landmarks.csv` as one array per image.

    Parameters
    ----------
    path : Path
        image, point, x, y.

    Returns
    -------
    dict of str to ndarray
        (478, 2) by image, for the images that have every point.
    """
    table = pd.read_csv(path, dtype={IMAGE: str})
    points = {}
    for image, part in table.groupby(IMAGE):
        ordered = part.sort_values("point")[[X, Y]].to_numpy(float)
        if len(ordered) == N_POINTS:
            points[str(image)] = ordered
    return points
