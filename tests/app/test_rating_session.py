"""A rating session that the app starts in a process of its own, and stops."""

import http.client
import json
import os
import shutil
import signal
import stat
import time
from urllib.parse import urlsplit

import pytest

from traitlens.app import background, rating_session
from traitlens.app.workspace import Workspace
from traitlens.problems import TraitlensError

pytest.importorskip("segno")
pytest.importorskip("uvicorn")


@pytest.fixture
def study(material, tmp_path):
    """A study with pictures and nothing else."""
    opened = Workspace(tmp_path / "Collected")
    for file in list((material / "photos").iterdir())[:3]:
        shutil.copyfile(file, tmp_path / "file")
        assert opened.save_picture(file.name, tmp_path / "file")
    yield opened
    background.stop(opened.folder, "collect")
    wait_until(lambda: background.read_progress(opened.folder, "collect").state != "working")


def wait_until(is_so, seconds=60):
    for _ in range(10 * seconds):
        if is_so():
            return
        time.sleep(0.1)
    raise AssertionError("it did not become so")


def ask(address, path, headers=None, method="GET", body=None):
    parts = urlsplit(address)
    connection = http.client.HTTPConnection("127.0.0.1", parts.port, timeout=20)
    connection.request(method, path, body, {"Host": parts.netloc} | (headers or {}))
    answer = connection.getresponse()
    assert answer.headers["access-control-allow-origin"] is None  # no other page may read it
    return answer.status, answer.read()


def answers(address):
    try:
        return ask(address, "/")[0] == 200
    except OSError:
        return False


def refuse_strangers(page, token, code):
    """Tokens of others, other names of this computer, other web pages, other paths and large uploads."""
    participant = {"Authorization": f"Bearer {code}"}
    assert ask(page, "/api/experimenter", participant)[0] == 401
    assert ask(page, "/api/session", token)[0] == 401
    for headers in ({"Host": "evil.example"}, {"Host": "evil.example:80"}):
        assert ask(page, "/api/session", participant | headers)[0] == 400
    # A web page can send requests without a preflight only in simple forms, which have no token.
    foreign = {"Origin": "http://evil.example", "Content-Type": "text/plain"}
    pause = json.dumps({"paused": True})
    assert ask(page, "/api/experimenter/pause", foreign, "POST", pause)[0] == 401
    assert ask(page, "/api/experimenter/pause", foreign, "OPTIONS")[0] == 405
    for path in ("/../study.toml", "/..%2fstudy.toml", "/api/faces/..%2f..%2fstudy.toml", "/study.toml"):
        assert ask(page, path, participant)[0] == 404
    large = {"Content-Length": str(200 * 2**20)}
    assert ask(page, "/api/answer", participant | large, "POST")[0] == 413


def test_a_session_is_started_and_stopped_with_links_for_this_computer(study):
    folder = study.folder
    rating_session.write_questions(folder, "warm, critical", "autistic, non-autistic", "1", "7")
    # Programs that are started in the background ignore interruptions, and so do their children.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        rating_session.start_session(folder, "2")
    finally:
        signal.signal(signal.SIGINT, before)
    assert not study.has_ratings
    wait_until(lambda: background.read_progress(folder, "collect").said)
    page = rating_session.experimenter_page(folder)
    assert urlsplit(page).hostname == "localhost"
    wait_until(lambda: answers(page))
    cards = rating_session.list_cards(folder)
    assert [card["participant"] for card in cards] == ["P001", "P002"]
    assert all(card["link"].startswith(f"http://localhost:{urlsplit(page).port}/#") for card in cards)
    assert all(card["qr"].startswith("data:image/svg+xml") for card in cards)
    token = {"Authorization": f"Bearer {urlsplit(page).fragment}"}
    status, content = ask(page, "/api/experimenter", token)
    assert (status, json.loads(content)["groups"]) == (200, ["autistic", "non-autistic"])
    assert ask(page, "/api/experimenter", {"Authorization": "Bearer another"})[0] == 401
    assert ask(page, "/", {"Host": "evil.example"})[0] == 400
    refuse_strangers(page, token, cards[0]["code"])
    if os.name == "posix":
        assert stat.S_IMODE((folder / ".app" / "session.json").stat().st_mode) == 0o600
    background.stop(folder, "collect")
    wait_until(lambda: background.read_progress(folder, "collect").state == "stopped")
    assert not answers(page)
    rating_session.start_session(folder, "3")  # again, with the same links and one participant more
    wait_until(lambda: background.read_progress(folder, "collect").said)
    assert rating_session.list_cards(folder)[:2] == cards
    assert len(rating_session.list_cards(folder)) == 3


def test_what_is_asked_is_checked_as_a_whole(tmp_path):
    with pytest.raises(TraitlensError) as refused:
        rating_session.write_questions(tmp_path, " , ", "", "7", "1")
    assert len(refused.value.problems) == 2
    assert not (tmp_path / "study.toml").exists()
    for number in ("", "many", "501", "-1"):
        with pytest.raises(TraitlensError, match="whole number up to 500"):
            rating_session.start_session(tmp_path, number)
