"""The context of an analysis: its study, its results folder, and the device and network to compute with."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from traitlens.artifacts import FACES, Artifact
from traitlens.collecting.preregistration import read_plan
from traitlens.columns import IDENTITY, IMAGE, MAY_PUBLISH
from traitlens.comparison.compared_groups import shared_ratings
from traitlens.computing.engines import available_cores
from traitlens.computing.machine import Machine
from traitlens.digests import digest, digest_file
from traitlens.faces.landmark_files import read_given_landmarks
from traitlens.faces.masks import joined_names
from traitlens.faces.regions import region_names
from traitlens.features.backbone_catalogue import describe_backbone
from traitlens.pipeline.image_files import ImageFiles
from traitlens.progress import SilentWatcher, Watcher
from traitlens.readouts.folds import assign_folds
from traitlens.readouts.registry import find_readout
from traitlens.records import Records, digest_output
from traitlens.study.accounts import read_account
from traitlens.study.reading import Study
from traitlens.study.settings import ReadoutSettings
from traitlens.study.simulated_study import read_true_differences

TABLES = {".csv", ".toml", ".parquet", ".xlsx", ".sav", ".json"}
"""File extensions of a study's tables and settings, which the provenance lists with their digests."""


class Context:
    """Study, results folder, and the device and network to compute with; writes no files.

    Parameters
    ----------
    study : Study
        The study to analyse.
    out : str, Path or None
        The results folder; `results` in the study's folder if None.
    machine : Machine or None
        Device, precision and weights of the network; the defaults of :class:`Machine` if None.
    watcher : Watcher or None
        Displays the progress; nothing is displayed if None.
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
        self.machine = _apply_readout_settings(machine or Machine(), study.settings.readout)
        self.watcher = watcher or SilentWatcher()
        self.records = Records(self.results)
        self.check_images: int | None = None
        self.reasons: dict[str, dict[str, str]] = {}
        self._values: dict[str, Any] = {}
        self._digests: dict[str, str] = {}

    def value(self, name: str) -> Any:
        """Return an input of stages that comes from the study or its settings; read once, then cached.

        Parameters
        ----------
        name : str
            A name in :data:`INPUTS`, or a setting such as "settings.seed".
        """
        if name not in self._values:
            self._values[name] = self._setting(name) if "." in name else INPUTS[name](self)
        return self._values[name]

    def digest(self, one: str | Artifact) -> str:
        """Return the digest of an input of stages: a value of the study, or a file of the results folder.

        Returns
        -------
        str
            SHA-256, or "" if the file is missing.
        """
        name = one if isinstance(one, str) else one.path
        if name not in self._digests:
            self._digests[name] = (
                self._digest_value(one) if isinstance(one, str) else digest_output(one.of(self.results))
            )
        return self._digests[name]

    def _setting(self, name: str) -> Any:
        """Return a setting or a section of settings, given its dotted name."""
        value: Any = self.study.settings
        for part in name.split(".")[1:]:
            value = getattr(value, part)
        return value

    def _digest_value(self, name: str) -> str:
        """Return the digest of an input that is not a file."""
        if name == "photographs":
            return digest(self.photographs.digests())
        value = self.value(name)
        if hasattr(value, "model_dump"):
            value = value.model_dump(mode="json")
        return digest(str(value) if name in ("spaces", "regional_spaces") else value)

    def forget(self, *names: str) -> None:
        """Remove the cached values and digests of rewritten files and of inputs that are no longer needed.

        Parameters
        ----------
        *names : str
            Names of inputs, or paths of files in the results folder.
        """
        for name in names:
            self._values.pop(name, None)
            self._digests.pop(name, None)

    @cached_property
    def photographs(self) -> ImageFiles:
        """Files of the rated images, keyed by the images' names."""
        return ImageFiles({image: self.study.path(image) for image in self.study.images[IMAGE]})

    @cached_property
    def study_files(self) -> dict[str, str]:
        """SHA-256 of the study's tables and settings, by file name."""
        files = sorted(self.study.folder.iterdir())
        return {file.name: digest_file(file) for file in files if file.suffix in TABLES and file.is_file()}

    @cached_property
    def backbone_facts(self) -> Any:
        """Layers, channels, preprocessing and digest of the network, read without loading its weights."""
        return describe_backbone(self.machine.backbone_name)

    @property
    def backbone_identity(self) -> dict[str, Any]:
        """Digest of the weights, preprocessing and precision; features change if any of them changes."""
        facts = self.backbone_facts
        return {
            "digest": facts.digest,
            "preprocessing": facts.preprocessing.as_dict(),
            "divide_by": self.machine.divide_by,
            "precision": self.machine.precision,
        }

    @cached_property
    def spaces(self) -> Any:
        """Feature spaces that the readouts use."""
        readout = self.study.settings.readout
        return find_readout(readout.method).spaces(readout)

    @cached_property
    def regional_spaces(self) -> list[Any]:
        """Feature spaces of regional readouts: the spaces of a ridge readout, once for each region."""
        faces, readout = self.study.settings.faces, self.study.settings.readout
        read = find_readout("ridge").spaces(readout)
        regions = joined_names(region_names(faces.regions))
        return [replace(space, region=region) for region in regions for space in read]

    @property
    def without_landmarks(self) -> list[str] | None:
        """Names of images without landmarks; None before landmarks are detected."""
        if not FACES.of(self.results).exists():
            return None
        try:
            return list(FACES.read(self.results)["without_landmarks"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @property
    def workers(self) -> int:
        """Number of blocks of images that are computed in parallel."""
        if self.machine.workers is not None:
            return self.machine.workers
        return available_cores() if self.machine.device == "cpu" and not self.machine.scheduler else 1


def _apply_readout_settings(machine: Machine, readout: ReadoutSettings) -> Machine:
    """Return the machine with the backbone and input scale of a readout (Cao et al., 2023, divide by 255)."""
    divide_by = machine.divide_by * find_readout(readout.method).input_divisor
    return replace(machine, backbone_name=readout.backbone, divide_by=divide_by)


def _given_landmarks(context: Context) -> Any:
    study = context.study
    return read_given_landmarks(study.folder, context.photographs.paths, study.landmarks)


def _folds(context: Context) -> Any:
    settings = context.study.settings
    return assign_folds(context.study.images, settings.folds.number, settings.seed, settings.folds.column)


def _face_columns(context: Context) -> Any:
    """Return the columns of images.csv that may be measures of faces."""
    others = [IDENTITY, MAY_PUBLISH, "fold", context.study.settings.folds.column]
    return context.study.images.drop(columns=[name for name in others if name], errors="ignore")


def _cleaned(context: Context) -> Any:
    cleaning = context.study.cleaning
    return None if cleaning is None else {"steps": cleaning.steps, "left_out": cleaning.left_out}


def _name_groups_left_out(study: Study) -> list[str]:
    """Return a notice that names groups left out of refits because they rated other images."""
    shared = shared_ratings(study.ratings)[0]
    rest = sorted({*study.groups} - {*shared})
    if not rest:
        return []
    tests = "tests of performance, pixels and variables that refit readouts"
    return [f"{tests} leave out {', '.join(rest)}, who rated other images than {', '.join(shared)}"]


def _description(context: Context) -> Any:
    study = context.study
    account = read_account(study.folder)
    return {
        "imported": [] if account is None else account.summary(),
        "images": study.images,
        "settings": study.settings.model_dump(mode="json"),
        "notices": [*map(str, study.notices), *_name_groups_left_out(study)],
        "scale": list(study.scale),
        "planted": read_true_differences(study.folder),
    }


INPUTS: Mapping[str, Callable[[Context], Any]] = {
    "ratings": lambda context: context.study.ratings,
    "cleaned": _cleaned,
    "groups": lambda context: context.study.groups,
    "traits": lambda context: context.study.traits,
    "identities": lambda context: context.study.images.set_index(IMAGE)[IDENTITY],
    "face_columns": _face_columns,
    "images": lambda context: list(context.study.images[IMAGE]),
    "folds": _folds,
    "photographs": lambda context: context.photographs,
    "given_landmarks": _given_landmarks,
    "frame": lambda context: context.study.settings.faces.model_copy(update={"regions": {}}),
    "regions": lambda context: list(context.study.settings.faces.regions.items()),
    "spaces": lambda context: context.spaces,
    "regional_spaces": lambda context: context.regional_spaces,
    "backbone": lambda context: context.backbone_identity,
    "check_images": lambda context: context.check_images,
    "frozen_plan": lambda context: read_plan(context.study.folder),
    "study_files": lambda context: context.study_files,
    "description": _description,
    "reasons": lambda context: list(context.reasons.values()),
}
"""Inputs of stages that are neither files nor settings: the function that reads each, by name."""
