"""A study's own table of ratings may have any layout and format; `study.toml` tells its columns."""

import numpy as np
import pandas as pd
import pytest

from traitlens.problems import StudyError
from traitlens.study.reading import Study
from traitlens.study.writing import widen, write_table_as

WIDE = """scale = [1, 7]
[ratings]
layout = "wide"
rater = "ResponseId"
group = "Diagnosis"
spread = ["X*"]
trait_name = "warm"
"""


@pytest.fixture
def plain(study_folder):
    return Study.load(study_folder).ratings


@pytest.fixture
def wide(plain):
    """A row per rater, the images as X00 ... X11."""
    table = widen(plain).drop(columns=["trait", "repeat"])
    return table.rename(
        columns=lambda name: "X" + name.removesuffix(".png") if name.endswith(".png") else name
    ).rename(columns={"rater": "ResponseId", "group": "Diagnosis"})


def replace_ratings(folder, table, suffix=".csv", settings=WIDE):
    (folder / "ratings.csv").unlink(missing_ok=True)
    write_table_as(table, folder / f"ratings{suffix}")
    (folder / "study.toml").write_text(settings)
    return folder


def alike(read, expected):
    columns = ["rater", "group", "image", "trait", "rating"]
    first, second = (table[columns].sort_values(columns[:4], ignore_index=True) for table in (read, expected))
    pd.testing.assert_frame_equal(first, second)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".xlsx", ".sav", ".mat"])
def test_a_wide_table_is_read_from_every_format(study_folder, plain, wide, suffix):
    alike(Study.load(replace_ratings(study_folder, wide, suffix)).ratings, plain)


@pytest.mark.parametrize("suffix", [".parquet", ".xlsx", ".sav", ".mat"])
def test_a_long_table_needs_no_settings_in_any_format(study_folder, plain, suffix):
    alike(Study.load(replace_ratings(study_folder, plain, suffix, "scale = [1, 7]\n")).ratings, plain)


def test_a_column_per_rater(study_folder, plain):
    table = widen(plain, "raters").drop(columns=["trait", "repeat"])
    settings = '[ratings]\nlayout = "wide"\ncolumns = "raters"\nspread = ["A*", "B*"]\n'
    settings += 'group_pattern = "^[AB]"\ntrait_name = "warm"\n'
    alike(Study.load(replace_ratings(study_folder, table, settings=settings)).ratings, plain)


def test_a_file_of_another_name_and_rows_of_one_kind(study_folder, plain):
    table = plain.rename(columns={"rating": "response", "image": "stimulus"}).astype(object)
    table["trial_type"] = "slider"
    welcome = {"trial_type": "text", "response": "Next", "stimulus": "<p>Welcome</p>"}
    table = pd.concat([pd.DataFrame([welcome]), table]).fillna("")
    (study_folder / "ratings.csv").unlink()
    table.to_csv(study_folder / "export.csv", index=False)
    settings = '[ratings]\nfile = "export.csv"\nrating = "response"\nimage = "stimulus"\n'
    (study_folder / "study.toml").write_text(settings + 'only = { trial_type = ["slider"] }\n')
    alike(Study.load(study_folder).ratings, plain)


def test_typed_columns_of_parquet(study_folder, plain):
    typed = plain.assign(
        rater=plain["rater"].str[1:].astype("Int64") + 10 * (plain["group"] == "B"),
        group=plain["group"].astype("category"),
        image=plain["image"].str[:2].astype(float),
        rating=plain["rating"].astype("Float32"),
    )
    typed.loc[3, "rating"] = pd.NA
    study = Study.load(replace_ratings(study_folder, typed, ".parquet", ""))
    assert len(study.ratings) == len(plain) - 1
    assert study.ratings["image"].tolist() == plain["image"].drop(3).tolist()
    assert sorted(study.ratings["rater"].unique()) == ["0", "1", "10", "11", "12", "2"]
    assert study.ratings["rating"].tolist() == plain["rating"].drop(3).tolist()


def test_faults_are_told_by_the_cell_of_the_wide_table(study_folder, wide):
    wide = wide.astype(object)
    wide.loc[1, "X03"] = "lots"
    wide.loc[4, "X05"] = 9
    wide.loc[2, "X00"] = np.nan
    replace_ratings(study_folder, wide)
    with pytest.raises(StudyError) as caught:
        Study.load(study_folder)
    assert str(caught.value).splitlines() == [
        "ratings.csv, row 3, column 'X03': 'lots' is not a number; correct it or leave it empty",
        "ratings.csv, row 6, column 'X05': 9 is off the scale 1 to 7; correct it, or the scale in study.toml",
    ]
    wide.loc[1, "X03"], wide.loc[4, "X05"] = 3, 5
    study = Study.load(replace_ratings(study_folder, wide))
    assert [str(notice) for notice in study.notices] == ["ratings.csv: empty ratings were left out: 1"]


def test_columns_and_raters_that_do_not_fit_are_told(study_folder, wide):
    replace_ratings(study_folder, wide, settings=WIDE.replace("Diagnosis", "Diagnoses"))
    with pytest.raises(StudyError, match="column 'Diagnoses' is missing; nearest: Diagnosis"):
        Study.load(study_folder)
    replace_ratings(study_folder, pd.concat([wide, wide.iloc[[2]]]))
    with pytest.raises(
        StudyError, match="row 8: has the same rater, group, image, trait and repeat as row 4"
    ):
        Study.load(study_folder)
    (study_folder / "ratings.csv").unlink()
    (study_folder / "study.toml").write_text('[ratings]\nfile = "export.sav"\n')
    with pytest.raises(StudyError, match=r"export\.sav: is missing"):
        Study.load(study_folder)


def test_images_named_in_html_are_found(study_folder, plain):
    table = plain.assign(image=[f'<img src="stimuli/{name}" width="300">' for name in plain["image"]])
    alike(Study.load(replace_ratings(study_folder, table, settings="")).ratings, plain)
