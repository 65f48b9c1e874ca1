"""Tables in the layouts and formats of experiment software become studies with little help."""

import json

import numpy as np
import pandas as pd
import pytest

from traitlens.problems import StudyError, TraitlensError
from traitlens.study.import_table import import_table
from traitlens.study.reading import Study
from traitlens.study.settings import RatingsSettings, read_settings

NUMBER = 12


@pytest.fixture
def photos(tmp_path, make_images):
    """Images 001.png ... 012.png."""
    make_images(tmp_path, [f"{number + 1:03d}.png" for number in range(NUMBER)])
    return tmp_path / "images"


@pytest.fixture
def values():
    """Ratings of raters (rows) and images (columns)."""
    return np.random.default_rng(0).integers(1, 8, (6, NUMBER))


def test_wide_table_with_a_row_per_rater_needs_only_the_group(tmp_path, photos, values):
    table = pd.DataFrame(values, columns=[f"X{number + 1:03d}" for number in range(NUMBER)])
    table.insert(0, "age", [21, 30, 44, 19, 60, 33])
    table.insert(0, "sex", ["f", "m"] * 3)
    table.to_csv(tmp_path / "warm.csv", index=False)
    done = import_table(tmp_path / "warm.csv", tmp_path / "study", photos, group="sex")
    assert (done.mapping.layout, done.mapping.columns) == ("wide", "images")
    assert done.study.groups == ["f", "m"]
    assert done.study.traits == ["warm"]
    assert done.study.ratings["rater"].nunique() == 6
    read = done.study.ratings.pivot_table(index="rater", columns="image", values="rating")
    np.testing.assert_array_equal(read.to_numpy(), values)


def test_excel_sheet_with_a_column_per_rater_and_empty_cells(tmp_path, photos, values):
    table = pd.DataFrame(values.T.astype(float), columns=["ASD_1", "ASD_2", "ASD_3", "NT_1", "NT_2", "NT_3"])
    table.iloc[::5, 1] = np.nan
    table.iloc[1::4, 4] = np.nan
    table.insert(0, "Photo", [f"{number + 1}.PNG" for number in range(NUMBER)])
    table.to_excel(tmp_path / "strong.xlsx", index=False)
    done = import_table(tmp_path / "strong.xlsx", tmp_path / "study", photos)
    assert (done.mapping.layout, done.mapping.columns) == ("wide", "raters")
    assert done.study.groups == ["ASD", "NT"]
    cells = table.drop(columns="Photo").to_numpy().ravel()
    assert done.study.ratings["rating"].tolist() == cells[~np.isnan(cells)].tolist()


def test_a_table_of_raters_tells_the_groups(tmp_path, photos, values):
    table = pd.DataFrame(values.T, columns=[f"r{number}" for number in range(6)])
    table.insert(0, "face", [f"{number + 1:03d}" for number in range(NUMBER)])
    table.to_csv(tmp_path / "warm.tsv", index=False, sep="\t")
    raters = pd.DataFrame({"rater": [f"r{number}" for number in range(6)], "group": list("aaabbb")})
    raters.to_csv(tmp_path / "raters.csv", index=False)
    out = tmp_path / "study"
    done = import_table(tmp_path / "warm.tsv", out, photos, raters=tmp_path / "raters.csv")
    assert done.study.groups == ["a", "b"]
    raters.iloc[1:].to_csv(tmp_path / "raters.csv", index=False)
    with pytest.raises(StudyError, match="rater 'r0' is missing"):
        import_table(tmp_path / "warm.tsv", tmp_path / "other", photos, raters=tmp_path / "raters.csv")


def long_rows(values):
    for rater, row in enumerate(values):
        for image, value in enumerate(row):
            for trait in ("warm", "strong"):
                yield rater, f"{image + 1:03d}.png", trait, int(value if trait == "warm" else 8 - value)


def test_jspsych(tmp_path, photos, values):
    trials = [
        {
            "trial_type": "html-slider-response",
            "rt": 800 + rater,
            "stimulus": f"img/{image}",
            "response": value,
            "subject_id": f"p{rater}",
            "attribute": trait,
            "condition": "ab"[rater % 2],
        }
        for rater, image, trait, value in long_rows(values)
    ]
    (tmp_path / "export.json").write_text(json.dumps([{"trial_type": "instructions", "rt": 1}, *trials]))
    done = import_table(tmp_path / "export.json", tmp_path / "study", photos)
    mapping = done.mapping
    assert (mapping.rater, mapping.image, mapping.rating) == ("subject_id", "stimulus", "response")
    assert (mapping.group, mapping.trait, mapping.keep) == ("condition", "attribute", ("rt",))
    assert len(done.study.ratings) == 2 * values.size


def test_gorilla(tmp_path, photos, values):
    rows = [
        {
            "Event Index": 1,
            "Participant Private ID": 100 + rater,
            "Task Name": "faces",
            "Reaction Time": 900.5,
            "Response": value,
            "Image": image,
            "Question": trait,
            "Group": "ab"[rater % 2],
        }
        for rater, image, trait, value in long_rows(values)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "data.csv", index=False, encoding="utf-8-sig")
    mapping = import_table(tmp_path / "data.csv", tmp_path / "study", photos).mapping
    assert (mapping.rater, mapping.rating, mapping.trait) == (
        "Participant Private ID",
        "Response",
        "Question",
    )


def test_psychopy(tmp_path, photos, values):
    rows = [
        {
            "imageFile": f"stimuli/{image}",
            "trials.thisN": 3,
            "slider.response": value,
            "slider.rt": 1.25,
            "participant": f"{rater:02d}",
            "session": 1,
            "group": "ab"[rater % 2],
            "frameRate": 60.1,
        }
        for rater, image, trait, value in long_rows(values)
        if trait == "warm"
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "data.csv", index=False)
    done = import_table(tmp_path / "data.csv", tmp_path / "study", photos, trait_name="warm")
    assert (done.mapping.rater, done.mapping.rating) == ("participant", "slider.response")
    assert done.study.traits == ["warm"]


def test_qualtrics(tmp_path, photos, values):
    columns = [f"Face_{number + 1}" for number in range(NUMBER)]
    table = pd.DataFrame(values, columns=columns).astype(str)
    table.insert(0, "Diagnosis", ["autistic", "none"] * 3)
    table.insert(0, "ResponseId", [f"R_{number}" for number in range(6)])
    table.insert(0, "StartDate", "2024-01-01 10:00:00")
    questions = pd.DataFrame([{name: f"How warm, {name}?" for name in table.columns}])
    codes = pd.DataFrame([{name: '{"ImportId":"' + name + '"}' for name in table.columns}])
    pd.concat([questions, codes, table]).to_csv(tmp_path / "warm.csv", index=False, encoding="utf-16")
    done = import_table(tmp_path / "warm.csv", tmp_path / "study", photos)
    assert (done.mapping.rater, done.mapping.group) == ("ResponseId", "Diagnosis")
    assert len(done.study.ratings) == values.size


def test_names_that_hold_image_and_trait(tmp_path, photos, values):
    table = pd.DataFrame(
        {f"{n + 1:03d}_{trait}": values[:, n] for n in range(NUMBER) for trait in ("warm", "kind")}
    )
    table.insert(0, "id", [f"p{number}" for number in range(6)])
    table.insert(0, "group", list("ababab"))
    table.to_csv(tmp_path / "data.csv", index=False)
    mapping = RatingsSettings(
        layout="wide", rater="id", group="group", spread=("0*",), pattern=r"(?P<image>\d+)_(?P<trait>\w+)"
    )
    study = import_table(tmp_path / "data.csv", tmp_path / "study", photos, mapping=mapping).study
    assert study.traits == ["warm", "kind"]
    assert len(study.ratings) == 2 * values.size


def test_the_mapping_is_written_down_and_can_be_used_again(tmp_path, photos, values):
    table = pd.DataFrame(list(long_rows(values)), columns=["who", "face", "adjective", "points"])
    table["sex"] = table["who"] % 2
    table.to_parquet(tmp_path / "data.parquet")
    done = import_table(tmp_path / "data.parquet", tmp_path / "one", photos, rater="who", group="sex")
    settings, problems = read_settings(tmp_path / "one" / "study.toml")
    assert problems == []
    assert settings.ratings == done.mapping
    assert settings.ratings.imported_from == ("data.parquet",)
    again = import_table(tmp_path / "data.parquet", tmp_path / "two", photos, mapping=settings.ratings)
    pd.testing.assert_frame_equal(again.study.ratings, done.study.ratings)
    assert "rater: column 'who'" in str(again)


def test_names_that_match_nothing_are_listed_and_nothing_is_left(tmp_path, photos, values):
    table = pd.DataFrame(list(long_rows(values)), columns=["rater", "image", "trait", "rating"])
    table.loc[5, "image"] = "0x3.png"
    table["rating"] = table["rating"].astype(object)
    table.loc[9, "rating"] = "high"
    table.to_csv(tmp_path / "data.csv", index=False)
    with pytest.raises(StudyError) as caught:
        import_table(tmp_path / "data.csv", tmp_path / "study", photos)
    assert "data.csv, row 7, column 'image': there is no image '0x3.png'; nearest: " in str(caught.value)
    assert "data.csv, row 11: 'high' is not a rating" in str(caught.value)
    assert not (tmp_path / "study").exists()


def test_a_guess_that_is_not_confirmed_makes_nothing(tmp_path, photos, values):
    table = pd.DataFrame(list(long_rows(values)), columns=["rater", "image", "trait", "rating"])
    table.to_csv(tmp_path / "data.csv", index=False)
    shown = []
    with pytest.raises(TraitlensError, match="nothing was imported"):
        import_table(
            tmp_path / "data.csv", tmp_path / "study", photos, confirm=lambda text: bool(shown.append(text))
        )
    assert "image: column 'image'" in shown[0]
    assert not (tmp_path / "study").exists()


def test_a_wrong_choice_is_told_with_the_nearest_columns(tmp_path, photos, values):
    table = pd.DataFrame(list(long_rows(values)), columns=["rater", "image", "trait", "rating"])
    table.to_csv(tmp_path / "data.csv", index=False)
    with pytest.raises(StudyError, match="column 'raters' is missing; nearest: rater"):
        import_table(tmp_path / "data.csv", tmp_path / "study", photos, rater="raters")


def test_imported_images_are_copies(tmp_path, photos, values):
    table = pd.DataFrame(list(long_rows(values)), columns=["rater", "image", "trait", "rating"])
    table.to_csv(tmp_path / "data.csv", index=False)
    study = import_table(tmp_path / "data.csv", tmp_path / "study", photos).study
    assert isinstance(study, Study)
    assert study.path("001.png").stat().st_nlink == 1
    assert not study.images["may_publish"].any()
