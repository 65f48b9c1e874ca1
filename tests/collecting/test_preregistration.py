"""The plan: frozen once, with a digest; what differs from it is marked."""

import json

import pytest

from traitlens.collecting.preregistration import compare_with_plan, freeze_plan, read_plan
from traitlens.problems import TraitlensError
from traitlens.study.settings_file import read_settings

PLAN = 'seed = 3\n[plan]\nhypotheses = ["Groups differ at the eyes."]\ntests = ["means", "regions"]\n'


@pytest.fixture
def study(tmp_path):
    (tmp_path / "study.toml").write_text(PLAN)
    return tmp_path


def marks(table):
    return table.set_index("what")["mark"].to_dict()


def test_what_is_frozen_stays(study):
    plan, differences = freeze_plan(study)
    assert set(differences["mark"]) == {"planned"}
    assert plan["content"]["hypotheses"] == ["Groups differ at the eyes."]
    assert (plan["content"]["seed"], len(plan["digest"])) == (3, 64)
    before = (study / "plan.json").read_bytes()
    assert freeze_plan(study)[0] == plan
    assert (study / "plan.json").read_bytes() == before


def test_changes_and_additions_are_marked(study):
    plan, _ = freeze_plan(study)
    changed = (
        PLAN.replace("seed = 3", "seed = 4")
        + "[cleaning]\nfastest = 200.0\n[comparison]\npermutations = 99\n"
    )
    (study / "study.toml").write_text(changed)
    settings, _ = read_settings(study / "study.toml")
    found = marks(compare_with_plan(plan, settings, ["means", "pixels"]))
    apart = {what: mark for what, mark in found.items() if mark != "planned"}
    assert apart == {
        "seed": "changed",
        "exclusions.fastest": "changed",
        "comparison.permutations": "changed",
        "test regions": "planned, not done",
        "test pixels": "added",
    }
    assert found["test means"] == "planned"


def test_a_setting_of_a_later_version_at_its_default_is_no_change(study):
    plan, _ = freeze_plan(study)
    del plan["content"]["readout"]["grid"]
    settings, _ = read_settings(study / "study.toml")
    assert "readout.grid" not in marks(compare_with_plan(plan, settings))
    changed = settings.model_copy(update={"readout": settings.readout.model_copy(update={"grid": 3})})
    assert marks(compare_with_plan(plan, changed))["readout.grid"] == "changed"


def test_a_plan_that_was_changed_is_refused(study):
    freeze_plan(study)
    plan = json.loads((study / "plan.json").read_text())
    plan["content"]["hypotheses"] = ["Groups differ at the mouth."]
    (study / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(TraitlensError, match="was changed after it was frozen"):
        read_plan(study)


def test_no_plan_after_the_comparison(study):
    (study / "results" / "comparisons").mkdir(parents=True)
    (study / "results" / "comparisons" / "means.csv").write_text("a\n")
    with pytest.raises(TraitlensError, match="groups have already been compared"):
        freeze_plan(study)
    assert not (study / "plan.json").exists()


def test_nothing_to_freeze_is_told(tmp_path):
    (tmp_path / "study.toml").write_text("seed = 3\n")
    with pytest.raises(TraitlensError, match="there is nothing to freeze"):
        freeze_plan(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", '{"digest": 1}', "\x00"])
def test_a_broken_plan_is_refused(study, content):
    (study / "plan.json").write_text(content)
    with pytest.raises(TraitlensError, match=r"plan\.json: cannot be read"):
        read_plan(study)
