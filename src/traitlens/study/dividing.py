"""Column names that contain an image and a trait, as survey software writes them."""

import re

import pandas as pd

from traitlens.study.layouts import share_of_numbers
from traitlens.study.matching import EXACT, PART, ImageNames
from traitlens.study.vocabulary import NO_TRAITS, fold_name

TRAIT_IN_FRONT, IMAGE_IN_FRONT = r"(.*?)\s*\[([^\[\]]+)\]", r"([^\[\]]+?)\s*\[([^\[\]]+)\]"
"""Regular expressions for column names of Google Forms and LimeSurvey: a question and its item."""


def divide_columns(
    cells: pd.DataFrame, names: ImageNames, by_number: bool = False
) -> tuple[str, list[str]] | None:
    r"""Find columns whose names contain an image and a trait, and the regular expression that splits them.

    Parameters
    ----------
    cells : DataFrame of str
        The table.
    names : ImageNames
        The images.
    by_number : bool, default False
        Whether images may be identified by their numbers.

    Returns
    -------
    (str, list of str) or None
        Regular expression with the groups image and trait, and the columns that match it; None if the columns
        name fewer than two images.

    Examples
    --------
    >>> table = pd.DataFrame({"face_01_warm": ["3"], "face_02_warm": ["5"], "age": ["30"]})
    >>> divide_columns(table, ImageNames(["face_01.jpg", "face_02.jpg"]))
    ('^(?P<image>.+?)[_. \\-]+(?P<trait>warm)$', ['face_01_warm', 'face_02_warm'])
    """
    divisions = {
        str(name): [
            one for one in _split_name(str(name), names, by_number) if fold_name(one[2]) not in NO_TRAITS
        ]
        for name in cells.columns
        if share_of_numbers(cells[name]) > 0
    }
    best: tuple[str, list[str]] | None = None
    most = (1, 0)
    for form in _FORMS:
        fitting = {name: one for name, several in divisions.items() for one in several if one[0] == form}
        images = {one[1] for one in fitting.values()}
        if by_number and not names.numbers_agree(images):
            continue
        if (len(images), len(fitting)) > most and len(images) > 1:
            most = (len(images), len(fitting))
            best = (_build_pattern(form, {one[2] for one in fitting.values()}), list(fitting))
    return best


def _split_name(name: str, names: ImageNames, by_number: bool) -> list[tuple[str, str, str]]:
    """Return every split of a column name into an image and a trait, as (form, image, trait)."""

    def is_image(part: str) -> bool:
        found, way = names.find_with_way(part, by_number)
        # A bare number in a column name may be the row of a loop instead of the number of an image.
        return len(found) == 1 and (by_number or way in (EXACT, PART) or not part.isdigit())

    divisions = []
    if (match := re.fullmatch(TRAIT_IN_FRONT, name)) and is_image(match.group(2)):
        divisions.append(("trait [image]", match.group(2), match.group(1)))
    if (match := re.fullmatch(IMAGE_IN_FRONT, name)) and is_image(match.group(1)):
        divisions.append(("image [trait]", match.group(1), match.group(2)))
    for sign in re.finditer(r"[_. \-]+", name):
        left, right = name[: sign.start()], name[sign.end() :]
        if left and right and is_image(left):
            divisions.append(("image_trait", left, right))
        if left and right and is_image(right):
            divisions.append(("trait_image", right, left))
    # Of several splits of one form, use the one with the longest image name.
    longest: dict[str, tuple[str, str, str]] = {}
    for one in divisions:
        if one[0] not in longest or len(one[1]) > len(longest[one[0]][1]):
            longest[one[0]] = one
    return list(longest.values())


_FORMS = {
    "trait [image]": r"^(?P<trait>{traits})\s*\[(?P<image>[^\[\]]+)\]$",
    "image [trait]": r"^(?P<image>[^\[\]]+?)\s*\[(?P<trait>{traits})\]$",
    "image_trait": r"^(?P<image>.+?)[_. \-]+(?P<trait>{traits})$",
    "trait_image": r"^(?P<trait>{traits})[_. \-]+(?P<image>.+)$",
}
"""Regular expression for each form of a column name that contains an image and a trait."""


def _build_pattern(form: str, traits: set[str]) -> str:
    """Return the regular expression that splits column names of one form with the given traits."""
    longest_first = sorted(traits, key=lambda one: (-len(one), one))
    return _FORMS[form].replace("{traits}", "|".join(map(re.escape, longest_first)))
