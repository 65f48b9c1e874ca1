"""Tables of relevance by region of the face."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from traitlens.columns import GROUP, IMAGE, REGION, RELEVANCE, SHARE, TRAIT
from traitlens.faces.regions import UNIONS

REGION_COLUMNS = [IMAGE, GROUP, TRAIT, REGION, RELEVANCE, SHARE]
"""Columns of `regions.csv`."""

IMAGES_AT_ONCE = 500
"""Number of images whose rows are in memory at once."""


def sum_regions(maps: np.ndarray, labels: np.ndarray, number: int) -> np.ndarray:
    """Sum the maps of one image, and their absolute values, over the regions of its face.

    Parameters
    ----------
    maps : ndarray (map, y, x)
        Relevance in rating points per pixel.
    labels : ndarray of int (y, x)
        Index of the region of each pixel.
    number : int
        Number of regions.

    Returns
    -------
    ndarray (map, region, 2)
        Sums of relevance and of its absolute values.

    Examples
    --------
    >>> sum_regions(np.array([[[1.0, -3.0]]]), np.array([[0, 1]]), 2).tolist()
    [[[1.0, 1.0], [-3.0, 3.0]]]
    """
    flat = maps.reshape(len(maps), -1).astype(float)
    masks = (labels.ravel() == np.arange(number)[:, None]).astype(float)
    return np.stack([flat @ masks.T, np.abs(flat) @ masks.T], axis=-1)


def tabulate_sums(
    sums: np.ndarray,
    images: Iterable[str],
    groups: Sequence[str],
    traits: Sequence[str],
    regions: Sequence[str],
) -> pd.DataFrame:
    """Convert sums of relevance over regions to a table.

    Parameters
    ----------
    sums : ndarray (group, trait, image, region, 2)
        Sums of relevance and of its absolute values, as from :func:`sum_regions`.
    images, groups, traits, regions : sequence of str
        Names along the dimensions of `sums`.

    Returns
    -------
    DataFrame
        Columns image, group, trait, region, relevance (sum over the pixels of the region, rating points) and
        share (of the map's absolute relevance, 0 to 1). Missing maps have no rows.

    Examples
    --------
    >>> sums = np.array([[[[[1.0, 1.0], [-3.0, 3.0]]]]])
    >>> tabulate_sums(sums, ["a.png"], ["g"], ["warm"], ["eyes", "mouth"])[["relevance", "share"]].values
    array([[ 1.  ,  0.25],
           [-3.  ,  0.75]])
    """
    absolute = sums[..., 1]
    total = absolute.sum(-1, keepdims=True)
    shares = np.divide(absolute, total, out=np.zeros_like(absolute), where=total != 0)
    names = [list(names) for names in (groups, traits, images, regions)]
    index = pd.MultiIndex.from_product(names, names=[GROUP, TRAIT, IMAGE, REGION])
    values = {RELEVANCE: sums[..., 0].ravel(), SHARE: shares.ravel()}
    return pd.DataFrame(values, index=index).dropna().reset_index()[REGION_COLUMNS]


@dataclass(frozen=True)
class RegionTables:
    """Function that yields the table of :func:`tabulate_sums` in pieces, to save memory."""

    sums: np.ndarray
    images: np.ndarray
    groups: list[str]
    traits: list[str]
    regions: list[str]

    def __call__(self) -> Iterator[pd.DataFrame]:
        """Yield the rows of :data:`IMAGES_AT_ONCE` images at a time."""
        for start in range(0, len(self.images), IMAGES_AT_ONCE):
            images = self.images[start : start + IMAGES_AT_ONCE]
            sums = self.sums[:, :, start : start + IMAGES_AT_ONCE]
            table = tabulate_sums(sums, images, self.groups, self.traits, self.regions)
            orders = ((IMAGE, images), (GROUP, self.groups), (TRAIT, self.traits), (REGION, self.regions))
            places = [pd.Index(order).get_indexer(table[name]) for name, order in orders]
            yield table.iloc[np.lexsort(places[::-1])]


def unite_regions(table: pd.DataFrame) -> pd.DataFrame:
    """Sum the relevance of regions over larger regions: eye region, upper face and lower face.

    Parameters
    ----------
    table : DataFrame
        Table of :func:`tabulate_sums`.

    Returns
    -------
    DataFrame
        The same columns.
    """
    keys = [IMAGE, GROUP, TRAIT]
    united = [
        table[table[REGION].isin(parts)]
        .groupby(keys, sort=False)[[RELEVANCE, SHARE]]
        .sum()
        .reset_index()
        .assign(**{REGION: name})
        for name, parts in UNIONS.items()
    ]
    return pd.concat(united)[REGION_COLUMNS]
