"""From what participants answered to a report, by the commands that a researcher types."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from traitlens.collecting.database import AnswerDatabase
from traitlens.collecting.design import read_design

SETTINGS = """
practice = 0
checks = 1
repeats = 0.25

[cleaning]
one_value = true

[folds]
number = 3

[faces]
crop = "full"
size = 64

[readout]
grid = 2

[comparison]
permutations = 19
performance = false

[plan]
hypotheses = ["The groups' mean ratings differ."]
tests = ["means", "performance"]
"""


def traitlens(*arguments):
    command = [sys.executable, "-m", "traitlens.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.weights
def test_what_was_collected_becomes_a_report(make_study, take_part):
    folder = make_study(images=12, settings=SETTINGS)
    design, _ = read_design(folder)
    rng = np.random.default_rng(5)
    with AnswerDatabase(folder / "collected" / "answers.sqlite") as store:
        store.add_participants(6)
        for number in range(6):
            straight = number == 5
            rating_of = lambda *_, straight=straight: 4.0 if straight else float(rng.integers(1, 8))  # noqa: E731
            take_part(store, design, f"P00{number + 1}", design.groups[number % 2], rating_of)
    plan = json.loads(traitlens("plan", folder, "--json"))["plan"]
    assert json.loads(traitlens("rate", "export", folder, "--json"))["rows"] == 6 * 2 * (12 + 3)
    checked = json.loads(traitlens("check", folder, "--json"))
    assert "one value throughout a trait" in [row["sign"] for row in checked["answers_worth_a_look"]]
    traitlens("run", folder)
    report = (folder / "results" / "report.html").read_text("utf-8")
    assert "Quality of the ratings" in report
    assert plan["digest"] in report
    assert "test performance (planned, not done)" in report
    quality = pd.read_csv(folder / "results" / "ratings" / "quality.csv", keep_default_na=False)
    assert quality["left_out_by"].tolist() == [""] * 5 + ["one_value"]
    assert "P006" not in (folder / "results" / "ratings" / "left_out.csv").read_text().splitlines()[0]
