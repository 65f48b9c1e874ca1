"""From an empty folder to the report in a real browser: by mouse, and again by keyboard.

Chromium is found by the environment variable CHROMIUM, or on the PATH. With TRAITLENS_SCREENSHOTS, pictures
of every page are written into that folder, to be looked at.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from tests import tiny
from tests.browsers import CHROMIUM, FLAGS, MOST_PRESSES, count_tab_stops, fetch_axe, find_barriers
from tests.collecting.test_browser import Person

from traitlens.app.background import read_progress
from traitlens.app.workspace import Workspace
from traitlens.locking import read_lock

playwright = pytest.importorskip("playwright.sync_api", reason="the browser test needs playwright")
pytest.importorskip("nicegui")
SCREENSHOTS = os.environ.get("TRAITLENS_SCREENSHOTS")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this computer"),
    pytest.mark.skipif(os.name == "nt", reason="kills with SIGKILL"),
]

SETTINGS = """
[faces]
size = 64

[readout]
backbone = "tiny"
tap = "block2_pool"

[comparison]
permutations = 9
pixels = 16
"""


class Server:
    """`traitlens app` as a process that can be killed and started again."""

    def __init__(self, home):
        self.home = home
        cache = home / "cache"
        cache.mkdir()
        self.environment = os.environ | {
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_DOCUMENTS_DIR": str(home),
            "TRAITLENS_CACHE": str(cache),
            "TRAITLENS_OFFLINE": "1",
        }
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TRAITLENS_CACHE", str(cache))
            tiny.add_backbone(cache)
        self.start()

    def start(self):
        command = [sys.executable, "-m", "traitlens.cli", "--json", "app", "--no-browser"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=self.environment)
        self.address = json.loads(self.process.stdout.readline())["address"]

    def kill(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def server(tmp_path):
    started = Server(tmp_path)
    yield started
    started.kill()
    lock = read_lock(tmp_path / "Warmth" / ".app" / "run")
    if lock is not None:
        os.kill(lock["process"], signal.SIGKILL)


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def page(chromium, server):
    """A page that may neither complain nor ask anybody else for anything."""
    opened = chromium.new_page(viewport={"width": 1440, "height": 900})
    opened.set_default_timeout(240_000)  # the computer may be busy
    complaints = []

    def complain(message):
        lost = "WebSocket" in message.text or "ERR_CONNECTION_REFUSED" in message.text  # the server is killed
        complaints.extend([message.text] if message.type == "error" and not lost else [])

    opened.on("console", complain)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on(
        "request",
        lambda r: (
            None
            if r.url.startswith(("http://127.0.0.1:", "data:", "blob:", "ws://127"))
            else complaints.append(r.url)
        ),
    )
    opened.goto(server.address)
    yield opened
    opened.close()
    assert complaints == []


@pytest.fixture(scope="module")
def axe(tmp_path_factory):
    return fetch_axe(tmp_path_factory.mktemp("npm"))


class Mouse:
    """Uses the page with the mouse, and the keyboard for words only."""

    def __init__(self, page):
        self.page = page

    def press(self, name):
        self.page.get_by_role("button", name=name, exact=True).last.click()

    def write(self, label, value):
        field = self.page.get_by_label(label, exact=True)
        field.click()
        field.fill(value)
        self.page.mouse.click(1300, 10)  # elsewhere

    def choose(self, label, value):
        self.page.get_by_label(label, exact=True).select_option(label=value)

    def tick(self, label):
        self.page.get_by_label(label).click()

    def open_files(self, label, path):
        with self.page.expect_file_chooser() as opened:
            self.page.get_by_label(label).click()
        opened.value.set_files(path)


class Keyboard:
    """Uses the page with the keyboard alone; counts the presses of Tab from the head of the page."""

    def __init__(self, page):
        self.page = page
        self.most = 0

    def reach(self, target):
        """Go to an element with Tab, from the page's heading or from its beginning."""
        target.wait_for()
        self.page.wait_for_timeout(500)  # a new step takes the focus to its heading
        self.page.evaluate("document.querySelector('#step h1').focus()")
        handle = target.element_handle()
        for presses in range(1, MOST_PRESSES + 1):
            self.page.keyboard.press("Tab")
            if handle.evaluate("element => element === document.activeElement"):
                self.most = max(self.most, presses)
                return
        raise AssertionError(f"{target} is not reached with {MOST_PRESSES} presses of Tab")

    def press(self, name):
        self.reach(self.page.get_by_role("button", name=name, exact=True).last)
        self.page.keyboard.press("Enter")

    def write(self, label, value):
        self.reach(self.page.get_by_label(label, exact=True))
        self.page.keyboard.press("Control+A")
        self.page.keyboard.type(value)
        self.page.keyboard.press("Tab")

    def choose(self, label, value):
        target = self.page.get_by_label(label, exact=True)
        self.reach(target)
        self.page.keyboard.type(value)  # a closed list takes the entry that begins so
        self.page.wait_for_timeout(300)

    def tick(self, label):
        self.reach(self.page.get_by_label(label))
        self.page.keyboard.press("Space")

    def open_files(self, label, path):
        self.reach(self.page.get_by_label(label))
        with self.page.expect_file_chooser() as opened:
            self.page.keyboard.press("Enter")
        opened.value.set_files(path)


def reload(page, heading, text):
    """Reload the page: step and content must be the same."""
    page.get_by_text(text).first.wait_for()
    page.reload()
    page.get_by_role("heading", name=heading, exact=True).wait_for()
    page.get_by_text(text).first.wait_for()


def look_at(page, name, axe=None):
    """Nothing may stick out or be far for the keyboard, and axe finds nothing; write pictures on demand."""
    assert find_barriers(page, axe) == []
    assert max(count_tab_stops(page)) <= MOST_PRESSES, name
    for dark in (False, True):
        page.emulate_media(color_scheme="dark" if dark else "light")
        for width in (390, 820, 1440):
            page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_timeout(100)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (name, width)
            if SCREENSHOTS:
                file = f"{name}_{width}{'_dark' if dark else ''}.png"
                page.screenshot(path=Path(SCREENSHOTS) / file, full_page=True)
    page.emulate_media(color_scheme="light")


@pytest.mark.parametrize("hand", [Mouse, Keyboard])
def test_from_an_empty_folder_to_the_report(server, page, material, tmp_path, hand, axe):
    use = hand(page)
    study = tmp_path / "Warmth"
    page.get_by_text("Is traitlens installed correctly?").wait_for()
    look_at(page, "0_begin", axe)
    use.write("Name of the study", "Warmth")
    use.write("In the folder", str(tmp_path))
    use.press("Begin")

    reload(page, "1. Pictures", "Choose the folder of your pictures")
    use.open_files("Choose the folder of your pictures", material / "photos")
    page.get_by_text("24 pictures are in the study").wait_for()
    use.press("Draw the face sheet")
    reload(page, "1. Pictures", "24 pictures are in the study")
    page.get_by_text("A face was found in every picture").wait_for()
    look_at(page, "1_pictures", axe)
    use.press("Next: ratings")

    use.open_files("Choose the table of ratings", material / "warm.xlsx")
    page.get_by_text("24 of 24 pictures found").wait_for()
    use.write("Lowest possible rating", "1")
    use.write("Highest possible rating", "9")
    use.tick("Raters' names begin with their group")
    page.get_by_text("groups: AUT, NON, years").wait_for()
    reload(page, "2. Ratings", "groups: AUT, NON, years")
    assert page.get_by_label("Lowest possible rating").input_value() == "1"
    look_at(page, "2_ratings", axe)
    use.press("Next: check")

    reload(page, "3. Check", "Is off the scale 1 to 9")
    look_at(page, "3_faults", axe)
    use.press("Fix: back to the table")
    if hand is Mouse:
        use.choose("Column years holds", "leave out")
    else:
        use.choose("From column", "years")
        use.choose("holds", "leave out")
    page.get_by_text("groups: AUT, NON ·").wait_for()
    use.press("Next: check")
    reload(page, "3. Check", "No fault was found")
    page.get_by_text("288 used").wait_for()
    look_at(page, "3_check", axe)
    with (study / "study.toml").open("a") as settings:
        settings.write(SETTINGS)  # a network that is fast, and few permutations
    use.press("Next: run")

    page.get_by_text("of memory").wait_for()
    use.choose("Of which pictures should the maps be kept?", "200 pictures")
    reload(page, "4. Run", "of memory")
    assert page.get_by_label("Of which pictures should the maps be kept?").input_value() == "sample"
    look_at(page, "4_run", axe)
    use.write("What do you expect?", "The groups use the mouth differently.")
    use.tick("Do the groups use different parts of the face?")
    use.press("Freeze the plan")
    page.get_by_text("The plan was frozen on").wait_for()
    use.press("Start the run")
    page.locator(".stages li.done").first.wait_for()
    look_at(page, "4_running")
    reload(page, "4. Run", "You may close this window")
    use.press("Stop")
    page.get_by_text("The run was stopped").wait_for()
    use.press("Go on")
    page.locator(".stages li.done").first.wait_for()
    server.kill()
    assert read_progress(study, "run").state == "working"
    server.start()
    page.goto(server.address)
    page.get_by_role("heading", name="4. Run").wait_for()
    page.get_by_text("The run is finished").wait_for(timeout=300_000)
    use.press("Next: read the report")

    reload(page, "5. Read", "Methods text")
    report = page.frame_locator("iframe.report")
    report.get_by_role("heading", name="Warmth").wait_for()
    look_at(page, "5_read", axe)
    use.press("Zip file for SPSS")
    with page.expect_download() as download:
        if hand is Mouse:
            page.get_by_text("Download Warmth for SPSS.zip").click()
        else:
            use.reach(page.get_by_text("Download Warmth for SPSS.zip"))
            page.keyboard.press("Enter")
    names = zipfile.ZipFile(download.value.path()).namelist()
    assert "report.html" in names
    assert any(name.endswith(".sav") for name in names)
    assert any(name.startswith("figures/") for name in names)
    assert page.locator("#methods").inner_text().startswith("12 raters (AUT and NON) rated 24 images")
    assert (study / "original" / "warm.xlsx").read_bytes() == (material / "warm.xlsx").read_bytes()


def test_axe_finds_nothing_serious_on_any_page(server, page, workspace, roles, axe):
    """Every step of a study that is ready to run, in light and dark."""
    if axe is None:
        pytest.skip("npm has no axe-core here")
    workspace.change(roles=roles, trait="warm", groups_from_names=True)
    mouse, found = Mouse(page), []
    page.get_by_text("Open a study in another folder").click()
    mouse.write("Folder of the study", str(workspace.folder))
    mouse.press("Open")
    shown_in = {"Pictures": "Who is shown", "Ratings": "pictures found", "Check": "No fault"}
    shown_in |= {"Run": "Six questions", "Read": "no report", "Begin": "Continue a study"}
    for step, shown in shown_in.items():
        page.locator(".rail").get_by_role("button", name=step).click()
        page.get_by_text(shown).first.wait_for()
        found += [(step, *one) for one in find_barriers(page, axe)]
    assert found == []


def test_ratings_are_collected_from_the_first_step(server, page, chromium, material, tmp_path, axe):
    """A session is started, taken part in, stopped and used, without a terminal."""
    study = Workspace(tmp_path / "Asked")
    for file in sorted((material / "photos").iterdir())[:12]:
        shutil.copyfile(file, tmp_path / "file")
        assert study.save_picture(file.name, tmp_path / "file")
    use = Mouse(page)
    page.get_by_text("Open a study in another folder").click()
    use.write("Folder of the study", str(study.folder))
    use.press("Open")
    page.get_by_text("12 pictures are in the study").wait_for()
    page.locator(".rail").get_by_role("button", name="Begin").click()
    page.get_by_text("Collect ratings from participants").click()
    look_at(page, "0_collect", axe)
    use.press("Start the rating session")
    page.get_by_text("No trait is named").wait_for()
    use.write("Traits that are rated, with commas", "warm")
    use.write("Number of participants", "2")
    use.press("Start the rating session")
    page.get_by_text("The session is running.").wait_for()
    reload(page, "traitlens", "The session is running.")
    page.get_by_text("Links and QR codes of the participants").click()
    page.locator(".card img").nth(1).wait_for()
    look_at(page, "0_collecting", axe)
    for card in page.locator(".card a").all():
        person = Person(chromium, card.get_attribute("href"), "keyboard")
        while person.act():
            pass
        assert person.page.inner_text("h1") == "You are done"
        person.context.close()
    page.get_by_text("2 of 2 participants are done.").wait_for()
    with page.expect_popup() as opened:
        page.get_by_text("Open the experimenter's page").click()
    opened.value.get_by_role("heading", name="Asked: sessions").wait_for()
    opened.value.get_by_role("button", name="Show all cards").click()
    opened.value.locator(".card img").nth(1).wait_for()
    look_at(opened.value, "experimenter", axe)
    opened.value.close()
    use.press("Stop the rating session")
    use.press("Use the collected ratings")
    page.get_by_text("No fault was found").wait_for()
    ratings = pd.read_csv(study.folder / "ratings.csv")
    assert sorted(ratings["rater"].unique()) == ["P001", "P002"]
