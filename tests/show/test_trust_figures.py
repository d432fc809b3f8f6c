"""Figures of what a segmentation is worth draw what they are given."""

import numpy as np
import pytest
from conftest import blobs
from matplotlib.colors import same_color

from xraylib.material.classical import METHODS, NETWORK, cut, gaussian
from xraylib.material.trust import Reliability
from xraylib.noise import add_noise
from xraylib.show import trust, views
from xraylib.show.plots import INK, OTHER_INK, mask_image

# Two bins: half of the pixels at confidence 0.6, of which 0.5 are right, half at 0.9 of which 0.8 are.
SURE = Reliability(np.array([0.6, 0.9]), np.array([0.5, 0.8]), np.array([0.5, 0.5]), 0.8, 0.6)
UNSURE = Reliability(np.array([0.4, 0.5]), np.array([0.4, 0.7]), np.array([0.25, 0.75]), 0.5, 0.4)


def row(method, *dice):
    return {"method": method, "noise_stds": [0, 5000], "dice": list(dice)}


def bars(container):
    """Ends of the bars of an errorbar, (points, 2)."""
    return np.array([segment[:, 1] for segment in container[2][0].get_segments()])


def test_a_line_a_method_is_the_mean_of_its_runs_and_its_bars_their_deviation(ax):
    trust.fall_with_noise([row(NETWORK, 0.9, 0.5), row("median + thresholds", 0.8, 0.7), row(NETWORK, 1, 0.7)], ax)
    median, network = ax.containers                                 # in the order of the methods, not of the rows
    assert [container.get_label() for container in ax.containers] == ["median + thresholds", NETWORK]
    assert network[0].get_xdata().tolist() == [0, 5] and network[0].get_ydata() == pytest.approx([95, 60])
    assert bars(network) == pytest.approx(np.array([[95 - 50**0.5, 95 + 50**0.5], [60 - 200**0.5, 60 + 200**0.5]]))
    assert median[0].get_ydata() == pytest.approx([80, 70]) and not median.has_yerr     # one run has no deviation
    assert same_color(network[0].get_color(), INK) and network[0].get_linestyle() == "-"


def test_another_set_of_runs_is_open_circles_without_a_name(ax):
    trust.fall_with_noise([row(NETWORK, 0.9, 0.5)], ax)
    trust.fall_with_noise([row(NETWORK, 0.8, 0.6)], ax, lines=False)
    circles = ax.containers[1][0]
    assert circles.get_linestyle() == "None" and circles.get_markerfacecolor() == "none"
    assert circles.get_ydata() == pytest.approx([80, 60]) and ax.get_legend_handles_labels()[1] == [NETWORK]


def test_every_method_has_a_look_of_its_own():
    assert set(trust.STYLES) == {*METHODS, NETWORK} and len(set(trust.STYLES.values())) == len(METHODS) + 1


def test_a_quantity_against_dice_has_a_point_a_run(ax):
    trust.against_dice({"median": [(90, -3), (91, -2)], f"{NETWORK}, clean": [(99, 0.5)]}, ax, "pore")
    median, network, zero = ax.lines
    assert median.get_xydata().tolist() == [[90, -3], [91, -2]] and network.get_xydata().tolist() == [[99, 0.5]]
    assert [line.get_label() for line in (median, network)] == ["median", f"{NETWORK}, clean"]
    assert median.get_marker() != network.get_marker() and median.get_linestyle() == "None"
    assert network.get_markerfacecolor() == "none" != median.get_markerfacecolor()
    assert list(zero.get_ydata()) == [0, 0] and ax.get_title() == "pore"


def test_a_reliability_diagram_has_a_diagonal_and_a_curve_a_name(ax):
    trust.reliability_diagram({"clean": SURE, "noisy": UNSURE}, ax)
    diagonal, sure, unsure = ax.lines
    assert diagonal.get_xydata() == pytest.approx(np.array([[1 / 3, 1 / 3], [1, 1]]))
    assert sure.get_xydata().tolist() == [[0.6, 0.5], [0.9, 0.8]]
    assert unsure.get_xydata().tolist() == [[0.4, 0.4], [0.5, 0.7]]
    # The errors: 0.1 in each half; 0 in a quarter and 0.2 in the rest.
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "as it should be", "clean: error 10.0 %", "noisy: error 15.0 %"]


def test_confidence_and_accuracy_against_noise(ax):
    trust.confidence_with_noise([0, 5000], [SURE, UNSURE], ax)
    confidence, accuracy = ax.lines
    assert confidence.get_xdata().tolist() == accuracy.get_xdata().tolist() == [0, 5]
    assert confidence.get_ydata() == pytest.approx([75, 47.5])      # (60 + 90) / 2; 40 / 4 + 3 / 4 of 50
    assert accuracy.get_ydata() == pytest.approx([65, 62.5])        # (50 + 80) / 2; 40 / 4 + 3 / 4 of 70
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["mean confidence", "pixels that are right"]
    corners = ax.collections[0].get_paths()[0].vertices             # what lies between them
    assert corners[:, 1].min() == 47.5 and corners[:, 1].max() == 75


def test_shares_are_pairs_of_bars_with_the_share_that_is_wrong_above(ax):
    trust.shares(np.array([[0.25, 0.75], [0.6, 0.4], [0.12, 0.0267]]), ["thin", "thick"], ax, "thickness")
    every, wrong = ax.containers
    assert [bar.get_height() for bar in every] == [25, 75] and [bar.get_height() for bar in wrong] == [60, 40]
    assert [bar.get_x() + bar.get_width() / 2 for bar in every] == pytest.approx([-0.2, 0.8])
    assert [bar.get_x() + bar.get_width() / 2 for bar in wrong] == pytest.approx([0.2, 1.2])
    assert same_color(wrong[0].get_facecolor(), OTHER_INK)
    assert [text.get_text() for text in ax.texts] == ["12.00 %\nwrong", "2.67 %\nwrong"]
    assert [text.get_position() for text in ax.texts] == [(0, 61), (1, 76)]             # above the higher one
    assert [text.get_text() for text in ax.get_xticklabels()] == ["thin", "thick"]
    assert ax.get_xlabel() == "thickness" and ax.get_ylim()[1] == 89
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["of all pixels", "of the wrong pixels"]


def test_dots_lie_on_the_corners_where_three_phases_meet(ax):
    labels = np.array([[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 2, 2]], np.uint8)
    trust.triple_picture(labels, ax, "one")
    (dots,) = ax.lines                                              # pixel centres are at whole numbers, row 2 and 3
    assert dots.get_xydata().tolist() == [[1.5, 2.5]] and dots.get_linestyle() == "None"
    assert np.array_equal(ax.images[0].get_array(), mask_image(labels)) and ax.get_title() == "one"


def test_the_sliders_segment_by_hand():
    slices = blobs(3, 40, 40)
    panel = trust.explore_thresholds(slices, seed=4)
    controls = {child.description: child for child in panel.children[0].children}
    # The phases are at about 21500, 35200 and 41500; half-way between them is 28350 and 38350.
    assert controls["pore below"].value == pytest.approx(28350, abs=60) and controls["pore below"].value % 100 == 0
    assert controls["nickel above"].value == pytest.approx(38350, abs=60)
    assert "none is wrong" in panel.children[1].children[1].value
    for name, value in (("slice", 2), ("added noise", 5000), ("Gaussian, 0.1 px", 15), ("pore below", 40000),
                        ("nickel above", 30000)):                   # the lower of the two is the one below
        controls[name].value = value
    smooth = gaussian(add_noise(slices.images[1], 5000, 4, 2), 1.5)
    assert views.numbers(slices.labels[1], cut(smooth, (30000, 40000))) in panel.children[1].children[1].value
