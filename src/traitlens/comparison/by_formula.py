"""Rater models: linear models of measures of raters on group, age, questionnaire scores and so on."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from traitlens.columns import GROUP, RATER, REGION, TRAIT
from traitlens.comparison.formula_effects import Effect, FormulaDesign, RaterTable, list_effects, read_raters
from traitlens.comparison.linear_models import (
    Contrast,
    LinearModel,
    ModelCells,
    Rearrangement,
    permute_residuals,
    studentized,
)
from traitlens.comparison.permutation import familywise_p, find_strata, permutation_p
from traitlens.problems import Problem, TraitlensError, unknown_choice
from traitlens.study.rater_formula import formula_variables

UNBALANCED = 0.25
"""Standardised difference of a covariate above which groups are called unbalanced (Stuart 2010)."""
FEWEST_CLUSTERS = 6
"""Minimum number of clusters of raters."""
COLUMNS = [
    "effect", "kind", "variable", "level_1", "level_2", "by", "by_1", "by_2", "measure", TRAIT, REGION,
    "estimate", "standard_error", "ci_low", "ci_high", "df", "statistic", "p", "p_corrected", "effect_size",
    "effect_low", "effect_high", "unadjusted", "margin", "equivalence_p", "n", "n_missing", "n_permutations",
    "smallest_p",
]  # fmt: skip
"""Columns of the table of `compare_by_formula`."""


def compare_by_formula(
    ratings: pd.DataFrame,
    outcomes: pd.DataFrame,
    formula: str,
    *,
    within: Sequence[str] = (),
    clusters: str | None = None,
    margin: float | None = None,
    permutations: int = 5000,
    seed: int = 0,
) -> pd.DataFrame:
    """Fit linear models to per-rater measures, and test each effect by permuting residuals.

    Parameters
    ----------
    ratings : DataFrame
        Columns rater, group, image and trait, plus the variables in the formula, which must be constant
        within each rater.
    outcomes : DataFrame
        Columns rater, measure, trait, region and value, as returned by
        :func:`traitlens.comparison.rater_outcomes.rater_outcomes`.
    formula : str
        Right-hand side of the model formula, such as "group * aq + age + sex".
    within : sequence of str, default ()
        Columns that define strata of raters. Residuals are permuted within strata, and each stratum has its
        own intercept.
    clusters : str, optional
        Column identifying clusters of related raters, such as families or sites. Signs of residuals are
        flipped for whole clusters, and standard errors are cluster-robust.
    margin : float, optional
        Smallest difference in mean ratings of interest, used in an equivalence test.
    permutations : int, default 5000
        Number of permutations.
    seed : int, default 0
        Seed of the random number generator.

    Returns
    -------
    DataFrame
        effect (in words), kind, variable, level_1, level_2, by, by_1, by_2 (see
        :class:`traitlens.comparison.formula_effects.Effect`), measure, trait, region, estimate,
        standard_error, ci_low, ci_high (95 %), df, statistic (t), p, p_corrected
        (family-wise over traits and regions of an effect and measure), effect_size (partial correlation) with
        effect_low and effect_high, unadjusted (difference of levels in a model of that variable alone),
        margin, equivalence_p, n, n_missing (raters left out because a variable of the formula is missing),
        n_permutations, smallest_p.

    Raises
    ------
    TraitlensError
        If the formula or its columns cannot be used, or too few raters are left.

    Notes
    -----
    Residuals of the model without the tested effect are permuted (Freedman and Lane 1983; Winkler et al.
    2014). t uses heteroscedasticity-robust standard errors (see
    :class:`traitlens.comparison.linear_models.LinearModel`), so that in large samples the error rate is
    controlled even when group variances differ. Effects are differences in predictions averaged over raters;
    with an interaction, a group difference is therefore evaluated at the mean of the other variable.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> cells = pd.MultiIndex.from_product([[f"r{i}" for i in range(12)], range(9)], names=["rater", "image"])
    >>> ratings = cells.to_frame(index=False).assign(trait="warm")
    >>> ratings["rating"] = rng.normal(size=len(ratings))
    >>> number = ratings["rater"].str[1:].astype(int)
    >>> ratings = ratings.assign(group=np.where(number < 6, "a", "b"), age=20 + number % 5)
    >>> from traitlens.comparison.rater_outcomes import rater_outcomes
    >>> table = compare_by_formula(ratings, rater_outcomes(ratings), "group + age", permutations=99)
    >>> table["effect"].unique().tolist()
    ['a − b', 'age']
    """
    variables = formula_variables(formula)
    raters = read_raters(ratings, variables)
    places = raters.values.index
    known = ratings[ratings[RATER].isin(places)]
    strata = _find_strata(known, raters, variables, within)
    cluster = _number_clusters(known, places, clusters)
    design = FormulaDesign(formula, raters, strata)
    effects = list_effects(formula, raters)
    how = Rearrangement(strata, cluster, permutations, seed)
    blocks = _group_outcomes(outcomes[outcomes[RATER].isin(places)], places, design.matrix, cluster)
    tables = _test_effects(effects, [design.contrast(effect) for effect in effects], blocks, how)
    for table in tables:
        table["unadjusted"] = _unadjusted_differences(table, blocks, raters)
    if not tables:
        raise TraitlensError(
            Problem(
                f"{len(places)} raters are too few for the formula {formula!r}",
                "use fewer variables, or complete missing values; raters with a missing value are left out",
            )
        )
    found = pd.concat(tables, ignore_index=True)
    found["margin"], found["equivalence_p"] = np.nan, np.nan
    if margin is not None:
        levels = (found["measure"] == "level") & found["kind"].str.startswith("difference")
        inside = (margin - found["estimate"].abs()) / found["standard_error"]
        found.loc[levels, "margin"] = margin
        found.loc[levels, "equivalence_p"] = stats.t.sf(inside, found["df"])[levels]
    found["n_missing"], found["n_permutations"] = raters.missing, permutations
    found["smallest_p"] = how.smallest_p
    return found[COLUMNS]


def describe_balance(ratings: pd.DataFrame, formula: str) -> pd.DataFrame:
    """Compare groups in the other variables of a formula, to see whether the groups are balanced.

    Parameters
    ----------
    ratings : DataFrame
        rater, group, and the variables.
    formula : str
        The model formula.

    Returns
    -------
    DataFrame
        group_1, group_2, variable, level (of a categorical variable; empty for numbers), value_1, value_2
        (means of numbers, or shares of raters with the level), sd_1, sd_2, standardised_difference
        (difference divided by the root of the mean variance; Stuart 2010), unbalanced (whether it is beyond
        :data:`UNBALANCED`), n_1, n_2, missing_1, missing_2 (raters without a value). Empty with one group.
    """
    rows = []
    columns = [name for name in formula_variables(formula) if name != GROUP]
    if GROUP in ratings and columns:
        raters = ratings.groupby(RATER, sort=True, observed=True)[[GROUP, *columns]].first()
        for pair in combinations(sorted(raters[GROUP].astype(str).unique()), 2):
            sides = [raters[raters[GROUP].astype(str) == group] for group in pair]
            for column in columns:
                for level, values in _numeric_values(column, sides):
                    rows.append(dict(zip(("group_1", "group_2"), pair, strict=True)) | {
                        "variable": column, "level": level} | _standardised_difference(values))  # fmt: skip
    names = ["group_1", "group_2", "variable", "level", "value_1", "value_2", "sd_1", "sd_2",
             "standardised_difference", "unbalanced", "n_1", "n_2", "missing_1", "missing_2"]  # fmt: skip
    return pd.DataFrame(rows, columns=names)


def _find_strata(
    ratings: pd.DataFrame, raters: RaterTable, variables: Sequence[str], within: Sequence[str]
) -> np.ndarray:
    """Find strata of raters who have the same task and equal values in the columns `within`."""
    first = GROUP if GROUP in variables else variables[0]
    values = raters.values[first]
    labels = values.cat.codes if raters.levels(first) else values > values.median()
    return find_strata(ratings, raters.values.index, labels.to_numpy(int), within)


def _number_clusters(ratings: pd.DataFrame, raters: pd.Index, column: str | None) -> np.ndarray | None:
    """Return the number of each rater's cluster; a rater without a cluster is a cluster of one."""
    if column is None:
        return None
    if column not in ratings:
        raise unknown_choice("column of the ratings", column, ratings.columns)
    own = ratings[[RATER, column]].dropna().drop_duplicates()
    if own[RATER].duplicated().any():
        twice = own[RATER][own[RATER].duplicated()].iloc[0]
        raise TraitlensError(Problem(f"rater {twice!r} has several values of {column!r}", "enter one value"))
    codes = pd.factorize(own.set_index(RATER)[column].reindex(raters))[0]
    alone = codes < 0
    codes[alone] = codes.max(initial=-1) + 1 + np.arange(alone.sum())
    if len(np.unique(codes)) < FEWEST_CLUSTERS:
        what = f"{column!r} divides the raters into fewer than {FEWEST_CLUSTERS} clusters"
        raise TraitlensError(Problem(what, "name it in within instead", column=column))
    return np.asarray(codes)


@dataclass(frozen=True)
class _Block:
    """Measures of one trait that the same raters have, and the linear model of these raters."""

    cells: pd.DataFrame
    """Measure, trait and region of each column of the values."""
    members: np.ndarray
    values: np.ndarray
    model: LinearModel


def _group_outcomes(
    outcomes: pd.DataFrame, raters: pd.Index, design: np.ndarray, clusters: np.ndarray | None
) -> list[_Block]:
    """Group the measures that the same raters have; measures of too few raters are left out."""
    blocks = []
    for trait, own in outcomes.groupby(TRAIT, sort=True, observed=True):
        wide = own.pivot_table(
            index=RATER, columns=["measure", REGION], values="value", observed=True, sort=False
        )
        wide = wide.reindex(raters)
        # Utilisation is used only for raters who have a value for every region.
        if "utilisation" in wide.columns.get_level_values(0):
            used = wide["utilisation"].notna().all(axis=1)
            wide.loc[~used, "utilisation"] = np.nan
        known = wide.notna().to_numpy()
        for pattern in np.unique(known, axis=1).T:
            columns = (known == pattern[:, None]).all(axis=0)
            members = np.flatnonzero(pattern)
            model = LinearModel(design[members], None if clusters is None else clusters[members])
            values = wide.to_numpy()[np.ix_(members, columns)]
            largest = np.abs(values).max(axis=0, initial=0)
            varied = np.ptp(values, axis=0) > 1e-9 * largest if len(values) else largest > 0
            if model.freedom < 3 or not varied.any():
                continue
            cells = pd.DataFrame(wide.columns[columns][varied].tolist(), columns=["measure", REGION])
            blocks.append(_Block(cells.assign(**{TRAIT: str(trait)}), members, values[:, varied], model))
    return blocks


def _test_effects(
    effects: list[Effect], combinations_of: list[np.ndarray], blocks: list[_Block], how: Rearrangement
) -> list[pd.DataFrame]:
    """Estimate and test effects; traits and regions of a measure are one family of tests per effect."""
    found = [[block.model.contrast(one) for one in combinations_of] for block in blocks]
    cells = [
        ModelCells(block.members, block.values, block.model, [one for one in contrasts if one is not None])
        for block, contrasts in zip(blocks, found, strict=True)
    ]
    permuted = permute_residuals([one for one in cells if one.contrasts], how)
    rows: list[list[pd.DataFrame]] = [[] for _ in effects]
    nulls: list[list[np.ndarray]] = [[] for _ in effects]
    for (block, contrasts), null in zip(
        ((block, own) for block, own in zip(blocks, found, strict=True) if any(own)), permuted, strict=True
    ):
        estimable = [place for place, one in enumerate(contrasts) if one is not None]
        for column, place in enumerate(estimable):
            contrast = contrasts[place]
            assert contrast is not None
            rows[place].append(_estimate_effect(block, contrast))
            nulls[place].append(null[:, column])
    tables = []
    for effect, parts, of_effect in zip(effects, rows, nulls, strict=True):
        if not parts:
            continue
        table, every = pd.concat(parts, ignore_index=True), np.hstack(of_effect)
        for _, own in table.groupby("measure", sort=False):
            observed, statistics = own["statistic"].to_numpy(), every[:, own.index]
            table.loc[own.index, "p"] = permutation_p(observed, statistics)
            table.loc[own.index, "p_corrected"] = familywise_p(observed, statistics)
        tables.append(table.assign(**(vars(effect) | {"effect": effect.name})))
    return tables


def _estimate_effect(block: _Block, contrast: Contrast) -> pd.DataFrame:
    """Estimate one effect on all measures of a block, with intervals and effect sizes."""
    estimate, error = block.model.estimate(contrast, block.values)
    size = block.model.residual_deviation(block.values) * np.sqrt((contrast.weights**2).sum())
    plain = studentized(estimate, size)  # The partial correlation is defined by t with equal variances.
    width = stats.t.ppf(0.975, contrast.freedom) * error
    r = plain / np.sqrt(plain**2 + block.model.freedom)
    z = stats.norm.ppf(0.975) / np.sqrt(max(block.model.freedom - 1, 1))
    return block.cells.assign(
        estimate=estimate,
        standard_error=error,
        ci_low=estimate - width,
        ci_high=estimate + width,
        df=contrast.freedom,
        statistic=studentized(estimate, error),
        effect_size=r,
        effect_low=np.tanh(np.arctanh(r) - z),
        effect_high=np.tanh(np.arctanh(r) + z),
        n=len(block.members),
    )


def _unadjusted_differences(table: pd.DataFrame, blocks: list[_Block], raters: RaterTable) -> np.ndarray:
    """Return differences of levels that are not adjusted for other variables; NaN for other effects."""
    effect = table.iloc[0]
    if effect["kind"] != "difference" or effect["by"]:
        return np.full(len(table), np.nan)
    own = raters.values[effect["variable"]]
    sides = [(own == effect[level]).to_numpy() for level in ("level_1", "level_2")]
    keys = ["measure", TRAIT, REGION]
    differences = [
        block.cells.assign(
            unadjusted=block.values[sides[0][block.members]].mean(axis=0)
            - block.values[sides[1][block.members]].mean(axis=0)
        )
        for block in blocks
        if all(side[block.members].any() for side in sides)
    ]
    return table[keys].merge(pd.concat(differences), on=keys, how="left")["unadjusted"].to_numpy()


def _numeric_values(column: str, sides: list[pd.DataFrame]) -> list[tuple[str, list[pd.Series]]]:
    """Return a column as numbers for both groups; of a categorical column an indicator for each level."""
    own = [side[column] for side in sides]
    if pd.api.types.is_numeric_dtype(own[0]) and not pd.api.types.is_bool_dtype(own[0]):
        return [("", [side.astype(float) for side in own])]
    levels = sorted({str(value) for side in own for value in side.dropna()})
    # One indicator is enough for two levels.
    return [
        (level, [(side.astype(str) == level).astype(float).where(side.notna()) for side in own])
        for level in (levels[:1] if len(levels) == 2 else levels)
    ]


def _standardised_difference(sides: list[pd.Series]) -> dict[str, object]:
    """Return means, standard deviations and the standardised difference of one variable of two groups."""
    known = [side.dropna().to_numpy() for side in sides]
    means = [float(side.mean()) if len(side) else np.nan for side in known]
    deviations = [float(side.std(ddof=1)) if len(side) > 1 else np.nan for side in known]
    pooled = float(np.sqrt((deviations[0] ** 2 + deviations[1] ** 2) / 2))
    difference = (means[0] - means[1]) / pooled if pooled > 0 else (
        np.nan if means[0] == means[1] else np.inf * np.sign(means[0] - means[1]))  # fmt: skip
    return {
        "value_1": means[0], "value_2": means[1], "sd_1": deviations[0], "sd_2": deviations[1],
        "standardised_difference": difference, "unbalanced": bool(abs(difference) > UNBALANCED),
        "n_1": len(known[0]), "n_2": len(known[1]),
        "missing_1": len(sides[0]) - len(known[0]), "missing_2": len(sides[1]) - len(known[1]),
    }  # fmt: skip
