"""The step Read: the report, the explorer, the figures, the methods text, and everything as a zip file."""

from functools import partial
from typing import TYPE_CHECKING, Final

from nicegui import ui

from traitlens.app.elements import button, choice, link, text
from traitlens.app.export import FORMS, make_zip
from traitlens.problems import TraitlensError

if TYPE_CHECKING:
    from traitlens.app.app_page import AppPage

SUFFIXES: Final = ("svg", "png")
COPY: Final = """() => {
  navigator.clipboard.writeText(document.getElementById('methods').innerText)
  document.getElementById('copied').textContent = 'Copied.' }"""


def draw(page: "AppPage") -> None:
    """Draw the step Read."""
    workspace = page.workspace
    if not workspace.report.exists():
        text("p", "There is no report yet.")
        button("Go to Run", lambda: page.go("run"), "main")
        return
    if not workspace.is_report_current:
        text("p", "The study or your answers have changed since this report was made.", "note")
    with ui.element("div").classes("row"):
        link("Open the report in a new tab", "/results/report.html")
        button("Open the explorer", lambda: _explore(page))
        copy = text("button", "Copy the methods text").props("type=button")
        copy.on("click", js_handler=COPY)
        text("span", "").props('id="copied" role="status"')
    with ui.element("div").classes("row"):
        for form, name in FORMS.items():
            button(f"Zip file for {name}", partial(_export, page, form))
    text("p", "The zip file holds ratings, results, report and figures, without the pictures.", "faint")
    page.exported = ui.element("div").props('role="status"')
    with page.exported:
        _list_exports(page)
    _draw_figures(page)
    text("h2", "Report")
    frame = ui.element("iframe").classes("report")
    frame.props["src"], frame.props["title"] = "/results/report.html", "The report"
    _draw_methods(page)


async def _export(page: "AppPage", form: str) -> None:
    """Write a zip file for another program, and list it for download."""
    file = await page.attempt(make_zip, page.workspace, form)
    if file is not None:
        page.exported.clear()
        with page.exported:
            _list_exports(page)


def _list_exports(page: "AppPage") -> None:
    """Draw a download link for each exported zip file."""
    for file in sorted((page.workspace.folder / "exports").glob("*.zip")):
        with ui.element("p"):
            link(f"Download {file.name} ({file.stat().st_size / 1e6:.1f} MB)", f"/exports/{file.name}", True)


def _draw_methods(page: "AppPage") -> None:
    """Draw the methods text, which can be copied."""
    # Imported here so that the app starts fast.
    from traitlens.report.results import read_results
    from traitlens.report.wording import describe_methods

    text("h2", "Methods text")
    try:
        methods = describe_methods(read_results(page.workspace.results))
    except (TraitlensError, OSError, KeyError, ValueError):
        text("p", "The methods text cannot be shown here. Look for it in the report.")
        return
    with ui.element("div").classes("paper").props('id="methods" tabindex="0" role="region"') as paper:
        paper.props["aria-label"] = "Methods text"
        for paragraph in [*methods.paragraphs, "References", *methods.references]:
            text("p", paragraph)


def _draw_figures(page: "AppPage") -> None:
    """Draw a list of the figures, and links to the files of the chosen figure."""
    figures = page.workspace.results / "figures"
    names = sorted({file.stem for file in figures.glob("*.svg") if not file.stem.endswith("_89mm")})
    if not names:
        return
    text("h2", "Figures")
    row = ui.element("div").classes("row")

    def show(name: str) -> None:
        shown.clear()
        with shown:
            for suffix in SUFFIXES:
                for width, stem in (("", name), (", one column wide", f"{name}_89mm")):
                    if (figures / f"{stem}.{suffix}").exists():
                        link(f"{suffix.upper()}{width}", f"/results/figures/{stem}.{suffix}", True)

    with row:
        choice("Figure to download", {name: name.replace("_", " ") for name in names}, names[0], show)
        shown = ui.element("div").classes("row links")
    show(names[0])


async def _explore(page: "AppPage") -> None:
    """Start the explorer in a separate process, and open its page."""
    address = await page.attempt(page.session.start_explorer, page.workspace.results)
    if address:
        ui.navigate.to(str(address), new_tab=True)
