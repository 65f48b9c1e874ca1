"""Lists of the active units of a layer."""

from dataclasses import dataclass

import numpy as np

LANES = 8
"""Maps are propagated in batches of a multiple of this, the numbers of a vector register."""


@dataclass(eq=False)
class Units:
    """Listed units of a layer, position by position.

    `size` holds the layer's rows and columns, `start` (position + 1,) where each position's units begin in
    the list, and `channel` (unit,) their channels as uint16.
    """

    size: tuple[int, int]
    start: np.ndarray
    channel: np.ndarray

    def counts(self) -> np.ndarray:
        """Count the units at each position: int (row, column)."""
        return np.diff(self.start).reshape(self.size)

    def places(self, channels: int) -> np.ndarray:
        """Return the places of the units in a layer laid out as (row, column, channel): int (unit,)."""
        positions = np.arange(len(self.start) - 1)
        return np.repeat(positions, np.diff(self.start)) * channels + self.channel


@dataclass(eq=False)
class Receivers:
    """Units that a convolution sends to.

    `factor` (unit,) is what their sums are multiplied by, `place` (unit,) the row they are written to.
    """

    units: Units
    factor: np.ndarray
    place: np.ndarray
