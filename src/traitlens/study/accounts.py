"""Record of an import: what was read, used, left out and changed, and why."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from traitlens.storage import atomic_write

FILE = "import.json"
"""File name of the account in a study's folder."""

_MOST = 8
"""Maximum number of entries of one kind listed in a terminal."""


@dataclass(frozen=True)
class ReadTable:
    """A table that an import read.

    Parameters
    ----------
    file : str
        Name of the file.
    sheet : str
        Name of the sheet; "" for files without sheets.
    rows : int
        Number of rows below the header.
    notes : tuple of str
        Rows that were skipped, and assumptions about the table.
    """

    file: str
    sheet: str
    rows: int
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        sheet = f", sheet {self.sheet!r}" if self.sheet else ""
        notes = "".join(f"; {note}" for note in self.notes)
        return f"{self.file}{sheet}: {self.rows} rows{notes}"


@dataclass(frozen=True)
class LeftOut:
    """A cell, column, rater, sheet, image or set of rows that an import left out of the study.

    Parameters
    ----------
    what : {"cell", "column", "rows", "rater", "sheet", "image"}
        Kind of item.
    name : str
        The cell's content, the number of rows, or the name of the column, rater, sheet or image.
    why : str
        Reason for leaving the item out.
    ratings : int
        Number of ratings lost with the item; for a column, the number of its numeric cells.
    file : str
        Name of the file, and of the sheet if it has several.
    row : int or None
        Row of a cell, as a spreadsheet counts rows.
    column : str
        Column of a cell.
    """

    what: str
    name: str
    why: str
    ratings: int = 0
    file: str = ""
    row: int | None = None
    column: str = ""

    def __str__(self) -> str:
        place = f" ({self.file}{'' if self.row is None else f', row {self.row}'}" if self.file else ""
        place += f", column {self.column!r})" if place and self.column else ")" if place else ""
        unit = "numbers" if self.what == "column" else "ratings"
        lost = f", {self.ratings} {unit}" if self.ratings and self.what != "cell" else ""
        return f"{self.what} {self.name!r}{place}: {self.why}{lost}"


@dataclass(frozen=True)
class ImportAccount:
    """Record of an import: what was read, used, left out and changed.

    Parameters
    ----------
    tables : tuple of ReadTable
        The tables that were read.
    read, used, empty, left_out_cells : int
        Number of cells in rating columns: all, those that became ratings, empty cells, and cells left out.
    empty_as : dict of str to int
        Frequency of each notation for an empty cell, such as "NA".
    values : dict of str to int
        Frequency of each rating; empty if there are more than 20 different ratings.
    lowest, highest : float
        Lowest and highest rating.
    ranges : dict of str to (float, float)
        Lowest and highest rating of each trait.
    matched : dict of str to int
        Number of image names matched exactly, without folder or extension, by spelling, or by number.
    pairs : dict of str to str
        Image names that were matched by spelling or number only, and the images they were matched to.
    unrated : tuple of str
        Images of the folder that nobody rated; they are not in the study.
    left_out : tuple of LeftOut
        Items that were left out of the study.
    changed : tuple of (str, str, str)
        Kind of identifier, the identifier as written in the table, and its normal form.
    decided : tuple of str
        Decisions that were confirmed by the user or made by an option.
    notices : tuple of str
        Oddities in the tables that were not errors.
    landmarks : int
        Number of landmark files that were copied.
    mapping : dict
        Mapping of columns, as in `mapping.toml`.
    """

    tables: tuple[ReadTable, ...] = ()
    read: int = 0
    used: int = 0
    empty: int = 0
    left_out_cells: int = 0
    empty_as: Mapping[str, int] = field(default_factory=dict)
    values: Mapping[str, int] = field(default_factory=dict)
    lowest: float | None = None
    highest: float | None = None
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    matched: Mapping[str, int] = field(default_factory=dict)
    pairs: Mapping[str, str] = field(default_factory=dict)
    unrated: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    changed: tuple[tuple[str, str, str], ...] = ()
    decided: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    landmarks: int = 0
    mapping: Mapping[str, Any] = field(default_factory=dict)

    def lines(self, most: int = _MOST) -> list[str]:
        """Format the account as lines of text.

        Parameters
        ----------
        most : int, default 8
            Maximum number of entries of one kind to list.

        Returns
        -------
        list of str
            The lines, without line breaks.
        """
        lines = [f"read: {table}" for table in self.tables[:most]]
        if len(self.tables) > most:
            rows = sum(table.rows for table in self.tables[most:])
            lines.append(f"read: {len(self.tables) - most} more tables with {rows} rows, see {FILE}")
        written = ", ".join(f"{number} x {cell!r}" for cell, number in self.empty_as.items() if cell)
        lines.append(
            f"rating cells: {self.read} read, {self.used} used, {self.empty} empty"
            f"{f' ({written})' if written else ''}, {self.left_out_cells} left out"
        )
        if self.lowest is not None and self.highest is not None:
            counts = ", ".join(f"{value}: {number}" for value, number in self.values.items())
            lines.append(f"ratings: {self.lowest:g} to {self.highest:g}{f' ({counts})' if counts else ''}")
        if len(set(self.ranges.values())) > 1:
            ranges = [f"{trait} {low:g} to {high:g}" for trait, (low, high) in self.ranges.items()]
            lines += _format_list("ratings of each trait", ranges, most)
        ways = ", ".join(f"{number} {way}" for way, number in self.matched.items())
        lines.append(f"image names matched: {ways or 'none'}")
        lines += _format_list("matched", [f"{name!r} is {image}" for name, image in self.pairs.items()], most)
        lines += _format_list(
            "images without ratings, left out", list(self.unrated), most, len(self.unrated) > 0
        )
        for what in dict.fromkeys(entry.what for entry in self.left_out):
            entries = _merge_entries([entry for entry in self.left_out if entry.what == what])
            lines += [f"left out: {entry}" for entry in entries[:most]]
            if len(entries) > most:
                lines.append(f"left out: {len(entries) - most} more of this kind, see {FILE}")
        lines += _format_list(
            "normalised names", [f"{kind} {old!r} is {new!r}" for kind, old, new in self.changed], most
        )
        if self.landmarks:
            lines.append(f"landmark files copied: {self.landmarks}")
        lines += [f"decided: {entry}" for entry in self.decided]
        lines += [f"worth a look: {notice}" for notice in self.notices]
        return lines

    def summary(self) -> list[tuple[str, str]]:
        """Summarise the account without names of raters, for the report.

        Returns
        -------
        list of (str, str)
            Label and value of each row of a two-column table.
        """
        rows = [("Table", str(table)) for table in self.tables[:_MOST]]
        if len(self.tables) > _MOST:
            rows.append(("Table", f"{len(self.tables) - _MOST} more"))
        cells = f"{self.read} read, {self.used} used, {self.empty} empty, {self.left_out_cells} left out"
        rows.append(("Rating cells", cells))
        if self.lowest is not None and self.highest is not None:
            rows.append(("Ratings", f"{self.lowest:g} to {self.highest:g}"))
        ways = ", ".join(f"{number} {way}" for way, number in self.matched.items())
        rows.append(("Image names matched", ways or "none"))
        if self.unrated:
            rows.append(("Images without ratings", f"{len(self.unrated)}, left out"))
        reasons: dict[tuple[str, str], list[int]] = {}
        for entry in self.left_out:
            reasons.setdefault((entry.what, entry.why), []).append(entry.ratings)
        for (what, why), lost in reasons.items():
            several = (
                f"{len(lost)} {what}s" if len(lost) > 1 and not what.endswith("s") else f"{len(lost)} {what}"
            )
            unit = "numbers" if what == "column" else "ratings"
            rows.append(("Left out", f"{several}: {why}{f' ({sum(lost)} {unit})' if sum(lost) else ''}"))
        if self.landmarks:
            rows.append(("Landmark files copied", str(self.landmarks)))
        return rows

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def to_dict(self) -> dict[str, Any]:
        """Convert the account to a dictionary that can be written as JSON.

        Returns
        -------
        dict
            The attributes of the account by name.
        """
        return asdict(self)


def _merge_entries(entries: Sequence[LeftOut]) -> list[str]:
    """Format entries as text, merging those that differ only in their file."""
    alike: dict[tuple[str, str, int | None], list[LeftOut]] = {}
    for entry in entries:
        alike.setdefault((entry.name, entry.why, entry.row), []).append(entry)
    return [
        str(same[0])
        if len(same) == 1
        else str(replace(same[0], file=f"{len(same)} tables", ratings=sum(one.ratings for one in same)))
        for same in alike.values()
    ]


def _format_list(title: str, entries: Sequence[str], most: int, count: bool = False) -> list[str]:
    """Format entries as one line that shows the first `most` of them; no line if there are none."""
    if not entries:
        return []
    more = f" and {len(entries) - most} more" if len(entries) > most else ""
    number = f" ({len(entries)})" if count else ""
    return [f"{title}{number}: {', '.join(entries[:most])}{more}"]


def write_account(account: ImportAccount, folder: Path) -> None:
    """Write an account to `import.json` in a study's folder."""
    text = json.dumps(account.to_dict(), indent=1, ensure_ascii=False)
    with atomic_write(Path(folder) / FILE) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_account(folder: str | Path) -> ImportAccount | None:
    """Read the account of the import that created a study.

    Parameters
    ----------
    folder : str or Path
        The study's folder.

    Returns
    -------
    ImportAccount or None
        The account; None if the study was not imported, or the account cannot be read.

    Examples
    --------
    >>> account = read_account("mystudy")  # doctest: +SKIP
    >>> print(account.used, account.left_out_cells)  # doctest: +SKIP
    7196 4
    """
    path = Path(folder) / FILE
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        stored["tables"] = tuple(
            ReadTable(**{**one, "notes": tuple(one["notes"])}) for one in stored["tables"]
        )
        stored["left_out"] = tuple(LeftOut(**one) for one in stored["left_out"])
        stored["changed"] = tuple((kind, old, new) for kind, old, new in stored["changed"])
        stored["ranges"] = {trait: (low, high) for trait, (low, high) in stored.get("ranges", {}).items()}
        for name in ("unrated", "decided", "notices"):
            stored[name] = tuple(stored[name])
        return ImportAccount(**stored)
    except (OSError, ValueError, KeyError, TypeError):
        return None
