"""Check the installation: versions, device, weights, writable folders and extras."""

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
"""Extras of the package by name: their purpose, and the modules that they install."""

ENOUGH_BYTES = 2 * 10**9
"""Free disk space in bytes that is enough for a small study."""


@dataclass(frozen=True)
class InstallationCheck:
    """Result of one check of the installation.

    Parameters
    ----------
    what : str
        What was checked.
    state : {"good", "missing", "bad"}
        "missing" if something optional is missing, "bad" if traitlens cannot work.
    message : str
        What was found, and what to do.
    """

    what: str
    state: Literal["good", "missing", "bad"]
    message: str


def check_installation(folder: Path = Path()) -> list[InstallationCheck]:
    """Check everything that a run needs, without changing anything.

    Parameters
    ----------
    folder : Path, default the current folder
        Folder to which results would be written.

    Returns
    -------
    list of InstallationCheck
        Results of the checks, the most important first.
    """
    return [
        *_check_versions(),
        _check_device(),
        _check_weights(),
        _check_writable("cache", cache_folder()),
        _check_writable("folder", Path(folder)),
        *_check_extras(),
    ]


def _check_versions() -> Iterator[InstallationCheck]:
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


def _check_device() -> InstallationCheck:
    """Report the best device to run the network on."""
    best = find_device("auto")
    message = f"{best}, {os.cpu_count()} processor cores"
    return InstallationCheck(
        "device", "good", message if best == "cpu" else f"{message}; choose it with --device {best}"
    )


def _check_weights() -> InstallationCheck:
    """Check whether the weights of VGG16 are present and undamaged."""
    named = os.environ.get(FILE_VARIABLE)
    file = vgg16_file()
    if not named and not file.exists():
        return InstallationCheck(
            "weights",
            "missing",
            "not on this computer yet; 58 MB will be downloaded when first needed. To provide them "
            f"beforehand: pip install {OWN_PACKAGE}, or set {FILE_VARIABLE} to the path of a copy",
        )
    try:
        vgg16_weights(file)
    except TraitlensError as error:
        advice = f"correct or unset {FILE_VARIABLE}" if named else "remove the file"
        return InstallationCheck("weights", "bad", f"{error}; {advice}")
    return InstallationCheck("weights", "good", f"VGG16 as published by Oxford, in {file}")


def _check_writable(what: str, folder: Path) -> InstallationCheck:
    """Check that a folder is writable and has enough space, by writing a file to it or its nearest parent."""
    there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            free = shutil.disk_usage(there).free
    except OSError as error:
        return InstallationCheck(
            what, "bad", f"{folder} is not writable ({error.strerror}); use another folder"
        )
    message = f"{folder.absolute()} is writable, {free / 10**9:.1f} GB free"
    return InstallationCheck(
        what,
        "good" if free > ENOUGH_BYTES else "bad",
        message if free > ENOUGH_BYTES else f"{message}; free some disk space",
    )


def _check_extras() -> Iterator[InstallationCheck]:
    """Report the extras that are not installed."""
    for name, (purpose, modules) in EXTRAS.items():
        if all(find_spec(module) for module in modules):
            yield InstallationCheck(name, "good", f"{purpose}: installed")
        else:
            yield InstallationCheck(name, "missing", f"{purpose}: pip install 'traitlens[{name}]'")
