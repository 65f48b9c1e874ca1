r"""Regions without maps: how much relevance each training image would put on each region of a face.

A ridge readout with dual coefficients :math:`a` has weights :math:`w = \sum_j a_j F_j`. Relevance is linear
in the weights and its way to the pixels linear for a given image, so the relevance in region :math:`g` of image
:math:`i` is :math:`\sum_j K_{gij} a_j`, where

.. math:: K_{gij} = \sum_c F_{jc} \frac{1}{n_c} \sum_{u \in c} A_{gu} (z_{iu} - \bar z_c).

:math:`A` is propagation applied backwards to the region's mask, :math:`u` runs over the units of grid cell
:math:`c`. Once :math:`K` is there, regions of any number of readouts and permutations are matrix products.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from traitlens.readouts.readout import FeatureSpace, LinearPart, LinearReadout

if TYPE_CHECKING:
    from traitlens.features.backbone import Backbone


def region_rows(
    backbone: "Backbone",
    space: FeatureSpace,
    features: np.ndarray,
    reference: np.ndarray,
    images: np.ndarray,
    masks: Sequence[np.ndarray],
    method: str,
) -> np.ndarray:
    """Compute what every training image contributes to the regions of some images.

    Parameters
    ----------
    backbone : Backbone
        The frozen network.
    space : FeatureSpace
        What the readouts read: the prepared image, not transformed, averaged on a grid that divides the tap.
    features : ndarray
        (training image, channel, row, column).
    reference : ndarray
        (channel, row, column): mean feature of the images that the readouts are fitted on.
    images : ndarray
        uint8 RGB (image, row, column, 3) of the explained images.
    masks : sequence of ndarray
        For each image (region, row, column), 0 to 1.
    method : str
        Name of a relevance method.

    Returns
    -------
    ndarray
        float64 (image, region, training image): relevance (rating points) for a dual coefficient of one.

    Examples
    --------
    >>> region_rows(backbone, space, features, reference, pixels, masks, method)  # doctest: +SKIP
    """
    from traitlens.relevance.analyze import Explainer

    weight = np.zeros_like(reference)
    asked = LinearReadout("", "", -1, (LinearPart(space, weight, reference),), 0.0)
    explainer = Explainer(backbone, [asked], method)
    flat = features.reshape(len(features), -1)
    rows = []
    for image, mask in zip(images, masks, strict=True):
        ((sight, found),) = explainer.regions(image, mask).items()
        operator = found[space.tap.layer].float().cpu().numpy()
        units = explainer.seen[sight][space.tap.layer][0].float().cpu().numpy()
        high, wide = units.shape[1] // reference.shape[1], units.shape[2] // reference.shape[2]
        deviation = units - reference.repeat(high, 1).repeat(wide, 2)
        cells = (operator * deviation).reshape(
            len(operator), len(units), reference.shape[1], high, reference.shape[2], wide
        )
        rows.append(cells.mean((3, 5)).reshape(len(operator), -1) @ flat.T)
    return np.asarray(rows, float)
