"""Trait space of each group: correlations between traits, principal components, and their congruence."""

import itertools
from collections.abc import Mapping
from math import factorial

import numpy as np
import pandas as pd
from scipy import linalg

from traitlens.columns import GROUP, IMAGE, RATING, TRAIT


def correlate_traits(targets: pd.DataFrame) -> pd.DataFrame:
    """Correlate the mean ratings of each pair of traits over images, by group.

    Parameters
    ----------
    targets : DataFrame
        group, trait, image, rating, as returned by :func:`~traitlens.ratings.targets.make_targets`.

    Returns
    -------
    DataFrame
        group, trait_1, trait_2 (each pair once), r, n (number of images).
    """
    rows = []
    for group, part in targets.groupby(GROUP, sort=True, observed=True):
        wide = part.pivot_table(index=IMAGE, columns=TRAIT, values=RATING, observed=True)
        matrix = wide.corr().to_numpy()
        for first, second in zip(*np.triu_indices(len(wide.columns), 1), strict=True):
            pair = wide.iloc[:, [first, second]].dropna()
            rows.append(
                {
                    GROUP: group,
                    "trait_1": wide.columns[first],
                    "trait_2": wide.columns[second],
                    "r": matrix[first, second],
                    "n": len(pair),
                }
            )
    return pd.DataFrame(rows, columns=[GROUP, "trait_1", "trait_2", "r", "n"])


def find_components(
    targets: pd.DataFrame,
    reference: str | None = None,
    number: int = 3,
    permutations: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Compute principal components of the traits by group, rotated to those of a reference group.

    Parameters
    ----------
    targets : DataFrame
        group, trait, image, rating, as returned by :func:`~traitlens.ratings.targets.make_targets`.
    reference : str, optional
        Group to whose components those of other groups are rotated (orthogonal Procrustes, Schönemann 1966);
        if None, the first group in alphabetical order.
    number : int, default 3
        Maximum number of components. There is at most one for every three traits, because with more, any two
        trait spaces can be rotated to match.
    permutations : int, default 2000
        Number of random permutations of the traits for congruence_p; all permutations if there are fewer.
    seed : int, default 0
        Seed of the random number generator.

    Returns
    -------
    DataFrame
        group, component (1, 2, ...), trait, loading (correlation between trait and component after rotation),
        explained (share of the variance before rotation), congruence (Tucker's coefficient with the component
        of the reference group; above .95 equal, .85 to .94 similar, Lorenzo-Seva and ten Berge 2006),
        congruence_p (share of permutations of the group's traits that have an equal or larger congruence
        after rotation, because unrelated trait spaces of few traits can be congruent). Traits that a group
        did not rate, or whose correlation with another trait is unknown, are omitted. Empty with fewer than
        three traits.
    """
    correlations = {
        str(group): part.pivot_table(index=IMAGE, columns=TRAIT, values=RATING, observed=True).corr()
        for group, part in targets.groupby(GROUP, sort=True, observed=True)
    }
    traits = _select_known_traits(sorted(targets[TRAIT].unique()), correlations)
    number = min(number, len(traits) // 3)
    columns = [GROUP, "component", TRAIT, "loading", "explained", "congruence", "congruence_p"]
    if number < 1:
        return pd.DataFrame(columns=columns)
    loadings, explained = {}, {}
    for group, correlation in correlations.items():
        values, vectors = linalg.eigh(correlation.loc[traits, traits].to_numpy())
        order = np.argsort(values)[::-1][:number]
        found = vectors[:, order] * np.sqrt(np.maximum(values[order], 0))
        # Flip each component so that the sum of its loadings is not negative.
        loadings[group] = found * np.where(found.sum(axis=0) < 0, -1, 1)
        explained[group] = values[order] / len(traits)
    reference = reference or min(loadings)
    target = loadings[reference]
    orders = _permute_traits(len(traits), permutations, np.random.default_rng(seed))
    tables = []
    for group, own in loadings.items():
        turned, congruence = (own, np.ones(number)) if group == reference else _rotate(own, target)
        p = np.full(number, np.nan)
        if group != reference:
            null = np.array([_rotate(own[order], target)[1] for order in orders])
            p = ((null >= congruence - 1e-9).sum(axis=0) + 1) / (len(null) + 1)
        for place in range(number):
            rows = {GROUP: group, "component": place + 1, TRAIT: traits, "loading": turned[:, place]}
            rows |= {"explained": explained[group][place], "congruence": congruence[place]}
            tables.append(pd.DataFrame(rows | {"congruence_p": p[place]}))
    return pd.concat(tables, ignore_index=True)[columns]


def _select_known_traits(traits: list[str], correlations: Mapping[str, pd.DataFrame]) -> list[str]:
    """Drop traits, those with most unknown correlations first, until all are known in every group."""
    while traits:
        tables = [table.reindex(index=traits, columns=traits) for table in correlations.values()]
        unknown = np.sum([table.isna().to_numpy().sum(axis=0) for table in tables], axis=0)
        if not unknown.any():
            break
        traits = [trait for place, trait in enumerate(traits) if place != int(np.argmax(unknown))]
    return traits


def _rotate(loadings: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotate loadings to a target; return them and Tucker's coefficients of congruence with the target."""
    turned = loadings @ linalg.orthogonal_procrustes(loadings, target)[0]
    scale = np.sqrt((turned**2).sum(axis=0) * (target**2).sum(axis=0))
    return turned, (turned * target).sum(axis=0) / np.where(scale > 0, scale, np.nan)


def _permute_traits(traits: int, permutations: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Return all permutations of the traits except the identity if they are few, else random ones."""
    if factorial(traits) <= permutations + 1:
        return [np.array(order) for order in itertools.permutations(range(traits))][1:]
    return [rng.permutation(traits) for _ in range(permutations)]
