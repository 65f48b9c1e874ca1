"""Page elements for the app and the explorer: native HTML elements, usable by keyboard and screen reader."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from traitlens.problems import Problem

Handler = Callable[[Any], Awaitable[None] | None]

UPLOAD = """async (event) => {
  const chosen = [...event.target.files], input = event.target;
  if (!chosen.length) return;
  const kept = [], refused = [];
  for (const [number, file] of chosen.entries()) {
    const name = (file.webkitRelativePath || file.name).split('/').slice(FROM).join('/') || file.name;
    emit({done: number, total: chosen.length});
    try {
      const answer = await fetch('ADDRESS?name=' + encodeURIComponent(name), {method: 'POST', body: file});
      if (answer.ok) kept.push(await answer.json()); else refused.push(name + ': ' + await answer.text());
    } catch (error) { refused.push(name + ': upload failed (the file may be too large)'); }
  }
  input.value = '';
  emit({done: chosen.length, total: chosen.length, kept, refused, finished: true});
}"""
"""JavaScript handler that uploads the chosen files one after the other and emits its progress."""


def text(tag: str, content: str, classes: str = "") -> Any:
    """Add an HTML element with text; the text is escaped."""
    element = TextElement(tag=tag, text=content)
    return element.classes(classes) if classes else element


def button(label: str, on_click: Callable[[], Awaitable[None] | None], classes: str = "") -> Any:
    """Add a button."""
    element = text("button", label, classes)
    element.props["type"] = "button"
    return element.on("click", lambda _event: on_click())


def link(label: str, address: str, download: bool = False) -> Any:
    """Add a link that opens in a new tab, or downloads a file."""
    element = text("a", label)
    element.props["href"] = address
    if download:
        element.props["download"] = True
    else:
        element.props["target"] = "_blank"
    return element


def choice(
    label: str,
    options: Mapping[str, str],
    value: str,
    on_change: Callable[[str], Awaitable[None] | None],
    show_label: bool = True,
) -> Any:
    """Add a labelled drop-down list."""
    with ui.element("div").classes("field"):
        named = text("label", label, "" if show_label else "unseen")
        select = ui.element("select")
        named.props["for"] = select.html_id
        with select:
            for name, shown in options.items():
                option = text("option", shown)
                option.props["value"] = name
                if name == value:
                    option.props["selected"] = True
    return select.on(
        "change", lambda event: on_change(str(event.args)), js_handler="(event) => emit(event.target.value)"
    )


def field(label: str, value: str, on_change: Callable[[str], Awaitable[None] | None], size: int = 30) -> Any:
    """Add a labelled text field."""
    with ui.element("div").classes("field"):
        named = text("label", label)
        element = ui.element("input")
        named.props["for"] = element.html_id
        # Set as an attribute, because updates of the page would overwrite typed text in a property.
        element.props["^value"], element.props["size"], element.props["autocomplete"] = value, size, "off"
    return element.on(
        "change", lambda event: on_change(str(event.args)), js_handler="(event) => emit(event.target.value)"
    )


def checkbox(label: str, value: bool, on_change: Callable[[bool], Awaitable[None] | None]) -> Any:
    """Add a labelled checkbox."""
    with ui.element("div").classes("tick"):
        element = ui.element("input")
        element.props["type"] = "checkbox"
        if value:
            element.props["checked"] = True
        text("label", label).props["for"] = element.html_id
    return element.on(
        "change",
        lambda event: on_change(bool(event.args)),
        js_handler="(event) => emit(event.target.checked)",
    )


def files(label: str, address: str, on_event: Handler, accept: str = "", folder: bool = False) -> Any:
    """Add a labelled field that uploads a file, or all files of a folder, to an address."""
    with ui.element("div").classes("field"):
        named = text("label", label)
        element = ui.element("input")
        named.props["for"] = element.html_id
        element.props["type"] = "file"
        if accept:
            element.props["accept"] = accept
        if folder:
            element.props["webkitdirectory"] = True
            element.props["multiple"] = True
    handler = UPLOAD.replace("ADDRESS", address).replace("FROM", "1" if folder else "-1")
    return element.on("change", on_event, js_handler=handler)


def faults(problems: list[Problem], classes: str = "faults") -> None:
    """Add a list of problems, each with its location, description and advice."""
    with ui.element("ul").classes(classes):
        for problem in problems:
            with ui.element("li"):
                place = [problem.file or "", "" if problem.row is None else f"row {problem.row}"]
                place.append("" if problem.column is None else f"column “{problem.column}”")
                where = ", ".join(part for part in place if part)
                if where:
                    text("span", where, "where")
                text("span", sentence(problem.what))
                if problem.advice:
                    text("span", sentence(problem.advice), "advice")


def sentence(clause: str) -> str:
    """Return a clause as a sentence, with a capital letter and a full stop."""
    clause = clause.strip()
    end = "" if clause.endswith((".", "!", "?")) else "."
    return clause[:1].upper() + clause[1:] + end if clause else ""
