"""What Windows would do to a run, simulated here: locks, names, encodings, files in use."""

import ctypes
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.tiny import add_backbone, edit_settings, edit_table, make_study

from traitlens import locking
from traitlens.computing import engines
from traitlens.locking import Lock
from traitlens.problems import TraitlensError

FORBIDDEN = re.compile(
    r'[<>:"|?*\\\x00-\x1f]|[. ]$|^(con|prn|aux|nul|(com|lpt)[1-9¹²³])(\.|$)', re.IGNORECASE
)
OTHER = 4711
ACCESS_DENIED, STILL_ACTIVE = 5, 259


@pytest.fixture
def kernel(monkeypatch):
    """The functions of Windows that tell of a process; the process OTHER is running."""
    state = SimpleNamespace(alive={OTHER: 99, os.getpid(): 7}, error=0)

    def open_process(_rights, _inherit, process):
        return process if process in state.alive and not state.error else 0

    def exit_code(handle, code):
        code._obj.value = STILL_ACTIVE if state.alive[handle] else 1
        return 1

    def times(handle, created, *_):
        created._obj.dwLowDateTime = state.alive[handle]

    functions = {
        "OpenProcess": open_process, "GetExitCodeProcess": exit_code, "GetProcessTimes": times,
        "CloseHandle": lambda handle: None,
    }  # fmt: skip

    class Function(SimpleNamespace):
        def __call__(self, *arguments):
            return self.call(*arguments)

    library = SimpleNamespace(**{name: Function(call=call) for name, call in functions.items()})
    monkeypatch.setattr(ctypes, "WinDLL", lambda *_, **__: library, raising=False)
    monkeypatch.setattr(ctypes, "get_last_error", lambda: state.error, raising=False)
    monkeypatch.setattr(locking, "_identify_machine", lambda: None)
    monkeypatch.setattr(locking, "sys", SimpleNamespace(platform="win32"))

    def kill(*_):
        raise AssertionError("os.kill ends processes on Windows")

    monkeypatch.setattr(os, "kill", kill)
    return state


@pytest.mark.parametrize(
    ("change", "is_gone"),
    [
        (lambda state: None, False),
        (lambda state: state.alive.update({OTHER: 0}), True),
        (lambda state: state.alive.pop(OTHER), True),
        (lambda state: state.alive.update({OTHER: 100}), True),  # its number went to another process
        (lambda state: setattr(state, "error", ACCESS_DENIED), False),  # another user's
    ],
)
def test_the_lock_of_a_process_that_has_ended_is_taken_over(kernel, tmp_path, change, is_gone):
    (tmp_path / ".cache").mkdir()
    file = tmp_path / ".cache" / "lock"
    holder = {"host": locking.socket.gethostname(), "place": None, "process": OTHER, "started": "99"}
    file.write_text(json.dumps(holder))
    change(kernel)
    if is_gone:
        Lock(tmp_path).release()
    else:
        with pytest.raises(TraitlensError, match="another run is using this folder"):
            Lock(tmp_path)


def test_workers_are_spawned_where_nothing_can_be_forked(monkeypatch):
    monkeypatch.setattr(engines, "can_fork", lambda: False)
    assert engines._dask_settings()["distributed.worker.multiprocessing-method"] == "spawn"


def as_windows(folder, *arguments):
    """Run a command as Windows would, in a process of its own."""
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0", "COLUMNS": "100"}
    options = ["-X", "warn_default_encoding"]
    return subprocess.run(
        [sys.executable, *options, str(Path(__file__).with_name("windows.py")), *map(str, arguments)],
        cwd=folder, env=environment, capture_output=True, timeout=400, check=False,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc to see which files are open")
def test_a_study_is_run_changed_and_run_again(tmp_path, monkeypatch):
    home = tmp_path / "Jörg Müller" / "Meine Studien"
    home.mkdir(parents=True)
    monkeypatch.setenv("TRAITLENS_CACHE", str(home / "Zwischenspeicher ü"))
    add_backbone(home)
    study = make_study(home / "Studie № 1", traits=2)
    names = {"warm": "con", "strong": "NUL.", "autistic": "aux", "non-autistic": "Gruppe <ä>"}
    edit_table(study / "ratings.csv", lambda table: table.replace({"trait": names, "group": names}))
    text = (study / "study.toml").read_text(encoding="utf-8")
    for before, after in names.items():
        text = text.replace(f'"{before}"', f'"{after}"')
    (study / "study.toml").write_text(text, encoding="utf-8")

    done = as_windows(home, "run", study)
    assert done.returncode == 0, done.stderr.decode("cp1252")
    edit_settings(study, ("seed = 3", "seed = 4"))
    edit_table(study / "ratings.csv", lambda table: table.iloc[::-1])
    for command, folder in (("check", study), ("run", study), ("status", study / "results")):
        done = as_windows(home, command, folder)
        assert done.returncode == 0, done.stderr.decode("cp1252")
    for command in (
        ("figure", "average_maps", study / "results", "--trait", "con", "--out", home / "Bild ä"),
        ("export", study, home / "für SPSS"),
        ("explain", study / "results" / "models", *sorted((study / "images").rglob("*.png"))[:1]),
    ):
        done = as_windows(home, *command)
        assert done.returncode in (0, 2), done.stderr.decode("cp1252")
        assert b"Traceback" not in done.stderr
        assert b"unexpected error" not in done.stderr, done.stderr.decode("cp1252")
    written = [path.relative_to(home) for path in home.rglob("*")]
    assert [name for path in written for name in path.parts if FORBIDDEN.search(name)] == []
    assert len({str(path).casefold() for path in written}) == len(written)
    assert max(len(str(path)) for path in written) < 160  # Windows takes 260 letters, with the home folder
