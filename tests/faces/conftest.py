"""The 3dsk and OMI faces, where they are at hand."""

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("TRAITLENS_DATA", Path(__file__).parents[2].parent / "shared" / "data"))


def _images(folder: Path) -> list[Path]:
    """List a folder's images, or skip the test."""
    found = sorted(folder.rglob("*.jpg"))
    if not found:
        pytest.skip(f"{folder.name} is not there")
    return found


@pytest.fixture(scope="session")
def faces_3dsk() -> list[Path]:
    return _images(DATA / "3dsk")


@pytest.fixture(scope="session")
def faces_omi() -> list[Path]:
    return _images(DATA / "omi" / "images")
