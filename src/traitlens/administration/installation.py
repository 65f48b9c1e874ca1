"""Check the installation: versions, device, weights, writable folders, extras."""

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import traitlens
from traitlens.features.backbone import find_device
from traitlens.features.weights import FILE_VARIABLE, OWN_PACKAGE, cache_folder, vgg16_file, vgg16_weights
from traitlens.problems import TraitlensError
from traitlens.report.description import PACKAGES

EXTRAS = {
    "tables": ("Excel and SPSS tables", ("python_calamine", "openpyxl", "pyreadstat")),
    "app": ("the explorer", ("nicegui",)),
    "heic": ("photographs of telephones (HEIC)", ("pillow_heif",)),
    "hub": ("models to and from the Hugging Face hub", ("huggingface_hub",)),
}
"""Extras by name: their purpose and the modules that they install."""

ROOM = 2 * 10**9
"""Free bytes that a small study needs."""


@dataclass(frozen=True)
class InstallationCheck:
    """Result of one check.

    Parameters
    ----------
    state : {"good", "missing", "bad"}
        "missing" if it is optional, "bad" if traitlens cannot work without it.
    message : str
        Result, and advice.
    """

    what: str
    state: Literal["good", "missing", "bad"]
    message: str


def check_installation(folder: Path = Path()) -> list[InstallationCheck]:
    """Check everything that a run needs, without changing anything.

    Parameters
    ----------
    folder : Path, default the current folder
        Folder of results.

    Returns
    -------
    list of InstallationCheck
        In order of importance.
    """
    return [
        *_versions(),
        _device(),
        _weights(),
        _can_write("cache", cache_folder()),
        _can_write("folder", Path(folder)),
        *_extras(),
    ]


def _versions() -> Iterator[InstallationCheck]:
    """Check the versions of packages that results depend on."""
    system = platform.platform(terse=True)
    yield InstallationCheck(
        "traitlens", "good", f"{traitlens.__version__} on Python {platform.python_version()}, {system}"
    )
    try:
        message = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
        yield InstallationCheck("packages", "good", message)
    except metadata.PackageNotFoundError as error:
        yield InstallationCheck(
            "packages", "bad", f"{error.name} is missing: pip install --force-reinstall traitlens"
        )


def _device() -> InstallationCheck:
    """Check on which device the network would run."""
    best = find_device("auto")
    message = f"{best}, {os.cpu_count()} processor cores"
    return InstallationCheck(
        "device", "good", message if best == "cpu" else f"{message}; choose it with --device {best}"
    )


def _weights() -> InstallationCheck:
    """Check that the network's weights are present and undamaged."""
    named = os.environ.get(FILE_VARIABLE)
    file = vgg16_file()
    if not named and not file.exists():
        return InstallationCheck(
            "weights",
            "missing",
            "VGG16 is not here yet; 58 MB are downloaded when first needed, or: "
            f"pip install {OWN_PACKAGE}; or set {FILE_VARIABLE} to a copy",
        )
    try:
        vgg16_weights(file)
    except TraitlensError as error:
        advice = f"correct or unset {FILE_VARIABLE}" if named else "remove the file"
        return InstallationCheck("weights", "bad", f"{error}; {advice}")
    return InstallationCheck("weights", "good", f"VGG16 as Oxford published it, in {file}")


def _can_write(what: str, folder: Path) -> InstallationCheck:
    """Check that files can be written, by writing one into the folder or its nearest parent."""
    there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            free = shutil.disk_usage(there).free
    except OSError as error:
        return InstallationCheck(what, "bad", f"{folder} is not writable ({error.strerror}); work elsewhere")
    message = f"{folder.absolute()} is writable, {free / 10**9:.1f} GB free"
    return InstallationCheck(
        what, "good" if free > ROOM else "bad", message if free > ROOM else f"{message}; make room"
    )


def _extras() -> Iterator[InstallationCheck]:
    """Check which extras are installed."""
    for name, (purpose, modules) in EXTRAS.items():
        if all(find_spec(module) for module in modules):
            yield InstallationCheck(name, "good", f"{purpose}: installed")
        else:
            yield InstallationCheck(name, "missing", f"{purpose}: pip install 'traitlens[{name}]'")
