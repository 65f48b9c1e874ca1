"""Every fault of a study is told with its file and row, all in one go."""

import pandas as pd
import pytest

from traitlens.problems import StudyError
from traitlens.study.reading import Study, read_study


def told(folder) -> str:
    with pytest.raises(StudyError) as caught:
        Study.load(folder)
    return str(caught.value)


def change(folder, row, column, value) -> None:
    """Change a cell; rows count as in a spreadsheet."""
    table = pd.read_csv(folder / "ratings.csv", dtype=str)
    table.loc[row - 2, column] = value
    table.to_csv(folder / "ratings.csv", index=False)


def test_sound_study_loads(study_folder):
    study = Study.load(study_folder)
    assert len(study.images) == 12
    assert len(study.ratings) == 72
    assert study.notices == ()


@pytest.mark.parametrize(
    ("row", "column", "value", "message"),
    [
        (5, "image", "99.png", "ratings.csv, row 5, column 'image': there is no image '99.png'"),
        (6, "rating", "9", "ratings.csv, row 6, column 'rating': 9 is off the scale 1 to 7"),
        (7, "rating", "lots", "ratings.csv, row 7, column 'rating': 'lots' is not a number"),
        (8, "trait", "", "ratings.csv, row 8, column 'trait': is empty"),
        (9, "rating", "=1+1", "ratings.csv, row 9, column 'rating': '=1+1' is not a number"),
        (4, "rating", "inf", "ratings.csv, row 4, column 'rating': 'inf' is not a number"),
        (40, "rater", "A0", "ratings.csv, row 40, column 'group': rater 'A0' belongs to two groups"),
        (
            3,
            "image",
            "00.png",
            "ratings.csv, row 3: has the same rater, group, image, trait and repeat as row 2",
        ),
    ],
)
def test_a_faulty_cell_is_told_by_file_and_row(study_folder, row, column, value, message):
    change(study_folder, row, column, value)
    message_lines = told(study_folder).splitlines()
    if column == "rater":  # no other fault may be told, but a rater in two groups may be told once only
        assert len(message_lines) == 1
    assert any(line.startswith(message) for line in message_lines), message_lines


def test_a_missing_image_is_told_once_with_the_nearest_names(study_folder):
    change(study_folder, 5, "image", "03.pgn")
    assert "nearest: 03.png" in told(study_folder)


def test_all_faults_are_told_in_one_go(study_folder):
    for row, column, value in ((5, "image", "99.png"), (6, "rating", "9"), (7, "rating", "lots")):
        change(study_folder, row, column, value)
    (study_folder / "study.toml").write_text("scale = [1, 7]\ntrats = ['warm']\n")
    message = told(study_folder)
    assert message.count("\n") == 3
    assert "did you mean 'traits'?" in message


def test_a_trait_without_variance_is_told(study_folder, make_ratings):
    table = make_ratings()
    table.loc[table["group"] == "B", "rating"] = 4
    table.to_csv(study_folder / "ratings.csv", index=False)
    assert "trait 'warm' has no variance in group 'B'" in told(study_folder)


def test_a_group_with_one_rater_is_told(study_folder, make_ratings):
    table = make_ratings()
    table = table[(table["group"] == "A") | (table["rater"] == "B0")]
    table.to_csv(study_folder / "ratings.csv", index=False)
    assert "row 38, column 'group': group 'B' has one rater for trait 'warm'" in told(study_folder)


def test_a_missing_column_is_told_with_those_that_are_there(study_folder, make_ratings):
    make_ratings().drop(columns="rating").to_csv(study_folder / "ratings.csv", index=False)
    assert "column 'rating' is missing; found: rater, group, image, trait" in told(study_folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "ratings.csv: is empty"),
        (b"\n\n", "ratings.csv: has no header"),
        (b"rater,group,image,trait,rating\n", "ratings.csv: contains no rows"),
        ("image,trait,rating\na,b,1\né,b,2\n".encode("latin-1"), "ratings.csv, row 3: is not in UTF-8"),
        ("image,trait,rating\n".encode("utf-16"), "ratings.csv, row 1: is not UTF-8 text"),
        (b"image,image,rating\na,b,1\n", "ratings.csv, row 1: has several columns of the same name: 'image'"),
        (b"image,trait,rating\na,b,1\na,b,1,7\n", "line 3"),
        (b"image,trait,rating\na,b,1,7\na,b,1,7\n", "ratings.csv: cannot be read as a table"),
        (b"," * 10_000_000, "ratings.csv, row 1: the header is too long"),
    ],
)
def test_a_file_that_is_no_table_is_told(study_folder, content, message):
    (study_folder / "ratings.csv").write_bytes(content)
    assert message in told(study_folder)


def test_a_missing_folder_and_missing_files_are_told(tmp_path):
    assert "there is no such folder" in told(tmp_path / "nowhere")
    message = told(tmp_path)
    assert "images/: contains no image" in message
    assert "ratings.csv: is missing" in message


def test_images_listed_and_rated_must_agree(study_folder):
    names = [f"{image:02d}.png" for image in range(11)]
    pd.DataFrame({"image": [*names, "30.png"]}).to_csv(study_folder / "images.csv", index=False)
    assert "images.csv, row 13, column 'image': there is no image '30.png'" in told(study_folder)
    pd.DataFrame({"image": names}).to_csv(study_folder / "images.csv", index=False)
    assert "images.csv: image '11.png' is rated but not listed" in told(study_folder)


def test_truth_values_of_may_publish_are_checked(study_folder):
    names = [f"{image:02d}.png" for image in range(12)]
    table = pd.DataFrame({"image": names, "may_publish": ["yes", "perhaps", *["no"] * 10]})
    table.to_csv(study_folder / "images.csv", index=False)
    assert "row 3, column 'may_publish': 'perhaps' is neither true nor false" in told(study_folder)


def test_landmarks_are_checked(study_folder):
    table = pd.DataFrame({"image": ["00", "00"], "point": ["468", "473"], "x": ["1", "far"], "y": [1, 2]})
    table.to_csv(study_folder / "landmarks.csv", index=False)
    assert told(study_folder) == "landmarks.csv, row 3, column 'x': 'far' is not a number; correct it"


def test_many_faults_of_one_kind_are_counted(study_folder, make_ratings):
    table = make_ratings().assign(rating="none at all")
    table.to_csv(study_folder / "ratings.csv", index=False)
    message = told(study_folder)
    assert "52 more rows have this problem" in message
    assert message.count("\n") < 30


def test_hand_written_tables_are_understood(study_folder, make_ratings):
    """Semicolons, decimal commas, a byte order mark, blanks, other case, no extension, empty cells."""
    rows = make_ratings()
    lines = ["rater;group;image;trait;rating"]
    lines += [
        f" {row.rater} ;{row.group};{row.image.removesuffix('.png').upper()};{row.trait};{row.rating},0"
        for row in rows.itertuples()
    ]
    lines[1] = lines[1].rsplit(";", 1)[0] + ";"
    (study_folder / "ratings.csv").write_text("\n".join(lines), encoding="utf-8-sig")
    study = Study.load(study_folder)
    assert study.ratings["rating"].tolist() == rows["rating"].astype(float).tolist()[1:]
    assert study.ratings["image"].tolist() == rows["image"].tolist()[1:]
    assert "empty ratings were left out: 1" in str(study.notices[0])


def test_images_that_are_not_read_are_told(study_folder, tmp_path):
    (study_folder / "images" / "photo.avif").write_bytes(b"x")
    outside = tmp_path / "outside.png"
    outside.write_bytes(next((study_folder / "images").glob("*.png")).read_bytes())
    (study_folder / "images" / "linked.png").symlink_to(outside)
    notices = "\n".join(map(str, Study.load(study_folder).notices))
    assert "1 links to images outside of the study are not followed; copy them there" in notices
    for file in (study_folder / "images").glob("*.png"):
        file.unlink()
    (study_folder / "images" / "old.bmp").write_bytes(b"x")
    problems = "\n".join(map(str, read_study(study_folder)[1]))
    assert "contains no image" in problems
    assert "not read; save as PNG or JPEG" in problems
