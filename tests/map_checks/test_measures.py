"""Checks on networks where the right answer is known."""

import numpy as np
import pandas as pd
import pytest
import xarray
from tests.relevance.test_attribution import MIDDLE, POOL

from traitlens.features.extraction import extract
from traitlens.map_checks.measures import (
    conservation,
    edge_correlation,
    edge_energy,
    method_agreement,
    region_association,
)
from traitlens.map_checks.pixel_flipping import flip_patches
from traitlens.map_checks.randomisation import (
    null_similarity,
    permute_targets,
    random_readouts,
    randomise_backbone,
)
from traitlens.relevance.attribution import analyze, explain_with_conservation


def as_maps(values):
    names = {name: ("readout", ["a"] * len(values)) for name in ("group", "trait")}
    return xarray.DataArray(
        values, dims=("readout", "image", "y", "x"), coords={**names, "fold": ("readout", [0] * len(values))}
    )


def test_conservation_accounts_for_everything(backbone, linear, dense, images):
    table = conservation(explain_with_conservation(backbone, [linear, dense()], images))
    assert len(table) == 4
    np.testing.assert_allclose(table.unaccounted, 0, rtol=0, atol=1e-10)
    np.testing.assert_allclose(table.explained, table.prediction - table.reference, rtol=0, atol=0)
    assert set(table.trait) == {"warm", "strong"}


def test_predictions_are_those_of_the_ledger(backbone, make_linear, dense, images):
    readouts = [make_linear(POOL, MIDDLE, channels=[7, 5], shapes=[(1, 1), (3, 3)]), dense()]
    account = explain_with_conservation(backbone, readouts, images)
    features = extract(backbone, [POOL, MIDDLE], images)
    got = np.transpose([readout.predict(features) for readout in readouts])
    np.testing.assert_allclose(got, account.prediction, rtol=1e-5, atol=1e-5)


def test_random_readouts_keep_their_weights_in_another_order(linear, dense):
    readouts = [linear, dense()]
    shuffled = random_readouts(readouts, seed=3)
    before, after = readouts[0].parts[0].weight, shuffled[0].parts[0].weight
    assert not np.array_equal(before, after)
    np.testing.assert_array_equal(np.sort(before, None), np.sort(after, None))
    np.testing.assert_array_equal(
        np.sort(readouts[1].fc1_weight, None), np.sort(shuffled[1].fc1_weight, None)
    )
    again = random_readouts(readouts, seed=3)
    np.testing.assert_array_equal(after, again[0].parts[0].weight)


def test_randomised_backbone_shuffles_each_convolution_and_leaves_the_original(backbone, linear, images):
    kept = [None if layer.weight is None else layer.weight.clone() for layer in backbone.layers]
    other = randomise_backbone(backbone, seed=1)
    for layer, shuffled, before in zip(backbone.layers, other.layers, kept, strict=True):
        if before is None:
            assert shuffled.weight is None
            continue
        np.testing.assert_array_equal(layer.weight, before)
        assert not np.array_equal(shuffled.weight, before)
        np.testing.assert_array_equal(np.sort(shuffled.weight, None), np.sort(before, None))
        np.testing.assert_array_equal(shuffled.bias, layer.bias)
    assert other.digest != backbone.digest
    again = randomise_backbone(backbone, seed=1)
    np.testing.assert_array_equal(analyze(other, [linear], images), analyze(again, [linear], images))


def test_maps_of_a_randomised_backbone_have_little_in_common(backbone, linear, images):
    maps = analyze(backbone, [linear], images)
    null = [analyze(randomise_backbone(backbone, seed), [linear], images) for seed in range(6)]
    assert null_similarity(maps, null).similarity[0] < 0.5


def test_null_similarity_finds_maps_that_show_the_face_alone(rng):
    face = rng.normal(size=(1, 3, 8, 8))
    null = [as_maps(face + 0.3 * rng.normal(size=(1, 3, 8, 8))) for _ in range(6)]
    empty = null_similarity(as_maps(face + 0.3 * rng.normal(size=(1, 3, 8, 8))), null)
    telling = null_similarity(as_maps(rng.normal(size=(1, 3, 8, 8))), null)
    assert empty.similarity[0] > empty.null_low[0] > 0.8
    assert telling.similarity[0] < telling.null_low[0]
    assert np.isnan(null_similarity(as_maps(face), null[:1]).null_low[0])


def test_edges_of_a_square(rng):
    image = np.zeros((1, 32, 32, 3), np.uint8)
    image[:, 8:24, 8:24] = 255
    energy = edge_energy(image)
    assert energy[0, 16, 16] == 0
    assert energy[0, 8, 16] > 0
    table = edge_correlation(as_maps(np.stack([energy, rng.normal(size=(1, 32, 32))])), image, smooth=1)
    assert table.edge_correlation[0] > 0.99
    assert abs(table.edge_correlation[1]) < 0.5


def test_methods_agree_with_themselves(backbone, linear, images):
    methods = ["lrp.sequential_preset_a_flat", "lrp.z_plus", "gradient"]
    table = method_agreement(backbone, [linear], images, methods, smooth=1)
    np.testing.assert_allclose(np.diag(table), 1, rtol=0, atol=1e-6)
    np.testing.assert_allclose(table, table.T, rtol=0, atol=1e-12)
    assert table.loc["lrp.z_plus", "gradient"] < 0.999


def test_region_association_is_the_root_mean_square_of_pearson(rng):
    activation, ratings = rng.normal(size=(30, 4, 5)), rng.normal(size=30)
    activation[:, 1, 2] = 3
    got = region_association(activation, ratings)
    for region in range(4):
        frame = pd.DataFrame(activation[:, region]).corrwith(pd.Series(ratings)).dropna()
        assert got[region] == pytest.approx(np.sqrt((frame**2).mean()), abs=1e-12)
    assert np.isnan(region_association(np.ones((30, 1, 2)), ratings)).all()


def test_region_association_by_chance(rng):
    got = region_association(rng.normal(size=(50, 1, 4000)), rng.normal(size=50))
    assert got[0] == pytest.approx(1 / np.sqrt(49), rel=0.05)


def test_permuted_targets_keep_who_rates_what_alike():
    names = [f"{number}.png" for number in range(40)]
    targets = pd.DataFrame(
        {
            "group": ["a"] * 40 + ["b"] * 40,
            "trait": "warm",
            "image": names * 2,
            "rating": np.r_[np.arange(40.0), np.arange(40.0)],
        }
    )
    mixed = permute_targets(targets, seed=1)
    by_group = mixed.pivot_table(index="image", columns="group", values="rating")
    assert not np.array_equal(by_group["a"], by_group["a"].sort_values())
    np.testing.assert_array_equal(by_group["a"], by_group["b"])
    np.testing.assert_array_equal(np.sort(by_group["a"]), np.arange(40))
    pd.testing.assert_frame_equal(mixed, permute_targets(targets, seed=1))


def test_flipping_what_matters_gains_most(backbone, linear, images):
    replacement = np.full((12, 12, 3), 128, np.uint8)
    # The best map there can be: what the prediction loses when a patch alone goes.
    (space,) = linear.spaces

    def predict(images):
        return linear.predict(extract(backbone, [space], images))

    whole = predict(images)
    best = np.zeros((1, 2, 12, 12))
    for row in range(0, 12, 4):
        for column in range(0, 12, 4):
            changed = images.copy()
            changed[:, row : row + 4, column : column + 4] = 128
            loss = whole - predict(changed)
            best[0, :, row : row + 4, column : column + 4] = loss[:, None, None]
    table = flip_patches(backbone, [linear], images, best, replacement, patch=4, steps=4).set_index("order")
    turned = flip_patches(backbone, [linear], images, -best, replacement, patch=4, steps=4).set_index("order")
    assert table.gain["relevance"] > max(table.gain["random"], 0)
    np.testing.assert_allclose(turned.gain["relevance"], -table.gain["relevance"], rtol=1e-6, atol=1e-9)
    assert list(table.index) == ["relevance", "random", "central"]


@pytest.mark.parametrize("patch", [5, 12])
def test_patches_may_be_cut_at_the_edge(backbone, linear, images, patch):
    maps = analyze(backbone, [linear], images).values
    done = []
    table = flip_patches(
        backbone, [linear], images, maps, images[1], patch=patch, steps=3, progress=done.append
    )
    assert done == [1, 1]  # one for each image
    assert np.isfinite(table.gain).all()
