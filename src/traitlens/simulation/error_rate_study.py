"""Error rates of the tests and intervals of the report, from simulated studies in several processes."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from traitlens import storage
from traitlens.comparison.error_rates import PREDICTIONS, SUITES, count_errors, count_prediction_errors
from traitlens.comparison.simulated_ratings import DESIGNS, PLANTED
from traitlens.computing.processes import process_pool
from traitlens.progress import Watcher

PERMUTATIONS = 199


def run_error_rates(folder: Path, studies: int, seed: int, watcher: Watcher) -> pd.DataFrame:
    """Simulate studies, and write the error rates of all tests and intervals to `error_rates.csv`.

    Parameters
    ----------
    folder : Path
        Folder of the table.
    studies : int
        Number of simulated studies of each design; half as many if the groups truly differ.
    seed : int
        Seed of the random number generators.
    watcher : Watcher
        Shows the progress.

    Returns
    -------
    DataFrame
        The error rates.
    """
    planted = (studies + 1) // 2
    total = studies * (len(SUITES) * len(DESIGNS) + len(PREDICTIONS)) + planted * len(PLANTED)
    with (
        process_pool() as pool,
        watcher.stage("Simulated studies", total) as advance,
    ):

        def run(function: Any, jobs: list[Any]) -> Iterator[Any]:
            """Call a function on each job in the processes, and yield the results in order."""
            made: Iterable[Any] = pool.map(function, jobs, chunksize=5)
            for one in made:
                advance(1)
                yield one

        tables = [
            count_prediction_errors(studies, PERMUTATIONS, seed, run),
            *(count_errors(DESIGNS, studies, PERMUTATIONS, seed, suite, run) for suite in SUITES),
            count_errors(PLANTED, planted, PERMUTATIONS, seed, "ratings", run),
        ]
    table = pd.concat(tables, ignore_index=True)
    storage.write_table(folder / "error_rates.csv", table)
    return table
