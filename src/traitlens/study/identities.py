"""Find the identity of each image: by its folder, its name or a column, or a separate one for each image."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

import pandas as pd

from traitlens.columns import IMAGE
from traitlens.problems import Problem, StudyError
from traitlens.study.expressions import extract
from traitlens.study.identifiers import normal_identifier
from traitlens.study.vocabulary import CONDITIONS, IMAGE_FOLDERS, KINDS, fold_name

WAYS = ("image", "folder", "name")
"""Choices of --identity: a separate identity for each image, its folder, or its name without the folder."""


def name_identities(images: Sequence[str], way: str, ratings: pd.DataFrame) -> dict[str, str]:
    """Return the identity of each image by the chosen rule.

    Parameters
    ----------
    images : sequence of str
        Paths below `images/`.
    way : str
        "image" (a separate identity for each image), "folder", "name" (the file name without the folder), a
        column of the ratings, or a regular expression whose first group, or else the whole match, is the
        identity.
    ratings : DataFrame
        The ratings, with the column image and, if `way` is a column, that column.

    Returns
    -------
    dict of str to str
        Identity of each image.

    Raises
    ------
    StudyError
        If an image has no identity, or several.
    """
    paths = {image: PurePosixPath(image) for image in images}
    if way == "image":
        return {image: path.with_suffix("").as_posix() for image, path in paths.items()}
    if way == "name":
        return {image: path.stem for image, path in paths.items()}
    if way == "folder":
        return {image: path.parent.as_posix() for image, path in paths.items()}
    if way in ratings:
        pairs = ratings[[IMAGE, way]].drop_duplicates()
        twice = sorted(pairs[IMAGE][pairs[IMAGE].duplicated()].unique())
        empty = sorted(pairs[IMAGE][pairs[way] == ""].unique())
        problems = [
            Problem(f"image {name!r} has two identities in column {way!r}", "correct it") for name in twice
        ]
        problems += [
            Problem(f"image {name!r} has no identity in column {way!r}", "fill it in") for name in empty
        ]
        if problems:
            raise StudyError(problems)
        return {row[0]: normal_identifier(row[1]) for row in pairs.itertuples(index=False)}
    try:
        found = dict(zip(images, extract(way, images), strict=True))
    except ValueError as error:
        what = f"--identity {way!r} is neither a column nor a valid regular expression ({error})"
        raise StudyError(Problem(what, f"use {', '.join(WAYS)}, a column or an expression")) from None
    missing = [image for image, groups in found.items() if groups is None]
    if missing:
        what = f"--identity {way!r} is not a column of the table, and as an expression it matches nothing in "
        raise StudyError(Problem(what + ", ".join(missing[:5]), "correct it"))
    return {image: next(iter(groups.values())) for image, groups in found.items() if groups}


def guess_identities(images: Sequence[str]) -> tuple[str, str]:
    """Guess from the paths of the images how to find their identities.

    Returns
    -------
    way : {"image", "folder"}
        The rule, as for :func:`name_identities`.
    doubt : str
        Why several images may show one person in spite of the rule; "" if there is no doubt.

    Examples
    --------
    >>> guess_identities(["face_01.jpg", "face_02.jpg"])
    ('image', '')
    >>> guess_identities(["anna_sad.jpg", "anna_happy.jpg", "bea_sad.jpg", "bea_happy.jpg"])[1]
    'by their names, several images may show one person (anna_sad.jpg and anna_happy.jpg)'
    """
    paths = [PurePosixPath(image) for image in images]
    folders = sorted({path.parent.as_posix() for path in paths})
    stems: dict[str, list[str]] = {}
    for image, path in zip(images, paths, strict=True):
        stems.setdefault(path.stem.casefold(), []).append(image)
    shared = [same for same in stems.values() if len(same) > 1]
    if sum(map(len, shared)) > len(images) / 2:
        return "image", f"images of the same name are in several folders ({' and '.join(shared[0][:2])})"
    if len(folders) > 1:
        words = {fold_name(part) for folder in folders for part in PurePosixPath(folder).parts}
        message = f"the images are in {len(folders)} folders ({', '.join(folders[:4])})"
        if len(folders) == len(images):
            return "image", ""
        if len(folders) < 10 or words & (KINDS | CONDITIONS | IMAGE_FOLDERS):
            return "image", f"{message}, which may be persons or kinds of images"
        return "folder", ""
    pair = _find_pair([path.stem for path in paths])
    if pair is not None:
        named = " and ".join(paths[place].name for place in pair)
        return "image", f"by their names, several images may show one person ({named})"
    return "image", ""


def _find_pair(stems: Sequence[str]) -> tuple[int, int] | None:
    """Find two names that differ in one word only, if at least half of the names have such a partner.

    A number or letter at the end that follows another number counts as a word, as in 01_1 and 01_2 or 01a and
    01b.
    """
    tokens = [re.findall(r"[^\W\d_]+|\d+", stem.casefold()) for stem in stems]
    for place in range(-1, -1 - max(map(len, tokens), default=0), -1):
        groups: dict[tuple[str, ...], dict[str, int]] = {}
        for number, parts in enumerate(tokens):
            if len(parts) > 1 and len(parts) >= -place and (place == -1 or not parts[place].isdigit()):
                rest = tuple(parts[:place] + (parts[place:][1:]))
                groups.setdefault(rest, {}).setdefault(parts[place], number)
        shared = [words for words in groups.values() if len(words) > 1]
        found = {word for words in shared for word in words}
        if sum(map(len, shared)) < len(stems) / 2 or not 2 <= len(found) <= 10:
            continue
        several = len(shared) > max(2, len(found)) and all(any(map(str.isdigit, rest)) for rest in groups)
        counted = several and (all(map(str.isdigit, found)) or found <= {"a", "b", "c", "d", "e"})
        if counted or not (found <= KINDS or any(map(str.isdigit, found))):
            first = list(shared[0].values())
            return first[0], first[1]
    return None
