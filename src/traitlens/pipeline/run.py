"""A study on its way to a results folder, stage by stage."""

import json
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

import traitlens
from traitlens import keeping
from traitlens.arrays import open_arrays
from traitlens.comparison.by_performance import compare_performance
from traitlens.comparison.by_rating import compare_means
from traitlens.comparison.by_region import compare_regions
from traitlens.comparison.operator import RegionOperator
from traitlens.faces.images import check_images
from traitlens.faces.landmarks import find_landmarks
from traitlens.features.backbone import Backbone, load_backbone
from traitlens.features.taps import Tap, compute_features
from traitlens.pipeline.blocks import blocks_of
from traitlens.pipeline.comparing import common_penalties, make_region_operator
from traitlens.pipeline.explaining import explain_blocks, tabulate_regions, write_maps
from traitlens.pipeline.machine import Machine
from traitlens.pipeline.preparing import read_points, write_prepared
from traitlens.problems import Problem, StudyError, TraitlensError
from traitlens.ratings.reliability import reliability_table
from traitlens.ratings.targets import make_targets
from traitlens.readouts.fitted import FittedReadouts
from traitlens.readouts.folds import assign_folds
from traitlens.readouts.performance import performance
from traitlens.readouts.readout import FeatureSpace
from traitlens.readouts.registry import find_readout
from traitlens.readouts.saved import TraitModels
from traitlens.report.description import describe_software, describe_study, digest_tables
from traitlens.report.page import write_report
from traitlens.study.reading import Study, find_images, read_study
from traitlens.watching import Advance, Silent, Watcher
from traitlens.words import FOLD, GROUP, IMAGE, TRAIT, Y

Make = Callable[[str, Advance], None]


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
            paths = {image: self.study.path(image) for image in images}
            write_prepared(self.results / "prepared.zarr", paths, points, faces, advance)

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
            for number, positions in enumerate(blocks_of(np.arange(total))):

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
        """Write `predictions.csv`, `performance.csv` and the readouts in `models`.

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
            prepared = {"crop": self.prepared.attrs["crop"], "size": self.prepared.sizes[Y]}
            models = TraitModels.of(self.fitted, self.backbone, prepared=prepared, performance=table)
            models.save(self.results / "models")

        features_key, _ = self.features
        inputs = [features_key, self.targets, self.folds, settings.readout.model_dump(), settings.seed]
        files = ["predictions.csv", "performance.csv", "models"]
        return self._make("fit", inputs, files, "Performance", 1, make)

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
            groups, traits = self.study.groups, self.study.traits
            kept = keeping.Blocks(self.results, "maps", key)
            explained = explain_blocks(
                kept,
                self.backbone,
                self.fitted.readouts,
                self.prepared,
                self.folds[FOLD].to_numpy(),
                groups,
                traits,
                method,
                advance,
            )
            write_maps(self.results, explained, self.prepared, groups, traits, method)
            kept.remove()

        total = len(self.study.images)
        return self._make(
            "explain", [self.fit(), method], ["maps.zarr", "average_maps.zarr"], "Relevance maps", total, make
        )

    def regions(self) -> str:
        """Write `regions.csv`: the relevance of each region of each face.

        Returns
        -------
        str
            Digest of what it depends on.
        """

        def make(_key: str, advance: Advance) -> None:
            maps = open_arrays(self.results / "maps.zarr")
            table = tabulate_regions(maps, self.prepared, advance)
            keeping.write_table(self.results / "regions.csv", table)

        total = len(self.study.images)
        return self._make("regions", [self.explain()], ["regions.csv"], "Regions", total, make)

    def compare(self) -> str:
        """Write `comparisons/*` and the tables of `ratings/`: tests by exchange of raters between groups.

        Returns
        -------
        str
            Digest of what they depend on.
        """
        parts = [self.compare_ratings(), self.regions()]
        if self._has_points:
            parts += [self.check_cues()] * self.study.settings.comparison.cues
            parts += [self.compare_readouts()] * self._can_refit
        return keeping.digest(*parts)

    @cached_property
    def _has_points(self) -> bool:
        """Whether every face has its landmarks."""
        return bool(np.isfinite(self.prepared["points"]).all())

    @property
    def _can_refit(self) -> bool:
        """Whether readouts are linear and single raters known, so that exchanges of raters can be refitted."""
        settings = self.study.settings
        asked = settings.comparison.regions and settings.comparison.permutations > 0
        return asked and self.study.has_raters and settings.readout.method == "ridge"

    def compare_ratings(self) -> str:
        """Write what is compared of ratings and predictions alone.

        Returns
        -------
        str
            Digest of what it depends on.
        """

        def make(key: str, _advance: Advance) -> None:
            reliability = pd.read_csv(self.results / "ratings" / "reliability.csv", dtype={GROUP: str})
            tables = compare_ratings(self.study, self.targets)
            tables |= transfer_tables(self.study, self.fitted.predictions, reliability)
            self._write_tables("compare_ratings", key, tables)

        comparison = self.study.settings.comparison
        inputs = [self.fit(), self.study.ratings, comparison.permutations, comparison.reference]
        return self._make("compare_ratings", inputs, [], "Comparing ratings", 1, make)

    def check_cues(self) -> str:
        """Write `checks/cues.csv`: predictions without hair and background, in grey, mirrored.

        Returns
        -------
        str
            Digest of what it depends on.
        """

        def make(key: str, advance: Advance) -> None:
            ((space, features),) = self.features[1].items()
            kept = keeping.Blocks(self.results, "cues", key)
            altered = altered_features(kept, self.backbone, space, self.prepared, advance)
            table = compare_cues(
                self.fitted, {space: features}, altered, self.targets, self.folds,
                method=self.study.settings.readout.method,
                sharing=self.study.settings.readout.sharing, seed=self.study.settings.seed,
            )  # fmt: skip
            keeping.write_table(self.results / "checks" / "cues.csv", table)
            kept.remove()

        total = len(self.study.images)
        return self._make("cues", [self.fit()], ["checks/cues.csv"], "Checking superficial cues", total, make)

    def compare_readouts(self) -> str:
        """Write what is compared by refitting and explaining again under each exchange of raters.

        Returns
        -------
        str
            Digest of what it depends on.
        """
        settings = self.study.settings

        def make(key: str, advance: Advance) -> None:
            ((space, features),) = self.features[1].items()
            operator = self._region_operator(advance)
            ratings = self.study.ratings
            # An image that nobody rated on some trait cannot be in that trait's readout.
            rated = ratings.groupby(IMAGE)[TRAIT].nunique()
            images = set(rated.index[rated == len(self.study.traits)])
            study = replace(self.study, ratings=ratings[ratings[IMAGE].isin(images)])
            identities = self.folds.set_index(IMAGE)[IDENTITY]
            own = operator.take(images)
            penalties = choose_common_penalties(
                study.ratings, own, identities[list(own.images)].to_numpy(), settings.seed
            )
            tables = compare_readouts(study, own, penalties)
            size = settings.comparison.pixels
            if size and len(study.groups) > 1:
                kept = keeping.Blocks(self.results, "pixels", key)
                among = np.isin(np.array(operator.images, object), own.images)
                maps = make_map_operator(
                    kept, self.backbone, space, features[among], self.prepared.isel({IMAGE: among}), own,
                    study.ratings, penalties, settings.relevance.method, size, advance,
                )  # fmt: skip
                found, tables["comparisons/pixels"] = compare_maps(
                    maps, study.ratings, own, penalties, settings.comparison.permutations, settings.seed
                )
                face = template_face(self.prepared, found.sizes[Y] * 4)
                if face is not None:
                    found["face"] = ("face_y", "face_x", "colour"), face
                with keeping.write_whole(self.results / "comparisons" / "pixels.zarr") as temporary:
                    write_arrays(temporary, found)
                kept.remove()
            self._write_tables("compare_readouts", key, tables)

        inputs = [self.fit(), settings.relevance.method, self.study.ratings, settings.comparison.model_dump()]
        total = len(self.study.images) * (1 + bool(settings.comparison.pixels and len(self.study.groups) > 1))
        return self._make("compare_readouts", inputs, [], "Comparing readouts", total, make)

    def _region_operator(self, advance: Advance) -> RegionOperator:
        """What ridge readouts need to be refitted and explained by region; ratings play no part in it."""
        ((space, features),) = self.features[1].items()
        folds, method = self.folds[FOLD].to_numpy(), self.study.settings.relevance.method
        key = keeping.digest(self.features[0], folds, method, traitlens.__version__)
        kept = keeping.Blocks(self.results, "regions", key)
        return make_region_operator(
            kept, self.backbone, space, features, self.prepared, folds, method, advance
        )

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
