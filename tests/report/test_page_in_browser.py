"""The report in a browser: no barrier that axe finds, at three widths, light and dark; few presses of Tab."""

import os
from pathlib import Path

import pytest
from tests.browsers import CHROMIUM, FLAGS, MOST_PRESSES, count_tab_stops, fetch_axe, find_barriers

playwright = pytest.importorskip("playwright.sync_api", reason="the browser test needs playwright")
SCREENSHOTS = os.environ.get("TRAITLENS_SCREENSHOTS")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")]


@pytest.fixture(scope="module")
def page(report, tmp_path_factory):
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(report, encoding="utf-8")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        opened = browser.new_page(viewport={"width": 1440, "height": 900})
        opened.goto(file.as_uri())
        yield opened
        browser.close()


def test_axe_finds_nothing_and_nothing_sticks_out(page, tmp_path):
    axe = fetch_axe(tmp_path)
    if axe is None:
        pytest.skip("axe-core cannot be fetched here")
    found = []
    for width in (390, 820, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        found += [(width, *one) for one in find_barriers(page, axe)]
        for scheme in ("light", "dark") if SCREENSHOTS else ():
            page.emulate_media(color_scheme=scheme)
            page.screenshot(path=Path(SCREENSHOTS) / f"report-{scheme}-{width}.png")
    assert found == []


def test_every_action_is_reached_by_few_presses_of_tab(page):
    page.set_viewport_size({"width": 1440, "height": 900})
    stops = count_tab_stops(page)
    assert sum(stops) > MOST_PRESSES
    assert max(stops) <= MOST_PRESSES
