"""Tables of ratings in any layout and format, with a folder of images, turned into a study."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from traitlens.problems import Problem, StudyError, TraitlensError
from traitlens.study.formats import read_cells
from traitlens.study.guessing import describe_mapping, guess_mapping
from traitlens.study.layouts import COLUMN, parse_ratings, to_long
from traitlens.study.matching import match_images
from traitlens.study.new_study import copy_images, new_study, settings_text, write_tables
from traitlens.study.reading import IMAGE_SUFFIXES, Study
from traitlens.study.settings import RatingsSettings
from traitlens.watching import Watcher
from traitlens.words import GROUP, IDENTITY, IMAGE, MAY_PUBLISH, RATER, TRAIT


@dataclass(frozen=True)
class ImportedTable:
    """A study made of a table, and how the table was understood.

    Parameters
    ----------
    study : Study
        The study, checked.
    mapping : RatingsSettings
        Which columns hold what; also written to `study.toml`.
    """

    study: Study
    mapping: RatingsSettings

    def __str__(self) -> str:
        return f"{describe_mapping(self.mapping)}\n{self.study}"


def import_table(
    files: str | Path | Sequence[str | Path],
    out: str | Path,
    images: str | Path,
    mapping: RatingsSettings | None = None,
    raters: str | Path | None = None,
    scale: tuple[float, float] | None = None,
    confirm: Callable[[str], bool] | None = None,
    watcher: Watcher | None = None,
    keep: Sequence[str] = (),
    **chosen: object,
) -> ImportedTable:
    """Turn tables of ratings, as experiment software left them, into a study.

    Parameters
    ----------
    files : path or sequence of paths
        Tables of one layout, in any of the formats of :mod:`~traitlens.study.formats`; with several files
        and no column of traits, each file's name is its trait.
    out : str or Path
        The study to make; must not exist, or be empty.
    images : str or Path
        Folder of the images, at any depth.
    mapping : RatingsSettings, optional
        Which columns hold what; guessed from the first table where missing.
    raters : str or Path, optional
        A table with the columns rater and group, where the ratings do not tell the groups.
    scale : (float, float), optional
        Lowest and highest possible rating; those that occur where missing.
    confirm : callable, optional
        Is shown the guess in words; returns whether to go on.
    watcher : Watcher, optional
        Is told of the progress.
    keep : sequence of str
        Further columns to keep, such as the raters' age.
    **chosen
        What the guess shall hold in any case, by the names of
        :class:`~traitlens.study.settings.RatingsSettings`: `group="sex"`.

    Returns
    -------
    ImportedTable
        The study, and how the table was understood.

    Raises
    ------
    StudyError
        With every fault that was found; nothing is left behind.
    TraitlensError
        If the guess was not confirmed.

    Examples
    --------
    >>> done = import_table("ratings.xlsx", "mystudy", "photos", group="sex")  # doctest: +SKIP
    >>> print(done.mapping.rater)  # doctest: +SKIP
    ResponseId
    """
    paths = [Path(file) for file in ([files] if isinstance(files, str | Path) else files)]
    images = Path(images)
    names = _list_images(images)
    tables = {path: read_cells(path) for path in paths}
    if mapping is None:
        mapping = guess_mapping(tables[paths[0]], names, paths[0].name, keep, **chosen)
    mapping = mapping.model_copy(update={"imported_from": tuple(path.name for path in paths)})
    if confirm is not None and not confirm(describe_mapping(mapping)):
        raise TraitlensError(
            Problem("nothing was imported", "name the columns yourself: --group, --rater ...")
        )
    parts, problems = [], []
    for path, cells in tables.items():
        part = to_long(cells, mapping, path.name)
        if TRAIT not in part:
            part[TRAIT] = path.stem
        part, unreadable = parse_ratings(part, path.name)
        problems += unreadable
        part, unmatched = match_images(part, names, path.name)
        problems += unmatched
        parts.append(part.drop(columns=COLUMN))
    if problems:
        raise StudyError(problems)
    ratings = pd.concat(parts, ignore_index=True)
    if ratings.empty:
        raise StudyError(Problem("holds no rating", "check the columns", paths[0].name))
    ratings = _add_groups(ratings, raters)
    used = sorted(ratings[IMAGE].unique())
    settings = settings_text(
        Path(out).name,
        groups=sorted(ratings[GROUP].unique()) if GROUP in ratings else (),
        traits=list(dict.fromkeys(ratings[TRAIT])),
        scale=scale,
        ratings=_written(mapping),
    )
    table = pd.DataFrame({IMAGE: used, IDENTITY: [_identity(name) for name in used], MAY_PUBLISH: False})
    with new_study(Path(out)) as folder:
        copy_images(folder, {name: images / name for name in used}, watcher)
        write_tables(folder, {"images": table, "ratings": ratings})
        (folder / "study.toml").write_text(settings, encoding="utf-8")
        Study.load(folder)
    return ImportedTable(Study.load(out), mapping)


def _list_images(folder: Path) -> list[str]:
    """List the images below a folder."""
    if not folder.is_dir():
        raise StudyError(Problem("there is no such folder", "name the folder of the images", str(folder)))
    found = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
    if not found:
        raise StudyError(Problem("holds no image", "name the folder of the images", str(folder)))
    return found


def _identity(image: str) -> str:
    """Name an image's identity: its sub-folder where there is one, else the image."""
    path = Path(image)
    return path.parent.as_posix() if path.parent.as_posix() != "." else path.stem


def _add_groups(ratings: pd.DataFrame, raters: str | Path | None) -> pd.DataFrame:
    """Add the groups of the raters' own table."""
    if raters is None:
        return ratings
    path = Path(raters)
    table = read_cells(path)
    missing = [name for name in (RATER, GROUP) if name not in table]
    if missing:
        raise StudyError([Problem(f"column {name!r} is missing", "", path.name) for name in missing])
    groups = table.drop_duplicates(RATER).set_index(RATER)[GROUP]
    unknown = sorted(set(ratings[RATER].unique()) - set(groups.index))
    if unknown:
        raise StudyError(
            [Problem(f"rater {name!r} is missing", "add the rater", path.name) for name in unknown[:20]]
        )
    return ratings.assign(**{GROUP: ratings[RATER].map(groups)})


def _written(mapping: RatingsSettings) -> Mapping[str, object]:
    """Keep what differs from the defaults, for `study.toml`."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in mapping.model_dump(exclude_defaults=True).items()
    }
