"""Simulation of a study with drawn faces, two groups of raters, and known differences between the groups."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from traitlens.columns import IDENTITY, IMAGE, MAY_PUBLISH, POINT, X, Y
from traitlens.problems import Problem, TraitlensError
from traitlens.progress import SilentWatcher, Watcher
from traitlens.storage import atomic_write
from traitlens.study.drawing.face import REGIONS, DrawnFace, draw_face
from traitlens.study.drawing.parameters import PARTS, draw_parameters, score_parts
from traitlens.study.simulated_raters import (
    GROUPS,
    SCALE,
    TRAITS,
    RatingBehaviour,
    make_part_weights,
    score_images,
    simulate_group_ratings,
    true_differences,
)

REGIONS_OF: dict[str, tuple[str, ...]] = {
    "eyes": ("left eye", "right eye"),
    "brows": ("left brow", "right brow"),
    "nose": ("nose",),
    "mouth": ("mouth",),
    "cheeks": ("left cheek", "right cheek"),
    "jaw": ("jaw",),
}
"""Regions of each part; forehead, hair and background belong to no part."""

DEMO_IDENTITIES, DEMO_IMAGES = 40, 5
DEMO_SIZE = 128
"""Side in pixels of the square that the network sees in the demonstration; small, to save time."""

DEMO_SETTINGS = """
# The pixelwise test of maps takes some more minutes; the default is 56.
[comparison]
pixels = 0
"""

_SETTINGS = """\
# A study of drawn faces and simulated raters. The folder truth/ contains the true differences.
# Every setting is optional; settings that are left out have their defaults.

name = "Simulated study"
description = "{description}"

# The groups of raters and the traits, in the order of tables and figures.
groups = {groups}
traits = {traits}

# Lowest and highest possible rating.
scale = [{low:g}, {high:g}]

# Random seed of the analysis.
seed = {seed}

# Cross-validation by identity: no image is predicted by a readout that was fitted to its identity.
[folds]
number = 5

# Part of each image that the network sees: "face", "full" or "auto".
[faces]
crop = "auto"
size = {seen_size}

# The layer from which ratings are predicted, averaged on a grid of this many rows and columns.
[readout]
method = "ridge"
tap = "block4_pool"
grid = {grid}
"""


@dataclass(frozen=True)
class SimulatedTruth:
    """Ground truth of a simulated study.

    Parameters
    ----------
    folder : Path
        The study's folder.
    weights : DataFrame
        group, trait, part, weight; the squared weights of each group and trait sum to 1.
    scores : DataFrame
        image, group, trait, score: ratings without noise, with variance 1 over the population of faces.
    differences : DataFrame
        trait, region, difference: weight in the first group minus weight in the second group.
    """

    folder: Path
    weights: pd.DataFrame
    scores: pd.DataFrame
    differences: pd.DataFrame

    @classmethod
    def load(cls, folder: str | Path) -> "SimulatedTruth":
        """Read the ground truth of a simulated study.

        Raises
        ------
        TraitlensError
            If the folder contains no ground truth.
        """
        tables = [Path(folder) / "truth" / f"{name}.csv" for name in ("weights", "scores", "differences")]
        if missing := [path for path in tables if not path.exists()]:
            raise TraitlensError(
                Problem("is missing", "only simulated studies have a ground truth", missing[0].as_posix())
            )
        return cls(Path(folder), *(pd.read_csv(path) for path in tables))

    def __str__(self) -> str:
        different = self.differences[self.differences["difference"].abs() > 1e-12]
        if different.empty:
            return "The groups do not differ."
        lines = [
            f"{trait}: " + ", ".join(f"{row.region} {row.difference:+.2f}" for row in rows.itertuples())
            for trait, rows in different.groupby("trait", sort=False)
        ]
        return "True differences between groups:\n" + "\n".join(lines)


def read_true_differences(folder: str | Path) -> list[dict[str, Any]]:
    """Read the true differences between the groups of a simulated study.

    Returns
    -------
    list of dict
        trait, region, difference; an empty list for a real study.
    """
    path = Path(folder) / "truth" / "differences.csv"
    if not path.is_file():
        return []
    table = pd.read_csv(path)
    columns = ["trait", "region", "difference"]
    return table[columns].to_dict("records") if set(columns) <= set(table) else []


def simulate_study(
    folder: str | Path,
    identities: int = 40,
    images: int = 5,
    traits: int = 3,
    raters: int = 20,
    effect: float = 0.6,
    seed: int = 1,
    size: int = 256,
    noise: float = 1.0,
    seen_size: int = 224,
    progress: Callable[[int], None] | None = None,
) -> SimulatedTruth:
    """Simulate a study of drawn faces with known differences between two groups of raters.

    Ratings are weighted sums of the scores of the parts of a face, plus an error. Raters differ in weights,
    bias and use of the scale. The weights of the groups differ by `effect`, except for one trait in three.

    Parameters
    ----------
    folder : str or Path
        The folder of the new study; must be empty if it exists.
    identities, images : int, default 40 and 5
        Number of identities, and of images per identity.
    traits : int, default 3
        Number of traits, at most six.
    raters : int, default 20
        Number of raters in each group; each rater rates every image on every trait.
    effect : float, default 0.6
        Size of the true difference in weights between groups; 0 for none.
    seed : int, default 1
        Seed of the random number generators for faces and raters.
    size : int, default 256
        Side of the images in pixels.
    noise : float, default 1.0
        Standard deviation of the error of a single rating, in points of the nine-point scale.
    seen_size : int, default 224
        Side in pixels of the square that the network sees, written to `study.toml`; a multiple of 32. Half
        the side takes a quarter of the time.
    progress : callable, optional
        Called after each image with the number of images finished since the last call.

    Returns
    -------
    SimulatedTruth
        The ground truth, also written to the study's folder `truth`: `weights.csv`, `scores.csv`,
        `parts.csv`, `differences.csv`, `regions.csv` (name of each label) and `regions/` (a PNG per image,
        whose pixels are labels of regions).

    Raises
    ------
    TraitlensError
        If the folder is not empty, or a number is invalid.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "study"
    >>> truth = simulate_study(folder, identities=2, images=1, traits=1, raters=2, size=64)
    >>> sorted(path.name for path in folder.iterdir())
    ['images', 'images.csv', 'landmarks.csv', 'ratings.csv', 'study.toml', 'truth']
    """
    folder = Path(folder)
    _check_arguments(folder, identities=identities, images=images, traits=traits, raters=raters, size=size)
    names = {
        f"{identity + 1:03d}/{image + 1:02d}.png": (identity, image)
        for identity in range(identities)
        for image in range(images)
    }
    faces = {name: draw_parameters(seed, *numbers) for name, numbers in names.items()}
    parts = pd.DataFrame.from_dict(
        {name: score_parts(face) for name, face in faces.items()}, orient="index", columns=list(PARTS)
    ).rename_axis(IMAGE)
    weights = make_part_weights(TRAITS[:traits], list(PARTS), effect)
    scores = score_images(parts, weights)
    differences = true_differences(weights, REGIONS_OF)
    with atomic_write(folder) as temporary:

        def make(name: str) -> pd.DataFrame:
            """Draw one face, write its image and labels, and return its landmarks."""
            face = draw_face(faces[name], size)
            _write_face(temporary, name, face)
            if progress is not None:
                progress(1)
            return _landmark_table(name, face)

        with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
            landmarks = list(pool.map(make, names))
        truth = temporary / "truth"
        ratings = simulate_group_ratings(parts, weights, raters, RatingBehaviour(noise=noise), seed)
        images_table = pd.DataFrame(
            {IMAGE: list(names), IDENTITY: [name.split("/")[0] for name in names], MAY_PUBLISH: "true"}
        )
        for path, table in (
            (temporary / "images.csv", images_table),
            (temporary / "ratings.csv", ratings),
            (temporary / "landmarks.csv", pd.concat(landmarks)),
            (truth / "weights.csv", weights),
            (truth / "scores.csv", scores),
            (truth / "parts.csv", parts.reset_index()),
            (truth / "differences.csv", differences),
            (truth / "regions.csv", pd.DataFrame({"label": range(len(REGIONS)), "region": REGIONS})),
        ):
            table.to_csv(path, index=False)
        settings = _SETTINGS.format(
            description=f"{identities} drawn identities with {images} images each; effect {effect:g}.",
            groups=_toml_list(GROUPS),
            traits=_toml_list(TRAITS[:traits]),
            low=SCALE[0],
            high=SCALE[1],
            seed=seed,
            seen_size=seen_size,
            grid=seen_size // 32,
        )
        (temporary / "study.toml").write_text(settings, encoding="utf-8")
    return SimulatedTruth(folder, weights, scores, differences)


def simulate_demo(folder: Path, watcher: Watcher | None = None) -> None:
    """Simulate the study of the command `traitlens demo`.

    Parameters
    ----------
    folder : Path
        The folder of the new study; must be empty if it exists.
    watcher : Watcher, optional
        Shows the progress.
    """
    with (watcher or SilentWatcher()).stage("Drawing faces", DEMO_IDENTITIES * DEMO_IMAGES) as advance:
        simulate_study(folder, DEMO_IDENTITIES, DEMO_IMAGES, seen_size=DEMO_SIZE, progress=advance)
    with (folder / "study.toml").open("a", encoding="utf-8") as settings:
        settings.write(DEMO_SETTINGS)


def _check_arguments(folder: Path, **numbers: int) -> None:
    """Raise an error if the folder is not empty or a number is invalid."""
    lowest = {"identities": 2, "images": 1, "traits": 1, "raters": 2, "size": 64}
    problems = [
        Problem(f"{name} is {number}", f"it must be at least {lowest[name]}")
        for name, number in numbers.items()
        if number < lowest[name]
    ]
    if numbers["traits"] > len(TRAITS):
        problems.append(
            Problem(f"traits is {numbers['traits']}", f"at most {len(TRAITS)} traits can be simulated")
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        problems.append(Problem("already exists", "name a new folder", str(folder)))
    if problems:
        raise TraitlensError(problems)


def _write_face(folder: Path, name: str, face: DrawnFace) -> None:
    """Write the image of a face, and the labels of its regions, as PNG."""
    for root, pixels in ((folder / "images", face.picture), (folder / "truth" / "regions", face.labels)):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, compress_level=3)


def _landmark_table(name: str, face: DrawnFace) -> pd.DataFrame:
    """Return a face's landmarks as a table."""
    rows = [(name, point, round(x, 2), round(y, 2)) for point, (x, y) in face.landmarks.items()]
    return pd.DataFrame(rows, columns=[IMAGE, POINT, X, Y])


def _toml_list(names: tuple[str, ...]) -> str:
    """Format names as an array of TOML."""
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"
