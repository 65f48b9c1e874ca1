"""Measure time, memory and disk space of a run by the number of images, readouts, raters and workers.

    python benchmarks/growth.py [--size 64] [--images 100 200 400 800] [--readout ridge] [--workers 2]
                                [--folds 5] [--given]

Draws a few faces, creates studies of different numbers of images from them, and runs every stage in a
separate process to measure its peak memory. Then fits exponents of growth (1: proportional to the number of
images). Prints tables and writes benchmarks/results/growth-READOUT-SIZE.json, from which the documentation
extrapolates.

Two peaks of memory are printed. "resident" is the resident memory, including cached pages of files; "own" is
the memory that the system cannot reclaim, which decides whether a run fits into memory.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from traitlens.api import Run
from traitlens.storage import size_of
from traitlens.study.reading import Study
from traitlens.study.simulated_study import simulate_study

RESULTS = Path(__file__).resolve().parent / "results"
DRAWN = 50
STAGES = ("quality", "prepare", "features", "fit", "maps", "report")
SETTINGS = """
[comparison]
permutations = 0
cues = false

[run]
keep_maps = "sample"
"""
STAGE = """
import resource, sys, threading, time
from pathlib import Path
from traitlens.computing import Machine
from traitlens.api import Run
from traitlens.study.reading import Study

own = [0]

def watch():
    while True:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                own[0] = max(own[0], int(line.split()[1]))
        time.sleep(0.02)

if __name__ == "__main__":
    folder, stage, workers = sys.argv[1:]
    if Path("/proc/self/status").exists():
        threading.Thread(target=watch, daemon=True).start()
    run = Run(Study.load(folder), machine=Machine(workers=int(workers) or None))
    start = time.perf_counter()
    run.make(stage)
    seconds = time.perf_counter() - start
    run.close()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(seconds, own[0] * 1024 / 1e9, most * (1 if sys.platform == "darwin" else 1024) / 1e9)
"""


def draw(folder: Path, size: int, traits: int, raters: int, readout: str, folds: int, given: bool) -> None:
    """Create a study of drawn faces, optionally with landmarks, from which larger studies are made."""
    simulate_study(
        folder, identities=DRAWN, images=1, traits=traits, raters=raters, size=size, seen_size=size
    )
    settings = (folder / "study.toml").read_text(encoding="utf-8")
    settings = settings.replace('method = "ridge"', f'method = "{readout}"') + SETTINGS
    if readout == "dense":
        settings = re.sub(r"grid = \d+", "grid = 1", settings)  # averaged, as in Cao et al. (2023)
    settings = re.sub(r"number = \d+", f"number = {folds}", settings)
    (folder / "study.toml").write_text(settings, encoding="utf-8")
    if given:
        run = Run(Study.load(folder))
        run.make("landmarks")
        run.close()
        shutil.copy(run.results / "landmarks.csv", folder / "landmarks.csv")


def multiply(drawn: Path, folder: Path, images: int) -> None:
    """Create a study with any number of images by repeating the drawn images under new identities."""
    folder.mkdir()
    shutil.copy(drawn / "study.toml", folder)
    names = pd.read_csv(drawn / "images.csv")["image"].tolist()
    wanted = [(f"{turn:03d}-{name}", name) for turn in range(-(-images // DRAWN)) for name in names][:images]
    for name, source in wanted:
        file = folder / "images" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        os.link(drawn / "images" / source, file)
    pairs = pd.DataFrame(wanted, columns=["image", "source"])
    for table in ("images.csv", "ratings.csv", "landmarks.csv"):
        rows = pd.read_csv(drawn / table, dtype={"identity": str}).rename(columns={"image": "source"})
        rows = pairs.merge(rows, on="source").drop(columns="source")
        if "identity" in rows:
            rows["identity"] = rows["image"].str.split("/").str[0]
        rows.to_csv(folder / table, index=False)


def measure(folder: Path, workers: int = 0) -> dict[str, dict[str, float]]:
    """Run a study stage by stage; return seconds and peak memory of each stage, and the total disk space."""
    shutil.rmtree(folder / "results", ignore_errors=True)
    script = folder / "stage.py"
    script.write_text(STAGE, encoding="utf-8")
    found = {}
    for stage in STAGES:
        command = [sys.executable, str(script), str(folder), stage, str(workers)]
        output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        seconds, own, resident = map(float, output.split())
        found[stage] = {"seconds": round(seconds, 2), "own": round(own, 3), "resident": round(resident, 3)}
        print(f"    {stage:10} {seconds:8.1f} s {own:6.2f} GB own {resident:6.2f} GB resident", flush=True)
    found["disk"] = {"GB": size_of(folder / "results") / 1e9}
    print(f"    disk       {found['disk']['GB']:8.3f} GB", flush=True)
    return found


def exponents(sizes: list[int], measured: list[dict[str, dict[str, float]]]) -> dict[str, float]:
    """Fit the exponent of growth of each stage's time to the larger half of the sizes."""
    half = max(2, len(sizes) // 2 + 1)
    grown = {}
    for stage in STAGES:
        seconds = [found[stage]["seconds"] for found in measured]
        slope = np.polyfit(np.log(sizes[-half:]), np.log(np.maximum(seconds[-half:], 1e-3)), 1)[0]
        grown[stage] = round(float(slope), 2)
    return grown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--images", type=int, nargs="+", default=[100, 200, 400, 800])
    parser.add_argument("--traits", type=int, nargs="+", default=[2])
    parser.add_argument("--raters", type=int, nargs="+", default=[5])
    parser.add_argument("--workers", type=int, nargs="*", default=[])
    parser.add_argument("--readout", default="ridge", help="ridge or dense")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--given", action="store_true", help="give all landmarks, so that none is detected")
    options = parser.parse_args()
    told: dict[str, object] = {"machine": platform.processor() or platform.machine(), "size": options.size}
    with tempfile.TemporaryDirectory() as scratch:

        def once(images: int, traits: int, raters: int, workers: int = 0) -> dict[str, dict[str, float]]:
            drawn = Path(scratch) / f"drawn-{traits}-{raters}"
            if not drawn.exists():
                draw(drawn, options.size, traits, raters, options.readout, options.folds, options.given)
            folder = Path(scratch) / f"{images}-{traits}-{raters}"
            if not folder.exists():
                multiply(drawn, folder, images)
            print(f"{images} images, {2 * traits} readouts, {2 * raters} raters, {workers or 'no'} workers:")
            return measure(folder, workers)

        traits, raters = options.traits[0], options.raters[0]
        by_images = [once(number, traits, raters) for number in options.images]
        told["images"] = dict(zip(map(str, options.images), by_images, strict=True))
        if len(by_images) > 1:
            told["exponents"] = exponents(options.images, by_images)
            print("exponents of time:", told["exponents"])
        first = options.images[0]
        told["readouts"] = {2 * number: once(first, number, raters) for number in options.traits[1:]}
        told["raters"] = {2 * number: once(first, traits, number) for number in options.raters[1:]}
        told["workers"] = {number: once(first, traits, raters, number) for number in options.workers}
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"growth-{options.readout}-{options.size}.json"
    file.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
