"""Time, memory and disk of a run against the number of images, readouts, raters and workers.

    python benchmarks/growth.py [--size 64] [--images 100 200 400 800] [--raters 5 20 80] [--workers 1 2]

Draws studies, runs them stage by stage, each stage in a process of its own (so that its peak memory is its
own), and fits exponents: what doubles with the images has exponent 1. Prints a table and writes
benchmarks/results/growth.json. What the documentation extrapolates comes from here.
"""

import argparse
import json
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from traitlens.keeping import size_of
from traitlens.study.simulation import simulate_study

RESULTS = Path(__file__).resolve().parent / "results"
STAGES = ("rate", "prepare", "features", "fit", "explain", "report")
SETTINGS = """
[comparison]
permutations = 0
cues = false

[run]
keep_maps = "sample"
"""
STAGE = """
import resource, sys, time
from traitlens.pipeline import Machine, Run
from traitlens.study.reading import Study

if __name__ == "__main__":
    folder, stage, workers = sys.argv[1:]
    run = Run(Study.load(folder), machine=Machine(workers=int(workers) or None))
    start = time.perf_counter()
    made = getattr(run, stage)
    if callable(made):
        made()
    seconds = time.perf_counter() - start
    run.close()
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(seconds, most * (1 if sys.platform == "darwin" else 1024) / 1e9)
"""


def draw(folder: Path, size: int, images: int, traits: int, raters: int) -> None:
    simulate_study(
        folder, identities=images, images=1, traits=traits, raters=raters, size=size, seen_size=size
    )
    with (folder / "study.toml").open("a", encoding="utf-8") as settings:
        settings.write(SETTINGS)


def measure(folder: Path, workers: int = 0) -> dict[str, dict[str, float]]:
    """Run a study stage by stage; give seconds and peak GB of each, and the disk of all."""
    shutil.rmtree(folder / "results", ignore_errors=True)
    script = folder / "stage.py"
    script.write_text(STAGE, encoding="utf-8")
    found = {}
    for stage in STAGES:
        command = [sys.executable, str(script), str(folder), stage, str(workers)]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        seconds, memory = map(float, told.split())
        found[stage] = {"seconds": round(seconds, 2), "memory": round(memory, 3)}
        print(f"    {stage:10} {seconds:8.1f} s {memory:6.2f} GB", flush=True)
    found["disk"] = {"GB": size_of(folder / "results") / 1e9}
    return found


def exponents(sizes: list[int], measured: list[dict[str, dict[str, float]]]) -> dict[str, float]:
    """Fit how each stage's seconds grow, from the larger half of the sizes."""
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
    options = parser.parse_args()
    told: dict[str, object] = {"machine": platform.processor() or platform.machine(), "size": options.size}
    with tempfile.TemporaryDirectory() as scratch:

        def once(images: int, traits: int, raters: int, workers: int = 0) -> dict[str, dict[str, float]]:
            folder = Path(scratch) / f"{images}-{traits}-{raters}"
            if not folder.exists():
                draw(folder, options.size, images, traits, raters)
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
    (RESULTS / "growth.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
