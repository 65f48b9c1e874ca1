"""Image files read as upright sRGB pixels, and laid into squares for the network.

Images are hostile input: only JPEG, PNG, TIFF and WebP are decoded, whatever the file's name says, the
number of pixels is limited, and every fault becomes one problem that names the file.
"""

import io
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from traitlens.faces.frames import Frame as Frame
from traitlens.faces.frames import invert_affine, make_frame, to_canonical
from traitlens.problems import Problem, TraitlensError, unknown_choice

Colour = tuple[int, int, int]

BACKGROUND: Final[Colour] = (128, 128, 128)
"""The colour behind transparent pixels and beside images that are not square."""

CROPS: Final = ("full", "face", "reference")
"""Names of the crops."""

FORMATS: Final = ("JPEG", "PNG", "TIFF", "WEBP")
MOST_PIXELS: Final = 80_000_000
FEWEST_PIXELS: Final = 32


@dataclass(frozen=True)
class PreparedImage:
    """An image as the network will see it.

    Parameters
    ----------
    pixels : ndarray (size, size, 3) of uint8
        sRGB; row, column, channel.
    frame : Frame
        How it came from its file.
    """

    pixels: np.ndarray
    frame: Frame


def load_image(path: Path, background: Colour = BACKGROUND) -> np.ndarray:
    """Read an image file as upright sRGB pixels.

    The orientation in the EXIF data is applied, colours are brought to sRGB by the embedded profile,
    16-bit values are scaled to 8 bits, and transparent pixels are laid on the background colour.

    Parameters
    ----------
    path : Path
        A JPEG, PNG, TIFF or WebP file of any name.
    background : (int, int, int), default mid-grey
        sRGB colour behind transparent pixels.

    Returns
    -------
    ndarray (row, column, 3) of uint8
        The pixels.

    Raises
    ------
    TraitlensError
        With one problem that names the file: it is missing, no image, damaged, animated, too large or too
        small.

    Examples
    --------
    >>> pixels = load_image(Path("face.jpg"))  # doctest: +SKIP
    """
    path = Path(path)
    try:
        return _decode(path, background)
    except _Refused as refused:
        raise TraitlensError(Problem(refused.what, refused.advice, str(path))) from None
    except FileNotFoundError:
        raise TraitlensError(Problem("there is no such file", "check the path", str(path))) from None
    except UnidentifiedImageError:
        what = "is empty" if path.stat().st_size == 0 else "is not a JPEG, PNG, TIFF or WebP image"
        raise TraitlensError(Problem(what, "save the image anew as PNG or JPEG", str(path))) from None
    except Image.DecompressionBombError:
        bomb = _too_large()
        raise TraitlensError(Problem(bomb.what, bomb.advice, str(path))) from None
    except Exception as error:  # decoders fail on damaged files in every way there is
        reason = str(error).split("\n")[0] or type(error).__name__
        what = f"is damaged and cannot be decoded ({reason})"
        raise TraitlensError(Problem(what, "replace the file", str(path))) from None


class _Refused(Exception):
    """An image that could be decoded but is not wanted."""

    def __init__(self, what: str, advice: str):
        super().__init__(what)
        self.what = what
        self.advice = advice


def _too_large() -> _Refused:
    return _Refused(f"has more than {MOST_PIXELS // 10**6} million pixels", "make the image smaller")


def _decode(path: Path, background: Colour) -> np.ndarray:
    """Decode a file; any exception means that it cannot be used."""
    with path.open("rb") as file, Image.open(file, formats=FORMATS) as image:
        width, height = image.size
        if width * height > MOST_PIXELS:
            raise _too_large()
        # A JPEG of several pictures (MPO) holds the photograph first and previews or a second eye after it.
        if getattr(image, "is_animated", False) and image.format != "MPO":
            pages = f"holds {getattr(image, 'n_frames', 'several')} pictures (animation or pages)"
            raise _Refused(pages, "save one of them as an image of its own")
        if min(width, height) < FEWEST_PIXELS:
            raise _Refused(f"is only {width} x {height} pixels", "use a larger image of the face")
        image.load()
        profile = image.info.get("icc_profile")
        upright = _turn_upright(image)
    colours, alpha = _split_alpha(_to_8_bits(upright))
    pixels = np.asarray(_to_srgb(colours, profile))
    return pixels.copy() if alpha is None else _lay_on(pixels, np.asarray(alpha), background)


def _turn_upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation; unreadable EXIF data says nothing."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        return image.copy()


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey values to 8 bits (Pillow's decoders do so themselves for colour)."""
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image, dtype=float)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise _Refused("stores values other than 8 or 16 bits", "save it with 8 bits per channel")
    return Image.fromarray(np.rint(values / 257).astype(np.uint8))


def _split_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Part colours and transparency."""
    if not image.has_transparency_data:
        return (image.convert("RGB") if image.mode in {"P", "1"} else image), None
    if image.mode in {"LA", "La"}:
        image = image.convert("LA")
        return image.getchannel("L"), image.getchannel("A")
    image = image.convert("RGBA")
    return image.convert("RGB"), image.getchannel("A")


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Bring colours to sRGB; without a profile, or with a broken one, they count as sRGB already."""
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if "sRGB" not in ImageCms.getProfileDescription(source):
                target = ImageCms.createProfile("sRGB")
                transformed = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
                if transformed is not None:
                    return transformed
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # also a profile for another number of channels
    return image.convert("RGB")


def _lay_on(pixels: np.ndarray, alpha: np.ndarray, background: Colour) -> np.ndarray:
    """Lay pixels on a colour by their opacity."""
    opacity = alpha[..., None] / 255.0
    mixed = pixels * opacity + np.array(background) * (1 - opacity)
    return np.rint(mixed).astype(np.uint8)


def check_images(
    paths: Sequence[Path], names: Sequence[str] | None = None, progress: Callable[[int], None] | None = None
) -> list[Problem]:
    """Decode all images and list those that cannot be used.

    Parameters
    ----------
    paths : sequence of Path
        The files.
    names : sequence of str, optional
        What to call them in messages; their paths where missing.
    progress : callable, optional
        Is told how many more are done.

    Returns
    -------
    list of Problem
        One for each image that cannot be used, in the order of the paths; empty where all is well.
    """
    names = [str(path) for path in paths] if names is None else names

    def check(path: Path, name: str) -> list[Problem]:
        """Name the faults of one image."""
        try:
            load_image(path)
        except TraitlensError as error:
            return [Problem(fault.what, fault.advice, name) for fault in error.problems]
        return []

    faults: list[Problem] = []
    # Decoders release the interpreter's lock, so threads share the work.
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        for found in pool.map(check, paths, names):
            faults += found
            if progress is not None:
                progress(1)
    return faults


def prepare_image(
    pixels: np.ndarray,
    size: int = 224,
    crop: str = "full",
    points: np.ndarray | None = None,
    background: Colour | None = None,
) -> PreparedImage:
    """Lay an image into a square.

    "full" keeps the whole image, padded to a square. "face" rotates, scales and shifts it so that pupils and
    mouth lie at the places of the canonical frame. "reference" is the crop of Cao et al. 2023: the box
    around the face, made square, 30 % larger and shifted up by 15 % of its height, without rotation.

    Parameters
    ----------
    pixels : ndarray (row, column, 3) of uint8
        An upright image.
    size : int, default 224
        Side of the square in pixels.
    crop : {"full", "face", "reference"}
        What to keep.
    points : ndarray (478, 2), optional
        The face's mesh in pixels of the image; needed for all crops but "full".
    background : (int, int, int), optional
        Colour beside the image; where missing, mid-grey for "full" and else the mean colour of the
        image's outermost pixels.

    Returns
    -------
    PreparedImage
        The square and how it came about.

    Raises
    ------
    TraitlensError
        Where the crop is unknown or lacks points.

    Examples
    --------
    >>> prepared = prepare_image(np.zeros((300, 200, 3), np.uint8), size=64)
    >>> prepared.pixels.shape, prepared.frame.map_points([[100, 150]]).tolist()
    ((64, 64, 3), [[32.0, 32.0]])
    """
    height, width = pixels.shape[:2]
    frame = find_frame((width, height), size, crop, points)
    if background is None:
        background = BACKGROUND if crop == "full" else edge_colour(pixels)
    draw = _shrink_whole if crop == "full" else resample
    return PreparedImage(draw(pixels, frame, background), frame)


def find_frame(
    image_size: tuple[int, int], size: int = 224, crop: str = "full", points: np.ndarray | None = None
) -> Frame:
    """Find what part of an image a crop shows, without drawing it.

    Parameters
    ----------
    image_size : (int, int)
        Width and height of the upright image in pixels.
    size : int, default 224
        Side of the square in pixels.
    crop : {"full", "face", "reference"}
        What to keep; see :func:`prepare_image`.
    points : ndarray (478, 2), optional
        The face's mesh in pixels of the image; needed for all crops but "full".

    Returns
    -------
    Frame
        How the prepared image comes from the upright one.

    Raises
    ------
    TraitlensError
        Where the crop is unknown or lacks points.
    """
    if crop not in CROPS:
        raise unknown_choice("crop", crop, CROPS)
    if crop == "full":
        width, height = image_size
        left, top = min((width - height) // 2, 0), min((height - width) // 2, 0)
        matrix = _square_matrix(left, top, max(width, height), size)
    elif points is None or not np.isfinite(points).all():
        raise TraitlensError(
            Problem(f"the crop {crop!r} needs landmarks", "add landmarks.csv or use the crop 'full'")
        )
    else:
        matrix = to_canonical(points, size) if crop == "face" else _reference_matrix(points, size)
    return make_frame(matrix, size, crop, image_size)


def _square_matrix(left: float, top: float, side: float, size: int) -> np.ndarray:
    """Map an upright square of the image to the prepared one."""
    scale = size / side
    return np.array([[scale, 0.0, -scale * left], [0.0, scale, -scale * top]])


def _reference_matrix(points: np.ndarray, size: int) -> np.ndarray:
    """Frame the box around the face, 30 % larger and 15 % of its height further up."""
    low, high = points.min(axis=0), points.max(axis=0)
    width, height = high - low
    side = 1.3 * max(width, height)
    centre = (low + high) / 2 - np.array([0.0, 0.15 * height])
    return _square_matrix(centre[0] - side / 2, centre[1] - side / 2, side, size)


def edge_colour(pixels: np.ndarray) -> Colour:
    """Average the outermost pixels of an image.

    Parameters
    ----------
    pixels : ndarray (row, column, 3) of uint8
        The image.

    Returns
    -------
    (int, int, int)
        Their mean colour.
    """
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    red, green, blue = np.rint(edge.mean(axis=0)).astype(int).tolist()
    return red, green, blue


def _shrink_whole(pixels: np.ndarray, frame: Frame, background: Colour) -> np.ndarray:
    """Pad the image to a square and resize it."""
    height, width = pixels.shape[:2]
    side = max(width, height)
    square = Image.new("RGB", (side, side), background)
    square.paste(Image.fromarray(pixels), (-min((width - height) // 2, 0), -min((height - width) // 2, 0)))
    return np.asarray(
        square.resize((frame.size, frame.size), Image.Resampling.LANCZOS, reducing_gap=3)
    ).copy()


def resample(pixels: np.ndarray, frame: Frame, background: Colour, samples: int = 3) -> np.ndarray:
    """Draw the part of an image that a frame shows, without false patterns where it shrinks.

    Shrinking is done by averages over whole pixels first, then over up to `samples` squared bilinear samples
    to a pixel of the frame.

    Parameters
    ----------
    pixels : ndarray (row, column, 3) of uint8
        The upright image.
    frame : Frame
        What to draw.
    background : (int, int, int)
        Colour outside the image.
    samples : int, default 3
        How finely to sample; 1 is quick and a little coarser.

    Returns
    -------
    ndarray (frame.size, frame.size, 3) of uint8
        The pixels.
    """
    shrink = max(int(1 / (frame.scale * samples)), 1)
    image = Image.fromarray(pixels)
    if shrink > 1:
        image = image.reduce(shrink)
    samples = min(max(math.ceil(1 / (frame.scale * shrink)), 1), samples)
    fine = frame.size * samples
    to_image = invert_affine(frame.matrix) / shrink
    to_image[:, :2] /= samples
    enlarges = frame.scale * shrink >= 1
    sampling = Image.Resampling.BICUBIC if enlarges else Image.Resampling.BILINEAR
    drawn = image.transform(
        (fine, fine), Image.Transform.AFFINE, tuple(to_image.ravel()), sampling, fillcolor=background
    )
    return np.asarray(drawn.reduce(samples) if samples > 1 else drawn).copy()
