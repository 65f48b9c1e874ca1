"""Prediction and explanation of new faces, prepared as the images of the study."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from PIL import Image

from traitlens.columns import CUE, GROUP, IMAGE, PREDICTED, READOUT, REGION, RELEVANCE, TRAIT, X, Y
from traitlens.faces.cropping import Crop, prepare_image
from traitlens.faces.detection import detect_all
from traitlens.faces.images import BACKGROUND, load_image
from traitlens.faces.landmarks import find_landmarks
from traitlens.features.backbone import Backbone, load_backbone
from traitlens.naming import file_names
from traitlens.problems import ModelError, Problem, TraitlensError, naming_file
from traitlens.readouts.hub import find_models
from traitlens.readouts.readout import LinearReadout, Readout
from traitlens.readouts.trait_models import TraitModels
from traitlens.relevance.attribution import Explainer
from traitlens.relevance.regional_maps import RegionalExplainer
from traitlens.report.colouring import colour, lay_over, smooth, symmetric_limit
from traitlens.storage import atomic_write
from traitlens.study.reading import IMAGE_SUFFIXES

LARGEST = 2048
"""Maximum side of a prepared image in pixels."""


def load_models(
    name: str | Path, weights: Path | None = None, announce: Callable[[str], None] = lambda text: None
) -> tuple[TraitModels, Backbone]:
    """Load readouts and their network, with the preprocessing of the fit.

    Parameters
    ----------
    name : str or Path
        `results/models` of a run, or `hf://owner/name` for a model on the Hugging Face hub.
    weights : Path or None
        A file with the network's weights; found or downloaded if None.
    announce : callable
        Called with a line of text before anything slow.

    Returns
    -------
    models : TraitModels
        The readouts, which have been checked.
    backbone : Backbone
        The network, with the preprocessing that is stored with the readouts.

    Raises
    ------
    TraitlensError
        If either cannot be loaded.
    """
    models = TraitModels.load(find_models(name, announce))
    backbone = load_backbone(models.backbone_name, weights, announce)
    return models, replace(backbone, preprocessing=models.preprocessing)


def list_faces(paths: Sequence[Path]) -> list[Path]:
    """List image files, and those of folders at any depth.

    Parameters
    ----------
    paths : sequence of Path
        Files, and folders whose images are meant.

    Returns
    -------
    list of Path
        The files; those of a folder sorted by name, without hidden ones.

    Raises
    ------
    TraitlensError
        With every folder without an image.
    """
    files: list[Path] = []
    problems = []
    for path in paths:
        found = [
            file
            for file in sorted(path.rglob("*"))
            if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file() and not file.name.startswith(".")
        ]
        if path.is_dir() and not found:
            problems.append(Problem("holds no image", "name JPEG, PNG, TIFF or WebP files", str(path)))
        files += found if path.is_dir() else [path]
    if problems:
        raise TraitlensError(problems)
    return files


def find_several_faces(path: Path, models: TraitModels) -> list[np.ndarray]:
    """Return the faces of an image file as squares to choose from, if there are several.

    Parameters
    ----------
    path : Path
        An image file.
    models : TraitModels
        The models; if they use whole images (crop "full"), there is nothing to choose.

    Returns
    -------
    list of ndarray of uint8 (y, x, colour)
        Upright squares around each face, the largest central one first; empty if there is one or none.
    """
    if _crop_of(models).name == "full":
        return []
    pixels = load_image(path)
    found = detect_all(pixels)
    if len(found) < 2:
        return []
    squares = []
    for one in found:
        assert one.points is not None
        low, high = np.nanmin(one.points, 0), np.nanmax(one.points, 0)
        centre, half = (low + high) / 2, 0.7 * float((high - low).max())
        x0, y0 = np.maximum(np.round(centre - half), 0).astype(int)
        x1, y1 = np.round(centre + half).astype(int)
        squares.append(pixels[y0:y1, x0:x1])
    return squares


def prepare_new_face(path: Path, models: TraitModels, face: int = 0) -> np.ndarray:
    """Prepare an image file as the images that the models were fitted on.

    Parameters
    ----------
    path : Path
        A JPEG, PNG, TIFF or WebP file.
    models : TraitModels
        The models, whose `prepared` has crop and size.
    face : int, default 0
        Which of several faces, as :func:`find_several_faces` lists them.

    Returns
    -------
    ndarray of uint8 (y, x, colour)
        The prepared image.

    Raises
    ------
    TraitlensError
        If the file is not a usable image, or has no face although the crop needs one.
    """
    return prepare_with_landmarks(path, models, face)[0]


def prepare_with_landmarks(
    path: Path, models: TraitModels, face: int = 0
) -> tuple[np.ndarray, np.ndarray | None]:
    """Prepare an image file, and find its landmarks if the models need them.

    Parameters
    ----------
    path : Path
        A JPEG, PNG, TIFF or WebP file.
    models : TraitModels
        The models, whose `prepared` has crop and size.
    face : int, default 0
        Which of several faces, as :func:`find_several_faces` lists them.

    Returns
    -------
    pixels : ndarray of uint8 (y, x, colour)
        The prepared image.
    points : ndarray (478, 2) or None
        Landmarks in pixels of the square; None where neither crop nor readouts need them.

    Raises
    ------
    TraitlensError
        If the file is not a usable image, or has no face although one is needed.
    """
    crop, size = _crop_of(models), int(models.prepared["size"])
    pixels = load_image(path, crop.background or BACKGROUND)
    points = None
    if crop.name != "full" or models.reads_regions:
        found = find_landmarks({path.name: path})
        points = detect_all(pixels)[face].points if face else found.points(path.name)
        if points is None:
            raise TraitlensError(found.notices or Problem("no face was found", "", path.name))
    with naming_file(str(path)):
        prepared = prepare_image(pixels, size, crop, points)
    return prepared.pixels, None if points is None else prepared.frame.map_points(points)


def _crop_of(models: TraitModels) -> Crop:
    """Return the crop of a model, whose settings of image preparation are checked."""
    size = models.prepared.get("size")
    try:
        crop = Crop.from_json(models.prepared)
    except (KeyError, TypeError, ValueError, TraitlensError):
        crop = None
    if crop is None or not isinstance(size, int) or not 32 <= size <= LARGEST:
        raise ModelError("the model lacks the settings of image preparation; fit it again")
    return crop


def predict_new_faces(
    models: TraitModels,
    backbone: Backbone,
    paths: Mapping[str, Path],
    progress: Callable[[int], None] | None = None,
) -> pd.DataFrame:
    """Predict the impressions that each group of raters would form of new faces.

    Parameters
    ----------
    paths : mapping of str to Path
        Image files by name.
    progress : callable or None
        Called with 1 after each image.

    Returns
    -------
    DataFrame
        image, group, trait, predicted (rating units; mean over folds). If the readouts read regions, with a
        column for the cue of each region.

    Raises
    ------
    TraitlensError
        With every file that cannot be used, or if the backbone is another one.

    Examples
    --------
    >>> models = TraitModels.load("results/models")  # doctest: +SKIP
    >>> predict_new_faces(models, load_backbone("vgg16"), {"a": Path("a.jpg")})  # doctest: +SKIP
    """
    tables: list[pd.DataFrame] = []
    problems: list[Problem] = []
    for name, path in paths.items():
        try:
            pixels, points = prepare_with_landmarks(path, models)
        except TraitlensError as error:
            problems += error.problems
            continue
        if models.reads_regions and points is not None:
            tables.append(_tabulate_cues(models, models.cues(backbone, [pixels], [points], [name], progress)))
        else:
            tables.append(models.predict(backbone, [pixels], [name], progress))
    if problems:
        raise TraitlensError(problems)
    return pd.concat(tables, ignore_index=True)


def _tabulate_cues(models: TraitModels, cues: pd.DataFrame) -> pd.DataFrame:
    """Return cues with a column for each region, beside the prediction that they sum to."""
    wide = cues.pivot_table(CUE, [IMAGE, GROUP, TRAIT], REGION, sort=False)
    means = pd.DataFrame(
        [(one.group, one.trait, one.mean) for one in models.readouts], columns=[GROUP, TRAIT, PREDICTED]
    )
    mean = means.groupby([GROUP, TRAIT])[PREDICTED].mean()
    own = mean.reindex(pd.MultiIndex.from_frame(wide.index.to_frame()[[GROUP, TRAIT]])).to_numpy()
    table = wide.rename(columns={"": "whole face"}).reset_index()
    table.insert(3, PREDICTED, wide.sum(axis=1).to_numpy() + own)
    return table.rename_axis(columns=None)


def explain_face(
    backbone: Backbone,
    readouts: Sequence[Readout],
    models: TraitModels,
    pixels: np.ndarray,
    method: str,
    points: np.ndarray | None = None,
) -> xr.DataArray:
    """Explain the predictions of one face, averaged over each group's readouts.

    Predictions and maps are averaged over folds, so that maps sum to the averaged prediction.

    Parameters
    ----------
    backbone : Backbone
        The network that the readouts read.
    readouts : sequence of Readout
        Readouts of one trait: those of all folds for a new face, those of its fold for a face of the study.
    models : TraitModels
        Their model.
    pixels : ndarray of uint8 (y, x, colour)
        The prepared face.
    method : str
        Name of the relevance method; regions have their own method (see
        :mod:`traitlens.relevance.regional_maps`).
    points : ndarray (478, 2) or None
        Landmarks in pixels of the prepared face; needed where readouts read regions.

    Returns
    -------
    DataArray (group, y, x)
        Relevance in rating points per pixel; of all regions together where readouts read regions.

    Raises
    ------
    ModelError
        If landmarks are missing.
    """
    if models.reads_regions:
        if models.faces is None or points is None:
            raise ModelError("the readouts read regions of the face, but this face has no landmarks")
        linear = [one for one in readouts if isinstance(one, LinearReadout)]
        explainer = RegionalExplainer(backbone, linear, models.faces, models.views, method)
        explained = explainer.explain(pixels, models.faces.masks(points)).sum(REGION)
    else:
        explained = Explainer(backbone, readouts, method, views=models.views).explain(pixels)
    groups = explained[GROUP].to_numpy()
    maps = explained[RELEVANCE].transpose(READOUT, Y, X).to_numpy()
    names = list(dict.fromkeys(groups))
    return xr.DataArray(
        np.stack([maps[groups == name].mean(0) for name in names]), {GROUP: names}, (GROUP, Y, X), RELEVANCE
    )


def write_new_maps(
    models: TraitModels,
    backbone: Backbone,
    path: Path,
    out: Path,
    method: str,
    progress: Callable[[int], None] = lambda steps: None,
) -> list[Path]:
    """Explain a new face and draw the maps: one picture for each trait and group.

    Parameters
    ----------
    out : Path
        Folder for the pictures, and for `maps.npz` with rating points per pixel.
    progress : callable
        Called with 1 after each trait.

    Returns
    -------
    list of Path
        The files. Pictures of one trait have the same scale, so that groups can be compared.
    """
    pixels, points = prepare_with_landmarks(path, models)
    numbers: dict[str, np.ndarray] = {}
    files = []
    Path(out).mkdir(parents=True, exist_ok=True)
    in_name = dict(zip(models.traits, file_names(models.traits), strict=True))
    for number, trait in enumerate(models.traits):
        readouts = [readout for readout in models.readouts if readout.trait == trait]
        exact = explain_face(backbone, readouts, models, pixels, method, points)
        maps = smooth(exact.to_numpy())
        limit = symmetric_limit(maps)
        groups = [str(group) for group in exact[GROUP].to_numpy()]
        for place, (group, name) in enumerate(zip(groups, file_names(groups), strict=True)):
            numbers[f"{trait}, {group}"] = exact[place].to_numpy()
            files.append(Path(out) / f"{number + 1:02d}_{in_name[trait]}_{name}.png")
            with atomic_write(files[-1]) as temporary:
                Image.fromarray(lay_over(pixels, colour(maps[place], limit))).save(temporary, "PNG")
        progress(1)
    files.append(Path(out) / "maps.npz")
    with atomic_write(files[-1]) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **numbers)  # type: ignore[arg-type]
    return files
