import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image


def _ratings(images=12, raters=3, groups=("A", "B"), traits=("warm",)) -> pd.DataFrame:
    """Whole ratings 1 to 7 that vary, every rater rating everything."""
    rows = [
        (f"{group}{rater}", group, f"{image:02d}.png", trait, 1 + (image * 3 + rater + len(trait)) % 7)
        for group, rater, image, trait in itertools.product(groups, range(raters), range(images), traits)
    ]
    return pd.DataFrame(rows, columns=["rater", "group", "image", "trait", "rating"])


def write_images(folder: Path, names) -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    for name in names:
        path = folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


@pytest.fixture
def make_ratings():
    return _ratings


@pytest.fixture
def make_images():
    return write_images


@pytest.fixture
def study_folder(tmp_path) -> Path:
    """A small study without faults."""
    folder = tmp_path / "small"
    write_images(folder, [f"{image:02d}.png" for image in range(12)])
    _ratings().to_csv(folder / "ratings.csv", index=False)
    (folder / "study.toml").write_text("scale = [1, 7]\n")
    return folder
