"""Errors and notices that say what is wrong, where, and what to do.

A check collects :class:`Problem` objects and raises them together, so that a researcher can correct all of
them at once. Every error that a user can cause is a :class:`TraitlensError`. The command line prints its
problems, one per line, and exits with code 2.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

LONGEST_LINE = 4000
"""Maximum number of characters of a problem's message."""

_CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, line separators, marks that change the direction of text, and surrogates."""


@dataclass(frozen=True)
class Problem:
    """An error or notice, its location, and advice.

    Parameters
    ----------
    what : str
        What is wrong, as a clause such as "the rating is not a number".
    advice : str
        What the user can do about it; may be empty.
    file : str or None
        The file in which the problem is, by the name that the user knows.
    row : int or None
        Row of the file, as a spreadsheet counts rows (the header is row 1).
    column : str or None
        Name of the column.

    Examples
    --------
    >>> print(Problem("the rating is off the scale 1 to 7", "correct it", "ratings.csv", 12, "rating"))
    ratings.csv, row 12, column 'rating': the rating is off the scale 1 to 7; correct it
    """

    what: str
    advice: str = ""
    file: str | None = None
    row: int | None = None
    column: str | None = None

    def __str__(self) -> str:
        where = [
            self.file or "",
            f"row {self.row}" if self.row is not None else "",
            f"column {self.column!r}" if self.column is not None else "",
        ]
        place = ", ".join(part for part in where if part)
        text = f"{place}: {self.what}" if place else self.what
        return _escape(f"{text}; {self.advice}" if self.advice else text)


def _escape(text: str) -> str:
    """Escape control characters, which names in files of unknown origin may contain, and shorten the text."""
    shown = _CONTROL_CHARACTERS.sub(lambda sign: sign[0].encode("unicode_escape").decode(), text)
    return shown if len(shown) <= LONGEST_LINE else f"{shown[: LONGEST_LINE - 4]} ..."


class TraitlensError(Exception):
    """An error that the user can correct, with a list of problems."""

    def __init__(self, problems: Problem | str | Sequence[Problem]):
        if isinstance(problems, str):
            problems = Problem(problems)
        self.problems: tuple[Problem, ...] = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


@contextmanager
def naming_file(file: str) -> Iterator[None]:
    """Add the name of a file to the problems of a :class:`TraitlensError` raised in the `with` block.

    Problems that already name a file are not changed.

    Examples
    --------
    >>> with naming_file("a.jpg"):
    ...     raise TraitlensError("it has no face")
    Traceback (most recent call last):
    traitlens.problems.TraitlensError: a.jpg: it has no face
    """
    try:
        yield
    except TraitlensError as error:
        named = [replace(problem, file=problem.file or file) for problem in error.problems]
        raise type(error)(named) from None


class StudyError(TraitlensError):
    """Raised for a study or a table with errors."""


class WeightsError(TraitlensError):
    """Raised if the weights of the network are missing or are not the expected ones."""


class ModelError(TraitlensError):
    """Raised if a saved model cannot be read or is not safe to use."""


def nearest(name: str, choices: Iterable[str], count: int = 3) -> list[str]:
    """Return at most `count` of the choices that are similar to a name, the most similar first.

    Examples
    --------
    >>> nearest("rigde", ["ridge", "dense"])
    ['ridge']
    """
    by_lower = {choice.lower(): choice for choice in choices}
    found = difflib.get_close_matches(name.lower(), by_lower, n=count, cutoff=0.5)
    return [by_lower[lower] for lower in found]


def unknown_choice(what: str, got: str, choices: Iterable[str]) -> TraitlensError:
    """Create the error for a name that is not among the choices of `what`, such as a readout or a method.

    Examples
    --------
    >>> print(unknown_choice("readout", "rigde", ["ridge", "dense"]))
    unknown readout 'rigde'; did you mean 'ridge'? Choices: dense, ridge
    """
    choices = sorted(choices)
    near = nearest(got, choices, 1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return TraitlensError(Problem(f"unknown {what} {got!r}", f"{hint}Choices: {', '.join(choices)}"))
