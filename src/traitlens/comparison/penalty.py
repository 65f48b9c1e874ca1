"""Choice of the ridge penalty of each trait that is used for all groups."""

import numpy as np
import pandas as pd

from traitlens.columns import GROUP, IMAGE, RATING, TRAIT
from traitlens.comparison.refitting import FeatureKernel
from traitlens.features.feature_spaces import FeatureSpace
from traitlens.problems import Problem, TraitlensError
from traitlens.ratings.targets import make_targets
from traitlens.readouts.inner_cv import choose_penalties
from traitlens.readouts.kernels import kernel_factors
from traitlens.readouts.ridge import PENALTIES, columns_by_images

_ONLY: FeatureSpace = None  # type: ignore[assignment]  # Key of a single kernel in a mapping of kernels.


def choose_common_penalties(
    ratings: pd.DataFrame, kernel: FeatureKernel, identities: np.ndarray, seed: int = 0
) -> dict[str, float]:
    """Choose the penalty of each trait from the mean ratings of all raters.

    The choice does not depend on groups, so it is the same in all permutations of raters.

    Parameters
    ----------
    ratings : DataFrame
        rater, image, trait, rating.
    kernel : FeatureKernel
        Features and folds.
    identities : ndarray of shape (image,)
        The person shown in each image.
    seed : int, default 0
        Seed of the inner folds.

    Returns
    -------
    dict of str to float
        Penalty of each trait in units of the kernel: the median over folds of the penalty that the inner
        folds choose for all traits together.
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
                    Problem(
                        f"{wide.columns[columns[0]]!r} has fewer than two identities outside fold {fold}",
                        "leave out the trait, or use fewer folds",
                    )
                )
            # If all images have equal features, the factor is 0 and any penalty gives the same fit.
            factor = kernel_factors({_ONLY: kernel.values}, training, {})[_ONLY] or 1.0
            own = values[np.ix_(training, columns)]
            best = choose_penalties(
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
