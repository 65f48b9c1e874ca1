"""Checks of the maps on some images of one fold."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from traitlens.artifacts import (
    ASSOCIATION,
    CHOICES,
    FEATURES,
    FLIPPING,
    LEDGER,
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
    Sample,
    account_for,
    associate,
    average_by_region,
    choose_images,
    compare_methods,
    compare_with_nothing,
    flip,
)
from traitlens.map_checks.randomisation import permute_targets
from traitlens.pipeline.stage_io import Work
from traitlens.pipeline.stages.faces import NO_LABEL
from traitlens.pipeline.stages.features import read_features
from traitlens.pipeline.stages.readouts import read_readouts
from traitlens.readouts.readout import Readout
from traitlens.readouts.ridge import fit_ridge


def ledger(work: Work) -> None:
    """Write how the maps add up to the predictions."""
    work.write(LEDGER, account_for(read_sample(work), work.advance))


def null_maps(work: Work) -> None:
    """Write the similarity of the maps with those of scrambled readouts, networks and ratings."""
    sample = read_sample(work)
    # Linear readouts of other methods than ridge regression choose no penalty to refit them with.
    linear = all(readout.is_linear for readout in sample.readouts) and "penalty" in work.read(CHOICES)
    refit = partial(_refit, work, sample) if linear else None
    work.write(NULL_MAPS, compare_with_nothing(sample, refit, work.advance))


def flipping(work: Work) -> None:
    """Write the effect of replacing patches in the order of relevance."""
    work.write(FLIPPING, flip(read_sample(work), work.advance))


def methods(work: Work) -> None:
    """Write the correlation of maps by several methods."""
    work.write(METHODS, compare_methods(read_sample(work), work.advance))


def association(work: Work) -> None:
    """Write the association of regions with the ratings beside their relevance."""
    labels = work.read(REGION_LABELS)
    known = np.flatnonzero(labels["labels"][:, 0, 0].to_numpy() != NO_LABEL)
    regions = [str(name) for name in labels[REGION].to_numpy()]
    features = work.read(FEATURES)
    activation = np.stack(
        [average_by_region(features[one], labels["labels"][one].to_numpy(), len(regions)) for one in known]
    )
    images = labels[IMAGE].to_numpy()[known]
    work.write(
        ASSOCIATION,
        associate(activation, regions, images, work.read(TARGETS), work.read(REGION_TABLE)),
    )


def read_sample(work: Work) -> Sample:
    """Read the images on which maps are checked, and the readouts that did not see them.

    Parameters
    ----------
    work : Work
        A check of maps.

    Returns
    -------
    Sample
        Images of one fold.
    """
    prepared = work.read(PREPARED)
    fold, chosen = choose_images(work.value("folds")[FOLD].to_numpy(), work.value("check_images"))
    return Sample(
        work.backbone,
        tuple(readout for readout in read_readouts(work) if readout.fold == fold),
        list(prepared[IMAGE].to_numpy()[chosen]),
        prepared["pixels"][chosen].to_numpy(),
        average_face(prepared),
        work.value("settings.relevance.method"),
    )


def _refit(work: Work, sample: Sample, seed: int) -> Sequence[Readout]:
    """Fit the sample's readouts to permuted ratings, with the median penalty of the true ones."""
    targets = permute_targets(work.read(TARGETS), seed)
    penalty = float(work.read(CHOICES)["penalty"].median())
    folds = work.value("folds")
    fitted = fit_ridge(read_features(work), targets, folds, penalties=[penalty], sharing=1)
    return [fitted.find(one.group, one.trait, one.fold) for one in sample.readouts]
