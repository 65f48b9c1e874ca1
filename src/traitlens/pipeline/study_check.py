"""Check a study before its analysis: tables, images, landmarks, and names in the settings."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from traitlens.columns import IMAGE, POINT, X, Y
from traitlens.faces.images import check_images, read_size
from traitlens.faces.landmark_files import read_given_landmarks
from traitlens.faces.landmarks import find_unknown_points
from traitlens.features.backbone_catalogue import describe_backbone
from traitlens.problems import Problem, StudyError, TraitlensError, unknown_choice
from traitlens.progress import SilentWatcher, Watcher
from traitlens.ratings.targets import make_targets
from traitlens.readouts.fit_results import arrange_targets
from traitlens.readouts.folds import assign_folds
from traitlens.readouts.registry import METHODS as READOUTS
from traitlens.readouts.ridge import check_counts
from traitlens.relevance.methods import METHODS
from traitlens.study.reading import Study, find_images, read_landmarks, read_study
from traitlens.study.settings import Settings


def check(folder: str | Path, watcher: Watcher | None = None) -> Study:
    """Read a study and check its settings, tables and images.

    Parameters
    ----------
    folder : str or Path
        The study's folder.
    watcher : Watcher or None
        Displays the progress; nothing is displayed if None.

    Returns
    -------
    Study
        The study, if it has no errors.

    Raises
    ------
    StudyError
        If anything is wrong; the message lists all errors.
    """
    folder = Path(folder)
    study, problems = check_tables(folder)
    files = find_images(folder) if folder.is_dir() else []
    with (watcher or SilentWatcher()).stage("Checking images", len(files)) as advance:
        problems += check_images(
            [folder / "images" / file for file in files], [f"images/{file}" for file in files], advance
        )
    problems += _check_landmarks(folder, files)
    if problems or study is None:
        raise StudyError(problems)
    return study


def _check_folds(study: Study) -> list[Problem]:
    """Return an error for each group and trait with too few rated images outside a fold."""
    settings = study.settings.folds
    try:
        folds = assign_folds(study.images, settings.number, study.settings.seed, settings.column)
        targets = arrange_targets(make_targets(study.ratings), study.images[IMAGE])
        check_counts(targets.names, targets.ratings, folds)
    except TraitlensError as error:
        return list(error.problems)
    return []


def _check_landmarks(folder: Path, files: Sequence[str]) -> list[Problem]:
    """Return errors in the study's own landmarks, which would otherwise stop a run at a later stage."""
    table, problems = read_landmarks(folder, files)
    problems = [] if problems else find_unknown_points(table) if table is not None else []
    paths = {file: folder / "images" / file for file in files}
    try:
        given = read_given_landmarks(folder, paths, table)
    except TraitlensError as error:
        return [*problems, *error.problems]
    return problems if given is None or problems else _find_far_points(given, paths)


def _find_far_points(points: pd.DataFrame, paths: Mapping[str, Path]) -> list[Problem]:
    """Return an error for each image with a landmark farther outside than the image is wide or high."""
    problems = []
    known = points[points[IMAGE].isin(list(paths))]  # unknown image names are reported elsewhere
    for image, own in known.groupby(IMAGE, sort=False, observed=True):
        width, height = read_size(paths[str(image)])
        far = ((own[X] - width / 2).abs() > 1.5 * width) | ((own[Y] - height / 2).abs() > 1.5 * height)
        if width and far.any():
            first = own[far].iloc[0]
            where = f"at {first[X]:g}, {first[Y]:g}, but the image has {width} x {height} pixels"
            what = f"landmark {first[POINT]} is far outside of the image: {where}"
            problems.append(Problem(what, "correct it", f"images/{image}"))
    return problems


def check_tables(folder: Path) -> tuple[Study | None, list[Problem]]:
    """Read a study; return it (None if unreadable) and the errors in its tables and settings."""
    study, problems = read_study(folder)
    if study is not None:
        problems += check_names(study.settings) or ([] if problems else _check_folds(study))
    return study, problems


def check_names(settings: Settings) -> list[Problem]:
    """Return an error, with the nearest valid name, for each unknown method or layer in the settings."""
    faults: list[TraitlensError] = []
    readout = settings.readout
    if readout.method not in READOUTS:
        faults.append(unknown_choice("readout", readout.method, READOUTS))
    if settings.relevance.method not in METHODS:
        faults.append(unknown_choice("relevance method", settings.relevance.method, METHODS))
    try:
        layers = describe_backbone(readout.backbone).shapes
        read = READOUTS[readout.method].spaces(readout) if readout.method in READOUTS else ()
        wanted = [*readout.taps, readout.tap, *(space.tap.layer for space in read)]
        faults += [unknown_choice("tap", tap, layers) for tap in dict.fromkeys(wanted) if tap not in layers]
    except TraitlensError as error:
        faults.append(error)
    return [Problem(one.what, one.advice, "study.toml") for fault in faults for one in fault.problems]
