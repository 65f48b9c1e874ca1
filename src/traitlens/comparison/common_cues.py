"""Cues shared by all raters: regional readouts fitted to the pooled groups, each group weighted equally."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
import xarray as xr

from traitlens.columns import FOLD, IDENTITY, IMAGE, RATING, REGION, TRAIT
from traitlens.features.feature_spaces import FeatureSpace
from traitlens.ratings.targets import make_targets
from traitlens.readouts.multitask import JointCues, cross_fit_joint_cues, leave_out
from traitlens.readouts.performance import correlation
from traitlens.readouts.region_readouts import Cues, RidgeCues, cross_fit_cues
from traitlens.readouts.ridge import PENALTIES

MOST_IMAGES = 1500
"""Maximum number of images for fitting all traits together."""


@dataclass(frozen=True, eq=False)
class CommonCues:
    """Cues of a study, from a regional readout of the mean ratings of all groups.

    Parameters
    ----------
    kernels : mapping of FeatureSpace to ndarray
        One kernel of shape (image, image) per region.
    targets : DataFrame
        Mean rating of each image (index) on each trait (columns), with equal weights of groups; missing if
        nobody rated the image.
    folds : DataFrame
        image, identity, fold; images in the order of the kernels.
    first : Cues, optional
        An earlier fit whose covariances or penalties are reused; if None, they are estimated in the training
        folds.
    seed : int, default 0
        Seed of the inner folds.

    Notes
    -----
    All traits are fitted together (:func:`~traitlens.readouts.multitask.cross_fit_joint_cues`). With more
    than 1,500 images, each trait is fitted separately
    (:func:`~traitlens.readouts.region_readouts.cross_fit_cues`), because the gain from other traits is then
    small and a joint fit would need the kernels of all regions in memory.

    Examples
    --------
    >>> cues = CommonCues(kernels, pool_targets(study.ratings), folds)  # doctest: +SKIP
    >>> compare_use(study.ratings, cues.array, relearn=cues.relearn)  # doctest: +SKIP
    """

    kernels: Mapping[FeatureSpace, np.ndarray]
    targets: pd.DataFrame
    folds: pd.DataFrame
    first: Cues | None = None
    seed: int = 0

    @cached_property
    def fitted(self) -> Cues:
        """Cues fitted to the ratings of all images."""
        return self._fit(self.first)

    @cached_property
    def array(self) -> xr.DataArray:
        """Cues in rating points, with the dimensions trait, image and region."""
        return self._label(self.fitted.values, (TRAIT, REGION, IMAGE))

    def relearn(self, kept: np.ndarray) -> xr.DataArray:
        """Refit the cues to several sets of training images.

        Parameters
        ----------
        kept : ndarray of bool, shape (set, image)
            Training images of each set.

        Returns
        -------
        DataArray (set, trait, image, region)
            Cues of all images. The covariances of the first fit are reused.

        Raises
        ------
        ValueError
            With more than 1,500 images.
        """
        if not isinstance(self.fitted, JointCues):
            raise ValueError(f"cues of more than {MOST_IMAGES} images cannot be refitted")
        folds = self.folds[FOLD].to_numpy()
        values = leave_out(self.kernels, self._ratings, folds, self.fitted.covariances, kept)
        return self._label(values, ("set", TRAIT, REGION, IMAGE))

    def refit(self, targets: pd.DataFrame) -> "CommonCues":
        """Return cues fitted to other mean ratings, with the covariances or penalties of the first fit."""
        return replace(self, targets=targets, first=self.fitted)

    def predictability(self, permutations: int = 199, seed: int = 0) -> pd.DataFrame:
        """Test whether traits are predicted better than chance, with a refit under each permutation.

        The tested readout is the regional readout of each trait by itself. Ratings are permuted between
        identities with the same number of images. A test without refits would have too many false positives,
        because predictions depend on the ratings of other folds.

        Parameters
        ----------
        permutations : int, default 199
            Number of permutations.
        seed : int, default 0
            Seed of the random number generator.

        Returns
        -------
        DataFrame
            trait, r (out of fold), p (one-sided; Phipson and Smyth 2010).
        """
        rng = np.random.default_rng(seed)
        orders = np.stack([permute_blocks(self.folds[IDENTITY].to_numpy(), rng) for _ in range(permutations)])
        chosen = self._fit_alone(self._ratings).penalties
        rows = []
        for place, trait in enumerate(self.targets.columns):
            own = self._ratings[:, place]
            # Missing ratings are replaced by the mean rating.
            own = np.where(np.isfinite(own), own, np.nanmean(own))
            permuted = np.column_stack([own, own[orders].T])
            fit = self._fit_alone(permuted, np.tile(chosen[place], (permutations + 1, 1)))
            r = [correlation(*pair) for pair in zip(permuted.T, fit.predictions, strict=True)]
            p = (1 + np.sum(np.array(r[1:]) >= r[0])) / (1 + permutations)
            rows.append((trait, r[0], p))
        return pd.DataFrame(rows, columns=[TRAIT, "r", "p"])

    @cached_property
    def _ratings(self) -> np.ndarray:
        """Mean ratings in the order of the kernels, an array of shape (image, trait)."""
        return self.targets.reindex(self.folds[IMAGE]).to_numpy(float)

    def _fit(self, first: Cues | None) -> Cues:
        """Fit all traits together, or with many images each trait separately."""
        if len(self.folds) > MOST_IMAGES:
            penalties = first.penalties if isinstance(first, RidgeCues) else None
            return self._fit_alone(self._ratings, penalties)
        covariances = first.covariances if isinstance(first, JointCues) else None
        return cross_fit_joint_cues(self.kernels, self._ratings, self.folds[FOLD].to_numpy(), covariances)

    def _fit_alone(self, ratings: np.ndarray, penalties: np.ndarray | None = None) -> RidgeCues:
        """Fit the regional readout of each trait separately."""
        return cross_fit_cues(
            self.kernels,
            ratings,
            self.folds[FOLD].to_numpy(),
            pd.factorize(self.folds[IDENTITY])[0],
            PENALTIES if penalties is None else penalties,
            seed=self.seed,
        )

    def _label(self, values: np.ndarray, dims: Sequence[str]) -> xr.DataArray:
        """Return an array with names of traits, images and regions as coordinates."""
        names = {
            TRAIT: list(self.targets.columns),
            REGION: list(self.fitted.regions),
            IMAGE: self.folds[IMAGE].to_numpy(object),
        }
        return xr.DataArray(values, names, dims).transpose(..., TRAIT, IMAGE, REGION)


def pool_targets(ratings: pd.DataFrame) -> pd.DataFrame:
    """Average ratings over the raters of each group, then over groups.

    Returns
    -------
    DataFrame
        A row per image, a column per trait; missing where nobody rated an image on a trait.

    Examples
    --------
    >>> raters = {"rater": ["a", "b", "c"], "group": ["x", "x", "y"], "rating": [1.0, 3.0, 8.0]}
    >>> float(pool_targets(pd.DataFrame(raters).assign(image="1", trait="warm")).loc["1", "warm"])
    5.0
    """
    wide = make_targets(ratings).pivot_table(index=IMAGE, columns=TRAIT, values=RATING, observed=True)
    wide.columns = wide.columns.astype(str)
    return wide


def permute_blocks(identities: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Permute images so that the images of a person stay together.

    Parameters
    ----------
    identities : ndarray of shape (image,)
        The person shown in each image.
    rng : Generator
        Random number generator.

    Returns
    -------
    ndarray of int, shape (image,)
        For each image, the index of the image whose rating it gets. Only persons with the same number of
        images are exchanged.
    """
    codes, names = pd.factorize(identities)
    members = [np.flatnonzero(codes == code) for code in range(len(names))]
    order = np.arange(len(identities))
    sizes = np.array([len(one) for one in members])
    for size in np.unique(sizes):
        alike = np.flatnonzero(sizes == size)
        for one, other in zip(alike, rng.permutation(alike), strict=True):
            order[members[one]] = members[other]
    return order
