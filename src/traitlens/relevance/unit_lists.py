"""Data classes for lists of the active units of a layer."""

from dataclasses import dataclass

import numpy as np

LANES = 8
"""Number of maps in a vector register; the size of a batch is a multiple of it."""


@dataclass(eq=False)
class Units:
    """A list of units of a layer, ordered by position.

    `size` is the number of rows and columns of the layer, `start` (position + 1,) the index in the list at
    which each position starts, and `channel` (unit,) the channel of each unit as uint16.
    """

    size: tuple[int, int]
    start: np.ndarray
    channel: np.ndarray

    def counts(self) -> np.ndarray:
        """Return the number of listed units at each position: int (row, column)."""
        return np.diff(self.start).reshape(self.size)

    def places(self, channels: int) -> np.ndarray:
        """Return the flat index of each unit in an array (row, column, channel): int (unit,)."""
        positions = np.arange(len(self.start) - 1)
        return np.repeat(positions, np.diff(self.start)) * channels + self.channel


@dataclass(eq=False)
class Receivers:
    """Units that receive the sums of a convolution.

    The sum of each unit is multiplied by `factor` (unit,) and written to row `place` (unit,) of the output.
    """

    units: Units
    factor: np.ndarray
    place: np.ndarray
