import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from traitlens.features.backbone import build_backbone, load_backbone
from traitlens.features.extraction import extract
from traitlens.features.feature_spaces import FeatureSpace, NetworkInput, NetworkInputs
from traitlens.features.preprocessing import VGG_CAFFE, Preprocessing
from traitlens.features.taps import Tap
from traitlens.features.views import View
from traitlens.problems import TraitlensError

TAP = Tap("block2_pool", 2)
VIEWS = {"left": View("left", (0.0, 0.0, 0.5, 1.0), (16, 32))}


@pytest.fixture
def backbone():
    rng = np.random.default_rng(0)
    tensors = {}
    for name, inputs, outputs in (("block1_conv1", 3, 4), ("block2_conv1", 4, 6)):
        tensors[f"{name}.weight"] = rng.normal(size=(outputs, inputs, 3, 3)).astype(np.float32)
        tensors[f"{name}.bias"] = rng.normal(size=outputs).astype(np.float32)
    return build_backbone("tiny", tensors, VGG_CAFFE, "ab" * 32)


@pytest.fixture
def images():
    return np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)


def close(got, expected):
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def convolve_by_hand(values, weight, bias):
    padded = np.pad(values, ((0, 0), (1, 1), (1, 1)))
    out = np.zeros((len(weight), *values.shape[1:]))
    for row in range(values.shape[1]):
        for column in range(values.shape[2]):
            out[:, row, column] = (weight * padded[:, row : row + 3, column : column + 3]).sum((1, 2, 3))
    return np.maximum(out + bias[:, None, None], 0)


def test_activations_agree_with_a_literal_forward_pass(backbone, images):
    values = images[0][:, :, ::-1].astype(float).transpose(2, 0, 1)
    values = values - np.array([103.939, 116.779, 123.68])[:, None, None]
    for layer in backbone.layers:
        if layer.weight is not None:
            values = convolve_by_hand(values, layer.weight.numpy().astype(float), layer.bias.numpy())
        else:
            channels, rows, columns = values.shape
            values = values.reshape(channels, rows // 2, 2, columns // 2, 2).max((2, 4))
    averaged = values.reshape(6, 2, 4, 2, 4).mean((2, 4))
    (got,) = extract(backbone, [FeatureSpace(TAP)], images[:1])[FeatureSpace(TAP)]
    np.testing.assert_allclose(got, averaged, rtol=1e-4, atol=1e-3)


def test_views_give_what_the_crop_gives(backbone, images):
    image, left = FeatureSpace(TAP), FeatureSpace(TAP, view="left")
    got = extract(backbone, [image, left], images, VIEWS)
    for space, pixels in ((image, images), (left, images[:, :, :16])):
        close(got[space], TAP.average(backbone.activations(pixels, [TAP.layer])[TAP.layer]))


@given(
    st.tuples(*[st.integers(0, 11)] * 2, *[st.integers(13, 24)] * 2),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.booleans(),
)
@settings(max_examples=50)
def test_maps_of_a_picture_keep_their_sums_and_stay_inside_the_view(edges, size, mirrored):
    left, top, right, bottom = (edge / 24 for edge in edges)
    view = View("part", (left, top, right, bottom), size)
    pictures = NetworkInputs([FeatureSpace(TAP, view="part", mirror=True)], {"part": view})
    picture = NetworkInput("part", mirrored)
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(2, size[1], size[0]))
    back = pictures.to_image(maps, picture, (24, 24))
    np.testing.assert_allclose(back.sum((1, 2)), maps.sum((1, 2)), rtol=0, atol=1e-5 * np.abs(maps).sum())
    outside = np.ones((24, 24), bool)
    outside[edges[1] : edges[3], edges[0] : edges[2]] = False
    assert not back[:, outside].any()


def test_mirrored_spaces_do_not_change_when_the_image_is_mirrored(backbone, images):
    space = FeatureSpace(TAP, mirror=True)
    one = extract(backbone, [space], images)[space]
    close(one, extract(backbone, [space], images[:, :, ::-1])[space])


def test_unknown_views_taps_and_pixels_are_told(backbone, images):
    with pytest.raises(TraitlensError, match="unknown view 'lefd'; did you mean 'left'"):
        extract(backbone, [FeatureSpace(TAP, view="lefd")], images, VIEWS)
    with pytest.raises(TraitlensError, match="unknown tap 'block2_pol'"):
        backbone.up_to("block2_pol")
    with pytest.raises(TraitlensError, match="unknown backbone 'vgg61'; did you mean 'vgg16'"):
        load_backbone("vgg61")
    with pytest.raises(ValueError, match="must be uint8 RGB"):
        VGG_CAFFE.to_input(images.astype(float))


def test_preprocessing_reorders_subtracts_and_divides(images):
    settings = Preprocessing("RGB", (1.0, 2.0, 3.0), (2.0, 4.0, 5.0))
    want = (images.astype(float) - [1, 2, 3]) / [2, 4, 5]
    np.testing.assert_allclose(settings.to_input(images).permute(0, 2, 3, 1), want, rtol=1e-6)
    low, high = settings.bounds()
    assert low == (-0.5, -0.5, -0.6)
    assert high == (127.0, 63.25, 50.4)
    assert (str(Tap("a", 3)), str(Tap("a", (7, 14))), str(Tap("a"))) == ("a 3x3", "a 7x14", "a")
