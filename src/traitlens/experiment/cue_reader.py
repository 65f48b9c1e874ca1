"""Computation of the cues of altered pictures with out-of-fold regional readouts."""

from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from traitlens.columns import GROUP, REGION, TRAIT
from traitlens.features.backbone import Backbone
from traitlens.features.feature_spaces import FeatureSpace
from traitlens.features.region_features import RegionalExtractor, RegionalFaces
from traitlens.problems import ModelError, Problem
from traitlens.readouts.trait_models import TraitModels


@dataclass(eq=False)
class CueReader:
    """Computes the cues of pictures with the regional readouts of a study.

    Parameters
    ----------
    models : TraitModels
        Regional readouts of every group, trait and fold.
    backbone : Backbone
        The pretrained network that provides the readouts' features.
    """

    models: TraitModels
    backbone: Backbone
    _extractors: dict[str, RegionalExtractor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.models.faces is None or not self.models.reads_regions:
            raise ModelError(Problem("the readouts do not read regions", "run the study again"))

    @property
    def faces(self) -> RegionalFaces:
        """Definition of the regions and their masks."""
        assert self.models.faces is not None
        return self.models.faces

    def masks(self, points: np.ndarray) -> xr.DataArray:
        """Compute the masks of a face's regions.

        Parameters
        ----------
        points : ndarray (478, 2)
            The mesh of the face, in pixels of the prepared picture.

        Returns
        -------
        DataArray (region, y, x)
            Weight of each pixel in each region, from 0 to 1.
        """
        return self.faces.masks(points)

    def features(
        self, pixels: np.ndarray, masks: xr.DataArray, region: str = ""
    ) -> dict[FeatureSpace, np.ndarray]:
        """Compute the regional features of a picture.

        Parameters
        ----------
        pixels : ndarray (y, x, 3) of uint8
            The prepared picture.
        masks : DataArray (region, y, x)
            Masks of the regions.
        region : str, default ""
            The only region to read; all regions if empty.

        Returns
        -------
        dict of FeatureSpace to ndarray (channel, row, column)
            Features by feature space.
        """
        if region not in self._extractors:
            spaces = [space for space in self.models.spaces if region in ("", space.region)]
            self._extractors[region] = RegionalExtractor(self.backbone, spaces, self.faces, self.models.views)
        return self._extractors[region].extract(pixels, masks)

    def cues(self, features: dict[FeatureSpace, np.ndarray], fold: int, trait: str) -> xr.DataArray:
        """Compute the cues of a picture for one trait.

        Parameters
        ----------
        features : dict of FeatureSpace to ndarray
            Features from :meth:`features`.
        fold : int
            Fold of the base face; the readouts of this fold were not fitted to the identity of the face.
        trait : str
            The trait.

        Returns
        -------
        DataArray (group, region)
            Cues in rating points; the region "" is the whole face, if the readouts read it too. The sum over
            regions is the prediction up to a constant.
        """
        rows: dict[str, dict[str, float]] = {}
        for readout in self.models.readouts:
            if (readout.fold, readout.trait) != (fold, trait):
                continue
            own = rows.setdefault(readout.group, {})
            for part in readout.linear_parts():
                if part.space in features:
                    value = float(np.sum((features[part.space] - part.reference) * part.weight))
                    own[part.space.region] = own.get(part.space.region, 0.0) + value
        if not rows:
            raise ModelError(
                Problem(f"there is no readout of trait {trait!r} without fold {fold}", "run the study again")
            )
        regions = list(next(iter(rows.values())))
        values = [[own[region] for region in regions] for own in rows.values()]
        return xr.DataArray(
            values, {GROUP: list(rows), REGION: regions}, (GROUP, REGION), attrs={TRAIT: trait}
        )
