"""Output of the command line: print results to standard output, messages and progress to standard error."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import typer
from rich.console import Console, RenderableType
from rich.markup import escape

from traitlens.problems import Problem

USER_ERROR = 2
"""Exit code for errors that the user can fix."""

output = Console(highlight=False)
messages = Console(stderr=True, highlight=False)


def print_result(facts: Mapping[str, Any], *text: RenderableType) -> None:
    """Print the result of a command as text or, with `--json`, as one JSON object."""
    if output.quiet:
        print(json.dumps(facts, ensure_ascii=False, default=_to_plain), flush=True)
    for part in text:
        output.print(escape(part) if isinstance(part, str) else part, soft_wrap=True)


def _to_plain(value: Any) -> Any:
    """Convert a table to a list of rows with null for missing values, and other values to text, for JSON."""
    if hasattr(value, "to_json"):
        return json.loads(value.to_json(orient="records", double_precision=12))
    return str(value)


def print_problems(problems: tuple[Problem, ...]) -> None:
    """Print errors that the user can fix: one line for each or, with `--json`, as one JSON object."""
    for problem in problems:
        messages.print(f"[red]✗[/red] {escape(str(problem))}", soft_wrap=True)
    if len(problems) > 1:
        messages.print(f"{len(problems)} errors. Fix them and run the command again.")
    if output.quiet:
        print_result({"problems": [vars(problem) for problem in problems]})


def print_only_json(wanted: bool) -> None:
    """Set whether standard output contains only JSON, without results as text."""
    output.quiet = wanted


class Terminal:
    """Display progress: in a terminal as a bar with the time left, otherwise as lines of text."""

    def say(self, text: str) -> None:
        """Print a message to standard error."""
        messages.print(escape(text))

    def stage(self, name: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        """Display the progress of a stage with `total` steps; return a context that yields `advance`."""
        return self._progress_bar(name, total) if messages.is_terminal else self._progress_lines(name, total)

    @contextmanager
    def _progress_bar(self, name: str, total: int) -> Iterator[Callable[[int], None]]:
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
    def _progress_lines(self, name: str, total: int) -> Iterator[Callable[[int], None]]:
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
    """Print a text, ask whether to continue, and return the answer."""
    messages.print(escape(text))
    return typer.confirm("Continue?", err=True)
