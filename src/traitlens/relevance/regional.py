r"""Maps that add up: relevance of each region's part of a readout, inside that region.

The part of region r is explained at the regional face :math:`x_r`. Each unit of the tap starts with what it
adds to the cue beyond the average face, :math:`w (\phi(x_r) - \phi(a) - \bar\phi_r)`, so that nothing starts
at units that the region does not change. Relevance is propagated to the pixels of :math:`x_r` and kept inside
the mask of the region. What biases keep and what arrives outside the mask (a half of it and more, where
receptive fields are larger than the region) is given back to the region in proportion to absolute relevance,
so that the map of a region sums to its cue.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from traitlens import words
from traitlens.features.backbone import Backbone, load_backbone
from traitlens.features.extraction import average_pictures
from traitlens.features.regional import RegionalFaces
from traitlens.features.spaces import FeatureSpace, Picture, Pictures
from traitlens.features.views import View
from traitlens.problems import Problem, TraitlensError
from traitlens.readouts.readout import LinearReadout
from traitlens.relevance.entering import enter
from traitlens.relevance.methods import DEFAULT_METHOD, Method, find_method
from traitlens.relevance.propagation import Passage, propagator

if TYPE_CHECKING:
    import torch
    import xarray


class RegionalExplainer:
    """Regional readouts on a backbone, ready to explain one image after another.

    Parameters
    ----------
    backbone : Backbone or str
        The frozen network, or its name.
    readouts : sequence of LinearReadout
        What is explained, of :func:`traitlens.readouts.regional.fit_regional`.
    faces : RegionalFaces
        How regional faces are made.
    method : str or Method
        A name from :data:`traitlens.relevance.methods.METHODS`, or a method, that propagates relevance.
    views : mapping of str to View or None
        The crops that the readouts name, beside "image".

    Raises
    ------
    TraitlensError
        If the method computes gradients or averages over samples, or the backbone or a view is not known.
    ValueError
        If there is no readout.

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
        method: str | Method = DEFAULT_METHOD,
        views: Mapping[str, View] | None = None,
    ):
        self.backbone = load_backbone(backbone) if isinstance(backbone, str) else backbone
        self.readouts = list(readouts)
        if not self.readouts:
            raise ValueError("there is no readout to explain")
        self.faces = faces
        self.method = find_method(method)
        if self.method.gradients or self.method.samples or self.method.starts_with != "deviation":
            what = f"maps of {self.method.name} do not add up to cues"
            raise TraitlensError(Problem(what, f"choose a method such as {DEFAULT_METHOD!r}"))
        self._propagator = propagator(self.backbone, self.method)
        spaces = dict.fromkeys(space for readout in self.readouts for space in readout.spaces)
        self.regions = tuple(dict.fromkeys(space.region for space in spaces))
        self._pictures = {
            region: Pictures([space for space in spaces if space.region == region], views)
            for region in self.regions
        }
        self._parts = {region: self._of_region(region) for region in self.regions}
        # What the average face brings to the units of the taps is the same for every image.
        self._base_relevance: dict[str, dict[Picture, dict[str, torch.Tensor]]] = {}
        self._base_features: dict[FeatureSpace, np.ndarray] = {}
        for region in filter(None, self.regions):
            activations = _activations(self._read(faces.average, region))
            entered = enter(self._parts[region], activations, self.method, "zero")
            self._base_relevance[region] = entered.relevance
            self._base_features |= self._features(activations, region)

    def _of_region(self, region: str) -> list[LinearReadout]:
        """Return the readouts with the parts of one region only."""
        return [
            replace(one, parts=tuple(part for part in one.parts if part.space.region == region))
            for one in self.readouts
        ]

    def _read(self, face: np.ndarray, region: str) -> dict[Picture, Passage]:
        """Run a face through the network."""
        pictures = self._pictures[region]
        return {
            picture: self._propagator.read(self.backbone.input(pictures.cut(face[None], picture)), layers)
            for picture, layers in pictures.taps.items()
        }

    def explain(self, image: np.ndarray, masks: "xarray.DataArray") -> "xarray.Dataset":
        """Explain one image.

        Parameters
        ----------
        image : ndarray
            uint8 RGB (row, column, 3).
        masks : DataArray (region, y, x)
            Of :meth:`~traitlens.features.regional.RegionalFaces.masks`.

        Returns
        -------
        Dataset
            ``relevance`` (readout, region, y, x), rating points, float32, zero outside the region's mask; its
            sum over the pixels is ``cue`` (readout, region). The whole face, where it is read besides, is the
            region "". group, trait and fold are coordinates of readout.
        """
        import xarray

        size = (image.shape[0], image.shape[1])
        maps = np.zeros((len(self.readouts), len(self.regions), *size), np.float32)
        cues = np.zeros((len(self.readouts), len(self.regions)))
        for place, region in enumerate(self.regions):
            mask = masks.sel({words.REGION: region}).values if region else np.ones(size, np.float32)
            face = self.faces.put_on(image, mask) if region else image
            cues[:, place], raw = self._explain_region(face, region, size)
            maps[:, place] = _give_back(raw * mask, cues[:, place], mask)
        return xarray.Dataset(
            {
                words.RELEVANCE: ((words.READOUT, words.REGION, words.Y, words.X), maps),
                words.CUE: ((words.READOUT, words.REGION), cues),
            },
            coords={
                words.REGION: list(self.regions),
                words.GROUP: (words.READOUT, [one.group for one in self.readouts]),
                words.TRAIT: (words.READOUT, [one.trait for one in self.readouts]),
                words.FOLD: (words.READOUT, [one.fold for one in self.readouts]),
            },
            attrs={"method": self.method.name, "backbone": self.backbone.name, "units": "rating points"},
        )

    def _explain_region(
        self, face: np.ndarray, region: str, size: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Compute the cues of a regional face (readout,), and maps of them before they are kept inside."""
        passages = self._read(face, region)
        activations = _activations(passages)
        entered = enter(self._parts[region], activations, self.method, "mean")
        maps = np.zeros((len(self.readouts), *size))
        for picture, passage in passages.items():
            relevance = entered.relevance[picture]
            if region:
                base = self._base_relevance[region][picture]
                relevance = {layer: values - base[layer] for layer, values in relevance.items()}
            sent = passage.back(relevance).cpu().numpy()
            maps += self._pictures[region].to_image(sent, picture, size)
        features = self._features(activations, region)
        if region:
            features = {space: values - self._base_features[space] for space, values in features.items()}
        cues = [float(sum(v[0] for v in one.contributions(features).values())) for one in self._parts[region]]
        return np.array(cues), maps

    def _features(
        self, activations: Mapping[Picture, Mapping[str, "torch.Tensor"]], region: str
    ) -> dict[FeatureSpace, np.ndarray]:
        """Compute the feature spaces of a region: float64, so that cues are sums without rounding."""
        spaces = dict.fromkeys(space for one in self._parts[region] for space in one.spaces)
        return {space: average_pictures(space, activations).astype(float) for space in spaces}


def _activations(passages: Mapping[Picture, Passage]) -> dict[Picture, dict[str, "torch.Tensor"]]:
    """Return the activations of the taps by picture."""
    return {picture: passage.activations for picture, passage in passages.items()}


def _give_back(maps: np.ndarray, cues: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Add to maps what they lack of their cues, in proportion to absolute relevance."""
    missing = cues - maps.sum(axis=(1, 2))
    size = np.abs(maps)
    # Where nothing arrived inside, every pixel of the region gets the same.
    size[size.sum(axis=(1, 2)) == 0] = mask
    total = size.sum(axis=(1, 2))
    share = np.divide(missing, total, out=np.zeros_like(missing), where=total > 0)
    return np.asarray(maps + share[:, None, None] * size)
