"""Page elements: native buttons, fields and lists, accessible by keyboard and screen readers."""

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
"""Script that uploads chosen files one after the other, and shows its progress."""


def text(tag: str, content: str, classes: str = "") -> Any:
    """Add a text, which is escaped."""
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
    more: tuple[str, Mapping[str, str]] | None = None,
) -> Any:
    """Add a drop-down list with its label; further options follow under a heading."""

    def add(entries: Mapping[str, str]) -> None:
        for name, shown in entries.items():
            option = text("option", shown)
            option.props["value"] = name
            if name == value:
                option.props["selected"] = True

    with ui.element("div").classes("field"):
        named = text("label", label, "" if show_label else "unseen")
        select = ui.element("select")
        named.props["for"] = select.html_id
        with select:
            add(options)
            if more is not None and more[1]:
                with ui.element("optgroup") as heading:
                    heading.props["label"] = more[0]
                    add(more[1])
    return select.on(
        "change", lambda event: on_change(str(event.args)), js_handler="(event) => emit(event.target.value)"
    )


def field(label: str, value: str, on_change: Callable[[str], Awaitable[None] | None], size: int = 30) -> Any:
    """Add a text field with its label."""
    with ui.element("div").classes("field"):
        named = text("label", label)
        element = ui.element("input")
        named.props["for"] = element.html_id
        # As an attribute, so that changes elsewhere on the page do not overwrite typed text.
        element.props["^value"], element.props["size"], element.props["autocomplete"] = value, size, "off"
    return element.on(
        "change", lambda event: on_change(str(event.args)), js_handler="(event) => emit(event.target.value)"
    )


def tick(label: str, value: bool, on_change: Callable[[bool], Awaitable[None] | None]) -> Any:
    """Add a checkbox with its label."""
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
    """Add a button that opens the browser's dialogue to choose files or a folder."""
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
    """Add a list of faults: location, description, and what to do."""
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
    """Return a clause as a sentence."""
    clause = clause.strip()
    end = "" if clause.endswith((".", "!", "?")) else "."
    return clause[:1].upper() + clause[1:] + end if clause else ""
