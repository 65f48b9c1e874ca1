"""Work in a process of its own: how far it is, stopped, killed, and without a server."""

import os
import signal
import time

import pytest

from traitlens.app import background
from traitlens.app.background import read_estimate, read_progress, start, stop
from traitlens.locking import read_lock


def wait(folder, work, seconds=120):
    """Wait until work has ended: how far it came."""
    end = time.monotonic() + seconds
    while (progress := read_progress(folder, work)).state == "working":
        assert time.monotonic() < end, progress
        time.sleep(0.1)
    return progress


def test_before_anything_was_started_there_is_nothing(tmp_path):
    assert read_progress(tmp_path, "run").state == "nothing"
    assert read_estimate(tmp_path) == ""
    (tmp_path / ".app").mkdir()
    (tmp_path / ".app" / "run.json").write_text("{")
    assert read_progress(tmp_path, "run").state == "nothing"


def test_faults_of_the_study_are_told_in_words(tmp_path):
    start(tmp_path, "run")
    progress = wait(tmp_path, "run")
    assert progress.state == "failed"
    assert any("contains no image" in problem.what for problem in progress.problems)


@pytest.mark.slow
def test_drawing_faces_says_how_far_it_is_and_can_be_stopped(workspace):
    start(workspace.folder, "faces")
    while not read_progress(workspace.folder, "faces").stages:
        time.sleep(0.05)
    stop(workspace.folder, "faces")
    progress = wait(workspace.folder, "faces")
    assert progress.state in ("stopped", "done")
    start(workspace.folder, "faces")
    progress = wait(workspace.folder, "faces")
    assert progress.state == "done"
    assert progress.stages[-1] == ("Drawing faces", 24, 24)
    assert (workspace.folder / "faces" / "faces_01.png").exists()


@pytest.mark.skipif(os.name == "nt", reason="kills with SIGKILL")
def test_a_process_that_was_killed_counts_as_stopped(workspace):
    start(workspace.folder, "faces")
    while (lock := read_lock(workspace.private / "faces")) is None:
        time.sleep(0.05)
    start(workspace.folder, "faces")  # a second does nothing
    assert read_lock(workspace.private / "faces") == lock
    while not read_progress(workspace.folder, "faces").stages:
        time.sleep(0.05)
    os.kill(lock["process"], signal.SIGKILL)
    assert wait(workspace.folder, "faces", 10).state == "stopped"


def test_the_demonstration_appears_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("traitlens.study.simulated_study.DEMO_IDENTITIES", 3)
    monkeypatch.setattr("traitlens.study.simulated_study.DEMO_IMAGES", 1)
    background.main("demo", tmp_path)
    assert read_progress(tmp_path, "demo").state == "done"
    assert len(list((tmp_path / "images").rglob("*.png"))) == 3
    assert (tmp_path / "study.toml").exists()
    assert not (tmp_path / ".app" / "drawn").exists()
