"""What was answered becomes the study's table, from the server and from jsPsych alike."""

import json
import os

import pandas as pd
import pytest

from traitlens.collecting.design import read_design
from traitlens.collecting.exporting import COLUMNS, collected_ratings, export_ratings, tabulate_participants
from traitlens.collecting.jspsych import write_experiment
from traitlens.collecting.jspsych_data import read_experiment
from traitlens.collecting.session import make_steps
from traitlens.collecting.store import Store
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
def study(make_study, take_part):
    folder = make_study()
    design, _ = read_design(folder)
    with Store(folder / "collected" / "answers.sqlite") as store:
        store.invite(4)
        for participant, group in (("P001", "autistic"), ("P002", "non-autistic")):
            take_part(store, design, participant, group, rating_of)
        take_part(store, design, "P003", "autistic", rating_of, stop=8)
    return folder


def test_the_table_is_the_studys(study):
    path, ratings = export_ratings(study)
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
    with pytest.raises(TraitlensError, match="is there already; say --replace"):
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


@pytest.mark.parametrize("suffix", [".json", ".csv"])
def test_data_of_the_experiment_are_the_same_answers(study, tmp_path, suffix):
    design, _ = read_design(study)
    rows = list(experiment_rows(design, "P001", "autistic", 0))
    path = tmp_path / f"data{suffix}"
    if suffix == ".json":
        path.write_text(json.dumps(rows))
    else:
        pd.DataFrame(rows).to_csv(path, index=False)
    with Store(study / "collected" / "answers.sqlite") as store:
        kept = [row for row in store.answers() if row["participant"] == "P001"]
    read = read_experiment([path], design)
    for one, other in zip(read, kept, strict=True):
        assert {**one, "time": ""} == {**other, "time": "", "image": other["image"] or ""}
    path.rename(tmp_path / f"again{suffix}")
    assert read_experiment([tmp_path / f"again{suffix}"] * 2, design) == read


def test_every_fault_of_the_experiments_data_is_told(study, tmp_path):
    design, _ = read_design(study)
    rows = [row for row in experiment_rows(design, "J1", "autistic", 0) if row["kind"] == "trial"]
    rows[0]["rating"], rows[1]["image"], rows[2]["trait"], rows[3]["group"] = 9, "x.png", "tall", "none"
    rows[4]["rt"] = "soon"
    rows.append({**rows[5], "rating": rows[5]["rating"] % 7 + 1})
    (tmp_path / "data.json").write_text(json.dumps(rows))
    with pytest.raises(StudyError) as caught:
        collected_ratings(study, [tmp_path / "data.json"])
    told = str(caught.value)
    for words in (
        "data.json, row 2: the rating is off the scale",
        "row 3: image 'x.png' is none of the study",
        "row 4: trait 'tall' is none of the study",
        "row 5: group 'none' is none of the study",
        "row 6: one of step, repeat, rating, rt and wanted is not a number",
        "was answered differently elsewhere",
    ):
        assert words in told
    (tmp_path / "data.json").write_text('[{"rt": 5, "response": 3}]')
    with pytest.raises(StudyError, match="columns are missing: participant"):
        collected_ratings(study, [tmp_path / "data.json"])


def test_nothing_collected_is_told(make_study):
    with pytest.raises(StudyError, match="no rating was collected yet"):
        collected_ratings(make_study(name="empty"))


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
                 step.repeat, step.wanted]
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
    write_experiment(study, tmp_path / "a", cdn=address, orders=1, save="jatos")
    page = (tmp_path / "a" / "index.html").read_text()
    assert f'src="{address}"' in page
    assert 'src="jatos.js"' in page
    assert not (tmp_path / "a" / "jspsych").exists()
    old = a_package(tmp_path / "old", "7.3.4")
    for given, told in (
        ({}, "it must be said where jsPsych comes from"),
        ({"cdn": "http://scripts.example/a.js"}, "is no address of a script"),
        ({"scripts": old}, "holds no jsPsych 8"),
        ({"scripts": tmp_path}, "holds no jsPsych 8"),
        ({"cdn": address, "save": "mail"}, "unknown way to save 'mail'"),
        ({"cdn": address, "orders": 0}, "orders is 0"),
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
