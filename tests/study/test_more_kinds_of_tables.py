"""Further trouble of tables: summaries, codes, numbers for names, other languages, pairs of pictures."""

import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat
from tests.study.conftest import write_images
from tests.study.test_kinds_of_tables import FACES, VALUES, long, ratings_of, refused, take, wide

from traitlens.study.import_table import import_table
from traitlens.study.outliers import find_far_values
from traitlens.study.summaries import find_summaries

OTHER = 8 - VALUES
RATERS = [f"p{number}" for number in range(6)]


@pytest.fixture
def place(tmp_path):
    """A folder with images stim01.png ... stim12.png."""
    write_images(tmp_path, FACES)
    return tmp_path


def by_rater(values=VALUES, images=FACES, raters=RATERS) -> pd.DataFrame:
    """A row for each image, a column for each rater."""
    return pd.DataFrame(values.T, columns=list(raters)).assign(image=images)[["image", *raters]]


def write_pair(place, first, second) -> list[str]:
    """Write a file for each of two names, rated by people of the same IDs."""
    long(VALUES).drop(columns=["trait", "group"]).to_csv(place / f"{first}.csv", index=False)
    long(OTHER).drop(columns=["trait", "group"]).to_csv(place / f"{second}.csv", index=False)
    return [f"{first}.csv", f"{second}.csv"]


@pytest.mark.parametrize("raters", [12, 15])
def test_raters_and_images_that_are_both_numbers(tmp_path, raters):
    """The full names of images in cells win over columns that are called 1, 2, 3."""
    images = [f"{number:03d}.png" for number in range(1, 13)]
    write_images(tmp_path, images)
    values = np.random.default_rng(3).integers(1, 8, (raters, 12))
    done = take(tmp_path, by_rater(values, images, [str(number + 1) for number in range(raters)]))
    assert done.mapping.columns == "raters"
    order = np.argsort([str(number + 1) for number in range(raters)])
    np.testing.assert_array_equal(ratings_of(done), values[order])


def test_codes_in_scales_that_are_wide_or_of_one_trait(place):
    wide_scale = np.random.default_rng(1).integers(0, 101, 300)
    for codes in ([-99], [-1], [-9, -8, -1], [999]):
        found = find_far_values(pd.Series([*wide_scale, *codes]))
        assert set(found) == set(codes)
    assert set(find_far_values(pd.Series([*range(1, 8), *[-99] * 20]))) == {-99}
    for scale in ([-2, -1, 0, 1, 2], [-1, 0, 1], [-2, -1, 1, 2], [0, 50, 97, 98, 99, 100], [-3, 3]):
        assert find_far_values(pd.Series(scale * 20)) == {}
    table = pd.concat([long(), long(np.random.default_rng(2).integers(0, 101, (6, 12)), trait="old")])
    table = table.reset_index(drop=True)
    table.loc[[3, 30], "rating"] = 999
    refused(place, table, match=r"999 \(2 of the ratings of warm\) looks like a code.*others are 1 to 7")
    table.loc[[3, 30], "rating"] = 99
    table.loc[80, "rating"] = 99
    refused(place, table, match="empty these cells in the table: 99 is also a rating of old")


@pytest.mark.parametrize("name", ["Mean", "Mittelwert", "promedio", "M"])
def test_means_are_no_raters(place, name):
    means = VALUES.mean(axis=0).round(2)
    columns = by_rater().assign(**{name: means}, SD=VALUES.std(axis=0, ddof=1), Max=VALUES.max(axis=0))
    done = take(place, columns)
    np.testing.assert_array_equal(ratings_of(done), VALUES)
    row = pd.DataFrame([{"id": name} | dict(zip(FACES, means, strict=True))])
    pd.concat([wide(), row]).to_csv(place / "rows.csv", index=False)
    rows = import_table(place / "rows.csv", place / "rows", place / "images")
    np.testing.assert_array_equal(ratings_of(rows), VALUES)
    (left,) = [entry for entry in rows.account.left_out if entry.what == "rater"]
    assert (left.name, left.why, left.row) == (name, "is the mean of the others", 8)
    assert rows.account.read == rows.account.used + rows.account.left_out_cells


def test_people_are_no_summaries():
    people = pd.DataFrame(VALUES.T, columns=["Max", "Se", "N", "Ann", "Bo", "Cy"]).astype(float)
    assert find_summaries(people) == {}
    alike = pd.DataFrame({f"R{number}": [1.0, 5, 3, 2] for number in range(4)})
    assert find_summaries(alike) == {}


def test_raters_by_name_need_a_word(place):
    """Columns of names may be traits or raters."""
    table = by_rater(raters=["Ann", "Bea", "Cem", "Dan", "Eva", "Fay"])
    refused(place, table, match="no column names the raters, and Ann.*--columns raters or --columns traits")
    done = take(place, table, columns="raters")
    np.testing.assert_array_equal(ratings_of(done), VALUES)
    means = by_rater(raters=["warm", "kind", "trustworthy", "emostable", "dominant", "weird"])
    assert import_table(_write(place, means), place / "means", place / "images").study.traits[0] == "warm"


def _write(place, table):
    table.to_csv(place / "more.csv", index=False)
    return place / "more.csv"


@pytest.mark.parametrize(
    ("first", "second"),
    [("autistes", "témoins"), ("Frauen", "Männer"), ("Autismus", "Kontrollgruppe"), ("mujeres", "hombres")],
)
def test_files_of_groups_in_other_languages(place, first, second):
    done = take(place, *write_pair(place, first, second))
    assert done.mapping.files_are == "groups"
    assert set(done.study.groups) == {first, second}
    assert done.study.ratings["rater"].nunique() == 12


@pytest.mark.parametrize(("first", "second"), [("anna", "ben"), ("lab_a", "lab_b"), ("warm", "warm_copy")])
def test_files_whose_names_say_nothing_need_a_word(place, first, second):
    """They may be traits, groups or people."""
    files = write_pair(place, first, second)
    refused(place, *files, match="the 2 files are traits.*--files-are traits, groups, raters or parts")
    done = take(place, *files, files_are="groups")
    assert set(done.study.groups) == {first, second}


def test_a_table_given_twice_needs_a_word(place):
    long().drop(columns="trait").to_csv(place / "warm.csv", index=False)
    long().drop(columns="trait").to_csv(place / "kind.csv", index=False)
    refused(place, "warm.csv", "kind.csv", match="warm.csv and kind.csv contain the same cells")


def test_files_that_call_the_raters_otherwise(place):
    long().drop(columns="trait").to_csv(place / "warm.csv", index=False)
    long(OTHER).drop(columns="trait").rename(columns={"rater": "subject"}).to_csv(
        place / "kind.csv", index=False
    )
    done = take(place, "warm.csv", "kind.csv")
    np.testing.assert_array_equal(ratings_of(done, "warm"), VALUES)
    np.testing.assert_array_equal(ratings_of(done, "kind"), OTHER)
    assert "column 'subject' is called 'rater'" in str(done.account)
    wide(OTHER).drop(columns="id").to_csv(place / "nice.csv", index=False)
    wide().to_csv(place / "calm.csv", index=False)
    with pytest.raises(Exception, match=r"nice\.csv: has no column of raters, but calm\.csv has one"):
        import_table([place / "calm.csv", place / "nice.csv"], place / "two", place / "images")


def test_numbers_of_trials_and_times_in_other_languages(place):
    table = long().rename(columns={"rating": "kind"}).drop(columns="trait").assign(calm=OTHER.ravel())
    rng = np.random.default_rng(4)
    table["nth"] = np.concatenate([rng.permutation(12) + 1 for _ in range(6)])
    table["Reaktionszeit"] = rng.integers(300, 4000, 72)
    table["âge"] = rng.integers(18, 80, 72)
    done = take(place, table)
    assert done.study.traits == ["kind", "calm"]
    left = {entry.name: entry.why for entry in done.account.left_out}
    assert "running number" in left["nth"]
    assert "describes a trial or rater" in left["âge"]


@pytest.mark.parametrize("headings", ["参加者 画像 評価 群", "Участник Изображение Оценка Группа"])
def test_headings_of_other_scripts(place, headings):
    names = dict(zip(["rater", "image", "rating", "group"], headings.split(), strict=True))
    done = take(place, long().rename(columns=names))
    np.testing.assert_array_equal(ratings_of(done), VALUES)
    assert done.study.groups == ["a", "b"]


def test_text_divided_by_spaces(place):
    """R's write.table, with row names that have no heading."""
    table = long().drop(columns="trait")
    rows = [" ".join(f'"{name}"' for name in table.columns)]
    rows += [
        f'"{number + 1}" "{row.rater}" "{row.group}" "{row.image}" {row.rating}'
        for number, row in enumerate(table.itertuples())
    ]
    (place / "r.txt").write_text("\n".join(rows))
    np.testing.assert_array_equal(ratings_of(take(place, "r.txt")), VALUES)
    (place / "aligned.dat").write_text(table.to_string(index=False))
    other = import_table(place / "aligned.dat", place / "other", place / "images")
    np.testing.assert_array_equal(ratings_of(other), VALUES)


def test_thousands_are_no_decimals(place):
    table = long(VALUES * 250)
    table["rating"] = [f"{value:,}" for value in table["rating"]]
    refused(place, table, match="'1,000' is not a number; write thousands without a comma")
    means = long(VALUES + 0.125)
    means["rating"] = [f"{value:.3f}".replace(".", ",") for value in means["rating"]]
    np.testing.assert_array_equal(ratings_of(take(place, means)), VALUES + 0.125)


def test_tables_without_headings(place):
    long().to_csv(place / "r.csv", index=False, header=False)
    refused(place, "r.csv", match="the first line contains data .'stim01.png'.*add a line with the names")


def test_columns_named_twice(place):
    table = long(a="x", b="y")
    table.columns = [*table.columns[:-2], "comment", "comment"]
    done = take(place, table)
    np.testing.assert_array_equal(ratings_of(done), VALUES)
    assert "columns with the same name: 'comment'" in str(done.account)
    table.columns = [*table.columns[:-2], "rating", "comment"]
    table.to_csv(place / "twice.csv", index=False)
    with pytest.raises(Exception, match="has several columns of the same name: 'rating'"):
        import_table(place / "twice.csv", place / "twice", place / "images")


def test_two_matrices_with_the_same_names(place):
    """The second one had replaced the first."""
    savemat(place / "d.mat", {"warm": VALUES, "kind": OTHER, "faces": np.array(FACES, object)})
    refused(place, "d.mat", match="several matrices have the same columns")


def test_stata_and_labels_of_other_languages(place):
    import pyreadstat

    table = long().astype({"rating": float})
    table.loc[[3, 9], "rating"] = 9.0
    labels = {"rating": {1.0: "nada", 7.0: "mucho", 9.0: "no sabe / no contesta"}}
    pyreadstat.write_sav(table, str(place / "r.sav"), variable_value_labels=labels)
    done = take(place, "r.sav")
    assert (done.account.used, done.account.left_out_cells) == (70, 2)
    long().astype({"rating": float}).to_stata(place / "r.dta", write_index=False)
    other = import_table(place / "r.dta", place / "other", place / "images")
    np.testing.assert_array_equal(ratings_of(other), VALUES)


def test_folders_that_contradict(tmp_path):
    """Happy/01 is not neutral/01; other folders do not matter."""
    write_images(tmp_path, [f"neutral/{name}" for name in FACES])
    text = refused(
        tmp_path, long(images=[f"C:\\faces\\happy\\{n}" for n in FACES]), identity="name", match="no image"
    )
    assert text.count("there is no image") == 12
    done = take(tmp_path, long(images=[f"/home/lab/stimuli/{n}" for n in FACES]), identity="name")
    np.testing.assert_array_equal(ratings_of(done), VALUES)


def test_two_folders_that_mean_one_image(place):
    table = long()
    happy = table["rater"].isin(["p0", "p1"])
    table["image"] = np.where(happy, "happy/", "sad/") + table["image"]
    refused(place, table, match="names in several folders mean one image: happy/stim01.png and sad/stim01")


@pytest.mark.parametrize("form", ["{:02d}{}.png", "id{:02d}_{}.png"])
def test_several_pictures_of_one_person_by_number_or_letter(tmp_path, form):
    ends = "ab" if "_" not in form else "12"
    images = [form.format(number, end) for number in range(1, 7) for end in ends]
    write_images(tmp_path, images)
    refused(tmp_path, long(images=images), match="several images may show one person.*--identity")


@pytest.mark.parametrize(
    "form", ["WF-{:03d}-2{:02d}-N.png", "set1_{:02d}.png", "{:03d}_03.png", "f{:02d}.png"]
)
def test_one_picture_of_each_person(tmp_path, form):
    images = [form.format(*[number] * form.count("{")) for number in range(1, 13)]
    write_images(tmp_path, images)
    assert take(tmp_path, long(images=images)).mapping.identity == "image"


def test_numbers_with_an_ending_that_all_share(tmp_path):
    """The London set's X001 is the image 001_03."""
    images = [f"{number:03d}_03.png" for number in range(1, 13)]
    write_images(tmp_path, images)
    table = wide(images=[f"X{number:03d}" for number in range(1, 13)])
    done = take(tmp_path, table)
    assert done.account.matched == {"number": 12}
    np.testing.assert_array_equal(ratings_of(done), VALUES)


def test_raters_that_differ_in_leading_zeros_are_noted(place):
    long(rater="00{}").drop(columns="trait").to_csv(place / "warm.csv", index=False)
    long(OTHER, rater="{}").drop(columns="trait").to_csv(place / "kind.csv", index=False)
    done = take(place, "warm.csv", "kind.csv")
    assert "'003' and '3' are different raters" in done.account.notices


def test_errors_of_a_workbook_are_named(place):
    import openpyxl

    book = openpyxl.Workbook()
    book.active.append(["rater", "image", "rating"])
    for row in long().itertuples():
        book.active.append([row.rater, row.image, int(row.rating)])
    book.active["C9"].value = "#DIV/0!"
    book.active["C9"].data_type = "e"
    book.save(place / "book.xlsx")
    done = take(place, "book.xlsx")
    assert "errors were read as empty: C9 #DIV/0!" in str(done.account)


def test_a_cell_too_many_before_empty_ones(place):
    """The row is wider than the others, though its last cell is empty."""
    table = wide().astype(object)
    table[FACES[10:]] = ""
    lines = table.to_csv(index=False).splitlines()
    lines[2] = "4," + lines[2]
    (place / "warm.csv").write_text("\n".join(lines))
    refused(place, "warm.csv", match="row 3: has 14 cells, but the header names 13 columns")
    (place / "ends.csv").write_text("\n".join(line + ("," if row else "") for row, line in enumerate(lines)))
    with pytest.raises(Exception, match=r"ends\.csv, row 3: has 15 cells"):
        import_table(place / "ends.csv", place / "ends", place / "images")
    del lines[2]
    (place / "good.csv").write_text("\n".join(line + ("," if row else "") for row, line in enumerate(lines)))
    assert len(import_table(place / "good.csv", place / "good", place / "images").study.ratings) == 50


def test_nothing_to_summarise_gives_nothing():
    assert find_summaries(pd.DataFrame(index=range(3))) == {}
    assert find_summaries(pd.DataFrame({"mean": [np.nan] * 3})) == {}


@pytest.mark.parametrize("encoding", ["ascii", "cp437"])
def test_consoles_that_cannot_print_names(place, encoding):
    """What cannot be printed is replaced, and the import succeeds."""
    import os
    import subprocess
    import sys

    long().assign(group=lambda table: table["group"].map({"a": "女性", "b": "男性"})).to_csv(
        place / "r.csv", index=False
    )
    command = [sys.executable, "-m", "traitlens.cli", "import", "table", "r.csv", "st", "--images", "images"]
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    done = subprocess.run([*command, "--yes"], cwd=place, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    assert b"groups ??, ??" in done.stdout


def test_the_summary_of_an_account_names_no_rater(place):
    table = long()
    table.loc[table["rater"] == "p3", "group"] = ""
    table["age"] = 30
    done = take(place, table)
    rows = done.account.summary()
    assert ("Left out", "1 rater: has no group (12 ratings)") in rows
    assert ("Rating cells", "72 read, 60 used, 0 empty, 12 left out") in rows
    assert "p3" not in str(rows)
    assert "p3" in str(done.account)


def test_hidden_rows_and_columns_are_noted(place):
    import openpyxl

    book = openpyxl.Workbook()
    book.active.title = "Rat & Co"
    for row in [["image", *RATERS], *by_rater().to_numpy().tolist()]:
        book.active.append(row)
    book.active.column_dimensions["C"].hidden = True
    book.active.row_dimensions[5].hidden = True
    book.save(place / "book.xlsx")
    done = take(place, "book.xlsx")
    np.testing.assert_array_equal(ratings_of(done), VALUES)
    assert "hidden cells were read as well: rows 5 and 1 ranges of columns" in str(done.account)


def test_spreads_beside_means_are_no_traits(place):
    means = {"warm_mean": VALUES[0] + 0.5, "warm_sd": VALUES[1] / 3, "kind_mean": VALUES[2], "kind_n": 9}
    done = take(place, pd.DataFrame({"image": FACES, **means}))
    assert done.study.traits == ["warm_mean", "kind_mean"]
    assert {entry.name for entry in done.account.left_out} == {"warm_sd", "kind_n"}
