import numpy as np
import pandas as pd
import pytest

from traitlens.features.feature_spaces import FeatureSpace
from traitlens.features.taps import Tap

SPACE = FeatureSpace(Tap("block4_pool", 3))


def make_study(seed=0, identities=24, each=2, noise=0.3, groups=("autistic", "non-autistic")):
    """Features with a known linear cause of the ratings: (features, targets, folds without folds)."""
    rng = np.random.default_rng(seed)
    number = identities * each
    person = np.repeat(rng.normal(size=(identities, 4, 3, 3)), each, axis=0)
    values = np.maximum(person + 0.2 * rng.normal(size=person.shape), 0).astype(np.float32)
    images = pd.DataFrame(
        {
            "image": [f"{place}.png" for place in range(number)],
            "identity": np.repeat([f"person {place}" for place in range(identities)], each),
        }
    )
    tables = []
    for group in groups:
        for trait in ("warm", "strong"):
            cause = rng.normal(size=values[0].size)
            truth = values.reshape(number, -1) @ cause
            rating = 4 + truth / truth.std() + noise * rng.normal(size=number)
            tables.append(images[["image"]].assign(group=group, trait=trait, rating=rating, n=20))
    return {SPACE: values}, pd.concat(tables, ignore_index=True), images


@pytest.fixture
def study():
    return make_study()
