"""What is read off a segmentation: by hand, and on shapes whose measures are known."""

import numpy as np
import pytest

from xraylib.material.phases import (
    chord_lengths,
    interface_area,
    label_agreement,
    majority,
    off,
    percolated_fraction,
    quantities,
    three_meet,
    triple_phase_boundary,
    triple_phase_edges,
    triple_points,
    volume_fractions,
)

# 4 x 4 worked by hand: pore above, YSZ below on the left, nickel below on the right.
QUARTERS = np.array([[0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 2, 2], [1, 1, 2, 2]], np.uint8)
# One line: chords of 2 (touches), 3, 1 and 2 (touches) voxels.
LINE = np.array([[0, 0, 1, 1, 1, 0, 2, 2]], np.uint8)
# 36 square columns of 4 x 4 voxels along z, phases (row + column) % 3: at each of the 5 x 5 corners between them all
# three meet, of 23 x 23 corners between voxels.
COLUMNS = np.tile(np.kron(np.add.outer(range(6), range(6)) % 3, np.ones((4, 4), int)).astype(np.uint8), (10, 1, 1))


def test_volume_fractions_by_hand():
    assert volume_fractions(QUARTERS).tolist() == [0.5, 0.25, 0.25]
    assert volume_fractions(np.zeros((2, 3, 4), np.uint8)).tolist() == [1, 0, 0]


def test_interface_area_by_hand():
    # Down: 12 steps, two of them 0|1 and two 0|2. Across: 12 steps, two of them 1|2. Area = 2 x mean share / um.
    area = interface_area(QUARTERS, voxel_nm=1000)
    assert area == pytest.approx({(0, 1): 2 / 12, (0, 2): 2 / 12, (1, 2): 2 / 12})
    assert interface_area(QUARTERS, voxel_nm=500)[0, 1] == pytest.approx(4 / 12)


def test_interface_area_of_a_sphere():
    z, y, x = np.indices((64, 64, 64)) - 31.5
    ball = (z**2 + y**2 + x**2 < 20**2).astype(np.uint8)
    # Each line that meets the disc pi r^2 crosses twice, so 2 P_L is 4 pi r^2 per volume: a sphere's true area.
    assert interface_area(ball, voxel_nm=1000)[0, 1] == pytest.approx(4 * np.pi * 20**2 / (64**2 * 63), rel=0.02)


def test_interface_area_of_slabs():
    slabs = np.repeat([0, 1, 2, 0], 3).astype(np.uint8)[:, None, None] * np.ones((1, 5, 5), np.uint8)
    # One interface of each kind in 11 steps along z, none along y and x: 2 P_L is 2 / 11, 0 and 0.
    assert interface_area(slabs, voxel_nm=1000) == pytest.approx(dict.fromkeys([(0, 1), (1, 2), (0, 2)], 2 / 11 / 3))
    assert triple_phase_boundary(slabs) == triple_phase_edges(slabs) == 0


def test_one_slice_of_a_stack_counts_as_a_picture():
    assert interface_area(QUARTERS[None]) == interface_area(QUARTERS)


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
    assert chord_lengths(ball, 1).mean() == pytest.approx(4 * 20 / 3, rel=0.01)      # 4 V / S (Cauchy)


def test_three_phases_meet_at_one_corner_of_the_quarters():
    assert np.argwhere(three_meet(QUARTERS)).tolist() == [[1, 1]] and three_meet(QUARTERS).shape == (3, 3)
    assert triple_points(QUARTERS) == triple_points(QUARTERS[None]) == [1 / 9]
    stack = np.stack([QUARTERS, QUARTERS])                          # z-y and z-x planes hold two phases at a corner
    assert triple_points(stack) == [0, 0, 1 / 9] and three_meet(stack, 0, 2).shape == (1, 4, 3)
    assert triple_phase_boundary(QUARTERS, voxel_nm=1000) == pytest.approx(2 / 9)
    assert triple_phase_boundary(stack, voxel_nm=1000) == pytest.approx(2 / 27)


@pytest.mark.parametrize("seed", range(5))
def test_grains_that_meet_at_equal_angles_make_one_triple_point(seed):
    down, right, turn = np.random.default_rng(seed).uniform(0, 1, 3)
    y, x = np.indices((20, 20)) - 10.0
    angle = (np.arctan2(y + down, x + right) + 2 * np.pi * turn) % (2 * np.pi)
    assert three_meet((3 * angle / (2 * np.pi)).astype(np.uint8)).sum() == 1      # wherever it lies, however turned


@pytest.mark.parametrize("axis", range(3))
def test_lines_along_an_axis_are_exact_along_edges_and_two_thirds_by_stereology(axis):
    columns = np.moveaxis(COLUMNS, 0, axis)
    assert triple_phase_edges(columns, voxel_nm=1000) == pytest.approx(25 / 23**2)
    assert triple_phase_boundary(columns, voxel_nm=1000) == pytest.approx(2 / 3 * 25 / 23**2)


def test_along_edges_a_line_is_longer_by_half():
    labels = np.random.default_rng(0).integers(0, 3, (5, 6, 7), np.uint8)
    assert triple_phase_edges(labels) == pytest.approx(1.5 * triple_phase_boundary(labels)) != 0


def test_the_triple_line_around_a_ball_half_way_in_a_plane():
    rng, radius, side, lengths = np.random.default_rng(0), 20, 56, []
    for normal in rng.normal(size=(20, 3)):
        place = np.stack(np.indices((side,) * 3), -1) - (side - 1) / 2 - rng.uniform(-0.5, 0.5, 3)
        labels = (place @ normal > 0).astype(np.uint8)
        labels[(place**2).sum(-1) < radius**2] = 2
        volume = side * (side - 1)**2                               # so many corners each kind of plane has
        lengths.append(triple_phase_boundary(labels, voxel_nm=1000) * volume)
    # 4 % too long: where a plane cuts ball and interface in a wedge below 90 degrees, one point makes 1 or 2 corners.
    assert np.mean(lengths) == pytest.approx(2 * np.pi * radius, rel=0.07)


def test_percolation_by_hand():
    labels = np.zeros((4, 5, 5), np.uint8)
    labels[:, 1, 1] = 1                                             # a channel of 4 voxels from end to end
    labels[:3, 3, 3], labels[1:, 1, 3] = 1, 1                       # two dead ends of 3, from either end
    assert [percolated_fraction(labels, 1, axis) for axis in range(3)] == [4 / 10, 0, 0]
    assert [percolated_fraction(labels, 0, axis) for axis in range(3)] == [1, 1, 1]
    assert np.isnan(percolated_fraction(labels, 2))
    assert percolated_fraction(np.eye(4, dtype=np.uint8), 1) == 0   # voxels that touch at an edge are apart
    assert percolated_fraction(np.array([[1, 0], [1, 1], [0, 1]]), 1) == 1


def test_a_smaller_voxel_raises_area_and_length():
    for measure in (triple_phase_boundary, triple_phase_edges):
        assert measure(COLUMNS, 250) == pytest.approx(16 * measure(COLUMNS, 1000)) != 0
    assert interface_area(COLUMNS, 250)[0, 2] == pytest.approx(4 * interface_area(COLUMNS, 1000)[0, 2]) != 0


def test_quantities_by_hand():
    found = quantities(np.vstack([LINE] * 3), voxel_nm=500)
    assert list(found) == [
        "pore, volume fraction", "YSZ, volume fraction", "nickel, volume fraction",
        "pore-YSZ interface, 1/µm", "pore-nickel interface, 1/µm", "YSZ-nickel interface, 1/µm",
        "triple-phase boundary, 1/µm²", "pore, mean chord, µm", "YSZ, mean chord, µm", "nickel, mean chord, µm",
        "pore, percolated fraction", "YSZ, percolated fraction", "nickel, percolated fraction"]
    # Along the line 2 of 7 steps are pore|YSZ, 1 pore|nickel; across none. Three phases reach from top to bottom only.
    assert list(found.values()) == pytest.approx(
        [3 / 8, 3 / 8, 2 / 8, 2 * 2 / 7 / 0.5 / 2, 2 * 1 / 7 / 0.5 / 2, 0, 0, 0.5, 1.5, np.nan, 0.5, 0.5, 0.5],
        nan_ok=True)
    assert quantities(QUARTERS, voxel_nm=500)["triple-phase boundary, 1/µm²"] == pytest.approx(2 / 9 * 4)


def test_how_far_a_quantity_is_off():
    found = off({"one": 126, "two": 30, "three": 5, "more": 1}, {"one": 100, "two": 40, "three": 0})
    assert found == pytest.approx({"one": 0.26, "two": -0.25, "three": np.nan}, nan_ok=True)


def test_the_majority_takes_specks_away_and_leaves_straight_interfaces():
    specks = COLUMNS.copy()
    specks[5, 1, 1], specks[2, 6, 6] = 1, 2                         # one voxel of 27 in columns of phase 0 and 2
    speckless = majority(specks)
    assert (speckless == COLUMNS)[:, 1:3, 1:3].all() and speckless.dtype == np.uint8
    stripes = np.repeat([0, 1, 2], [5, 1, 4]).astype(np.uint8) * np.ones((7, 1), np.uint8)
    # Beside the line of 1 px it has 3 of 9 pixels and loses to 6; on it each phase has 3, and the first of them wins.
    assert majority(stripes).tolist() == [[0] * 6 + [2] * 4] * 7
    assert majority(np.array([[0, 0, 0], [0, 0, 1], [2, 2, 2]]))[1, 1] == 0             # 5, 1 and 3 pixels
    # At the border the edge is repeated: in the corner 1 counts 4 times, 2 twice and 0 three times.
    assert majority(np.array([[1, 0, 0], [2, 0, 0], [2, 0, 0]]))[0, 0] == 1


def test_label_agreement_by_hand():
    stack = np.stack([QUARTERS, QUARTERS, np.zeros_like(QUARTERS)])
    assert label_agreement(stack, (0, 1, 2)) == {0: 1.0, 1: 0.75, 2: 0.5}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: volume_fractions(np.full((2, 2), 3, np.uint8)), "class 3"),
        (lambda: volume_fractions(np.zeros(4, np.uint8)), "shape"),
        (lambda: volume_fractions(np.zeros((4, 4))), "integer"),
        (lambda: interface_area(QUARTERS, voxel_nm=0), "voxel_nm"),
        (lambda: triple_phase_boundary(QUARTERS, voxel_nm=-1), "voxel_nm"),
        (lambda: triple_phase_edges(COLUMNS, voxel_nm=float("nan")), "voxel_nm"),
        (lambda: triple_phase_edges(QUARTERS), "stack"),
        (lambda: triple_phase_edges(QUARTERS[None]), "stack"),
        (lambda: triple_points(np.zeros((4, 4))), "integer"),
        (lambda: percolated_fraction(np.zeros(4, np.uint8), 0), "shape"),
        (lambda: label_agreement(QUARTERS, [1]), "stack"),
        (lambda: label_agreement(QUARTERS[None], [1]), "lags"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
