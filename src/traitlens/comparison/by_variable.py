"""Test whether ratings and cue utilisation are associated with a variable of the raters, such as age."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy import stats

from traitlens.columns import RATER, REGION, TRAIT
from traitlens.comparison.permutation import draw_labels, familywise_p, find_strata, permutation_p
from traitlens.comparison.rater_outcomes import rater_levels
from traitlens.comparison.statistics import STATISTICS, Test, as_labels, describe_effect
from traitlens.problems import Problem, TraitlensError, unknown_choice
from traitlens.ratings.rating_matrix import make_matrix


def compare_by_variable(
    ratings: pd.DataFrame,
    variable: str,
    utilisation: pd.DataFrame | None = None,
    *,
    permutations: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """Test whether mean ratings and cue utilisation are associated with a variable of the raters.

    Parameters
    ----------
    ratings : DataFrame
        rater, image, trait, rating, and the variable, which has one value per rater. Raters without a value
        are left out.
    variable : str
        Column of the ratings with names of groups (tested by t for two groups, by F for more) or with
        numbers such as age or the score of a questionnaire (tested by t of the slope).
    utilisation : DataFrame, optional
        rater, trait, region, utilisation; table of `traitlens.comparison.utilisation.rater_utilisation`. If
        None, only mean ratings are tested.
    permutations : int, default 10000
        Number of permutations of the variable among raters with the same task.
    seed : int, default 0
        Seed of the random number generator.

    Returns
    -------
    DataFrame
        variable, test ("t", "F", "slope"), measure ("level": mean rating; "utilisation"), trait, region,
        estimate (for "t" the first group minus the second; for "F" the largest difference between groups; for
        "slope" the change per unit of the variable), statistic, p, p_corrected (family-wise over the rows of
        a measure; where traits were rated by different groups, corrected among those of the same groups and
        multiplied by the number of such sets), q (false discovery rate over the rows of a measure),
        effect_size (Hedges' g, eta squared, or r), ci_low, ci_high (95 % interval of a slope; otherwise
        missing), n (raters).

    Notes
    -----
    The test is exact: since cues are fitted to all raters together, permuting the variable does not change
    any rater's mean rating or utilisation.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> cells = pd.MultiIndex.from_product([["ann", "ben", "cat", "dan"], range(9)], names=["rater", "image"])
    >>> ratings = cells.to_frame(index=False).assign(trait="warm")
    >>> ratings["rating"] = ratings["image"] / 10 + rng.normal(size=len(ratings))
    >>> ratings["rater_age"] = ratings["rater"].map({"ann": 20, "ben": 30, "cat": 40, "dan": 50})
    >>> compare_by_variable(ratings, "rater_age", permutations=23)[["test", "measure", "n"]]
        test measure  n
    0  slope   level  4
    """
    if variable not in ratings:
        raise unknown_choice("variable of the raters", variable, ratings.columns)
    known = ratings[ratings[variable].notna()]
    scores = known.drop_duplicates([RATER, variable]).set_index(RATER)[variable].sort_index()
    if scores.index.has_duplicates:
        twice = scores.index[scores.index.duplicated()][0]
        raise TraitlensError(
            Problem(f"rater {twice!r} has several values", "enter one value per rater", column=variable)
        )
    labels, test, _ = as_labels(scores)
    raters = scores.index
    # For a numeric variable, each stratum must include raters of the lower and of the upper half.
    halves = (labels > np.median(labels)).astype(int) if test == "slope" else labels
    strata = find_strata(known, raters, halves)
    families = [_mean_ratings(known, raters)]
    if utilisation is not None:
        families.append(_utilisation_of_raters(utilisation, raters))
    tables = []
    for family in families:
        cells = [cell for cell in family if _can_test(labels[cell[0]], test)]
        parts = [
            _test_cells(part, own, test, within, permutations, seed)
            for part, own, within in _divide_by_groups(cells, labels, test, strata, known, raters)
        ]
        if parts:
            tested = pd.concat(parts, ignore_index=True)
            tested["p_corrected"] = np.minimum(tested["p_corrected"] * len(parts), 1)
            tested["q"] = stats.false_discovery_control(tested["p"])
            tables.append(tested)
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=_COLUMNS)
    table.insert(0, "variable", variable)
    table.insert(1, "test", test)
    return table


_COLUMNS = (
    *("measure", TRAIT, REGION, "estimate", "statistic", "effect_size", "ci_low", "ci_high", "n"),
    *("p", "p_corrected", "q"),
)


def _can_test(labels: np.ndarray, test: Test) -> bool:
    """Return whether the raters of a trait differ in the variable: for groups, two that are large enough."""
    sizes = np.unique(labels, return_counts=True)[1]
    if test == "slope":
        return len(sizes) > 1 and len(labels) > 2
    return len(sizes) > 1 and bool(len(labels) > len(sizes) if test == "F" else sizes.min() > 1)


_Cells = list[tuple[np.ndarray, np.ndarray, list[dict[str, str]]]]
"""For each trait: indices of the raters, values of shape (rater, cell), and descriptions of the cells."""


def _mean_ratings(ratings: pd.DataFrame, raters: pd.Index) -> _Cells:
    """Return the mean ratings of raters, for each trait."""
    cells: _Cells = []
    for trait, part in ratings.groupby(TRAIT, sort=True, observed=True):
        matrix = make_matrix(part)
        names = [{"measure": "level", TRAIT: str(trait), REGION: ""}]
        cells.append((raters.get_indexer(matrix.raters), rater_levels(matrix)[:, None], names))
    return cells


def _utilisation_of_raters(utilisation: pd.DataFrame, raters: pd.Index) -> _Cells:
    """Return the utilisation of cues by raters, for each trait; raters with missing values are left out."""
    cells: _Cells = []
    for trait, part in utilisation[utilisation[RATER].isin(raters)].groupby(TRAIT, sort=True, observed=True):
        wide = part.set_index([RATER, REGION])["utilisation"].unstack().dropna()  # noqa: PD010
        if len(wide) < 3:
            continue
        names = [{"measure": "utilisation", TRAIT: str(trait), REGION: str(region)} for region in wide]
        cells.append((raters.get_indexer(wide.index), wide.to_numpy(), names))
    return cells


def _divide_by_groups(
    cells: _Cells, labels: np.ndarray, test: Test, strata: np.ndarray, ratings: pd.DataFrame, raters: pd.Index
) -> Iterator[tuple[_Cells, np.ndarray, np.ndarray]]:
    """Divide traits by the groups that rated them; yield their cells, and labels and strata of these raters.

    Labels are permuted among the groups that rated a trait only.
    """
    by_groups: dict[tuple[int, ...], _Cells] = {}
    for cell in cells:
        groups = () if test == "slope" else tuple(np.unique(labels[cell[0]]))
        by_groups.setdefault(groups, []).append(cell)
    for groups, part in by_groups.items():
        if test == "slope" or len(groups) == len(np.unique(labels)):
            yield part, labels, strata
            continue
        own = np.isin(labels, groups)
        numbers = np.searchsorted(groups, labels[own])
        traits = {names[0][TRAIT] for _, _, names in part}
        rated = ratings[ratings[RATER].isin(raters[own]) & ratings[TRAIT].astype(str).isin(traits)]
        taking = raters[own].isin(rated[RATER])
        own[np.flatnonzero(own)[~taking]] = False
        place = np.cumsum(own) - 1
        try:
            within = find_strata(rated, raters[own], numbers[taking])
        except TraitlensError:  # no two groups share a task
            continue
        yield [(place[members], values, names) for members, values, names in part], numbers[taking], within


def _test_cells(
    cells: _Cells, labels: np.ndarray, test: Test, strata: np.ndarray, permutations: int, seed: int
) -> pd.DataFrame:
    """Test cells whose traits were rated by the same groups, by permuting the labels of raters."""

    def statistics(block: np.ndarray) -> np.ndarray:
        """Return the statistics of all cells for each labelling."""
        return np.hstack([STATISTICS[test](block[:, members], values) for members, values, _ in cells])

    observed = statistics(labels[None])[0]
    null = np.vstack([statistics(block) for block in draw_labels(labels, strata, permutations, seed)])
    rows, place = [], 0
    for members, values, names in cells:
        here = observed[place : place + len(names)]
        place += len(names)
        estimates, effects = describe_effect(values, labels[members], test, here)
        for name, estimate, statistic, effect in zip(names, estimates, here, effects, strict=True):
            row = {**name, "estimate": estimate, "statistic": statistic, "effect_size": effect}
            width = np.nan
            if test == "slope" and statistic:
                width = abs(estimate / statistic) * stats.t.ppf(0.975, len(members) - 2)
            rows.append({**row, "ci_low": estimate - width, "ci_high": estimate + width, "n": len(members)})
    table = pd.DataFrame(rows)
    table["p"] = permutation_p(observed, null)
    table["p_corrected"] = familywise_p(observed, null)
    return table
