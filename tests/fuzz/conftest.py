"""Bounds for fuzzed inputs."""

import gc
import platform
from pathlib import Path

import pytest
from tests.fuzz.hostile import BYTES


@pytest.fixture(scope="module")
def bounded():
    """Let this process take no more memory than an input may, beside what it has."""
    import resource

    platform.processor()  # asked by libraries that are loaded late; starts a process
    gc.collect()
    gc.freeze()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + BYTES, before[1]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("traitlens.study.reading.release_memory", lambda: None)
        yield
    resource.setrlimit(resource.RLIMIT_AS, before)
    gc.unfreeze()
