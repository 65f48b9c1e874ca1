"""Who may speak to the explorer, and which files it hands out."""

import asyncio

import pytest

from traitlens.explorer.access import LARGEST_REQUEST, TokenGate
from traitlens.explorer.served_files import find_file, list_files

PORT, TOKEN = 5000, "right"
OWN = {"host": "127.0.0.1:5000", "cookie": "traitlens_5000=right"}


async def behind(scope, receive, send):
    """The application: counts what it is sent."""
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return
        size += len(message["body"])
        if not message.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"own")]})
    await send({"type": "http.response.body", "body": str(size).encode()})


def ask(path="/", headers=OWN, query=b"", bodies=(b"",), kind="http"):
    """Send one request through the gate: what it sent back."""
    parts = [
        {"type": "http.request", "body": body, "more_body": number < len(bodies)}
        for number, body in enumerate(bodies, 1)
    ]
    if kind == "websocket":
        parts = [{"type": "websocket.connect"}]
    sent = []

    async def receive():
        return parts.pop(0)

    async def send(message):
        sent.append(message)

    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": kind, "path": path, "headers": pairs, "query_string": query}
    asyncio.run(TokenGate(behind, PORT, TOKEN)(scope, receive, send))
    return sent


def status(*arguments, **options):
    return ask(*arguments, **options)[0]["status"]


@pytest.mark.parametrize("host", ["127.0.0.1:5000", "localhost:5000"])
def test_the_browser_with_the_token_is_let_through(host):
    sent = ask(headers=OWN | {"host": host, "origin": f"http://{host}"})
    headers = dict(sent[0]["headers"])
    assert sent[0]["status"] == 200
    assert headers[b"cache-control"] == b"own"
    assert headers[b"x-frame-options"] == b"DENY"
    assert b"default-src 'self'" in headers[b"content-security-policy"]


@pytest.mark.parametrize(
    "headers",
    [
        {"host": OWN["host"]},
        OWN | {"cookie": "traitlens_5000=wrong"},
        OWN | {"cookie": "traitlens_4999=right"},
        OWN | {"cookie": "traitlens_5000="},
        OWN | {"origin": "http://evil.example"},
        OWN | {"origin": "http://127.0.0.1:5001"},
        OWN | {"origin": "https://127.0.0.1:5000"},
        OWN | {"origin": "null"},
        OWN | {"origin": ""},
    ],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_without_the_token_or_from_another_origin_nothing_is_let_through(headers, kind):
    sent = ask(headers=headers, kind=kind)
    if kind == "websocket":
        assert sent == [{"type": "websocket.close", "code": 1008}]
    else:
        assert sent[0]["status"] == 403


@pytest.mark.parametrize("host", ["evil.example", "evil.example:5000", "127.0.0.1:5001", ""])
def test_a_name_that_was_bound_to_this_computer_is_refused(host):
    assert status(headers=OWN | {"host": host}) == 421


def test_the_token_in_the_address_becomes_a_cookie():
    sent = ask(headers={"host": OWN["host"]}, query=b"token=right")
    cookie = dict(sent[0]["headers"])[b"set-cookie"]
    assert sent[0]["status"] == 200
    assert cookie == b"traitlens_5000=right; Path=/; HttpOnly; SameSite=Strict"
    assert b"right" not in sent[1]["body"]
    assert status(headers=OWN, query=b"token=wrong") == 403


@pytest.mark.parametrize("path", ["/etc/passwd", "/results/../study.toml", "/docs", "/results\\..\\a", "/.."])
def test_other_paths_do_not_exist(path):
    assert status(path) == 404


def test_a_body_that_is_too_large_is_cut_off():
    assert status(headers=OWN | {"content-length": str(LARGEST_REQUEST + 1)}) == 413
    assert status(headers=OWN | {"content-length": "-1"}) == 413
    half = b"x" * (LARGEST_REQUEST // 2)
    assert ask(bodies=[half, half])[1]["body"] == str(LARGEST_REQUEST).encode()
    assert ask(bodies=[half, half, b"x"]) == []


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / "results"
    (folder / "figures").mkdir(parents=True)
    (folder / ".cache").mkdir()
    for name in ("report.html", "figures/a.svg", ".cache/secret.json", "maps.py", "../study.csv"):
        (folder / name).write_text("x")
    (folder / "away.csv").symlink_to(tmp_path / "study.csv")
    return folder


def test_files_inside_the_results_are_handed_out(results):
    assert find_file(results, "report.html") == results.resolve() / "report.html"
    assert find_file(results, "figures/a.svg") is not None
    assert list_files(results) == ["report.html"]


@pytest.mark.parametrize(
    "name",
    ["../study.csv", "figures/../../study.csv", "/etc/passwd", "away.csv", ".cache/secret.json", "maps.py",
     "figures", "", "nothing.csv", "a\\..\\b.csv", "a\0.csv", "figures//a.svg"],
)  # fmt: skip
def test_nothing_else_is_handed_out(results, name):
    assert find_file(results, name) is None


def test_names_that_are_too_long_are_not_there(tmp_path):
    for name in ("x" * 3000 + ".csv", "/".join(["a"] * 3000) + ".csv"):
        assert find_file(tmp_path, name) is None
