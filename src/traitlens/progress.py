"""Interface for showing the progress of long computations."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

Advance = Callable[[int], None]
"""Function to be called with the number of steps done since the last call."""


class Watcher(Protocol):
    """Interface of objects that show the progress of a computation, such as a terminal or a log."""

    def stage(self, name: str, total: int) -> AbstractContextManager[Advance]:
        """Return a context for a stage of `total` steps; it yields a function that reports finished steps."""

    def say(self, text: str) -> None:
        """Show a line of text."""


class SilentWatcher:
    """A watcher that shows nothing."""

    def stage(self, name: str, total: int) -> AbstractContextManager[Advance]:  # noqa: ARG002
        """Return a context that shows nothing."""
        return nullcontext(lambda steps: None)

    def say(self, text: str) -> None:
        """Do nothing."""
