"""How traits hang together in each group: correlations, components, and their likeness."""

import numpy as np
import pandas as pd
from scipy import linalg

from traitlens.words import GROUP, IMAGE, RATING, TRAIT


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


def find_components(targets: pd.DataFrame, reference: str | None = None, number: int = 3) -> pd.DataFrame:
    """Find principal components of the traits per group, turned to those of a reference group.

    Parameters
    ----------
    targets : DataFrame
        group, trait, image, rating.
    reference : str, optional
        Group whose components the others are turned to (orthogonal Procrustes, Schönemann 1966); the first
        in the alphabet where missing.
    number : int, default 3
        Components to keep, at most the number of traits.

    Returns
    -------
    DataFrame
        group, component (1, 2, ...), trait, loading (correlation of trait and component, after turning),
        explained (part of the variance before turning), congruence (Tucker's coefficient with the
        reference's component; above .95 equal, .85 to .94 alike, Lorenzo-Seva and ten Berge 2006).
    """
    loadings, explained = {}, {}
    traits = sorted(targets[TRAIT].unique())
    for group, part in targets.groupby(GROUP, sort=True, observed=True):
        wide = part.pivot_table(index=IMAGE, columns=TRAIT, values=RATING, observed=True)
        values, vectors = linalg.eigh(wide[traits].corr().to_numpy())
        order = np.argsort(values)[::-1][: min(number, len(traits))]
        found = vectors[:, order] * np.sqrt(np.maximum(values[order], 0))
        # A component points to where most of its traits point.
        loadings[str(group)] = found * np.where(found.sum(axis=0) < 0, -1, 1)
        explained[str(group)] = values[order] / len(traits)
    reference = reference or min(loadings)
    target = loadings[reference]
    tables = []
    for group, own in loadings.items():
        turned = own if group == reference else own @ linalg.orthogonal_procrustes(own, target)[0]
        scale = np.sqrt((turned**2).sum(axis=0) * (target**2).sum(axis=0))
        congruence = (turned * target).sum(axis=0) / np.where(scale > 0, scale, np.nan)
        for place in range(turned.shape[1]):
            tables.append(
                pd.DataFrame(
                    {
                        GROUP: group,
                        "component": place + 1,
                        TRAIT: traits,
                        "loading": turned[:, place],
                        "explained": explained[group][place],
                        "congruence": congruence[place],
                    }
                )
            )
    return pd.concat(tables, ignore_index=True)
