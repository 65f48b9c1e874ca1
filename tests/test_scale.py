"""Faults of the disk, killed runs, several workers: nothing is lost, and the same numbers come out."""

import builtins
import errno
import io
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from tests.tiny import add_backbone, edit_settings, make_study, skip_figures

from traitlens import storage
from traitlens.administration.status import examine_results
from traitlens.api import Run, run
from traitlens.arrays import open_arrays
from traitlens.computing import Machine, engines
from traitlens.pipeline import FLOW
from traitlens.problems import TraitlensError
from traitlens.records import Records
from traitlens.relevance.map_storage import MAP_SCALE, compress_maps
from traitlens.storage import PARTIAL
from traitlens.study.reading import Study


@pytest.fixture(scope="module", autouse=True)
def tiny(tmp_path_factory):
    """The tiny network, also for commands that are run as processes."""
    folder = tmp_path_factory.mktemp("network")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRAITLENS_CACHE", str(folder / "cache"))
        skip_figures(patch)
        add_backbone(folder)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A study with its results, made without a fault."""
    folder = make_study(tmp_path_factory.mktemp("scale") / "study")
    edit_settings(folder, ("pixels = 16", 'pixels = 16\nformula = "group"'))
    run(folder)
    return folder


@pytest.fixture
def copied(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "study")
    return tmp_path / "study"


def tables(results):
    return {
        path.relative_to(results).as_posix(): path.read_bytes()
        for path in sorted(results.rglob("*.csv"))
        if "figures" not in path.parts
    }


def assert_same(results, others):
    assert tables(results) == tables(others)
    for store in ("maps.zarr", "average_maps.zarr"):
        assert open_arrays(results / store).load().identical(open_arrays(others / store).load()), store
    assert not list(others.rglob(f"*{PARTIAL}*"))
    assert not (others / ".cache" / "lock").exists()


def finish(folder, machine=None):
    done = Run(Study.load(folder), machine=machine)
    try:
        done.report()
    finally:
        done.close()
    return done


def test_maps_in_half_precision_are_within_what_is_stated():
    values = np.random.default_rng(0).normal(size=100_000) * 10.0 ** np.linspace(-9, 0, 100_000)
    error = np.abs(compress_maps(values).astype(float) * MAP_SCALE - values)
    assert (error <= np.maximum(np.abs(values) * 2**-11, 2e-12)).all()
    with pytest.raises(TraitlensError, match="more than 4 rating points"):
        compress_maps(np.array([5.0]))


def test_several_processes_without_dask_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(TraitlensError, match=r"pip install .*traitlens\[cluster\]"):
        engines.open_engine(Machine(workers=2))


def test_threads_need_no_dask():
    code = (
        "import sys; from traitlens.computing import Machine, engines; e = engines.open_engine(Machine());"
        "print(sorted(e.each(int, range(5))), 'distributed' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split("\n")[0] == "[0, 1, 2, 3, 4] False"


def test_a_run_that_goes_on_after_the_fit_reads_its_readouts(copied, monkeypatch):
    shutil.copytree(copied / "results", copied.parent / "before")
    forget(copied / "results", "maps")
    forget(copied / "results", "compare_ratings")

    def fit_again(*_):
        raise AssertionError("readouts are fitted again")

    from traitlens.pipeline.stages import readouts

    monkeypatch.setattr(readouts, "find_readout", fit_again)
    finish(copied)
    assert_same(copied.parent / "before", copied / "results")


@pytest.mark.slow
def test_without_maps_the_averages_and_regions_are_the_same(copied):
    before = tables(copied / "results")["regions.csv"]
    averages = open_arrays(copied / "results" / "average_maps.zarr").load()
    done = run(copied, keep_maps="none")
    assert not (done.results / "maps.zarr").exists()
    assert {stage.state for stage in examine_results(done.results).stages} == {"current", "left out"}
    assert tables(done.results)["regions.csv"] == before
    assert averages.equals(open_arrays(done.results / "average_maps.zarr").load())


def test_the_status_tells_what_is_stale_and_makes_nothing(tmp_path):
    copied = make_study(tmp_path / "study")
    done = Run(Study.load(copied))
    done.make("landmarks")
    done.close()
    settings = (copied / "study.toml").read_text()
    (copied / "study.toml").write_text("seed = 99\n" + settings.replace("seed", "#"))
    before = sorted(path for path in copied.rglob("*"))
    status = examine_results(copied / "results")
    states = {stage.name: stage.state for stage in status.stages}
    assert states["landmarks"] == states["means"] == "current"
    assert states["reliability"] == "stale"
    assert states["prepare"] == states["fit"] == states["report"] == "missing"
    assert status.holder is None
    assert sorted(path for path in copied.rglob("*")) == before
    with pytest.raises(TraitlensError, match="not a results folder"):
        examine_results(copied)


STAGES = [stage.name for stage in FLOW if not stage.on_request and stage.name != "cleaning"]
STAGES.remove("compare_variables")


def forget(results, stage):
    """Remove a stage's files, its record, and the blocks that it has finished."""
    record = Records(results).read(stage)
    for name in record.outputs if record else []:
        storage.remove(results / name)
    Records(results).remove(stage)
    for blocks in (results / ".cache" / stage).glob("*"):
        if list(blocks.glob("*.npz")):
            storage.remove(blocks)


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_fails_at_a_stage_loses_nothing(whole, copied, monkeypatch, stage, number):
    results, real = copied / "results", storage._sync
    forget(results, stage)

    def fail(path):
        # Before any stage a run notes of which study it is: here, of a copied one.
        if path.name == ".cache" or path.name.startswith(".origin"):
            real(path)
        else:
            raise OSError(number, os.strerror(number), str(path))

    with monkeypatch.context() as patched:
        patched.setattr(storage, "_sync", fail)
        with pytest.raises(TraitlensError) as raised:
            finish(copied)
    (problem,) = raised.value.problems
    assert os.strerror(number) in problem.what
    assert "run the same command again" in problem.advice
    assert Records(results).read(stage) is None
    assert not list(results.rglob(f"*{PARTIAL}*"))
    finish(copied)
    assert_same(whole / "results", results)


def fail_reading(patched, folder, number):
    """Let the opening of one file below a folder fail, the first being number 0; give what was opened."""
    real, opened = open, []

    def failing(file, mode="r", *rest, **options):
        if mode.startswith("r") and str(folder) in str(file):
            opened.append(str(file))
            if len(opened) == number + 1:
                raise OSError(errno.EIO, os.strerror(errno.EIO), str(file))
        return real(file, mode, *rest, **options)

    patched.setattr(builtins, "open", failing)
    patched.setattr(io, "open", failing)
    return opened


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("stage", STAGES)
def test_a_disk_that_cannot_be_read_at_a_stage_loses_nothing(whole, copied, monkeypatch, stage):
    results, number, told, reached = copied / "results", 0, [], True
    while reached:
        forget(results, stage)
        with monkeypatch.context() as patched:
            opened = fail_reading(patched, copied, number)
            try:
                finish(copied)
            except (TraitlensError, OSError) as error:
                told.append(str(error))
        reached = len(opened) > number
        assert not list(results.rglob(f"*{PARTIAL}*"))
        assert not (results / ".cache" / "lock").exists()
        number = 2 * number + 3
    assert told
    assert [text for text in told if os.strerror(errno.EIO) not in text] == []
    finish(copied)
    assert_same(whole / "results", results)


@pytest.mark.slow
def test_a_damaged_block_is_made_again(whole, copied, monkeypatch):
    results, real = copied / "results", storage.BlockStore.read
    forget(results, "maps")

    def stop(blocks, number):
        if blocks.folder.parent.name == "maps":
            raise KeyboardInterrupt
        return real(blocks, number)

    with monkeypatch.context() as patched:
        patched.setattr(storage.BlockStore, "read", stop)
        with pytest.raises(KeyboardInterrupt):
            finish(copied)
    block = next((results / ".cache" / "maps").glob("*/000001.npz"))
    block.write_bytes(block.read_bytes()[:100])
    finish(copied)
    assert_same(whole / "results", results)


@pytest.mark.slow
@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting a small disk needs root"
)
def test_a_disk_that_is_full_at_any_size_loses_nothing(whole, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", disk], check=False)
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    command = [sys.executable, "-m", "traitlens.cli", "run", str(whole), "--out", str(disk / "results")]
    try:
        for size in ("64k", "256k", "512k", "1m", "2m", "4m", "8m"):
            subprocess.run(["mount", "-o", f"remount,size={size}", disk], check=True)
            found = subprocess.run(command, capture_output=True, text=True, check=False)
            if found.returncode == 0:
                break
            assert found.returncode == 2, found.stderr
            assert found.stderr.count("✗") == 1
            assert "Traceback" not in found.stderr
            assert not list(disk.rglob(f"*{PARTIAL}*"))
        subprocess.run(["mount", "-o", "remount,size=500m", disk], check=True)
        subprocess.run(command, check=True, capture_output=True)
        assert_same(whole / "results", disk / "results")
    finally:
        subprocess.run(["umount", disk], check=True)


def cluster_of(tmp_path, workers=2):
    """Start a scheduler and workers as processes of their own that talk over TCP."""
    place = tmp_path / "scheduler.json"
    start = [sys.executable, "-m"]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    options = ["--scheduler-file", str(place), "--no-dashboard"]
    scheduler = subprocess.Popen(
        [*start, "distributed.cli.dask_scheduler", *options, "--host", "127.0.0.1", "--port", "0"], **silent
    )
    while not place.exists() or not place.read_text():
        time.sleep(0.2)
    others = [
        subprocess.Popen(
            [
                *start,
                "distributed.cli.dask_worker",
                *options,
                "--nthreads",
                "1",
                "--local-directory",
                tmp_path,
            ],
            **silent,
        )
        for _ in range(workers)
    ]
    import json

    return scheduler, others, json.loads(place.read_text())["address"]


def stop(*processes):
    for process in processes:
        if process.poll() is None:
            process.terminate()
        process.wait()


@pytest.mark.slow
def test_two_processes_and_a_cluster_give_the_same_bits(whole, tmp_path):
    study = Study.load(whole)
    for name, machine in (("two", Machine(workers=2)), ("cluster", None)):
        processes = []
        if machine is None:
            scheduler, others, address = cluster_of(tmp_path)
            processes = [*others, scheduler]
            machine = Machine(scheduler=address)
        done = Run(study, tmp_path / name, machine)
        try:
            done.report()
        finally:
            done.close()
            stop(*processes)
        assert_same(whole / "results", tmp_path / name)


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["worker", "scheduler"])
def test_a_killed_worker_or_scheduler_loses_nothing(whole, tmp_path, victim):
    scheduler, others, address = cluster_of(tmp_path)
    out = tmp_path / "results"
    command = [sys.executable, "-m", "traitlens.cli", "run", str(whole), "--out", str(out)]
    process = subprocess.Popen(
        [*command, "--scheduler", address], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        while process.poll() is None and not list(out.glob(".cache/maps/*/000000.npz")):
            time.sleep(0.02)
        (others[0] if victim == "worker" else scheduler).kill()
        _, told = process.communicate(timeout=280)
    finally:
        stop(process, *others, scheduler)
    if victim == "worker":
        assert process.returncode == 0, told
    else:
        assert process.returncode == 2, told
        assert "the Dask scheduler is lost" in told
        assert "Traceback" not in told
    subprocess.run(command, check=True, capture_output=True)
    assert_same(whole / "results", out)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(os.name == "nt", reason="kills with SIGKILL")
def test_kills_at_random_moments_change_nothing(whole, tmp_path):
    kills, killed = int(os.environ.get("TRAITLENS_KILLS", "6")), 0
    out, moments = tmp_path / "killed", random.Random(5)
    command = [sys.executable, "-m", "traitlens.cli", "run", str(whole), "--out", str(out), "--workers", "2"]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    start = time.monotonic()
    subprocess.run(command, check=True, **silent)
    longest = time.monotonic() - start
    while True:
        assert_same(whole / "results", out)
        if killed == kills:
            break
        shutil.rmtree(out)
        finished = False
        while not finished:
            process = subprocess.Popen(command, **silent)
            try:
                process.wait(moments.uniform(0, longest) if killed < kills else None)
                finished = True
            except subprocess.TimeoutExpired:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                killed += 1
        assert process.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--workers", "2"]])
def test_an_interrupted_run_ends_with_130_and_one_line(whole, tmp_path, options):
    out = tmp_path / "results"
    command = [sys.executable, "-m", "traitlens.cli", "run", str(whole), "--out", str(out), *options]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while process.poll() is None and not list(out.glob(".cache/features/*/*.np[zy]")):
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the run and its workers
    _, told = process.communicate(timeout=100)
    assert process.returncode == 130, told
    assert "Stopped." in told
    assert "Traceback" not in told
    assert not list(out.rglob(f"*{PARTIAL}*"))
    assert not (out / ".cache" / "lock").exists()
