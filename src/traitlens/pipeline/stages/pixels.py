"""Stage that compares groups pixel by pixel, by means of maps of principal components of the readouts."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from traitlens.arrays import open_arrays, write_arrays
from traitlens.artifacts import PIXEL_MAPS, PIXEL_TESTS, PREPARED
from traitlens.columns import GROUP, IMAGE, RATER, RELEVANCE, TRAIT, X, Y
from traitlens.comparison.by_pixel import CAUTION, compare_pixels
from traitlens.comparison.compared_groups import label_raters, pairs_of_groups, ratings_of_pair
from traitlens.comparison.permutation import find_strata
from traitlens.comparison.rater_maps import (
    MapOperator,
    combine_components,
    common_directions,
    component_readouts,
    halve_raters,
    leading_components,
)
from traitlens.comparison.refitting import FeatureKernel, make_designs
from traitlens.computing.blocks import blocks_by_fold, make_blocks
from traitlens.computing.machine import Machine
from traitlens.faces.regions import REGIONS, Polygon, region_labels
from traitlens.faces.template import Template, template_face
from traitlens.pipeline.costs import COMPONENTS
from traitlens.pipeline.stage_io import StageIO
from traitlens.pipeline.stages.features import read_features
from traitlens.pipeline.stages.refits import combine_features, read_kernel, read_penalties
from traitlens.readouts.readout import LinearReadout
from traitlens.relevance.attribution import Explainer
from traitlens.storage import atomic_write

FACE_SCALE = 4
"""Side of the average face, in multiples of the side of the maps."""


def pixels(io: StageIO) -> None:
    """Write pixel-wise tests of group differences on the template face, and the significant areas."""
    kernel, ratings = read_kernel(io)
    penalties = read_penalties(io)
    maps = map_components(io, kernel, ratings, penalties)
    found, areas = compare_maps(io, maps, ratings, kernel, penalties)
    prepared = io.read(PREPARED)
    prepared = prepared.isel({IMAGE: np.flatnonzero(np.isin(prepared[IMAGE], list(kernel.images)))})
    face = template_face(prepared, FACE_SCALE * found.sizes[Y])
    if face is not None:
        found["face"] = ("face_y", "face_x", "colour"), face
    with atomic_write(io.file(PIXEL_MAPS)) as temporary:
        write_arrays(temporary, found)
    io.write(PIXEL_TESTS, areas)


@dataclass(frozen=True)
class ComponentBlocks:
    """Function that maps principal components on the template, one block of images at a time.

    Parameters
    ----------
    machine : Machine
        Device and precision of the network.
    prepared : Path
        File of the prepared images, all with landmarks.
    blocks : list of (int, ndarray)
        Fold of each block, and positions of its images among the prepared images.
    readouts : dict of int to list of LinearReadout
        The principal components of each fold, as readouts.
    method : str
        Name of the relevance method.
    size : int
        Side of the template's maps in pixels.
    """

    machine: Machine
    prepared: Path
    blocks: list[tuple[int, np.ndarray]]
    readouts: dict[int, list[LinearReadout]]
    method: str
    size: int

    def __call__(self, number: int) -> dict[str, np.ndarray]:
        """Return the maps of one block: (image, component, y, x)."""
        fold, positions = self.blocks[number]
        prepared, template = open_arrays(self.prepared), Template.fixed(self.size)
        explainer = Explainer(self.machine.backbone(), self.readouts[int(fold)], self.method)
        warped = []
        for position in positions:
            found = explainer.explain(prepared["pixels"][position].to_numpy())
            maps = found[RELEVANCE].transpose("readout", Y, X).to_numpy()
            warped.append(template.warp(maps, prepared["points"][position].to_numpy()))
        return {"maps": np.stack(warped).astype(np.float32)}


def map_components(
    io: StageIO, kernel: FeatureKernel, ratings: pd.DataFrame, penalties: Mapping[str, float]
) -> MapOperator:
    """Compute maps of the principal components of each fold's readouts, and combine them.

    Returns
    -------
    MapOperator
        Linear operator from ratings to maps on the template.
    """
    size = io.value("settings.comparison.pixels")
    images = io.read(PREPARED)[IMAGE].to_numpy()
    among = pd.Index(images).get_indexer(list(kernel.images))
    assert io.backbone
    features = {space: values[among] for space, values in read_features(io).items()}
    combined = combine_features(io)
    halves = halve_raters(ratings)
    groups = ratings.drop_duplicates(RATER).set_index(RATER)[GROUP][halves.index].to_numpy()
    designs = make_designs(ratings, halves.index, kernel, penalties)
    directions = np.stack(
        list(common_directions(designs, groups, halves.to_numpy()).values()), axis=1
    )  # (half, trait, image)
    folds = np.unique(kernel.folds)
    components = {
        int(fold): leading_components(kernel, int(fold), designs, penalties, COMPONENTS) for fold in folds
    }
    readouts = {fold: component_readouts(own, combined, features, fold) for fold, own in components.items()}
    blocks = list(blocks_by_fold(kernel.folds))
    there = [(fold, among[positions]) for fold, positions in blocks]
    method = io.value("settings.relevance.method")
    make = ComponentBlocks(io.machine, io.file(PREPARED), there, readouts, method, size)
    make_blocks(io.engine, io.blocks, make, [len(positions) for _, positions in blocks], io.advance)
    sums = np.zeros((2, len(designs), len(folds), COMPONENTS, size, size))
    for number, (fold, positions) in enumerate(blocks):
        maps, place = io.blocks.read(number)["maps"], int(np.searchsorted(folds, fold))
        sums[:, :, place, : maps.shape[1]] += np.einsum("hti,ikyx->htkyx", directions[:, :, positions], maps)
    ordered = [components[int(fold)] for fold in folds]
    return combine_components(sums, ordered, len(kernel.images), list(designs), halves)


def compare_maps(
    io: StageIO,
    maps: MapOperator,
    ratings: pd.DataFrame,
    kernel: FeatureKernel,
    penalties: Mapping[str, float],
) -> tuple[xr.Dataset, pd.DataFrame]:
    """Test each pixel of the maps for a difference, for every pair of groups and every trait.

    Parameters
    ----------
    maps : MapOperator
        Linear operator from ratings to maps.

    Returns
    -------
    found : Dataset
        Results of `compare_pixels` by comparison ("first - second"), trait, y and x.
    areas : DataFrame
        Significant areas of `compare_pixels`, with columns group_1, group_2, trait, and p_family, which is
        corrected over pixels and (Bonferroni) over traits.
    """
    method = io.value("settings.comparison.pixel_test")
    permutations, seed = io.value("settings.comparison.permutations"), io.value("settings.seed")
    polygons: Mapping[str, Polygon] = dict(io.value("regions"))
    size = maps.matrix.sizes[Y]
    points = Template.fixed(size).points_on_map
    mask = region_labels(points, size, polygons) != REGIONS.index("background")
    datasets, tables = [], []
    traits = list(maps.matrix[TRAIT].to_numpy())
    for pair in pairs_of_groups(ratings):
        both = ratings_of_pair(ratings, pair)
        raters, labels = label_raters(both, pair)
        strata = pd.Series(find_strata(both, raters, labels), raters)
        found = []
        for trait in traits:
            of_raters = maps.rater_maps(both, trait, kernel, penalties[trait])
            names = of_raters[RATER].to_numpy()
            # Pairs are in alphabetical order: the first group minus the second.
            scores = pd.Series(np.where(of_raters[GROUP] == pair[0], "1", "2"), names)
            result = compare_pixels(
                of_raters, scores, mask=mask, method=method, strata=strata[names].to_numpy(),
                permutations=permutations, seed=seed,
            )  # fmt: skip
            found.append(result.maps)
            family = np.minimum(result.clusters["p_corrected"] * len(traits), 1)
            tables.append(
                result.clusters.assign(group_1=pair[0], group_2=pair[1], trait=trait, p_family=family)
            )
        datasets.append(xr.concat(found, pd.Index(traits, name=TRAIT), combine_attrs="drop"))
    pairs = [" - ".join(pair) for pair in pairs_of_groups(ratings)]
    together = xr.concat(datasets, pd.Index(pairs, name="comparison"))
    together.attrs = {
        "test": "t", "method": method, "permutations": permutations, "resolution": size,
        "kept": maps.kept, "caution": CAUTION,
    }  # fmt: skip
    together["mask"] = (Y, X), mask
    first = ["group_1", "group_2", TRAIT]
    areas = pd.concat(tables, ignore_index=True)
    return together, areas[first + [name for name in areas if name not in first]]
