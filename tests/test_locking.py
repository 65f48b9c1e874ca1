"""One run at a time in a results folder."""

import json
import multiprocessing
import os
import socket
import subprocess
import sys
import time

import pytest

from traitlens import locking
from traitlens.locking import LEASE, Lock, _identify_machine, read_lock
from traitlens.problems import TraitlensError


def write_holder(folder, **changed):
    (folder / ".cache").mkdir()
    holder = {"host": socket.gethostname(), "place": _identify_machine(), "process": os.getpid()}
    holder |= {"started": "1", "since": "today"}
    (folder / ".cache" / "lock").write_text(json.dumps(holder | changed))


def test_the_same_process_may_hold_a_lock_twice_and_gives_it_back_once_all_have(tmp_path):
    first, second = Lock(tmp_path), Lock(tmp_path)
    first.release()
    first.release()
    assert read_lock(tmp_path)["process"] == os.getpid()
    second.release()
    assert list((tmp_path / ".cache").iterdir()) == []


def test_another_living_process_is_refused_and_told_whom_to_wait_for(tmp_path):
    code = (
        "import sys; from traitlens.locking import Lock; Lock(sys.argv[1]); print('held', flush=1); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(
            TraitlensError, match=rf"another run is using this folder \(process {other.pid} on"
        ):
            Lock(tmp_path)
        other.kill()
    with Lock(tmp_path):  # the dead process's lock is taken over
        assert read_lock(tmp_path)["process"] == os.getpid()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells when a process started")
def test_a_lock_whose_number_went_to_another_process_is_taken_over(tmp_path):
    write_holder(tmp_path, process=os.getppid(), started="another time")
    assert read_lock(tmp_path) is None
    with Lock(tmp_path):
        assert read_lock(tmp_path)["process"] == os.getpid()


@pytest.mark.parametrize(
    "other", [{"host": "another host"}, {"place": "another container"}, {"place": None}, {"process": "x"}]
)
def test_a_lock_from_elsewhere_is_taken_over_when_it_is_not_renewed(tmp_path, other):
    write_holder(tmp_path, process=2**22 + 1)
    file = tmp_path / ".cache" / "lock"
    file.write_text(json.dumps(json.loads(file.read_text()) | other))
    with pytest.raises(TraitlensError, match="another run is using this folder"):
        Lock(tmp_path)
    assert read_lock(tmp_path) is not None
    old = file.stat().st_mtime - LEASE - 1
    os.utime(file, (old, old))
    assert read_lock(tmp_path) is None
    with Lock(tmp_path) as lock:
        assert lock.is_held()
    assert list((tmp_path / ".cache").iterdir()) == []


def test_a_lock_is_renewed_while_it_is_held(tmp_path, monkeypatch):
    monkeypatch.setattr(locking, "HEARTBEAT", 0.05)
    monkeypatch.setattr(locking, "_renewing", None)
    with Lock(tmp_path) as lock:
        os.utime(lock.file, (0, 0))
        until = time.monotonic() + 20
        while lock.file.stat().st_mtime == 0 and time.monotonic() < until:
            time.sleep(0.05)
        assert lock.file.stat().st_mtime > 0


def test_a_lock_that_another_took_over_is_left_alone(tmp_path):
    lock = Lock(tmp_path)
    others = json.dumps(json.loads(lock.file.read_text()) | {"id": "another"})
    lock.file.write_text(others)
    assert not lock.is_held()
    lock.release()
    assert lock.file.read_text() == others


def test_a_disk_without_links_is_locked_too(tmp_path, monkeypatch):
    def fail(*_):
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", fail)
    with Lock(tmp_path) as lock:
        assert lock.is_held()
        with pytest.raises(FileExistsError):
            locking._link(lock.file, lock.file)


@pytest.mark.parametrize("holder", ["another host", "nonsense"])
def test_a_lock_of_which_nothing_is_known_is_respected(tmp_path, holder):
    write_holder(tmp_path, host=holder)
    if holder == "nonsense":
        (tmp_path / ".cache" / "lock").write_text("{half")
    with pytest.raises(TraitlensError, match="delete"):
        Lock(tmp_path)


def _take(folder, results):
    try:
        Lock(folder)
    except TraitlensError:
        results.put(False)
    else:
        results.put(True)
    results.close()
    results.join_thread()
    import time

    time.sleep(3)  # holds it while the others try


def test_of_many_processes_that_find_a_dead_lock_one_takes_it(tmp_path):
    write_holder(tmp_path, process=2**22 + 1)  # beyond any process number
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=_take, args=(tmp_path, results)) for _ in range(4)]
    for process in processes:
        process.start()
    taken = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert sum(taken) == 1
    assert [path.name for path in (tmp_path / ".cache").iterdir()] == ["lock"]
