"""Reading tables of ratings in common formats, with every cell as a string.

Cells are read as strings because type inference would change some of them. Formats: separated text (common
encodings and separators), Parquet, Excel (.xlsx, .xls, .xlsb, .ods), SPSS (.sav, .zsav, .por), Stata (.dta),
MATLAB (.mat, all versions), and the JSON that jsPsych writes.
"""

import html
import json
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from traitlens.problems import Problem, StudyError
from traitlens.study.identifiers import normal_text
from traitlens.study.layouts import share_of_numbers
from traitlens.study.matlab_files import read_matlab
from traitlens.study.size_limits import check_parquet, check_workbook
from traitlens.study.tables import MOST_LINES, as_text, check_columns, texts
from traitlens.study.text_files import Sheet, decode, find_header, read_text
from traitlens.study.vocabulary import NO_RATING_ENDINGS, NO_RATINGS, SYNONYMS, fold_name

MOST_BYTES = 2**29
"""Maximum size in bytes of a text file or an unpacked workbook: half a gigabyte."""


def read_cells(path: str | Path) -> pd.DataFrame:
    r"""Read the table in a file, or in the first visible sheet of a workbook, with every cell as a string.

    Returns
    -------
    DataFrame of str
        The cells, with "" for empty ones. The index is the row in a spreadsheet minus 2.

    Raises
    ------
    StudyError
        If the file cannot be read, or has no rows.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "table.csv"
    >>> _ = path.write_text("image;rating\na;2,5")
    >>> read_cells(path).to_numpy().tolist()
    [['a', '2,5']]
    """
    return read_sheets(path)[0].cells


def _check_start(path: Path) -> None:
    """Raise an error if a file with the suffix of a workbook or MATLAB file is text."""
    start = path.read_bytes()[:512]
    if start.lstrip(b"\xef\xbb\xbf \r\n\t").lower().startswith((b"<html", b"<!doctype", b"<table", b"<?xml")):
        what, advice = "is a web page or XML", "open it in Excel and save it as .xlsx"
    elif start and not start.translate(None, bytes(range(32, 256)) + b"\t\r\n"):
        what, advice = "is text", "rename it to .csv"
    else:
        return
    raise StudyError(Problem(f"{what}, not a file of the kind {path.suffix.lower()}", advice, path.name))


def read_sheets(path: str | Path, encoding: str | None = None, first_line: int | None = None) -> list[Sheet]:
    """Read all tables of a file in the format that its suffix names, with every cell as a string.

    Parameters
    ----------
    path : str or Path
        The file.
    encoding : str, optional
        Encoding of a text file; if None, detected from its content.
    first_line : int, optional
        Line of the column headings, counted from 1; detected if None.

    Returns
    -------
    list of Sheet
        The visible, then the hidden sheets of a workbook; one table for other formats.

    Raises
    ------
    StudyError
        If the file cannot be read, or has no rows.
    """
    path = Path(path)
    if not path.is_file():
        raise StudyError(Problem("there is no such file", "check the name", str(path)))
    suffix = path.suffix.lower()
    if suffix not in READERS:
        known = ", ".join(sorted(READERS))
        if suffix in UNREAD:
            program, advice = UNREAD[suffix]
            raise StudyError(Problem(f"is a file of {program}, which is not read", advice, path.name))
        if suffix in (".gz", ".zip", ".7z", ".bz2", ".xz", ".rar"):
            raise StudyError(Problem("is an archive", "unpack it first", path.name))
        raise StudyError(Problem(f"{suffix or 'no suffix'} is not a known format", known, path.name))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if READERS[suffix] is _read_separated:
                sheets = _read_separated(path, encoding, first_line)
            elif READERS[suffix] is _read_excel:
                sheets = _read_excel(path, first_line)
            else:
                sheets = READERS[suffix](path)
    except StudyError:
        raise
    except ImportError as error:
        advice = 'install the readers of tables: pip install "traitlens[tables]"'
        raise StudyError(
            Problem(f"needs a package that is not installed ({error.name})", advice, path.name)
        ) from error
    except Exception as error:  # The libraries raise many types of errors for damaged files.
        _check_start(path)
        message = " ".join(str(error).split())[:160] or type(error).__name__
        advice = "open it in the program that made it and save it again"
        raise StudyError(Problem(f"cannot be read ({message})", advice, path.name)) from error
    tidy = [_clean_sheet(sheet, path.name) for sheet in sheets]
    full = [sheet for sheet in tidy if not sheet.cells.empty]
    if not full:
        raise StudyError(Problem("contains no rows", "add the data", path.name))
    return sorted(full, key=lambda sheet: not sheet.visible)


def _clean_sheet(sheet: Sheet, file: str) -> Sheet:
    """Convert cells to strings, name or drop columns without a heading, and check for duplicate headings."""
    table = sheet.cells
    written = [as_text(name) for name in table.columns]
    cells = pd.DataFrame(
        {number: texts(table.iloc[:, number]) for number in range(len(written))}, index=table.index
    ).astype(object)
    filled = (cells != "").any()
    names = [
        normal_text(name) or (f"(column {number + 1})" if filled[number] else "")
        for number, name in enumerate(written)
    ]
    kept = [
        number
        for number, name in enumerate(names)
        if name and not (name.startswith("Unnamed:") and not filled[number])
    ]
    cells = cells[kept]
    cells.columns = [names[number] for number in kept]
    cells = cells.loc[(cells != "").any(axis=1)] if len(kept) else cells
    notes = list(sheet.notes)
    counts = Counter(cells.columns)
    twice = [name for name, number in counts.items() if number > 1] if not cells.empty else []
    rated = [name for name in twice if _may_hold_ratings(str(name), cells[name])]
    if rated and sheet.visible:
        named = ", ".join(map(repr, rated[:5]))
        raise StudyError(
            Problem(
                f"has several columns of the same name: {named}", "give each column its own name", file, 1
            )
        )
    if twice:
        cells.columns = [
            f"{name} (column {number + 1})" if name in twice else name
            for name, number in zip(cells.columns, kept, strict=True)
        ]
        notes.append(f"columns with the same name: {', '.join(map(repr, twice[:5]))}")
    cells = _unpack_answers(cells)
    labels = {normal_text(name): codes for name, codes in sheet.labels.items()}
    titles = {normal_text(name): normal_text(title) for name, title in sheet.titles.items()}
    return Sheet(cells, sheet.name, labels, tuple(notes), sheet.visible, titles)


def _may_hold_ratings(name: str, columns: pd.DataFrame) -> bool:
    """Return whether columns that share a name may be ratings or identifiers, by their name or content."""
    plain = fold_name(name)
    if plain in NO_RATINGS or plain in SYNONYMS["time"] or plain.endswith(NO_RATING_ENDINGS):
        return False
    known = any(plain in SYNONYMS[word] for word in ("rater", "group", "image", "trait", "rating"))
    return known or any(share_of_numbers(columns.iloc[:, one]) > 0 for one in range(columns.shape[1]))


def _unpack_answers(cells: pd.DataFrame) -> pd.DataFrame:
    """Move answers to survey questions, which jsPsych writes into one cell as JSON, to separate columns."""
    for name in list(cells.columns):
        column = cells[name]
        objects = column.str.startswith("{") & column.str.endswith("}")
        if not objects.any():
            continue
        answers = {index: _read_answers(cell) for index, cell in column[objects].items()}
        answers = {index: one for index, one in answers.items() if one}
        if not answers:
            continue
        keys = list(dict.fromkeys(key for one in answers.values() for key in one))
        taken = set(cells.columns)
        for key in keys:
            title = normal_text(key) if normal_text(key) not in taken else f"{name}.{normal_text(key)}"
            values = pd.Series(
                {index: as_text(one.get(key, "")) for index, one in answers.items()}, dtype=object
            )
            cells[title] = values.reindex(cells.index).fillna("")
        cells.loc[list(answers), name] = ""
    return cells


def _read_answers(cell: str) -> dict[str, Any]:
    """Parse a cell as a JSON object of strings and numbers; return {} for anything else."""
    try:
        answer = json.loads(cell)
    except ValueError:
        return {}
    plain = isinstance(answer, dict) and all(
        isinstance(value, str | int | float) and not isinstance(value, bool) for value in answer.values()
    )
    return answer if plain and "ImportId" not in answer else {}  # ImportId: Qualtrics' code of a question


def apply_labels(
    cells: pd.DataFrame, labels: dict[str, dict[str, str]], columns: Sequence[str]
) -> pd.DataFrame:
    """Replace codes by their value labels in some columns.

    Parameters
    ----------
    cells : DataFrame of str
        The table.
    labels : dict
        Label of each code of each column.
    columns : sequence of str
        The columns to change: raters, groups, images and traits, but not ratings.

    Returns
    -------
    DataFrame of str
        The table with labels instead of codes; codes without a label are kept.
    """
    labelled = {
        name: cells[name].map(lambda cell, codes=labels[name]: codes.get(cell, cell))
        for name in columns
        if name in labels and name in cells
    }
    return cells.assign(**labelled) if labelled else cells


def _check_bytes(number: int, file: str) -> None:
    """Raise an error if a file's size in bytes exceeds :data:`MOST_BYTES`."""
    if number > MOST_BYTES:
        raise StudyError(Problem(f"unpacks to {number / 1e9:.1f} GB", "save it as Parquet or CSV", file))


def _read_separated(path: Path, encoding: str | None = None, first_line: int | None = None) -> list[Sheet]:
    """Read a text file: separated values, or JSON with the suffix of a text file."""
    _check_bytes(path.stat().st_size, path.name)
    with path.open("rb") as file:
        start = file.read(64).replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \r\n\t")
    if start.startswith((b"[{", b"[[{", b'{"', b"[\n", b"[\r\n")):
        return _read_json(path)
    return [read_text(path, encoding, first_line)]


def _read_excel(path: Path, first_line: int | None = None) -> list[Sheet]:
    """Read every sheet of a workbook that contains a table; formulas are read as their stored values."""
    from python_calamine import CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum

    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            _check_bytes(sum(entry.file_size for entry in archive.infolist()), path.name)
    else:
        _check_bytes(path.stat().st_size, path.name)
    check_workbook(path)
    workbook = CalamineWorkbook.from_path(path)
    errors, hidden = _note_error_cells(path), _note_hidden_cells(path)
    sheets = []
    for described in workbook.sheets_metadata:
        if described.typ != SheetTypeEnum.WorkSheet:
            continue
        sheet = workbook.get_sheet_by_name(described.name)
        if sheet.height * sheet.width > 2**27:
            raise StudyError(Problem(f"declares {sheet.height:,} x {sheet.width:,} cells", "", path.name))
        rows = sheet.to_python(skip_empty_area=True)
        above = sheet.start[0] if sheet.start is not None else 0
        filled, merged = _fill_merged(rows, sheet.merged_cell_ranges or [], sheet.start)
        if sum(any(cell != "" for cell in row) for row in rows) < 2:
            continue
        check_columns(len(rows[0]), path.name)
        start, names, notes = find_header(
            filled, path.name, None if first_line is None else first_line - above
        )
        notes += [f"{merged} merged areas were filled with their first cell"] if merged else []
        notes += [found[described.name] for found in (errors, hidden) if described.name in found]
        index = range(start + above, start + above + len(rows) - start - 1)
        table = pd.DataFrame(filled[start + 1 :], columns=names, index=index, dtype=object)
        visible = described.visible == SheetVisibleEnum.Visible
        sheets.append(Sheet(table, described.name, notes=tuple(notes), visible=visible))
    _check_formulas(path, {sheet.name for sheet in sheets if sheet.visible})
    return sheets


def _fill_merged(
    rows: list[list[Any]], ranges: Sequence[tuple[tuple[int, int], tuple[int, int]]], start: Any
) -> tuple[list[list[Any]], int]:
    """Fill merged cells with the value of the first; also count the merged areas that span several rows."""
    if not ranges or start is None:
        return rows, 0
    filled = [list(row) for row in rows]
    count = 0
    for (top, left), (bottom, right) in ranges:
        top, left, bottom, right = top - start[0], left - start[1], bottom - start[0], right - start[1]
        if 0 <= top < len(filled) and 0 <= left < len(filled[0]) and filled[top][left] != "":
            count += bottom > top
            for row in filled[top : bottom + 1]:
                row[left : right + 1] = [filled[top][left]] * len(row[left : right + 1])
    return filled, count


def _sheets_contain(path: Path, *marks: bytes) -> bool:
    """Return whether the XML of any sheet of an Excel workbook contains one of the given byte strings."""
    if path.suffix.lower() not in (".xlsx", ".xlsm") or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        parts = [name for name in archive.namelist() if name.startswith("xl/worksheets/")]
        return any(mark in xml for part in parts for xml in (archive.read(part),) for mark in marks)


def _note_hidden_cells(path: Path) -> dict[str, str]:
    """Return a note for each sheet with hidden rows or columns, which are read like all others."""
    if not _sheets_contain(path, b'hidden="1"', b'hidden="true"'):
        return {}
    notes = {}
    with zipfile.ZipFile(path) as archive:
        names, targets = archive.namelist(), {}
        book, links = "xl/workbook.xml", "xl/_rels/workbook.xml.rels"
        if book not in names or links not in names:
            return {}
        for link in re.findall(r"<Relationship [^>]*>", archive.read(links).decode(errors="replace")):
            ends = dict(re.findall(r'(Id|Target)="([^"]*)"', link))
            targets[ends.get("Id")] = ends.get("Target", "").removeprefix("/xl/")
        for sheet in re.findall(r"<sheet [^>]*>", archive.read(book).decode(errors="replace")):
            name, place = (re.search(rf'{key}="([^"]*)"', sheet) for key in ("name", "r:id"))
            part = f"xl/{targets.get(place.group(1))}" if place else ""
            if name is None or part not in names:
                continue
            xml = archive.read(part).decode(errors="replace")
            hidden = [tag for tag in re.findall(r"<(?:row|col) [^>]*>", xml) if re.search(_HIDDEN, tag)]
            rows = [found.group(1) for tag in hidden if (found := re.search(r'<row [^>]*\br="(\d+)"', tag))]
            columns = sum(tag.startswith("<col") for tag in hidden)
            if hidden:
                parts = [f"rows {', '.join(rows[:MOST_LINES])}"] if rows else []
                parts += [f"{columns} ranges of columns"] if columns else []
                notes[html.unescape(name.group(1))] = f"hidden cells were read as well: {' and '.join(parts)}"
    return notes


_HIDDEN = r'hidden="(?:1|true)"'


def _note_error_cells(path: Path) -> dict[str, str]:
    """Return a note for each sheet that has cells with errors such as #DIV/0!, which are read as empty."""
    if not _sheets_contain(path, b't="e"'):
        return {}
    import openpyxl

    notes = {}
    for sheet in openpyxl.load_workbook(path, read_only=True, data_only=True).worksheets:
        cells = [cell for row in sheet.iter_rows() for cell in row if cell.data_type == "e"]
        if cells:
            named = ", ".join(f"{cell.coordinate} {cell.value}" for cell in cells[:MOST_LINES])
            more = f" and {len(cells) - MOST_LINES} more" if len(cells) > MOST_LINES else ""
            notes[sheet.title] = f"cells with errors were read as empty: {named}{more}"
    return notes


def _check_formulas(path: Path, names: set[str]) -> None:
    """Raise an error if formulas in the named sheets have no stored value and would be read as empty."""
    if not _sheets_contain(path, b"<f>", b"<f "):
        return
    import openpyxl

    formulas = openpyxl.load_workbook(path, read_only=True)
    values = openpyxl.load_workbook(path, read_only=True, data_only=True)
    missing = [
        f"{sheet.title}!{formula.coordinate}"
        for sheet in formulas.worksheets
        if sheet.title in names
        for row, stored in zip(sheet.iter_rows(), values[sheet.title].iter_rows(), strict=True)
        for formula, value in zip(row, stored, strict=True)
        if formula.data_type == "f" and value.value is None
    ]
    if missing:
        more = f" and {len(missing) - MOST_LINES} more" if len(missing) > MOST_LINES else ""
        what = f"formulas have no stored value: {', '.join(missing[:MOST_LINES])}{more}"
        raise StudyError(Problem(what, "open it in Excel or LibreOffice and save it again", path.name))


def _read_spss(path: Path) -> list[Sheet]:
    """Read an SPSS or Stata file as codes with their labels; values declared as missing become empty."""
    import pyreadstat

    readers = {".por": pyreadstat.read_por, ".dta": pyreadstat.read_dta}
    table, described = readers.get(path.suffix.lower(), pyreadstat.read_sav)(str(path))
    labels = {
        column: {as_text(code): as_text(label) for code, label in codes.items() if as_text(label)}
        for column, codes in described.variable_value_labels.items()
    }
    titles = {name: label for name, label in described.column_names_to_labels.items() if label}
    return [Sheet(table, labels=labels, titles=titles)]


def _read_matlab(path: Path) -> list[Sheet]:
    """Read the variables of a MATLAB file as a table."""
    table, notes = read_matlab(path)
    return [Sheet(table, notes=tuple(notes))]


def _read_json(path: Path) -> list[Sheet]:
    """Read JSON as jsPsych writes it: one or several lists of trials, whose answers may be objects."""
    _check_bytes(path.stat().st_size, path.name)
    text = decode(path.read_bytes()).strip().lstrip("\ufeff")
    try:
        trials = json.loads(text)
    except json.JSONDecodeError:  # Each line may be a trial, or the list of trials of a participant.
        trials = [json.loads(line.lstrip("\ufeff")) for line in text.splitlines() if line.strip()]
    trials = _list_records(trials)
    flat: list[dict[str, Any]] = []
    for trial in trials if isinstance(trials, list) else [trials]:
        flat += [item for item in (trial if isinstance(trial, list) else [trial]) if isinstance(item, dict)]
    for item in flat:
        for key in ("response", "responses"):  # Answers to survey questions are unpacked by _unpack_answers.
            if isinstance(item.get(key), dict):
                item[key] = json.dumps(item[key], ensure_ascii=False)
    table = pd.json_normalize(flat)
    check_columns(table.shape[1], path.name)
    return [Sheet(table)]


def _list_records(trials: Any) -> Any:
    """Convert a JSON object of columns (pandas), or of records by key (Firebase), to a list of records."""
    if not isinstance(trials, dict):
        return trials
    lists = [value for value in trials.values() if isinstance(value, list) and value]
    lists = [value for value in lists if all(isinstance(item, dict) for item in value)]
    if len(lists) == 1:
        return lists[0]
    if len(trials) < 2:
        return trials
    values = list(trials.values())
    if all(isinstance(value, list) for value in values) and len({len(value) for value in values}) == 1:
        return pd.DataFrame(trials).to_dict("records")
    if not all(isinstance(value, dict) and value for value in values):
        return trials
    keys = {tuple(value) for value in values}
    if len(keys) == 1 and list(next(iter(keys))) == [str(row) for row in range(len(values[0]))]:
        return pd.DataFrame(trials).to_dict("records")
    if all(isinstance(record, dict) for value in values for record in value.values()):
        return [{"id": key, **record} for key, value in trials.items() for record in value.values()]
    return values


def _read_parquet(path: Path) -> list[Sheet]:
    """Read a Parquet table, with a stored index as a column."""
    check_parquet(path)
    table = pd.read_parquet(path)
    if not isinstance(table.index, pd.RangeIndex):
        table = table.reset_index()
    return [Sheet(table.reset_index(drop=True))]


_EXPORT = "save the table as CSV or Excel"

UNREAD: dict[str, tuple[str, str]] = {
    **dict.fromkeys(
        (".rds", ".rdata", ".rda"), ("R", "in R: write.csv(table, 'ratings.csv', row.names = FALSE)")
    ),
    **dict.fromkeys((".sas7bdat", ".xpt"), ("SAS", _EXPORT)),
    **dict.fromkeys((".omv", ".jasp"), ("jamovi or JASP", "export the data as CSV")),
    ".numbers": ("Apple Numbers", _EXPORT),
    ".gsheet": ("Google Sheets", "download it as CSV or Excel"),
    ".feather": ("Arrow", "save it as Parquet or CSV"),
    **dict.fromkeys((".docx", ".doc", ".pdf", ".rtf"), ("text, no table", _EXPORT)),
    **dict.fromkeys((".db", ".sqlite", ".sqlite3"), ("a database", "export its table as CSV")),
    **dict.fromkeys(
        (".psydat", ".pickle", ".pkl"), ("Python", "use the CSV file that PsychoPy writes beside it")
    ),
}
"""Name and advice for file formats with tables that traitlens does not read."""

READERS: dict[str, Callable[..., list[Sheet]]] = {
    **dict.fromkeys((".csv", ".tsv", ".txt", ".dat", ".tab", ".iqdat"), _read_separated),
    **dict.fromkeys((".parquet", ".pq"), _read_parquet),
    **dict.fromkeys((".xlsx", ".xls", ".xlsb", ".xlsm", ".ods"), _read_excel),
    **dict.fromkeys((".sav", ".zsav", ".por", ".dta"), _read_spss),
    ".mat": _read_matlab,
    **dict.fromkeys((".json", ".jsonl", ".ndjson"), _read_json),
}
"""Reader function for each file suffix."""
