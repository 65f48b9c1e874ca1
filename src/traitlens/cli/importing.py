"""`traitlens import`: convert data from other sources to a study."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from traitlens.cli.terminal import Terminal, answer, confirm, messages
from traitlens.problems import Problem, TraitlensError

importing = typer.Typer(
    no_args_is_help=True,
    help=(
        "Convert data from other sources to a study.\n\n"
        "Example: traitlens import table ratings.xlsx mystudy --images photos"
    ),
)


@importing.command("3dsk")
def import_3dsk(
    source: Annotated[Path, typer.Argument(help="The folder with ratings.csv, female/ and male/.")],
    out: Annotated[Path, typer.Argument(help="Folder of the new study.")],
) -> None:
    """Create a study of the 3DSK faces (DeBruine and Jones 2020), grouped by raters' gender.

    Example: traitlens import 3dsk downloads/3dsk mystudy
    """
    from traitlens.study.import_3dsk import import_3dsk as make_study

    make_study(source, out, watcher=Terminal())
    answer({"study": out}, f"Study: {out}. Next: traitlens run {out}")


@importing.command("table")
def import_table(
    files: Annotated[list[Path], typer.Argument(help="Tables of ratings in any common format, then OUT.")],
    images: Annotated[Path, typer.Option(help="The folder of the images.")],
    group: Annotated[str | None, typer.Option(help="The column with the raters' group.")] = None,
    trait: Annotated[str | None, typer.Option(help="The trait, if the table holds only one.")] = None,
    rater: Annotated[str | None, typer.Option(help="The column with the rater.")] = None,
    image: Annotated[str | None, typer.Option(help="The column with the image.")] = None,
    rating: Annotated[str | None, typer.Option(help="The column with the rating.")] = None,
    traits: Annotated[
        list[str] | None,
        typer.Option(help="A column of ratings, one for each trait; repeat it."),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            help="What the columns of a wide table stand for: images, raters or traits.",
            autocompletion=lambda: ["images", "raters", "traits"],
        ),
    ] = None,
    sheet: Annotated[
        list[str] | None, typer.Option(help="A sheet to read; all visible sheets by default.")
    ] = None,
    files_are: Annotated[
        str | None,
        typer.Option(
            help="What each file or sheet holds: traits, groups, raters (one each), or parts of one table.",
            autocompletion=lambda: ["traits", "groups", "raters", "parts"],
        ),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="COLUMN=VALUE: keep only rows with that value.")
    ] = None,
    missing: Annotated[
        list[str] | None,
        typer.Option(help="A value that means a missing rating, such as -99; repeat for several."),
    ] = None,
    keep: Annotated[
        list[str] | None, typer.Option(help="Another column to keep, such as the raters' age.")
    ] = None,
    raters: Annotated[Path | None, typer.Option(help="A table with the columns rater and group.")] = None,
    scale: Annotated[tuple[float, float] | None, typer.Option(help="Lowest and highest rating.")] = None,
    identity: Annotated[
        str | None,
        typer.Option(
            help="Identity of the person shown: image, folder, name, a column, or a "
            "regular expression for the path."
        ),
    ] = None,
    folds: Annotated[
        int | None, typer.Option(min=2, help="Number of folds; 5 by default if there are enough faces.")
    ] = None,
    by_number: Annotated[
        bool, typer.Option("--by-number", help="Match images by the numbers in their names alone.")
    ] = False,
    number_repeats: Annotated[
        bool, typer.Option("--number-repeats", help="Number repeated judgements in their order.")
    ] = False,
    leave_out_absent: Annotated[
        bool, typer.Option("--leave-out-absent", help="Leave out ratings of missing images.")
    ] = False,
    loop: Annotated[Path | None, typer.Option(help="The loop & merge table of Qualtrics.")] = None,
    first_line: Annotated[int | None, typer.Option(min=1, help="The line of the header.")] = None,
    encoding: Annotated[str | None, typer.Option(help="Encoding of text files, such as mac_roman.")] = None,
    mapping: Annotated[
        Path | None, typer.Option(help="A mapping.toml that an earlier import wrote into its study.")
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Accept the guessed mapping without being asked.")
    ] = False,
) -> None:
    """Create a study from tables: guess the meaning of the columns, show it, and ask for confirmation.

    Example: traitlens import table ratings.xlsx mystudy --images photos --group sex
    """
    from traitlens.study.import_table import import_table as make_study
    from traitlens.study.import_table import read_mapping

    if len(files) < 2:
        raise TraitlensError("give the tables, then the folder of the new study: import table FILE ... OUT")
    if scale is not None and not scale[0] < scale[1]:
        raise TraitlensError(
            Problem("--scale must hold the lowest rating, then the highest", "see import table --help")
        )
    chosen: dict[str, Any] = {"group": group, "trait_name": trait, "rater": rater, "image": image}
    chosen |= {"rating": rating, "columns": columns, "only": _by_column(only or []), "sheets": sheet}
    chosen |= {"files_are": files_are, "missing": missing, "identity": identity, "by_number": by_number}
    chosen |= {"first_line": first_line, "encoding": encoding}
    chosen |= {"absent_images": "leave out" if leave_out_absent else None}
    chosen |= {"number_repeats": number_repeats}
    if traits:
        chosen |= {"columns": columns or "traits", "spread": traits, "layout": "wide"}
    asked = not yes and messages.is_terminal and sys.stdin.isatty()
    done = make_study(
        files[:-1],
        files[-1],
        images,
        mapping=None if mapping is None else read_mapping(mapping),
        raters=raters,
        scale=scale,
        confirm=None if yes else confirm if asked else _refuse,
        watcher=Terminal(),
        keep=keep or (),
        folds=folds,
        loop=loop,
        **{name: value for name, value in chosen.items() if value},
    )
    facts = {"study": files[-1], **done.account.to_dict()}
    answer(facts, str(done), f"Next: traitlens run {files[-1]}")


def _refuse(text: str) -> bool:
    """Raise an error with the question, if there is no terminal."""
    messages.print(escape(text), soft_wrap=True)
    raise TraitlensError(
        Problem("the guessed mapping cannot be confirmed without a terminal", "use --yes to accept it")
    )


def _by_column(conditions: list[str]) -> dict[str, list[str]]:
    """Group conditions of the form COLUMN=VALUE by column."""
    gathered: dict[str, list[str]] = {}
    for condition in conditions:
        column, sign, value = condition.partition("=")
        if not sign:
            raise TraitlensError(f"--only {condition!r} is not of the form COLUMN=VALUE")
        gathered.setdefault(column, []).append(value)
    return gathered


@importing.command("cao2023")
def import_cao2023(
    root: Annotated[
        Path, typer.Argument(help="The folder with rateASD/, rateNT/, faces_cropped*/, 5-fold_list/.")
    ],
    out: Annotated[Path, typer.Argument(help="Folder of the new study.")],
) -> None:
    """Create a study from the data of Cao et al. (2023), with their folds.

    Example: traitlens import cao2023 downloads/face_social_trait mystudy
    """
    from traitlens.study.import_cao2023 import import_cao2023 as make_study

    make_study(root, out, watcher=Terminal())
    answer({"study": out}, f"Study: {out}. Next: traitlens run {out}")
