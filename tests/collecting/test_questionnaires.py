"""Questionnaires: faults of their files, scores by hand, and the way to variables of raters."""

import json

import numpy as np
import pytest

from traitlens.collecting.collected_data import export_ratings, read_collected, withdraw_participant
from traitlens.collecting.questionnaires import BUILT_IN, read_questionnaires, score_answers
from traitlens.collecting.server import make_app
from traitlens.collecting.session_manager import add_participants, open_sessions
from traitlens.collecting.transactions import store_questionnaire
from traitlens.problems import StudyError
from traitlens.study.formats import read_cells
from traitlens.study.rater_variables import parse_variables

testclient = pytest.importorskip("starlette.testclient")
ANSWER = {"rating": 4, "rt": 900.5, "moved": None, "device": "keyboard 1440x900", "language": "en"}
GIVEN = {"eyes1": 5, "eyes2": 2, "sure1": 3, "sure2": None}
SCORES = {"looking_eyes": (5 + (6 - 2)) / 2, "looking_sure": np.nan}
"""Means by hand, the second item of each scale reversed; a scale with an item left out is missing."""


def test_all_questionnaires_that_come_with_traitlens_are_tested():
    assert sorted(path.stem for path in BUILT_IN.glob("*.toml")) == ["looking", "mini_ipip"]


@pytest.mark.parametrize(
    ("name", "languages"),
    [("looking", ["en"]), ("looking", ["de"]), ("looking", ["en", "de"]), ("looking", ["de", "en"]),
     ("mini_ipip", ["en"])],
)  # fmt: skip
def test_our_questionnaires_are_whole_in_their_languages(tmp_path, name, languages):
    (one,) = read_questionnaires(tmp_path, [name], languages)
    assert set(one.texts) == set(languages)
    assert one.source
    for texts in one.texts.values():
        assert list(texts["items"]) == [item.name for item in one.items]
        assert len(texts["answers"]) == one.highest - one.lowest + 1


def test_the_key_of_the_mini_ipip_is_the_published_one(tmp_path):
    (asked,) = read_questionnaires(tmp_path, ["mini_ipip"], ["en"])
    scales = ["extraversion", "agreeableness", "conscientiousness", "neuroticism", "imagination"]
    assert [item.scale for item in asked.items] == scales * 4
    reversed_items = [number for number, item in enumerate(asked.items, 1) if item.reverse]
    assert reversed_items == [6, 7, 8, 9, 10, 15, 16, 17, 18, 19, 20]


def test_scores_are_means_with_reversed_items(tmp_path):
    asked = read_questionnaires(tmp_path, ["looking"], ["en"])
    rows = [
        {"participant": "P001", "questionnaire": "looking", "item": item, "answer": answer}
        for item, answer in GIVEN.items()
    ]
    scores = score_answers(rows, asked)
    assert scores.to_dict("records")[0] == pytest.approx({"rater": "P001", **SCORES}, nan_ok=True)


def test_every_fault_of_a_file_is_told(tmp_path):
    (tmp_path / "questionnaires").mkdir()
    (tmp_path / "questionnaires" / "mood.toml").write_text(
        'title = "Mood"\nanswers = ["no"]\nlowest = 7\nhigh = 1\n'
        '[[items]]\nname = "a b"\nscale = "calm"\ntext = "x"\nreverse = "yes"\n'
        '[[items]]\nname = "c"\nscale = "calm"\n[[items]]\nname = "c"\nscale = "calm"\ntext = "z"\n'
    )
    with pytest.raises(StudyError) as caught:
        read_questionnaires(tmp_path, ["mood", "none", "../x"], ["en", "de"])
    told = str(caught.value)
    for words in (
        "unknown key 'high'",
        "instructions is missing",
        "answers is not a list of texts",
        "lowest is neither 0 nor 1",
        "name of item 1 is not a name",
        "item 2 has no text",
        "reverse of item 1 is neither true nor false",
        "two items have the same name",
        "has no section [de]",
        "questionnaires/none.toml: is missing; write it, or use a built-in one: looking",
        "'../x' cannot be the name of a questionnaire",
    ):
        assert words in told


@pytest.fixture
def client(make_study):
    sessions = open_sessions(
        make_study(settings='practice = 0\nchecks = 0\nrepeats = 0.0\nquestionnaires = ["looking"]\n')
    )
    (one,) = add_participants(sessions, 1, "autistic")
    client = testclient.TestClient(make_app(sessions), headers={"Authorization": f"Bearer {one.token}"})
    yield client
    sessions.store.close()


def answer(client, state, **more):
    body = {"participant": "P001", "step": state["position"], **more}
    return client.post("/api/answer", content=json.dumps(body))


def to_questionnaire(client):
    state = client.get("/api/session").json()
    while state["step"]["kind"] != "questionnaire":
        state = answer(client, state, **ANSWER).json()
    return state


def test_scores_become_columns_of_the_ratings_and_are_withdrawn(client, tmp_path):
    state = to_questionnaire(client)
    assert state["step"]["questionnaire"] == "looking"
    assert "looking" in client.get("/api/texts").json()["questionnaires"]
    after = answer(client, state, answers=GIVEN).json()
    assert after["step"]["kind"] == "end"
    ratings = read_collected(tmp_path / "study").ratings
    for column, value in SCORES.items():
        np.testing.assert_array_equal(ratings[column], value)
    withdraw_participant(tmp_path / "study", "P001")
    for path in (tmp_path / "study" / "collected").glob("answers.sqlite"):
        assert b"eyes1" not in path.read_bytes()


def test_exported_scores_are_variables_of_raters(make_study, take_part):
    folder = make_study(settings='practice = 0\nchecks = 0\nrepeats = 0.0\nquestionnaires = ["looking"]\n')
    sessions = open_sessions(folder)
    given = {"P001": {"eyes1": 5, "eyes2": 2}, "P002": {"eyes1": 1, "eyes2": 3}, "P003": {"eyes1": 1}}
    for one in add_participants(sessions, 3):
        take_part(sessions.store, sessions.design, one.id, "autistic", lambda *_: 4, stop=-2)
        answers = {"eyes1": None, "eyes2": None, **given[one.id]}
        position = len(sessions.store.steps(one.id)) - 2
        sessions.store.submit(store_questionnaire(one.id, position, "looking", answers)).result()
    sessions.store.close()
    path, _, _ = export_ratings(folder)
    table, problems = parse_variables(read_cells(path), ["looking_eyes"], path.name)
    assert problems == []
    scores = table.groupby("rater")["looking_eyes"].first()
    np.testing.assert_allclose(scores[["P001", "P002", "P003"]], [4.5, 2.0, np.nan])


@pytest.mark.parametrize(
    "answers",
    [None, [], {"eyes9": 1}, {"eyes1": 0}, {"eyes1": 6}, {"eyes1": "3"}, {"eyes1": True}, {"eyes1": 2.5}],
)
def test_answers_that_no_page_sends_are_refused(client, answers):
    state = to_questionnaire(client)
    assert answer(client, state, answers=answers).status_code == 422
    assert client.get("/api/session").json() == state
