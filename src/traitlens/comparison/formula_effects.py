"""Effects of a model formula on measures of raters: variables of the raters, design matrix and contrasts."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from traitlens.columns import GROUP, RATER
from traitlens.problems import Problem, TraitlensError, unknown_choice
from traitlens.study.rater_formula import formula_variables, parse_formula

MOST_LEVELS = 12
"""Maximum number of levels of a categorical variable."""


@dataclass(frozen=True)
class Effect:
    """An effect to estimate: a difference of predicted values, averaged over raters.

    Parameters
    ----------
    kind : str
        "difference" (of two levels), "slope" (one unit of a number), "slope difference", "difference of
        differences" or "product" (of two numbers).
    variable, by : str
        The variable, and the variable that it interacts with or "".
    level_1, level_2, by_1, by_2 : str
        Levels of both variables, or "".
    """

    kind: str
    variable: str
    level_1: str = ""
    level_2: str = ""
    by: str = ""
    by_1: str = ""
    by_2: str = ""

    @property
    def name(self) -> str:
        """Name of the effect in words."""
        if self.kind == "product":
            return f"{self.variable} × {self.by}"
        own = f"{self.level_1} − {self.level_2}" if self.level_1 else self.variable
        if self.level_1 and self.variable != GROUP:
            own = f"{self.variable} {own}"
        if self.by_2:
            return f"{own}: {self.by_1} − {self.by_2}"
        return f"{own} in {self.by_1}" if self.by_1 else own


@dataclass(frozen=True)
class RaterTable:
    """Variables of the raters; raters with a missing value are left out.

    Parameters
    ----------
    values : DataFrame
        A row per rater, sorted. Numeric variables are standardised, others are categorical.
    scales : dict of str to float
        Standard deviation of each numeric variable.
    missing : int
        Number of raters that were left out.
    """

    values: pd.DataFrame
    scales: dict[str, float]
    missing: int

    def levels(self, variable: str) -> list[str]:
        """Return the levels of a categorical variable; an empty list for a numeric one."""
        return [] if variable in self.scales else list(self.values[variable].cat.categories)


def read_raters(ratings: pd.DataFrame, variables: Sequence[str]) -> RaterTable:
    """Read variables of the raters from a table of ratings, and standardise numeric variables.

    Parameters
    ----------
    ratings : DataFrame
        rater and the variables, which have one value per rater.
    variables : sequence of str
        Names of the columns.

    Returns
    -------
    RaterTable
        Raters with a value of every variable.

    Raises
    ------
    TraitlensError
        If a column is missing, has several values for a rater, does not vary or has too many levels.
    """
    problems: list[Problem] = []
    for column in variables:
        if column not in ratings:
            raise unknown_choice("column of the ratings", column, ratings.columns)
        own = ratings[[RATER, column]].dropna().drop_duplicates()
        twice = own[RATER][own[RATER].duplicated()].unique()
        problems += [
            Problem(f"rater {rater!r} has several values of {column!r}", "enter one value") for rater in twice
        ]
    if problems:
        raise TraitlensError(problems)
    raters = ratings.groupby(RATER, sort=True, observed=True)[list(variables)].first()
    known = raters.dropna().copy()
    scales = {}
    for column in variables:
        if known[column].nunique() < 2:
            problems.append(Problem(f"{column!r} is the same for all raters", "leave it out of the formula"))
        elif pd.api.types.is_numeric_dtype(known[column]) and not pd.api.types.is_bool_dtype(known[column]):
            scales[column] = float(known[column].std())
            known[column] = (known[column] - known[column].mean()) / scales[column]
        else:
            known[column] = known[column].astype(str).astype("category")
            if len(known[column].cat.categories) > MOST_LEVELS:
                what = f"{column!r} has more than {MOST_LEVELS} different names"
                problems.append(Problem(what, "name it in within, or leave it out"))
    if problems:
        raise TraitlensError(problems)
    return RaterTable(known, scales, len(raters) - len(known))


def list_effects(formula: str, raters: RaterTable) -> list[Effect]:
    """Return the effects of a formula.

    Parameters
    ----------
    formula : str
        Model formula, such as "group * aq + age".
    raters : RaterTable
        Variables of the raters.

    Returns
    -------
    list of Effect
        For each variable the differences between its levels, or its slope; for each interaction the effects
        of one variable within each level of the other, and the differences of these effects.
    """
    effects = []
    for variable in formula_variables(formula):
        levels = raters.levels(variable)
        effects += [Effect("difference", variable, *pair) for pair in combinations(levels, 2)]
        effects += [] if levels else [Effect("slope", variable)]
    for first, second in (term for term in parse_formula(formula) if len(term) == 2):
        # Effects of the numeric variable, or else of the second one, within levels of the other variable.
        own, by = (first, second) if raters.levels(second) and not raters.levels(first) else (second, first)
        levels, others = raters.levels(own), raters.levels(by)
        if not others:
            effects.append(Effect("product", own, by=by))
            continue
        pairs = list(combinations(levels, 2)) or [("", "")]
        within, between = (
            ("difference", "difference of differences") if levels else ("slope", "slope difference")
        )
        for one, two in pairs:
            effects += [Effect(within, own, one, two, by, level) for level in others]
            effects += [Effect(between, own, one, two, by, *pair) for pair in combinations(others, 2)]
    return effects


class FormulaDesign:
    """Design matrix of a formula, and the contrasts of its coefficients that estimate effects.

    Parameters
    ----------
    formula : str
        The model formula.
    raters : RaterTable
        Variables of the raters.
    strata : ndarray of int, shape (rater,)
        Stratum of each rater. Each stratum has its own intercept.
    """

    def __init__(self, formula: str, raters: RaterTable, strata: np.ndarray):
        from formulaic import model_matrix

        self.raters = raters
        made = model_matrix(f"1 + {formula}", raters.values)
        self._spec = made.model_spec
        kinds = np.unique(strata)
        self._strata = (strata[:, None] == kinds[1:]).astype(float)
        self.matrix = np.column_stack([np.asarray(made, float), self._strata])

    def _mean_row(self, changes: dict[str, object]) -> np.ndarray:
        """Return the mean over raters of the rows of the design matrix after some variables are changed."""
        values = self.raters.values.copy()
        for column, value in changes.items():
            levels = self.raters.levels(column)
            if levels:
                values[column] = pd.Categorical([value] * len(values), categories=levels)
            else:
                values[column] = values[column] + value if value is not None else values[column]
        made = self._spec.get_model_matrix(values)
        return np.concatenate([np.asarray(made, float).mean(axis=0), self._strata.mean(axis=0)])

    def contrast(self, effect: Effect) -> np.ndarray:
        """Return the contrast that estimates an effect.

        Returns
        -------
        ndarray of shape (column,)
            Weights of the coefficients. Their sum of products is a difference of mean predictions, with other
            variables as observed.
        """
        unit = self.raters.scales.get(effect.variable, 1.0)
        high: object = effect.level_1 or 1 / unit
        low: object = effect.level_2 or None

        def simple(others: dict[str, object]) -> np.ndarray:
            """Return the contrast of the variable at given values of other variables."""
            return self._mean_row(others | {effect.variable: high}) - self._mean_row(
                others | {effect.variable: low}
            )

        if effect.kind == "product":
            step = 1 / self.raters.scales[effect.by]
            return simple({effect.by: step}) - simple({})
        if effect.by_2:
            return simple({effect.by: effect.by_1}) - simple({effect.by: effect.by_2})
        return simple({effect.by: effect.by_1} if effect.by else {})
