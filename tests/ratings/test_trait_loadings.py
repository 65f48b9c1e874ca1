"""Trait space: parallel analysis keeps what was planted, and loadings are principal components."""

import warnings

import numpy as np
import pandas as pd
from numpy.testing import assert_allclose
from sklearn.decomposition import PCA

from traitlens.ratings.trait_loadings import bootstrap_loadings

LOADINGS = np.array([[0.9, 0], [0.8, 0.2], [0.8, -0.1], [0.1, 0.8], [0, 0.7], [-0.1, 0.75]])


def draw(rng, loadings=LOADINGS, raters=12, images=60):
    truth = rng.normal(size=(images, 2)) @ loadings.T + 0.4 * rng.normal(size=(images, len(loadings)))
    values = truth.T[:, None] + 0.5 * rng.normal(size=(len(loadings), raters, 1))
    values = values + rng.normal(size=(len(loadings), raters, images))
    trait, rater, image = np.indices(values.shape).reshape(3, -1)
    return pd.DataFrame({"rater": [f"r{r}" for r in rater], "group": "g", "image": [f"i{i:02d}" for i in
    image],
                         "trait": [f"t{t}" for t in trait], "rating": values.ravel()})  # fmt: skip


def test_loadings_are_those_of_principal_components_and_intervals_hold_them():
    ratings = draw(np.random.default_rng(0))
    table = bootstrap_loadings(ratings, draws=100)
    wide = ratings.pivot_table(index="image", columns="trait", values="rating")
    fit = PCA(2).fit((wide - wide.mean()) / wide.std(ddof=0))
    expected = fit.components_ * np.sqrt(fit.explained_variance_[:, None] * 59 / 60)
    expected *= np.where(expected.sum(axis=1) < 0, -1, 1)[:, None]
    assert_allclose(table["loading"], expected.ravel(), rtol=1e-8)
    assert table["kept"].all()
    assert (table["low"] < table["high"]).all()
    assert (table["high"] - table["low"]).max() < 0.5


def test_unrelated_traits_have_no_component_beyond_chance():
    rng, kept = np.random.default_rng(1), 0
    for study in range(10):
        values = draw(rng, np.zeros((6, 2)))
        table = bootstrap_loadings(values, draws=60, seed=study)
        kept += bool(table["kept"].any())
    assert kept <= 3  # 0.5 of 10 expected, Monte Carlo error


def test_few_traits_have_no_components():
    ratings = draw(np.random.default_rng(2))
    assert bootstrap_loadings(ratings[ratings["trait"] < "t2"], draws=10).empty


def test_draws_without_variance_are_left_out_without_a_warning():
    ratings = draw(np.random.default_rng(3), raters=2, images=12)
    first = (ratings["rater"] == "r0") & (ratings["trait"] == "t0")
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        table = bootstrap_loadings(ratings.assign(rating=ratings["rating"].mask(first, 4.0)), draws=40)
    assert len(table)
