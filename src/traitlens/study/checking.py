"""Checks of a study's tables: raters, variance, number of identities, and spelling of names."""

from collections.abc import Iterable

import pandas as pd

from traitlens.columns import GROUP, IDENTITY, IMAGE, RATER, RATING, TRAIT
from traitlens.problems import Problem
from traitlens.study.identifiers import find_spellings
from traitlens.study.settings import Settings
from traitlens.study.tables import MOST_LINES

FEWEST_IDENTITIES = 6
"""Minimum number of identities that a group must rate on a trait: three to fit and three to test, in two
folds."""


def check_choices(table: pd.DataFrame, settings: Settings, file: str) -> list[Problem]:
    """Report groups and traits that the settings name but the ratings do not contain."""
    problems = []
    for column, named in ((GROUP, settings.groups), (TRAIT, settings.traits)):
        present = set(table[column].unique())
        problems += [
            Problem(
                f"{column} {name!r}, named in study.toml, does not occur",
                f"found: {', '.join(sorted(present))}",
                file,
                column=column,
            )
            for name in named
            if name not in present
        ]
    return problems


def check_spellings(table: pd.DataFrame, file: str) -> tuple[list[Problem], list[Problem]]:
    """Report groups and traits whose names differ only in case or leading zeros; notices for such raters."""
    problems, notices = [], []
    for word in (GROUP, TRAIT, RATER):
        for several in (
            find_spellings(table[word].unique(), leading_zeros=True).values() if word in table else ()
        ):
            message = (
                f"{' and '.join(map(repr, several))} differ only in upper and lower case or leading zeros"
            )
            if word == RATER:
                notices.append(
                    Problem(f"raters {message}, and are taken as different people", file=file, column=word)
                )
            else:
                problems.append(Problem(message, f"use one spelling for each {word}", file, column=word))
    return problems, notices


def check_raters(table: pd.DataFrame, file: str) -> list[Problem]:
    """Report groups in which a trait has a single rater, and raters who are in two groups."""
    if RATER not in table:
        return []
    problems = []
    first = table.reset_index().groupby([GROUP, TRAIT], sort=True)
    for (group, trait), part in first:
        if part[RATER].nunique() < 2:
            problems.append(
                Problem(
                    f"group {group!r} has one rater for trait {trait!r}",
                    "a group needs at least two raters",
                    file,
                    int(part["index"].iloc[0]) + 2,
                    GROUP,
                )
            )
    groups = table.groupby(RATER)[GROUP].nunique()
    for rater in groups.index[groups > 1]:
        rows = table[table[RATER] == rater]
        other = rows[rows[GROUP] != rows[GROUP].iloc[0]]
        problems.append(
            Problem(
                f"rater {rater!r} belongs to two groups",
                "give different raters different names",
                file,
                int(other.index[0]) + 2,
                GROUP,
            )
        )
    return problems


def check_variance(table: pd.DataFrame, file: str) -> list[Problem]:
    """Report traits that a group rated without variance, and that can therefore not be predicted."""
    problems = []
    for (group, trait), part in table.groupby([GROUP, TRAIT], sort=True):
        values = part[RATING].dropna()
        if len(values) and values.nunique() == 1:
            problems.append(
                Problem(
                    f"trait {trait!r} has no variance in group {group!r}: every rating is {values.iloc[0]:g}",
                    "remove the trait or correct its ratings",
                    file,
                    int(part.index[0]) + 2,
                    RATING,
                )
            )
    return problems


def check_enough(images: pd.DataFrame, ratings: pd.DataFrame, settings: Settings) -> list[Problem]:
    """Report groups that rated too few identities on a trait for the folds."""
    identities = images.set_index(IMAGE)[IDENTITY]
    needed = max(2 * settings.folds.number, FEWEST_IDENTITIES)
    counts: Iterable = (
        ratings.assign(**{IDENTITY: ratings[IMAGE].map(identities)})
        .groupby([GROUP, TRAIT])[IDENTITY]
        .nunique()
        .items()
    )
    return [
        Problem(
            f"group {group!r} rated {count} identities on trait {trait!r}, but {settings.folds.number} folds "
            f"need {needed}",
            "add images" if needed == FEWEST_IDENTITIES else "add images or lower folds.number in study.toml",
            "ratings.csv",
        )
        for (group, trait), count in counts
        if count < needed
    ]


def check_listed(ratings: pd.DataFrame, images: pd.DataFrame) -> list[Problem]:
    """Report rated images that `images.csv` does not list."""
    unlisted = sorted(set(ratings[IMAGE].unique()) - set(images[IMAGE]))
    return [
        Problem(f"image {name!r} is rated but not listed", "add it, or remove its ratings", "images.csv")
        for name in unlisted[:MOST_LINES]
    ]
