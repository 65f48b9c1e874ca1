"""Check of the faces of a study: landmarks are found and drawn on contact sheets for manual correction."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from traitlens.columns import IMAGE
from traitlens.faces.cross_check import cross_check
from traitlens.faces.face_sheet import FaceSheet, make_face_sheet
from traitlens.faces.images import check_images
from traitlens.faces.landmark_files import read_given_landmarks
from traitlens.faces.landmarks import find_landmarks
from traitlens.problems import Problem, StudyError
from traitlens.progress import SilentWatcher, Watcher
from traitlens.storage import write_table
from traitlens.study.reading import find_images, read_images, read_landmarks
from traitlens.study.settings_file import read_settings


@dataclass(frozen=True)
class FaceCheck:
    """Results of the check of a study's faces.

    Parameters
    ----------
    sheet : FaceSheet
        Files of the contact sheets.
    unreadable : tuple of Problem
        Images that cannot be read.
    notices : tuple of Problem
        Reasons to check images by eye.
    """

    sheet: FaceSheet
    unreadable: tuple[Problem, ...]
    notices: tuple[Problem, ...]


def check_faces(
    folder: str | Path,
    out: str | Path | None = None,
    by: str | None = None,
    check_with_dlib: bool = False,
    watcher: Watcher | None = None,
) -> FaceCheck:
    """Find the landmarks of every image of a study and draw them on contact sheets; needs no ratings.

    Parameters
    ----------
    folder : str or Path
        The study's folder.
    out : str or Path, optional
        Folder for the sheets, average faces, `landmarks.csv` and `notices.csv`; `faces` in the study's folder
        if None.
    by : str, optional
        Column of `images.csv` with groups of identities; an average face is drawn for each group.
    check_with_dlib : bool, default False
        Whether to compare the landmarks with those that dlib detects.
    watcher : Watcher, optional
        Shows the progress.

    Raises
    ------
    StudyError
        If the study's folder, settings, or tables of images and landmarks have errors.
    """
    folder, watcher = Path(folder), watcher or SilentWatcher()
    if not folder.is_dir():
        raise StudyError(Problem("there is no such folder", "name the study folder", str(folder)))
    settings, problems = read_settings(folder / "study.toml")
    files = find_images(folder)
    if not files:
        problems.append(Problem("contains no images", "put JPEG, PNG, TIFF or WebP files there", "images/"))
    images, faults = read_images(folder, files, settings)
    given, more = read_landmarks(folder, files)
    problems += faults + more
    if images is not None and by is not None and by not in images:
        found = ", ".join(map(str, images.columns))
        problems.append(Problem(f"column {by!r} is missing", f"found: {found}", "images.csv"))
    if problems or images is None:
        raise StudyError(problems)
    paths = {image: folder / "images" / image for image in images[IMAGE]}
    with watcher.stage("Reading images", len(paths)) as advance:
        unreadable = check_images(list(paths.values()), list(paths), advance)
    spoilt = {problem.file for problem in unreadable}
    paths = {image: path for image, path in paths.items() if image not in spoilt}
    with watcher.stage("Finding landmarks", len(paths)) as advance:
        landmarks = find_landmarks(paths, read_given_landmarks(folder, paths, given), progress=advance)
    notices = list(landmarks.notices)
    if check_with_dlib:
        with watcher.stage("Checking with dlib", len(paths)) as advance:
            notices += cross_check(paths, landmarks, advance)[1]
    groups = images.set_index(IMAGE)[by].astype(str).to_dict() if by is not None else None
    target = Path(out) if out is not None else folder / "faces"
    with watcher.stage("Drawing faces", len(paths)) as advance:
        sheet = make_face_sheet(paths, landmarks, target, groups, notices, settings.faces.regions, advance)
    rows = [(problem.file, problem.what, problem.advice) for problem in (*unreadable, *notices)]
    write_table(target / "notices.csv", pd.DataFrame(rows, columns=[IMAGE, "notice", "advice"]))
    return FaceCheck(sheet, tuple(unreadable), tuple(notices))
