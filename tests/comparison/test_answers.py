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
    use = pd.DataFrame(
        [
            {**pair, "trait": "warm", "region": "nose", "hedges_g": 0.1, "p_corrected": 0.9},
            {**pair, "trait": "warm", "region": "mouth", "hedges_g": -1.2, "p_corrected": 0.0004},
            {**pair, "trait": "strong", "region": "jaw", "hedges_g": 0.6, "p_corrected": 0.04},
        ]
    )
    pixels = pd.DataFrame({**{k: [] for k in pair}, "trait": [], "n_pixels": [], "p_family": []})
    return {"means": means, "use": use, "pixels": pixels}


def test_answers_count_what_was_tested_and_what_is_significant():
    found = answer_questions(tables(), 2).set_index("question")
    assert found["n_tests"].tolist() == [2, 3, 2]
    assert found["n_significant"].tolist() == [1, 2, 0]
    assert_allclose(found["p_corrected"][:2], [0.002, 0.0004])


def test_questions_are_corrected_for_their_number():
    given = tables()
    given["means"].loc[0, "p_corrected"] = 0.03
    found = answer_questions(given, 2)
    assert_allclose(found["p_all_questions"], [0.09, 0.0012, 1.0])  # the pixels had no area: p is 1
    assert found["n_found"].tolist() == [0, 1, 0]


def test_pairs_of_groups_are_corrected_for_too():
    means = tables()["means"].assign(p_corrected=0.02)
    both = pd.concat([means, means.assign(group_1="boys", p_corrected=0.04)])
    assert_allclose(answer_questions({"means": both}, 2)["p_all_questions"], [0.08, 0.04])
    assert len(answer_questions({"means": means.head(0)}, 2)) == 0
