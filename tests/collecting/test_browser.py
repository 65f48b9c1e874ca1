"""Two participants in a real browser, a server that is killed, the jsPsych experiment, and accessibility."""

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from tests.browsers import CHROMIUM, FLAGS, MOST_PRESSES, count_tab_stops, fetch_axe, find_barriers

from traitlens.collecting.collected_data import COLUMNS, read_collected
from traitlens.collecting.jspsych import write_experiment
from traitlens.study.drawing.face import draw_face
from traitlens.study.drawing.parameters import draw_parameters

playwright = pytest.importorskip("playwright.sync_api", reason="the browser test needs playwright")
SCREENSHOTS = os.environ.get("TRAITLENS_SCREENSHOTS")
"""A folder for pictures of the pages, to be looked at."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
    pytest.mark.skipif(os.name == "nt", reason="kills with SIGKILL"),
]

SETTINGS = """
groups = ["autistic", "non-autistic"]
traits = ["warm", "critical"]
scale = [1, 7]

[collecting]
repeats = 0.1
practice = 2
checks = 2
pause_after = 20
languages = ["en", "de"]
"""
IMAGES = 30
EACH, REPEATS = 2 * IMAGES, 2 * 3


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(
            executable_path=CHROMIUM,
            args=FLAGS,
        )
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def study(tmp_path_factory, write_german):
    folder = tmp_path_factory.mktemp("collecting") / "study"
    (folder / "images").mkdir(parents=True)
    for image in range(IMAGES):
        face = draw_face(draw_parameters(5, image, 0), 96)
        Image.fromarray(face.picture).save(folder / "images" / f"{image:02d}.png")
    (folder / "study.toml").write_text(SETTINGS)
    write_german(folder)
    return folder


@pytest.fixture(scope="module")
def npm(tmp_path_factory):
    """Fetch a package of npm with the user's own client, or skip."""
    folder = tmp_path_factory.mktemp("npm")

    def package(name):
        if shutil.which("npm") is None:
            pytest.skip("no npm on this machine")
        command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", name]
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=180, check=False)
        if done.returncode != 0:
            pytest.skip(f"npm has no {name} here")
        return folder / "node_modules" / name.split("@")[0]

    return package


@pytest.fixture(scope="module")
def axe(tmp_path_factory):
    """Return the script of axe, or skip."""
    found = fetch_axe(tmp_path_factory.mktemp("axe"))
    if found is None:
        pytest.skip("axe-core cannot be fetched here")
    return found


class Server:
    """`traitlens rate serve` as a process that can be killed and started again."""

    def __init__(self, folder):
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.start()

    def start(self):
        command = [sys.executable, "-m", "traitlens.cli", "--json", "rate", "serve", str(self.folder)]
        command += ["--participants", "2", "--port", str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        told = json.loads(self.process.stdout.readline())
        self.links, self.experimenter = list(told["links"].values()), told["experimenter"]
        for _ in range(200):
            with socket.socket() as trial:
                if trial.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.1)
        raise AssertionError("the server does not answer")

    def kill(self):
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture(scope="module")
def server(study):
    started = Server(study)
    yield started
    started.kill()


class Person:
    """A participant at a page: by keyboard, or by touch."""

    def __init__(self, browser, address, by, group=0):
        size = {"keyboard": (1440, 900), "touch": (390, 844)}[by]
        self.context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, has_touch=by == "touch", locale="en-GB"
        )
        self.page = self.context.new_page()
        self.faults = []
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.by, self.group, self.given = by, group, []
        self.page.goto(address)
        self.page.wait_for_selector("main")

    def act(self, wait=True):
        """Do what the page asks for; gives whether there is more to do."""
        page = self.page
        page.wait_for_selector("main[data-step]")
        step = page.get_attribute("main", "data-step")
        if page.locator("main.rated").count():
            self.rate()
        elif page.locator("input[name=group]").count():
            self.press(page.locator(".choice").nth(self.group), ["Tab", *["ArrowDown"] * self.group, " "])
            self.go()
        elif page.locator("button.main").count() == 0 or page.get_by_text("Save your answers").count():
            return False
        else:
            self.go()
        if wait:
            page.wait_for_selector(f'main[data-step]:not([data-step="{step}"])')
        return True

    def rate(self):
        page = self.page
        page.wait_for_selector("main.rated .face > *")
        page.wait_for_timeout(40)
        asked = re.search(r"choose (\d)", page.inner_text("h1"))
        rating = int(asked[1]) if asked else 1 + (len(self.given) * 3 + self.group) % 7
        self.press(page.locator(".choice").nth(rating - 1), [str(rating)])
        page.get_by_text(f"Your answer: {rating}").wait_for()
        self.go()
        self.given.append(rating)

    def press(self, place, keys):
        if self.by == "touch":
            place.tap()
        else:
            for key in keys:
                self.page.keyboard.press(key)

    def go(self):
        self.press(self.page.locator("main:not([hidden]) button.main").first, ["Enter"])
        if self.by == "keyboard" and self.page.locator("main.text h1:text('Before you start')").count():
            self.page.locator("button.main").press("Enter")

    def look(self, name, widths=(390, 820, 1440)):
        if SCREENSHOTS:
            before = self.page.viewport_size
            for width in widths:
                self.page.set_viewport_size(
                    {"width": width, "height": {390: 844, 820: 1180, 1440: 900}[width]}
                )
                self.page.wait_for_timeout(100)
                self.page.screenshot(path=Path(SCREENSHOTS) / f"{name}-{width}.png")
            self.page.set_viewport_size(before)


def rows_of(folder):
    with sqlite3.connect(folder / "collected" / "answers.sqlite") as connection:
        return pd.read_sql("SELECT * FROM answers ORDER BY participant, step", connection)


def test_two_participants_a_reload_and_two_kills_lose_and_double_nothing(browser, server, study):
    people = [
        Person(browser, link, by, group)
        for link, by, group in zip(server.links, ("keyboard", "touch"), (0, 1), strict=True)
    ]
    busy, turns = list(people), 0
    while busy:
        turns += 1
        kills = turns in (25, 50)
        if kills:
            server.kill()
        # An answer that is given while the server is dead waits on the page.
        waiting = {person: person.page.get_attribute("main", "data-step") for person in busy}
        busy = [person for person in busy if person.act(wait=not kills)]
        if kills:
            people[0].page.get_by_text("There is no connection at the moment").wait_for()
            assert {p.page.get_attribute("main", "data-step") for p in people} == set(waiting.values())
            server.start()
            for person, step in waiting.items():
                person.page.wait_for_selector(f'main[data-step]:not([data-step="{step}"])')
        if turns == 35:
            for person in people:
                before = person.page.get_attribute("main", "data-step"), person.page.inner_text("h1")
                person.page.reload()
                person.page.wait_for_selector("main[data-step]")
                assert (
                    person.page.get_attribute("main", "data-step"),
                    person.page.inner_text("h1"),
                ) == before
    rows = rows_of(study)
    trials = rows[rows["kind"] == "trial"]
    assert len(trials) == 2 * (EACH + REPEATS)
    assert not trials.duplicated(["participant", "image", "trait", "repeat"]).any()
    assert (
        trials[trials["repeat"] == 1].groupby(["participant", "trait"])["image"].nunique().tolist()
        == [30] * 4
    )
    for person, (_, own) in zip(people, rows.groupby("participant"), strict=True):
        assert own["rating"].astype(int).tolist() == person.given
        assert own["device"].str.split().str[0].unique().tolist() == [person.by]
        assert person.faults == []
        assert person.page.inner_text("h1") == "You are done"
        person.context.close()
    assert (rows["rt"] > 0).all()
    refused = study / "collected" / "refused.log"
    assert not refused.exists() or "401" not in refused.read_text()


def test_the_jspsych_experiment_gives_the_same_table(browser, study, npm, tmp_path):
    out = tmp_path / "experiment"
    write_experiment(study, out, npm("jspsych@8"), orders=3)
    handler = partial(SimpleHTTPRequestHandler, directory=str(out))
    handler.log_message = lambda *_: None
    web = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{web.server_port}/index.html?participant=J7"
        person = Person(browser, address, "keyboard", 1)
        turns = 0
        while person.act():
            turns += 1
            if turns == 30:
                step = person.page.get_attribute("main", "data-step")
                person.page.reload()
                person.page.wait_for_selector(f'main[data-step="{step}"]')
        person.look("jspsych-end")
        with person.page.expect_download() as saving:
            person.page.locator("button.main").click()
        saving.value.save_as(tmp_path / "data" / "J7.json")
        assert person.faults == []
        person.context.close()
    finally:
        web.shutdown()
        web.server_close()
    saved = json.loads((tmp_path / "data" / "J7.json").read_text("utf-8"))
    assert all(row["image"] for row in saved if row["kind"] in ("trial", "practice"))
    together = read_collected(study, [tmp_path / "data"]).ratings
    assert list(together.columns) == COLUMNS
    own = together[together["rater"] == "J7"]
    assert len(own) == EACH + REPEATS
    assert set(own["group"]) == {"non-autistic"}
    given = [row["rating"] for row in saved if row["kind"] == "trial"]
    assert own["rating"].astype(int).tolist() == given
    assert [row["rating"] for row in saved if row["rating"] is not None] == person.given
    assert own["checks_passed"].unique().tolist() == [1.0]


def check_accessibility(page, axe):
    """Run axe; gives what it finds serious or critical."""
    page.evaluate(axe)
    found = page.evaluate(
        "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa', 'best-practice']})"
    )
    return [
        (page.inner_text("h1"), one["id"], one["nodes"][0]["html"])
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("answer", ["buttons", "slider"])
def test_axe_finds_nothing_serious_on_any_page(browser, study, axe, tmp_path, answer):
    folder = tmp_path / "study"
    (folder / "images").mkdir(parents=True)
    for image in sorted((study / "images").glob("*.png"))[:4]:
        shutil.copy(image, folder / "images")
    more = f'answer = "{answer}"\nrepeats = 0.0\npractice = 1\nchecks = 1\npause_after = 2\n'
    (folder / "study.toml").write_text(SETTINGS.split("repeats")[0] + more)
    shutil.copytree(study / "texts", folder / "texts")
    started = Server(folder)
    found = []
    try:
        person = Person(browser, started.links[0], "touch", 0)
        page = person.page
        seen = set()
        more = True
        while more:
            kind = page.get_attribute("main", "class") + page.inner_text("h1")[:14]
            if kind not in seen:
                seen.add(kind)
                name = f"{answer}-{len(seen):02d}"
                person.look(name)
                assert sum(count_tab_stops(page)) <= MOST_PRESSES, name
                for contrast in ("light", "dark", "high"):
                    page.evaluate(f"document.documentElement.dataset.contrast = '{contrast}'")
                    found += check_accessibility(page, axe)
                page.evaluate("document.documentElement.dataset.contrast = 'light'")
            if answer == "slider" and page.locator("main.rated").count():
                step = page.get_attribute("main", "data-step")
                page.wait_for_selector("main.rated .face > *")
                page.locator("button.main").press("Enter")
                assert page.inner_text(".message") == "Move the slider first."
                assert page.get_attribute("main", "data-step") == step
                page.wait_for_timeout(60)
                side = {"left": "Home", "right": "End"}.get(
                    page.inner_text("h1").split()[-1].strip("."), "ArrowRight"
                )
                page.locator("input[type=range]").press(side)
                person.go()
                page.wait_for_selector(f'main[data-step]:not([data-step="{step}"])')
            else:
                more = person.act()
        page.locator("summary").click()
        person.look(f"{answer}-display")
        found += check_accessibility(page, axe)
        page.goto(started.links[0].split("#")[0] + "#wrong")
        page.wait_for_selector("input[type=text]")
        person.look(f"{answer}-code")
        found += check_accessibility(page, axe)
        assert person.faults == []
        assert len(seen) >= 8
    finally:
        started.kill()
    assert found == []


def test_next_stays_on_the_screen_of_a_phone(browser, study, tmp_path):
    folder = tmp_path / "study"
    shutil.copytree(study, folder, ignore=shutil.ignore_patterns("collected"))
    started = Server(folder)
    try:
        for width, height, size in ((390, 844, "normal"), (320, 568, "normal"), (390, 664, "largest")):
            person = Person(browser, started.links[0], "touch", 0)
            person.page.set_viewport_size({"width": width, "height": height})
            person.page.evaluate(f"localStorage.setItem('traitlens.size', '{size}')")
            person.page.reload()
            person.page.wait_for_selector("main[data-step]")
            for _ in range(4):
                person.page.wait_for_selector("main[data-step]")
                box = person.page.locator("main button.main").first.bounding_box()
                assert box["y"] >= 0
                assert box["y"] + box["height"] <= height, (width, person.page.inner_text("h1"))
                person.act()
            person.context.close()
    finally:
        started.kill()


def test_the_experimenter_sees_pauses_and_prints(browser, study, axe, tmp_path):
    folder = tmp_path / "study"
    shutil.copytree(study, folder, ignore=shutil.ignore_patterns("collected"))
    started = Server(folder)
    try:
        person = Person(browser, started.links[0], "keyboard", 0)
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        page = context.new_page()
        page.goto(started.experimenter)
        page.get_by_text("0 of 2 participants are done.").wait_for()
        page.get_by_role("button", name="Pause all sessions").press("Enter")
        page.get_by_text("All sessions are paused").wait_for()
        person.page.locator("button.main").press("Enter")
        person.page.get_by_text("The person who runs this study has paused it.").wait_for()
        found = find_barriers(page, axe) + find_barriers(person.page, axe)
        page.get_by_role("button", name="Continue all sessions").press("Enter")
        person.page.wait_for_selector("input[name=group]")
        page.get_by_role("button", name="Create").press("Enter")
        page.get_by_text("0 of 12 participants are done.").wait_for()
        page.get_by_role("button", name="Show all cards").press("Enter")
        page.locator(".card").nth(11).wait_for()
        assert page.locator(".card img").evaluate_all("all => all.every(one => one.naturalWidth > 50)")
        assert started.links[0] in page.locator(".card").first.inner_text()
        assert sum(count_tab_stops(page)) <= MOST_PRESSES
        found += find_barriers(page, axe)
        assert found == []
        for width in (390, 820, 1440):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            for scheme in ("light", "dark") if SCREENSHOTS else ():
                page.emulate_media(color_scheme=scheme)
                page.screenshot(path=Path(SCREENSHOTS) / f"experimenter-{scheme}-{width}.png")
        page.goto("about:blank")
        page.goto(started.experimenter.split("#")[0] + "#wrong")
        page.get_by_text("The server refused").wait_for()
        assert page.locator("td").count() == 0
        context.close()
        person.context.close()
    finally:
        started.kill()


def test_no_page_moves_or_flashes():
    pages = Path(__file__).parents[2] / "src" / "traitlens" / "collecting" / "pages"
    style = (pages / "style.css").read_text("utf-8")
    assert not re.search(r"animation|transition|@keyframes|blink|marquee", style)
