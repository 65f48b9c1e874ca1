"""Variables of the raters, such as age or the score of a questionnaire, in columns of the ratings."""

from collections.abc import Sequence

import pandas as pd

from traitlens.columns import RATER, TRAIT
from traitlens.problems import Problem
from traitlens.study.tables import cell_problems, find_missing_columns, numbers, texts


def parse_variables(
    table: pd.DataFrame, variables: Sequence[str], file: str
) -> tuple[pd.DataFrame, list[Problem]]:
    """Convert columns with variables of raters to numbers, or to names of categories.

    Parameters
    ----------
    table : DataFrame
        Ratings, with the index that :func:`~traitlens.study.tables.read_table` returned.
    variables : sequence of str
        Names of the columns.
    file : str
        Name of the table's file.

    Returns
    -------
    table : DataFrame
        The table with each variable as numbers if most cells are numbers, and as strings otherwise. Empty
        cells are NaN; their raters are omitted from tests of the variable.
    problems : list of Problem
        Missing columns, raters with several values, cells that are not numbers in a numeric variable,
        variables that are constant, and categories with a single rater.

    Examples
    --------
    >>> ratings = pd.DataFrame({"rater": ["a", "b"], "trait": "warm", "age": ["31", ""]})
    >>> parse_variables(ratings, ["age"], "ratings.csv")[0]["age"].tolist()
    [31.0, nan]
    """
    if not variables:
        return table, []
    problems = find_missing_columns(table, [RATER, *variables], file)
    if problems:
        return table, problems
    for variable in variables:
        parsed, unreadable = numbers(table[variable])
        if parsed.notna().sum() > unreadable.notna().sum():
            wrong = unreadable.dropna()
            wrong = wrong[~table.loc[wrong.index, RATER].duplicated()]
            advice = "correct it, or leave it empty"
            problems += cell_problems(wrong, "{!r} is not a number", advice, file, variable)
        else:
            parsed = texts(table[variable])
            parsed = parsed.where(parsed != "")
        table = table.assign(**{variable: parsed})
        problems += _check_values(table[table[variable].notna()], variable, file)
    return table, problems


def _check_values(known: pd.DataFrame, variable: str, file: str) -> list[Problem]:
    """Return problems if raters have several values, all have the same, or a category has one rater."""
    values = known.drop_duplicates([RATER, variable])
    twice = values[values[RATER].duplicated()].drop_duplicates(RATER)
    what = "rater {!r} has several values"
    problems = cell_problems(
        twice[RATER], what, "a variable must have one value for each rater", file, variable
    )
    if values[variable].nunique() < 2:
        return [*problems, Problem("is the same for all raters", "leave it out", file, column=variable)]
    if pd.api.types.is_numeric_dtype(known[variable]):
        return problems
    raters = known.groupby([TRAIT, variable], sort=True)[RATER].nunique()
    return problems + [
        Problem(
            f"only one rater has {name!r} for trait {trait!r}",
            "a category needs at least two raters",
            file,
            column=variable,
        )
        for (trait, name), count in raters.items()
        if count < 2
    ]
