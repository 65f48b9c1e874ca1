"""Who is told how far the work is: the terminal, a log, or nobody."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

Advance = Callable[[int], None]
"""Told how many more steps are done."""


class Watcher(Protocol):
    """Who is told how far the work is."""

    def stage(self, name: str, total: int) -> AbstractContextManager[Advance]:
        """Begin a stage of so many steps; the context gives a function that is told of steps done."""

    def say(self, text: str) -> None:
        """Take a line of text."""


class SilentWatcher:
    """A watcher that tells nobody."""

    def stage(self, name: str, total: int) -> AbstractContextManager[Advance]:  # noqa: ARG002
        """Pass over a stage."""
        return nullcontext(lambda steps: None)

    def say(self, text: str) -> None:
        """Pass over a line of text."""
