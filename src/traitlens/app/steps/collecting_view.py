"""Controls of a rating session: questions, start and stop, links of participants, and use of the ratings."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from nicegui import run, ui

from traitlens.app import background
from traitlens.app.elements import button, faults, field, link, text
from traitlens.app.rating_session import (
    experimenter_page,
    has_answers,
    list_cards,
    start_session,
    use_ratings,
    write_questions,
)
from traitlens.collecting.collected_data import tabulate_participants
from traitlens.problems import TraitlensError
from traitlens.study.settings_file import read_settings

if TYPE_CHECKING:
    from traitlens.app.app_page import AppPage

WHERE: Final = (
    "Participants rate the study's pictures in a browser of this computer, with a personal link each; other "
    "devices cannot connect. They first read the texts of the session: please replace the text on consent by "
    "your own, as the documentation describes under Collecting ratings."
)
RUNNING: Final = (
    "The session is running. It goes on when you close this window, until you stop it. Every answer is "
    "stored at once; a session that was stopped can be started again with the same links."
)


def draw_collecting(page: "AppPage", folder: Path) -> None:
    """Draw the rating session of a study: its fields and start button, or its links and stop button."""
    progress = background.read_progress(folder, "collect")
    if progress.state == "working":
        page.collecting = folder  # shown also when the session has stopped
        _draw_running(page, folder, bool(progress.said))
        return
    text("p", WHERE)
    faults(progress.problems)
    asked = {"traits": "", "groups": "", "low": "1", "high": "7", "participants": "10"}
    is_new = not (folder / "study.toml").exists()
    if is_new:
        with ui.element("div").classes("row"):
            for name, label, size in (
                ("traits", "Traits that are rated, with commas", 30),
                ("groups", "Groups of participants, with commas (may be empty)", 30),
                ("low", "Lowest rating", 6),
                ("high", "Highest rating", 6),
            ):
                field(label, asked[name], partial(asked.__setitem__, name), size)
    else:
        settings = read_settings(folder / "study.toml")[0]
        traits, groups = ", ".join(settings.traits or ()), ", ".join(settings.groups or ())
        text("p", f"Traits: {traits}. Groups: {groups or 'one'}.")
    with ui.element("div").classes("row"):
        field("Number of participants", asked["participants"], partial(asked.__setitem__, "participants"), 6)

    def start() -> None:
        try:
            if is_new:
                write_questions(folder, *(asked[name] for name in ("traits", "groups", "low", "high")))
            start_session(folder, asked["participants"])
        except TraitlensError as error:
            page.refuse(error)
            return
        page.draw()

    with ui.element("div").classes("row"):
        button("Start the rating session", start, "main")
        if has_answers(folder):
            button("Use the collected ratings", partial(_use, page, folder))
    if has_answers(folder):
        text("p", _count(folder), "faint")


def _draw_running(page: "AppPage", folder: Path, is_ready: bool) -> None:
    """Draw a session that is starting or running, updated every two seconds."""
    text("p", RUNNING if is_ready else "Starting the session …").props('role="status"')
    if is_ready:
        with ui.element("div").classes("row"):
            link(
                "Open the experimenter's page: who is where, pause, cards to print", experimenter_page(folder)
            )
            if not background.is_stopping(folder, "collect"):
                button("Stop the rating session", partial(_stop, page, folder))
        count = text("p", "", "faint")
        with ui.element("details"):
            text("summary", "Links and QR codes of the participants")
            box = ui.element("div").classes("cards")
    shown: list[Any] = []

    async def update() -> None:
        progress = background.read_progress(folder, "collect")
        if progress.state != "working" or bool(progress.said) != is_ready:
            timer.cancel()
            page.draw()
        elif is_ready:
            cards = await run.io_bound(list_cards, folder)
            count.text = await run.io_bound(_count, folder)
            if cards != shown and not box.is_deleted:
                shown[:] = cards
                box.clear()
                with box:
                    for card in cards:
                        _draw_card(card)

    timer = ui.timer(2.0, update)


def _draw_card(card: dict[str, str]) -> None:
    """Draw a participant's card with the QR code and the link."""
    with ui.element("div").classes("card"):
        text("strong", card["participant"])
        picture = ui.element("img")
        picture.props["src"], picture.props["alt"] = card["qr"], f"QR code of {card['participant']}"
        link(card["link"], card["link"])


def _count(folder: Path) -> str:
    """Return a sentence with the number of participants who are done."""
    table = tabulate_participants(folder)
    return f"{(table['state'] == 'done').sum()} of {len(table)} participants are done."


def _stop(page: "AppPage", folder: Path) -> None:
    """Ask the session to stop, and redraw the step."""
    background.stop(folder, "collect")
    page.draw()


async def _use(page: "AppPage", folder: Path) -> None:
    """Write the collected ratings to the study, and go to the step Check."""
    if not await page.attempt(use_ratings, folder):
        return
    try:
        if page.session.workspace is None:
            page.session.open(folder)
    except TraitlensError as error:
        page.refuse(error)
        return
    page.workspace.change(table="", checked=False)
    page.go("check")
