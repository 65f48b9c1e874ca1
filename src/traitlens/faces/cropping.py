"""Cropping of photographs to the squares that the network sees."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from PIL import Image

from traitlens.faces.frames import (
    LEFT_PUPIL,
    RIGHT_PUPIL,
    Frame,
    apply_affine,
    invert_affine,
    make_frame,
    to_canonical,
)
from traitlens.faces.images import BACKGROUND, MOST_PIXELS, Colour
from traitlens.problems import Problem, TraitlensError, unknown_choice

CROPS: Final = ("full", "face", "reference")
"""Names of the crops."""
FARTHEST: Final = 100
"""Maximum area of the rectangle around image and crop, relative to the area of the image."""


@dataclass(frozen=True)
class Crop:
    """Kind and settings of a crop.

    Parameters
    ----------
    name : {"full", "face", "reference"}
        "full" keeps the whole image, padded to a square. "face" rotates, scales and shifts it so that pupils
        and mouth are at their canonical positions. "reference" is the crop of Cao et al. 2023
        (`larger30_shiftup15`): the bounding box of the face, made square, enlarged and shifted up.
    larger : float, default 0.3
        Share of its side by which "reference" enlarges the box.
    up : float, default 0.15
        Share of the face's height by which "reference" shifts the box up.
    rotate : bool, default False
        Whether "reference" rotates the image so that the pupils are level.
    background : (int, int, int) or None
        Colour outside the photograph; if None, mid-grey for "full", and repetition of the outermost pixels
        for the other crops.

    Examples
    --------
    >>> Crop.from_json(Crop("reference", larger=0.5).to_json())
    Crop(name='reference', larger=0.5, up=0.15, rotate=False, background=None)
    """

    name: str = "full"
    larger: float = 0.3
    up: float = 0.15
    rotate: bool = False
    background: Colour | None = None

    def __post_init__(self) -> None:
        if self.name not in CROPS:
            raise unknown_choice("crop", self.name, CROPS)

    def to_json(self) -> dict[str, Any]:
        """Convert the crop to a dictionary that can be written as JSON.

        Returns
        -------
        dict
            The attributes by name, with the name of the crop under the key `crop`.
        """
        fields = asdict(self)
        return {"crop": fields.pop("name"), **fields}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Crop":
        """Create a crop from the dictionary of :meth:`to_json`.

        Parameters
        ----------
        values : mapping
            The attributes by name; missing ones have their defaults, and other keys are ignored.
        """
        colour = values.get("background")
        background = None if colour is None else (int(colour[0]), int(colour[1]), int(colour[2]))
        larger, up = float(values.get("larger", cls.larger)), float(values.get("up", cls.up))
        return cls(values["crop"], larger, up, bool(values.get("rotate", False)), background)


@dataclass(frozen=True)
class PreparedImage:
    """A square image for the network, and its position in the photograph.

    Parameters
    ----------
    pixels : ndarray (size, size, 3) of uint8
        Pixels in sRGB: row, column, channel.
    frame : Frame
        Mapping from the upright photograph to the prepared image.
    """

    pixels: np.ndarray
    frame: Frame


def prepare_image(
    pixels: np.ndarray, size: int = 224, crop: str | Crop = "full", points: np.ndarray | None = None
) -> PreparedImage:
    """Crop and resize an image to a square.

    Parameters
    ----------
    pixels : ndarray (row, column, 3) of uint8
        An upright image.
    size : int, default 224
        Side of the square in pixels.
    crop : Crop or str, default "full"
        The crop, or its name for default settings.
    points : ndarray (478, 2), optional
        The face's mesh in pixels of the image; needed for all crops but "full".

    Raises
    ------
    TraitlensError
        If the crop is unknown, or needs points and there are none.

    Examples
    --------
    >>> prepared = prepare_image(np.zeros((300, 200, 3), np.uint8), size=64)
    >>> prepared.pixels.shape, prepared.frame.map_points([[100, 150]]).tolist()
    ((64, 64, 3), [[32.0, 32.0]])
    """
    crop = Crop(crop) if isinstance(crop, str) else crop
    height, width = pixels.shape[:2]
    frame = find_frame((width, height), size, crop, points)
    if crop.name == "full":
        return PreparedImage(_pad_and_resize(pixels, frame, crop.background or BACKGROUND), frame)
    return PreparedImage(resample(pixels, frame, crop.background), frame)


def find_frame(
    image_size: tuple[int, int], size: int = 224, crop: str | Crop = "full", points: np.ndarray | None = None
) -> Frame:
    """Compute the frame of a crop from the size of the image and the landmarks.

    Parameters
    ----------
    image_size : (int, int)
        Width and height of the upright image in pixels.
    size : int, default 224
        Side of the square in pixels.
    crop : Crop or str, default "full"
        The crop, or its name.
    points : ndarray (478, 2), optional
        The face's mesh in pixels of the image; needed for all crops but "full".

    Returns
    -------
    Frame
        Mapping from the upright image to the prepared one.

    Raises
    ------
    TraitlensError
        If the crop is unknown, needs points and there are none, or reaches far beyond the image.
    """
    crop = Crop(crop) if isinstance(crop, str) else crop
    if crop.name == "full":
        width, height = image_size
        left, top = min((width - height) // 2, 0), min((height - width) // 2, 0)
        matrix = _square_matrix(left, top, max(width, height), size)
    elif points is None or not np.isfinite(points).all():
        raise TraitlensError(
            Problem(f"the crop {crop.name!r} needs landmarks", "add landmarks.csv or use the crop 'full'")
        )
    else:
        matrix = to_canonical(points, size) if crop.name == "face" else _box_matrix(points, size, crop)
    frame = make_frame(matrix, size, crop.name, image_size)
    corners = frame.map_back([[0, 0], [size, 0], [size, size], [0, size]])
    spans = np.maximum(corners.max(axis=0), image_size) - np.minimum(corners.min(axis=0), 0)
    # The negated comparison is also true for NaN.
    if crop.name != "full" and not spans.prod() <= FARTHEST * image_size[0] * image_size[1]:
        raise _too_far_error()
    return frame


def _square_matrix(left: float, top: float, side: float, size: int) -> np.ndarray:
    """Return the affine matrix from an upright square of the image to the prepared image."""
    scale = size / side
    return np.array([[scale, 0.0, -scale * left], [0.0, scale, -scale * top]])


def _box_matrix(points: np.ndarray, size: int, crop: Crop) -> np.ndarray:
    """Return the affine matrix from the square of the crop "reference" to the prepared image."""
    turn = np.eye(2)
    if crop.rotate:
        along = points[RIGHT_PUPIL] - points[LEFT_PUPIL]
        cosine, sine = along / np.linalg.norm(along)
        turn = np.array([[cosine, sine], [-sine, cosine]])
    upright = points @ turn.T
    low, high = upright.min(axis=0), upright.max(axis=0)
    width, height = high - low
    side = (1 + crop.larger) * max(width, height)
    left, top = (low + high) / 2 - np.array([0.0, crop.up * height]) - side / 2
    square = _square_matrix(left, top, side, size)
    return np.column_stack([square[:, :2] @ turn, square[:, 2]])


def edge_colour(pixels: np.ndarray) -> Colour:
    """Return the mean colour (red, green, blue) of the outermost pixels of an image (row, column, 3)."""
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    red, green, blue = np.rint(edge.mean(axis=0)).astype(int).tolist()
    return red, green, blue


def _pad_and_resize(pixels: np.ndarray, frame: Frame, background: Colour) -> np.ndarray:
    """Pad an image to a square and resize the square to the size of the frame."""
    height, width = pixels.shape[:2]
    side = max(width, height)
    square = Image.new("RGB", (side, side), background)
    square.paste(Image.fromarray(pixels), (-min((width - height) // 2, 0), -min((height - width) // 2, 0)))
    return np.asarray(
        square.resize((frame.size, frame.size), Image.Resampling.LANCZOS, reducing_gap=3)
    ).copy()


def resample(pixels: np.ndarray, frame: Frame, background: Colour | None, samples: int = 3) -> np.ndarray:
    """Resample an image to the square of a frame, without aliasing.

    To downsample, whole pixels are averaged first, then up to `samples` x `samples` bilinear samples for each
    pixel of the frame.

    Parameters
    ----------
    pixels : ndarray (row, column, 3) of uint8
        The upright image.
    frame : Frame
        Mapping from the upright image to the square.
    background : (int, int, int) or None
        Colour outside the image; if None, the outermost pixels of the image are repeated.
    samples : int, default 3
        Number of samples per side of a pixel; 1 is fast and slightly coarser.

    Returns
    -------
    ndarray (frame.size, frame.size, 3) of uint8
        The pixels of the square.
    """
    shrink = max(int(1 / (frame.scale * samples)), 1)
    image = Image.fromarray(pixels)
    if shrink > 1:
        image = image.reduce(shrink)
    samples = min(max(math.ceil(1 / (frame.scale * shrink)), 1), samples)
    fine = frame.size * samples
    to_image = invert_affine(frame.matrix) / shrink
    to_image[:, :2] /= samples
    if background is None:
        image, to_image = _pad_edges(image, to_image, fine)
    enlarges = frame.scale * shrink >= 1
    sampling = Image.Resampling.BICUBIC if enlarges else Image.Resampling.BILINEAR
    drawn = image.transform(
        (fine, fine), Image.Transform.AFFINE, tuple(to_image.ravel()), sampling, fillcolor=background
    )
    return np.asarray(drawn.reduce(samples) if samples > 1 else drawn).copy()


def _too_far_error() -> TraitlensError:
    """Return the error for a crop that reaches far beyond the image."""
    what = "the crop reaches far beyond the image"
    return TraitlensError(Problem(what, "check the landmarks, and the settings larger and up in [faces]"))


def _pad_edges(image: Image.Image, to_image: np.ndarray, side: int) -> tuple[Image.Image, np.ndarray]:
    """Pad an image by repeating its outermost pixels, so that it contains a square of `side` samples.

    Also return the affine matrix from the square to the padded image.
    """
    corners = apply_affine(to_image, np.array([[0, 0], [side, 0], [0, side], [side, side]]))
    beyond = np.ceil([-corners.min(axis=0), corners.max(axis=0) - image.size]).astype(int) + 2
    (left, top), (right, bottom) = np.maximum(beyond, 2)
    padded = (image.width + left + right) * (image.height + top + bottom)
    if padded > MOST_PIXELS + 4 * image.width * image.height:
        raise _too_far_error()
    padded = np.pad(np.asarray(image), ((top, bottom), (left, right), (0, 0)), mode="edge")
    shifted = to_image + np.array([[0, 0, left], [0, 0, top]])
    return Image.fromarray(padded), shifted
