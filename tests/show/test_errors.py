"""Figures of errors: the worst place, and frames around wrong pixels."""

import numpy as np
import pytest
from conftest import blobs

from xraylib.show.errors import errors, side_by_side, worst_place, zoom


def test_the_worst_place_holds_the_most_wrong_pixels():
    wrong = np.zeros((100, 90), bool)
    wrong[70:75, 60:66] = True
    wrong[5, 5] = True
    rows, columns = worst_place(wrong, side=16)
    assert (rows.stop - rows.start, columns.stop - columns.start) == (16, 16)
    assert wrong[rows, columns].sum() == 30
    assert worst_place(wrong[:10, :12], side=48) == (slice(0, 10), slice(0, 10))       # a slice smaller than the square


def test_it_prefers_a_place_with_every_phase_where_that_is_asked_for():
    truth = np.ones((60, 60), np.uint8)
    truth[40:, :10], truth[40:, 10:20] = 0, 2
    wrong = np.zeros((60, 60), bool)
    wrong[:20, 40:], wrong[50, 5] = True, True
    rows, columns = worst_place(wrong, truth, side=20)
    assert {0, 1, 2} <= set(np.unique(truth[rows, columns])) or {0, 2} <= set(np.unique(truth[rows, columns]))
    assert not wrong[rows, columns].sum() > 20 and wrong[worst_place(wrong, side=20)].sum() == 400


@pytest.mark.parametrize(("wrong", "lines"), [([[1]], 4), ([[1, 1]], 6), ([[1, 0, 1]], 8), ([[0, 0]], 0)])
def test_wrong_pixels_are_framed_along_their_outline(ax, wrong, lines):
    wrong = np.array(wrong, bool)
    zoom(np.zeros(wrong.shape, np.uint8), wrong, ax, "", "safe")
    assert sum(len(collection.get_segments()) for collection in ax.collections) == lines


def test_errors_are_a_row_a_slice_and_say_how_many_pixels_are_wrong():
    slices = blobs(2, 60, 60)
    predicted = np.stack(slices.labels)
    predicted[1, :6] = (predicted[1, :6] + 1) % 3
    fig = errors(slices, predicted, ["one", "two"])
    titles = [ax.get_title() for ax in fig.axes]
    assert titles[1] == "misclassified: 0.00 %" and titles[6] == "misclassified: 10.00 %"
    fig.canvas.draw()


def test_networks_side_by_side():
    (image,), (truth,) = blobs(1, 60, 60).images, blobs(1, 60, 60).labels
    fig = side_by_side(image, truth, [truth, 2 - truth], ["right", "wrong"])
    titles = [ax.get_title() for ax in fig.axes]
    assert titles[1] == "right:\n0.00 % wrong" and f"{100 * (truth != 2 - truth).mean():.2f} % wrong" in titles[2]
    fig.canvas.draw()
