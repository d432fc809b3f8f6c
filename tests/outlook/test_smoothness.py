"""How smooth a segmentation is along z and within its slices."""

from types import SimpleNamespace

import numpy as np
import pytest
from conftest import blobs

from xraylib.data import Slices
from xraylib.errors import DataError, ParameterError
from xraylib.metrics import score_masks
from xraylib.outlook.microstructure import triple_phase_boundary
from xraylib.outlook.smoothness import (
    label_agreement,
    label_flips,
    majority_filter,
    volume_errors,
)


def test_label_agreement_by_hand():
    stack = np.zeros((3, 4, 4), np.uint8)
    stack[:2, 2:, :2], stack[:2, 2:, 2:], stack[1, 0] = 1, 2, 1
    assert label_agreement(stack, (0, 1, 2)) == {0: 1, 1: (0.75 + 0.25) / 2, 2: 0.5}


def test_flips_by_hand():
    labels = np.zeros((3, 2, 4), np.uint8)
    labels[1] = 1  # every voxel flips twice along z, none flips along y and x
    assert label_flips(labels) == {"z": 1, "y": 0, "x": 0}
    labels[:, :, 2:] = 2  # half of them flip along z, and one of three pairs along x
    assert label_flips(labels) == pytest.approx({"z": 0.5, "y": 0, "x": 1 / 3})


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: label_agreement(np.zeros((4, 4), np.uint8), [1]), DataError, "stack"),
    (lambda: label_agreement(np.zeros((1, 4, 4), np.uint8), [0, 1]), ParameterError,
     r"lags are \[1\].*0 to 0"),
    (lambda: label_flips(np.zeros((4, 4), np.uint8)), DataError, "stack"),
])
def test_wrong_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_the_majority_filter_removes_specks_and_keeps_straight_interfaces():
    columns = np.kron(np.add.outer(range(6), range(6)) % 3, np.ones((4, 4), int)).astype(np.uint8)
    columns = np.tile(columns, (10, 1, 1))
    specks = columns.copy()
    specks[5, 1, 1], specks[2, 6, 6] = 1, 2  # one voxel of 27 in columns of phases 0 and 2
    filtered = majority_filter(specks)
    assert (filtered == columns)[:, 1:3, 1:3].all() and filtered.dtype == np.uint8
    stripes = np.repeat([0, 1, 2], [5, 1, 4]).astype(np.uint8) * np.ones((7, 1), np.uint8)
    # Beside the line of 1 px phase 1 has 3 of 9 pixels and loses to 6. On the line each phase has
    # 3, and the first of them wins.
    assert majority_filter(stripes).tolist() == [[0] * 6 + [2] * 4] * 7
    assert majority_filter(np.array([[0, 0, 0], [0, 0, 1], [2, 2, 2]]))[1, 1] == 0  # 5, 1 and 3 px
    # At the border the edge is repeated: in the corner 1 counts 4 times, 2 twice, 0 three times.
    assert majority_filter(np.array([[1, 0, 0], [2, 0, 0], [2, 0, 0]]))[0, 0] == 1


def test_a_row_holds_the_errors_of_a_segmentation():
    rng = np.random.default_rng(0)
    predicted, truth = rng.integers(3, size=(2, 4, 48, 40)).astype(np.uint8)
    predicted[:, :20] = 0
    slices = Slices(blobs(4, 48, 40).images, truth, np.arange(4))
    run = SimpleNamespace(config={"seed": 3, "noise_std": 1000, "digest": "abc"})
    row = volume_errors("2-D", run, slices, predicted)
    assert [row[name] for name in ("kind", "run", "seed", "noise_std")] == ["2-D", "abc", 3, 1000]
    assert row["dice"] == score_masks(predicted, slices).mean

    def error(measure):
        return pytest.approx(measure(predicted) / measure(truth) - 1)

    assert row["tpb"] == error(lambda labels: triple_phase_boundary(labels, None))
    assert row["flips_z"] == error(lambda labels: np.mean(labels[1:] != labels[:-1]))
    assert row["flips_x"] == error(lambda labels: np.mean(labels[..., 1:] != labels[..., :-1]))
    assert row["flips_y"] == error(lambda labels: np.mean(labels[:, 1:] != labels[:, :-1]))
