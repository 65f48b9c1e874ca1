"""Reading of a study from its folder: tables are matched to the images, and all errors are reported."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pyarrow

from traitlens.columns import GROUP, IDENTITY, IMAGE, MAY_PUBLISH, POINT, RATER, RATING, REPEAT, TRAIT, X, Y
from traitlens.memory import release_memory
from traitlens.problems import Problem, StudyError
from traitlens.study.checking import (
    check_choices,
    check_enough,
    check_listed,
    check_raters,
    check_spellings,
    check_variance,
)
from traitlens.study.cleaning import Cleaned, clean_ratings
from traitlens.study.formats import READERS, apply_labels, read_sheets
from traitlens.study.identifiers import find_spellings, normal_identifiers
from traitlens.study.layouts import COLUMN, WORDS, parse_ratings, to_long
from traitlens.study.matching import match_images
from traitlens.study.outliers import find_far_values
from traitlens.study.rater_formula import formula_variables
from traitlens.study.rater_variables import parse_variables
from traitlens.study.rating_condition import parse_condition
from traitlens.study.settings import CleaningSettings, RatingsSettings, Settings
from traitlens.study.settings_file import read_settings
from traitlens.study.tables import (
    cell_problems,
    find_duplicates,
    find_missing_columns,
    map_cells,
    numbers,
    read_table,
    texts,
    truth_values,
)

HEIC_SUFFIXES = frozenset({".heic", ".heif"})

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp"}) | (
    HEIC_SUFFIXES if find_spec("pillow_heif") else frozenset()
)
"""Suffixes of images that can be read; photographs in HEIC format need the optional package pillow_heif."""

UNREAD_SUFFIXES = (
    frozenset(str.split(".bmp .gif .avif .jfif .jpe .jp2 .raw .dng .svg")) | HEIC_SUFFIXES
) - IMAGE_SUFFIXES
"""Suffixes of images that cannot be read."""


@dataclass(frozen=True)
class Study:
    """Images, ratings and settings, checked and joined.

    Parameters
    ----------
    folder : Path
        The study's folder.
    settings : Settings
        The settings of `study.toml`, completed by defaults.
    images : DataFrame
        One row per rated image: image (path below `images/`), identity, may_publish, and further columns of
        `images.csv`; sorted by image.
    ratings : DataFrame
        One row per judgement: rater (absent if ratings are averages), group, image, trait, rating, repeat,
        and further columns.
    notices : tuple of Problem
        Oddities of the study that are not errors.
    cleaning : Cleaned or None
        Ratings excluded by the rules of `study.toml`; None if there are no rules.

    Examples
    --------
    >>> study = Study.load("mystudy")  # doctest: +SKIP
    >>> study.groups, study.traits  # doctest: +SKIP
    (['autistic', 'non-autistic'], ['warm', 'critical'])
    """

    folder: Path
    settings: Settings
    images: pd.DataFrame
    ratings: pd.DataFrame
    notices: tuple[Problem, ...] = ()
    cleaning: Cleaned | None = None

    @classmethod
    def load(cls, folder: str | Path, ratings: Path | None = None) -> "Study":
        """Read a study and check its settings and tables.

        Parameters
        ----------
        folder : str or Path
            The study's folder.
        ratings : Path, optional
            A table of ratings to read instead of the study's own.

        Returns
        -------
        Study
            The study.

        Raises
        ------
        StudyError
            With every error in the settings and tables.
        """
        study, problems = read_study(Path(folder), ratings)
        if problems or study is None:
            raise StudyError(problems)
        return study

    @property
    def groups(self) -> list[str]:
        """Groups in the order of the settings, or in alphabetical order."""
        return list(self.settings.groups) or sorted(self.ratings[GROUP].unique())

    @property
    def traits(self) -> list[str]:
        """Traits in the order of the settings, or in alphabetical order."""
        return list(self.settings.traits) or sorted(self.ratings[TRAIT].unique())

    @property
    def scale(self) -> tuple[float, float]:
        """Lowest and highest possible rating; the observed range if not set."""
        if self.settings.scale is not None:
            return self.settings.scale
        return float(self.ratings[RATING].min()), float(self.ratings[RATING].max())

    @property
    def landmarks(self) -> pd.DataFrame | None:
        """Landmarks of `landmarks.csv`: image, point, x, y in pixels of the upright image; None if missing.

        The table is read at each access and not kept in memory, because it may be large and is needed once.
        """
        return read_landmarks(self.folder, find_images(self.folder))[0]

    @property
    def has_raters(self) -> bool:
        """Whether the ratings are single judgements, not averages."""
        return RATER in self.ratings.columns

    def path(self, image: str) -> Path:
        """Return the path of an image file.

        Parameters
        ----------
        image : str
            Name of the image in the table of images.

        Returns
        -------
        Path
            The path.
        """
        return self.folder / "images" / image

    def __str__(self) -> str:
        raters = f"{self.ratings[RATER].nunique()} raters, " if self.has_raters else ""
        return (
            f"{self.settings.name}: {len(self.images)} images of "
            f"{self.images[IDENTITY].nunique()} identities, "
            f"{len(self.ratings)} ratings, {raters}groups {', '.join(self.groups)}; "
            f"traits {', '.join(self.traits)}"
        )


def read_study(folder: Path, table: Path | None = None) -> tuple[Study | None, list[Problem]]:
    """Read a study, and return its problems instead of raising an error.

    Parameters
    ----------
    folder : Path
        The study's folder.
    table : Path, optional
        A table of ratings to read instead of the study's own.

    Returns
    -------
    study : Study or None
        The study; None if it cannot be read.
    problems : list of Problem
        Every error in the settings and tables.
    """
    if not folder.is_dir():
        return None, [Problem("there is no such folder", "name the study folder", str(folder))]
    settings, problems = read_settings(folder / "study.toml")
    files = find_images(folder)
    unread = describe_unread(_list_files(folder, UNREAD_SUFFIXES))
    outside = len(_list_files(folder, IMAGE_SUFFIXES)) - len(files)
    linked = f"{outside} links to images outside of the study are not followed" if outside else ""
    if not files:
        advice = "put JPEG, PNG, TIFF or WebP files there, at any depth"
        rest = "; ".join(filter(None, [linked, unread]))
        problems.append(Problem(f"contains no image{f' ({rest})' if rest else ''}", advice, "images/"))
    ratings, notices, ratings_problems = _read_ratings(folder, settings, files, table)
    if files:
        notices += [Problem(what, "copy them there", "images/") for what in (linked,) if what]
        notices += [Problem(what, file="images/") for what in (unread,) if what]
    images, images_problems = read_images(folder, files, settings)
    landmarks_problems = read_landmarks(folder, files)[1]
    pyarrow.default_memory_pool().release_unused()
    release_memory()
    problems += ratings_problems + images_problems + landmarks_problems
    if ratings is None or images is None or ratings.empty:
        return None, problems
    cleaning = None
    if settings.cleaning != CleaningSettings():
        try:
            cleaning = clean_ratings(ratings, settings.cleaning, settings.scale)
        except StudyError as error:
            return None, [*problems, *error.problems]
        ratings = cleaning.ratings
        if settings.traits:  # Remove items that only a rule of cleaning needs.
            ratings = ratings[ratings[TRAIT].isin(settings.traits)].reset_index(drop=True)
        if ratings.empty:
            return None, [
                *problems,
                Problem("cleaning leaves no rating", "relax the rules in [cleaning]", "study.toml"),
            ]
    if (folder / "images.csv").exists():
        problems += check_listed(ratings, images)
    images, left_out = _select_rated_images(images, ratings)
    if not problems:
        problems += check_enough(images, ratings, settings)
    return Study(folder, settings, images, ratings, (*notices, *left_out), cleaning), problems


def find_images(folder: Path) -> list[str]:
    """List the image files of a study.

    Returns
    -------
    list of str
        Sorted paths below `images/` with forward slashes, without hidden files and links to files elsewhere.
    """
    inside = (folder / "images").resolve()
    return [
        name
        for name in _list_files(folder, IMAGE_SUFFIXES)
        if (folder / "images" / name).resolve().is_relative_to(inside)
    ]


def _list_files(folder: Path, suffixes: Collection[str]) -> list[str]:
    """List the files below a study's `images/` that have one of the suffixes and are not hidden."""
    root = folder / "images"
    return sorted(
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.suffix.lower() in suffixes
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
        and path.is_file()
    )


def describe_unread(names: Sequence[str]) -> str:
    """Describe in words the images that cannot be read because of their format.

    Returns
    -------
    str
        Number, formats and advice; "" if there are no such images.

    Examples
    --------
    >>> describe_unread(["a.bmp", "b.BMP"])
    '2 BMP files are not read; save as PNG or JPEG'
    """
    if not names:
        return ""
    kinds = sorted({Path(name).suffix.lower().removeprefix(".").upper() for name in names})
    heic = HEIC_SUFFIXES & {Path(name).suffix.lower() for name in names}
    also = ', or install their reader: pip install "traitlens[heic]"' if heic else ""
    files = f"{' and '.join(kinds)} {'file is' if len(names) == 1 else 'files are'}"
    return f"{len(names)} {files} not read; save as PNG or JPEG{also}"


def _find_rating_table(folder: Path, settings: Settings) -> Path | None:
    """Return the table of ratings that the settings name, or else the first file named "ratings"."""
    if settings.ratings.file is not None:
        named = folder / settings.ratings.file
        return named if named.is_file() else None
    return next(iter(_list_rating_tables(folder)), None)


def _list_rating_tables(folder: Path) -> list[Path]:
    """List the files named "ratings", in order of precedence."""
    suffixes = dict.fromkeys([".parquet", ".csv", *READERS])
    return [path for suffix in suffixes if (path := folder / f"ratings{suffix}").exists()]


def _note_other_tables(folder: Path, read: Path) -> list[Problem]:
    """Return a notice if the folder has further tables of ratings besides the one that was read."""
    others = [path.name for path in _list_rating_tables(folder) if path != read]
    newer = [name for name in others if (folder / name).stat().st_mtime > read.stat().st_mtime]
    if not others:
        return []
    what = f"was read; {', '.join(others)} was not{', though newer' if newer else ''}"
    return [Problem(what, "remove the one that is out of date", read.name)]


def _read_rating_table(path: Path, settings: RatingsSettings) -> tuple[pd.DataFrame | None, list[Problem]]:
    """Read the table of ratings, in any layout and format, as one row per judgement."""
    mapping = RatingsSettings() if settings.imported_from else settings.model_copy(update={"file": None})
    if mapping == RatingsSettings() and path.suffix in (".csv", ".parquet"):
        table, problems = read_table(path)
        if table is not None:
            problems = find_missing_columns(table, [IMAGE, TRAIT, RATING], path.name)
            table[COLUMN] = RATING
        return (None, problems) if problems else (table, [])
    try:
        sheet = read_sheets(path, mapping.encoding, mapping.first_line)[0]
        spread = mapping.spread if mapping.layout == "wide" else ()
        columns = [getattr(mapping, word) or word for word in WORDS if word != RATING]
        named = [name for name in (*columns, *mapping.keep, *mapping.only) if name not in spread]
        table = to_long(apply_labels(sheet.cells, sheet.labels, named), mapping, path.name)
    except StudyError as error:
        return None, list(error.problems)
    problems = find_missing_columns(table.drop(columns=COLUMN), [IMAGE, TRAIT], path.name)
    return (None, problems) if problems else (table, [])


def _read_ratings(
    folder: Path, settings: Settings, files: Sequence[str], given: Path | None = None
) -> tuple[pd.DataFrame | None, list[Problem], list[Problem]]:
    """Read and check the ratings; return the table, notices and problems."""
    path = given if given is not None and given.is_file() else None
    if given is None:
        path = _find_rating_table(folder, settings)
    if path is None:
        name = str(given) if given is not None else settings.ratings.file or "ratings.csv"
        return None, [], [Problem("is missing", "write one row per judgement", name)]
    table, problems = _read_rating_table(path, settings.ratings)
    if table is None:
        return None, [], problems
    if GROUP not in table:
        table[GROUP] = "all"
    file = path.name
    number = len(table)
    table, problems = parse_ratings(table, file, settings.ratings.missing)
    notices = _note_other_tables(folder, path) if given is None else []
    if len(table) < number:
        notices.append(Problem(f"empty ratings were left out: {number - len(table)}", file=file))
    for column in [word for word in (RATER, GROUP, IMAGE, TRAIT) if word in table]:
        table[column], changed = normal_identifiers(texts(table[column]))
        message = ", ".join(f"{old!r} as {new!r}" for old, new in list(changed.items())[:5])
        notices += (
            [
                Problem(
                    f"{len(changed)} names were read without invisible characters: {message}",
                    file=file,
                    column=column,
                )
            ]
            if changed and column != IMAGE
            else []
        )
    problems += check_choices(table, settings, file)
    recognised = settings.cleaning.recognised
    items = () if recognised is None else (parse_condition(recognised)[0],)
    for column, named in (
        (GROUP, settings.groups),
        (TRAIT, (*settings.traits, *items) if settings.traits else ()),
    ):
        unused = sorted(set(table[column].unique()) - {*named, ""}) if named else []
        if unused:
            what = f"{column}s that study.toml does not name were left out: {', '.join(unused)}"
            notices.append(Problem(what, file=file, column=column))
            table = table[~table[column].isin(unused)]
    columns = table.pop(COLUMN)
    for column in [word for word in (RATER, GROUP, IMAGE, TRAIT) if word in table]:
        empty = table[column][table[column] == ""]
        problems += cell_problems(empty, "is empty", "fill it in", file, column)
    if settings.scale is not None and not settings.cleaning.off_scale:
        low, high = settings.scale
        off = (table[RATING] < low) | (table[RATING] > high)
        what = f"{{:g}} is off the scale {low:g} to {high:g}"
        advice = "correct it, or the scale in study.toml"
        problems += cell_problems(table[RATING][off], what, advice, file, columns[off])
    elif settings.scale is None:
        notices += _note_outliers(table, file)
    table, unmatched = match_images(table, files, file, settings.ratings.by_number)
    problems += unmatched
    spelled, noted = check_spellings(table, file)
    problems += spelled
    notices += noted
    if REPEAT not in table:
        table[REPEAT] = 1
    keys = [column for column in (RATER, GROUP, IMAGE, TRAIT, REPEAT) if column in table]
    problems += find_duplicates(table, keys, file)
    problems += check_raters(table, file) + check_variance(table[~table[TRAIT].isin(items)], file)
    comparison = settings.comparison
    modelled = [] if comparison.formula is None else formula_variables(comparison.formula)
    columns = dict.fromkeys([*comparison.variables, *comparison.covariates, *modelled])
    table, unfit = parse_variables(table, [name for name in columns if name != GROUP], file)
    alike = [comparison.clusters] if comparison.clusters else []
    problems += unfit + find_missing_columns(table, [*alike, *comparison.within], file)
    table = table[table[RATING].notna()]
    return table.reset_index(drop=True), notices, problems


def _note_outliers(table: pd.DataFrame, file: str) -> list[Problem]:
    """Return a notice for each trait that has outliers."""
    notices = []
    traits = table[TRAIT].nunique()
    for trait, ratings in table.groupby(TRAIT, sort=False, observed=True)[RATING]:
        far = find_far_values(ratings)
        if far:
            rest = ratings[~ratings.isin(far)]
            message = ", ".join(f"{value:g} ({number})" for value, number in list(far.items())[:8])
            of = f" of {trait}" if traits > 1 else ""
            what = f"far from all other ratings{of} ({rest.min():g} to {rest.max():g}): {message}"
            advice = "name codes for missing ratings in ratings.missing, or set scale in study.toml"
            notices.append(Problem(what, advice, file))
    return notices


def read_images(
    folder: Path, files: Sequence[str], settings: Settings
) -> tuple[pd.DataFrame | None, list[Problem]]:
    """Read the table of images, `images.csv`, or create it from the image files.

    Without a column identity, the identity of an image is its sub-folder, or the image itself.

    Returns
    -------
    table : DataFrame or None
        image, identity, may_publish and further columns, sorted by image; None if it has errors.
    problems : list of Problem
        The errors in the table.
    """
    path = folder / "images.csv"
    if not path.exists():
        table = pd.DataFrame({IMAGE: list(files)})
    else:
        read, problems = read_table(path)
        if read is None:
            return None, problems
        problems = find_missing_columns(read, [IMAGE], path.name)
        if problems:
            return None, problems
        table, problems = match_images(read, files, path.name)
        problems += find_duplicates(table, [IMAGE], path.name)
        if MAY_PUBLISH in table:
            table[MAY_PUBLISH], wrong = truth_values(table[MAY_PUBLISH])
            advice = "write true or false"
            problems += cell_problems(
                wrong.dropna(), "{!r} is neither true nor false", advice, path.name, MAY_PUBLISH
            )
        if problems:
            return None, problems
    if IDENTITY not in table:
        table[IDENTITY] = [_default_identity(image) for image in table[IMAGE]]
    if MAY_PUBLISH not in table:
        table[MAY_PUBLISH] = False
    column = settings.folds.column
    if column is not None and column not in table:
        return None, [
            Problem(
                f"column {column!r} that folds.column names is missing", "add it to images.csv", "images.csv"
            )
        ]
    table[IDENTITY] = normal_identifiers(table[IDENTITY].astype(str))[0]
    problems = cell_problems(
        table[IDENTITY][table[IDENTITY] == ""], "is empty", "name the person shown", path.name, IDENTITY
    )
    for several in find_spellings(table[IDENTITY]).values():
        message = " and ".join(map(repr, several))
        what = f"identities {message} differ only in upper and lower case"
        problems.append(Problem(what, "use one spelling for each", path.name, column=IDENTITY))
    if problems:
        return None, problems
    return table.sort_values(IMAGE, ignore_index=True), []


def _default_identity(image: str) -> str:
    """Return the default identity of an image: its sub-folder, or the image itself if it has none."""
    parent = Path(image).parent.as_posix()
    return Path(image).stem if parent == "." else parent


def read_landmarks(folder: Path, files: Sequence[str]) -> tuple[pd.DataFrame | None, list[Problem]]:
    """Read the table of landmarks, `landmarks.csv`, of a study.

    Returns
    -------
    table : DataFrame or None
        image, point, x, y in pixels of the upright image; None if the table is missing or unreadable.
    problems : list of Problem
        The errors in the table.
    """
    path = folder / "landmarks.csv"
    if not path.exists():
        return None, []
    table, problems = read_table(path, repeating=True)
    if table is None:
        return None, problems
    problems = find_missing_columns(table, [IMAGE, POINT, X, Y], path.name)
    if problems:
        return None, problems
    for column in (X, Y):
        problems += _read_numbers(table, column, path.name)
    table, unmatched = match_images(table, files, path.name)
    problems += unmatched + find_duplicates(table, [IMAGE, POINT], path.name)
    table[POINT] = map_cells(table[POINT], lambda cell: str(cell).strip())
    return table[[IMAGE, POINT, X, Y]], problems


def _read_numbers(table: pd.DataFrame, column: str, file: str) -> list[Problem]:
    """Convert a column to numbers in place; return a problem for each cell that is empty or not a number."""
    table[column], unreadable = numbers(table[column])
    cells = unreadable[table[column].isna()].fillna("")
    return cell_problems(cells, "{!r} is not a number", "correct it", file, column)


def _select_rated_images(images: pd.DataFrame, ratings: pd.DataFrame) -> tuple[pd.DataFrame, list[Problem]]:
    """Return the rated images, and a notice of the images without ratings."""
    rated = images[IMAGE].isin(ratings[IMAGE].unique())
    if rated.all():
        return images, []
    notice = Problem(f"images without a rating were left out: {int((~rated).sum())}", file="images/")
    return images[rated].reset_index(drop=True), [notice]
