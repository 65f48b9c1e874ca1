"""Relevance by region of the face."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from traitlens.columns import GROUP, IMAGE, REGION, RELEVANCE, SHARE, TRAIT
from traitlens.faces.regions import UNIONS

REGION_COLUMNS = [IMAGE, GROUP, TRAIT, REGION, RELEVANCE, SHARE]
"""Columns of `regions.csv`."""

IMAGES_AT_ONCE = 500
"""Number of images whose rows are built at once."""


def sum_regions(maps: np.ndarray, labels: np.ndarray, number: int) -> np.ndarray:
    """Sum one image's maps, and their absolute values, over the regions of its face.

    Parameters
    ----------
    maps : ndarray (map, y, x)
        Rating points per pixel.
    labels : ndarray of int (y, x)
        Region of each pixel.

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
    """Return the regions' sums of several images as a table.

    Parameters
    ----------
    sums : ndarray (group, trait, image, region, 2)
        From :func:`sum_regions`.

    Returns
    -------
    DataFrame
        image, group, trait, region, relevance (sum over the region's pixels, rating points) and share (of the
        map's absolute relevance, 0 to 1, so that regions can be compared whatever the prediction). Missing
        maps have no rows.

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
    """Yields the table of regions by image, group, trait and region, some images at a time.

    Parameters
    ----------
    sums : ndarray (group, trait, image, region, 2)
        Sums of relevance and of its absolute values.
    """

    sums: np.ndarray
    images: np.ndarray
    groups: list[str]
    traits: list[str]
    regions: list[str]

    def __call__(self) -> Iterator[pd.DataFrame]:
        """Yield the table in parts of :data:`IMAGES_AT_ONCE` images."""
        for start in range(0, len(self.images), IMAGES_AT_ONCE):
            images = self.images[start : start + IMAGES_AT_ONCE]
            sums = self.sums[:, :, start : start + IMAGES_AT_ONCE]
            table = tabulate_sums(sums, images, self.groups, self.traits, self.regions)
            orders = ((IMAGE, images), (GROUP, self.groups), (TRAIT, self.traits), (REGION, self.regions))
            places = [pd.Index(order).get_indexer(table[name]) for name, order in orders]
            yield table.iloc[np.lexsort(places[::-1])]


def unite_regions(table: pd.DataFrame) -> pd.DataFrame:
    """Sum the relevance of regions over larger regions.

    Parameters
    ----------
    table : DataFrame
        image, group, trait, region, relevance, share.

    Returns
    -------
    DataFrame
        The same columns, for the eye region, the upper and the lower face.
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
