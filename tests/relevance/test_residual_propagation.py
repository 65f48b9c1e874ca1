"""Relevance through residual networks, against autograd functions whose backward passes are the rules."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from tests.oracles.residual import ArcFace, ResNet, explainable

from traitlens.features.backbone import Backbone, build_layers
from traitlens.features.feature_spaces import FeatureSpace
from traitlens.features.network_layers import LayerPlan, Window
from traitlens.features.preprocessing import PREPROCESSINGS
from traitlens.features.region_features import RegionalExtractor, RegionalFaces
from traitlens.features.residual_networks import read_residual
from traitlens.features.taps import Tap
from traitlens.readouts.readout import LinearPart, LinearReadout
from traitlens.relevance.attribution import explain_with_conservation
from traitlens.relevance.methods import METHODS
from traitlens.relevance.propagation import propagator
from traitlens.relevance.regional_maps import RegionalExplainer

NETWORKS = {
    "resnet": lambda: ResNet((2, 1), False, 4),
    "bottleneck": lambda: ResNet((1, 1, 1), True, 3),
    "arcface": lambda: ArcFace((2, 1), 4),
}


def make_backbone(network):
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    plans, tensors = read_residual(state)
    return Backbone("tiny", build_layers(plans, tensors), PREPROCESSINGS["torchvision"], "tiny")


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (1, 42, 38, 3), dtype=np.uint8)


def compute(network, image, name, **rules):
    """Return relevance maps of the package and by the rules written out, in double precision."""
    backbone = make_backbone(network).to(precision="float64")
    values = backbone.input(image).contiguous()
    tap = backbone.taps[-1]
    method = replace(METHODS[name], bounds_sums=False)
    passage = propagator(backbone, method).forward(values, {tap})
    output = passage.activations[tap]
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn((1, *output.shape[1:2], 1, 1), generator=generator, dtype=output.dtype)
    got = passage.back({tap: output * weight})
    if not rules:
        return got, output * weight
    leaf = values.clone().requires_grad_()
    explained = explainable(copy.deepcopy(network).double(), **rules)
    (want,) = torch.autograd.grad(explained(leaf), leaf, output * weight)
    return got, want.sum(1)


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize(
    ("name", "rules"),
    [
        ("lrp.z_plus", {"rule": "z_plus"}),
        ("lrp.epsilon", {"rule": "epsilon", "epsilon": 1e-7}),
        ("lrp.sequential_preset_a_flat", {"rule": "alpha_beta", "first": "flat"}),
        ("zennit.epsilon_plus", {"rule": "zennit plus", "epsilon": 1e-6}),
    ],
)
def test_maps_are_those_of_the_rules_written_out(kind, name, rules, image):
    got, want = compute(NETWORKS[kind](), image, name, **rules)
    # Weights are stored in single precision; where a sum nearly cancels, a proportion magnifies rounding.
    tolerance = 1e-5 if kind != "arcface" else 1e-3
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * float(want.abs().max()))


@pytest.mark.parametrize("kind", NETWORKS)
def test_gradients_are_those_of_the_network(kind, image):
    network = NETWORKS[kind]()
    backbone = make_backbone(network).to(precision="float64")
    values = backbone.input(image).contiguous().requires_grad_()
    tap = backbone.taps[-1]
    output = network.double()(values)
    weight = torch.randn(output.shape, generator=torch.Generator().manual_seed(1), dtype=output.dtype)
    (want,) = torch.autograd.grad(output, values, weight)
    for name, factor in (("gradient", 1), ("input_t_gradient", values.detach())):
        passage = propagator(backbone, METHODS[name]).forward(values.detach(), {tap})
        got = passage.back({tap: weight})
        expected = (want * factor).sum(1)
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("name", ["lrp.z_plus", "lrp.flat", "lrp.w_square"])
def test_rules_without_bias_keep_the_sum(name, image):
    got, relevance = compute(NETWORKS["resnet"](), image, name)
    assert float(got.sum()) == pytest.approx(float(relevance.sum()), rel=1e-4)


@pytest.mark.parametrize("kind", NETWORKS)
def test_regions_are_the_transpose_of_maps(kind, image):
    backbone = make_backbone(NETWORKS[kind]())
    taps = [backbone.taps[-1], backbone.taps[2]]
    passage = propagator(backbone, METHODS["lrp.sequential_preset_a_flat"]).forward(
        backbone.input(image), taps
    )
    random = torch.Generator().manual_seed(1)
    relevance = {
        tap: values * torch.randn((2, *values.shape[1:2], 1, 1), generator=random)
        for tap, values in passage.activations.items()
    }
    regions = torch.rand((3, *passage.shape), generator=random)
    maps = passage.back(relevance)
    operator = passage.forth(regions)
    got = sum(torch.einsum("rcyx,mcyx->mr", operator[tap], relevance[tap]) for tap in taps)
    want = torch.einsum("myx,ryx->mr", maps, regions)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-3 * float(want.abs().max()))


def linear(backbone, *spaces, seed=0):
    rng = np.random.default_rng(seed)
    parts = tuple(
        LinearPart(
            space,
            rng.normal(size=(backbone.shapes[space.tap.layer][0], 1, 1)),
            rng.random((backbone.shapes[space.tap.layer][0], 1, 1)),
        )
        for space in spaces
    )
    return LinearReadout("a", "warm", -1, parts, mean=4.0)


@pytest.mark.parametrize("kind", NETWORKS)
def test_maps_add_up_to_the_prediction(kind, image):
    backbone = make_backbone(NETWORKS[kind]())
    readout = linear(
        backbone,
        FeatureSpace(Tap(backbone.taps[-1], 1), transform="sqrt"),
        FeatureSpace(Tap(backbone.taps[3], 1), mirror=True),
    )
    found = explain_with_conservation(backbone, [readout], image).isel(image=0)
    terms = found["constant"] + found["pixels"] + found["absorbed_in_readout"] + found["absorbed_in_backbone"]
    assert float(terms[0]) == pytest.approx(float((found["prediction"] - found["reference"])[0]), rel=1e-6)
    assert np.isfinite(found["relevance"].values).all()


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_feature_that_is_missing_has_bounded_relevance(kind, image):
    """Where summands nearly cancel, relevance must not grow beyond what entered."""
    backbone = make_backbone(NETWORKS[kind]())
    tap = backbone.taps[-1]
    passage = propagator(backbone, METHODS["lrp.z_plus"]).forward(backbone.input(image), {tap})
    relevance = torch.ones_like(passage.activations[tap])
    maps = passage.back({tap: relevance})
    assert float(maps.abs().sum()) < 20 * float(relevance.sum())


@pytest.mark.parametrize("kind", NETWORKS)
def test_regional_features_and_maps(kind, image):
    """A region's features depend on the region only, and its map sums to its cue inside the region."""
    backbone = make_backbone(NETWORKS[kind]())
    average = np.random.default_rng(1).integers(0, 256, (42, 42, 3), dtype=np.uint8)
    face = np.random.default_rng(2).integers(0, 256, (42, 42, 3), dtype=np.uint8)
    faces = RegionalFaces(average)
    masks = xr.DataArray(
        np.zeros((len(faces.regions), 42, 42), np.float32), dims=("region", "y", "x")
    ).assign_coords(region=list(faces.regions))
    masks.loc["mouth", 24:34, 10:30] = 1
    spaces = [
        FeatureSpace(Tap(backbone.taps[-1], 1), region=region, transform=transform)
        for region in ("mouth", "nose")
        for transform in ("none", "sqrt")
    ]
    found = RegionalExtractor(backbone, spaces, faces).extract(face, masks)
    assert all((values == 0).all() for space, values in found.items() if space.region == "nose")
    put = faces.put_on(face, masks.sel(region="mouth").values)
    tap = backbone.taps[-1]
    after, before = (
        backbone.activations(one[None], [tap])[tap].mean((2, 3)).numpy()[0] for one in (put, average)
    )
    np.testing.assert_allclose(found[spaces[0]][:, 0, 0], after - before, rtol=0, atol=1e-5)

    spaces = spaces[:2]
    readout = linear(backbone, *spaces)
    maps = RegionalExplainer(backbone, [readout], faces).explain(face, masks)
    relevance, cues = maps["relevance"].values[0], maps["cue"].values[0]
    want = sum(
        part[0] for part in readout.contributions({s: found[s][None].astype(float) for s in spaces}).values()
    )
    assert cues.sum() == pytest.approx(float(want), rel=1e-4)
    np.testing.assert_allclose(relevance.sum((1, 2)), cues, rtol=1e-4, atol=1e-5)
    mouth = list(maps["region"].values).index("mouth")
    assert (relevance[mouth][masks.sel(region="mouth").values == 0] == 0).all()


@pytest.mark.parametrize("kind", NETWORKS)
def test_differences_are_conserved(kind):
    """The relevance of a change of features arrives at the pixels that differ, all of it."""
    from traitlens.features.reference_pass import start_reference_pass
    from traitlens.relevance.residual_differences import ResidualDifferencePropagator

    backbone = make_backbone(NETWORKS[kind]()).to(precision="float64")
    random = np.random.default_rng(1)
    average, face = random.integers(0, 256, (2, 42, 42, 3), dtype=np.uint8)
    face[:20] = average[:20]
    tap = backbone.taps[-1]
    passed = start_reference_pass(backbone, average, [tap])
    steps = passed.steps(face)
    change = passed.collect(steps)[tap] - passed.collect(())[tap]
    slopes = torch.from_numpy(random.normal(size=(2, *change.shape[1:])))
    maps = ResidualDifferencePropagator().propagate(steps, {tap: slopes}, (42, 42))
    want = (slopes * change).sum((1, 2, 3))
    np.testing.assert_allclose(maps.double().sum((1, 2)), want, rtol=1e-4)
    assert (maps[:, :20] == 0).all()
    assert (maps[:, 20:] != 0).any()


def test_average_poolings_and_sums_of_unlike_inputs(image):
    """Of dlib's network: a shortcut is averaged and its missing channels count as zero."""
    rng = np.random.default_rng(0)
    plans = (
        LayerPlan("conv1", "convolution", ("input",), Window(3, 2), "relu"),
        LayerPlan("conv2", "convolution", ("conv1",), Window(3, 2), "none"),
        LayerPlan("average", "average_pool", ("conv1",), Window(2, 2)),
        LayerPlan("sum", "sum", ("conv2", "average"), activation="relu"),
    )
    shapes = {"conv1": (4, 3, 3, 3), "conv2": (6, 4, 3, 3)}
    tensors = {f"{name}.weight": rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    tensors |= {f"{name}.bias": np.zeros(shape[0], np.float32) for name, shape in shapes.items()}
    backbone = Backbone("tiny", build_layers(plans, tensors), PREPROCESSINGS["caffe"], "tiny")
    values = backbone.input(image)
    passage = propagator(backbone, METHODS["lrp.z_plus"]).forward(values, {"sum"})
    first = torch.conv2d(values, torch.from_numpy(tensors["conv1.weight"]), stride=2).relu()
    second = torch.conv2d(first, torch.from_numpy(tensors["conv2.weight"]), stride=2)
    average = torch.nn.functional.avg_pool2d(first, 2, 2)
    want = torch.zeros(1, 6, 10, 9)
    want[:, :, : second.shape[2], : second.shape[3]] += second
    want[:, :4] += average
    np.testing.assert_allclose(passage.activations["sum"], want.relu(), rtol=1e-4, atol=1e-2)
    relevance = passage.activations["sum"]
    assert float(passage.back({"sum": relevance}).sum()) == pytest.approx(float(relevance.sum()), rel=1e-3)
    assert backbone.shapes["sum"] == (6, 4)
