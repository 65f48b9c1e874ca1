"""Guessing which columns of a strange table hold the rater, group, image, trait and rating."""

import re
from collections.abc import Sequence
from typing import cast

import pandas as pd

from traitlens.problems import Problem, StudyError, nearest
from traitlens.study.layouts import data_rows, share_of_numbers
from traitlens.study.matching import ImageNames
from traitlens.study.settings import RatingsSettings
from traitlens.study.tables import numbers

SYNONYMS: dict[str, tuple[str, ...]] = {
    word: tuple(names.split())
    for word, names in {
        "rater": "rater raterid participant participantid participantprivateid participantpublicid "
        "subject subjectid sub subj responseid respondent prolificid prolificpid workerid userid runid vp "
        "code pid id",
        "group": "group condition diagnosis cohort population sample ratergroup",
        "trait": "trait attribute question item scale dimension adjective judgment judgement",
        "rating": "rating ratings response score value answer judgment judgement slider.response "
        "ratingresponse",
        "image": "image stimulus face picture img file imagefile stim photo spreadsheetimage",
        "repeat": "repeat repetition session",
        "time": "rt reactiontime responsetime latency rtms slider.rt ratingrt",
        "kind of row": "trialtype zonetype responsetype componentname screenname display task phase part",
    }.items()
}
"""What experiment software (jsPsych, Gorilla, Qualtrics, PsychoPy) and people call them, plainest first."""

ENDINGS = {"rating": (".response", ".keys"), "time": (".rt",)}
"""How PsychoPy ends the names of columns that hold them, after the name of the slider."""

DIVISIONS = (
    r"(?P<image>.+)[_. -](?P<trait>[^_. -]+)",
    r"(?P<trait>.+?)[_. -](?P<image>.+)",
)
"""How the names of columns may hold an image and a trait, as in Qualtrics' loops and matrices."""

_WHOLE_TABLE = 0.5
"""Share of the filled cells of a column that must name images."""
_LEAST_RATED = 0.3
"""Share of the filled cells of a column of ratings that must be numbers; buttons may answer besides."""


def guess_mapping(
    cells: pd.DataFrame,
    files: Sequence[str],
    file: str = "the table",
    keep: Sequence[str] = (),
    **chosen: object,
) -> RatingsSettings:
    """Guess how a table of ratings is laid out.

    Parameters
    ----------
    cells : DataFrame of str
        The table, as :func:`~traitlens.study.formats.read_cells` gives it.
    files : sequence of str
        The images' paths below `images/`, which tell image columns from others.
    file : str
        The table's file, for messages.
    keep : sequence of str
        Further columns to keep.
    **chosen
        Settings that are known, by the names of :class:`~traitlens.study.settings.RatingsSettings`; they
        are kept and help to guess the rest.

    Returns
    -------
    RatingsSettings
        The guess, to be looked at before it is believed.

    Raises
    ------
    StudyError
        If a chosen column is missing, or no layout fits.

    Examples
    --------
    >>> table = pd.DataFrame({"id": ["p1"], "sex": ["f"], "X001": ["3"], "X002": ["5"], "X003": ["1"]})
    >>> guess = guess_mapping(table, ["001.jpg", "002.jpg", "003.jpg"], group="sex")
    >>> guess.layout, guess.columns, guess.rater, guess.spread
    ('wide', 'images', 'id', ('X001', 'X002', 'X003'))
    """
    known = {name: value for name, value in chosen.items() if value}
    for word in ("rater", "group", "image", "trait", "rating", "repeat"):
        _check_column(cells, known.get(word), file)
    for column in [*known.get("only", ()), *keep]:  # type: ignore[misc]
        _check_column(cells, column, file)
    cells = data_rows(cells)
    for column, values in RatingsSettings.model_validate(known).only.items():
        cells = cells[cells[column].isin(values)]
    cells = cells.loc[:, (cells != "").any()]
    names = ImageNames(files)
    as_images = [column for column in cells.columns if _is_image_column(column, cells[column], names)]
    image = known.get("image") or find_image_column(cells, names)
    in_cells = len(set(cells[str(image)])) if image is not None else 0
    divided = _divided_columns(cells, names)
    # Raters and ratings may be numbers like those of images: what names more images decides.
    if len(as_images) >= max(2, 0.02 * len(files), in_cells):
        guess = _columns_of_images(cells, as_images)
    elif divided is not None and len(divided[1]) > in_cells:
        guess = _columns_of_images(cells, divided[1]) | {"pattern": divided[0], "trait": None}
    elif image is not None:
        guess = _rows_of_images(cells, str(image), names, known)
    else:
        raise StudyError(
            Problem(
                "neither the columns nor any column's cells are names of the images",
                f"columns: {', '.join(map(str, cells.columns[:8]))}; images: {', '.join(files[:3])}",
                file,
            )
        )
    guess |= known
    guess["keep"] = (*cast(tuple[str, ...], guess.get("keep", ())), *keep)
    if guess.get("group") is not None:
        guess.pop("group_pattern", None)
    return RatingsSettings.model_validate(guess)


def find_image_column(cells: pd.DataFrame, names: ImageNames) -> str | None:
    """Find the column whose cells name images.

    Parameters
    ----------
    cells : DataFrame of str
        The table.
    names : ImageNames
        The images.

    Returns
    -------
    str or None
        The column; None where there is none.
    """
    shares = {}
    for column in cells.columns:
        values = pd.Series(cells[column][cells[column] != ""].unique())
        if len(values) < 2:
            continue
        sample = values if len(values) < 2000 else values.sample(2000, random_state=0)
        share = float(sample.map(lambda name: len(names.find(name)) == 1).mean())
        called = _plain(column) in SYNONYMS["image"]
        numeric = share_of_numbers(values) > 0.99  # numbers may name images, but rather do not
        shares[column] = share - (0.3 if numeric and not called else 0) + (0.1 if called else 0)
    best = max(shares, key=lambda column: shares[column], default=None)
    return best if best is not None and shares[best] > _WHOLE_TABLE else None


def describe_mapping(mapping: RatingsSettings) -> str:
    """Say a mapping in words, a line for each part.

    Parameters
    ----------
    mapping : RatingsSettings
        The mapping.

    Returns
    -------
    str
        Text for the terminal.
    """
    spread = mapping.spread
    shown = ", ".join(spread) if len(spread) < 5 else f"{spread[0]} ... {spread[-1]} ({len(spread)} columns)"
    lines = ["a row for each judgement"]
    if mapping.layout == "wide":
        lines = [f"a column for each of the {mapping.columns}: {shown}"]
    for word in ("rater", "group", "image", "trait", "rating", "repeat"):
        column = getattr(mapping, word)
        if column is not None:
            lines.append(f"{word}: column {column!r}")
    if mapping.trait_name is not None:
        lines.append(f"trait: {mapping.trait_name!r} throughout")
    if mapping.pattern is not None:
        lines.append(f"divided by: {mapping.pattern!r}")
    if mapping.group_pattern is not None:
        lines.append(f"group: {mapping.group_pattern!r} in the rater's name")
    for column, values in mapping.only.items():
        lines.append(f"rows with {column!r}: {', '.join(values)}")
    if mapping.keep:
        lines.append(f"kept besides: {', '.join(mapping.keep)}")
    return "\n".join(lines)


def _columns_of_images(cells: pd.DataFrame, spread: list[str]) -> dict[str, object]:
    """Guess the rest of a table with a row for each rater."""
    others = [column for column in cells.columns if column not in spread]
    rater = _called(others, "rater")
    if rater is None:
        rater = next((name for name in others if _holds_codes(cells[name])), None)
    return {
        "layout": "wide",
        "columns": "images",
        "spread": tuple(spread),
        "rater": rater,
        "group": _called(others, "group"),
        "trait": _called(others, "trait"),
        "repeat": _called(others, "repeat"),
    }


def _holds_codes(values: pd.Series) -> bool:
    """Tell whether each cell is a code of its own, such as R_3xK; ages and dates are none."""
    code = values.str.fullmatch(r"(?=.*[^\W\d])[\w-]{1,40}")
    return bool(code.all()) and values.nunique() == len(values)


def _divided_columns(cells: pd.DataFrame, names: ImageNames) -> tuple[str, list[str]] | None:
    """Find the columns whose names hold an image and a trait, and the pattern that divides them."""
    best, most = None, 1
    for pattern in DIVISIONS:
        parts = {str(column): re.fullmatch(pattern, str(column)) for column in cells.columns}
        images = {
            column: match["image"]
            for column, match in parts.items()
            if match and _is_image_column(match["image"], cells[column], names)
        }
        if len(set(images.values())) > most:
            best, most = (f"^{pattern}$", list(images)), len(set(images.values()))
    return best


def _rows_of_images(
    cells: pd.DataFrame, image: str, names: ImageNames, known: dict[str, object]
) -> dict[str, object]:
    """Guess the rest of a table with a column of images: long, or a column for each rater or trait."""
    shown = {name: len(names.find(name)) == 1 for name in cells[image].unique()}
    of_images = cells[image].map(shown).astype(bool)
    free = [column for column in cells.columns if column != image and column not in known.values()]
    rated = [name for name in free if share_of_numbers(cells[name][of_images]) > _LEAST_RATED]
    rating = known.get("rating") or _called(rated, "rating")
    only = _find_kind(cells, of_images, None if rating is None else cells[str(rating)])
    for column, values in only.items():
        of_images &= cells[column].isin(values)
    cells = cells[of_images] if of_images.any() else cells
    cells = cells.loc[:, (cells != "").any()]
    others = [column for column in free if column in cells]
    numeric = [name for name in others if share_of_numbers(cells[name]) > 0.9]
    found = {word: known.get(word) or _called(others, word) for word in ("rater", "group", "trait", "repeat")}
    found["rating"] = rating
    numeric = [name for name in numeric if name not in found.values()]
    guess: dict[str, object] = {"image": image, "only": only, **found}
    time = _called(others, "time")
    columns = known.get("columns")
    if not columns and (found["rating"] is not None or (len(numeric) == 1 and time is None)):
        keep = tuple(name for name in (time,) if name is not None)
        return guess | {"layout": "long", "rating": found["rating"] or numeric[0], "keep": keep}
    if len(numeric) > 1:
        numbered = [name for name in numeric if re.search(r"\d", name)]
        if not columns:
            many = found["rater"] is None and len(numbered) > len(numeric) / 2
            columns = "raters" if many else "traits"
        of_raters = columns == "raters"
        spread = tuple(numbered if of_raters and numbered else [name for name in numeric if name != time])
        guess |= {"layout": "wide", "columns": columns, "spread": spread}
        guess |= {"rating": None, "rater" if of_raters else "trait": None}
        if of_raters and found["group"] is None:
            guess["group_pattern"] = _prefixes(list(spread))
    return guess


def _find_kind(
    cells: pd.DataFrame, of_images: pd.Series, ratings: pd.Series | None
) -> dict[str, tuple[str, ...]]:
    """Find the column that tells rows of ratings from instructions and pauses, where there are such rows."""
    filled = (cells != "").any(axis=1) if ratings is None else ratings != ""
    rated = of_images & filled & (True if ratings is None else numbers(ratings)[0].notna())
    rest = filled & ~rated
    for kind in SYNONYMS["kind of row"] if rest.any() else ():
        for column in cells.columns:
            if _plain(column) == kind:
                inside, outside = set(cells[column][rated]), set(cells[column][rest])
                if inside.isdisjoint(outside) and "" not in inside and 0 < len(inside) <= 5:
                    return {column: tuple(sorted(inside))}
    return {}


def _prefixes(names: list[str]) -> str | None:
    """Find a few prefixes before the numbers of the raters' names: their groups."""
    prefixes = {re.split(r"[\W_]*\d", name, maxsplit=1)[0] for name in names}
    if "" in prefixes or not 2 <= len(prefixes) <= 6:
        return None
    return (
        "^(?:"
        + "|".join(re.escape(prefix) for prefix in sorted(prefixes, key=lambda one: (-len(one), one)))
        + ")"
    )


def _is_image_column(column: str, values: pd.Series, names: ImageNames) -> bool:
    """Tell whether a column's name is an image's and its cells are ratings."""
    return len(names.find(str(column))) == 1 and share_of_numbers(values) > _WHOLE_TABLE


def _called(columns: list[str], word: str) -> str | None:
    """Find the column that is called by a word's best synonym, else the only one with such an ending."""
    plain = {_plain(column): column for column in reversed(columns)}
    for synonym in SYNONYMS[word]:
        if synonym in plain:
            return plain[synonym]
    ended = [column for name, column in plain.items() if name.endswith(ENDINGS.get(word, ("\0",)))]
    return ended[0] if len(ended) == 1 else None


def _plain(name: str) -> str:
    """Reduce a column's name to its letters, digits and points."""
    return re.sub(r"[^a-z0-9.]", "", str(name).lower())


def _check_column(cells: pd.DataFrame, name: object, file: str) -> None:
    """Refuse a chosen column that is not there."""
    if name is not None and name not in cells.columns:
        near = nearest(str(name), map(str, cells.columns))
        advice = (
            f"nearest: {', '.join(near)}" if near else f"found: {', '.join(map(str, cells.columns[:12]))}"
        )
        raise StudyError(Problem(f"column {name!r} is missing", advice, file))
