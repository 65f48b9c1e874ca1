"""Relevance along lists of active units against relevance through whole layers."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from tests.relevance.conftest import make_backbone

from traitlens.relevance import sparse_kernels, sparse_propagation
from traitlens.relevance.methods import METHODS, Method, find_method
from traitlens.relevance.propagation import Propagator
from traitlens.relevance.rules import Rule, Share, Term, identity, positive
from traitlens.relevance.sparse_propagation import ActiveUnits, can_list
from traitlens.relevance.unit_lists import Receivers, Units

reach = sparse_propagation._positions_reached

WITH_ONE_SHARE = [
    "lrp.sequential_preset_a_flat",
    "lrp.sequential_preset_a",
    "lrp.sequential_preset_a_flat_until_idx",
    "deep_taylor.bounded",
    "lrp.epsilon",
    "lrp.w_square",
    "lrp.flat",
    "lrp.z_plus_fast",
    "gradient",
    "input_t_gradient",
]


def read(method="lrp.sequential_preset_a_flat", size=(12, 12), taps=("block2_pool",), seed=0):
    rng = np.random.default_rng(seed)
    backbone = make_backbone(rng)
    image = rng.integers(0, 256, (1, *size, 3), dtype=np.uint8)
    passage = Propagator(backbone, find_method(method)).forward(backbone.input(image), set(taps))
    return rng, passage


def enter(rng, passage, count):
    """Make relevance that also stands at units that are off, as a linear readout's does."""
    return {
        tap: torch.from_numpy(rng.normal(size=(count, *values.shape[1:])).astype(np.float32))
        for tap, values in passage.activations.items()
    }


def through_layers(passage, relevance, count):
    maps = torch.empty((count, *passage.shape))
    with torch.inference_mode():
        passage._propagate_down(len(passage._steps) - 1, None, relevance, maps)
    return maps.numpy()


def along_lists(passage, relevance, count):
    maps = torch.full((count, *passage.shape), np.nan)
    with torch.inference_mode():
        ActiveUnits(passage._steps).back(relevance, maps)
    return maps.numpy()


def assert_same(got, expected):
    np.testing.assert_allclose(got, expected, rtol=0, atol=3e-6 * np.abs(expected).max())


@pytest.mark.parametrize("method", WITH_ONE_SHARE)
@pytest.mark.parametrize("taps", [("block2_pool",), ("block1_pool", "block2_conv1", "block2_pool")])
def test_maps_are_those_of_whole_layers(method, taps):
    rng, passage = read(method, taps=taps)
    relevance = enter(rng, passage, 3)
    assert_same(along_lists(passage, relevance, 3), through_layers(passage, relevance, 3))


@pytest.mark.parametrize("method", WITH_ONE_SHARE)
@pytest.mark.parametrize(("size", "count"), [((12, 12), 2), ((11, 14), 25)])
def test_regions_are_the_transpose(method, size, count):
    rng, passage = read(method, size, taps=("block1_pool", "block2_conv1", "block2_pool"))
    relevance = enter(rng, passage, 3)
    regions = torch.from_numpy(rng.random((count, *size)).astype(np.float32))
    maps = through_layers(passage, relevance, 3)
    expected = np.einsum("ryx,gyx->rg", maps.astype(float), regions.numpy())
    with torch.inference_mode():
        found = ActiveUnits(passage._steps).forth(regions)
    assert found.keys() == relevance.keys()
    got = sum(np.einsum("rcyx,gcyx->rg", relevance[tap].double(), found[tap].double()) for tap in found)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("size", [(24, 24), (23, 38)])
def test_regions_that_cover_little_go_past_the_rest(size, monkeypatch):
    """What is left out is zero: not a bit differs from sending everything."""
    _, passage = read(size=size, taps=("block1_pool", "block2_conv1", "block2_pool"))
    regions = torch.zeros(12, *size)
    for number in range(11):  # the twelfth is empty
        regions[number, 2 * number : 2 * number + 2, 3:9] = 1
    units, found, sent = ActiveUnits(passage._steps), [], []
    monkeypatch.setattr(sparse_propagation, "_convolve", spy(sparse_propagation._convolve, sent))
    for share in (0, 2):
        monkeypatch.setattr(sparse_propagation, "FAR_APART", share)
        with torch.inference_mode():
            found.append(units.forth(regions))
    assert min(sent) < 0.3
    for tap, values in found[0].items():
        assert values.abs().max() > 0
        assert values.numpy().tobytes() == found[1][tap].numpy().tobytes()
    monkeypatch.setattr(
        sparse_propagation, "_positions_reached", lambda reached, step: np.ones_like(reach(reached, step))
    )
    with torch.inference_mode():
        everything = units.forth(regions)
    for tap, values in found[0].items():
        assert values.numpy().tobytes() == everything[tap].numpy().tobytes()


def spy(send, sent):
    """Note how much of each layer is sent."""

    def send_and_note(*arguments, reached):
        sent.append(reached.mean())
        return send(*arguments, reached=reached)

    return send_and_note


@pytest.mark.parametrize("count", [1, 8, 9, 16, 23, 24, 25, 50])
def test_any_number_of_maps(count):
    rng, passage = read()
    relevance = enter(rng, passage, count)
    assert_same(along_lists(passage, relevance, count), through_layers(passage, relevance, count))


@given(st.tuples(st.integers(4, 19), st.integers(4, 19)), st.integers(0, 99))
@settings(max_examples=25)
def test_any_size_of_image(size, seed):
    rng, passage = read(size=size, seed=seed)
    relevance = enter(rng, passage, 2)
    assert_same(along_lists(passage, relevance, 2), through_layers(passage, relevance, 2))


def test_threads_change_no_bit():
    rng, passage = read(size=(31, 17))
    relevance = enter(rng, passage, 5)
    maps, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            maps.append(along_lists(passage, relevance, 5))
    finally:
        torch.set_num_threads(before)
    assert maps[0].tobytes() == maps[1].tobytes() == maps[2].tobytes()


def test_maps_do_not_hang_on_those_beside_them():
    rng, passage = read()
    relevance = enter(rng, passage, 24)
    alone = along_lists(passage, {tap: values[3:4] for tap, values in relevance.items()}, 1)
    assert alone[0].tobytes() == along_lists(passage, relevance, 24)[3].tobytes()


@pytest.mark.parametrize(
    ("way", "dark"),
    [(along_lists, 0), (along_lists, 1e-5), (along_lists, 1e-2), (through_layers, 0), (through_layers, 1e-2)],
)
@pytest.mark.parametrize("tap", ["block2_pool", "block2_conv1"])
def test_units_that_hardly_answer_do_not_disturb_others(dark, way, tap):
    """Relevance that enters beside bright neighbours where the denominator is all but zero."""
    method = find_method("lrp.sequential_preset_a_flat")
    maps = []
    for precision in ("float32", "float64"):
        rng = np.random.default_rng(3)
        backbone = make_backbone(rng, (("block1", (64, 128)), ("block2", (128, 128))))
        for layer in backbone.layers:
            if layer.bias is not None:
                layer.bias.fill_(0)
        backbone = backbone.to("cpu", precision)
        values = torch.from_numpy(rng.normal(size=(1, 3, 16, 16))).to(backbone.layers[0].weight.dtype)
        values[..., :8] *= dark  # not all the same: ties in a pooling are settled by rounding
        passage = Propagator(backbone, method).forward(values, {tap})
        relevance = {name: one.to(values.dtype) for name, one in enter(rng, passage, 3).items()}
        maps.append((way if precision == "float32" else through_layers)(passage, relevance, 3))
    np.testing.assert_allclose(maps[0], maps[1], rtol=0, atol=1e-5 * np.abs(maps[1]).max())


def test_terms_with_the_same_input_are_summed():
    """Two terms of one input are the same rule as one term with the sum of their weights."""
    twice = Share((Term("input", identity), Term("input", positive)), epsilon=1e-6)
    summed = Share((Term("input", lambda weight: weight + weight.clamp(min=0)),), epsilon=1e-6)
    maps = []
    for share in (twice, summed):
        rng, passage = read(Method("of mine", convolution=Rule("one", (share,)), dense=Rule("one", (share,))))
        relevance = enter(rng, passage, 4)
        maps.append(along_lists(passage, relevance, 4))
        assert_same(maps[-1], through_layers(passage, relevance, 4))
    # Denominators near zero enlarge the rounding of sums in another order.
    np.testing.assert_allclose(maps[0], maps[1], rtol=0, atol=1e-4 * np.abs(maps[1]).max())
    assert np.abs(maps[0]).max() > 0


def test_the_way_is_chosen_by_the_number_of_maps_and_may_be_told(monkeypatch):
    rng, passage = read()
    relevance, taken = enter(rng, passage, 8), []
    monkeypatch.setattr(ActiveUnits, "back", lambda *_: taken.append("lists"))
    passage.back({tap: values[:1] for tap, values in relevance.items()})
    assert not taken
    passage.back(relevance)
    assert taken == ["lists"]
    monkeypatch.setenv("TRAITLENS_WHOLE_LAYERS", "1")
    got = passage.back(relevance).numpy()
    assert taken == ["lists"]
    assert got.tobytes() == through_layers(passage, relevance, 8).tobytes()


def test_lists_of_another_form_are_refused():
    """The compiled loop reads by address."""
    units = Units((2, 2), np.arange(5), np.zeros(4, np.uint16))
    receivers = Receivers(units, np.ones(4, np.float32), np.arange(4, dtype=np.int32))
    values, weight = np.ones((4, 8), np.float32), np.ones((9, 1, 1), np.float32)
    reached = np.ones((2, 2), bool)
    for one, other in ((values.astype(float), weight), (values[:3], weight), (values, weight[:4])):
        with pytest.raises(ValueError, match="contiguous rows of float32"):
            sparse_kernels.convolve_listed(
                other, units, one, reached, receivers, (0, 2), np.empty((4, 8), np.float32)
            )
    wide = Units((2, 2), np.arange(5), np.zeros(4, np.int64))
    with pytest.raises(ValueError, match="channels of uint16"):
        sparse_kernels.convolve_listed(
            weight, wide, values, reached, receivers, (0, 2), np.empty((4, 8), np.float32)
        )


@pytest.mark.parametrize("count", [1, 24])
def test_what_does_not_fit_is_refused(count):
    _, passage = read(size=(8, 16))
    with pytest.raises(ValueError, match=r"regions: expected \(8, 16\) for each map, got \(16, 8\)"):
        passage.forth(torch.rand(count, 16, 8))
    with pytest.raises(ValueError, match="relevance at 'block2_pool'"):
        passage.back({"block2_pool": torch.rand(count, 7, 4, 2)})


@pytest.mark.parametrize("kind", [torch.float64, torch.bool, torch.int32])
def test_regions_may_be_of_any_kind(kind):
    rng, passage = read()
    regions = torch.from_numpy(rng.random((24, 12, 12)) > 0.5)
    expected = passage.forth(regions.float())["block2_pool"]
    torch.testing.assert_close(passage.forth(regions.to(kind))["block2_pool"], expected)


@pytest.mark.parametrize("method", ["lrp.flat", "lrp.epsilon"])
def test_a_network_that_continues_another(method):
    rng = np.random.default_rng(0)
    backbone = make_backbone(rng)
    values = torch.from_numpy(rng.random((1, 3, 12, 12)).astype(np.float32))
    passage = Propagator(backbone, find_method(method), at_pixels=False).forward(values, {"block2_pool"})
    relevance = enter(rng, passage, 3)
    assert_same(along_lists(passage, relevance, 3), through_layers(passage, relevance, 3))
    with torch.inference_mode():
        found = ActiveUnits(passage._steps).forth(torch.rand(3, 12, 12))["block2_pool"]
    assert torch.isfinite(found).all()


@pytest.mark.parametrize("method", ["lrp.alpha_2_beta_1", "guided_backprop", "lrp.sequential_preset_b"])
def test_other_rules_keep_to_whole_layers(method):
    _, passage = read(method)
    assert not can_list(passage._steps)


def test_other_precisions_keep_to_whole_layers():
    rng = np.random.default_rng(0)
    backbone = make_backbone(rng).to("cpu", "float64")
    image = rng.integers(0, 256, (1, 12, 12, 3), dtype=np.uint8)
    passage = Propagator(backbone, METHODS["gradient"]).forward(backbone.input(image), {"block2_pool"})
    assert not can_list(passage._steps)


def test_an_image_that_nothing_answers_to_has_empty_maps():
    rng = np.random.default_rng(0)
    backbone = make_backbone(rng)
    for layer in backbone.layers:
        if layer.bias is not None:
            layer.bias.fill_(-1e6)
    image = rng.integers(0, 256, (1, 12, 12, 3), dtype=np.uint8)
    method = find_method("lrp.sequential_preset_a_flat")
    passage = Propagator(backbone, method).forward(backbone.input(image), {"block2_pool"})
    silent = {"block2_pool": torch.zeros(3, 7, 3, 3)}
    assert not along_lists(passage, silent, 3).any()


def test_lists_pay_for_many_maps():
    _, passage = read()
    units = ActiveUnits(passage._steps)
    assert units.is_faster(24)
    assert not units.is_faster(1)


@pytest.mark.parametrize("when", ["compiling", "keeping"])
def test_what_was_compiled_need_not_be_kept(monkeypatch, when):
    def refuse(cache=False, **options):
        if cache and when == "compiling":
            raise RuntimeError("no locator available")
        return fail if cache else lambda function: njit(**options)(function)

    def fail(_):
        def call(*_):
            raise OSError("disk quota exceeded")

        return call

    def double(value):
        return 2 * value

    monkeypatch.setattr("traitlens.relevance.sparse_kernels.njit", refuse)
    assert sparse_kernels._compile(double)(21) == 42
