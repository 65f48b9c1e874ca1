"""Regions without maps, against the sums of explicit maps."""

import numpy as np
import pandas as pd
import pytest

from traitlens.features.backbone import build_backbone
from traitlens.features.extraction import extract
from traitlens.features.feature_spaces import FeatureSpace
from traitlens.features.preprocessing import VGG_CAFFE
from traitlens.features.taps import Tap
from traitlens.readouts.ridge import fit_ridge
from traitlens.relevance.attribution import analyze
from traitlens.relevance.region_operators import RegionPropagator, region_kernels

METHOD = "lrp.sequential_preset_a_flat"


@pytest.mark.parametrize("mirror", [False, True])
def test_region_kernels_times_duals_are_sums_of_maps(mirror):
    rng = np.random.default_rng(4)
    shapes = {"block1_conv1": (5, 3), "block1_conv2": (6, 5), "block2_conv1": (8, 6)}
    tensors = {}
    for name, (outputs, inputs) in shapes.items():
        tensors[f"{name}.weight"] = rng.normal(0, 0.2, (outputs, inputs, 3, 3)).astype("f4")
        tensors[f"{name}.bias"] = rng.normal(0, 0.1, outputs).astype("f4")
    backbone = build_backbone("toy", tensors, VGG_CAFFE, "toy")
    pixels = rng.integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
    space = FeatureSpace(Tap("block2_pool", 2), mirror=mirror)
    features = extract(backbone, [space], pixels)[space]
    folds = pd.DataFrame({"image": range(12), "identity": range(12), "fold": np.arange(12) % 2})
    targets = folds[["image"]].assign(group="all", trait="warm", rating=rng.normal(4, 1, 12), n=1)
    fitted = fit_ridge({space: features}, targets, folds, penalties=[0.1])
    masks = np.stack([rng.integers(0, 3, (16, 16)) == region for region in range(3)])
    for readout, dual in zip(fitted.readouts, fitted.duals, strict=True):
        reference = features[dual.rows].mean(0)
        operators = RegionPropagator(backbone, [space], METHOD)
        found = [operators.of(image, masks) for image in pixels[:3]]
        rows = region_kernels(found, space, features, reference).transpose("image", ...).to_numpy()
        scale = sum(dual.factors.values())
        coefficients = np.zeros(12)
        coefficients[dual.rows] = dual.coefficients * scale
        maps = analyze(backbone, [readout], pixels[:3], METHOD)[0].to_numpy()
        sums = (maps[:, None] * masks).sum((2, 3))
        np.testing.assert_allclose(rows @ coefficients, sums, rtol=1e-3, atol=1e-4 * np.abs(sums).max())
