import numpy as np
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator
from tests.oracles import readouts_by_hand as by_hand

from traitlens.readouts.estimator import RidgeReadout


def test_the_estimator_keeps_scikit_learn_s_promises():
    failed = [
        (check["check_name"], check["exception"])
        for check in check_estimator(RidgeReadout(), on_fail=None, on_skip=None)
        if check["status"] == "failed"
    ]
    assert failed == []


def test_it_agrees_with_ridge_at_the_same_penalty():
    rng = np.random.default_rng(0)
    features, ratings = rng.normal(size=(30, 8)), rng.normal(size=(30, 2))
    ours = RidgeReadout(penalties=[0.1]).fit(features, ratings)
    ridge = Ridge(alpha=by_hand.relative_penalty(features, 0.1)).fit(features, ratings)
    np.testing.assert_allclose(ours.coef_, ridge.coef_, rtol=1e-6)
    np.testing.assert_allclose(ours.predict(features), ridge.predict(features), rtol=1e-6)


def test_it_works_in_a_pipeline_with_folds_by_identity():
    rng = np.random.default_rng(1)
    features = rng.normal(size=(60, 6))
    identities = np.repeat(np.arange(20), 3)
    ratings = features @ rng.normal(size=6) + 0.1 * rng.normal(size=60)
    model = make_pipeline(StandardScaler(), RidgeReadout())
    scores = cross_val_score(
        clone(model),
        features,
        ratings,
        groups=identities,
        cv=GroupKFold(5),
        params={"ridgereadout__groups": identities},
    )
    assert scores.min() > 0.9
