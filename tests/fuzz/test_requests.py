"""Requests of strangers to the server of rating sessions and to the explorer."""

import asyncio
import json
import shutil
import socket
import subprocess
import sys
import time
from urllib.parse import quote

import pytest
from PIL import Image
from tests.collecting.conftest import SETTINGS
from tests.collecting.test_request_limits import SERVE
from tests.fuzz.hostile import SECRET, SLOW, VALUES, WORDS, damage, inputs, kept_inside, random_of

from traitlens.collecting.server import make_app
from traitlens.collecting.session_manager import add_participants, open_sessions
from traitlens.explorer.access import OPEN, TokenGate
from traitlens.explorer.served_files import find_file
from traitlens.study.drawing.face import draw_face
from traitlens.study.drawing.parameters import draw_parameters

pytest.importorskip("starlette")
pytestmark = SLOW


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "study"
    (folder / "images").mkdir(parents=True)
    for image in range(4):
        Image.fromarray(draw_face(draw_parameters(5, image, 0), 64).picture).save(
            folder / "images" / f"{image}.png"
        )
    (folder / "study.toml").write_text(SETTINGS + "practice = 1\nchecks = 1\n", encoding="utf-8")
    (folder.parent / SECRET).write_text("1")
    return folder


@pytest.fixture(scope="module")
def sessions(study, tmp_path_factory):
    copied = tmp_path_factory.mktemp("sessions") / "study"
    shutil.copytree(study, copied)
    found = open_sessions(copied)
    add_participants(found, 2)
    yield found
    found.store.close()


def answer(app, method, path, headers, bodies, query=b""):
    """Send a request to an application: the status; an exception of the application is one of the test."""
    parts = [
        {"type": "http.request", "body": body, "more_body": number < len(bodies)}
        for number, body in enumerate(bodies, 1)
    ]
    sent = []

    async def receive():
        return parts.pop(0) if parts else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": path, "raw_path": quote(path, errors="surrogatepass").encode(), "query_string": query,
        "root_path": "", "headers": headers, "client": ("127.0.0.1", 5), "server": ("127.0.0.1", 80),
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"] if sent else None


def odd_value(chance):
    value = chance.choice(VALUES)
    return "x" if value != value else value


def hostile_answer(chance, participant, step):
    """Make the body of an answer."""
    body = {
        "participant": participant,
        "step": step,
        "rating": 4,
        "rt": 900,
        "device": "touch 1x1",
        "language": "en",
    }
    for _ in range(chance.choice([0, 1, 1, 2, 4])):
        name = chance.choice([*body, "trait", "image", "group", chance.choice(WORDS)])
        body[name] = chance.choice(
            [odd_value(chance), chance.randrange(-3, 12), [odd_value(chance)], {"a": 1}]
        )
    text = json.dumps(body, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")
    return damage(text, chance) if chance.random() < 0.3 else text


PATHS = [
    "/",
    "/api/texts",
    "/api/session",
    "/api/faces/0",
    "/api/faces/",
    "/api/answer",
    "/view.js",
    "/style.css",
]


@inputs(900)
def test_requests_to_a_session(sessions, number):
    chance = random_of(number)
    app = make_app(sessions)
    participant = chance.choice(sessions.store.participants())
    path = chance.choice([*PATHS, "/api/faces/" + chance.choice(WORDS), "/" + chance.choice(WORDS)])
    token = chance.choice([participant.token, participant.token, participant.token, chance.choice(WORDS)])
    headers = [
        (b"host", b"localhost"),
        (b"authorization", b"Bearer " + token.encode("utf-8", "surrogatepass")),
    ]
    if chance.random() < 0.3:
        name = chance.choice(
            [b"content-length", b"cookie", b"range", b"accept-encoding", b"if-modified-since"]
        )
        headers.append((name, chance.choice(WORDS).encode("utf-8", "surrogatepass")))
    method = chance.choice(["GET", "POST", "POST", "HEAD", "PUT", "X" * 999])
    if method == "POST" and chance.random() < 0.8:
        path = "/api/answer"
    step = chance.choice([0, 1, 2, 3, len(sessions.store.steps(participant.id) or ()), -1, 10**9])
    body = hostile_answer(chance, participant.id, step)
    cut = chance.randrange(len(body) + 1)
    before = len(sessions.store.steps(participant.id) or ())
    with kept_inside(sessions.faces.files[0].parents[2]):
        status = answer(app, method, path, headers, [body[:cut], body[cut:]])
    assert status is not None
    assert status < 500, (method, path, body)
    assert before in (0, 1, 2) or len(sessions.store.steps(participant.id) or ()) >= before


@pytest.fixture(scope="module")
def open_study(study, tmp_path_factory):
    """Sessions for a panel, with a questionnaire, whose next step it is."""
    copied = tmp_path_factory.mktemp("panel") / "study"
    shutil.copytree(study, copied)
    more = 'questionnaires = ["looking"]\npanel = "prolific"\ncompletion = "DONE1234"\nplaces = 3\n'
    (copied / "study.toml").write_text(SETTINGS + "practice = 0\nchecks = 0\n" + more, encoding="utf-8")
    found = open_sessions(copied)
    (one,) = add_participants(found, 1, "autistic")
    found.store.submit(found.make_job(one, {"step": 0})).result()
    last = len(found.store.steps(one.id)) - 2
    found.store.submit(lambda c: c.execute("UPDATE participants SET position = ?", (last,))).result()
    yield found
    found.store.close()


def hostile_object(chance, body):
    """Make a body of odd values, or damage it."""
    for _ in range(chance.choice([0, 1, 1, 2])):
        body[chance.choice([*body, chance.choice(WORDS)])] = chance.choice(
            [odd_value(chance), chance.randrange(-3, 12), [odd_value(chance)], {"a": 1}, None]
        )
    text = json.dumps(body, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")
    return damage(text, chance) if chance.random() < 0.3 else text


@inputs(500)
def test_requests_of_a_panel_and_to_the_experimenters_page(open_study, number):
    chance = random_of(number)
    app = make_app(open_study, "secret", "http://localhost", "study")
    everybody = open_study.store.participants()
    one = everybody[0]
    ids = {"PROLIFIC_PID": chance.choice(["a1", "b2", chance.choice(WORDS)]), "STUDY_ID": "s"}
    token, (path, body) = chance.choice(["secret", one.token, chance.choice(WORDS)]), chance.choice(
        [
            ("/api/join", {"ids": ids, "agreed": chance.random() < 0.5}),
            ("/api/experimenter/pause", {"paused": chance.random() < 0.5}),
            ("/api/experimenter/participants", {"number": 1, "group": None}),
            ("/api/answer", {"participant": one.id, "step": one.position, "answers": {"eyes1": 9}}),
        ]
    )  # fmt: skip
    if path == "/api/join":
        body["ids"] = chance.choice([ids, odd_value(chance), {**ids, "SESSION_ID": odd_value(chance)}])
    headers = [
        (b"host", b"localhost"),
        (b"authorization", b"Bearer " + token.encode("utf-8", "surrogatepass")),
    ]
    with kept_inside(open_study.faces.files[0].parents[2]):
        status = answer(app, "POST", path, headers, [hostile_object(chance, body)])
    assert status is not None
    assert status < 500, (path, body)
    if path.startswith("/api/experimenter") and token != "secret":
        assert status in (400, 401)
        assert open_study.store.participants() == everybody


@pytest.fixture(scope="module")
def server(study, tmp_path_factory):
    """A server in a process of its own."""
    copied = tmp_path_factory.mktemp("server") / "study"
    shutil.copytree(study, copied)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", SERVE, str(copied), str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except ConnectionRefusedError:
            time.sleep(0.05)
    yield port
    process.terminate()
    _, told = process.communicate(timeout=30)
    assert "Traceback" not in told, told[:2000]


REQUEST = (
    b"POST /api/answer?a=1 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer abc\r\nContent-Type: "
    b'application/json\r\nContent-Length: 20\r\nConnection: close\r\n\r\n{"participant": "P1"}'
)


@inputs(400)
def test_bytes_to_a_server(server, number):
    chance = random_of(number)
    with socket.create_connection(("127.0.0.1", server), timeout=20) as connection:
        try:
            connection.sendall(damage(REQUEST, chance))
            connection.shutdown(socket.SHUT_WR)
            answered = connection.recv(65536)
        except OSError:  # ended by the server
            return
    assert b" 500 " not in answered.partition(b"\r\n")[0]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explored") / "results"
    (folder / "figures").mkdir(parents=True)
    for name in ("report.html", "figures/a.svg", "study.py"):
        (folder / name).write_text("x")
    (folder.parent / SECRET).write_text("1")
    (folder / "away.csv").symlink_to(folder.parent / SECRET)
    return folder


@inputs(600)
def test_requests_to_the_explorer(results, number):
    chance = random_of(number)
    reached = []

    async def behind(scope, _receive, send):
        name = scope["path"].removeprefix("/results/")
        file = find_file(results, name)
        reached.append(file)
        await send({"type": "http.response.start", "status": 200 if file else 404, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    word = chance.choice(WORDS)
    path = chance.choice(
        ["/", "/results/" + word, "/results/figures/" + word, *OPEN, "/" + word, f"/results/../{SECRET}"]
    )
    right = [(b"host", b"127.0.0.1:5000"), (b"cookie", b"traitlens_5000=right")]
    headers = [(name, damage(value, chance) if chance.random() < 0.3 else value) for name, value in right]
    if chance.random() < 0.4:
        name = chance.choice([b"origin", b"content-length", b"host", b"cookie", b"x"])
        headers.append((name, chance.choice(WORDS).encode("utf-8", "surrogatepass")))
    query = damage(b"token=right", chance) if chance.random() < 0.3 else b""
    with kept_inside(results):
        status = answer(TokenGate(behind, 5000, "right"), "GET", path, headers, [b"x"], query)
    assert status is not None
    assert status < 500
    for file in reached:
        assert file is None or file.is_relative_to(results.resolve())
    knows = dict(headers).get(b"cookie") == right[1][1] or b"right" in query or headers[1] == right[1]
    assert knows or not reached
