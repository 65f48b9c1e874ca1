"""Atomic writing of files and tables, and storage of arrays in blocks.

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
"""Options with which pandas reads exactly the numbers that were written."""


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
        A temporary path in the same folder, at which the `with` block must create the file or folder. It is
        synced to disk and renamed at the end of the block, or removed after an error.

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
    """Rename a temporary file or folder to its final path, replacing what exists there."""
    if temporary.is_dir() and path.exists():
        # A folder cannot be replaced in one step, so rename the old one first.
        aside = path.parent / f".{path.name}{PARTIAL}{uuid.uuid4().hex[:8]}"
        path.rename(aside)
        temporary.rename(path)
        remove(aside)
    else:
        temporary.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    """Force a file or folder to be written to disk; folders are skipped on Windows."""
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def refuse_other_files(folder: Path, ours: Container[str]) -> None:
    """Raise an error if replacing a folder would delete files that must not be deleted.

    Parameters
    ----------
    folder : Path
        The folder to be replaced; may be missing.
    ours : container of str
        Files that may be deleted, as paths relative to the folder with forward slashes.

    Raises
    ------
    TraitlensError
        If the path is a file, or the folder contains other files or links.
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
    """Remove the temporary files of killed runs at any depth below a folder."""
    for path in sorted(Path(folder).rglob(f".*{PARTIAL}*")):
        remove(path)


def write_json(path: Path, value: Any) -> None:
    """Write a value that the json module can encode as JSON, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(
            json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n"
        )


def write_table(path: Path, table: pd.DataFrame | Iterable[pd.DataFrame], protected: bool = True) -> None:
    """Write a table as CSV (UTF-8, separated by commas, with decimal points), atomically.

    Parameters
    ----------
    path : Path
        The file.
    table : DataFrame or iterable of DataFrame
        The table, or successive parts of the table; the index is not written.
    protected : bool, default True
        Whether to protect strings from being run as formulas, see :func:`traitlens.spreadsheets.protect`.
    """
    parts = [table] if isinstance(table, pd.DataFrame) else table
    with atomic_write(path) as temporary:
        for number, part in enumerate(parts):
            shown = protect(part) if protected else part
            shown.to_csv(temporary, index=False, header=number == 0, mode="a", lineterminator="\n")


def read_table(path: Path) -> pd.DataFrame:
    """Read a table that :func:`write_table` has written.

    Columns of names are read as strings, including names such as "NA" and "1"; missing names are "".
    """
    texts = dict.fromkeys(NAMES, str)
    numbers = dict.fromkeys((OBSERVED, PREDICTED), float)
    table = pd.read_csv(path, dtype={**texts, **numbers}, keep_default_na=False, na_values=[""], **EXACT)
    names = [name for name in NAMES if name in table]
    table[names] = table[names].fillna("")
    return unprotect(table)


def size_of(path: Path) -> int:
    """Return the size in bytes of a file, or of all files in a folder; 0 if it is missing."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


class BlockStore:
    """Storage of arrays that are computed block by block, so that an interrupted run can be continued.

    Parameters
    ----------
    folder : Path
        The results folder.
    stage : str
        Name of the stage that computes the arrays.
    key : str
        Digest of the inputs and settings of the stage.

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
        """Remove the blocks of the stage that were computed with other keys."""
        for other in self.folder.parent.glob("*"):
            if other != self.folder and list(other.glob("*.npz")):
                remove(other)

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:06d}.npz"

    def holds(self, number: int) -> bool:
        """Return whether a block is stored and can be read; a damaged block is removed."""
        if not self._file(number).exists():
            return False
        try:
            self.read(number)
        except OSError:
            return False
        return True

    def read(self, number: int) -> dict[str, np.ndarray]:
        """Read the arrays of a block by name.

        Raises
        ------
        OSError
            If the file is damaged. The file is removed, so that the next run computes the block again.
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
        """Write the arrays of a block, atomically."""
        with atomic_write(self._file(number)) as temporary, temporary.open("wb") as stream:
            np.savez(stream, **arrays)  # type: ignore[arg-type]

    def join(self, number: int, name: str, file: Path) -> None:
        """Concatenate one array of the first `number` blocks along the first axis, and write it as .npy."""
        lengths = [len(self.read(block)[name]) for block in range(number)]
        first = self.read(0)[name]
        header = {
            "descr": np.lib.format.dtype_to_descr(first.dtype),
            "fortran_order": False,
            "shape": (sum(lengths), *first.shape[1:]),
        }
        # The file is not memory-mapped, because a full disk would then crash the process.
        with atomic_write(file) as temporary, temporary.open("wb") as stream:
            np.lib.format.write_array_header_1_0(stream, header)
            for block in range(number):
                stream.write(np.ascontiguousarray(self.read(block)[name]).data)

    def remove(self) -> None:
        """Remove all blocks with this key."""
        remove(self.folder)
