"""A study read from its folder: tables joined to images, every fault found in one go."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from traitlens.problems import Problem, StudyError
from traitlens.study.matching import match_images
from traitlens.study.settings import Settings, read_settings
from traitlens.study.tables import (
    find_duplicates,
    find_missing_columns,
    numbers,
    read_table,
    row_problems,
    truth_values,
)
from traitlens.words import GROUP, IDENTITY, IMAGE, MAY_PUBLISH, POINT, RATER, RATING, REPEAT, TRAIT, X, Y

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True)
class Study:
    """Images, ratings and settings, checked and joined.

    Parameters
    ----------
    folder : Path
        The study's folder.
    settings : Settings
        What `study.toml` says, completed by defaults.
    images : DataFrame
        One row per rated image: image (path below `images/`), identity, may_publish, and the further
        columns of `images.csv`; sorted by image.
    ratings : DataFrame
        One row per judgement: rater (absent in averaged studies), group, image, trait, rating, repeat, and
        further columns.
    landmarks : DataFrame or None
        image, point, x, y in pixels of the upright image, from `landmarks.csv`.
    notices : tuple of Problem
        What the reader should know but need not mend.

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
    landmarks: pd.DataFrame | None = None
    notices: tuple[Problem, ...] = ()

    @classmethod
    def load(cls, folder: str | Path) -> "Study":
        """Read a study and check its tables.

        Parameters
        ----------
        folder : str or Path
            The study's folder.

        Returns
        -------
        Study
            The study.

        Raises
        ------
        StudyError
            With every fault of the settings and tables.
        """
        study, problems = read_study(Path(folder))
        if problems or study is None:
            raise StudyError(problems)
        return study

    @property
    def groups(self) -> list[str]:
        """Groups in the order of the settings, or of the alphabet."""
        return list(self.settings.groups) or sorted(self.ratings[GROUP].unique())

    @property
    def traits(self) -> list[str]:
        """Traits in the order of the settings, or of the alphabet."""
        return list(self.settings.traits) or sorted(self.ratings[TRAIT].unique())

    @property
    def scale(self) -> tuple[float, float]:
        """Lowest and highest possible rating; what occurs where the settings do not say."""
        if self.settings.scale is not None:
            return self.settings.scale
        return float(self.ratings[RATING].min()), float(self.ratings[RATING].max())

    @property
    def has_raters(self) -> bool:
        """Whether single judgements are there, not averages only."""
        return RATER in self.ratings.columns

    def path(self, image: str) -> Path:
        """Locate an image's file.

        Parameters
        ----------
        image : str
            Its name in the images table.

        Returns
        -------
        Path
            The file.
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


def read_study(folder: Path) -> tuple[Study | None, list[Problem]]:
    """Read a study and collect its faults instead of raising them.

    Parameters
    ----------
    folder : Path
        The study's folder.

    Returns
    -------
    study : Study or None
        The study; None where too much is missing to make one.
    problems : list of Problem
        Every fault of settings and tables.
    """
    if not folder.is_dir():
        return None, [Problem("there is no such folder", "give the study's folder", str(folder))]
    settings, problems = read_settings(folder / "study.toml")
    files = find_images(folder)
    if not files:
        problems.append(
            Problem("holds no image", "put JPEG, PNG, TIFF or WebP files there, at any depth", "images/")
        )
    ratings, notices, ratings_problems = _read_ratings(folder, settings, files)
    images, images_problems = _read_images(folder, files, settings)
    landmarks, landmarks_problems = _read_landmarks(folder, files)
    problems += ratings_problems + images_problems + landmarks_problems
    if ratings is None or images is None or ratings.empty:
        return None, problems
    images, left_out = _keep_rated(images, ratings)
    if not problems:
        problems += _check_enough(images, ratings, settings)
    return Study(folder, settings, images, ratings, landmarks, (*notices, *left_out)), problems


def find_images(folder: Path) -> list[str]:
    """List the images of a study.

    Parameters
    ----------
    folder : Path
        The study's folder.

    Returns
    -------
    list of str
        Paths below `images/`, sorted, with forward slashes. Hidden files, and links that leave the
        folder, are passed over.
    """
    root = folder / "images"
    inside = root.resolve()
    return sorted(
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
        and path.is_file()
        and path.resolve().is_relative_to(inside)
    )


def _read_ratings(
    folder: Path, settings: Settings, files: Sequence[str]
) -> tuple[pd.DataFrame | None, list[Problem], list[Problem]]:
    """Read and check the ratings row by row; the row numbers are those of a spreadsheet."""
    path = next(
        (folder / name for name in ("ratings.parquet", "ratings.csv") if (folder / name).exists()), None
    )
    if path is None:
        return None, [], [Problem("is missing", "write one row per judgement", "ratings.csv")]
    table, problems = read_table(path)
    if table is None:
        return None, [], problems
    problems = find_missing_columns(table, [IMAGE, TRAIT, RATING], path.name)
    if problems:
        return None, [], problems
    if GROUP not in table:
        table[GROUP] = "all"
    file = path.name
    for column in {RATER, GROUP, IMAGE, TRAIT} & set(table.columns):
        table[column] = table[column].astype(str).str.strip()
        problems += row_problems(
            table[table[column] == ""], lambda row: "is empty", "fill it in", file, column
        )

    table[RATING], unreadable = numbers(table[RATING])
    problems += row_problems(
        table.assign(**{RATING: unreadable})[unreadable.notna()],
        lambda row: f"{row[RATING]!r} is not a number",
        "correct it or leave it empty",
        file,
        RATING,
    )
    missing = table[RATING].isna() & unreadable.isna()
    notices = []
    if missing.any():
        notices.append(Problem(f"{int(missing.sum())} ratings are empty and were left out", file=file))
    table = table[~missing]
    if settings.scale is not None:
        low, high = settings.scale
        off = table[(table[RATING] < low) | (table[RATING] > high)]
        problems += row_problems(
            off,
            lambda row: f"{row[RATING]:g} is off the scale {low:g} to {high:g}",
            "correct it, or the scale in study.toml",
            file,
            RATING,
        )
    table, unmatched = match_images(table, files, file)
    problems += unmatched
    problems += _check_choices(table, settings, file)
    if REPEAT not in table:
        table[REPEAT] = 1
    keys = [column for column in (RATER, GROUP, IMAGE, TRAIT, REPEAT) if column in table]
    problems += find_duplicates(table, keys, file)
    problems += _check_raters(table, file) + _check_variance(table, file)
    table = table[table[RATING].notna()]
    if settings.groups:
        table = table[table[GROUP].isin(settings.groups)]
    if settings.traits:
        table = table[table[TRAIT].isin(settings.traits)]
    return table.reset_index(drop=True), notices, problems


def _check_choices(table: pd.DataFrame, settings: Settings, file: str) -> list[Problem]:
    """Groups and traits that the settings name must occur."""
    problems = []
    for column, named in ((GROUP, settings.groups), (TRAIT, settings.traits)):
        present = set(table[column].unique())
        problems += [
            Problem(
                f"{column} {name!r} of study.toml does not occur",
                f"found: {', '.join(sorted(present))}",
                file,
                column=column,
            )
            for name in named
            if name not in present
        ]
    return problems


def _check_raters(table: pd.DataFrame, file: str) -> list[Problem]:
    """Each group needs two raters for each trait, and each rater one group."""
    if RATER not in table:
        return []
    problems = []
    first = table.reset_index().groupby([GROUP, TRAIT], sort=True)
    for (group, trait), part in first:
        if part[RATER].nunique() < 2:
            problems.append(
                Problem(
                    f"group {group!r} has one rater for trait {trait!r}",
                    "a group needs two raters at least",
                    file,
                    int(part["index"].iloc[0]) + 2,
                    GROUP,
                )
            )
    groups = table.groupby(RATER)[GROUP].nunique()
    for rater in groups.index[groups > 1]:
        rows = table[table[RATER] == rater]
        other = rows[rows[GROUP] != rows[GROUP].iloc[0]]
        problems.append(
            Problem(
                f"rater {rater!r} belongs to two groups",
                "name raters apart",
                file,
                int(other.index[0]) + 2,
                GROUP,
            )
        )
    return problems


def _check_variance(table: pd.DataFrame, file: str) -> list[Problem]:
    """A trait that everybody rated alike cannot be predicted."""
    problems = []
    for (group, trait), part in table.groupby([GROUP, TRAIT], sort=True):
        values = part[RATING].dropna()
        if len(values) and values.nunique() == 1:
            problems.append(
                Problem(
                    f"trait {trait!r} has no variance in group {group!r}: every rating is {values.iloc[0]:g}",
                    "remove the trait or correct its ratings",
                    file,
                    int(part.index[0]) + 2,
                    RATING,
                )
            )
    return problems


def _read_images(
    folder: Path, files: Sequence[str], settings: Settings
) -> tuple[pd.DataFrame | None, list[Problem]]:
    """Read `images.csv`, or make the table from the files: identity is the sub-folder, else the image."""
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
            problems += row_problems(
                table.assign(**{MAY_PUBLISH: wrong})[wrong.notna()],
                lambda row: f"{row[MAY_PUBLISH]!r} is neither true nor false",
                "write true or false",
                path.name,
                MAY_PUBLISH,
            )
        if problems:
            return None, problems
    if IDENTITY not in table:
        table[IDENTITY] = [_identity_of(image) for image in table[IMAGE]]
    if MAY_PUBLISH not in table:
        table[MAY_PUBLISH] = False
    column = settings.folds.column
    if column is not None and column not in table:
        return None, [
            Problem(
                f"column {column!r} that folds.column names is missing", "add it to images.csv", "images.csv"
            )
        ]
    table[IDENTITY] = table[IDENTITY].astype(str)
    return table.sort_values(IMAGE, ignore_index=True), []


def _identity_of(image: str) -> str:
    """Name the identity of an image that has none: its sub-folder, else the image itself."""
    parent = Path(image).parent.as_posix()
    return Path(image).stem if parent == "." else parent


def _read_landmarks(folder: Path, files: Sequence[str]) -> tuple[pd.DataFrame | None, list[Problem]]:
    """Read `landmarks.csv` (pixels of the upright image), where there is one."""
    path = folder / "landmarks.csv"
    if not path.exists():
        return None, []
    table, problems = read_table(path)
    if table is None:
        return None, problems
    problems = find_missing_columns(table, [IMAGE, POINT, X, Y], path.name)
    if problems:
        return None, problems
    for column in (X, Y):
        table[column], unreadable = numbers(table[column])
        wrong = table.assign(**{column: unreadable.fillna("")})[table[column].isna()]
        problems += row_problems(
            wrong,
            lambda row, column=column: f"{row[column]!r} is not a number",  # type: ignore[misc]
            "correct it",
            path.name,
            column,
        )
    table, unmatched = match_images(table, files, path.name)
    problems += unmatched + find_duplicates(table, [IMAGE, POINT], path.name)
    table[POINT] = table[POINT].astype(str).str.strip()
    return table[[IMAGE, POINT, X, Y]], problems


def _keep_rated(images: pd.DataFrame, ratings: pd.DataFrame) -> tuple[pd.DataFrame, list[Problem]]:
    """Leave out images that nobody rated, and say how many."""
    rated = images[IMAGE].isin(ratings[IMAGE].unique())
    if rated.all():
        return images, []
    notice = Problem(f"{int((~rated).sum())} images have no rating and were left out", file="images/")
    return images[rated].reset_index(drop=True), [notice]


def _check_enough(images: pd.DataFrame, ratings: pd.DataFrame, settings: Settings) -> list[Problem]:
    """Every (group, trait) needs identities for all folds."""
    identities = images.set_index(IMAGE)[IDENTITY]
    needed = 2 * settings.folds.number
    counts: Iterable = (
        ratings.assign(**{IDENTITY: ratings[IMAGE].map(identities)})
        .groupby([GROUP, TRAIT])[IDENTITY]
        .nunique()
        .items()
    )
    return [
        Problem(
            f"group {group!r} rated {count} identities on trait {trait!r}, but {settings.folds.number} folds "
            f"need {needed}",
            "add images or lower folds.number in study.toml",
            "ratings.csv",
        )
        for (group, trait), count in counts
        if count < needed
    ]
