"""Registry of readout methods: the function that fits each, its features, cost and description.

The module imports neither torch nor SciPy; functions that fit are imported on first use.
"""

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traitlens.features.feature_spaces import FeatureSpace
from traitlens.features.taps import Tap
from traitlens.features.views import FACE_VIEWS, WHOLE
from traitlens.problems import unknown_choice
from traitlens.readouts.methods_text import CAO2023_TEXT, DENSE_TEXT, finetune_text, ridge_text
from traitlens.readouts.readout import END_OF_VGG16, DenseReadout, FinetunedReadout, LinearReadout, Readout
from traitlens.study.settings import ReadoutSettings

if TYPE_CHECKING:
    from traitlens.features.backbone import Backbone
    from traitlens.readouts.fit_results import FittedReadouts

FACTORISATION = 8e-11
"""Seconds that the factorisation of a kernel takes, divided by the number of images cubed."""


@dataclass(frozen=True)
class FitContext:
    """Values other than settings on which the options of a fit can depend.

    Parameters
    ----------
    backbone : Backbone
        Network that computes the features.
    device : str
        Device of networks: "cpu", "cuda", "mps" or "auto".
    folder : Path
        Folder for intermediate results.
    """

    seed: int
    backbone: "Backbone"
    device: str
    folder: Path


@dataclass(frozen=True)
class FitCost:
    """Memory, disk space and time that a fit takes.

    Parameters
    ----------
    memory, disk : float
        Bytes.
    seconds : float
        Seconds.
    advice : str
        What to do if the cost is too high.
    """

    memory: float
    disk: float = 0.0
    seconds: float = 0.0
    advice: str = ""


def _cost_of_features(_settings: ReadoutSettings, images: int, _folds: int, width: int) -> FitCost:
    """Return the cost of a fit with all features and working copies of them in memory."""
    return FitCost(memory=16.0 * images * width)


@dataclass(frozen=True)
class ReadoutMethod:
    """A method to fit readouts, selected by the setting `readout.method`.

    Parameters
    ----------
    name : str
        Name in `study.toml`.
    readout : type of Readout
        Class of the readouts.
    function : str or callable
        Function that fits the readouts, or its name as "module:function". Its arguments are features,
        targets, folds, `seed`, `progress` and the options; it returns
        :class:`~traitlens.readouts.fit_results.FittedReadouts`.
    methods_text : callable
        Function of the settings that returns sentences for the methods section, and keys of references.
    spaces : callable
        Function of the settings that returns the weight of each feature space.
    options : callable
        Function of the settings and a :class:`FitContext` that returns further arguments of `function`.
    cost : callable
        Function of the settings, the numbers of images and folds, and the number of features per image, that
        returns a :class:`FitCost`.
    reads_one_space : callable
        Function of the settings that returns whether the readout is a ridge regression on one feature space
        of the prepared image, without whitening, weights of images or mixing of traits.
    is_kernel_ridge : bool, default False
        Whether the readout is a ridge regression with a weighted sum of kernels, which tests between groups
        can refit in each permutation.
    input_divisor : float, default 1
        Number by which the network's input is divided.
    centred : bool, default True
        Whether maps explain the deviation from the mean rating; otherwise they explain the rating itself.

    Examples
    --------
    >>> [str(space.tap) for space in find_readout("ridge").spaces(ReadoutSettings(grid=7))]
    ['block4_pool 7x7']
    """

    name: str
    readout: type[Readout]
    function: "str | Callable[..., FittedReadouts]"
    methods_text: Callable[[ReadoutSettings], tuple[str, tuple[str, ...]]]
    spaces: Callable[[ReadoutSettings], dict[FeatureSpace, float]] = lambda _: {END_OF_VGG16: 1.0}
    options: Callable[[ReadoutSettings, FitContext], dict[str, Any]] = lambda _settings, _context: {}
    cost: Callable[[ReadoutSettings, int, int, int], FitCost] = _cost_of_features
    reads_one_space: Callable[[ReadoutSettings], bool] = lambda _: False
    is_kernel_ridge: bool = False
    input_divisor: float = 1.0
    centred: bool = True

    @property
    def is_linear(self) -> bool:
        """Whether predictions are linear in the features."""
        return self.readout.is_linear

    @property
    def fit(self) -> "Callable[..., FittedReadouts]":
        """Function that fits the readouts, imported if it is given by name."""
        if isinstance(self.function, str):
            found: Callable[..., FittedReadouts] = pkgutil.resolve_name(self.function)
            return found
        return self.function


def _ridge_spaces(settings: ReadoutSettings) -> dict[FeatureSpace, float]:
    """Return the feature spaces of ridge readouts, every tap of every view, with the weight of the view."""
    return {
        FeatureSpace(
            Tap(layer, settings.grid if view == WHOLE else FACE_VIEWS[view].grid(settings.grid)),
            view,
            settings.transform,
            settings.mirror,
        ): weight
        for view, weight in settings.views.items()
        for layer in settings.taps or (settings.tap,)
    }


def _ridge_options(settings: ReadoutSettings, context: FitContext) -> dict[str, Any]:
    """Convert settings to arguments of :func:`traitlens.readouts.ridge.fit_ridge`."""
    from traitlens.readouts.inner_cv import random_mixes

    weights = _ridge_spaces(settings)
    mixes = random_mixes(list(weights), settings.mixes, context.seed)
    return {
        "sharing": settings.sharing,
        "weights": [weights, *mixes[1:]] if settings.mixes > 1 else weights,
        "whiten": settings.whiten,
        "across_traits": settings.across_traits,
        "weigh_images": settings.weigh_images,
        "scratch": context.folder,
    }


def _ridge_cost(settings: ReadoutSettings, images: int, folds: int, _width: int) -> FitCost:
    """Return the memory and disk space of kernels, and the time of their factorisation."""
    from traitlens.readouts.kernels import IN_MEMORY, ROWS_AT_ONCE, columns_at_once

    fitted = (1 - 1 / folds) * images
    kernels = [images] * len(_ridge_spaces(settings)) + [fitted]
    memory = sum(8.0 * number**2 for number in kernels if number <= IN_MEMORY)
    memory += 16.0 * (columns_at_once(images) + ROWS_AT_ONCE) * images
    disk = sum(8.0 * number**2 for number in kernels if number > IN_MEMORY)
    # In each outer fold one kernel is factorised, and five of inner folds with four fifths of the images.
    seconds = FACTORISATION * folds * fitted**3 * (1 + settings.mixes * 5 * 0.8**3)
    return FitCost(memory, disk, seconds, 'set readout.method = "dense", or analyse fewer images')


def _ridge_reads_one_space(settings: ReadoutSettings) -> bool:
    """Return whether ridge readouts read one tap of the prepared image, without further steps."""
    one = max(len(settings.taps), 1) * len(settings.views) == 1 and WHOLE in settings.views
    return one and settings.whiten is None and not settings.across_traits and not settings.weigh_images


def _finetune_spaces(settings: ReadoutSettings) -> dict[FeatureSpace, float]:
    """Return the feature space of fine-tuned readouts, the whole output of the last frozen layer."""
    return {FeatureSpace(Tap(settings.tap)): 1.0}


def _finetune_options(settings: ReadoutSettings, context: FitContext) -> dict[str, Any]:
    """Convert settings to arguments of :func:`traitlens.readouts.finetune.fit_finetune`."""
    from traitlens.features.backbone import find_device

    layers = context.backbone.layers[len(context.backbone.up_to(settings.tap)) :]
    folder = context.folder / "finetune"
    return {"layers": layers, "device": find_device(context.device), "folder": folder}


_METHODS = (
    ReadoutMethod(
        "ridge",
        LinearReadout,
        "traitlens.readouts.ridge:fit_ridge",
        ridge_text,
        _ridge_spaces,
        _ridge_options,
        _ridge_cost,
        _ridge_reads_one_space,
        is_kernel_ridge=True,
    ),
    ReadoutMethod("dense", DenseReadout, "traitlens.readouts.dense:fit_dense", lambda _: DENSE_TEXT),
    ReadoutMethod(
        "cao2023",
        DenseReadout,
        "traitlens.readouts.cao2023:fit_cao2023",
        lambda _: CAO2023_TEXT,
        input_divisor=255.0,
        centred=False,
    ),
    ReadoutMethod(
        "finetune",
        FinetunedReadout,
        "traitlens.readouts.finetune:fit_finetune",
        finetune_text,
        _finetune_spaces,
        _finetune_options,
    ),
)

METHODS: dict[str, ReadoutMethod] = {method.name: method for method in _METHODS}
"""Readout methods by name."""


def register(method: ReadoutMethod) -> None:
    """Register a readout method, so that studies can select it by name.

    Parameters
    ----------
    method : ReadoutMethod
        The method.

    Raises
    ------
    ValueError
        If another method has the same name, or another class of readouts has the same kind.
    """
    if method.name in METHODS:
        raise ValueError(f"there is already a readout method {method.name!r}")
    kind = readout_kinds().get(method.readout.kind, method.readout)
    if kind is not method.readout:
        raise ValueError(f"{kind.__name__} already has the kind {method.readout.kind!r}")
    METHODS[method.name] = method


def find_readout(name: str) -> ReadoutMethod:
    """Find a readout method by name.

    Parameters
    ----------
    name : str
        One of :data:`METHODS`.

    Returns
    -------
    ReadoutMethod
        The method.

    Raises
    ------
    TraitlensError
        If there is no such method.

    Examples
    --------
    >>> find_readout("cao2023").input_divisor
    255.0
    """
    if name not in METHODS:
        raise unknown_choice("readout", name, METHODS)
    return METHODS[name]


def readout_kinds() -> dict[str, type[Readout]]:
    """Return the class of each kind of readout."""
    return {method.readout.kind: method.readout for method in METHODS.values()}
