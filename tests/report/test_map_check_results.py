"""What the report says about the checks of maps."""

import itertools

import pandas as pd
import pytest

from traitlens.report.map_check_results import KINDS, ORDERS, plot_map_checks, summarise


@pytest.fixture
def checks():
    pairs = list(itertools.product(["warm", "strong"], ["a", "b"]))

    def table(column, names, values):
        rows = [
            {"trait": trait, "group": group, column: name, **values(number)}
            for trait, group in pairs
            for number, name in enumerate(names)
        ]
        return pd.DataFrame(rows)

    return {
        "null_maps": table(
            "null",
            KINDS,
            lambda number: {
                "similarity": 0.1 * number,
                "edge_correlation": 0.3,
                "null_edge_correlation": 0.4,
            },
        ),
        "flipping": table(
            "order", ORDERS, lambda number: {"gain": 0.3 - 0.2 * number, "standard_error": 0.05}
        ),
        "conservation": pd.DataFrame(
            {
                "explained": [0.5, -0.4],
                "absorbed_in_readout": [0.0, 0.0],
                "absorbed_in_backbone": [0.1, 0.2],
                "unaccounted": [0.0, 1e-12],
            }
        ),
        "methods": pd.DataFrame(
            {
                "method": ["m", "m", "n"],
                "other": ["m", "n", "n"],
                "correlation": [1.0, 0.7, 1.0],
            }
        ),
    }


def test_sentences_give_the_numbers(checks):
    text = "\n".join(summarise(checks))
    assert ".00 (permuted ratings), .10 (shuffled readout), .20 (shuffled network)" in text
    assert "for 4 of 4 combinations of group and trait" in text
    assert "0.0% leak into the readout’s and 33.3% into the network’s" in text
    assert "by m correlate with those by other methods by .70 to .70" in text
    assert len(summarise({"methods": checks["methods"]})) == 1


def test_the_figure_has_a_dot_for_each_number(checks):
    left, right = plot_map_checks(checks).axes
    dots = [line for line in right.lines if len(line.get_xdata()) == 1]
    assert len(dots) == 4 * 3
    assert [text.get_text() for text in left.get_yticklabels()] == [
        "warm\na", "warm\nb", "strong\na", "strong\nb",
    ]  # fmt: skip
