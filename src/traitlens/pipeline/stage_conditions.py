"""Conditions under which stages are left out: each returns the reason, or None if the stage can be made."""

from collections.abc import Callable

from traitlens.columns import FOLD, IDENTITY, IMAGE
from traitlens.comparison.compared_groups import comparable_traits, pairs_of_groups, shared_ratings
from traitlens.pipeline.context import Context
from traitlens.readouts.registry import find_readout
from traitlens.relevance.methods import METHODS

Condition = Callable[[Context], str | None]


def unless(*conditions: Condition) -> Condition:
    """Combine conditions into one that returns the first reason to leave a stage out."""

    def first_reason(context: Context) -> str | None:
        """Return the first reason to leave the stage out, or None."""
        return next((reason for one in conditions if (reason := one(context)) is not None), None)

    return first_reason


def no_raters(context: Context) -> str | None:
    """Return why single raters cannot be analysed."""
    return None if context.study.has_raters else "the ratings are averages, and single raters are needed"


def one_group(context: Context) -> str | None:
    """Return why groups cannot be compared: there is only one."""
    return None if len(context.study.groups) > 1 else "the study has one group of raters"


def not_comparable(context: Context) -> str | None:
    """Return why groups cannot be compared: no two rated the same images on the same trait."""
    ratings = context.study.ratings
    if any(comparable_traits(ratings, pair) for pair in pairs_of_groups(ratings)):
        return None
    return "no two groups rated the same trait on the same images, with two raters each"


def few_shared_images(context: Context) -> str | None:
    """Return why readouts cannot be refitted: groups share images of fewer than 3 training identities."""
    _, images, _ = shared_ratings(context.study.ratings)
    folds = context.value("folds").set_index(IMAGE).loc[images]
    outside = [
        folds[IDENTITY][folds[FOLD] != fold].nunique() for fold in context.value("folds")[FOLD].unique()
    ]
    if min(outside) >= 3:
        return None
    return "it needs images that two groups rated on every trait, and there are too few"


def one_trait(context: Context) -> str | None:
    """Return why relations between traits cannot be analysed: there is only one trait."""
    return None if len(context.study.traits) > 1 else "the study has one trait"


def no_cleaning(context: Context) -> str | None:
    """Return why no ratings were left out: there are no cleaning rules."""
    return None if context.study.cleaning is not None else "study.toml has no cleaning rules"


def no_permutations(context: Context) -> str | None:
    """Return why no permutation test is made: the number of permutations is zero."""
    wanted = context.study.settings.comparison.permutations > 0
    return None if wanted else "comparison.permutations is 0 in study.toml"


def switched_off(setting: str) -> Condition:
    """Return a condition that leaves a stage out if a setting of [comparison] is false or zero."""

    def is_off(context: Context) -> str | None:
        value = getattr(context.study.settings.comparison, setting)
        return None if value else f"comparison.{setting} is {str(value).lower()} in study.toml"

    return is_off


def not_ridge(context: Context) -> str | None:
    """Return why readouts cannot be refitted under each permutation: only ridge regressions can."""
    if find_readout(context.study.settings.readout.method).is_kernel_ridge:
        return None
    return "it needs a ridge regression, whose readouts can be refitted under each permutation"


def not_one_space(context: Context) -> str | None:
    """Return why analyses of a single feature space are not possible with these readouts."""
    readout = context.study.settings.readout
    if find_readout(readout.method).reads_one_space(readout):
        return None
    return (
        "it needs a ridge regression on one tap of the prepared image, without whitening, image "
        "weights and mixing of traits"
    )


def method_not_linear(context: Context) -> str | None:
    """Return why maps are not a linear function of ratings: the relevance method is not linear."""
    method = context.study.settings.relevance.method
    if METHODS[method].is_linear and not METHODS[method].gradients:
        return None
    return f"it needs a relevance method that is linear in the readout, and {method!r} is not"


def some_without_landmarks(context: Context) -> str | None:
    """Return why regions cannot be compared: some images have no landmarks (None before detection)."""
    missing = context.without_landmarks
    if not missing:
        return None
    some = ", ".join(missing[:3]) + (" ..." if len(missing) > 3 else "")
    return f"it needs landmarks of every face, and {len(missing)} images have none ({some})"


def no_face(context: Context) -> str | None:
    """Return why there are no regions at all: no image has landmarks (None before detection)."""
    missing = context.without_landmarks
    none = missing is not None and len(missing) == len(context.study.images)
    return "no face was found in any image" if none else None


def no_variables(context: Context) -> str | None:
    """Return why no variable of raters is tested: the settings name none."""
    wanted = context.study.settings.comparison.variables or len(context.study.groups) > 2
    return None if wanted else "comparison.variables is empty in study.toml"


def no_formula(context: Context) -> str | None:
    """Return why no model of raters is fitted: the settings contain no formula."""
    formula = context.study.settings.comparison.formula
    return None if formula else "comparison.formula is not set in study.toml"


NO_REFITS = unless(no_raters, no_permutations, not_ridge, few_shared_images)
"""Condition of stages that refit readouts under permutations of raters."""

NO_REGIONS = unless(switched_off("use"), some_without_landmarks)
"""Condition of stages that use regional features."""
