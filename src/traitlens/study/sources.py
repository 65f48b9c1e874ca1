"""Tables of an import: reading files and sheets of workbooks, and guessing a layout that they share."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from traitlens.columns import GROUP, RATER
from traitlens.problems import Problem, StudyError
from traitlens.study.accounts import LeftOut
from traitlens.study.dividing import divide_columns
from traitlens.study.formats import apply_labels, read_sheets
from traitlens.study.guessing import guess_mapping
from traitlens.study.identifiers import normal_text
from traitlens.study.layouts import WORDS, data_rows, share_of_numbers
from traitlens.study.matching import ImageNames
from traitlens.study.settings import RatingsSettings
from traitlens.study.text_files import Sheet
from traitlens.study.vocabulary import GROUP_WORDS, PLAIN_WORDS, is_trait_name, name_words


@dataclass(frozen=True, eq=False)
class Source:
    """A table of an import: a file, or a sheet of a workbook.

    Parameters
    ----------
    file : str
        Name of the file.
    sheet : Sheet
        The table.
    several_sheets : bool
        Whether more than one sheet of the file is read.
    """

    file: str
    sheet: Sheet
    several_sheets: bool = False

    @property
    def label(self) -> str:
        """Name of the sheet if several sheets are read, else of the file without its suffix."""
        return normal_text(self.sheet.name if self.several_sheets else Path(self.file).stem)

    @property
    def place(self) -> str:
        """Location of the table, for messages."""
        return f"{self.file}, sheet {self.sheet.name!r}" if self.several_sheets else self.file

    def words(self, columns: Sequence[str]) -> pd.DataFrame:
        """Return the cells, with value labels instead of codes in the given columns."""
        return apply_labels(self.sheet.cells, self.sheet.labels, columns)


def read_sources(
    paths: Sequence[Path],
    sheets: Sequence[str] = (),
    encoding: str | None = None,
    first_line: int | None = None,
) -> tuple[list[Source], list[LeftOut]]:
    """Read the tables of all files.

    Parameters
    ----------
    paths : sequence of Path
        The files.
    sheets : sequence of str
        Names of the sheets to read; all visible sheets if empty.
    encoding, first_line : optional
        See :func:`~traitlens.study.formats.read_sheets`.

    Returns
    -------
    sources : list of Source
        The tables.
    left_out : list of LeftOut
        The sheets that are not read.

    Raises
    ------
    StudyError
        If a file cannot be read, or contains none of the named sheets.
    """
    sources, left_out, problems = [], [], []
    for path in paths:
        found = read_sheets(path, encoding, first_line)
        if any(sheet.name for sheet in found) and sheets:
            chosen = [sheet for sheet in found if sheet.name in sheets]
            why = "was not chosen"
            if not chosen:
                message = ", ".join(repr(sheet.name) for sheet in found)
                what = f"has no sheet {' or '.join(map(repr, sheets))}"
                problems.append(Problem(what, f"found: {message}", path.name))
        else:
            chosen = [sheet for sheet in found if sheet.visible] or found
            why = "is hidden"
        left_out += [
            LeftOut("sheet", sheet.name, why, file=path.name) for sheet in found if sheet not in chosen
        ]
        sources += [Source(path.name, sheet, len(chosen) > 1) for sheet in chosen]
    if problems:
        raise StudyError(problems)
    return sources, left_out


def call_by_titles(source: Source, names: ImageNames) -> Source:
    """Rename rating columns to their titles if the titles, but not the names, contain the images.

    Titles are the texts of questions, which Qualtrics writes below the header, or the labels of SPSS columns.

    Parameters
    ----------
    source : Source
        The table.
    names : ImageNames
        The images.
    """
    cells = source.sheet.cells
    rows = data_rows(cells)
    above = cells.loc[~cells.index.isin(rows.index)]
    titles = source.sheet.titles or (above.iloc[0].to_dict() if len(above) else {})
    rated = [name for name in rows if share_of_numbers(rows[name]) > 0]
    if not titles or any(len(names.find(name)) == 1 for name in rated) or divide_columns(rows[rated], names):
        return source
    written = {name: normal_text(titles.get(name, "")) for name in rated}
    titled = rows[rated].set_axis(list(written.values()), axis=1)
    titled = titled.loc[:, ~titled.columns.duplicated(keep=False) & (titled.columns != "")]
    found = [title for title in titled if len(names.find(title)) == 1]
    divided = divide_columns(titled, names)
    found = found if len(found) > 1 else divided[1] if divided else []
    renamed = {name: title for name, title in written.items() if title in found and title not in cells}
    if not renamed:
        return source
    example = next(iter(renamed.items()))
    note = f"{len(renamed)} columns are called by their titles: {example[0]!r} is {example[1]!r}"
    labels = {renamed.get(name, name): codes for name, codes in source.sheet.labels.items()}
    sheet = replace(
        source.sheet,
        cells=cells.rename(columns=renamed),
        labels=labels,
        notes=(*source.sheet.notes, note),
    )
    return replace(source, sheet=sheet)


def guess_sources(
    sources: Sequence[Source],
    images: Sequence[str],
    keep: Sequence[str],
    raters: Sequence[str],
    chosen: dict[str, object],
) -> tuple[list[Source], list[LeftOut], RatingsSettings]:
    """Guess one column mapping for all tables, and leave out sheets without ratings.

    Parameters
    ----------
    sources : sequence of Source
        The tables.
    images : sequence of str
        The images' paths.
    keep : sequence of str
        Further columns to keep.
    raters : sequence of str
        Names of raters that are already known.
    chosen : dict
        Settings of the mapping chosen by the user.

    Returns
    -------
    sources : list of Source
        The tables with ratings, with columns renamed as in the first table.
    left_out : list of LeftOut
        The sheets that are left out.
    mapping : RatingsSettings
        Mapping of columns.

    Raises
    ------
    StudyError
        If a file contains no ratings, or tables have different layouts.
    """
    guesses: list[tuple[Source, RatingsSettings]] = []
    left_out: list[LeftOut] = []
    problems: list[Problem] = []
    for source in sources:
        try:
            cells, labels = source.sheet.cells, source.sheet.labels
            guess = guess_mapping(cells, images, source.place, keep, labels, raters, **chosen)
            if guess.layout == "long" and guess.rating is None and "rating" not in cells:
                raise _no_ratings(cells, source.place)
            guesses.append((source, guess))
        except StudyError as error:
            if source.several_sheets:
                left_out.append(LeftOut("sheet", source.sheet.name, "contains no ratings", file=source.file))
            problems += [] if source.several_sheets else error.problems
    if not guesses and not problems:
        source = sources[0]
        guess_mapping(source.sheet.cells, images, source.place, keep, source.sheet.labels, raters, **chosen)
    if problems or not guesses:
        raise StudyError(problems or Problem("contains no ratings", "check the table", sources[0].file))
    first, reference = guesses[0]
    for source, guess in guesses[1:]:
        if (
            source.several_sheets
            and source.file == first.file
            and _describe_layout(guess) != _describe_layout(reference)
        ):
            why = f"has another layout than sheet {first.sheet.name!r}: {_describe_layout(guess)}"
            left_out.append(LeftOut("sheet", source.sheet.name, why, file=source.file))
    other = {entry.name for entry in left_out if entry.file == first.file}
    guesses = [one for one in guesses if one[0].file != first.file or one[0].sheet.name not in other]
    guesses = [guesses[0], *(_rename_columns(*one, *guesses[0]) for one in guesses[1:])]
    kept = [source for source, _ in guesses]
    return kept, left_out, _combine_mappings(guesses, ImageNames(images))


def _no_ratings(cells: pd.DataFrame, place: str) -> StudyError:
    """Return the error for a table in which no column of ratings was found."""
    columns = list(map(str, cells.columns))
    if len(columns) == 1:
        what = f"has one column only, {columns[0][:60]!r}"
        return StudyError(Problem(what, "separate the cells by commas, semicolons or tabs", place))
    example = next((cell for name in columns[::-1] for cell in cells[name] if cell), "")
    advice = (
        f"name it (--rating, or --traits for each trait); its cells must be numbers, unlike {example!r}; "
    )
    advice += f"columns: {', '.join(columns[:12])}"
    return StudyError(Problem("the column of the ratings was not found", advice, place))


def _rename_columns(
    source: Source, guess: RatingsSettings, first: Source, mapping: RatingsSettings
) -> tuple[Source, RatingsSettings]:
    """Rename the columns of a table, and in its mapping, as they are called in the first table."""
    renamed = {}
    for word in WORDS:
        wanted, found = getattr(mapping, word), getattr(guess, word)
        if (wanted is None) != (found is None) and word in (RATER, GROUP):
            without, having = (source, first) if found is None else (first, source)
            what = f"has no column of {word}s, but {having.place} has one (column {wanted or found!r})"
            raise StudyError(Problem(what, "add the column, or import the tables one by one", without.place))
        if wanted is not None and found is not None and wanted != found and wanted not in source.sheet.cells:
            renamed[found] = wanted
    if not renamed:
        return source, guess
    sheet = replace(
        source.sheet,
        cells=source.sheet.cells.rename(columns=renamed),
        labels={renamed.get(name, name): codes for name, codes in source.sheet.labels.items()},
        notes=(*source.sheet.notes, *(f"column {old!r} is called {new!r}" for old, new in renamed.items())),
    )
    words = {word: renamed[found] for word in WORDS if (found := getattr(guess, word)) in renamed}
    return replace(source, sheet=sheet), guess.model_copy(update=words)


def _combine_mappings(
    guesses: Sequence[tuple[Source, RatingsSettings]], names: ImageNames
) -> RatingsSettings:
    """Combine the mappings guessed for several tables into one; raise an error if their layouts differ."""
    first, mapping = guesses[0]
    if len(guesses) == 1:
        return mapping
    for source, other in guesses[1:]:
        alike = (other.layout, other.columns if other.layout == "wide" else "", other.pattern is None)
        if alike != (
            mapping.layout,
            mapping.columns if mapping.layout == "wide" else "",
            mapping.pattern is None,
        ):
            layouts = f"{_describe_layout(other)}, not {_describe_layout(mapping)}"
            what = f"has another layout than {first.place}: {layouts}"
            raise StudyError(Problem(what, "use --columns, or import the tables one by one", source.place))
    spread = tuple(dict.fromkeys(name for _, guess in guesses for name in guess.spread))
    changes: dict[str, object] = {"spread": spread, "by_number": any(guess.by_number for _, guess in guesses)}
    if len({guess.pattern for _, guess in guesses}) > 1:
        columns = {name: source.sheet.cells[name] for source, guess in guesses for name in guess.spread}
        divided = divide_columns(pd.DataFrame(columns).fillna(""), names, bool(changes["by_number"]))
        changes["pattern"] = divided[0] if divided else mapping.pattern
    if len({guess.group_pattern for _, guess in guesses}) > 1:
        changes["group_pattern"] = None
    return mapping.model_copy(update=changes)


def _describe_layout(mapping: RatingsSettings) -> str:
    """Describe the layout of a mapping in words."""
    return "a row for each judgement" if mapping.layout == "long" else f"columns of {mapping.columns}"


def guess_files_are(sources: Sequence[Source], mapping: RatingsSettings) -> tuple[str | None, bool]:
    """Guess whether each of several tables contains a trait, a group, a rater, or a part of the rows.

    Returns
    -------
    files_are : str or None
        "traits", "groups", "raters" or "parts"; None for a single table.
    sure : bool
        Whether the names and columns of the tables are unambiguous.
    """
    if len(sources) < 2:
        return None, True
    columns = {word: getattr(mapping, word) or word for word in WORDS}
    there = {word: all(columns[word] in source.sheet.cells for source in sources) for word in WORDS}
    tells_trait = bool(
        there["trait"]
        or mapping.trait_name
        or mapping.pattern
        or (mapping.layout == "wide" and mapping.columns == "traits")
    )
    tells_rater = there["rater"] or (mapping.layout == "wide" and mapping.columns == "raters")
    labels = [source.label for source in sources]
    of_groups = all(GROUP_WORDS & set(name_words(label)) for label in labels)
    of_traits = all(is_trait_name(label) for label in labels)
    if of_groups and not there["group"] and not mapping.group_pattern:
        return "groups", not of_traits or tells_trait
    numbered = [re.sub(r"\d+", "#", label) for label in labels]
    alike = len(set(numbered)) == 1 and "#" in numbered[0]
    if mapping.columns == "images" and mapping.layout == "wide" and not there["rater"]:
        parts = tells_trait or alike
        return ("parts", True) if parts else ("traits", of_traits)
    if not tells_rater and alike:
        return "raters", True
    if there["rater"]:
        people = [set(source.sheet.cells[columns["rater"]]) - {""} for source in sources]
        if all(len(one) == 1 for one in people) and len(set.union(*people)) > 1:
            return "parts", True
    if tells_trait:
        plain = all(PLAIN_WORDS & set(name_words(label)) or alike for label in labels)
        return "parts", tells_rater and (there["group"] or plain)
    if alike:
        return "parts", True
    # Names that belong neither to groups nor to traits may be names of raters.
    return "traits", of_traits and not any(_is_copy(label) for label in labels)


def _is_copy(label: str) -> bool:
    """Return whether a name suggests that the table is a copy, or an old or new version, of another one."""
    return bool({"copy", "kopie", "copie", "copia", "old", "new", "backup", "final"} & set(name_words(label)))


def find_alike(sources: Sequence[Source]) -> list[str]:
    """Return the file and sheet names of the first two tables with equal cells; an empty list if none are."""
    seen: dict[int, Source] = {}
    for source in sources:
        content = hash(tuple(pd.util.hash_pandas_object(source.sheet.cells, index=False)))
        other = seen.setdefault(content, source)
        if other is not source and other.sheet.cells.equals(source.sheet.cells):
            return [other.place, source.place]
    return []
