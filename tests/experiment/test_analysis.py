"""Answers of an experiment: the plan, unknown pictures, one group, and the report's sentences."""

import pandas as pd
import pytest
from PIL import Image

from traitlens.collecting.preregistration import freeze_plan
from traitlens.experiment.counterbalancing import counterbalanced_lists
from traitlens.experiment.experiment_analysis import analyse_experiment
from traitlens.experiment.experiment_folder import ExperimentDesign
from traitlens.experiment.power import estimate_power, residual_noise, simulate_answers
from traitlens.experiment.preregistration_text import write_preregistration
from traitlens.problems import TraitlensError
from traitlens.report.experiment_results import describe_experiment, tabulate_experiment
from traitlens.report.region_charts import plot_experiment
from traitlens.report.results import Results

SETTINGS = """
groups = ["autistic", "non-autistic"]
traits = ["warm"]
scale = [1, 9]

[folds]
number = 2

[plan]
hypotheses = ["The mouth matters more to non-autistic raters."]
"""
SIZES = {"eyes": (0.8, 0.8), "mouth": (0.4, 1.2), "jaw": (-0.5, -0.5)}


def make_experiment(folder, bases=6):
    """Write an experiment without faces."""
    (folder / "images").mkdir(parents=True)
    rows = [
        (f"face{base}__warm__{region}__{name}__ALTERED.png", f"face{base}.png", "warm", region, step, step)
        for base in range(bases)
        for region in SIZES
        for name, step in (("minus1", -1.0), ("plus1", 1.0))
    ]
    pictures = pd.DataFrame(rows, columns=["image", "base", "trait", "region", "asked", "step"])
    for name in pictures["image"]:
        Image.new("RGB", (40, 40), "grey").save(folder / "images" / name)
    predicted = pd.DataFrame(
        [
            (row.image, "warm", group, row.step * SIZES[row.region][place])
            for row in pictures.itertuples()
            for place, group in enumerate(("autistic", "non-autistic"))
        ],
        columns=["image", "trait", "group", "predicted"],
    )
    lists = counterbalanced_lists(pictures, None)
    for name, table in (("pictures", pictures), ("predicted", predicted), ("lists", lists)):
        table.to_csv(folder / f"{name}.csv", index=False)
    images = pictures[["image", "base"]].rename(columns={"base": "identity"})
    images.assign(may_publish="true").to_csv(folder / "images.csv", index=False)
    (folder / "study.toml").write_text(SETTINGS)
    return ExperimentDesign.read(folder)


@pytest.fixture
def design(tmp_path):
    return make_experiment(tmp_path / "experiment")


def write_answers(design, name="ratings.csv", raters=12, **columns):
    answers = simulate_answers(design, design.predicted_effects(), raters, 0.8, (1, 9), seed=1)
    answers.assign(**columns).to_csv(design.folder / name, index=False)
    return answers


def test_predicted_effects_are_slopes(design):
    found = design.predicted_effects().set_index(["region", "group"])["effect"]
    assert found["mouth", "autistic"] == pytest.approx(0.4)
    assert found["jaw", "non-autistic"] == pytest.approx(-0.5)


def test_planned_answers_are_analysed(design):
    plan, _ = freeze_plan(design.folder)
    text = write_preregistration(design.folder, plan, "Mouths").read_text()
    assert plan["digest"] in text
    write_answers(design, time="2999-01-01T00:00:00+00:00")
    found = analyse_experiment(design.folder, permutations=199)
    assert found.facts["plan"]["digest"] == plan["digest"]
    agreement = found.agreement.set_index("quantity")
    assert agreement["r"]["effects"] > 0.9
    assert agreement["slope_low"]["effects"] < 1 < agreement["slope_high"]["effects"] + 0.1
    assert found.differences.set_index("region")["p"]["mouth"] < 0.05
    results = Results(
        design.folder,
        {},
        experiment={"effects": found.effects, "differences": found.differences, "agreement": found.agreement},
        experiment_facts=found.facts,
    )
    texts = " ".join(describe_experiment(results))
    for part in ("6 base faces", "slope", "mouth, warm", "not changed since"):
        assert part in texts
    assert len(tabulate_experiment(results)) == 2
    assert len(plot_experiment(found.effects).axes) == 1


def test_answers_need_a_plan_that_is_older(design):
    write_answers(design, time="2020-01-01T00:00:00+00:00")
    with pytest.raises(TraitlensError, match="no plan was frozen for this experiment"):
        analyse_experiment(design.folder)
    freeze_plan(design.folder)
    with pytest.raises(TraitlensError, match=r"864 answers were given before the plan was frozen"):
        analyse_experiment(design.folder)
    found = analyse_experiment(design.folder, exploratory=True, permutations=9)
    assert found.facts["early"] == 864


@pytest.mark.parametrize("name", ["pictures.csv", "predicted.csv", "lists.csv"])
def test_tables_must_be_those_of_the_plan(design, name):
    write_answers(design)
    freeze_plan(design.folder)
    table = pd.read_csv(design.folder / name)
    table.iloc[::-1].to_csv(design.folder / name, index=False)
    with pytest.raises(TraitlensError, match=rf"{name}: was changed after the plan was frozen"):
        analyse_experiment(design.folder)


def test_ratings_of_unknown_pictures_are_named(design):
    answers = write_answers(design)
    answers.loc[[2, 5], "image"] = "stranger.png"
    answers.to_csv(design.folder / "other.csv", index=False)
    with pytest.raises(TraitlensError, match=r"stranger\.png"):
        analyse_experiment(design.folder, design.folder / "other.csv", exploratory=True)
    with pytest.raises(TraitlensError, match=r"nowhere\.csv"):
        analyse_experiment(design.folder, design.folder / "nowhere.csv", exploratory=True)


def test_one_group_is_not_compared(design):
    answers = write_answers(design)
    answers[answers["group"] == "autistic"].to_csv(design.folder / "ratings.csv", index=False)
    (design.folder / "study.toml").write_text(SETTINGS.replace(', "non-autistic"', ""))
    found = analyse_experiment(design.folder, exploratory=True, permutations=9)
    assert found.differences.empty
    assert found.facts["groups"] == ["autistic"]
    results = Results(
        design.folder,
        {},
        experiment={"effects": found.effects, "agreement": found.agreement},
        experiment_facts=found.facts,
    )
    assert any("one group" in text for text in describe_experiment(results))


def test_an_experiment_without_tables_is_refused(tmp_path):
    with pytest.raises(TraitlensError, match=r"pictures\.csv: is missing"):
        analyse_experiment(tmp_path)


def test_power_rises_with_the_number_of_raters(design):
    power = estimate_power(design, noise=2.0, scale=(1, 9), numbers=(6, 40), experiments=2)
    assert power["effects"].is_monotonic_increasing
    assert power["group_x_region"].iloc[1] >= power["group_x_region"].iloc[0]


def test_noise_is_what_raters_and_images_do_not_explain(design):
    answers = simulate_answers(design, design.predicted_effects(), 40, 0.7, (-50, 50), taste=0, seed=3)
    # Ratings are whole numbers, which adds a variance of 1/12.
    assert residual_noise(answers) == pytest.approx((0.7**2 + 1 / 12) ** 0.5, rel=0.05)
