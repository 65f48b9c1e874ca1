"""Taps: layers of the network that readouts read, averaged on a grid."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

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
        Rows and columns of the grid, or one number for both; 1 is the global average; None keeps all units.

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
