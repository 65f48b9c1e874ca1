"""Atomic writes of files, and blocks of arrays that are stored under a digest.

A killed run leaves only files with temporary names (``.NAME.partial-*``), which the next run removes.
"""

import errno
import json
import os
import shutil
import uuid
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from traitlens.columns import NAMES, OBSERVED, PREDICTED
from traitlens.problems import Problem, TraitlensError
from traitlens.spreadsheets import protect, unprotect

PARTIAL = ".partial-"

_READS_EXACTLY = tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1)
EXACT: dict[str, Any] = {} if _READS_EXACTLY else {"float_precision": "round_trip"}
"""Options with which pandas reads back exactly the numbers that were written."""


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Write a file or folder atomically.

    Parameters
    ----------
    path : Path
        The file or folder, which is replaced if it exists.

    Yields
    ------
    Path
        A temporary path beside the target, to be created in the block; it is synced and renamed at the end,
        or removed if the block fails.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "table.csv"
    >>> with atomic_write(target) as temporary:
    ...     _ = temporary.write_text("a,b")
    >>> target.read_text()
    'a,b'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}{PARTIAL}{uuid.uuid4().hex[:8]}"
    try:
        yield temporary
        for file in sorted(temporary.rglob("*")) if temporary.is_dir() else [temporary]:
            if file.is_file():
                _sync(file)
        move_into_place(temporary, path)
    finally:
        remove(temporary)


def move_into_place(temporary: Path, path: Path) -> None:
    """Rename a finished temporary file or folder, replacing an existing one."""
    if temporary.is_dir() and path.exists():
        # A folder cannot be replaced in one step: the old one is renamed first.
        aside = path.parent / f".{path.name}{PARTIAL}{uuid.uuid4().hex[:8]}"
        path.rename(aside)
        temporary.rename(path)
        remove(aside)
    else:
        temporary.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    """Sync a file (or, where the system can, a folder) to the disk."""
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def refuse_other_files(folder: Path, ours: Container[str]) -> None:
    """Raise an error if replacing a folder would delete files that are not ours.

    Parameters
    ----------
    folder : Path
        The folder to be replaced; may be missing.
    ours : container of str
        Paths of the files that may be deleted, relative to the folder, with slashes.

    Raises
    ------
    TraitlensError
        If there is a file of that name, or the folder holds other files or links.
    """
    if not os.path.lexists(folder):
        return
    others = [
        name
        for path in (sorted(folder.rglob("*")) if folder.is_dir() else ())
        if (path.is_symlink() or not path.is_dir())
        and (name := path.relative_to(folder).as_posix()) not in ours
    ]
    if others or not folder.is_dir():
        listed = f" ({', '.join(others[:3])}{' ...' if len(others) > 3 else ''})" if others else ""
        raise TraitlensError(Problem(f"contains other files{listed}", "use a new folder", str(folder)))


def remove(path: Path) -> None:
    """Remove a file or folder, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_partial(folder: Path) -> None:
    """Remove temporary files of killed runs.

    Parameters
    ----------
    folder : Path
        The results folder; searched at any depth.
    """
    for path in sorted(Path(folder).rglob(f".*{PARTIAL}*")):
        remove(path)


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON, atomically.

    Parameters
    ----------
    value : any
        Any value that the json module can write.
    """
    with atomic_write(path) as temporary:
        temporary.write_text(
            json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n"
        )


def write_table(path: Path, table: pd.DataFrame | Iterable[pd.DataFrame], protected: bool = True) -> None:
    """Write a table as CSV (UTF-8, comma, point), atomically.

    Parameters
    ----------
    table : DataFrame or iterable of DataFrame
        The table, or an iterable of its parts; the index is not written.
    protected : bool, default True
        Whether to protect text from being run as a formula, see :func:`traitlens.spreadsheets.protect`.
    """
    parts = [table] if isinstance(table, pd.DataFrame) else table
    with atomic_write(path) as temporary:
        for number, part in enumerate(parts):
            shown = protect(part) if protected else part
            shown.to_csv(temporary, index=False, header=number == 0, mode="a", lineterminator="\n")


def read_table(path: Path) -> pd.DataFrame:
    """Read a table that :func:`write_table` wrote; names such as "NA" or "1" stay names.

    Returns
    -------
    DataFrame
        The table; missing names are "".
    """
    texts = dict.fromkeys(NAMES, str)
    numbers = dict.fromkeys((OBSERVED, PREDICTED), float)
    table = pd.read_csv(path, dtype={**texts, **numbers}, keep_default_na=False, na_values=[""], **EXACT)
    names = [name for name in NAMES if name in table]
    table[names] = table[names].fillna("")
    return unprotect(table)


def size_of(path: Path) -> int:
    """Return the size of a file, or of all files of a folder.

    Parameters
    ----------
    path : Path
        The file or folder; 0 bytes if missing.
    """
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


class BlockStore:
    """Arrays computed block by block, each written atomically, so that a killed run resumes.

    Parameters
    ----------
    stage : str
        Name of the stage that makes them.
    key : str
        Digest of the stage's inputs and settings.

    Examples
    --------
    >>> import tempfile
    >>> blocks = BlockStore(Path(tempfile.mkdtemp()), "features", "0123")
    >>> blocks.write(0, {"values": np.arange(3)})
    >>> blocks.holds(0), blocks.holds(1), blocks.read(0)["values"].tolist()
    (True, False, [0, 1, 2])
    """

    def __init__(self, folder: Path, stage: str, key: str):
        parent = (
            Path(folder).resolve() / ".cache" / stage
        )  # resolved, since other processes may have another working folder
        self.folder = parent / key[:16]

    def remove_others(self) -> None:
        """Remove the blocks that were computed under other keys."""
        for other in self.folder.parent.glob("*"):
            if other != self.folder and list(other.glob("*.npz")):
                remove(other)

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:06d}.npz"

    def holds(self, number: int) -> bool:
        """Return whether a block was written and is not damaged.

        Returns
        -------
        bool
            False also for a damaged block, which is removed.
        """
        if not self._file(number).exists():
            return False
        try:
            self.read(number)
        except OSError:
            return False
        return True

    def read(self, number: int) -> dict[str, np.ndarray]:
        """Read a block.

        Raises
        ------
        OSError
            If the file is damaged; it is removed, so that the next run computes it again.
        """
        file = self._file(number)
        try:
            with np.load(file, allow_pickle=False) as kept:
                return {name: kept[name] for name in kept.files}
        except (BadZipFile, ValueError, EOFError) as error:
            file.unlink(missing_ok=True)
            raise OSError(
                errno.EIO, "a block of images was damaged and has been removed", str(file)
            ) from error

    def write(self, number: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Write a block."""
        with atomic_write(self._file(number)) as temporary, temporary.open("wb") as stream:
            np.savez(stream, **arrays)  # type: ignore[arg-type]

    def join(self, number: int, name: str, file: Path) -> None:
        """Join an array of all blocks along its first dimension.

        Parameters
        ----------
        file : Path
            The file to write, of NumPy's format.
        """
        lengths = [len(self.read(block)[name]) for block in range(number)]
        first = self.read(0)[name]
        header = {
            "descr": np.lib.format.dtype_to_descr(first.dtype),
            "fortran_order": False,
            "shape": (sum(lengths), *first.shape[1:]),
        }
        # Written, not mapped: a full disk is then an error instead of a crash.
        with atomic_write(file) as temporary, temporary.open("wb") as stream:
            np.lib.format.write_array_header_1_0(stream, header)
            for block in range(number):
                stream.write(np.ascontiguousarray(self.read(block)[name]).data)

    def remove(self) -> None:
        """Remove the blocks."""
        remove(self.folder)
