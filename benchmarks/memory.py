"""Measure the memory needed for maps, and whether it grows with the number of images.

    python benchmarks/memory.py [--images 1000] [--readouts 22] [--size 224]

Explains simulated images one after another, and prints the peak resident memory.
"""

import argparse
import resource
import sys

import numpy as np


def peak_gigabytes() -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--readouts", type=int, default=22)
    parser.add_argument("--size", type=int, default=224)
    options = parser.parse_args()

    from traitlens.features.backbone import load_backbone
    from traitlens.features.feature_spaces import FeatureSpace
    from traitlens.features.taps import Tap
    from traitlens.readouts.readout import LinearPart, LinearReadout
    from traitlens.relevance.attribution import Explainer

    rng = np.random.default_rng(0)
    space, shape = FeatureSpace(Tap("block4_pool", 7)), (512, 7, 7)
    readouts = [
        LinearReadout("", str(number), -1, (LinearPart(space, rng.normal(size=shape), np.ones(shape)),), 0.0)
        for number in range(options.readouts)
    ]
    images = (
        rng.integers(0, 256, (options.size, options.size, 3), dtype=np.uint8) for _ in range(options.images)
    )
    print(f"before: {peak_gigabytes():.2f} GB")
    explainer = Explainer(load_backbone("vgg16"), readouts)
    for number, image in enumerate(images, 1):
        explainer.explain(image)
        if number in (1, 3, 10, 100) or number == options.images:
            print(f"{number} images: {peak_gigabytes():.2f} GB", flush=True)


if __name__ == "__main__":
    main()
