"""What the command line says: results on standard output, messages and progress beside it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import typer
from rich.console import Console
from rich.markup import escape

output = Console(highlight=False)
messages = Console(stderr=True, highlight=False)


class Terminal:
    """Shows progress: a bar with the time left in a terminal, plain lines in a log."""

    def say(self, text: str) -> None:
        """Print a line."""
        messages.print(escape(text))

    def stage(self, name: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        """Show a stage's progress."""
        return self._bar(name, total) if messages.is_terminal else self._lines(name, total)

    @contextmanager
    def _bar(self, name: str, total: int) -> Iterator[Callable[[int], None]]:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description:<24}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=messages) as progress:
            task = progress.add_task(escape(name), total=total)
            yield lambda steps: progress.advance(task, steps)
            progress.update(task, completed=total)

    @contextmanager
    def _lines(self, name: str, total: int) -> Iterator[Callable[[int], None]]:
        done = tenth = 0

        def advance(steps: int) -> None:
            nonlocal done, tenth
            done += steps
            if total >= 50 and done * 10 // total > tenth and done < total:
                tenth = done * 10 // total
                self.say(f"  {done} of {total}")

        self.say(f"{name} ({total})" if total > 1 else name)
        yield advance


def confirm(text: str) -> bool:
    """Show a text and ask whether to go on."""
    messages.print(escape(text))
    return typer.confirm("Go on?", err=True)
