"""Kinds of trouble in tables that people have: each is read right, or refused with what to do."""

import json

import h5py
import numpy as np
import openpyxl
import pandas as pd
import pytest
from scipy.io import savemat
from tests.study.conftest import write_images

from traitlens.problems import StudyError, TraitlensError
from traitlens.study.accounts import read_account
from traitlens.study.import_table import import_table, read_mapping
from traitlens.study.outliers import find_far_values
from traitlens.study.reading import Study, read_study

FACES = [f"stim{number:02d}.png" for number in range(1, 13)]
VALUES = np.random.default_rng(5).integers(1, 8, (6, 12))


@pytest.fixture
def place(tmp_path):
    """A folder with images stim01.png ... stim12.png."""
    write_images(tmp_path, FACES)
    return tmp_path


def long(values=VALUES, images=FACES, rater="p{}", **columns) -> pd.DataFrame:
    """A row for each rating of a matrix of raters and images."""
    rows = [
        (rater.format(number), "ab"[number % 2], image, value)
        for number, row in enumerate(values)
        for image, value in zip(images, row, strict=True)
    ]
    return pd.DataFrame(rows, columns=["rater", "group", "image", "rating"]).assign(
        **{"trait": "warm", **columns}
    )


def wide(values=VALUES, images=FACES) -> pd.DataFrame:
    """A row for each rater."""
    return pd.DataFrame(values, columns=list(images)).assign(
        id=[f"p{number}" for number in range(len(values))]
    )


def take(place, *tables, images="images", **options):
    """Import tables of a folder."""
    files = []
    for number, table in enumerate(tables):
        if isinstance(table, pd.DataFrame):
            table.to_csv(place / f"table{number}.csv", index=False)
            files.append(place / f"table{number}.csv")
        else:
            files.append(place / table)
    return import_table(files, place / "study", place / images, **options)


def ratings_of(done, trait=None) -> np.ndarray:
    """Ratings of raters (rows, sorted) and images."""
    table = done.study.ratings if trait is None else done.study.ratings.query("trait == @trait")
    return table.pivot_table(index="rater", columns="image", values="rating").to_numpy()


def refused(place, *tables, match, **options) -> str:
    with pytest.raises(TraitlensError, match=match) as caught:
        take(place, *tables, **options)
    assert not (place / "study").exists()
    return str(caught.value)


def test_rows_wider_than_the_header(place):
    table = wide().set_index("id")
    (place / "warm.tsv").write_text(table.to_csv(sep="\t").removeprefix("id\t"))
    done = take(place, "warm.tsv", rater="(column 1)")
    np.testing.assert_array_equal(ratings_of(done), VALUES)
    lines = ["image,A1,A2", *(f"{name},{i % 7},5,{i % 3},5" for i, name in enumerate(FACES))]
    (place / "means.csv").write_text("\n".join(lines))
    with pytest.raises(StudyError, match=r"row 2: has 5 cells, but the header names 3 columns.*semicolons"):
        import_table(place / "means.csv", place / "other", place / "images")
    rows = long().to_csv(index=False).splitlines()
    rows[40] += ",well, I think"
    (place / "comment.csv").write_text("\n".join(rows))
    with pytest.raises(StudyError, match="row 41: has 7 cells"):
        import_table(place / "comment.csv", place / "other", place / "images")


def test_a_studys_own_wide_table_with_a_cell_too_many(study_folder):
    """In a study."""
    lines = ["rater," + ",".join(f"{n:02d}.png" for n in range(12))]
    lines += [f"A{r}," + ",".join(str((n + r) % 7 + 1) for n in range(12)) for r in range(3)]
    (study_folder / "ratings.csv").write_text("\n".join([*lines, lines[1] + ",3"]))
    settings = '[ratings]\nlayout = "wide"\nspread = ["*.png"]\ntrait_name = "warm"\n'
    (study_folder / "study.toml").write_text(settings)
    with pytest.raises(StudyError, match="row 5: has 14 cells"):
        Study.load(study_folder)


def test_names_of_matlab_matrices(place):
    order = np.random.default_rng(1).permutation(12)
    names = np.array([FACES[place] for place in order], dtype=object)
    people = np.array([f"rater{n}" for n in range(6)], dtype=object)
    savemat(place / "kind.mat", {"faces": names, "who": people, "scores": VALUES[:, order]})
    done = take(place, "kind.mat", rater="who")
    np.testing.assert_array_equal(ratings_of(done), VALUES)
    assert "faces names the columns of scores" in str(done.account)
    savemat(place / "none.mat", {"scores": VALUES})
    with pytest.raises(StudyError, match="neither the names nor the cells"):
        import_table(place / "none.mat", place / "other", place / "images")
    square = {"faces": names, "scores": np.ones((12, 12))}
    savemat(place / "square.mat", square)
    with pytest.raises(StudyError, match="not known whether faces names the rows or the columns"):
        import_table(place / "square.mat", place / "other", place / "images")
    with h5py.File(place / "new.mat", "w") as file:
        group = file.create_group("data")
        group.create_dataset("score", data=np.ones((1, 12)))
        text = np.array([[ord(letter) for letter in name] for name in FACES], dtype=np.uint16)
        group.create_dataset("image", data=text.T).attrs["MATLAB_class"] = np.bytes_("char")
    from traitlens.study.formats import read_cells

    assert read_cells(place / "new.mat")["image"].tolist() == FACES


@pytest.mark.parametrize("code", [-99, -9, 99, 999, -1])
def test_codes_for_missing_ratings_are_asked_about(place, code):
    table = long()
    table.loc[[3, 30], "rating"] = code
    refused(place, table, match=rf"^{code} \(2 of the ratings\) looks like a code.*--missing {code}")
    asked = []
    done = take(place, table, confirm=lambda text: asked.append(text) is None)
    assert len(asked) == 2
    assert f"{code} (2 of the ratings)" in asked[1]
    assert (done.account.used, done.account.left_out_cells) == (70, 2)
    assert [entry.row for entry in done.account.left_out if entry.what == "cell"] == [5, 32]
    assert read_mapping(place / "study" / "mapping.toml").missing == (str(code),)


def test_a_slip_of_the_hand_is_noted(place, study_folder):
    table = long()
    table.loc[7, "rating"] = 44
    done = take(place, table)
    assert "ratings far from all other ratings, 1 to 7: 44 (1)" in done.account.notices
    ratings = pd.read_csv(study_folder / "ratings.csv")
    ratings.loc[4, "rating"] = 333
    ratings.to_csv(study_folder / "ratings.csv", index=False)
    (study_folder / "study.toml").unlink()
    notices = Study.load(study_folder).notices
    assert any("far from all other ratings (1 to 7): 333 (1)" in str(one) for one in notices)


def test_ordinary_ratings_are_not_far():
    rng = np.random.default_rng(0)
    for values in (
        rng.normal(size=300),
        rng.integers(0, 101, 300),
        rng.choice([-3, -1, 0, 2, 3], 200),
        [1, 1, 7] * 9,
    ):
        assert find_far_values(pd.Series(values)) == {}


def test_numbers_do_not_match_where_letters_contradict(place):
    text = refused(
        place, long(images=[name.replace("stim", "happy_") for name in FACES]), match="happy_01.png"
    )
    assert text.count("there is no image") == 12
    mixed = [*FACES[:11], "other12.png"]
    refused(place, long(images=mixed), match="there is no image 'other12.png'")
    done = take(place, long(images=[str(number) for number in range(1, 13)]))
    assert done.account.matched == {"number": 12}
    assert any("by the numbers" in decided for decided in done.account.decided)


def test_rows_of_a_loop(place):
    order = np.random.default_rng(2).permutation(12)
    columns = [f"{number + 1}_Q7" for number in range(12)]
    table = wide(VALUES[:, order], columns)
    refused(place, table, match="--by-number; where they count the rows of a loop & merge table")
    pd.DataFrame({"n": range(1, 13), "url": [FACES[one] for one in order]}).to_csv(
        place / "loop.csv", index=False
    )
    done = take(place, table, loop=place / "loop.csv", by_number=True, trait_name="kind")
    np.testing.assert_array_equal(ratings_of(done), VALUES)
    assert done.study.traits == ["kind"]


def test_a_chosen_trait_is_obeyed(place):
    """Raters who are called by names are no traits."""
    people = ["Ann", "Bea", "Cem", "Dan", "Eva", "Fay"]
    table = pd.DataFrame(VALUES.T, columns=people).assign(face=FACES)
    done = take(place, table, trait_name="warm")
    assert sorted(done.study.ratings["rater"].unique()) == people
    assert done.study.traits == ["warm"]


def test_numbers_that_are_no_ratings(place):
    table = long().drop(columns="trait").rename(columns={"rating": "kind"})
    table["weight"] = table["rater"].str[1:].astype(int) + 60
    table["shown"] = np.arange(len(table))
    done = take(place, table)
    assert done.study.traits == ["kind"]
    left = {entry.name: entry.why for entry in done.account.left_out}
    assert "one value for each rater" in left["weight"]
    assert "running number" in left["shown"]
    again = import_table(
        place / "table0.csv",
        place / "two",
        place / "images",
        spread=["kind", "shown"],
        columns="traits",
        layout="wide",
    )
    assert sorted(again.study.traits) == ["kind", "shown"]


def test_answers_inside_a_cell(place):
    trials = [
        {"trial_type": "survey-likert", "trial_index": n, "stimulus": image, "subject": f"s{rater}",
         "response": {"kind": int(value), "calm": int(8 - value)}}
        for rater, row in enumerate(VALUES)
        for n, (image, value) in enumerate(zip(FACES, row, strict=True))
    ]  # fmt: skip
    (place / "likert.txt").write_text(json.dumps(trials))
    done = take(place, "likert.txt")
    assert done.study.traits == ["kind", "calm"]
    np.testing.assert_array_equal(ratings_of(done, "calm"), 8 - VALUES)


def test_identifiers_have_one_form(place):
    first, second = long(rater="{}"), long(rater="{}.0", trait="kind")
    done = take(place, first, second)
    assert done.study.ratings["rater"].nunique() == 6
    assert ("rater", "3.0", "3") in done.account.changed
    table = long()
    table.loc[3, "group"] = "A"
    with pytest.raises(StudyError, match="'A' and 'a' differ only in upper and lower case or leading zeros"):
        import_table(_csv(place, table), place / "other", place / "images")


def _csv(place, table):
    table.to_csv(place / "again.csv", index=False)
    return place / "again.csv"


def test_files_without_raters_do_not_share_them(place):
    first, second = wide().drop(columns="id"), wide(8 - VALUES).drop(columns="id")
    first.to_csv(place / "warm.csv", index=False)
    second.to_csv(place / "kind.csv", index=False)
    done = take(place, "warm.csv", "kind.csv")
    assert done.study.ratings["rater"].nunique() == 12
    assert any("each row is assumed to be one rater" in one for one in done.account.decided)


def test_identities_are_checked(study_folder):
    names = [f"{number:02d}.png" for number in range(12)]
    identities = [f"P{number}" for number in range(12)]
    table = pd.DataFrame({"image": names, "identity": ["P0\u00a0", "P0", *identities[2:]]})
    table.to_csv(study_folder / "images.csv", index=False)
    (study_folder / "study.toml").write_text("[folds]\nnumber = 2\n")
    study, problems = read_study(study_folder)
    assert problems == []
    assert study.images["identity"].nunique() == 11
    table["identity"] = ["p0", "P0", "", *identities[3:]]
    table.to_csv(study_folder / "images.csv", index=False)
    text = "\n".join(map(str, read_study(study_folder)[1]))
    assert "images.csv, row 4, column 'identity': is empty" in text
    assert "identities 'P0' and 'p0' differ only in upper and lower case" in text


def workbook(place, sheets, hidden=()):
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, table in sheets.items():
        sheet = book.create_sheet(name)
        sheet.append([str(column) for column in table.columns])
        for row in table.itertuples(index=False):
            sheet.append([value.item() if isinstance(value, np.generic) else value for value in row])
        sheet.sheet_state = "hidden" if name in hidden else "visible"
    book.save(place / "book.xlsx")


def test_sheets_of_a_workbook(place):
    readme = pd.DataFrame({"about": ["ratings of May", "n = 6"]})
    workbook(
        place, {"notes": readme, "old": wide(8 - VALUES), "calm": wide(), "kind": wide(8 - VALUES)}, ["old"]
    )
    done = take(place, "book.xlsx")
    assert done.study.traits == ["calm", "kind"]
    np.testing.assert_array_equal(ratings_of(done, "calm"), VALUES)
    assert {(entry.name, entry.why) for entry in done.account.left_out if entry.what == "sheet"} == {
        ("notes", "contains no ratings"),
        ("old", "is hidden"),
    }
    one = import_table(place / "book.xlsx", place / "one", place / "images", sheets=["kind"])
    assert len(one.study.ratings) == 72
    with pytest.raises(StudyError, match="has no sheet 'mild'; found: 'notes', 'calm', 'kind', 'old'"):
        import_table(place / "book.xlsx", place / "two", place / "images", sheets=["mild"])


def test_sheets_of_another_layout_are_left_out_and_named(place):
    workbook(place, {"calm": wide(), "list": long()})
    done = take(place, "book.xlsx")
    assert len(done.study.ratings) == 72
    (left,) = [entry for entry in done.account.left_out if entry.what == "sheet"]
    assert left.why.startswith("has another layout than sheet 'calm'")


def test_repeats_are_numbered_when_asked(place):
    table = pd.concat([wide(), wide(8 - VALUES).iloc[:2]])
    refused(place, table, match="row 8: has the same .* as row 2 .*--number-repeats")
    done = take(place, table, number_repeats=True)
    assert done.study.ratings["repeat"].astype(int).value_counts().to_dict() == {1: 72, 2: 24}
    assert any("24 ratings are further judgements" in one for one in done.account.decided)


def test_sheets_of_groups(place):
    """People of the same name in two groups are different people."""
    workbook(place, {"patients": wide(VALUES[:3]), "controls": wide(VALUES[3:])})
    done = take(place, "book.xlsx", trait_name="calm")
    assert done.study.groups == ["controls", "patients"]
    assert done.study.ratings["rater"].nunique() == 6


def test_files_with_other_columns(place):
    first = pd.DataFrame(VALUES.T, columns=[f"R{n}" for n in range(6)]).assign(face=FACES)
    second = first.rename(columns={f"R{n}": f"R{n + 3}" for n in range(6)})
    done = take(place, first, second, files_are="traits")
    assert len(done.study.ratings) == 144
    assert done.study.ratings["rater"].nunique() == 9


def test_words_among_numbers_are_told(place):
    table = (
        pd.DataFrame(VALUES.T, columns=["R1", "R2", "R3", "R4", "Ida", "Jon"])
        .astype(object)
        .assign(face=FACES)
    )
    done = take(place, table)
    assert done.study.ratings["rater"].nunique() == 6
    table.loc[[1, 2, 5], "Jon"] = "seen before"
    with pytest.raises(StudyError, match=r"row 3, column 'Jon': 'seen before' is not a number.*--missing"):
        import_table(_csv(place, table), place / "other", place / "images")
    kept = import_table(place / "again.csv", place / "kept", place / "images", missing=["Seen before"])
    assert (kept.account.used, kept.account.left_out_cells) == (69, 3)


def test_a_column_of_an_image_that_holds_words_only_is_told(place):
    table = wide(VALUES[:2]).astype(object)
    table[FACES[4]] = ["", "skip"]
    refused(place, table, match="row 3, column 'stim05.png': 'skip' is not a number")
    divided = table.rename(columns={name: name.replace(".png", "_calm") for name in FACES})
    with pytest.raises(StudyError, match="row 3, column 'stim05_calm': 'skip' is not a number"):
        import_table(_csv(place, divided), place / "other", place / "images")


def test_prefixes_of_ids_are_no_groups(place):
    names = ["A1XK9", "A2B", "AB7Q", "AB8", "Z0", "Z99"]
    done = take(place, pd.DataFrame(VALUES.T, columns=names).assign(face=FACES))
    assert done.study.groups == ["all"]
    assert sorted(done.study.ratings["rater"].unique()) == sorted(names)


def test_labels_of_spss(place):
    """Labels are read in columns that name something, codes in columns of ratings."""
    import pyreadstat

    table = long().assign(group=lambda t: (t["group"] == "a") * 1.0)
    table["rating"] = table["rating"].clip(1, 4).astype(float)
    labels = {
        "group": {0.0: "control", 1.0: "patient"},
        "rating": {1.0: "not", 2.0: "rather not", 3.0: "rather", 4.0: "very"},
    }
    pyreadstat.write_sav(
        table, str(place / "r.sav"), variable_value_labels=labels, variable_measure={"group": "scale"}
    )
    done = take(place, "r.sav")
    assert done.study.groups == ["control", "patient"]
    np.testing.assert_array_equal(ratings_of(done), VALUES.clip(1, 4))
    table.loc[[3, 9], "rating"] = 9.0
    labels["rating"][9.0] = "refused"
    pyreadstat.write_sav(table, str(place / "s.sav"), variable_value_labels=labels)
    other = import_table(place / "s.sav", place / "other", place / "images")
    assert (other.account.used, other.account.left_out_cells) == (70, 2)


@pytest.mark.parametrize(
    "form", ["{image}_{trait}", "{trait}-{image}.png", "How {trait}? [{image}]", "{trait}[{image}]"]
)
def test_traits_in_names_of_columns(place, form):
    table = pd.DataFrame(
        {
            form.format(image=name.removesuffix(".png"), trait=trait): column
            if trait == "kind"
            else 8 - column
            for trait in ("kind", "not at all kind")
            for name, column in zip(FACES, VALUES.T, strict=True)
        }
    ).assign(id=[f"p{n}" for n in range(6)])
    table[FACES[0].removesuffix(".png") + "_rt"] = 1.5
    done = take(place, table)
    assert len(done.study.ratings) == 144
    assert len(done.study.traits) == 2
    np.testing.assert_array_equal(
        ratings_of(done, next(t for t in done.study.traits if "not" not in t)), VALUES
    )


def test_landmarks_are_taken_along(place):
    (place / "images" / "stim03.TEM").write_text("189\n")
    (place / "images" / "landmarks.csv").write_text("image,point,x,y\nstim01,468,3,4\nother,468,1,1\n")
    done = take(place, long())
    assert done.account.landmarks == 2
    assert (place / "study" / "images" / "stim03.tem").exists()
    assert done.study.landmarks["image"].tolist() == ["stim01.png"]


def test_a_file_for_each_participant(place):
    for number, row in enumerate(VALUES):
        pd.DataFrame({"stimulus": FACES, "response": row}).to_csv(place / f"vp_{number}.csv", index=False)
    files = [f"vp_{number}.csv" for number in range(6)]
    done = take(place, *files)
    assert done.mapping.files_are == "raters"
    np.testing.assert_array_equal(ratings_of(done), VALUES)


def test_rows_in_a_cell_and_formulas_without_value(place):
    rows = long(comment="").to_csv(index=False).splitlines()
    rows[20] += '"never seen'
    rows[23] += 'ok"'
    (place / "r.csv").write_text("\n".join(rows))
    refused(place, "r.csv", match="row 21: a cell has 4 lines and seems to contain rows")
    book = openpyxl.Workbook()
    table = long()
    book.active.append(list(table.columns))
    for number, row in enumerate(table.itertuples(index=False)):
        book.active.append([*row[:3], "=2+3" if number == 5 else int(row[3]), row[4]])
    book.save(place / "book.xlsx")
    refused(place, "book.xlsx", match=r"formulas have no stored value: Sheet!D7")


@pytest.mark.parametrize("heading", ["image", "Gesicht", "X"])
def test_columns_of_images(place, heading):
    """Paths of Windows, web addresses, headings of other languages; raters' numbers are no images."""
    names = [
        f"D:\\study one\\{name}" if heading == "image" else f"https://x.org/a%20b/{name}?v=2"
        for name in FACES
    ]
    done = take(place, long(images=names).rename(columns={"image": heading}))
    np.testing.assert_array_equal(ratings_of(done), VALUES)


def test_images_that_are_not_all_there(place):
    more = [*FACES[:6], *(f"stim{number}.png" for number in range(50, 56))]
    text = refused(place, long(images=more), match="there is no image 'stim50.png'")
    assert "same" not in text
    done = take(place, long(images=more), absent_images="leave out", folds=2)
    assert {entry.name for entry in done.account.left_out if entry.what == "image"} == set(more[6:])
    assert done.account.left_out_cells == 36


def test_names_in_two_forms_of_unicode(tmp_path):
    names = [f"fa\u0301ce\u0308{number:02d}.png" for number in range(12)]
    write_images(tmp_path, names)
    table = long(images=[name.replace("a\u0301", "\u00e1").replace("e\u0308", "\u00eb") for name in names])
    table.loc[table["rater"] == "p1", "group"] = "b\u200b"
    done = take(tmp_path, table)
    assert done.study.groups == ["a", "b"]
    assert sorted(done.study.ratings["image"].unique()) == sorted(names)


def test_faults_are_told_of_the_users_table(place):
    table = pd.concat([wide(), wide().iloc[[2]]])
    refused(place, table, match=r"table0.csv, row 8: has the same .* as row 4 \(12 ratings")
    table = long()
    table["rating"] = np.where(table["group"] == "a", 3, table["rating"])
    refused(place, table, match=r"table0.csv, row 2, column 'rating': trait 'warm' has no variance")


def test_what_study_toml_leaves_out_does_not_refuse(study_folder):
    table = pd.read_csv(study_folder / "ratings.csv")
    lone = table[table["rater"] == "A0"].assign(rater="Z", group="lone", rating=4)
    pd.concat([table, lone]).to_csv(study_folder / "ratings.csv", index=False)
    (study_folder / "study.toml").write_text('groups = ["A", "B"]\n')
    study = Study.load(study_folder)
    assert any("left out: lone" in str(notice) for notice in study.notices)


@pytest.mark.parametrize(
    "above",
    ["sep={s}\n", "My ratings\nof May\n\n", "# exported 2024-05-01\n", "Study{s}Faces\n"],
)
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_lines_above_the_header(place, above, separator):
    text = above.format(s=separator) + long().to_csv(index=False, sep=separator)
    (place / "r.csv").write_text(text)
    done = take(place, "r.csv")
    np.testing.assert_array_equal(ratings_of(done), VALUES)
    told = import_table(place / "r.csv", place / "two", place / "images", first_line=above.count("\n") + 1)
    assert len(told.study.ratings) == 72


def test_headings_of_two_rows_and_labels_below(place):
    names = [name.removesuffix(".png") for name in FACES]
    first = ["id", *(cell for name in names for cell in (name, ""))]
    second = ["", *["kind", "calm"] * 12]
    rows = [[f"p{n}", *(value for one in row for value in (one, 8 - one))] for n, row in enumerate(VALUES)]
    pd.DataFrame([first, second, *rows]).to_csv(place / "r.csv", index=False, header=False)
    done = take(place, "r.csv")
    np.testing.assert_array_equal(ratings_of(done, "kind"), VALUES)
    labels = pd.DataFrame([{name: f"Rating of {name}" for name in wide().columns}])
    sosci = pd.concat([labels, wide()])
    other = import_table(_csv(place, sosci), place / "other", place / "images")
    np.testing.assert_array_equal(ratings_of(other), VALUES)


def test_formats_that_are_not_read_are_named(place):
    (place / "avif").mkdir()
    (place / "avif" / "stim01.AVIF").write_bytes(b"x")
    refused(place, long(), images="avif", match="1 AVIF file is not read; save as PNG")
    (place / "images" / "stim13.bmp").write_bytes(b"x")
    (place / "images" / ".thumbnails").mkdir()
    (place / "images" / ".thumbnails" / "stim01.png").write_bytes(b"x")
    refused(place, long(images=[*FACES[:11], "stim13"]), match="stim13.bmp is not read in this format")
    (place / "r.csv.gz").write_bytes(b"x")
    refused(place, "r.csv.gz", match="is an archive; unpack it first")


def test_few_images_and_folders(tmp_path):
    names = [f"f{number}.png" for number in range(8)]
    write_images(tmp_path, names)
    done = take(tmp_path, long(VALUES[:, :8], names))
    assert done.study.settings.folds.number == 4
    assert any("4 folds instead of 5" in one for one in done.account.decided)
    folders = tmp_path / "folders"
    write_images(folders, [f"{mood}/f{number}.png" for mood in ("sad", "happy") for number in range(6)])
    table = long(images=[f"{mood}/f{number}.png" for mood in ("sad", "happy") for number in range(6)])
    with pytest.raises(StudyError, match=r"images of the same name are in several folders.*--identity"):
        import_table(_csv(folders, table), folders / "study", folders / "images")
    told = import_table(
        folders / "again.csv", folders / "study", folders / "images", identity="name", folds=2
    )
    assert told.study.images["identity"].nunique() == 6


def test_conditions_that_no_row_meets(place):
    table = long(phase="test")
    refused(place, table, only={"phase": ["Test"]}, match="no row has phase = 'Test'; found: 'test'")


def test_a_newer_table_beside_is_noted(study_folder):
    (study_folder / "ratings.xlsx").write_bytes(b"x")
    notices = "\n".join(map(str, Study.load(study_folder).notices))
    assert "ratings.csv: was read; ratings.xlsx was not" in notices


def test_the_account_and_the_mapping_come_back(place):
    table = long(age=30)
    table.loc[4, "rating"] = np.nan
    done = take(place, table, keep=["age"])
    assert read_account(place / "study") == done.account
    assert (done.account.read, done.account.used, done.account.empty) == (72, 71, 1)
    mapping = read_mapping(place / "study" / "mapping.toml")
    again = import_table(place / "table0.csv", place / "again", place / "images", mapping=mapping)
    pd.testing.assert_frame_equal(again.study.ratings, done.study.ratings)
    (place / "wrong.toml").write_text("rator = 'x'\n")
    with pytest.raises(StudyError, match=r"wrong.toml: rator: extra inputs"):
        read_mapping(place / "wrong.toml")
    assert read_account(place) is None


def test_the_mapping_and_ten_rows_are_shown_before_the_yes(place):
    shown = []
    take(place, long(), confirm=lambda text: shown.append(text) is None)
    assert len(shown) == 1
    assert "image: column 'image'" in shown[0]
    assert shown[0].count("stim") == 10


def test_the_guess_is_shown_when_the_import_is_refused(place):
    from traitlens.progress import SilentWatcher

    class Notebook(SilentWatcher):
        def say(self, text):
            said.append(text)

    said: list[str] = []
    refused(place, long(images=[*FACES[:11], "nobody.png"]), match="nobody", watcher=Notebook())
    assert "  image: column 'image'" in said
