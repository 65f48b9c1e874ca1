"""Measure how well linear readouts of VGG16 predict One Million Impressions (Peterson et al. 2022).

    python benchmarks/one_million_impressions.py [--data FOLDER] [--views face full eyes] [--no-mirror]
        [--page docs/one_million_impressions.md]

The data are 1,004 faces with mean ratings of 34 attributes. Folds are ``KFold(10, shuffle=True,
random_state=0)`` over the sorted stimuli 1 to 1004. Whitening of channels, penalties and the pooling of
attributes are fitted in the training part of each fold; scores are pooled over folds. Features are cached in
benchmarks/cache, so an interrupted run can be resumed. Results are printed as in docs/readouts.md and written
to benchmarks/results/one_million_impressions.json.
"""

import argparse
import json
import os
import platform
import time
import zipfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold

ROOT = Path(__file__).resolve().parents[1]
LAYERS = ("block3_pool", "block4_conv2", "block4_pool", "block5_conv1", "block5_conv2")
GRIDS = {"face": (7, 7), "full": (7, 7), "eyes": (7, 14)}
WEIGHTS = {"face": 1.0, "full": 1.0, "eyes": 0.25}
SHRINKAGE = 0.1
START, END = "<!-- table of One Million Impressions -->", "<!-- end of the table -->"

PUBLISHED = {
    "gender": 0.953, "age": 0.943, "long-haired": 0.918, "cute": 0.894, "happy": 0.882, "electable": 0.864,
    "black": 0.858, "outdoors": 0.855, "skin-color": 0.853, "hair-color": 0.849, "trustworthy": 0.846,
    "white": 0.841, "dominant": 0.839, "outgoing": 0.839, "asian": 0.823, "islander": 0.779,
    "middle-eastern": 0.767, "well-groomed": 0.761, "native": 0.728, "attractive": 0.713, "smug": 0.702,
    "hispanic": 0.696, "liberal": 0.692, "gay": 0.683, "smart": 0.658, "privileged": 0.634, "dorky": 0.630,
    "weight": 0.625, "alert": 0.580, "godly": 0.575, "typical": 0.459, "familiar": 0.414, "memorable": 0.405,
    "looks-like-you": 0.392,
}  # fmt: skip
"""R² of a fine-tuned ensemble on DINOv2 ViT-G with other folds (face-trait-transformer, 2025)."""


def read_images(folder: Path, stimuli: Iterable[int]) -> Iterator[np.ndarray]:
    """Yield the images of the faces as RGB arrays (row, column, 3) of uint8."""
    for stimulus in stimuli:
        with Image.open(folder / "images" / f"{stimulus}.jpg") as image:
            yield np.asarray(image.convert("RGB"))


def read_features(folder: Path, stimuli: np.ndarray, views: list[str], mirror: bool) -> dict:
    """Compute the features of all faces, by feature space."""
    import torch

    from traitlens.features.backbone import load_backbone
    from traitlens.features.extraction import extract
    from traitlens.features.feature_spaces import FeatureSpace
    from traitlens.features.taps import Tap

    backbone = load_backbone("vgg16", announce=print)
    torch.set_num_threads(1)  # one image per core is faster than all cores for one image
    features = {}
    for view in views:
        spaces = [FeatureSpace(Tap(layer, GRIDS[view]), view, "sqrt", mirror) for layer in LAYERS]
        bar = Bar(view, len(stimuli))

        def compute(stimulus: int, spaces: list[FeatureSpace] = spaces, bar: Bar = bar) -> dict:
            found = extract(backbone, spaces, np.stack(list(read_images(folder, [stimulus]))))
            bar(1)
            return found

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            computed = list(pool.map(compute, stimuli))
        for space in spaces:
            features[space] = np.concatenate([each.pop(space) for each in computed])
    torch.set_num_threads(os.cpu_count())
    return features


class Bar:
    """Prints the progress after every 100 images."""

    def __init__(self, name: str, total: int):
        self.name, self.total, self.done = name, total, 0

    def __call__(self, steps: int) -> None:
        """Add finished images."""
        self.done += steps
        if self.done % 100 == 0 or self.done == self.total:
            print(f"  {self.name}: {self.done} of {self.total}", flush=True)


def ceilings(folder: Path, splits: int = 20) -> pd.Series:
    """Compute the split-half reliability (Spearman-Brown) of each attribute from random halves of ratings.

    Repeated ratings are left out. The data do not identify raters, so each face's ratings are split.
    """
    with (
        zipfile.ZipFile(folder / "attribute_ratings.zip") as archive,
        archive.open(archive.namelist()[0]) as file,
    ):
        ratings = pd.read_csv(file)
    ratings = ratings[ratings["rating_type"] != "repeat"].reset_index(drop=True)
    rng = np.random.default_rng(0)
    cell = ["attribute", "stimulus"]
    found = []
    for _ in range(splits):
        mixed = ratings.iloc[rng.permutation(len(ratings))]
        mixed = mixed.assign(half=mixed.groupby(cell).cumcount() % 2)
        means = mixed.pivot_table(index=cell, columns="half", values="rating")
        r = means.groupby("attribute")[[0, 1]].corr().iloc[::2, 1].droplevel(1)
        found.append(2 * r / (1 + r))
    return pd.concat(found, axis=1).mean(axis=1)


def conserved(folder: Path, folds: pd.DataFrame, readouts: list, number: int) -> dict[str, float]:
    """Measure how far maps of a few faces, by out-of-fold readouts, are from conservation.

    A map must sum to the explained deviation if the rule ignores biases; with the default rule, biases of
    convolutions absorb a part. The largest gap is returned by rule, as a share of the largest deviation.
    """
    from traitlens.features.backbone import load_backbone
    from traitlens.features.views import FACE_VIEWS
    from traitlens.map_checks.measures import conservation
    from traitlens.relevance.attribution import explain_with_conservation

    chosen = folds[folds["fold"] == 0].head(number)["image"].astype(int).to_numpy()
    images = np.stack(list(read_images(folder, chosen)))
    of_fold = [readout for readout in readouts if readout.fold == 0][::12]
    missing = {}
    for rule in ("lrp.alpha_1_beta_0_ignore_bias", "lrp.sequential_preset_a_flat"):
        account = explain_with_conservation(load_backbone("vgg16"), of_fold, images, rule, views=FACE_VIEWS)
        table = conservation(account)
        gap = (table["explained"] - table["constant"] - table["pixels"]).abs().max()
        missing[rule] = float(gap / table["explained"].abs().max())
    return missing


def main() -> None:
    """Measure performance and conservation, and print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "omi")
    parser.add_argument("--views", nargs="+", choices=list(GRIDS), default=["face", "full"])
    parser.add_argument("--no-mirror", action="store_true", help="half the time for features")
    parser.add_argument("--page", type=Path, help="a page of the documentation that gets the table")
    parser.add_argument("--maps", type=int, default=1, help="faces whose maps are checked")
    options = parser.parse_args()
    if not (options.data / "attribute_means.csv").exists():
        print(f"One Million Impressions is not in {options.data}: passed over; name its folder with --data")
        return
    from traitlens.readouts.ridge import fit_ridge

    means = pd.read_csv(options.data / "attribute_means.csv").sort_values("stimulus")
    stimuli = means["stimulus"].to_numpy()
    start, work = time.perf_counter(), time.process_time()
    features = read_features(options.data, stimuli, options.views, not options.no_mirror)
    seconds = {"features": time.perf_counter() - start, "features_processor": time.process_time() - work}

    folds = pd.DataFrame({"image": stimuli.astype(str), "identity": stimuli, "fold": 0})
    for fold, (_, inside) in enumerate(KFold(10, shuffle=True, random_state=0).split(stimuli)):
        folds.loc[inside, "fold"] = fold
    targets = means.assign(image=folds["image"].to_numpy()).drop(columns="stimulus")
    targets = targets.melt("image", var_name="trait", value_name="rating").assign(group="all")
    weights = {space: WEIGHTS[space.view] for space in features}
    start, work = time.perf_counter(), time.process_time()
    fitted = fit_ridge(
        features, targets, folds, weights=weights, sharing=0.0, whiten=SHRINKAGE, across_traits=True,
        progress=Bar("readouts", 340),
    )  # fmt: skip
    seconds |= {"readouts": time.perf_counter() - start, "readouts_processor": time.process_time() - work}

    by_trait = fitted.predictions.groupby("trait", sort=False)
    table = pd.DataFrame(
        {
            "R2": by_trait.apply(lambda part: r2_score(part["observed"], part["predicted"])),
            "r": by_trait.apply(lambda part: part["observed"].corr(part["predicted"])),
        }
    )
    table["ceiling R2"] = ceilings(options.data)
    table["published R2"] = pd.Series(PUBLISHED)
    table = table.sort_values("R2", ascending=False)
    missing = conserved(options.data, folds, list(fitted.readouts), options.maps)
    print(as_markdown(table))
    facts = {
        "mean": table.mean().round(4).to_dict(),
        "views": options.views,
        "mirror": not options.no_mirror,
        "missing_in_maps": missing,
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "machine": platform.processor() or platform.machine(),
        "table": table.round(4).reset_index().to_dict("records"),
    }
    results = ROOT / "benchmarks" / "results"
    results.mkdir(parents=True, exist_ok=True)
    (results / "one_million_impressions.json").write_text(json.dumps(facts, indent=1))
    print({name: value for name, value in facts.items() if name != "table"})
    if options.page is not None:
        write_page(options.page, as_markdown(table))


def as_markdown(table: pd.DataFrame) -> str:
    """Return the table in Markdown, with a last row of means."""
    lines = ["| attribute | " + " | ".join(table.columns) + " |", "|---" * (1 + table.shape[1]) + "|"]
    lines += [
        f"| {name} | " + " | ".join(f"{value:.3f}" for value in row) + " |"
        for name, *row in table.itertuples()
    ]
    return "\n".join([*lines, "| mean | " + " | ".join(f"{value:.3f}" for value in table.mean()) + " |"])


def write_page(page: Path, table: str) -> None:
    """Replace the table on a page, between the marker lines."""
    before, _, rest = page.read_text(encoding="utf-8").partition(START)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{START}\n{table}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
