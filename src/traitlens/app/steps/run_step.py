"""The step Run: six questions, the plan, the estimated time and memory, and the progress of the run."""

from functools import partial
from typing import TYPE_CHECKING, Final

from nicegui import ui

from traitlens.app import background
from traitlens.app.elements import button, checkbox, choice, faults, field, text
from traitlens.app.questions import QUESTIONS, RunQuestion, read_answers, write_answers
from traitlens.app.settings_editing import write_settings
from traitlens.app.steps.progress_view import begin, draw_progress
from traitlens.collecting.preregistration import freeze_plan, read_plan
from traitlens.problems import Problem, TraitlensError
from traitlens.study.settings_file import read_settings

if TYPE_CHECKING:
    from traitlens.app.app_page import AppPage

TESTS: Final = {
    "means": "Do the groups give different ratings?",
    "performance": "Can the groups' ratings be predicted equally well?",
    "use": "Do the groups use different parts of the face?",
    "pixels": "Do the groups' maps differ at single pixels?",
}
"""Tests that can be planned: the question that a test answers, keyed by the name of its table."""

CLOSE = "You may close this window: the run goes on, and this page shows it when you open it again."


def draw(page: "AppPage") -> None:
    """Draw the step Run."""
    workspace = page.workspace
    if not workspace.choices.checked:
        text("p", "Please check the study first.")
        button("Go to Check", lambda: page.go("check"), "main")
        return
    progress = background.read_progress(workspace.folder, "run")
    if progress.state == "working":
        text("p", CLOSE)
        draw_progress(page, "run")
        return
    if workspace.is_report_current:
        text("p", "The run is finished.", "big good")
        button("Next: read the report", lambda: page.go("read"), "main")
    elif progress.state == "done":
        text("p", "The study or your answers have changed since the last run. Run it again.", "big")
    elif progress.state == "stopped":
        text("p", "The run was stopped. Finished results are stored.", "big")
    elif progress.state == "failed":
        text("p", "The run failed. Results finished before are stored.", "big bad")
        faults(progress.problems)
    text("h2", "Six questions")
    answers = read_answers(workspace.folder)
    for question in QUESTIONS:
        _draw_question(page, question, answers[question.name])
    _draw_plan(page)
    text("h2", "Start")
    _draw_estimate(page)
    with ui.element("div").classes("row"):
        begun = progress.state in ("stopped", "failed")
        label = "Go on" if begun else "Run again" if progress.state == "done" else "Start the run"
        button(label, partial(begin, page, "run"), "" if workspace.is_report_current else "main")


def _draw_estimate(page: "AppPage") -> None:
    """Draw the estimated time and memory; start the estimate in the background if it is missing or old."""
    folder = page.workspace.folder
    box = text("p", "").props('role="status" id="estimate"')
    progress = background.read_progress(folder, "estimate")
    settings = folder / "study.toml"
    is_old = not settings.exists() or settings.stat().st_mtime > progress.started
    if progress.state != "working" and (progress.state == "nothing" or is_old):
        background.start(folder, "estimate")

    def update() -> None:
        now = background.read_progress(folder, "estimate")
        if now.state == "working":
            box.text = "Estimating time and memory …"
            return
        timer.cancel()
        message = background.read_estimate(folder) or "Time and memory could not be estimated."
        box.text = " ".join([message, *(str(problem) for problem in now.problems)])

    timer = ui.timer(1.0, update)
    update()


def _draw_question(page: "AppPage", question: RunQuestion, given: str) -> None:
    """Draw a question with a list of its answers."""
    workspace = page.workspace
    options = {answer.name: answer.label for answer in question.answers}
    if not given:
        options = {"": "as in study.toml"} | options

    def change(value: str) -> None:
        try:
            write_answers(workspace.folder, {question.name: value})
        except TraitlensError as error:
            page.refuse(error)
            return
        workspace.change(answers=workspace.choices.answers | {question.name: value})
        page.draw()
        page.focus(f"#question-{question.name} select")

    with ui.element("div").classes("question").props(f"id=question-{question.name}"):
        choice(question.text, options, given, change)
        text("p", question.help, "faint")


def _plan_test(tests: set[str], name: str, is_planned: bool) -> None:
    """Add a test to the plan, or remove it from the plan."""
    (tests.add if is_planned else tests.discard)(name)


def _draw_plan(page: "AppPage") -> None:
    """Draw the frozen plan, or the button that freezes it."""
    folder = page.workspace.folder
    text("h2", "The plan")
    try:
        plan = read_plan(folder)
    except TraitlensError as error:
        faults(list(error.problems))
        return
    if plan is not None:
        text("p", f"The plan was frozen on {str(plan['frozen'])[:16].replace('T', ' ')} (UTC). ")
        text("p", "The report says for every test whether it was planned.", "faint")
        return
    text(
        "p",
        "Write what you expect, and freeze it with your answers before you look at results: the report then "
        "says for every test whether it was planned. Without a frozen plan all tests are exploratory.",
    )
    planned = read_settings(folder / "study.toml")[0].plan
    tests = set(planned.tests)
    expected = {"text": " ".join(planned.hypotheses)}
    field("What do you expect?", expected["text"], lambda value: expected.update(text=value), 60)
    with ui.element("fieldset"):
        text("legend", "Planned tests")
        for name, label in TESTS.items():
            checkbox(label, name in tests, partial(_plan_test, tests, name))

    def freeze() -> None:
        hypotheses = [expected["text"].strip()] if expected["text"].strip() else []
        if not hypotheses and not tests:
            page.refuse(
                TraitlensError(
                    Problem("there is nothing to freeze", "enter a hypothesis or select a planned test")
                )
            )
            return
        try:
            plan = {("plan", "hypotheses"): hypotheses, ("plan", "tests"): sorted(tests)}
            write_settings(folder, plan)
            freeze_plan(folder)
        except TraitlensError as error:
            page.refuse(error)
            return
        page.draw()

    button("Freeze the plan", lambda: freeze())
