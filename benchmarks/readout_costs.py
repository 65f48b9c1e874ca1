"""Measure time and memory of ridge readouts for several numbers of images, readouts and feature spaces.

    python benchmarks/readout_costs.py

Features are random and of the default size (512 channels on a grid of 7 x 7); there are five folds. Processor
seconds are summed over threads; memory is the peak memory of the process, including the features.
"""

import resource
import subprocess
import sys
import time

import numpy as np
import pandas as pd

SIZES = [
    *[(images, 10, 1) for images in (100, 300, 1000, 3000)],
    *[(300, readouts, 1) for readouts in (100, 1000)],
    *[(300, 10, spaces) for spaces in (5, 15)],
]
"""Numbers of images, of readouts (groups by traits), and of feature spaces."""


def measure(images: int, targets: int, spaces: int) -> None:
    """Fit readouts of one size and print a row of the table."""
    from traitlens.features.feature_spaces import FeatureSpace
    from traitlens.features.taps import Tap
    from traitlens.readouts.ridge import fit_ridge

    rng = np.random.default_rng(0)
    features = {
        FeatureSpace(Tap(f"layer{number}", 7)): rng.random((images, 512, 7, 7), np.float32)
        for number in range(spaces)
    }
    folds = pd.DataFrame({"image": range(images), "identity": range(images), "fold": np.arange(images) % 5})
    ratings = pd.DataFrame(rng.normal(size=(images, targets))).assign(image=folds["image"], group="all")
    table = ratings.melt(["image", "group"], var_name="trait", value_name="rating")
    start, work = time.perf_counter(), time.process_time()
    fit_ridge(features, table, folds)
    seconds, work = time.perf_counter() - start, time.process_time() - work
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"| {images} | {targets} | {spaces} | {work:.1f} | {seconds:.1f} | {gigabytes:.2f} |", flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(*map(int, sys.argv[1:]))
    else:
        print(
            "| images | readouts per fold | spaces | processor s | s | memory GB |\n|---|---|---|---|---|---|"
        )
        for size in SIZES:
            subprocess.run([sys.executable, __file__, *map(str, size)], check=True)
