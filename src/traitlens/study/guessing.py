"""Guessing which columns of a strange table hold the rater, group, image, trait and rating."""

import re
from collections.abc import Sequence

import pandas as pd

from traitlens.problems import Problem, StudyError, nearest
from traitlens.study.layouts import share_of_numbers
from traitlens.study.matching import ImageNames
from traitlens.study.settings import RatingsSettings

SYNONYMS: dict[str, tuple[str, ...]] = {
    "rater": (
        "rater",
        "raterid",
        "participant",
        "participantid",
        "participantprivateid",
        "participantpublicid",
        "subject",
        "subjectid",
        "sub",
        "subj",
        "responseid",
        "respondent",
        "prolificid",
        "prolificpid",
        "workerid",
        "userid",
        "runid",
        "vp",
        "code",
        "pid",
        "id",
    ),
    "group": ("group", "condition", "diagnosis", "cohort", "population", "sample", "ratergroup"),
    "trait": (
        "trait",
        "attribute",
        "question",
        "item",
        "scale",
        "dimension",
        "adjective",
        "judgment",
        "judgement",
    ),
    "rating": (
        "rating",
        "ratings",
        "response",
        "score",
        "value",
        "answer",
        "judgment",
        "judgement",
        "slider.response",
        "ratingresponse",
        "keyresp.keys",
    ),
    "image": (
        "image",
        "stimulus",
        "face",
        "picture",
        "img",
        "file",
        "imagefile",
        "stim",
        "photo",
        "spreadsheetimage",
    ),
    "repeat": ("repeat", "repetition", "session"),
    "time": ("rt", "reactiontime", "responsetime", "latency", "rtms", "slider.rt", "ratingrt"),
}
"""What experiment software (jsPsych, Gorilla, Qualtrics, PsychoPy) and people call them, plainest first."""

_WHOLE_TABLE = 0.5
"""Share of the filled cells of a column that must name images."""


def guess_mapping(
    cells: pd.DataFrame, files: Sequence[str], file: str = "the table", **chosen: object
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
    known = {name: value for name, value in chosen.items() if value is not None}
    for word in ("rater", "group", "image", "trait", "rating"):
        _check_column(cells, known.get(word), file)
    names = ImageNames(files)
    as_images = [column for column in cells.columns if _is_image_column(column, cells[column], names)]
    image = known.get("image") or find_image_column(cells, names)
    in_cells = len(set(cells[str(image)])) if image is not None else 0
    # Raters may be numbered like images: what names more images decides.
    if len(as_images) >= max(2, 0.02 * len(files), in_cells):
        guess = _columns_of_images(cells, as_images)
    elif image is not None:
        guess = _rows_of_images(cells, str(image), known)
    else:
        raise StudyError(
            Problem(
                "neither the columns nor any column's cells are names of the images",
                f"columns: {', '.join(map(str, cells.columns[:8]))}; images: {', '.join(files[:3])}",
                file,
            )
        )
    guess |= known
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
    if mapping.group_pattern is not None:
        lines.append(f"group: {mapping.group_pattern!r} in the rater's name")
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


def _rows_of_images(cells: pd.DataFrame, image: str, known: dict[str, object]) -> dict[str, object]:
    """Guess the rest of a table with a column of images: long, or a column for each rater or trait."""
    others = [column for column in cells.columns if column != image and column not in known.values()]
    found = {
        word: known.get(word) or _called(others, word)
        for word in ("rater", "group", "trait", "rating", "repeat")
    }
    numeric = [name for name in others if name not in found.values() and share_of_numbers(cells[name]) > 0.9]
    guess: dict[str, object] = {"image": image, **found}
    time = _called(others, "time")
    if found["rating"] is not None or (len(numeric) == 1 and time is None):
        keep = tuple(name for name in (time,) if name is not None)
        return guess | {"layout": "long", "rating": found["rating"] or numeric[0], "keep": keep}
    if len(numeric) > 1:
        numbered = [name for name in numeric if re.search(r"\d", name)]
        of_raters = found["rater"] is None and len(numbered) > len(numeric) / 2
        spread = tuple(numbered if of_raters else [name for name in numeric if name != time])
        columns = "raters" if of_raters else "traits"
        guess |= {"layout": "wide", "columns": columns, "spread": spread}
        guess |= {"rating": None, "trait" if columns == "traits" else "rater": None}
        if of_raters and found["group"] is None:
            guess["group_pattern"] = _prefixes(list(spread))
    return guess


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
    """Find the column that is called by a word's best synonym."""
    plain = {_plain(column): column for column in reversed(columns)}
    for synonym in SYNONYMS[word]:
        if synonym in plain:
            return plain[synonym]
    return None


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
