"""The commands `traitlens import`, which convert data from other sources to a study."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from traitlens.cli.terminal import Terminal, confirm, messages, print_result
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
    source: Annotated[Path, typer.Argument(help="Folder with ratings.csv, female/ and male/.")],
    out: Annotated[Path, typer.Argument(help="Folder of the new study.")],
) -> None:
    """Create a study of the 3DSK faces (DeBruine and Jones 2020), with raters grouped by gender.

    Example: traitlens import 3dsk downloads/3dsk mystudy
    """
    from traitlens.study.import_3dsk import import_3dsk as make_study

    make_study(source, out, watcher=Terminal())
    print_result({"study": out}, f"Study: {out}. Next: traitlens run {out}")


@importing.command("table")
def import_table(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Tables of ratings in any common format, followed by OUT, the folder of the new study."
        ),
    ],
    images: Annotated[Path, typer.Option(help="Folder of the images.")],
    group: Annotated[str | None, typer.Option(help="Name of the column with the group of raters.")] = None,
    trait: Annotated[str | None, typer.Option(help="Name of the trait, if there is only one.")] = None,
    rater: Annotated[str | None, typer.Option(help="Name of the column with the rater.")] = None,
    image: Annotated[str | None, typer.Option(help="Name of the column with the image.")] = None,
    rating: Annotated[str | None, typer.Option(help="Name of the column with the rating.")] = None,
    traits: Annotated[
        list[str] | None,
        typer.Option(help="Name of a column with the ratings of one trait; repeat for several."),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            help="What the columns of a wide table are: images, raters or traits.",
            autocompletion=lambda: ["images", "raters", "traits"],
        ),
    ] = None,
    sheet: Annotated[
        list[str] | None, typer.Option(help="Name of a sheet to read; all visible sheets by default.")
    ] = None,
    files_are: Annotated[
        str | None,
        typer.Option(
            help="What each file or sheet contains: one trait (traits), one group (groups), one rater "
            "(raters), or a part of a table (parts).",
            autocompletion=lambda: ["traits", "groups", "raters", "parts"],
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="COLUMN=VALUE: keep only rows with that value; repeat for several."),
    ] = None,
    missing: Annotated[
        list[str] | None,
        typer.Option(help="Value that stands for a missing rating, such as -99; repeat for several."),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(help="Another column to keep, such as the age of raters; repeat for several."),
    ] = None,
    raters: Annotated[Path | None, typer.Option(help="Table with the columns rater and group.")] = None,
    scale: Annotated[
        tuple[float, float] | None, typer.Option(help="Ends of the rating scale, such as 1 7.")
    ] = None,
    identity: Annotated[
        str | None,
        typer.Option(
            help="Source of the identity of the person shown: image, folder, name, a column, or a "
            "regular expression for the path."
        ),
    ] = None,
    folds: Annotated[
        int | None, typer.Option(min=2, help="Number of folds; 5 by default if there are enough faces.")
    ] = None,
    by_number: Annotated[
        bool, typer.Option("--by-number", help="Match images only by the numbers in their names.")
    ] = False,
    number_repeats: Annotated[
        bool,
        typer.Option(
            "--number-repeats", help="Keep repeated ratings of an image, and number them in their order."
        ),
    ] = False,
    leave_out_absent: Annotated[
        bool,
        typer.Option(
            "--leave-out-absent", help="Leave out ratings of images that are missing in the folder."
        ),
    ] = False,
    loop: Annotated[Path | None, typer.Option(help="Loop & merge table of a Qualtrics survey.")] = None,
    first_line: Annotated[
        int | None, typer.Option(min=1, help="Number of the line with column names.")
    ] = None,
    encoding: Annotated[str | None, typer.Option(help="Encoding of text files, such as mac_roman.")] = None,
    mapping: Annotated[
        Path | None, typer.Option(help="File mapping.toml of a study that was imported in the same way.")
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Accept the guessed meaning of the columns without confirmation.")
    ] = False,
) -> None:
    """Create a study from tables: guess the meaning of the columns, show it, and ask for confirmation.

    Example: traitlens import table ratings.xlsx mystudy --images photos --group sex
    """
    from traitlens.study.import_table import import_table as make_study
    from traitlens.study.import_table import read_mapping

    if len(files) < 2:
        raise TraitlensError(
            "give the tables and then the folder of the new study: traitlens import table FILE ... OUT"
        )
    if scale is not None and not scale[0] < scale[1]:
        raise TraitlensError(
            Problem(
                "--scale needs the lowest possible rating, then the highest",
                "see traitlens import table --help",
            )
        )
    chosen: dict[str, Any] = {"group": group, "trait_name": trait, "rater": rater, "image": image}
    chosen |= {"rating": rating, "columns": columns, "only": _group_by_column(only or []), "sheets": sheet}
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
        confirm=None if yes else confirm if asked else _refuse_without_terminal,
        watcher=Terminal(),
        keep=keep or (),
        folds=folds,
        loop=loop,
        **{name: value for name, value in chosen.items() if value},
    )
    facts = {"study": files[-1], **done.account.to_dict()}
    print_result(facts, str(done), f"Next: traitlens run {files[-1]}")


def _refuse_without_terminal(text: str) -> bool:
    """Raise an error in place of a question that cannot be asked without a terminal."""
    messages.print(escape(text), soft_wrap=True)
    raise TraitlensError(
        Problem(
            "the guessed meaning of columns cannot be confirmed without a terminal", "use --yes to accept it"
        )
    )


def _group_by_column(conditions: list[str]) -> dict[str, list[str]]:
    """Return the values in conditions of the form COLUMN=VALUE, by column."""
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
        Path, typer.Argument(help="Folder with rateASD/, rateNT/, faces_cropped*/, 5-fold_list/.")
    ],
    out: Annotated[Path, typer.Argument(help="Folder of the new study.")],
) -> None:
    """Create a study from the data of Cao et al. (2023), with their folds.

    Example: traitlens import cao2023 downloads/face_social_trait mystudy
    """
    from traitlens.study.import_cao2023 import import_cao2023 as make_study

    make_study(root, out, watcher=Terminal())
    print_result({"study": out}, f"Study: {out}. Next: traitlens run {out}")
