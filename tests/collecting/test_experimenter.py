"""The experimenter's page: what it shows, what it changes, and who is refused."""

import json

import pytest

from traitlens.collecting.experimenter import make_cards, summarise_sessions
from traitlens.collecting.server import make_app
from traitlens.collecting.session_manager import add_participants, open_sessions

testclient = pytest.importorskip("starlette.testclient")
segno = pytest.importorskip("segno")
SECRET = "experimenters-own-secret"
ADDRESS = "http://192.168.0.7:8080"


@pytest.fixture
def sessions(make_study):
    opened = open_sessions(make_study())
    add_participants(opened, 3)
    yield opened
    opened.store.close()


@pytest.fixture
def ask(sessions):
    client = testclient.TestClient(
        make_app(sessions, SECRET, ADDRESS, "study"), raise_server_exceptions=False
    )

    def send(address, body=None, token=SECRET):
        method = "GET" if body is None else "POST"
        content = body if body is None or isinstance(body, bytes) else json.dumps(body)
        return client.request(
            method, f"/api{address}", content=content, headers={"Authorization": f"Bearer {token}"}
        )

    return send


def test_the_page_shows_who_is_where_and_the_balance_of_groups(sessions, ask, take_part):
    take_part(sessions.store, sessions.design, "P001", "autistic", lambda *_: 4)
    take_part(sessions.store, sessions.design, "P002", "non-autistic", lambda *_: 4, stop=8)
    told = ask("/experimenter").json()
    assert told == json.loads(json.dumps(summarise_sessions(sessions, "study")))
    assert [one["state"] for one in told["participants"]] == ["done", "under way", "not begun"]
    assert told["balance"] == [
        {"group": "autistic", "not begun": 0, "under way": 0, "done": 1},
        {"group": "non-autistic", "not begun": 0, "under way": 1, "done": 0},
        {"group": "not known yet", "not begun": 1, "under way": 0, "done": 0},
    ]


def test_each_card_holds_the_link_as_a_qr_code(sessions, ask):
    cards = ask("/experimenter/cards").json()
    assert cards == make_cards(sessions.store, ADDRESS)
    for card, one in zip(cards, sessions.store.participants(), strict=True):
        assert card["link"] == f"{ADDRESS}/#{one.token}"
        drawn = segno.make(card["link"], error="m", micro=False)
        assert card["qr"] == drawn.svg_data_uri(scale=4, border=4, light="#fff")


def test_a_pause_holds_everybody_after_the_next_answer_and_outlives_the_server(sessions, ask, tmp_path):
    token = sessions.store.participants()[0].token
    assert ask("/session", token=token).json()["paused"] is False
    assert ask("/experimenter/pause", {"paused": True}).json()["paused"] is True
    after = ask("/answer", {"participant": "P001", "step": 0}, token=token).json()
    assert (after["position"], after["paused"]) == (1, True)
    again = open_sessions(tmp_path / "study")
    assert again.paused
    again.store.close()
    ask("/experimenter/pause", {"paused": False})
    assert ask("/session", token=token).json()["paused"] is False


def test_participants_are_created_with_and_without_a_group(sessions, ask):
    ask("/experimenter/participants", {"number": 2, "group": None})
    ask("/experimenter/participants", {"number": 1, "group": "autistic"})
    assert [one.group for one in sessions.store.participants()] == [None] * 5 + ["autistic"]


@pytest.mark.parametrize(
    ("address", "body", "status"),
    [
        ("/experimenter/pause", {"paused": "yes"}, 422),
        ("/experimenter/participants", {"number": 0}, 422),
        ("/experimenter/participants", {"number": 100_000}, 422),
        ("/experimenter/participants", {"number": True}, 422),
        ("/experimenter/participants", {"number": 1, "group": "tall"}, 422),
        ("/experimenter/participants", b"[", 400),
    ],
)
def test_bad_requests_are_refused_and_change_nothing(sessions, ask, address, body, status):
    before = sessions.store.participants()
    assert ask(address, body).status_code == status
    assert sessions.store.participants() == before
    assert not sessions.paused


def test_only_the_experimenters_token_opens_it(sessions, ask):
    participant = sessions.store.participants()[0].token
    for token in ("", participant, SECRET[:-1]):
        for address, body in (
            ("/experimenter", None),
            ("/experimenter/cards", None),
            ("/experimenter/pause", {"paused": True}),
            ("/experimenter/participants", {"number": 1}),
        ):
            assert ask(address, body, token).status_code == 401
    assert not sessions.paused
    assert len(sessions.store.participants()) == 3
    without = testclient.TestClient(make_app(sessions))
    assert without.get("/api/experimenter").status_code == 404
