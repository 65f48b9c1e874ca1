"""Computation in blocks of images, to limit memory use and the work lost if a run is killed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from traitlens.computing.engines import Engine
from traitlens.progress import Advance
from traitlens.storage import BlockStore

BLOCK = 8
"""Number of images in a block."""


def blocks_of(positions: np.ndarray) -> Iterator[np.ndarray]:
    """Split positions of images into blocks.

    Parameters
    ----------
    positions : ndarray
        Positions of images in the study.

    Yields
    ------
    ndarray
        Positions of at most :data:`BLOCK` images.

    Examples
    --------
    >>> [len(block) for block in blocks_of(np.arange(20))]
    [8, 8, 4]
    """
    for start in range(0, len(positions), BLOCK):
        yield positions[start : start + BLOCK]


def blocks_by_fold(folds: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Split images into blocks that each belong to one fold; yield the fold and the positions of each block.

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
    """Function that computes a block, stores it, and returns only its number; picklable for workers.

    Parameters
    ----------
    blocks : BlockStore
        Where blocks are stored.
    make : callable
        Function that computes the arrays of a block, given its number.
    """

    blocks: BlockStore
    make: Callable[[int], Mapping[str, np.ndarray]]

    def __call__(self, number: int) -> int:
        """Compute and store the block with the given number."""
        self.blocks.write(number, self.make(number))
        return number


def make_blocks(
    engine: Engine,
    blocks: BlockStore,
    make: Callable[[int], Mapping[str, np.ndarray]],
    sizes: Sequence[int],
    advance: Advance,
) -> None:
    """Compute and store the blocks that are not stored yet.

    Parameters
    ----------
    engine : Engine
        Engine that computes blocks in parallel.
    blocks : BlockStore
        Where blocks are stored.
    make : callable
        Function that computes the arrays of a block, given its number; must be picklable.
    sizes : sequence of int
        Number of images in each block.
    advance : callable
        Called with the number of images just finished.
    """
    missing = [number for number in range(len(sizes)) if not blocks.holds(number)]
    advance(sum(sizes) - sum(sizes[number] for number in missing))
    for number in engine.each(ComputeBlock(blocks, make), missing):
        advance(sizes[number])
