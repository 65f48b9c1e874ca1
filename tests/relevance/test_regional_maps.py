"""Maps of regions: they sum to cues, and nothing lies outside what was used."""

from dataclasses import replace

import numpy as np
import pytest

from traitlens.faces.canonical_mesh import canonical_mesh
from traitlens.features.feature_spaces import FeatureSpace
from traitlens.features.region_features import RegionalExtractor, RegionalFaces
from traitlens.features.taps import Tap
from traitlens.features.views import View
from traitlens.readouts.readout import LinearPart, LinearReadout
from traitlens.relevance.attribution import Explainer
from traitlens.relevance.regional_maps import RegionalExplainer

VIEWS = {"middle": View("middle", (0.2, 0.2, 0.8, 0.9), (48, 40))}
SPACES = [
    FeatureSpace(Tap("block2_pool", 4), mirror=True),
    FeatureSpace(Tap("block2_conv1", 3), "middle", "sqrt"),
]


@pytest.fixture
def study(rng, backbone):
    """A face, regional faces, masks, and two readouts of three regions and the whole face."""
    image, average = rng.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    faces = RegionalFaces(average)
    read = [replace(space, region=name) for name in ("eyes", "jaw", "background", "") for space in SPACES]
    features = RegionalExtractor(backbone, read, faces, VIEWS).extract(image, faces.masks(MESH))
    readouts = [
        LinearReadout(
            "a",
            trait,
            0,
            tuple(
                LinearPart(
                    space,
                    rng.normal(size=features[space].shape).astype(np.float32),
                    (0.5 * features[space]).astype(np.float32),
                )
                for space in read
            ),
            4.0,
        )
        for trait in ("warm", "strong")
    ]
    return image, faces, faces.masks(MESH), readouts, features


MESH = canonical_mesh().points / 8


def test_maps_sum_to_cues_and_lie_inside(study, backbone):
    image, faces, masks, readouts, features = study
    found = RegionalExplainer(backbone, readouts, faces, views=VIEWS).explain(image, masks)
    sums = found["relevance"].astype(float).sum(("y", "x"))
    largest = float(np.abs(found["cue"]).max())
    np.testing.assert_allclose(sums, found["cue"], atol=1e-5 * largest)
    batch = {space: values[None] for space, values in features.items()}
    for readout in readouts:
        mine = found.sel(readout=found["trait"] == readout.trait)
        for region in ("eyes", "jaw", "background", ""):
            parts = readout.contributions(batch)
            cue = sum(float(part[0]) for space, part in parts.items() if space.region == region)
            np.testing.assert_allclose(mine["cue"].sel(region=region), cue, atol=1e-5 * largest)
            if region:
                outside = masks.sel(region=region).values == 0
                assert not mine["relevance"].sel(region=region).values[0][outside].any()
        assert float(mine["cue"].sum()) + readout.mean == pytest.approx(
            float(readout.predict(batch)[0]), abs=1e-4 * largest
        )


def test_pixels_outside_a_region_leave_its_map_to_the_bit(study, backbone, rng):
    image, faces, masks, readouts, _ = study
    explainer = RegionalExplainer(backbone, readouts, faces, views=VIEWS)
    outside = masks.sel(region="jaw").values[..., None] == 0
    other = np.where(outside, rng.integers(0, 256, image.shape, dtype=np.uint8), image)
    one, same = (explainer.explain(seen, masks).sel(region="jaw") for seen in (image, other))
    np.testing.assert_array_equal(one["relevance"], same["relevance"])
    np.testing.assert_array_equal(one["cue"], same["cue"])


def test_the_average_face_gives_what_every_face_lacks(study, backbone):
    # A face like the average has minus the mean regional features.
    _, faces, masks, readouts, _ = study
    found = RegionalExplainer(backbone, readouts, faces, views=VIEWS).explain(faces.average, masks)
    for number, readout in enumerate(readouts):
        for region in ("eyes", "jaw"):
            expected = -sum(
                float((part.weight.astype(float) * part.reference).sum())
                for part in readout.parts
                if part.space.region == region
            )
            np.testing.assert_allclose(found["cue"].sel(region=region)[number], expected, rtol=1e-6)


def test_the_whole_face_is_explained_as_ever(study, backbone):
    image, faces, masks, readouts, _ = study
    whole = [
        replace(one, parts=tuple(part for part in one.parts if not part.space.region)) for one in readouts
    ]
    expected = Explainer(backbone, whole, "lrp.alpha_1_beta_0_ignore_bias", views=VIEWS).explain(image)
    found = RegionalExplainer(backbone, readouts, faces, VIEWS, "lrp.alpha_1_beta_0_ignore_bias")
    maps = found.explain(image, masks)["relevance"].sel(region="")
    largest = float(np.abs(expected["relevance"]).max())
    np.testing.assert_allclose(maps, expected["relevance"], atol=1e-3 * largest)
