"""Who may use the app, what it hands out, and what it takes."""

import http.client
import json
import os
import subprocess
import sys
import time
from urllib.parse import parse_qs, urlsplit

import pytest

from traitlens.app.app_server import LARGEST_UPLOAD

pytest.importorskip("nicegui")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The app with an open study that has a report, a secret beside it, and its address."""
    home = tmp_path_factory.mktemp("home")
    study = home / "study"
    (study / "results" / ".cache").mkdir(parents=True)
    (study / "images").mkdir()
    (study / "results" / "report.html").write_text("<h1>Report</h1>")
    (study / "results" / ".cache" / "secret.json").write_text("{}")
    (study / "ratings.csv").write_text("secret")
    (home / "secret.png").write_bytes(b"secret")
    (study / "results" / "link.png").symlink_to(home / "secret.png")
    environment = os.environ | {"XDG_CONFIG_HOME": str(home / "config")}
    command = [sys.executable, "-m", "traitlens.cli", "--json", "app", str(study), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        yield study, json.loads(server.stdout.readline())["address"]
        server.terminate()


def request(address, path, headers=None, method="GET", body=None, token=None):
    """Send a request as it is written; return status and content."""
    parts = urlsplit(address)
    token = parse_qs(parts.query)["token"][0] if token is None else token
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
    cookie = {"Cookie": f"traitlens_{parts.port}={token}"} if token else {}
    try:
        connection.request(method, path, body, cookie | (headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers
    finally:
        connection.close()


def test_the_page_is_there_for_who_has_the_token(served):
    _, address = served
    assert urlsplit(address).hostname == "127.0.0.1"
    status, _, headers = request(address, "/")
    assert status == 200
    assert headers["x-frame-options"] == "DENY"
    assert "connect-src 'self'" in headers["content-security-policy"]


@pytest.mark.parametrize("token", ["", "wrong", "A" * 43, "Ω".encode().decode("latin-1")])
@pytest.mark.parametrize(
    "path", ["/", "/results/report.html", "/_nicegui_ws/socket.io/?EIO=4", "/upload/table?name=a.csv"]
)
def test_who_has_not_the_token_sees_nothing(served, token, path):
    method = "POST" if path.startswith("/upload") else "GET"
    status, content, _ = request(served[1], path, method=method, body=b"x", token=token)
    assert status == 403
    assert b"Report" not in content


@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.example"}, {"Host": "evil.example:80"}, {"Origin": "http://evil.example"},
     {"Origin": "null"}, {"Origin": "http://127.0.0.1:1"}],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/", "/results/report.html", "/upload/picture?name=a.png"])
def test_other_names_and_other_pages_are_refused(served, headers, path):
    method = "POST" if path.startswith("/upload") else "GET"
    assert request(served[1], path, headers, method, b"x")[0] in (403, 421)
    assert not (served[0] / "images" / "a.png").exists()


@pytest.mark.parametrize(
    "path",
    ["/results/../ratings.csv", "/results/..%2fratings.csv", "/results/%2e%2e/ratings.csv",
     "/results/.cache/secret.json", "/results/link.png", "/results//etc/passwd",
     "/faces/../ratings.csv", "/exports/..%2f..%2fsecret.png",
     "/results/report.html%00.png", "/ratings.csv", "/openapi.json", "/../../etc/passwd"],
)  # fmt: skip
def test_nothing_outside_results_sheets_and_exports_is_handed_out(served, path):
    status, content, _ = request(served[1], path)
    assert status == 404
    assert b"secret" not in content


def test_a_report_is_handed_out_as_a_page_of_no_origin(served):
    status, content, headers = request(served[1], "/results/report.html")
    assert (status, content) == (200, b"<h1>Report</h1>")
    assert headers["content-security-policy"].startswith("sandbox")


@pytest.mark.parametrize(
    "path",
    ["/upload/picture?name=..%2F..%2Fa.png", "/upload/picture?name=%2Fa.png", "/upload/table?name=..%2Fa.csv",
     "/upload/table?name=b%2Fa.csv", "/upload/settings?name=a.toml", "/upload/picture?name=C%3A%5Ca.png",
     "/upload/table?name=.app%2Fchoices.json", "/upload/picture?name="],
)  # fmt: skip
def test_uploads_stay_inside_the_study(served, path):
    before = sorted(served[0].parent.rglob("*"))
    assert request(served[1], path, method="POST", body=b"x")[0] in (400, 404, 422)
    assert sorted(served[0].parent.rglob("*")) == before


def test_an_upload_is_kept_and_one_that_is_too_large_is_not(served):
    study, address = served
    status, content, _ = request(address, "/upload/picture?name=b%2Fc.png", method="POST", body=b"picture")
    assert (status, content) == (200, b"true")
    assert (study / "images" / "b" / "c.png").read_bytes() == b"picture"
    large = {"Content-Length": str(LARGEST_UPLOAD + 1)}
    assert request(address, "/upload/table?name=a.csv", large, "POST")[0] == 413
    assert not (study / "original").exists()
    assert not list((study / ".app").glob("upload-*"))


def test_an_upload_that_hides_its_size_is_cut_off(served):
    """Sent in pieces without a length, as long as the server takes them."""
    study, address = served
    piece = b"x" * 2**22
    pieces = (piece for _ in range(LARGEST_UPLOAD // len(piece) + 2))
    headers = {"Transfer-Encoding": "chunked"}
    try:
        status = request(address, "/upload/table?name=a.csv", headers, "POST", pieces)[0]
    except (OSError, http.client.HTTPException):
        status = 0
    assert status != 200
    for _ in range(100):
        if not list((study / ".app").glob("upload-*")):
            break
        time.sleep(0.1)
    assert not list((study / ".app").glob("upload-*"))
    assert not (study / "original").exists()


def test_a_second_window_does_not_open_the_same_study(served, tmp_path):
    environment = os.environ | {"XDG_CONFIG_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "traitlens.cli", "app", str(served[0]), "--no-browser"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode == 2
    assert "is open in another window of the app" in done.stderr


def test_without_nicegui_the_command_to_install_it_is_told(monkeypatch):
    from traitlens.app import app_server as server
    from traitlens.problems import TraitlensError

    monkeypatch.setattr(server, "find_spec", lambda name: None)
    with pytest.raises(TraitlensError, match=r"pip install 'traitlens\[app\]'"):
        server.serve()
