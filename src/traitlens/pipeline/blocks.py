"""Images that are worked on together: a block bounds memory, and what a killed run loses."""

from collections.abc import Iterator

import numpy as np

BLOCK = 8
"""Images in a block."""


def blocks_of(positions: np.ndarray) -> Iterator[np.ndarray]:
    """Split positions of images into blocks.

    Parameters
    ----------
    positions : ndarray
        Positions of images in the study.

    Yields
    ------
    ndarray
        At most :data:`BLOCK` of them.

    Examples
    --------
    >>> [len(block) for block in blocks_of(np.arange(20))]
    [8, 8, 4]
    """
    for start in range(0, len(positions), BLOCK):
        yield positions[start : start + BLOCK]


def blocks_by_fold(folds: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Split images into blocks that lie in one fold each, for what depends on the fold's readouts.

    Parameters
    ----------
    folds : ndarray (image,)
        The fold of each image.

    Yields
    ------
    fold : int
        The fold.
    positions : ndarray
        Positions of a block's images.

    Examples
    --------
    >>> [(fold, block.tolist()) for fold, block in blocks_by_fold(np.array([1, 0, 1]))]
    [(0, [1]), (1, [0, 2])]
    """
    for fold in np.unique(folds):
        for positions in blocks_of(np.flatnonzero(folds == fold)):
            yield fold, positions
