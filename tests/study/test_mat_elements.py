"""Files of MATLAB: what SciPy writes is read, and sizes that do not fit together are refused."""

import struct

import numpy as np
import pytest
from scipy.io import loadmat, savemat
from scipy.sparse import csc_matrix

from traitlens.study.mat_elements import find_mat_fault

VALUES = {
    "numbers": np.arange(6.0).reshape(2, 3),
    "integers": np.arange(5, dtype=np.int16),
    "truth": np.array([[True, False]]),
    "complex": np.array([[1 + 2j]]),
    "text": "warm",
    "texts": np.array(["a", "größer", "印象"]),
    "cells": np.array([["a", 1.5], [np.array([1, 2]), "ü"]], dtype=object),
    "struct": {"rater": np.array(["p1", "p2"], object), "rating": np.array([1.0, 2.0]), "deep": {"x": 1}},
    "nothing": np.zeros((0, 0)),
    "empty": "",
    "sparse": csc_matrix(np.eye(4)),
    "many": np.zeros((2, 3, 4), np.uint8),
}


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("name", [*VALUES, "all"])
def test_what_scipy_writes_is_accepted(tmp_path, name, compressed):
    file = tmp_path / "x.mat"
    savemat(file, VALUES if name == "all" else {name: VALUES[name]}, do_compression=compressed)
    assert find_mat_fault(file.read_bytes()) == ""
    loadmat(file)


@pytest.mark.parametrize(("before", "after"), [((2, 3), (2, 30)), ((2, 3), (-2, 3)), ((2, 3), (2, 2))])
def test_dimensions_must_fit_the_values(tmp_path, before, after):
    file = tmp_path / "x.mat"
    savemat(file, {"x": VALUES["numbers"]}, do_compression=False)
    content = file.read_bytes().replace(struct.pack("<ii", *before), struct.pack("<ii", *after))
    assert find_mat_fault(content).startswith("is damaged: an array ")


@pytest.mark.parametrize("compressed", [True, False])
def test_a_file_that_is_cut_off_or_altered_is_refused(tmp_path, compressed):
    file = tmp_path / "x.mat"
    savemat(file, {"x": VALUES["cells"]}, do_compression=compressed)
    content = file.read_bytes()
    assert all(find_mat_fault(content[:end]) for end in range(130, len(content) - 8, 7))
