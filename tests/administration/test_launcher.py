"""The icon that opens the app, on three systems."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from traitlens.administration import launcher
from traitlens.administration.launcher import locate_launcher, remove_launcher, write_launcher
from traitlens.problems import TraitlensError


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("APPDATA", str(tmp_path / "AppData"))
    return tmp_path


def test_linux_gets_a_desktop_entry(home, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    file = write_launcher()
    assert file == home / "data" / "applications" / "traitlens.desktop"
    entry = dict(line.split("=", 1) for line in file.read_text().splitlines()[1:])
    assert entry["Type"] == "Application"
    program = shlex.split(entry["Exec"])
    assert Path(program[0]).is_absolute()
    assert program[-1] == "app"
    assert os.access(program[0], os.X_OK)
    assert remove_launcher() == file
    assert remove_launcher() is None


def test_macos_gets_a_command_that_opens_in_a_window(home, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    file = write_launcher()
    assert file == home / "Applications" / "traitlens.command"
    assert os.access(file, os.X_OK)
    assert file.read_text().startswith("#!/bin/sh\n")
    assert file.read_text().rstrip().endswith("app")


def test_windows_gets_a_shortcut_whose_names_may_hold_quotes(home, monkeypatch):
    ran = []
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(subprocess, "run", lambda command, **options: ran.append(command))
    monkeypatch.setattr(launcher, "_app_command", lambda: [r"C:\Users\O'Neil\traitlens.exe", "app"])
    assert write_launcher().name == "traitlens.lnk"
    assert ran[0][0] == "powershell"
    assert r"$link.TargetPath = 'C:\Users\O''Neil\traitlens.exe'; $link.Arguments = 'app'" in ran[0][-1]


def test_a_folder_that_cannot_be_written_is_told(home, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    (home / "data").write_text("no folder")
    with pytest.raises(TraitlensError, match="open the app by"):
        write_launcher()
    assert locate_launcher().name == "traitlens.desktop"
