"""The step Begin: recent studies, a new study, the demonstration, and a check of the installation."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from nicegui import run, ui

from traitlens.app import background
from traitlens.app.elements import button, choice, field, text
from traitlens.app.steps.collecting_view import draw_collecting
from traitlens.app.workspace import default_studies_folder, is_inside, list_recent_studies
from traitlens.problems import Problem, TraitlensError
from traitlens.study.reading import find_images

if TYPE_CHECKING:
    from traitlens.administration.installation import InstallationCheck
    from traitlens.app.app_page import AppPage

LIGHTS: Final = {"good": "ready", "missing": "optional", "bad": "must be fixed"}
WELCOME: Final = (
    "You need pictures of faces and a table of ratings of them. traitlens shows which parts of the "
    "faces went with the ratings, and whether two groups of raters differ in this."
)
COLLECT: Final = (
    "Ratings can be collected in a browser of this computer. Begin a study above and choose its pictures; "
    "then start the rating session here or in the step Ratings."
)
NEEDED: Final = (
    "You need the pictures (JPEG, PNG, TIFF or WebP) in a folder, and the ratings as Excel, CSV, SPSS or as "
    "your experiment software saved them. Nothing that you choose here changes your own files: copies are "
    "made in the study's folder."
)


def draw(page: "AppPage") -> None:
    """Draw the step Begin."""
    text("p", WELCOME)
    text("p", NEEDED)
    recent = list_recent_studies()
    if recent:
        text("h2", "Continue a study")
        with ui.element("ul").classes("list"):
            for folder in recent:
                with ui.element("li"):
                    button(folder.name, partial(_open, page, folder), "link")
                    text("span", str(folder.parent), "faint")
    text("h2", "Begin a new study")
    place = {"name": "", "parent": str(default_studies_folder())}
    with ui.element("div").classes("row"):
        field("Name of the study", "", lambda value: place.update(name=value))
        field("In the folder", place["parent"], lambda value: place.update(parent=value), 50)
    with ui.element("div").classes("row"):
        button("Begin", lambda: _begin(page, place), "main")
        button("Try the demonstration", lambda: _demonstrate(page, place))
    text(
        "p",
        "The demonstration draws 200 faces and simulates two groups of raters whose differences are known.",
        "faint",
    )
    with ui.element("details"):
        text("summary", "Open a study in another folder")
        other = {"folder": ""}
        field("Folder of the study", "", lambda value: other.update(folder=value), 50)
        button("Open", lambda: _open_other(page, other["folder"]))
    _draw_collecting(page, [folder for folder in recent if find_images(folder)])
    text("h2", "Is traitlens installed correctly?")
    waiting = text("p", "Looking …").props('role="status"')
    box = ui.element("div")

    async def look() -> None:
        found = await run.io_bound(_look_at_installation)
        if not box.is_deleted:
            waiting.delete()
            with box:
                _draw_installation(found)

    ui.timer(0, look, once=True)


def _draw_collecting(page: "AppPage", studies: list[Path]) -> None:
    """Draw the rating session of one of the recent studies; that of a running one first."""
    running = [one for one in studies if background.read_progress(one, "collect").state == "working"]
    with ui.element("details") as part:
        if running or page.collecting is not None:
            part.props["open"] = True
        text("summary", "Collect ratings from participants")
        if not studies:
            text("p", COLLECT)
            return
        chosen = page.collecting if page.collecting in studies else (running or studies)[0]

        def choose(value: str) -> None:
            page.collecting = Path(value)
            page.draw()

        choice("Study", {str(one): one.name for one in studies}, str(chosen), choose)
        draw_collecting(page, chosen)


def _look_at_installation() -> "list[InstallationCheck]":
    """Check the installation; called in a thread, because it loads PyTorch."""
    from traitlens.administration.installation import check_installation

    return check_installation(default_studies_folder())


def _draw_installation(found: "list[InstallationCheck]") -> None:
    """Draw the result of the installation check as a traffic light, with its items in a list."""
    worst = "bad" if any(one.state == "bad" for one in found) else "good"
    with ui.element("p").classes(f"light {worst}"):
        text("span", "Yes." if worst == "good" else "No: see the items marked red.")
    with ui.element("details"):
        text("summary", "Items checked")
        with ui.element("ul").classes("lights"):
            for one in found:
                _draw_light(one)


def _draw_light(one: "InstallationCheck") -> None:
    """Draw one item of the installation check."""
    with ui.element("li").classes(f"light {one.state}"):
        text("strong", f"{one.what} ({LIGHTS[one.state]}): ")
        text("span", one.message)


def _open(page: "AppPage", folder: Path) -> None:
    """Open a study and go to the step where it was left."""
    try:
        page.session.open(folder)
    except TraitlensError as error:
        page.refuse(error)
        return
    page.go(page.workspace.choices.step)


def _open_other(page: "AppPage", folder: str) -> None:
    """Open the study in the folder whose path was typed."""
    path = Path(folder.strip().strip('"')).expanduser()
    if not folder.strip() or not path.is_dir():
        page.refuse(TraitlensError(Problem("there is no such folder", "enter its full path", folder)))
        return
    _open(page, path)


def _begin(page: "AppPage", place: dict[str, str]) -> None:
    """Create a new study and open it."""
    folder = _new_folder(page, place["name"], place["parent"])
    if folder is not None:
        _open(page, folder)


def _demonstrate(page: "AppPage", place: dict[str, str]) -> None:
    """Create the demonstration study in the background, and go to the step Pictures."""
    folder = _new_folder(page, place["name"] or "Demonstration", place["parent"])
    if folder is not None:
        _open(page, folder)
        background.start(folder, "demo")
        page.go("pictures")


def _new_folder(page: "AppPage", name: str, parent: str) -> Path | None:
    """Return the folder for a new study; show the reason and return None if it cannot be used."""
    name = name.strip()
    folder = Path(parent.strip().strip('"')).expanduser() / name
    problem = None
    if not name:
        problem = Problem("the study has no name", "enter one, such as “Warmth 2026”")
    elif "/" in name or not is_inside(name):
        problem = Problem("the name cannot be used for a folder", "do not use / \\ : * ?", name)
    elif folder.exists() and any(folder.iterdir()):
        problem = Problem("this folder already exists", "choose another name, or open it above", str(folder))
    if problem is None:
        return folder
    page.refuse(TraitlensError(problem))
    return None
