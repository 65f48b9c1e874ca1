"""The stages of an analysis in order, used by run, status, estimate, check and report."""

from collections.abc import Callable

from traitlens import artifacts as a
from traitlens.columns import FOLD, IDENTITY, IMAGE
from traitlens.comparison.compared_groups import comparable_traits, pairs_of_groups, shared_ratings
from traitlens.pipeline import costs
from traitlens.pipeline.context import Context
from traitlens.pipeline.stage import Stage
from traitlens.readouts.registry import find_readout
from traitlens.relevance.methods import METHODS

Condition = Callable[[Context], str | None]


def unless(*conditions: Condition) -> Condition:
    """Combine conditions to leave a stage out; the first reason counts."""

    def first(context: Context) -> str | None:
        """Return the first reason, or None."""
        return next((reason for one in conditions if (reason := one(context)) is not None), None)

    return first


def no_raters(context: Context) -> str | None:
    """Return why analyses of single raters are left out."""
    return None if context.study.has_raters else "the ratings are averages, and single raters are needed"


def one_group(context: Context) -> str | None:
    """Return why groups are not compared."""
    return None if len(context.study.groups) > 1 else "the study has one group of raters"


def nothing_comparable(context: Context) -> str | None:
    """Return why no two groups can be compared."""
    ratings = context.study.ratings
    if any(comparable_traits(ratings, pair) for pair in pairs_of_groups(ratings)):
        return None
    return "no two groups rated the same trait on the same images, with two raters each"


def too_little_shared(context: Context) -> str | None:
    """Return why readouts of groups cannot be refitted: too few images were rated by all."""
    _, images, _ = shared_ratings(context.study.ratings)
    folds = context.value("folds").set_index(IMAGE).loc[images]
    outside = [
        folds[IDENTITY][folds[FOLD] != fold].nunique() for fold in context.value("folds")[FOLD].unique()
    ]
    if min(outside) >= 3:
        return None
    return "it needs images that two groups rated on every trait, and there are too few"


def one_trait(context: Context) -> str | None:
    """Return why relations between traits cannot be analysed, or None if they can."""
    return None if len(context.study.traits) > 1 else "the study has one trait"


def no_cleaning(context: Context) -> str | None:
    """Return why no ratings were cleaned."""
    return None if context.study.cleaning is not None else "study.toml has no cleaning rules"


def no_permutations(context: Context) -> str | None:
    """Return why no test is made."""
    wanted = context.study.settings.comparison.permutations > 0
    return None if wanted else "comparison.permutations is 0 in study.toml"


def switched_off(setting: str) -> Condition:
    """Return the condition that a setting of [comparison] switches a stage off."""

    def is_off(context: Context) -> str | None:
        value = getattr(context.study.settings.comparison, setting)
        return None if value else f"comparison.{setting} is {str(value).lower()} in study.toml"

    return is_off


def not_ridge(context: Context) -> str | None:
    """Return why readouts cannot be refitted under each permutation."""
    if find_readout(context.study.settings.readout.method).is_kernel_ridge:
        return None
    return "it needs a ridge regression, whose readouts can be refitted under each permutation"


def several_spaces(context: Context) -> str | None:
    """Return why readouts of one feature space cannot be computed."""
    readout = context.study.settings.readout
    if find_readout(readout.method).reads_one_space(readout):
        return None
    return (
        "it needs a ridge regression on one tap of the prepared image, without whitening, image "
        "weights and mixing of traits"
    )


def not_linear(context: Context) -> str | None:
    """Return why relevance cannot be summed over regions for any ratings at once."""
    method = context.study.settings.relevance.method
    if METHODS[method].is_linear and not METHODS[method].gradients:
        return None
    return f"it needs a relevance method that is linear in the readout, and {method!r} is not"


def faceless(context: Context) -> str | None:
    """Return why regions of the face cannot be compared; None before detection of landmarks."""
    missing = context.faceless
    if not missing:
        return None
    some = ", ".join(missing[:3]) + (" ..." if len(missing) > 3 else "")
    return f"it needs landmarks of every face, and {len(missing)} images have none ({some})"


def no_face(context: Context) -> str | None:
    """Return why there are no regions: no image has landmarks."""
    missing = context.faceless
    none = missing is not None and len(missing) == len(context.study.images)
    return "no face was found in any image" if none else None


def no_variables(context: Context) -> str | None:
    """Return why no variable of the raters is tested."""
    wanted = context.study.settings.comparison.variables or len(context.study.groups) > 2
    return None if wanted else "comparison.variables is empty in study.toml"


def no_formula(context: Context) -> str | None:
    """Return why no model of raters is fitted."""
    return (
        None if context.study.settings.comparison.formula else "comparison.formula is not set in study.toml"
    )


REFITTED = unless(
    no_raters,
    no_permutations,
    not_ridge,
    too_little_shared,
)


def _images(context: Context) -> int:
    return len(context.study.images[IMAGE])


def _readouts(context: Context) -> int:
    return len(context.study.groups) * len(context.study.traits) * context.value("folds")["fold"].nunique()


def _fits(context: Context) -> tuple[a.Artifact, ...]:
    curves = (a.LEARNING_CURVES,) if context.study.settings.readout.method == "cao2023" else ()
    return (a.PREDICTIONS, a.CHOICES, a.DUALS, a.READOUTS, *curves)


def _maps(context: Context) -> tuple[a.Artifact, ...]:
    kept = (a.MAPS,) if context.study.settings.run.keep_maps != "none" else ()
    regions = () if no_face(context) else (a.REGION_TABLE, a.REGION_UNIONS)
    return (a.AVERAGE_MAPS, *kept, *regions)


def _report(context: Context) -> tuple[a.Artifact, ...]:
    plan = (a.PLAN, a.PLANNED) if context.value("frozen_plan") is not None else ()
    return (a.STUDY, a.PROVENANCE, *plan, a.FIGURES, a.REPORT)


ANSWERED = (
    a.MEANS,
    a.RELIABILITY_TESTS,
    a.PERFORMANCE_TESTS,
    a.USE_TESTS,
    a.PIXEL_TESTS,
    a.AGREEMENT_TESTS,
    a.TASTE_TESTS,
    a.TRAIT_SPACE,
    a.VARIABLE_TESTS,
    a.FACE_TYPES,
    a.DIFFERENCE_TESTS,
)
"""The tables of tests that answer the questions of a comparison."""

PERMUTATIONS = ("settings.comparison.permutations", "settings.seed")
WITHIN = "settings.comparison.within"
REFIT = ("ratings", "folds", a.FEATURES, "backbone", "spaces", "settings.readout.whiten")
"""Inputs of refits of readouts under each permutation."""

NO_REGIONAL = unless(switched_off("use"), faceless)
COMMON_CUES = (a.TARGETS, a.REGIONAL_KERNELS, "regional_spaces", "folds", "settings.seed")
"""Inputs of the cues of all groups together."""

SAMPLE = (
    "check_images",
    "folds",
    "backbone",
    "settings.relevance.method",
    a.PREPARED,
    a.READOUTS,
)
"""Inputs of checks of maps."""

REPORTED = (
    a.STUDY,
    a.PROVENANCE,
    a.PLAN,
    a.PLANNED,
    a.FIGURES,
    a.REPORT,
    *(one for one in a.ARTIFACTS.values() if one.path.startswith(".cache")),
)
"""Files that the report does not read: its own, and those for later runs."""

FLOW: tuple[Stage, ...] = (
    Stage("means", "Mean ratings", "ratings.average", ("ratings",), (a.TARGETS,)),
    Stage(
        "reliability",
        "Reliability of ratings",
        "ratings.reliability",
        ("ratings", "settings.seed"),
        (a.RELIABILITY,),
    ),
    Stage(
        "variances",
        "Sources of variance",
        "ratings.variances",
        ("ratings", "identities", "settings.seed"),
        (a.VARIANCES,),
        no_raters,
    ),
    Stage("cleaning", "Cleaning", "ratings.cleaning", ("cleaned",), (a.CLEANING, a.LEFT_OUT), no_cleaning),
    Stage(
        "quality",
        "Data quality",
        "ratings.quality",
        ("ratings", "cleaned", "settings.cleaning"),
        (a.QUALITY, a.QUALITY_SIGNS),
        no_raters,
    ),
    Stage(
        "agreement",
        "Agreement of raters",
        "ratings.agreement",
        ("ratings", "settings.comparison.reference"),
        (a.RATERS,),
        no_raters,
    ),
    Stage(
        "trait_space",
        "Space of traits",
        "ratings.trait_space",
        (a.TARGETS,),
        (a.TRAIT_CORRELATIONS, a.TRAIT_COMPONENTS),
        one_trait,
    ),
    Stage(
        "trait_loadings",
        "Number of components",
        "ratings.trait_loadings",
        ("ratings", "settings.seed"),
        (a.TRAIT_LOADINGS,),
        unless(no_raters, one_trait),
    ),
    Stage(
        "landmarks",
        "Finding landmarks",
        "faces.landmarks",
        ("photographs", "given_landmarks"),
        (a.LANDMARKS, a.FACES),
        cost=costs.landmarks,
        steps=_images,
    ),
    Stage(
        "prepare",
        "Preparing images",
        "faces.prepare",
        ("photographs", "frame", a.LANDMARKS),
        (a.PREPARED,),
        cost=costs.prepare,
        steps=_images,
    ),
    Stage(
        "face_measures",
        "Measuring faces",
        "faces.measure",
        (a.PREPARED, "face_columns"),
        (a.FACE_MEASURES,),
        steps=_images,
    ),
    Stage(
        "region_labels",
        "Labelling regions",
        "faces.label_regions",
        (a.PREPARED, "regions"),
        (a.REGION_LABELS,),
        no_face,
        cost=costs.region_labels,
        steps=_images,
    ),
    Stage(
        "features",
        "Features",
        "features.features",
        (a.PREPARED, "backbone", "spaces"),
        (a.FEATURES,),
        cost=costs.features,
        steps=_images,
    ),
    Stage(
        "fit",
        "Fitting readouts",
        "readouts.fit",
        (a.FEATURES, a.TARGETS, "backbone", "spaces", "folds", "settings.readout", "settings.seed"),
        _fits,
        cost=costs.fit,
        steps=_readouts,
    ),
    Stage(
        "performance",
        "Performance",
        "readouts.evaluate",
        (
            a.PREDICTIONS,
            a.DUALS,
            a.RELIABILITY,
            a.FEATURES,
            "backbone",
            "spaces",
            "folds",
            "settings.seed",
        ),
        (a.PERFORMANCE,),
    ),
    Stage("models", "Models", "readouts.save_models", (a.READOUTS, a.PERFORMANCE, a.PREPARED), (a.MODELS,)),
    Stage(
        "maps",
        "Relevance maps",
        "maps.explain",
        (
            a.PREPARED,
            a.REGION_LABELS,
            a.FEATURES,
            a.READOUTS,
            "backbone",
            "spaces",
            "folds",
            "groups",
            "traits",
            "settings.relevance.method",
            "settings.run.keep_maps",
        ),
        _maps,
        cost=costs.maps,
        steps=_images,
    ),
    Stage(
        "regional_features",
        "Features of regions",
        "cues.features",
        (a.PREPARED, "backbone", "regions", "regional_spaces"),
        (a.AVERAGE_FACE, a.REGIONAL_FEATURES),
        NO_REGIONAL,
        cost=costs.regional_features,
        steps=_images,
    ),
    Stage(
        "regional_kernels",
        "Kernels of regions",
        "cues.kernels",
        (a.REGIONAL_FEATURES, "backbone", "regional_spaces"),
        (a.REGIONAL_KERNELS,),
        NO_REGIONAL,
        cost=costs.regional_kernels,
        steps=lambda context: len(context.regional_spaces),
    ),
    Stage(
        "cues",
        "Cues of regions",
        "cues.fit",
        (
            a.PREPARED,
            a.TARGETS,
            a.AVERAGE_FACE,
            a.REGIONAL_FEATURES,
            a.REGIONAL_KERNELS,
            "backbone",
            "regions",
            "regional_spaces",
            "folds",
            "settings.readout.sharing",
            "settings.seed",
        ),
        (a.IMAGE_CUES, a.GROUP_CUES, a.REGIONAL_PREDICTIONS, a.REGIONAL_MODEL),
        NO_REGIONAL,
        cost=costs.cues,
        steps=_readouts,
    ),
    Stage(
        "utilisation",
        "Utilisation of cues",
        "use.utilisation",
        (*COMMON_CUES, "ratings", a.IMAGE_CUES, a.REGION_LABELS),
        (a.PREDICTABILITY, a.UTILISATION, a.RATER_FITS, a.UTILISATION_MEANS, a.SHARES, a.ACHIEVEMENT),
        unless(no_raters, NO_REGIONAL),
    ),
    Stage(
        "compare_use",
        "Comparing the use of the face",
        "use.compare",
        (*COMMON_CUES, "ratings", a.IMAGE_CUES, a.PREDICTABILITY, WITHIN),
        (a.USE_TESTS, a.CONFUSIONS, a.WITHIN_REGIONS),
        unless(no_raters, one_group, no_permutations, NO_REGIONAL),
        cost=costs.use,
        steps=costs.draws_of_use,
    ),
    Stage(
        "compare_ratings",
        "Comparing ratings",
        "comparisons.ratings",
        (
            "ratings",
            "settings.comparison.reference",
            "settings.comparison.covariates",
            "settings.comparison.margin",
            WITHIN,
            *PERMUTATIONS,
        ),
        (a.IMAGE_TESTS, a.MEANS, a.RELIABILITY_TESTS, a.AGREEMENT_TESTS, a.MISSING_TESTS),
        unless(no_raters, one_group, no_permutations, nothing_comparable),
    ),
    Stage(
        "compare_trait_space",
        "Comparing spaces of traits",
        "comparisons.trait_space",
        ("ratings", WITHIN, *PERMUTATIONS),
        (a.TRAIT_SPACE,),
        unless(no_raters, one_group, one_trait, no_permutations, nothing_comparable),
    ),
    Stage(
        "compare_taste",
        "Comparing taste",
        "comparisons.taste",
        ("ratings", WITHIN, *PERMUTATIONS),
        (a.TASTE_TESTS,),
        unless(no_raters, one_group, no_permutations, nothing_comparable),
    ),
    Stage(
        "transfer_groups",
        "Transfer between groups",
        "comparisons.transfer_groups",
        ("ratings", a.PREDICTIONS, a.RELIABILITY),
        (a.TRANSFER_GROUPS,),
        one_group,
    ),
    Stage(
        "transfer_traits",
        "Transfer between traits",
        "comparisons.transfer_traits",
        ("ratings", a.PREDICTIONS, a.RELIABILITY),
        (a.TRANSFER_TRAITS,),
        one_trait,
    ),
    Stage(
        "altered_faces",
        "Altered faces",
        "altered_faces.altered_faces",
        (
            a.PREPARED,
            a.REGION_LABELS,
            a.READOUTS,
            a.PREDICTIONS,
            a.TARGETS,
            "backbone",
            "spaces",
            "folds",
            "settings.readout.sharing",
            "settings.seed",
        ),
        (a.CUES,),
        unless(switched_off("cues"), several_spaces, faceless),
        cost=costs.altered_faces,
        steps=_images,
    ),
    Stage(
        "common_penalties",
        "Penalties of all groups",
        "refits.common_penalties",
        (*REFIT, "settings.seed"),
        (a.COMMON_PENALTIES,),
        REFITTED,
    ),
    Stage(
        "compare_performance",
        "Comparing performance",
        "refits.performance",
        (*REFIT, a.COMMON_PENALTIES, WITHIN, *PERMUTATIONS),
        (a.PERFORMANCE_TESTS, a.MATCHED_TESTS),
        unless(one_group, switched_off("performance"), REFITTED),
    ),
    Stage(
        "compare_variables",
        "Variables of raters",
        "refits.variables",
        ("ratings", "groups", a.UTILISATION, "settings.comparison.variables", *PERMUTATIONS),
        (a.VARIABLE_TESTS,),
        unless(no_raters, no_permutations, no_variables),
    ),
    Stage(
        "compare_face_types",
        "Types of faces",
        "raters.face_types",
        ("ratings", "identities", a.FACE_MEASURES, WITHIN, *PERMUTATIONS),
        (a.FACE_TYPES,),
        unless(no_raters, one_group, no_permutations, nothing_comparable),
    ),
    Stage(
        "compare_difference",
        "Predicting the difference",
        "refits.difference",
        (*REFIT, "identities", a.COMMON_PENALTIES, WITHIN, *PERMUTATIONS),
        (a.DIFFERENCE_TESTS,),
        unless(one_group, switched_off("performance"), REFITTED),
    ),
    Stage(
        "rater_models",
        "Models of raters",
        "raters.models",
        (
            "ratings",
            a.UTILISATION,
            a.IMAGE_CUES,
            a.PREDICTABILITY,
            "settings.comparison.formula",
            "settings.comparison.clusters",
            "settings.comparison.margin",
            WITHIN,
            *PERMUTATIONS,
        ),
        (a.RATER_MODELS, a.COVARIATES),
        unless(no_raters, no_formula, no_permutations),
    ),
    Stage(
        "compare_pixels",
        "Comparing pixels",
        "pixels.pixels",
        (
            *REFIT,
            a.PREPARED,
            a.COMMON_PENALTIES,
            "regions",
            "settings.relevance.method",
            "settings.comparison.pixels",
            "settings.comparison.pixel_test",
            *PERMUTATIONS,
        ),
        (a.PIXEL_MAPS, a.PIXEL_TESTS),
        unless(one_group, switched_off("pixels"), REFITTED, not_linear, faceless),
        cost=costs.pixels,
        steps=_images,
    ),
    Stage(
        "answers",
        "Answers",
        "comparisons.answers",
        ("traits", *ANSWERED),
        (a.ANSWERS,),
        unless(no_raters, one_group, no_permutations),
    ),
    Stage(
        "check_conservation",
        "Check: sums of maps",
        "map_checks.conservation",
        SAMPLE,
        (a.CONSERVATION,),
        steps=costs.check_steps(1),
        on_request=True,
    ),
    Stage(
        "check_null_maps",
        "Check: null maps",
        "map_checks.null_maps",
        (*SAMPLE, a.FEATURES, a.TARGETS, a.CHOICES, "spaces"),
        (a.NULL_MAPS,),
        steps=costs.check_steps(10),
        on_request=True,
    ),
    Stage(
        "check_flipping",
        "Check: flipping",
        "map_checks.flipping",
        SAMPLE,
        (a.FLIPPING,),
        steps=costs.check_steps(2),
        on_request=True,
    ),
    Stage(
        "check_methods",
        "Check: other methods",
        "map_checks.methods",
        SAMPLE,
        (a.METHODS,),
        steps=costs.check_steps(5),
        on_request=True,
    ),
    Stage(
        "check_association",
        "Check: association",
        "map_checks.association",
        (a.REGION_LABELS, a.REGION_TABLE, a.FEATURES, a.TARGETS),
        (a.ASSOCIATION,),
        unless(several_spaces, no_face),
        on_request=True,
    ),
    Stage(
        "report",
        "Report",
        "report.report",
        (
            "ratings",
            "groups",
            "traits",
            "backbone",
            "description",
            "frozen_plan",
            "study_files",
            "reasons",
            *(one for one in a.ARTIFACTS.values() if one not in REPORTED),
        ),
        _report,
        cost=costs.report,
    ),
)
"""The stages in order."""
