"""Display of the progress of a background task."""

from functools import partial
from typing import TYPE_CHECKING

from nicegui import ui

from traitlens.app import background
from traitlens.app.background import Progress, Task
from traitlens.app.elements import button, text

if TYPE_CHECKING:
    from traitlens.app.app_page import AppPage


def draw_progress(page: "AppPage", task: Task) -> None:
    """Draw the progress of a task, updated every second, and redraw the step when the task ends."""
    folder = page.workspace.folder
    box = ui.element("div").classes("progress").props('role="status"')
    shown: list[object] = []

    def update() -> None:
        progress = background.read_progress(folder, task)
        if progress.state != "working":
            timer.cancel()
            page.draw()
            return
        present = [progress.stages, progress.said, progress.planned]
        if present != shown:
            shown[:] = present
            box.clear()
            with box:
                draw_stages(progress)

    with box:
        draw_stages(background.read_progress(folder, task))
    if background.is_stopping(folder, task):
        text("p", "Stopping after this step …").props('role="status"')
    else:
        button("Stop", partial(_stop, page, task))
    timer = ui.timer(1.0, update)


def begin(page: "AppPage", task: Task) -> None:
    """Start a task in the background, and redraw the step, which shows its progress."""
    background.start(page.workspace.folder, task)
    page.draw()


def _stop(page: "AppPage", task: Task) -> None:
    """Ask a task to stop, and redraw the step, which shows that it is stopping."""
    background.stop(page.workspace.folder, task)
    page.draw()


def draw_stages(progress: Progress) -> None:
    """Draw the list of finished stages, the current stage, and the stages to come."""
    begun = {name for name, _, _ in progress.stages}
    if not progress.stages:
        text("p", "Starting …")
    with ui.element("ol").classes("stages"):
        for number, (name, done, total) in enumerate(progress.stages):
            is_last = number == len(progress.stages) - 1
            with ui.element("li").classes("now" if is_last else "done"):
                text("span", name)
                if is_last and total > 1:
                    bar = ui.element("progress")
                    bar.props["max"], bar.props["value"] = total, done
                    bar.props["aria-label"] = name
                    text("span", f"{done} of {total}", "faint")
                elif not is_last:
                    text("span", "done", "faint")
        for name in progress.planned:
            if name not in begun:
                text("li", name, "later")
