"""Columns that may mean something else than they seem to: an import asks, or leaves them out and says so."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat
from tests.study.conftest import write_images
from tests.study.test_kinds_of_tables import FACES, VALUES, long, ratings_of, refused, take, wide

from traitlens.study.import_table import import_table

OTHER = 8 - VALUES
STEMS = [name.removesuffix(".png") for name in FACES]


@pytest.fixture
def place(tmp_path):
    """A folder with images stim01.png ... stim12.png."""
    write_images(tmp_path, FACES)
    return tmp_path


def two_traits() -> pd.DataFrame:
    """A row for each rater and image, columns warm and kind."""
    table = long().drop(columns="trait").rename(columns={"rating": "warm"})
    return table.assign(kind=OTHER.ravel())


@pytest.mark.parametrize(
    ("name", "largest", "why"),
    [
        ("mouse_x", 1900, "describes a trial"),
        ("time_run", 5000, "describes a trial"),
        ("age [years]", 70, "describes a trial"),
        ("slider_start", 100, ""),
        ("pupil", 900, ""),
    ],
)
def test_numbers_beside_traits_are_left_out_or_asked_about(place, name, largest, why):
    table = two_traits()
    table[name] = np.random.default_rng(1).integers(0, largest, len(table))
    if why:
        done = take(place, table)
        assert done.study.traits == ["warm", "kind"]
        assert why in next(entry.why for entry in done.account.left_out if entry.name == name)
        return
    refused(place, table, match=f"{name} .up to .* may not be ratings, because warm, kind have")
    done = take(place, table, spread=["warm", "kind"], columns="traits", layout="wide")
    assert done.study.traits == ["warm", "kind"]


def test_traits_of_unknown_names_on_one_scale_are_not_asked_about(place):
    table = two_traits().rename(columns={"warm": "zugewandt", "kind": "versonnen"})
    assert take(place, table).study.traits == ["zugewandt", "versonnen"]


def test_another_column_that_is_called_like_a_trait(place):
    table = two_traits().rename(columns={"kind": "value"})
    refused(place, table, match="warm may contain ratings, too, but column 'value' was read.*--traits warm")
    done = take(place, table, rating="value")
    np.testing.assert_array_equal(ratings_of(done), OTHER)


def test_a_second_column_of_images(place):
    """Two tables side by side, whose images have another order."""
    sides = [pd.DataFrame(VALUES[half].T, columns=[f"R{n}" for n in half]) for half in ([0, 1, 2], [3, 4, 5])]
    table = pd.concat([sides[0].assign(face=FACES), sides[1][::-1].reset_index(drop=True)], axis=1)
    table["face2"] = FACES[::-1]
    refused(place, table, match="columns 'face' and 'face2' name different images in 12 rows")
    table["face2"] = FACES
    assert len(take(place, table).study.ratings) == 72


@pytest.mark.parametrize("endings", [("", ".1"), (".x", ".y")])
def test_endings_that_programs_add_are_no_traits(place, endings):
    tables = [
        wide(values, [stem + end for stem in STEMS]).drop(columns="id")
        for values, end in zip((VALUES, OTHER), endings, strict=True)
    ]
    table = pd.concat([pd.DataFrame({"id": [f"p{n}" for n in range(6)]}), *tables], axis=1)
    if endings[0]:
        refused(place, table, match="the names of the columns are assumed to end in traits: x, y")
    else:
        done = take(place, table)
        assert "stim01.1" in {entry.name for entry in done.account.left_out}
        np.testing.assert_array_equal(ratings_of(done), VALUES)


def test_one_trait_of_several_groups_in_columns(place):
    table = pd.DataFrame({"image": FACES, "warm_asd": VALUES[0] + 0.5, "warm_nt": VALUES[1] + 0.25})
    refused(place, table, match="warm_asd and warm_nt seem to contain one trait for several groups")
    done = take(place, table, spread=["warm_asd", "warm_nt"], columns="traits", layout="wide")
    assert done.study.traits == ["warm_asd", "warm_nt"]


def test_a_running_number_called_id_is_no_rater(place):
    table = long().rename(columns={"rater": "subject_code"})
    table.insert(0, "id", range(1, len(table) + 1))
    done = take(place, table)
    assert done.mapping.rater == "subject_code"
    np.testing.assert_array_equal(ratings_of(done), VALUES)


def test_a_condition_within_raters_is_no_group(place):
    table = long().rename(columns={"group": "cohort"}).assign(condition=["upright", "inverted"] * 36)
    assert take(place, table).study.groups == ["a", "b"]


def test_a_row_of_groups_below_the_header_is_no_label(place):
    table = pd.DataFrame(VALUES.T, columns=[f"R{n}" for n in range(6)]).assign(face=FACES)[
        ["face", *(f"R{n}" for n in range(6))]
    ]
    groups = pd.DataFrame([["group", "asd", "asd", "asd", "nt", "nt", "nt"]], columns=table.columns)
    refused(place, pd.concat([groups, table]), match="row 2, column 'R0': 'asd' is not a number")


def test_rows_without_raters_below_a_title(place):
    """The rows are the raters, wherever the header is."""
    text = "Ratings of May\n\n" + wide().drop(columns="id").to_csv(index=False)
    (place / "warm.csv").write_text(text)
    done = take(place, "warm.csv")
    np.testing.assert_array_equal(np.sort(ratings_of(done), axis=0), np.sort(VALUES, axis=0))


def test_headings_that_stand_in_the_row_above(place):
    """SurveyMonkey: the question above its items, the other headings beside it."""
    rows = [["Respondent ID", "How warm?", *[""] * 11], ["", *STEMS]]
    rows += [[f"p{n}", *row] for n, row in enumerate(VALUES)]
    pd.DataFrame(rows).to_csv(place / "warm.csv", index=False, header=False)
    done = take(place, "warm.csv")
    assert done.mapping.rater == "Respondent ID"
    np.testing.assert_array_equal(ratings_of(done), VALUES)


def test_a_nine_above_a_scale_to_seven_is_noted(place):
    table = long()
    table.loc[[3, 30], "rating"] = 9
    done = take(place, table)
    assert any(note.startswith("9 (2 of the ratings) may mean no rating") for note in done.account.notices)


@pytest.mark.parametrize("form", ["columns", "pandas", "by key", "by person", "below a key", "lines"])
def test_json_of_other_programs(place, form):
    rows = json.loads(long().to_json(orient="records"))
    people = {f"p{n}": {str(k): row for k, row in enumerate(rows[12 * n : 12 * n + 12])} for n in range(6)}
    written = {
        "columns": lambda: json.dumps({name: [row[name] for row in rows] for name in rows[0]}),
        "pandas": lambda: long().to_json(),
        "by key": lambda: json.dumps({f"-Mx{number}": row for number, row in enumerate(rows)}),
        "by person": lambda: json.dumps(people),
        "below a key": lambda: json.dumps({"version": 2, "data": rows}),
        "lines": lambda: "\n".join(map(json.dumps, rows)),
    }[form]()
    name = "r.jsonl" if form == "lines" else "r.json"
    (place / name).write_text(written)
    np.testing.assert_array_equal(ratings_of(take(place, name)), VALUES)


def test_a_cell_array_with_headings(place):
    table = long()
    cells = np.empty((len(table) + 1, table.shape[1]), object)
    cells[0], cells[1:] = list(table.columns), table.to_numpy()
    savemat(place / "r.mat", {"data": cells})
    np.testing.assert_array_equal(ratings_of(take(place, "r.mat")), VALUES)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("r.rds", b"x", "is a file of R, which is not read; in R: write.csv"),
        ("r.sas7bdat", b"x", "is a file of SAS"),
        ("r.xls", b"<html><table></table></html>", "is a web page or XML.*save it as .xlsx"),
        ("r.xls", b"a\tb\n1\t2\n", "is text, not a file of the kind .xls; rename it to .csv"),
        ("r.csv", b"PK\x03\x04abc", "is a workbook or an archive; rename it to .xlsx"),
        ("r.csv", b"rater~image~rating\np1~stim01.png~3\n", "has one column only.*separate the cells"),
        ("r.csv", b"rater,image,key\np1,stim01.png,num_3\n", "--rating, or --traits.*unlike 'num_3'"),
    ],
)
def test_what_to_do_with_a_file_that_is_not_read(place, name, content, message):
    (place / name).write_bytes(content)
    refused(place, name, match=message)


def test_numbers_with_decimals_name_images(tmp_path):
    images = [f"{number}.png" for number in range(1, 13)]
    write_images(tmp_path, images)
    done = take(tmp_path, long(images=[f"{number}.0" for number in range(1, 13)]))
    wanted = VALUES[:, np.argsort(images)]
    np.testing.assert_array_equal(ratings_of(done), wanted)


@pytest.mark.parametrize(
    "headings", ["Évaluateur Visage Note Groupe", "Katılımcı Görsel Puan Grup", "참가자 이미지 평점 집단"]
)
def test_headings_of_further_languages(place, headings):
    names = dict(zip(["rater", "image", "rating", "group"], headings.split(), strict=True))
    done = take(place, long().rename(columns=names))
    np.testing.assert_array_equal(ratings_of(done), VALUES)
    assert done.study.groups == ["a", "b"]


def test_decimal_commas_in_columns_of_fixed_width(place):
    table = long(VALUES + 0.5)
    table["rating"] = [str(value).replace(".", ",") for value in table["rating"]]
    (place / "r.dat").write_text(table.to_string(index=False))
    done = import_table(place / "r.dat", place / "study", place / "images")
    np.testing.assert_array_equal(ratings_of(done), VALUES + 0.5)


@pytest.mark.parametrize("codes", [True, False])
def test_titles_that_name_the_images(place, codes):
    """Qualtrics numbers the items of a matrix in their own order; their texts name the images."""
    order = np.random.default_rng(3).permutation(12)
    texts = [f"How warm is this person? - {FACES[one]}" for one in order]
    rows = [["ResponseId", *(f"Q5_{n + 1}" for n in range(12))], ["Response ID", *texts]]
    if codes:
        rows.append([json.dumps({"ImportId": f"QID{n}"}) for n in range(13)])
    rows += [[f"R_{n}x", *row[order]] for n, row in enumerate(VALUES)]
    pd.DataFrame(rows).to_csv(place / "q.csv", index=False, header=False)
    done = take(place, "q.csv")
    np.testing.assert_array_equal(ratings_of(done), VALUES)
    assert "12 columns are called by their titles" in str(done.account)
    again = import_table(place / "q.csv", place / "again", place / "images", mapping=done.mapping)
    pd.testing.assert_frame_equal(again.study.ratings, done.study.ratings)


def test_labels_of_columns_in_spss(place):
    import pyreadstat

    order = np.random.default_rng(3).permutation(12)
    table = pd.DataFrame(VALUES[:, order].astype(float), columns=[f"v{n}" for n in range(12)])
    table["id"] = [f"p{n}" for n in range(6)]
    titles = [*(FACES[one] for one in order), "Code"]
    pyreadstat.write_sav(table, str(place / "warm.sav"), column_labels=titles)
    np.testing.assert_array_equal(ratings_of(take(place, "warm.sav")), VALUES)


@pytest.mark.parametrize("separator", ["\t", ", ", ";"])
def test_a_title_of_as_many_words_as_there_are_columns(place, separator):
    lines = [separator.join(map(str, row)) for row in long()[["rater", "image", "rating"]].to_numpy()]
    text = "\n".join(["Ratings of May", "", separator.join(["rater", "image", "rating"]), *lines])
    (place / "warm.csv").write_text(text)
    np.testing.assert_array_equal(ratings_of(take(place, "warm.csv")), VALUES)


@pytest.mark.parametrize(("first", "second"), [("rating1", "rating2"), ("warm_t1", "warm_t2")])
def test_repeated_ratings_in_columns_are_no_traits_of_their_own(place, first, second):
    table = two_traits().rename(columns={"warm": first, "kind": second})
    refused(place, table, match=f"{first} and {second} may be repeated ratings of one trait")
    assert take(place, table, columns="traits").study.traits == [first, second]


@pytest.mark.parametrize(("ends", "scale"), [(-9, 4), (-8, 3)])
def test_codes_below_a_scale_around_zero(place, ends, scale):
    table = long(np.clip(VALUES - 4, -scale, scale))
    table.loc[[3, 30], "rating"] = ends
    refused(place, table, match=f"{ends} .2 of the ratings. looks like a code")


def test_ranks_and_intervals_beside_means_are_no_traits(place):
    means = VALUES.mean(axis=0).round(2)
    table = pd.DataFrame({"image": FACES, "warm": means, "warm_ci_low": means - 1, "warm_ci_high": means + 1})
    table["rank"] = np.random.default_rng(0).permutation(12) + 1
    done = take(place, table)
    assert done.study.traits == ["warm"]
    assert {entry.name for entry in done.account.left_out} == {"warm_ci_low", "warm_ci_high", "rank"}


def test_a_trait_that_is_called_by_the_file_is_told(place):
    done = take(place, long().drop(columns="trait"))
    assert "no column names the trait: it is called 'table0', after the file" in done.account.decided


@pytest.mark.parametrize("ending", [".png", "_png", "", "_N"])
def test_a_column_of_an_image_that_is_not_there_is_not_left_out(tmp_path, ending):
    """Its name is like those of the images, also where SPSS or R replaced signs in it."""
    ends = "-N.png" if ending == "_N" else ".png"
    names = [f"CFD-WF-{number:03d}{ends}" for number in range(1, 13)]
    write_images(tmp_path, [f"other_{name}" if "005" in name else name for name in names])
    apart = str.maketrans("-", "_") if ending.startswith("_") else {}
    columns = [name.removesuffix(ends).translate(apart) + ending for name in names]
    table = pd.DataFrame(VALUES, columns=columns)
    table.insert(0, "rater", [f"p{number}" for number in range(len(table))])
    refused(tmp_path, table.assign(group="a"), match="there is no image 'CFD.WF.005")
