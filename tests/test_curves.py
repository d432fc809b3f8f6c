"""Figures of scores and features, and learning curves over the size of the training set."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from conftest import blobs
from matplotlib.colors import same_color

from xraylib import curves
from xraylib.curves import _fit_error as fit_error
from xraylib.curves import _power_law as power_law
from xraylib.curves import bootstrap_runs, smallest_enough
from xraylib.data import NI_YSZ, Phases

SIZES = [0.0625, 0.25, 1, 5, 15, 45, 105, 400]
TWO = Phases(("pore", "solid"), (0, 255), ("#d55e00", "#0072b2"))


def history(*columns, n=4, phases=NI_YSZ):
    """A history of n evaluations whose columns all rise from 0.1 to n / 10."""
    names = ("dice", "train_loss", "val_loss", *(f"dice_{name}" for name in phases.names), *columns)
    return [{"step": i, "lr": 1.0 if i < 3 else 0.1, **dict.fromkeys(names, i / 10)}
            for i in range(1, n + 1)]


@pytest.fixture
def two_axes():
    """Two axes, one above the other, whose figure must draw."""
    fig, axes = plt.subplots(2)
    yield axes
    fig.canvas.draw()
    plt.close(fig)


def drawn(ax):
    """The points of each line by its name in the legend."""
    return {line.get_label(): line.get_xydata().tolist() for line in ax.lines}


# -- over training ---------------------------------------------------------------------------------


@pytest.mark.parametrize("phases", [TWO, NI_YSZ])
def test_a_learning_curve_has_a_line_per_phase_in_its_colour_and_one_for_the_mean(ax, phases):
    rows = history(phases=phases)
    rows[-1]["dice_pore"] = 0.9
    curves.learning_curve(rows, ax, phases)
    rising = [[1, 10], [2, 20], [3, 30], [4, 40]]
    expected = dict.fromkeys((*phases.names, "mean"), rising) | {"pore": rising[:3] + [[4, 90]]}
    found = drawn(ax)
    assert list(found) == list(expected)
    for name, points in expected.items():
        assert np.array(found[name]) == pytest.approx(np.array(points))
    for line, colour in zip(ax.lines, (*phases.colours, curves.INK), strict=True):
        assert same_color(line.get_color(), colour)


def test_a_loss_curve_is_not_in_per_cent(ax):
    curves.loss_curve(history(), ax)
    assert list(drawn(ax)) == ["training", "validation"]
    assert all(line.get_ydata() == pytest.approx([0.1, 0.2, 0.3, 0.4]) for line in ax.lines)


def test_the_clean_half_has_an_axis_of_its_own(two_axes):
    rows = [row | {"dice_clean": 0.9, "dice_noisy": 0.5} for row in history()]
    curves.clean_and_noisy_curve(rows, *two_axes)
    upper, lower = map(drawn, two_axes)
    assert list(upper) == ["clean half"] and list(lower) == ["mean of both halves",
                                                             "noisy half"]
    assert upper["clean half"][0] == [1, 90] and lower["noisy half"][0] == [1, 50]


def test_without_noise_all_three_curves_are_the_same(two_axes):
    curves.clean_and_noisy_curve(history(), *two_axes)
    found = {str(points) for ax in two_axes for points in drawn(ax).values()}
    assert len(found) == 1


def test_the_first_learning_rate_is_shaded_and_the_noisy_half_on_top(two_axes):
    curves.noise_and_rate(history("dice_clean", "dice_noisy"), *two_axes)
    assert "noisy half" in drawn(two_axes[0]) and "clean half" in drawn(two_axes[1])
    for ax in two_axes:
        (shaded,) = ax.patches
        corners = shaded.get_patch_transform().transform_path(shaded.get_path()).vertices
        assert [corners[:, 0].min(), corners[:, 0].max()] == [0, 2]


def test_kinds_of_statistics_have_a_curve_each(ax):
    rows = [{"step": step, "as_trained": 0.5, "clean": 0.6, "noisy": 0.9} for step in (10, 20)]
    curves.statistics_curves(rows, ax)
    assert [points[1] for points in drawn(ax).values()] == [[20, 50], [20, 60], [20, 90]]


# -- of phases -------------------------------------------------------------------------------------


def test_rows_of_a_confusion_matrix_add_up_to_a_hundred(ax):
    counts = np.array([[3, 1, 0], [0, 5, 5], [0, 0, 0]])
    curves.confusion_heat_map(counts, NI_YSZ, ax)
    texts = [text.get_text() for text in ax.texts]
    assert texts == ["75.0 %", "25.0 %", "0.0 %", "0.0 %", "50.0 %", "50.0 %", *["0.0 %"] * 3]


def test_figures_of_features_have_a_histogram_per_phase(two_axes):
    (image,), (label,) = blobs(1, 40, 40).images, blobs(1, 40, 40).labels
    features = [image / 1000, image / 500]
    curves.feature_histograms(features, label, NI_YSZ, ["clean", "noisy"], two_axes)
    for ax, title in zip(two_axes, ("clean", "noisy"), strict=True):
        assert [patch.get_label() for patch in ax.patches] == list(NI_YSZ.names)
        assert ax.get_title() == title
    sums = [sum(patch.get_data().values.sum() for patch in ax.patches) for ax in two_axes]
    assert 1.5 < sum(sums) <= 2


def test_the_spread_of_channels_is_a_pair_of_bars(ax):
    curves.channel_spread(np.array([1, 2]), np.array([3, 4]), ax)
    clean, noisy = ax.containers
    assert [bar.get_height() for bar in clean] == [1, 2]
    assert [bar.get_height() for bar in noisy] == [3, 4]


@pytest.mark.parametrize("phases", [TWO, NI_YSZ])
def test_probabilities_have_a_curve_per_phase(ax, phases):
    rows = np.linspace(0, 1, 2 * len(phases)).reshape(2, len(phases))
    curves.probability_curves([0, 5000], rows, phases, ax)
    assert list(drawn(ax)) == list(phases.names)
    assert np.array([line.get_ydata() for line in ax.lines]) == pytest.approx(100 * rows.T)


# -- over the training set -------------------------------------------------------------------------


def test_parts_of_a_slice_are_written_as_parts(ax):
    curves.dice_against_size([0.0625, 0.25, 1, 5], np.full((2, 4), 0.9), ax, "some")
    assert [text.get_text() for text in ax.get_xticklabels()] == ["1/16", "1/4", "1", "5"]


def test_dice_against_size_is_the_mean_of_the_runs_with_their_deviation(ax):
    curves.dice_against_size([1, 5], np.array([[0.8, 0.9], [0.9, 0.9]]), ax, "some")
    (container,) = ax.containers
    assert container[0].get_ydata() == pytest.approx([85, 90])
    bar = container[2][0].get_segments()[0][:, 1]
    assert bar == pytest.approx([85 - 50**0.5, 85 + 50**0.5])
    curves.dice_against_size([1, 5], np.array([[0.8, 0.9]]), ax, "one run")
    assert not ax.containers[1].has_yerr


def dice_of_law(floor, scale, power):
    """Dice of one run that follows the law."""
    return 1 - power_law(np.array(SIZES), floor, scale, power)[None]


def test_a_fit_finds_the_law_that_made_the_numbers():
    found = fit_error(SIZES, dice_of_law(0.01, 0.004, 0.6))
    assert found == pytest.approx([0.01, 0.004, 0.6], rel=1e-3)


def test_the_smallest_set_that_is_near_the_best():
    """By hand: 0.004 / n is 0.002 above its value at n = 400 for n = 1.99."""
    dice = dice_of_law(0.01, 0.004, 1.0)
    assert smallest_enough(SIZES, dice) == pytest.approx(0.004 / 0.00201, rel=0.01)
    assert smallest_enough(SIZES, np.full((2, len(SIZES)), 0.99)) == SIZES[0]    # flat


def test_bootstrap_draws_take_runs_at_every_size_anew():
    dice = np.arange(6).reshape(3, 2)
    draws = bootstrap_runs(dice, 50)
    assert all(set(draw[:, i]) <= set(dice[:, i]) for draw in draws for i in range(2))
    assert any(not np.array_equal(draw[:, 0] // 2, draw[:, 1] // 2) for draw in draws)


def test_a_fitted_curve_and_its_band(ax):
    sizes = [1, 4, 16, 64]
    dice = 1 - (0.01 + 0.02 / np.sqrt(sizes)) * np.array([[1], [1.01]])
    curves.error_fit(sizes, [dice, dice[::-1]], ax, "black")
    assert ax.lines[0].get_ydata()[-1] == pytest.approx(100 * dice.mean(0)[-1], abs=0.02)
    assert len(ax.collections) == 1
