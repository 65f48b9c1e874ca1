"""Start of workers by forking a server process that has already imported the program."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

from traitlens.memory import VARIABLES

LOADED = ["distributed.nanny", "torch", "traitlens.pipeline.run"]
"""Modules that the server process imports."""

ENVIRONMENT = {name: str(value) for name, value in VARIABLES.items()} | dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"
)
"""Environment variables of the server process: one thread per worker, and reuse of freed memory."""


def can_fork() -> bool:
    """Return whether this system can fork workers from a server process."""
    return "forkserver" in multiprocessing.get_all_start_methods()


def start_forkserver() -> None:
    """Start the server process, which imports the program in the background, unless it runs already."""
    if not can_fork():
        return
    from multiprocessing import forkserver

    multiprocessing.set_forkserver_preload(LOADED)
    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    os.environ.update(ENVIRONMENT)
    try:
        with block_interrupts():
            forkserver.ensure_running()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def block_interrupts() -> Iterator[None]:
    """Block Ctrl-C in processes that are started in this context, since a terminal sends it to all processes.

    Workers are instead stopped by this process, which receives a Ctrl-C when the context ends.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # start it now, because its start unblocks signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
