"""Parallel computation of blocks: by threads, processes of this machine, or a cluster.

Every block is computed by one thread, by the same operations in the same order, so that results are identical
for any number of workers.
"""

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

from threadpoolctl import threadpool_limits

from traitlens.computing.forking import ENVIRONMENT, block_interrupts, can_fork, start_forkserver
from traitlens.computing.machine import Machine
from traitlens.locking import is_running
from traitlens.problems import Problem, TraitlensError

_WATCH_LESS: dict[str, Any] = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.admin.tick.interval": "1s",
}
"""Settings that turn off Dask's frequent monitoring, which is not used."""

Work = Callable[[int], int]
"""Computes and stores the block of a number and returns the number; must be picklable."""


class Engine(Protocol):
    """Computes blocks in parallel."""

    def each(self, work: Work, numbers: Sequence[int]) -> Iterator[int]:
        """Compute the block of each number; yield each number when it is done, in any order."""

    def close(self) -> None:
        """Stop the workers."""


class Threads:
    """Engine with threads of this process.

    Parameters
    ----------
    number : int
        Number of blocks computed at once.
    """

    def __init__(self, number: int):
        self.number = number

    def each(self, work: Work, numbers: Sequence[int]) -> Iterator[int]:
        """Compute the block of each number; yield each number when it is done, in any order."""
        from concurrent.futures import ThreadPoolExecutor, as_completed

        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(1)
        pool = ThreadPoolExecutor(self.number, initializer=torch.set_num_threads, initargs=(1,))
        try:
            with threadpool_limits(1):
                for done in as_completed([pool.submit(work, number) for number in numbers]):
                    yield done.result()
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(before)

    def close(self) -> None:
        """Do nothing: threads end by themselves."""


class Cluster:
    """Engine with Dask workers: processes of this machine, or those of a given scheduler.

    Parameters
    ----------
    workers : int
        Number of processes to start on this machine, if no scheduler is given.
    scheduler : str or None
        Address of a Dask scheduler, such as "tcp://10.0.0.1:8786"; its workers must see the results folder
        under the same path.

    Raises
    ------
    TraitlensError
        If Dask is not installed or the scheduler does not answer.
    """

    def __init__(self, workers: int, scheduler: str | None = None):
        try:
            import cryptography  # noqa: F401 (for the keys of a local cluster)
            import dask
            import distributed
        except ImportError as error:
            raise TraitlensError(
                Problem("several processes need Dask", 'install it: pip install "traitlens[cluster]"')
            ) from error
        self._closing = ExitStack()
        # Dask would log a lost scheduler at length; the error below says what to do.
        self._closing.enter_context(distributed.utils.silence_logging_cmgr(logging.CRITICAL))
        try:
            address: Any = scheduler
            if scheduler is None:
                _remove_leftovers()
                folder = self._closing.enter_context(
                    tempfile.TemporaryDirectory(
                        prefix=f"traitlens-{os.getpid()}-", ignore_cleanup_errors=True
                    )
                )
                self._closing.enter_context(dask.config.set(_settings()))
                start_forkserver()
                with block_interrupts():
                    local = distributed.LocalCluster(
                        n_workers=workers,
                        threads_per_worker=1,
                        memory_limit=0,
                        host="127.0.0.1",
                        # Only holders of this run's key can connect, not other users of the computer.
                        protocol="tls",
                        security=distributed.Security.temporary(),
                        dashboard_address=None,
                        scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},  # a free port
                        local_directory=folder,
                        silence_logs=logging.CRITICAL,
                    )
                address = self._closing.enter_context(local)
            self._client = self._closing.enter_context(
                distributed.Client(address, timeout="20s", set_as_default=False)
            )
        except (OSError, ValueError) as error:
            self._closing.close()
            where = scheduler or "on this machine"
            raise TraitlensError(
                Problem(f"no Dask scheduler answers {where} ({error})", "check --scheduler")
            ) from error

    def each(self, work: Work, numbers: Sequence[int]) -> Iterator[int]:
        """Compute the block of each number; yield each number when it is done, in any order."""
        from concurrent.futures import CancelledError

        from distributed import KilledWorker, as_completed

        # As a task, shared data reach each worker once, and are recomputed if a worker is lost.
        shared = self._client.submit(_hand_on, work, pure=False)
        futures = [self._client.submit(_alone, shared, number, pure=False) for number in numbers]
        try:
            for future in as_completed(futures, loop=self._client.loop):
                yield future.result()
        except KilledWorker as error:
            raise TraitlensError(
                Problem(
                    "workers were killed repeatedly by the same images", "give each more memory, or use fewer"
                )
            ) from error
        except (CancelledError, OSError) as error:
            if isinstance(error, OSError) and self._client.status == "running":
                raise  # errors of the computation itself: full disk, missing file
            raise TraitlensError(
                Problem("the Dask scheduler is lost", "finished work is kept; run the same command again")
            ) from error
        finally:
            self._client.cancel([*futures, shared], force=True)

    def close(self) -> None:
        """Stop the workers, except those of a given scheduler."""
        self._closing.close()


def _remove_leftovers() -> None:
    """Remove the folders for temporary files of runs that were killed."""
    for folder in Path(tempfile.gettempdir()).glob("traitlens-*-*"):
        process = folder.name.split("-")[1]
        if process.isdecimal() and not is_running(int(process)):
            shutil.rmtree(folder, ignore_errors=True)


def _settings() -> dict[str, Any]:
    """Return Dask's settings."""
    environment = {
        f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in ENVIRONMENT.items()
    }
    start = {"distributed.worker.multiprocessing-method": "forkserver" if can_fork() else "spawn"}
    # Dask's dashboard would be open to every user of the computer.
    pages: dict[str, Any] = {f"distributed.{who}.http.routes": [] for who in ("scheduler", "worker")}
    return {**environment, **start, **pages, **_WATCH_LESS}


def _hand_on(work: Work) -> Work:
    """Return the argument."""
    return work


def _alone(work: Work, number: int) -> int:
    """Compute the block of a number with one thread."""
    import torch

    torch.set_num_threads(1)
    with threadpool_limits(1):
        return work(number)


def open_engine(machine: Machine) -> Engine:
    """Return the engine for a machine.

    Parameters
    ----------
    machine : Machine
        Its `workers` and `scheduler`; its device.

    Returns
    -------
    Engine
        A cluster if workers or a scheduler are requested; otherwise threads, one for each core.

    Raises
    ------
    TraitlensError
        If a requested cluster is not available.
    """
    if machine.workers is not None or machine.scheduler is not None:
        return Cluster(machine.workers or 1, machine.scheduler)
    return Threads(cores() if machine.device == "cpu" else 1)


def cores() -> int:
    """Return the number of processor cores that this process may use.

    Returns
    -------
    int
        At least 1.
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
