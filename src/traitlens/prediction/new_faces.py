"""Predict and explain impressions of new faces, after preparing their images as in the study."""

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

MAXIMUM_SIDE = 2048
"""Maximum side of a prepared image in pixels."""


def load_models(
    name: str | Path, weights: Path | None = None, announce: Callable[[str], None] = lambda text: None
) -> tuple[TraitModels, Backbone]:
    """Load the readouts of a model and their network, with the preprocessing used when they were fitted.

    Parameters
    ----------
    name : str or Path
        Folder `results/models` of a run, or `hf://owner/name` for a model on the Hugging Face hub.
    weights : Path or None
        File with the weights of the network; found or downloaded if None.
    announce : callable
        Called with a line of text before a slow step.

    Returns
    -------
    models : TraitModels
        The readouts, whose files have been checked.
    backbone : Backbone
        The network.

    Raises
    ------
    TraitlensError
        If the readouts or the network cannot be loaded.
    """
    models = TraitModels.load(find_models(name, announce))
    backbone = load_backbone(models.backbone_name, weights, announce)
    return models, replace(backbone, preprocessing=models.preprocessing)


def list_faces(paths: Sequence[Path]) -> list[Path]:
    """List image files, including those in folders and their subfolders.

    Parameters
    ----------
    paths : sequence of Path
        Files and folders.

    Returns
    -------
    list of Path
        The files. Those of a folder are sorted by name; hidden files are left out.

    Raises
    ------
    TraitlensError
        If folders contain no image; lists all of them.
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
            problems.append(Problem("contains no image", "name JPEG, PNG, TIFF or WebP files", str(path)))
        files += found if path.is_dir() else [path]
    if problems:
        raise TraitlensError(problems)
    return files


def find_several_faces(path: Path, models: TraitModels) -> list[np.ndarray]:
    """Find the faces in an image with several faces, of which the user can choose one.

    Parameters
    ----------
    path : Path
        An image file.
    models : TraitModels
        The models. If they use whole images (crop "full"), no faces are searched for.

    Returns
    -------
    list of ndarray of uint8 (y, x, colour)
        Square around each face, large and central faces first; empty if there are fewer than two faces.
    """
    if _read_crop(models).name == "full":
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
    """Crop and scale an image file in the same way as the images that the models were fitted to.

    Parameters
    ----------
    path : Path
        A JPEG, PNG, TIFF or WebP file.
    models : TraitModels
        The models, which contain the settings of image preparation.
    face : int, default 0
        Index in the list of :func:`find_several_faces`, if there are several faces.

    Returns
    -------
    ndarray of uint8 (y, x, colour)
        The prepared image.

    Raises
    ------
    TraitlensError
        If the file is not a usable image, or if no face is found and the models need one.
    """
    return prepare_with_landmarks(path, models, face)[0]


def prepare_with_landmarks(
    path: Path, models: TraitModels, face: int = 0
) -> tuple[np.ndarray, np.ndarray | None]:
    """Prepare an image file as :func:`prepare_new_face` does, and return its landmarks, too.

    Returns
    -------
    pixels : ndarray of uint8 (y, x, colour)
        The prepared image.
    points : ndarray (478, 2) or None
        Landmarks in pixels of the prepared image; None if neither the crop nor the readouts need them.

    Raises
    ------
    TraitlensError
        If the file is not a usable image, or if no face is found and the models need one.
    """
    crop, size = _read_crop(models), int(models.prepared["size"])
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


def _read_crop(models: TraitModels) -> Crop:
    """Return the crop of a model, and raise an error if its settings of image preparation are invalid."""
    size = models.prepared.get("size")
    try:
        crop = Crop.from_json(models.prepared)
    except (KeyError, TypeError, ValueError, TraitlensError):
        crop = None
    if crop is None or not isinstance(size, int) or not 32 <= size <= MAXIMUM_SIDE:
        raise ModelError("the model has no valid settings of image preparation; fit it again")
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
    models : TraitModels
        The models.
    backbone : Backbone
        The network with which the models were fitted.
    paths : mapping of str to Path
        Image files by name.
    progress : callable or None
        Called with 1 after each image.

    Returns
    -------
    DataFrame
        Columns image, group, trait and predicted (in rating points, mean over folds); for regional readouts
        also a column for the cue of each region.

    Raises
    ------
    TraitlensError
        If files cannot be used (lists all of them), or if the backbone is not that of the models.

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
    """Return a table with a column for the cue of each region, and the prediction that they sum to."""
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
    """Compute the relevance maps of one face for one trait, averaged over the readouts of each group.

    Parameters
    ----------
    backbone : Backbone
        The network with which the readouts were fitted.
    readouts : sequence of Readout
        Readouts of the trait: of all folds for a new face, of its own fold for a face of the study.
    models : TraitModels
        The models to which the readouts belong.
    pixels : ndarray of uint8 (y, x, colour)
        The prepared face.
    method : str
        Name of the relevance method. Regions are explained as in :mod:`traitlens.relevance.regional_maps`.
    points : ndarray (478, 2) or None
        Landmarks in pixels of the prepared face, which regional readouts need.

    Returns
    -------
    DataArray (group, y, x)
        Relevance in rating points per pixel; for regional readouts the sum over all regions.

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
    """Compute the relevance maps of a new face, and draw an image for each trait and group.

    Parameters
    ----------
    models, backbone : TraitModels, Backbone
        The models, and the network with which they were fitted.
    path : Path
        The image file.
    out : Path
        Folder for the drawn images, and for `maps.npz` with the maps in rating points per pixel.
    method : str
        Name of the relevance method.
    progress : callable
        Called with 1 after each trait.

    Returns
    -------
    list of Path
        The files written. The images of a trait share a colour scale, so that groups can be compared.
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
