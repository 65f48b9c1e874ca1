"""Stages that check the relevance maps on some images of one fold."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from traitlens.artifacts import (
    ASSOCIATION,
    CHOICES,
    CONSERVATION,
    FEATURES,
    FLIPPING,
    METHODS,
    NULL_MAPS,
    PREPARED,
    REGION_LABELS,
    REGION_TABLE,
    TARGETS,
)
from traitlens.columns import FOLD, IMAGE, REGION
from traitlens.faces.prepared_faces import average_face
from traitlens.map_checks.check_sample import (
    CheckSample,
    associate_regions,
    average_by_region,
    check_conservation,
    choose_images,
    compare_methods,
    compare_with_null_maps,
    flip_pixels,
)
from traitlens.map_checks.randomisation import permute_targets
from traitlens.pipeline.stage_io import StageIO
from traitlens.pipeline.stages.faces import NO_LABEL
from traitlens.pipeline.stages.features import read_features
from traitlens.pipeline.stages.readouts import read_readouts
from traitlens.readouts.readout import Readout
from traitlens.readouts.ridge import fit_ridge


def conservation(io: StageIO) -> None:
    """Write how much of each prediction is accounted for by the sum of its map over the pixels."""
    io.write(CONSERVATION, check_conservation(read_sample(io), io.advance))


def null_maps(io: StageIO) -> None:
    """Write how similar the maps are to null maps."""
    sample = read_sample(io)
    # Only ridge readouts have a penalty with which they can be refitted to permuted ratings.
    linear = all(readout.is_linear for readout in sample.readouts) and "penalty" in io.read(CHOICES)
    refit = partial(_refit, io, sample) if linear else None
    io.write(NULL_MAPS, compare_with_null_maps(sample, refit, io.advance))


def flipping(io: StageIO) -> None:
    """Write how predictions change when patches are replaced in the order of their relevance."""
    io.write(FLIPPING, flip_pixels(read_sample(io), io.advance))


def methods(io: StageIO) -> None:
    """Write the correlations between the maps of several relevance methods."""
    io.write(METHODS, compare_methods(read_sample(io), io.advance))


def association(io: StageIO) -> None:
    """Write how strongly each region's activation is associated with ratings, beside its relevance."""
    labels = io.read(REGION_LABELS)
    known = np.flatnonzero(labels["labels"][:, 0, 0].to_numpy() != NO_LABEL)
    regions = [str(name) for name in labels[REGION].to_numpy()]
    features = io.read(FEATURES)
    activation = np.stack(
        [average_by_region(features[one], labels["labels"][one].to_numpy(), len(regions)) for one in known]
    )
    images = labels[IMAGE].to_numpy()[known]
    io.write(
        ASSOCIATION,
        associate_regions(activation, regions, images, io.read(TARGETS), io.read(REGION_TABLE)),
    )


def read_sample(io: StageIO) -> CheckSample:
    """Read the images on which maps are checked, and the readouts of their fold."""
    prepared = io.read(PREPARED)
    fold, chosen = choose_images(io.value("folds")[FOLD].to_numpy(), io.value("check_images"))
    return CheckSample(
        io.backbone,
        tuple(readout for readout in read_readouts(io) if readout.fold == fold),
        list(prepared[IMAGE].to_numpy()[chosen]),
        prepared["pixels"][chosen].to_numpy(),
        average_face(prepared),
        io.value("settings.relevance.method"),
    )


def _refit(io: StageIO, sample: CheckSample, seed: int) -> Sequence[Readout]:
    """Refit the readouts of the sample to permuted ratings, with the median of the original penalties."""
    targets = permute_targets(io.read(TARGETS), seed)
    penalty = float(io.read(CHOICES)["penalty"].median())
    folds = io.value("folds")
    fitted = fit_ridge(read_features(io), targets, folds, penalties=[penalty], sharing=1)
    return [fitted.find(one.group, one.trait, one.fold) for one in sample.readouts]
