"""What was studied and with what: `study.json` and `provenance.json`, beside the results."""

import platform
from importlib import metadata
from typing import Any

import traitlens
from traitlens.study.reading import Study
from traitlens.words import IDENTITY, IMAGE, MAY_PUBLISH, RATER

PACKAGES = ("torch", "numpy", "scipy", "pandas", "xarray", "zarr", "scikit-learn", "pillow")


def describe_study(study: Study, crop: str, notices: list[str]) -> dict[str, Any]:
    """Say what was studied, so that the report can be made from the results alone.

    Parameters
    ----------
    study : Study
        The study.
    crop : str
        The crop of its images that was used.
    notices : list of str
        What was noticed about the faces.

    Returns
    -------
    dict
        What `study.json` holds.
    """
    images = study.images
    return {
        "name": study.settings.name,
        "description": study.settings.description,
        "groups": study.groups,
        "traits": study.traits,
        "scale": list(study.scale),
        "n_images": len(images),
        "n_identities": int(images[IDENTITY].nunique()),
        "n_raters": int(study.ratings[RATER].nunique()) if study.has_raters else None,
        "n_ratings": len(study.ratings),
        "may_publish": dict(zip(images[IMAGE], map(bool, images[MAY_PUBLISH]), strict=True)),
        "identity": dict(zip(images[IMAGE], images[IDENTITY], strict=True)),
        "settings": {**study.settings.model_dump(mode="json"), "crop": crop},
        "notices": [*map(str, study.notices), *notices],
    }


def describe_software() -> dict[str, Any]:
    """Say which versions were used.

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
