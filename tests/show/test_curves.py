"""Figures of scores."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from xraylib.predict.scores import Scores
from xraylib.show import curves


def history(*columns, n=4):
    names = ("dice", "dice_pore", "dice_YSZ", "dice_nickel", "train_loss", "val_loss", *columns)
    return [{"images": 8 * i, "step": i, "lr": 1.0 if i < 3 else 0.1, **dict.fromkeys(names, i / 10)}
            for i in range(1, n + 1)]


def test_dice_by_phase_shows_every_image_and_its_means(ax):
    counts = np.array([np.diag([10, 10, 10]), np.diag([10, 10, 0])])
    counts[1, 2, 0] = 10
    curves.dice_by_phase(Scores(counts, np.arange(2), np.zeros(2)), ax)
    assert [len(line.get_xdata()) for line in ax.lines] == [2, 2, 2]
    assert [text.get_text() for text in ax.texts] == ["83.33", "100.00", "50.00"]


def test_curves_show_every_evaluation(ax):
    curves.learning_curve(history(), ax)
    curves.loss_curve(history(), ax)
    assert all(len(line.get_xdata()) == 4 for line in ax.lines)


def test_the_clean_half_has_an_axis_of_its_own():
    fig, axes = plt.subplots(2)
    curves.clean_and_noisy_curve(history("dice_clean", "dice_noisy"), *axes)
    assert [len(ax.lines) for ax in axes] == [1, 2]
    curves.clean_and_noisy_curve(history(), *axes)                    # without noise
    fig.canvas.draw()
    plt.close(fig)


def test_the_first_learning_rate_is_shaded():
    fig, axes = plt.subplots(2)
    curves.noise_and_rate(history("dice_clean", "dice_noisy"), *axes)
    (shaded,) = axes[0].patches
    assert np.ptp(shaded.get_patch_transform().transform_path(shaded.get_path()).vertices[:, 0]) == 2
    plt.close(fig)


def test_rows_of_a_confusion_matrix_add_up_to_a_hundred(ax):
    curves.confusion_matrix(np.array([[3, 1, 0], [0, 5, 5], [0, 0, 0]]), ax)
    texts = [text.get_text() for text in ax.texts]
    assert texts == ["75.0 %", "25.0 %", "0.0 %", "0.0 %", "50.0 %", "50.0 %", "0.0 %", "0.0 %", "0.0 %"]


def test_a_heat_map_has_a_number_a_field_that_can_be_read_on_it(ax):
    curves.heat_map(np.array([[50, 60.04, 70], [80, 90, 99.96]]), ["a", "b"], [0, 1000, 2000], ax, (40, 115))
    assert [text.get_text() for text in ax.texts] == ["50.0", "60.0", "70.0", "80.0", "90.0", "100.0"]
    assert [text.get_position() for text in ax.texts[2:4]] == [(2, 0), (0, 1)]
    assert [text.get_color() for text in ax.texts] == 3 * ["black"] + 3 * ["white"]         # darker from 77.5 on
    assert ax.images[0].get_clim() == (40, 115)
    assert [[label.get_text() for label in labels] for labels in (ax.get_xticklabels(), ax.get_yticklabels())] == [
        ["0", "1000", "2000"], ["a", "b"]]


def test_a_line_goes_around_what_is_kept_and_nowhere_else(ax):
    curves.heat_map(np.zeros((2, 3)), ["a", "b"], ["c", "d", "e"], ax, (0, 1))
    before = ax.get_xlim(), ax.get_ylim()
    curves.tipping_line(np.array([[True, True, False], [False, True, False]]), ax)
    pieces = {tuple(sorted(zip(*line.get_data(), strict=True))) for line in ax.lines}
    corners = [(-0.5, -0.5), (0.5, -0.5), (1.5, -0.5), (1.5, 0.5), (1.5, 1.5), (0.5, 1.5), (0.5, 0.5), (-0.5, 0.5)]
    assert pieces == {tuple(sorted(pair)) for pair in zip(corners, corners[1:] + corners[:1], strict=True)}
    assert len(ax.lines) == 8 and (ax.get_xlim(), ax.get_ylim()) == before
    assert sorted(patch.get_xy() for patch in ax.patches) == [(-0.5, 0.5), (1.5, -0.5), (1.5, 0.5)]      # hatched
    assert all(patch.get_hatch() for patch in ax.patches)


def test_every_run_of_a_name_is_a_point_and_their_mean_a_bar(ax):
    curves.by_name({"a": [0.5, 0.7], "b": [0.9]}, ax, "some", shift=0.2)
    two, one = ax.lines
    assert two.get_ydata() == pytest.approx([50, 70]) and one.get_ydata() == pytest.approx([90])
    assert two.get_xdata() == pytest.approx([0.12, 0.28]) and one.get_xdata() == pytest.approx([1.2])
    bars = [bar.get_segments()[0] for bar in ax.collections]
    assert np.array(bars) == pytest.approx(np.array([[[0.04, 60], [0.36, 60]], [[1.04, 90], [1.36, 90]]]))
    assert [text.get_text() for text in ax.get_xticklabels()] == ["a", "b"]
    assert ax.get_legend_handles_labels()[1] == ["some"]                                    # once


def test_parts_of_a_slice_are_written_as_parts(ax):
    curves.dice_against_size([0.0625, 0.25, 1, 5], np.full((2, 4), 0.9), ax, "some")
    assert [text.get_text() for text in ax.get_xticklabels()] == ["1/16", "1/4", "1", "5"]


def test_dice_by_distance_is_averaged_in_bins_that_double(ax):
    distance, dice = np.array([1, 1, 2, 3, 9]), np.array([0.9, 0.7, 0.6, 0.4, 0.1])
    curves.dice_against_distance(distance, dice, ax, "some", "o-", "black")
    (line,) = ax.lines
    assert line.get_xdata() == pytest.approx([1, 2.5, 9]) and line.get_ydata() == pytest.approx([80, 50, 10])


def test_a_learning_curve_and_its_band(ax):
    sizes = [1, 4, 16, 64]
    dice = 1 - (0.01 + 0.02 / np.sqrt(sizes)) * np.array([[1], [1.01]])
    curves.error_fit(sizes, [dice, dice[::-1]], ax, "black")
    assert ax.lines[0].get_ydata()[-1] == pytest.approx(100 * dice.mean(0)[-1], abs=0.02)
