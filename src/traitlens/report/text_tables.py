"""Tables of the report with cells formatted as text."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from traitlens.columns import GROUP, IMAGE, RATING, TRAIT
from traitlens.report.numbers import bounded, count, decimal, is_number, probability
from traitlens.report.results import Results


@dataclass(frozen=True)
class Table:
    """A table of the report.

    Parameters
    ----------
    caption : str
        Caption.
    columns : list of str
        Headings.
    rows : list of list of str
        Cells as text.
    n_names : int
        Number of columns with names, from the left.
    file : str
        File in the results folder; empty for a table made from several files.
    """

    caption: str
    columns: list[str]
    rows: list[list[str]]
    n_names: int = 2
    file: str = ""

    @property
    def title(self) -> str:
        """The first sentence of the caption, without its full stop."""
        return self.caption.split(". ")[0].removesuffix(".")

    @property
    def about(self) -> str:
        """The caption after its first sentence."""
        return self.caption.partition(". ")[2]


def tabulate_import(results: Results) -> list[Table]:
    """Tabulate the numbers of ratings that the import read and left out; empty without an import."""
    rows = results.study.get("imported")
    pairs = [row for row in rows if isinstance(row, list) and len(row) == 2] if isinstance(rows, list) else []
    if not pairs:
        return []
    cells = [[str(what), str(numbers)] for what, numbers in pairs]
    caption = "Import of the ratings. The study’s import.json names every cell and rater."
    return [Table(caption, ["Item", "Number"], cells)]


def leave_out_empty(caption: str, columns: list[str], rows: list[list[str]], n_names: int = 2) -> Table:
    """Make a table without the columns in which no row has a value."""
    keep = [i for i in range(len(columns)) if not rows or any(row[i] != "–" for row in rows)]
    names = sum(i < n_names for i in keep)
    return Table(caption, [columns[i] for i in keep], [[row[i] for i in keep] for row in rows], names)


def tabulate_ratings(targets: pd.DataFrame, results: Results) -> Table:
    """Tabulate each group's mean rating of each trait, and the correlation of the groups' ratings."""
    wide = targets.pivot_table(index=IMAGE, columns=[TRAIT, GROUP], values=RATING)
    columns = ["Trait", *(f"Mean (SD), {group}" for group in results.groups)]
    pairs = [
        (first, second) for i, first in enumerate(results.groups) for second in results.groups[i + 1 :]
    ] if len(results.groups) <= 3 else []  # fmt: skip
    columns += [
        f"r, {first} with {second}" if len(pairs) > 1 else "r between groups" for first, second in pairs
    ]
    rows = []
    for trait in results.traits:
        values = {group: wide[trait, group] for group in results.groups if (trait, group) in wide}
        cells = [trait]
        for group in results.groups:
            part = values.get(group)
            cells.append("–" if part is None else f"{decimal(part.mean())} ({decimal(part.std())})")
        for first, second in pairs:
            both = pd.DataFrame({g: values[g] for g in (first, second) if g in values}).dropna()
            cells.append(bounded(both.corr().iloc[0, 1]) if both.shape[1] == 2 and len(both) > 2 else "–")
        rows.append(cells)
    caption = "Mean ratings over images (SD over images)"
    caption += ", and the correlation of the groups’ mean ratings over images both rated." if pairs else "."
    return Table(caption, columns, rows, 1)


_HEADINGS = {
    "ci_low": "95% from", "ci_high": "95% to", "p_corrected": "p (corrected)", "effect_size": "Effect size",
    "n": "n", "p": "p",
}  # fmt: skip
_MOST_ROWS = 300


def tabulate(name: str, table: pd.DataFrame) -> Table:
    """Format a table that has no layout of its own."""
    numeric = [bool(pd.api.types.is_numeric_dtype(table[column])) for column in table.columns]
    n_names = next((i for i, is_numeric in enumerate(numeric) if is_numeric), len(numeric))
    columns = [_HEADINGS.get(str(c), str(c).replace("_", " ").capitalize()) for c in table.columns]
    rows = [
        [_cell(str(column), value) for column, value in row.items()]
        for row in table.head(_MOST_ROWS).to_dict("records")
    ]
    caption = f"comparisons/{name}.csv"
    if len(table) > _MOST_ROWS:
        caption += f" (its first {_MOST_ROWS} of {count(len(table))} rows)"
    return leave_out_empty(caption, columns, rows, n_names)


def _cell(column: str, value: Any) -> str:
    """Format a cell according to the name of its column."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value or "–"
    if column in ("p", "p_corrected"):
        return probability(value)
    if is_number(value) and float(value).is_integer():
        return count(value).replace("-", "−")
    digits = 2 if is_number(value) and abs(float(value)) >= 0.1 else 4
    return decimal(value, digits)
