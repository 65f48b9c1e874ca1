"""Faces that a study did not hold: prepared as its images were, their impressions predicted and explained."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from traitlens.faces.images import CROPS, load_image, prepare_image
from traitlens.faces.landmarks import find_landmarks
from traitlens.features.backbone import Backbone
from traitlens.problems import ModelError, Problem, TraitlensError
from traitlens.readouts.readout import Readout
from traitlens.readouts.saved import TraitModels
from traitlens.relevance.analyze import Explainer
from traitlens.words import GROUP, READOUT, RELEVANCE, X, Y

LARGEST = 2048
"""Side in pixels beyond which no prepared image is believed to be meant."""


def prepare_new_face(path: Path, models: TraitModels) -> np.ndarray:
    """Prepare an image file as the images that the models were fitted on.

    Parameters
    ----------
    path : Path
        A JPEG, PNG, TIFF or WebP file.
    models : TraitModels
        Their `prepared` says how: crop and size.

    Returns
    -------
    ndarray of uint8 (y, x, colour)
        The square that the network sees.

    Raises
    ------
    TraitlensError
        If the file is no image that can be used, or holds no face where the crop needs one.
    """
    crop, size = models.prepared.get("crop"), models.prepared.get("size")
    if crop not in CROPS or not isinstance(size, int) or not 32 <= size <= LARGEST:
        raise ModelError("the model does not say how its images were prepared; fit it again")
    pixels = load_image(path)
    points = None
    if crop != "full":
        found = find_landmarks({path.name: path})
        points = found.points(path.name)
        if points is None:
            raise TraitlensError(found.notices or Problem("no face was found", "", path.name))
    return prepare_image(pixels, size, crop, points).pixels


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
        The readouts.
    backbone : Backbone
        The network that they read.
    paths : mapping of str to Path
        Image files by what they are called.
    progress : callable or None
        Called with 1 after each image.

    Returns
    -------
    DataFrame
        image, group, trait, predicted (rating units; mean over folds).

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
            prepared = prepare_new_face(path, models)
        except TraitlensError as error:
            problems += error.problems
            continue
        tables.append(models.predict(backbone, [prepared], [name], progress))
    if problems:
        raise TraitlensError(problems)
    return pd.concat(tables, ignore_index=True)


def explain_face(
    backbone: Backbone, readouts: Sequence[Readout], models: TraitModels, pixels: np.ndarray, method: str
) -> xr.DataArray:
    """Explain what carried the predictions of one face, averaged over each group's readouts.

    Predictions are averaged over folds, so maps are too: their sum belongs to the averaged prediction.

    Parameters
    ----------
    backbone : Backbone
        The network that the readouts read.
    readouts : sequence of Readout
        Readouts of one trait: those of all folds for a new face, of the fold that did not see it for a face
        of the study.
    models : TraitModels
        The model that they are of.
    pixels : ndarray of uint8 (y, x, colour)
        The prepared face.
    method : str
        Name of the relevance method.

    Returns
    -------
    DataArray (group, y, x)
        Relevance in rating points per pixel.
    """
    explained = Explainer(backbone, readouts, method, views=models.views).explain(pixels)
    groups = explained[GROUP].to_numpy()
    maps = explained[RELEVANCE].transpose(READOUT, Y, X).to_numpy()
    names = list(dict.fromkeys(groups))
    return xr.DataArray(
        np.stack([maps[groups == name].mean(0) for name in names]), {GROUP: names}, (GROUP, Y, X), RELEVANCE
    )
