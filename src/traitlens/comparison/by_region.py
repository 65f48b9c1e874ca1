"""Whether two groups of raters use parts of the face differently, tested by exchanging raters.

Under no difference, raters of the two groups are of one population and may change places. Each exchange
gives new mean ratings, new readouts (refitted exactly, by one matrix product) and new relevance by region.
"""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from scipy import stats

from traitlens.comparison.exchange import (
    draw_labels,
    familywise_p,
    find_strata,
    hedges_g,
    label_raters,
    pairs_of_groups,
    permutation_p,
    ratings_of_pair,
    welch,
)
from traitlens.comparison.operator import (
    SUMMARIES,
    LinearMaps,
    RegionOperator,
    solve_folds,
    summarise,
    summary_gradient,
)
from traitlens.problems import Problem, TraitlensError, unknown_choice
from traitlens.words import GROUP, IMAGE, RATER, RATING, REGION, TRAIT

Progress = Callable[[int], None] | None


class TraitDesign:
    """One trait's ratings as matrices over all raters and images of the operator.

    Parameters
    ----------
    part : DataFrame
        rater, image, rating of one trait.
    raters : Index
        All raters, in the order of weights.
    images : Index
        Images in the order of `maps`.
    maps : LinearMaps
        Of `solve_folds`, with the trait's penalty.

    Raises
    ------
    TraitlensError
        Where an image was rated but has no features, or the other way round.
    """

    def __init__(self, part: pd.DataFrame, raters: pd.Index, images: pd.Index, maps: LinearMaps):
        once = part.groupby([RATER, IMAGE], observed=True)[RATING].mean().reset_index()
        row, column = raters.get_indexer(once[RATER]), images.get_indexer(once[IMAGE])
        if (column < 0).any():
            missing = sorted(set(once[IMAGE][column < 0]))
            raise TraitlensError(
                [Problem(f"image {name!r} was rated but has no features") for name in missing]
            )
        self.maps = maps
        self.members = np.unique(row)
        place = np.searchsorted(self.members, row)
        self.ratings = np.zeros((len(self.members), len(images)))
        self.seen = np.zeros_like(self.ratings)
        self.ratings[place, column] = once[RATING]
        self.seen[place, column] = 1
        counts = self.seen.sum(axis=0)
        if not counts.all():
            names = ", ".join(map(str, images[counts == 0][:5]))
            raise TraitlensError(
                Problem(
                    f"{int((counts == 0).sum())} images have no rating ({names})",
                    "make the operator of the rated images only",
                )
            )
        self.pooled = self.ratings.sum(axis=0) / counts

    def targets(self, weights: np.ndarray) -> np.ndarray:
        """Average ratings under weights of raters.

        Parameters
        ----------
        weights : ndarray of shape (set, rater)
            Weight of each rater; a group is ones and zeros.

        Returns
        -------
        ndarray of shape (set, image)
            Mean ratings. An image that a set left bare gets the mean of all raters, at the set's level.
        """
        own = weights[:, self.members].astype(float)
        counts = own @ self.seen
        sums = own @ self.ratings
        mean = np.where(counts > 0, sums / np.maximum(counts, 1e-12), self.pooled)
        # An image that this set of raters did not see is lifted to their general level.
        bare = counts <= 0
        if bare.any():
            level = np.where(bare, 0, mean - self.pooled).sum(axis=1) / np.maximum((~bare).sum(axis=1), 1)
            mean = mean + bare * level[:, None]
        return mean

    def deviations(self, targets: np.ndarray, inside: np.ndarray | None = None) -> np.ndarray:
        """Tell how far each rater moves the mean ratings, times the number of raters.

        Parameters
        ----------
        targets : ndarray of shape (image,)
            Mean ratings of the raters.
        inside : ndarray of bool, shape (member,), optional
            The raters; all where missing.

        Returns
        -------
        ndarray of shape (rater, image)
            Their mean over raters is zero. With a complete design ratings less mean ratings.
        """
        inside = np.ones(len(self.members), bool) if inside is None else inside
        seen = self.seen[inside]
        counts = np.maximum(seen.sum(axis=0), 1)
        moved: np.ndarray = seen * (self.ratings[inside] - targets) * (inside.sum() / counts)
        return moved

    def rater_values(self, weights: np.ndarray, summary: str) -> np.ndarray:
        """Give single raters values whose mean is the group's.

        Parameters
        ----------
        weights : ndarray of shape (rater,)
            Ones for the group's raters, else zeros.
        summary : str
            See `summarise`.

        Returns
        -------
        ndarray of shape (rater, region)
            Linear expansion of the summary around the group's mean ratings. With a complete design this is
            its derivative applied to the rater's ratings, and exact where the summary is linear.
        """
        targets = self.targets(weights[None])[0]
        gradient = summary_gradient(targets, self.maps, summary)
        deviation = self.deviations(targets, weights[self.members] > 0)
        values: np.ndarray = summarise(targets[None], self.maps, summary) + deviation @ gradient.T
        return values


def compare_regions(
    ratings: pd.DataFrame,
    operator: RegionOperator,
    penalties: float | Mapping[str, float],
    *,
    summary: str = "aligned",
    groups: tuple[str, str] | None = None,
    permutations: int = 10_000,
    seed: int = 0,
    progress: Progress = None,
) -> pd.DataFrame:
    """Test whether two groups' readouts draw on regions differently, raters being the sample.

    Parameters
    ----------
    ratings : DataFrame
        rater, group, image, trait, rating.
    operator : RegionOperator
        Kernels of all rated images.
    penalties : float or mapping of str to float
        Ridge penalty of each trait, the same for both groups.
    summary : {"aligned", "share", "mean"}, default "aligned"
        What is compared; see `traitlens.comparison.operator.summarise`.
    groups : (str, str), optional
        The first less the second; each pair of groups in turn where missing.
    permutations : int, default 10000
        Exchanges of raters.
    seed : int, default 0
        Seed of the exchanges.
    progress : callable, optional
        Called with the number of further exchanges done.

    Returns
    -------
    DataFrame
        One row per pair of groups, trait and region: group_1, group_2, trait, region, summary,
        value_1, value_2, estimate (their difference, rating units; of shares for "share"), ci_low, ci_high,
        estimate_per_pixel (millionths of the estimate's unit for each pixel of the region, to compare regions
        of unequal size; missing where areas are not known),
        statistic (difference by its root mean square under exchange), p, p_corrected (family-wise over
        regions and traits), p_trait (family-wise over the trait's regions), q (false discovery rate),
        hedges_g, hedges_g_low, hedges_g_high, n_1, n_2 (raters), n_permutations.

    Notes
    -----
    p values are (b + 1) / (m + 1) with two-sided statistics and the maximum over the family. Raters change
    places within strata (`traitlens.comparison.exchange.find_strata`). Intervals are Welch's over rater
    values whose mean is the group's value (infinitesimal jackknife, Jaeckel 1972).

    Examples
    --------
    >>> compare_regions(study.ratings, operator, penalties={"warm": 10.0})  # doctest: +SKIP
    """
    if summary not in SUMMARIES:
        raise unknown_choice("summary", summary, SUMMARIES)
    tables = [
        _compare_pair(ratings, operator, penalties, summary, pair, permutations, seed, progress)
        for pair in pairs_of_groups(ratings, groups)
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def make_designs(
    ratings: pd.DataFrame, raters: pd.Index, operator: RegionOperator, penalties: float | Mapping[str, float]
) -> dict[str, TraitDesign]:
    """Arrange each trait's ratings; the solution of a penalty is shared.

    Parameters
    ----------
    ratings : DataFrame
        rater, image, trait, rating.
    raters : Index
        Raters in the order of weights.
    operator : RegionOperator
        Kernels of all rated images.
    penalties : float or mapping of str to float
        Ridge penalty of each trait.

    Returns
    -------
    dict of str to TraitDesign
        By trait, sorted.
    """
    solved: dict[float, LinearMaps] = {}
    designs = {}
    images = pd.Index(operator.images)
    for trait, part in ratings.groupby(TRAIT, sort=True, observed=True):
        penalty = float(penalties[str(trait)] if isinstance(penalties, Mapping) else penalties)
        if penalty not in solved:
            solved[penalty] = solve_folds(operator, penalty)
        designs[str(trait)] = TraitDesign(part, raters, images, solved[penalty])
    return designs


def _difference(labels: np.ndarray, designs: Mapping[str, TraitDesign], summary: str) -> np.ndarray:
    """Difference of the groups' summaries under many labellings: (labelling, trait x region)."""
    return np.concatenate(
        [
            summarise(design.targets(labels == 0), design.maps, summary)
            - summarise(design.targets(labels == 1), design.maps, summary)
            for design in designs.values()
        ],
        axis=1,
    )


def _compare_pair(
    ratings: pd.DataFrame,
    operator: RegionOperator,
    penalties: float | Mapping[str, float],
    summary: str,
    pair: tuple[str, str],
    permutations: int,
    seed: int,
    progress: Progress,
) -> pd.DataFrame:
    """Compare one pair of groups over all traits."""
    both = ratings_of_pair(ratings, pair)
    raters, labels = label_raters(both, pair)
    strata = find_strata(both, raters, labels)
    designs = make_designs(both, raters, operator, penalties)
    observed = _difference(labels[None], designs, summary)[0]
    permuted = np.empty((permutations, len(observed)))
    done = 0
    for block in draw_labels(labels, strata, permutations, seed):
        permuted[done : done + len(block)] = _difference(block, designs, summary)
        done += len(block)
        if progress:
            progress(len(block))
    permuted = permuted[:done]  # all labellings, where there are fewer
    rows = []
    regions = len(operator.regions)
    for number_of_trait, (trait, design) in enumerate(designs.items()):
        values = [design.rater_values((labels == group).astype(float), summary) for group in (0, 1)]
        here = slice(number_of_trait * regions, (number_of_trait + 1) * regions)
        p_trait = familywise_p(observed[here], permuted[:, here])
        for place, region in enumerate(operator.regions):
            first, second = values[0][:, place], values[1][:, place]
            rows.append(
                {"group_1": pair[0], "group_2": pair[1], TRAIT: trait, REGION: region, "summary": summary}
                | _describe_difference(first, second)
                | {"p_trait": p_trait[place]}
            )
    table = pd.DataFrame(rows)
    # Tests and estimates come from one computation; the rater values' means agree with it to rounding.
    table["estimate"] = observed
    areas = np.full(regions, np.nan) if operator.areas is None else operator.areas
    table["estimate_per_pixel"] = 1e6 * observed / np.tile(np.maximum(areas, 1), len(designs))
    table["statistic"] = observed / np.sqrt((np.vstack([observed, permuted]) ** 2).mean(axis=0))
    table["p"] = permutation_p(observed, permuted)
    table["p_corrected"] = familywise_p(observed, permuted)
    table["q"] = stats.false_discovery_control(table["p"])
    table["n_permutations"] = done
    return table


def _describe_difference(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """Values, interval and effect size of one region from rater values."""
    difference = float(first.mean() - second.mean())
    error, freedom = welch(first, second)
    width = float(stats.t.ppf(0.975, freedom)) * error
    g, low, high = hedges_g(difference, first, second)
    return {
        "value_1": float(first.mean()),
        "value_2": float(second.mean()),
        "estimate": difference,
        "ci_low": difference - width,
        "ci_high": difference + width,
        "hedges_g": g,
        "hedges_g_low": low,
        "hedges_g_high": high,
        "n_1": len(first),
        "n_2": len(second),
    }


def rater_regions(
    ratings: pd.DataFrame,
    operator: RegionOperator,
    penalties: float | Mapping[str, float],
    summary: str = "aligned",
) -> pd.DataFrame:
    """Give each rater a value per region, so that a group's value is the mean of its raters'.

    Parameters
    ----------
    ratings : DataFrame
        rater, group, image, trait, rating.
    operator : RegionOperator
        Kernels of all rated images.
    penalties : float or mapping of str to float
        Ridge penalty of each trait.
    summary : {"aligned", "share", "mean"}, default "aligned"
        What is computed. "mean" with a complete design is the relevance of a readout fitted to the rater
        alone; else it is the linear expansion around the group's mean ratings.

    Returns
    -------
    DataFrame
        rater, group, trait, region, value.
    """
    tables = []
    for group, part in ratings.groupby(GROUP, sort=True, observed=True):
        raters, _ = label_raters(part, (str(group),))
        for trait, design in make_designs(part, raters, operator, penalties).items():
            values = design.rater_values(np.ones(len(raters)), summary)
            table = pd.DataFrame(values, index=raters[design.members], columns=list(operator.regions))
            long = table.rename_axis(RATER).reset_index().melt(RATER, var_name=REGION, value_name="value")
            tables.append(long.assign(**{GROUP: group, TRAIT: trait}))
    return pd.concat(tables, ignore_index=True)[[RATER, GROUP, TRAIT, REGION, "value"]]
