"""Measure how well regional readouts predict One Million Impressions, and the cost of regional features.

    python benchmarks/regional.py [--data FOLDER] [--faces 400] [--cost]

The data are a random sample of the faces of Peterson et al. (2022) with mean ratings of 34 attributes.
Features are block 4 pool on a grid of 7 x 7; there are ten folds, ``KFold(10, shuffle=True,
random_state=0)``, and penalties are chosen in inner folds. Prints R² and r, averaged over attributes, for the
whole face, the regions, and both together, and the share of each region in the variance of the predictions.
With ``--cost``, prints instead the time for all regional features of a face, in units of a pass through the
network, on one thread. Features are cached in benchmarks/cache.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.model_selection import KFold

from traitlens.faces.cropping import prepare_image
from traitlens.faces.images import load_image
from traitlens.faces.landmarks import find_landmarks
from traitlens.features.backbone import load_backbone
from traitlens.features.extraction import extract
from traitlens.features.feature_spaces import FeatureSpace
from traitlens.features.region_features import RegionalExtractor, RegionalFaces, average_face
from traitlens.features.taps import Tap
from traitlens.readouts.kernels import linear_kernel
from traitlens.readouts.region_readouts import cross_fit_cues

ROOT = Path(__file__).resolve().parents[1]
TAP, SIZE = Tap("block4_pool", 7), 224


def prepare(folder: Path, number: int) -> tuple[list[int], np.ndarray, list[np.ndarray]]:
    """Prepare a random sample of the faces; return their numbers, pixels and landmarks."""
    stimuli = sorted(int(path.stem) for path in (folder / "images").glob("*.jpg"))
    chosen = sorted(np.random.default_rng(0).permutation(stimuli)[:number].tolist())
    paths = {str(one): folder / "images" / f"{one}.jpg" for one in chosen}
    landmarks = find_landmarks(paths)
    kept, pixels, points = [], [], []
    for name, path in paths.items():
        mesh = landmarks.points(name)
        if mesh is not None:
            prepared = prepare_image(load_image(path), SIZE, "face", mesh)
            kept.append(int(name))
            pixels.append(prepared.pixels)
            points.append(prepared.frame.map_points(mesh))
    return kept, np.stack(pixels), points


def read(pixels: np.ndarray, points: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Compute the features of the whole face ("") and of each region."""
    faces = RegionalFaces(average_face(pixels))
    spaces = [FeatureSpace(TAP, region=region) for region in ("", *faces.regions)]
    extractor = RegionalExtractor(load_backbone("vgg16", announce=print), spaces, faces)
    found: dict[str, list[np.ndarray]] = {space.region: [] for space in spaces}
    for place, (image, mesh) in enumerate(zip(pixels, points, strict=True)):
        for space, values in extractor.extract(image, faces.masks(mesh)).items():
            found[space.region].append(values)
        if (place + 1) % 50 == 0:
            print(f"  {place + 1} of {len(pixels)} faces", flush=True)
    return {region: np.stack(values) for region, values in found.items()}


def measure_cost(pixels: np.ndarray, points: list[np.ndarray], number: int = 12) -> None:
    """Compare the processor time of regional features with that of passes through the network."""
    backbone = load_backbone("vgg16", announce=print)
    faces = RegionalFaces(average_face(pixels))
    spaces = [FeatureSpace(TAP, region=region) for region in faces.regions]
    extractor = RegionalExtractor(backbone, spaces, faces)
    masks = [faces.masks(mesh) for mesh in points[: number + 1]]
    seconds = np.zeros(2)
    for place in range(number + 1):
        start = time.process_time()
        extract(backbone, [FeatureSpace(TAP)], pixels[place][None])
        middle = time.process_time()
        extractor.extract(pixels[place], masks[place])
        if place > 0:  # the first face includes the preparation of the network
            seconds += middle - start, time.process_time() - middle
    whole, regional = seconds / number
    print(f"whole face {whole:.3f} s, all regions {regional:.3f} s: {regional / whole:.2f} passes")


def compare(features: dict[str, np.ndarray], ratings: pd.DataFrame) -> None:
    """Print the performance of each set of feature spaces, and the shares of the regions."""
    kernels = {FeatureSpace(TAP, region=name): linear_kernel(values) for name, values in features.items()}
    folds = np.zeros(len(ratings), int)
    for fold, (_, inside) in enumerate(KFold(10, shuffle=True, random_state=0).split(ratings)):
        folds[inside] = fold
    regional = {space: kernel for space, kernel in kernels.items() if space.region}
    sets = {
        "whole face": {space: kernel for space, kernel in kernels.items() if not space.region},
        "regions": regional,
        "regions without background": {s: k for s, k in regional.items() if s.region != "background"},
        "whole face and regions": kernels,
    }
    observed = ratings.to_numpy(float)
    for name, some in sets.items():
        cues = cross_fit_cues(some, observed, folds, np.arange(len(ratings)))
        errors = ((cues.predictions.T - observed) ** 2).sum(axis=0)
        r2 = 1 - errors / ((observed - observed.mean(axis=0)) ** 2).sum(axis=0)
        r = [np.corrcoef(*pair)[0, 1] for pair in zip(cues.predictions, observed.T, strict=True)]
        print(f"{name:28} R² {r2.mean():.3f}  r {np.mean(r):.3f}", flush=True)
        if name == "regions":
            sums = cues.values.sum(axis=1, keepdims=True)
            centred = cues.values - cues.values.mean(axis=2, keepdims=True)
            shares = (centred * (sums - sums.mean())).mean(axis=2) / sums.var(axis=2)
            table = pd.DataFrame(shares, ratings.columns, cues.regions).round(2)
    print(table.to_string())


def main() -> None:
    """Measure performance or cost, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "omi")
    parser.add_argument("--faces", type=int, default=400)
    parser.add_argument("--cost", action="store_true", help="time regional features")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    stimuli, pixels, points = prepare(arguments.data, 40 if arguments.cost else arguments.faces)
    if arguments.cost:
        measure_cost(pixels, points)
        return
    cache = ROOT / "benchmarks" / "cache" / f"regional_{arguments.faces}.npz"
    if not cache.exists():
        cache.parent.mkdir(exist_ok=True)
        np.savez(cache, **{name or "whole": values for name, values in read(pixels, points).items()})
    with np.load(cache) as kept:
        features = {"" if name == "whole" else name: kept[name] for name in kept.files}
    means = pd.read_csv(arguments.data / "attribute_means.csv").set_index("stimulus")
    compare(features, means.loc[stimuli])


if __name__ == "__main__":
    main()
