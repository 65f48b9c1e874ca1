"""Export of collected answers as a table of ratings, participants' progress, and withdrawal."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from traitlens.collecting.answer_validation import passes_check
from traitlens.collecting.database import AnswerDatabase
from traitlens.collecting.design import COLLECTED, read_design
from traitlens.collecting.experimenter import tabulate_progress
from traitlens.collecting.panels import PANEL_FILE, PanelIds
from traitlens.collecting.questionnaires import read_questionnaires, score_answers
from traitlens.collecting.session_steps import SessionDesign
from traitlens.collecting.translations import read_texts
from traitlens.columns import GROUP, IMAGE, RATER, RATING, REPEAT, TRAIT
from traitlens.problems import Problem, StudyError, TraitlensError
from traitlens.storage import write_table
from traitlens.study.cleaning import CHECKS, MOVED
from traitlens.study.formats import read_cells

RT, TIME, DEVICE, LANGUAGE = "rt", "time", "device", "language"
MISSING = ("DATA_EXPIRED", "CONSENT_REVOKED", "Prefer not to say", "Rather not say")
"""Values in Prolific's export that mean a missing value."""
COLUMNS = [RATER, GROUP, IMAGE, TRAIT, RATING, REPEAT, RT, MOVED, TIME, DEVICE, LANGUAGE, CHECKS]
"""Columns of the table of collected ratings; `rt` is in milliseconds, `time` in UTC."""


def tabulate_answers(answers: Sequence[Mapping[str, Any]], design: SessionDesign) -> pd.DataFrame:
    """Convert answers to a table of ratings.

    Parameters
    ----------
    answers : sequence of mapping
        Answers with the keys participant, group, kind, trait, image, repeat, wanted, rating, moved, rt, time,
        device and language. Practice trials are left out.
    design : SessionDesign
        Design of the sessions.

    Returns
    -------
    DataFrame
        A row per rating, with :data:`COLUMNS`; `checks_passed` is the share of attention checks that the
        rater passed, missing if there were none.
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


@dataclass(frozen=True)
class CollectedData:
    """Ratings, questionnaire scores and panel identifiers collected in a study.

    Parameters
    ----------
    ratings : DataFrame
        A row per rating, with :data:`COLUMNS` and a column for each scale of a questionnaire.
    panel_ids : DataFrame
        Identifiers of the panel by pseudonym: participant, panel, panel_id, study_id, session_id.
    """

    ratings: pd.DataFrame
    panel_ids: pd.DataFrame


def read_collected(folder: Path, further: Sequence[Path] = ()) -> CollectedData:
    """Read the answers collected by the server and, optionally, by the jsPsych experiment.

    Parameters
    ----------
    folder : Path
        The study folder, whose subfolder `collected` contains the server's answers.
    further : sequence of Path
        Files or folders with data of the jsPsych experiment.

    Raises
    ------
    StudyError
        If the data have faults, with all of them, or if there are no ratings.
    """
    from traitlens.collecting.jspsych_data import read_experiment

    folder = Path(folder)
    design, settings = read_design(folder)
    asked = settings.collecting
    questionnaires = read_questionnaires(folder, design.questionnaires, asked.languages)
    path = folder / COLLECTED / "answers.sqlite"
    answers: list[dict[str, Any]] = []
    filled: list[dict[str, Any]] = []
    taken: set[str] = set()
    if path.exists():
        with AnswerDatabase(path) as store:
            answers += store.answers()
            filled += store.questionnaire_answers()
            taken = {one.id for one in store.participants()}
    languages = read_texts(folder, asked.languages, design.groups, design.traits)
    data = read_experiment(further, design, languages, taken, questionnaires)
    ratings = tabulate_answers([*answers, *data.answers], design)
    if ratings.empty:
        raise StudyError(Problem("no ratings were collected yet", "see traitlens rate serve", str(folder)))
    if questionnaires:
        scores = score_answers([*filled, *data.questionnaires], questionnaires)
        ratings = ratings.merge(scores, on=RATER, how="left")
    identifiers = PanelIds(path.parent / PANEL_FILE).table()
    if data.panel_ids:
        rows = [
            (one, asked.panel or "", *f"{given}  ".split(" ")[:3]) for one, given in data.panel_ids.items()
        ]
        identifiers = pd.concat([identifiers, pd.DataFrame(rows, columns=identifiers.columns)])
    return CollectedData(ratings, identifiers.reset_index(drop=True))


def merge_demographics(
    data: CollectedData, demographics: Path, columns: Sequence[str]
) -> tuple[pd.DataFrame, list[str]]:
    """Add a panel's data about its participants to the ratings, without the panel's identifiers.

    Parameters
    ----------
    data : CollectedData
        The collected ratings and identifiers.
    demographics : Path
        The panel's file, with the identifiers in a column such as "Participant id".
    columns : sequence of str
        Columns of the file to add as variables of raters.

    Returns
    -------
    ratings : DataFrame
        The ratings with the added columns, whose names are in lower case with "_" for other characters.
        Prolific's marks of missing values (such as "DATA_EXPIRED" and "CONSENT_REVOKED") are empty.
    unmatched : list of str
        Pseudonyms of raters that the file does not contain.

    Raises
    ------
    StudyError
        If the file lacks the identifiers or one of the columns, or contains a participant twice.
    """
    table = read_cells(demographics).astype(str)
    file = Path(demographics).name
    named = {re.sub("[^a-z]", "", column.lower()): column for column in table.columns}
    found = [named[one] for one in ("participantid", "prolificpid", "surveycode", "id") if one in named]
    missing = [column for column in columns if column not in table.columns]
    if not found or missing:
        what = f"columns are missing: {', '.join(missing)}" if missing else "has no column of identifiers"
        advice = f"columns are: {', '.join(map(str, table.columns))}"
        raise StudyError(Problem(what, advice, file))
    identifiers = table[found[0]].str.strip()
    pseudonyms = data.panel_ids.set_index("panel_id")["participant"]
    ours = table[identifiers.isin(pseudonyms.index)]
    twice = identifiers[ours.index][identifiers[ours.index].duplicated()]
    if len(twice):
        row = int(str(twice.index[0])) + 2
        raise StudyError(Problem("a participant occurs twice", "remove one of the two rows", file, row))
    names = {column: re.sub(r"\W+", "_", column).strip("_").lower() for column in columns}
    taken = [name for name in names.values() if name in data.ratings.columns]
    if taken or len(set(names.values())) < len(names):
        what = f"names of columns would occur twice: {', '.join(taken or names.values())}"
        raise StudyError(Problem(what, "rename the columns in the file", file))
    own = ours[list(columns)].rename(columns=names).replace(MISSING, "")
    own = own.assign(**{RATER: identifiers[ours.index].map(pseudonyms)})
    raters = data.ratings[RATER].unique()
    unmatched = sorted(set(raters) - set(own[RATER]))
    return data.ratings.merge(own, on=RATER, how="left").fillna(dict.fromkeys(names.values(), "")), unmatched


def export_ratings(
    folder: Path,
    out: Path | None = None,
    further: Sequence[Path] = (),
    replace: bool = False,
    demographics: Path | None = None,
    columns: Sequence[str] = (),
) -> tuple[Path, pd.DataFrame, list[str]]:
    """Write the collected ratings to the study's `ratings.csv` or to another file.

    Parameters
    ----------
    folder : Path
        The study folder.
    out : Path, optional
        The file to write instead of the study's `ratings.csv`.
    further : sequence of Path
        Files or folders with data of the jsPsych experiment.
    replace : bool, default False
        Whether an existing file may be replaced.
    demographics, columns : Path, sequence of str
        A panel's file about its participants, and the columns to add; see :func:`merge_demographics`.

    Returns
    -------
    path : Path
        The written file.
    ratings : DataFrame
        The ratings in the file.
    unmatched : list of str
        Raters that the panel's file does not contain.

    Raises
    ------
    TraitlensError
        If the file exists and may not be replaced, or the data have faults.
    """
    target = Path(out) if out is not None else Path(folder) / "ratings.csv"
    if target.exists() and not replace:
        raise TraitlensError(Problem("already exists", "use --replace, or another --out", str(target)))
    data = read_collected(folder, further)
    ratings, unmatched = data.ratings, list[str]()
    if demographics is not None:
        ratings, unmatched = merge_demographics(data, demographics, columns)
    # Protection against spreadsheet formulas would change the study's names; answers were validated before.
    write_table(target, ratings, protected=False)
    return target, ratings, unmatched


def tabulate_participants(folder: Path) -> pd.DataFrame:
    """Return the progress of each participant of a study, as in :func:`tabulate_progress`."""
    folder = Path(folder)
    design, _ = read_design(folder)
    path = folder / COLLECTED / "answers.sqlite"
    if not path.exists():
        return pd.DataFrame(columns=["participant", GROUP, "state", "trials_done", "trials", "last_answer"])
    with AnswerDatabase(path) as store:
        return tabulate_progress(store, design)


def withdraw_participant(folder: Path, participant: str) -> int:
    """Delete a participant's answers, session and panel identifiers; return the number of deleted answers.

    The withdrawal is logged without the participant's name.

    Raises
    ------
    TraitlensError
        If nothing was collected, or there is no such participant.
    """
    path = Path(folder) / COLLECTED / "answers.sqlite"
    if not path.exists():
        raise StudyError(Problem("nothing was collected yet", "name the study folder", str(folder)))
    with AnswerDatabase(path) as store:
        deleted = store.withdraw(participant)
    PanelIds(path.parent / PANEL_FILE).remove(participant)
    with (path.parent / "withdrawals.log").open("a", encoding="utf-8") as log:
        log.write(f"{datetime.now(UTC).date()} one participant withdrew; all answers were deleted\n")
    return deleted
