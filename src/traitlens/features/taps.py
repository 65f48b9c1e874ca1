"""Taps: layers of the network whose activations, averaged on a grid, are the features of readouts."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Tap:
    """A layer of the backbone, and the grid on which its activations are averaged.

    Parameters
    ----------
    layer : str
        Name of the layer.
    grid : int, (int, int) or None
        Rows and columns of the grid, or one number for both. 1 is the global average; None is no averaging.

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
        """Average activations of the layer over the cells of the grid.

        Parameters
        ----------
        activation : Tensor
            Activations (image, channel, row, column).

        Returns
        -------
        Tensor
            Averages (image, channel, row, column), with the rows and columns of the grid.
        """
        from torch.nn import functional

        return activation if self.grid is None else functional.adaptive_avg_pool2d(activation, self.grid)
