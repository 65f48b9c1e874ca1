"""Range and profile of the utilisation of cues by two groups."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Profiles:
    """Range and profile of two groups: the scale of their utilisation of cues, and their relative weights.

    Parameters
    ----------
    ranges : ndarray of shape (group, draw, trait)
        Scale of a group's utilisation along the direction that both groups share.
    profiles : ndarray of shape (group, draw, trait, region)
        Utilisation divided by the range.
    directions : ndarray of shape (draw, trait, region)
        Vector :math:`u` whose inner product with a group's utilisation is its range (see
        :func:`traitlens.comparison.by_use.compare_use`).
    """

    ranges: np.ndarray
    profiles: np.ndarray
    directions: np.ndarray

    @classmethod
    def of(cls, utilisation: np.ndarray) -> "Profiles":
        """Split the utilisation of cues into range and profile.

        Parameters
        ----------
        utilisation : ndarray of shape (group, draw, trait, region)
            Rating points per standard deviation of a cue.

        Returns
        -------
        Profiles
            Ranges, and utilisation divided by range.
        """
        length = np.linalg.norm(utilisation, axis=-1, keepdims=True)
        units = utilisation / np.where(length > 0, length, 1)
        middle = units.mean(axis=0)
        square = (middle**2).sum(axis=-1, keepdims=True)
        directions = middle / np.where(square > 0, square, 1)
        ranges = (utilisation * directions).sum(axis=-1)
        safe = np.where(np.abs(ranges) > 1e-12, ranges, np.inf)
        return cls(ranges, utilisation / safe[..., None], directions)

    @property
    def differences(self) -> np.ndarray:
        """Profile of the first group minus that of the second, an array of shape (draw, trait, region)."""
        return np.asarray(self.profiles[0] - self.profiles[1])

    @property
    def log_ratios(self) -> np.ndarray:
        """Logarithm of the ratio of both ranges, an array of shape (draw, trait)."""
        return np.asarray(np.log(np.maximum(self.ranges[0], 1e-9) / np.maximum(self.ranges[1], 1e-9)))
