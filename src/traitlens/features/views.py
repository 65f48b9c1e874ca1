"""Views: named crops of the prepared image, each enlarged to the size at which the network sees it.

Features of several views are computed once and kept in a folder, one file per image and view, under a digest
of everything that they depend on.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from traitlens.digests import digest
from traitlens.features.backbone import Backbone
from traitlens.features.taps import Tap
from traitlens.keeping import write_whole
from traitlens.problems import unknown_choice


@dataclass(frozen=True)
class View:
    """A crop of the prepared image.

    Parameters
    ----------
    name : str
        What feature spaces call it.
    box : (float, float, float, float)
        Left, top, right and bottom edge, as shares of the prepared image's width and height.
    size : (int, int)
        Width and height in pixels that the crop is resampled to (Lanczos).

    Examples
    --------
    >>> View("left half", (0, 0, 0.5, 1), (2, 4)).crop(np.zeros((8, 8, 3), np.uint8)).shape
    (4, 2, 3)
    """

    name: str
    box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    size: tuple[int, int] = (224, 224)

    def crop(self, image: np.ndarray) -> np.ndarray:
        """Cut the view out of a prepared image.

        Parameters
        ----------
        image : ndarray
            uint8 RGB (row, column, 3).

        Returns
        -------
        ndarray
            uint8 RGB (row, column, 3) of the view's size.
        """
        from PIL import Image

        height, width = image.shape[:2]
        left, top, right, bottom = self.box
        if self.box == (0.0, 0.0, 1.0, 1.0) and self.size == (width, height):
            return image
        # The crop comes first, so that the edge does not mix with pixels that the view does not show.
        edges = (round(left * width), round(top * height), round(right * width), round(bottom * height))
        cut = Image.fromarray(image).crop(edges)
        return np.asarray(cut.resize(self.size, Image.Resampling.LANCZOS))

    def grid(self, rows: int) -> tuple[int, int]:
        """Divide the view into cells that are about as wide as high.

        Parameters
        ----------
        rows : int
            Number of rows.

        Returns
        -------
        (int, int)
            Rows and columns.

        Examples
        --------
        >>> View("eyes", size=(448, 224)).grid(7)
        (7, 14)
        """
        width, height = self.size
        return rows, max(1, round(rows * width / height))


WHOLE = "image"
"""Name of the view that is the prepared image itself."""

FACE_VIEWS: dict[str, View] = {
    "face": View("face", (160 / 1024, 200 / 1024, 864 / 1024, 904 / 1024), (448, 448)),
    "full": View("full", (0.0, 0.0, 1.0, 1.0), (336, 336)),
    "eyes": View("eyes", (224 / 1024, 340 / 1024, 800 / 1024, 628 / 1024), (448, 224)),
}
"""Views for portraits aligned as in the FFHQ data set, where they were found to predict best together."""


def compute_views(
    backbone: Backbone,
    images: Iterable[np.ndarray],
    taps: Mapping[str, Sequence[Tap]],
    views: Mapping[str, View],
    mirror: bool = False,
    folder: Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> dict[tuple[str, Tap], np.ndarray]:
    """Compute the averaged activations of several views of each image, or read them where they were kept.

    Parameters
    ----------
    backbone : Backbone
        The frozen network.
    images : iterable of ndarray
        Prepared images, uint8 RGB (row, column, 3), one at a time.
    taps : mapping of str to sequence of Tap
        What to read from each view.
    views : mapping of str to View
        The views by name; "image", the prepared image itself, need not be among them.
    mirror : bool, default False
        Whether to average each view with its mirror image.
    folder : Path or None
        Where to keep them; nothing is kept where None.
    progress : callable or None
        Called with 1 after each image.

    Returns
    -------
    dict of (str, Tap) to ndarray
        float32 (image, channel, row, column) by view and tap, not yet transformed.

    Raises
    ------
    TraitlensError
        If a view is not known.
    """
    for name in taps:
        if name not in views and name != WHOLE:
            raise unknown_choice("view", name, [WHOLE, *views])
    kept: dict[tuple[str, Tap], list[np.ndarray]] = defaultdict(list)
    for image in images:
        for name, read in taps.items():
            values = _read_or_compute(backbone, views.get(name), image, tuple(read), False, folder)
            if mirror:
                mirrored = _read_or_compute(backbone, views.get(name), image, tuple(read), True, folder)
                values = [(one + other) / 2 for one, other in zip(values, mirrored, strict=True)]
            for tap, value in zip(read, values, strict=True):
                kept[name, tap].append(value)
        if progress is not None:
            progress(1)
    return {key: np.concatenate(values) for key, values in kept.items()}


def _compute(
    backbone: Backbone, view: View | None, image: np.ndarray, taps: tuple[Tap, ...], mirrored: bool
) -> list[np.ndarray]:
    """Run one view of one image through the network: float32 (1, channel, row, column) per tap."""
    crop = (image if view is None else view.crop(image))[None]
    activations = backbone.activations(crop[:, :, ::-1] if mirrored else crop, {tap.layer for tap in taps})
    averages = [tap.average(activations[tap.layer]) for tap in taps]
    return [average.float().cpu().contiguous().numpy() for average in averages]


def _read_or_compute(
    backbone: Backbone,
    view: View | None,
    image: np.ndarray,
    taps: tuple[Tap, ...],
    mirrored: bool,
    folder: Path | None,
) -> list[np.ndarray]:
    """Read one image's view from the folder, or compute and keep it."""
    if folder is None:
        return _compute(backbone, view, image, taps, mirrored)
    from safetensors import SafetensorError
    from safetensors.numpy import load_file, save_file

    names = [str(tap) for tap in taps]
    precision = str(next(layer.weight.dtype for layer in backbone.layers if layer.weight is not None))
    settings = [backbone.digest, backbone.preprocessing, precision, view, names, mirrored]
    file = Path(folder) / f"{digest(settings, image)[:32]}.safetensors"
    try:
        found = load_file(file)
        return [found[name] for name in names]
    except (OSError, KeyError, SafetensorError):  # not there, or damaged: computed again
        values = _compute(backbone, view, image, taps, mirrored)
    with write_whole(file) as temporary:
        save_file(dict(zip(names, values, strict=True)), temporary)
    return values
