"""Results written whole and kept under digests; knows nothing of faces.

Comes in: any folder. Goes out: files that appear whole or not at all, blocks of long work, and a ledger of
which stage's output belongs to which inputs. A run that is killed leaves only temporary names
(``.NAME.partial-*``), which the next run removes.
"""

import errno
import json
import os
import shutil
import uuid
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from traitlens import words
from traitlens.problems import Problem, TraitlensError
from traitlens.spreadsheets import protect, unprotect

PARTIAL = ".partial-"


@contextmanager
def write_whole(path: Path) -> Iterator[Path]:
    """Write a file or folder so that it appears whole or not at all.

    Parameters
    ----------
    path : Path
        Where the result shall be; what was there is replaced.

    Yields
    ------
    Path
        A temporary name beside the target. Make a file or a folder of that name; it is synced and
        renamed when the block ends, and removed when the block fails.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "table.csv"
    >>> with write_whole(target) as temporary:
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
    """Rename a finished temporary file or folder to its name, replacing what was there.

    Parameters
    ----------
    temporary : Path
        The finished file or folder.
    path : Path
        Its name.
    """
    if temporary.is_dir() and path.exists():
        # A folder cannot be replaced in one step: the old one steps aside first.
        aside = path.parent / f".{path.name}{PARTIAL}{uuid.uuid4().hex[:8]}"
        path.rename(aside)
        temporary.rename(path)
        remove(aside)
    else:
        temporary.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    """Bring a file's (or, where the system can, a folder's) content to the disk."""
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
        The folder that shall be replaced; may be missing.
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
        raise TraitlensError(Problem(f"holds other files{listed}", "name a new folder", str(folder)))


def remove(path: Path) -> None:
    """Remove a file or folder, if it is there.

    Parameters
    ----------
    path : Path
        Which.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_partial(folder: Path) -> None:
    """Remove what a killed run left under temporary names.

    Parameters
    ----------
    folder : Path
        The results folder; searched at any depth.
    """
    for path in sorted(Path(folder).rglob(f".*{PARTIAL}*")):
        remove(path)


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON, whole or not at all.

    Parameters
    ----------
    path : Path
        The file.
    value : any
        What the json module can write.
    """
    with write_whole(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_table(path: Path, table: pd.DataFrame | Iterable[pd.DataFrame], protected: bool = True) -> None:
    """Write a table as CSV (UTF-8, comma, point), whole or not at all.

    Parameters
    ----------
    path : Path
        The file.
    table : DataFrame or iterable of DataFrame
        The table, or its parts one after the other; the index is not written.
    protected : bool, default True
        Whether text is kept from being run as a formula, see :func:`traitlens.spreadsheets.protect`.
    """
    parts = [table] if isinstance(table, pd.DataFrame) else table
    with write_whole(path) as temporary:
        for number, part in enumerate(parts):
            shown = protect(part) if protected else part
            shown.to_csv(temporary, index=False, header=number == 0, mode="a")


def read_table(path: Path) -> pd.DataFrame:
    """Read a table that :func:`write_table` wrote; names such as "NA" or "1" stay names.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    DataFrame
        The table; a name that is missing is "".
    """
    texts = dict.fromkeys(words.NAMES, str)
    numbers = dict.fromkeys((words.OBSERVED, words.PREDICTED), float)
    table = pd.read_csv(path, dtype={**texts, **numbers}, keep_default_na=False, na_values=[""])
    names = [name for name in words.NAMES if name in table]
    table[names] = table[names].fillna("")
    return unprotect(table)


def size_of(path: Path) -> int:
    """Add up the bytes of a file, or of all files of a folder.

    Parameters
    ----------
    path : Path
        Which; nothing where it is missing.

    Returns
    -------
    int
        Bytes.
    """
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


class Blocks:
    """Arrays made block by block, each block kept whole, so that a killed run goes on where it was.

    Parameters
    ----------
    folder : Path
        The results folder.
    stage : str
        Name of the stage that makes them.
    key : str
        Digest of the stage's inputs and settings; blocks made under another key are removed.

    Examples
    --------
    >>> import tempfile
    >>> blocks = Blocks(Path(tempfile.mkdtemp()), "features", "0123")
    >>> first = blocks.make(0, lambda: {"values": np.arange(3)})
    >>> blocks.make(0, lambda: {"values": np.zeros(3)})["values"].tolist()
    [0, 1, 2]
    """

    def __init__(self, folder: Path, stage: str, key: str):
        parent = Path(folder).resolve() / ".kept" / stage  # resolved: other processes may stand elsewhere
        self.folder = parent / key[:16]
        for other in parent.glob("*"):
            if other != self.folder:
                remove(other)

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:06d}.npz"

    def holds(self, number: int) -> bool:
        """Tell whether a block is there.

        Parameters
        ----------
        number : int
            Which block.

        Returns
        -------
        bool
            True if it was written whole.
        """
        return self._file(number).exists()

    def read(self, number: int) -> dict[str, np.ndarray]:
        """Read a block.

        Parameters
        ----------
        number : int
            Which block.

        Returns
        -------
        dict of str to ndarray
            The arrays by name.

        Raises
        ------
        OSError
            If the file is damaged; it is removed, so that another run makes it again.
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
        """Keep a block.

        Parameters
        ----------
        number : int
            Which block.
        arrays : mapping of str to ndarray
            The arrays by name.
        """
        with write_whole(self._file(number)) as temporary, temporary.open("wb") as stream:
            np.savez(stream, **arrays)  # type: ignore[arg-type]

    def join(self, number: int, name: str) -> np.ndarray:
        """Join an array of all blocks along its first dimension, in one file; the blocks are removed.

        Parameters
        ----------
        number : int
            How many blocks there are.
        name : str
            Name of the array.

        Returns
        -------
        ndarray
            The array, read from disk when used.
        """
        file = self.joined(name)
        if not file.exists():
            lengths = [len(self.read(block)[name]) for block in range(number)]
            first = self.read(0)[name]
            header = {
                "descr": np.lib.format.dtype_to_descr(first.dtype),
                "fortran_order": False,
                "shape": (sum(lengths), *first.shape[1:]),
            }
            # Written, not mapped: a disk that is full is then an error, and not the end of the process.
            with write_whole(file) as temporary, temporary.open("wb") as stream:
                np.lib.format.write_array_header_1_0(stream, header)
                for block in range(number):
                    stream.write(np.ascontiguousarray(self.read(block)[name]).data)
        for block in range(number):
            self._file(block).unlink(missing_ok=True)
        return np.load(file, mmap_mode="r", allow_pickle=False)

    def joined(self, name: str) -> Path:
        """Say where :meth:`join` writes an array.

        Parameters
        ----------
        name : str
            Name of the array.

        Returns
        -------
        Path
            The file.
        """
        return self.folder / f"{name}.npy"

    def make(self, number: int, make: Callable[[], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """Read a block, or make and keep it.

        Parameters
        ----------
        number : int
            Which block.
        make : callable
            Makes the block's arrays by name.

        Returns
        -------
        dict of str to ndarray
            The arrays.
        """
        if not self.holds(number):
            self.write(number, make())
        return self.read(number)

    def remove(self) -> None:
        """Remove the blocks, once what they were made for is whole."""
        remove(self.folder)


class Ledger:
    """Which stage's output in a folder belongs to which inputs.

    Parameters
    ----------
    folder : Path
        The results folder; entries are kept in its ``.kept`` folder.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> ledger = Ledger(folder)
    >>> _ = (folder / "out.csv").write_text("a")
    >>> ledger.record("fit", "key", [folder / "out.csv"])
    >>> ledger.holds("fit", "key"), ledger.holds("fit", "another key")
    (True, False)
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder)

    def _entry(self, stage: str) -> Path:
        return self.folder / ".kept" / f"{stage}.json"

    def entry(self, stage: str) -> dict[str, Any] | None:
        """Read what is recorded of a stage.

        Parameters
        ----------
        stage : str
            Name of the stage.

        Returns
        -------
        dict or None
            key, files (names in the folder) and seconds; None where nothing is recorded that can be read.
        """
        try:
            entry = json.loads(self._entry(stage).read_text(encoding="utf-8"))
            return {"key": entry["key"], "files": list(entry["files"]), "seconds": float(entry["seconds"])}
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def holds(self, stage: str, key: str) -> bool:
        """Tell whether a stage's output is there and was made from these inputs.

        Parameters
        ----------
        stage : str
            Name of the stage.
        key : str
            Digest of the stage's inputs and settings.

        Returns
        -------
        bool
            True if the recorded key is the same and every file of the output is there.
        """
        entry = self.entry(stage)
        return (
            entry is not None
            and entry["key"] == key
            and all((self.folder / name).exists() for name in entry["files"])
        )

    def seconds(self) -> dict[str, float]:
        """Tell how long each recorded stage took.

        Returns
        -------
        dict of str to float
            Seconds by stage.
        """
        stages = sorted(file.stem for file in (self.folder / ".kept").glob("*.json"))
        entries = {stage: self.entry(stage) for stage in stages}
        return {stage: entry["seconds"] for stage, entry in entries.items() if entry is not None}

    def record(self, stage: str, key: str, files: list[Path], seconds: float = 0.0) -> None:
        """Record that a stage's output is whole.

        Parameters
        ----------
        stage : str
            Name of the stage.
        key : str
            Digest of the stage's inputs and settings.
        files : list of Path
            The output, inside the folder.
        seconds : float
            How long it took.
        """
        names = [Path(file).relative_to(self.folder).as_posix() for file in files]
        write_json(self._entry(stage), {"key": key, "files": names, "seconds": seconds})
