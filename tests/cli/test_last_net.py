"""Whatever happens, a command ends in one line; and what is secret stays off command lines."""

import re
import stat
import sys
import webbrowser
from pathlib import Path

import pytest

from traitlens.cli import analysis


class Odd(Exception):
    """Text of several lines."""


@pytest.mark.parametrize(
    "error",
    [KeyError("trait"), MemoryError(), RecursionError("too deep"), Odd("first\nsecond"), AssertionError()],
)
def test_unexpected_errors_end_in_one_line_and_leave_their_traceback(traitlens, tmp_path, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(analysis, "Terminal", fail)
    code, _, told = traitlens("check", tmp_path)
    assert code == 2
    assert told.count("\n") == 1
    assert type(error).__name__ in told
    file = Path(re.search(r"traceback in (\S+)", told)[1])
    assert file.parent == tmp_path
    assert "Traceback" in file.read_text()
    if sys.platform != "win32":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    code, _, told = traitlens("check", tmp_path, "--debug")
    assert code == 2
    assert "Traceback" in told


def test_the_browser_is_given_no_token(traitlens, tmp_path, monkeypatch):
    opened = []

    def look(address):
        page = Path(address.removeprefix("file://"))
        opened.append((address, page, page.read_text(), page.stat(), page.parent.stat()))

    def serve(results, machine, announce):
        announce("http://127.0.0.1:9/?token=secret&more=1")

    monkeypatch.setattr(webbrowser, "open", look)
    monkeypatch.setattr("traitlens.explorer.explorer_server.explore", serve)
    code, _, _ = traitlens("explore", tmp_path)
    assert code == 0
    [(address, page, text, file, folder)] = opened
    assert "secret" not in address
    assert 'url=http://127.0.0.1:9/?token=secret&amp;more=1"' in text
    if sys.platform != "win32":
        assert (stat.S_IMODE(file.st_mode), stat.S_IMODE(folder.st_mode)) == (0o600, 0o700)
    assert not page.exists()
