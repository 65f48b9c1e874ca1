"""Drawn faces with a part of another face, and raters whose weights are known."""

import numpy as np
import pytest

from traitlens.experiment.agreement import join_predictions, measure_agreement
from traitlens.experiment.counterbalancing import counterbalanced_lists
from traitlens.experiment.effects import estimate_effects
from traitlens.experiment.simulated_experiments import (
    draw_experiment,
    expected_power,
    planted_effects,
    simulate_ratings,
)
from traitlens.experiment.trials import join_trials
from traitlens.study.drawing.face import draw_face
from traitlens.study.drawing.parameters import PARTS, draw_parameters, score_parts
from traitlens.study.simulated_raters import GROUPS, RatingBehaviour

TRAITS = ("warm",)


def test_only_the_part_comes_from_another_face():
    drawn = draw_experiment(bases=1, regions=["mouth"], seed=1)
    base = draw_parameters(1, 1000, 0)
    for row in drawn.pictures.itertuples():
        face = drawn.faces[row.image]
        own, other = score_parts(base), score_parts(face)
        assert other["mouth"] - own["mouth"] == pytest.approx(row.step)
        assert {part for part in PARTS if own[part] != pytest.approx(other[part])} == {"mouth"}
        pictures = [draw_face(one, 96) for one in (base, face)]
        changed = (pictures[0].picture != pictures[1].picture).any(axis=2)
        mouth = np.isin(pictures[0].labels, [6]) | np.isin(pictures[1].labels, [6])
        assert changed.any()
        assert not (changed & ~mouth).any()


@pytest.mark.parametrize("versions", [1, None])
def test_observed_effects_are_the_planted_ones(versions):
    drawn = draw_experiment(bases=12)
    pictures = drawn.repeat_for_traits(TRAITS)
    lists = counterbalanced_lists(pictures, versions)
    ratings = simulate_ratings(drawn, lists, difference=0.6, raters=40, seed=2)
    found = estimate_effects(join_trials(ratings, pictures), GROUPS, permutations=99)
    planted = planted_effects(TRAITS, tuple(PARTS), 0.6, RatingBehaviour())
    table = measure_agreement(join_predictions(found.effects, planted)).set_index("quantity")
    assert table["r"].min() > 0.9
    assert 0.7 < table["slope"]["effects"] < 1.1


def test_power_is_that_of_the_two_sample_t_test():
    from statsmodels.stats.power import TTestIndPower

    spread = np.sqrt(0.3**2 + 1 / 24)
    for difference in (0.1, 0.3):
        expected = TTestIndPower().power(difference / spread, 40, 0.05 / 6)
        found = expected_power(difference, raters=40, faces=12, squares=24, noise=1, taste=0.3, tests=6)
        assert found == pytest.approx(expected, rel=1e-6)
