"""The order of a session: everything once, repeats far apart, traits counterbalanced, answers checked."""

import itertools
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from traitlens.collecting.answer_validation import find_fault, passes_check
from traitlens.collecting.session_steps import (
    SessionDesign,
    count_trials,
    make_steps,
    scale_values,
    upcoming_images,
    williams_row,
)

DESIGN = SessionDesign(
    ("a", "b"),
    ("warm", "strong", "critical"),
    tuple(f"{i}.png" for i in range(10)),
    practice_images=("p1", "p2"),
)

designs = st.builds(
    SessionDesign,
    groups=st.sampled_from([(), ("a",), ("a", "b")]),
    traits=st.sampled_from([("warm",), ("warm", "strong"), ("warm", "strong", "critical")]),
    images=st.integers(1, 12).map(lambda n: tuple(f"{i}.png" for i in range(n))),
    order=st.sampled_from(["blocked", "interleaved"]),
    repeats=st.sampled_from([0.0, 0.1, 0.25, 0.5]),
    practice=st.integers(0, 4),
    checks=st.integers(0, 5),
    pause_after=st.integers(0, 7),
    seed=st.integers(0, 5),
    practice_images=st.just(("p1", "p2")),
)


@settings(max_examples=150)
@given(designs, st.integers(0, 20))
def test_every_face_is_rated_once_on_every_trait_and_repeats_come_on_top(design, place):
    group = design.groups[0] if design.groups else ""
    steps = make_steps(design, group, place)
    assert steps == make_steps(design, group, place)
    trials = [step for step in steps if step.kind == "trial"]
    first = Counter((step.image, *step.traits) for step in trials if step.repeat == 1)
    assert first == Counter(itertools.product(design.images, design.traits))
    again = [(step.image, *step.traits) for step in trials if step.repeat == 2]
    unit = len(design.images) * (len(design.traits) if design.order == "interleaved" else 1)
    blocks = len(design.traits) if design.order == "blocked" else 1
    assert len(again) == len(set(again)) == blocks * round(design.repeats * unit)
    assert set(again) <= set(first)
    assert sum(step.kind == "check" for step in steps) == design.checks
    assert sum(step.kind == "practice" for step in steps) == design.practice
    assert sum(step.kind == "block" for step in steps) == blocks
    assert (steps[0].kind, steps[-1].kind) == ("consent", "end")
    assert any(step.kind == "group" for step in steps) == (len(design.groups) > 1)
    assert count_trials(steps, len(steps)) == (len(trials), len(trials))


@settings(max_examples=60)
@given(designs, st.integers(0, 20))
def test_a_repeat_never_follows_its_first_time_closely(design, place):
    trials = [step for step in make_steps(design, "a", place) if step.kind == "trial"]
    at = {(step.image, step.traits, step.repeat): i for i, step in enumerate(trials)}
    unit = len(design.images) * (len(design.traits) if design.order == "interleaved" else 1)
    least = unit - round(design.repeats * unit)
    for (image, traits, repeat), i in at.items():
        if repeat == 2:
            assert i - at[image, traits, 1] > least - 1


def test_an_interleaved_session_shows_each_face_once_a_round_and_never_twice_in_a_row():
    steps = make_steps(replace(DESIGN, order="interleaved", repeats=0, checks=0), "a")
    trials = [step for step in steps if step.kind == "trial"]
    for number in range(3):
        assert len({step.image for step in trials[10 * number : 10 * number + 10]}) == 10
    assert all(one.image != other.image for one, other in itertools.pairwise(trials))


def test_blocks_are_counterbalanced_within_each_group():
    for group in DESIGN.groups:
        orders = [
            tuple(step.traits[0] for step in make_steps(DESIGN, group, place) if step.kind == "block")
            for place in range(6)
        ]
        for position in range(3):
            assert set(Counter(order[position] for order in orders).values()) == {2}


@pytest.mark.parametrize("count", range(1, 9))
def test_the_square_is_balanced_for_places_and_for_what_goes_before(count):
    rows = [williams_row(count, place) for place in range(2 * count)]
    assert all(sorted(row) == list(range(count)) for row in rows)
    assert len({Counter(row[i] for row in rows)[c] for i in range(count) for c in range(count)}) == 1
    pairs = Counter(pair for row in rows for pair in itertools.pairwise(row))
    assert len(pairs) == count * (count - 1)
    assert len(set(pairs.values())) <= 1


def test_participants_get_different_orders_and_the_seed_decides_them():
    def orders(design):
        return {
            tuple(step.image for step in make_steps(design, group, place) if step.kind == "trial")
            for group in design.groups
            for place in range(10)
        }

    assert len(orders(DESIGN)) == 20
    assert not orders(DESIGN) & orders(replace(DESIGN, seed=1))


def test_who_comes_with_a_known_group_is_not_asked():
    assert "group" not in [step.kind for step in make_steps(DESIGN, "a", known="a")]


def test_attention_checks_are_spread_and_answerable():
    for answer, values in (("buttons", set(map(float, range(1, 8)))), ("slider", {1.0, 7.0})):
        design = replace(DESIGN, answer=answer, checks=3, repeats=0)
        for place in range(30):
            steps = [step for step in make_steps(design, "a", place) if step.kind in ("trial", "check")]
            places = [i for i, step in enumerate(steps) if step.kind == "check"]
            assert [
                sum(step.kind == "trial" for step in steps[:i]) > 10 * n for n, i in enumerate(places)
            ] == [True] * 3
            assert {step.wanted for step in steps if step.kind == "check"} <= values


def test_pauses_come_after_so_many_trials_but_not_at_a_blocks_end():
    steps = make_steps(replace(DESIGN, pause_after=5, repeats=0, checks=0), "a")
    kinds = [step.kind for step in steps if step.kind != "practice"]
    assert kinds[3:15] == ["block", *["trial"] * 5, "pause", *["trial"] * 5]
    assert kinds.count("pause") == 3


def test_the_next_faces_are_named_and_no_others():
    steps = make_steps(DESIGN, "a")
    trial = next(i for i, step in enumerate(steps) if step.kind == "trial")
    assert list(upcoming_images(steps, trial)) == [steps[trial + 1].image, steps[trial + 2].image]
    assert list(upcoming_images(steps, len(steps) - 1)) == []


@pytest.mark.parametrize(
    ("rating", "rt", "moved", "fault"),
    [
        (4, 800, None, None),
        (4.0, 0, None, None),
        (0, 800, None, "off the scale"),
        (8, 800, None, "off the scale"),
        (3.5, 800, None, "not one of the possible answers"),
        ("4", 800, None, "not a number"),
        (True, 800, None, "not a number"),
        (None, 800, None, "not a number"),
        (float("nan"), 800, None, "not a number"),
        (float("inf"), 800, None, "not a number"),
        (10**400, 800, None, "not a number"),
        (4, -1, None, "response time"),
        (4, float("nan"), None, "response time"),
        (4, None, None, "response time"),
        (4, 10**9, None, "response time"),
    ],
)
def test_answers_that_do_not_count(rating, rt, moved, fault):
    found = find_fault(DESIGN, rating, rt, moved)
    assert found is None if fault is None else fault in found


@pytest.mark.parametrize("moved", [None, False, 1, "true"])
def test_a_slider_must_be_moved(moved):
    slider = replace(DESIGN, answer="slider", low=0, high=1, step=0.01)
    assert find_fault(slider, 0.37, 500, True) is None
    assert find_fault(slider, 0.37, 500, moved) == "the slider was not moved"
    assert find_fault(slider, 0.375, 500, True) == "the rating is not one of the possible answers"


def test_the_scale_and_its_checks():
    assert scale_values(DESIGN) == [1, 2, 3, 4, 5, 6, 7]
    assert passes_check(DESIGN, 3, 3)
    assert not passes_check(DESIGN, 3, 4)
    slider = replace(DESIGN, answer="slider", low=0, high=100)
    assert passes_check(slider, 96, 100)
    assert not passes_check(slider, 94, 100)
