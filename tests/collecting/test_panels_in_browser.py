"""From a panel's link to its completion link in a browser: served, for JATOS, and for Pavlovia."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from tests.browsers import find_barriers
from tests.collecting.test_browser import Person, Server, axe, browser, npm, pytestmark  # noqa: F401

from traitlens.collecting.collected_data import read_collected
from traitlens.collecting.jspsych import PAVLOVIA, write_experiment

SETTINGS = """practice = 0
checks = 0
repeats = 0.0
pause_after = 0
panel = "prolific"
completion = "DONE1234"
questionnaires = ["looking"]
"""
QUERY = "?PROLIFIC_PID=5f0aaaa&STUDY_ID=s1&SESSION_ID=e1"
LINK = "https://app.prolific.com/submissions/complete?cc=DONE1234"
TRIALS = 6

JATOS = """
const jatos = {
  studyResultId: 0,
  urlQueryParameters: Object.fromEntries(new URLSearchParams(location.search)),
  onLoad(start) { start(); },
  send(text) {
    const sent = new XMLHttpRequest();
    sent.open("POST", "/result", false);
    sent.send(text);
  },
  appendResultData(text) { this.send(text); return Promise.resolve(); },
  endStudyAndRedirect(link, text) {
    this.send(text);
    document.body.replaceChildren(Object.assign(document.createElement("a"), { href: link }));
  },
};
"""
"""A stand-in for the script of JATOS: what its documentation says of these five names."""
PLUGIN = """
class jsPsychPavlovia {
  static info = {
    name: "pavlovia", version: "1.0.0", data: {},
    parameters: {
      command: {}, participantId: {}, dataFilter: { type: jsPsychModule.ParameterType.FUNCTION },
    },
  };
  constructor(jsPsych) { this.jsPsych = jsPsych; }
  trial(element, trial) {
    const data = () => trial.dataFilter(this.jsPsych.data.get().csv());
    const send = () => fetch("/result", { method: "POST", body: data() });
    (trial.command === "finish" ? send() : Promise.resolve()).then(() => this.jsPsych.finishTrial());
  }
}
"""
"""A stand-in for Pavlovia's plugin: init does nothing, finish sends the filtered data."""


class Web(SimpleHTTPRequestHandler):
    """A web server that keeps what is sent to it."""

    results: list[str]

    def do_POST(self):
        self.results.append(self.rfile.read(int(self.headers["content-length"])).decode())
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Say nothing."""


def fill_in(person):
    """Answer the questionnaire and leave one sentence out."""
    page = person.page
    for item in ("eyes1", "eyes2", "sure1"):
        page.locator(f"input[name={item}]").nth(3).check(force=True)
    page.locator("button.main").press("Enter")
    page.get_by_text("Sentences without an answer: 1.").wait_for()
    page.locator("button.main").press("Enter")


def rate(person, count):
    """Go on until so many faces were rated."""
    while len(person.given) < count:
        person.act()


def test_a_participant_of_prolific_comes_and_goes_back(browser, axe, make_study):  # noqa: F811
    folder = make_study(images=3, settings=SETTINGS)
    started = Server(folder)
    try:
        address = started.experimenter.split("experimenter")[0] + QUERY
        person = Person(browser, address, "keyboard", 1)
        page = person.page
        page.get_by_text("Your Prolific ID is stored in another file").wait_for()
        found = find_barriers(page, axe)
        page.get_by_role("button", name="I do not agree.").click()
        page.get_by_text("cancel your participation there").wait_for()
        page.get_by_role("button", name="Go back").click()
        page.locator("button.main").click()
        page.wait_for_selector("input[name=group]")
        assert "PROLIFIC" not in page.url
        rate(person, 2)
        person.context.close()  # the browser is closed; the same link continues
        again = Person(browser, address, "keyboard", 1)
        again.given = [0, 0]
        rate(again, TRIALS)
        again.page.wait_for_selector("fieldset.item")
        found += find_barriers(again.page, axe)
        again.look("questionnaire")
        fill_in(again)
        again.page.wait_for_selector(f'a[href="{LINK}"]')
        found += find_barriers(again.page, axe)
        assert found == []
        assert again.faults == []
        again.context.close()
        last = Person(browser, address, "keyboard", 1)  # the last page was lost
        last.page.wait_for_selector(f'a[href="{LINK}"]')
        last.context.close()
    finally:
        started.kill()
    data = read_collected(folder)
    assert data.panel_ids["panel_id"].tolist() == ["5f0aaaa"]
    assert len(data.ratings) == TRIALS
    assert data.ratings["looking_eyes"].unique().tolist() == [(4 + (6 - 4)) / 2]
    assert data.ratings["looking_sure"].isna().all()


@pytest.mark.parametrize("save", ["jatos", "pavlovia"])
def test_the_experiment_saves_every_answer_and_leads_back(browser, make_study, npm, tmp_path, save):  # noqa: F811
    folder, out = make_study(images=3, settings=SETTINGS), tmp_path / "experiment"
    write_experiment(folder, out, npm("jspsych@8"), save=save, orders=2)
    stand_in = out / {"jatos": "jatos.js", "pavlovia": PAVLOVIA}[save]
    stand_in.parent.mkdir(exist_ok=True)
    stand_in.write_text({"jatos": JATOS, "pavlovia": PLUGIN}[save])
    handler = type("Here", (Web,), {"results": []})
    web = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(out)))
    threading.Thread(target=web.serve_forever, daemon=True).start()
    try:
        person = Person(browser, f"http://127.0.0.1:{web.server_port}/index.html{QUERY}", "keyboard", 1)
        page = person.page
        page.get_by_text("It is separated from them afterwards").wait_for()
        assert page.evaluate("localStorage.length") == 0  # nothing is stored before the agreement
        rate(person, 2)
        page.get_by_role("button", name="Pause").click()
        page.get_by_text("in this browser on this device").first.wait_for()
        page.reload()
        page.wait_for_selector("main.rated")
        rate(person, TRIALS)
        if save == "jatos":  # whoever closes the page now has lost nothing that was answered
            (tmp_path / "early.txt").write_text("".join(handler.results))
            assert len(read_collected(folder, [tmp_path / "early.txt"]).ratings) == TRIALS
        page.wait_for_selector("fieldset.item")
        fill_in(person)
        page.wait_for_selector(f'a[href="{LINK}"]', state="attached")
        assert person.faults == []
        person.context.close()
    finally:
        web.shutdown()
        web.server_close()
    file = tmp_path / ("data.txt" if save == "jatos" else "data.csv")
    file.write_text("".join(handler.results))
    data = read_collected(folder, [file])
    assert data.panel_ids["panel_id"].tolist() == ["5f0aaaa"]
    assert data.panel_ids["session_id"].tolist() == ["e1"]
    assert len(data.ratings) == TRIALS
    assert data.ratings["rating"].astype(int).tolist() == person.given
    assert data.ratings["looking_eyes"].unique().tolist() == [(4 + (6 - 4)) / 2]
    assert not data.ratings.astype(str).isin(["5f0aaaa"]).any().any()
