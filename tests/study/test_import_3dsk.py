import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

from traitlens.problems import StudyError
from traitlens.study.import_3dsk import import_3dsk

DATA = Path(os.environ.get("TRAITLENS_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
needs_data = pytest.mark.skipif(not (DATA / "3dsk").exists(), reason="the 3DSK set is not on this machine")


@pytest.fixture
def source(tmp_path, make_images):
    """A set in the layout of 3DSK: six faces of each gender."""
    folder = tmp_path / "3dsk"
    names = [f"{gender}{number}" for gender in ("male", "female") for number in range(6)]
    make_images(folder, [f"{name[:-1]}/{name}.png" for name in names])
    for gender in ("male", "female"):
        shutil.move(folder / "images" / gender, folder / gender)
    (folder / "images").rmdir()
    for index, name in enumerate(names):
        points = "\n".join(f"{point}.5\t{point + index}" for point in range(189))
        (folder / name[:-1] / f"{name}.tem").write_text(f"189\n{points}\n10\n")
    rows = [
        (
            name,
            name[:-1],
            20,
            f"R{rater}",
            ("male", "female")[rater % 2],
            30.5 + rater,
            trait,
            1 + (index + rater) % 7,
        )
        for index, name in enumerate(names)
        for rater in range(4)
        for trait in ("att", "sexdim")
    ]
    columns = [
        "face_id",
        "face_gender",
        "face_age",
        "rater_id",
        "rater_gender",
        "rater_age",
        "trait",
        "rating",
    ]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "ratings.csv", index=False)
    return folder


def test_import_makes_a_sound_study(source, tmp_path):
    study = import_3dsk(source, tmp_path / "study")
    assert study.groups == ["female", "male"]
    assert study.traits == ["attractive", "sex-typical"]
    assert study.scale == (1, 7)
    assert study.images["image"].tolist()[:2] == ["female/female0.png", "female/female1.png"]
    assert study.images["identity"].nunique() == 12
    assert study.images["may_publish"].all()
    original = pd.read_csv(source / "ratings.csv")
    assert study.ratings["rating"].tolist() == original["rating"].tolist()
    assert study.ratings["group"].tolist() == original["rater_gender"].tolist()
    copied = study.path("male/male3.png")
    assert copied.read_bytes() == (source / "male" / "male3.png").read_bytes()
    assert not copied.is_symlink()
    assert copied.stat().st_nlink == 1
    point = study.landmarks.query("image == 'male/male3.png' and point == '473'").iloc[0]
    assert (point["x"], point["y"]) == (1.5, 4)


def test_groups_may_come_from_another_column(source, tmp_path):
    table = pd.read_csv(source / "ratings.csv")
    table["school"] = table["rater_id"].map({"R0": "a", "R1": "a", "R2": "b", "R3": "b"})
    table.to_csv(source / "ratings.csv", index=False)
    study = import_3dsk(source, tmp_path / "study", groups="school")
    assert study.groups == ["a", "b"]
    assert "rater_gender" in study.ratings


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda source: (source / "ratings.csv").unlink(), "ratings.csv: is missing"),
        (lambda source: (source / "male" / "male3.png").unlink(), "there is no image of face 'male3'"),
        (lambda source: (source / "male" / "male3.tem").write_text("eyes"), "is not a WebMorph template"),
        (lambda source: (source / "ratings.csv").write_text("face\n1\n"), "column 'face_id' is missing"),
    ],
)
def test_a_damaged_source_is_told_and_leaves_nothing(source, tmp_path, damage, message):
    damage(source)
    with pytest.raises(StudyError, match=message):
        import_3dsk(source, tmp_path / "study")
    assert [path.name for path in tmp_path.iterdir()] == ["3dsk"]


@needs_data
def test_the_real_set(tmp_path):
    study = import_3dsk(DATA / "3dsk", tmp_path / "study")
    assert len(study.images) == 100
    assert len(study.ratings) == 100_000
    assert study.traits == ["attractive", "trustworthy", "dominant", "healthy", "sex-typical"]
    places = study.landmarks.pivot_table(index="image", columns="point", values=["x", "y"])
    assert (places["x", "468"] < places["x", "473"]).all()
    assert (places["x", "33"] < places["x", "133"]).all()
    assert (places["x", "133"] < places["x", "362"]).all()
    assert (places["x", "362"] < places["x", "263"]).all()
    assert (places["y", "2"] < places["y", "0"]).all()
    assert (places["y", "0"] < places["y", "17"]).all()
    assert (places["y", "17"] < places["y", "152"]).all()
