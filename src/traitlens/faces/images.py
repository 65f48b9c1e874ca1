"""Reader of image files as upright sRGB pixels.

Images are untrusted input: only JPEG, PNG, TIFF and WebP are decoded, whatever the file's name, the number of
pixels is limited, and every fault becomes one problem that names the file.
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
"""Colour behind transparent pixels and beside images that are not square."""

FORMATS: Final = ("JPEG", "PNG", "TIFF", "WEBP")
MOST_PIXELS: Final = 50_000_000
FEWEST_PIXELS: Final = 32
PIXELS_AT_ONCE: Final = MOST_PIXELS
"""Maximum number of pixels that all threads of a process decode at once; a pixel takes up to 16 bytes."""
STRIP_PIXELS: Final = 2**20
"""Number of pixels converted at once in double precision."""
THREADS: Final = min(os.cpu_count() or 1, 8)
"""Number of threads that read images: each holds an image of up to 150 MB."""


def load_image(
    path: Path, background: Colour = BACKGROUND, read: Callable[[Path], bytes] | None = None
) -> np.ndarray:
    """Read an image file as upright sRGB pixels.

    The orientation in the EXIF data is applied, colours are converted to sRGB by the embedded profile, 16-bit
    values are scaled to 8 bits, and transparent pixels are blended with the background colour.

    Parameters
    ----------
    path : Path
        A JPEG, PNG, TIFF or WebP file of any name; HEIC with the extra heic.
    background : (int, int, int), default mid-grey
        sRGB colour behind transparent pixels.
    read : callable or None
        Reads the file's content; opens the file if None.

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
        what = f"is a {kind} file, which is not read" if kind else what
        advice = "save the image again as PNG or JPEG"
        advice += ', or install its reader: pip install "traitlens[heic]"' if kind == "HEIC" else ""
        raise TraitlensError(Problem(what, advice, str(path))) from None
    except Image.DecompressionBombError:
        bomb = _too_large()
        raise TraitlensError(Problem(bomb.what, bomb.advice, str(path))) from None
    except Exception as error:  # decoders raise all kinds of errors for damaged files
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
    """Name the format of a file that is not read by its first bytes; "" if unknown."""
    if start[4:8] == b"ftyp":
        return "HEIC" if start[8:12] in _HEIC_BRANDS else "AVIF" if start[8:12] == b"avif" else "video"
    return next((name for first, name in _STARTS.items() if start.startswith(first)), "")


@cache
def _formats() -> tuple[str, ...]:
    """Return the formats that can be decoded; HEIC if its reader is installed."""
    try:
        import pillow_heif
    except ImportError:
        return FORMATS
    pillow_heif.register_heif_opener(thumbnails=False)
    return (*FORMATS, "HEIF")


def read_size(path: Path) -> tuple[int, int]:
    """Read width and height of an upright image from its header.

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
    except Exception:  # decoders raise all kinds of errors for damaged files
        return 0, 0


class _Refused(Exception):
    """An image that can be decoded but is not accepted."""

    def __init__(self, what: str, advice: str):
        super().__init__(what)
        self.what = what
        self.advice = advice


def _too_large() -> _Refused:
    return _Refused(f"has more than {MOST_PIXELS // 10**6} million pixels", "make the image smaller")


def _decode(source: Path | io.BytesIO, background: Colour) -> np.ndarray:
    """Decode a file; any exception means that it cannot be used."""
    opened = source.open("rb") if isinstance(source, Path) else source
    with opened as file, Image.open(file, formats=_formats()) as image:
        width, height = image.size
        if width * height > MOST_PIXELS:
            raise _too_large()
        # A JPEG of several pictures (MPO) holds the photograph first, then previews or a stereo image.
        if getattr(image, "is_animated", False) and image.format not in ("MPO", "HEIF"):
            pages = f"holds {getattr(image, 'n_frames', 'several')} pictures (animation or pages)"
            raise _Refused(pages, "save one of them as a separate image")
        if min(width, height) < FEWEST_PIXELS:
            raise _Refused(f"is only {width} x {height} pixels", "use a larger image of the face")
        with _budget.reserve(width * height):
            image.load()
            profile = image.info.get("icc_profile")
            _turn_upright(image)
            colours, alpha = _split_alpha(_to_8_bits(image))
            pixels = np.array(_to_srgb(colours, profile))
            return pixels if alpha is None else _lay_on(pixels, np.asarray(alpha), background)


class _Budget:
    """Limits how many pixels all threads decode at the same time."""

    def __init__(self, pixels: int):
        self._most = self._free = pixels
        self._changed = threading.Condition()

    @contextmanager
    def reserve(self, pixels: int) -> Iterator[None]:
        """Wait until this number of pixels may be decoded."""
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


def _strips(height: int, width: int) -> Iterator[slice]:
    """Divide an image into strips of rows, so that temporary arrays stay small."""
    rows = max(1, STRIP_PIXELS // width)
    return (slice(start, start + rows) for start in range(0, height, rows))


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey values to 8 bits (Pillow's decoders do so themselves for colour)."""
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise _Refused("stores values other than 8 or 16 bits", "save it with 8 bits per channel")
    bits = _bits(image)
    if bits == 16 and values.max() < 2**12:
        raise _Refused(
            f"is nearly black: the largest of its 16-bit values is {values.max()}, as if they had 12 bits",
            "multiply the values by 16, or save it with 8 bits",
        )
    small = np.empty(values.shape, np.uint8)
    for rows in _strips(*values.shape):
        small[rows] = np.rint(values[rows] * (255 / (2**bits - 1)))
    return Image.fromarray(small)


def _bits(image: Image.Image) -> int:
    """Return the bits of a grey value: 10, 12 or 14 where a TIFF says so, else 16."""
    described = getattr(image, "tag_v2", {}).get(258, (16,))
    return int(described[0]) if described[0] in (10, 12, 14) else 16


def _split_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Split colours and transparency."""
    if not image.has_transparency_data:
        return (image.convert("RGB") if image.mode in {"P", "1"} else image), None
    if image.mode in {"LA", "La"}:
        image = image.convert("LA")
        return image.getchannel("L"), image.getchannel("A")
    image = _convert(image, "RGBA")
    return image.convert("RGB"), image.getchannel("A")


def _convert(image: Image.Image, mode: str) -> Image.Image:
    """Convert to a mode, without a copy if the image has it already."""
    return image if image.mode == mode else image.convert(mode)


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert colours to sRGB; without a valid profile they are taken as sRGB."""
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if "sRGB" not in ImageCms.getProfileDescription(source):
                target = ImageCms.createProfile("sRGB")
                transformed = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
                if transformed is not None:
                    return transformed
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # such as a profile for another number of channels
    return _convert(image, "RGB")


def _lay_on(pixels: np.ndarray, alpha: np.ndarray, background: Colour) -> np.ndarray:
    """Blend pixels with a colour by their opacity, in place."""
    for rows in _strips(*alpha.shape):
        opacity = alpha[rows, :, None] / 255.0
        pixels[rows] = np.rint(pixels[rows] * opacity + np.array(background) * (1 - opacity))
    return pixels


def check_images(
    paths: Sequence[Path], names: Sequence[str] | None = None, progress: Callable[[int], None] | None = None
) -> list[Problem]:
    """Decode all images and list those that cannot be used.

    Parameters
    ----------
    names : sequence of str, optional
        Names in messages; their paths if None.
    progress : callable, optional
        Called with the number of images done.

    Returns
    -------
    list of Problem
        One for each image that cannot be used, in the order of the paths; empty if there are none.
    """
    names = [str(path) for path in paths] if names is None else names

    def check(path: Path, name: str) -> list[Problem]:
        """Return the faults of one image."""
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
