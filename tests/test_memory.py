import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from traitlens.memory import reuse_memory

TAKEN_AGAIN = """
import resource
import numpy as np
from traitlens.memory import reuse_memory

kept = reuse_memory()
np.ones(2**24, np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    np.ones(2**24, np.uint8)
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
assert not kept or faults < 4096, faults  # a fresh array has 4096 pages
"""


def test_arrays_take_the_memory_that_former_ones_left():
    subprocess.run([sys.executable, "-c", TAKEN_AGAIN], check=True)


def test_other_systems_and_late_threads_are_left_alone(monkeypatch):
    with ThreadPoolExecutor(1) as pool:
        assert not pool.submit(reuse_memory).result()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not reuse_memory()
