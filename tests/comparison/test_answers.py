import pandas as pd
from numpy.testing import assert_allclose

from traitlens.comparison.answers import answer_questions


def tables():
    pair = {"group_1": "men", "group_2": "women"}
    means = pd.DataFrame(
        [
            {**pair, "trait": "warm", "mean_1": 3.0, "mean_2": 3.9, "cohens_d": -0.8, "p_corrected": 0.002},
            {**pair, "trait": "strong", "mean_1": 4.0, "mean_2": 4.1, "cohens_d": -0.1, "p_corrected": 0.7},
        ]
    )
    regions = pd.DataFrame(
        [
            {**pair, "trait": "warm", "region": "nose", "hedges_g": 0.1, "p_corrected": 0.9},
            {**pair, "trait": "warm", "region": "mouth", "hedges_g": -1.2, "p_corrected": 0.0004},
            {**pair, "trait": "strong", "region": "jaw", "hedges_g": 0.6, "p_corrected": 0.04},
        ]
    )
    pixels = pd.DataFrame({**{k: [] for k in pair}, "trait": [], "n_pixels": [], "p_family": []})
    return {"means": means, "regions": regions, "pixels": pixels}


def test_answers_name_what_differs_and_count_what_was_tested():
    found = answer_questions(tables(), 2).set_index("question")
    assert found["answer"].tolist() == [
        "Yes, in 1 of 2 traits: warm (3.00 and 3.90, d = -0.80, p = .002).",
        "Yes, in 2 of 3 pairs of region and trait: mouth for warm (g = -1.20, p < .001); "
        "jaw for strong (g = 0.60, p = .040).",
        "No difference was found in maps: 0 of 2 traits.",
    ]
    assert found["n_tests"].tolist() == [2, 3, 2]
    assert found["n_significant"].tolist() == [1, 2, 0]
    assert_allclose(found["p_corrected"][:2], [0.002, 0.0004])
