"""What enters at the taps, adds up over taps, views and mirror images, and is accounted for."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from traitlens.features.feature_spaces import FeatureSpace
from traitlens.features.taps import Tap
from traitlens.features.views import View
from traitlens.problems import TraitlensError
from traitlens.readouts.readout import DenseReadout, LinearPart, LinearReadout
from traitlens.relevance import backward_steps
from traitlens.relevance.attribution import Explainer, analyze, explain_with_conservation
from traitlens.relevance.methods import DEFAULT_METHOD, METHODS
from traitlens.relevance.propagation import propagator

POOL = FeatureSpace(Tap("block2_pool", 1))
MIDDLE = FeatureSpace(Tap("block1_pool", 3))
ROOT = FeatureSpace(Tap("block2_conv1", 2), transform="sqrt")
MIRRORED = FeatureSpace(Tap("block2_pool", 3), mirror=True, transform="sqrt")


@dataclass(frozen=True)
class Crop(View):
    """Rows 3 to 9, columns 2 to 10, every pixel doubled."""

    name: str = "eyes"
    box: tuple[float, float, float, float] = (2 / 12, 3 / 12, 10 / 12, 9 / 12)

    def crop(self, image):
        return image[3:9, 2:10].repeat(2, 0).repeat(2, 1)


def features_of(backbone, image, space, views=None):
    seen = image if space.view == "image" else views[space.view].crop(image)
    pictures = [seen, seen[:, ::-1]] if space.mirror else [seen]
    averages = [
        space.tap.average(
            backbone.activations(np.ascontiguousarray(one)[None], {space.tap.layer})[space.tap.layer]
        )
        for one in pictures
    ]
    return space.apply((sum(averages) / len(averages)).numpy())


@pytest.mark.parametrize("space", [POOL, MIDDLE, ROOT, MIRRORED], ids=str)
@pytest.mark.parametrize("reference", ["mean", "zero"])
def test_linear_readout_is_explained_whole(backbone, make_linear, images, space, reference):
    shape = features_of(backbone, images[0], space).shape[1:]
    readout = make_linear(space, channels=[shape[0]], shapes=[shape[1:]])
    account = explain_with_conservation(backbone, [readout], images, "lrp.z_plus", reference)
    part = readout.parts[0]
    for place, image in enumerate(images):
        features = {space: features_of(backbone, image, space)}
        predicted = readout.predict(features)[0]
        one = account.isel(image=place, readout=0)
        np.testing.assert_allclose(one.prediction, predicted, rtol=1e-5, atol=1e-5)
        if reference == "mean":
            np.testing.assert_allclose(one.reference, readout.mean, rtol=0, atol=0)
            np.testing.assert_allclose(one.constant, 0, rtol=0, atol=0)
        else:
            constant = readout.mean - (part.weight * part.reference).sum()
            np.testing.assert_allclose(one.constant, constant, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(one.absorbed_in_readout, 0, rtol=0, atol=1e-4)


def test_ledger_adds_up(backbone, make_linear, dense, images):
    linear = make_linear(POOL, MIDDLE, channels=[7, 5], shapes=[(1, 1), (3, 3)])
    for reference in ("mean", "zero", 3.5, [3.0, 4.0]):
        account = explain_with_conservation(backbone, [linear, dense()], images, reference=reference)
        parts = account.constant + account.pixels + account.absorbed_in_readout + account.absorbed_in_backbone
        np.testing.assert_allclose(account.prediction - account.reference, parts, rtol=0, atol=1e-5)
        np.testing.assert_allclose(account.relevance.sum(["x", "y"]), account.pixels, rtol=1e-4, atol=1e-4)


def test_another_reference_rating_moves_the_constant_alone(backbone, linear, images):
    mean = explain_with_conservation(backbone, [linear], images)
    other = explain_with_conservation(backbone, [linear], images, reference=1.5)
    np.testing.assert_array_equal(mean.relevance, other.relevance)
    np.testing.assert_allclose(other.constant, linear.mean - 1.5, rtol=0, atol=1e-12)


def test_taps_add_up(backbone, make_linear, images):
    both = make_linear(POOL, MIDDLE, channels=[7, 5], shapes=[(1, 1), (3, 3)])
    single = [replace(both, parts=(part,)) for part in both.parts]
    together = analyze(backbone, [both], images).values[0]
    apart = analyze(backbone, single, images).values.sum(0)
    np.testing.assert_allclose(together, apart, rtol=0, atol=1e-5 * np.abs(apart).max())


def test_tap_before_a_pooling_adds_to_one_behind_it(backbone, make_linear, images):
    before = FeatureSpace(Tap("block1_conv2", 2))
    both = make_linear(MIDDLE, before, channels=[5, 5], shapes=[(3, 3), (2, 2)])
    single = [replace(both, parts=(part,)) for part in both.parts]
    together = analyze(backbone, [both], images).values[0]
    apart = sum(analyze(backbone, [one], images).values[0] for one in single)
    np.testing.assert_allclose(together, apart, rtol=0, atol=1e-5 * np.abs(apart).max())


def test_map_of_a_mirrored_space_is_the_mean_of_both_pictures(backbone, make_linear, images):
    plain = make_linear(POOL, channels=[7], shapes=[(1, 1)])
    part = plain.parts[0]
    mirrored = replace(plain, parts=(replace(part, space=replace(POOL, mirror=True)),))
    got = analyze(backbone, [mirrored], images).values[0]
    one = analyze(backbone, [plain], images).values[0]
    other = analyze(backbone, [plain], images[:, :, ::-1].copy()).values[0][:, :, ::-1]
    np.testing.assert_allclose(got, (one + other) / 2, rtol=0, atol=1e-5 * np.abs(got).max())


def test_view_comes_back_to_its_place(backbone, make_linear, images):
    space = FeatureSpace(Tap("block2_pool", 1), view="eyes")
    readout = make_linear(space, channels=[7], shapes=[(1, 1)])
    got = analyze(backbone, [readout], images[:1], views={"eyes": Crop()}).values[0, 0]
    alone = replace(readout, parts=(replace(readout.parts[0], space=POOL),))
    crop = analyze(backbone, [alone], Crop().crop(images[0])[None]).values[0, 0]
    expected = np.zeros((12, 12))
    expected[3:9, 2:10] = crop.reshape(6, 2, 8, 2).sum((1, 3))
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_unknown_view_is_named(backbone, make_linear, images):
    readout = make_linear(FeatureSpace(Tap("block2_pool", 1), "eyse"), channels=[7], shapes=[(1, 1)])
    with pytest.raises(TraitlensError, match="unknown view 'eyse'; did you mean 'eyes'"):
        analyze(backbone, [readout], images)


def test_parts_give_what_the_whole_gives(backbone, make_linear, dense, images, monkeypatch):
    readouts = [
        dense(),
        make_linear(POOL, MIDDLE, channels=[7, 5], shapes=[(1, 1), (3, 3)]),
        make_linear(MIDDLE, channels=[5], shapes=[(3, 3)]),
    ]
    for method in ("lrp.sequential_preset_b_flat", "guided_backprop"):
        whole = analyze(backbone, readouts, images, method).values
        monkeypatch.setattr(backward_steps, "ELEMENTS_AT_ONCE", 1)
        parts = analyze(backbone, readouts, images, method).values
        monkeypatch.undo()
        np.testing.assert_allclose(parts, whole, rtol=0, atol=1e-5 * np.abs(whole).max())
        alone = np.stack([analyze(backbone, [one], images, method).values[0] for one in readouts])
        np.testing.assert_allclose(alone, whole, rtol=0, atol=1e-5 * np.abs(whole).max())


def test_inputs_and_backbone_stay_as_they_are(backbone, dense, images):
    before = [layer.weight.clone() for layer in backbone.layers if layer.weight is not None]
    pixels, readout = images.copy(), dense()
    first = analyze(backbone, [readout], images)
    second = analyze(backbone, [readout], images)
    np.testing.assert_array_equal(first.values, second.values)
    np.testing.assert_array_equal(images, pixels)
    after = [layer.weight for layer in backbone.layers if layer.weight is not None]
    assert all(bool((one == other).all()) for one, other in zip(before, after, strict=True))


def test_one_image_at_a_time_gives_the_same_and_reports_progress(backbone, dense, linear, images):
    readouts, done = [dense(), linear], []
    explainer = Explainer(backbone, readouts)
    each = [explainer.explain(image) for image in images]
    whole = analyze(backbone, readouts, images, progress=done.append)
    assert done == [1, 1]
    for place, one in enumerate(each):
        np.testing.assert_array_equal(one.relevance.values, whole.values[:, place])
    assert list(whole.trait.values) == ["strong", "warm"]


def test_bfloat16_gives_nearly_the_same_map(backbone, linear, images):
    exact = analyze(backbone, [linear], images).values
    rough = analyze(backbone.to("cpu", "bf16"), [linear], images).values
    assert rough.dtype == np.float32
    assert np.corrcoef(exact.ravel(), rough.ravel())[0, 1] > 0.98


def test_no_readout_is_refused(backbone, images):
    with pytest.raises(ValueError, match="no readout"):
        analyze(backbone, [], images)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(factor=st.floats(-3, 3), seed=st.integers(0, 100))
def test_maps_are_linear_in_linear_readouts(backbone, images, factor, seed):
    rng = np.random.default_rng(seed)

    def readout(weight):
        part = LinearPart(POOL, weight, np.full((7, 1, 1), 0.3))
        return LinearReadout("", "", -1, (part,), 0.0)

    one, other = rng.normal(size=(2, 7, 1, 1))
    maps = analyze(
        backbone, [readout(one), readout(other), readout(one + factor * other)], images[:1]
    ).values[:, 0]
    scale = np.abs(maps).max() + 1e-9
    np.testing.assert_allclose(
        maps[2], maps[0] + factor * maps[1], rtol=0, atol=2e-5 * scale * (1 + abs(factor))
    )


def test_dense_readout_without_bias_is_conserved_by_z_plus(backbone, dense, images):
    readout = dense()
    plain = DenseReadout.from_arrays(
        np.abs(readout.fc1_weight), 0 * readout.fc1_bias, np.abs(readout.fc2_weight), 0 * readout.fc2_bias
    )
    plain = replace(plain, space=POOL)
    account = explain_with_conservation(backbone, [plain], images, "lrp.z_plus")
    np.testing.assert_allclose(account.pixels, account.prediction, rtol=1e-4, atol=1e-5)


def test_a_group_as_the_reference(backbone, linear, images):
    other = replace(linear, group="b", mean=3.2)
    account = explain_with_conservation(backbone, [linear, other], images, reference="b")
    np.testing.assert_allclose(account.reference, 3.2, rtol=1e-12)
    np.testing.assert_allclose(account.constant[:, 0], linear.mean - 3.2, rtol=1e-9)
    np.testing.assert_allclose(account.constant[:, 1], 0, atol=1e-12)
    plain = explain_with_conservation(backbone, [linear, other], images)
    np.testing.assert_array_equal(account.relevance, plain.relevance)


def test_references_that_cannot_be(backbone, linear, images):
    with pytest.raises(TraitlensError, match="Choices: a, mean, zero"):
        analyze(backbone, [linear], images, reference="c")
    other = replace(linear, group="b", trait="strong")
    with pytest.raises(TraitlensError, match="'b' for 'warm'"):
        analyze(backbone, [linear, other], images, reference="b")


def test_threads_that_share_modified_weights_make_the_maps_of_one(backbone, make_linear, images):
    middle = make_linear(FeatureSpace(Tap("block2_conv2", 1)), channels=[7], shapes=[(1, 1)])
    top = make_linear(POOL, channels=[7], shapes=[(1, 1)])
    alone = [analyze(backbone, [readout], images).values for readout in (middle, top)]
    assert propagator(backbone, METHODS[DEFAULT_METHOD]) is propagator(backbone, METHODS[DEFAULT_METHOD])
    with ThreadPoolExecutor(4) as pool:
        again = list(
            pool.map(lambda readout: analyze(backbone, [readout], images).values, [middle, top] * 20)
        )
    for place, maps in enumerate(again):
        np.testing.assert_array_equal(maps, alone[place % 2])


@pytest.mark.parametrize("method", ["lrp.sequential_preset_a_flat", "lrp.epsilon", "gradient"])
def test_double_precision_differs_by_rounding_alone(backbone, dense, images, method):
    readouts = [dense()]
    maps, exact = (
        analyze(one, readouts, images, method) for one in (backbone, backbone.to("cpu", "float64"))
    )
    np.testing.assert_allclose(maps, exact, rtol=0, atol=1e-5 * float(np.abs(exact).max()))
