"""Stages on the use of facial regions: cue utilisation, shares, and differences between groups."""

import numpy as np
import pandas as pd

from traitlens.artifacts import (
    ACHIEVEMENT,
    CONFUSIONS,
    IMAGE_CUES,
    PREDICTABILITY,
    RATER_FITS,
    REGION_LABELS,
    SHARES,
    USE_TESTS,
    UTILISATION,
    UTILISATION_MEANS,
    WITHIN_REGIONS,
)
from traitlens.columns import IDENTITY, IMAGE, REGION, TRAIT
from traitlens.comparison import by_component
from traitlens.comparison.answers import ALPHA
from traitlens.comparison.by_use import compare_use
from traitlens.comparison.common_cues import MOST_IMAGES, CommonCues
from traitlens.comparison.compared_groups import pairs_of_groups
from traitlens.comparison.confusion import confuse_regions
from traitlens.comparison.lens_design import cue_array, make_design
from traitlens.comparison.lens_model import summarise_achievement
from traitlens.comparison.shares import tabulate_shares
from traitlens.comparison.use_test import COLUMNS
from traitlens.comparison.utilisation import rater_fits, rater_utilisation, summarise_utilisation
from traitlens.computing.blocks import blocks_of
from traitlens.faces.masks import joined_name
from traitlens.pipeline.stage_io import StageIO
from traitlens.pipeline.stages.cues import common_cues, read_kernels

DRAWS = 2000
PLANTED_STUDIES = 10


def utilisation(io: StageIO) -> None:
    """Write which traits exceed chance, raters' cue utilisation and achievement, and regions' shares."""
    seed = io.value("settings.seed")
    found = common_cues(io).predictability(seed=seed)
    identities = io.value("folds").set_index(IMAGE)[IDENTITY]
    design = make_design(io.value("ratings"), cue_array(io.read(IMAGE_CUES)), identities)
    io.write(PREDICTABILITY, found)
    io.write(UTILISATION, rater_utilisation(design))
    io.write(RATER_FITS, rater_fits(design))
    io.write(UTILISATION_MEANS, summarise_utilisation(design))
    io.write(ACHIEVEMENT, summarise_achievement(design, io.value("ratings")))
    predicted = {(group, trait) for group in design.groups for trait in predicted_traits(found)}
    io.write(SHARES, tabulate_shares(design, region_areas(io), predicted, draws=DRAWS, seed=seed))


def compare(io: StageIO) -> None:
    """Write tests of range, noise and use of regions, and which regions cannot be distinguished."""
    traits = predicted_traits(io.read(PREDICTABILITY))
    ratings, cues, within = io.value("ratings"), common_cues(io), io.value("settings.comparison.within")
    array = cue_array(io.read(IMAGE_CUES))
    learn = len(io.value("folds")) <= MOST_IMAGES
    if not traits:
        io.write(USE_TESTS, pd.DataFrame(columns=list(COLUMNS)))
        io.write(CONFUSIONS, pd.DataFrame(columns=["group_1", "group_2", "planted", REGION, "called"]))
        io.write(WITHIN_REGIONS, pd.DataFrame(columns=list(by_component.COLUMNS)))
        return
    identities = io.value("folds").set_index(IMAGE)[IDENTITY]
    rated, array = ratings[ratings[TRAIT].isin(traits)], array.sel({TRAIT: traits})
    tests = compare_use(
        rated,
        array,
        identities,
        within=within,
        draws=DRAWS,
        relearn=cues.relearn if learn else None,
        seed=io.value("settings.seed"),
        progress=io.advance,
    )
    io.write(USE_TESTS, tests)
    components = by_component.region_components(read_kernels(io))
    ordered = array.sel({IMAGE: io.value("folds")[IMAGE].to_numpy(object)})
    options = {"within": within, "permutations": DRAWS, "seed": io.value("settings.seed")}
    io.write(WITHIN_REGIONS, by_component.compare_components(rated, ordered, components, **options))
    pairs = pairs_of_groups(ratings) if learn else []
    io.write(CONFUSIONS, pd.concat([_simulate_confusions(io, pair, tests, cues, traits) for pair in pairs]))


def predicted_traits(predictability: pd.DataFrame) -> list[str]:
    """Return the traits predicted better than chance (p <= .05); regions are reported for no others."""
    return [str(trait) for trait in predictability.loc[predictability["p"] <= ALPHA, TRAIT]]


def region_areas(io: StageIO) -> pd.Series:
    """Compute the mean share of an image's pixels in each region; left and right regions are joined."""
    labels = io.read(REGION_LABELS)
    names = [str(name) for name in labels[REGION].values]
    counts = np.zeros(256)
    for positions in blocks_of(np.arange(labels.sizes[IMAGE])):
        counts += np.bincount(labels["labels"][positions].to_numpy().ravel(), minlength=256)
    shares = counts[: len(names)] / counts[: len(names)].sum()
    return pd.Series(shares, [joined_name(name, names) for name in names]).groupby(level=0).sum()


def _simulate_confusions(
    io: StageIO, pair: tuple[str, str], tests: pd.DataFrame, cues: CommonCues, traits: list[str]
) -> pd.DataFrame:
    """Test which regions are confused, by simulated differences of the size found between two groups.

    That size is the median of the differences that are called significant, or of all if none is.
    """
    own = tests[(tests["group_1"] == pair[0]) & (tests["group_2"] == pair[1]) & (tests["question"] == "use")]
    found = own[own["called"]] if own["called"].any() else own
    table = confuse_regions(
        io.value("ratings"),
        cues,
        pair,
        float(found["difference"].abs().median()),
        io.value("folds").set_index(IMAGE)[IDENTITY],
        traits=traits,
        studies=PLANTED_STUDIES,
        seed=io.value("settings.seed"),
    )
    return table.assign(group_1=pair[0], group_2=pair[1])
