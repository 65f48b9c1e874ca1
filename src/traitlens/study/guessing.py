"""Guess which columns of a table contain the rater, group, image, trait and rating."""

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import cast

import pandas as pd

from traitlens.problems import Problem, StudyError, nearest
from traitlens.study.dividing import divide_columns
from traitlens.study.expressions import extract
from traitlens.study.formats import apply_labels
from traitlens.study.layouts import data_rows, share_of_numbers, spread_columns
from traitlens.study.matching import EXACT, NUMBER, ImageNames
from traitlens.study.settings import RatingsSettings
from traitlens.study.summaries import find_summaries
from traitlens.study.tables import numbers
from traitlens.study.vocabulary import (
    ENDINGS,
    NO_RATING_ENDINGS,
    NO_RATINGS,
    RATER_ENDINGS,
    SPREADS,
    SUMMARIES,
    SYNONYMS,
    TRIAL_WORDS,
    drop_unit,
    fold_name,
)

_LEAST_RATED = 0.3
"""Minimum share of numbers among the filled cells of a rating column; other cells are reported as errors."""


def guess_mapping(
    cells: pd.DataFrame,
    files: Sequence[str],
    file: str = "the table",
    keep: Sequence[str] = (),
    labels: Mapping[str, Mapping[str, str]] | None = None,
    raters: Sequence[str] = (),
    **chosen: object,
) -> RatingsSettings:
    """Guess the layout of a table of ratings from its column names and cells.

    Parameters
    ----------
    cells : DataFrame of str
        The table, as returned by :func:`~traitlens.study.formats.read_cells`.
    files : sequence of str
        The images' paths below `images/`, by which columns with image names are recognised.
    file : str
        Name of the table's file, for messages.
    keep : sequence of str
        Further columns to keep.
    labels : mapping, optional
        Label of each code of each column (SPSS files).
    raters : sequence of str
        Names of raters that are already known.
    **chosen
        Settings chosen by the user, by the names of :class:`~traitlens.study.settings.RatingsSettings`;
        they are not guessed.

    Returns
    -------
    RatingsSettings
        The guessed layout, which the user should confirm.

    Raises
    ------
    StudyError
        If a chosen column is missing, or the table fits no layout.

    Examples
    --------
    >>> table = pd.DataFrame({"id": ["p1"], "sex": ["f"], "X001": ["3"], "X002": ["5"], "X003": ["1"]})
    >>> guess = guess_mapping(table, ["001.jpg", "002.jpg", "003.jpg"], group="sex")
    >>> guess.layout, guess.columns, guess.rater, guess.spread
    ('wide', 'images', 'id', ('X001', 'X002', 'X003'))
    """
    known = {name: value for name, value in chosen.items() if value}
    named = [known.get(word) for word in ("rater", "group", "image", "trait", "rating", "repeat")]
    columns = [*filter(None, named), *known.get("only", ()), *keep]  # type: ignore[misc]
    _check_chosen(cells, [str(column) for column in columns], file)
    cells = data_rows(cells)
    cells = filter_rows(cells, RatingsSettings.model_validate(known).only, file)
    cells = cells.loc[:, (cells != "").any()]
    names = ImageNames(files)
    words = apply_labels(cells, {k: dict(v) for k, v in (labels or {}).items()}, list(cells.columns))
    if known.get("spread"):
        guess = _guess_around_chosen(cells, words, names, known, file)
    else:
        guess = _guess_layout(cells, words, names, known, keep, raters, file, files)
    guess |= known
    guess["keep"] = tuple(dict.fromkeys((*cast(tuple[str, ...], guess.get("keep", ())), *keep)))
    if guess.get("group") is not None:
        guess.pop("group_pattern", None)
    return RatingsSettings.model_validate(guess)


def filter_rows(cells: pd.DataFrame, only: Mapping[str, Sequence[str]], file: str) -> pd.DataFrame:
    """Select the rows that have one of the given values in each of the given columns.

    Parameters
    ----------
    cells : DataFrame of str
        The table.
    only : mapping of str to sequence of str
        Accepted values of each column.
    file : str
        The table's file, for messages.

    Raises
    ------
    StudyError
        If no row is left.
    """
    for column, values in only.items():
        kept = cells[cells[column].isin(list(values))]
        if kept.empty:
            found = ", ".join(map(repr, list(cells[column].unique())[:8]))
            what = f"no row has {column} = {' or '.join(map(repr, values))}"
            raise StudyError(Problem(what, f"found: {found}", file, column=column))
        cells = kept
    return cells


def _guess_layout(
    cells: pd.DataFrame,
    words: pd.DataFrame,
    names: ImageNames,
    known: dict[str, object],
    keep: Sequence[str],
    raters: Sequence[str],
    file: str,
    files: Sequence[str],
) -> dict[str, object]:
    """Guess where image names are, in column names or cells; full names take precedence over numbers."""
    taken = {*map(str, known.values()), *keep}
    free = [name for name in map(str, cells.columns) if name not in taken]
    as_images = [name for name in free if len(names.find(name)) == 1 and _contains_numbers(cells[name])]
    image = cast("str | None", known.get("image")) or find_image_column(words, names)
    if image is not None and names.find_with_way(image)[1] == EXACT:
        what = f"the first line contains data ({image!r}), not the headings of columns"
        raise StudyError(Problem(what, "add a line with the names of the columns", file))
    in_cells = _count_images(words[image], names) if image is not None else 0
    divided = divide_columns(cells[free], names)
    chosen = known.get("columns")
    most = max(len(as_images), in_cells, len(divided[1]) if divided else 0, 1)
    if chosen in (None, "images") and "image" not in known:
        # Columns called 1, 2, 3 may be raters or images; they are raters if a column has full image names.
        counted = in_cells > 1 and all(re.fullmatch(r"X?\d+", name) for name in as_images)
        if len(as_images) >= max(2, most) and not counted:
            # Include image columns without numbers, so that their words are reported as errors.
            as_images = [name for name in free if name in as_images or len(names.find(name)) == 1]
            return _guess_image_columns(cells, _add_similar_columns(free, as_images, cells), known)
        if divided is not None and len(divided[1]) == most:
            pattern, columns = divided
            spread = [name for name in free if name in columns or _matches_pattern(pattern, name, cells)]
            return _guess_image_columns(cells, spread, known) | {"pattern": pattern, "trait": None}
    if image is not None and (in_cells or "image" in known or _looks_like_files(words[image])):
        return _guess_image_rows(cells, words, image, names, known, keep, raters)
    if chosen in (None, "images"):
        numbered = [name for name in free if names.find(name, True) and _contains_numbers(cells[name])]
        if len(numbered) >= 2 and names.numbers_agree(numbered):
            return _guess_image_columns(cells, numbered, known) | {"by_number": True}
        divided = divide_columns(cells[free], names, by_number=True)
        if divided is not None:
            guess = _guess_image_columns(cells, divided[1], known) | {"pattern": divided[0], "trait": None}
            return guess | {"by_number": True}
    if image is None:
        image = _find_numbered_image_column(words, names)
    if image is not None:
        return _guess_image_rows(cells, words, image, names, known, keep, raters) | {"by_number": True}
    raise StudyError(
        Problem(
            "neither the names nor the cells of the columns are names of images",
            f"columns: {', '.join(map(str, cells.columns[:8]))}; images: {', '.join(files[:3])}; "
            "if a column contains image names, name it (--image)",
            file,
        )
    )


def _add_similar_columns(free: Sequence[str], as_images: Sequence[str], cells: pd.DataFrame) -> list[str]:
    """Add numeric columns that are named like the image columns but match no image."""
    ends = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp", ".heic")

    def form(name: str) -> str:
        """Return a name with each number as "#"; without numbers its file extension, or nothing."""
        path = PurePosixPath(name.replace("\\", "/").lower())
        numbered = re.sub(r"\d+", "#", path.name)
        return numbered if "#" in numbered else path.suffix if path.suffix in ends else ""

    forms = {form(name) for name in as_images} - {""}
    return [
        name for name in free if name in as_images or (form(name) in forms and _contains_numbers(cells[name]))
    ]


def _matches_pattern(pattern: str, name: str, cells: pd.DataFrame) -> bool:
    """Return whether a column's name matches the pattern and the column is not empty."""
    found = extract(pattern, [name])[0]
    answered = bool((cells[name] != "").any())
    return found is not None and answered and not fold_name(name).endswith(NO_RATING_ENDINGS)


def find_image_column(cells: pd.DataFrame, names: ImageNames) -> str | None:
    """Find the column with the most cells that are, or look like, full names of images.

    Returns
    -------
    str or None
        Name of the column; None if no column has image names. Numbers do not count as image names.
    """
    best, most = None, 0.0
    for column in cells.columns:
        values = pd.Series(cells[column][cells[column] != ""].unique())
        if values.empty:
            continue
        sample = values if len(values) < 2000 else values.sample(2000, random_state=0)
        share = float(sample.map(lambda name: len(names.find(name)) == 1).mean())
        called = fold_name(column) in SYNONYMS["image"]
        if share_of_numbers(values) > 0.99 and not called:  # Numbers are rarely image names.
            share = 0.0
        like_files = _looks_like_files(values)
        weight = (share > 0) * (1 + share) + 0.5 * like_files + 0.25 * called
        if weight > max(most, 0.49):
            best, most = str(column), weight
    return best


def _looks_like_files(values: pd.Series) -> bool:
    """Return whether most cells contain the suffix of an image file."""
    filled = pd.Series(values[values != ""].unique())
    ends = r"(?i)\.(?:jpe?g|png|tiff?|webp|bmp|gif|heic)\b"
    return bool(len(filled)) and float(filled.str.contains(ends).mean()) > 0.5


def _find_numbered_image_column(cells: pd.DataFrame, names: ImageNames) -> str | None:
    """Find a column that is named "image" or similar and contains the numbers of the images."""
    for synonym in SYNONYMS["image"]:
        for column in cells.columns:
            values = [value for value in cells[column].unique() if value]
            if fold_name(column) == synonym and names.numbers_agree(values):
                found = sum(names.find_with_way(value, True)[1] == NUMBER for value in values)
                if found > len(values) / 2:
                    return str(column)
    return None


def _count_images(values: pd.Series, names: ImageNames) -> int:
    """Count the distinct values that match exactly one image."""
    return sum(len(names.find(value)) == 1 for value in values.unique())


def _guess_around_chosen(
    cells: pd.DataFrame, words: pd.DataFrame, names: ImageNames, known: dict[str, object], file: str
) -> dict[str, object]:
    """Guess the other columns of a table whose rating columns the user has chosen."""
    spread = spread_columns(list(map(str, cells.columns)), cast(Sequence[str], known["spread"]))
    missing = [name for name in cast(Sequence[str], known["spread"]) if not spread_columns(spread, [name])]
    _check_chosen(cells, missing, file)
    columns = known.get("columns") or "traits"
    others = [name for name in map(str, cells.columns) if name not in spread]
    if columns == "images":
        return _guess_image_columns(cells, spread, known)
    image = (
        known.get("image")
        or find_image_column(words[others], names)
        or _find_numbered_image_column(words, names)
    )
    if image is None:
        raise StudyError(Problem("the column of the images was not found", "say --image COLUMN", file))
    guess = {word: known.get(word) or _find_by_synonym(others, word) for word in ("rater", "group", "repeat")}
    if columns == "raters":
        guess["rater"] = None
    by_number = not _count_images(words[str(image)], names)
    return guess | {"layout": "wide", "columns": columns, "image": image, "by_number": by_number}


def _guess_image_columns(
    cells: pd.DataFrame, spread: Sequence[str], known: dict[str, object]
) -> dict[str, object]:
    """Guess the other columns of a table in which each rating column is an image."""
    taken = set(map(str, known.values()))
    others = [name for name in map(str, cells.columns) if name not in spread and name not in taken]
    rater = known.get("rater") or _find_by_synonym(others, "rater")
    if rater is None:
        rater = next((name for name in others if _has_distinct_codes(cells[name])), None)
    repeat = _find_by_synonym(others, "repeat")
    if repeat is not None and cells[repeat].nunique() < 2:
        repeat = None
    return {
        "layout": "wide",
        "columns": "images",
        "spread": tuple(spread),
        "rater": rater,
        "group": known.get("group") or _find_by_synonym(others, "group"),
        "trait": None if known.get("trait_name") else _find_by_synonym(others, "trait"),
        "repeat": repeat,
    }


def _has_distinct_codes(values: pd.Series) -> bool:
    """Return whether the cells are distinct codes such as R_3xK, as opposed to ages or dates."""
    code = values.str.fullmatch(r"(?=.*[^\W\d])[\w-]{1,40}")
    return bool(code.all()) and values.nunique() == len(values)


def _guess_image_rows(
    cells: pd.DataFrame,
    words: pd.DataFrame,
    image: str,
    names: ImageNames,
    known: dict[str, object],
    keep: Sequence[str],
    raters: Sequence[str],
) -> dict[str, object]:
    """Guess the layout of a table that has a column of image names: long, or a column per rater or trait."""
    shown = {name: len(names.find(name, True)) == 1 for name in words[image].unique()}
    of_images = words[image].map(shown).astype(bool)
    if not of_images.any() or _looks_like_files(words[image]):  # Some images may not be in the folder.
        of_images |= words[image].str.contains(r"(?i)\.(?:jpe?g|png|tiff?|webp|bmp|gif|heic)\b")
    taken = {image, *map(str, known.values()), *keep}
    free = [name for name in map(str, cells.columns) if name not in taken]
    rated = [name for name in free if share_of_numbers(cells[name][of_images]) > _LEAST_RATED]
    rating = known.get("rating") or _find_by_synonym(rated, "rating")
    only = _find_row_filter(cells, of_images, None if rating is None else cells[str(rating)])
    for column, values in only.items():
        of_images &= cells[column].isin(values)
    cells = cells[of_images] if of_images.any() else cells
    cells = cells.loc[:, (cells != "").any()]
    others = [name for name in free if name in cells and name not in only]
    found = {word: known.get(word) or _find_by_synonym(others, word) for word in ("trait", "repeat")}
    found["rater"] = known.get("rater") or _find_rater(cells, others)
    found["group"] = known.get("group") or _find_group(cells, others, found["rater"])
    if not known.get("trait") and fold_name(str(found["trait"])) in ("item", "scale"):
        numbered = share_of_numbers(cells[str(found["trait"])]) > 0.9
        found["trait"] = None if numbered else found["trait"]  # Numbers of items are not traits.
    if known.get("trait_name") and not known.get("trait"):
        found["trait"] = None
    if found["repeat"] is not None and not known.get("repeat") and not _numbers_repeats(cells, image, found):
        found["repeat"] = None
    found["rating"] = rating
    guess: dict[str, object] = {"image": image, "only": only, **found}
    time = _find_by_synonym(others, "time")
    kept = tuple(name for name in (time,) if name is not None)
    reasons = reasons_against(cells, others, cast("str | None", found["rater"]))
    candidates = [name for name in others if name not in found.values() and name not in reasons]
    columns = known.get("columns")
    if not columns and rating is not None:
        return guess | {"layout": "long", "keep": kept}
    if not columns:
        columns = _guess_traits_or_raters(candidates, found, known, raters)
    if columns == "raters":
        summaries = find_summaries(cells[candidates].apply(lambda column: numbers(column)[0]))
        candidates = [name for name in candidates if name not in summaries]
        prefixes = None if found["group"] is not None else _find_group_pattern(candidates)
        return guess | {
            "layout": "wide",
            "columns": "raters",
            "spread": tuple(candidates),
            "rating": None,
            "rater": None,
            "repeat": None,
            "group_pattern": prefixes,
        }
    if len(candidates) == 1 and (found["trait"] is not None or known.get("trait_name")):
        return guess | {"layout": "long", "rating": candidates[0], "keep": kept}
    if candidates:
        guess |= {"layout": "wide", "columns": "traits", "spread": tuple(candidates)}
        guess |= {"rating": None, "trait": None, "keep": kept}
    return guess


def _guess_traits_or_raters(
    candidates: list[str],
    found: Mapping[str, object],
    known: Mapping[str, object],
    raters: Sequence[str],
) -> str:
    """Guess whether the rating columns are "traits" or "raters"."""
    if found["rater"] is not None:
        return "traits"
    if set(candidates) & set(raters):
        return "raters"
    if known.get("trait_name") or found["trait"] is not None:
        return "raters" if len(candidates) > 1 else "traits"
    people = [name for name in candidates if not SUMMARIES & {fold_name(name)}]
    numbered = [name for name in people if re.search(r"\d", name)]
    return "raters" if len(numbered) > len(people) / 2 and len(people) > 1 else "traits"


def _numbers_repeats(cells: pd.DataFrame, image: str, found: Mapping[str, object]) -> bool:
    """Return whether the column found for repeats numbers the repeated judgements of a rater and image."""
    column = str(found["repeat"])
    keys = [str(found[word]) for word in ("rater", "trait") if found[word] is not None]
    return bool(cells.duplicated([*keys, image]).any() and cells[column].nunique() > 1)


def reasons_against(cells: pd.DataFrame, columns: Sequence[str], rater: str | None) -> dict[str, str]:
    """Find the columns that cannot contain ratings, and the reason for each.

    Parameters
    ----------
    cells : DataFrame of str
        The table.
    columns : sequence of str
        Names of the columns to check.
    rater : str or None
        Column that identifies the raters.

    Returns
    -------
    dict of str to str
        Reason for each column that cannot contain ratings.

    Examples
    --------
    >>> table = pd.DataFrame({"warm": ["3", "5"], "age": ["20", "30"], "why": ["nice", "sad"]})
    >>> reasons_against(table, list(table), None)
    {'age': 'describes a trial or rater', 'why': 'contains no numbers'}
    """
    reasons = {}
    for name in columns:
        values = cells[name][cells[name] != ""]
        share = share_of_numbers(values)
        plain = fold_name(drop_unit(name))
        words = set(re.split(r"[\W_]+", name.casefold()))
        if share == 0:
            reasons[name] = "contains no numbers"
        elif share < _LEAST_RATED:
            reasons[name] = f"contains {share:.0%} numbers, and words"
        elif (
            plain in NO_RATINGS
            or plain in SYNONYMS["repeat"]
            or plain.endswith(NO_RATING_ENDINGS)
            or plain in SYNONYMS["time"]
            or (len(words) < 4 and words & TRIAL_WORDS)
        ):
            reasons[name] = "describes a trial or rater"
        elif len(words) > 1 and words & SPREADS:
            reasons[name] = "is named like the spread, number or rank of ratings"
        elif rater is not None and rater != name and _constant_in_raters(values, cells[rater][values.index]):
            reasons[name] = "has one value for each rater"
        elif _is_running_number(values, None if rater is None else cells[rater][values.index]):
            reasons[name] = "is a running number"
    return reasons


def _constant_in_raters(values: pd.Series, raters: pd.Series) -> bool:
    """Return whether a column differs between raters but is constant within each rater, such as age."""
    by_rater = values.groupby(raters)
    long = by_rater.size() >= 3
    return bool(long.sum() > 1) and bool((by_rater.nunique() == 1).all()) and values.nunique() > 1


def _is_running_number(values: pd.Series, raters: pd.Series | None) -> bool:
    """Return whether a column numbers the rows of the table, or the trials of each rater in any order."""
    parsed = numbers(values)[0]
    if parsed.isna().any() or len(parsed) < 5 or bool((parsed != parsed.round()).any()):
        return False
    if raters is None or raters.nunique() < 2:
        return bool((parsed.diff().iloc[1:] > 0).all())
    by_rater = parsed.groupby(raters)
    span = by_rater.max() - by_rater.min() + 1
    steps = by_rater.diff().dropna()
    if len(steps) < 4:
        return False
    permuted = (by_rater.nunique() == by_rater.size()) & (span == by_rater.size()) & (by_rater.min() <= 1)
    return bool((steps > 0).all()) or bool(permuted.all() and (by_rater.size() >= 5).all())


def _find_row_filter(
    cells: pd.DataFrame, of_images: pd.Series, ratings: pd.Series | None
) -> dict[str, tuple[str, ...]]:
    """Find the column, and its values, that separate rows with ratings from rows such as instructions."""
    filled = (cells != "").any(axis=1) if ratings is None else ratings != ""
    rated = of_images & filled & (True if ratings is None else numbers(ratings)[0].notna())
    rest = filled & ~rated
    for kind in SYNONYMS["kind of row"] if rest.any() else ():
        for column in cells.columns:
            if fold_name(column) == kind:
                inside, outside = set(cells[column][rated]), set(cells[column][rest])
                if inside.isdisjoint(outside) and "" not in inside and 0 < len(inside) <= 5:
                    return {column: tuple(sorted(inside))}
    return {}


def _find_group_pattern(names: Sequence[str]) -> str | None:
    """Return a regular expression for the groups in raters' names such as ASD_1 and NT_1, or None."""
    parts = [re.fullmatch(r"([^\W\d_]{2,})[\W_]*\d+", name) for name in names]
    if not all(parts):
        return None
    counts = pd.Series([match.group(1) for match in parts if match]).value_counts()
    if not 2 <= len(counts) <= 6 or counts.min() < 2:
        return None
    return "^(?:" + "|".join(re.escape(one) for one in sorted(counts.index, key=lambda o: (-len(o), o))) + ")"


def _contains_numbers(values: pd.Series) -> bool:
    """Return whether a column contains at least one number."""
    return share_of_numbers(values) > 0


def _find_rater(cells: pd.DataFrame, columns: Sequence[str]) -> str | None:
    """Find the column of the raters, ignoring columns that number the rows of the table."""
    rater = _find_by_synonym(columns, "rater")
    while rater is not None and _is_running_number(cells[rater], None):
        columns = [name for name in columns if name != rater]
        rater = _find_by_synonym(columns, "rater")
    return rater


def _find_group(cells: pd.DataFrame, columns: Sequence[str], rater: object) -> str | None:
    """Find the column of the groups, preferring columns that are constant within most raters."""
    best = group = _find_by_synonym(columns, "group")
    while group is not None and rater is not None:
        if (cells.groupby(rater)[group].nunique() > 1).mean() <= 0.5:
            return group
        columns = [name for name in columns if name != group]
        group = _find_by_synonym(columns, "group")
    return best


def _find_by_synonym(columns: Sequence[str], word: str) -> str | None:
    """Find the column named by the first possible synonym of a word, or the only one with a known ending."""
    plain = {fold_name(column): column for column in reversed(columns)}
    for synonym in SYNONYMS[word]:
        if synonym in plain:
            return plain[synonym]
    # Without units in brackets, and "subject_code" like "subject".
    core = {
        re.sub(RATER_ENDINGS, "", name) if word == "rater" else name: column
        for name, column in ((fold_name(drop_unit(column)), column) for column in reversed(columns))
    }
    for synonym in SYNONYMS[word]:
        if synonym in core and synonym not in ("code", "case", "pid", "id"):
            return core[synonym]
    ended = [column for name, column in plain.items() if name.endswith(ENDINGS.get(word, ("\0",)))]
    return ended[0] if len(ended) == 1 else None


def _check_chosen(cells: pd.DataFrame, names: Sequence[str], file: str) -> None:
    """Raise an error if the table lacks columns that the user has chosen."""
    problems = []
    for name in names:
        if name not in cells.columns:
            near = nearest(name, map(str, cells.columns))
            found = ", ".join(map(str, cells.columns[:12]))
            advice = f"nearest: {', '.join(near)}" if near else f"found: {found}"
            problems.append(Problem(f"column {name!r} is missing", advice, file))
    if problems:
        raise StudyError(problems)
