"""Versions of the software that results were made with."""

import platform
from importlib import metadata
from typing import Any

import traitlens

PACKAGES = ("torch", "numpy", "scipy", "pandas", "xarray", "zarr", "pillow")
"""Packages that numbers depend on."""


def describe_software() -> dict[str, Any]:
    """Return which versions were used.

    Returns
    -------
    dict
        Versions of traitlens, Python, the system and the packages that numbers depend on.
    """
    return {
        "traitlens": traitlens.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
    }
