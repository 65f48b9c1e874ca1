"""Reading of separated text in any encoding, with or without titles above the header."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from traitlens.problems import Problem, StudyError
from traitlens.spreadsheets import unprotect
from traitlens.study.identifiers import normal_text
from traitlens.study.tables import MOST_LINES, as_text, check_columns, more_rows

HEAD = 60
"""Number of rows that are searched for the header."""

_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)


@dataclass(frozen=True, eq=False)
class Sheet:
    """A table with all cells as strings, read from a file or from a sheet of a workbook.

    Parameters
    ----------
    cells : DataFrame of str
        The cells; row `i` of the index is line `i + 2` of a spreadsheet.
    name : str
        Name of the sheet; "" for files without sheets.
    labels : dict
        Label of each code of each column, if the file has value labels (SPSS).
    notes : tuple of str
        Rows that were skipped, and assumptions about the table.
    visible : bool
        Whether the sheet is not hidden.
    titles : dict
        Label of each column, if the file labels columns (SPSS, Stata).
    """

    cells: pd.DataFrame
    name: str = ""
    labels: dict[str, dict[str, str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    visible: bool = True
    titles: dict[str, str] = field(default_factory=dict)


def read_text(path: Path, encoding: str | None = None, first_line: int | None = None) -> Sheet:
    """Read separated values, detecting encoding, separator and header from the content.

    Parameters
    ----------
    path : Path
        The file.
    encoding : str, optional
        Encoding of the file; if None, detected from its content.
    first_line : int, optional
        Line of the header, counted from 1; detected if None.

    Raises
    ------
    StudyError
        If rows have more or fewer cells than the header, or a missing quotation mark joins rows.
    """
    text, notes = _decode_file(path, encoding)
    if not text.strip():
        raise StudyError(Problem("is empty", "add the data", path.name))
    if text.startswith("PK\x03\x04"):
        raise StudyError(Problem("is a workbook or an archive", "rename it to .xlsx if it is one", path.name))
    if "\0" in text:
        raise StudyError(Problem("is not a text file", "save it as CSV in UTF-8", path.name))
    declared = re.match(r"sep=([^\w\s]|\t)\r?\n", text.lstrip(), re.IGNORECASE)
    sample = text[: 2**18].splitlines()[: HEAD + 20]
    separator = declared.group(1) if declared else find_separator(sample)
    rows = list(_split_rows(text, separator, path.name))
    width = max(map(len, rows[:HEAD]), default=0)
    check_columns(width, path.name)
    start, names, skipped = find_header(rows, path.name, first_line)
    notes += skipped
    body = rows[start + 1 :]
    names, noted = _fit_header(names, body, start, separator, text, path.name)
    notes += noted
    number = len(names)
    shared: dict[str, str] = {}  # Store every distinct string once, to save memory.
    cells = [[shared.setdefault(cell, cell) for cell in [*row, *[""] * number][:number]] for row in body]
    index = range(start, start + len(body))
    table = unprotect(pd.DataFrame(cells, columns=names, index=index, dtype=object))
    return Sheet(table, notes=tuple(notes))


def _split_rows(text: str, separator: str, file: str) -> Iterator[list[str]]:
    """Yield the rows of a text as lists of cells; raise an error if a missing quotation mark joins rows."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    before, number, width = 0, 0, 0
    try:
        for row in reader:
            number += 1
            lines, before = reader.line_num - before, reader.line_num
            width = max(width, len(row))
            if lines > 1 and number > 1:
                _check_line_breaks(row, separator, width, number, lines, file)
            yield row
    except csv.Error as error:
        what = f"a quotation mark opens a cell that does not end ({error})"
        raise StudyError(Problem(what, "remove or close it", file, number + 1)) from error


def _check_line_breaks(
    row: list[str], separator: str, width: int, number: int, lines: int, file: str
) -> None:
    """Raise an error if a cell with line breaks contains what look like further rows of the table."""
    for cell in row:
        inner = cell.splitlines()[1:]
        if any(line.count(separator) >= max(1, width - 2) for line in inner):
            what = f"a cell has {lines} lines and seems to contain rows"
            advice = "a quotation mark is missing or superfluous; correct it and save the table again"
            raise StudyError(Problem(what, advice, file, number))


def _fit_header(
    names: list[str], body: Sequence[list[str]], start: int, separator: str, text: str, file: str
) -> tuple[list[str], list[str]]:
    """Add a heading for a column of row names, and raise an error if rows have more cells than the header."""
    number = len(names)
    filled = [(place, row) for place, row in enumerate(body) if any(row)]
    wider = [(place, row) for place, row in filled if any(cell.strip() for cell in row[number:])]
    if not wider:
        # A surplus cell shifts the others even if the last is empty, but separators at all line ends do not.
        several = [(place, row) for place, row in filled if sum(map(bool, row)) > 1]
        lengths = Counter(len(row) for _, row in several)
        usual = max(lengths, key=lambda length: lengths[length], default=number)
        wider = [
            (place, row)
            for place, row in several
            if len(row) > max(number, usual) or number <= len(row) < usual
        ]
    if not wider:
        return names, _check_short_rows(names, filled, start, file)
    first = [row[0].strip() for _, row in filled]
    if len(wider) == len(filled) and all(len(row) == number + 1 for _, row in wider):
        # R's write.table writes no heading for row names, but decimal commas look similar.
        counted = first == [str(place + 1) for place in range(len(first))]
        quoted = text.lstrip().startswith('"') and all(names)
        if len(set(first)) == len(first) and (counted or quoted or separator != ","):
            return ["", *names], [
                "the header has one name less than the rows have cells: the first column "
                "was taken as row names"
            ]
    advice = "give every column a heading"
    if separator == ",":
        advice += "; where numbers have decimal commas, separate the cells by semicolons"
    problems = [
        Problem(
            f"has {len(row)} cells, but the header names {number} columns", advice, file, start + place + 2
        )
        for place, row in wider[:MOST_LINES]
    ]
    if len(wider) > MOST_LINES:
        problems.append(Problem(more_rows(len(wider) - MOST_LINES), advice, file))
    raise StudyError(problems)


def _check_short_rows(
    names: list[str], filled: Sequence[tuple[int, list[str]]], start: int, file: str
) -> list[str]:
    """Raise an error if rows have fewer cells than the header, except rows with a single cell."""
    number = max((place + 1 for place, name in enumerate(names) if name), default=0)
    shorter = [(place, row) for place, row in filled if len(row) < number]
    if filled and len(shorter) == len(filled):
        what = f"every row has fewer cells than the header names ({number})"
        raise StudyError(
            Problem(what, "remove the heading without a column, or add the column", file, start + 1)
        )
    # A row with a single cell, such as END OF FILE, has no cells that could be shifted.
    faulty = [(place, row) for place, row in shorter if sum(map(bool, row)) > 1]
    if faulty:
        advice = "add the missing cell, or its separator where it is empty"
        problems = [
            Problem(
                f"has {len(row)} cells, but the header names {number} columns",
                advice,
                file,
                start + place + 2,
            )
            for place, row in faulty[:MOST_LINES]
        ]
        if len(faulty) > MOST_LINES:
            problems.append(Problem(more_rows(len(faulty) - MOST_LINES), advice, file))
        raise StudyError(problems)
    rows = ", ".join(str(start + place + 2) for place, _ in shorter[:MOST_LINES])
    return [f"rows with one cell: {rows}"] if shorter else []


def find_header(
    rows: Sequence[Sequence[str]], file: str, first_line: int | None = None
) -> tuple[int, list[str], list[str]]:
    """Find the row of column headings below titles and comments.

    Parameters
    ----------
    rows : sequence of sequence of str
        The table's rows.
    file : str
        Name of the table's file, for messages.
    first_line : int, optional
        The row of the headings, counted from 1; detected if None.

    Returns
    -------
    row : int
        The row of the headings, counted from 0.
    names : list of str
        The headings in normal form.
    notes : list of str
        Notes on the rows above that were skipped.
    """
    head = [[normal_text(as_text(cell)) for cell in row] for row in rows[:HEAD]]
    counts = [sum(map(bool, row)) for row in head]
    content = [place for place, count in enumerate(counts) if count]
    if first_line is not None:
        if not 1 <= first_line <= len(rows):
            raise StudyError(Problem(f"has no line {first_line}", "correct --first-line", file))
        place = first_line - 1
        head = head if place < len(head) else [*head, [normal_text(as_text(cell)) for cell in rows[place]]]
        return place, head[min(place, len(head) - 1)], []
    if not content:
        raise StudyError(Problem("contains no rows", "add the data", file))
    usual = float(np.median([counts[place] for place in content]))
    start = next(
        (place for place in content if counts[place] >= 0.75 * usual and not _is_title(head[place])),
        content[0],
    )
    if start != content[0] and _is_data(head, start):
        start = content[0]
    names = head[start]
    notes = []
    above = [place for place in content if place < start]
    filled = [name for name in names if name]
    upper = head[start - 1] if start - 1 in above and counts[start - 1] > 1 else []
    beside = [name or cell for name, cell in zip(names, [*upper, *[""] * len(names)], strict=False)]
    if above and len(set(filled)) < len(filled):
        merged = _join_headings(head[above[-1]], names)
        if merged is not None:
            names, above = merged, above[:-1]
            notes.append(f"headings of two rows were joined: {names[-1]!r}")
    elif beside != names:
        names, above = beside, above[:-1]
        notes.append(
            f"headings of two rows were joined; the upper row: {' '.join(filter(None, upper))[:60]!r}"
        )
    notes += [f"row {place + 1} was skipped: {' '.join(filter(None, head[place]))[:60]!r}" for place in above]
    return start, names, notes


def _is_title(row: Sequence[str]) -> bool:
    """Return whether all filled cells of a row are equal, like the merged cells of a title."""
    filled = [cell for cell in row if cell]
    return len(filled) > 1 and len(set(filled)) == 1


def _is_data(rows: Sequence[Sequence[str]], place: int) -> bool:
    """Return whether a row is data, not a header: it has numbers, or strings that recur in the rows below."""
    filled = {column: cell for column, cell in enumerate(rows[place]) if cell}
    is_number = re.compile(r"[+-]?\d+([.,]\d+)?").fullmatch
    texts = {column: cell for column, cell in filled.items() if not is_number(cell)}
    numeric = [cell for cell in filled.values() if is_number(cell)]
    # A header may contain 1, 2, 3 as names of raters or images.
    counted = texts and all(map(str.isdigit, numeric)) and numeric == sorted(set(numeric), key=int)
    repeated = any(
        column < len(row) and row[column] == cell
        for row in rows[place + 1 :]
        for column, cell in (texts if counted else filled).items()
    )
    return repeated or (2 * len(numeric) >= len(filled) and not counted)


def _join_headings(upper: Sequence[str], names: Sequence[str]) -> list[str] | None:
    """Join two rows of headings, of which the upper span several columns; None if names are not distinct."""
    joined, last = [], ""
    for place, name in enumerate(names):
        own = upper[place] if place < len(upper) else ""
        last = own or last
        joined.append(f"{last}_{name}" if last and name and last != name else name or own)
    filled = [name for name in joined if name]
    return joined if len(set(filled)) == len(filled) else None


def _decode_file(path: Path, encoding: str | None) -> tuple[str, list[str]]:
    """Return the text of a file, and a note if its encoding was guessed."""
    content = path.read_bytes()
    if encoding is not None:
        try:
            return content.decode(encoding), []
        except (UnicodeDecodeError, LookupError) as error:
            message = " ".join(str(error).split())[:120]
            raise StudyError(
                Problem(f"is not in {encoding} ({message})", "name another --encoding", path.name)
            ) from None
    text = decode(content)
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        if not any(content.startswith(mark) for mark, _ in _MARKS) and content[:4096].count(0) == 0:
            odd = sorted(set(re.findall(r"\S*[^\x00-\x7f]\S*", text)))[:3]
            return text, [
                f"was read as cp1252 (Western European), such as {', '.join(odd)}; otherwise use --encoding"
            ]
    return text, []


def decode(content: bytes) -> str:
    """Decode bytes of unknown encoding: by the byte order mark, as UTF-8, or as cp1252 (Western European).

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


def find_separator(lines: Sequence[str]) -> str:
    """Find the separator that splits most lines into an equal number of cells.

    Parameters
    ----------
    lines : sequence of str
        The first lines of the table.

    Returns
    -------
    str
        Comma, semicolon, tab or vertical bar; a space if none of these occurs equally often in all lines.

    Examples
    --------
    >>> find_separator(["Ratings of May", "image;rating", "a;2,5", "b;3,5"])
    ';'
    """
    bare = [re.sub(r'"[^"]*"', "", line) for line in lines if line.strip()]

    def fitness(mark: str) -> tuple[bool, float, int]:
        """Return a sort key that is largest for marks with equal counts in most lines."""
        counts = Counter(line.count(mark) for line in bare)
        number, lines_with = max(counts.items(), key=lambda item: (item[0] > 0, item[1], item[0]))
        return number > 0, lines_with / max(len(bare), 1), number

    best = max("\t;|,", key=fitness)
    words = [len(re.sub(r'"[^"]*"', "word", line).split()) for line in lines if line.strip()]
    # R's write.table separates by spaces; its first line is a word shorter, without a heading for row names.
    spaced = len(words) > 2 and len(set(words[1:])) == 1 and words[1] > 2 and words[1] - words[0] in (0, 1)
    divided = {line.count(best) for line in bare[1:]}
    in_numbers = best == "," and not any("," in re.sub(r"(?<=\d),(?=\d)", "", line) for line in bare)
    return " " if spaced and (len(divided) > 1 or divided == {0} or in_numbers) else best
