"""A fault at every write of a run: the next run ends with the bits of a run from nothing."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from tests.pipeline.test_flow import content, run, tiny  # noqa: F401 (a fixture of the module)
from tests.tiny import make_study

from traitlens import storage
from traitlens.problems import TraitlensError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
NUMBERS = {"full": errno.ENOSPC, "broken": errno.EIO, "read-only": errno.EROFS, "forbidden": errno.EACCES}


class PowerCut(BaseException):
    """The computer is off."""


def cut_off(path):
    """Cut a written file, or the last file of a folder, in half."""
    files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
    if files:
        os.truncate(files[-1], files[-1].stat().st_size // 2)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A study, and what a run from nothing writes of it."""
    folder = make_study(tmp_path_factory.mktemp("faults") / "study", identities=6)
    run(folder)
    found = content(folder / "results")
    shutil.rmtree(folder / "results")
    return folder, found


def assert_same(results, expected):
    found = content(results)
    assert found.keys() == expected.keys()
    assert [name for name in found if found[name] != expected[name]] == []


@pytest.mark.parametrize("kind", [*NUMBERS, "power cut"])
def test_every_write_fails_once(fresh, tmp_path, monkeypatch, kind):
    folder, expected = fresh
    failed, told, real = set(), [], storage.move_into_place

    def fail_once(temporary, path):
        name = str(path.relative_to(tmp_path)) if path.is_relative_to(tmp_path) else path.name
        if name in failed:
            real(temporary, path)
            return
        failed.add(name)
        if kind == "power cut":
            real(temporary, path)
            cut_off(path)
            raise PowerCut
        raise OSError(NUMBERS[kind], os.strerror(NUMBERS[kind]), str(path))

    monkeypatch.setattr(storage, "move_into_place", fail_once)
    while True:
        before = len(failed)
        try:
            run(folder, tmp_path / "results")
        except PowerCut:
            assert kind == "power cut"
        except TraitlensError as error:
            told.append(str(error))
        else:
            break
        assert len(failed) > before, "it failed without a fault"
        if kind != "power cut":
            assert not list((tmp_path / "results").rglob(f"*{storage.PARTIAL}*"))
    assert len(failed) >= 30
    assert kind == "power cut" or all("run the same command again" in one for one in told)
    assert_same(tmp_path / "results", expected)


def test_a_clock_that_goes_back_at_every_write_changes_nothing(fresh, tmp_path, monkeypatch):
    folder, expected = fresh
    real, now, writes = storage.move_into_place, time.time, [0]

    def go_back(temporary, path):
        writes[0] += 1
        real(temporary, path)
        if path.is_file():
            os.utime(path, (now() - 3600 * writes[0],) * 2)

    monkeypatch.setattr(storage, "move_into_place", go_back)
    monkeypatch.setattr(time, "time", lambda: now() - 3600 * writes[0])
    run(folder, tmp_path / "results")
    assert_same(tmp_path / "results", expected)
    assert run(folder, tmp_path / "results").made == []


KILLED = """
import os, signal, sys, time
from pathlib import Path
from traitlens import storage
from traitlens.cli import main
from traitlens.report import page

def no_figures(_results, folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "none.svg").write_text("<svg/>")
    return {}

page.draw_figures = no_figures
number, kind, real, writes = int(sys.argv.pop(1)), sys.argv.pop(1), storage.move_into_place, [0]

def kill(temporary, path):
    writes[0] += 1
    if writes[0] == number:
        os.kill(os.getpid(), getattr(signal, kind))
        time.sleep(20)
    real(temporary, path)

storage.move_into_place = kill
main()
"""


@pytest.mark.skipif(os.name == "nt", reason="kills by signals")
@pytest.mark.parametrize("kind", ["SIGKILL", "SIGTERM"])
def test_killed_at_every_fifth_write(fresh, tmp_path, kind):
    folder, expected = fresh
    results, kills = tmp_path / "results", 0
    for _ in range(100):
        command = [sys.executable, "-c", KILLED, "5", kind, "run", str(folder), "--out", str(results)]
        done = subprocess.run(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False
        )
        if done.returncode == 0:
            break
        assert done.returncode == (-signal.SIGKILL if kind == "SIGKILL" else 130), done.stderr
        kills += 1
    assert kills >= 5
    assert_same(results, expected)
