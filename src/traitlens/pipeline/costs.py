"""Cost of each stage: forward passes of the network, seconds, memory and disk.

The rates are rough and were measured on single images; a forward pass is timed on the user's machine.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from traitlens.columns import RATER, TRAIT
from traitlens.pipeline.context import Context
from traitlens.pipeline.stage import Cost
from traitlens.readouts.registry import find_readout

COMPONENTS = 24
"""Number of components of a fold's readouts mapped for the test of pixels."""

SAMPLE = 200
"""Number of images whose maps are written if only a sample is."""

ACTIVE = 0.15
"""Share of products between active units, relative to whole layers, for photographs of faces."""

PRODUCT = 1e-10
"""Seconds of a product of two numbers in a kernel."""

LANDMARK_SECONDS, PREPARE_SECONDS, LABEL_SECONDS = 0.1, 0.03, 0.005
"""Seconds for each image on one core."""

DRAW_SECONDS, RATER_SECONDS = 2e-3, 6e-6
"""Seconds for each draw of the test of use, and for each rater of a trait in it."""

FIGURE_SECONDS = 0.5
"""Seconds for each figure of the report; each trait has three and the report has ten more."""


def _count(context: Context) -> tuple[int, int]:
    """Return the number of images and their side in pixels."""
    return len(context.study.images), context.study.settings.faces.size


def _pairs(context: Context) -> int:
    return len(context.study.groups) * len(context.study.traits)


def _width(context: Context, spaces: Iterable[Any]) -> int:
    """Return the number of features of an image in some spaces."""
    side = context.study.settings.faces.size
    width = 0
    for space in spaces:
        channels, shrink = context.backbone_facts.shapes[space.tap.layer]
        grid = space.tap.grid or max(side // shrink, 1)
        width += channels * math.prod(np.broadcast_to(grid, 2).tolist())
    return width


def _views(context: Context) -> int:
    """Return the number of pictures of an image that the network sees: views and their mirror images."""
    return len({(space.view, flip) for space in context.spaces for flip in (False, space.mirror)})


def _passes_back(maps: int) -> float:
    """Return the cost of propagating maps of an image, in forward passes."""
    from traitlens.relevance.sparse_propagation import cost_of_lists

    return 1.1 * min(maps, ACTIVE * cost_of_lists(maps))


def landmarks(context: Context) -> Cost:
    """Estimate the detection of landmarks."""
    return Cost(seconds=LANDMARK_SECONDS * _count(context)[0] / context.workers)


def prepare(context: Context) -> Cost:
    """Estimate the preparation of images."""
    n, side = _count(context)
    return Cost(seconds=PREPARE_SECONDS * n / context.workers, disk=n * side**2 * 3.0)


def region_labels(context: Context) -> Cost:
    """Estimate the labels of regions."""
    return Cost(seconds=LABEL_SECONDS * _count(context)[0], disk=_count(context)[0] * 1e3)


def features(context: Context) -> Cost:
    """Estimate the features."""
    n, _ = _count(context)
    return Cost(
        _views(context) * n, disk=n * _width(context, context.spaces) * 4.0, advice="set readout.grid lower"
    )


def fit(context: Context) -> Cost:
    """Estimate the readouts, by their method."""
    folds, readout = context.value("folds")["fold"].nunique(), context.study.settings.readout
    found = find_readout(readout.method).cost(
        readout, _count(context)[0], folds, _width(context, context.spaces)
    )
    return Cost(seconds=found.seconds, memory=found.memory, disk=found.disk, advice=found.advice)


def maps(context: Context) -> Cost:
    """Estimate the relevance maps."""
    n, side = _count(context)
    keep = context.study.settings.run.keep_maps
    kept = {"all": n, "sample": min(n, SAMPLE), "none": 0}[keep]
    blocks = math.ceil(n / 8) + context.value("folds")["fold"].nunique()
    disk = kept * _pairs(context) * side**2 * 2.0 + blocks * _pairs(context) * side**2 * 8.0
    advice = 'set run.keep_maps = "sample" or "none"'
    passes = _views(context) * (2 + _passes_back(_pairs(context)))
    return Cost(passes * n, disk=disk, advice=advice)


def regional_features(context: Context) -> Cost:
    """Estimate the regional features: all regions of an image cost about 4 passes."""
    n, _ = _count(context)
    pictures = len({picture for space in context.regional_spaces for picture in space.pictures})
    return Cost(
        4.0 * pictures * n,
        disk=n * _width(context, context.regional_spaces) * 4.0,
        advice="set readout.grid lower",
    )


def regional_kernels(context: Context) -> Cost:
    """Estimate the kernels of regional features."""
    n, _ = _count(context)
    disk = len(context.regional_spaces) * 8.0 * n**2
    seconds = PRODUCT * n**2 * _width(context, context.regional_spaces)
    return Cost(seconds=seconds, memory=8.0 * n**2, disk=disk, advice="set readout.grid lower")


def cues(context: Context) -> Cost:
    """Estimate the regional readouts of each group and of all together."""
    folds, readout = context.value("folds")["fold"].nunique(), context.study.settings.readout
    found = find_readout("ridge").cost(readout, _count(context)[0], folds, _width(context, context.spaces))
    return Cost(seconds=2 * found.seconds, memory=found.memory, advice=found.advice)


def altered_faces(context: Context) -> Cost:
    """Estimate the prediction of altered faces."""
    n, _ = _count(context)
    return Cost(
        3.0 * _views(context) * n,
        memory=4 * n * _width(context, context.spaces) * 4.0,
        advice="set comparison.cues = false",
    )


def pixels(context: Context) -> Cost:
    """Estimate the test of pixels."""
    (n, _), side = _count(context), context.study.settings.comparison.pixels
    return Cost(
        _views(context) * (2 + _passes_back(COMPONENTS)) * n,
        disk=n * COMPONENTS * side**2 * 4.0,
        advice="set comparison.pixels = 0",
    )


def check_steps(passes: int) -> Callable[[Context], int]:
    """Return a function that computes the number of steps of a check of maps, from its passes per image."""
    return lambda context: passes * (context.check_images or 0)


def draws_of_use(context: Context) -> int:
    """Return the number of draws of the test of use, over pairs of groups."""
    groups = len(context.study.groups)
    return groups * (groups - 1) // 2 * 2500


def use(context: Context) -> Cost:
    """Estimate the test of use."""
    raters = len(context.study.ratings[[RATER, TRAIT]].drop_duplicates())
    return Cost(seconds=draws_of_use(context) * (DRAW_SECONDS + RATER_SECONDS * raters))


def report(context: Context) -> Cost:
    """Estimate the drawing of the report's figures."""
    return Cost(seconds=FIGURE_SECONDS * (10 + 3 * len(context.study.traits)))
