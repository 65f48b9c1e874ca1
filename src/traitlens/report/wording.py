"""Texts on design, limits and methods for the report."""

from dataclasses import dataclass

from traitlens.readouts.registry import METHODS, ReadoutMethod
from traitlens.report.colouring import PERCENTILE, SMOOTHING
from traitlens.report.numbers import count, several
from traitlens.report.rating_quality import describe_exclusions
from traitlens.report.results import Results
from traitlens.study.settings import ReadoutSettings

REFERENCES = {
    "bach": (
        "Bach, S., Binder, A., Montavon, G., Klauschen, F., Müller, K.-R., & Samek, W. (2015). On "
        "pixel-wise explanations for non-linear classifier decisions by layer-wise relevance propagation. "
        "PLOS ONE, 10(7), e0130140. https://doi.org/10.1371/journal.pone.0130140"
    ),
    "brown": (
        "Brown, W. (1910). Some experimental results in the correlation of mental abilities. British "
        "Journal of Psychology, 3(3), 296–322. https://doi.org/10.1111/j.2044-8295.1910.tb00207.x"
    ),
    "cao": (
        "Cao, R., Zhang, N., Yu, H., Webster, P. J., Paul, L. K., Li, X., Lin, C., & Wang, S. (2023). "
        "Comprehensive social trait judgments from faces in autism spectrum disorder. Psychological "
        "Science, 34(10), 1121–1145. https://doi.org/10.1177/09567976231192236"
    ),
    "hoerl": (
        "Hoerl, A. E., & Kennard, R. W. (1970). Ridge regression: Biased estimation for nonorthogonal "
        "problems. Technometrics, 12(1), 55–67. https://doi.org/10.1080/00401706.1970.10488634"
    ),
    "letzgus": (
        "Letzgus, S., Wagner, P., Lederer, J., Samek, W., Müller, K.-R., & Montavon, G. (2022). Toward "
        "explainable artificial intelligence for regression models: A methodological perspective. IEEE "
        "Signal Processing Magazine, 39(4), 40–58. https://doi.org/10.1109/MSP.2022.3153277"
    ),
    "hammond": (
        "Hammond, K. R., Hursch, C. J., & Todd, F. J. (1964). Analyzing the components of clinical "
        "inference. Psychological Review, 71(6), 438–456. https://doi.org/10.1037/h0040736"
    ),
    "owen": (
        "Owen, A. B. (2007). The pigeonhole bootstrap. The Annals of Applied Statistics, 1(2), 386–411. "
        "https://doi.org/10.1214/07-AOAS122"
    ),
    "phipson": (
        "Phipson, B., & Smyth, G. K. (2010). Permutation P-values should never be zero: Calculating exact "
        "P-values when permutations are randomly drawn. Statistical Applications in Genetics and Molecular "
        "Biology, 9(1), Article 39. https://doi.org/10.2202/1544-6115.1585"
    ),
    "shrout": (
        "Shrout, P. E., & Fleiss, J. L. (1979). Intraclass correlations: Uses in assessing rater "
        "reliability. Psychological Bulletin, 86(2), 420–428. https://doi.org/10.1037/0033-2909.86.2.420"
    ),
    "simonyan": (
        "Simonyan, K., & Zisserman, A. (2015). Very deep convolutional networks for large-scale image "
        "recognition. International Conference on Learning Representations. https://arxiv.org/abs/1409.1556"
    ),
    "smith": (
        "Smith, S. M., & Nichols, T. E. (2009). Threshold-free cluster enhancement: Addressing problems of "
        "smoothing, threshold dependence and localisation in cluster inference. NeuroImage, 44(1), 83–98. "
        "https://doi.org/10.1016/j.neuroimage.2008.03.061"
    ),
    "spearman": (
        "Spearman, C. (1910). Correlation calculated from faulty data. British Journal of Psychology, 3(3), "
        "271–295. https://doi.org/10.1111/j.2044-8295.1910.tb00206.x"
    ),
}

SIGNS = (
    "Red pixels raised and blue pixels lowered the predicted rating, relative to the mean rating of the "
    "training images; white pixels did neither."
)

LIMITS = (
    (
        "Not what the persons shown are like.",
        "A prediction is the impression that raters of a group would form of a picture. It is never a fact "
        "about the character, the abilities or the health of the person shown, and must not be used to "
        "judge, select or diagnose anybody: neither the persons shown nor the raters.",
    ),
    (
        "Not where raters looked, nor what caused their impression.",
        SIGNS + " A map explains the model’s prediction.",
    ),
    (
        "Not that the face alone carried a prediction.",
        "The network was trained on photographs of objects. It follows hair, lighting, background and "
        "picture quality as readily as the face, and faces unlike those of this study lie outside what its "
        "models have learnt.",
    ),
    (
        "Nothing about a single rater, and not that one group sees faces correctly.",
        "Differences between groups are differences between averages of raters, and no group’s way of seeing "
        "a face is the standard that another falls short of.",
    ),
    (
        "Not that groups are equal where no difference was found.",
        "Read the interval, and the size of a difference that would have been found.",
    ),
)
"""Conclusions that the results do not permit, each with the reason."""


@dataclass(frozen=True)
class MethodsText:
    """The methods text.

    Parameters
    ----------
    paragraphs : list of str
        Paragraphs, in the past tense.
    references : list of str
        Cited works, in alphabetical order.
    """

    paragraphs: list[str]
    references: list[str]


def describe_signs(results: Results) -> str:
    """Describe what the colours of the maps mean."""
    if not _explains_ratings(results):
        return SIGNS
    return (
        "Red pixels raised and blue pixels lowered the predicted rating; white pixels did neither. Here the "
        "rating itself is explained, as Cao et al. (2023) did: every map contains the mean rating as well, "
        "and so is mostly red."
    )


def describe_limits(results: Results) -> list[tuple[str, str]]:
    """Describe which conclusions the results do not permit, and why."""
    return [(wrong, reason.replace(SIGNS, describe_signs(results))) for wrong, reason in LIMITS]


def describe_design(results: Results) -> list[str]:
    """Describe the study's question and design."""
    study, groups = results.study, results.groups
    question = (
        f"How well can the ratings that {'each of ' if len(groups) > 1 else ''}{_groups(groups)} gave faces "
        f"on {_traits(results.traits)} be predicted from the pictures, and which parts of the face carried "
        f"the predictions{', and do the groups differ in this' if len(groups) > 1 else ''}?"
    )
    return [*([str(study["description"])] if study.get("description") else []), question, _ratings(results)]


def _groups(groups: list[str]) -> str:
    """List the groups in words."""
    return f"the group {groups[0]}" if len(groups) == 1 else f"the groups {several(groups)}"


def _traits(traits: list[str]) -> str:
    """List the traits in words, with their number."""
    return f"the trait {traits[0]}" if len(traits) == 1 else f"{len(traits)} traits ({several(traits)})"


def _ratings(results: Results) -> str:
    """Describe the numbers of raters, images, traits and ratings."""
    study = results.study
    raters = f"{count(study['n_raters'])} raters" if study.get("n_raters") else "Raters"
    scale = study.get("scale")
    on = f" on a scale from {scale[0]:g} to {scale[1]:g}" if scale else ""
    return (
        f"{raters} ({several(results.groups)}) rated {count(study.get('n_images'))} images of "
        f"{count(study.get('n_identities'))} identities on {_traits(results.traits)}{on}: "
        f"{count(study.get('n_ratings'))} ratings in all."
    )


def describe_methods(results: Results) -> MethodsText:
    """Write the methods section from the settings of the study.

    Returns
    -------
    MethodsText
        Paragraphs, and the references that they cite.
    """
    sections = [
        _say_ratings(results),
        _say_readout(results),
        _say_relevance(results),
        _say_comparison(results),
    ]
    paragraphs = [text for text, _ in sections if text]
    paragraphs.append(_say_software(results))
    cited = {key for _, keys in sections for key in keys}
    return MethodsText(paragraphs, [REFERENCES[key] for key in sorted(cited)])


def _say_ratings(results: Results) -> tuple[str, list[str]]:
    """Describe ratings and their reliability."""
    text, cited = _ratings(results), []
    text += describe_exclusions(results)
    text += " Ratings were averaged over the raters of each group."
    if results.reliability is not None:
        text += (
            " For each group and trait, the reliability of the mean rating was estimated from split halves "
            "of the raters, stepped up with the Spearman–Brown formula (Brown, 1910; Spearman, 1910). This "
            "reliability bounds the share of variance that a model can explain; its square root bounds the "
            "correlation of predicted and observed ratings (the noise ceiling)."
        )
        cited += ["brown", "spearman"]
        if "icc_2_k" in results.reliability and results.reliability["icc_2_k"].notna().any():
            text += " Intraclass correlations were computed as ICC(2,1) and ICC(2,k) (Shrout & Fleiss, 1979)."
            cited.append("shrout")
    return text, cited


def _say_readout(results: Results) -> tuple[str, list[str]]:
    """Describe images, network and readout."""
    if results.performance is None:
        return "", []
    size = results.setting("faces", "size")
    crop = results.setting("crop") or results.setting("faces", "crop")
    prepared = {
        "face": "cropped to an upright square around the face with the pupils at fixed places",
        "full": "padded to a square",
    }.get(str(crop), "brought to a square (around the face if landmarks were found)")
    text = f"Images were {prepared}" + (f" and resized to {size} × {size} pixels. " if size else ". ")
    network = str(results.setting("readout", "backbone") or "vgg16")
    if network == "vgg16":
        text += "Features were computed with VGG16 (Simonyan & Zisserman, 2015), trained on ImageNet. "
    else:
        recorded = results.provenance.get("backbone", {})
        source = recorded.get("source") or "source not recorded"
        kind = "a convolutional network built like VGG (Simonyan & Zisserman, 2015)"
        if recorded.get("is_residual"):
            kind = "networks side by side" if " + " in source else "a residual network (He et al., 2016)"
        text += f"Features were computed with {network} ({source}), {kind}. "
    cited = ["simonyan"]
    readout, method = readout_settings(results), readout_method(results)
    if readout is not None and method is not None:
        sentences, keys = method.methods_text(readout)
        text += sentences
        cited += keys
    else:
        name = results.setting("readout", "method")
        text += f"For each group and trait, a readout ({name}) predicted the mean rating. "
    folds = results.predictions["fold"].nunique() if results.predictions is not None else None
    folds = folds or results.setting("folds", "number")
    text += (
        f"Predictions were made out of sample in {folds} folds by identity: each image was predicted by a "
        "model that was trained on no image of the same identity. Performance is given as the correlation "
        "r, the explained variance R² and the root mean squared error of these predictions."
    )
    return text, cited


def readout_settings(results: Results) -> ReadoutSettings | None:
    """Return the settings of the readout.

    Returns
    -------
    ReadoutSettings or None
        None if they are not recorded.
    """
    recorded = results.setting("readout")
    return ReadoutSettings.model_construct(**recorded) if isinstance(recorded, dict) else None


def readout_method(results: Results) -> ReadoutMethod | None:
    """Return the readout method of the predictions.

    Returns
    -------
    ReadoutMethod or None
        None if it is not recorded or not known.
    """
    return METHODS.get(str(results.setting("readout", "method")))


def _say_relevance(results: Results) -> tuple[str, list[str]]:
    """Describe relevance maps."""
    if results.maps is None and results.averages is None:
        return "", []
    method = str(results.setting("relevance", "method"))
    cited = []
    if "lrp" in method:
        as_cao = method == "lrp.sequential_preset_a_flat"
        text = (
            "Predictions were traced back to pixels with layer-wise relevance propagation (Bach et al., "
            f"2015) with the rules {method.removeprefix('lrp.')}{', following Cao et al. (2023)' * as_cao}. "
        )
        cited += ["bach", *(["cao"] if as_cao else [])]
    else:
        text = f"Predictions were traced back to pixels with the method {method}. "
    if _explains_ratings(results):
        text += "The explained quantity was the predicted rating itself; "
    else:
        text += (
            "The explained quantity was the deviation of the prediction from the mean rating of the training "
            "images (Letzgus et al., 2022), so relevance is in rating points; "
        )
        cited.append("letzgus")
    text += (
        "each image was explained by "
        "the model that had not been trained on its identity. For average maps, each map was weighted with "
        "its standardised prediction before averaging, so that positive values mark pixels that raised the "
        "prediction where it was high and lowered it where it was low. For display, maps were smoothed "
        f"with a Gaussian (SD = {SMOOTHING:g} pixels), and the colour scale, symmetric around zero, ended "
        f"at the {PERCENTILE:g}th percentile of absolute values."
    )
    return text, cited


def _explains_ratings(results: Results) -> bool:
    """Return whether maps explain the rating itself, and not its deviation from the mean."""
    method = readout_method(results)
    return method is not None and not method.centred


def _say_comparison(results: Results) -> tuple[str, list[str]]:
    """Describe the comparison of groups."""
    tested = [
        name
        for key, name in (
            ("means", "mean ratings"),
            ("reliability", "the reliability of mean ratings"),
            ("performance", "the performance of readouts"),
        )
        if key in results.comparisons
    ]
    if not tested:
        return "", []
    number = results.setting("comparison", "permutations")
    times = f"{count(number)} times " if number else ""
    text = (
        f"Groups were compared in {several(tested)} by permutation tests: raters were exchanged between the "
        f"groups {times}at random, which takes raters as a random factor; p values count the permutations "
        "with a difference at least as large, the observed one included (Phipson & Smyth, 2010). The maximum "
        "over traits controlled the family-wise error of each question; tables and figures mark corrected p "
        "values of at most .05. "
    )
    cited = ["phipson"]
    answers = results.comparisons.get("answers")
    if answers is not None and answers["n_questions"].notna().any():
        number = count(answers["n_questions"].max())
        text += (
            f"The main tests asked {number} questions; a difference was called found if its corrected p "
            f"value was at most .05 divided by {number} (Bonferroni). "
        )
    if "performance" in results.comparisons:
        text += "Readouts were fitted again under each permutation, at the same penalties. "
    variables = list(results.setting("comparison", "variables") or [])
    if variables and "variables" in results.comparisons:
        text += (
            f"Mean ratings and cue utilisation were tested against {several(variables)} likewise: "
            "their values were permuted among raters. "
        )
    if "use" in results.comparisons:
        text += (
            "Each rater’s ratings were regressed on the cues of all regions, which are the parts of a "
            "prediction that was fitted to all raters and traits (cue utilisation in the sense of the lens "
            "model; Hammond et al., 1964). Groups were compared in the range of the scale, in noise and, at "
            "the same range, in the use of each region, by a bootstrap that draws raters and the persons "
            "shown together (Owen, 2007), corrected for counting their interaction three times, with the "
            "maximum over regions and traits. Errors of the cues are in the standard error of use (jackknife "
            "over persons shown; up to 1,500 images). Regions that add less than 1% to the prediction were "
            "not tested. "
        )
        cited += ["hammond", "owen"]
    if results.pixel_tests is not None:
        test = str(results.setting("comparison", "pixel_test") or "tfce")
        enhanced = {
            "tfce": " and threshold-free cluster enhancement (Smith & Nichols, 2009)",
            "cluster_mass": " and cluster mass (cluster-forming threshold p = .01)",
        }.get(test, "")
        text += (
            "For the test of pixels, a map for each rater was warped to a common face shape; maps were "
            f"compared with Welch’s t{enhanced}, corrected by the maximum over pixels. "
        )
        cited += ["smith"] if test == "tfce" else []
    return text.strip(), cited


def _say_software(results: Results) -> str:
    """Describe the software."""
    made = results.provenance
    versions = {
        "traitlens": made.get("traitlens", ""),
        "Python": made.get("python", ""),
        **made.get("packages", {}),
    }
    names = [
        f"{name} {version}".strip() for name, version in versions.items() if version or name == "traitlens"
    ]
    return f"Analyses were run with {several(names)}."
