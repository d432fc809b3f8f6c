"""Measures of a microstructure: by hand, and on shapes whose measures are known."""

import numpy as np
import pytest

from xraylib.data import Phases
from xraylib.errors import DataError, ParameterError
from xraylib.outlook.microstructure import (
    chord_lengths,
    interface_area,
    measure_quantities,
    percolated_fraction,
    relative_error,
    triple_phase_boundary,
    triple_phase_edge_length,
    triple_point_density,
    triple_point_map,
    volume_fractions,
)

# 4 x 4 pixels: pore above, YSZ below on the left, nickel below on the right.
QUARTERS = np.array([[0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 2, 2], [1, 1, 2, 2]], np.uint8)
# One line: chords of 2 (touches the border), 3, 1 and 2 (touches the border) voxels.
LINE = np.array([[0, 0, 1, 1, 1, 0, 2, 2]], np.uint8)
# 36 square columns of 4 x 4 voxels along z, with the phases (row + column) % 3. All three phases
# meet at each of the 5 x 5 corners between columns, which are 25 of 23 x 23 corners between voxels.
COLUMNS = np.kron(np.add.outer(range(6), range(6)) % 3, np.ones((4, 4), int)).astype(np.uint8)
COLUMNS = np.tile(COLUMNS, (10, 1, 1))
FOUR = Phases(("a", "b", "c", "d"), (0, 1, 2, 3), ("#000000", "#444444", "#888888", "#cccccc"))


def test_volume_fractions_by_hand():
    assert volume_fractions(QUARTERS).tolist() == [0.5, 0.25, 0.25]
    assert volume_fractions(np.zeros((2, 3, 4), np.uint8)).tolist() == [1, 0, 0]
    assert volume_fractions(QUARTERS, n_classes=4).tolist() == [0.5, 0.25, 0.25, 0]


def test_interface_area_by_hand():
    # Down: 12 steps, two of them 0|1, two 0|2. Across: 12 steps, two of them 1|2.
    # Area = 2 x mean share per µm.
    area = interface_area(QUARTERS, voxel_nm=1000)
    assert area == pytest.approx({(0, 1): 2 / 12, (0, 2): 2 / 12, (1, 2): 2 / 12})
    assert interface_area(QUARTERS, voxel_nm=500)[0, 1] == pytest.approx(4 / 12)


def test_interface_area_of_a_sphere():
    z, y, x = np.indices((64, 64, 64)) - 31.5
    ball = (z**2 + y**2 + x**2 < 20**2).astype(np.uint8)
    # Each line through the disc pi r^2 crosses the sphere twice: 2 P_L is its true area per volume.
    true = 4 * np.pi * 20**2 / (64**2 * 63)
    assert interface_area(ball, voxel_nm=1000)[0, 1] == pytest.approx(true, rel=0.02)


def test_interface_area_of_slabs():
    layers = np.repeat([0, 1, 2, 0], 3).astype(np.uint8)
    slabs = layers[:, None, None] * np.ones((1, 5, 5), np.uint8)
    # One interface of each kind in 11 steps along z, none along y and x: 2 P_L is 2 / 11, 0 and 0.
    pairs = [(0, 1), (1, 2), (0, 2)]
    assert interface_area(slabs, 1000) == pytest.approx(dict.fromkeys(pairs, 2 / 11 / 3))
    assert triple_phase_boundary(slabs, 1000) == triple_phase_edge_length(slabs, 1000) == 0


def test_a_stack_of_one_slice_counts_as_a_slice():
    assert interface_area(QUARTERS[None], 18.4) == interface_area(QUARTERS, 18.4)


def test_interfaces_of_many_classes_are_counted_although_labels_are_bytes():
    labels = np.array([[19, 20, 19, 20]], np.uint8)
    areas = interface_area(labels, 1000, n_classes=21)
    assert areas[19, 20] == 2 and sum(areas.values()) == 2


def test_chords_by_hand():
    assert chord_lengths(LINE, 1).tolist() == [3]
    assert chord_lengths(LINE, 0).tolist() == [1]  # the run of 2 touches the border
    assert chord_lengths(LINE, 2).tolist() == []
    cube = np.zeros((5, 5, 5), np.uint8)
    cube[1:4, 1:4, 1:4] = 1
    assert chord_lengths(cube, 1).tolist() == [3] * 27


def test_the_mean_chord_of_a_ball():
    z, y, x = np.indices((44, 44, 44)) - np.array([21.4, 21.2, 21.7])[:, None, None, None]
    ball = (z**2 + y**2 + x**2 < 20**2).astype(np.uint8)
    assert chord_lengths(ball, 1).mean() == pytest.approx(4 * 20 / 3, rel=0.01)  # 4 V / S (Cauchy)


# -- triple-phase boundary -------------------------------------------------------------------------


def test_three_phases_meet_at_one_corner_of_the_quarters():
    assert np.argwhere(triple_point_map(QUARTERS)).tolist() == [[1, 1]]
    assert triple_point_map(QUARTERS).shape == (3, 3)
    assert triple_point_density(QUARTERS) == triple_point_density(QUARTERS[None]) == [1 / 9]
    stack = np.stack([QUARTERS, QUARTERS])  # planes z-y and z-x hold two phases at a corner
    assert triple_point_density(stack) == [0, 0, 1 / 9]
    assert triple_point_map(stack, (0, 2)).shape == (1, 4, 3)
    assert triple_phase_boundary(QUARTERS, voxel_nm=1000) == pytest.approx(2 / 9)
    assert triple_phase_boundary(stack, voxel_nm=1000) == pytest.approx(2 / 27)


def test_the_boundary_of_any_three_phases_of_a_material_with_more():
    labels = np.array([[3, 3, 1], [0, 2, 1], [0, 2, 2]], np.uint8)
    assert triple_point_map(labels, phases=(0, 2, 3)).tolist() == [[True, False], [False, False]]
    assert triple_point_map(labels, phases=(3, 2, 1)).tolist() == [[False, True], [False, False]]
    assert not triple_point_map(labels).any()
    assert triple_phase_boundary(labels, 1000, (0, 2, 3)) == 2 / 4
    assert triple_point_map(np.array([[0, 1], [2, 3]])).all()  # a fourth phase may meet them, too


@pytest.mark.parametrize("seed", range(5))
def test_grains_that_meet_at_equal_angles_make_one_triple_point(seed):
    down, right, turn = np.random.default_rng(seed).uniform(0, 1, 3)
    y, x = np.indices((20, 20)) - 10.0
    angle = (np.arctan2(y + down, x + right) + 2 * np.pi * turn) % (2 * np.pi)
    assert triple_point_map((3 * angle / (2 * np.pi)).astype(np.uint8)).sum() == 1


@pytest.mark.parametrize("axis", range(3))
def test_lines_along_an_axis_are_exact_along_edges_and_two_thirds_by_stereology(axis):
    columns = np.moveaxis(COLUMNS, 0, axis)
    assert triple_phase_edge_length(columns, voxel_nm=1000) == pytest.approx(25 / 23**2)
    assert triple_phase_boundary(columns, voxel_nm=1000) == pytest.approx(2 / 3 * 25 / 23**2)


def test_along_edges_a_line_is_longer_by_half():
    labels = np.random.default_rng(0).integers(0, 3, (5, 6, 7), np.uint8)
    length = triple_phase_boundary(labels, 18.4)
    assert triple_phase_edge_length(labels, 18.4) == pytest.approx(1.5 * length) != 0


def test_the_triple_line_around_a_ball_half_way_in_a_plane():
    rng, radius, side, lengths = np.random.default_rng(0), 20, 56, []
    for normal in rng.normal(size=(20, 3)):
        place = np.stack(np.indices((side,) * 3), -1) - (side - 1) / 2 - rng.uniform(-0.5, 0.5, 3)
        labels = (place @ normal > 0).astype(np.uint8)
        labels[(place**2).sum(-1) < radius**2] = 2
        n_corners = side * (side - 1)**2  # of each kind of plane
        lengths.append(triple_phase_boundary(labels, voxel_nm=1000) * n_corners)
    # The result is 4 % too long, because a plane that cuts ball and interface in a wedge below 90
    # degrees has one or two corners for one point.
    assert np.mean(lengths) == pytest.approx(2 * np.pi * radius, rel=0.07)


# -- percolation and all quantities ----------------------------------------------------------------


def test_percolation_by_hand():
    labels = np.zeros((4, 5, 5), np.uint8)
    labels[:, 1, 1] = 1  # a channel of 4 voxels from end to end
    labels[:3, 3, 3], labels[1:, 1, 3] = 1, 1  # two dead ends of 3 voxels, one from either end
    assert [percolated_fraction(labels, 1, axis) for axis in range(3)] == [4 / 10, 0, 0]
    assert [percolated_fraction(labels, 0, axis) for axis in range(3)] == [1, 1, 1]
    assert np.isnan(percolated_fraction(labels, 2))
    assert percolated_fraction(np.eye(4, dtype=np.uint8), 1) == 0  # an edge does not connect voxels
    assert percolated_fraction(np.array([[1, 0], [1, 1], [0, 1]]), 1) == 1


def test_a_smaller_voxel_raises_area_and_length():
    for measure in (triple_phase_boundary, triple_phase_edge_length):
        assert measure(COLUMNS, 250) == pytest.approx(16 * measure(COLUMNS, 1000)) != 0
    areas = [interface_area(COLUMNS, voxel_nm)[0, 2] for voxel_nm in (250, 1000)]
    assert areas[0] == pytest.approx(4 * areas[1]) != 0


def test_quantities_by_hand():
    found = measure_quantities(np.vstack([LINE] * 3), voxel_nm=500)
    assert list(found) == [
        "pore, volume fraction", "YSZ, volume fraction", "nickel, volume fraction",
        "pore-YSZ interface, 1/µm", "pore-nickel interface, 1/µm", "YSZ-nickel interface, 1/µm",
        "triple-phase boundary, 1/µm²",
        "pore, mean chord, µm", "YSZ, mean chord, µm", "nickel, mean chord, µm",
        "pore, percolated fraction", "YSZ, percolated fraction", "nickel, percolated fraction"]
    # Along the line 2 of 7 steps are pore|YSZ and 1 is pore|nickel; across there are none. All
    # three phases reach from top to bottom, and none from left to right.
    assert list(found.values()) == pytest.approx(
        [3 / 8, 3 / 8, 2 / 8, 2 * 2 / 7 / 0.5 / 2, 2 * 1 / 7 / 0.5 / 2, 0, 0, 0.5, 1.5, np.nan,
         0.5, 0.5, 0.5], nan_ok=True)
    quarters = measure_quantities(QUARTERS, voxel_nm=500)
    assert quarters["triple-phase boundary, 1/µm²"] == pytest.approx(2 / 9 * 4)


def test_quantities_of_two_and_of_four_phases():
    labels = np.array([[3, 3, 1], [0, 2, 1], [0, 2, 2]], np.uint8)
    found = measure_quantities(labels, 1000, FOUR)
    assert sum(found[f"{name}, volume fraction"] for name in "abcd") == pytest.approx(1)
    assert found["a-c-d triple-phase boundary, 1/µm²"] == 2 / 4
    assert found["a-b-c triple-phase boundary, 1/µm²"] == 0
    assert sum("interface" in name for name in found) == 6
    two = Phases(FOUR.names[:2], FOUR.values[:2], FOUR.colours[:2])
    found = measure_quantities(np.eye(4, dtype=np.uint8), 1000, two)
    assert found["a-b interface, 1/µm"] > 0 and not any("triple" in name for name in found)


def test_relative_errors():
    found = relative_error({"one": 126, "two": 30, "three": 5, "more": 1},
                           {"one": 100, "two": 40, "three": 0})
    assert found == pytest.approx({"one": 0.26, "two": -0.25, "three": np.nan}, nan_ok=True)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: volume_fractions(np.full((2, 2), 3, np.uint8)), DataError, "class 3.*0 to 2"),
        (lambda: volume_fractions(np.zeros(4, np.uint8)), DataError, r"shape \(4,\)"),
        (lambda: volume_fractions(np.zeros((4, 4))), DataError, "float64.*integer"),
        (lambda: interface_area(np.full((2, 2), 3, np.uint8), 18.4), DataError, "class 3"),
        (lambda: interface_area(QUARTERS, 0), ParameterError, "voxel_nm is 0"),
        (lambda: interface_area(QUARTERS, None), ParameterError, "voxel_nm is None"),
        (lambda: triple_phase_boundary(QUARTERS, -1), ParameterError, "voxel_nm is -1"),
        (lambda: triple_phase_boundary(QUARTERS, 1, (0, 1, 1)), ParameterError, "three different"),
        (lambda: triple_phase_boundary(QUARTERS, 1, (0, 1)), ParameterError, "three different"),
        (lambda: triple_phase_edge_length(COLUMNS, np.nan), ParameterError, "voxel_nm is nan"),
        (lambda: triple_phase_edge_length(QUARTERS, 1), DataError, "stack"),
        (lambda: triple_phase_edge_length(QUARTERS[None], 1), DataError, "stack"),
        (lambda: triple_point_density(np.zeros((4, 4))), DataError, "integer"),
        (lambda: percolated_fraction(np.zeros(4, np.uint8), 0), DataError, "shape"),
    ],
)
def test_wrong_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
