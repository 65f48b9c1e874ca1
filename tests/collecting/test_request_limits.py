"""A server on the internet: held connections shut nobody out, and no request ends in a traceback."""

import http.client
import json
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from traitlens.collecting.database import AnswerDatabase
from traitlens.collecting.design import COLLECTED

pytest.importorskip("uvicorn")

SERVE = """
import sys
from pathlib import Path
from traitlens.collecting import request_limits
from traitlens.collecting.session_manager import add_participants, open_sessions
from traitlens.collecting.server import serve

request_limits.LONGEST_REQUEST, request_limits.MOST_CONNECTIONS = 2.0, 20
room = open_sessions(Path(sys.argv[1]))
add_participants(room, 1)
print("ready", flush=True)
serve(room, port=int(sys.argv[2]))
"""


@pytest.fixture
def served(make_study):
    """A server of its own: the study's folder, its port and the process."""
    folder = make_study()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(folder), str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stdout.readline() == "ready\n"
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except ConnectionRefusedError:
            time.sleep(0.05)
    yield folder, port, server
    server.terminate()
    server.communicate(timeout=20)


def ask(port, method, path, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body, headers)
        return connection.getresponse().status
    finally:
        connection.close()


def send(port, text):
    """Send a request as it stands; give the first line of the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(text)
        return connection.makefile("rb").readline()


def test_connections_that_are_held_open_shut_nobody_out(served):
    _, port, _ = served
    held = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(60)]
    start = b"POST /api/answer HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"
    for number, one in enumerate(held):
        with suppress(ConnectionError):  # closed already
            one.sendall(start[:number])
    for _ in range(5):
        assert ask(port, "GET", "/", Host="localhost") == 200
    for one in held:
        with one, suppress(ConnectionError):
            while one.recv(4096):  # the answer to those that are whole, then the end
                pass
    assert ask(port, "GET", "/", Host="localhost") == 200


def test_odd_requests_are_refused_in_one_line(served):
    folder, port, server = served
    with AnswerDatabase(folder / COLLECTED / "answers.sqlite") as store:
        [participant] = store.participants()
    token = {"Authorization": f"Bearer {participant.token}", "Host": "localhost"}
    assert ask(port, "GET", "/api/faces/" + "9" * 5000, **token) == 404
    assert ask(port, "GET", "/api/faces/%d9%a3", **token) == 404
    assert ask(port, "GET", "/api/faces/0", **token) == 200
    assert ask(port, "GET", "/%1b%5b2J%0aforged", Host="localhost") == 404
    for odd in ({"language": []}, {"language": {}}, {"device": []}, {"rating": "1e999"}, {"rt": [1]}):
        answer = {"participant": participant.id, "step": 0, "rating": 4, "rt": 900, **odd}
        assert ask(port, "POST", "/api/answer", json.dumps(answer), **token) in (200, 409, 422)
    twice = b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    assert b" 400 " in send(port, twice)
    cut = f"POST /api/answer HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token['Authorization']}\r\n"
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(cut.encode() + b"Content-Length: 100\r\n\r\n{")
    assert ask(port, "GET", "/", Host="localhost") == 200
    server.terminate()
    _, told = server.communicate(timeout=20)
    assert "Traceback" not in told
    log = Path(folder / COLLECTED / "refused.log").read_text("utf-8")
    assert "\x1b" not in log
    assert "Traceback" not in log
    assert all(line[:2] == "20" for line in log.splitlines())
