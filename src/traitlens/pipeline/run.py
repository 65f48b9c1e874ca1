"""A study on its way to a results folder, stage by stage."""

import errno
import json
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

import traitlens
from traitlens import keeping
from traitlens.arrays import open_arrays
from traitlens.collecting.plan import read_plan
from traitlens.digests import digest, digest_file
from traitlens.faces.landmark_files import read_given
from traitlens.faces.landmarks import find_landmarks
from traitlens.features.backbone import Backbone
from traitlens.features.spaces import FeatureSpace
from traitlens.features.views import FACE_VIEWS
from traitlens.locking import Lock
from traitlens.memory import give_memory_back, keep_memory
from traitlens.pipeline.answers import write_planned, write_quality
from traitlens.pipeline.blocks import blocks_of, make_blocks
from traitlens.pipeline.comparing import check_cues, compare_ratings, compare_readouts, write_answers
from traitlens.pipeline.engines import Engine, open_engine
from traitlens.pipeline.machine import Machine
from traitlens.pipeline.preparing import read_points, write_prepared
from traitlens.pipeline.protocols import machine_for
from traitlens.pipeline.reading import fit_options, split_spaces, weigh_spaces
from traitlens.pipeline.relevance_stores import AVERAGES, MAPS, REGION_TABLE, UNION_TABLE, explain_study
from traitlens.pipeline.seeing import FeatureWork
from traitlens.problems import Problem, TraitlensError
from traitlens.ratings.reliability import reliability_table
from traitlens.ratings.targets import make_targets
from traitlens.readouts.fitted import FittedReadouts
from traitlens.readouts.folds import assign_folds
from traitlens.readouts.performance import performance
from traitlens.readouts.readout import Readout
from traitlens.readouts.refit import refit_of
from traitlens.readouts.registry import find_readout
from traitlens.readouts.saved import TraitModels
from traitlens.report.description import describe_software, describe_study, digest_tables
from traitlens.report.page import write_report
from traitlens.study.reading import Study
from traitlens.watching import Advance, Silent, Watcher
from traitlens.words import FOLD, GROUP, IMAGE, TRAIT, Y

Make = Callable[[str, Advance], list[str] | None]


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
        keep_memory()
        self.study = study
        self.results = Path(out) if out is not None else study.folder / "results"
        self.machine = machine_for(study.settings.readout, machine or Machine())
        self.watcher = watcher or Silent()
        self.ledger = keeping.Ledger(self.results)
        try:
            self.results.mkdir(parents=True, exist_ok=True)
            self._lock = Lock(self.results)
            weakref.finalize(self, self._lock.release)
            keeping.remove_partial(self.results)
            self._write_origin()
        except OSError as error:
            raise TraitlensError(
                Problem(f"cannot be written ({error.strerror})", "choose another --out", str(self.results))
            ) from error

    def _write_origin(self) -> None:
        """Note of which study the results are, and what the command asked for, for those who find them."""
        file = self.results / ".kept" / "origin"
        origin = {
            "study": str(self.study.folder.resolve()),
            "precision": self.machine.precision,
            "keep_maps": self.study.settings.run.keep_maps,
        }
        text = json.dumps(origin)
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            with keeping.write_whole(file) as temporary:
                temporary.write_text(text, encoding="utf-8")

    @cached_property
    def backbone(self) -> Backbone:
        """The frozen network, loaded when first needed."""
        return self.machine.backbone(self.watcher.say)

    @cached_property
    def engine(self) -> Engine:
        """Who works on blocks of images."""
        return open_engine(self.machine)

    def close(self) -> None:
        """Let the workers go and give the results folder free; what the run made can still be read."""
        if "engine" in self.__dict__:
            self.__dict__.pop("engine").close()
        if self.results.is_dir():
            keeping.remove_partial(self.results)
        self._lock.release()

    def make_stage(
        self, stage: str, inputs: list[Any], files: list[str], label: str, total: int, make: Make
    ) -> str:
        """Make a stage's files unless they are there from the same inputs.

        Parameters
        ----------
        stage : str
            Name of the stage.
        inputs : list
            Everything that the files depend on.
        files : list of str
            The files, below the results folder.
        label : str
            What the watcher is told.
        total : int
            Steps of the work.
        make : callable
            Makes the files; is given the digest of the inputs and told whom to tell of steps done. May
            give the names of further files.

        Returns
        -------
        str
            Digest of the inputs.
        """
        key = self.stage_key(stage, inputs)
        if not self.ledger.holds(stage, key):
            start = time.perf_counter()
            with self._told(label), self.watcher.stage(label, total) as advance:
                files = [*files, *(make(key, advance) or [])]
                seconds = round(time.perf_counter() - start, 2)
                self.ledger.record(stage, key, [self.results / file for file in files], seconds)
        return key

    @contextmanager
    def _told(self, label: str) -> Iterator[None]:
        """Tell of a failing disk in one line: which stage stopped, where, and what to do."""
        try:
            yield
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            advice = "make room" if full else "look after the disk"
            raise TraitlensError(
                Problem(
                    f"{label[:1].lower()}{label[1:]} stopped: {error.strerror or error}",
                    f"{advice} and run the same command again; what was finished is kept",
                    str(error.filename or self.results),
                )
            ) from error

    @staticmethod
    def stage_key(stage: str, inputs: list[Any]) -> str:
        """Digest what a stage depends on.

        Parameters
        ----------
        stage : str
            Name of the stage.
        inputs : list
            Everything that its files depend on.

        Returns
        -------
        str
            The digest.
        """
        return digest(stage, traitlens.__version__, inputs)

    @cached_property
    def targets(self) -> pd.DataFrame:
        """Mean ratings: group, trait, image, rating, n, sd."""
        return make_targets(self.study.ratings)

    def rate(self) -> str:
        """Write the tables of `ratings/`: targets, reliability, quality of the answers, what cleaning took.

        Returns
        -------
        str
            Digest of what they depend on.
        """
        seed, cleaning = self.study.settings.seed, self.study.settings.cleaning
        left_out = self.study.cleaning.left_out if self.study.cleaning is not None else None

        def make(_key: str, _advance: Advance) -> None:
            reliability = reliability_table(self.study.ratings, seed=seed)
            keeping.write_table(self.results / "ratings" / "targets.csv", self.targets)
            keeping.write_table(self.results / "ratings" / "reliability.csv", reliability)
            if self.study.cleaning is not None:
                keeping.write_table(self.results / "ratings" / "cleaning.csv", self.study.cleaning.steps)
                keeping.write_table(self.results / "ratings" / "left_out.csv", left_out)
            write_quality(self.study, self.results)

        files = ["ratings/targets.csv", "ratings/reliability.csv"]
        inputs = [self.study.ratings, left_out, cleaning.model_dump(), seed]
        return self.make_stage("rate", inputs, files, "Rating reliability", 1, make)

    @cached_property
    def _faces(self) -> str:
        """Digest of the images and of the landmarks that were given."""
        paths = {image: self.study.path(image) for image in self.study.images[IMAGE]}
        given = digest(read_given(self.study.folder, paths, self.study.landmarks))
        give_memory_back()
        return digest({image: digest_file(path) for image, path in paths.items()}, given)

    def find_landmarks(self) -> str:
        """Write `landmarks.csv`: the landmarks that were given, completed by detected ones.

        Returns
        -------
        str
            Digest of what they depend on.
        """
        paths = {image: self.study.path(image) for image in self.study.images[IMAGE]}

        def make(_key: str, advance: Advance) -> None:
            given = read_given(self.study.folder, paths, self.study.landmarks)
            found = find_landmarks(paths, given, progress=advance)
            keeping.write_table(self.results / "landmarks.csv", found.table)
            keeping.write_json(self.results / "face_notices.json", list(map(str, found.notices)))

        inputs = [self._faces]
        files = ["landmarks.csv", "face_notices.json"]
        return self.make_stage("landmarks", inputs, files, "Finding landmarks", len(paths), make)

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

        inputs = [self.find_landmarks(), faces.model_dump(exclude={"regions"})]
        return self.make_stage("prepare", inputs, ["prepared.zarr"], "Preparing images", len(images), make)

    @property
    def prepared_store(self) -> Path:
        """Where the prepared images are, also for other processes."""
        return (self.results / "prepared.zarr").resolve()

    @cached_property
    def prepared(self) -> xr.Dataset:
        """The prepared images: pixels (image, y, x, colour) and points (image, point, xy)."""
        self.prepare()
        return open_arrays(self.results / "prepared.zarr")

    def _features_key(self) -> tuple[str, list[FeatureSpace]]:
        """What the features depend on, and what is read."""
        spaces = list(weigh_spaces(self.study.settings.readout))
        for space in spaces:
            self.backbone.up_to(space.tap.layer)
        key = digest(
            self.prepare(),
            self.backbone.digest,
            self.backbone.preprocessing,
            str(spaces),
            self.machine.precision,
            traitlens.__version__,
        )
        return key, spaces

    @cached_property
    def features(self) -> tuple[str, dict[FeatureSpace, np.ndarray]]:
        """The features that the readout reads, and the digest of what they depend on."""
        key, spaces = self._features_key()
        kept = keeping.Blocks(self.results, "features", key)
        blocks = list(blocks_of(np.arange(len(self.prepared[IMAGE]))))
        start = time.perf_counter()
        with self._told("Features"):
            if not kept.joined("features").exists():
                work = FeatureWork(self.machine, self.prepared_store, blocks, spaces)
                with self.watcher.stage("Features", len(self.prepared[IMAGE])) as advance:
                    make_blocks(self.engine, kept, work, [len(block) for block in blocks], advance)
            features = kept.join(len(blocks), "features")
            if not self.ledger.holds("features", key):
                self.ledger.record("features", key, [], round(time.perf_counter() - start, 2))
        return key, split_spaces(features, spaces, self.backbone)

    @cached_property
    def fitted(self) -> FittedReadouts:
        """The readouts of every group, trait and fold, and their out-of-fold predictions."""
        settings = self.study.settings
        _, features = self.features
        folds = self.folds
        count = len(self.targets[[GROUP, TRAIT]].drop_duplicates()) * folds[FOLD].nunique()
        with self.watcher.stage("Fitting readouts", count) as advance:
            fit = find_readout(settings.readout.method).fit
            kept = self.results / ".kept"
            options = fit_options(settings.readout, settings.seed, self.backbone, self.machine.device, kept)
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
            reliability = keeping.read_table(self.results / "ratings" / "reliability.csv")
            ceilings = reliability.reindex(columns=[GROUP, TRAIT, "ceiling_r", "ceiling_r2"])
            refits = refit_of(self.fitted, self.features[1], self.folds[IMAGE])
            table = performance(self.fitted.predictions, ceilings, seed=settings.seed, refits=refits)
            keeping.write_table(self.results / "predictions.csv", self.fitted.predictions)
            keeping.write_table(self.results / "performance.csv", table)
            prepared = {**self.prepared.attrs, "size": self.prepared.sizes[Y]}
            read = {space.view for space in self.features[1]}
            views = {name: view for name, view in FACE_VIEWS.items() if name in read}
            models = TraitModels.of(self.fitted, self.backbone, views, prepared, table)
            models.save(self.results / "models")

        features_key, _ = self.features
        inputs = [features_key, self.targets, self.folds, settings.readout.model_dump(), settings.seed]
        files = ["predictions.csv", "performance.csv", "models"]
        return self.make_stage("fit", inputs, files, "Performance", 1, make)

    @property
    def readouts(self) -> tuple[Readout, ...]:
        """The readouts of every group, trait and fold: those at hand, or those that were kept."""
        self.fit()
        if "fitted" in self.__dict__:
            return self.fitted.readouts
        return TraitModels.load(self.results / "models").readouts

    @property
    def predictions(self) -> pd.DataFrame:
        """What was predicted of each image by the readout that did not see its identity."""
        self.fit()
        return keeping.read_table(self.results / "predictions.csv")

    @property
    def performance(self) -> pd.DataFrame:
        """How well each group's ratings of each trait are predicted."""
        self.fit()
        return keeping.read_table(self.results / "performance.csv")

    def explain(self) -> str:
        """Write maps, their averages and `regions.csv`, by the readouts that did not see the identity.

        Returns
        -------
        str
            Digest of what they depend on.
        """
        settings = self.study.settings
        method, keep = settings.relevance.method, settings.run.keep_maps
        files = [AVERAGES, REGION_TABLE, UNION_TABLE] + [MAPS] * (keep != "none")

        def make(_key: str, advance: Advance) -> None:
            explain_study(self, method, keep, advance)

        total = len(self.study.images)
        inputs = [self.fit(), method, keep, list(settings.faces.regions.items())]
        return self.make_stage("explain", inputs, files, "Relevance maps", total, make)

    def compare(self) -> str:
        """Write `comparisons/*` and the tables of `ratings/`: tests by exchange of raters between groups.

        Returns
        -------
        str
            Digest of what they depend on.
        """
        parts = [self.explain(), compare_ratings(self)]
        settings = self.study.settings
        readout = settings.readout
        linear = find_readout(readout.method).reads_one_space(readout) and self.has_points
        tested = settings.comparison.permutations > 0 and self.study.has_raters
        if linear and settings.comparison.cues:
            parts.append(check_cues(self))
        if linear and tested and settings.comparison.regions:
            parts.append(compare_readouts(self))
        if tested and len(self.study.groups) > 1:
            parts.append(write_answers(self, digest(*parts)))
        return digest(*parts)

    @cached_property
    def has_points(self) -> bool:
        """Whether every face has its landmarks."""
        return bool(np.isfinite(self.prepared["points"]).all())

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
            write_planned(self.study, self.results)
            write_report(self.results)

        plan = read_plan(self.study.folder)
        inputs = [self.compare(), self.rate(), plan, self.study.images, self.study.settings.model_dump()]
        self.make_stage("report", inputs, ["report.html"], "Report", 1, make)
        return self.results / "report.html"

    def _provenance(self) -> dict[str, Any]:
        """Say with what the results were made."""
        return {
            **describe_software(),
            "backbone": {
                "name": self.backbone.name,
                "source": self.backbone.source,
                "weights_sha256": self.backbone.digest,
                "preprocessing": self.backbone.preprocessing.as_dict(),
            },
            "device": self.machine.device,
            "precision": self.machine.precision,
            "seed": self.study.settings.seed,
            "sha256": digest_tables(self.study.folder),
            "seconds": self.ledger.seconds(),
        }
