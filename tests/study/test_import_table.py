"""Tables in the layouts and formats of experiment software become studies with little help."""

import json

import numpy as np
import pandas as pd
import pytest

from traitlens.problems import StudyError, TraitlensError
from traitlens.study.import_table import import_table
from traitlens.study.reading import Study
from traitlens.study.settings import RatingsSettings
from traitlens.study.settings_file import read_settings

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
    done = import_table(tmp_path / "warm.csv", tmp_path / "study", photos, group="sex", keep=["age"])
    assert (done.mapping.layout, done.mapping.columns) == ("wide", "images")
    assert done.study.groups == ["f", "m"]
    assert done.study.traits == ["warm"]
    assert done.study.ratings["rater"].nunique() == 6
    read = done.study.ratings.pivot_table(index="rater", columns="image", values="rating")
    np.testing.assert_array_equal(read.to_numpy(), values)
    assert done.study.ratings.groupby("rater")["age"].first().astype(int).tolist() == [21, 30, 44, 19, 60, 33]


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


def test_columns_of_raters_may_have_any_names(tmp_path, photos, values):
    people = ["Ann", "Ben", "Cem", "Dea", "Eli", "Fay"]
    table = pd.DataFrame(values.T.astype(float), columns=people)
    table.iloc[::3, 2] = np.nan
    table.insert(0, "face", [f"{number + 1:03d}" for number in range(NUMBER)])
    table.to_excel(tmp_path / "warm.xlsx", index=False)
    pd.DataFrame({"rater": people, "group": list("ababab")}).to_csv(tmp_path / "raters.csv", index=False)
    study = import_table(
        tmp_path / "warm.xlsx", tmp_path / "study", photos, raters=tmp_path / "raters.csv", columns="raters"
    ).study
    assert study.traits == ["warm"]
    assert study.groups == ["a", "b"]
    assert len(study.ratings) == values.size - 4


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
    """The JSON of jsPsych 7: trials of every kind, among them instructions with HTML and own answers."""

    def trial(rater, kind, stimulus, response, **further):
        nonlocal number
        number += 1
        return {
            "rt": 1234.5,
            "stimulus": stimulus,
            "response": response,
            "trial_type": kind,
            "trial_index": number,
            "time_elapsed": 4000 * number,
            "internal_node_id": f"0.0-{number}.0",
            "subject_id": f"p{rater}",
            "condition": "ab"[rater % 2],
            **further,
        }

    people = []
    for rater in range(6):
        number = -1
        people.append(
            [
                trial(rater, "preload", None, None, success=True, timeout=False, failed_images=[]),
                trial(rater, "html-button-response", "<p>Welcome. <b>Ready?</b></p>", 0),
                trial(rater, "survey-html-form", None, {"age": "31"}),
                *(
                    trial(
                        rater,
                        "html-slider-response",
                        f'<img src="img/{image}" width=400>',
                        value,
                        attribute=trait,
                    )
                    for who, image, trait, value in long_rows(values)
                    if who == rater
                ),
                trial(rater, "html-keyboard-response", "<p>Thank you</p>", "q"),
            ]
        )
    (tmp_path / "export.json").write_text(json.dumps(people))
    done = import_table(tmp_path / "export.json", tmp_path / "study", photos)
    mapping = done.mapping
    assert (mapping.rater, mapping.image, mapping.rating) == ("subject_id", "stimulus", "response")
    assert (mapping.group, mapping.trait, mapping.keep) == ("condition", "attribute", ("rt",))
    assert mapping.only == {"trial_type": ("html-slider-response",)}
    assert len(done.study.ratings) == 2 * values.size
    # The CSV of the same data.
    table = pd.DataFrame([one for person in people for one in person])
    table.to_csv(tmp_path / "export.csv", index=False)
    again = import_table(tmp_path / "export.csv", tmp_path / "again", photos)
    pd.testing.assert_frame_equal(again.study.ratings, done.study.ratings)


def test_gorilla(tmp_path, photos, values):
    """A task of Gorilla: zones of several kinds, columns of the spreadsheet at the end, END OF FILE."""
    head = ["Event Index", "UTC Timestamp", "Local Date", "Experiment ID", "Tree Node Key", "Repeat Key"]
    head += ["Participant Public ID", "Participant Private ID", "Participant Starting Group", "Task Name"]
    head += ["checkpoint", "Spreadsheet Name", "Spreadsheet Row", "Trial Number", "Screen Name", "Zone Name"]
    head += ["Zone Type", "Reaction Time", "Response", "Attempt", "Correct", "display", "face", "question"]

    def row(rater, zone, response, display, image="", trait=""):
        first = [1, 1650000000000, "15/04/2022 10:00:00", 71234, "task-x9yz", ""]
        first += ["BLIND", 5100000 + rater, "", "Face task", "", "sheet1", 3, 2]
        return [*first, "Screen 1", "Zone2", zone, 845.3, response, "", "", display, image, trait]

    rows = []
    for rater in range(6):
        rows.append(row(rater, "continue_button", "Next", "instructions", "", ""))
        for who, image, trait, value in long_rows(values):
            if who == rater:
                rows.append(row(rater, "response_slider_endValue", value, "rating", image, trait))
                rows.append(row(rater, "continue_button", "Next", "rating", image, trait))
        rows.append(["END OF FILE", *[""] * (len(head) - 1)])
    table = pd.DataFrame(rows, columns=head)
    table["branch-1a2b"] = ["", *["ab"[int(row) % 2] if row != "" else "" for row in table[head[7]][1:]]]
    table.to_csv(tmp_path / "data_exp_71234-v3_task-x9yz.csv", index=False, encoding="utf-8-sig")
    file = tmp_path / "data_exp_71234-v3_task-x9yz.csv"
    done = import_table(file, tmp_path / "study", photos, group="branch-1a2b")
    mapping = done.mapping
    assert mapping.only == {"Zone Type": ("response_slider_endValue",)}
    assert (mapping.rater, mapping.image, mapping.rating, mapping.trait) == (
        "Participant Private ID",
        "face",
        "Response",
        "question",
    )
    assert len(done.study.ratings) == 2 * values.size
    assert done.study.groups == ["a", "b"]


def test_psychopy(tmp_path, photos, values):
    """The wide CSV of PsychoPy: rows of instructions first, a comma at the end of every line."""
    head = ["imageFile", "trials.thisRepN", "trials.thisTrialN", "trials.thisN", "trials.thisIndex"]
    head += ["key_resp.keys", "key_resp.rt", "warmth.response", "warmth.rt", "participant", "session"]
    head += ["group", "date", "expName", "psychopyVersion", "frameRate"]
    lines = []
    for rater in range(6):
        tail = [
            f"{rater:02d}",
            "001",
            "ab"[rater % 2],
            "2024-01-15_10h22.11.123",
            "faces",
            "2023.2.3",
            "59.95",
        ]
        lines.append(["", "", "", "", "", "space", "3.1", "", "", *tail])
        for who, image, trait, value in long_rows(values):
            if who == rater and trait == "warm":
                lines.append([f"stimuli/{image}", "0", "1", "1", "7", "", "", str(value), "1.25", *tail])
    content = "\n".join(",".join(line) + "," for line in [head, *lines])
    (tmp_path / "data.csv").write_text("\ufeff" + content, encoding="utf-8")
    done = import_table(tmp_path / "data.csv", tmp_path / "study", photos, trait_name="warm")
    assert (done.mapping.rater, done.mapping.rating) == ("participant", "warmth.response")
    assert done.mapping.keep == ("warmth.rt",)
    assert done.study.traits == ["warm"]
    assert len(done.study.ratings) == values.size


def qualtrics(columns, values, **options) -> pd.DataFrame:
    """Lay ratings out as Qualtrics does: names, questions and import codes, then the answers."""
    table = pd.DataFrame(values, columns=columns).astype(str)
    before = {
        "StartDate": "2024-01-01 10:00:00",
        "EndDate": "2024-01-01 10:20:00",
        "Status": "IP Address",
        "IPAddress": "203.0.113.7",
        "Progress": "100",
        "Duration (in seconds)": "1200",
        "Finished": "True",
        "ResponseId": [f"R_3h{number}XyZ" for number in range(len(values))],
        "RecipientEmail": "",
        "UserLanguage": "EN",
        "Age": [str(20 + number) for number in range(len(values))],
        "Diagnosis": ["autistic", "none"] * (len(values) // 2),
    }
    table = pd.concat([pd.DataFrame(before, index=table.index), table], axis=1)
    questions = pd.DataFrame([{name: f"How warm is this person?\n\n{name}" for name in table.columns}])
    codes = pd.DataFrame(
        [{name: json.dumps({"ImportId": f"QID_{i}"}) for i, name in enumerate(table.columns)}]
    )
    return pd.concat([questions, codes, table])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_qualtrics_with_three_header_rows(tmp_path, photos, values, encoding):
    columns = [f"Face_{number + 1}" for number in range(NUMBER)]
    separator = "\t" if encoding == "utf-16" else ","  # as its TSV export is
    qualtrics(columns, values).to_csv(tmp_path / "warm.csv", index=False, sep=separator, encoding=encoding)
    done = import_table(tmp_path / "warm.csv", tmp_path / "study", photos)
    assert (done.mapping.rater, done.mapping.group) == ("ResponseId", "Diagnosis")
    assert done.study.traits == ["warm"]
    read = done.study.ratings.pivot_table(index="rater", columns="image", values="rating", sort=False)
    np.testing.assert_array_equal(read.to_numpy(), values)
    assert set(done.study.ratings.columns) == {"rater", "group", "image", "trait", "rating", "repeat"}


@pytest.mark.parametrize("form", ["{image}_Q5", "Q5_{image}"])
def test_qualtrics_loops_and_matrices(tmp_path, photos, values, form):
    columns = [form.format(image=number + 1) for number in range(NUMBER)]
    columns += [name.replace("Q5", "Q6") for name in columns]
    qualtrics(columns, np.hstack([values, 8 - values])).to_csv(tmp_path / "export.csv", index=False)
    with pytest.raises(StudyError, match="loop & merge"):  # numbers may count the rows of a loop
        import_table(tmp_path / "export.csv", tmp_path / "study", photos)
    done = import_table(tmp_path / "export.csv", tmp_path / "study", photos, by_number=True)
    assert sorted(done.study.traits) == ["Q5", "Q6"]
    assert len(done.study.ratings) == 2 * values.size
    warm = done.study.ratings.query("trait == 'Q5'")
    read = warm.pivot_table(index="rater", columns="image", values="rating", sort=False)
    np.testing.assert_array_equal(read.to_numpy(), values)


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
    assert "data.csv, row 11, column 'rating': 'high' is not a number" in str(caught.value)
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
