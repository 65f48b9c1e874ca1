"""Parallel computation of blocks by threads, by processes on this machine, or by a cluster.

One thread computes each block, with the same operations in the same order. Results are therefore identical
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

_NO_MONITORING: dict[str, Any] = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.admin.tick.interval": "1s",
}
"""Settings that reduce Dask's monitoring, which is not used and costs time."""

Work = Callable[[int], int]
"""Function that computes and stores a block, given its number, and returns the number; must be picklable."""


class Engine(Protocol):
    """Interface of engines, which compute blocks in parallel."""

    def each(self, work: Work, numbers: Sequence[int]) -> Iterator[int]:
        """Compute the block of each number; yield each number when its block is finished, in any order."""

    def close(self) -> None:
        """Stop the workers."""


class Threads:
    """Engine that computes blocks by threads of this process.

    Parameters
    ----------
    number : int
        Number of threads.
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
        """Do nothing, since threads end by themselves."""


class Cluster:
    """Engine that computes blocks by Dask workers: processes on this machine, or workers of a scheduler.

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
        # Dask logs a lost scheduler at length, whereas the errors raised below say what to do.
        self._closing.enter_context(distributed.utils.silence_logging_cmgr(logging.CRITICAL))
        try:
            address: Any = scheduler
            if scheduler is None:
                _remove_abandoned_folders()
                folder = self._closing.enter_context(
                    tempfile.TemporaryDirectory(
                        prefix=f"traitlens-{os.getpid()}-", ignore_cleanup_errors=True
                    )
                )
                self._closing.enter_context(dask.config.set(_dask_settings()))
                start_forkserver()
                with block_interrupts():
                    local = distributed.LocalCluster(
                        n_workers=workers,
                        threads_per_worker=1,
                        memory_limit=0,
                        host="127.0.0.1",
                        # Encryption with a key of this run keeps other users of the computer out.
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

        # As the result of a task, `work` is sent to each worker once, and again if a worker is lost.
        shared = self._client.submit(_return_unchanged, work, pure=False)
        futures = [
            self._client.submit(_compute_single_threaded, shared, number, pure=False) for number in numbers
        ]
        try:
            for future in as_completed(futures, loop=self._client.loop):
                yield future.result()
        except KilledWorker as error:
            raise TraitlensError(
                Problem(
                    "the same images repeatedly killed workers",
                    "use fewer --workers, so that each has more memory",
                )
            ) from error
        except (CancelledError, OSError) as error:
            if isinstance(error, OSError) and self._client.status == "running":
                raise  # the computation itself failed, for example because the disk is full
            raise TraitlensError(
                Problem(
                    "the Dask scheduler is lost",
                    "finished work is kept; run the same command again",
                )
            ) from error
        finally:
            self._client.cancel([*futures, shared], force=True)

    def close(self) -> None:
        """Stop the workers that this engine started."""
        self._closing.close()


def _remove_abandoned_folders() -> None:
    """Remove temporary folders that killed runs left behind."""
    for folder in Path(tempfile.gettempdir()).glob("traitlens-*-*"):
        process = folder.name.split("-")[1]
        if process.isdecimal() and not is_running(int(process)):
            shutil.rmtree(folder, ignore_errors=True)


def _dask_settings() -> dict[str, Any]:
    """Return the settings of Dask: environment and start of workers, no dashboard, little monitoring."""
    environment = {
        f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in ENVIRONMENT.items()
    }
    start = {"distributed.worker.multiprocessing-method": "forkserver" if can_fork() else "spawn"}
    # The dashboard is switched off because every user of the computer could open it.
    pages: dict[str, Any] = {f"distributed.{who}.http.routes": [] for who in ("scheduler", "worker")}
    return {**environment, **start, **pages, **_NO_MONITORING}


def _return_unchanged(work: Work) -> Work:
    """Return the argument; submitted as a task, this sends it to workers only once."""
    return work


def _compute_single_threaded(work: Work, number: int) -> int:
    """Compute the block of a number with a single thread."""
    import torch

    torch.set_num_threads(1)
    with threadpool_limits(1):
        return work(number)


def open_engine(machine: Machine) -> Engine:
    """Start the engine that a machine's settings ask for.

    Parameters
    ----------
    machine : Machine
        Settings of device, workers and scheduler.

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
    return Threads(available_cores() if machine.device == "cpu" else 1)


def available_cores() -> int:
    """Return the number of processor cores that this process may use, at least 1."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
