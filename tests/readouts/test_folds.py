import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from traitlens.problems import StudyError, TraitlensError
from traitlens.readouts.folds import assign_folds, inner_folds


def table(counts):
    identity = np.repeat([f"person {place}" for place in range(len(counts))], counts)
    return pd.DataFrame({"image": [f"{place}.png" for place in range(len(identity))], "identity": identity})


@settings(max_examples=25)
@given(st.lists(st.integers(1, 7), min_size=5, max_size=40), st.integers(2, 5), st.integers(0, 99))
def test_folds_keep_identities_together_and_are_balanced(counts, number, seed):
    images = table(counts)
    folds = assign_folds(images, number, seed)
    assert (folds.groupby("identity")["fold"].nunique() == 1).all()
    sizes = folds["fold"].value_counts()
    assert len(sizes) == number
    assert sizes.max() - sizes.min() <= max(counts)
    pd.testing.assert_frame_equal(folds, assign_folds(images, number, seed))


def test_the_order_of_images_does_not_matter():
    images = table([3, 1, 2, 2, 1, 4])
    shuffled = images.sample(frac=1, random_state=1)
    first, second = (assign_folds(rows, 3).set_index("image")["fold"] for rows in (images, shuffled))
    pd.testing.assert_series_equal(first, second.loc[first.index])


def test_another_seed_gives_other_folds():
    images = table([1] * 30)
    assert (assign_folds(images, 5, 0)["fold"] != assign_folds(images, 5, 1)["fold"]).any()


def test_given_folds_are_taken():
    images = table([2, 2, 2]).assign(part=["b", "b", "a", "a", "c", "c"])
    assert assign_folds(images, column="part")["fold"].tolist() == [1, 1, 0, 0, 2, 2]


def test_every_fault_of_given_folds_is_named():
    images = table([2, 2, 1]).assign(part=["a", "b", "c", None, "a"])
    with pytest.raises(StudyError) as caught:
        assign_folds(images, column="part")
    assert "image '3.png' has no fold" in str(caught.value)
    assert "identity 'person 0' is in 2 folds" in str(caught.value)
    with pytest.raises(TraitlensError, match="unknown column of folds 'prat'; did you mean 'part'"):
        assign_folds(images, column="prat")


def test_too_few_identities():
    with pytest.raises(StudyError, match="3 identities cannot be split into 5 folds"):
        assign_folds(table([1, 1, 1]))


def test_inner_folds_keep_identities_together():
    identities = np.repeat(np.arange(11), 3)
    splits = inner_folds(identities)
    assert set(splits) == {0, 1, 2, 3, 4}
    assert all(len(set(splits[identities == person])) == 1 for person in range(11))
    assert sorted(set(inner_folds(np.array([1, 1, 2])))) == [0, 1]
