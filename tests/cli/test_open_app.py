"""`traitlens` without a command offers the app at a desktop, and only there."""

import sys

import pytest

from traitlens import cli
from traitlens.cli import open_app


@pytest.mark.parametrize(
    ("platform", "display", "is_terminal", "is_installed", "offered"),
    [
        ("win32", "", True, True, True),
        ("darwin", "", True, True, True),
        ("linux", ":0", True, True, True),
        ("linux", "", True, True, False),
        ("darwin", "", False, True, False),
        ("darwin", "", True, False, False),
    ],
)
def test_the_app_is_offered_where_it_can_open(
    monkeypatch, platform, display, is_terminal, is_installed, offered
):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    for stream in ("stdin", "stdout"):
        monkeypatch.setattr(getattr(sys, stream), "isatty", lambda: is_terminal, raising=False)
    monkeypatch.setattr(open_app, "find_spec", lambda name: object() if is_installed else None)
    assert open_app.is_offered() is offered


@pytest.mark.parametrize(("yes", "told"), [(True, "served"), (False, "Usage")])
def test_without_a_command_the_app_opens_after_a_yes(traitlens, monkeypatch, yes, told):
    monkeypatch.setattr(cli.open_app, "is_offered", lambda: True)
    monkeypatch.setattr(cli, "confirm", lambda text: yes)
    monkeypatch.setattr("traitlens.app.app_server.serve", lambda study, announce: print("served"))
    code, out, err = traitlens()
    assert told in out + err
    assert code == (0 if yes else 2)
