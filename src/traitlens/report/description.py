"""Versions of the software, for the provenance of results."""

import platform
from importlib import metadata
from typing import Any

import traitlens

PACKAGES = ("torch", "numpy", "scipy", "pandas", "xarray", "zarr", "pillow")
"""Packages that affect the numbers."""


def describe_software() -> dict[str, Any]:
    """Return the versions of the software in use.

    Returns
    -------
    dict
        Versions of traitlens, Python, the system and the packages that affect the numbers.
    """
    return {
        "traitlens": traitlens.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
    }
