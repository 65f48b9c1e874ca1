"""Models to keep and share: a folder with safetensors, a JSON manifest and a model card; no code, no pickle.

::

    model/
      manifest.json         what it is: backbone, preprocessing, views, readouts, performance, digests
      readouts.safetensors  the arrays of every readout
      README.md             the model card, in the form of the Hugging Face hub

Loading believes nothing: sizes, names, shapes, types and digests are checked before a number is used.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from traitlens.digests import digest_file
from traitlens.features.backbone import Backbone
from traitlens.features.extraction import extract
from traitlens.features.preprocessing import Preprocessing
from traitlens.features.spaces import FeatureSpace
from traitlens.features.views import View
from traitlens.keeping import refuse_other_files, write_whole
from traitlens.problems import ModelError, Problem
from traitlens.readouts.card import write_card
from traitlens.readouts.manifest import (
    CARD,
    FORMAT,
    MANIFEST,
    TENSORS,
    build_readouts,
    read_manifest,
    read_tensors,
)  # fmt: skip
from traitlens.readouts.readout import Readout, Tail
from traitlens.words import GROUP, IMAGE, PREDICTED, TRAIT


@dataclass(frozen=True, eq=False)
class TraitModels:
    """Readouts with everything that is needed to use them on new images.

    Parameters
    ----------
    readouts : tuple of Readout
        Of any groups, traits and folds.
    backbone_name, backbone_digest : str
        The network whose activations they read; its weights are not part of the model.
    preprocessing : Preprocessing
        How pixels become the network's input.
    views : mapping of str to View
        The crops that feature spaces name, apart from "image".
    prepared : mapping
        How images were prepared (crop, size); plain values.
    performance : DataFrame
        As :func:`traitlens.readouts.performance.performance` returns it; may be empty.
    backbone_source : str
        Where the network's weights came from.

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

    @classmethod
    def of(
        cls,
        readouts: Iterable[Readout],
        backbone: Backbone,
        views: Mapping[str, View] | None = None,
        prepared: Mapping[str, Any] | None = None,
        performance: pd.DataFrame | None = None,
    ) -> "TraitModels":
        """Put readouts together with the backbone that they read.

        Parameters
        ----------
        readouts : iterable of Readout
            For example :class:`traitlens.readouts.fitted.FittedReadouts`.
        backbone : Backbone
            The network.
        views : mapping of str to View or None
            The crops that the feature spaces name.
        prepared : mapping or None
            How images were prepared; plain values.
        performance : DataFrame or None
            How well the readouts predict.

        Returns
        -------
        TraitModels
            The model.
        """
        table = pd.DataFrame() if performance is None else performance
        return cls(
            tuple(readouts), backbone.name, backbone.digest, backbone.preprocessing, dict(views or {}),
            dict(prepared or {}), table, backbone.source,
        )  # fmt: skip

    @property
    def spaces(self) -> tuple[FeatureSpace, ...]:
        """The feature spaces that the readouts read, each once."""
        return tuple(dict.fromkeys(space for readout in self.readouts for space in readout.spaces))

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups, in order of first appearance."""
        return tuple(dict.fromkeys(readout.group for readout in self.readouts))

    @property
    def traits(self) -> tuple[str, ...]:
        """The traits, in order of first appearance."""
        return tuple(dict.fromkeys(readout.trait for readout in self.readouts))

    def __str__(self) -> str:
        first = f"{len(self.readouts)} readouts on {self.backbone_name}: impressions that raters would form"
        return f"{first}\ngroups: {', '.join(self.groups)}\ntraits: {', '.join(self.traits)}"

    def features(
        self, backbone: Backbone, images: Iterable[np.ndarray], progress: Callable[[int], None] | None = None
    ) -> dict[FeatureSpace, np.ndarray]:
        """Compute what the readouts read.

        Parameters
        ----------
        backbone : Backbone
            The network; its weights and preprocessing must be those that the readouts were fitted on.
        images : iterable of ndarray
            Prepared images, uint8 RGB (row, column, 3).
        progress : callable or None
            Called with 1 after each image.

        Returns
        -------
        dict of FeatureSpace to ndarray
            (image, channel, row, column), transformed.

        Raises
        ------
        ModelError
            If the backbone is another one.
        """
        if (backbone.digest, backbone.preprocessing) != (self.backbone_digest, self.preprocessing):
            raise ModelError(
                Problem(
                    f"the readouts were fitted on {self.backbone_name} ({self.backbone_digest[:12]}), not on "
                    f"{backbone.name} ({backbone.digest[:12]}) as it is set up here",
                    "load the backbone that the model names",
                )
            )
        blocks = []
        for image in images:
            blocks.append(extract(backbone, self.spaces, np.asarray(image)[None], self.views))
            if progress is not None:
                progress(1)
        return {space: np.concatenate([block[space] for block in blocks]) for space in self.spaces}

    def predict(
        self,
        backbone: Backbone,
        images: Iterable[np.ndarray],
        names: Sequence[str] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> pd.DataFrame:
        """Predict the impressions that each group of raters would form of new images.

        Parameters
        ----------
        backbone : Backbone
            The network that the readouts read.
        images : iterable of ndarray
            Prepared images, uint8 RGB (row, column, 3).
        names : sequence of str or None
            What to call the images; their numbers where None.
        progress : callable or None
            Called with 1 after each image.

        Returns
        -------
        DataFrame
            image, group, trait, predicted (rating units; mean over folds).

        Raises
        ------
        ModelError
            If the backbone is another one.
        """
        images = list(images)
        labels = [str(place) for place in range(len(images))] if names is None else list(names)
        features = self.features(backbone, images, progress)
        tables = [
            pd.DataFrame(
                {
                    IMAGE: labels,
                    GROUP: readout.group,
                    TRAIT: readout.trait,
                    PREDICTED: readout.predict(features),
                }
            )
            for readout in self.readouts
        ]
        keys = [GROUP, TRAIT, IMAGE]
        means = pd.concat(tables).groupby(keys, sort=False, observed=True)[PREDICTED].mean().reset_index()
        return means[[IMAGE, GROUP, TRAIT, PREDICTED]]

    def save(self, folder: Path) -> None:
        """Write the model as a folder, whole or not at all.

        Parameters
        ----------
        folder : Path
            Where; a model that was there is replaced.

        Raises
        ------
        TraitlensError
            If the folder holds anything but a model.
        """
        from safetensors.numpy import save_file

        from traitlens import __version__

        spaces, tails = self.spaces, _tails(self.readouts)
        refuse_other_files(Path(folder), (TENSORS, MANIFEST, CARD))
        with write_whole(Path(folder)) as temporary:
            temporary.mkdir()
            save_file(_tensors(self.readouts), temporary / TENSORS, metadata={"format": "np"})
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
                    }
                    for space in spaces
                ],
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
                "performance": _rows(self.performance),
                "tensors": digest_file(temporary / TENSORS),
            }
            text = json.dumps(manifest, indent=1, ensure_ascii=False, allow_nan=False)
            (temporary / MANIFEST).write_text(text, encoding="utf-8")
            (temporary / CARD).write_text(write_card(self), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "TraitModels":
        """Read a model, checking everything and running nothing.

        Parameters
        ----------
        folder : Path
            What :meth:`save` wrote, or :func:`~traitlens.readouts.hub.fetch` fetched from the hub.

        Returns
        -------
        TraitModels
            The model; it predicts the same to the bit as before it was saved.

        Raises
        ------
        ModelError
            If anything is missing, too large, of the wrong shape or type, or altered.
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
            manifest.prepared,
            pd.DataFrame(manifest.performance),
            manifest.backbone.source,
        )


def _tails(readouts: Iterable[Readout]) -> list[Tail]:
    """List the layers that were trained, each once."""
    return list(dict.fromkeys(readout.tail for readout in readouts if readout.tail is not None))


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Turn a table into plain values; missing numbers become null."""
    return [
        {
            str(name): None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in row.items()
        }
        for row in json.loads(table.to_json(orient="records", double_precision=12))
    ]


def _tensors(readouts: Sequence[Readout]) -> dict[str, np.ndarray]:
    """Name every array of every readout."""
    tensors = {}
    for number, readout in enumerate(readouts):
        for name, values in readout.tensors().items():
            tensors[f"{number:05d}.{name}"] = np.ascontiguousarray(values, np.float32)
    for number, tail in enumerate(_tails(readouts)):
        for name, values in tail.tensors.items():
            tensors[f"tail{number}.{name}"] = np.ascontiguousarray(values, np.float32)
    return tensors
