"""What was answered becomes the study's table, from the server and from jsPsych alike."""

import base64
import hashlib
import json
import os
import sqlite3
import zipfile

import pandas as pd
import pytest

from traitlens.collecting.collected_data import (
    COLUMNS,
    export_ratings,
    read_collected,
    tabulate_participants,
    withdraw_participant,
)
from traitlens.collecting.database import AnswerDatabase
from traitlens.collecting.design import read_design
from traitlens.collecting.jspsych import SCRIPT, write_experiment
from traitlens.collecting.jspsych_data import read_experiment
from traitlens.collecting.session_manager import open_sessions
from traitlens.collecting.session_steps import make_steps
from traitlens.problems import StudyError, TraitlensError


def rating_of(participant, number):
    """A rating that is the same wherever it was given."""
    return float(1 + (number * 5 + len(participant) + int(participant[-1])) % 7)


def experiment_rows(design, participant, group, place):
    """What the experiment's page saves."""
    for number, step in enumerate(make_steps(design, group, place)[:-1]):
        rated = step.kind in ("practice", "trial", "check")
        rating = (step.wanted if step.kind == "check" else rating_of(participant, number)) if rated else None
        yield {
            "participant": participant, "group": group, "order": place, "step": number, "kind": step.kind,
            "trait": step.traits[0] if step.traits else "", "image": step.image or "", "repeat": step.repeat,
            "wanted": step.wanted, "rating": rating, "moved": None, "rt": 700.0 + number if rated else None,
            "time": "2026-01-01T10:00:00.000Z", "device": "touch 390x844", "language": "de",
            "trial_type": "traitlens-page",
        }  # fmt: skip


@pytest.fixture
def study(make_study, take_part, write_german):
    folder = make_study(settings='practice = 1\nchecks = 1\nrepeats = 0.34\nlanguages = ["en", "de"]\n')
    write_german(folder)
    design, _ = read_design(folder)
    with AnswerDatabase(folder / "collected" / "answers.sqlite") as store:
        store.add_participants(4)
        for participant, group in (("P001", "autistic"), ("P002", "non-autistic")):
            take_part(store, design, participant, group, rating_of)
        take_part(store, design, "P003", "autistic", rating_of, stop=8)
    return folder


def test_the_table_is_the_studys(study):
    path, ratings, _ = export_ratings(study)
    assert path == study / "ratings.csv"
    written = pd.read_csv(path)
    assert list(written.columns) == list(ratings.columns) == COLUMNS
    full = written[written["rater"] == "P001"]
    assert len(full) == 2 * (6 + 2)
    assert (full["repeat"] == 2).sum() == 4
    assert set(written["rater"]) == {"P001", "P002", "P003"}
    assert not written.duplicated(["rater", "image", "trait", "repeat"]).any()
    assert full["checks_passed"].unique().tolist() == [1.0]
    assert set(written["image"]) <= {f"{i:02d}.png" for i in range(6)}
    assert "token" not in path.read_text()


def test_a_table_that_is_there_is_kept_unless_it_may_be_replaced(study):
    (study / "ratings.csv").write_text("mine\n")
    with pytest.raises(TraitlensError, match="already exists; use --replace"):
        export_ratings(study)
    assert (study / "ratings.csv").read_text() == "mine\n"
    export_ratings(study, replace=True)
    assert export_ratings(study, study / "other.csv")[0].exists()


def test_where_everybody_is(study):
    table = tabulate_participants(study).set_index("participant")
    assert table["state"].to_dict() == {
        "P001": "done", "P002": "done", "P003": "under way", "P004": "not begun"
    }  # fmt: skip
    assert table["trials"].tolist() == [16] * 4
    assert table.loc["P001", "trials_done"] == 16
    assert 0 < table.loc["P003", "trials_done"] < 16


def write_data(rows, path):
    """Write rows as participants, JATOS and Pavlovia give them; a step that was sent twice occurs twice."""
    lines = "".join(json.dumps(row) + "\n" for row in [*rows, *rows[-3:]])
    if path.suffix == ".json":
        path.write_text(json.dumps(rows))
    elif path.suffix == ".txt":
        path.write_text(lines)
    elif path.suffix == ".jzip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("metadata.json", '{"data": []}')
            archive.writestr("study_result_1/comp-result_1/data.txt", lines)
            archive.writestr("study_result_2/comp-result_2/data.txt", "")
    else:
        extra = {"trial_index": 0, "internal_node_id": "0.0", "questionnaire": "null"}
        pd.DataFrame([{**row, **extra} for row in rows]).to_csv(path, index=False, na_rep="null")


@pytest.mark.parametrize("suffix", [".json", ".csv", ".txt", ".jzip"])
def test_data_of_the_experiment_are_the_same_answers(study, tmp_path, suffix):
    design, _ = read_design(study)
    path = tmp_path / f"data{suffix}"
    write_data(list(experiment_rows(design, "P001", "autistic", 0)), path)
    with AnswerDatabase(study / "collected" / "answers.sqlite") as store:
        kept = [row for row in store.answers() if row["participant"] == "P001"]
    read = read_experiment([path], design, ["de"]).answers
    for one, other in zip(read, kept, strict=True):
        assert {**one, "time": ""} == {**other, "time": "", "image": other["image"] or ""}
    path.rename(tmp_path / f"again{suffix}")
    assert read_experiment([tmp_path / f"again{suffix}"] * 2, design, ["de"]).answers == read


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jzip", b"no"),
        ("a.txt", b"{"),
        ("a.json", b"[1]"),
        ("b.json", b"\xff"),
        ("c.txt", b"[[]]"),
    ],
)
def test_files_that_hold_no_data_are_named(study, tmp_path, name, content):
    design, _ = read_design(study)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(StudyError, match=f"{name}: cannot be read"):
        read_experiment([tmp_path / name], design, ["de"])


def test_every_fault_of_the_experiments_data_is_told(study, tmp_path):
    design, _ = read_design(study)
    rows = [row for row in experiment_rows(design, "J1", "autistic", 0) if row["kind"] == "trial"]
    rows[0]["rating"], rows[1]["image"], rows[2]["trait"], rows[3]["group"] = 9, "x.png", "tall", "none"
    rows[4]["rt"] = "soon"
    rows.append({**rows[5], "rating": rows[5]["rating"] % 7 + 1})
    (tmp_path / "data.json").write_text(json.dumps(rows))
    with pytest.raises(StudyError) as caught:
        read_collected(study, [tmp_path / "data.json"])
    told = str(caught.value)
    for words in (
        "data.json, row 2: the rating is off the scale",
        "row 3: image 'x.png' is not part of the study",
        "row 4: trait 'tall' is not part of the study",
        "row 5: group 'none' is not part of the study",
        "row 6: one of step, repeat, rating, rt and wanted is not a number",
        "has another answer elsewhere",
    ):
        assert words in told
    (tmp_path / "data.json").write_text('[{"rt": 5, "response": 3}]')
    with pytest.raises(StudyError, match="columns are missing: participant"):
        read_collected(study, [tmp_path / "data.json"])


ODD = {
    "step": ["nan", "inf", "1.5", "-1", "1e9"],
    "repeat": ["nan", "inf", "1e400"],
    "rating": ["nan", "inf"],
    "participant": ["", "=cmd|' /C calc'!A0", "-1", "a b", "x" * 65, "P001"],
    "device": ["", "=HYPERLINK(1)", "touch 1x1\n=1", "d"],
    "language": ["", "xx", "=1"],
    "time": ["", "t", "=NOW()"],
}


@pytest.mark.parametrize(("column", "value"), [(name, value) for name, odd in ODD.items() for value in odd])
def test_what_no_session_sends_is_refused(study, tmp_path, column, value):
    design, _ = read_design(study)
    row = next(row for row in experiment_rows(design, "J1", "autistic", 0) if row["kind"] == "trial")
    (tmp_path / "data.json").write_text(json.dumps([{**row, column: value}]))
    with pytest.raises(StudyError, match=r"data\.json, row 2: "):
        read_collected(study, [tmp_path / "data.json"])
    (tmp_path / "data.json").write_text(json.dumps([{**row, "rating": 5.0000001}]))
    ratings = read_collected(study, [tmp_path / "data.json"]).ratings
    assert set(ratings.loc[ratings["rater"] == "J1", "rating"]) == {5.0}


def test_who_withdraws_is_gone(study, traitlens):
    file = study / "collected" / "answers.sqlite"
    with AnswerDatabase(file) as store:
        token = next(one.token for one in store.participants() if one.id == "P004")
    code, told, _ = traitlens("rate", "withdraw", study, "P001")
    assert code == 0
    assert "Deleted: P001" in told
    assert "P001" not in read_collected(study).ratings["rater"].tolist()
    assert withdraw_participant(study, "P004") == 0
    for path in file.parent.iterdir():
        content = path.read_bytes()
        assert b"P001" not in content, path
        assert token.encode() not in content, path
    assert (file.parent / "withdrawals.log").read_text().count("one participant withdrew") == 2
    with AnswerDatabase(file) as store:
        assert [one.id for one in store.add_participants(2)] == ["P005", "P006"]
    with pytest.raises(TraitlensError, match="unknown participant 'P001'"):
        withdraw_participant(study, "P001")


def test_pseudonyms_are_never_given_twice_whoever_deleted_them(study):
    file = study / "collected" / "answers.sqlite"
    with sqlite3.connect(file) as connection:
        connection.execute("DELETE FROM participants WHERE id IN ('P002', 'P004')")
    with AnswerDatabase(file) as store:
        assert [one.id for one in store.add_participants(1)] == ["P005"]
    connection.close()


def test_a_damaged_file_is_copied_and_read_as_far_as_possible(study, traitlens):
    file = study / "collected" / "answers.sqlite"
    with sqlite3.connect(file) as connection:
        columns = ", ".join(row[1] for row in connection.execute("PRAGMA table_info(answers)"))
        for number in range(1, 11):  # as many as several pages hold
            moved = columns.replace("step", f"step + {100 * number}")
            connection.execute(f"INSERT INTO answers SELECT {moved} FROM answers WHERE step < 100")
    connection.close()
    before = read_collected(study).ratings
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    damaged = bytearray(file.read_bytes())
    pages = range(4096, len(damaged), 4096)
    page = max(pages, key=lambda start: damaged[start : start + 4096].count(b"touch 390x844"))
    damaged[page : page + 200] = b"\xff" * 200
    file.write_bytes(damaged)
    code, _, told = traitlens("rate", "status", study)
    assert code == 2
    assert "was damaged; it now contains all readable rows (4 participants" in " ".join(told.split())
    [kept] = file.parent.glob("answers.damaged-*.sqlite")
    assert kept.read_bytes() == bytes(damaged)
    assert traitlens("rate", "status", study)[0] == 0
    after = read_collected(study).ratings
    assert 0 < len(after) < len(before)
    assert set(after["time"]) <= set(before["time"])
    file.write_bytes(b"no database at all" * 1000)
    code, _, told = traitlens("rate", "export", study)
    assert code == 2
    assert "cannot be read" in " ".join(told.split())


@pytest.mark.parametrize("steps", ["[", "5", '[{"kind": "trial"}, {}]', "[" * 100_000])
def test_damaged_sessions_are_named(study, traitlens, steps):
    with sqlite3.connect(study / "collected" / "answers.sqlite") as connection:
        connection.execute("UPDATE participants SET steps = ? WHERE id = 'P002'", (steps,))
    connection.close()
    code, _, told = traitlens("rate", "status", study)
    assert code == 2
    assert "the session of P002 is damaged" in " ".join(told.split())


def test_positions_off_the_end_are_named(study, traitlens):
    with sqlite3.connect(study / "collected" / "answers.sqlite") as connection:
        connection.execute("UPDATE participants SET position = 1000 WHERE id = 'P002'")
    connection.close()
    assert traitlens("rate", "status", study)[0] == 0
    with pytest.raises(StudyError, match="the session of P002 is damaged"):
        open_sessions(study)


def test_a_scale_that_changed_after_sessions_began_is_refused(study, make_study):
    settings = study / "study.toml"
    open_sessions(study).store.close()
    settings.write_text(settings.read_text().replace("[1, 7]", "[1, 9]"))
    with pytest.raises(StudyError, match=r"the scale is now 1 to 9 .* sessions have begun with 1 to 7"):
        open_sessions(study)
    settings.write_text(settings.read_text().replace("[1, 9]", "[1, 7]"))
    open_sessions(study).store.close()
    empty = make_study(name="empty")
    for scale in ("[1, 7]", "[1, 9]"):
        (empty / "study.toml").write_text((empty / "study.toml").read_text().replace("[1, 7]", scale))
        open_sessions(empty).store.close()


def test_nothing_collected_is_told(make_study):
    with pytest.raises(StudyError, match="no ratings were collected yet"):
        read_collected(make_study(name="empty"))


def a_package(folder, version="8.3.0"):
    (folder / "dist").mkdir(parents=True)
    (folder / "package.json").write_text(json.dumps({"name": "jspsych", "version": version}))
    (folder / "dist" / "index.browser.min.js").write_text("// jsPsych")
    return folder


def test_the_experiment_holds_every_order_and_face(study, tmp_path):
    out = tmp_path / "experiment"
    write_experiment(study, out, a_package(tmp_path / "jspsych"), orders=3)
    content = json.loads(
        (out / "design.js").read_text("utf-8").removeprefix("const TRAITLENS = ").strip(" ;\n")
    )
    design, _ = read_design(study)
    for group in design.groups:
        for place in range(3):
            expected = [
                [step.kind, [design.traits.index(trait) for trait in step.traits],
                 None if step.image is None else content["images"].index(step.image),
                 step.repeat, step.wanted, step.questionnaire]
                for step in make_steps(design, group, place)
            ]  # fmt: skip
            assert content["orders"][group][place] == expected
    assert len(list((out / "faces").glob("*.jpg"))) == len(content["images"]) == 7
    page = (out / "index.html").read_text()
    assert 'src="jspsych/index.browser.min.js"' in page
    assert "default-src 'none'" in page.replace("&#x27;", "'")
    assert "http" not in page.replace("http-equiv", "")


def test_jspsych_comes_from_where_it_was_said_to(study, tmp_path):
    address = "https://scripts.example/jspsych@8.3.0/dist/index.browser.min.js"
    package = a_package(tmp_path / "jspsych")
    write_experiment(study, tmp_path / "a", package, cdn=address, orders=1, save="jatos")
    page = (tmp_path / "a" / "index.html").read_text()
    digest = hashlib.sha384((package / SCRIPT).read_bytes()).digest()
    integrity = f"sha384-{base64.b64encode(digest).decode()}"
    assert f'src="{address}" integrity="{integrity}" crossorigin="anonymous"' in page
    assert 'src="jatos.js"' in page
    assert not (tmp_path / "a" / "jspsych").exists()
    old = a_package(tmp_path / "old", "7.3.4")
    for given, told in (
        ({}, "the source of jsPsych is missing"),
        ({"cdn": address}, "the source of jsPsych is missing"),
        ({"scripts": package, "cdn": "http://scripts.example/a.js"}, "is not the address of a script"),
        ({"scripts": old}, "does not contain jsPsych 8"),
        ({"scripts": tmp_path}, "does not contain jsPsych 8"),
        ({"scripts": package, "cdn": address, "save": "mail"}, "unknown value of save 'mail'"),
        ({"scripts": package, "cdn": address, "orders": 0}, "the number of orders is 0"),
    ):
        with pytest.raises(TraitlensError, match=told):
            write_experiment(study, tmp_path / "b", **given)
        assert not (tmp_path / "b").exists()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="ends the server by a signal")
def test_two_hundred_at_once_lose_no_row():
    from benchmarks.collecting import run_load

    outcome = run_load(participants=200, answers=10, think=1.0)
    assert outcome.acknowledged == outcome.kept == 2000
