"""Participants from a panel: identifiers apart from answers, links back, places, demographics, withdrawal."""

import json

import pandas as pd
import pytest

from traitlens.collecting.collected_data import (
    export_ratings,
    merge_demographics,
    read_collected,
    withdraw_participant,
)
from traitlens.collecting.panels import panel_link, read_identifiers
from traitlens.collecting.server import make_app
from traitlens.collecting.session_manager import open_sessions
from traitlens.problems import StudyError

testclient = pytest.importorskip("starlette.testclient")
SETTINGS = """practice = 0
checks = 0
repeats = 0.0
panel = "prolific"
completion = "DONE1234"
screen_out = "FULL1234"
places = 1
"""
PID = {"PROLIFIC_PID": "5f0aaaa", "STUDY_ID": "s1", "SESSION_ID": "e1"}
ANSWER = {"rating": 4, "rt": 900.5, "moved": None, "device": "keyboard 1440x900", "language": "en"}
LINK = "https://app.prolific.com/submissions/complete?cc="


@pytest.fixture
def sessions(make_study):
    opened = open_sessions(make_study(settings=SETTINGS))
    yield opened
    opened.store.close()


@pytest.fixture
def client(sessions):
    return testclient.TestClient(make_app(sessions))


def join(client, ids, agreed):
    return client.post("/api/join", content=json.dumps({"ids": ids, "agreed": agreed}))


def take_part(client, ids, group="autistic"):
    """Agree and answer until the last page; return the token and its state."""
    token = join(client, ids, True).json()["token"]
    headers = {"Authorization": f"Bearer {token}"}
    state = client.get("/api/session", headers=headers).json()
    while state["next"] != "" or state["step"]["kind"] not in ("end", "screened"):
        body = {"participant": state["participant"], "step": state["position"], "group": group, **ANSWER}
        state = client.post("/api/answer", content=json.dumps(body), headers=headers).json()
    return token, state


def test_nothing_is_stored_before_the_agreement_and_the_same_person_continues(client, sessions):
    told = join(client, PID, False).json()
    assert (told["state"]["participant"], told["state"]["step"]["kind"]) == ("", "consent")
    assert sessions.store.participants() == []
    assert not sessions.panel_ids.path.exists()
    token = join(client, PID, True).json()["token"]
    assert join(client, {**PID, "SESSION_ID": "another"}, False).json() == {"token": token}
    (one,) = sessions.store.participants()
    assert (one.token, one.position) == (token, 1)


def test_answers_and_identifiers_are_apart_and_the_last_page_leads_back(client, sessions, tmp_path):
    token, state = take_part(client, PID)
    assert (state["step"]["kind"], state["completion"]) == ("end", LINK + "DONE1234")
    again = join(client, PID, False).json()  # the last page was lost: the same link shows it again
    assert again == {"token": token}
    for path in (tmp_path / "study" / "collected").iterdir():
        if path.name.startswith("answers"):
            assert b"5f0aaaa" not in path.read_bytes()
    data = read_collected(tmp_path / "study")
    assert data.panel_ids.to_numpy().tolist() == [["P001", "prolific", "5f0aaaa", "s1", "e1"]]
    assert not data.ratings.astype(str).isin(["5f0aaaa"]).any().any()


def test_who_has_no_place_is_thanked_and_the_group_is_not_stored(client, sessions):
    take_part(client, PID)
    _, state = take_part(client, {"PROLIFIC_PID": "second"})
    assert (state["step"]["kind"], state["completion"]) == ("screened", LINK + "FULL1234")
    assert [one.group for one in sessions.store.participants()] == ["autistic", None]
    take_part(client, {"PROLIFIC_PID": "third"}, "non-autistic")
    refused = join(client, {"PROLIFIC_PID": "fourth"}, False)
    assert (refused.status_code, refused.json()["refused"]) == (403, "all places are taken")
    assert len(sessions.store.participants()) == 3


@pytest.mark.parametrize(
    "ids", [None, {}, {"PROLIFIC_PID": ""}, {"PROLIFIC_PID": "{{%PROLIFIC_PID%}}"}, {"PROLIFIC_PID": ["a"]},
            {"PROLIFIC_PID": "a", "STUDY_ID": "<b>"}, {"PROLIFIC_PID": "x" * 65}]
)  # fmt: skip
def test_identifiers_of_another_form_are_refused(client, sessions, ids):
    assert join(client, ids, True).status_code == 422
    assert read_identifiers("prolific", ids) is None
    assert sessions.store.participants() == []


def test_who_withdraws_is_gone_from_both_files(client, sessions, tmp_path):
    take_part(client, PID)
    sessions.store.submit(lambda connection: connection.execute("SELECT 1").fetchone()).result()
    withdraw_participant(tmp_path / "study", "P001")
    assert sessions.panel_ids.table().empty
    for path in (tmp_path / "study" / "collected").glob("panel_ids*"):
        assert b"5f0aaaa" not in path.read_bytes()


def test_demographics_become_variables_of_raters_without_identifiers(client, sessions, tmp_path):
    take_part(client, PID)
    take_part(client, {"PROLIFIC_PID": "other"}, "non-autistic")
    file = tmp_path / "prolific.csv"
    table = {
        "Participant id": ["5f0aaaa", "nobody"],
        "Age": ["31", "7"],
        "Country of birth": ["DATA_EXPIRED", "x"],
    }
    pd.DataFrame(table).to_csv(file, index=False)
    data = read_collected(tmp_path / "study")
    ratings, unmatched = merge_demographics(data, file, ["Age", "Country of birth"])
    assert unmatched == ["P002"]
    assert ratings.groupby("rater")["age"].unique().str[0].to_dict() == {"P001": "31", "P002": ""}
    assert set(ratings["country_of_birth"]) == {""}
    path, _, _ = export_ratings(tmp_path / "study", demographics=file, columns=["Age"])
    assert "5f0aaaa" not in path.read_text()
    with pytest.raises(StudyError, match=r"columns are missing: Height; columns are: Participant id"):
        merge_demographics(data, file, ["Height"])
    pd.DataFrame({"id": ["5f0aaaa", "5f0aaaa"], "Age": ["1", "2"]}).to_csv(file, index=False)
    with pytest.raises(StudyError, match=r"prolific\.csv, row 3: a participant occurs twice"):
        merge_demographics(data, file, ["Age"])


@pytest.mark.parametrize(
    ("panel", "value", "link"),
    [
        ("prolific", "C1A2B3", LINK + "C1A2B3"),
        ("prolific", LINK + "X", LINK + "X"),
        ("prolific", "javascript:alert(1)", None),
        ("prolific", "http://example.org", None),
        ("prolific", "https://[", None),
        ("sona", "https://a.sona-systems.com/c?survey_code={id}", "https://a.sona-systems.com/c?survey_code=a%26b"),
        ("sona", "https://a.sona-systems.com/c", None),
        ("sona", "C1A2B3", None),
    ],
)  # fmt: skip
def test_links_back_are_https_or_prolifics_codes(panel, value, link):
    assert panel_link(panel, value, "a&b") == link


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ('panel = "prolific"\n', "completion is missing"),
        ('completion = "C1A2B3"\n', "completion needs a panel"),
        (
            'panel = "sona"\ncompletion = "https://a.org/"\n',
            "is not a valid link; write an https link with {id}",
        ),
    ],
)
def test_settings_of_panels_are_checked(make_study, settings, told):
    with pytest.raises(StudyError, match=told):
        open_sessions(make_study(settings=settings))
