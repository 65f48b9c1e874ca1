"""The explorer in a real browser, and what its server refuses."""

import http.client
import json
import shutil
import signal
import subprocess
import sys
from urllib.parse import parse_qs, urlsplit

import pandas as pd
import pytest
from PIL import Image
from tests.browsers import CHROMIUM, FLAGS, MOST_PRESSES, fetch_axe, find_barriers

from traitlens import cli, storage
from traitlens.api import Run
from traitlens.pipeline import FLOW
from traitlens.pipeline.stage_io import StageIO
from traitlens.pipeline.stages.report import describe_study
from traitlens.study.reading import Study
from traitlens.study.simulated_study import simulate_study

pytestmark = [pytest.mark.weights, pytest.mark.timeout(900)]

HOSTILE = "</script><script>alert(1)</script>"


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A study with its readouts; maps are computed when they are looked at."""
    folder = tmp_path_factory.mktemp("explored") / "study"
    simulate_study(folder, identities=12, images=1, traits=2, raters=6, seed=3, size=96, seen_size=64)
    for name in ("study.toml", "ratings.csv"):  # a trait of a hostile name
        text = (folder / name).read_text("utf-8")
        (folder / name).write_text(text.replace("strong", HOSTILE), "utf-8")
    run = Run(Study.load(folder))
    assert HOSTILE in run.study.traits
    run.fit()
    work = StageIO(run.context, FLOW[-1], engine=None, advance=None)
    storage.write_json(run.results / "study.json", describe_study(work))
    storage.write_json(run.results / "provenance.json", {})
    (run.results / "regions.csv").write_text("image,group,trait,region\n")
    (run.results / "report.html").write_text(
        "<script>fetch('/').then(() => document.title = 'reached', () => document.title = 'refused')</script>"
    )
    return run


@pytest.fixture(scope="module")
def address(fitted, tmp_path_factory):
    """The page's address; the server must end on an interruption, and must have written nothing."""
    folder = tmp_path_factory.mktemp("empty")
    before = sorted(fitted.results.rglob("*"))
    command = [
        sys.executable,
        "-m",
        "traitlens.cli",
        "--json",
        "explore",
        str(fitted.results),
        "--no-browser",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder) as server:
        yield json.loads(server.stdout.readline())["address"]
        server.send_signal(signal.SIGINT)
        assert server.wait(120) == 0
    assert sorted(fitted.results.rglob("*")) == before
    assert list(folder.iterdir()) == []


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this computer")
    with playwright.sync_playwright() as playing:
        browser = playing.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = browser.new_context()
        context.set_default_timeout(120_000)  # the computer may be busy with other tests
        yield context
        browser.close()


@pytest.fixture
def page(browser, address):
    """The page, opened; it may neither complain nor ask anybody else for anything."""
    page = browser.new_page()
    page.set_viewport_size({"width": 1000, "height": 900})
    complaints = []
    # The browser also notes each answer of status 422: a file that is refused.
    page.on(
        "console",
        lambda message: (
            complaints.append(message.text) if message.type == "error" and "422" not in message.text else None
        ),
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
    own = f"http://{urlsplit(address).netloc}/"
    page.on(
        "request",
        lambda r: None if r.url.startswith((own, "data:", "blob:" + own)) else complaints.append(r.url),
    )
    page.goto(address)
    page.wait_for_selector("#panes img")
    yield page
    assert complaints == []
    page.close()


def choose(page, label, value):
    """Choose an entry; faces are listed with their predictions."""
    select = page.locator("#picker select, #method").and_(
        page.locator(f"label:text-matches('^{label} ') > select")
    )
    texts = select.locator("option").all_text_contents()
    place = next(i for i, text in enumerate(texts) if text == value or text.startswith(f"{value} ("))
    select.select_option(index=place)


def title(page, text):
    """Wait for the face and trait of this title, and for their maps."""
    page.wait_for_function(
        "text => document.querySelector('#pick-name').textContent === text"
        " && !document.querySelector('#panes').classList.contains('waiting')",
        arg=text,
    )


def predicted(page):
    texts = page.locator("figcaption .predicted").all_inner_texts()
    return [float(text.removeprefix("Predicted: ").split()[0].replace("\u2212", "-")) for text in texts]


def map_of(page, place):
    return page.locator("#panes figure").nth(place).locator("img").first.get_attribute("src")


def wait_for_another_map(page, before):
    page.wait_for_function(
        "old => document.querySelectorAll('#panes figure')[1].querySelector('img').src !== old", arg=before
    )


def test_picking_a_face_trait_and_method(page, fitted):
    images, groups, traits = list(fitted.study.images["image"]), fitted.study.groups, fitted.study.traits
    assert page.url.endswith("/")
    choose(page, "Face", images[2])
    choose(page, "Trait", traits[1])
    title(page, f"{images[2]}: {traits[1]}")
    table = fitted.predictions.set_index(["group", "trait", "image"])["predicted"]
    expected = [table[group, traits[1], images[2]] for group in groups]
    assert predicted(page) == pytest.approx(expected, abs=0.0051)
    titles = page.locator("#panes figcaption b").all_inner_texts()
    assert titles == ["Face", *groups, f"{groups[0]} − {groups[1]}"]
    before = map_of(page, 1)
    choose(page, "Method", "lrp.w_square")
    wait_for_another_map(page, before)
    before = map_of(page, 1)
    page.locator("#threshold").focus()
    page.keyboard.press("PageUp")
    wait_for_another_map(page, before)


def test_report_and_explorer_show_the_same_picker(page):
    """The same elements, script and style: what one has the other has."""
    from traitlens.report.page import read_template

    elements = "[...document.querySelectorAll('#picker, #picker [id]')].map((one) => one.id)"
    shown = page.evaluate(elements)
    page.set_content(read_template("faces.html"))
    assert page.evaluate(elements) == shown
    page.goto("about:blank")


def test_the_strip_of_faces_is_ordered_by_prediction_and_moved_through_by_keys(page, fitted):
    group, trait = fitted.study.groups[1], fitted.study.traits[0]
    choose(page, "Order by", group)
    table = fitted.predictions.query("group == @group and trait == @trait").set_index("image")["predicted"]
    order = list(table.sort_values(kind="stable").index)
    shown = page.locator("#strip img").evaluate_all("all => all.map(one => one.alt)")
    assert table[shown].round(3).is_monotonic_increasing
    assert page.locator('#strip [tabindex="0"]').count() == 1  # one press of Tab passes the whole strip
    page.locator('#strip [tabindex="0"]').focus()
    for key, image in (
        ("Home", order[0]),
        ("ArrowRight", order[1]),
        ("End", order[-1]),
        ("ArrowLeft", order[-2]),
    ):
        page.keyboard.press(key)
        title(page, f"{image}: {trait}")
        page.locator(f'#strip [aria-selected="true"] img[alt="{image}"]').wait_for()
        assert page.evaluate("document.activeElement.querySelector('img').alt") == image
    page.keyboard.press("Home")
    page.keyboard.press("ArrowLeft")  # there is none before the first
    title(page, f"{order[0]}: {trait}")
    chosen = "document.getElementById('pick-image').selectedOptions[0].textContent"
    assert page.evaluate(chosen).startswith(f"{order[0]} (")


def test_every_action_is_reached_by_few_presses_of_tab(page):
    page.evaluate("document.body.tabIndex = -1; document.body.focus()")
    page.locator("#near button").first.wait_for()
    seen = []
    for _ in range(MOST_PRESSES):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.outerHTML"))
    stops = "a[href], button, input, select, [tabindex='0']"
    every = page.locator(stops).evaluate_all(
        "all => all.filter(one => one.tabIndex >= 0 && one.checkVisibility()).map(one => one.outerHTML)"
    )
    assert len(every) > 10
    assert set(every) <= set(seen)


def test_a_dropped_face_gets_the_numbers_that_predict_gives(page, fitted, tmp_path, monkeypatch, capsys):
    photograph = tmp_path / "<b>new.png"
    shutil.copyfile(fitted.study.path(fitted.study.images["image"][1]), photograph)
    command = ["traitlens", "--json", "predict", str(fitted.results / "models"), str(photograph)]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    cli.print_only_json(False)
    table = pd.DataFrame(json.loads(capsys.readouterr().out)["predictions"])
    page.set_input_files("input[type=file]", photograph)
    trait = fitted.study.traits[0]
    title(page, f"{photograph.name}: {trait}")
    own = table.set_index(["group", "trait"])["predicted"]
    expected = [float(own[group, trait]) for group in fitted.study.groups]
    assert predicted(page) == pytest.approx(expected, rel=0, abs=0.0051)
    answered = page.request.post(f"{page.url}api/face?name=new.png", data=photograph.read_bytes())
    sent = [cells[0][1] for cells in answered.json()["cells"]]
    assert sent == pytest.approx(expected, rel=0, abs=5.1e-4)
    assert page.locator("#panes figure").count() == 2 + len(fitted.study.groups)  # and their difference
    assert page.locator("#near figure").count() == 4
    page.locator("#near button").first.click()
    page.wait_for_function("() => !document.body.innerText.includes('A new face')")


def test_predictions_have_the_error_of_faces_that_were_not_learnt_from(page, fitted):
    group, trait = fitted.study.groups[0], fitted.study.traits[0]
    table = fitted.predictions
    own = table[(table["group"] == group) & (table["trait"] == trait)]
    error = ((own["predicted"] - own["observed"]) ** 2).mean() ** 0.5
    shown = page.locator("figcaption .predicted").first
    assert shown.inner_text().endswith(f"± {error:.2f}")
    assert page.locator("#panes .scale b").first.bounding_box()["width"] > 0


def test_one_of_several_faces_is_chosen(page, fitted, tmp_path):
    faces = [fitted.study.folder / "images" / name for name in fitted.study.images["image"][:2]]
    pictures = [Image.open(face).convert("RGB").resize((300, 300)) for face in faces]
    both = Image.new("RGB", (600, 300))
    for place, picture in enumerate(pictures):
        both.paste(picture, (300 * place, 0))
    both.save(tmp_path / "both.png")
    page.set_input_files("input[type=file]", tmp_path / "both.png")
    page.get_by_text("both.png shows 2 faces. Which one?").wait_for()
    shown, pictures = [], []
    for number in (1, 2):
        page.get_by_role("button", name=f"Face {number} of 2").press("Enter")
        title(page, f"both.png: {fitted.study.traits[0]}")
        if shown:  # the title is the same
            changed = "old => document.querySelector('#panes img').src !== old"
            page.wait_for_function(changed, arg=pictures[-1])
        pictures.append(page.locator("#panes img").first.get_attribute("src"))
        shown.append(predicted(page))
        page.set_input_files("input[type=file]", tmp_path / "both.png")
        page.get_by_text("both.png shows 2 faces. Which one?").wait_for()
    assert shown[0] != shown[1]


def test_a_face_beyond_the_range_has_no_map_unless_asked_for(page, fitted, tmp_path):
    face = Image.open(fitted.study.folder / "images" / fitted.study.images["image"][0]).convert("RGB")
    face = face.resize((300, 300))
    stripes = Image.new("RGB", (300, 300))
    stripes.paste((255, 0, 255), (0, 0, 300, 300))
    for place in range(0, 300, 20):
        stripes.paste((0, 255, 0), (place, 0, place + 10, 300))
    stripes.paste(face.crop((60, 40, 240, 280)), (60, 40))
    stripes.save(tmp_path / "odd.png")
    page.set_input_files("input[type=file]", tmp_path / "odd.png")
    title(page, f"odd.png: {fitted.study.traits[0]}")
    page.get_by_text("farther from the study's faces than any of them").wait_for()
    assert page.locator("#panes img").count() == 1
    page.get_by_role("button", name="Show the map nevertheless").press("Enter")
    page.wait_for_function("() => document.querySelectorAll('#panes img').length > 1")
    with page.expect_download() as saving:
        page.get_by_role("button", name="Save these pictures").press("Enter")
    assert saving.value.suggested_filename.startswith("odd.png_")
    saving.value.save_as(tmp_path / "saved.png")
    width, height = Image.open(tmp_path / "saved.png").size
    assert (width, height) == (448 * (2 + len(fitted.study.groups)), 488)
    assert "traitlens explain" in page.locator("#pick-commands code").inner_text()


def test_a_file_that_is_no_face_is_refused_in_words(page, fitted, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    page.set_input_files("input[type=file]", tmp_path / "text.png")
    page.get_by_text("text.png: is not a JPEG, PNG, TIFF or WebP image").wait_for()
    Image.new("RGB", (90, 90), (90, 120, 90)).save(tmp_path / "green.png")
    page.set_input_files("input[type=file]", tmp_path / "green.png")
    page.get_by_text("green.png: ").wait_for()
    assert page.locator("#panes figure").count() > 1


@pytest.mark.parametrize("width", [390, 820, 1440])
def test_nothing_sticks_out_of_the_page(page, width):
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_axe_finds_nothing(page, tmp_path):
    axe = fetch_axe(tmp_path)
    if axe is None:
        pytest.skip("npm has no axe-core here")
    assert find_barriers(page, axe) == []


def test_a_report_opens_as_a_page_of_no_origin(browser, address):
    page = browser.new_page()
    page.goto(address)
    page.wait_for_selector("#files a")
    page.goto(f"http://{urlsplit(address).netloc}/results/report.html")
    page.wait_for_function("() => document.title")
    assert page.title() == "refused"
    assert page.evaluate("window.origin") == "null"
    page.close()


def request(address, path, headers=None, method="GET", with_cookie=True):
    """Send a request as it is written, and give the answer's status."""
    parts = urlsplit(address)
    token = parse_qs(parts.query)["token"][0]
    cookie = {"Cookie": f"traitlens_{parts.port}={token}"} if with_cookie else {}
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
    connection.request(method, path, headers=cookie | (headers or {}))
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


def test_the_server_refuses_whoever_has_not_the_token(address):
    assert urlsplit(address).hostname == "127.0.0.1"
    assert len(parse_qs(urlsplit(address).query)["token"][0]) >= 43
    for path in ("/", "/results/performance.csv", "/api/study", "/faces/0.jpg"):
        assert request(address, path, with_cookie=False).status == 403
    assert request(address, "/?token=wrong").status == 403
    assert request(address, "/").status == 200


@pytest.mark.parametrize("name", ["Origin", "Host"])
def test_the_server_refuses_other_pages_and_other_names(address, name):
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
               "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}  # fmt: skip
    foreign = {name: "http://evil.example" if name == "Origin" else "evil.example"}
    socket = "/api/study"
    assert request(address, "/", foreign).status in (403, 421)
    assert request(address, socket, upgrade | foreign).status == 403
    assert request(address, "/api/face?name=a.png", foreign, "POST").status in (403, 421)


def test_the_server_refuses_large_uploads(address):
    large = {"Content-Length": str(200 * 2**20)}
    assert request(address, "/api/face?name=a.png", large, "POST").status == 413


@pytest.mark.parametrize(
    "path",
    ["/results/../../ratings.csv", "/results/%2e%2e/%2e%2e/ratings.csv", "/results/..%2f..%2fratings.csv",
     "/results//etc/passwd", "/results/.cache/fit.json", "/../../etc/passwd", "/openapi.json"],
)  # fmt: skip
def test_the_server_hands_out_nothing_outside_the_results(address, path):
    assert request(address, path).status == 404


def test_the_server_hands_out_results_as_pages_of_no_origin(address):
    answer = request(address, "/results/performance.csv")
    assert answer.status == 200
    assert answer.headers["content-security-policy"].startswith("sandbox")


def test_without_a_web_server_the_command_to_install_it_is_told(fitted, monkeypatch):
    from traitlens.explorer import explorer_server
    from traitlens.problems import TraitlensError

    monkeypatch.setattr(explorer_server, "find_spec", lambda name: None)
    with pytest.raises(TraitlensError, match=r"pip install 'traitlens\[app\]'"):
        explorer_server.explore(fitted.results)
