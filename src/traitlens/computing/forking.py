"""A server process from which workers are forked, with the program already imported."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

from traitlens.memory import VARIABLES

LOADED = ["distributed.nanny", "torch", "traitlens.pipeline.run"]
"""Modules that it imports."""

ENVIRONMENT = {name: str(value) for name, value in VARIABLES.items()} | dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"
)
"""Its environment: one thread for each worker, and reuse of memory."""


def can_fork() -> bool:
    """Return whether workers can be forked from a server process."""
    return "forkserver" in multiprocessing.get_all_start_methods()


def start_forkserver() -> None:
    """Start the server process, which imports the program in the background.

    Does nothing if it runs already or is not supported.
    """
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
    """Block Ctrl-C, which a terminal sends to all its processes, in processes started in this context.

    This process stops its workers. A Ctrl-C in the meantime is delivered at the end.

    Yields
    ------
    None
        While interrupts are held.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # the server resets signal handling when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
