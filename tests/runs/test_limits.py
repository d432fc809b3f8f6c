"""Learning curves over the size of the training set."""

import numpy as np
import pytest

from xraylib.runs.limits import fit_error, power_law, resampled_runs, smallest_enough, smallest_reaching

SIZES = [0.0625, 0.25, 1, 5, 15, 45, 105, 400]


def curve(floor, scale, power):
    return 1 - power_law(np.array(SIZES), floor, scale, power)[None]


def test_a_fit_finds_the_law_that_made_the_numbers():
    assert fit_error(SIZES, curve(0.01, 0.004, 0.6)) == pytest.approx([0.01, 0.004, 0.6], rel=1e-3)


def test_the_smallest_set_that_is_near_the_best():
    """0.004 n^-1 is 0.002 above its value at 400 where n is 1.99, by hand: 0.004 / n = 0.002 + 0.004 / 400."""
    assert smallest_enough(SIZES, curve(0.01, 0.004, 1.0)) == pytest.approx(0.004 / 0.00201, rel=0.01)
    assert smallest_enough(SIZES, np.full((2, len(SIZES)), 0.99)) == SIZES[0]              # flat: the smallest will do


def test_bootstrap_draws_take_runs_at_every_size_anew():
    dice = np.arange(6).reshape(3, 2)
    draws = resampled_runs(dice, 50)
    assert all(set(draw[:, i]) <= set(dice[:, i]) for draw in draws for i in range(2))
    assert any(not np.array_equal(draw[:, 0] // 2, draw[:, 1] // 2) for draw in draws)


def test_the_smallest_set_that_reaches_a_target_lies_between_those_that_were_tried():
    """Half-way up between n = 1 and n = 4 is n = 2, on a logarithmic axis; the mean over the runs counts."""
    dice = np.array([[0.5, 0.7, 0.9], [0.7, 0.9, 0.9]])
    assert smallest_reaching([1, 4, 16], dice, 0.7) == pytest.approx(2)
    assert smallest_reaching([1, 4, 16], dice, 0.6) == 1 and smallest_reaching([1, 4, 16], dice, 0.1) == 1
    assert smallest_reaching([1, 4, 16], dice, 0.91) == float("inf")
    assert smallest_reaching([1, 4, 16], np.array([[0.9, 0.7, 0.8]]), 0.85) == 1           # the first that reaches it
