"""Convolution by tiles against the plain one in double precision."""

import numpy as np
import pytest
import torch

from traitlens.relevance.convolution import Convolution


@pytest.fixture
def random():
    return torch.Generator().manual_seed(7)


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (5, 6), (14, 14), (9, 31)])
@pytest.mark.parametrize("channels", [(64, 128), (128, 64), (2, 3)])
def test_it_equals_a_plain_convolution(random, size, channels):
    into, out = channels
    values = torch.randn(2, into, *size, generator=random)
    weight = torch.randn(out, into, 3, 3, generator=random)
    expected = torch.nn.functional.conv2d(values.double(), weight.double(), padding=1)
    got = Convolution(weight)(values)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_strips_make_no_difference(random, monkeypatch):
    values = torch.randn(1, 128, 23, 9, generator=random)
    convolution = Convolution(torch.randn(64, 128, 3, 3, generator=random))
    whole = convolution(values)
    monkeypatch.setattr("traitlens.relevance.convolution.ELEMENTS_IN_CACHE", 1)
    np.testing.assert_allclose(convolution(values), whole, rtol=0, atol=1e-3)


def test_other_precisions_are_left_to_torch(random):
    values = torch.randn(1, 128, 6, 6, generator=random, dtype=torch.float64)
    weight = torch.randn(128, 128, 3, 3, generator=random, dtype=torch.float64)
    expected = torch.nn.functional.conv2d(values, weight, padding=1)
    np.testing.assert_allclose(Convolution(weight)(values), expected, rtol=0, atol=1e-10)
