"""Choices made in the app, stored in the study's folder."""

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
"""Folder inside a study with the choices and the progress of tasks."""
TABLES = "original"
"""Folder inside a study with the uploaded tables."""
LANDMARKS = (".tem", ".pts")
"""Suffixes of landmark files beside the pictures."""
MOST_RECENT = 8
"""Maximum number of recent studies."""

Step = Literal["begin", "pictures", "ratings", "check", "run", "read"]


class Correction(BaseModel):
    """A correction of a cell of the uploaded table.

    Parameters
    ----------
    sheet : str
        The sheet of a workbook; "" elsewhere.
    row : int
        Its row, as a spreadsheet counts it.
    column : str
        The heading of its column.
    before, after : str
        Its content before and after the correction.
    """

    model_config = ConfigDict(frozen=True)

    sheet: str = ""
    row: int
    column: str
    before: str
    after: str

    @property
    def cell(self) -> tuple[str, int, str]:
        """Position of the cell."""
        return self.sheet, self.row, self.column


class Choices(BaseModel):
    """Choices made in the six steps.

    Parameters
    ----------
    step : str
        The current step.
    identity : str
        Who is shown in each picture: "image" (another person in each), "folder", "name"; "" if not chosen.
    may_publish : bool
        Whether the pictures may be printed.
    table : str
        Name of the table of ratings; "" if none was chosen.
    roles : dict of str to str
        Role of each column, keyed by column name.
    trait : str
        The trait, if the table has only one.
    groups_from_names : bool
        Whether the group is the letters that precede the number in a rater's name.
    scale : (float, float) or None
        Lowest and highest possible rating.
    missing : str
        Comma-separated values that mark a missing rating.
    by_number : bool
        Whether to match pictures by number.
    number_repeats : bool
        Whether to treat duplicate ratings as repetitions.
    leave_out_absent : bool
        Whether to drop ratings of pictures that are missing.
    corrections : list of Correction
        Cells that were corrected.
    agreed : list of str
        Import questions that the user answered with yes.
    answers : dict of str to str
        Answers keyed by question.
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
    """A study's folder with the choices made in the app.

    Parameters
    ----------
    folder : Path
        The study's folder; created if missing.

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
        """The app's own folder inside the study."""
        return self.folder / FOLDER

    @property
    def results(self) -> Path:
        """The results folder."""
        return self.folder / "results"

    @property
    def report(self) -> Path:
        """The report, which may not exist yet."""
        return self.results / "report.html"

    @property
    def is_read_ready(self) -> bool:
        """Whether the report is newer than settings and tables."""
        if not self.report.exists():
            return False
        made = self.report.stat().st_mtime
        files = [self.folder / name for name in ("study.toml", "ratings.csv", "images.csv")]
        return all(not file.exists() or file.stat().st_mtime <= made for file in files)

    @property
    def table(self) -> Path | None:
        """The table of ratings that was uploaded."""
        file = self.folder / TABLES / self.choices.table
        return file if self.choices.table and file.is_file() else None

    @property
    def pictures(self) -> list[str]:
        """The pictures' paths below `images/`."""
        return find_images(self.folder)

    def _read(self) -> Choices:
        """Read the choices; a damaged file is renamed, and the study starts at the first step."""
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
        """Change choices and write them.

        Parameters
        ----------
        **changes
            Names of :class:`Choices` and their new values.
        """
        self.choices = self.choices.model_copy(update=changes)
        with atomic_write(self.private / "choices.json") as temporary:
            temporary.write_text(self.choices.model_dump_json(indent=1), encoding="utf-8")

    def save_picture(self, name: str, temporary: Path) -> bool:
        """Move an uploaded file to the pictures.

        Parameters
        ----------
        name : str
            Its path below the folder that was chosen, with forward slashes.
        temporary : Path
            The file.

        Returns
        -------
        bool
            False if it is neither a picture nor landmarks, and was left out.

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
        """Store an uploaded table, and reset the choices for the previous one.

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
        """Remove the copies of the pictures from the study; the originals stay where they are."""
        shutil.rmtree(self.folder / "images", ignore_errors=True)
        self.change(checked=False)


def is_inside(name: str) -> bool:
    """Return whether a relative path stays inside its folder, without hidden parts or special characters.

    Parameters
    ----------
    name : str
        The untrusted path, with forward slashes.

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


def list_recent() -> list[Path]:
    """Return the recently opened studies, the latest first."""
    try:
        found = json.loads(_recent_file().read_text(encoding="utf-8"))
        return [path for one in found if (path := Path(one)).is_dir()]
    except (OSError, ValueError, TypeError):
        return []


def remember(folder: Path) -> None:
    """Add a study to the recent ones."""
    _write_recent([folder, *(one for one in list_recent() if one != folder)][:MOST_RECENT])


def _write_recent(folders: Iterable[Path]) -> None:
    """Write the list of recent studies."""
    with suppress(OSError), atomic_write(_recent_file()) as temporary:
        temporary.write_text(json.dumps([str(one) for one in folders]), encoding="utf-8")


def _recent_file() -> Path:
    """Return the path of the list of recent studies."""
    return Path(platformdirs.user_config_dir("traitlens", appauthor=False)) / "recent.json"


def default_parent() -> Path:
    """Return the folder in which new studies are proposed.

    Returns
    -------
    Path
        A folder in the user's documents.
    """
    return Path(platformdirs.user_documents_dir()) / "traitlens studies"
