"""Image files read as upright sRGB pixels.

Images are hostile input: only JPEG, PNG, TIFF and WebP are decoded, whatever the file's name says, the
number of pixels is limited, and every fault becomes one problem that names the file.
"""

import io
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from traitlens.problems import Problem, TraitlensError

Colour = tuple[int, int, int]

BACKGROUND: Final[Colour] = (128, 128, 128)
"""The colour behind transparent pixels and beside images that are not square."""

FORMATS: Final = ("JPEG", "PNG", "TIFF", "WEBP")
MOST_PIXELS: Final = 50_000_000
FEWEST_PIXELS: Final = 32


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
    >>> from tempfile import TemporaryDirectory
    >>> from PIL import Image
    >>> with TemporaryDirectory() as folder:
    ...     Image.new("L", (80, 100), "white").save(f"{folder}/face.png")
    ...     load_image(Path(folder) / "face.png").shape
    (100, 80, 3)
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
