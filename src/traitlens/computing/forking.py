"""The process that workers are forked from: it has loaded the program, so that each of them need not."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

from traitlens.memory import VARIABLES

LOADED = ["distributed.nanny", "torch", "traitlens.pipeline.run"]
"""Modules that it loads."""

ENVIRONMENT = {name: str(value) for name, value in VARIABLES.items()} | dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"
)
"""What it is told: each worker has one thread, and keeps memory."""


def can_fork() -> bool:
    """Return whether workers can be forked from a process of their own."""
    return "forkserver" in multiprocessing.get_all_start_methods()


def load_ahead() -> None:
    """Start the process that workers are forked from, which loads the program while this one goes on.

    Does nothing where it is there already, or cannot be.
    """
    if not can_fork():
        return
    from multiprocessing import forkserver

    multiprocessing.set_forkserver_preload(LOADED)
    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    os.environ.update(ENVIRONMENT)
    try:
        with interrupts_held():
            forkserver.ensure_running()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Keep Ctrl-C, which a terminal sends to all its processes, from those that are started here.

    Workers end when this process lets them go. A Ctrl-C that comes meanwhile is heard at the end.

    Yields
    ------
    None
        While interrupts are held.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # it lets interrupts through again when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
