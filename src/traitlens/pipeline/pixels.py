"""What the test of pixels needs of the network: maps of the components that readouts are made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from traitlens import keeping
from traitlens.arrays import open_arrays
from traitlens.comparison.by_pixel import CAUTION, compare_pixels
from traitlens.comparison.by_region import make_designs
from traitlens.comparison.exchange import find_strata, label_raters, pairs_of_groups, ratings_of_pair
from traitlens.comparison.operator import RegionOperator
from traitlens.comparison.rater_maps import (
    Components,
    MapOperator,
    combine_components,
    common_directions,
    leading_components,
)
from traitlens.faces.regions import REGIONS, region_labels
from traitlens.faces.template import Template
from traitlens.features.spaces import FeatureSpace
from traitlens.pipeline.blocks import blocks_by_fold, make_blocks
from traitlens.pipeline.engines import Engine
from traitlens.pipeline.machine import Machine
from traitlens.readouts.readout import LinearPart, LinearReadout
from traitlens.relevance.attribution import explain_each
from traitlens.watching import Advance
from traitlens.words import GROUP, IMAGE, RATER, RELEVANCE, TRAIT, X, Y

COMPONENTS = 24
"""Components of a fold's readouts that are mapped; each costs about as much as a readout's map."""

FEWEST_FACES = 8
"""An average of fewer faces would show single ones."""


@dataclass(frozen=True)
class ComponentWork:
    """Makes blocks of the components' maps on the template.

    Parameters
    ----------
    machine : Machine
        Where and how the network is run.
    prepared : Path
        The prepared images, all with landmarks.
    blocks : list of (int, ndarray)
        Fold of each block, and positions of its images among the prepared ones.
    readouts : dict of int to list of LinearReadout
        The components of each fold, as readouts.
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
        """Make a block: maps (image, component, y, x)."""
        fold, positions = self.blocks[number]
        prepared, template = open_arrays(self.prepared), Template.fixed(self.size)
        pixels = (prepared["pixels"][position].to_numpy() for position in positions)
        each = explain_each(self.machine.backbone(), self.readouts[int(fold)], pixels, self.method)
        warped = [
            template.warp(
                found[RELEVANCE].transpose("readout", Y, X).to_numpy(),
                prepared["points"][position].to_numpy(),
            )
            for position, found in zip(positions, each, strict=True)
        ]
        return {"maps": np.stack(warped).astype(np.float32)}


def make_map_operator(
    engine: Engine,
    kept: keeping.Blocks,
    machine: Machine,
    space: FeatureSpace,
    features: np.ndarray,
    prepared: Path,
    operator: RegionOperator,
    ratings: pd.DataFrame,
    penalties: Mapping[str, float],
    method: str,
    size: int,
    advance: Advance,
) -> MapOperator:
    """Map the components of each fold's readouts and put them together, a block of images at a time.

    Parameters
    ----------
    engine : Engine
        Who makes the blocks.
    kept : Blocks
        Where blocks are kept, so that a killed run goes on.
    machine : Machine
        Where and how the network is run.
    space : FeatureSpace
        What the readouts read.
    features : ndarray (image, channel, row, column)
        What they read of each image.
    prepared : Path
        The prepared images, all with landmarks.
    operator : RegionOperator
        Kernel and folds.
    ratings : DataFrame
        rater, image, trait, rating.
    penalties : mapping of str to float
        Ridge penalty by trait.
    method : str
        Name of the relevance method.
    size : int
        Side of the template's maps in pixels.
    advance : callable
        Told of images done.

    Returns
    -------
    MapOperator
        The road from ratings to maps on the template.
    """
    raters = pd.Index(sorted(ratings[RATER].unique()))
    designs = make_designs(ratings, raters, operator, penalties)
    directions = np.stack(list(common_directions(designs).values()))
    folds = np.unique(operator.folds)
    components = {
        int(fold): leading_components(operator, int(fold), designs, penalties, COMPONENTS) for fold in folds
    }
    readouts = {fold: component_readouts(own, space, features, fold) for fold, own in components.items()}
    blocks = list(blocks_by_fold(operator.folds))
    among = pd.Index(open_arrays(prepared)[IMAGE].to_numpy()).get_indexer(list(operator.images))
    there = [(fold, among[positions]) for fold, positions in blocks]
    work = ComponentWork(machine, prepared.resolve(), there, readouts, method, size)
    make_blocks(engine, kept, work, [len(positions) for _, positions in blocks], advance)
    sums = np.zeros((len(designs), len(folds), COMPONENTS, size, size))
    for number, (fold, positions) in enumerate(blocks):
        maps, place = kept.read(number)["maps"], int(np.searchsorted(folds, fold))
        sums[:, place, : maps.shape[1]] += np.einsum("ti,ikyx->tkyx", directions[:, positions], maps)
    ordered = [components[int(fold)] for fold in folds]
    return combine_components(sums, ordered, len(operator.images), list(designs))


def component_readouts(
    components: Components, space: FeatureSpace, features: np.ndarray, fold: int
) -> list[LinearReadout]:
    """Make a readout of each component.

    Parameters
    ----------
    components : Components
        Their dual coefficients.
    space : FeatureSpace
        What the readouts read.
    features : ndarray (image, channel, row, column)
        What they read of each image.
    fold : int
        The fold that they did not see.

    Returns
    -------
    list of LinearReadout
        One for each component.
    """
    seen = features[components.training].astype(np.float64)
    reference = seen.mean(axis=0)
    weights = components.duals.T @ (seen - reference).reshape(len(seen), -1)
    return [
        LinearReadout(
            f"component {number}",
            "",
            fold,
            (
                LinearPart(
                    space, weight.reshape(reference.shape).astype(np.float32), reference.astype(np.float32)
                ),
            ),
            0.0,
        )
        for number, weight in enumerate(weights)
    ]


def compare_maps(
    maps: MapOperator,
    ratings: pd.DataFrame,
    operator: RegionOperator,
    penalties: Mapping[str, float],
    method: str,
    permutations: int,
    seed: int,
) -> tuple[xr.Dataset, pd.DataFrame]:
    """Test every pair of groups and every trait pixel by pixel.

    Parameters
    ----------
    maps : MapOperator
        The road from ratings to maps.
    ratings : DataFrame
        rater, group, image, trait, rating.
    operator : RegionOperator
        Kernel and folds.
    penalties : mapping of str to float
        Ridge penalty by trait.
    method : str
        "tfce", "cluster_mass" or "pixel".
    permutations : int
        Exchanges of raters.
    seed : int
        Seed.

    Returns
    -------
    found : Dataset
        By comparison ("first - second"), trait, y and x: what `compare_pixels` gives.
    areas : DataFrame
        The significant areas: group_1, group_2, trait and what `compare_pixels` gives, with p_family (over
        pixels and, by Bonferroni, traits).
    """
    size = maps.matrix.sizes[Y]
    points = Template.fixed(size).points_on_map
    mask = region_labels(points, size) != REGIONS.index("background")
    datasets, tables = [], []
    traits = list(maps.matrix[TRAIT].to_numpy())
    for pair in pairs_of_groups(ratings):
        both = ratings_of_pair(ratings, pair)
        raters, labels = label_raters(both, pair)
        strata = pd.Series(find_strata(both, raters, labels), raters)
        found = []
        for trait in traits:
            of_raters = maps.rater_maps(both, trait, operator, penalties[trait])
            names = of_raters[RATER].to_numpy()
            # The alphabet orders what is compared: the first group of the pair less the second.
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


def template_face(prepared: xr.Dataset, size: int) -> np.ndarray | None:
    """Average the prepared images on the template.

    Parameters
    ----------
    prepared : Dataset
        pixels (image, y, x, colour) and points (image, point, xy).
    size : int
        Side of the average in pixels.

    Returns
    -------
    ndarray of uint8 (size, size, 3) or None
        None where there are too few faces for an average.
    """
    count = prepared.sizes[IMAGE]
    if count < FEWEST_FACES:
        return None
    template = Template.fixed(size)
    total, covered = np.zeros((3, size, size)), np.zeros((3, size, size))
    for image in range(count):
        pixels = prepared["pixels"][image].to_numpy().transpose(2, 0, 1)
        warped = template.warp(pixels, prepared["points"][image].to_numpy(), conserve=False)
        total += np.nan_to_num(warped)
        covered += np.isfinite(warped)
    average = total / np.maximum(covered, 1)
    return np.asarray(average.transpose(1, 2, 0).round().astype(np.uint8))
