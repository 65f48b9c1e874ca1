"""Create the images of the documentation from the results of the demonstration study.

    traitlens demo --out demo
    python scripts/draw_pictures.py demo docs/images

Figures are drawn by traitlens itself. If Chromium and playwright are installed, screenshots of the report,
the explorer and a rating session are taken.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from traitlens.report.figures import draw_figure
from traitlens.report.results import read_results
from traitlens.report.style import save_figure
from traitlens.study.describing import describe_mapping
from traitlens.study.formats import read_cells
from traitlens.study.guessing import guess_mapping

FIGURES = (
    "method", "trait_space", "performance", "scatter", "overview", "utilisation", "region_shares",
    "region_differences", "planted", "faces", "transfer",
)  # fmt: skip
"""Figures of the report that the documentation shows."""

SCREEN = {"width": 1280, "height": 800}


def main() -> None:
    """Create all images."""
    study, images = Path(sys.argv[1]), Path(sys.argv[2])
    results = read_results(study / "results")
    for name in FIGURES:
        save_figure(draw_figure(results, name), images / name, ("png",), dpi=110)
        shrink(images / f"{name}.png")
    draw_spreadsheet(images / "spreadsheet.png")
    draw_attributes(images.parent / "one_million_impressions.md", images / "attributes.png")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium:
        photograph(study, images, chromium)


def draw_attributes(page: Path, path: Path) -> None:
    """Draw R² and noise ceiling of each attribute, from the table on the page on One Million Impressions."""
    rows = [
        [cell.strip() for cell in line.strip("|\n").split("|")]
        for line in page.read_text().splitlines()
        if "|" in line
    ]
    shown = [row for row in rows if len(row) == 5 and re.fullmatch(r"0\.\d+", row[1]) and row[0] != "mean"]
    figure = Figure(figsize=(7.2, 5.6), layout="constrained")
    axes = figure.subplots()
    places = range(len(shown))
    axes.plot([float(row[1]) for row in shown], places, "o", markersize=4, label="R² out of fold")
    axes.plot(
        [float(row[3]) for row in shown], places, "|", markersize=7, color="black", label="noise ceiling"
    )
    axes.set_yticks(places, [row[0] for row in shown], fontsize=7)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.grid(axis="x", linewidth=0.4)
    figure.legend(loc="outside upper center", ncols=2)
    figure.savefig(path, dpi=110)
    shrink(path)


def draw_spreadsheet(path: Path) -> None:
    """Draw two Excel tables of ratings, each with the mapping that `traitlens import table` guesses."""
    faces = ["anna_1.jpg", "anna_2.jpg", "bob_1.jpg", "eve_1.jpg"]
    by_judgement = pd.DataFrame(
        {"Participant": ["P1", "P1", "P2", "P2"], "Diagnosis": ["ASD", "ASD", "none", "none"],
         "Face": [faces[0], faces[2], faces[0], faces[2]], "Question": "warm", "Answer": [5, 2, 6, 3]}
    )  # fmt: skip
    by_image = pd.DataFrame(
        {
            "Face": faces,
            "ASD_1": [5, 6, 2, 4],
            "ASD_2": [4, 6, 3, 3],
            "NT_1": [6, 5, 3, 4],
            "NT_2": [5, 5, 2, 4],
        }
    )
    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    titles = ("A row for each judgement", "A row for each image, a column for each rater")
    for axes, title, table in zip(figure.subplots(2, 1), titles, (by_judgement, by_image), strict=True):
        with tempfile.TemporaryDirectory() as folder:
            workbook = Path(folder) / "ratings.xlsx"
            table.to_excel(workbook, index=False)
            chosen = {} if table is by_judgement else {"trait_name": "warm", "columns": "raters"}
            mapping = guess_mapping(read_cells(workbook), faces, **chosen)
        axes.set_axis_off()
        axes.set_title(title, loc="left", fontsize=8, fontweight="bold")
        cells = axes.table(table.to_numpy().astype(str), colLabels=list(table), bbox=(0, 0, 0.6, 1))
        cells.auto_set_font_size(False)
        cells.set_fontsize(7.5)
        text = "Read as\n" + describe_mapping(mapping).replace(": ", ":\n   ", 1 if table is by_image else 0)
        axes.text(0.64, 1, text, transform=axes.transAxes, va="top", fontsize=7.5)
    figure.savefig(path, dpi=110)
    shrink(path)


def shrink(path: Path) -> None:
    """Compress an image file; charts are reduced to 256 colours, which would be too few for maps."""
    with Image.open(path) as image:
        colours = image.convert("RGB")
    is_chart = colours.getcolors(3_000) is not None
    (colours.quantize(256) if is_chart else colours).save(path, optimize=True)


def photograph(study: Path, images: Path, chromium: str) -> None:
    """Take screenshots of the report, the explorer and a rating session in a browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium)
        page = browser.new_page(viewport=SCREEN)
        page.goto((study / "results" / "report.html").resolve().as_uri())
        save(page, images / "report.png")
        for name, command in (
            ("explorer", ["explore", str(study / "results"), "--no-browser"]),
            ("session", ["rate", "serve", str(study), "--participants", "1", "--port", "8765"]),
        ):
            with_server(page, command, images / f"{name}.png")
        browser.close()


def with_server(page, command: list[str], path: Path) -> None:
    """Start a server of traitlens, take a screenshot of its page, and stop the server."""
    started = subprocess.Popen(
        [sys.executable, "-m", "traitlens.cli", *command],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        for line in started.stdout:
            if found := re.search(r"http://\S+", line):
                page.wait_for_timeout(3000)  # the address is printed before the server listens
                page.goto(found[0])
                page.wait_for_timeout(8000)  # the explorer computes its maps
                save(page, path)
                return
    finally:
        started.terminate()
        started.wait()


def save(page, path: Path) -> None:
    """Save a compressed screenshot of the visible part of a page."""
    page.screenshot(path=path)
    shrink(path)


if __name__ == "__main__":
    main()
