r"""Maps of regional readouts, which show how each region's cue is distributed over the pixels of the region.

The cue of region r depends on the regional face :math:`x_r`, which equals the average face :math:`a` outside
the region. :mod:`traitlens.relevance.difference_propagation` propagates the difference
:math:`w (\phi(x_r) - \phi(a))` to the pixels, where it is conserved and stays inside the region. The rest of
the cue is the same for every face; it is distributed in proportion to absolute relevance. The map of a region
therefore sums to its cue.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from traitlens.columns import CUE, FOLD, GROUP, READOUT, REGION, RELEVANCE, TRAIT, X, Y
from traitlens.features.backbone import Backbone, load_backbone
from traitlens.features.extraction import average_inputs
from traitlens.features.feature_spaces import FeatureSpace, NetworkInput, NetworkInputs
from traitlens.features.reference_pass import start_reference_pass
from traitlens.features.region_features import RegionalFaces
from traitlens.features.views import View
from traitlens.readouts.readout import LinearPart, LinearReadout
from traitlens.relevance.attribution import Explainer
from traitlens.relevance.difference_propagation import DifferencePropagator
from traitlens.relevance.initial_relevance import CellGrid
from traitlens.relevance.methods import DEFAULT_METHOD, Method
from traitlens.relevance.residual_differences import ResidualDifferencePropagator

if TYPE_CHECKING:
    import torch
    import xarray

Activations = Mapping[NetworkInput, Mapping[str, "torch.Tensor"]]


class RegionalExplainer:
    """Compute the maps of regional readouts, one image at a time.

    Parameters
    ----------
    backbone : Backbone or str
        The frozen network, or its name.
    readouts : sequence of LinearReadout
        The readouts to explain, fitted by :func:`traitlens.readouts.region_readouts.fit_regional`.
    faces : RegionalFaces
        Settings of regional faces.
    views : mapping of str to View or None
        Definitions of the readouts' views, beside "image".
    method : str or Method
        Relevance method for the whole face, if the readouts also use features of the whole face.

    Raises
    ------
    TraitlensError
        If the backbone, a view or the method is unknown.
    ValueError
        If there are no readouts.

    Examples
    --------
    >>> explainer = RegionalExplainer("vgg16", readouts, faces)  # doctest: +SKIP
    >>> maps = explainer.explain(image, faces.masks(points))  # doctest: +SKIP
    """

    def __init__(
        self,
        backbone: Backbone | str,
        readouts: Sequence[LinearReadout],
        faces: RegionalFaces,
        views: Mapping[str, View] | None = None,
        method: str | Method = DEFAULT_METHOD,
    ):
        self.backbone = load_backbone(backbone) if isinstance(backbone, str) else backbone
        self.readouts = list(readouts)
        if not self.readouts:
            raise ValueError("there are no readouts to explain")
        self.faces = faces
        spaces = dict.fromkeys(space for readout in self.readouts for space in readout.spaces)
        self.regions = tuple(dict.fromkeys(space.region for space in spaces))
        self._parts = {region: self._readouts_of_region(region) for region in self.regions}
        self._pictures = NetworkInputs([space for space in spaces if space.region], views)
        self._passes: dict[NetworkInput, Any] = {
            picture: start_reference_pass(
                self.backbone, self._pictures.cut(faces.average[None], picture)[0], layers
            )
            for picture, layers in self._pictures.taps.items()
        }
        self._base = {picture: one.collect(()) for picture, one in self._passes.items()}
        kind = ResidualDifferencePropagator if self.backbone.is_residual else DifferencePropagator
        self._propagator: Any = kind()
        self._whole = (
            Explainer(self.backbone, self._parts[""], method, views=views) if "" in self.regions else None
        )

    def _readouts_of_region(self, region: str) -> list[LinearReadout]:
        """Return copies of the readouts that contain only the features of one region."""
        return [
            replace(one, parts=tuple(part for part in one.parts if part.space.region == region))
            for one in self.readouts
        ]

    def explain(self, image: np.ndarray, masks: "xarray.DataArray") -> "xarray.Dataset":
        """Compute the cues of one image, and their maps.

        Parameters
        ----------
        image : ndarray
            uint8 RGB (row, column, 3).
        masks : DataArray (region, y, x)
            Masks from :meth:`~traitlens.features.region_features.RegionalFaces.masks`.

        Returns
        -------
        Dataset
            ``relevance`` (readout, region, y, x) in rating points, zero outside the mask of the region, and
            its sum over pixels, ``cue`` (readout, region). The name of the whole face is "". group, trait and
            fold are coordinates of readout.
        """
        import xarray

        size = (image.shape[0], image.shape[1])
        maps = np.zeros((len(self.readouts), len(self.regions), *size), np.float32)
        cues = np.zeros((len(self.readouts), len(self.regions)))
        for index, region in enumerate(self.regions):
            if region:
                mask = masks.sel({REGION: region}).values
                cues[:, index], raw = self._explain_region(self.faces.put_on(image, mask), region)
            else:
                assert self._whole is not None
                mask, whole = np.ones(size, np.float32), self._whole.explain(image)
                cues[:, index] = whole["prediction"] - [one.mean for one in self.readouts]
                raw = whole[RELEVANCE].values.astype(float)
            maps[:, index] = _distribute_rest(raw * mask, cues[:, index], mask)
        return xarray.Dataset(
            {
                RELEVANCE: ((READOUT, REGION, Y, X), maps),
                CUE: ((READOUT, REGION), cues),
            },
            coords={
                REGION: list(self.regions),
                GROUP: (READOUT, [one.group for one in self.readouts]),
                TRAIT: (READOUT, [one.trait for one in self.readouts]),
                FOLD: (READOUT, [one.fold for one in self.readouts]),
            },
            attrs={"backbone": self.backbone.name, "units": "rating points, summed over colour"},
        )

    def _explain_region(self, face: np.ndarray, region: str) -> tuple[np.ndarray, np.ndarray]:
        """Compute a regional face's cues (readout,), and maps of its difference from the average face."""
        import torch

        size = (face.shape[0], face.shape[1])
        maps = np.zeros((len(self.readouts), *size))
        with torch.inference_mode():
            steps = {
                picture: list(one.steps(self._pictures.cut(face[None], picture)[0]))
                for picture, one in self._passes.items()
            }
            activations = {picture: one.collect(steps[picture]) for picture, one in self._passes.items()}
            slopes = self._slopes(region, activations)
        for picture, of_layers in slopes.items():
            shape = self._pictures.cut(face[None], picture).shape[1:3]
            sent = self._propagator.propagate(steps[picture], of_layers, (shape[0], shape[1]))
            maps += self._pictures.to_image(sent.numpy(), picture, size)
        cues = []
        features: dict[FeatureSpace, np.ndarray] = {}
        for readout in self._parts[region]:
            for space in readout.spaces:
                if space not in features:
                    now, base = (average_inputs(space, one) for one in (activations, self._base))
                    features[space] = now.astype(float) - base
            cues.append(float(sum(part[0] for part in readout.contributions(features).values())))
        return np.array(cues), maps

    def _slopes(self, region: str, activations: Activations) -> dict[NetworkInput, dict[str, "torch.Tensor"]]:
        """Compute each unit's contribution to the cues, divided by its difference from the average face."""
        slopes: dict[NetworkInput, dict[str, torch.Tensor]] = {}
        for number, readout in enumerate(self._parts[region]):
            for part in readout.parts:
                layer = part.space.tap.layer
                per_unit = _slope(part, activations, self._base)
                for picture in part.space.pictures:
                    of_layers = slopes.setdefault(picture, {})
                    if layer not in of_layers:
                        of_layers[layer] = per_unit.new_zeros(len(self.readouts), *per_unit.shape)
                    of_layers[layer][number] += per_unit
        return slopes


def _slope(part: LinearPart, activations: Activations, base: Activations) -> "torch.Tensor":
    """Compute slopes (channel, row, column): weight times change of the feature per change of the unit."""
    import torch

    space = part.space
    now, before = (
        CellGrid(space, [one[picture][space.tap.layer][0].float() for picture in space.pictures])
        for one in (activations, base)
    )
    slope = torch.from_numpy(np.asarray(part.weight, np.float32)).to(now.average.device) / now.count
    if now.root:
        # This form of the difference between two roots of the same sign is exact where they nearly cancel.
        same = now.average * before.average >= 0
        together = now.feature.abs() + before.feature.abs()
        apart = (now.feature - before.feature) / (now.average - before.average)
        slope = (slope * (1 / together).where(same, apart)).nan_to_num(0.0, 0.0, 0.0)
    return now.per_unit(slope)


def _distribute_rest(maps: np.ndarray, cues: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Add to each map, in proportion to absolute relevance, what its sum lacks to equal the cue."""
    missing = cues - maps.sum(axis=(1, 2))
    size = np.abs(maps)
    # If no pixel differs from the average face, the difference is distributed evenly over the region.
    size[size.sum(axis=(1, 2)) == 0] = mask
    total = size.sum(axis=(1, 2))
    share = np.divide(missing, total, out=np.zeros_like(missing), where=total > 0)
    return np.asarray(maps + share[:, None, None] * size)
