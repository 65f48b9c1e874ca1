"""Registry of all files of a results folder, with their paths and meanings."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from traitlens.arrays import open_arrays
from traitlens.storage import read_table


@dataclass(frozen=True)
class Artifact:
    """A file or folder in a results folder.

    Parameters
    ----------
    path : str
        Path relative to the results folder.
    meaning : str
        One-line description.

    Examples
    --------
    >>> TARGETS.path, TARGETS.name
    ('ratings/targets.csv', 'targets')
    """

    path: str
    meaning: str

    @property
    def name(self) -> str:
        """Name of the file without its suffix."""
        return Path(self.path).stem

    def of(self, results: Path) -> Path:
        """Return the path of the file in a results folder, whether it exists or not."""
        return Path(results) / self.path

    def read(self, results: Path) -> Any:
        """Read the file from a results folder.

        Returns
        -------
        DataFrame, Dataset, ndarray or dict
            The type for the suffixes .csv, .zarr (read on access), .npy (memory-mapped) and .json.

        Raises
        ------
        OSError, ValueError, KeyError
            If the file is missing or cannot be read.
        """
        file = self.of(results)
        if file.suffix == ".csv":
            return read_table(file)
        if file.suffix == ".zarr":
            return open_arrays(file)
        if file.suffix == ".npy":
            return np.load(file, mmap_mode="r", allow_pickle=False)
        value = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(value, Mapping):
            raise ValueError("not a JSON object")
        return value


TARGETS = Artifact("ratings/targets.csv", "mean ratings by group, trait and image")
RELIABILITY = Artifact("ratings/reliability.csv", "reliability and noise ceilings by group and trait")
CLEANING = Artifact("ratings/cleaning.csv", "ratings left out by each rule of cleaning")
LEFT_OUT = Artifact("ratings/left_out.csv", "the ratings that cleaning left out")
QUALITY = Artifact("ratings/quality.csv", "data quality by rater")
QUALITY_SIGNS = Artifact("ratings/quality_signs.csv", "raters with signs of poor data quality")
VARIANCES = Artifact("ratings/variances.csv", "sources of the variance of ratings by group and trait")
RATERS = Artifact("ratings/raters.csv", "each rater's agreement with the others")
TRAIT_CORRELATIONS = Artifact("ratings/trait_correlations.csv", "correlations of traits by group")
TRAIT_COMPONENTS = Artifact("ratings/trait_components.csv", "principal components of traits by group")
TRAIT_LOADINGS = Artifact(
    "ratings/trait_loadings.csv", "loadings of traits with intervals, and number of components"
)
IMAGE_TESTS = Artifact("ratings/images.csv", "differences between groups by image")

LANDMARKS = Artifact("landmarks.csv", "478 landmarks of each photograph, given or detected")
FACES = Artifact("faces.json", "images without landmarks, and notices about faces")
FACE_MEASURES = Artifact("face_measures.csv", "expression, proportions, pose and light of each face")
PREPARED = Artifact("prepared.zarr", "prepared images and their landmarks")
REGION_LABELS = Artifact(".cache/region_labels.zarr", "region of each pixel of each prepared image")
FEATURES = Artifact(".cache/features/all/features.npy", "features of each image")
CHOICES = Artifact(".cache/choices.csv", "penalties and numbers of epochs chosen by inner folds")
DUALS = Artifact(".cache/duals.csv", "penalty and weights of kernels of each ridge readout")
READOUTS = Artifact(".cache/readouts", "the readouts of every group, trait and fold")

PREDICTIONS = Artifact("predictions.csv", "out-of-fold predictions by image, group and trait")
LEARNING_CURVES = Artifact(
    "learning_curves.csv", "training loss by epoch of the networks of Cao et al. (2023)"
)
PERFORMANCE = Artifact("performance.csv", "how well ratings are predicted, by group and trait")
MODELS = Artifact("models", "the readouts as a model to use and share")
MAPS = Artifact("maps.zarr", "relevance maps of images")
AVERAGE_MAPS = Artifact("average_maps.zarr", "average relevance maps")
REGION_TABLE = Artifact("regions.csv", "relevance by image, group, trait and region")
REGION_UNIONS = Artifact("region_unions.csv", "relevance of larger regions")

MEANS = Artifact("comparisons/means.csv", "differences of mean ratings")
RELIABILITY_TESTS = Artifact("comparisons/reliability.csv", "differences of reliability")
AGREEMENT_TESTS = Artifact("comparisons/agreement.csv", "differences of agreement and spread")
MISSING_TESTS = Artifact("comparisons/missing.csv", "differences in shares of missing ratings")
TRAIT_SPACE = Artifact("comparisons/trait_space.csv", "differences of correlations between traits")
TASTE_TESTS = Artifact("comparisons/taste.csv", "differences of private taste and of specificity")
TRANSFER_GROUPS = Artifact("comparisons/transfer_groups.csv", "prediction of the other groups' ratings")
TRANSFER_TRAITS = Artifact("comparisons/transfer_traits.csv", "prediction of the other traits' ratings")
COMMON_PENALTIES = Artifact(".cache/common_penalties.csv", "ridge penalty by trait for tests")
PERFORMANCE_TESTS = Artifact("comparisons/performance.csv", "differences of performance")
MATCHED_TESTS = Artifact(
    "comparisons/performance_matched.csv", "differences of performance at equal reliability"
)
VARIABLE_TESTS = Artifact("comparisons/variables.csv", "associations with variables of the raters")
RATER_MODELS = Artifact(
    "comparisons/rater_models.csv", "effects of the variables of a formula on raters' values"
)
COVARIATES = Artifact("comparisons/covariates.csv", "how groups differ in the variables of the formula")
FACE_TYPES = Artifact("comparisons/face_types.csv", "slopes of the difference of groups on measures of faces")
DIFFERENCE_TESTS = Artifact("comparisons/difference.csv", "prediction of the difference from faces")
PIXEL_MAPS = Artifact("comparisons/pixels.zarr", "tests of raters' maps by pixel")
PIXEL_TESTS = Artifact("comparisons/pixels.csv", "significant areas of raters' maps")
ANSWERS = Artifact("comparisons/answers.csv", "the questions of the comparison and their answers")

CUES = Artifact("checks/cues.csv", "prediction of altered faces")
CONSERVATION = Artifact("checks/conservation.csv", "how the maps add up to the predictions")
NULL_MAPS = Artifact("checks/null_maps.csv", "similarity with maps of scrambled models")
FLIPPING = Artifact("checks/flipping.csv", "effect of replacing patches in the order of relevance")
METHODS = Artifact("checks/methods.csv", "correlations between maps made with different relevance methods")
ASSOCIATION = Artifact("checks/association.csv", "association of regions with the ratings")

AVERAGE_FACE = Artifact(".cache/average_face.npy", "the average of the prepared images")
REGIONAL_FEATURES = Artifact(".cache/features/regions/features.npy", "regional features of each image")
REGIONAL_KERNELS = Artifact(".cache/regional_kernels.npy", "linear kernels of regional features")
IMAGE_CUES = Artifact(
    "cues/cues.csv", "cue of each region of each image, from readouts of all groups together"
)
GROUP_CUES = Artifact("cues/group_cues.csv", "cue of each region of each image, from readouts of each group")
REGIONAL_PREDICTIONS = Artifact("cues/predictions.csv", "out-of-fold predictions by regional readouts")
REGIONAL_MODEL = Artifact("cues/model", "regional readouts as a model to use and share")

PREDICTABILITY = Artifact("cues/predictability.csv", "whether traits are predicted better than chance")
UTILISATION = Artifact("cues/utilisation.csv", "how strongly each rater weighs each region's cue")
RATER_FITS = Artifact("cues/raters.csv", "how consistently each rater follows the cues")
UTILISATION_MEANS = Artifact("cues/groups.csv", "mean utilisation of each group, over its raters")
SHARES = Artifact("cues/shares.csv", "each region's share of the explained variance in a group's ratings")
ACHIEVEMENT = Artifact(
    "cues/achievement.csv", "agreement of single raters with another group, by the lens model"
)
USE_TESTS = Artifact("cues/tests.csv", "differences of range, noise and use of regions between groups")
WITHIN_REGIONS = Artifact("cues/within_regions.csv", "whether groups use the same information of each region")
CONFUSIONS = Artifact("cues/confusions.csv", "which regions cannot be distinguished on these faces")

EXPERIMENT_EFFECTS = Artifact("experiment/effects.csv", "observed and predicted effects of altered regions")
EXPERIMENT_DIFFERENCES = Artifact("experiment/differences.csv", "differences of these effects between groups")
EXPERIMENT_AGREEMENT = Artifact(
    "experiment/agreement.csv", "slope and correlation of observed with predicted effects"
)
EXPERIMENT = Artifact("experiment/experiment.json", "raters, faces and plan of the experiment")

STUDY = Artifact("study.json", "what was studied, with all settings")
PROVENANCE = Artifact("provenance.json", "versions, digests, seeds and times")
PLAN = Artifact("plan.json", "the frozen plan")
PLANNED = Artifact("planned.csv", "the analysis compared with the frozen plan")
FIGURES = Artifact("figures", "the report's figures as SVG and PNG")
REPORT = Artifact("report.html", "the report")

ARTIFACTS: Mapping[str, Artifact] = {
    value.path: value for value in list(globals().values()) if isinstance(value, Artifact)
}
"""All files of a results folder by path."""
