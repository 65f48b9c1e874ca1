"""Variance parts against statsmodels' REML and against planted variances."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from numpy.testing import assert_allclose

from traitlens.ratings.variance_parts import Variances, fit_variances, tabulate_variances

PLANTED = {"identity": 0.6, "photograph": 0.3, "rater": 0.5, "private taste": 0.4, "noise": 0.7}


def draw(rng, raters=10, persons=8, photographs=3, twice=0.5):
    """Ratings with planted variances; a share of them repeated."""
    person = np.repeat(np.arange(persons), photographs)
    images = [f"i{number:02d}" for number in range(len(person))]
    truth = np.sqrt(PLANTED["identity"]) * rng.normal(size=persons)[person]
    truth = truth + np.sqrt(PLANTED["photograph"]) * rng.normal(size=len(person))
    own = truth + np.sqrt(PLANTED["rater"]) * rng.normal(size=(raters, 1))
    own = own + np.sqrt(PLANTED["private taste"]) * rng.normal(size=(raters, len(person)))
    cells = [
        (r, j) for r in range(raters) for j in range(len(person)) for _ in range(1 + (rng.random() < twice))
    ]
    table = pd.DataFrame(cells, columns=["r", "j"])
    table["rating"] = own[table["r"], table["j"]] + np.sqrt(PLANTED["noise"]) * rng.normal(size=len(table))
    table["rater"], table["image"] = table["r"].astype(str), np.array(images)[table["j"]]
    return table.assign(group="g", trait="warm"), pd.Series(person, images)


def test_variances_are_those_of_statsmodels():
    table, identities = draw(np.random.default_rng(1), raters=6, persons=6)
    found = tabulate_variances(table, identities).set_index("part")
    table = table.assign(person=table["image"].map(identities), cell=table["rater"] + table["image"], one=1)
    parts = {"identity": "0 + C(person)", "photograph": "0 + C(image)", "private taste": "0 + C(cell)",
             "rater": "0 + C(rater)"}  # fmt: skip
    fit = smf.mixedlm("rating ~ 1", table, groups="one", vc_formula=parts).fit(reml=True)
    expected = dict(zip(fit.model.exog_vc.names, fit.vcomp, strict=True)) | {"noise": fit.scale}
    assert_allclose(found.loc[list(expected), "variance"], list(expected.values()), rtol=1e-3, atol=1e-4)
    shared = found.loc[["identity", "photograph"], "variance"].sum()
    private = found.loc["private taste", "variance"]
    assert_allclose(found.loc["beholder index", "share"], private / (private + shared))
    assert_allclose(found["share"][:5].sum(), 1)


def test_without_repeats_private_taste_and_noise_stay_together():
    table, identities = draw(np.random.default_rng(2), twice=0)
    found = tabulate_variances(table, identities)
    assert list(found["part"]) == ["identity", "photograph", "rater", "private taste and noise"]
    one_each = tabulate_variances(table, pd.Series(identities.index, identities.index))
    assert list(one_each["part"]) == ["image", "rater", "private taste and noise"]


def test_penicillin_like_designs_have_no_negative_variance():
    """Where raters do not differ, their variance is zero and the others are those without raters."""
    rng = np.random.default_rng(3)
    image, rater = np.repeat(np.arange(30), 4), np.tile(np.arange(4), 30)
    values = rng.normal(size=30)[image] + rng.normal(size=120)
    values -= np.array([values[rater == one].mean() for one in range(4)])[rater]
    both = fit_variances({"image": image, "rater": rater}, np.arange(120), values)
    alone = fit_variances({"image": image}, np.arange(120), values)
    assert both.values["rater"] == 0
    assert_allclose(both.values["image"], alone.values["image"], rtol=1e-4)


@pytest.mark.slow
def test_planted_variances_are_recovered_and_intervals_cover_them():
    rng, inside, shares = np.random.default_rng(4), [], []
    truth = PLANTED["private taste"] / (PLANTED["private taste"] + 0.9)
    for _ in range(200):
        table, identities = draw(rng, raters=20, persons=30, photographs=2)
        row = tabulate_variances(table, identities).set_index("part").loc["beholder index"]
        shares.append(row["share"])
        inside.append(row["share_low"] <= truth <= row["share_high"])
    assert abs(np.mean(shares) - truth) < 0.02
    assert 0.9 <= np.mean(inside) <= 0.99


@pytest.mark.filterwarnings("error")
def test_a_covariance_that_is_not_quite_positive_can_be_drawn_from():
    covariance = np.diag([0.04, -1e-6])
    drawn = Variances({"rater": 1.0, "residual": 2.0}, covariance).draw(2000, 0)
    assert_allclose(np.log(drawn["rater"]).std(), 0.2, rtol=0.1)
    assert_allclose(drawn["residual"], 2.0)
