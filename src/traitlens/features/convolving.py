"""Convolutions as fast as an ordinary processor allows.

Processors without 512-bit registers gain by Winograd's minimal filtering (Lavin and Gray 2016), which torch
has in NNPACK: 3x3 convolutions of many channels take about half the time. Results differ from direct
convolution by rounding (about 1e-5 of the largest value).
"""

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

MANY_CHANNELS = 128
"""Outputs from which on Winograd's transforms cost less than they save."""


@cache
def has_winograd() -> bool:
    """Tell whether Winograd's convolution is there and is the faster one on this processor.

    Returns
    -------
    bool
        True on processors with AVX2 and nothing wider, where torch was built with NNPACK.
    """
    import torch

    narrow = torch.backends.cpu.get_cpu_capability() == "AVX2"
    return bool(narrow and torch._nnpack_available())  # asking also prepares it


def convolve(values: "torch.Tensor", weight: "torch.Tensor", bias: "torch.Tensor | None") -> "torch.Tensor":
    """Convolve by 3x3 with padding 1, by Winograd's method where that is faster; without gradients.

    Parameters
    ----------
    values : Tensor
        (image, channel, row, column).
    weight : Tensor
        (out, in, 3, 3).
    bias : Tensor or None
        (out,).

    Returns
    -------
    Tensor
        (image, out, row, column).
    """
    import torch

    plain = values.device.type == "cpu" and values.dtype == torch.float32
    if not (plain and len(weight) >= MANY_CHANNELS and has_winograd()):
        return torch.nn.functional.conv2d(values, weight, bias, padding=1)
    kernel = weight.contiguous()
    # One image at a time: NNPACK takes another, slower way with several.
    images = [
        torch._nnpack_spatial_convolution(image[None].contiguous(), kernel, bias, 1, 1) for image in values
    ]
    return torch.cat(images) if len(images) > 1 else images[0]
