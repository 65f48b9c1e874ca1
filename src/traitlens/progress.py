"""Progress of long work, shown by the terminal, a log, or not at all."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

Advance = Callable[[int], None]
"""Called with the number of further steps done."""


class Watcher(Protocol):
    """An object that shows the progress of long work."""

    def stage(self, name: str, total: int) -> AbstractContextManager[Advance]:
        """Begin a stage; the context returns a function to be called with the number of steps done."""

    def say(self, text: str) -> None:
        """Show a line of text."""


class SilentWatcher:
    """A watcher that shows nothing."""

    def stage(self, name: str, total: int) -> AbstractContextManager[Advance]:  # noqa: ARG002
        """Ignore a stage."""
        return nullcontext(lambda steps: None)

    def say(self, text: str) -> None:
        """Ignore a line of text."""
