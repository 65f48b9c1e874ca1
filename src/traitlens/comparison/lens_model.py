"""The lens-model equation: decomposition of the correlation of each rater with a criterion."""

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from traitlens.columns import GROUP, IMAGE, RATER, RATING, TRAIT
from traitlens.comparison.lens_design import LensDesign, TraitRatings
from traitlens.comparison.utilisation import least_images


def lens_model_equation(design: LensDesign, criterion: pd.DataFrame, name: str = "criterion") -> pd.DataFrame:
    r"""Decompose the achievement of each rater, which is the correlation of the ratings with a criterion.

    :math:`r_a = G R_e R_s + C \sqrt{1 - R_e^2} \sqrt{1 - R_s^2}` (Hammond, Hursch and Todd 1964), computed on
    the images that the rater rated.

    Parameters
    ----------
    design : LensDesign
        Ratings and cues of the study.
    criterion : DataFrame
        image, trait, and the criterion in the column `rating`, such as self-reports of the persons shown or
        the mean ratings of another group.
    name : str, default "criterion"
        Name of the criterion.

    Returns
    -------
    DataFrame
        rater, group, trait, criterion, achievement (:math:`r_a`), matching (:math:`G`), predictability
        (:math:`R_e`), consistency (:math:`R_s`), unmodelled (:math:`C`). Raters with fewer than
        :func:`least_images` images that have a criterion are left out.
    """
    tables = []
    for place, trait in enumerate(design.ratings):
        own = criterion[criterion[TRAIT] == design.traits[place]].groupby(IMAGE, observed=True)[RATING].mean()
        values = own.reindex(design.images).to_numpy(float)
        known = np.isfinite(values)
        if not known.any():
            continue
        table = _decompose(trait, design.cues[place], np.where(known, values, 0), known)
        there = table["n_images"].to_numpy() >= least_images(len(design.regions))
        tables.append(
            table.assign(
                **{
                    RATER: design.raters,
                    GROUP: np.array(design.groups, object)[design.labels],
                    TRAIT: design.traits[place],
                    "criterion": name,
                }
            )[there]
        )
    columns = [RATER, GROUP, TRAIT, "criterion", "achievement", "matching", "predictability", "consistency"]
    if not tables:
        return pd.DataFrame(columns=[*columns, "unmodelled"])
    return pd.concat(tables, ignore_index=True)[[*columns, "unmodelled"]]


def summarise_achievement(design: LensDesign, ratings: pd.DataFrame) -> pd.DataFrame:
    """Tabulate the lens-model equation by group, with the mean ratings of each other group as criterion.

    Parameters
    ----------
    design : LensDesign
        Ratings and cues of the study.
    ratings : DataFrame
        group, image, trait, rating.

    Returns
    -------
    DataFrame
        group, criterion (the other group), trait, and means over the raters of the group: achievement,
        matching, predictability, consistency, unmodelled (see :func:`lens_model_equation`), n_raters. Empty
        with one group.
    """
    parts = ["achievement", "matching", "predictability", "consistency", "unmodelled"]
    tables = [pd.DataFrame(columns=[GROUP, "criterion", TRAIT, *parts, "n_raters"])]
    for other in design.groups:
        table = lens_model_equation(design, ratings[ratings[GROUP] == other], other)
        rows = table[table[GROUP] != other].groupby([GROUP, "criterion", TRAIT], sort=False)
        if rows.ngroups:
            means = rows[parts].mean().assign(n_raters=rows.size()).reset_index()
            tables.append(means)
    return pd.concat(tables[1:] or tables, ignore_index=True)


def _decompose(
    trait: TraitRatings, cues: np.ndarray, criterion: np.ndarray, known: np.ndarray
) -> pd.DataFrame:
    """Compute the terms of the lens-model equation for every rater, for one trait."""
    seen = np.asarray(trait.seen.todense() if isinstance(trait.seen, csr_matrix) else trait.seen) * known
    dense = trait.ratings.todense() if isinstance(trait.ratings, csr_matrix) else trait.ratings
    ratings = np.asarray(dense) * known
    count = np.maximum(seen.sum(axis=1), 1)
    centred = criterion - criterion[known].mean()
    # Sums of products of cues and criterion over the images of each rater, centred by rater.
    columns = np.column_stack([cues, centred])
    sums = seen @ columns
    grams = np.einsum("ri,ij,ik->rjk", seen, columns, columns, optimize=True)
    grams -= sums[:, :, None] * sums[:, None, :] / count[:, None, None]
    right = ratings @ columns - sums * (ratings.sum(axis=1) / count)[:, None]
    squares = (ratings**2).sum(axis=1) - ratings.sum(axis=1) ** 2 / count
    inverse = np.linalg.pinv(grams[:, :-1, :-1], rcond=1e-10, hermitian=True)
    policy = np.einsum("rjk,rk->rj", inverse, right[:, :-1])
    ecology = np.einsum("rjk,rk->rj", inverse, grams[:, :-1, -1])
    explained_s, explained_e = (policy * right[:, :-1]).sum(1), (ecology * grams[:, :-1, -1]).sum(1)
    both = (policy * grams[:, :-1, -1]).sum(axis=1)
    criterion_squares, products = grams[:, -1, -1], right[:, -1]
    with np.errstate(invalid="ignore", divide="ignore"):
        return pd.DataFrame(
            {
                "n_images": seen.sum(axis=1),
                "achievement": products / np.sqrt(squares * criterion_squares),
                "matching": both / np.sqrt(explained_s * explained_e),
                "predictability": np.sqrt(explained_e / criterion_squares),
                "consistency": np.sqrt(explained_s / squares),
                "unmodelled": (products - both)
                / np.sqrt((squares - explained_s) * (criterion_squares - explained_e)),
            }
        )
