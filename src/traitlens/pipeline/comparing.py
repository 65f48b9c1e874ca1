"""The stages that compare groups, each passed over where its results are there from the same inputs."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

import traitlens
from traitlens import keeping
from traitlens.arrays import write_arrays
from traitlens.comparison.answers import EXPLORATORY, QUESTIONS, answer_questions
from traitlens.comparison.by_cue import compare_cues
from traitlens.comparison.operator import RegionOperator
from traitlens.comparison.penalty import choose_common_penalties
from traitlens.digests import digest
from traitlens.pipeline.comparison_tables import (
    Tables,
    tabulate_ratings,
    tabulate_readouts,
    tabulate_transfer,
)
from traitlens.pipeline.cues import altered_features
from traitlens.pipeline.pixels import compare_maps, make_map_operator, template_face
from traitlens.pipeline.region_operator import make_region_operator
from traitlens.study.reading import Study
from traitlens.watching import Advance
from traitlens.words import FOLD, IDENTITY, IMAGE, TRAIT, Y

if TYPE_CHECKING:
    from traitlens.pipeline.run import Run

FACE_SCALE = 4
"""The average face under the maps of pixels is so many times finer than these."""


def compare_ratings(run: "Run") -> str:
    """Compare ratings and predictions: what needs no network.

    Parameters
    ----------
    run : Run
        The run.

    Returns
    -------
    str
        Digest of what the tables depend on.
    """
    comparison = run.study.settings.comparison

    def make(_key: str, _advance: Advance) -> list[str]:
        reliability = keeping.read_table(run.results / "ratings" / "reliability.csv")
        tables = tabulate_ratings(run.study, run.targets)
        return _write(run, tables | tabulate_transfer(run.study, run.predictions, reliability))

    inputs = [run.fit(), run.study.ratings, comparison.permutations, comparison.reference]
    return run.make_stage("compare_ratings", inputs, [], "Comparing ratings", 1, make)


def check_cues(run: "Run") -> str:
    """Predict the faces without hair and background, in grey and mirrored.

    Parameters
    ----------
    run : Run
        The run; its readouts are linear and all its faces have landmarks.

    Returns
    -------
    str
        Digest of what the table depends on.
    """
    settings = run.study.settings

    def make(key: str, advance: Advance) -> None:
        (space,) = run.features[1]
        kept = keeping.Blocks(run.results, "cues", key)
        altered = altered_features(run.engine, kept, run.machine, space, run.prepared_store, advance)
        table = compare_cues(
            run.fitted,
            altered,
            run.targets,
            run.folds,
            sharing=settings.readout.sharing,
            seed=settings.seed,
        )
        keeping.write_table(run.results / "checks" / "cues.csv", table)
        kept.remove()

    total = len(run.study.images)
    return run.make_stage("cues", [run.fit()], ["checks/cues.csv"], "Superficial cues", total, make)


def compare_readouts(run: "Run") -> str:
    """Compare performance, regions and pixels, refitting and explaining again under each exchange.

    Parameters
    ----------
    run : Run
        The run; its readouts are linear and all its faces have landmarks.

    Returns
    -------
    str
        Digest of what the tables depend on.
    """
    settings = run.study.settings
    pixels = settings.comparison.pixels if len(run.study.groups) > 1 else 0

    def make(key: str, advance: Advance) -> list[str]:
        operator, study = _of_rated_images(run, make_operator(run, advance))
        identities = run.folds.set_index(IMAGE)[IDENTITY][list(operator.images)].to_numpy()
        penalties = choose_common_penalties(study.ratings, operator, identities, settings.seed)
        files = _write(run, tabulate_readouts(study, operator, penalties))
        if pixels:
            files += _compare_pixels(run, key, operator, study.ratings, penalties, advance)
        return files

    inputs = [run.fit(), settings.relevance.method, run.study.ratings, settings.comparison.model_dump()]
    inputs.append(list(settings.faces.regions.items()))
    total = len(run.study.images) * (2 if pixels else 1)
    return run.make_stage("compare_readouts", inputs, [], "Comparing readouts", total, make)


def make_operator(run: "Run", advance: Advance) -> RegionOperator:
    """Take regions back to the features of each image; ratings play no part in it.

    Parameters
    ----------
    run : Run
        The run; its readouts are linear and all its faces have landmarks.
    advance : callable
        Told of images done.

    Returns
    -------
    RegionOperator
        For the exchange of raters between groups.
    """
    features_key, features = run.features
    (space,) = features
    folds, method = run.folds[FOLD].to_numpy(), run.study.settings.relevance.method
    polygons = run.study.settings.faces.regions
    key = digest(features_key, folds, method, list(polygons.items()), traitlens.__version__)
    return make_region_operator(
        run.engine,
        keeping.Blocks(run.results, "regions", key),
        run.machine,
        space,
        keeping.Blocks(run.results, "features", features_key).joined("features"),
        run.prepared_store,
        folds,
        method,
        advance,
        polygons,
    )


def _of_rated_images(run: "Run", operator: RegionOperator) -> tuple[RegionOperator, Study]:
    """Leave out images that nobody rated on some trait: they cannot be in every readout."""
    ratings = run.study.ratings
    traits = ratings.groupby(IMAGE)[TRAIT].nunique()
    rated = set(traits.index[traits == len(run.study.traits)])
    return operator.take(rated), replace(run.study, ratings=ratings[ratings[IMAGE].isin(rated)])


def _compare_pixels(
    run: "Run",
    key: str,
    operator: RegionOperator,
    ratings: pd.DataFrame,
    penalties: dict[str, float],
    advance: Advance,
) -> list[str]:
    """Test raters' maps pixel by pixel; give the names of the files."""
    settings = run.study.settings
    ((space, features),) = run.features[1].items()
    kept = keeping.Blocks(run.results, "pixels", key)
    among = np.array([image in set(operator.images) for image in run.prepared[IMAGE].to_numpy()])
    prepared = run.prepared.isel({IMAGE: np.flatnonzero(among)})
    maps = make_map_operator(
        run.engine,
        kept,
        run.machine,
        space,
        features[among],
        run.prepared_store,
        operator,
        ratings,
        penalties,
        settings.relevance.method,
        settings.comparison.pixels,
        advance,
    )
    comparison = settings.comparison
    found, areas = compare_maps(
        maps,
        ratings,
        operator,
        penalties,
        comparison.pixel_test,
        comparison.permutations,
        settings.seed,
    )
    face = template_face(prepared, FACE_SCALE * found.sizes[Y])
    if face is not None:
        found["face"] = ("face_y", "face_x", "colour"), face
    with keeping.write_whole(run.results / "comparisons" / "pixels.zarr") as temporary:
        write_arrays(temporary, found)
    kept.remove()
    return ["comparisons/pixels.zarr", *_write(run, {"comparisons/pixels": areas})]


def write_answers(run: "Run", key: str) -> str:
    """Answer the questions of a comparison in sentences, from the tables of the other stages.

    Parameters
    ----------
    run : Run
        The run.
    key : str
        Digest of what the tables depend on.

    Returns
    -------
    str
        Digest of what the answers depend on.
    """
    folder = run.results / "comparisons"

    def make(_key: str, _advance: Advance) -> list[str]:
        names = [name for name in (*QUESTIONS, *EXPLORATORY) if (folder / f"{name}.csv").exists()]
        tables = {name: keeping.read_table(folder / f"{name}.csv") for name in names}
        return _write(run, {"comparisons/answers": answer_questions(tables, len(run.study.traits))})

    return run.make_stage("answers", [key], [], "Answers", 1, make)


def _write(run: "Run", tables: Tables) -> list[str]:
    """Write tables; give the names of their files."""
    for name, table in tables.items():
        keeping.write_table(run.results / f"{name}.csv", table)
    return [f"{name}.csv" for name in tables]
