"""Output of the command line: results on standard output, messages and progress on standard error."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import typer
from rich.console import Console, RenderableType
from rich.markup import escape

from traitlens.problems import Problem

FAULT = 2
"""Exit code for errors that the user can fix."""

output = Console(highlight=False)
messages = Console(stderr=True, highlight=False)


def answer(facts: Mapping[str, Any], *text: RenderableType) -> None:
    """Print a command's result: as text, or as one JSON object with `--json`."""
    if output.quiet:
        print(json.dumps(facts, ensure_ascii=False, default=_plain), flush=True)
    for part in text:
        output.print(escape(part) if isinstance(part, str) else part, soft_wrap=True)


def _plain(value: Any) -> Any:
    """Convert a table to a list of rows (missing numbers are null), and anything else to text."""
    if hasattr(value, "to_json"):
        return json.loads(value.to_json(orient="records", double_precision=12))
    return str(value)


def refuse(problems: tuple[Problem, ...]) -> None:
    """Print errors that the user can fix, one line for each problem, or as JSON."""
    for problem in problems:
        messages.print(f"[red]✗[/red] {escape(str(problem))}", soft_wrap=True)
    if len(problems) > 1:
        messages.print(f"{len(problems)} faults. Fix them and run the command again.")
    if output.quiet:
        answer({"problems": [vars(problem) for problem in problems]})


def answer_as_json(wanted: bool) -> None:
    """Print messages elsewhere, so that standard output holds only JSON."""
    output.quiet = wanted


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
    """Show a text and ask for confirmation."""
    messages.print(escape(text))
    return typer.confirm("Go on?", err=True)
