"""Estimated cost of each stage: forward passes of the network, seconds, memory and disk.

The rates below are rough and were measured once; a forward pass is timed on the user's machine.
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
"""Number of principal components of each fold's readouts whose maps the test of pixels needs."""

SAMPLE = 200
"""Maximum number of images whose maps are written with ``run.keep_maps = "sample"``."""

ACTIVE = 0.15
"""Share of the products of whole layers that involve active units only, for photographs of faces."""

PRODUCT = 1e-10
"""Seconds to multiply two numbers in the computation of a kernel."""

LANDMARK_SECONDS, PREPARE_SECONDS, LABEL_SECONDS = 0.1, 0.03, 0.005
"""Seconds for each image on one core, to detect landmarks, to prepare it, and to label its regions."""

DRAW_SECONDS, RATER_SECONDS = 2e-3, 6e-6
"""Seconds for each random draw of the test of cue use, and for each rater and trait in a draw."""

FIGURE_SECONDS = 0.5
"""Seconds to draw a figure; the report has three figures for each trait and ten others."""


def count_images(context: Context) -> int:
    """Return the number of images of the study."""
    return len(context.study.images)


def count_readouts(context: Context) -> int:
    """Return the number of readouts: one for each group, trait and fold."""
    return _count_group_traits(context) * context.value("folds")["fold"].nunique()


def _count_group_traits(context: Context) -> int:
    return len(context.study.groups) * len(context.study.traits)


def _count_features(context: Context, spaces: Iterable[Any]) -> int:
    """Return the number of features of one image in the given feature spaces."""
    side = context.study.settings.faces.size
    width = 0
    for space in spaces:
        channels, shrink = context.backbone_facts.shapes[space.tap.layer]
        grid = space.tap.grid or max(side // shrink, 1)
        width += channels * math.prod(np.broadcast_to(grid, 2).tolist())
    return width


def _count_network_inputs(context: Context) -> int:
    """Return how often the network sees each image: views, and their mirror images if needed."""
    return len({(space.view, flip) for space in context.spaces for flip in (False, space.mirror)})


def _backward_cost(maps: int) -> float:
    """Estimate the cost of propagating an image's relevance maps, in forward passes."""
    from traitlens.relevance.sparse_propagation import cost_of_lists

    return 1.1 * min(maps, ACTIVE * cost_of_lists(maps))


def landmarks(context: Context) -> Cost:
    """Estimate the cost of detecting landmarks."""
    return Cost(seconds=LANDMARK_SECONDS * count_images(context) / context.workers)


def prepare(context: Context) -> Cost:
    """Estimate the cost of preparing images."""
    n, side = count_images(context), context.study.settings.faces.size
    return Cost(seconds=PREPARE_SECONDS * n / context.workers, disk=n * side**2 * 3.0)


def region_labels(context: Context) -> Cost:
    """Estimate the cost of labelling regions."""
    return Cost(seconds=LABEL_SECONDS * count_images(context), disk=count_images(context) * 1e3)


def features(context: Context) -> Cost:
    """Estimate the cost of computing features."""
    n = count_images(context)
    return Cost(
        _count_network_inputs(context) * n,
        disk=n * _count_features(context, context.spaces) * 4.0,
        advice="set readout.grid lower",
    )


def fit(context: Context) -> Cost:
    """Estimate the cost of fitting readouts, which depends on their method."""
    folds, readout = context.value("folds")["fold"].nunique(), context.study.settings.readout
    found = find_readout(readout.method).cost(
        readout, count_images(context), folds, _count_features(context, context.spaces)
    )
    return Cost(seconds=found.seconds, memory=found.memory, disk=found.disk, advice=found.advice)


def maps(context: Context) -> Cost:
    """Estimate the cost of relevance maps."""
    n, side = count_images(context), context.study.settings.faces.size
    keep = context.study.settings.run.keep_maps
    kept = {"all": n, "sample": min(n, SAMPLE), "none": 0}[keep]
    blocks = math.ceil(n / 8) + context.value("folds")["fold"].nunique()
    n_maps = _count_group_traits(context)
    disk = (2.0 * kept + 8.0 * blocks) * n_maps * side**2
    advice = 'set run.keep_maps = "sample" or "none"'
    passes = _count_network_inputs(context) * (2 + _backward_cost(n_maps))
    return Cost(passes * n, disk=disk, advice=advice)


def regional_features(context: Context) -> Cost:
    """Estimate the cost of regional features: about 4 forward passes for all regions of an image."""
    n = count_images(context)
    pictures = len({picture for space in context.regional_spaces for picture in space.pictures})
    return Cost(
        4.0 * pictures * n,
        disk=n * _count_features(context, context.regional_spaces) * 4.0,
        advice="set readout.grid lower",
    )


def regional_kernels(context: Context) -> Cost:
    """Estimate the cost of kernels of regional features."""
    n = count_images(context)
    disk = len(context.regional_spaces) * 8.0 * n**2
    seconds = PRODUCT * n**2 * _count_features(context, context.regional_spaces)
    return Cost(seconds=seconds, memory=8.0 * n**2, disk=disk, advice="set readout.grid lower")


def cues(context: Context) -> Cost:
    """Estimate the cost of fitting regional readouts of each group and of all groups together."""
    folds, readout = context.value("folds")["fold"].nunique(), context.study.settings.readout
    found = find_readout("ridge").cost(
        readout, count_images(context), folds, _count_features(context, context.spaces)
    )
    return Cost(seconds=2 * found.seconds, memory=found.memory, advice=found.advice)


def altered_faces(context: Context) -> Cost:
    """Estimate the cost of predicting altered faces."""
    n = count_images(context)
    return Cost(
        3.0 * _count_network_inputs(context) * n,
        memory=4 * n * _count_features(context, context.spaces) * 4.0,
        advice="set comparison.cues = false",
    )


def pixels(context: Context) -> Cost:
    """Estimate the cost of the test of pixels."""
    n, side = count_images(context), context.study.settings.comparison.pixels
    return Cost(
        _count_network_inputs(context) * (2 + _backward_cost(COMPONENTS)) * n,
        disk=n * COMPONENTS * side**2 * 4.0,
        advice="set comparison.pixels = 0",
    )


def check_steps(passes: int) -> Callable[[Context], int]:
    """Return a function that counts the steps of a check of maps, given its passes per image."""
    return lambda context: passes * (context.check_images or 0)


def draws_of_use(context: Context) -> int:
    """Return the number of random draws of the test of cue use, over all pairs of groups."""
    groups = len(context.study.groups)
    return groups * (groups - 1) // 2 * 2500


def use(context: Context) -> Cost:
    """Estimate the cost of the test of cue use."""
    raters = len(context.study.ratings[[RATER, TRAIT]].drop_duplicates())
    return Cost(seconds=draws_of_use(context) * (DRAW_SECONDS + RATER_SECONDS * raters))


def report(context: Context) -> Cost:
    """Estimate the cost of drawing the report's figures."""
    return Cost(seconds=FIGURE_SECONDS * (10 + 3 * len(context.study.traits)))
