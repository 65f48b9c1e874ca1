"""Writing and reading of altered pictures, which are marked as altered in their names and metadata."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, PngImagePlugin

from traitlens.problems import Problem, TraitlensError
from traitlens.storage import atomic_write

KEY = "traitlens"
"""Keyword of the text in a PNG file that contains the picture's provenance."""

STATEMENT = (
    "This picture was altered by computer for a rating experiment. It does not show the person as he or she "
    "is, and says nothing about the person."
)
MARK = "ALTERED"
"""Part of the file names of altered pictures."""

XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicallyEnhanced"/>
</rdf:RDF></x:xmpmeta>"""
"""Metadata in the vocabulary of the IPTC, which picture agencies and web services read."""

TILE, CAPTION, TRIPLES, ROWS = 220, 30, 2, 6


def write_picture(path: Path, pixels: np.ndarray, provenance: Mapping[str, Any]) -> None:
    """Write an altered picture as a PNG file, with its provenance in the metadata.

    Parameters
    ----------
    path : Path
        The PNG file.
    pixels : ndarray (row, column, 3) of uint8
        The picture.
    provenance : mapping
        Description of the alteration, which can be written as JSON.
    """
    text = PngImagePlugin.PngInfo()
    text.add_itxt("Description", STATEMENT)
    text.add_itxt("XML:com.adobe.xmp", XMP)
    text.add_itxt(KEY, json.dumps({"altered": True, **provenance}, ensure_ascii=False))
    with atomic_write(path) as temporary:
        Image.fromarray(pixels).save(temporary, "PNG", pnginfo=text)


def read_provenance(path: Path) -> dict[str, Any]:
    """Read the description of the alteration from the metadata of an altered picture.

    Raises
    ------
    TraitlensError
        If the file contains no provenance.
    """
    try:
        with Image.open(path, formats=("PNG",)) as image:
            image.load()
            return dict(json.loads(getattr(image, "text", {})[KEY]))
    except (OSError, KeyError, ValueError, TypeError) as error:
        problem = Problem("contains no provenance of an altered picture", "create it again", str(path))
        raise TraitlensError(problem) from error


def write_contact_sheet(
    folder: Path, triples: Sequence[tuple[str, Sequence[np.ndarray | None]]]
) -> list[Path]:
    """Write contact sheets that show lowered, original and raised versions of faces side by side.

    Parameters
    ----------
    folder : Path
        Folder for the pages `contact_sheet_01.png`, `contact_sheet_02.png`, and so on.
    triples : sequence of (str, sequence of ndarray or None)
        A caption with its pictures; None for a picture that was left out.

    Returns
    -------
    list of Path
        The files of the pages.
    """
    pages: list[Path] = []
    per_page = TRIPLES * ROWS
    for start in range(0, len(triples), per_page):
        own = triples[start : start + per_page]
        wide = max(len(pictures) for _, pictures in own) * TILE + 10
        rows = -(-len(own) // TRIPLES)
        page = Image.new("RGB", (TRIPLES * wide, rows * (TILE + CAPTION)), "white")
        draw = ImageDraw.Draw(page)
        for number, (caption, pictures) in enumerate(own):
            left, top = (number % TRIPLES) * wide, (number // TRIPLES) * (TILE + CAPTION)
            draw.text((left + 4, top + TILE + 4), caption, fill="black")
            for place, pixels in enumerate(pictures):
                corner = left + place * TILE
                if pixels is None:
                    draw.text((corner + 60, top + TILE // 2), "left out", fill=(160, 0, 0))
                    continue
                tile = Image.fromarray(pixels)
                tile.thumbnail((TILE, TILE))
                page.paste(tile, (corner + (TILE - tile.width) // 2, top + (TILE - tile.height) // 2))
        pages.append(folder / f"contact_sheet_{len(pages) + 1:02d}.png")
        with atomic_write(pages[-1]) as temporary:
            page.save(temporary, "PNG")
    return pages
