"""Choice of a common ridge penalty for all groups."""

import numpy as np
import pandas as pd

from traitlens.columns import GROUP, IMAGE, RATING, TRAIT
from traitlens.comparison.refitting import FeatureKernel
from traitlens.features.feature_spaces import FeatureSpace
from traitlens.problems import Problem, TraitlensError
from traitlens.ratings.targets import make_targets
from traitlens.readouts.inner_cv import choose
from traitlens.readouts.kernels import kernel_factors
from traitlens.readouts.ridge import PENALTIES, columns_by_images

_ONLY: FeatureSpace = None  # type: ignore[assignment]  # the name of a kernel that stands alone


def choose_common_penalties(
    ratings: pd.DataFrame, kernel: FeatureKernel, identities: np.ndarray, seed: int = 0
) -> dict[str, float]:
    """Choose the penalty of each trait from the mean ratings of all raters.

    The choice does not depend on groups, so permutations of raters have the same penalty.

    Parameters
    ----------
    ratings : DataFrame
        rater, image, trait, rating.
    kernel : FeatureKernel
        Kernel and folds.
    identities : ndarray of shape (image,)
        The person shown in each image.
    seed : int, default 0
        Seed of the inner folds.

    Returns
    -------
    dict of str to float
        By trait: the median over folds of what the inner folds choose for all traits together, in units of
        the kernel.
    """
    targets = make_targets(ratings.assign(**{GROUP: "all"}))
    wide = targets.pivot_table(index=IMAGE, columns=TRAIT, values=RATING, observed=True)
    values = wide.reindex(list(kernel.images)).to_numpy(float)
    chosen: dict[str, list[float]] = {str(trait): [] for trait in wide.columns}
    for fold in np.unique(kernel.folds):
        for columns, rated in columns_by_images(values):
            training = np.flatnonzero((kernel.folds != fold) & rated)
            if len(np.unique(identities[training])) < 2:
                raise TraitlensError(
                    Problem(f"{wide.columns[columns[0]]!r}: fewer than two identities outside fold {fold}")
                )
            # If all images have equal features, the factor is 0 and any penalty gives the same fit.
            factor = kernel_factors({_ONLY: kernel.values}, training, {})[_ONLY] or 1.0
            own = values[np.ix_(training, columns)]
            best = choose(
                {_ONLY: kernel.values},
                training,
                own,
                identities[training],
                PENALTIES,
                sharing=1.0,
                seed=seed,
            )
            for column, penalty in zip(columns, best.penalties, strict=True):
                chosen[str(wide.columns[column])].append(float(penalty) / factor)
    return {trait: float(np.median(penalties)) for trait, penalties in chosen.items()}
