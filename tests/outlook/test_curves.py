"""Figures of notebooks 5 to 10 draw what they are given."""

from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.colors import same_color

from xraylib.data import NI_YSZ, Phases
from xraylib.figures import INK, OTHER_INK, mask_image
from xraylib.outlook import curves
from xraylib.outlook.calibration import Reliability
from xraylib.outlook.classical import METHODS, NETWORK
from xraylib.outlook.curves import smallest_reaching

# Two bins. Half of the pixels have confidence 0.6, of which 0.5 are right, half 0.9 and 0.8.
SURE = Reliability(np.array([0.6, 0.9]), np.array([0.5, 0.8]), np.array([0.5, 0.5]), 0.8, 0.6)
UNSURE = Reliability(np.array([0.4, 0.5]), np.array([0.4, 0.7]), np.array([0.25, 0.75]), 0.5, 0.4)


def row(method, *dice):
    return {"method": method, "noise_stds": [0, 5000], "dice": list(dice)}


def bars(container):
    """Ends of the bars of an errorbar, (points, 2)."""
    return np.array([segment[:, 1] for segment in container[2][0].get_segments()])


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


# -- Dice of groups of runs ------------------------------------------------------------------------


def test_every_run_of_a_group_is_a_point_and_their_mean_a_bar(ax):
    curves.dice_by_group({"a": [0.5, 0.7], "b": [0.9]}, ax, "some", shift=0.2)
    two, one = ax.lines
    assert two.get_ydata() == pytest.approx([50, 70]) and one.get_ydata() == pytest.approx([90])
    assert two.get_xdata() == pytest.approx([0.12, 0.28]) and one.get_xdata() == pytest.approx(1.2)
    means = np.array([bar.get_segments()[0] for bar in ax.collections])
    expected = [[[0.04, 60], [0.36, 60]], [[1.04, 90], [1.36, 90]]]
    assert means == pytest.approx(np.array(expected))
    assert [text.get_text() for text in ax.get_xticklabels()] == ["a", "b"]
    assert ax.get_legend_handles_labels()[1] == ["some"]           # once


def test_the_line_of_a_method_is_the_mean_of_its_runs_and_its_bars_their_deviation(ax):
    rows = [row(NETWORK, 0.9, 0.5), row("median + thresholds", 0.8, 0.7), row(NETWORK, 1, 0.7)]
    curves.dice_against_noise(rows, ax)
    median, network = ax.containers                                # in the order of the methods
    assert [each.get_label() for each in ax.containers] == ["median + thresholds", NETWORK]
    assert network[0].get_xdata().tolist() == [0, 5]
    assert network[0].get_ydata() == pytest.approx([95, 60])
    ends = [[95 - 50**0.5, 95 + 50**0.5], [60 - 200**0.5, 60 + 200**0.5]]
    assert bars(network) == pytest.approx(np.array(ends))
    assert median[0].get_ydata() == pytest.approx([80, 70]) and not median.has_yerr     # one run
    assert same_color(network[0].get_color(), INK) and network[0].get_linestyle() == "-"


def test_every_method_has_a_style_of_its_own():
    assert list(curves.METHOD_STYLES) == [*METHODS, NETWORK]
    assert len(set(curves.METHOD_STYLES.values())) == len(METHODS) + 1


def test_the_smallest_set_that_reaches_a_target_lies_between_those_that_were_tried():
    """Half-way up between n = 1 and n = 4 is n = 2 on a logarithmic axis; the mean counts."""
    dice = np.array([[0.5, 0.7, 0.9], [0.7, 0.9, 0.9]])
    assert smallest_reaching([1, 4, 16], dice, 0.7) == pytest.approx(2)
    assert smallest_reaching([1, 4, 16], dice, 0.6) == smallest_reaching([1, 4, 16], dice, 0.1) == 1
    assert smallest_reaching([1, 4, 16], dice, 0.91) == float("inf")
    falling = np.array([[0.9, 0.7, 0.8]])
    assert smallest_reaching([1, 4, 16], falling, 0.85) == 1       # the first that reaches it


def test_dice_by_distance_is_averaged_in_bins_that_double(ax):
    distance, dice = np.array([1, 1, 2, 3, 9]), np.array([0.9, 0.7, 0.6, 0.4, 0.1])
    curves.dice_against_distance(distance, dice, ax, "some", "o-", "black")
    (line,) = ax.lines
    assert line.get_xdata() == pytest.approx([1, 2.5, 9])
    assert line.get_ydata() == pytest.approx([80, 50, 10])
    assert [text.get_text() for text in ax.get_xticklabels()] == ["1", "2", "4", "8"]


def test_a_heat_map_has_a_readable_number_in_every_field(ax):
    values = np.array([[50, 60.04, 70], [80, 90, 99.96]])
    bold = values > 85
    curves.heat_map(values, ["a", "b"], [0, 1000, 2000], ax, (40, 100), bold)
    numbers = ["50.0", "60.0", "70.0", "80.0", "90.0", "100.0"]
    assert [text.get_text() for text in ax.texts] == numbers
    assert [text.get_position() for text in ax.texts[2:4]] == [(2, 0), (0, 1)]
    assert [text.get_weight() for text in ax.texts] == 4 * ["normal"] + 2 * ["bold"]
    assert [text.get_color() for text in ax.texts] == 4 * ["0.4"] + 2 * ["black"]
    assert ax.images[0].get_clim() == (40, 220)  # 100 is a third of the way from white to black
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0", "1000", "2000"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]


# -- errors and confidence -------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 5])
def test_a_reliability_diagram_has_a_diagonal_and_a_curve_per_name(ax, n):
    curves.reliability_diagram({"clean": SURE, "noisy": UNSURE}, n, ax, 200)
    diagonal, sure, unsure = ax.lines
    assert diagonal.get_xydata() == pytest.approx(np.array([[100 / n, 100 / n], [100, 100]]))
    assert sure.get_xydata() == pytest.approx(np.array([[60, 50], [90, 80]]))
    assert unsure.get_xydata() == pytest.approx(np.array([[50, 70]]))  # the other has 50 pixels
    # The errors: 0.1 in each half; 0 in a quarter and 0.2 in the rest.
    assert legend(ax) == ["ideal", "clean: error 10.0 %", "noisy: error 15.0 %"]


def test_confidence_and_accuracy_against_noise(ax):
    curves.confidence_against_noise([0, 5000], [SURE, UNSURE], ax)
    confidence, accuracy = ax.lines
    assert confidence.get_xdata().tolist() == accuracy.get_xdata().tolist() == [0, 5]
    assert confidence.get_ydata() == pytest.approx([75, 47.5])     # 40 / 4 + 3 / 4 of 50
    assert accuracy.get_ydata() == pytest.approx([65, 62.5])       # 40 / 4 + 3 / 4 of 70
    assert legend(ax) == ["mean confidence", "correct pixels"]
    corners = ax.collections[0].get_paths()[0].vertices            # what lies between them
    assert corners[:, 1].min() == 47.5 and corners[:, 1].max() == 75


def test_bars_are_the_share_of_a_bin_that_is_wrong_with_its_share_of_all_errors_above(ax):
    shares = np.array([[0.25, 0.75, 0], [0.6, 0.4, 0], [0.12, 0.0267, np.nan]])
    curves.error_shares(shares, ["thin", "thick", "huge"], ax, "thickness")
    (wrong,) = ax.containers
    assert [bar.get_height() for bar in wrong] == pytest.approx([12, 2.67, 0])
    assert [bar.get_x() + bar.get_width() / 2 for bar in wrong] == pytest.approx([0, 1, 2])
    assert same_color(wrong[0].get_facecolor(), OTHER_INK)
    assert [text.get_text() for text in ax.texts] == ["60 %", "40 %", "no pixel"]
    assert np.array([text.xy for text in ax.texts]).T[1] == pytest.approx([12, 2.67, 0])
    assert [text.get_text() for text in ax.get_xticklabels()] == ["thin", "thick", "huge"]
    assert ax.get_xlabel() == "thickness" and ax.get_ylim()[1] > 13


def test_dots_lie_on_the_corners_where_three_phases_meet(ax):
    labels = np.array([[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 2, 2]], np.uint8)
    curves.show_triple_points(labels, NI_YSZ, ax, "one")
    (dots,) = ax.lines                                  # pixel centres are at integers
    assert dots.get_xydata().tolist() == [[1.5, 2.5]] and dots.get_linestyle() == "None"
    assert np.array_equal(ax.images[0].get_array(), mask_image(labels, NI_YSZ))
    assert ax.get_title() == "one"


def test_any_three_of_four_phases_meet_and_two_never_do(ax):
    four = Phases(("a", "b", "c", "d"), (0, 1, 2, 3), (*NI_YSZ.colours, "#cc79a7"))
    labels = np.array([[0, 0, 3, 3], [1, 1, 1, 2], [1, 1, 1, 2]], np.uint8)
    curves.show_triple_points(labels, four, ax, "")
    assert ax.lines[0].get_xydata().tolist() == [[1.5, 0.5], [2.5, 0.5]]
    two = Phases(("a", "b"), (0, 1), NI_YSZ.colours[:2])
    curves.show_triple_points(labels % 2, two, ax, "")
    assert not len(ax.lines[1].get_xydata())


# -- volumes without labels ------------------------------------------------------------------------


def inspection(consistency):
    """What the figures use of an inspection: 3 slices, of which the last has no indicator."""
    values = {name: np.array([0.1, 0.2, np.nan]) for name in curves.INDICATORS}
    values["consistency"] = np.array(consistency)
    return SimpleNamespace(numbers=np.array([4, 5, 9]), indicators=values, phases=NI_YSZ,
                           fractions=np.array([[0.2, 0.3, 0.5]] * 3))


def test_slices_with_an_alarm_are_purple_and_the_band_is_that_of_the_reference(ax):
    reference, volume = inspection([0.8, 0.9, np.nan]), inspection([0.85, 0.5, np.nan])
    curves.indicator_along_z(reference, volume, "consistency", ax)
    normal, alarm = ax.lines
    assert normal.get_xdata().tolist() == [4, 9]
    assert alarm.get_xydata().tolist() == [[5, 50]] and same_color(alarm.get_color(), OTHER_INK)
    assert legend(ax) == ["normal", "no alarm", "alarm"]
    (band,) = ax.patches
    corners = band.get_patch_transform().transform_path(band.get_path()).vertices
    low, high = 85 - 4 * 5, 85 + 4 * 5
    assert [corners[:, 1].min(), corners[:, 1].max()] == pytest.approx([low, high])
    assert ax.get_title() == "consistency (low is bad)" and ax.get_ylabel() == "consistency, %"
    curves.indicator_along_z(reference, volume, "shift", ax)
    assert ax.lines[-2].get_ydata()[0] == 0.1 and ax.get_ylabel() == "shift, standard deviations"


def test_fractions_have_the_colour_and_a_marker_of_their_phase(ax):
    volume = inspection([1, 1, 1])
    curves.fractions_along_z(volume, volume, ax)
    assert [line.get_ydata()[0] for line in ax.lines[::2]] == pytest.approx([20, 30, 50])
    assert all(same_color(line.get_color(), colour)
               for line, colour in zip(ax.lines[::2], NI_YSZ.colours, strict=True))
    assert len({line.get_marker() for line in ax.lines[::2]}) == 3
    assert legend(ax) == list(NI_YSZ.names)


def test_quantiles_become_a_histogram_whose_area_is_one(ax):
    curves.grey_quantile_histograms({"a": np.linspace(100, 200, 1001),
                                     "b": np.linspace(300, 900, 1001)}, ax)
    for patch in ax.patches:
        values, edges, _ = patch.get_data()
        assert (values * np.diff(edges)).sum() == pytest.approx(1, abs=0.01)
    assert legend(ax) == ["a", "b"]
