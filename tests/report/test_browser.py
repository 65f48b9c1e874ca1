"""The report in a real browser: nothing is requested, nothing is complained of, nothing is cut off."""

import importlib.util
import shlex
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from results_folder import HOSTILE_IMAGE, HOSTILE_TRAIT
from tests.browsers import CHROMIUM, FLAGS

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.skipif(importlib.util.find_spec("playwright") is None, reason="playwright is not installed"),
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
        started = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
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
    page.select_option("#pick-order", label="non-autistic")
    page.locator("#strip button").first.click()
    chosen = "document.getElementById('pick-image').selectedOptions[0].textContent"
    image = page.evaluate(chosen).rsplit(" (", 1)[0]
    assert page.locator("#pick-name").inner_text() == f"{image}: {HOSTILE_TRAIT}"
    panes = page.locator("#panes figure")
    titles = panes.locator("b:not(.scale b)").all_inner_texts()
    assert titles == ["Face", "autistic", "non-autistic", "autistic − non-autistic"]
    face = panes.nth(0).locator("img").get_attribute("src")
    assert {panes.nth(place).locator(".over").get_attribute("src") for place in (1, 2, 3)} == {face}
    maps = [panes.nth(place).locator("img").first.get_attribute("src") for place in (1, 2, 3)]
    assert len(set(maps)) == 3
    command = page.locator("#pick-commands code").first.inner_text()
    assert command.startswith("traitlens figure faces results --trait ")
    assert shlex.split(command)[4:8] == ["--trait", HOSTILE_TRAIT, "--image", image]
    table = pd.read_csv(Path(results_folder) / "predictions.csv")
    own = table[(table.trait == HOSTILE_TRAIT) & (table.group == "non-autistic")]
    error = ((own.predicted - own.observed) ** 2).mean() ** 0.5
    predicted = float(own[own.image == image].predicted.iloc[0])
    shown = panes.nth(2).locator("figcaption .predicted").inner_text()
    assert shown == f"Predicted: {predicted:.2f} ± {error:.2f}".replace("-", "\u2212")
    cues = pd.read_csv(Path(results_folder) / "cues" / "group_cues.csv")
    one = cues[(cues.image == image) & (cues.trait == HOSTILE_TRAIT) & (cues.group == "autistic")].iloc[0]
    row = page.locator("#pick-cues tbody tr", has_text=one.region).first.locator("td")
    assert row.first.inner_text() == f"{one.cue:+.2f}".replace("-", "\u2212")
    options = page.evaluate("[...document.querySelectorAll('#pick-image option')].map((o) => o.textContent)")
    values = [float(text.rsplit("(", 1)[1].rstrip(")").replace("\u2212", "-")) for text in options]
    assert values == sorted(values)
    page.locator("#pick-opacity").fill("0")
    assert page.evaluate("getComputedStyle(document.querySelector('.over')).opacity") == "0"
    with page.expect_download() as saving:
        page.get_by_role("button", name="Save these pictures").click()
    assert Image.open(saving.value.path()).size == (4 * 448, 488)
    assert any(HOSTILE_IMAGE in text for text in options)
    assert [note for note in page.noted if not note.startswith(("data:image/", "blob:"))] == []


def test_the_answer_stands_on_the_first_screen(opened):
    page = opened(1440)
    assert page.locator(".answer").first.bounding_box()["y"] < 200
    assert page.locator(".caution").bounding_box()["y"] < 300
    assert page.locator(".headlines li").first.bounding_box()["y"] < 500
    assert page.locator(".lead figure img").bounding_box()["y"] < 500


def test_faces_are_one_stop_of_the_keyboard(opened):
    page = opened(1440)
    selected = page.locator("#strip [aria-selected=true]")
    assert page.locator("#strip [tabindex='0']").count() == selected.count() == 1
    selected.focus()
    last = selected.get_attribute("data-image")
    page.keyboard.press("Home")
    first = page.evaluate("document.activeElement.dataset.image")
    page.keyboard.press("ArrowRight")
    second = page.evaluate("document.activeElement.dataset.image")
    page.keyboard.press("End")
    assert page.evaluate("document.activeElement.dataset.image") == last
    assert len({first, second, last}) == 3


def test_a_moved_page_still_gives_its_files(browser, report, tmp_path):
    alone = tmp_path / "sent.html"
    alone.write_text(report, encoding="utf-8")
    page = browser.new_page(viewport={"width": 1440, "height": 850})
    page.goto(alone.as_uri())
    figure = page.locator("figure[data-name=performance]")
    saved = {}
    for name in ("SVG, 183 mm", "PNG, 89 mm"):
        with page.expect_download() as begun:
            figure.get_by_role("button", name=name).click()
        saved[begun.value.suggested_filename] = Path(begun.value.path()).read_bytes()
    assert saved["performance_183mm.svg"].rstrip().endswith(b"</svg>")
    assert int.from_bytes(saved["performance_89mm.png"][16:20], "big") == round(89 / 25.4 * 600)
    fold = page.locator("details", has_text="Out-of-sample performance").first
    fold.locator("summary").click()
    with page.expect_download() as begun:
        fold.get_by_role("button", name="Download CSV").click()
    lines = Path(begun.value.path()).read_text(encoding="utf-8-sig").splitlines()
    assert lines[0].startswith("Trait,Group,Images")
    assert len(lines) == 5
    page.close()


def test_dark_scheme_keeps_the_text_legible(browser, results_folder, report):
    page = browser.new_page(color_scheme="dark")
    page.goto((Path(results_folder) / "report.html").as_uri())
    colours = page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    light, dark = (sum(map(int, colour[4:-1].split(","))) for colour in colours)
    assert light > 600
    assert dark < 100
    page.close()


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
