"""Lists: every version equally often, each base face once."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from traitlens.collecting.session_steps import SessionDesign, make_steps
from traitlens.experiment.counterbalancing import counterbalanced_lists


def make_pictures(bases, versions, traits=("warm",)):
    return pd.DataFrame(
        [
            (f"{trait}-{base}-{version}.png", trait, base)
            for trait in traits
            for base in range(bases)
            for version in range(versions)
        ],
        columns=["image", "trait", "base"],
    )


@settings(max_examples=30)
@given(st.integers(2, 9), st.integers(2, 9), st.integers(1, 9), st.integers(0, 5))
def test_versions_are_seen_equally_often(bases, versions, seen, seed):
    pictures = make_pictures(bases, versions)
    lists = counterbalanced_lists(pictures, seen, seed).merge(pictures, on=["image", "trait"])
    counts = lists.groupby("image").size().reindex(pictures["image"], fill_value=0)
    assert counts.nunique() == 1
    assert (lists.groupby(["list", "base"]).size() == min(seen, versions)).all()


def test_a_rater_of_one_version_sees_each_face_once_and_rates_one_trait():
    lists = counterbalanced_lists(make_pictures(4, 6, ("warm", "strong")), 1)
    assert (lists.groupby("list")["trait"].nunique() == 1).all()
    assert (lists.groupby("list").size() == 4).all()
    assert lists["list"].nunique() == 12


def test_all_versions_are_one_list():
    pictures = make_pictures(4, 6, ("warm", "strong"))
    assert len(counterbalanced_lists(pictures, None).query("list == 0")) == len(pictures)


@pytest.mark.parametrize("order", ["blocked", "interleaved"])
def test_participants_rate_the_pictures_of_their_list(order):
    pictures = make_pictures(3, 2, ("warm", "strong"))
    lists = counterbalanced_lists(pictures, None)
    pairs = tuple(zip(lists["image"], lists["trait"], strict=True))
    design = SessionDesign(
        (), ("warm", "strong"), tuple(pictures["image"]), order=order, repeats=0, practice=0, checks=0,
        lists=(pairs[:4], pairs[4:]),
    )  # fmt: skip
    for place in (0, 1, 2):
        steps = [step for step in make_steps(design, place=place) if step.kind == "trial"]
        assert {(step.image, step.traits[0]) for step in steps} == set(design.lists[place % 2])
        assert len(steps) == len(design.lists[place % 2])
