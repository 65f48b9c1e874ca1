"""Questions about columns of an imported table whose meaning is uncertain."""

import re
from collections.abc import Mapping, Sequence

import pandas as pd

from traitlens.study.expressions import extract
from traitlens.study.gathering import Decision
from traitlens.study.guessing import reasons_against
from traitlens.study.layouts import data_rows
from traitlens.study.matching import ImageNames
from traitlens.study.settings import RatingsSettings
from traitlens.study.sources import Source
from traitlens.study.tables import numbers
from traitlens.study.vocabulary import GROUP_WORDS, is_trait_name, name_words

_MOST_TIMES_LARGER = 3
"""Factor by which numbers of a column must exceed the ratings of other traits to be doubtful as ratings."""

_MOST_LOOKED_UP = 2000
"""Maximum number of distinct cells in a column that is compared with the names of images."""

_SESSION = r"(?:t|time|session|rep|repeat|block|run|round|day|wave|visit|pre|post|test|retest)[\W_]?\d*"
"""Endings of the names of columns with repeated ratings, as in warm_t1 or warm_pre."""


def find_doubts(
    mapping: RatingsSettings,
    sources: Sequence[Source],
    images: Sequence[str],
    chosen: Mapping[str, object],
) -> list[Decision]:
    """Find columns that may have another meaning than in a guessed mapping.

    Parameters
    ----------
    mapping : RatingsSettings
        Mapping of columns.
    sources : sequence of Source
        The tables.
    images : sequence of str
        The images' paths.
    chosen : mapping
        Settings that the user has chosen; there are no questions about them.

    Returns
    -------
    list of Decision
        The questions; empty if the meaning of all columns is clear.
    """
    doubts: list[Decision] = []
    for source in sources:
        cells = data_rows(source.sheet.cells)
        if mapping.image is not None and "image" not in chosen:
            doubts += _doubt_image(cells, mapping.image, ImageNames(images))
        if mapping.layout == "wide" and mapping.columns == "traits" and "spread" not in chosen:
            doubts += _doubt_traits(cells, mapping)
            if "columns" not in chosen:
                doubts += _doubt_groups(mapping.spread) + _doubt_repeats(mapping.spread)
        if mapping.layout == "long" and not {"rating", "trait_name", "trait"} & set(chosen):
            doubts += _doubt_rating(cells, mapping)
    if mapping.pattern is not None and "pattern" not in chosen:
        doubts += _doubt_endings(mapping)
    return list(dict.fromkeys(doubts))


def _doubt_image(cells: pd.DataFrame, image: str, names: ImageNames) -> list[Decision]:
    """Ask which column to use if another column names different images in the same rows."""
    if image not in cells:
        return []
    for name in map(str, cells.columns):
        written = cells[name].unique()
        if name == image or not 1 < len(written) <= _MOST_LOOKED_UP:
            continue
        found = {cell: names.find(cell) for cell in written if cell and not cell.replace(".", "").isdigit()}
        if sum(map(bool, found.values())) <= len(written) / 2:
            continue
        own = {cell: names.find(cell) for cell in cells[image].unique()}
        rows = zip(cells[image], cells[name], strict=True)
        others = sum(bool(found.get(other)) and own[cell] != found[other] for cell, other in rows)
        if others:
            what = f"columns {image!r} and {name!r} name different images in {others} rows"
            option = (
                f"use --image {image} or --image {name}; if each belongs to other ratings, divide the table"
            )
            return [Decision(what, option, f"{image!r} is used")]
    return []


def _doubt_traits(cells: pd.DataFrame, mapping: RatingsSettings) -> list[Decision]:
    """Ask about rating columns with much larger numbers than others."""
    spread = [name for name in mapping.spread if name in cells and cells[name].nunique() > 1]
    largest = {name: float(numbers(cells[name])[0].abs().max()) for name in spread}
    sure = [name for name in spread if is_trait_name(name)]
    usual = max((largest[name] for name in sure), default=min(largest.values(), default=0))
    odd = [name for name in spread if name not in sure and largest[name] > _MOST_TIMES_LARGER * usual]
    doubts = []
    if odd:
        named = ", ".join(f"{name} (up to {largest[name]:g})" for name in odd[:8])
        rest = ", ".join(name for name in spread if name not in odd)
        what = f"{named} may not be ratings, because {rest} have values up to {usual:g}"
        option = "name the columns of ratings: " + " ".join(
            f"--traits {name!r}" for name in spread if name not in odd
        )
        doubts.append(Decision(what, option, "they are read as traits"))
    return doubts


def _doubt_groups(traits: Sequence[str]) -> list[Decision]:
    """Ask about columns that seem to contain one trait for several groups, such as warm_asd and warm_nt."""
    stems: dict[tuple[str, ...], list[str]] = {}
    for name in traits:
        words = name_words(name)
        rest = tuple(word for word in words if word not in GROUP_WORDS)
        if rest and len(rest) < len(words):
            stems.setdefault(rest, []).append(name)
    for several in stems.values():
        if len(several) > 1:
            what = f"{' and '.join(several[:4])} seem to contain one trait for several groups"
            option = "give each group rows of its own and name it in a column; or use --columns traits"
            return [Decision(what, option, "each is read as a trait of its own")]
    return []


def _doubt_repeats(traits: Sequence[str]) -> list[Decision]:
    """Ask about columns that differ in a number or session only, such as rating1 and rating2."""
    stems: dict[str, list[str]] = {}
    for name in traits:
        match = re.fullmatch(rf"(?i)(.*[^\W\d_])[\W_]*(?:\d+|[\W_]{_SESSION})", name)
        if match:
            stems.setdefault(match.group(1).casefold(), []).append(name)
    for several in stems.values():
        if len(several) > 1:
            what = f"{' and '.join(several[:4])} may be repeated ratings of one trait"
            option = "write repeats below one another with a column 'repeat'; or use --columns traits"
            return [Decision(what, option, "each is read as a trait of its own")]
    return []


def _doubt_rating(cells: pd.DataFrame, mapping: RatingsSettings) -> list[Decision]:
    """Ask which column contains the ratings if another numeric column has the name of a trait."""
    rating = mapping.rating or "rating"
    used = {getattr(mapping, word) or word for word in ("rater", "group", "image", "trait", "repeat")}
    free = [name for name in map(str, cells.columns) if name not in {rating, *used, *mapping.keep}]
    free = [name for name in free if is_trait_name(name) and not name.startswith(rating)]
    reasons = reasons_against(cells, free, mapping.rater)
    others = [name for name in free if name not in reasons]
    if rating not in cells or is_trait_name(rating) or not others:
        return []
    what = f"{' and '.join(others[:4])} may contain ratings, too, but column {rating!r} was read"
    option = f"use --rating {rating}, or " + " ".join(f"--traits {name}" for name in others[:4])
    return [Decision(what, option, f"{rating!r} is used")]


def _doubt_endings(mapping: RatingsSettings) -> list[Decision]:
    """Ask whether endings of columns are traits if a program may have added them: x and y (R), 1 (pandas)."""
    parts = [part for part in extract(mapping.pattern or "", list(mapping.spread)) if part]
    traits = list(dict.fromkeys(part["trait"] for part in parts if part.get("trait")))
    odd = [
        trait
        for trait in traits
        if re.fullmatch(rf"(?i)\d+|[a-z]|jpe?g|png|tiff?|webp|bmp|{_SESSION}", trait)
    ]
    if not odd:
        return []
    what = f"the names of the columns are assumed to end in traits: {', '.join(traits[:8])}"
    option = "rename the columns, or import the traits or repeats as files of their own"
    return [Decision(what, option, "this is assumed")]
