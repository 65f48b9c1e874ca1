"""Saved models: folders with the readouts of a study and everything needed to apply them to new images.

::

    model/
      manifest.json         backbone, preprocessing, views, readouts, performance, digests
      readouts.safetensors  arrays of all readouts
      README.md             model card in the format of the Hugging Face hub

Loading runs no code, and checks sizes, names, shapes, types and digests before any number is used.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from traitlens.columns import CUE, GROUP, IMAGE, PREDICTED, REGION, TRAIT
from traitlens.digests import digest_file
from traitlens.features.backbone import Backbone
from traitlens.features.extraction import extract
from traitlens.features.feature_spaces import FeatureSpace
from traitlens.features.preprocessing import Preprocessing
from traitlens.features.region_features import RegionalExtractor, RegionalFaces
from traitlens.features.views import View
from traitlens.problems import ModelError, Problem
from traitlens.readouts.manifest import (
    AVERAGE_FACE,
    CARD,
    FORMAT,
    LARGEST_RATING,
    MANIFEST,
    TENSORS,
    build_faces,
    build_readouts,
    read_manifest,
    read_tensors,
)  # fmt: skip
from traitlens.readouts.model_card import write_card
from traitlens.readouts.readout import Readout, Tail
from traitlens.storage import atomic_write, refuse_other_files


@dataclass(frozen=True, eq=False)
class TraitModels:
    """Readouts with everything needed to apply them to new images.

    Parameters
    ----------
    readouts : tuple of Readout
        Readouts of any groups, traits and folds.
    backbone_name, backbone_digest : str
        Network that the readouts read. Its weights are not part of the model.
    preprocessing : Preprocessing
        Preprocessing of the network's input.
    views : mapping of str to View
        Views of the feature spaces, apart from "image".
    prepared : mapping
        Settings of image preparation (crop, size).
    performance : DataFrame
        Table from :func:`traitlens.readouts.performance.performance`; may be empty.
    backbone_source : str
        Source of the network's weights.
    faces : RegionalFaces or None
        Settings of regional faces, if readouts read regions.

    Examples
    --------
    >>> models = TraitModels.load("results/models")  # doctest: +SKIP
    >>> models.predict(backbone, images)  # doctest: +SKIP
    """

    readouts: tuple[Readout, ...]
    backbone_name: str
    backbone_digest: str
    preprocessing: Preprocessing
    views: Mapping[str, View] = field(default_factory=dict)
    prepared: Mapping[str, Any] = field(default_factory=dict)
    performance: pd.DataFrame = field(default_factory=pd.DataFrame)
    backbone_source: str = ""
    faces: RegionalFaces | None = None

    @classmethod
    def of(
        cls,
        readouts: Iterable[Readout],
        backbone: Backbone,
        views: Mapping[str, View] | None = None,
        prepared: Mapping[str, Any] | None = None,
        performance: pd.DataFrame | None = None,
        faces: RegionalFaces | None = None,
    ) -> "TraitModels":
        """Combine readouts and the description of their backbone to a model.

        Parameters
        ----------
        readouts : iterable of Readout
            Readouts, such as :class:`traitlens.readouts.fit_results.FittedReadouts`.
        backbone : Backbone
            Network that the readouts read.
        views : mapping of str to View or None
            Views of the feature spaces.
        prepared : mapping or None
            Settings of image preparation.
        performance : DataFrame or None
            Performance of the readouts.
        faces : RegionalFaces or None
            Settings of regional faces; needed if readouts read regions.

        Returns
        -------
        TraitModels
            The model.
        """
        table = pd.DataFrame() if performance is None else performance
        return cls(
            tuple(readouts), backbone.name, backbone.digest, backbone.preprocessing, dict(views or {}),
            dict(prepared or {}), table, backbone.source, faces,
        )  # fmt: skip

    @property
    def spaces(self) -> tuple[FeatureSpace, ...]:
        """Feature spaces that the readouts read, each once."""
        return tuple(dict.fromkeys(space for readout in self.readouts for space in readout.spaces))

    @property
    def groups(self) -> tuple[str, ...]:
        """Groups of raters, in order of first appearance."""
        return tuple(dict.fromkeys(readout.group for readout in self.readouts))

    @property
    def traits(self) -> tuple[str, ...]:
        """Traits, in order of first appearance."""
        return tuple(dict.fromkeys(readout.trait for readout in self.readouts))

    def __str__(self) -> str:
        first = f"{len(self.readouts)} readouts on {self.backbone_name}: impressions that raters would form"
        return f"{first}\ngroups: {', '.join(self.groups)}\ntraits: {', '.join(self.traits)}"

    @property
    def reads_regions(self) -> bool:
        """Whether a readout reads regions of the face and therefore needs landmarks of new images."""
        return any(space.region for space in self.spaces)

    def features(
        self,
        backbone: Backbone,
        images: Iterable[np.ndarray],
        progress: Callable[[int], None] | None = None,
        points: Iterable[np.ndarray] | None = None,
    ) -> dict[FeatureSpace, np.ndarray]:
        """Compute the features of images that the readouts read.

        Parameters
        ----------
        backbone : Backbone
            Network with the weights and preprocessing with which the readouts were fitted.
        images : iterable of ndarray
            Prepared images, uint8 RGB (row, column, 3).
        progress : callable or None
            Called with 1 after each image.
        points : iterable of ndarray or None
            Landmarks of each image in pixels of the prepared image, of shape (478, 2); needed if readouts
            read regions.

        Returns
        -------
        dict of FeatureSpace to ndarray
            Transformed features of shape (image, channel, row, column).

        Raises
        ------
        ModelError
            If the backbone is another one, or landmarks are missing.
        """
        if (backbone.digest, backbone.preprocessing) != (self.backbone_digest, self.preprocessing):
            raise ModelError(
                Problem(
                    f"the readouts were fitted on {self.backbone_name} ({self.backbone_digest[:12]}), not on "
                    f"{backbone.name} ({backbone.digest[:12]}) as loaded here",
                    "load the backbone of the model",
                )
            )
        for space in self.spaces:
            if space.tap.layer not in backbone.shapes:
                what = f"the readouts read the layer {space.tap.layer}, which {backbone.name} does not have"
                raise ModelError(Problem(what, "fit the readouts again"))
        blocks = []
        for features in self._features(backbone, images, points):
            blocks.append(features)
            if progress is not None:
                progress(1)
        return {space: np.stack([block[space] for block in blocks]) for space in self.spaces}

    def _features(
        self, backbone: Backbone, images: Iterable[np.ndarray], points: Iterable[np.ndarray] | None
    ) -> Iterator[dict[FeatureSpace, np.ndarray]]:
        """Yield the features of each image, arrays of shape (channel, row, column)."""
        if not self.reads_regions:
            for image in images:
                found = extract(backbone, self.spaces, np.asarray(image)[None], self.views)
                yield {space: values[0] for space, values in found.items()}
            return
        if self.faces is None or points is None:
            what = "the readouts read regions of the face, but there are no landmarks"
            raise ModelError(Problem(what, "pass the landmarks of the images"))
        extractor = RegionalExtractor(backbone, self.spaces, self.faces, self.views)
        for image, mesh in zip(images, points, strict=True):
            yield extractor.extract(np.asarray(image), self.faces.masks(mesh))

    def predict(
        self,
        backbone: Backbone,
        images: Iterable[np.ndarray],
        names: Sequence[str] | None = None,
        progress: Callable[[int], None] | None = None,
        points: Iterable[np.ndarray] | None = None,
    ) -> pd.DataFrame:
        """Predict the impressions that each group of raters would form of new images.

        Parameters
        ----------
        backbone : Backbone
            Network that the readouts read.
        images : iterable of ndarray
            Prepared images, uint8 RGB (row, column, 3).
        names : sequence of str or None
            Names of the images; if None, their numbers.
        progress : callable or None
            Called with 1 after each image.
        points : iterable of ndarray or None
            Landmarks of each image in pixels of the prepared image, of shape (478, 2); needed if readouts
            read regions.

        Returns
        -------
        DataFrame
            image, group, trait, predicted (rating units; mean over folds).

        Raises
        ------
        ModelError
            If the backbone is another one, landmarks are missing, a readout does not match the backbone, or a
            prediction is NaN.
        """
        labels, images = _name_images(images, names)
        features = self.features(backbone, images, progress, points)
        return self._mean_over_folds(
            {IMAGE: labels, GROUP: one.group, TRAIT: one.trait, PREDICTED: _predict_checked(one, features)}
            for one in self.readouts
        )

    def cues(
        self,
        backbone: Backbone,
        images: Iterable[np.ndarray],
        points: Iterable[np.ndarray],
        names: Sequence[str] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> pd.DataFrame:
        """Compute the cues of new faces: the contribution of each region to the predictions.

        Parameters
        ----------
        backbone : Backbone
            Network that the readouts read.
        images : iterable of ndarray
            Prepared images, uint8 RGB (row, column, 3).
        points : iterable of ndarray
            Landmarks of each image in pixels of the prepared image, of shape (478, 2).
        names : sequence of str or None
            Names of the images; if None, their numbers.
        progress : callable or None
            Called with 1 after each image.

        Returns
        -------
        DataFrame
            image, group, trait, region, cue (rating points; mean over folds). The prediction of a face is the
            sum of its cues plus the mean rating of the readouts.

        Raises
        ------
        ModelError
            If the backbone is another one, or the readouts read no regions.
        """
        linear = [readout for readout in self.readouts if readout.is_linear]
        if not self.reads_regions:
            advice = "use a model of regional readouts, see traitlens.readouts.fit_regional"
            raise ModelError(Problem("the readouts read the whole face, not regions", advice))
        labels, images = _name_images(images, names)
        features = self.features(backbone, images, progress, points)
        tables = []
        for readout in linear:
            parts: dict[str, np.ndarray] = {}
            for space, values in readout.contributions(features).items():
                parts[space.region] = parts.get(space.region, 0) + values
            named = {IMAGE: labels, GROUP: readout.group, TRAIT: readout.trait}
            tables += [{**named, REGION: region, CUE: values} for region, values in parts.items()]
        return self._mean_over_folds(tables)

    def _mean_over_folds(self, tables: Iterable[dict[str, Any]]) -> pd.DataFrame:
        """Stack tables, and average their last column over folds."""
        table = pd.concat(pd.DataFrame(one) for one in tables)
        *keys, value = table.columns
        order = [GROUP, TRAIT, IMAGE, *keys[3:]]
        means = table.groupby(order, sort=False, observed=True)[value].mean().reset_index()
        return means[[*keys, value]]

    def save(self, folder: Path) -> None:
        """Save the model to a folder, atomically.

        Parameters
        ----------
        folder : Path
            Folder to write; an existing model is replaced.

        Raises
        ------
        TraitlensError
            If the folder contains files that are not part of a model.
        """
        from safetensors.numpy import save_file

        from traitlens import __version__

        spaces, tails = self.spaces, _distinct_tails(self.readouts)
        refuse_other_files(Path(folder), (TENSORS, MANIFEST, CARD))
        with atomic_write(Path(folder)) as temporary:
            temporary.mkdir()
            tensors = _named_arrays(self.readouts)
            if self.faces is not None:
                tensors[AVERAGE_FACE] = self.faces.average.astype(np.float32)
            save_file(tensors, temporary / TENSORS, metadata={"format": "np"})
            manifest = {
                "format": FORMAT,
                "made_with": f"traitlens {__version__}",
                "backbone": {
                    "name": self.backbone_name,
                    "digest": self.backbone_digest,
                    "source": self.backbone_source,
                },
                "preprocessing": self.preprocessing.as_dict(),
                "prepared": dict(self.prepared),
                "views": [asdict(view) for view in self.views.values()],
                "spaces": [
                    {
                        "layer": space.tap.layer,
                        "grid": space.tap.grid,
                        "view": space.view,
                        "transform": space.transform,
                        "mirror": space.mirror,
                        "region": space.region,
                    }
                    for space in spaces
                ],
                "regions": None
                if self.faces is None
                else {"polygons": dict(self.faces.polygons), "join_sides": self.faces.join_sides},
                "readouts": [
                    {
                        "kind": readout.kind,
                        "group": readout.group,
                        "trait": readout.trait,
                        "fold": readout.fold,
                        "mean": readout.mean,
                        "spaces": [spaces.index(space) for space in readout.spaces],
                        "tail": None if readout.tail is None else tails.index(readout.tail),
                    }
                    for readout in self.readouts
                ],
                "tails": [{"layers": tail.layers} for tail in tails],
                "performance": _json_rows(self.performance),
                "tensors": digest_file(temporary / TENSORS),
            }
            text = json.dumps(manifest, indent=1, ensure_ascii=False, allow_nan=False)
            (temporary / MANIFEST).write_text(text, encoding="utf-8")
            (temporary / CARD).write_text(write_card(self), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "TraitModels":
        """Load a model from a folder. All files are checked, and no code is run.

        Parameters
        ----------
        folder : Path
            Folder written by :meth:`save` or downloaded by :func:`~traitlens.readouts.hub.fetch`.

        Returns
        -------
        TraitModels
            The model. Its predictions are identical to those before saving.

        Raises
        ------
        ModelError
            If a file is missing, too large or altered, or an array has a wrong shape or type.
        """
        folder = Path(folder)
        manifest = read_manifest(folder)
        tensors = read_tensors(folder, manifest)
        readouts = build_readouts(manifest, tensors)
        return cls(
            readouts,
            manifest.backbone.name,
            manifest.backbone.digest,
            Preprocessing(**manifest.preprocessing.model_dump()),
            {view.name: View(view.name, view.box, view.size) for view in manifest.views},
            manifest.prepared.model_dump(exclude_unset=True),
            pd.DataFrame(manifest.performance),
            manifest.backbone.source,
            build_faces(manifest, tensors),
        )


def _predict_checked(readout: Readout, features: Mapping[FeatureSpace, np.ndarray]) -> np.ndarray:
    """Predict ratings by a readout; raise an error if its arrays do not fit or its predictions are absurd."""
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            predicted = readout.predict(features)
    except (ValueError, RuntimeError, IndexError) as error:  # The shapes of arrays do not match.
        what = f"the readout of trait {readout.trait!r} does not match the features of the network"
        raise ModelError(Problem(what, "download the model again from a source that you trust")) from error
    if not (np.abs(predicted) <= LARGEST_RATING).all():
        what = f"the readout of trait {readout.trait!r} predicts a value that cannot be a rating"
        raise ModelError(Problem(what, "download the model again from a source that you trust"))
    return predicted


def _name_images(
    images: Iterable[np.ndarray], names: Sequence[str] | None
) -> tuple[list[str], Iterable[np.ndarray]]:
    """Return the names of images (by default their numbers) and the images."""
    if names is not None:
        return list(names), images
    images = list(images)
    return [str(place) for place in range(len(images))], images


def _distinct_tails(readouts: Iterable[Readout]) -> list[Tail]:
    """Return the fine-tuned layers of all readouts, each once."""
    return list(dict.fromkeys(readout.tail for readout in readouts if readout.tail is not None))


def _json_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Convert a table to a list of rows for JSON, in which missing numbers are None."""
    return [
        {
            str(name): None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in row.items()
        }
        for row in json.loads(table.to_json(orient="records", double_precision=12))
    ]


def _named_arrays(readouts: Sequence[Readout]) -> dict[str, np.ndarray]:
    """Return the arrays of all readouts and fine-tuned layers by their names in the file."""
    tensors = {}
    for number, readout in enumerate(readouts):
        for name, values in readout.tensors().items():
            tensors[f"{number:05d}.{name}"] = np.ascontiguousarray(values, np.float32)
    for number, tail in enumerate(_distinct_tails(readouts)):
        for name, values in tail.tensors.items():
            tensors[f"tail{number}.{name}"] = np.ascontiguousarray(values, np.float32)
    return tensors
