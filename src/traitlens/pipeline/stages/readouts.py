"""Stages that fit the readouts of every group, trait and fold, evaluate them, and save them as a model."""

from dataclasses import replace

import numpy as np
import pandas as pd

from traitlens.artifacts import (
    CHOICES,
    DUALS,
    LEARNING_CURVES,
    MODELS,
    PERFORMANCE,
    PREDICTIONS,
    PREPARED,
    READOUTS,
    RELIABILITY,
    TARGETS,
)
from traitlens.columns import FOLD, GROUP, IMAGE, TRAIT, Y
from traitlens.features.feature_spaces import FeatureSpace
from traitlens.features.views import FACE_VIEWS
from traitlens.pipeline.stage_io import StageIO
from traitlens.pipeline.stages.features import read_features
from traitlens.readouts.fit_results import Dual, FittedReadouts
from traitlens.readouts.performance import performance
from traitlens.readouts.readout import Readout
from traitlens.readouts.refit import refit_of
from traitlens.readouts.registry import FitContext, find_readout
from traitlens.readouts.trait_models import TraitModels


def fit(io: StageIO) -> None:
    """Fit readouts; write them, their out-of-fold predictions, and the penalties or epochs chosen."""
    settings, seed = io.value("settings.readout"), io.value("settings.seed")
    features, folds = read_features(io), io.value("folds")
    method = find_readout(settings.method)
    context = FitContext(seed, io.backbone, io.machine.device, io.results / ".cache")
    options = method.options(settings, context)
    fitted = method.fit(features, io.read(TARGETS), folds, seed=seed, progress=io.advance, **options)
    io.write(PREDICTIONS, fitted.predictions)
    io.write(CHOICES, fitted.choices)
    if len(fitted.losses):
        io.write(LEARNING_CURVES, fitted.losses)
    io.write(DUALS, _tabulate_duals(fitted, list(features)))
    views = {name: view for name, view in FACE_VIEWS.items() if name in {space.view for space in features}}
    TraitModels.of(fitted, io.backbone, views).save(io.file(READOUTS))


def read_readouts(io: StageIO) -> tuple[Readout, ...]:
    """Read the readouts of every group, trait and fold, in the order in which they were fitted."""
    return TraitModels.load(io.file(READOUTS)).readouts


def evaluate(io: StageIO) -> None:
    """Write how well the readouts predict ratings, beside noise ceilings."""
    ceilings = io.read(RELIABILITY).reindex(columns=[GROUP, TRAIT, "ceiling_r", "ceiling_r2"])
    predictions, features = io.read(PREDICTIONS), read_features(io)
    duals = _read_duals(io.read(DUALS), list(features))
    refits = refit_of(
        FittedReadouts((), predictions, pd.DataFrame(), duals), features, io.value("folds")[IMAGE]
    )
    table = performance(predictions, ceilings, seed=io.value("settings.seed"), refits=refits)
    io.write(PERFORMANCE, table)


def _tabulate_duals(fitted: FittedReadouts, spaces: list[FeatureSpace]) -> pd.DataFrame:
    """Return a table of the penalty and kernel weights of each ridge readout, with which it is refitted."""
    rows = [
        {GROUP: dual.group, TRAIT: dual.trait, FOLD: dual.fold, "penalty": dual.penalty}
        | {f"kernel_{index}": dual.factors[space] for index, space in enumerate(spaces)}
        for dual in fitted.duals
        if set(dual.factors) == set(spaces)
    ]
    return pd.DataFrame(rows, columns=[GROUP, TRAIT, FOLD, "penalty", *_kernels(spaces)])


def _kernels(spaces: list[FeatureSpace]) -> list[str]:
    return [f"kernel_{index}" for index in range(len(spaces))]


def _read_duals(table: pd.DataFrame, spaces: list[FeatureSpace]) -> tuple[Dual, ...]:
    """Convert the table of :func:`_tabulate_duals` to :class:`Dual` objects, without their coefficients."""
    none = np.empty(0)
    return tuple(
        Dual(
            row[GROUP],
            row[TRAIT],
            int(row[FOLD]),
            none,
            none,
            float(row["penalty"]),
            {space: float(row[name]) for space, name in zip(spaces, _kernels(spaces), strict=True)},
            np.nan,
        )
        for row in table.to_dict("records")
    )


def save_models(io: StageIO) -> None:
    """Write the readouts as a model that can predict and explain new images."""
    prepared = io.read(PREPARED)
    models = replace(
        TraitModels.load(io.file(READOUTS)),
        prepared={**prepared.attrs, "size": prepared.sizes[Y]},
        performance=io.read(PERFORMANCE),
    )
    models.save(io.file(MODELS))
