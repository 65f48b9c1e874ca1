"""The web front: what is refused changes nothing and is logged."""

import json
from pathlib import Path

import pytest

from traitlens.collecting.server import HEADERS, PAGES, check_address, make_app
from traitlens.collecting.session_manager import add_participants, open_sessions
from traitlens.problems import StudyError, TraitlensError

pytest.importorskip("starlette")
testclient = pytest.importorskip("starlette.testclient")

ANSWER = {"rating": 4, "rt": 900.5, "moved": None, "device": "keyboard 1440x900", "language": "en"}


@pytest.fixture
def room(make_study):
    opened = open_sessions(make_study())
    add_participants(opened, 2)
    yield opened
    opened.store.close()


@pytest.fixture
def ask(room):
    """Send a request as a participant; gives status and content."""
    client = testclient.TestClient(make_app(room), raise_server_exceptions=False)

    def send(number, method="GET", address="/api/session", body=None, token=None, **more):
        one = room.store.participants()[number]
        headers = {"Authorization": f"Bearer {one.token if token is None else token}"}
        if isinstance(body, dict):
            body = json.dumps({"participant": one.id, **body})
        return client.request(method, address, headers=headers, content=body, **more)

    return send


def answer(ask, number, **body):
    return ask(number, "POST", "/api/answer", body)


def to_first_trial(ask, number=0):
    """Answer until the first trial; gives the state there."""
    state = ask(number).json()
    while state["step"]["kind"] != "trial":
        more = {"group": "autistic"} if state["step"]["kind"] == "group" else ANSWER
        state = answer(ask, number, step=state["position"], **more).json()
    return state


def to_end(ask, number=0):
    state = to_first_trial(ask, number)
    while state["step"]["kind"] != "end":
        state = answer(ask, number, step=state["position"], **ANSWER).json()
    return state


def log_of(room):
    for handler in room.log.handlers:
        handler.flush()
    return Path(room.log.handlers[0].baseFilename).read_text("utf-8")


def test_a_whole_session_by_requests(ask, room):
    state = to_end(ask)
    assert (state["done"], state["total"], state["minutes"], state["next"]) == (16, 16, 0, "")
    kept = room.store.answers()
    assert [row["kind"] for row in kept].count("trial") == 16
    assert [row["kind"] for row in kept].count("check") == 1
    assert {(row["group"], row["rating"], row["rt"], row["language"]) for row in kept} == {
        ("autistic", 4.0, 900.5, "en")
    }
    assert answer(ask, 0, step=state["position"]).status_code == 409


def test_where_a_session_is_depends_on_what_was_kept_alone(ask, room, tmp_path):
    state = to_first_trial(ask)
    room.store.close()
    with pytest.raises(TraitlensError):
        add_participants(open_sessions(tmp_path / "nowhere"), 1)
    again = open_sessions(tmp_path / "study")
    client = testclient.TestClient(make_app(again))
    token = again.store.participants()[0].token
    assert client.get("/api/session", headers={"Authorization": f"Bearer {token}"}).json() == state
    again.store.close()


HOSTILE = [
    (401, {"token": "2222-2222-2222"}, "the token is unknown"),
    (401, {"token": ""}, "the token is unknown"),
    (403, {"body": {"participant": "P002", "step": 5, **ANSWER}}, "another participant's"),
    (422, {"body": {"step": "5", **ANSWER}}, "the step is not a number"),
    (422, {"body": {"step": None, **ANSWER, "rating": 8}}, "off the scale"),
    (422, {"body": {"step": None, **ANSWER, "rating": 0}}, "off the scale"),
    (422, {"body": {"step": None, **ANSWER, "rating": 3.5}}, "not one of the possible answers"),
    (422, {"body": {"step": None, **ANSWER, "rating": "4"}}, "not a number"),
    (422, {"body": {"step": None, **ANSWER, "rt": -5}}, "response time"),
    (422, {"body": {"step": None, **ANSWER, "device": "<script>"}}, "device"),
    (422, {"body": {"step": None, **ANSWER, "language": "../en"}}, "language"),
    (409, {"body": {"step": 0, **ANSWER}}, "the answer is to step 0, but"),
    (409, {"body": {"step": 900, **ANSWER}}, "the answer is to step 900, but"),
    (400, {"body": b"\x00\xff" * 100}, "not JSON"),
    (400, {"body": b"[" * 4000}, "not JSON"),
    (400, {"body": b"[1, 2]"}, "not a JSON object"),
    (413, {"body": b"x" * 10_000_000}, "the request is too large"),
]


def test_hostile_answers_are_refused_logged_and_change_nothing(ask, room):
    state = to_first_trial(ask)
    before = (room.store.answers(), room.store.participants())
    for status, sent, reason in HOSTILE:
        body = sent.get("body", {"step": None, **ANSWER})
        if isinstance(body, dict) and body["step"] is None:
            body = {**body, "step": state["position"]}
        response = ask(0, "POST", "/api/answer", body, token=sent.get("token"))
        assert response.status_code == status, reason
        line = log_of(room).splitlines()[-1]
        assert f"{status} POST /api/answer from testclient: " in line
        assert reason in line
    assert len(log_of(room).splitlines()) == len(HOSTILE)
    assert (room.store.answers(), room.store.participants()) == before
    assert ask(0).json() == state


def test_rubbish_without_a_length_is_cut_off(ask, room):
    to_first_trial(ask)

    def parts():
        for _ in range(1000):
            yield b"x" * 10_000

    assert ask(0, "POST", "/api/answer", parts()).status_code == 413


def test_a_repeated_submission_changes_nothing_and_tells_where_the_session_is(ask, room):
    state = to_first_trial(ask)
    after = answer(ask, 0, step=state["position"], **ANSWER).json()
    rows = room.store.answers()
    again = answer(ask, 0, step=state["position"], **{**ANSWER, "rating": 7})
    assert again.status_code == 409
    assert again.json()["state"] == after
    assert room.store.answers() == rows


OUTSIDE = [
    "/api/faces/../../study.toml",
    "/api/faces/..%2f..%2fstudy.toml",
    "/api/faces/%2e%2e/%2e%2e/etc/passwd",
    "/api/faces/00.png",
    "/api/faces/-1",
    "/api/faces/7",
    "/api/faces/99999999999999999999",
    "/images/00.png",
    "/collected/answers.sqlite",
    "/session.html/../server.py",
]


def test_addresses_outside_the_study_are_refused_and_logged(ask, room):
    for number, address in enumerate(OUTSIDE, start=1):
        assert ask(0, "GET", address).status_code == 404, address
        assert len(log_of(room).splitlines()) == number


def test_faces_come_by_number_to_participants_only(ask, room):
    face = ask(0, "GET", "/api/faces/0")
    assert (face.status_code, face.headers["content-type"]) == (200, "image/jpeg")
    assert face.content[:2] == b"\xff\xd8"
    assert ask(0, "GET", "/api/faces/0", token="2222-2222-2222").status_code == 401
    assert ask(0, "GET", "/api/faces/6").status_code == 200  # the drawn face for practice


def test_every_page_keeps_to_itself(ask):
    for address in [*PAGES, "/api/texts", "/api/session", "/nowhere"]:
        response = ask(0, "GET", address)
        for name, value in HEADERS.items():
            assert response.headers[name] == value, address
    assert "unsafe" not in HEADERS["Content-Security-Policy"]


def test_the_log_names_no_token(ask, room):
    ask(0, token="abcd-efgh-jkmn")
    assert "abcd" not in log_of(room)


def test_who_has_a_known_group_is_not_asked_and_unknown_groups_are_refused(make_study, tmp_path):
    room = open_sessions(make_study())
    (one,) = add_participants(room, 1, "non-autistic")
    client = testclient.TestClient(make_app(room))
    headers = {"Authorization": f"Bearer {one.token}"}
    body = json.dumps({"participant": one.id, "step": 0})
    state = client.post("/api/answer", headers=headers, content=body).json()
    assert (state["position"], state["step"]["kind"]) == (1, "instructions")
    assert room.store.participants()[0].group == "non-autistic"
    with pytest.raises(TraitlensError, match="unknown group 'tall'"):
        add_participants(room, 2, "tall")


def test_sessions_that_the_study_no_longer_fits_are_told(ask, room, tmp_path):
    to_first_trial(ask)
    room.store.close()
    (tmp_path / "study" / "images" / "03.png").unlink()
    with pytest.raises(
        StudyError, match=r"images/03\.png is missing, but is part of sessions that have begun"
    ):
        open_sessions(tmp_path / "study")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ('answer = "slider"\nstep = 0.7\n', "does not divide the scale"),
        ('languages = ["../x"]\n', "is not a language code"),
        ('languages = ["fi"]\n', "texts/fi.toml: is missing"),
    ],
)
def test_settings_that_make_no_session_are_refused(make_study, settings, told):
    with pytest.raises(StudyError, match=told):
        open_sessions(make_study(settings=settings))


def test_every_missing_setting_is_told_at_once(tmp_path):
    (tmp_path / "study.toml").write_text("")
    with pytest.raises(StudyError) as caught:
        open_sessions(tmp_path)
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize(
    "address",
    ["", "rate.example.org", "ftp://a.org", "https://", "https://a.org?x=1", "https://a b", "https://a:x"],
)
def test_addresses_that_make_no_links_are_refused(address):
    with pytest.raises(TraitlensError, match="is not the address of a server"):
        check_address(address)
