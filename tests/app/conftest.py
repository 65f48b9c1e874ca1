"""A folder of drawn pictures, and an Excel table with a column for each rater."""

import shutil

import pandas as pd
import pytest

from traitlens.app.workspace import Workspace
from traitlens.study.simulated_study import simulate_study

PICTURES, RATERS = 24, 6
GROUPS = {"autistic": "AUT", "non-autistic": "NON"}


@pytest.fixture(scope="session")
def material(tmp_path_factory):
    """`photos/` and `warm.xlsx`; the column `years` contains no ratings, and looks as if it did."""
    folder = tmp_path_factory.mktemp("material")
    drawn = folder / "drawn"
    simulate_study(drawn, PICTURES, 1, 1, RATERS, seed=3, size=128, seen_size=64)
    (folder / "photos").mkdir()
    for file in sorted((drawn / "images").rglob("*.png")):
        shutil.copyfile(file, folder / "photos" / f"face_{file.parent.name}.png")
    ratings = pd.read_csv(drawn / "ratings.csv")
    names = {
        rater: f"{GROUPS[group]}_{number:02d}"
        for group, raters in ratings.groupby("group")["rater"]
        for number, rater in enumerate(sorted(raters.unique()), 1)
    }
    table = ratings.assign(face="face_" + ratings["image"].str[:3], rater=ratings["rater"].map(names))
    table = table.pivot_table(index="face", columns="rater", values="rating").reset_index()
    table["years"] = [20 + 7 * number % 40 for number in range(PICTURES)]
    table.to_excel(folder / "warm.xlsx", index=False)
    return folder


@pytest.fixture
def workspace(material, tmp_path):
    """A study with pictures and a table, before its columns were looked at."""
    study = Workspace(tmp_path / "Warmth")
    study.change(identity="image")
    for file in (material / "photos").iterdir():
        shutil.copyfile(file, tmp_path / "file")
        assert study.save_picture(file.name, tmp_path / "file")
    shutil.copyfile(material / "warm.xlsx", tmp_path / "file")
    study.save_table("warm.xlsx", tmp_path / "file")
    return study


@pytest.fixture
def roles():
    """What the columns of the table hold in truth."""
    raters = {f"{group}_{number:02d}": "of rater" for group in GROUPS.values() for number in range(1, 7)}
    return {"face": "image", **raters, "years": "ignore"}
