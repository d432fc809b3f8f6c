"""PyTorch, ONNX Runtime, WASM in Node and the live page agree in the class of every pixel."""

import numpy as np
import pytest
from engines import Case, compare, disagreement
from make_assets import GRAPHS


def test_all_engines_agree(browser, address):
    """One slice, clean and noisy; `make prove` takes all slices and noises."""
    cases = [Case(1, noise, network) for noise in (0, 5000) for network in GRAPHS]
    for row in compare(cases, browser.new_page(), address):
        for engine in ("ONNX Runtime", "Node", "page"):
            wrong, most = row[engine]
            assert wrong == 0, f"{engine}: {wrong} pixels differ in {row['case']}"
            assert most < 1e-3, f"{engine}: probabilities differ by {most} in {row['case']}"
        assert row["ties"] < 100


def test_another_class_is_noticed_and_a_tie_is_not():
    expected = np.full((3, 4, 4), 0.2, np.float32)
    expected[0] = 0.6
    expected[:, 0, 0] = 0.4, 0.3995, 0.2005
    found = expected.copy()
    found[:, 0, 0] = found[[1, 0, 2], 0, 0]                           # two phases as good as equal
    assert disagreement(expected, found)[:2] == (0, 1)
    found[:, 2, 2] = 0.1, 0.8, 0.1
    assert disagreement(expected, found)[:2] == (1, 1)
    with pytest.raises(ValueError, match="all finite"):
        disagreement(expected, found * np.nan)
