"""Whether groups use the same information of a region, whatever its total use."""

import numpy as np
import pandas as pd
import pytest
from tests.comparison.test_utilisation import make_cues

from traitlens.comparison.by_component import compare_components, f_statistic, region_components
from traitlens.features.feature_spaces import FeatureSpace
from traitlens.features.taps import Tap


def draw_components(rng, cues):
    images = cues.sizes["image"]
    return {name: np.linalg.qr(rng.normal(size=(images, 3)))[0] for name in cues["region"].values}


def draw_ratings(
    rng, cues, components, raters=(12, 12), noise=(1.0, 1.0), scale=(1.0, 1.0), more=0.0, other=0.0
):
    """The second group weighs all of the first region more, and for warm another component of the mouth."""
    tables, images = [], cues["image"].values
    for group, number in enumerate(raters):
        for rater in range(number):
            for trait in cues["trait"].values:
                weights = 0.6 + 0.2 * rng.normal(size=cues.sizes["region"])
                weights[0] += more * group
                judged = cues.sel(trait=trait).to_numpy() @ weights
                for region, own in components.items():
                    times = 1 + more / 0.6 * group * (region == cues["region"].values[0])
                    weights = times * 0.2 + 0.1 * rng.normal(size=3)
                    weights[0] += other * group * (region == "mouth" and trait == "warm")
                    judged = judged + np.sqrt(len(images)) * own @ weights
                rating = (
                    5 + rng.normal() + scale[group] * judged + noise[group] * rng.normal(size=len(images))
                )
                table = {
                    "rater": f"{group}{rater:02d}",
                    "group": "ab"[group],
                    "image": images,
                    "trait": trait,
                }
                tables.append(pd.DataFrame(table | {"rating": rating}))
    return pd.concat(tables, ignore_index=True)


def test_the_statistic_is_that_of_a_plain_loop():
    rng = np.random.default_rng(1)
    values, first = rng.normal(size=(20, 4)) + np.array([1, 0.2, 0.1, 0]), np.arange(20) < 8
    parts = [values[first], values[~first]]
    (b1, *c1), (b2, *c2) = (part.mean(axis=0) for part in parts)
    difference = np.array(c1) * b2 - np.array(c2) * b1
    moved = [
        parts[0][:, 1:] * b2 - parts[0][:, :1] * c2,
        np.array(c1) * parts[1][:, :1] - b1 * parts[1][:, 1:],
    ]
    covariance = sum(np.cov(own.T) / len(own) for own in moved)
    expected = difference @ np.linalg.inv(covariance) @ difference
    f, df_1, df_2 = (part[0] for part in f_statistic(first[None], values))
    assert df_1 == 3
    assert f * (df_2 + 2) * 3 / df_2 == pytest.approx(expected, rel=1e-9)
    swapped = [part[0] for part in f_statistic(~first[None], values)]
    assert swapped == pytest.approx([f, df_1, df_2], rel=1e-9)


def test_degrees_of_freedom_are_those_of_hotelling_where_groups_are_alike():
    rng = np.random.default_rng(6)
    half = rng.normal(size=(400, 4))
    values = np.concatenate([half, half[:, :]]) + np.array([1, 0, 0, 0])
    _, _, df_2 = f_statistic(np.arange(800)[None] < 400, values)
    assert df_2[0] == pytest.approx(2 * 399 - 3 + 1, rel=1e-6)


@pytest.mark.parametrize("scale", [(0.5, 1.0), (3.0, 1.0)])
def test_the_range_of_a_group_plays_no_part_in_the_statistic(scale):
    rng = np.random.default_rng(2)
    cues = make_cues(rng, images=60)
    components = draw_components(rng, cues)
    ratings = draw_ratings(rng, cues, components, (6, 6))
    factor = np.where(ratings["group"] == "a", *scale)
    found = [
        compare_components(table, cues, components, permutations=1)["statistic"]
        for table in (ratings, ratings.assign(rating=ratings["rating"] * factor))
    ]
    np.testing.assert_allclose(found[1], found[0], rtol=1e-6)


def test_another_use_of_a_region_is_found_and_more_use_of_it_is_not():
    rng = np.random.default_rng(3)
    cues = make_cues(rng, images=80)
    components = draw_components(rng, cues)
    more = compare_components(
        draw_ratings(rng, cues, components, more=0.8), cues, components, permutations=199
    )
    assert more["p_corrected"].min() > 0.05
    other = compare_components(
        draw_ratings(rng, cues, components, other=0.6), cues, components, permutations=199
    )
    called = other[other["p_corrected"] <= 0.05]
    assert called[["trait", "region"]].to_numpy().tolist() == [["warm", "mouth"]]
    assert (other["df_1"] == 3).all()


def test_with_few_images_there_are_fewer_components_or_no_test():
    rng = np.random.default_rng(5)
    for images, number in ((20, [2]), (12, [])):
        cues = make_cues(rng, images=images)
        components = draw_components(rng, cues)
        table = compare_components(
            draw_ratings(rng, cues, components, (4, 4)), cues, components, permutations=9
        )
        assert table["df_1"].unique().tolist() == number


def test_region_components_are_those_of_the_joined_kernels():
    rng = np.random.default_rng(4)
    features = [3 * rng.normal(size=(30, 40)), rng.normal(size=(30, 10))]
    spaces = [FeatureSpace(Tap(f"block{place}_pool", 1), region="jaw") for place in (3, 4)]
    kernels = dict(zip(spaces, [one @ one.T for one in features], strict=True))
    (found,) = region_components(kernels, 3).values()
    joined = np.hstack([one / np.sqrt((one**2).sum(axis=1).mean()) for one in features])
    left, *_ = np.linalg.svd(joined - joined.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(np.abs((found * left[:, :3]).sum(axis=0)), 1, rtol=1e-6)
