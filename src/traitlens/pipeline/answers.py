"""What is told of the answers themselves: their quality, and what of the analysis was planned."""

from pathlib import Path

import pandas as pd

from traitlens import keeping
from traitlens.collecting.plan import compare_with_plan, read_plan
from traitlens.collecting.quality import find_signs, tabulate_quality
from traitlens.study.reading import Study

NO_TESTS = {"answers", "rater_regions"}
"""Tables of comparisons that test nothing of their own."""


def find_poor_answers(study: Study) -> pd.DataFrame:
    """Count the raters whose answers are worth a look.

    Parameters
    ----------
    study : Study
        The study.

    Returns
    -------
    DataFrame
        sign, n_raters, raters, rule: as :func:`~traitlens.collecting.quality.find_signs` gives them; no row
        where the study has no raters.
    """
    table = tabulate_quality(study)
    columns = ["sign", "n_raters", "raters", "rule"]
    return pd.DataFrame(columns=columns) if table is None else find_signs(table, study.settings.cleaning)


def write_quality(study: Study, results: Path) -> None:
    """Write `ratings/quality.csv` and `ratings/quality_signs.csv`, where there are raters.

    Parameters
    ----------
    study : Study
        The study.
    results : Path
        The results folder.
    """
    table = tabulate_quality(study)
    if table is not None:
        keeping.write_table(results / "ratings" / "quality.csv", table)
        signs = find_signs(table, study.settings.cleaning)
        keeping.write_table(results / "ratings" / "quality_signs.csv", signs)


def write_planned(study: Study, results: Path) -> None:
    """Write `planned.csv` and a copy of the frozen plan; removed where nothing was frozen.

    Parameters
    ----------
    study : Study
        The study.
    results : Path
        The results folder, with its comparisons.
    """
    plan = read_plan(study.folder)
    if plan is None:
        (results / "plan.json").unlink(missing_ok=True)
        (results / "planned.csv").unlink(missing_ok=True)
        return
    made = {path.stem for path in (results / "comparisons").glob("*.csv")} - NO_TESTS
    keeping.write_json(results / "plan.json", plan)
    keeping.write_table(results / "planned.csv", compare_with_plan(plan, study.settings, sorted(made)))
