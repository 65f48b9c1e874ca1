"""Import of tables of ratings in any common layout and format, together with a folder of images."""

import re
import shutil
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from pydantic import ValidationError

from traitlens.columns import GROUP, IDENTITY, IMAGE, MAY_PUBLISH, RATER, RATING, TRAIT
from traitlens.problems import Problem, StudyError, TraitlensError
from traitlens.progress import SilentWatcher, Watcher
from traitlens.study.accounts import ImportAccount, write_account
from traitlens.study.checking import FEWEST_IDENTITIES
from traitlens.study.describing import describe_mapping
from traitlens.study.doubts import find_doubts
from traitlens.study.formats import read_cells
from traitlens.study.gathering import (
    SOURCE,
    Decision,
    Notes,
    add_groups,
    check_identifiers,
    gather,
    leave_out_cells,
    make_account,
)
from traitlens.study.identifiers import find_spellings, normal_identifier, normal_text
from traitlens.study.identities import guess_identities, name_identities
from traitlens.study.layouts import COLUMN, WORDS, data_rows
from traitlens.study.matching import ImageNames
from traitlens.study.new_study import copy_images, new_study, settings_text, write_tables
from traitlens.study.reading import IMAGE_SUFFIXES, UNREAD_SUFFIXES, Study, describe_unread
from traitlens.study.settings import RatingsSettings
from traitlens.study.settings_file import to_toml
from traitlens.study.sources import (
    Source,
    call_by_titles,
    find_alike,
    guess_files_are,
    guess_sources,
    read_sources,
)
from traitlens.study.tables import numbers, read_table
from traitlens.study.toml_file import read_toml
from traitlens.study.vocabulary import is_trait_name

MAPPING_FILE = "mapping.toml"
"""File name of the column mapping in a study's folder."""

LANDMARK_SUFFIXES = (".tem", ".pts")
"""Suffixes of landmark files that are stored beside an image."""


@dataclass(frozen=True)
class ImportedTable:
    """An imported study, with the column mapping and the account of the import.

    Parameters
    ----------
    study : Study
        The study, checked.
    mapping : RatingsSettings
        Mapping of the table's columns; also written to `study.toml` and `mapping.toml`.
    account : ImportAccount
        Record of the import; also written to `import.json`.
    """

    study: Study
    mapping: RatingsSettings
    account: ImportAccount

    def __str__(self) -> str:
        return f"{describe_mapping(self.mapping)}\n{self.account}\n{self.study}"


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
    folds: int | None = None,
    loop: str | Path | None = None,
    **chosen: object,
) -> ImportedTable:
    """Create a study from tables of ratings as written by experiment software.

    Decisions that affect the results are made by an argument or confirmed through `confirm`. Without
    `confirm`, safe assumptions are listed in the account, and doubtful ones raise an error.

    Parameters
    ----------
    files : path or sequence of paths
        Tables of one layout, in any of the formats of :mod:`~traitlens.study.formats`.
    out : str or Path
        The folder of the new study; must be empty if it exists.
    images : str or Path
        Folder of the images, at any depth.
    mapping : RatingsSettings, optional
        Mapping of columns; guessed if None.
    raters : str or Path, optional
        A table with the columns rater and group, needed if the ratings do not contain the groups.
    scale : (float, float), optional
        Lowest and highest possible rating; if None, the lowest and highest rating in the tables.
    confirm : callable, optional
        Called with a question, first about mapping, first ten rows and decisions, then about each doubt;
        returns whether to continue.
    watcher : Watcher, optional
        Shows the progress.
    keep : sequence of str
        Further columns to keep, such as the raters' age.
    folds : int, optional
        Number of folds; if None, 5, or fewer for fewer than 10 identities.
    loop : str or Path, optional
        Qualtrics' loop & merge table with the image of each row, with or without a column of row numbers.
    **chosen
        Settings of the mapping that are not guessed, by the names of
        :class:`~traitlens.study.settings.RatingsSettings`, such as `group="sex"`.

    Returns
    -------
    ImportedTable
        The study, the column mapping, and the account of the import.

    Raises
    ------
    StudyError
        With every error in the tables; no folder is written then.
    TraitlensError
        If a question was answered with no.

    Examples
    --------
    >>> done = import_table("ratings.xlsx", "mystudy", "photos", group="sex")  # doctest: +SKIP
    >>> print(done.mapping.rater, done.account.used)  # doctest: +SKIP
    ResponseId 7200
    """
    paths = [Path(file) for file in ([files] if isinstance(files, str | Path) else files)]
    folder, out, watcher = Path(images), Path(out), watcher or SilentWatcher()
    notes = Notes()
    names = _list_images(folder, notes)
    known = {name: _normalise_choice(value) for name, value in chosen.items() if value}
    if loop is not None:
        known["loop"] = _read_loop(Path(loop))
    groups = None if raters is None else _read_raters(Path(raters), notes)
    options = RatingsSettings.model_validate((mapping or RatingsSettings()).model_dump() | known)
    sources, notes.left_out = read_sources(paths, options.sheets, options.encoding, options.first_line)
    if not options.spread or not all(
        name in source.sheet.cells for source in sources for name in options.spread
    ):
        sources = [call_by_titles(source, ImageNames(names)) for source in sources]
    guessed = mapping is None
    if mapping is None:
        kept = [normal_text(name) for name in keep]
        sources, unread, mapping = guess_sources(sources, names, kept, list(groups or ()), known)
        notes.left_out += unread
    else:
        mapping = options.model_copy(update={"keep": tuple(dict.fromkeys((*options.keep, *keep)))})
    mapping = _complete_mapping(mapping, sources, paths, known, notes)
    if guessed:
        notes.decisions += find_doubts(mapping, sources, names, known)
    try:
        table = gather(sources, mapping, names, scale, notes)
        table = add_groups(table, groups, "" if raters is None else Path(raters).name, sources, notes)
        check_identifiers(table, sources, notes)
        if notes.problems:
            raise StudyError(notes.problems)
        identities, mapping = _find_identities(table, mapping, notes)
        folds = folds or _choose_folds(table, identities, notes)
        if notes.problems:
            raise StudyError(notes.problems)
        codes = _confirm_decisions(notes, mapping, table, confirm)
        coded = table[RATING].isin(codes)
        leave_out_cells(table, coded, "means no rating (confirmed)", sources, notes)
        table = table[~coded.to_numpy()]
        mapping = mapping.model_copy(update={"missing": (*mapping.missing, *(f"{code:g}" for code in codes))})
        used = sorted(table[IMAGE].unique())
        account = make_account(table, notes, sources, _list_changed_settings(mapping), names, 0)
        with new_study(out) as temporary:
            copy_images(temporary, {name: folder / name for name in used}, watcher)
            landmarks = _copy_landmarks(temporary, folder, used, notes.notices)
            account = replace(account, landmarks=landmarks, notices=tuple(notes.notices))
            listed = {IMAGE: used, IDENTITY: [identities[name] for name in used], MAY_PUBLISH: False}
            ratings = table.drop(columns=[COLUMN, SOURCE])
            write_tables(temporary, {"images": pd.DataFrame(listed), "ratings": ratings})
            settings = settings_text(
                out.name,
                groups=sorted(table[GROUP].unique()) if GROUP in table else (),
                traits=list(dict.fromkeys(table[TRAIT])),
                scale=scale,
                folds={"number": folds},
                ratings=_list_changed_settings(mapping),
            )
            (temporary / "study.toml").write_text(settings, encoding="utf-8")
            write_mapping(mapping, temporary / MAPPING_FILE)
            write_account(account, temporary)
            try:
                study = replace(Study.load(temporary), folder=out)
            except StudyError as error:
                raise StudyError(_locate_in_sources(error.problems, table, sources)) from None
    except StudyError:
        watcher.say("The table was read as follows:")
        read = [f"{source.place}: {note}" for source in sources for note in source.sheet.notes]
        for line in [*describe_mapping(mapping).splitlines(), *read[:8]]:
            watcher.say(f"  {line}")
        raise
    return ImportedTable(study, mapping, account)


def write_mapping(mapping: RatingsSettings, path: str | Path) -> None:
    """Write a column mapping to a TOML file that :func:`read_mapping` can read."""
    lines = ["# Mapping of the columns of the imported tables, for traitlens import table --mapping."]
    lines += [f"{name} = {to_toml(value)}" for name, value in _list_changed_settings(mapping).items()]
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_mapping(path: str | Path) -> RatingsSettings:
    """Read a column mapping from a TOML file.

    Parameters
    ----------
    path : str or Path
        A file written by :func:`write_mapping`, possibly edited, or a `study.toml`.

    Returns
    -------
    RatingsSettings
        Mapping of columns.

    Raises
    ------
    StudyError
        If the file cannot be read, or contains settings that are unknown or invalid.
    """
    path = Path(path)
    try:
        values = read_toml(path)
        return RatingsSettings.model_validate(values.get("ratings", values))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise StudyError(
            Problem(f"cannot be read as TOML ({error})", "correct the file", path.name)
        ) from None
    except ValidationError as error:
        raise StudyError(
            [
                Problem(
                    f"{'.'.join(map(str, fault['loc']))}: {fault['msg'].lower()}", "correct it", path.name
                )
                for fault in error.errors()
            ]
        ) from None


def preview_ratings(table: pd.DataFrame, number: int = 10) -> str:
    """Format the first rows of a table of ratings as text."""
    shown = [word for word in WORDS if word in table]
    return table[shown].head(number).to_string(index=False)


def _confirm_decisions(
    notes: Notes,
    mapping: RatingsSettings,
    table: pd.DataFrame,
    confirm: Callable[[str], bool] | None,
) -> list[float]:
    """Ask the user to confirm the decisions; return the values confirmed as codes for missing ratings."""
    safe = [one for one in notes.decisions if not one.yes_means]
    doubts = [one for one in notes.decisions if one.yes_means]
    if confirm is None and doubts:
        raise StudyError([Problem(doubt.what, doubt.option) for doubt in doubts])
    if confirm is not None:
        lines = [describe_mapping(mapping), "", preview_ratings(table), ""]
        lines += [f"{one.what} (otherwise {one.option})" for one in safe] + notes.notices
        if not confirm("\n".join(lines).rstrip()):
            advice = "name the columns yourself: --group, --rater ..."
            raise TraitlensError(Problem("nothing was imported", advice))
    for doubt in doubts:
        if confirm is not None and not confirm(f"{doubt.what}; {doubt.yes_means}"):
            raise TraitlensError(Problem("nothing was imported", doubt.option))
    notes.decided += [one.what for one in notes.decisions]
    return [doubt.code for doubt in doubts if doubt.code is not None]


def _locate_in_sources(
    problems: Sequence[Problem], table: pd.DataFrame, sources: Sequence[Source]
) -> list[Problem]:
    """Change problems with rows of `ratings.csv` to name the rows and columns of the imported tables."""
    moved = []
    for problem in problems:
        if problem.file == "ratings.csv" and problem.row is not None and 2 <= problem.row < len(table) + 2:
            row = table.iloc[problem.row - 2]
            column = str(row[COLUMN]) if problem.column == RATING else problem.column
            source = sources[row[SOURCE]]
            problem = replace(problem, file=source.place, row=int(str(row.name)) + 2, column=column)
        elif problem.file == "ratings.csv":
            problem = replace(problem, file=sources[0].file)
        moved.append(
            replace(problem, advice=problem.advice.replace("lower folds.number in study.toml", "say --folds"))
        )
    return list(dict.fromkeys(moved))


def _copy_landmarks(study: Path, folder: Path, images: Sequence[str], notices: list[str]) -> int:
    """Copy the landmark files of the images into a study; return their number."""
    number = 0
    for image in images:
        beside = (folder / image).parent
        for path in beside.iterdir() if beside.is_dir() else ():
            if path.stem == Path(image).stem and path.suffix.lower() in LANDMARK_SUFFIXES:
                target = (study / "images" / image).with_suffix(path.suffix.lower())
                shutil.copyfile(path, target)
                number += 1
    table = folder / "landmarks.csv"
    if table.is_file():
        landmarks, problems = read_table(table)
        if landmarks is None or IMAGE not in landmarks:
            raise StudyError(problems or Problem("column 'image' is missing", "", table.name))
        known = ImageNames(images)
        kept = landmarks[landmarks[IMAGE].map(lambda name: len(known.find(name)) == 1)]
        if len(kept):
            kept.to_csv(study / table.name, index=False)
            number += 1
    xml = folder / "landmarks.xml"
    if xml.is_file():
        content = xml.read_bytes()
        known_codes = rb"utf-8|utf-16|iso-8859-\d+|windows-\d+"
        declared = re.match(rb"<\?xml[^>]*encoding=[\"'](" + known_codes + rb")[\"']", content, re.IGNORECASE)
        text = content.decode(declared.group(1).decode() if declared else "utf-8", errors="replace")
        named = re.findall(r"file=[\"']([^\"']+)", text)
        unknown = [name for name in named if not ImageNames(images).find(name)]
        if named and not unknown:
            shutil.copyfile(xml, study / xml.name)
            number += 1
        else:
            message = (
                f"it names {', '.join(unknown[:3])}, which the study lacks" if named else "it names no images"
            )
            notices.append(f"landmarks.xml was not copied: {message}")
    return number


def _normalise_choice(value: object) -> object:
    """Return the normal form of a column name, and other values unchanged."""
    return normal_text(value) if isinstance(value, str) else value


def _list_images(folder: Path, notes: Notes) -> list[str]:
    """List the images below a folder, except hidden ones; note images in formats that are not read."""
    if not folder.is_dir():
        raise StudyError(Problem("there is no such folder", "name the folder of the images", str(folder)))
    files = [
        path.relative_to(folder)
        for path in folder.rglob("*")
        if not any(part.startswith(".") or part == "__MACOSX" for part in path.relative_to(folder).parts)
        and path.is_file()
    ]
    found = sorted(path.as_posix() for path in files if path.suffix.lower() in IMAGE_SUFFIXES)
    unread = sorted(path.as_posix() for path in files if path.suffix.lower() in UNREAD_SUFFIXES)
    if not found:
        if unread:
            what, _, advice = describe_unread(unread).partition("; ")
            raise StudyError(Problem(f"contains no image that can be read: {what}", advice, str(folder)))
        advice = "name the folder of the images (JPEG, PNG, TIFF or WebP)"
        raise StudyError(Problem("contains no image", advice, str(folder)))
    notes.unread = unread
    if unread:
        notes.notices.append(f"{describe_unread(unread)}: {', '.join(unread[:5])}")
    return found


def _read_raters(path: Path, notes: Notes) -> dict[str, str]:
    """Read the group of each rater from a table with the columns rater and group."""
    table = read_cells(path)
    table.columns = [name.lower() if name.lower() in (RATER, GROUP) else name for name in table.columns]
    missing = [name for name in (RATER, GROUP) if name not in table]
    if missing:
        found = ", ".join(map(str, table.columns))
        raise StudyError(
            [Problem(f"column {name!r} is missing", f"found: {found}", path.name) for name in missing]
        )
    groups: dict[str, str] = {}
    rows: dict[str, int] = {}
    problems = []
    for index, rater, group in zip(table.index, table[RATER], table[GROUP], strict=True):
        name, group = normal_identifier(rater), normal_identifier(group)
        if name != rater:
            notes.changed.append((RATER, rater, name))
        if not name or not group:
            problems.append(Problem("rater or group is empty", "fill it in", path.name, int(index) + 2))
        elif groups.setdefault(name, group) != group:
            what = f"rater {name!r} is in group {group!r}, but in {groups[name]!r} in row {rows[name]}"
            problems.append(Problem(what, "keep one of the two", path.name, int(index) + 2))
        rows.setdefault(name, int(index) + 2)
    if problems:
        raise StudyError(problems)
    return groups


def _read_loop(path: Path) -> dict[str, str]:
    """Read the image of each row number from a loop & merge table of Qualtrics."""
    cells = data_rows(read_cells(path))
    if cells.shape[1] == 1:
        return {str(number + 1): cell for number, cell in enumerate(cells.iloc[:, 0])}
    counted = [name for name in cells if numbers(cells[name])[0].notna().all()]
    others = [name for name in cells if name not in counted[:1]]
    keys = cells[counted[0]] if counted else [str(number + 1) for number in range(len(cells))]
    return {normal_identifier(key): cell for key, cell in zip(keys, cells[others[0]], strict=True)}


def _complete_mapping(
    mapping: RatingsSettings,
    sources: Sequence[Source],
    paths: Sequence[Path],
    chosen: Mapping[str, object],
    notes: Notes,
) -> RatingsSettings:
    """Add files and sheets to the mapping, guess what each contains, and record guesses to be confirmed."""
    sheets = tuple(dict.fromkeys(source.sheet.name for source in sources if source.several_sheets))
    changes: dict[str, object] = {"imported_from": tuple(path.name for path in paths)}
    if sheets or mapping.sheets:
        changes["sheets"] = sheets or mapping.sheets
    if mapping.files_are is None:
        changes["files_are"], sure = guess_files_are(sources, mapping)
        if changes["files_are"] is not None:
            tables = f"{len(sources)} {'sheets' if sheets else 'files'}"
            each = "parts of one table" if changes["files_are"] == "parts" else changes["files_are"]
            what = f"the {tables} are {each}: {', '.join(source.label for source in sources[:8])}"
            option = "use --files-are traits, groups, raters or parts"
            if sheets:
                option += ", or --sheet NAME for those to read"
            notes.decisions.append(Decision(what, option, "" if sure else "this is assumed"))
    alike = find_alike(sources)
    if alike:
        what = f"{' and '.join(alike)} contain the same cells"
        notes.decisions.append(Decision(what, "name one of them only", "both are used"))
    if _may_be_raters(mapping, chosen):
        named = ", ".join(mapping.spread[:8])
        what = f"no column names the raters, and {named} are assumed to be traits with mean ratings"
        option = "use --columns raters or --columns traits"
        notes.decisions.append(Decision(what, option, "this is assumed"))
    if mapping.by_number and not chosen.get("by_number"):
        loops = mapping.pattern is not None
        what = "images are matched by the numbers in their names alone"
        if loops:
            what = (
                "the numbers in the names of the columns are assumed to be those in the names of the images"
            )
        option = "use --by-number; where they count the rows of a loop & merge table, give it by --loop"
        notes.decisions.append(Decision(what, option, "this is assumed" if loops else ""))
    if mapping.group_pattern is not None and "group_pattern" not in chosen:
        what = f"groups are the words before the numbers of the raters' names ({mapping.group_pattern})"
        notes.decisions.append(Decision(what, "say --group, --raters, or --group-pattern"))
    for source in sources:
        for note in source.sheet.notes:
            if "row names" in note:
                notes.decisions.append(Decision(f"{source.place}: {note}", "correct the table"))
    return mapping.model_copy(update=changes)


def _may_be_raters(mapping: RatingsSettings, chosen: Mapping[str, object]) -> bool:
    """Return whether the columns that were taken for traits may be names of raters."""
    wide = mapping.layout == "wide" and mapping.columns == "traits"
    named = mapping.rater or mapping.files_are == "raters" or {"columns", "spread", "files_are"} & set(chosen)
    traits = sum(map(is_trait_name, mapping.spread))
    return wide and not named and len(mapping.spread) > 1 and traits <= len(mapping.spread) / 2


def _find_identities(
    table: pd.DataFrame, mapping: RatingsSettings, notes: Notes
) -> tuple[dict[str, str], RatingsSettings]:
    """Determine the identity of each image, and record the rule as a decision if it is doubtful."""
    used = sorted(table[IMAGE].unique())
    if mapping.identity is not None:
        identities = name_identities(used, mapping.identity, table)
        notes.decided.append(f"{len(set(identities.values()))} identities by --identity {mapping.identity}")
        for several in find_spellings(identities.values()).values():
            message = " and ".join(map(repr, several))
            notes.problems.append(
                Problem(f"identities {message} differ only in upper and lower case", "use one spelling")
            )
        return identities, mapping
    way, doubt = guess_identities(used)
    identities = name_identities(used, way, table)
    if doubt:
        what = doubt
        option = (
            "use --identity image if each shows another person, folder or name (the whole file name without "
            "its ending) if these identify the person, a column that does, or an expression that finds the "
            "person in the name, such as '^([^_]+)_' for anna_1.jpg and anna_2.jpg: no readout may predict a "
            "person whom it was fitted to"
        )
        notes.decisions.append(Decision(what, option, "each image is assumed to show another person"))
    elif way == "folder":
        number = len(set(identities.values()))
        notes.decisions.append(
            Decision(f"the {number} folders are the identities", "use --identity image or name")
        )
    return identities, mapping.model_copy(update={"identity": way})


def _choose_folds(table: pd.DataFrame, identities: Mapping[str, str], notes: Notes) -> int:
    """Return the number of folds: five, or half the number of identities if there are fewer than ten."""
    keys = [word for word in (GROUP, TRAIT) if word in table]
    counts = table.assign(**{IDENTITY: table[IMAGE].map(identities)}).groupby(keys)[IDENTITY].nunique()
    fewest = int(counts.min()) if len(counts) else 0
    if FEWEST_IDENTITIES <= fewest < 10:
        notes.decisions.append(
            Decision(f"there are only {fewest} identities: {fewest // 2} folds instead of 5", "say --folds N")
        )
        return fewest // 2
    return 5


def _list_changed_settings(mapping: RatingsSettings) -> Mapping[str, object]:
    """Return the settings that differ from their defaults, with tuples as lists, for a TOML file."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in mapping.model_dump(exclude_defaults=True).items()
    }
