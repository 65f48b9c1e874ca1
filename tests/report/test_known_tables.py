"""Tables of tests as the report prints them: as many decimals as their numbers need."""

import numpy as np
import pandas as pd

from traitlens.report.known_tables import COMPARISONS, print_table, print_tables
from traitlens.report.results import Results


def test_small_numbers_have_the_decimals_that_they_need(tmp_path):
    table = pd.DataFrame(
        {"variable": "age", "measure": ["level", "relevance"], "trait": "warm", "region": [np.nan, "mouth"],
         "estimate": [0.004, -0.00012], "ci_low": [0.001, -0.0003], "ci_high": 0.007, "statistic": 2.5,
         "p": [0.0002, 0.4], "p_corrected": [0.03, 1.0], "effect_size": 0.25, "n": 400}
    )  # fmt: skip
    results = Results(tmp_path, {"groups": ["a", "b"], "traits": ["warm"]})
    printed = print_table(table, COMPARISONS["variables"], results)
    assert printed.columns[:4] == ["Variable", "Trait", "Region", "Difference"]
    assert printed.rows == [
        ["age", "warm", "mean rating", "0.0040", "[0.0010, 0.0070]", "2.50", "< .001", ".030", "0.25", "400"],
        ["age", "warm", "mouth", "−0.0001", "[−0.0003, 0.0070]", "2.50", ".400", "> .999", "0.25", "400"],
    ]
    large = print_table(table.assign(estimate=[0.4, 1e-5]), COMPARISONS["variables"], results)
    assert [row[3] for row in large.rows] == ["0.400", "0.000"]


def test_rounding_errors_are_zero_and_heads_name_the_groups(tmp_path):
    table = pd.DataFrame(
        {"group_1": "young", "group_2": "old", "trait": ["warm"], "measure": "level", "mean_1": -8.9e-16,
         "mean_2": 0.0, "estimate": 9.9e-33, "ci_low": -1e-31, "ci_high": 1e-31, "p": 1.0, "p_corrected": 1.0}
    )  # fmt: skip
    results = Results(tmp_path, {"groups": ["young", "old"], "traits": ["warm"]})
    printed = print_table(table, COMPARISONS["missing"], results)
    assert printed.columns[:5] == ["Trait", "Measure", "Mean, young", "Mean, old", "Difference (young − old)"]
    assert printed.rows[0][4:6] == ["0.000", "[0.000, 0.000]"]


def test_areas_that_are_significant_within_their_trait_only_are_not_listed(tmp_path):
    areas = pd.DataFrame(
        {"group_1": "a", "group_2": "b", "trait": ["warm", "bold"], "n_pixels": 20, "estimate": 0.1,
         "statistic": 4.0, "p_corrected": [0.01, 0.04], "p_family": [0.03, 0.134], "n": 40}
    )  # fmt: skip
    results = Results(
        tmp_path, {"groups": ["a", "b"], "traits": ["warm", "bold"]}, comparisons={"pixels": areas}
    )
    (printed,) = print_tables(results, ("pixels",))
    assert [row[0] for row in printed.rows] == ["warm"]
    assert printed.file == "comparisons/pixels.csv"
