"""Data of the explorer: faces, ratings and maps of a study, and of new faces."""

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

from traitlens.columns import FOLD, GROUP, IMAGE, PREDICTED, RELEVANCE, TRAIT
from traitlens.computing.machine import Machine
from traitlens.digests import digest
from traitlens.explorer.face_view import FaceView, ShownFace
from traitlens.features.backbone import Backbone, load_backbone
from traitlens.prediction.new_faces import explain_face, prepare_new_face
from traitlens.problems import Problem, TraitlensError
from traitlens.readouts.trait_models import TraitModels
from traitlens.relevance.methods import DEFAULT_METHOD, METHODS
from traitlens.report.colouring import smooth, symmetric_limit
from traitlens.report.results import Results, read_results

THUMBNAIL: Final = 128
"""Side of a thumbnail in pixels, twice its size on the page, for high-resolution screens."""
KEPT_MAPS: Final = 64
"""Number of computed maps (by face, trait and method) kept in memory."""
SAMPLED_FACES: Final = 40
"""Number of faces whose maps determine the colour scale of a trait by a percentile of their pixels."""


class ExplorerData:
    """Faces of a results folder, and predictions and maps of new faces.

    Parameters
    ----------
    models : TraitModels or None
        The readouts; without them only stored faces and maps can be shown.
    machine : Machine or None
        Device and precision of the network.

    Examples
    --------
    >>> data = open_explorer_data(Path("mystudy/results"))  # doctest: +SKIP
    >>> face = data.see(Path("photograph.jpg"), "photograph.jpg")  # doctest: +SKIP
    >>> data.nearest(face)  # doctest: +SKIP
    """

    def __init__(self, results: Results, models: TraitModels | None = None, machine: Machine | None = None):
        self.results = results
        self.models = models
        self.machine = machine or Machine()
        self._kept: OrderedDict[str, dict[str, np.ndarray]] = OrderedDict()
        self._limits: dict[str, float] = {}
        self._network = threading.Lock()

    @cached_property
    def images(self) -> list[str]:
        """The study's images."""
        assert self.results.pixels is not None
        return list(map(str, self.results.pixels[IMAGE].values))

    @property
    def own_method(self) -> str | None:
        """The method of the maps in the results."""
        if self.results.maps is None:
            return None
        method = self.results.maps.attrs.get("method") or self.results.setting("relevance", "method")
        return str(method or DEFAULT_METHOD)

    @property
    def methods(self) -> list[str]:
        """The available methods, the study's own first; the others need the readouts."""
        first = [] if self.own_method is None else [self.own_method]
        others = [] if self.models is None else [DEFAULT_METHOD, *METHODS]
        return list(dict.fromkeys([*first, *others]))

    @cached_property
    def backbone(self) -> Backbone:
        """The network, loaded when first needed."""
        assert self.models is not None
        backbone = load_backbone(self.models.backbone_name, self.machine.weights)
        backbone = replace(backbone, preprocessing=self.models.preprocessing)
        return backbone.to(self.machine.device, self.machine.precision)

    def face(self, image: str) -> ShownFace:
        """Return a face of the study.

        Returns
        -------
        ShownFace
            With observed ratings and out-of-fold predictions.
        """
        assert self.results.pixels is not None
        assert self.results.predictions is not None
        table = self.results.predictions
        own = table[table[IMAGE] == image]
        fold = int(own[FOLD].iloc[0]) if len(own) else None
        return ShownFace(image, self.results.pixels.sel({IMAGE: image}).to_numpy(), own, fold)

    def see(self, path: Path, name: str) -> ShownFace:
        """Predict each group's impressions of a new face.

        Parameters
        ----------
        path : Path
            An image file, which may be invalid.

        Returns
        -------
        ShownFace
            The prepared face with the same predictions as `traitlens predict`.

        Raises
        ------
        TraitlensError
            If the file cannot be used, or there are no readouts.
        """
        if self.models is None:
            raise TraitlensError("these results contain no readouts (models); run the study again")
        try:
            pixels = prepare_new_face(path, self.models)
        except TraitlensError as error:
            raise TraitlensError([replace(fault, file=name) for fault in error.problems]) from None
        with self._network:
            return ShownFace(name, pixels, self.models.predict(self.backbone, [pixels], [name]))

    def maps(self, face: ShownFace, trait: str, method: str) -> dict[str, np.ndarray]:
        """Return the maps of a face, from the results if stored, otherwise computed.

        Returns
        -------
        dict of str to ndarray (y, x)
            Relevance in rating points per pixel, by group; groups without a readout are missing.
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
        """Read the maps of a face of the study."""
        assert self.results.maps is not None
        maps = self.results.maps[RELEVANCE]
        if image not in maps[IMAGE].values or trait not in maps[TRAIT].values:
            return {}
        found = maps.sel({IMAGE: image, TRAIT: trait}).load()
        each = {str(group): found.sel({GROUP: group}).to_numpy() for group in found[GROUP].values}
        return {group: values for group, values in each.items() if np.isfinite(values).all()}

    def _compute(self, face: ShownFace, trait: str, method: str) -> dict[str, np.ndarray]:
        """Explain a face by the readouts that did not see it."""
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
        """Return the limit of the colour scale of a trait's maps, the same for all groups.

        Parameters
        ----------
        maps : dict of str to ndarray
            The maps that are shown; they determine the scale if the results hold none of this method.
        """
        stored = None if self.results.maps is None else self.results.maps[RELEVANCE]
        if stored is None or method != self.own_method or trait not in stored[TRAIT].values:
            return symmetric_limit(*map(smooth, maps.values())) if maps else 1.0
        if trait not in self._limits:
            some = stored[IMAGE].values[:: max(1, stored.sizes[IMAGE] // SAMPLED_FACES)]
            values = np.nan_to_num(stored.sel({TRAIT: trait, IMAGE: some}).to_numpy())
            self._limits[trait] = symmetric_limit(smooth(values))
        return self._limits[trait]

    def look(self, face: ShownFace, trait: str, method: str) -> FaceView:
        """Return the data that are shown for a face.

        Returns
        -------
        FaceView
            Its maps, and the most similar faces with theirs.
        """
        maps = self.maps(face, trait, method)
        own = self.own_method or ""
        near = [self.face(name) for name in self.nearest(face)]
        near_maps = [self._stored(one.name, trait) if own else {} for one in near]
        return FaceView(
            face, trait, maps, self.limit(trait, method, maps), list(zip(near, near_maps, strict=True)),
            self.limit(trait, own, {}),
        )  # fmt: skip

    @cached_property
    def _profiles(self) -> pd.DataFrame:
        """Return the predicted impressions of the study's faces: (face, group and trait)."""
        assert self.results.predictions is not None
        return self.results.predictions.pivot_table(index=IMAGE, columns=[GROUP, TRAIT], values=PREDICTED)

    def nearest(self, face: ShownFace, count: int = 4) -> list[str]:
        """Return the faces of the study with the most similar predicted impressions.

        Parameters
        ----------
        count : int, default 4
            Maximum number of faces.

        Returns
        -------
        list of str
            Names of images, the nearest first. The distance is the root mean square, over groups and traits,
            of differences in standard deviations of the study's predictions.
        """
        profiles = self._profiles.drop(index=face.name if face.fold is not None else [], errors="ignore")
        own = face.impressions.set_index([GROUP, TRAIT])[PREDICTED].reindex(profiles.columns)
        spread = self._profiles.std(ddof=0).replace(0, np.nan)
        distances = (((profiles - own) / spread) ** 2).mean(axis=1)
        return list(distances.nsmallest(count).index)

    def order(self, trait: str, group: str | None) -> list[str]:
        """Return all faces, from the lowest to the highest predicted rating.

        Parameters
        ----------
        group : str or None
            Group of the predictions; the mean of all groups if None.

        Returns
        -------
        list of str
            Names of images; those without a prediction come last.
        """
        assert self.results.predictions is not None
        table = self.results.predictions
        chosen = table[(table[TRAIT] == trait) & (True if group is None else table[GROUP] == group)]
        means = chosen.groupby(IMAGE)[PREDICTED].mean().reindex(self.images)
        return list(means.sort_values(kind="stable").index)

    def thumbnail(self, image: str) -> bytes:
        """Return a small picture of a face of the study, as JPEG."""
        assert self.results.pixels is not None
        picture = Image.fromarray(self.results.pixels.sel({IMAGE: image}).to_numpy())
        picture.thumbnail((THUMBNAIL, THUMBNAIL))
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=85)
        return buffer.getvalue()

    def may_publish(self, face: ShownFace) -> bool:
        """Return whether a face may appear in print.

        Returns
        -------
        bool
            True only where the study says so.
        """
        allowed = self.results.study.get("may_publish", {})
        return face.fold is not None and allowed.get(face.name) is True


def open_explorer_data(folder: Path, machine: Machine | None = None) -> ExplorerData:
    """Open a results folder for the explorer.

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
