"""Blocks of images, which bound memory use and the loss of killed runs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from traitlens.computing.engines import Engine
from traitlens.progress import Advance
from traitlens.storage import BlockStore

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
    """Split images into blocks within folds, for results that depend on the fold's readouts.

    Parameters
    ----------
    folds : ndarray (image,)
        The fold of each image.

    Examples
    --------
    >>> [(int(fold), block.tolist()) for fold, block in blocks_by_fold(np.array([1, 0, 1]))]
    [(0, [1]), (1, [0, 2])]
    """
    for fold in np.unique(folds):
        for positions in blocks_of(np.flatnonzero(folds == fold)):
            yield fold, positions


@dataclass(frozen=True)
class ComputeBlock:
    """Computes a block, stores it and returns its number only.

    Parameters
    ----------
    make : callable
        Computes the arrays of a block, given its number.
    """

    blocks: BlockStore
    make: Callable[[int], Mapping[str, np.ndarray]]

    def __call__(self, number: int) -> int:
        """Compute and store a block."""
        self.blocks.write(number, self.make(number))
        return number


def make_blocks(
    engine: Engine,
    blocks: BlockStore,
    make: Callable[[int], Mapping[str, np.ndarray]],
    sizes: Sequence[int],
    advance: Advance,
) -> None:
    """Compute the missing blocks.

    Parameters
    ----------
    make : callable
        Computes the arrays of a block, given its number; must be picklable.
    """
    missing = [number for number in range(len(sizes)) if not blocks.holds(number)]
    advance(sum(sizes) - sum(sizes[number] for number in missing))
    for number in engine.each(ComputeBlock(blocks, make), missing):
        advance(sizes[number])
