"""The checks of maps on a network with random weights."""

import numpy as np
import pandas as pd
import pytest
from tests.relevance.conftest import make_backbone

from traitlens.faces.canonical_mesh import canonical_mesh
from traitlens.faces.regions import REGIONS, region_labels
from traitlens.features.feature_spaces import FeatureSpace
from traitlens.features.taps import Tap
from traitlens.map_checks.check_sample import (
    REPEATS,
    CheckSample,
    associate_regions,
    average_by_region,
    check_conservation,
    choose_images,
    compare_methods,
    compare_with_null_maps,
    flip_pixels,
    methods_compared,
)
from traitlens.map_checks.randomisation import random_readouts
from traitlens.readouts.readout import LinearPart, LinearReadout

SPACE = FeatureSpace(Tap("block2_pool", 2))


@pytest.fixture
def sample():
    rng = np.random.default_rng(5)
    readouts = tuple(
        LinearReadout(
            "a", trait, 0, (LinearPart(SPACE, rng.normal(size=(7, 2, 2)), rng.random((7, 2, 2))),), 4.0
        )
        for trait in ("warm", "strong")
    )
    pixels = rng.integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    face = np.full((16, 16, 3), 128, np.uint8)
    return CheckSample(make_backbone(rng), readouts, ["x.png", "y.png"], pixels, face, "lrp.z_plus")


class Counter:
    def __init__(self):
        self.steps = 0

    def __call__(self, steps):
        self.steps += steps


def test_images_of_one_fold_are_chosen():
    folds = np.array([2, 1, 1, 2, 1])
    assert choose_images(folds, 10)[0] == 1
    np.testing.assert_array_equal(choose_images(folds, 10)[1], [1, 2, 4])
    np.testing.assert_array_equal(choose_images(folds, 2)[1], [1, 4])


def test_every_image_and_readout_is_accounted_for(sample):
    counter = Counter()
    table = check_conservation(sample, counter)
    assert counter.steps == 2
    assert set(zip(table.image, table.trait, strict=True)) == {
        (image, trait) for image in sample.images for trait in ("warm", "strong")
    }
    np.testing.assert_allclose(table.unaccounted, 0, rtol=0, atol=1e-10)


def test_null_maps_of_the_true_readouts_are_the_maps(sample):
    counter = Counter()
    table = compare_with_null_maps(sample, lambda seed: sample.readouts, counter)
    assert counter.steps == 2 * (1 + 3 * REPEATS)
    by_kind = table.groupby("null")["similarity"].mean()
    assert by_kind["permuted ratings"] == pytest.approx(1)
    assert by_kind["shuffled readout"] < 0.99
    assert by_kind["shuffled network"] < 0.99
    same = table[table["null"] == "permuted ratings"]
    np.testing.assert_allclose(same.edge_correlation, same.null_edge_correlation, rtol=0, atol=1e-9)


def test_dense_readouts_go_without_permuted_ratings(sample):
    kinds = compare_with_null_maps(sample, None, Counter())["null"].unique()
    assert list(kinds) == ["shuffled readout", "shuffled network"]


def test_patches_are_flipped_for_each_readout_and_order(sample):
    counter = Counter()
    table = flip_pixels(sample, counter)
    assert counter.steps == 4
    assert len(table) == 2 * 3
    assert np.isfinite(table.gain).all()


def test_methods_are_compared_once_each(sample):
    counter = Counter()
    table = compare_methods(sample, counter)
    count = len(methods_compared("lrp.z_plus"))
    assert count == 6
    assert len(methods_compared("lrp.epsilon")) == 5
    assert counter.steps == 2 * count
    assert len(table) == count * (count + 1) // 2
    own = table[table.method == table.other]
    np.testing.assert_allclose(own.correlation, 1, rtol=0, atol=1e-6)


def test_a_region_that_goes_with_the_ratings_is_found():
    rng = np.random.default_rng(3)
    size, count = 56, 60
    labels = region_labels(canonical_mesh().points * size / 512, size)
    mouth = labels == REGIONS.index("mouth")
    cells = mouth.reshape(7, 8, 7, 8).any((1, 3))
    ratings = rng.normal(size=count)
    features = rng.random((count, 5, 7, 7))
    features[:, :, cells] += ratings[:, None, None]
    images = np.array([f"{number}.png" for number in range(count)], object)
    targets = pd.DataFrame({"group": "a", "trait": "warm", "image": images, "rating": ratings})
    regions = pd.DataFrame({"group": "a", "trait": "warm", "region": REGIONS, "share": 1 / len(REGIONS)})
    activation = np.stack([average_by_region(one, labels, len(REGIONS)) for one in features])
    table = associate_regions(activation, REGIONS, images, targets, regions).set_index("region")
    assert table.association["mouth"] > 0.95
    assert table.association["forehead"] < 3 * table.by_chance["forehead"]
    np.testing.assert_allclose(table.share, 1 / len(REGIONS), rtol=1e-12)
    np.testing.assert_allclose(table.by_chance, 1 / np.sqrt(count - 1), rtol=1e-12)
    less = associate_regions(activation[1:], REGIONS, images[1:], targets, regions).set_index("region")
    assert less.by_chance["mouth"] == pytest.approx(1 / np.sqrt(count - 2))


def test_shuffled_readouts_differ_by_seed(sample):
    one, other = random_readouts(sample.readouts, 0), random_readouts(sample.readouts, 1)
    assert not np.array_equal(one[0].parts[0].weight, other[0].parts[0].weight)
