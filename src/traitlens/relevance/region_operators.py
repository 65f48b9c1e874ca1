r"""Relevance of regions without maps.

For a given image, relevance is a linear function of relevance at a tap. The transposed operator, applied to a
region's mask, yields for each unit of the tap the share of its relevance that reaches the region. For linear
readouts this reduces to the cells of the readout's grid: with weights :math:`w` and references :math:`\bar
z`, the relevance in region g is :math:`\sum_c w_c (P_{gc} - \bar z_c Q_{gc})`. The region relevance of any
number of readouts, folds and permutations is then a dot product.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from traitlens.columns import IMAGE, REGION
from traitlens.features.backbone import Backbone, load_backbone
from traitlens.features.feature_spaces import FeatureSpace, NetworkInputs
from traitlens.features.views import View
from traitlens.readouts.readout import LinearPart, LinearReadout
from traitlens.relevance.initial_relevance import CellGrid, Reference
from traitlens.relevance.methods import DEFAULT_METHOD, Method, find_method
from traitlens.relevance.propagation import propagator

if TYPE_CHECKING:
    import xarray


AT_ONCE = 64
"""Number of readouts multiplied with an operator at once; bounds memory."""


@dataclass(frozen=True, eq=False)
class ImageRegionOperator:
    """Linear operator from weights of readouts to the relevance of regions, for one image.

    Parameters
    ----------
    by_feature : dict of FeatureSpace to ndarray
        float32 (region, channel, row, column): relevance in the region per unit of weight.
    by_reference : dict of FeatureSpace to ndarray
        float32 (region, channel, row, column): relevance subtracted per unit of weight and of reference.
    """

    by_feature: dict[FeatureSpace, np.ndarray]
    by_reference: dict[FeatureSpace, np.ndarray]

    def relevance(self, readouts: Sequence[LinearReadout], reference: Reference = "mean") -> np.ndarray:
        """Compute the relevance of readouts in the regions.

        Parameters
        ----------
        readouts : sequence of LinearReadout
            Any number; each takes one dot product per region, or two if readouts of a batch have different
            references.
        reference : {"mean", "zero"} or ratings
            As in :func:`traitlens.relevance.attribution.analyze`.

        Returns
        -------
        ndarray
            float64 (region, readout), rating units: the sums of the readouts' maps over the regions.
        """
        regions = len(next(iter(self.by_feature.values())))
        total = np.zeros((regions, len(readouts)))
        for space in self.by_feature:
            mine = [
                (index, part)
                for index, readout in enumerate(readouts)
                for part in readout.parts
                if part.space == space
            ]
            mine.sort(key=lambda one: id(one[1].reference))  # readouts of one fit share theirs
            for start in range(0, len(mine), AT_ONCE):
                places, some = zip(*mine[start : start + AT_ONCE], strict=True)
                total[:, places] += self._part(space, some, reference != "zero")
        return total

    def _part(self, space: FeatureSpace, parts: Sequence[LinearPart], with_reference: bool) -> np.ndarray:
        """Compute what parts of readouts that read a feature space contribute: (region, part)."""
        gain, even = (one[space].reshape(len(one[space]), -1) for one in (self.by_feature, self.by_reference))
        weights = _stack([part.weight for part in parts])
        if not with_reference:
            return gain @ weights.T
        if all(part.reference is parts[0].reference for part in parts):
            return (gain - even * _stack([parts[0].reference])) @ weights.T
        return gain @ weights.T - even @ (weights * _stack([part.reference for part in parts])).T


def _stack(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Return arrays as rows."""
    return np.stack([np.asarray(array, np.float32).ravel() for array in arrays])


class RegionPropagator:
    """Propagates regions of images to taps, one image after another.

    Parameters
    ----------
    backbone : Backbone or str
        The frozen network, or its name.
    spaces : sequence of FeatureSpace
        Feature spaces of the readouts.
    method : str or Method
        A method that is linear in relevance.
    views : mapping of str to View or None
        Views of the spaces, in addition to "image".

    Raises
    ------
    ValueError
        If the method is not linear in relevance.

    Examples
    --------
    >>> operators = RegionPropagator("vgg16", [FeatureSpace(Tap("block4_pool", 7))])  # doctest: +SKIP
    >>> operators.of(image, masks).relevance(readouts)  # doctest: +SKIP
    """

    def __init__(
        self,
        backbone: Backbone | str,
        spaces: Sequence[FeatureSpace],
        method: str | Method = DEFAULT_METHOD,
        views: Mapping[str, View] | None = None,
    ):
        self.backbone = load_backbone(backbone) if isinstance(backbone, str) else backbone
        self.method = find_method(method)
        if not self.method.is_linear or self.method.gradients:
            raise ValueError(f"{self.method.name!r} is not linear in relevance, so it has no region operator")
        self.spaces = tuple(dict.fromkeys(spaces))
        self._pictures = NetworkInputs(self.spaces, views)
        self._propagator = propagator(self.backbone, self.method)

    def of(self, image: np.ndarray, masks: np.ndarray) -> ImageRegionOperator:
        """Propagate an image's regions to the cells of the feature spaces.

        Parameters
        ----------
        image : ndarray
            uint8 RGB (row, column, 3).
        masks : ndarray
            (region, row, column): weight of each pixel, 0 to 1.

        Returns
        -------
        ImageRegionOperator
            Operator for the region relevance of linear readouts.
        """
        import torch

        shares: dict[object, dict[str, torch.Tensor]] = {}
        seen: dict[object, dict[str, torch.Tensor]] = {}
        for picture, taps in self._pictures.taps.items():
            values = self.backbone.input(self._pictures.cut(image[None], picture))
            passage = self._propagator.read(values, taps)
            mine = self._pictures.from_image(masks, picture, (values.shape[2], values.shape[3]))
            shares[picture] = passage.forth(torch.from_numpy(mine).to(values.device))
            seen[picture] = passage.activations
        by_feature, by_reference = {}, {}
        for space in self.spaces:
            pictures, layer = space.pictures, space.tap.layer
            cells = CellGrid(space, [seen[picture][layer][0].float() for picture in pictures])
            active = even = cells.average.new_zeros(())
            for picture, activation in zip(pictures, cells.activations, strict=True):
                share = shares[picture][layer].float()
                active = active + cells.per_cell(share * activation)
                even = even + cells.per_cell(share)
            by_feature[space] = (active * cells.feature_per_activation).cpu().numpy()
            by_reference[space] = (even / cells.count).cpu().numpy()
        return ImageRegionOperator(by_feature, by_reference)


def region_kernels(
    operators: Sequence[ImageRegionOperator],
    space: FeatureSpace,
    features: np.ndarray,
    reference: np.ndarray,
) -> "xarray.DataArray":
    r"""Compute the contribution of each training image's dual weight to the relevance of regions.

    A ridge readout's weights are :math:`w = \sum_j a_j (F_j - \bar F)`, so the relevance of region g of image
    i is :math:`\sum_j K_{gij} a_j` with the kernel computed here. Only :math:`a` differs between readouts,
    folds with the same reference, raters and permutations.

    Parameters
    ----------
    features : ndarray
        (training image, channel, row, column), transformed.
    reference : ndarray
        (channel, row, column): mean feature of the training images.

    Returns
    -------
    DataArray
        float32 (region, image, training_image).
    """
    import xarray

    count = len(features)
    centred = (np.asarray(features, np.float32) - reference).reshape(count, -1)
    zero = np.asarray(reference, np.float32)
    parts = np.stack([one.by_feature[space] - zero * one.by_reference[space] for one in operators], 1)
    kernels = parts.reshape(-1, centred.shape[1]) @ centred.T
    return xarray.DataArray(kernels.reshape(*parts.shape[:2], count), dims=(REGION, IMAGE, "training_image"))
