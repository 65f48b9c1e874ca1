"""Who works on the blocks: threads of this process, processes of this machine, or a cluster.

Every block is worked on by one thread, by the same operations in the same order, so that results agree to the
bit however many blocks are worked on at once, and where.
"""

import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any, Protocol

from threadpoolctl import threadpool_limits

from traitlens.computing.forking import ENVIRONMENT, can_fork, interrupts_held, load_ahead
from traitlens.computing.machine import Machine
from traitlens.problems import Problem, TraitlensError

_WATCH_LESS: dict[str, Any] = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.admin.tick.interval": "1s",
}
"""What Dask would look at up to a hundred times a second, for nobody to see."""

Work = Callable[[int], int]
"""Makes the block of a number, keeps it, and gives the number back; travels to other processes."""


class Engine(Protocol):
    """Who works on the blocks."""

    def each(self, work: Work, numbers: Sequence[int]) -> Iterator[int]:
        """Do the work for each number; give each number when it is done, in any order."""

    def close(self) -> None:
        """Let the workers go."""


class Threads:
    """Threads of this process.

    Parameters
    ----------
    number : int
        How many blocks are worked on at once.
    """

    def __init__(self, number: int):
        self.number = number

    def each(self, work: Work, numbers: Sequence[int]) -> Iterator[int]:
        """Do the work for each number; give each number when it is done, in any order."""
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
        """Do nothing: threads end with their work."""


class Cluster:
    """Dask workers: processes of this machine, or those of any scheduler.

    Parameters
    ----------
    workers : int
        How many processes to start on this machine, where no scheduler is given.
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
        # Dask logs a lost scheduler with its whole history; what the user can do is said below.
        self._closing.enter_context(distributed.utils.silence_logging_cmgr(logging.CRITICAL))
        try:
            address: Any = scheduler
            if scheduler is None:
                folder = self._closing.enter_context(
                    tempfile.TemporaryDirectory(prefix="traitlens-", ignore_cleanup_errors=True)
                )
                self._closing.enter_context(dask.config.set(_settings()))
                load_ahead()
                with interrupts_held():
                    local = distributed.LocalCluster(
                        n_workers=workers,
                        threads_per_worker=1,
                        memory_limit=0,
                        host="127.0.0.1",
                        # Only who holds the key of this run can connect: other users of the computer cannot.
                        protocol="tls",
                        security=distributed.Security.temporary(),
                        dashboard_address=None,
                        scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},  # a port that is free
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
        """Do the work for each number; give each number when it is done, in any order."""
        from concurrent.futures import CancelledError

        from distributed import KilledWorker, as_completed

        # As a task, what the work needs reaches each worker once, and is made again if a worker is lost.
        shared = self._client.submit(_hand_on, work, pure=False)
        futures = [self._client.submit(_alone, shared, number, pure=False) for number in numbers]
        try:
            for future in as_completed(futures, loop=self._client.loop):
                yield future.result()
        except KilledWorker as error:
            raise TraitlensError(
                Problem("workers were killed over the same images", "give each more memory, or use fewer")
            ) from error
        except (CancelledError, OSError) as error:
            if isinstance(error, OSError) and self._client.status == "running":
                raise  # the work's own: a disk that is full, a file that is gone
            raise TraitlensError(
                Problem("the Dask scheduler is lost", "what was finished is kept; run the same command again")
            ) from error
        finally:
            self._client.cancel([*futures, shared], force=True)

    def close(self) -> None:
        """Let the workers go; those of a scheduler that was given live on."""
        self._closing.close()


def _settings() -> dict[str, Any]:
    """Choose how Dask starts workers, what it tells them, and what it leaves alone."""
    told = {f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in ENVIRONMENT.items()}
    start = {"distributed.worker.multiprocessing-method": "forkserver" if can_fork() else "spawn"}
    # Pages about the work would be open to every user of the computer.
    pages: dict[str, Any] = {f"distributed.{who}.http.routes": [] for who in ("scheduler", "worker")}
    return {**told, **start, **pages, **_WATCH_LESS}


def _hand_on(work: Work) -> Work:
    """Give what was given."""
    return work


def _alone(work: Work, number: int) -> int:
    """Do the work for a number with one thread."""
    import torch

    torch.set_num_threads(1)
    with threadpool_limits(1):
        return work(number)


def open_engine(machine: Machine) -> Engine:
    """Find who works on the blocks.

    Parameters
    ----------
    machine : Machine
        Its `workers` and `scheduler`; its device.

    Returns
    -------
    Engine
        A cluster where workers or a scheduler are asked for; else threads, one for each core.

    Raises
    ------
    TraitlensError
        If a cluster is asked for and cannot be had.
    """
    if machine.workers is not None or machine.scheduler is not None:
        return Cluster(machine.workers or 1, machine.scheduler)
    return Threads(cores() if machine.device == "cpu" else 1)


def cores() -> int:
    """Count the processor cores that this process may use.

    Returns
    -------
    int
        At least 1.
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
