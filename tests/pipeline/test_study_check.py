"""`check` finds faults of landmark files before a run would meet them."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from traitlens.pipeline.study_check import check
from traitlens.problems import StudyError

NAMES = [f"{number:02d}.png" for number in range(12)]


@pytest.fixture
def folder(tmp_path):
    """A study of 12 images of 64 x 64 pixels."""
    rng = np.random.default_rng(2)
    (tmp_path / "images").mkdir()
    for name in NAMES:
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(tmp_path / "images" / name)
    cells = [(f"{group}{rater}", group, name) for group in "ab" for rater in range(3) for name in NAMES]
    table = pd.DataFrame(cells, columns=["rater", "group", "image"]).assign(trait="calm")
    table.assign(rating=rng.integers(1, 8, len(table))).to_csv(tmp_path / "ratings.csv", index=False)
    (tmp_path / "study.toml").write_text("[folds]\nnumber = 2\n")
    return tmp_path


def test_a_study_without_landmarks_has_no_faults(folder):
    assert check(folder).traits == ["calm"]


@pytest.mark.parametrize("suffix", [".tem", ".TEM", ".pts"])
def test_damaged_landmark_files_are_named(folder, suffix):
    (folder / "images" / f"05{suffix}").write_text("")
    with pytest.raises(StudyError, match=rf"05\{suffix}"):
        check(folder)


@pytest.mark.parametrize(
    ("point", "x", "message"),
    [(9999, 3.0, "unknown points '9999'"), (1, 900.0, r"landmark 1 is far outside of the image: at 900, 5")],
)
def test_points_of_the_table_are_checked(folder, point, x, message):
    points = pd.DataFrame({"image": [NAMES[3]] * 2, "point": [468, point], "x": [20.0, x], "y": 5.0})
    points.to_csv(folder / "landmarks.csv", index=False)
    with pytest.raises(StudyError, match=message):
        check(folder)
