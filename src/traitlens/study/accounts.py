"""Record of an import: what was read, used, left out and changed, and why."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from traitlens.storage import atomic_write

FILE = "import.json"
"""Name of the account in a study's folder."""

_MOST = 8
"""Maximum number of entries of one kind listed in a terminal."""


@dataclass(frozen=True)
class ReadTable:
    """A table that was read.

    Parameters
    ----------
    file : str
        Its file.
    sheet : str
        Its sheet; "" where the file has none.
    rows : int
        Rows below the header.
    notes : tuple of str
        Rows that were skipped, and assumptions.
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
    """Something that was left out of the study.

    Parameters
    ----------
    what : {"cell", "column", "rows", "rater", "sheet", "image"}
        Kind of item.
    name : str
        Its name: the cell's content, the column, rater, sheet or image.
    why : str
        The reason.
    ratings : int
        Cells with content in columns of ratings that were lost with it.
    file : str
        The file, with its sheet.
    row : int or None
        Row of a cell, as a spreadsheet counts it.
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
        The tables.
    read, used, empty, left_out_cells : int
        Cells of columns of ratings: all, those that became ratings, empty ones, and those left out.
    empty_as : dict of str to int
        How empty cells were written ("NA"), and how often.
    values : dict of str to int
        The ratings that occur, and how often; at most 20 of them.
    lowest, highest : float
        Range of the ratings.
    ranges : dict of str to (float, float)
        Range of the ratings of each trait.
    matched : dict of str to int
        Number of names of images by the way they were matched.
    pairs : dict of str to str
        Names that were matched by spelling or number only, and their images.
    unrated : tuple of str
        Images of the folder that nobody rated; they are not in the study.
    left_out : tuple of LeftOut
        Items that were left out of the study.
    changed : tuple of (str, str, str)
        Kind of identifier, how it was written, and its normal form.
    decided : tuple of str
        Questions, or decisions by an option, with the answer.
    notices : tuple of str
        Notices.
    landmarks : int
        Landmark files that were copied.
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
            Entries of one kind that are listed.

        Returns
        -------
        list of str
            A line for each part.
        """
        lines = [f"read: {table}" for table in self.tables[:most]]
        if len(self.tables) > most:
            rows = sum(table.rows for table in self.tables[most:])
            lines.append(f"read: {len(self.tables) - most} more tables with {rows} rows, see {FILE}")
        written = ", ".join(f"{number} x {cell!r}" for cell, number in self.empty_as.items() if cell)
        lines.append(
            f"cells of ratings: {self.read} read, {self.used} used, {self.empty} empty"
            f"{f' ({written})' if written else ''}, {self.left_out_cells} left out"
        )
        if self.lowest is not None and self.highest is not None:
            counts = ", ".join(f"{value}: {number}" for value, number in self.values.items())
            lines.append(f"ratings: {self.lowest:g} to {self.highest:g}{f' ({counts})' if counts else ''}")
        if len(set(self.ranges.values())) > 1:
            ranges = [f"{trait} {low:g} to {high:g}" for trait, (low, high) in self.ranges.items()]
            lines += _listed("ratings of each trait", ranges, most)
        ways = ", ".join(f"{number} {way}" for way, number in self.matched.items())
        lines.append(f"names of images matched: {ways or 'none'}")
        lines += _listed("matched", [f"{name!r} is {image}" for name, image in self.pairs.items()], most)
        lines += _listed("images without ratings, left out", list(self.unrated), most, len(self.unrated) > 0)
        for what in dict.fromkeys(entry.what for entry in self.left_out):
            entries = _merged([entry for entry in self.left_out if entry.what == what])
            lines += [f"left out: {entry}" for entry in entries[:most]]
            if len(entries) > most:
                lines.append(f"left out: {len(entries) - most} more of this kind, see {FILE}")
        lines += _listed(
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
            Name and value of each entry.
        """
        rows = [("Table", str(table)) for table in self.tables[:_MOST]]
        if len(self.tables) > _MOST:
            rows.append(("Table", f"{len(self.tables) - _MOST} more"))
        cells = f"{self.read} read, {self.used} used, {self.empty} empty, {self.left_out_cells} left out"
        rows.append(("Cells of ratings", cells))
        if self.lowest is not None and self.highest is not None:
            rows.append(("Ratings", f"{self.lowest:g} to {self.highest:g}"))
        ways = ", ".join(f"{number} {way}" for way, number in self.matched.items())
        rows.append(("Names of images matched", ways or "none"))
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
        """Return the account for JSON.

        Returns
        -------
        dict
            Its fields.
        """
        return asdict(self)


def _merged(entries: Sequence[LeftOut]) -> list[str]:
    """Merge entries that occur in several files."""
    alike: dict[tuple[str, str, int | None], list[LeftOut]] = {}
    for entry in entries:
        alike.setdefault((entry.name, entry.why, entry.row), []).append(entry)
    return [
        str(same[0])
        if len(same) == 1
        else str(replace(same[0], file=f"{len(same)} tables", ratings=sum(one.ratings for one in same)))
        for same in alike.values()
    ]


def _listed(title: str, entries: Sequence[str], most: int, count: bool = False) -> list[str]:
    """Return entries as one line, only the first if there are many."""
    if not entries:
        return []
    more = f" and {len(entries) - most} more" if len(entries) > most else ""
    number = f" ({len(entries)})" if count else ""
    return [f"{title}{number}: {', '.join(entries[:most])}{more}"]


def write_account(account: ImportAccount, folder: Path) -> None:
    """Write an account into a study."""
    text = json.dumps(account.to_dict(), indent=1, ensure_ascii=False)
    with atomic_write(Path(folder) / FILE) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_account(folder: str | Path) -> ImportAccount | None:
    """Read the account of the import that made a study.

    Parameters
    ----------
    folder : str or Path
        The study's folder.

    Returns
    -------
    ImportAccount or None
        The account; None where the study was not imported, or the account cannot be read.

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
