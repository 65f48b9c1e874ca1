"""Lists of the active units of a layer."""

from dataclasses import dataclass

import numpy as np

LANES = 8
"""Size of a vector register; batches of maps are multiples of it."""


@dataclass(eq=False)
class Units:
    """Listed units of a layer, by position.

    `size` holds the layer's rows and columns, `start` (position + 1,) the start of each position's units in
    the list, and `channel` (unit,) their channels as uint16.
    """

    size: tuple[int, int]
    start: np.ndarray
    channel: np.ndarray

    def counts(self) -> np.ndarray:
        """Return the number of units at each position: int (row, column)."""
        return np.diff(self.start).reshape(self.size)

    def places(self, channels: int) -> np.ndarray:
        """Return the indices of the units in a layer (row, column, channel): int (unit,)."""
        positions = np.arange(len(self.start) - 1)
        return np.repeat(positions, np.diff(self.start)) * channels + self.channel


@dataclass(eq=False)
class Receivers:
    """Units that a convolution sends to.

    `factor` (unit,) multiplies their sums, `place` (unit,) is the row they are written to.
    """

    units: Units
    factor: np.ndarray
    place: np.ndarray
