"""Data that the explorer shows: faces, ratings and maps of a study, and predictions for new faces."""

import io
import threading
from collections import OrderedDict
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from PIL import Image

from traitlens.artifacts import FEATURES
from traitlens.columns import FOLD, GROUP, IMAGE, PREDICTED, RELEVANCE, TRAIT
from traitlens.computing.machine import Machine
from traitlens.digests import digest
from traitlens.explorer.face_view import FaceView, ShownFace
from traitlens.explorer.likeness import MOST_FACES, FaceReference, Likeness, make_reference
from traitlens.features.backbone import Backbone, load_backbone
from traitlens.prediction.new_faces import explain_face, find_several_faces, prepare_new_face
from traitlens.problems import Problem, TraitlensError
from traitlens.readouts.trait_models import TraitModels
from traitlens.relevance.methods import DEFAULT_METHOD, METHODS
from traitlens.report.colouring import smooth, symmetric_limit
from traitlens.report.picker import find_color_limit, read_cues
from traitlens.report.results import Results, read_results

THUMBNAIL: Final = 128
"""Side length of a thumbnail in pixels, twice its size on the page, for high-resolution screens."""
KEPT_MAPS: Final = 64
"""Maximum number of cached results of :meth:`ExplorerData.maps`, one for each face, trait and method."""


class ExplorerData:
    """Faces, ratings and maps of a results folder, and predictions and maps of new faces.

    Parameters
    ----------
    results : Results
        The results of a study.
    models : TraitModels or None
        The readouts; only stored faces and maps can be shown if None.
    machine : Machine or None
        Device and precision of the network.

    Examples
    --------
    >>> data = open_explorer_data(Path("mystudy/results"))  # doctest: +SKIP
    >>> face = data.predict_new_face(Path("photograph.jpg"), "photograph.jpg")  # doctest: +SKIP
    >>> data.nearest(face)  # doctest: +SKIP
    """

    def __init__(self, results: Results, models: TraitModels | None = None, machine: Machine | None = None):
        self.results = results
        self.models = models
        self.machine = machine or Machine()
        self._kept: OrderedDict[str, dict[str, np.ndarray]] = OrderedDict()
        self._limits: dict[str, float] = {}
        self._network = threading.Lock()
        self._likeness: dict[str, tuple[ShownFace, Likeness]] = {}

    @cached_property
    def images(self) -> list[str]:
        """Names of the study's images."""
        assert self.results.pixels is not None
        return list(map(str, self.results.pixels[IMAGE].values))

    @property
    def own_method(self) -> str | None:
        """Method of the maps in the results; None if there are no maps."""
        if self.results.maps is None:
            return None
        method = self.results.maps.attrs.get("method") or self.results.setting("relevance", "method")
        return str(method or DEFAULT_METHOD)

    @property
    def methods(self) -> list[str]:
        """Names of the available relevance methods, the method of the results first."""
        first = [] if self.own_method is None else [self.own_method]
        others = [] if self.models is None else [DEFAULT_METHOD, *METHODS]
        return list(dict.fromkeys([*first, *others]))

    @cached_property
    def backbone(self) -> Backbone:
        """The pretrained network, loaded when first needed."""
        assert self.models is not None
        backbone = load_backbone(self.models.backbone_name, self.machine.weights)
        backbone = replace(backbone, preprocessing=self.models.preprocessing)
        return backbone.to(self.machine.device, self.machine.precision)

    def face(self, image: str) -> ShownFace:
        """Return a face of the study with its observed ratings and out-of-fold predictions."""
        assert self.results.pixels is not None
        assert self.results.predictions is not None
        table = self.results.predictions
        own = table[table[IMAGE] == image]
        fold = int(own[FOLD].iloc[0]) if len(own) else None
        return ShownFace(image, self.results.pixels.sel({IMAGE: image}).to_numpy(), own, fold)

    def find_several(self, path: Path, name: str) -> list[np.ndarray]:
        """Return the cut-out faces of an image file that shows several faces; otherwise an empty list.

        Raises
        ------
        TraitlensError
            If the file cannot be read.
        """
        if self.models is None:
            return []
        try:
            return find_several_faces(path, self.models)
        except TraitlensError as error:
            raise TraitlensError([replace(fault, file=name) for fault in error.problems]) from None

    def predict_new_face(self, path: Path, name: str, number: int = 0) -> ShownFace:
        """Predict each group's impressions of a new face.

        Parameters
        ----------
        path : Path
            The uploaded file.
        name : str
            Name of the file on the user's computer, for messages.
        number : int, default 0
            Index of the face among those of :meth:`find_several`.

        Returns
        -------
        ShownFace
            The prepared face with the same predictions as those of `traitlens predict`.

        Raises
        ------
        TraitlensError
            If the file is no image with a face, or there are no readouts.
        """
        if self.models is None:
            raise TraitlensError("these results contain no readouts (models); run the study again")
        try:
            pixels = prepare_new_face(path, self.models, number)
        except TraitlensError as error:
            raise TraitlensError([replace(fault, file=name) for fault in error.problems]) from None
        with self._network:
            return ShownFace(name, pixels, self.models.predict(self.backbone, [pixels], [name]))

    @cached_property
    def cues(self) -> dict[str, pd.DataFrame]:
        """Tables of the cues of the study's faces, keyed by image."""
        return read_cues(self.results)

    def likeness(self, face: ShownFace) -> Likeness | None:
        """Measure how similar a new face is to the study's faces in the features that the readouts use.

        Returns
        -------
        Likeness or None
            None for faces of the study, and for readouts of regions.
        """
        if face.fold is not None or self.models is None or self.models.reads_regions:
            return None
        if face.name not in self._likeness or self._likeness[face.name][0] is not face:
            with self._network:
                (features,) = self._features([face.pixels])
                self._likeness[face.name] = face, self._reference.compare(features)
        return self._likeness[face.name][1]

    def _features(self, pictures: list[np.ndarray]) -> np.ndarray:
        """Return the features that the readouts use, as an array of shape (face, feature)."""
        assert self.models is not None
        found = self.models.features(self.backbone, pictures)
        return np.concatenate([values.reshape(len(pictures), -1) for values in found.values()], axis=1)

    @cached_property
    def _reference(self) -> FaceReference:
        """Features of the study's faces, for comparison with new faces.

        The stored features of the run are used if two faces computed again agree with them.
        """
        pixels = self.results.pixels
        assert pixels is not None
        among = np.unique(np.linspace(0, len(self.images) - 1, min(len(self.images), MOST_FACES)).astype(int))
        identity = self.results.study.get("identity", {})
        names = [str(identity.get(self.images[place], self.images[place])) for place in among]
        ends = [int(among[0]), int(among[-1])]
        check = self._features([pixels[place].to_numpy() for place in ends])
        if FEATURES.of(self.results.folder).exists():
            kept = FEATURES.read(self.results.folder)
            if kept.shape == (len(self.images), check.shape[1]) and np.allclose(
                kept[ends], check, rtol=1e-3, atol=1e-3 * float(np.abs(check).max())
            ):
                return make_reference(kept[among], names)
        return make_reference(self._features([pixels[place].to_numpy() for place in among]), names)

    def maps(self, face: ShownFace, trait: str, method: str) -> dict[str, np.ndarray]:
        """Return each group's map of a face for a trait; maps that the results do not contain are computed.

        Returns
        -------
        dict of str to ndarray (y, x)
            Relevance in rating points per pixel, keyed by group; groups without a readout are missing.
        """
        if face.fold is not None and method == self.own_method:
            return self._stored(face.name, trait)
        key = digest(face.pixels, face.fold, trait, method)
        if key not in self._kept:
            self._kept[key] = self._compute(face, trait, method)
            while len(self._kept) > KEPT_MAPS:
                self._kept.popitem(last=False)
        return self._kept[key]

    def _stored(self, image: str, trait: str) -> dict[str, np.ndarray]:
        """Read each group's map of a face of the study from the results."""
        assert self.results.maps is not None
        maps = self.results.maps[RELEVANCE]
        if image not in maps[IMAGE].values or trait not in maps[TRAIT].values:
            return {}
        found = maps.sel({IMAGE: image, TRAIT: trait}).load()
        each = {str(group): found.sel({GROUP: group}).to_numpy() for group in found[GROUP].values}
        return {group: values for group, values in each.items() if np.isfinite(values).all()}

    def _compute(self, face: ShownFace, trait: str, method: str) -> dict[str, np.ndarray]:
        """Compute each group's map of a face, with the readouts that were not fitted to it."""
        if self.models is None:
            return {}
        readouts = [
            readout
            for readout in self.models.readouts
            if readout.trait == trait and (face.fold is None or readout.fold == face.fold)
        ]
        if not readouts:
            return {}
        with self._network:
            maps = explain_face(self.backbone, readouts, self.models, face.pixels, method)
        return {str(group): maps.sel({GROUP: group}).to_numpy() for group in maps[GROUP].values}

    def limit(self, trait: str, method: str, maps: dict[str, np.ndarray]) -> float:
        """Return the limit of the colour scale of a trait's maps, which is the same for all groups.

        Parameters
        ----------
        maps : dict of str to ndarray
            The maps that are shown; they determine the scale if the results contain no maps of this method.
        """
        stored = None if self.results.maps is None else self.results.maps[RELEVANCE]
        if stored is None or method != self.own_method or trait not in stored[TRAIT].values:
            return symmetric_limit(*map(smooth, maps.values())) if maps else 1.0
        if trait not in self._limits:
            self._limits[trait] = find_color_limit(self.results, trait) or 1.0
        return self._limits[trait]

    def make_view(self, face: ShownFace, trait: str, method: str, insist: bool = False) -> FaceView:
        """Collect everything that the page shows for a face: its maps, and the most similar faces.

        Parameters
        ----------
        insist : bool, default False
            Whether to compute maps even for a new face beyond the range of the study's faces.
        """
        likeness = self.likeness(face)
        beyond = likeness is not None and likeness.beyond and not insist
        maps = {} if beyond else self.maps(face, trait, method)
        own = self.own_method or ""
        near = [self.face(name) for name in self.nearest(face)]
        near_maps = [self._stored(one.name, trait) if own else {} for one in near]
        return FaceView(
            face, trait, maps, self.limit(trait, method, maps), list(zip(near, near_maps, strict=True)),
            self.limit(trait, own, {}), likeness,
        )  # fmt: skip

    @cached_property
    def _profiles(self) -> pd.DataFrame:
        """Predicted ratings of the study's faces, with a row per face and a column per group and trait."""
        assert self.results.predictions is not None
        return self.results.predictions.pivot_table(index=IMAGE, columns=[GROUP, TRAIT], values=PREDICTED)

    def nearest(self, face: ShownFace, count: int = 4) -> list[str]:
        """Return the names of the study's faces with the most similar predicted ratings, nearest first.

        The distance between two faces is the root mean square, over groups and traits, of the differences
        between their predictions, each divided by the standard deviation of the study's predictions.

        Parameters
        ----------
        count : int, default 4
            Maximum number of faces.
        """
        profiles = self._profiles.drop(index=face.name if face.fold is not None else [], errors="ignore")
        own = face.impressions.set_index([GROUP, TRAIT])[PREDICTED].reindex(profiles.columns)
        spread = self._profiles.std(ddof=0).replace(0, np.nan)
        distances = (((profiles - own) / spread) ** 2).mean(axis=1)
        return list(distances.nsmallest(count).index)

    def thumbnail(self, image: str) -> bytes:
        """Return a thumbnail of a face of the study as the content of a JPEG file."""
        assert self.results.pixels is not None
        picture = Image.fromarray(self.results.pixels.sel({IMAGE: image}).to_numpy())
        picture.thumbnail((THUMBNAIL, THUMBNAIL))
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=85)
        return buffer.getvalue()

    def may_publish(self, image: str) -> bool:
        """Return whether the study permits publication of a face."""
        return self.results.study.get("may_publish", {}).get(image) is True


def open_explorer_data(folder: Path, machine: Machine | None = None) -> ExplorerData:
    """Read a results folder and its readouts for the explorer.

    Parameters
    ----------
    folder : Path
        A results folder, or a study folder.
    machine : Machine or None
        Device and precision of the network.

    Raises
    ------
    TraitlensError
        If there are no results, or they are incomplete.
    """
    folder = Path(folder)
    if not (folder / "study.json").exists() and (folder / "results" / "study.json").exists():
        folder = folder / "results"
    results = read_results(folder)
    if results.pixels is None or results.predictions is None:
        raise TraitlensError(
            Problem("contains no prepared images or predictions", "run the study", str(folder))
        )
    models = TraitModels.load(folder / "models") if (folder / "models").exists() else None
    return ExplorerData(results, models, machine)
