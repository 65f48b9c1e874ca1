"""Answers as the study's table of ratings, and where each participant is."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from traitlens.collecting.database import AnswerDatabase
from traitlens.collecting.design import COLLECTED, read_design
from traitlens.collecting.translations import read_texts
from traitlens.collecting.trials import SessionDesign, make_steps, passes_check, progress
from traitlens.columns import GROUP, IMAGE, RATER, RATING, REPEAT, TRAIT
from traitlens.problems import Problem, StudyError, TraitlensError
from traitlens.storage import write_table
from traitlens.study.cleaning import CHECKS, MOVED

RT, TIME, DEVICE, LANGUAGE = "rt", "time", "device", "language"
COLUMNS = [RATER, GROUP, IMAGE, TRAIT, RATING, REPEAT, RT, MOVED, TIME, DEVICE, LANGUAGE, CHECKS]
"""The columns of ratings that were collected: `rt` in milliseconds, `time` in UTC."""


def tabulate_answers(answers: Sequence[Mapping[str, Any]], design: SessionDesign) -> pd.DataFrame:
    """Lay answers out as a table of ratings.

    Parameters
    ----------
    answers : sequence of mapping
        participant, group, kind, trait, image, repeat, wanted, rating, moved, rt, time, device, language.
        Practice is left out; attention checks become the column `checks_passed`.
    design : SessionDesign
        The design that they were given under.

    Returns
    -------
    DataFrame
        One row per judgement, with :data:`COLUMNS`; `checks_passed` is the share of the rater's attention
        checks that were answered as asked, missing where there was none.
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
    """Gather what a study's participants answered.

    Parameters
    ----------
    further : sequence of Path
        Data of the jsPsych experiment to be added: files, or folders of them.

    Returns
    -------
    DataFrame
        One row per judgement, with :data:`COLUMNS`.

    Raises
    ------
    StudyError
        With every fault of the data; if there is no answer.
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
        raise StudyError(Problem("no rating was collected yet", "see traitlens rate serve", str(folder)))
    return ratings


def export_ratings(
    folder: Path, out: Path | None = None, further: Sequence[Path] = (), replace: bool = False
) -> tuple[Path, pd.DataFrame]:
    """Write what was collected as the study's `ratings.csv`.

    Parameters
    ----------
    out : Path, optional
        Another file than the study's `ratings.csv`.
    further : sequence of Path
        Data of the jsPsych experiment to be added: files, or folders of them.
    replace : bool, default False
        Whether a file that is there may be replaced.

    Raises
    ------
    TraitlensError
        If the file is there and may not be replaced, or the data have faults.
    """
    target = Path(out) if out is not None else Path(folder) / "ratings.csv"
    if target.exists() and not replace:
        raise TraitlensError(Problem("is there already", "say --replace, or name another --out", str(target)))
    ratings = collected_ratings(folder, further)
    # The study's names stay as they are, and what participants sent was checked.
    write_table(target, ratings, protected=False)
    return target, ratings


def tabulate_participants(folder: Path) -> pd.DataFrame:
    """Describe where each participant is.

    Returns
    -------
    DataFrame
        participant, group, state ("not begun", "under way", "done"), trials_done, trials, last_answer (UTC).
    """
    folder = Path(folder)
    design, _ = read_design(folder)
    path = folder / COLLECTED / "answers.sqlite"
    rows = []
    if path.exists():
        with AnswerDatabase(path) as store:
            for one in store.participants():
                steps = store.steps(one.id) or make_steps(design, known=one.group)
                done, total = progress(steps, one.position)
                state = "done" if one.position >= len(steps) - 1 and one.begun else "under way"
                state = "not begun" if one.position == 0 else state
                rows.append((one.id, one.group or "", state, done, total, one.seen))
    return pd.DataFrame(rows, columns=["participant", GROUP, "state", "trials_done", "trials", "last_answer"])


def withdraw_participant(folder: Path, participant: str) -> int:
    """Delete a participant's answers and session; that someone withdrew is logged, not who.

    Raises
    ------
    TraitlensError
        If nothing was collected, or there is no such participant.
    """
    path = Path(folder) / COLLECTED / "answers.sqlite"
    if not path.exists():
        raise StudyError(Problem("nothing was collected yet", "name the study's folder", str(folder)))
    with AnswerDatabase(path) as store:
        deleted = store.withdraw(participant)
    with (path.parent / "withdrawals.log").open("a", encoding="utf-8") as log:
        log.write(f"{datetime.now(UTC).date()} one participant withdrew; all answers were deleted\n")
    return deleted
