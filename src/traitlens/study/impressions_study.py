"""Study of One Million Impressions (Peterson et al. 2022): mean ratings of 1,004 faces on 34 traits."""

from importlib import resources
from pathlib import Path

import pandas as pd

from traitlens.columns import IMAGE, RATING, TRAIT
from traitlens.problems import Problem, TraitlensError
from traitlens.storage import atomic_write

MEANS = "attribute_means.csv"

SETTINGS = """\
name = "One Million Impressions"

[faces]
crop = "full"
size = 512

[folds]
number = 10

[readout]
taps = ["block3_pool", "block4_conv2", "block4_pool", "block5_conv1", "block5_conv2"]
views = { face = 1.0, full = 1.0 }
transform = "sqrt"
whiten = 0.1
sharing = 0.0
across_traits = true

[comparison]
use = false
"""
"""Settings of the study: the readout of the benchmark, but without mirror images, which double the time."""


def write_impressions_study(folder: Path) -> Path:
    """Write `ratings.csv` and `study.toml` into the folder of the downloaded dataset.

    Parameters
    ----------
    folder : Path
        Folder to which :func:`traitlens.study.fetching.fetch` downloaded the dataset.

    Returns
    -------
    Path
        The same folder, now a study; an existing `study.toml` is not changed.

    Raises
    ------
    TraitlensError
        If the folder does not contain the mean ratings.
    """
    folder = Path(folder)
    if not (folder / MEANS).is_file():
        raise TraitlensError(
            Problem("the mean ratings are missing", "fetch the dataset first", str(folder / MEANS))
        )
    wide = pd.read_csv(folder / MEANS)
    ratings = wide.melt("stimulus", var_name=TRAIT, value_name=RATING)
    ratings.insert(0, IMAGE, ratings.pop("stimulus").astype(str) + ".jpg")
    with atomic_write(folder / "ratings.csv") as temporary:
        ratings.to_csv(temporary, index=False)
    if not (folder / "study.toml").exists():
        with atomic_write(folder / "study.toml") as temporary:
            temporary.write_text(SETTINGS, encoding="utf-8")
    return folder


def impression_ceilings() -> pd.DataFrame:
    """Read the reliability of the mean ratings, which is the highest R² that a model can reach.

    Returns
    -------
    DataFrame
        trait, ceiling_r2: mean Spearman-Brown reliability of twenty random splits of each face's ratings.
    """
    file = resources.files("traitlens.study").joinpath("registries/omi_ceilings.csv")
    with file.open(encoding="utf-8") as opened:
        return pd.read_csv(opened)
