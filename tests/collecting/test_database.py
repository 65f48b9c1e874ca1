"""The store: an answer once, in turn, on the disk before it is acknowledged."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from traitlens.collecting.database import AnswerDatabase
from traitlens.collecting.session_steps import SessionDesign, SessionStep, make_steps
from traitlens.collecting.transactions import (
    ALPHABET,
    Answer,
    OutOfTurn,
    complete_step,
    start_session,
    store_answer,
)
from traitlens.problems import TraitlensError

DESIGN = SessionDesign(("a", "b"), ("warm",), ("1.png", "2.png"), practice=0, checks=0)
ANSWER = Answer(4, 812.5, None, "touch 390x844", "en")


@pytest.fixture
def store(tmp_path):
    with AnswerDatabase(tmp_path / "answers.sqlite") as opened:
        yield opened


def begin(store, participant="P001", group="a"):
    store.submit(complete_step(participant, 0)).result()
    job = start_session(participant, 1, group, lambda place: make_steps(DESIGN, group, place))
    store.submit(job).result()
    return store.steps(participant)


def test_tokens_differ_and_can_be_read_aloud(store):
    everybody = store.add_participants(50) + store.add_participants(2, "b")
    assert [one.id for one in everybody[:2] + everybody[-1:]] == ["P001", "P002", "P052"]
    assert len({one.token for one in everybody}) == 52
    assert {len(one.token) for one in everybody} == {14}
    assert set("".join(one.token for one in everybody)) <= set(ALPHABET + "-")
    assert (everybody[0].group, everybody[-1].group) == (None, "b")
    assert store.find_by_token(everybody[7].token).id == "P008"
    assert store.find_by_token("2222-2222-2222") is None


def test_the_session_is_kept_as_it_was_laid_out(store, tmp_path):
    store.add_participants(1)
    assert store.steps("P001") is None
    assert begin(store) == make_steps(DESIGN, "a", 0)
    with AnswerDatabase(tmp_path / "answers.sqlite") as again:
        assert again.steps("P001") == make_steps(DESIGN, "a", 0)


def test_places_are_counted_within_the_group(store):
    store.add_participants(3)
    places = []
    for one, group in (("P001", "a"), ("P002", "b"), ("P003", "a")):
        store.submit(complete_step(one, 0)).result()
        lay_out = lambda place: places.append(place) or make_steps(DESIGN)  # noqa: E731
        store.submit(start_session(one, 1, group, lay_out)).result()
    assert places == [0, 0, 1]


def test_an_answer_counts_once(store):
    store.add_participants(1)
    steps = begin(store)
    store.submit(complete_step("P001", 2)).result()
    store.submit(complete_step("P001", 3)).result()
    assert steps[4].kind == "trial"
    store.submit(store_answer("P001", 4, steps[4], ANSWER)).result()
    for number in (4, 6):
        with pytest.raises(OutOfTurn):
            store.submit(store_answer("P001", number, steps[4], ANSWER)).result()
    (kept,) = store.answers()
    assert (kept["participant"], kept["step"], kept["rating"], kept["group"]) == ("P001", 4, 4.0, "a")
    assert store.participants()[0].position == 5
    assert store.recent_times("P001") == [812.5]


def test_what_fails_undoes_itself_and_nothing_else(store):
    store.add_participants(2)
    begin(store, "P001")

    def fails(connection):
        connection.execute("DELETE FROM participants WHERE id = 'P002'")
        raise ValueError("no")

    futures = [store.submit(job) for job in (complete_step("P001", 2), fails, complete_step("P002", 0))]
    assert isinstance(futures[1].exception(), ValueError)
    assert [future.result() for future in futures[::2]] == [None, None]
    assert [one.position for one in store.participants()] == [3, 1]


def test_of_many_at_once_each_is_kept_and_of_equal_ones_one(store):
    store.add_participants(40)
    names = [one.id for one in store.participants()]
    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(lambda name: store.submit(complete_step(name, 0)).exception(), names * 3))
    assert sum(outcome is None for outcome in outcomes) == 40
    assert {one.position for one in store.participants()} == {1}


def test_what_was_acknowledged_survives_a_kill(tmp_path):
    script = f"""
import os, signal
from pathlib import Path
from traitlens.collecting.database import AnswerDatabase
from traitlens.collecting.transactions import complete_step
store = AnswerDatabase(Path({str(tmp_path)!r}) / "answers.sqlite")
store.add_participants(1)
store.submit(complete_step("P001", 0)).result()
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", script], check=False)
    assert killed.returncode == -9
    with AnswerDatabase(tmp_path / "answers.sqlite") as store:
        assert [one.position for one in store.participants()] == [1]


def test_a_step_without_a_face_is_kept_too(store):
    store.add_participants(1)
    check = SessionStep("check", ("warm",), wanted=3)
    store.submit(store_answer("P001", 0, check, ANSWER)).result()
    assert (store.answers()[0]["wanted"], store.answers()[0]["image"]) == (3.0, None)


def test_a_file_that_is_no_store_is_refused(tmp_path):
    (tmp_path / "answers.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(TraitlensError, match="cannot be read"):
        AnswerDatabase(tmp_path / "answers.sqlite")
