"""Measure memory and time of the steps without a network, for large numbers of images.

    python benchmarks/tables.py [--images 2000 20000] [--parts study landmarks performance regions ridge]

Each part uses random data in a separate process. Prints the peak memory, without that of the program itself,
and the memory held at the end.

study        read a study of images with 478 landmarks and 20 ratings each
landmarks    write and read landmarks.csv with 478 points per image
performance  compute 2,000 bootstrap samples and permutations of one readout
regions      join the region sums of 4 readouts, and write regions.csv with unions of regions
ridge        fit 4 ridge readouts of 8,192 features in two folds, with large kernels in files
"""

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from traitlens import storage
from traitlens.computing.blocks import blocks_of
from traitlens.faces.landmarks import _tabulate
from traitlens.faces.prepared_faces import read_points
from traitlens.faces.regions import REGIONS
from traitlens.features.feature_spaces import FeatureSpace
from traitlens.features.taps import Tap
from traitlens.readouts.kernels import pieces
from traitlens.readouts.performance import performance
from traitlens.readouts.ridge import fit_ridge
from traitlens.relevance.region_table import RegionTables, unite_regions
from traitlens.study.reading import Study


def draw_study(images: int, folder: Path) -> None:
    names = np.array([f"{number:06d}/01.png" for number in range(images)])
    (folder / "images").mkdir()
    for name in names:
        (folder / "images" / name).parent.mkdir()
        (folder / "images" / name).touch()
    rng = np.random.default_rng(0)
    points = (_tabulate({name: rng.uniform(0, 224, (478, 2)).round(2)}) for name in names)
    storage.write_table(folder / "landmarks.csv", points)
    raters = pd.MultiIndex.from_product(
        [names, ["warm", "strong"], [f"rater {number:02d}" for number in range(10)]],
        names=["image", "trait", "rater"],
    ).to_frame(index=False)
    raters["group"] = np.where(raters["rater"] < "rater 05", "first", "second")
    raters["rating"] = rng.integers(1, 8, len(raters))
    storage.write_table(folder / "ratings.csv", raters)
    (folder / "study.toml").write_text('name = "drawn"\nscale = [1, 7]\n', encoding="utf-8")


def study(images: int, folder: Path) -> object:
    with ProcessPoolExecutor(1) as elsewhere:
        elsewhere.submit(draw_study, images, folder).result()
    return Study.load(folder)


def landmarks(images: int, folder: Path) -> None:
    rng = np.random.default_rng(0)
    meshes = {f"{number:06d}/01.png": rng.uniform(0, 224, (478, 2)) for number in range(images)}
    storage.write_table(folder / "landmarks.csv", _tabulate(meshes))
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
    sums = np.full((2, 2, images, len(REGIONS), 2), np.nan)
    for positions, arrays in parts:
        sums[:, :, positions] = arrays["regions"]
    tables = RegionTables(sums, names, groups, traits, list(REGIONS))
    storage.write_table(folder / "regions.csv", tables())
    storage.write_table(folder / "region_unions.csv", map(unite_regions, tables()))


def ridge(images: int, folder: Path) -> None:
    rng = np.random.default_rng(0)
    features = np.memmap(folder / "features", np.float32, "w+", shape=(images, 512, 4, 4))
    for rows in pieces(images, 512):
        features[rows] = rng.normal(size=features[rows].shape)
    numbers = np.arange(images)
    folds = pd.DataFrame({"image": numbers, "identity": numbers, "fold": numbers % 2})
    targets = [
        pd.DataFrame({"group": group, "trait": trait, "image": numbers, "rating": rng.normal(size=images)})
        for group in ("first", "second")
        for trait in ("warm", "strong")
    ]
    fit_ridge(
        {FeatureSpace(Tap("block4_pool", 4)): features}, pd.concat(targets), folds, sharing=1, scratch=folder
    )


PARTS = {
    "study": study,
    "landmarks": landmarks,
    "performance": performance_of,
    "regions": regions,
    "ridge": ridge,
}


def own_memory() -> float:
    """Return the bytes of this process that the system cannot reclaim (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(float(line.split()[1]) for line in lines if line.startswith("RssAnon:"))


def run_part(name: str, images: int) -> None:
    """Run one part in this process, and print its seconds and GB."""
    before, peak, done = own_memory(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            peak[0] = max(peak[0], own_memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        held = PARTS[name](images, Path(folder))
    seconds = time.process_time() - start
    done.set()
    watcher.join()
    at_end = 0.0 if held is None else own_memory() - before
    told = f"{(peak[0] - before) / 1e9:6.2f} GB, {at_end / 1e9:.2f} GB at the end"
    print(f"{name:12} {images:7} images {seconds:8.1f} s of one core {told}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[2000, 20000])
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=["study", "landmarks", "performance", "regions"]
    )
    options = parser.parse_args()
    if len(options.parts) == len(options.images) == 1:
        run_part(options.parts[0], options.images[0])
        return
    for part in options.parts:
        for images in options.images:
            subprocess.run([sys.executable, __file__, "--parts", part, "--images", str(images)], check=True)


if __name__ == "__main__":
    main()
