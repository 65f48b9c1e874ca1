"""Errors and warnings: what is wrong, where, and what to do.

A check collects :class:`Problem` objects and raises them together, so that a researcher can fix all of them
at once. Every error that a user can cause is a :class:`TraitlensError`; the command line prints its problems,
one line each, and exits with code 2.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

LONGEST_LINE = 4000
"""Maximum number of characters of a printed problem."""

_COMMANDING = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, line separators, signs that change the direction of text, and halves of characters."""


@dataclass(frozen=True)
class Problem:
    """One fault, with what the user can do about it.

    Parameters
    ----------
    what : str
        What is wrong, as a full clause ("the rating is not a number").
    advice : str
        What to do about it; may be empty.
    file : str or None
        The file that holds the fault, as the user knows it.
    row : int or None
        Line of the file, as a spreadsheet counts it (the header is row 1).
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
        return _plain(f"{text}; {self.advice}" if self.advice else text)


def _plain(text: str) -> str:
    """Escape signs that break or turn a line or command a terminal: names may come from files of others."""
    shown = _COMMANDING.sub(lambda sign: sign[0].encode("unicode_escape").decode(), text)
    return shown if len(shown) <= LONGEST_LINE else f"{shown[: LONGEST_LINE - 4]} ..."


class TraitlensError(Exception):
    """An error that the user can fix; holds every problem found."""

    def __init__(self, problems: Problem | str | Sequence[Problem]):
        if isinstance(problems, str):
            problems = Problem(problems)
        self.problems: tuple[Problem, ...] = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


@contextmanager
def naming_file(file: str) -> Iterator[None]:
    """Name a file in the problems of an error that is raised inside.

    Parameters
    ----------
    file : str
        The file, for problems that name none.

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
    """The study on disk has faults."""


class WeightsError(TraitlensError):
    """The backbone's weights are not available or not the right ones."""


class ModelError(TraitlensError):
    """A saved model cannot be read or is not safe to use."""


def nearest(name: str, choices: Iterable[str], count: int = 3) -> list[str]:
    """Return the choices most similar to a name.

    Parameters
    ----------
    count : int, default 3
        Maximum number of choices.

    Returns
    -------
    list of str
        The nearest choices, best first; may be empty.

    Examples
    --------
    >>> nearest("rigde", ["ridge", "dense"])
    ['ridge']
    """
    by_lower = {choice.lower(): choice for choice in choices}
    found = difflib.get_close_matches(name.lower(), by_lower, n=count, cutoff=0.5)
    return [by_lower[lower] for lower in found]


def unknown_choice(what: str, got: str, choices: Iterable[str]) -> TraitlensError:
    """Return the error for a name that is not among the choices.

    Parameters
    ----------
    what : str
        What is being chosen ("readout", "method").

    Returns
    -------
    TraitlensError
        The error, to be raised by the caller.

    Examples
    --------
    >>> print(unknown_choice("readout", "rigde", ["ridge", "dense"]))
    unknown readout 'rigde'; did you mean 'ridge'? Choices: dense, ridge
    """
    choices = sorted(choices)
    near = nearest(got, choices, 1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return TraitlensError(Problem(f"unknown {what} {got!r}", f"{hint}Choices: {', '.join(choices)}"))
