"""Measure false positives of the report's tests on random halves of real ratings (One Million Impressions).

    python benchmarks/random_halves.py [--data FOLDER] [--first 200] [--splits 100] [--permutations 199]

The data are ratings of 80 faces on 10 attributes, without repeated ratings. They do not identify raters, so
the n-th rating of every face, in random order, is treated as one rater of the attribute. These raters are
split into two halves, which are compared as in a report. A split is a false positive if any question is
answered "yes" after correction for the number of questions. The seed of the first split is --first. Writes
benchmarks/results/random_halves.csv, with the smallest corrected p of each question, by split.
"""

import argparse
import shutil
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from traitlens.api import Run
from traitlens.artifacts import REGIONAL_KERNELS
from traitlens.comparison.answers import ALPHA, answer_questions
from traitlens.comparison.by_rating import compare_means
from traitlens.comparison.by_reliability import compare_reliability
from traitlens.comparison.by_use import by_question, compare_use
from traitlens.comparison.common_cues import CommonCues, pool_targets
from traitlens.study.reading import Study

ROOT = Path(__file__).resolve().parents[1]
FACES = 80
TRAITS = [
    "trustworthy", "attractive", "dominant", "smart", "age", "happy", "outgoing", "gender", "memorable",
    "familiar",
]  # fmt: skip
SETTINGS = """
name = "Random halves"
scale = [0, 100]
[faces]
size = 128
[readout]
grid = 4
"""


def read_judgements(data: Path) -> pd.DataFrame:
    """Read the ratings of some faces as a table of image, trait and rating."""
    with zipfile.ZipFile(data / "attribute_ratings.zip") as archive:
        table = pd.read_csv(archive.open(archive.namelist()[0]))
    faces = np.random.default_rng(0).choice(np.arange(1, 1005), FACES, replace=False)
    chosen = table["attribute"].isin(TRAITS) & table["stimulus"].isin(faces)
    table = table[chosen & (table["rating_type"] == "normal")]
    image = table["stimulus"].astype(str) + ".jpg"
    return pd.DataFrame(
        {"image": image, "trait": table["attribute"], "rating": table["rating"].astype(float)}
    )


def split(judgements: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Assign the ratings of each face and trait to two halves at random."""
    mixed = judgements.sample(frac=1, random_state=seed)
    turn = mixed.groupby(["trait", "image"]).cumcount()
    return mixed.assign(
        rater=mixed["trait"] + "-" + turn.astype(str), group=np.where(turn % 2 == 0, "a", "b")
    )


def see(data: Path, judgements: pd.DataFrame) -> CommonCues:
    """Compute the regional features of the faces."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "images").mkdir()
        for image in judgements["image"].unique():
            shutil.copy(data / "images" / image, folder / "images")
        ratings = split(judgements, 0)
        ratings.to_csv(folder / "ratings.csv", index=False)
        (folder / "study.toml").write_text(SETTINGS, encoding="utf-8")
        run = Run(Study.load(folder))
        run.make("regional_kernels")
        spaces, folds = run.context.value("regional_spaces"), run.context.value("folds")
        kernels = {
            space: np.array(k) for space, k in zip(spaces, REGIONAL_KERNELS.read(run.results), strict=True)
        }
        run.close()
    return CommonCues(kernels, pool_targets(ratings), folds)


def answer(ratings: pd.DataFrame, cues: CommonCues, permutations: int, seed: int) -> pd.DataFrame:
    """Test the differences between two halves as in a report."""
    drawn = {"permutations": permutations, "seed": seed}
    own = cues.refit(pool_targets(ratings))
    tables = {
        "means": compare_means(ratings, **drawn),
        "reliability": compare_reliability(ratings, splits=10, **drawn),
        **by_question(compare_use(ratings, own.array, draws=permutations, seed=seed)),
    }
    return answer_questions(tables, len(TRAITS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "omi")
    parser.add_argument("--first", type=int, default=200)
    parser.add_argument("--splits", type=int, default=100)
    parser.add_argument("--permutations", type=int, default=199)
    options = parser.parse_args()
    if not (options.data / "attribute_ratings.zip").exists():
        print(f"One Million Impressions is not in {options.data}: passed over; name its folder with --data")
        return
    judgements = read_judgements(options.data)
    cues = see(options.data, judgements)
    found = []
    with threadpool_limits(1):  # the matrices are small
        for seed in range(options.first, options.first + options.splits):
            answers = answer(split(judgements, seed), cues, options.permutations, seed)
            smallest = dict(zip(answers["question"], answers["p_corrected"], strict=True))
            found.append({"seed": seed, **smallest, "all_questions": answers["p_all_questions"].min()})
            if len(found) % 10 == 0:
                print(f"  {len(found)} of {options.splits}", flush=True)
    table = pd.DataFrame(found).set_index("seed")
    for name, count in (table <= ALPHA).sum().items():
        print(f"{name:14} significant in {count} of {len(table)}")
    results = ROOT / "benchmarks" / "results"
    results.mkdir(parents=True, exist_ok=True)
    table.to_csv(results / "random_halves.csv")


if __name__ == "__main__":
    main()
