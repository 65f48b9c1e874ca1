"""Writing the folder of a new study: images, tables and settings."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from traitlens.problems import Problem, TraitlensError
from traitlens.progress import SilentWatcher, Watcher
from traitlens.storage import atomic_write
from traitlens.study.settings_file import to_toml


@contextmanager
def new_study(out: Path) -> Iterator[Path]:
    """Create the folder of a new study, which appears only if the `with` block ends without an error.

    Parameters
    ----------
    out : Path
        The folder; must be empty if it exists.

    Yields
    ------
    Path
        A temporary folder to write to.

    Raises
    ------
    TraitlensError
        If the folder is not empty.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise TraitlensError(Problem("already exists", "name a new folder", str(out)))
    with atomic_write(out) as temporary:
        temporary.mkdir()
        yield temporary


def copy_images(folder: Path, files: Mapping[str, Path], watcher: Watcher | None = None) -> None:
    """Copy image files into the folder of a study.

    Parameters
    ----------
    folder : Path
        The study's folder.
    files : mapping
        The file to copy, keyed by its new path below `images/`.
    watcher : Watcher, optional
        Shows the progress.
    """
    with (watcher or SilentWatcher()).stage("Copying images", len(files)) as advance:
        for name, file in files.items():
            target = folder / "images" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
            advance(1)


def settings_text(
    name: str,
    description: str = "",
    groups: Sequence[str] = (),
    traits: Sequence[str] = (),
    scale: tuple[float, float] | None = None,
    folds: Mapping[str, object] | None = None,
    ratings: Mapping[str, object] | None = None,
) -> str:
    """Return the content of a commented `study.toml`.

    Parameters
    ----------
    name, description : str
        Name of the study, and one or two sentences about it.
    groups, traits : sequence of str
        Groups and traits in the order of tables and figures; not written if empty.
    scale : (float, float), optional
        Lowest and highest possible rating.
    folds, ratings : mapping, optional
        Settings of the sections [folds] and [ratings].

    Examples
    --------
    >>> print(settings_text("Faces", traits=["warm"]).splitlines()[2])
    name = "Faces"
    """
    lines = [
        "# Every setting is optional; settings that are left out have their defaults.",
        "",
        f"name = {to_toml(name)}",
    ]
    if description:
        lines.append(f"description = {to_toml(description)}")
    if groups or traits:
        lines += ["", "# The groups of raters and the traits, in the order of tables and figures."]
    lines += [f"groups = {to_toml(list(groups))}"] if groups else []
    lines += [f"traits = {to_toml(list(traits))}"] if traits else []
    if scale is not None:
        lines += ["", "# Lowest and highest possible rating.", f"scale = {to_toml(list(scale))}"]
    lines += ["", "# Random seed of the analysis.", "seed = 0"]
    lines += ["", "# All images of an identity are in the same fold."]
    lines += _format_section("folds", folds or {"number": 5})
    if ratings:
        lines += ["", "# Layout of the imported files."]
        lines += _format_section("ratings", ratings)
    return "\n".join(lines) + "\n"


def _format_section(name: str, values: Mapping[str, object]) -> list[str]:
    """Format one section as lines of TOML."""
    return [f"[{name}]", *(f"{key} = {to_toml(value)}" for key, value in values.items())]


def write_tables(folder: Path, tables: Mapping[str, pd.DataFrame]) -> None:
    """Write tables as CSV into the folder of a study.

    Parameters
    ----------
    folder : Path
        The study's folder.
    tables : mapping
        Tables by name, such as "ratings"; Boolean columns are written as true and false.
    """
    for name, table in tables.items():
        truths = [column for column in table.columns if table[column].dtype == bool]
        written = table.assign(
            **{column: table[column].map({True: "true", False: "false"}) for column in truths}
        )
        written.to_csv(folder / f"{name}.csv", index=False)
