"""Memory and time of what grows with the number of images and needs no network.

    python benchmarks/tables.py [--images 2000 20000] [--parts landmarks performance regions fold]

Each part works on drawn numbers, in a process of its own; its peak memory is told without the program's.

landmarks    478 points an image written to landmarks.csv, and read again
performance  2,000 bootstrap samples and permutations of one readout
regions      region sums of 4 readouts put together, written as regions.csv and its unions
fold         one factorisation of a ridge readout's kernel, for four fifths of the images
"""

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd

from traitlens import keeping
from traitlens.faces.landmarks import _tabulate
from traitlens.faces.regions import REGIONS
from traitlens.pipeline.blocks import blocks_of
from traitlens.pipeline.explaining import unite_regions
from traitlens.pipeline.preparing import read_points
from traitlens.pipeline.relevance_stores import Former, _gather_sums, _Tables
from traitlens.readouts.choosing import Factorised
from traitlens.readouts.performance import performance


def landmarks(images: int, folder: Path) -> None:
    rng = np.random.default_rng(0)
    meshes = {f"{number:06d}/01.png": rng.uniform(0, 224, (478, 2)) for number in range(images)}
    keeping.write_table(folder / "landmarks.csv", _tabulate(meshes))
    assert len(read_points(folder / "landmarks.csv")) == images


def performance_of(images: int, _folder: Path) -> None:
    rng = np.random.default_rng(0)
    observed = rng.normal(size=images)
    numbers = np.arange(images)
    performance(
        pd.DataFrame(
            {
                "image": numbers,
                "identity": numbers,
                "group": "all",
                "trait": "warm",
                "fold": numbers % 5,
                "observed": observed,
                "predicted": observed + rng.normal(size=images),
            }
        )
    )


def regions(images: int, folder: Path) -> None:
    groups, traits = ["first", "second"], ["warm", "strong"]
    names = np.array([f"{number:06d}/01.png" for number in range(images)], object)
    rng = np.random.default_rng(0)
    blocks = list(blocks_of(np.arange(images)))
    parts = [
        (positions, {"regions": rng.normal(size=(2, 2, len(positions), len(REGIONS), 2))})
        for positions in blocks
    ]
    sums = _gather_sums(parts, (2, 2, images, len(REGIONS)))
    tables = _Tables(sums, traits, Former([]), names, groups, traits, REGIONS)
    keeping.write_table(folder / "regions.csv", tables)
    keeping.write_table(folder / "region_unions.csv", map(unite_regions, tables))


def fold(images: int, _folder: Path) -> None:
    count = images * 4 // 5
    kernel = np.eye(count)
    kernel[:] += np.linspace(0, 1, count)
    kernel += np.linspace(0, 1, count)[:, None]
    Factorised.of(kernel).solve(np.ones((count, 4 * 17)), np.repeat(np.logspace(-5, 3, 17), 4))


PARTS = {"landmarks": landmarks, "performance": performance_of, "regions": regions, "fold": fold}


def own_memory() -> float:
    """Bytes that this process would not give back (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(float(line.split()[1]) for line in lines if line.startswith("RssAnon:"))


def run_part(name: str, images: int) -> None:
    """Run one part here, and print its seconds and GB."""
    before, peak, done = own_memory(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            peak[0] = max(peak[0], own_memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        PARTS[name](images, Path(folder))
    seconds = time.process_time() - start
    done.set()
    watcher.join()
    print(f"{name:12} {images:7} images {seconds:8.1f} s of one core {(peak[0] - before) / 1e9:6.2f} GB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[2000, 20000])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=["landmarks", "performance", "regions"])
    options = parser.parse_args()
    if len(options.parts) == len(options.images) == 1:
        run_part(options.parts[0], options.images[0])
        return
    for part in options.parts:
        for images in options.images:
            subprocess.run([sys.executable, __file__, "--parts", part, "--images", str(images)], check=True)


if __name__ == "__main__":
    main()
