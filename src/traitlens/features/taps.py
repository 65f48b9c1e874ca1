"""Taps: the layers that readouts read, averaged on a grid."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from traitlens.features.backbone import Backbone

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Tap:
    """A layer of the backbone, averaged on a grid.

    Parameters
    ----------
    layer : str
        Name of a layer.
    grid : int, (int, int) or None
        Rows and columns to average to; one number stands for both; 1 is the global average; None keeps the
        layer as it is.

    Examples
    --------
    >>> str(Tap("block4_pool", 7))
    'block4_pool 7x7'
    """

    layer: str
    grid: int | tuple[int, int] | None = None

    def __str__(self) -> str:
        if self.grid is None:
            return self.layer
        rows, columns = self.grid if isinstance(self.grid, tuple) else (self.grid, self.grid)
        return f"{self.layer} {rows}x{columns}"

    def average(self, activation: "torch.Tensor") -> "torch.Tensor":
        """Average a layer's activation to the grid.

        Parameters
        ----------
        activation : Tensor
            (image, channel, row, column).

        Returns
        -------
        Tensor
            (image, channel, row, column) of the grid.
        """
        from torch.nn import functional

        return activation if self.grid is None else functional.adaptive_avg_pool2d(activation, self.grid)


def compute_features(
    backbone: Backbone,
    pixels: Iterable[np.ndarray],
    taps: Sequence[Tap],
    progress: Callable[[int], None] | None = None,
) -> dict[Tap, np.ndarray]:
    """Run blocks of images through the network and keep the taps.

    Parameters
    ----------
    backbone : Backbone
        The frozen network.
    pixels : iterable of ndarray
        Blocks of uint8 RGB images (image, row, column, 3); memory is bounded by one block.
    taps : sequence of Tap
        What to keep.
    progress : callable or None
        Called with the number of images after each block.

    Returns
    -------
    dict of Tap to ndarray
        float32 (image, channel, row, column).
    """
    kept: dict[Tap, list[np.ndarray]] = {tap: [] for tap in taps}
    layers = {tap.layer for tap in taps}
    for block in pixels:
        activations = backbone.activations(block, layers)
        for tap in taps:
            kept[tap].append(tap.average(activations[tap.layer]).float().cpu().contiguous().numpy())
        if progress is not None:
            progress(len(block))
    return {tap: np.concatenate(blocks) for tap, blocks in kept.items()}
