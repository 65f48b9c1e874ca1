"""Reading of image files as upright sRGB pixels.

Image files are untrusted input: the format is determined by the content, only JPEG, PNG, TIFF and WebP are
decoded, the number of pixels is limited, and every error becomes a problem that names the file.
"""

import io
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError

from traitlens.problems import Problem, TraitlensError

Colour = tuple[int, int, int]

BACKGROUND: Final[Colour] = (128, 128, 128)
"""Colour of transparent pixels, and of the padding of images that are not square."""

FORMATS: Final = ("JPEG", "PNG", "TIFF", "WEBP")
MOST_PIXELS: Final = 50_000_000
FEWEST_PIXELS: Final = 32
PIXELS_AT_ONCE: Final = MOST_PIXELS
"""Maximum number of pixels that all threads together decode at once; a pixel takes up to 16 bytes."""
STRIP_PIXELS: Final = 2**20
"""Number of pixels that are converted at once in double precision."""
THREADS: Final = min(os.cpu_count() or 1, 8)
"""Number of threads that read images; each needs up to 150 MB for an image."""


def load_image(
    path: Path, background: Colour = BACKGROUND, read: Callable[[Path], bytes] | None = None
) -> np.ndarray:
    """Read an image file as upright sRGB pixels.

    The orientation in the EXIF data is applied, colours are converted to sRGB by the embedded profile, 16-bit
    values are scaled to 8 bits, and transparent pixels are blended with the background colour.

    Parameters
    ----------
    path : Path
        A JPEG, PNG, TIFF or WebP file with any suffix; HEIC if the extra `heic` is installed.
    background : (int, int, int), default mid-grey
        sRGB colour with which transparent pixels are blended.
    read : callable or None
        Function that returns the content of a file; if None, the file is opened.

    Returns
    -------
    ndarray (row, column, 3) of uint8
        The pixels.

    Raises
    ------
    TraitlensError
        If the file is missing, not an image, damaged, animated, too large or too small.

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
        return _decode(path if read is None else io.BytesIO(read(path)), background)
    except TraitlensError:
        raise
    except _Refused as refused:
        raise TraitlensError(Problem(refused.what, refused.advice, str(path))) from None
    except FileNotFoundError:
        raise TraitlensError(Problem("file not found", "check the path", str(path))) from None
    except UnidentifiedImageError:
        what = "is empty" if path.stat().st_size == 0 else "is not a JPEG, PNG, TIFF or WebP image"
        kind = _name_format(path.read_bytes()[:16])
        what = f"is a {kind} file, which traitlens does not read" if kind else what
        advice = "save the image again as PNG or JPEG"
        advice += ', or install its reader: pip install "traitlens[heic]"' if kind == "HEIC" else ""
        raise TraitlensError(Problem(what, advice, str(path))) from None
    except Image.DecompressionBombError:
        bomb = _too_large_error()
        raise TraitlensError(Problem(bomb.what, bomb.advice, str(path))) from None
    except Exception as error:  # Decoders raise many types of errors for damaged files.
        reason = str(error).split("\n")[0] or type(error).__name__
        what = f"is damaged and cannot be decoded ({reason})"
        raise TraitlensError(Problem(what, "replace the file", str(path))) from None


_STARTS: Final = {
    b"BM": "BMP",
    b"GIF8": "GIF",
    b"\0\0\0\x0cjP": "JPEG 2000",
    b"8BPS": "Photoshop",
    b"%PDF": "PDF",
}
_HEIC_BRANDS: Final = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")


def _name_format(start: bytes) -> str:
    """Return the name of an unsupported format, given the first bytes of a file; "" if it is unknown."""
    if start[4:8] == b"ftyp":
        return "HEIC" if start[8:12] in _HEIC_BRANDS else "AVIF" if start[8:12] == b"avif" else "video"
    return next((name for first, name in _STARTS.items() if start.startswith(first)), "")


@cache
def _formats() -> tuple[str, ...]:
    """Return the formats that can be decoded, with HEIC if pillow_heif is installed."""
    try:
        import pillow_heif
    except ImportError:
        return FORMATS
    pillow_heif.register_heif_opener(thumbnails=False)
    return (*FORMATS, "HEIF")


def read_size(path: Path) -> tuple[int, int]:
    """Read width and height of an image, when upright, from the header of its file.

    Returns
    -------
    (int, int)
        Width and height; (0, 0) if the file cannot be read.
    """
    try:
        with Image.open(path, formats=_formats()) as image:
            width, height = image.size
            turned = image.format != "HEIF" and image.getexif().get(ExifTags.Base.Orientation, 1) > 4
            return (height, width) if turned else (width, height)
    except Exception:  # Decoders raise many types of errors for damaged files.
        return 0, 0


class _Refused(Exception):
    """Raised for an image that could be decoded but is not accepted."""

    def __init__(self, what: str, advice: str):
        super().__init__(what)
        self.what = what
        self.advice = advice


def _too_large_error() -> _Refused:
    return _Refused(f"has more than {MOST_PIXELS // 10**6} million pixels", "make the image smaller")


def _decode(source: Path | io.BytesIO, background: Colour) -> np.ndarray:
    """Decode an image to upright sRGB pixels; raise any type of error if it cannot be used."""
    opened = source.open("rb") if isinstance(source, Path) else source
    with opened as file, Image.open(file, formats=_formats()) as image:
        width, height = image.size
        if width * height > MOST_PIXELS:
            raise _too_large_error()
        # In a JPEG with several pictures (MPO), the first is the photograph; others are previews or stereo.
        if getattr(image, "is_animated", False) and image.format not in ("MPO", "HEIF"):
            pages = f"contains {getattr(image, 'n_frames', 'several')} images (animation or pages)"
            raise _Refused(pages, "save one of them as a separate image")
        if min(width, height) < FEWEST_PIXELS:
            raise _Refused(f"is only {width} x {height} pixels", "use a larger image of the face")
        with _budget.reserve(width * height):
            image.load()
            profile = image.info.get("icc_profile")
            _turn_upright(image)
            colours, alpha = _split_alpha(_to_8_bits(image))
            pixels = np.array(_to_srgb(colours, profile))
            return pixels if alpha is None else _blend(pixels, np.asarray(alpha), background)


class _Budget:
    """Limit on the number of pixels that all threads together decode at the same time."""

    def __init__(self, pixels: int):
        self._most = self._free = pixels
        self._changed = threading.Condition()

    @contextmanager
    def reserve(self, pixels: int) -> Iterator[None]:
        """Wait until a number of pixels may be decoded, and reserve them during a `with` block."""
        pixels = min(pixels, self._most)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= pixels)
            self._free -= pixels
        try:
            yield
        finally:
            with self._changed:
                self._free += pixels
                self._changed.notify_all()


_budget = _Budget(PIXELS_AT_ONCE)


def _turn_upright(image: Image.Image) -> None:
    """Apply the EXIF orientation in place; unreadable EXIF data are ignored."""
    with suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)


def _row_slices(height: int, width: int) -> Iterator[slice]:
    """Return slices of rows for processing an image in parts, to keep temporary arrays small."""
    rows = max(1, STRIP_PIXELS // width)
    return (slice(start, start + rows) for start in range(0, height, rows))


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey values to 8 bits; Pillow's decoders do this for colours."""
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise _Refused("stores values other than 8 or 16 bits", "save it with 8 bits per channel")
    bits = _read_bits(image)
    if bits == 16 and values.max() < 2**12:
        raise _Refused(
            f"is nearly black: the largest of its 16-bit values is {values.max()}, as if they had 12 bits",
            "multiply the values by 16, or save it with 8 bits",
        )
    small = np.empty(values.shape, np.uint8)
    for rows in _row_slices(*values.shape):
        small[rows] = np.rint(values[rows] * (255 / (2**bits - 1)))
    return Image.fromarray(small)


def _read_bits(image: Image.Image) -> int:
    """Return the number of bits of a grey value: 10, 12 or 14 if the TIFF header says so, else 16."""
    described = getattr(image, "tag_v2", {}).get(258, (16,))
    return int(described[0]) if described[0] in (10, 12, 14) else 16


def _split_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Split an image into colours and opacity; the opacity is None if there are no transparent pixels."""
    if not image.has_transparency_data:
        return (image.convert("RGB") if image.mode in {"P", "1"} else image), None
    if image.mode in {"LA", "La"}:
        image = image.convert("LA")
        return image.getchannel("L"), image.getchannel("A")
    image = _convert(image, "RGBA")
    return image.convert("RGB"), image.getchannel("A")


def _convert(image: Image.Image, mode: str) -> Image.Image:
    """Convert an image to a mode of Pillow, without a copy if it already has the mode."""
    return image if image.mode == mode else image.convert(mode)


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert colours to sRGB by the embedded profile; without a valid profile, they are taken as sRGB."""
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if "sRGB" not in ImageCms.getProfileDescription(source):
                target = ImageCms.createProfile("sRGB")
                transformed = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
                if transformed is not None:
                    return transformed
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # For example, the profile may be for another number of channels.
    return _convert(image, "RGB")


def _blend(pixels: np.ndarray, alpha: np.ndarray, background: Colour) -> np.ndarray:
    """Blend pixels with a background colour by their opacity, in place."""
    for rows in _row_slices(*alpha.shape):
        opacity = alpha[rows, :, None] / 255.0
        pixels[rows] = np.rint(pixels[rows] * opacity + np.array(background) * (1 - opacity))
    return pixels


def check_images(
    paths: Sequence[Path], names: Sequence[str] | None = None, progress: Callable[[int], None] | None = None
) -> list[Problem]:
    """Decode all images and report those that cannot be used.

    Parameters
    ----------
    paths : sequence of Path
        The image files.
    names : sequence of str, optional
        Names of the images in messages; if None, their paths.
    progress : callable, optional
        Called with the number of images done since the last call.

    Returns
    -------
    list of Problem
        A problem for each image that cannot be used, in the order of the paths.
    """
    names = [str(path) for path in paths] if names is None else names

    def check(path: Path, name: str) -> list[Problem]:
        """Decode one image and return its problems."""
        try:
            load_image(path)
        except TraitlensError as error:
            return [Problem(fault.what, fault.advice, name) for fault in error.problems]
        return []

    faults: list[Problem] = []
    # Decoders release the GIL, so threads run in parallel.
    with ThreadPoolExecutor(max_workers=THREADS) as pool:
        for found in pool.map(check, paths, names):
            faults += found
            if progress is not None:
                progress(1)
    return faults
