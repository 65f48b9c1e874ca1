"""Tables in any format that ratings arrive in, read as text so that nothing is guessed away.

Known: CSV and its kin (any usual encoding and separator), Parquet, Excel (.xlsx, .xls, .xlsb, .ods), SPSS
(.sav, .zsav, .por), MATLAB (.mat, old and new), and the JSON that jsPsych writes.
"""

import csv
import io
import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from traitlens.problems import Problem, StudyError
from traitlens.study.tables import as_text, texts
from traitlens.study.unpacked import check_matlab, check_workbook

MOST_COLUMNS = 20_000
"""More columns than any table of ratings has; a damaged file may declare millions."""
MOST_BYTES = 2**29
"""The largest text or unpacked workbook that is read, in bytes: half a gigabyte."""

_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)


def read_cells(path: str | Path) -> pd.DataFrame:
    r"""Read a table in whatever format its suffix names, every cell as text.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    DataFrame of str
        Its cells; empty ones are "". Row `i` is line `i + 2` of a spreadsheet.

    Raises
    ------
    StudyError
        If the file cannot be read, or holds no row.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "table.csv"
    >>> _ = path.write_text("image;rating\na;2,5")
    >>> read_cells(path).to_numpy().tolist()
    [['a', '2,5']]
    """
    path = Path(path)
    if not path.is_file():
        raise StudyError(Problem("there is no such file", "check the name", str(path)))
    suffix = path.suffix.lower()
    if suffix not in READERS:
        known = ", ".join(sorted(READERS))
        raise StudyError(Problem(f"{suffix or 'no suffix'} is no format known here", known, path.name))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = READERS[suffix](path)
    except StudyError:
        raise
    except ImportError as error:
        advice = 'install them with: pip install "traitlens[tables]"'
        raise StudyError(Problem(f"needs the readers of tables ({error.name})", advice, path.name)) from error
    except Exception as error:  # a damaged file can make a reader fail in any way
        told = " ".join(str(error).split())[:160] or type(error).__name__
        advice = "open it in the program that made it and save it again"
        raise StudyError(Problem(f"cannot be read ({told})", advice, path.name)) from error
    return _tidy(table, path.name)


def _tidy(table: pd.DataFrame, file: str) -> pd.DataFrame:
    """Make every cell text, drop columns without name and content, refuse what is no table."""
    names = [as_text(name) for name in table.columns]
    cells = pd.DataFrame({number: texts(table.iloc[:, number]) for number in range(len(names))})
    kept = [
        number
        for number, name in enumerate(names)
        if name and not (name.startswith("Unnamed:") and (cells[number] == "").all())
    ]
    cells = cells[kept].astype(object)
    cells.columns = [names[number] for number in kept]
    cells = cells.loc[(cells != "").any(axis=1)] if len(kept) else cells
    if cells.empty:
        raise StudyError(Problem("holds no row", "add the data", file))
    twice = sorted({name for name in cells.columns if list(cells.columns).count(name) > 1})[:5]
    if twice:
        named = ", ".join(repr(name) for name in twice)
        raise StudyError(Problem(f"names columns twice: {named}", "give each its own name", file, 1))
    return cells


def _check_columns(number: int, file: str) -> None:
    """Refuse a table whose header declares more columns than can be meant."""
    if number > MOST_COLUMNS:
        advice = f"at most {MOST_COLUMNS:,} are read"
        raise StudyError(Problem(f"declares {number:,} columns", advice, file, 1))


def _check_bytes(number: int, file: str) -> None:
    """Refuse what would not fit into memory."""
    if number > MOST_BYTES:
        raise StudyError(Problem(f"unpacks to {number / 1e9:.1f} GB", "save it as Parquet or CSV", file))


def _read_text(path: Path) -> pd.DataFrame:
    """Read separated values; encoding and separator are found from the content."""
    _check_bytes(path.stat().st_size, path.name)
    content = path.read_bytes()
    text = decode(content)
    if not text.strip():
        raise StudyError(Problem("is empty", "add the data", path.name))
    if "\0" in text:
        raise StudyError(Problem("is no text", "save it as CSV in UTF-8", path.name))
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.strip())
    header = lines[start]
    declared = max(header.count(mark) for mark in ",;\t|") + 1
    _check_columns(declared, path.name)
    separator = find_separator(lines[start : start + 50])
    names = next(csv.reader([header], delimiter=separator))
    table = pd.read_csv(
        io.StringIO(text),
        dtype=str,
        keep_default_na=False,
        sep=separator,
        index_col=False,
        header=None,
        names=range(max(len(names), 1)),
        skiprows=start + 1,
        skipinitialspace=True,
        on_bad_lines="error",
        engine="c",
    )
    table.columns = names
    return table


def decode(content: bytes) -> str:
    """Decode text of an unknown encoding: by its byte order mark, as UTF-8, or as Western European.

    Parameters
    ----------
    content : bytes
        The text.

    Returns
    -------
    str
        The text.

    Examples
    --------
    >>> decode("Größe".encode("latin-1")) == decode("Größe".encode("utf-16"))
    True
    """
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content.decode(encoding)
    sample = content[:4096]
    if sample.count(0) > len(sample) / 4:
        return content.decode("utf-16-le" if sample[1::2].count(0) > sample[0::2].count(0) else "utf-16-be")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def find_separator(lines: list[str]) -> str:
    """Find the mark that divides lines into the most, and equally many, cells.

    Parameters
    ----------
    lines : list of str
        The first lines of the table.

    Returns
    -------
    str
        Comma, semicolon, tab or bar.

    Examples
    --------
    >>> find_separator(["image;rating", "a;2,5", "b;3,5"])
    ';'
    """
    first = lines[0]

    def fitness(mark: str) -> tuple[bool, float, int]:
        """Prefer marks that occur in the header as often as in the rows."""
        number = first.count(mark)
        rows = [line.count(mark) for line in lines[1:] if line.strip()]
        same = sum(count == number for count in rows) / len(rows) if rows else 0.0
        return number > 0, same, number

    return max("\t;|,", key=fitness)


def _read_excel(path: Path) -> pd.DataFrame:
    """Read the first sheet of a workbook that holds a table; formulas give their stored values."""
    from python_calamine import CalamineWorkbook

    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            _check_bytes(sum(entry.file_size for entry in archive.infolist()), path.name)
    else:
        _check_bytes(path.stat().st_size, path.name)
    check_workbook(path)
    workbook = CalamineWorkbook.from_path(path)
    for name in workbook.sheet_names:
        sheet = workbook.get_sheet_by_name(name)
        if sheet.height * sheet.width > 2**27:
            raise StudyError(Problem(f"declares {sheet.height:,} x {sheet.width:,} cells", "", path.name))
        rows = [row for row in sheet.to_python(skip_empty_area=True) if any(cell != "" for cell in row)]
        if len(rows) > 1:
            _check_columns(len(rows[0]), path.name)
            return pd.DataFrame(rows[1:], columns=[as_text(cell) for cell in rows[0]], dtype=object)
    raise StudyError(Problem("holds no row", "add the data", path.name))


def _read_spss(path: Path) -> pd.DataFrame:
    """Read an SPSS file; labels take the place of the codes of nominal variables that have them."""
    import pyreadstat

    read = pyreadstat.read_por if path.suffix.lower() == ".por" else pyreadstat.read_sav
    table, described = read(str(path))
    for column, labels in described.variable_value_labels.items():
        values = table[column].dropna()
        # Codes of a group have a label each; a rating scale labels its ends, and stays numbers.
        ordered = described.variable_measure.get(column) in ("scale", "ordinal")
        if len(values) and values.isin(list(labels)).all() and not ordered and not _all_numbers(labels):
            table[column] = table[column].map(labels).astype(object)
    return table


def _all_numbers(labels: dict[Any, str]) -> bool:
    """Tell whether labels are numbers themselves."""
    return all(str(label).strip().replace(".", "", 1).isdigit() for label in labels.values())


def _read_matlab(path: Path) -> pd.DataFrame:
    """Read the variables of a MATLAB file as columns, or its one matrix as a table of numbered columns."""
    columns: dict[str, np.ndarray] = {}
    for name, value in read_mat_variables(path).items():
        if value.dtype.names:  # a struct array: its fields are the columns
            for field in value.dtype.names:
                columns[field] = np.array([_first(item) for item in value[field].ravel()], dtype=object)
        elif value.ndim == 2 and min(value.shape) > 1:
            _check_columns(value.shape[1], path.name)
            columns |= {f"{name}{number + 1}": value[:, number] for number in range(value.shape[1])}
        else:
            columns[name] = np.array([_first(item) for item in value.ravel()], dtype=object)
    lengths = [len(column) for column in columns.values()]
    if not lengths:
        raise StudyError(Problem("holds no variable", "save the table's columns as variables", path.name))
    usual = max(set(lengths), key=lengths.count)
    return pd.DataFrame({name: column for name, column in columns.items() if len(column) == usual})


def _first(item: Any) -> Any:
    """Unpack a cell of a cell array."""
    while isinstance(item, np.ndarray) and item.size == 1:
        item = item.reshape(-1)[0]
    return "" if isinstance(item, np.ndarray) and item.size == 0 else item


def read_mat_variables(path: Path) -> dict[str, np.ndarray]:
    """Read the variables of a MATLAB file, of version 7.3 (HDF5) or older.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    dict
        Name -> array, in the file's order.
    """
    import h5py
    from scipy.io import loadmat

    check_matlab(path)
    if not h5py.is_hdf5(path):
        read = loadmat(path, chars_as_strings=True)
        return {name: np.asarray(value) for name, value in read.items() if not name.startswith("__")}
    with h5py.File(path, "r") as file:
        return {
            name: _from_hdf5(file, item)
            for name, item in file.items()
            if isinstance(item, h5py.Dataset) and not name.startswith("#")
        }


def _from_hdf5(file: Any, item: Any) -> np.ndarray:
    """Turn an HDF5 variable into what an older file would hold: MATLAB stores columns first."""
    import h5py

    if item.size * max(item.dtype.itemsize, 1) > MOST_BYTES:
        raise ValueError(f"{item.name} is larger than half a gigabyte")
    kind = item.attrs.get("MATLAB_class", b"").decode()
    value = np.asarray(item[()]).T
    if kind == "char":
        return np.array(["".join(chr(code) for code in row) for row in np.atleast_2d(value)], dtype=object)
    if kind == "cell":
        cells = [
            _from_hdf5(file, file[reference])
            for reference in value.ravel()
            if isinstance(reference, h5py.Reference)
        ]
        unpacked = np.empty(len(cells), dtype=object)
        unpacked[:] = [_first(cell) for cell in cells]
        return unpacked
    return value


def _read_json(path: Path) -> pd.DataFrame:
    """Read the JSON that jsPsych writes: a list of trials, whose answers may be objects."""
    _check_bytes(path.stat().st_size, path.name)
    text = decode(path.read_bytes()).strip()
    try:
        trials = json.loads(text)
    except json.JSONDecodeError:  # one participant's list or trial a line
        trials = [json.loads(line) for line in text.splitlines() if line.strip()]
    flat: list[dict[str, Any]] = []
    for trial in trials if isinstance(trials, list) else [trials]:
        flat += [item for item in (trial if isinstance(trial, list) else [trial]) if isinstance(item, dict)]
    table = pd.json_normalize(flat)
    _check_columns(table.shape[1], path.name)
    return table


READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    **dict.fromkeys((".csv", ".tsv", ".txt", ".dat", ".tab"), _read_text),
    **dict.fromkeys((".parquet", ".pq"), pd.read_parquet),
    **dict.fromkeys((".xlsx", ".xls", ".xlsb", ".xlsm", ".ods"), _read_excel),
    **dict.fromkeys((".sav", ".zsav", ".por"), _read_spss),
    ".mat": _read_matlab,
    ".json": _read_json,
}
"""Suffix -> the function that reads it."""
