"""Import of the chosen table into the study, with questions in case of doubt."""

import shutil
from pathlib import Path

import pandas as pd

from traitlens.app.column_roles import chosen_mapping, open_table
from traitlens.app.corrections import write_corrected
from traitlens.app.questions import write_settings
from traitlens.app.workspace import Workspace
from traitlens.columns import MAY_PUBLISH
from traitlens.problems import TraitlensError
from traitlens.storage import move_into_place
from traitlens.study.accounts import FILE as ACCOUNT_FILE
from traitlens.study.accounts import ImportAccount
from traitlens.study.import_table import MAPPING_FILE, import_table
from traitlens.study.new_study import write_tables
from traitlens.study.tables import read_table
from traitlens.study.toml_file import read_toml

WRITTEN = (ACCOUNT_FILE, MAPPING_FILE, "images.csv", "ratings.csv", "landmarks.csv", "study.toml")
"""Files of an import, the settings last: without them an import is incomplete."""
DECIDED = ("ratings", "folds")
"""Sections of the settings that an import writes."""
OUTSIDE = ("description", "seed")
"""Settings outside of sections that an import does not write."""


class Doubt(TraitlensError):
    """A question about the table that the user must answer."""


def bring_in(workspace: Workspace) -> ImportAccount:
    """Import the chosen table into its study, replacing an earlier import.

    Raises
    ------
    Doubt
        With a question that must be answered first.
    StudyError
        With all faults; the study is not changed.
    """
    choices = workspace.choices
    file = write_corrected(workspace)
    mapping = chosen_mapping(choices, open_table(file, workspace.pictures))
    new = workspace.private / workspace.folder.name
    shutil.rmtree(new, ignore_errors=True)
    try:
        done = import_table(
            file,
            new,
            workspace.folder / "images",
            mapping=mapping,
            scale=choices.scale,
            confirm=_Answers(choices.agreed),
        )
        _allow_printing(new, choices.may_publish)
        _keep_settings(new, workspace.folder)
        _put_in_place(new, workspace.folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return done.account


class _Answers:
    """Answers to the questions of an import: yes to the mapping, saved answers to doubts."""

    def __init__(self, agreed: list[str]):
        self._agreed, self._is_first = agreed, True

    def __call__(self, text: str) -> bool:
        """Return whether to continue."""
        if self._is_first:
            self._is_first = False
            return True
        if text not in self._agreed:
            raise Doubt(text)
        return True


def _allow_printing(study: Path, may_publish: bool) -> None:
    """Set for all pictures whether they may be printed."""
    images, problems = read_table(study / "images.csv")
    if images is None:
        raise TraitlensError(problems)
    write_tables(study, {"images": pd.DataFrame(images).assign(**{MAY_PUBLISH: may_publish})})


def _keep_settings(new: Path, study: Path) -> None:
    """Keep the settings of study.toml that an import does not write."""
    file = study / "study.toml"
    if not file.exists():
        return
    kept = {
        (section, name): value
        for section, values in read_toml(file).items()
        if isinstance(values, dict) and section not in DECIDED
        for name, value in values.items()
    }
    kept |= {("", name): value for name, value in read_toml(file).items() if name in OUTSIDE}
    if kept:
        write_settings(new, kept)


def _put_in_place(new: Path, study: Path) -> None:
    """Move the imported files into the study."""
    (study / "study.toml").unlink(missing_ok=True)
    for name in WRITTEN:
        (study / name).unlink(missing_ok=True)
        if (new / name).exists():
            move_into_place(new / name, study / name)
