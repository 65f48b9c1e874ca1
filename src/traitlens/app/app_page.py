"""The app's page: the list of six steps, and the current step."""

import logging
from collections.abc import Callable
from functools import cache, partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nicegui import run, ui

from traitlens.app.elements import button, faults, text
from traitlens.app.steps import begin_step, check_step, pictures_step, ratings_step, read_step, run_step
from traitlens.app.workspace import Step, Workspace
from traitlens.problems import Problem, TraitlensError

if TYPE_CHECKING:
    from traitlens.app.app_server import Session

STEPS: Final[dict[Step, tuple[str, Callable[["AppPage"], None]]]] = {
    "begin": ("Begin", begin_step.draw),
    "pictures": ("Pictures", pictures_step.draw),
    "ratings": ("Ratings", ratings_step.draw),
    "check": ("Check", check_step.draw),
    "run": ("Run", run_step.draw),
    "read": ("Read", read_step.draw),
}
"""Label and drawing function of each step, in order."""

IMPRESSIONS: Final = "Predictions are impressions that raters would form, never facts about the person shown."
PRIVATE: Final = "This page is served to this computer only. Nothing is sent anywhere."


class AppPage:
    """The app's page as shown in one browser window.

    Parameters
    ----------
    session : Session
        State of the server, with the open study.
    """

    def __init__(self, session: "Session"):
        self.session = session
        self.exported: Any = None
        self.collecting: Path | None = None

    @property
    def workspace(self) -> Workspace:
        """Folder and choices of the open study."""
        assert self.session.workspace is not None
        return self.session.workspace

    @property
    def step(self) -> Step:
        """Name of the current step; "begin" if no study is open."""
        return "begin" if self.session.workspace is None else self.session.workspace.choices.step

    def build(self) -> None:
        """Add the page's layout, then draw its contents."""
        ui.add_css(_style())
        ui.add_head_html('<meta name="color-scheme" content="light dark">')
        self._client = ui.context.client
        self._client.run_javascript("document.documentElement.lang = 'en'")
        with ui.element("div").classes("frame"):
            self.rail = ui.element("nav").classes("rail").props('aria-label="Steps"')
            self.main = ui.element("section").classes("step").props("id=step")
        self.draw()

    def draw(self) -> None:
        """Draw the navigation and the current step."""
        self.draw_rail()
        self.main.clear()
        with self.main:
            name, draw = STEPS[self.step]
            number = list(STEPS).index(self.step)
            text("h1", f"{number}. {name}" if number else "traitlens").props('tabindex="-1"')
            self.messages = ui.element("div").props('role="alert"')
            try:
                draw(self)
            except TraitlensError as error:
                self.refuse(error)
            except Exception as error:  # the other steps remain usable if one fails
                message = " ".join(str(error).split())[:200]
                what = f"this step cannot be shown ({type(error).__name__}: {message})"
                self.refuse(TraitlensError(Problem(what, "nothing is lost; please report this")))
                logging.getLogger(__name__).exception("a step cannot be shown")
            with ui.element("footer"):
                text("p", f"{IMPRESSIONS} {PRIVATE}", "faint")

    def draw_rail(self) -> None:
        """Draw the list of steps and mark the current and the finished steps."""
        workspace = self.session.workspace
        self.rail.clear()
        with self.rail:
            text("p", "traitlens" if workspace is None else workspace.folder.name, "study")
        with self.rail, ui.element("ol"):
            for step, (name, _) in STEPS.items():
                is_done = workspace is not None and is_step_done(workspace, step)
                with ui.element("li"):
                    entry = button("", partial(self.go, step))
                    with entry:
                        text("span", "✓" if is_done else str(list(STEPS).index(step)), "mark").props(
                            "aria-hidden=true"
                        )
                        text("span", name)
                        if is_done:
                            text("span", " (done)", "unseen")
                    if step == self.step:
                        entry.props["aria-current"] = "step"
                    if workspace is None and step != "begin":
                        entry.props["disabled"] = True

    def go(self, step: Step) -> None:
        """Show another step and save it as the current step; "begin" closes the study."""
        if step == "begin":
            self.session.close()
        else:
            self.workspace.change(step=step)
        self.draw()
        self.focus("#step h1")
        self._client.run_javascript("window.scrollTo(0, 0)")

    def focus(self, selector: str) -> None:
        """Move the keyboard focus to the first element that matches a CSS selector."""
        self._client.run_javascript(f"document.querySelector('{selector}').focus()")

    def refuse(self, error: TraitlensError) -> None:
        """Show the problems of an error at the top of the step."""
        self.messages.clear()
        with self.messages:
            faults(list(error.problems))

    async def attempt(self, work: Callable[..., object], *arguments: object) -> object:
        """Call a function in a thread, and show the problems if it fails.

        Returns
        -------
        any
            The return value of the function; None if it failed.
        """
        self.messages.clear()
        self.main.props["aria-busy"] = "true"
        try:
            return await run.io_bound(work, *arguments)
        except TraitlensError as error:
            self.refuse(error)
        except OSError as error:
            self.refuse(TraitlensError(Problem(error.strerror or str(error), "", error.filename)))
        finally:
            self.main.props.pop("aria-busy", None)
        return None


def is_step_done(workspace: Workspace, step: Step) -> bool:
    """Return whether a step is complete and marked as done in the list of steps."""
    has_ratings = workspace.has_ratings or bool(workspace.choices.roles)
    return {
        "begin": True,
        "pictures": bool(workspace.pictures),
        "ratings": bool(workspace.pictures) and has_ratings,
        "check": workspace.choices.checked,
        "run": workspace.is_report_current,
        "read": False,
    }[step]


@cache
def _style() -> str:
    """Read the page's style sheet."""
    return (files("traitlens.app") / "page.css").read_text("utf-8")
