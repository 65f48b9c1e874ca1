"""Whether two fitted models explain faces differently: a test over identities, not over raters."""

import numpy as np
import pandas as pd
from scipy import stats

from traitlens.comparison.exchange import permutation_p
from traitlens.ratings.apa import number, p_value
from traitlens.words import IDENTITY, REGION, TRAIT


def identity_sign_flip(
    differences: pd.DataFrame, *, permutations: int = 10_000, seed: int = 0
) -> pd.DataFrame:
    """Test whether two fitted models explain faces differently, identities being the sample.

    It generalises to other faces seen through *these two models*, not to other raters: two groups drawn
    from one population will differ by it. For readouts that are not linear, where refitting under exchange
    of raters is out of reach.

    Parameters
    ----------
    differences : DataFrame
        identity, trait, region, difference (first group's relevance less the second's), a row per image.
    permutations : int, default 10000
        Random flips of the identities' signs.
    seed : int, default 0
        Seed.

    Returns
    -------
    DataFrame
        trait, region, estimate, ci_low, ci_high (t interval over identities), statistic (t), p,
        p_corrected (family-wise), cohens_dz, n (identities), test, apa.
    """
    means = differences.pivot_table(
        index=IDENTITY, columns=[TRAIT, REGION], values="difference", aggfunc="mean", observed=True
    )
    values = means.to_numpy(float)
    n = len(values)
    squares = (values**2).sum(axis=0)

    def t_of(total: np.ndarray) -> np.ndarray:
        """Student's t from sums over identities."""
        spread = np.sqrt(np.maximum(squares - total**2 / n, 1e-300) / (n - 1))
        statistic: np.ndarray = total / n / (spread / np.sqrt(n))
        return statistic

    rng = np.random.default_rng(seed)
    observed = t_of(values.sum(axis=0))
    permuted = np.vstack(
        [
            t_of((rng.integers(0, 2, (min(500, permutations - start), n)) * 2.0 - 1) @ values)
            for start in range(0, permutations, 500)
        ]
    )
    largest = np.abs(permuted).max(axis=1)
    spread = values.std(axis=0, ddof=1)
    width = stats.t.ppf(0.975, n - 1) * spread / np.sqrt(n)
    table = means.columns.to_frame(index=False)
    table["estimate"] = values.mean(axis=0)
    table["ci_low"], table["ci_high"] = table["estimate"] - width, table["estimate"] + width
    table["statistic"] = observed
    table["p"] = permutation_p(observed, permuted)
    table["p_corrected"] = ((largest[:, None] >= np.abs(observed)).sum(axis=0) + 1) / (permutations + 1)
    table["cohens_dz"] = table["estimate"] / np.where(spread > 0, spread, np.nan)
    table["n"] = n
    table["test"] = "identity sign flip: these two models, other faces"
    table["apa"] = [
        f"{row['region']}, {row['trait']}: t({n - 1}) = {number(row['statistic'])}, "
        f"{p_value(row['p_corrected'])} (corrected, over identities)"
        for row in table.to_dict("records")
    ]
    return table
