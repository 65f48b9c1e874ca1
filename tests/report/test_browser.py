"""The report in a real browser: nothing is requested, nothing is complained of, nothing is cut off."""

import importlib.util
import shutil
from pathlib import Path

import pytest
from results_folder import HOSTILE_IMAGE, HOSTILE_TRAIT

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.skipif(importlib.util.find_spec("playwright") is None, reason="playwright is not installed"),
]
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-sync",
    "--no-first-run",
]

MILLIMETRE = 96 / 25.4

WIDER_THAN_THE_PAGE = """() => [...document.querySelectorAll("body *")]
    .filter((element) => !element.closest(".table, #strip, [hidden]"))
    .filter((element) => element.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
    .map((element) => element.outerHTML.slice(0, 80))"""
EMPTY_PICTURES = """() => Promise.all([...document.images].filter((image) => image.getAttribute("src"))
    .map((image) => { image.loading = "eager"; return image.decode().then(() => null, () => image.alt); }))
    .then((faults) => faults.filter((fault) => fault !== null))"""
TABLES_CUT_OFF = """() => [...document.querySelectorAll(".table > table")]
    .filter((table) => table.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
    .map((table) => table.closest(".table").getAttribute("aria-label"))"""
OVERLAPS = """() => {
    const parts = [...document.querySelectorAll("main p, main figure, main .table, main h2, main li")]
        .filter((part) => !part.closest("[hidden]") && !part.parentElement.closest("figure, .table"));
    const boxes = parts.map((part) => part.getBoundingClientRect());
    return parts.slice(1).filter((part, i) => boxes[i + 1].top < boxes[i].bottom - 1
        && boxes[i + 1].left < boxes[i].right - 1 && boxes[i].left < boxes[i + 1].right - 1)
        .map((part) => part.outerHTML.slice(0, 80));
}"""


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture
def opened(browser, results_folder, report):
    """Open the report at a width; everything it complains of or asks for is noted."""
    pages = []

    def open_at(width: int):
        page = browser.new_page(viewport={"width": width, "height": 850})
        page.noted = []
        page.on("console", lambda message: page.noted.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: page.noted.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (page.noted.append("dialog"), dialog.dismiss()))
        page.on("request", lambda request: page.noted.append(request.url[:60]))
        page.goto((Path(results_folder) / "report.html").as_uri())
        page.noted = [note for note in page.noted if not note.startswith(("data:image/", "file:"))]
        pages.append(page)
        return page

    yield open_at
    for page in pages:
        page.close()


@pytest.mark.parametrize("width", [390, 1440])
def test_page_is_whole_and_silent(opened, width):
    page = opened(width)
    page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(WIDER_THAN_THE_PAGE) == []
    assert page.evaluate(EMPTY_PICTURES) == []
    assert page.evaluate(OVERLAPS) == []
    assert [note for note in page.noted if not note.startswith("data:image/")] == []


def test_picker_shows_what_was_chosen(opened, results_folder):
    page = opened(1440)
    page.select_option("#pick-trait", label=HOSTILE_TRAIT)
    page.select_option("#pick-group", label="non-autistic")
    page.locator("#strip button").first.click()
    name = page.locator("#pick-name").inner_text()
    image = page.evaluate("document.getElementById('pick-image').selectedOptions[0].textContent").rsplit(
        " (", 1
    )[0]
    assert name == f"Ratings of {image} on {HOSTILE_TRAIT}"
    assert page.locator("#pane-over").get_attribute("src") == page.locator("#pane-face").get_attribute("src")
    assert page.locator("#pane-map").get_attribute("src").startswith("data:image/jpeg;base64,")
    predicted = page.evaluate(
        "[...document.querySelectorAll('#pick-image option')].map((o) => o.textContent)"
    )
    values = [float(text.rsplit("(", 1)[1].rstrip(")").replace("\u2212", "-")) for text in predicted]
    assert values == sorted(values)
    page.locator("#pick-on").click()
    assert page.locator("#strip button[aria-selected=true]").get_attribute("data-image") != "0"
    page.locator("#pick-opacity").fill("0")
    assert page.evaluate("getComputedStyle(document.getElementById('pane-over')).opacity") == "0"
    assert any(HOSTILE_IMAGE in text for text in predicted)
    assert [note for note in page.noted if not note.startswith("data:image/")] == []


def test_hovering_over_a_dot_shows_its_face(opened):
    page = opened(1440)
    figure = page.locator("[data-scatter] img")
    figure.scroll_into_view_if_needed()
    place = page.evaluate(
        """() => { const data = JSON.parse(document.getElementById("data").textContent);
        const panel = data.scatter.wide[0], [left, top, width, height] = panel.box;
        const [low, high] = panel.limits;
        const cell = data.picker.images[0].cells[data.picker.groups.indexOf(panel.group)]
            [data.picker.traits.indexOf(panel.trait)];
        const frame = document.querySelector("[data-scatter] img").getBoundingClientRect();
        const share = (value) => (value - low) / (high - low);
        return [(left + share(cell[1]) * width) * frame.width,
            (top + (1 - share(cell[0])) * height) * frame.height]; }"""
    )
    figure.hover(position={"x": place[0], "y": place[1]})
    assert page.locator("#hover").is_visible()
    assert "predicted" in page.locator("#hover p").inner_text()


def test_print_keeps_every_figure_on_a_page(opened, tmp_path):
    page = opened(round(180 * MILLIMETRE))  # what A4 leaves between its margins
    page.emulate_media(media="print")
    page.pdf(path=tmp_path / "report.pdf", prefer_css_page_size=True)
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    height_of_each = "(figures) => figures.map((figure) => figure.getBoundingClientRect().height)"
    assert max(page.locator("figure").evaluate_all(height_of_each)) < (297 - 2 * 18) * MILLIMETRE
    assert page.evaluate(WIDER_THAN_THE_PAGE) == []
    assert page.evaluate(TABLES_CUT_OFF) == []
    assert not page.locator("#strip").is_visible()
