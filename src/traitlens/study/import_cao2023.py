"""Import of data in the layout of Cao et al. 2023: MATLAB ratings by group and trait, faces by identity."""

from pathlib import Path

import numpy as np
import pandas as pd

from traitlens.columns import FOLD, GROUP, IDENTITY, IMAGE, MAY_PUBLISH, RATER, RATING, TRAIT
from traitlens.problems import Problem, StudyError, nearest
from traitlens.progress import Watcher
from traitlens.study.matching import ImageNames
from traitlens.study.matlab_files import read_mat_variables
from traitlens.study.new_study import copy_images, new_study, settings_text, write_tables
from traitlens.study.reading import IMAGE_SUFFIXES, Study
from traitlens.study.text_files import decode

GROUPS = {"rateASD": "autistic", "rateNT": "non-autistic"}
"""Group of each folder of ratings."""


def import_cao2023(root: str | Path, out: str | Path, watcher: Watcher | None = None) -> Study:
    """Create a study from a folder in the layout of Cao et al. 2023.

    Parameters
    ----------
    root : str or Path
        Folder with `faces_cropped*/IDENTITY/*.jpg`, with `rateASD/TRAIT.mat` and `rateNT/TRAIT.mat` (for
        each identity a variable with a mean rating per image, or a matrix of shape (image, rater), images
        sorted by name), and optionally with `5-fold_list/*.csv` (the identities of each fold).
    out : str or Path
        The folder of the new study; must be empty if it exists.
    watcher : Watcher, optional
        Shows the progress.

    Returns
    -------
    Study
        The new study, checked; with the published folds if the folder contains them.

    Raises
    ------
    StudyError
        With every error in the source; no folder is written then.

    References
    ----------
    Cao et al. (2023). Psychological Science. doi:10.1177/09567976231192236.

    Examples
    --------
    >>> study = import_cao2023("downloads/cao2023", "mystudy")  # doctest: +SKIP
    """
    root = Path(root)
    faces = _find_faces(root)
    blocks: list[pd.DataFrame] = []
    problems: list[Problem] = []
    for folder, group in GROUPS.items():
        files = sorted((root / folder).glob("*.mat"))
        if not files:
            problems.append(Problem("contains no .mat file", "complete the copy", f"{folder}/"))
        for file in files:
            rows, faults = _read_trait(file, faces)
            problems += faults
            blocks += [part.assign(**{GROUP: group, TRAIT: file.stem}) for part in rows]
    folds, faults = _read_folds(root / "5-fold_list", list(faces))
    problems += faults
    if problems or not blocks:
        raise StudyError(problems or [Problem("contains no ratings", "complete the copy", str(root))])
    ratings = pd.concat(blocks, ignore_index=True)
    ratings = ratings[[name for name in (RATER, GROUP, IMAGE, TRAIT, RATING) if name in ratings]]
    files_of = {f"{identity}/{path.name}": path for identity, paths in faces.items() for path in paths}
    images = pd.DataFrame({IMAGE: list(files_of)})
    images[IDENTITY] = images[IMAGE].str.split("/").str[0]
    images[MAY_PUBLISH] = False
    if folds:
        images[FOLD] = images[IDENTITY].map(folds)
    settings = settings_text(
        "Cao et al. 2023",
        groups=list(dict.fromkeys(ratings[GROUP])),
        traits=list(dict.fromkeys(ratings[TRAIT])),
        folds={"column": FOLD} if folds else None,
    )
    with new_study(Path(out)) as folder_out:
        copy_images(folder_out, files_of, watcher)
        write_tables(folder_out, {"images": images, "ratings": ratings})
        (folder_out / "study.toml").write_text(settings, encoding="utf-8")
        Study.load(folder_out)
    return Study.load(out)


def _find_faces(root: Path) -> dict[str, list[Path]]:
    """List the images of each identity, sorted by name."""
    folders = sorted(path for path in root.glob("faces_cropped*") if path.is_dir())
    if not folders:
        raise StudyError(
            Problem("is missing", "name the folder that contains it", str(root / "faces_cropped"))
        )
    faces = {}
    for identity in sorted(path for path in folders[0].iterdir() if path.is_dir()):
        images = [
            path
            for path in sorted(identity.iterdir())
            if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
        ]
        if images:
            faces[identity.name] = images
    if not faces:
        raise StudyError(Problem("contains no IDENTITY/*.jpg", "complete the copy", f"{folders[0].name}/"))
    return faces


def _read_trait(path: Path, faces: dict[str, list[Path]]) -> tuple[list[pd.DataFrame], list[Problem]]:
    """Read one group's ratings of one trait, as a table for each identity, and list the problems."""
    file = f"{path.parent.name}/{path.name}"
    try:
        variables = read_mat_variables(path)
    except Exception as error:  # The libraries raise many types of errors for damaged files.
        return [], [Problem(f"cannot be read ({error})", "complete the copy", file)]
    names = ImageNames(list(faces))
    rows, problems = [], []
    for variable, values in variables.items():
        found = names.find(variable, by_number=True)
        if len(found) != 1:
            near = nearest(variable, faces)
            advice = f"nearest: {', '.join(near)}" if near else "complete the copy"
            problems.append(Problem(f"there is no identity {variable!r}", advice, file))
            continue
        identity = found.pop()
        try:
            numbers = np.asarray(values, dtype=float)
        except (TypeError, ValueError):
            problems.append(Problem(f"{variable!r} contains no numbers", "correct it", file))
            continue
        part, problem = _reshape_ratings(numbers, identity, faces[identity], file)
        problems += [problem] if problem else []
        rows += [part] if part is not None else []
    return rows, problems


def _reshape_ratings(
    values: np.ndarray, identity: str, images: list[Path], file: str
) -> tuple[pd.DataFrame | None, Problem | None]:
    """Reshape an identity's ratings, of shape (image,) or (image, rater), to a row for each rating."""
    names = [f"{identity}/{path.name}" for path in images]
    values = np.atleast_2d(values)
    if values.shape[0] != len(names):
        values = values.T
    if values.ndim != 2 or values.shape[0] != len(names):
        what = f"identity {identity!r} has {len(names)} images but ratings of shape {values.shape}"
        return None, Problem(what, "complete the copy", file)
    table = pd.DataFrame({IMAGE: np.repeat(names, values.shape[1]), RATING: values.ravel()})
    if values.shape[1] > 1:
        group = file.split("/")[0].removeprefix("rate")
        table[RATER] = np.tile([f"{group}{number + 1:03d}" for number in range(values.shape[1])], len(names))
    return table.dropna(subset=[RATING]), None


def _read_folds(folder: Path, identities: list[str]) -> tuple[dict[str, int], list[Problem]]:
    """Read the fold of each identity from lists of the test (or training) identities of each fold."""
    files = sorted(folder.glob("*.csv"))
    if not files:
        return {}, []
    tests = [file for file in files if "train" not in file.stem.lower()]
    turned = not tests
    files = tests or files
    names = ImageNames(identities)
    lists = []
    for file in files:
        cells = [line.split(",")[0].strip().strip('"') for line in decode(file.read_bytes()).splitlines()]
        found = [names.find(cell, by_number=True) for cell in cells if cell]
        lists.append({one for match in found if len(match) == 1 for one in match})
    counts = {identity: sum(identity in one for one in lists) for identity in identities}
    if len(lists) > 2 and all(count == len(lists) - 1 for count in counts.values()):
        turned = True
    if turned:
        lists = [set(identities) - one for one in lists]
        counts = {identity: sum(identity in one for one in lists) for identity in identities}
    problems = [
        Problem(
            f"identity {identity!r} is in {count} folds",
            "each identity must be in one fold",
            f"{folder.name}/",
        )
        for identity, count in counts.items()
        if count != 1
    ]
    return {identity: number for number, one in enumerate(lists) for identity in one}, problems
