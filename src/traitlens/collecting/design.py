"""Design of a study's sessions, read from its settings, and the faces as shown to participants."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from traitlens.collecting.panels import check_panel_settings
from traitlens.collecting.session_steps import SessionDesign
from traitlens.columns import IMAGE, TRAIT
from traitlens.digests import digest_file
from traitlens.faces.images import load_image
from traitlens.problems import Problem, StudyError, TraitlensError
from traitlens.progress import SilentWatcher, Watcher
from traitlens.storage import atomic_write
from traitlens.study.drawing.face import draw_face
from traitlens.study.drawing.parameters import draw_parameters
from traitlens.study.reading import IMAGE_SUFFIXES, find_images
from traitlens.study.settings import Settings
from traitlens.study.settings_file import read_settings
from traitlens.study.tables import cell_problems, find_missing_columns, read_table

COLLECTED = "collected"
"""Subfolder of the study for collected data."""

LISTS = "lists.csv"
"""File with counterbalanced lists of images, assigned to participants in turn; optional."""

EVERYONE = "all"
"""Name of the group in a study without groups."""

MOST_BUTTONS = 9
"""Maximum number of answer buttons, one for each number key."""

MOST_STEPS = 100_000
"""Maximum number of positions of the slider."""

LONGEST_SIDE = 1000
"""Maximum length in pixels of the longer side of a shown face."""

PRACTICE, DRAWN = "*practice/", "*drawn/"
"""Prefixes of the names of practice images, for the study's own images and for drawn faces."""

PRACTICE_SEED = 271828
"""Seed for drawing practice faces."""


def read_design(folder: Path) -> tuple[SessionDesign, Settings]:
    """Read the design of a study's sessions from its images and settings.

    Parameters
    ----------
    folder : Path
        The study folder with images, and with groups, traits and scale in `study.toml`.

    Returns
    -------
    design : SessionDesign
        Design of the sessions.
    settings : Settings
        All settings of the study.

    Raises
    ------
    StudyError
        If images or settings have faults, with all of them.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise StudyError(Problem("there is no such folder", "name the study folder", str(folder)))
    settings, problems = read_settings(folder / "study.toml")
    images = find_images(folder)
    if not images:
        problems.append(Problem("contains no images", "put JPEG, PNG, TIFF or WebP files there", "images/"))
    if not settings.traits:
        problems.append(Problem("traits are missing", "add them: traits = [...]", "study.toml"))
    lists, faults = _read_lists(folder, images, settings.traits)
    problems += faults + _check_scale(settings)
    problems += check_panel_settings(settings.collecting)
    wrong = [name for name in settings.collecting.languages if not re.fullmatch(r"[a-zA-Z-]{2,12}", name)]
    problems += [
        Problem(f"{name!r} is not a language code", "write a code such as en", "study.toml") for name in wrong
    ]
    if problems:
        raise StudyError(problems)
    assert settings.scale is not None
    asked = settings.collecting
    practice = _find_practice_images(folder)
    names = [PRACTICE + path.name for path in practice] or [f"{DRAWN}{i + 1}" for i in range(asked.practice)]
    low, high = settings.scale
    design = SessionDesign(
        settings.groups,
        settings.traits,
        tuple(images),
        low,
        high,
        step=asked.step if asked.answer == "slider" else 1,
        answer=asked.answer,
        confirm=asked.confirm,
        order=asked.order,
        repeats=asked.repeats,
        practice=asked.practice,
        checks=asked.checks,
        pause_after=asked.pause_after,
        seed=settings.seed,
        practice_images=tuple(names) if asked.practice else (),
        lists=lists,
        questionnaires=asked.questionnaires,
        places=asked.places,
    )
    return design, settings


def _read_lists(
    folder: Path, images: Sequence[str], traits: Sequence[str]
) -> tuple[tuple[tuple[tuple[str, str], ...], ...], list[Problem]]:
    """Read the pairs of image and trait of each counterbalanced list in `lists.csv`, if the file exists."""
    if not (folder / LISTS).exists():
        return (), []
    table, problems = read_table(folder / LISTS)
    if table is not None:
        problems = find_missing_columns(table, ["list", IMAGE, TRAIT], LISTS)
    if table is None or problems:
        return (), problems
    for column, known in ((IMAGE, images), (TRAIT, traits)):
        unknown = table[column][~table[column].isin(list(known))]
        problems += cell_problems(unknown, "{} is not in the study", "correct it", LISTS, column)
    pairs = table.assign(pair=list(zip(table[IMAGE], table[TRAIT], strict=True)))
    return tuple(tuple(own["pair"]) for _, own in pairs.groupby("list", sort=False)), problems


def _check_scale(settings: Settings) -> list[Problem]:
    """Return a problem if the scale does not fit the answer format."""
    if settings.scale is None:
        return [Problem("scale is missing", "set scale = [1, 7]", "study.toml")]
    low, high = settings.scale
    asked = settings.collecting
    if asked.answer == "buttons":
        if not (low.is_integer() and high.is_integer() and high - low < MOST_BUTTONS):
            what = f"buttons need whole numbers, {MOST_BUTTONS} at most; the scale is {low:g} to {high:g}"
            return [Problem(what, 'change scale, or set answer = "slider" in [collecting]', "study.toml")]
    elif (high - low) / asked.step > MOST_STEPS:
        what = f"the slider's step {asked.step:g} gives more than {MOST_STEPS:,} answers"
        return [Problem(what, "change step in [collecting]", "study.toml")]
    elif abs((high - low) / asked.step - round((high - low) / asked.step)) > 1e-6:
        what = f"the slider's step {asked.step:g} does not divide the scale {low:g} to {high:g}"
        return [Problem(what, "change step in [collecting]", "study.toml")]
    return []


def _find_practice_images(folder: Path) -> list[Path]:
    """Return the image files in the study's subfolder `practice`."""
    found = (folder / "practice").glob("*")
    return sorted(path for path in found if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())


def settings_for_page(design: SessionDesign) -> dict[str, Any]:
    """Return what participants' pages need to know about a design: scale, answer format, groups and parts."""
    return {
        "answer": design.answer,
        "low": design.low,
        "high": design.high,
        "step": design.step,
        "confirm": design.confirm or design.answer == "slider",
        "practice": bool(design.practice_images),
        "repeats": design.repeats > 0 or len(design.traits) > 1,
        "checks": design.checks > 0,
        "groups": list(design.groups),
    }


@dataclass(frozen=True)
class Stimuli:
    """Faces as shown to participants, numbered from 0.

    Parameters
    ----------
    names : tuple of str
        Names of the study's images, followed by those of the practice images.
    files : tuple of Path
        JPEG file of each image.
    """

    names: tuple[str, ...]
    files: tuple[Path, ...]

    def number(self, name: str) -> int:
        """Return the number of an image by its name."""
        return self.names.index(name)


def prepare_stimuli(folder: Path, design: SessionDesign, watcher: Watcher | None = None) -> Stimuli:
    """Convert all images to JPEG files for display: upright, in sRGB, of limited size, without metadata.

    Parameters
    ----------
    folder : Path
        The study folder; missing files are written to its subfolder `collected/shown`.
    design : SessionDesign
        Design of the sessions, with the names of all images.
    watcher : Watcher, optional
        Shows the progress.

    Raises
    ------
    StudyError
        If images cannot be read, with all of them.
    """
    shown = Path(folder) / COLLECTED / "shown"
    names = (*design.images, *design.practice_images)
    files: list[Path] = []
    problems: list[Problem] = []
    with (watcher or SilentWatcher()).stage("Preparing faces", len(names)) as advance:
        for name in names:
            try:
                files.append(_write_shown_face(Path(folder), shown, name))
            except TraitlensError as error:
                problems += error.problems
            advance(1)
    if problems:
        raise StudyError(problems)
    return Stimuli(names, tuple(files))


def _write_shown_face(folder: Path, shown: Path, name: str) -> Path:
    """Write the JPEG file of one face unless it exists, and return its path."""
    if name.startswith(DRAWN):
        target = shown / f"drawn-{name.removeprefix(DRAWN)}.jpg"
        if not target.exists():
            parameters = draw_parameters(PRACTICE_SEED, int(name.removeprefix(DRAWN)), 0)
            _write_jpeg(Image.fromarray(draw_face(parameters, 512).picture), target)
        return target
    practice = name.startswith(PRACTICE)
    path = folder / "practice" / name.removeprefix(PRACTICE) if practice else folder / "images" / name
    target = shown / f"{digest_file(path)[:24]}.jpg"
    if not target.exists():
        image = Image.fromarray(load_image(path))
        image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
        _write_jpeg(image, target)
    return target


def _write_jpeg(image: Image.Image, target: Path) -> None:
    """Write an image as JPEG of high quality."""
    with atomic_write(target) as temporary:
        image.save(temporary, "JPEG", quality=95, subsampling=0)
