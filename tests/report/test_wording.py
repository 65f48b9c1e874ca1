"""The methods text says what was done, whatever the settings."""

from pathlib import Path

import pandas as pd
import pytest
import xarray as xr

from traitlens.report.results import Results
from traitlens.report.wording import LIMITS, SIGNS, describe_limits, describe_methods, describe_signs


def results_with(readout: dict | None = None, comparisons: tuple[str, ...] = (), **settings) -> Results:
    """Results of a run with these settings."""
    readout = {"method": "ridge", "tap": "block4_pool", "grid": 7, "sharing": 1.0} | (readout or {})
    study = {"groups": ["a", "b"], "traits": ["warm"], "settings": {"readout": readout, **settings}}
    table = pd.DataFrame({"group": ["a"], "trait": ["warm"]})
    return Results(
        Path(),
        study,
        performance=table,
        averages=xr.Dataset(),
        comparisons=dict.fromkeys(comparisons, table),
        pixel_tests=xr.Dataset() if "pixels" in comparisons else None,
    )


@pytest.mark.parametrize(
    ("readout", "said", "unsaid"),
    [
        ({}, "the layer block4_pool, averaged to a grid of 7 × 7 places; its penalty, one for all", "mirror"),
        ({"mirror": True}, "and over each image and its mirror image", "Channels"),
        ({"sharing": 0.5}, "its penalty was chosen", "one for all groups"),
        ({"taps": ["block4_conv2", "block4_pool"]}, "the layers block4_conv2 and block4_pool", "crops"),
        ({"views": {"image": 1.0, "eyes": 0.5}}, "of crops of it (eyes)", "square roots"),
        ({"transform": "sqrt", "whiten": 0.1}, "square roots of averages over a grid", "borrowed"),
        ({"whiten": 0.1}, "first made uncorrelated (shrinkage 0.1)", "square roots"),
        ({"across_traits": True}, "used the predictions of the group's other traits", "Channels"),
        ({"method": "dense"}, "1,024 rectified linear units", "ridge"),
        ({"method": "cao2023"}, "450 epochs for every group", "deviation of the prediction"),
    ],
)
def test_readout_is_described_as_it_was(readout, said, unsaid):
    text = " ".join(describe_methods(results_with(readout)).paragraphs)
    assert said in text
    assert unsaid not in text


def test_what_is_explained_is_told_in_methods_and_limits():
    deviation, rating = results_with(), results_with({"method": "cao2023"})
    assert describe_signs(deviation) == SIGNS
    assert describe_limits(deviation) == list(LIMITS)
    assert "every map contains the mean rating as well" in describe_limits(rating)[1][1]
    assert not any("Letzgus" in reference for reference in describe_methods(rating).references)


@pytest.mark.parametrize(
    ("test", "said", "cited"),
    [("tfce", "threshold-free", True), ("cluster_mass", "cluster mass", False), ("pixel", "", False)],
)
def test_comparison_is_described_as_it_was(test, said, cited):
    comparison = {"permutations": 5000, "pixel_test": test}
    results = results_with(comparisons=("means", "use", "pixels"), comparison=comparison)
    methods = describe_methods(results)
    text = " ".join(methods.paragraphs)
    assert "in mean ratings by permutation tests: raters were exchanged" in text
    assert "draws raters and the persons shown together" in text
    assert "5,000 times at random" in text
    assert said in text
    assert any("Smith, S. M." in reference for reference in methods.references) == cited


def test_variables_of_the_raters_are_told_where_they_were_tested():
    settings = {"comparison": {"variables": ["age", "score"]}}
    text = " ".join(describe_methods(results_with(comparisons=("means", "variables"), **settings)).paragraphs)
    assert "were tested against age and score likewise" in text
    text = " ".join(describe_methods(results_with(comparisons=("means",), **settings)).paragraphs)
    assert "likewise" not in text


def test_only_the_rules_of_the_paper_are_said_to_follow_it():
    follows = {
        method: "following Cao" in " ".join(
            describe_methods(results_with(relevance={"method": method})).paragraphs
        )
        for method in ("lrp.sequential_preset_a_flat", "lrp.epsilon", "gradient")
    }  # fmt: skip
    assert follows == {"lrp.sequential_preset_a_flat": True, "lrp.epsilon": False, "gradient": False}
