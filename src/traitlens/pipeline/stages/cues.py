"""Stages that compute regional features, fit regional readouts, and write the cues of all images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from traitlens.arrays import open_arrays
from traitlens.artifacts import (
    AVERAGE_FACE,
    GROUP_CUES,
    IMAGE_CUES,
    PREPARED,
    REGIONAL_FEATURES,
    REGIONAL_KERNELS,
    REGIONAL_MODEL,
    REGIONAL_PREDICTIONS,
    TARGETS,
)
from traitlens.columns import CUE, IMAGE, RATING, REGION, TRAIT, Y
from traitlens.comparison.common_cues import CommonCues
from traitlens.computing.blocks import blocks_of, make_blocks
from traitlens.computing.machine import Machine
from traitlens.faces.prepared_faces import average_face
from traitlens.faces.regions import Polygon
from traitlens.features.extraction import split_spaces
from traitlens.features.feature_spaces import FeatureSpace
from traitlens.features.region_features import RegionalExtractor, RegionalFaces
from traitlens.features.views import FACE_VIEWS
from traitlens.pipeline.stage_io import StageIO
from traitlens.ratings.targets import pool_groups
from traitlens.readouts.kernels import linear_kernel
from traitlens.readouts.region_readouts import fit_regional
from traitlens.readouts.trait_models import TraitModels
from traitlens.storage import atomic_write


@dataclass(frozen=True)
class RegionalBlocks:
    """Function that computes regional features, one block of images at a time.

    Parameters
    ----------
    machine : Machine
        Device and precision of the network.
    prepared, average : Path
        Files of the prepared images, all with landmarks, and of the average face.
    blocks : list of ndarray
        Positions of the images of each block.
    spaces : sequence of FeatureSpace
        Feature spaces of all regions.
    polygons : dict
        Custom regions of the study, by name.
    """

    machine: Machine
    prepared: Path
    blocks: list[np.ndarray]
    spaces: Sequence[FeatureSpace]
    average: Path
    polygons: dict[str, Polygon]

    def __call__(self, number: int) -> dict[str, np.ndarray]:
        """Return the features of one block: (image, feature), with all spaces side by side."""
        prepared, positions = open_arrays(self.prepared), self.blocks[number]
        faces = RegionalFaces(np.load(self.average), self.polygons)
        extractor = RegionalExtractor(self.machine.backbone(), self.spaces, faces)
        pixels, points = (prepared[name][positions].to_numpy() for name in ("pixels", "points"))
        rows = []
        for image, mesh in zip(pixels, points, strict=True):
            found = extractor.extract(image, faces.masks(mesh))
            rows.append(np.concatenate([found[space].ravel() for space in self.spaces]))
        return {"features": np.stack(rows)}


def features(io: StageIO) -> None:
    """Write the average face and the regional features of all images."""
    assert io.backbone
    prepared = io.read(PREPARED)
    with atomic_write(io.file(AVERAGE_FACE)) as temporary, temporary.open("wb") as stream:
        np.save(stream, average_face(prepared))
    blocks = list(blocks_of(np.arange(prepared.sizes[IMAGE])))
    make = RegionalBlocks(
        io.machine,
        io.file(PREPARED),
        blocks,
        io.value("regional_spaces"),
        io.file(AVERAGE_FACE),
        dict(io.value("regions")),
    )
    make_blocks(io.engine, io.blocks, make, [len(block) for block in blocks], io.advance)
    io.blocks.join(len(blocks), "features", io.file(REGIONAL_FEATURES))


def kernels(io: StageIO) -> None:
    """Write the linear kernels of all regional feature spaces as one array (space, image, image)."""
    spaces = io.value("regional_spaces")
    read = split_spaces(io.read(REGIONAL_FEATURES), spaces, io.shapes)
    number = len(io.read(REGIONAL_FEATURES))
    header = {"descr": "<f8", "fortran_order": False, "shape": (len(spaces), number, number)}
    # On a full disk, writing raises an error; a memory-mapped file would crash the process.
    with atomic_write(io.file(REGIONAL_KERNELS)) as temporary, temporary.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        for space in spaces:
            with threadpool_limits(2):
                kernel = linear_kernel(read[space], io.results / ".cache")
            stream.write(np.ascontiguousarray(kernel, "<f8").data)
            io.advance(1)


def read_kernels(io: StageIO) -> dict[FeatureSpace, np.ndarray]:
    """Read the kernels of the regional feature spaces.

    Parameters
    ----------
    io : StageIO
        Access to a stage whose inputs include the kernels and "regional_spaces".

    Returns
    -------
    dict of FeatureSpace to ndarray
        Kernel (image, image) of each space, memory-mapped.
    """
    return dict(zip(io.value("regional_spaces"), io.read(REGIONAL_KERNELS), strict=True))


def common_cues(io: StageIO) -> CommonCues:
    """Compute the cues of all groups together, in which every group has the same weight.

    Parameters
    ----------
    io : StageIO
        Access to a stage whose inputs include `COMMON_CUES` of :mod:`traitlens.pipeline.flow`.
    """
    targets = pool_groups(io.read(TARGETS)).pivot(index=IMAGE, columns=TRAIT, values=RATING)
    return CommonCues(read_kernels(io), targets, io.value("folds"), seed=io.value("settings.seed"))


def fit(io: StageIO) -> None:
    """Fit regional readouts, and write them with the cues of each group and of all groups together."""
    read = split_spaces(io.read(REGIONAL_FEATURES), io.value("regional_spaces"), io.shapes)
    targets, folds = io.read(TARGETS), io.value("folds")
    options = {
        "sharing": io.value("settings.readout.sharing"),
        "seed": io.value("settings.seed"),
        "progress": io.advance,
        "kernels": read_kernels(io),
    }
    fitted = fit_regional(read, targets, folds, **options)
    io.write(GROUP_CUES, fitted.cues)
    rows = common_cues(io).array.rename(CUE).to_dataframe().reset_index()
    io.write(IMAGE_CUES, rows[[IMAGE, TRAIT, REGION, CUE]])
    io.write(REGIONAL_PREDICTIONS, fitted.predictions)
    prepared = io.read(PREPARED)
    views = {name: view for name, view in FACE_VIEWS.items() if name in {space.view for space in read}}
    faces = RegionalFaces(np.array(io.read(AVERAGE_FACE)), dict(io.value("regions")))
    described = {**prepared.attrs, "size": prepared.sizes[Y]}
    models = TraitModels.of(fitted, io.backbone, views, described, faces=faces)
    models.save(io.file(REGIONAL_MODEL))
