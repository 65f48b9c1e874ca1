"""Names of table columns and array dimensions, which all tables and arrays share."""

from typing import Final

# Study
IMAGE: Final = "image"
IDENTITY: Final = "identity"
RATER: Final = "rater"
GROUP: Final = "group"
TRAIT: Final = "trait"
RATING: Final = "rating"
REPEAT: Final = "repeat"
MAY_PUBLISH: Final = "may_publish"
N: Final = "n"

# Landmarks
POINT: Final = "point"
X: Final = "x"
Y: Final = "y"

# Readouts
FOLD: Final = "fold"
READOUT: Final = "readout"
OBSERVED: Final = "observed"
PREDICTED: Final = "predicted"

# Relevance
RELEVANCE: Final = "relevance"
REGION: Final = "region"
CUE: Final = "cue"
SHARE: Final = "share"

NAMES: Final = (
    IMAGE, IDENTITY, RATER, GROUP, TRAIT, REGION, "test", "group_1", "group_2", "trait_1", "trait_2",
    "fitted_on", "predicting", "measure", "summary", "variable", "altered", "readout", "null", "order",
    "method", "other", "effect", "kind", "level", "level_1", "level_2", "by", "by_1", "by_2",
)  # fmt: skip
"""Columns that contain names, which are read as strings even if they look like numbers or "NA"."""
