"""Export of answers as the study's table of ratings, and the progress of participants."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from traitlens.collecting.database import AnswerDatabase
from traitlens.collecting.design import COLLECTED, read_design
from traitlens.collecting.experimenter import tabulate_progress
from traitlens.collecting.translations import read_texts
from traitlens.collecting.trials import SessionDesign, passes_check
from traitlens.columns import GROUP, IMAGE, RATER, RATING, REPEAT, TRAIT
from traitlens.problems import Problem, StudyError, TraitlensError
from traitlens.storage import write_table
from traitlens.study.cleaning import CHECKS, MOVED

RT, TIME, DEVICE, LANGUAGE = "rt", "time", "device", "language"
COLUMNS = [RATER, GROUP, IMAGE, TRAIT, RATING, REPEAT, RT, MOVED, TIME, DEVICE, LANGUAGE, CHECKS]
"""Columns of collected ratings: `rt` in milliseconds, `time` in UTC."""


def tabulate_answers(answers: Sequence[Mapping[str, Any]], design: SessionDesign) -> pd.DataFrame:
    """Return answers as a table of ratings.

    Parameters
    ----------
    answers : sequence of mapping
        participant, group, kind, trait, image, repeat, wanted, rating, moved, rt, time, device, language.
        Practice trials are left out; attention checks become the column `checks_passed`.
    design : SessionDesign
        The design of the sessions.

    Returns
    -------
    DataFrame
        One row per judgement, with :data:`COLUMNS`; `checks_passed` is the share of the rater's attention
        checks that were passed; missing if there were none.
    """
    table = pd.DataFrame(
        list(answers),
        columns=[
            "participant",
            GROUP,
            "kind",
            TRAIT,
            IMAGE,
            REPEAT,
            "wanted",
            RATING,
            MOVED,
            RT,
            TIME,
            DEVICE,
            LANGUAGE,
        ],
    ).rename(columns={"participant": RATER})
    checks = table[table["kind"] == "check"]
    passed = {
        rater: sum(passes_check(design, row.rating, row.wanted) for row in rows.itertuples()) / len(rows)
        for rater, rows in checks.groupby(RATER)
    }
    ratings = table[table["kind"] == "trial"].reset_index(drop=True)
    ratings[CHECKS] = ratings[RATER].map(passed).astype(float)
    ratings[MOVED] = ratings[MOVED].map({1: "true", 0: "false"}).fillna("")
    return ratings[COLUMNS]


def collected_ratings(folder: Path, further: Sequence[Path] = ()) -> pd.DataFrame:
    """Return the ratings of a study's participants.

    Parameters
    ----------
    further : sequence of Path
        Further data from the jsPsych experiment: files or folders.

    Returns
    -------
    DataFrame
        One row per judgement, with :data:`COLUMNS`.

    Raises
    ------
    StudyError
        With every fault of the data, or if there are no answers.
    """
    from traitlens.collecting.jspsych_data import read_experiment

    folder = Path(folder)
    design, settings = read_design(folder)
    path = folder / COLLECTED / "answers.sqlite"
    answers: list[dict[str, Any]] = []
    taken: set[str] = set()
    if path.exists():
        with AnswerDatabase(path) as store:
            answers += store.answers()
            taken = {one.id for one in store.participants()}
    languages = read_texts(folder, settings.collecting.languages, design.groups, design.traits)
    answers += read_experiment(further, design, languages, taken)
    ratings = tabulate_answers(answers, design)
    if ratings.empty:
        raise StudyError(Problem("no ratings were collected yet", "see traitlens rate serve", str(folder)))
    return ratings


def export_ratings(
    folder: Path, out: Path | None = None, further: Sequence[Path] = (), replace: bool = False
) -> tuple[Path, pd.DataFrame]:
    """Write the collected ratings to the study's `ratings.csv`.

    Parameters
    ----------
    out : Path, optional
        The file, instead of the study's `ratings.csv`.
    further : sequence of Path
        Further data from the jsPsych experiment: files or folders.
    replace : bool, default False
        Whether an existing file may be replaced.

    Raises
    ------
    TraitlensError
        If the file exists and may not be replaced, or the data have faults.
    """
    target = Path(out) if out is not None else Path(folder) / "ratings.csv"
    if target.exists() and not replace:
        raise TraitlensError(Problem("already exists", "use --replace, or another --out", str(target)))
    ratings = collected_ratings(folder, further)
    # Not protected against formulas: the study's names must not change, and answers were checked.
    write_table(target, ratings, protected=False)
    return target, ratings


def tabulate_participants(folder: Path) -> pd.DataFrame:
    """Return the progress of each participant.

    Returns
    -------
    DataFrame
        participant, group, state ("not begun", "under way", "done"), trials_done, trials, last_answer (UTC).
    """
    folder = Path(folder)
    design, _ = read_design(folder)
    path = folder / COLLECTED / "answers.sqlite"
    if not path.exists():
        return pd.DataFrame(columns=["participant", GROUP, "state", "trials_done", "trials", "last_answer"])
    with AnswerDatabase(path) as store:
        return tabulate_progress(store, design)


def withdraw_participant(folder: Path, participant: str) -> int:
    """Delete a participant's answers and session; the log does not name the participant.

    Raises
    ------
    TraitlensError
        If nothing was collected, or there is no such participant.
    """
    path = Path(folder) / COLLECTED / "answers.sqlite"
    if not path.exists():
        raise StudyError(Problem("nothing was collected yet", "give the study's folder", str(folder)))
    with AnswerDatabase(path) as store:
        deleted = store.withdraw(participant)
    with (path.parent / "withdrawals.log").open("a", encoding="utf-8") as log:
        log.write(f"{datetime.now(UTC).date()} one participant withdrew; all answers were deleted\n")
    return deleted
