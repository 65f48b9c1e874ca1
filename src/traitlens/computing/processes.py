"""A pool of processes that are stopped when a command ends."""

import os
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

from threadpoolctl import threadpool_limits


@contextmanager
def process_pool() -> Iterator[Executor]:
    """Start a pool of single-threaded processes, one per processor, and stop them when the context ends.

    If the block ends with an error or is interrupted, jobs that have not started are dropped.

    Yields
    ------
    Executor
        The pool.
    """
    pool = ProcessPoolExecutor(os.cpu_count(), get_context("spawn"), threadpool_limits, (1,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
