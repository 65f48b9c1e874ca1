"""Trait space of each group: correlations, principal components, and their congruence."""

import itertools
from collections.abc import Mapping
from math import factorial

import numpy as np
import pandas as pd
from scipy import linalg

from traitlens.columns import GROUP, IMAGE, RATING, TRAIT


def correlate_traits(targets: pd.DataFrame) -> pd.DataFrame:
    """Correlate mean ratings of traits over images, per group.

    Parameters
    ----------
    targets : DataFrame
        group, trait, image, rating, of `make_targets`.

    Returns
    -------
    DataFrame
        group, trait_1, trait_2 (each pair once), r, n (images).
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
        group, trait, image, rating.
    reference : str, optional
        Group to whose components the others are rotated (orthogonal Procrustes, Schönemann 1966); the
        alphabetically first if None.
    number : int, default 3
        Number of components, at most one for every three traits: with more, any two trait spaces can be
        rotated to match.
    permutations : int, default 2000
        Permutations of the traits for `congruence_p`; all if there are fewer.
    seed : int, default 0
        Seed of the random number generator.

    Returns
    -------
    DataFrame
        group, component (1, 2, ...), trait, loading (correlation of trait and component, after rotation),
        explained (share of the variance before rotation), congruence (Tucker's coefficient with the
        reference's component; above .95 equal, .85 to .94 similar, Lorenzo-Seva and ten Berge 2006),
        congruence_p (share of permutations of the group's traits that give a congruence as large, turned
        again: unrelated trait spaces can be congruent where traits are few). Traits that a group did not
        rate, or on no image that it rated on another trait, are left out. Empty with fewer than three traits.
    """
    correlations = {
        str(group): part.pivot_table(index=IMAGE, columns=TRAIT, values=RATING, observed=True).corr()
        for group, part in targets.groupby(GROUP, sort=True, observed=True)
    }
    traits = _traits_in_all(sorted(targets[TRAIT].unique()), correlations)
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
    orders = _orders(len(traits), permutations, np.random.default_rng(seed))
    tables = []
    for group, own in loadings.items():
        turned, congruence = (own, np.ones(number)) if group == reference else _turn(own, target)
        p = np.full(number, np.nan)
        if group != reference:
            null = np.array([_turn(own[order], target)[1] for order in orders])
            p = ((null >= congruence - 1e-9).sum(axis=0) + 1) / (len(null) + 1)
        for place in range(number):
            rows = {GROUP: group, "component": place + 1, TRAIT: traits, "loading": turned[:, place]}
            rows |= {"explained": explained[group][place], "congruence": congruence[place]}
            tables.append(pd.DataFrame(rows | {"congruence_p": p[place]}))
    return pd.concat(tables, ignore_index=True)[columns]


def _traits_in_all(traits: list[str], correlations: Mapping[str, pd.DataFrame]) -> list[str]:
    """Select traits whose correlations are known in every group, dropping those with most missing first."""
    while traits:
        tables = [table.reindex(index=traits, columns=traits) for table in correlations.values()]
        unknown = np.sum([table.isna().to_numpy().sum(axis=0) for table in tables], axis=0)
        if not unknown.any():
            break
        traits = [trait for place, trait in enumerate(traits) if place != int(np.argmax(unknown))]
    return traits


def _turn(loadings: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotate loadings to a target, and compute Tucker's coefficients."""
    turned = loadings @ linalg.orthogonal_procrustes(loadings, target)[0]
    scale = np.sqrt((turned**2).sum(axis=0) * (target**2).sum(axis=0))
    return turned, (turned * target).sum(axis=0) / np.where(scale > 0, scale, np.nan)


def _orders(traits: int, permutations: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Return permutations of the traits other than the identity: all, or a random selection."""
    if factorial(traits) <= permutations + 1:
        return [np.array(order) for order in itertools.permutations(range(traits))][1:]
    return [rng.permutation(traits) for _ in range(permutations)]
