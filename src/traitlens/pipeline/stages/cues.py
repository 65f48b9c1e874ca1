"""Regional features, the readouts of them, and the cue of each region of each image."""

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
from traitlens.features.regional import RegionalExtractor, RegionalFaces
from traitlens.features.views import FACE_VIEWS
from traitlens.pipeline.stage_io import Work
from traitlens.ratings.targets import pool_groups
from traitlens.readouts.kernels import linear_kernel
from traitlens.readouts.regional import fit_regional
from traitlens.readouts.trait_models import TraitModels
from traitlens.storage import write_whole


@dataclass(frozen=True)
class RegionalBlocks:
    """Compute blocks of regional features.

    Parameters
    ----------
    machine : Machine
        Where and how the network is run.
    prepared : Path
        The prepared images, all with landmarks.
    blocks : list of ndarray
        Positions of each block's images.
    spaces : sequence of FeatureSpace
        What is read.
    average : Path
        The average face.
    polygons : mapping of str to sequence
        The study's own regions.
    """

    machine: Machine
    prepared: Path
    blocks: list[np.ndarray]
    spaces: Sequence[FeatureSpace]
    average: Path
    polygons: dict[str, Polygon]

    def __call__(self, number: int) -> dict[str, np.ndarray]:
        """Compute a block: (image, feature), one space after the other."""
        prepared, positions = open_arrays(self.prepared), self.blocks[number]
        faces = RegionalFaces(np.load(self.average), self.polygons)
        extractor = RegionalExtractor(self.machine.backbone(), self.spaces, faces)
        pixels, points = (prepared[name][positions].to_numpy() for name in ("pixels", "points"))
        rows = []
        for image, mesh in zip(pixels, points, strict=True):
            found = extractor.extract(image, faces.masks(mesh))
            rows.append(np.concatenate([found[space].ravel() for space in self.spaces]))
        return {"features": np.stack(rows)}


def features(work: Work) -> None:
    """Write the average face, and what the network sees of each region of each face on it."""
    assert work.backbone
    prepared = work.read(PREPARED)
    with write_whole(work.file(AVERAGE_FACE)) as temporary, temporary.open("wb") as stream:
        np.save(stream, average_face(prepared))
    blocks = list(blocks_of(np.arange(prepared.sizes[IMAGE])))
    make = RegionalBlocks(
        work.machine,
        work.file(PREPARED),
        blocks,
        work.value("regional_spaces"),
        work.file(AVERAGE_FACE),
        dict(work.value("regions")),
    )
    make_blocks(work.engine, work.blocks, make, [len(block) for block in blocks], work.advance)
    work.blocks.join(len(blocks), "features", work.file(REGIONAL_FEATURES))


def kernels(work: Work) -> None:
    """Write the linear kernel of each regional feature space: (space, image, image)."""
    spaces = work.value("regional_spaces")
    read = split_spaces(work.read(REGIONAL_FEATURES), spaces, work.shapes)
    number = len(work.read(REGIONAL_FEATURES))
    header = {"descr": "<f8", "fortran_order": False, "shape": (len(spaces), number, number)}
    # Written, not mapped: a disk that is full is then an error, and not the end of the process.
    with write_whole(work.file(REGIONAL_KERNELS)) as temporary, temporary.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        for space in spaces:
            with threadpool_limits(2):
                kernel = linear_kernel(read[space], work.results / ".kept")
            stream.write(np.ascontiguousarray(kernel, "<f8").data)
            work.advance(1)


def read_kernels(work: Work) -> dict[FeatureSpace, np.ndarray]:
    """Read the kernels of the regional feature spaces.

    Parameters
    ----------
    work : Work
        A stage that reads them and "regional_spaces".

    Returns
    -------
    dict of FeatureSpace to ndarray
        (image, image) each, mapped from disk.
    """
    return dict(zip(work.value("regional_spaces"), work.read(REGIONAL_KERNELS), strict=True))


def common_cues(work: Work) -> CommonCues:
    """Return the cues of all groups together, groups weighing alike.

    Parameters
    ----------
    work : Work
        A stage that reads the kernels, "regional_spaces", the targets, "folds" and "settings.seed".

    Returns
    -------
    CommonCues
        Fitted when they are asked for.
    """
    targets = pool_groups(work.read(TARGETS)).pivot(index=IMAGE, columns=TRAIT, values=RATING)
    return CommonCues(read_kernels(work), targets, work.value("folds"), seed=work.value("settings.seed"))


def fit(work: Work) -> None:
    """Write regional readouts of each group, and the cues of these and of all groups together."""
    read = split_spaces(work.read(REGIONAL_FEATURES), work.value("regional_spaces"), work.shapes)
    targets, folds = work.read(TARGETS), work.value("folds")
    options = {
        "sharing": work.value("settings.readout.sharing"),
        "seed": work.value("settings.seed"),
        "progress": work.advance,
        "kernels": read_kernels(work),
    }
    fitted = fit_regional(read, targets, folds, **options)
    work.write(GROUP_CUES, fitted.cues)
    rows = common_cues(work).array.rename(CUE).to_dataframe().reset_index()
    work.write(IMAGE_CUES, rows[[IMAGE, TRAIT, REGION, CUE]])
    work.write(REGIONAL_PREDICTIONS, fitted.predictions)
    prepared = work.read(PREPARED)
    views = {name: view for name, view in FACE_VIEWS.items() if name in {space.view for space in read}}
    faces = RegionalFaces(np.array(work.read(AVERAGE_FACE)), dict(work.value("regions")))
    described = {**prepared.attrs, "size": prepared.sizes[Y]}
    models = TraitModels.of(fitted, work.backbone, views, described, faces=faces)
    models.save(work.file(REGIONAL_MODEL))
