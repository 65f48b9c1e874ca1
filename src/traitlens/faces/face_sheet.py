"""Contact sheets that show all faces with landmarks and regions, doubtful faces first, and average faces.

The sheets are for the researcher only and must not be published.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from traitlens.columns import IMAGE, POINT
from traitlens.faces.cropping import find_frame, prepare_image
from traitlens.faces.frames import Frame, apply_affine, fit_similarity
from traitlens.faces.images import load_image
from traitlens.faces.landmarks import Landmarks
from traitlens.faces.regions import Polygon, region_labels
from traitlens.faces.template import Template
from traitlens.naming import file_names
from traitlens.problems import Problem
from traitlens.storage import atomic_write, write_table

KEY_POINTS: Final = (*(468, 473, 33, 133, 362, 263, 61, 291, 0, 17, 2, 129, 358, 152, 70, 107, 336, 300),)
"""Points for manual correction: pupils, eye and mouth corners, lips, nose, chin and brow ends."""

TILE: Final = 224
CAPTION: Final = 30
COLUMNS: Final = 6
ROWS: Final = 5
OUTLINE: Final = (255, 220, 0)
MARK: Final = (0, 200, 255)


@dataclass(frozen=True)
class FaceSheet:
    """Files that :func:`make_face_sheet` has written.

    Parameters
    ----------
    pages : tuple of Path
        The contact sheets of prepared faces, then those of photographs.
    averages : dict of str to Path
        The average face of each group.
    landmarks : Path
        Key points of every face, which can be corrected and saved as the study's `landmarks.csv`.
    order : DataFrame
        image, deviation, notice: images in the order of the sheets, with the values that determine it.
    """

    pages: tuple[Path, ...]
    averages: dict[str, Path]
    landmarks: Path
    order: pd.DataFrame


def face_deviations(landmarks: Landmarks, template: Template) -> pd.Series:
    """Compute the Procrustes distance of each face's shape from the template.

    Returns
    -------
    Series of float
        Root mean square distance between the points of template and face after rotation, scaling and shift,
        in pixels of the canonical frame of 512 x 512; index image; infinite for images without a face.
    """
    deviations = {}
    for image in landmarks.found[IMAGE]:
        points = landmarks.points(image)
        deviations[image] = np.inf
        if points is not None:
            fitted = apply_affine(fit_similarity(points, template.points), points)
            deviations[image] = float(np.sqrt(((fitted - template.points) ** 2).sum(axis=1).mean()))
    return pd.Series(deviations, name="deviation")


def make_face_sheet(
    paths: Mapping[str, Path],
    landmarks: Landmarks,
    folder: Path,
    groups: Mapping[str, str] | None = None,
    notices: Sequence[Problem] | None = None,
    polygons: Mapping[str, Polygon] | None = None,
    progress: Callable[[int], None] | None = None,
) -> FaceSheet:
    """Draw the contact sheets and the average faces of a study.

    Parameters
    ----------
    paths : mapping of str to Path
        Image files by name.
    landmarks : Landmarks
        Landmarks of the images, as returned by :func:`~traitlens.faces.landmarks.find_landmarks`.
    folder : Path
        Folder for `faces_01.png` (prepared faces), `photos_01.png` (photographs with the outline of the
        crop), `average_GROUP.png` and `landmarks.csv`.
    groups : mapping of str to str, optional
        Group of each image, for average faces; if None, one average of all faces.
    notices : sequence of Problem, optional
        Notices to show below the images; if None, the notices of the landmarks.
    polygons : mapping of str to sequence, optional
        Additional regions of the study.
    progress : callable, optional
        Called with the number of images done since the last call.

    Returns
    -------
    FaceSheet
        The files and the order of the faces.

    Examples
    --------
    >>> make_face_sheet(paths, landmarks, Path("results/faces"))  # doctest: +SKIP
    """
    template = Template.fixed(TILE)
    deviations = face_deviations(landmarks, template)
    shown_notices = landmarks.notices if notices is None else notices
    captions = {notice.file: notice.what for notice in reversed(shown_notices)}
    order = pd.DataFrame({IMAGE: list(paths)})
    order["deviation"] = order[IMAGE].map(deviations).fillna(np.inf)
    order["notice"] = order[IMAGE].map(captions).fillna("")
    order["noticed"] = order["notice"] != ""
    order = order.sort_values(["noticed", "deviation"], ascending=False, ignore_index=True)
    averages: dict[str, _Average] = {}
    tiles, photos = [], []
    for image, deviation, notice in order[[IMAGE, "deviation", "notice"]].itertuples(index=False):
        pixels, points = load_image(paths[image]), landmarks.points(image)
        caption = notice or f"deviation {deviation:.1f}"
        tiles.append(_draw_face_tile(pixels, points, image, caption, polygons))
        photos.append(_draw_photo_tile(pixels, points, image))
        if points is not None:
            group = (groups or {}).get(image, "all")
            averages.setdefault(group, _Average(template)).add(pixels, points)
        if progress is not None:
            progress(1)
    pages = [*_save_pages(Path(folder), "faces", tiles), *_save_pages(Path(folder), "photos", photos)]
    written = {}
    for name, (group, average) in zip(file_names(averages), averages.items(), strict=True):
        written[group] = Path(folder) / f"average_{name}.png"
        _write_png(written[group], average.picture())
    keys = landmarks.table[landmarks.table[POINT].isin({str(index) for index in KEY_POINTS})]
    write_table(Path(folder) / "landmarks.csv", keys.round(2))
    return FaceSheet(tuple(pages), written, Path(folder) / "landmarks.csv", order.drop(columns="noticed"))


class _Average:
    """Running average of faces that are warped to the template."""

    def __init__(self, template: Template):
        self._template = template
        self._sum = np.zeros((template.size, template.size, 3))
        self._count = np.zeros((template.size, template.size, 1))

    def add(self, pixels: np.ndarray, points: np.ndarray) -> None:
        """Warp a face to the template and add it to the average."""
        prepared = prepare_image(pixels, self._template.size, "face", points)
        mesh, pixels = prepared.frame.map_points(points), np.moveaxis(prepared.pixels, 2, 0)
        warped = self._template.warp(pixels, mesh, conserve=False).transpose(1, 2, 0)
        known = np.isfinite(warped).all(axis=2, keepdims=True)
        self._sum += np.where(known, warped, 0)
        self._count += known

    def picture(self) -> Image.Image:
        """Return the average face, enlarged twice, with grey pixels where no face has data."""
        mean = np.where(self._count > 0, self._sum / np.maximum(self._count, 1), 128)
        picture = Image.fromarray(np.rint(mean).clip(0, 255).astype(np.uint8))
        return picture.resize((2 * TILE, 2 * TILE), Image.Resampling.LANCZOS)


def draw_frame(pixels: np.ndarray, frame: Frame) -> Image.Image:
    """Draw the outline of a crop on a photograph.

    Parameters
    ----------
    pixels : ndarray (row, column, 3) of uint8
        The upright photograph.
    frame : Frame
        The crop.

    Returns
    -------
    Image
        The photograph, extended if the crop reaches beyond it; the upper side of the outline is thicker.
    """
    corners = frame.map_back([[0, 0], [frame.size, 0], [frame.size, frame.size], [0, frame.size]])
    width, height = frame.image_size
    low = np.floor(np.minimum(corners.min(axis=0), 0)).astype(int)
    high = np.ceil(np.maximum(corners.max(axis=0), (width, height))).astype(int)
    canvas = Image.new("RGB", tuple((high - low).tolist()), "white")
    canvas.paste(Image.fromarray(pixels), tuple((-low).tolist()))
    line = max(round(max(canvas.size) / 150), 1)
    draw = ImageDraw.Draw(canvas)
    outline = [tuple(corner) for corner in (corners - low).tolist()]
    draw.line([*outline, outline[0]], fill=OUTLINE, width=line)
    draw.line(outline[:2], fill=OUTLINE, width=2 * line)
    return canvas


def _draw_photo_tile(pixels: np.ndarray, points: np.ndarray | None, name: str) -> Image.Image:
    """Draw a tile with a photograph, the outline of the crop, and the name of the image."""
    height, width = pixels.shape[:2]
    frame = find_frame((width, height), TILE, "full" if points is None else "face", points)
    photo = draw_frame(pixels, frame)
    photo.thumbnail((TILE, TILE))
    tile = Image.new("RGB", (TILE, TILE + CAPTION), "white")
    tile.paste(photo, ((TILE - photo.width) // 2, (TILE - photo.height) // 2))
    ImageDraw.Draw(tile).text((3, TILE + 2), _shorten_caption(name), fill="black")
    return tile


def _draw_face_tile(
    pixels: np.ndarray,
    points: np.ndarray | None,
    name: str,
    caption: str,
    polygons: Mapping[str, Polygon] | None,
) -> Image.Image:
    """Draw a tile with a prepared face, its landmarks, the borders of its regions, and a caption."""
    tile = Image.new("RGB", (TILE, TILE + CAPTION), "white")
    prepared = prepare_image(pixels, TILE, "full" if points is None else "face", points)
    drawn = prepared.pixels.copy()
    if points is not None:
        mesh = prepared.frame.map_points(points)
        labels = region_labels(mesh, TILE, polygons)
        border = np.zeros(labels.shape, bool)
        border[:, 1:] |= labels[:, 1:] != labels[:, :-1]
        border[1:] |= labels[1:] != labels[:-1]
        drawn[border] = np.rint(0.5 * drawn[border] + 0.5 * np.array(OUTLINE)).astype(np.uint8)
    picture = Image.fromarray(drawn)
    if points is not None:
        draw = ImageDraw.Draw(picture)
        for x, y in mesh[list(KEY_POINTS)]:
            draw.ellipse((x - 2, y - 2, x + 1, y + 1), fill=MARK)
    tile.paste(picture)
    write = ImageDraw.Draw(tile)
    write.text((3, TILE + 2), _shorten_caption(name), fill="black")
    write.text((3, TILE + 15), _shorten_caption(caption), fill=(160, 0, 0))
    return tile


def _shorten_caption(text: str, most: int = 36) -> str:
    """Return the last `most` characters of a string, beginning with … if it is longer."""
    return text if len(text) <= most else "…" + text[-most + 1 :]


def _save_pages(folder: Path, name: str, tiles: list[Image.Image]) -> list[Path]:
    """Arrange tiles on pages, write the pages as numbered PNG files, and return the files."""
    per_page = COLUMNS * ROWS
    pages = []
    for start in range(0, len(tiles), per_page):
        pages.append(folder / f"{name}_{start // per_page + 1:02d}.png")
        _write_png(pages[-1], _arrange_tiles(tiles[start : start + per_page]))
    return pages


def _arrange_tiles(tiles: list[Image.Image]) -> Image.Image:
    """Return a page with tiles arranged in rows."""
    rows = -(-len(tiles) // COLUMNS)
    page = Image.new("RGB", (COLUMNS * TILE, rows * (TILE + CAPTION)), "white")
    for number, tile in enumerate(tiles):
        page.paste(tile, ((number % COLUMNS) * TILE, (number // COLUMNS) * (TILE + CAPTION)))
    return page


def _write_png(path: Path, picture: Image.Image) -> None:
    """Write an image as PNG, atomically."""
    with atomic_write(path) as temporary:
        picture.save(temporary, format="png")
