"""Variables of the raters, such as age or a questionnaire's score: one value for each rater."""

from collections.abc import Sequence

import pandas as pd

from traitlens.problems import Problem
from traitlens.words import GROUP, RATER


def read_variable(ratings: pd.DataFrame, variable: str) -> pd.Series:
    """Read what a column of the ratings tells of each rater.

    Parameters
    ----------
    ratings : DataFrame
        rater, and the variable; tables of a study hold it as text.
    variable : str
        The column.

    Returns
    -------
    Series
        By rater, sorted: numbers where every value is one, else names; groups are names always. Raters
        without a value are missing; those with several have several rows.

    Examples
    --------
    >>> ratings = pd.DataFrame({"rater": ["a", "a", "b", "c"], "age": ["31", "31", "40.5", ""]})
    >>> read_variable(ratings, "age").to_dict()
    {'a': 31.0, 'b': 40.5}
    """
    values = ratings.drop_duplicates([RATER, variable]).set_index(RATER)[variable].sort_index()
    values = values[values.notna() & (values.astype(str).str.strip() != "")]
    numbers = pd.to_numeric(values, errors="coerce")
    return values if variable == GROUP or numbers.isna().any() else numbers


def check_variables(ratings: pd.DataFrame, variables: Sequence[str], file: str) -> list[Problem]:
    """Variables that shall be tested must be there, and have one value for each rater.

    Parameters
    ----------
    ratings : DataFrame
        The ratings.
    variables : sequence of str
        The columns.
    file : str
        Name of the file of the ratings.

    Returns
    -------
    list of Problem
        What hinders the tests.
    """
    return [problem for name in variables if RATER in ratings for problem in _check(ratings, name, file)]


def _check(ratings: pd.DataFrame, name: str, file: str) -> list[Problem]:
    """Check one variable."""
    if name not in ratings:
        found = f"found: {', '.join(map(str, ratings.columns))}"
        return [Problem(f"column {name!r} of comparison.variables is missing", found, file)]
    values = read_variable(ratings, name)
    twice = values.index[values.index.duplicated()]
    if len(twice):
        what = f"rater {twice[0]!r} has several values"
        return [Problem(what, "a variable has one for each rater", file, column=name)]
    if pd.api.types.is_numeric_dtype(values):
        return []
    counts = values.value_counts()
    if len(counts) < 2:
        return [Problem("has one value or none", "there is nothing to compare", file, column=name)]
    return [
        Problem(
            f"the group {group!r} of comparison.variables has one rater",
            "give it two at least, or write numbers only and leave what is not known empty",
            file,
            column=name,
        )
        for group in counts.index[counts < 2][:5]
    ]
