"""The folder of a study opened in the app, with the choices made in the steps; and the recent studies."""

import json
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from traitlens.problems import Problem, TraitlensError
from traitlens.storage import atomic_write
from traitlens.study.reading import IMAGE_SUFFIXES, find_images

FOLDER = ".app"
"""Subfolder of a study with the choices and the progress of tasks."""
SESSION_FILE = "session.json"
"""File in the app's folder with port, token and number of participants of a rating session."""
TABLES = "original"
"""Subfolder of a study with the uploaded tables."""
LANDMARKS = (".tem", ".pts")
"""Suffixes of landmark files beside the pictures."""
MOST_RECENT = 8
"""Maximum length of the list of recent studies."""

Step = Literal["begin", "pictures", "ratings", "check", "run", "read"]


class Correction(BaseModel):
    """A correction of one cell of the uploaded table.

    Parameters
    ----------
    sheet : str
        Name of the sheet; "" for formats without sheets.
    row : int
        Number of the row as a spreadsheet counts it, from 1.
    column : str
        Heading of the column.
    before, after : str
        Content of the cell before and after the correction.
    """

    model_config = ConfigDict(frozen=True)

    sheet: str = ""
    row: int
    column: str
    before: str
    after: str

    @property
    def cell(self) -> tuple[str, int, str]:
        """Sheet, row and column of the cell."""
        return self.sheet, self.row, self.column


class Choices(BaseModel):
    """Choices made in the six steps.

    Parameters
    ----------
    step : str
        Name of the current step.
    identity : str
        How pictures of the same person are recognised: "image" (each picture shows another person), "folder"
        (by sub-folder), "name" (by the beginning of the file name); "" if not chosen.
    may_publish : bool
        Whether the pictures may be printed.
    table : str
        File name of the uploaded table of ratings; "" if none was chosen.
    roles : dict of str to str
        Role of each column, keyed by column name.
    trait : str
        The trait, if the table has only one.
    groups_from_names : bool
        Whether the letters before the number in a rater's name are the group.
    scale : (float, float) or None
        Lowest and highest possible rating.
    missing : str
        Comma-separated values that mark a missing rating.
    by_number : bool
        Whether to match pictures by the numbers in their names.
    number_repeats : bool
        Whether to treat duplicate ratings as repetitions.
    leave_out_absent : bool
        Whether to leave out ratings of pictures that the study does not contain.
    corrections : list of Correction
        Corrections of single cells.
    agreed : list of str
        Questions of the import that the user answered with yes.
    answers : dict of str to str
        Answers to the questions of the step Run, keyed by the question's name.
    checked : bool
        Whether the check has passed since the last change.
    """

    model_config = ConfigDict(extra="ignore", validate_assignment=True)

    step: Step = "pictures"
    identity: str = ""
    may_publish: bool = False
    table: str = ""
    roles: dict[str, str] = Field(default_factory=dict)
    trait: str = ""
    groups_from_names: bool = False
    scale: tuple[Annotated[float, Field(allow_inf_nan=False)], float] | None = None
    missing: str = ""
    by_number: bool = False
    number_repeats: bool = False
    leave_out_absent: bool = False
    corrections: list[Correction] = Field(default_factory=list)
    agreed: list[str] = Field(default_factory=list)
    answers: dict[str, str] = Field(default_factory=dict)
    checked: bool = False


class Workspace:
    """A study folder with the choices made in the app.

    Parameters
    ----------
    folder : Path
        The study folder; created if missing.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "faces"
    >>> Workspace(folder).change(trait="warm")
    >>> Workspace(folder).choices.trait
    'warm'
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder).resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.choices = self._read()

    @property
    def private(self) -> Path:
        """Subfolder of the study with the app's own files."""
        return self.folder / FOLDER

    @property
    def results(self) -> Path:
        """Path of the results folder, which may not exist yet."""
        return self.folder / "results"

    @property
    def report(self) -> Path:
        """Path of the report, which may not exist yet."""
        return self.results / "report.html"

    @property
    def is_report_current(self) -> bool:
        """Whether the report exists and is newer than the settings and tables of the study."""
        if not self.report.exists():
            return False
        made = self.report.stat().st_mtime
        files = [self.folder / name for name in ("study.toml", "ratings.csv", "images.csv")]
        return all(not file.exists() or file.stat().st_mtime <= made for file in files)

    @property
    def has_ratings(self) -> bool:
        """Whether the study has ratings to analyse; False while ratings are being collected."""
        is_collecting = (self.private / SESSION_FILE).exists() and not (self.folder / "ratings.csv").exists()
        return (self.folder / "study.toml").exists() and not is_collecting

    @property
    def table(self) -> Path | None:
        """Path of the uploaded table of ratings; None if there is none."""
        file = self.folder / TABLES / self.choices.table
        return file if self.choices.table and file.is_file() else None

    @property
    def pictures(self) -> list[str]:
        """Paths of the pictures, relative to `images/`."""
        return find_images(self.folder)

    def _read(self) -> Choices:
        """Read the saved choices; rename a damaged file and start again with the defaults."""
        file = self.private / "choices.json"
        try:
            return Choices.model_validate_json(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return Choices()
        except (OSError, ValidationError, ValueError):
            with suppress(OSError):
                file.replace(file.with_suffix(".unreadable"))
            return Choices()

    def change(self, **changes: object) -> None:
        """Change choices, given by their names in :class:`Choices`, and save all choices."""
        self.choices = self.choices.model_copy(update=changes)
        with atomic_write(self.private / "choices.json") as temporary:
            temporary.write_text(self.choices.model_dump_json(indent=1), encoding="utf-8")

    def save_picture(self, name: str, temporary: Path) -> bool:
        """Move an uploaded picture or landmark file into the study.

        Parameters
        ----------
        name : str
            Path of the file relative to the folder that the user chose, with forward slashes.
        temporary : Path
            The uploaded file.

        Returns
        -------
        bool
            False if the file is neither a picture nor a landmark file, and was left out.

        Raises
        ------
        TraitlensError
            If the path leads out of the study.
        """
        path = PurePosixPath(name)
        if not is_inside(name):
            raise TraitlensError(
                Problem("is not a path inside the chosen folder", "choose the folder again", name)
            )
        known = {*IMAGE_SUFFIXES, *LANDMARKS}
        if path.suffix.lower() not in known and path.name not in ("landmarks.csv", "landmarks.xml"):
            return False
        target = self.folder / "images" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.replace(target)
        return True

    def save_table(self, name: str, temporary: Path) -> None:
        """Move an uploaded table into the study, and reset the choices that concerned the previous table.

        Raises
        ------
        TraitlensError
            If the name is not a valid file name.
        """
        if not is_inside(name) or "/" in name:
            raise TraitlensError(Problem("is not a valid file name", "choose the table again", name))
        target = self.folder / TABLES / name
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.replace(target)
        self.change(table=name, roles={}, agreed=[], corrections=[], checked=False)

    def remove_pictures(self) -> None:
        """Delete the study's copies of the pictures; the user's own files are not touched."""
        shutil.rmtree(self.folder / "images", ignore_errors=True)
        self.change(checked=False)


def is_inside(name: str) -> bool:
    """Return whether an untrusted relative path stays inside its folder and is a valid path on any system.

    Examples
    --------
    >>> is_inside("faces/001.jpg"), is_inside("../study.toml"), is_inside("C:/a.jpg")
    (True, False, False)
    """
    parts = name.split("/")
    return (
        len(name) < 1000
        and not any(character in name for character in '\0\\:*?"<>|\n\r')
        and all(part and not part.startswith(".") and part == part.strip() for part in parts)
    )


def list_recent_studies() -> list[Path]:
    """Return the folders of recently opened studies that still exist, the latest first."""
    try:
        found = json.loads(_recent_file().read_text(encoding="utf-8"))
        return [path for name in found if (path := Path(name)).is_dir()]
    except (OSError, ValueError, TypeError):
        return []


def add_to_recent_studies(folder: Path) -> None:
    """Put a study at the top of the list of recent studies."""
    _write_recent([folder, *(one for one in list_recent_studies() if one != folder)][:MOST_RECENT])


def _write_recent(folders: Iterable[Path]) -> None:
    """Write the list of recent studies."""
    with suppress(OSError), atomic_write(_recent_file()) as temporary:
        temporary.write_text(json.dumps([str(one) for one in folders]), encoding="utf-8")


def _recent_file() -> Path:
    """Return the path of the list of recent studies."""
    return Path(platformdirs.user_config_dir("traitlens", appauthor=False)) / "recent.json"


def default_studies_folder() -> Path:
    """Return the default folder for new studies, in the user's documents."""
    return Path(platformdirs.user_documents_dir()) / "traitlens studies"
