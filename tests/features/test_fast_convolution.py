import numpy as np
import pytest
import torch

from traitlens.features import fast_convolution


@pytest.mark.parametrize(("images", "inputs", "outputs"), [(1, 64, 64), (2, 128, 256), (1, 3, 64)])
def test_fast_convolution_agrees_with_the_direct_one(images, inputs, outputs):
    rng = np.random.default_rng(0)
    values = torch.from_numpy(rng.normal(size=(images, inputs, 21, 20))).float().relu()
    weight = torch.from_numpy(rng.normal(size=(outputs, inputs, 3, 3))).float()
    bias = torch.from_numpy(rng.normal(size=outputs)).float()
    wanted = torch.nn.functional.conv2d(values.double(), weight.double(), bias.double(), padding=1).numpy()
    layout = torch.channels_last
    got = fast_convolution.convolve(
        values.to(memory_format=layout), weight.to(memory_format=layout), bias
    ).numpy()
    np.testing.assert_allclose(got, wanted, rtol=0, atol=3e-5 * np.abs(wanted).max())


def test_other_precisions_go_the_direct_way():
    values = torch.ones(1, 64, 4, 4, dtype=torch.bfloat16)
    weight = torch.ones(128, 64, 3, 3, dtype=torch.bfloat16)
    assert fast_convolution.convolve(values, weight, None).dtype == torch.bfloat16


@pytest.mark.parametrize(("rows", "columns"), [(6, 8), (7, 5), (2, 2)])
def test_the_largest_of_two_by_two_is_torchs(rows, columns):
    values = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, rows, columns)))
    assert torch.equal(fast_convolution.max_pool(values), torch.nn.functional.max_pool2d(values, 2, 2))


@pytest.mark.parametrize("missing", ["_nnpack_available", "_nnpack_spatial_convolution"])
def test_versions_of_torch_without_nnpack_convolve_directly(monkeypatch, missing):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    monkeypatch.delattr(torch, missing, raising=False)
    fast_convolution.has_winograd.cache_clear()
    try:
        assert not fast_convolution.has_winograd()
    finally:
        fast_convolution.has_winograd.cache_clear()
