"""Combine the imported tables into one with a row for each rating, and record which ratings are left out."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from traitlens.columns import GROUP, IMAGE, RATER, RATING, REPEAT, TRAIT
from traitlens.problems import Problem, StudyError
from traitlens.study.accounts import ImportAccount, LeftOut, ReadTable
from traitlens.study.guessing import filter_rows, reasons_against
from traitlens.study.identifiers import find_spellings, normal_identifiers
from traitlens.study.layouts import COLUMN, WORDS, data_rows, is_missing, spread_columns, to_long
from traitlens.study.matching import ImageNames, count_ways, find_shared, match_images
from traitlens.study.outliers import find_far_values, find_value_apart, is_code
from traitlens.study.settings import RatingsSettings
from traitlens.study.sources import Source
from traitlens.study.summaries import find_summaries
from traitlens.study.tables import MOST_LINES, THOUSANDS, as_text, cell_problems, more_rows, numbers
from traitlens.study.vocabulary import NO_ANSWER, is_trait_name

SOURCE = "source of the rating"
"""Name of the column with the number of the table that each rating comes from."""


@dataclass(frozen=True)
class Decision:
    """A decision that affects the results and that the user must confirm.

    Parameters
    ----------
    what : str
        The decision, or the reason for a doubt.
    option : str
        Advice on how to decide otherwise.
    yes_means : str
        Consequence of answering yes to a doubt, which is asked as a separate question; "" for decisions that
        are confirmed together.
    code : float or None
        The value that is treated as a missing rating if the answer is yes.
    """

    what: str
    option: str
    yes_means: str = ""
    code: float | None = None


@dataclass
class Notes:
    """What an import has read, left out, changed and decided so far, and the problems it has found.

    Parameters
    ----------
    left_out, changed, decided, notices, read, empty, left_out_cells, empty_as, matched, pairs
        See :class:`~traitlens.study.accounts.ImportAccount`.
    decisions : list of Decision
        Decisions that the user must confirm.
    problems : list of Problem
        Errors in the tables.
    unread : list of str
        Images in formats that traitlens does not read.
    """

    left_out: list[LeftOut] = field(default_factory=list)
    changed: list[tuple[str, str, str]] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    decided: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    read: int = 0
    empty: int = 0
    left_out_cells: int = 0
    empty_as: dict[str, int] = field(default_factory=dict)
    matched: dict[str, int] = field(default_factory=dict)
    pairs: dict[str, str] = field(default_factory=dict)


def gather(
    sources: Sequence[Source],
    mapping: RatingsSettings,
    images: Sequence[str],
    scale: tuple[float, float] | None,
    notes: Notes,
) -> pd.DataFrame:
    """Combine all tables into one with a row for each rating.

    Parameters
    ----------
    sources : sequence of Source
        The tables.
    mapping : RatingsSettings
        Mapping of columns.
    images : sequence of str
        The images' paths.
    scale : (float, float), optional
        Lowest and highest possible rating.
    notes : Notes
        Record to which problems and items that are left out are added.

    Returns
    -------
    DataFrame
        rater, group, image, trait, rating and repeat as far as they are known, and the columns that are
        kept. :data:`SOURCE`, the index and `COLUMN` identify the table, row and column of each rating.
    """
    trait = Path(sources[0].file).stem if len({source.file for source in sources}) == 1 else RATING
    parts = [_reshape_table(number, source, mapping, trait, notes) for number, source in enumerate(sources)]
    _rename_shared_raters(parts, sources, mapping, notes)
    table = pd.concat(parts)
    for word in (RATER, GROUP, TRAIT):
        if word in table:
            table[word], changed = normal_identifiers(table[word])
            notes.changed += [(word, old, new) for old, new in changed.items()]
    table = _parse_ratings(table, sources, mapping, notes)
    if table.empty:
        raise StudyError(
            notes.problems or Problem("contains no ratings", "check the columns", sources[0].place)
        )
    table = _match_image_names(table, sources, mapping, images, notes)
    table = _leave_out_summaries(table, sources, notes)
    if scale is not None:
        off = table[(table[RATING] < scale[0]) | (table[RATING] > scale[1])]
        what = f"{{:g}} is off the scale {scale[0]:g} to {scale[1]:g}"
        notes.problems += _list_cell_problems(
            off[RATING], off, sources, what, "correct it, or use --missing CODE"
        )
    else:
        _ask_for_codes(table, notes)
    if mapping.number_repeats and REPEAT not in table:
        keys = [word for word in (RATER, GROUP, IMAGE, TRAIT) if word in table]
        table = table.assign(**{REPEAT: table.groupby(keys, sort=False, dropna=False).cumcount() + 1})
        again = int((table[REPEAT] > 1).sum())
        notes.decided.append(f"{again} ratings are further judgements of the same image (--number-repeats)")
    _check_duplicates(table, sources, notes)
    return table


def _reshape_table(
    number: int, source: Source, mapping: RatingsSettings, trait: str, notes: Notes
) -> pd.DataFrame:
    """Reshape one table to one row per rating, and record the columns and rows that are not used."""
    columns = [getattr(mapping, word) for word in WORDS if word != RATING]
    named = [name for name in [*columns, *mapping.keep, *mapping.only, *WORDS] if name and name != RATING]
    if mapping.layout == "wide":
        named = [name for name in named if name not in mapping.spread]
    cells = source.words(named)
    part = to_long(cells, mapping, source.place)
    rows = data_rows(cells)
    if len(rows) < len(cells):
        what = f"{len(cells) - len(rows)} rows below the header hold questions, codes or labels"
        notes.left_out.append(LeftOut("rows", str(len(cells) - len(rows)), what, file=source.place))
    for column, values in mapping.only.items():
        rest = rows[~rows[column].isin(values)]
        if len(rest):
            why = f"{column} is not {' or '.join(values)}"
            notes.left_out.append(LeftOut("rows", str(len(rest)), why, file=source.place))
    rows = filter_rows(rows, mapping.only, source.place)
    _note_unused_columns(rows, source, mapping, notes)
    label = source.label
    if mapping.files_are == "groups":
        part[GROUP] = label
    elif mapping.files_are == "raters":
        part[RATER] = label
    elif mapping.files_are == "traits" and TRAIT not in part:
        part[TRAIT] = label
    if TRAIT not in part:
        part[TRAIT] = trait
        what = f"no column names the trait: it is called {trait!r}, after the file"
        decision = Decision(what, "use --trait NAME")
        if trait != RATING and not is_trait_name(trait) and decision not in notes.decisions:
            notes.decisions.append(decision)
    part[SOURCE] = number
    return part


def _note_unused_columns(rows: pd.DataFrame, source: Source, mapping: RatingsSettings, notes: Notes) -> None:
    """Record the columns that are not read as ratings, with the reason for each."""
    spread = spread_columns(list(map(str, rows.columns)), mapping.spread) if mapping.layout == "wide" else []
    used = {getattr(mapping, word) or word for word in WORDS} | {*mapping.keep, *mapping.only, *spread}
    rest = [name for name in map(str, rows.columns) if name not in used]
    rater = mapping.rater if mapping.rater in rows else None
    reasons = reasons_against(rows, rest, rater)
    for name in rest:
        filled = rows[name][rows[name] != ""]
        if filled.empty:
            continue
        number = int(numbers(filled)[0].notna().sum())
        why = f"was not read as ratings: {reasons.get(name, 'is not a column of the mapping')}"
        notes.left_out.append(LeftOut("column", name, why, number, source.place))


def _rename_shared_raters(
    parts: list[pd.DataFrame], sources: Sequence[Source], mapping: RatingsSettings, notes: Notes
) -> None:
    """Prefix raters' names with the name of their table if equal names in two tables are different people."""
    if len(parts) < 2 or any(RATER not in part for part in parts):
        return
    invented = mapping.rater is None and all(
        part[RATER].astype(str).str.fullmatch(r"row \d+").all() for part in parts
    )
    people = [set(part[RATER].unique()) for part in parts]
    shared = sorted(set.union(*people)) if people else []
    shared = [name for name in shared if sum(name in one for one in people) > 1]
    if not shared or not (invented or mapping.files_are == "groups"):
        return
    for part, source in zip(parts, sources, strict=True):
        part[RATER] = [f"{source.label} {name}" for name in part[RATER]]
    if invented:
        what = "no column names the raters: each row is assumed to be one rater"
    else:
        what = f"raters of the same name in several groups are different people: {', '.join(shared[:8])}"
    notes.decisions.append(Decision(what, "give raters different names"))


def _parse_ratings(
    table: pd.DataFrame, sources: Sequence[Source], mapping: RatingsSettings, notes: Notes
) -> pd.DataFrame:
    """Convert ratings to numbers, and leave out empty cells and codes for missing ratings."""
    values, unreadable = numbers(table[RATING])
    written = table[RATING].map(as_text)
    coded = is_missing(table[RATING], mapping.missing)
    labelled = _find_missing_labels(table, sources)
    no_answer = labelled.notna() & ~coded
    leave_out_cells(table, coded, "means no rating (--missing)", sources, notes)
    leave_out_cells(table, no_answer, "has a label that means no rating", sources, notes)
    if no_answer.any():
        message = ", ".join(sorted(set(labelled[no_answer])))
        what = f"{int(no_answer.sum())} ratings are left out by their labels: {message}"
        notes.decisions.append(Decision(what, "use --missing CODE"))
    left = coded | no_answer
    empty = values.isna() & unreadable.isna() & ~left
    wrong = unreadable.notna() & ~left
    advice = "correct it, leave it empty, or name it with --missing if it means no rating"
    if unreadable[wrong].astype(str).str.fullmatch(THOUSANDS).any():
        advice = "write thousands without a comma, and decimals with a point"
    notes.problems += _list_cell_problems(
        unreadable[wrong], table[wrong], sources, "{!r} is not a number", advice
    )
    notes.read, notes.empty = len(table), int(empty.sum())
    notes.empty_as = {str(cell): int(number) for cell, number in written[empty].value_counts().items()}
    return table.assign(**{RATING: values})[(values.notna() & ~left).to_numpy()]


def leave_out_cells(
    table: pd.DataFrame, mask: pd.Series, why: str, sources: Sequence[Source], notes: Notes
) -> None:
    """Record that the ratings selected by a mask are left out, with the reason."""
    rows = table[mask.to_numpy()]
    notes.left_out_cells += len(rows)
    notes.left_out += [
        LeftOut("cell", as_text(cell), why, 1, sources[source].place, int(index) + 2, str(column))
        for cell, source, index, column in zip(
            rows[RATING], rows[SOURCE], rows.index, rows[COLUMN], strict=True
        )
    ]


def _find_missing_labels(table: pd.DataFrame, sources: Sequence[Source]) -> pd.Series:
    """Return each rating's value label if the label means that there was no answer, else NA."""
    found = pd.Series(pd.NA, index=range(len(table)), dtype=object)
    for number, source in enumerate(sources):
        for column, codes in source.sheet.labels.items():
            words = {code: label for code, label in codes.items() if NO_ANSWER.search(label)}
            if words:
                here = ((table[SOURCE] == number) & (table[COLUMN] == column)).to_numpy()
                found[here] = table[RATING][here].map(words).to_numpy()
    return found.set_axis(table.index)


def _list_cell_problems(
    cells: pd.Series, rows: pd.DataFrame, sources: Sequence[Source], what: str, advice: str
) -> list[Problem]:
    """Return a problem for each invalid cell, located in the original tables."""
    problems = []
    for number, source in enumerate(sources):
        here = (rows[SOURCE] == number).to_numpy()
        problems += cell_problems(cells[here], what, advice, source.place, rows[COLUMN][here])
    return problems


def _match_image_names(
    table: pd.DataFrame,
    sources: Sequence[Source],
    mapping: RatingsSettings,
    images: Sequence[str],
    notes: Notes,
) -> pd.DataFrame:
    """Replace image names by the paths of their files, and record how they were matched."""
    written = [str(name) for name in table[IMAGE].unique()]
    known = ImageNames(images)
    by_number = mapping.by_number and known.numbers_agree(written)
    notes.matched, notes.pairs = count_ways(written, known, by_number)
    shared = find_shared(written, known, by_number)
    for image, several in list(shared.items())[:1]:
        what = f"names in several folders mean one image: {' and '.join(several)} are {image}"
        more = f" and {len(shared) - 1} more" if len(shared) > 1 else ""
        option = "keep the images in folders with these names, or use the same folder names in the table"
        notes.decisions.append(Decision(what + more, option, "this is assumed"))
    parts = []
    if mapping.absent_images == "leave out":
        known_names = {name for name in written if known.find(name, by_number)}
        absent = ~table[IMAGE].astype(str).isin(known_names)
        for name, rows in table[absent.to_numpy()].groupby(IMAGE, sort=False):
            notes.left_out.append(LeftOut("image", str(name), "is not in the folder", len(rows)))
        notes.left_out_cells += int(absent.sum())
        table = table[~absent.to_numpy()]
    for number, source in enumerate(sources):
        part, problems = match_images(table[table[SOURCE] == number], images, source.place, by_number)
        notes.problems += [_advise_on_format(problem, notes.unread) for problem in problems]
        parts.append(part)
    return pd.concat(parts)


def _advise_on_format(problem: Problem, unread: Sequence[str]) -> Problem:
    """Return the problem of a missing image, with other advice if it exists in a format that is not read."""
    match = re.match(r"there is no image '(.+?)'", problem.what)
    stem = Path(match.group(1).replace("\\", "/")).stem.casefold() if match else ""
    for name in unread:
        if stem and Path(name).stem.casefold() == stem:
            return replace(problem, advice=f"{name} is not read in this format; save it as PNG or JPEG")
    return problem


_MOST_CELLS = 2 * 10**7
"""Maximum size (raters times judged items) of a table that is searched for summaries of raters."""


def _leave_out_summaries(table: pd.DataFrame, sources: Sequence[Source], notes: Notes) -> pd.DataFrame:
    """Leave out "raters" that are the mean or another summary of the raters."""
    keys = [word for word in (GROUP, IMAGE, TRAIT, REPEAT) if word in table and word != GROUP]
    if RATER not in table or table[RATER].nunique() * len(table.drop_duplicates(keys)) > _MOST_CELLS:
        return table
    once = table.drop_duplicates([RATER, *keys])
    found = find_summaries(once.pivot_table(index=keys, columns=RATER, values=RATING))
    for name, what in found.items():
        rows = table[(table[RATER] == name).to_numpy()]
        source, row = sources[rows[SOURCE].iloc[0]], int(rows.index[0]) + 2
        why = f"is the {what} of the others" if what else "has the name of a summary of raters"
        notes.left_out.append(LeftOut("rater", name, why, len(rows), source.place, row))
        notes.left_out_cells += len(rows)
        option = "remove or rename it"
        notes.decisions.append(
            Decision(f"{name!r} {why} and is left out", option, "" if what else "it is left out")
        )
    return table[~table[RATER].isin(found).to_numpy()]


def _ask_for_codes(table: pd.DataFrame, notes: Notes) -> None:
    """Ask whether values that look like codes are missing ratings, and add a notice of other outliers."""
    by_trait = dict(list(table.groupby(TRAIT, sort=False)[RATING]))
    far = {trait: find_far_values(ratings) for trait, ratings in by_trait.items()}
    codes = sorted({value for values in far.values() for value in values if is_code(value)})
    for code in codes:
        traits = [trait for trait, values in far.items() if code in values]
        rest = pd.concat([by_trait[trait][~by_trait[trait].isin(far[trait])] for trait in traits])
        number = sum(far[trait][code] for trait in traits)
        elsewhere = [trait for trait in far if trait not in traits and (by_trait[trait] == code).any()]
        of = "" if len(far) == 1 else f" of {', '.join(map(str, traits[:4]))}"
        what = f"{code:g} ({number} of the ratings{of}) looks like a code for a missing rating; others are "
        what += f"{rest.min():g} to {rest.max():g}"
        if elsewhere:
            option = f"empty these cells in the table: {code:g} is also a rating of {elsewhere[0]}"
            notes.decisions.append(Decision(what, option, "it is kept as a rating"))
        else:
            option = f"use --missing {code:g}, or --scale LOWEST HIGHEST if it is a rating"
            notes.decisions.append(Decision(what, option, "it is treated as missing", code=code))
    for trait, ratings in by_trait.items():
        last = find_value_apart(ratings)
        if last is not None and last not in far[trait]:
            of = "" if len(far) == 1 else f" of {trait}"
            number, below = int((ratings == last).sum()), ratings[ratings < last].max()
            what = (
                f"{last:g} ({number} of the ratings{of}) may mean no rating: all others are up to {below:g}"
            )
            notes.notices.append(f"{what}; use --missing {last:g} if so")
    for trait, values in far.items():
        slips = {value: number for value, number in values.items() if not is_code(value)}
        if slips:
            rest = by_trait[trait][~by_trait[trait].isin(values)]
            message = ", ".join(f"{value:g} ({number})" for value, number in list(slips.items())[:8])
            more = f" and {len(slips) - 8} more" if len(slips) > 8 else ""
            of = "" if len(far) == 1 else f" of {trait}"
            span = f"{rest.min():g} to {rest.max():g}"
            notes.notices.append(f"ratings{of} far from all other ratings, {span}: {message}{more}")


def _check_duplicates(table: pd.DataFrame, sources: Sequence[Source], notes: Notes) -> None:
    """Report duplicate judgements, one problem for each pair of rows."""
    keys = [word for word in (RATER, GROUP, IMAGE, TRAIT, REPEAT) if word in table]
    unnamed = (table[[key for key in keys if key != GROUP]].astype(str) == "").any(axis=1)
    again = table.duplicated(keys, keep=False) & ~unnamed
    if not again.any():
        return
    rows = table[again].assign(row=table.index[again] + 2)
    pairs: dict[tuple[str, int, str, int], tuple[str, int]] = {}
    for _, same in rows.groupby(keys, sort=False, dropna=False):
        first = same.iloc[0]
        for _, later in same.iloc[1:].iterrows():
            key = (
                sources[later[SOURCE]].place,
                int(later["row"]),
                sources[first[SOURCE]].place,
                int(first["row"]),
            )
            pairs.setdefault(key, (str(later[IMAGE]), 0))
            pairs[key] = (pairs[key][0], pairs[key][1] + 1)
    advice = "remove one, name the column that numbers judgements 'repeat', or use --number-repeats"
    if RATER not in table:
        advice = "name the column of the raters (--rater)"
    for (place, row, before, row_before), (image, count) in list(pairs.items())[:MOST_LINES]:
        where = f"row {row_before}" if before == place else f"{before}, row {row_before}"
        named = " and ".join(key for key in keys if key != REPEAT)
        rest = f" ({count} ratings, first of {image})" if count > 1 else f" ({image})"
        if (place, row) == (before, row_before):
            what = f"two columns rate the same {named}{rest}"
        else:
            what = f"has the same {named} as {where}{rest}"
        notes.problems.append(Problem(what, advice, place, row))
    if len(pairs) > MOST_LINES:
        notes.problems.append(Problem(more_rows(len(pairs) - MOST_LINES), advice))


def add_groups(
    table: pd.DataFrame,
    groups: Mapping[str, str] | None,
    file: str,
    sources: Sequence[Source],
    notes: Notes,
) -> pd.DataFrame:
    """Add each rater's group from a separate table of raters, and leave out raters without a group.

    Parameters
    ----------
    table : DataFrame
        The ratings.
    groups : mapping, optional
        Group of each rater; None if the ratings themselves contain the groups.
    file : str
        File name of the table of raters, for messages.
    sources : sequence of Source
        The tables of ratings.
    notes : Notes
        Record to which problems and the raters that are left out are added.

    Returns
    -------
    DataFrame
        The remaining ratings with their groups.
    """
    if groups is not None:
        if RATER not in table:
            raise StudyError(Problem("the ratings name no raters", "say --rater COLUMN", sources[0].place))
        unknown = sorted(set(table[RATER].unique()) - set(groups))
        if unknown:
            raise StudyError(
                [Problem(f"rater {name!r} is missing", "add the rater", file) for name in unknown[:20]]
            )
        table = table.assign(**{GROUP: table[RATER].map(groups)})
    if GROUP not in table or RATER not in table or not (without := table[GROUP] == "").any() or without.all():
        return table
    people = table[without.to_numpy()].groupby(RATER, sort=False)
    partly = set(table[RATER][~without.to_numpy()])
    for name, rows in people:
        source, row = sources[rows[SOURCE].iloc[0]], int(rows.index[0]) + 2
        if name in partly:
            what = f"rater {name!r} has no group here, but has one in other rows"
            notes.problems.append(Problem(what, "fill it in", source.place, row, GROUP))
        notes.left_out.append(LeftOut("rater", str(name), "has no group", len(rows), source.place, row))
    named = ", ".join(map(str, people.groups))
    what = f"{people.ngroups} raters without a group are left out: {named}"
    notes.decisions.append(Decision(what, "fill in their group, or give it by --raters"))
    notes.left_out_cells += int(without.sum())
    return table[~without.to_numpy()]


def check_identifiers(table: pd.DataFrame, sources: Sequence[Source], notes: Notes) -> None:
    """Report empty identifiers, raters who are in two groups, and groups and traits with two spellings.

    Parameters
    ----------
    table : DataFrame
        The ratings.
    sources : sequence of Source
        The tables.
    notes : Notes
        Record to which problems are added, and a notice of raters whose names differ only in spelling.
    """
    for word in (RATER, GROUP, TRAIT):
        if word not in table:
            continue
        empty = table[(table[word] == "").to_numpy()]
        rows = list(dict.fromkeys(zip(empty[SOURCE], empty.index, strict=True)))
        notes.problems += [
            Problem(f"the {word} is empty", "fill it in", sources[source].place, int(row) + 2)
            for source, row in rows[:MOST_LINES]
        ]
        if len(rows) > MOST_LINES:
            notes.problems.append(Problem(more_rows(len(rows) - MOST_LINES)))
        for several in find_spellings(table[word].unique(), leading_zeros=True).values():
            message = " and ".join(map(repr, several))
            if word == RATER:
                notes.notices.append(f"{message} are different raters")
            else:
                what = f"{message} differ only in upper and lower case or leading zeros"
                notes.problems.append(Problem(what, f"use one spelling for each {word}", sources[0].file))
    if RATER in table and GROUP in table:
        first = table.drop_duplicates([RATER, GROUP])
        for rater, rows in first[first[RATER].duplicated(keep=False).to_numpy()].groupby(RATER):
            places = [f"{rows[GROUP].iloc[one]!r} in row {rows.index[one] + 2}" for one in range(len(rows))]
            what = f"rater {rater!r} belongs to two groups: {', '.join(places)}"
            source = sources[rows[SOURCE].iloc[1]]
            notes.problems.append(
                Problem(what, "give different raters different names", source.place, int(rows.index[1]) + 2)
            )


def make_account(
    table: pd.DataFrame,
    notes: Notes,
    sources: Sequence[Source],
    mapping: Mapping[str, object],
    images: Sequence[str],
    landmarks: int,
) -> ImportAccount:
    """Create the account of an import from the notes made during the import.

    Parameters
    ----------
    table : DataFrame
        The ratings that enter the study.
    notes : Notes
        The notes.
    sources : sequence of Source
        The tables.
    mapping : mapping
        Mapping of columns.
    images : sequence of str
        All images in the folder.
    landmarks : int
        Number of landmark files that were copied.
    """
    values = table[RATING].value_counts().sort_index()
    return ImportAccount(
        tables=tuple(
            ReadTable(one.file, one.sheet.name, len(one.sheet.cells), one.sheet.notes) for one in sources
        ),
        read=notes.read,
        used=len(table),
        empty=notes.empty,
        left_out_cells=notes.left_out_cells,
        empty_as=notes.empty_as,
        values={f"{value:g}": int(number) for value, number in values.items()} if len(values) <= 20 else {},
        lowest=float(table[RATING].min()),
        highest=float(table[RATING].max()),
        ranges={
            str(trait): (float(ratings.min()), float(ratings.max()))
            for trait, ratings in table.groupby(TRAIT, sort=False)[RATING]
        },
        matched=notes.matched,
        pairs=notes.pairs,
        unrated=tuple(sorted(set(images) - set(table[IMAGE]))),
        left_out=tuple(notes.left_out),
        changed=tuple(notes.changed),
        decided=tuple(notes.decided),
        notices=tuple(notes.notices),
        landmarks=landmarks,
        mapping=mapping,
    )
