"""Roles of the columns of an uploaded table: guess, choice, and match with the study's pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from traitlens.app.workspace import Choices
from traitlens.columns import GROUP, IMAGE, RATER, RATING, REPEAT, TRAIT
from traitlens.problems import Problem, StudyError, TraitlensError
from traitlens.study.layouts import spread_columns, to_long
from traitlens.study.matching import ImageNames
from traitlens.study.settings import RatingsSettings
from traitlens.study.sources import Source, guess_sources, read_sources

IGNORE, KEEP = "ignore", "keep"
SPREAD = {"of rater": "raters", "of picture": "images", "of trait": "traits"}
"""Value of the setting `columns` for each role of a column of ratings in a wide table."""

ROLES = {
    RATER: "who rated",
    GROUP: "group of the rater",
    IMAGE: "picture",
    TRAIT: "trait",
    RATING: "rating",
    REPEAT: "first or second time",
    "of rater": "ratings: one rater",
    "of picture": "ratings: one picture",
    "of trait": "ratings: one trait",
    KEEP: "keep (such as age)",
    IGNORE: "leave out",
}
"""Label of each role on the page."""


@dataclass(frozen=True, eq=False)
class UploadedTable:
    """An uploaded table of ratings with a guessed mapping of its columns.

    Parameters
    ----------
    sources : tuple of Source
        The sheets with ratings.
    guess : RatingsSettings
        The guessed mapping of columns.
    doubt : str
        Reason why the guess failed; "" if it succeeded.
    """

    sources: tuple[Source, ...]
    guess: RatingsSettings
    doubt: str = ""

    @property
    def columns(self) -> list[str]:
        """Names of the columns of all sheets, in order, without duplicates."""
        return list(dict.fromkeys(str(name) for one in self.sources for name in one.sheet.cells.columns))

    @property
    def cells(self) -> pd.DataFrame:
        """Cells of the first sheet."""
        return self.sources[0].sheet.cells


@dataclass(frozen=True)
class Match:
    """Match of a table of ratings with the study's pictures.

    Parameters
    ----------
    found : int
        Number of pictures that the table rates.
    pictures : int
        Number of pictures in the study.
    unknown : tuple of str
        Names of pictures in the table that match no picture of the study.
    raters : int
        Number of raters; 0 if the table does not identify raters.
    ratings : int
        Number of ratings.
    groups, traits : tuple of str
        Names of the groups and of the traits.
    """

    found: int
    pictures: int
    unknown: tuple[str, ...]
    raters: int
    ratings: int
    groups: tuple[str, ...]
    traits: tuple[str, ...]


def read_uploaded_table(file: Path, pictures: Sequence[str]) -> UploadedTable:
    """Read an uploaded table of ratings and guess what its columns hold.

    Parameters
    ----------
    file : Path
        The table, in any format that the import reads.
    pictures : sequence of str
        Paths of the study's pictures.

    Raises
    ------
    StudyError
        If the table cannot be read.
    """
    sources, _ = read_sources([file])
    try:
        kept, _, guess = guess_sources(sources, pictures, (), (), {})
        return UploadedTable(tuple(kept), guess)
    except StudyError as error:
        doubt = "; ".join(problem.what for problem in error.problems)
        return UploadedTable(tuple(sources), RatingsSettings(), doubt)


def roles_from_mapping(mapping: RatingsSettings, columns: Sequence[str]) -> dict[str, str]:
    """Return the role of each column according to a mapping of columns.

    Examples
    --------
    >>> mapping = RatingsSettings(layout="wide", columns="raters", image="face", spread=("p1", "p2"))
    >>> roles_from_mapping(mapping, ["face", "p1", "p2", "note"])
    {'face': 'image', 'p1': 'of rater', 'p2': 'of rater', 'note': 'ignore'}
    """
    roles = dict.fromkeys(columns, IGNORE)
    roles |= {name: KEEP for name in mapping.keep if name in roles}
    if mapping.layout == "wide":
        spread = next(role for role, kind in SPREAD.items() if kind == mapping.columns)
        roles |= dict.fromkeys(spread_columns(columns, mapping.spread), spread)
    for word in (RATER, GROUP, IMAGE, TRAIT, RATING, REPEAT):
        column = getattr(mapping, word)
        if column in roles:
            roles[column] = word
    return roles


def mapping_from_roles(
    roles: Mapping[str, str], guess: RatingsSettings, trait: str = "", groups_from_names: bool = False
) -> RatingsSettings:
    """Return the mapping of columns for chosen roles.

    Parameters
    ----------
    roles : mapping of str to str
        Role of each column.
    guess : RatingsSettings
        The guessed mapping, which provides patterns and the matching of picture names.
    trait : str
        The trait, if the table has only one.
    groups_from_names : bool
        Whether the letters before the number in a rater's name are the group.

    Raises
    ------
    StudyError
        If the choices are incomplete or contradict each other.

    Examples
    --------
    >>> roles = {"face": "image", "p1": "of rater", "p2": "of rater"}
    >>> mapping_from_roles(roles, RatingsSettings(), trait="warm").spread
    ('p1', 'p2')
    """
    by_role: dict[str, list[str]] = {}
    for column, role in roles.items():
        by_role.setdefault(role, []).append(column)
    spread = {role: by_role[role] for role in SPREAD if role in by_role}
    problems = [
        Problem(f"several columns hold “{ROLES[word]}”: {', '.join(by_role[word])}", "choose one of them")
        for word in (RATER, GROUP, IMAGE, TRAIT, RATING, REPEAT)
        if len(by_role.get(word, [])) > 1
    ]
    if len(spread) > 1:
        kinds = " and ".join(f"“{ROLES[role]}”" for role in spread)
        problems.append(Problem(f"columns hold {kinds}", "choose the same for all columns of ratings"))
    if not spread and RATING not in by_role:
        problems.append(Problem("no column holds ratings", "choose the column or columns of the ratings"))
    if IMAGE not in by_role and "of picture" not in by_role:
        problems.append(Problem("no column names the picture", "choose the column of the pictures"))
    if problems:
        raise StudyError(problems)
    changes: dict[str, object] = {
        word: by_role.get(word, [None])[0] for word in (RATER, GROUP, IMAGE, TRAIT, RATING, REPEAT)
    }
    changes |= {"keep": tuple(by_role.get(KEEP, ())), "layout": "wide" if spread else "long"}
    if spread:
        role, columns = next(iter(spread.items()))
        changes |= {"columns": SPREAD[role], "spread": tuple(columns)}
        changes |= {"pattern": guess.pattern if guess.columns == SPREAD[role] else None}
    else:
        changes |= {"spread": (), "pattern": None}
    tells_trait = TRAIT in by_role or "of trait" in by_role or "(?P<trait>" in str(changes["pattern"])
    changes |= {"trait_name": trait.strip() or None if not tells_trait else None}
    pattern = guess.group_pattern or "^[^\\W\\d_]+"
    changes |= {"group_pattern": pattern if groups_from_names and GROUP not in by_role else None}
    changes |= {"only": {name: one for name, one in guess.only.items() if roles.get(name) == IGNORE}}
    return guess.model_copy(update=changes)


def mapping_from_choices(choices: Choices, table: UploadedTable) -> RatingsSettings:
    """Return the mapping of columns for all choices made in the step Ratings.

    Raises
    ------
    StudyError
        If the choices are incomplete or contradict each other.
    """
    roles = {name: choices.roles.get(name, IGNORE) for name in table.columns}
    mapping = mapping_from_roles(roles, table.guess, choices.trait, choices.groups_from_names)
    changes = {
        "missing": tuple(code.strip() for code in choices.missing.split(",") if code.strip()),
        "by_number": choices.by_number,
        "number_repeats": choices.number_repeats,
        "absent_images": "leave out" if choices.leave_out_absent else "refuse",
        "identity": choices.identity or None,
    }
    return mapping.model_copy(update=changes)


def match_pictures(table: UploadedTable, mapping: RatingsSettings, pictures: Sequence[str]) -> Match:
    """Match the picture names in a table with the study's pictures, and count ratings, raters and groups.

    Parameters
    ----------
    table : UploadedTable
        The uploaded table.
    mapping : RatingsSettings
        The mapping of its columns.
    pictures : sequence of str
        Paths of the study's pictures.

    Raises
    ------
    TraitlensError
        If the mapping does not fit the table.
    """
    labelled = [getattr(mapping, word) for word in (RATER, GROUP, IMAGE, TRAIT)]
    named = [name for name in labelled if name]
    long = pd.concat([to_long(one.words(named), mapping, one.place) for one in table.sources])
    long = long[long[RATING] != ""]
    names = ImageNames(pictures)
    if IMAGE not in long:
        raise TraitlensError("no column names the picture")
    found: set[str] = set()
    unknown = []
    for name in long[IMAGE].unique():
        images = names.find(str(name), mapping.by_number)
        if len(images) == 1:
            found |= images
        else:
            unknown.append(str(name))

    def unique(word: str) -> tuple[str, ...]:
        return tuple(sorted({str(one) for one in long[word].unique()} - {""})) if word in long else ()

    return Match(
        len(found),
        len(pictures),
        tuple(unknown),
        len(unique(RATER)),
        len(long),
        unique(GROUP),
        unique(TRAIT),
    )
