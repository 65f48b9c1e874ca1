"""Tables laid out as four public sets are: the numbers after import are those that pandas reads.

The numbers are drawn here; only headings, forms of names and oddities are those of the sets.
"""

import numpy as np
import pandas as pd
import pytest
from tests.study.conftest import write_images

from traitlens.study.import_table import import_table


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def equal(study, table: pd.DataFrame, keys: dict[str, str], rating: str) -> None:
    """Compare the ratings of a study with a long table read by pandas."""
    ours = study.ratings.set_index(list(keys.values()))["rating"].astype(float).sort_index()
    theirs = table.set_index(list(keys))[rating].astype(float).rename_axis(list(keys.values())).sort_index()
    pd.testing.assert_series_equal(ours, theirs, check_names=False, check_index_type=False)


def test_mebeauty(tmp_path, rng):
    """A workbook with a column for each MTurk rater, most cells empty, an index and a mean."""
    raters = ["A094612415T5EHTYKXTQ", "A10C50CNO2SJ58", "AYDHJWZGD", "AZUVFYHHNV", "A2KX"]
    images = [f"{name}-unsplash.jpg" for name in ("kuma-kum-GKbP", "alex_sorto-k8", "3dmodel", "d15", "d015")]
    images += [f"pexels-{number}.jpg" for number in (114, 118, 122, 13, 130, 14, 15)]
    write_images(tmp_path, images)
    values = rng.integers(1, 11, (12, 5)).astype(float)
    values[rng.random((12, 5)) < 0.4] = np.nan
    values[:, 0] = rng.integers(1, 11, 12)
    table = pd.DataFrame(values, columns=raters)
    table.insert(0, "mean", table.mean(axis=1))
    table.insert(0, "image", images)
    table.to_excel(tmp_path / "public_date_all.xlsx")
    done = import_table(
        tmp_path / "public_date_all.xlsx",
        tmp_path / "st",
        tmp_path / "images",
        trait_name="attractive",
        identity="image",
        folds=2,
    )
    read = pd.read_excel(tmp_path / "public_date_all.xlsx", index_col=0, engine="openpyxl")
    read = read.drop(columns="mean")
    equal(done.study, read.melt("image").dropna(), {"variable": "rater", "image": "image"}, "value")
    assert {entry.name for entry in done.account.left_out} == {"(column 1)", "mean"}


def test_face_body(tmp_path, rng):
    """Faces as columns, bodies and faces in one file, three sexes of raters, a trait for each row."""
    faces = ["alexandra", "anezka", "bera", "gejza", "ida", "jitka", "lea", "linda", "matylda", "zlata"]
    write_images(tmp_path, [f"{name}.png" for name in faces])
    rows = [
        (judgment, "female", kind, 477000 + rater, sex, rng.choice(["men", "women", ""]), 20 + rater / 10)
        for judgment in ("aggressive", "mean", "emotionally_stable")
        for kind in ("body", "faces")
        for rater, sex in enumerate(["female", "male", "female", "male", "intersex", "female"])
    ]
    names = ["judgment", "stimulus_sex", "type", "user_id", "rater_sex", "sexpref", "rater_age"]
    table = pd.DataFrame(rows, columns=names)
    table[faces] = rng.integers(1, 8, (len(table), len(faces)))
    table.to_csv(tmp_path / "ratings.csv", index=False)
    done = import_table(
        tmp_path / "ratings.csv",
        tmp_path / "st",
        tmp_path / "images",
        group="rater_sex",
        only={"type": ["faces"], "rater_sex": ["female", "male"]},
    )
    read = pd.read_csv(tmp_path / "ratings.csv", dtype={"user_id": str})
    read = read.query("type == 'faces' and rater_sex != 'intersex'").melt(names)
    read["variable"] += ".png"
    keys = {"user_id": "rater", "judgment": "trait", "variable": "image", "rater_sex": "group"}
    equal(done.study, read, keys, "value")
    assert done.study.groups == ["female", "male"]


def test_psa001(tmp_path, rng):
    """Means of regions, a column for each trait, one of which is called mean."""
    traits = ["aggressive", "attractive", "caring", "emostable", "mean", "trustworthy", "unhappy", "weird"]
    stimuli = [f"{kind}-{number}" for kind in ("AF", "AM", "WF") for number in (203, 204, 205, 210)]
    write_images(tmp_path, [f"{name}.png" for name in stimuli])
    regions = ["Africa", "Australia & New Zealand", "UK"]
    index = pd.MultiIndex.from_product([regions, stimuli], names=["region", "stim_id"])
    table = pd.DataFrame(rng.normal(4, 1, (len(index), len(traits))), index, traits).reset_index()
    table.to_csv(tmp_path / "psa001_agg.csv", index=False)
    done = import_table(tmp_path / "psa001_agg.csv", tmp_path / "st", tmp_path / "images", group="region")
    read = pd.read_csv(tmp_path / "psa001_agg.csv").melt(["region", "stim_id"])
    read["stim_id"] += ".png"
    equal(done.study, read, {"region": "group", "stim_id": "image", "variable": "trait"}, "value")
    assert not done.study.has_raters


def test_london(tmp_path, rng):
    """A row for each of many raters without a name; X001 is the photograph 001_03; old line ends."""
    numbers = [1, 2, 3, 8, 13, 41, 99, 100, 112, 117, 144, 173]
    write_images(tmp_path, [f"{number:03d}_03.png" for number in numbers])
    table = pd.DataFrame(
        {
            "rater_sex": ["female"] * 6 + ["male"] * 4 + [""],
            "rater_sexpref": rng.choice(["men", "women", "either"], 11),
            "rater_age": np.round(rng.uniform(17, 60, 11), 1),
        }
    )
    for number in numbers:
        table[f"X{number:03d}"] = rng.integers(1, 8, 11)
    (tmp_path / "london.csv").write_bytes(table.to_csv(index=False, lineterminator="\r").encode())
    done = import_table(
        tmp_path / "london.csv",
        tmp_path / "st",
        tmp_path / "images",
        group="rater_sex",
        trait_name="attractive",
        by_number=True,
    )
    read = pd.read_csv(tmp_path / "london.csv")
    read = read.assign(rater=[f"row {place + 2}" for place in range(11)]).dropna(subset="rater_sex")
    read = read.drop(columns=["rater_sexpref", "rater_age"]).melt(["rater", "rater_sex"])
    read["variable"] = read["variable"].str[1:] + "_03.png"
    equal(done.study, read, {"rater": "rater", "rater_sex": "group", "variable": "image"}, "value")
    assert done.account.left_out_cells == 12
