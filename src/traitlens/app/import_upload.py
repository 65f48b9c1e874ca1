"""Import of the uploaded table into the study, with questions to the user in case of doubt."""

import shutil
from pathlib import Path

import pandas as pd

from traitlens.app.column_roles import mapping_from_choices, read_uploaded_table
from traitlens.app.corrections import write_corrected
from traitlens.app.settings_editing import write_settings
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
"""Files that an import writes; the settings come last, because a study without them is incomplete."""
WRITTEN_SECTIONS = ("ratings", "folds")
"""Sections of `study.toml` that an import writes."""
PRESERVED = ("description", "seed")
"""Settings outside of sections that an import preserves."""


class ImportQuestion(TraitlensError):
    """A question about the table that the user must answer before the import continues."""


def import_chosen_table(workspace: Workspace) -> ImportAccount:
    """Import the uploaded table into the study, replacing an earlier import.

    Raises
    ------
    ImportQuestion
        If the user must answer a question first; the study is not changed.
    StudyError
        If the table has faults, with all of them; the study is not changed.
    """
    choices = workspace.choices
    file = write_corrected(workspace)
    mapping = mapping_from_choices(choices, read_uploaded_table(file, workspace.pictures))
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
    """Confirm the import's mapping, and answer its further questions from the saved answers."""

    def __init__(self, agreed: list[str]):
        self._agreed, self._is_first = agreed, True

    def __call__(self, text: str) -> bool:
        """Return True if the user has agreed; raise the question otherwise."""
        if self._is_first:
            self._is_first = False
            return True
        if text not in self._agreed:
            raise ImportQuestion(text)
        return True


def _allow_printing(study: Path, may_publish: bool) -> None:
    """Write for all pictures of a study whether they may be printed."""
    images, problems = read_table(study / "images.csv")
    if images is None:
        raise TraitlensError(problems)
    write_tables(study, {"images": pd.DataFrame(images).assign(**{MAY_PUBLISH: may_publish})})


def _keep_settings(new: Path, study: Path) -> None:
    """Copy the settings that an import does not write from the study to the new import."""
    file = study / "study.toml"
    if not file.exists():
        return
    kept = {
        (section, name): value
        for section, values in read_toml(file).items()
        if isinstance(values, dict) and section not in WRITTEN_SECTIONS
        for name, value in values.items()
    }
    kept |= {("", name): value for name, value in read_toml(file).items() if name in PRESERVED}
    if kept:
        write_settings(new, kept)


def _put_in_place(new: Path, study: Path) -> None:
    """Replace the study's files of an earlier import by the new ones."""
    (study / "study.toml").unlink(missing_ok=True)
    for name in WRITTEN:
        (study / name).unlink(missing_ok=True)
        if (new / name).exists():
            move_into_place(new / name, study / name)
