"""The gauge of likeness: distances by brute force, uniform p values, and faces beyond the range."""

import numpy as np
import pytest

from traitlens.explorer.likeness import make_reference


def test_distances_are_those_of_brute_force():
    rng = np.random.default_rng(1)
    features, new = rng.normal(50, 1, (30, 7)), rng.normal(50, 1, 7)
    names = [str(place // 2) for place in range(30)]  # two pictures of each person
    reference = make_reference(features, names)
    for place, (row, name) in enumerate(zip(features, names, strict=True)):
        others = [one for one, other in zip(features, names, strict=True) if other != name]
        expected = min(np.linalg.norm(row - one) for one in others)
        assert reference.nearest[place] == pytest.approx(expected, rel=1e-4)
    distance = min(np.linalg.norm(new - one) for one in features)
    told = reference.compare(new.astype(np.float32))
    assert told.distance == pytest.approx(distance / np.median(reference.nearest), rel=1e-4)
    assert told.share == (1 + (reference.nearest >= distance).sum()) / 31


def test_faces_like_the_studys_are_spread_over_the_gauge_and_others_are_beyond():
    rng = np.random.default_rng(2)
    shares, beyond = [], 0
    for _ in range(200):
        reference = make_reference(rng.normal(size=(40, 20)), list(map(str, range(40))))
        shares.append(reference.compare(rng.normal(size=20)).share)
        beyond += reference.compare(rng.normal(size=20) + 5).beyond
    assert beyond == 200
    assert np.mean(shares) == pytest.approx(0.5, abs=0.1)
    assert np.mean(np.array(shares) <= 0.1) <= 0.16  # nominal 0.1 with a margin of three standard errors


def test_a_face_of_the_study_is_at_distance_zero_and_a_single_person_is_no_reference():
    features = np.arange(12.0).reshape(4, 3)
    reference = make_reference(features, list("abcd"))
    told = reference.compare(features[2])
    assert (told.distance, told.share, told.beyond) == (0.0, 1.0, False)
    with pytest.raises(ValueError, match="two persons"):
        make_reference(features, list("aaaa"))
