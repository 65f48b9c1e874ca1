r"""Convolutions of relevance by Winograd's minimal filtering: a quarter of the multiplications.

Four by four outputs of a 3x3 convolution come from six by six inputs by 36 products per pair of channels
instead of 144 (Winograd 1980; Lavin and Gray 2016). The filters are evaluated as polynomials at the points
0, 1, -1, 1/2, -2 and infinity (see Barabasz et al. 2020 on the choice of points). Where inputs and weights
are not negative, rounding errors were about those of a plain convolution; with both signs they were a few
times larger, some 3e-6 of the largest value. All of a tile is rounded alike: beside values that are a hundred
thousand times as large, small ones lose digits.
"""

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

FEWEST_PRODUCTS = 64 * 128
"""Pairs of channels from which the detour pays; below, moving values to and fro takes longer."""

ELEMENTS_IN_CACHE = 1_000_000
"""How many transformed values are worked on at a time, so that they stay in the processor's cache."""


class Convolution:
    """A 3x3 convolution with padding 1 and without a bias.

    Parameters
    ----------
    weight : Tensor
        (out, in, 3, 3).
    direct : bool, default False
        Whether to keep to the direct way, whose rounding is smaller.

    Examples
    --------
    >>> import torch
    >>> weight, values = torch.rand(128, 64, 3, 3), torch.rand(1, 64, 10, 9)
    >>> expected = torch.nn.functional.conv2d(values, weight, padding=1)
    >>> bool((Convolution(weight)(values) - expected).abs().max() < 1e-3)
    True
    """

    def __init__(self, weight: "torch.Tensor", direct: bool = False):
        import torch

        out, into = weight.shape[:2]
        self.into = into
        self._by_tiles = (
            not direct
            and weight.device.type == "cpu"
            and weight.dtype == torch.float32
            and out * into >= FEWEST_PRODUCTS
            and min(out, into) >= 64
        )
        # Either the filters or their transforms are kept; of VGG16 one is 59 MB, the other 235.
        self._filters = (
            _transform(weight) if self._by_tiles else weight.contiguous(memory_format=torch.channels_last)
        )

    def __call__(self, values: "torch.Tensor") -> "torch.Tensor":
        """Convolve.

        Parameters
        ----------
        values : Tensor
            (image, in, row, column).

        Returns
        -------
        Tensor
            (image, out, row, column), channels last in memory.
        """
        room = self.room(len(values), (values.shape[2], values.shape[3]))
        return self.convolve(room.copy_(values))

    def room(self, count: int, size: tuple[int, int]) -> "torch.Tensor":
        """Make room for values that lies as :meth:`convolve` needs it, which saves a copy.

        Parameters
        ----------
        count : int
            Number of images.
        size : (int, int)
            Rows and columns.

        Returns
        -------
        Tensor
            (image, in, row, column), to be filled.
        """
        into, (rows, columns) = self.into, size
        if not self._by_tiles:
            return self._filters.new_empty(count, rows, columns, into).permute(0, 3, 1, 2)
        down, across = _tiles(rows), _tiles(columns)
        edged = self._filters.new_empty(count, down * 4 + 2, across * 4 + 2, into)
        for edge in (slice(0, 1), slice(rows + 1, None)):
            edged[:, edge] = 0
        for edge in (slice(0, 1), slice(columns + 1, None)):
            edged[:, :, edge] = 0
        return edged[:, 1 : rows + 1, 1 : columns + 1].permute(0, 3, 1, 2)

    def convolve(self, room: "torch.Tensor") -> "torch.Tensor":
        """Convolve what lies in a room.

        Parameters
        ----------
        room : Tensor
            From :meth:`room`, filled.

        Returns
        -------
        Tensor
            (image, out, row, column), channels last in memory.
        """
        from torch.nn import functional

        if self._by_tiles:
            return _convolve_tiles(room, self._filters)
        return functional.conv2d(room, self._filters, padding=1)


def _transform(weight: "torch.Tensor") -> "torch.Tensor":
    """Evaluate filters at the 36 pairs of points: (pair, in, out)."""
    out, into = weight.shape[:2]
    taps = weight.double().permute(2, 3, 1, 0).reshape(9, -1)
    return (_transforms()[0] @ taps).float().view(36, into, out)


@cache
def _transforms() -> "tuple[torch.Tensor, torch.Tensor, torch.Tensor]":
    """Make the matrices: filters to points (36, 9), tiles to points (36, 36), points to outputs (16, 36)."""
    import torch

    def evaluate(count: int) -> np.ndarray:
        """Evaluate a polynomial with so many coefficients at the points; at infinity, its last one."""
        finite = np.vander([0, 1, -1, 0.5, -2], count, increasing=True)
        return np.vstack([finite, np.eye(count)[-1]])

    tiles, outputs = np.linalg.inv(evaluate(6)).T, evaluate(4).T
    return (
        torch.from_numpy(np.kron(evaluate(3), evaluate(3))),
        torch.from_numpy(np.kron(tiles, tiles)).float(),
        torch.from_numpy(np.kron(outputs, outputs)).float(),
    )


def _tiles(length: int) -> int:
    """Count the tiles of four outputs that a length needs."""
    return -(-length // 4)


def _convolve_tiles(room: "torch.Tensor", transformed: "torch.Tensor") -> "torch.Tensor":
    """Convolve what lies in a room with zeros round it, a strip of tiles at a time."""
    import torch

    _, to_points, to_outputs = _transforms()
    count, into, rows, columns = room.shape
    out = transformed.shape[2]
    down, across = _tiles(rows), _tiles(columns)
    image, channel, row, column = room.stride()
    result = room.new_empty(count, down * 4, across * 4, out)
    at_once = max(1, ELEMENTS_IN_CACHE // (36 * count * across * max(into, out)))
    for start in range(0, down, at_once):
        height = min(at_once, down - start)
        tiles = room.as_strided(
            (6, 6, count, height, across, into),
            (row, column, image, 4 * row, 4 * column, channel),
            start * 4 * row,  # the room's storage begins with its edge
        )
        points = (to_points @ tiles.reshape(36, -1)).view(36, -1, into)
        products = torch.bmm(points, transformed).view(36, -1)
        outputs = (to_outputs @ products).view(4, 4, count, height, across, out)
        strip = result[:, start * 4 : (start + height) * 4].view(count, height, 4, across, 4, out)
        strip.copy_(outputs.permute(2, 3, 0, 4, 1, 5))
    return result[:, :rows, :columns].permute(0, 3, 1, 2)
