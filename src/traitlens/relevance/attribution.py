"""Compute relevance maps: how much each pixel of an image contributed to each prediction."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from traitlens.columns import FOLD, GROUP, IMAGE, READOUT, RELEVANCE, TRAIT, X, Y
from traitlens.features.backbone import Backbone, load_backbone
from traitlens.features.feature_spaces import NetworkInput, NetworkInputs
from traitlens.features.views import View
from traitlens.readouts.readout import Readout
from traitlens.relevance.initial_relevance import InitialRelevance, Reference, compute_initial_relevance
from traitlens.relevance.methods import DEFAULT_METHOD, Method, find_method
from traitlens.relevance.propagation import AnyForwardPass, propagator

if TYPE_CHECKING:
    import torch
    import xarray


class Explainer:
    """Compute the relevance maps of readouts, one image at a time.

    Parameters
    ----------
    backbone : Backbone or str
        The frozen network, or its name.
    readouts : sequence of Readout
        The readouts to explain.
    method : str or Method
        A name from :data:`traitlens.relevance.methods.METHODS`, or a method.
    reference : {"mean", "zero"}, str, float or sequence of float
        Reference of the predictions; see :func:`analyze`.
    views : mapping of str to View or None
        Definitions of the readouts' views, beside "image".

    Examples
    --------
    >>> explainer = Explainer("vgg16", readouts)  # doctest: +SKIP
    >>> for image in images:  # doctest: +SKIP
    ...     one = explainer.explain(image)
    """

    def __init__(
        self,
        backbone: Backbone | str,
        readouts: Sequence[Readout],
        method: str | Method = DEFAULT_METHOD,
        reference: Reference = "mean",
        views: Mapping[str, View] | None = None,
    ):
        self.backbone = load_backbone(backbone) if isinstance(backbone, str) else backbone
        self.readouts = list(readouts)
        if not self.readouts:
            raise ValueError("there are no readouts to explain")
        self.method = find_method(method)
        self.reference = reference
        self._propagator = propagator(self.backbone, self.method)
        spaces = dict.fromkeys(space for readout in self.readouts for space in readout.spaces)
        self._pictures = NetworkInputs(spaces, views)

    def explain(self, image: np.ndarray) -> "xarray.Dataset":
        """Compute the relevance maps of one image.

        Parameters
        ----------
        image : ndarray
            uint8 RGB (row, column, 3).

        Returns
        -------
        Dataset
            As returned by :func:`explain_with_conservation`, without the dimension image.
        """
        maps, entered = None, None
        for inputs, weight in self._network_inputs(image):
            passages = {
                picture: self._propagator.forward(values, self._pictures.taps[picture])
                for picture, values in inputs.items()
            }
            activations = {picture: passage.activations for picture, passage in passages.items()}
            now = compute_initial_relevance(self.readouts, activations, self.method, self.reference)
            entered = entered or now
            sent = weight * self._to_pixels(image, passages, now)
            maps = sent if maps is None else maps + sent
        assert maps is not None
        assert entered is not None
        return self._make_dataset(maps, entered)

    def _network_inputs(
        self, image: np.ndarray
    ) -> Iterator[tuple[dict[NetworkInput, "torch.Tensor"], float]]:
        """Yield the network inputs over which the method averages (usually one), each with its weight."""
        pictures = self._pictures
        inputs = {one: self.backbone.input(pictures.cut(image[None], one)) for one in pictures.taps}
        if self.method.samples is None:
            yield inputs, 1.0
            return
        samples = {picture: iter(self.method.samples(values)) for picture, values in inputs.items()}
        for together in zip(*samples.values(), strict=True):
            values = dict(zip(samples, (value for value, _ in together), strict=True))
            yield values, together[0][1]

    def _to_pixels(
        self, image: np.ndarray, passages: Mapping[NetworkInput, AnyForwardPass], entered: InitialRelevance
    ) -> np.ndarray:
        """Propagate relevance to the pixels of each network input; sum them on the prepared image."""
        total = np.zeros((len(self.readouts), *image.shape[:2]), np.float32)
        for picture, passage in passages.items():
            maps = passage.back(entered.relevance[picture]).cpu().numpy()
            total += self._pictures.to_image(maps, picture, (image.shape[0], image.shape[1]))
        return total

    def _make_dataset(self, maps: np.ndarray, entered: InitialRelevance) -> "xarray.Dataset":
        """Return a Dataset of the maps and of the terms that add up to each prediction."""
        import xarray

        explained = entered.prediction - entered.reference
        pixels = maps.astype(np.float64).sum((1, 2))
        conserves = self.method.starts_with == "deviation" and not self.method.gradients
        unknown = np.full_like(pixels, np.nan)
        terms = {
            "prediction": entered.prediction,
            "reference": entered.reference,
            "constant": entered.constant,
            "pixels": pixels,
            "absorbed_in_readout": explained - entered.constant - entered.entered if conserves else unknown,
            "absorbed_in_backbone": entered.entered - pixels if conserves else unknown,
        }
        return xarray.Dataset(
            {RELEVANCE: ((READOUT, Y, X), maps)}
            | {name: ((READOUT,), values) for name, values in terms.items()},
            coords=_coordinates(self.readouts),
            attrs={
                "method": self.method.name,
                "backbone": self.backbone.name,
                "units": "rating units, summed over colour",
            },
        )


def explain_with_conservation(
    backbone: Backbone | str,
    readouts: Sequence[Readout],
    images: np.ndarray,
    method: str | Method = DEFAULT_METHOD,
    reference: Reference = "mean",
    views: Mapping[str, View] | None = None,
    progress: Callable[[int], None] | None = None,
) -> "xarray.Dataset":
    """Compute relevance maps, and the terms that add up to each prediction.

    Parameters
    ----------
    backbone : Backbone or str
        The frozen network, or its name.
    readouts : sequence of Readout
        The readouts to explain.
    images : ndarray
        uint8 RGB (image, row, column, 3).
    method : str or Method
        See :func:`analyze`.
    reference : {"mean", "zero"}, str, float or sequence of float
        See :func:`analyze`.
    views : mapping of str to View or None
        See :func:`analyze`.
    progress : callable or None
        Called with 1 after each image.

    Returns
    -------
    Dataset
        ``relevance`` (image, readout, y, x); and for each image and readout ``prediction``, ``reference``,
        ``constant`` (the part of prediction - reference that is the same for every image), ``pixels`` (the
        sum of the map), ``absorbed_in_readout`` and ``absorbed_in_backbone`` (relevance lost to biases and
        stabilisers; NaN for gradients). prediction - reference = constant + pixels + both absorbed terms.
    """
    import xarray

    explainer = Explainer(backbone, readouts, method, reference, views)
    each = []
    for image in np.asarray(images):
        each.append(explainer.explain(image))
        if progress is not None:
            progress(1)
    return xarray.concat(each, dim=IMAGE, coords="minimal", compat="override")


def analyze(
    backbone: Backbone | str,
    readouts: Sequence[Readout],
    images: np.ndarray,
    method: str | Method = DEFAULT_METHOD,
    reference: Reference = "mean",
    views: Mapping[str, View] | None = None,
    progress: Callable[[int], None] | None = None,
) -> "xarray.DataArray":
    """Compute relevance maps: how much each pixel of an image contributed to each prediction.

    Parameters
    ----------
    backbone : Backbone or str
        The frozen network, with its device and precision, or its name ("vgg16").
    readouts : sequence of Readout
        The readouts to explain; each image is passed forward once for all of them.
    images : ndarray
        uint8 RGB (image, row, column, 3).
    method : str or Method, default "lrp.sequential_preset_a_flat"
        A name from :data:`traitlens.relevance.methods.METHODS`, or a custom method.
    reference : {"mean", "zero"}, str, float or sequence of float, default "mean"
        Rating with which predictions are compared (Letzgus et al. 2022): the mean rating of the training
        images, zero, the mean rating by another group (its name), or a rating (one for all readouts or one
        for each).
    views : mapping of str to View or None
        Definitions of the readouts' views, beside "image".
    progress : callable or None
        Called with 1 after each image.

    Returns
    -------
    DataArray
        float32 (readout, image, y, x), in rating points, summed over colour channels; group, trait and fold
        are coordinates of readout.

    Raises
    ------
    TraitlensError
        If the method, the backbone or a view is unknown.

    Examples
    --------
    >>> readout = DenseReadout.from_arrays(fc1, fc1_bias, fc2, fc2_bias)  # doctest: +SKIP
    >>> maps = analyze("vgg16", [readout], images)  # doctest: +SKIP
    >>> maps.sel(readout=0).mean("image").plot()  # doctest: +SKIP
    """
    import xarray

    images = np.asarray(images)
    explainer = Explainer(backbone, readouts, method, reference, views)
    maps = np.empty((len(explainer.readouts), *images.shape[:3]), np.float32)
    for index, image in enumerate(images):
        maps[:, index] = explainer.explain(image)[RELEVANCE].values
        if progress is not None:
            progress(1)
    return xarray.DataArray(
        maps,
        dims=(READOUT, IMAGE, Y, X),
        coords=_coordinates(explainer.readouts),
        name=RELEVANCE,
        attrs={"method": explainer.method.name, "units": "rating units, summed over colour"},
    )


def _coordinates(readouts: Sequence[Readout]) -> dict[str, Any]:
    """Return the group, trait and fold of each readout, as coordinates of the dimension readout."""
    return {
        GROUP: (READOUT, np.array([readout.group for readout in readouts], dtype=object)),
        TRAIT: (READOUT, np.array([readout.trait for readout in readouts], dtype=object)),
        FOLD: (READOUT, np.array([readout.fold for readout in readouts])),
    }
