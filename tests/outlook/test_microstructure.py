"""Measures of a microstructure: by hand, and on shapes whose measures are known."""

import numpy as np
import pytest

from xraylib.errors import DataError, ParameterError
from xraylib.losses import IGNORE
from xraylib.outlook.microstructure import (
    are_neighbours,
    as_stack,
    interface_area,
    length_unit,
    triple_phase_boundaries,
    triple_phase_boundary,
    triple_point_map,
    volume_fractions,
    voxel_sides,
)

NM, UM = (18.4,) * 3, (1000,) * 3  # sizes of a voxel

# 4 x 4 pixels: pore above, YSZ below on the left, nickel below on the right.
QUARTERS = np.array([[0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 2, 2], [1, 1, 2, 2]], np.uint8)
# 36 square columns of 4 x 4 voxels along z, with the phases (row + column) % 3. All three phases
# meet at each of the 5 x 5 corners between columns, which are 25 of 23 x 23 corners between voxels.
COLUMNS = np.kron(np.add.outer(range(6), range(6)) % 3, np.ones((4, 4), int)).astype(np.uint8)
COLUMNS = np.tile(COLUMNS, (10, 1, 1))


def test_volume_fractions_by_hand():
    assert volume_fractions(QUARTERS, 3).tolist() == [0.5, 0.25, 0.25]
    assert volume_fractions(np.zeros((2, 3, 4), np.uint8), 3).tolist() == [1, 0, 0]
    assert volume_fractions(QUARTERS, n_classes=4).tolist() == [0.5, 0.25, 0.25, 0]


def test_interface_area_by_hand():
    # Down: 12 steps, two of them 0|1, two 0|2. Across: 12 steps, two of them 1|2.
    # Area = 2 x mean share per µm.
    area = interface_area(QUARTERS, UM, 3)
    assert area == pytest.approx({(0, 1): 2 / 12, (0, 2): 2 / 12, (1, 2): 2 / 12})
    assert interface_area(QUARTERS, None, 3) == area  # voxels of unknown size count as 1 px
    assert interface_area(QUARTERS, (500,) * 3, 3)[0, 1] == pytest.approx(4 / 12)
    # Rows 500 nm apart: twice as many steps down per µm. Across, nothing changes.
    flat = interface_area(QUARTERS, (1, 500, 1000), 3)
    assert flat == pytest.approx({(0, 1): 4 / 12, (0, 2): 4 / 12, (1, 2): 2 / 12})


@pytest.mark.parametrize("height", [1, 2, 3])
def test_interface_area_of_a_sphere_in_cubes_and_in_longer_voxels(height):
    """Each line through the disc pi r^2 crosses the sphere twice, so 2 P_L is its true area."""
    n = 66 // height
    z, y, x = np.indices((n, 64, 64)) - np.array([n - 1, 63, 63])[:, None, None, None] / 2
    ball = ((height * z)**2 + y**2 + x**2 < 20**2).astype(np.uint8)
    lines = np.array([64**2 * (n - 1) * height, 64 * 63 * n * height, 64 * 63 * n * height])
    area = interface_area(ball, (1000 * height, 1000, 1000), 2)[0, 1]
    assert area == pytest.approx(np.mean(4 * np.pi * 20**2 / lines), rel=0.02)
    assert volume_fractions(ball, 2)[1] == pytest.approx(
        4 / 3 * np.pi * 20**3 / (n * height * 64**2), rel=0.01)


def test_interface_area_of_slabs():
    layers = np.repeat([0, 1, 2, 0], 3).astype(np.uint8)
    slabs = layers[:, None, None] * np.ones((1, 5, 5), np.uint8)
    # One interface of each kind in 11 steps along z, none along y and x: 2 P_L is 2 / 11, 0 and 0.
    pairs = [(0, 1), (1, 2), (0, 2)]
    assert interface_area(slabs, UM, 3) == pytest.approx(dict.fromkeys(pairs, 2 / 11 / 3))
    assert triple_phase_boundary(slabs, UM) == 0
    # Slices that are not neighbours are measured one by one, and within them there is nothing.
    assert interface_area(slabs, UM, 3, neighbours=False) == dict.fromkeys(pairs, 0)


def test_a_stack_of_one_slice_counts_as_a_slice():
    assert interface_area(QUARTERS[None], NM, 3) == interface_area(QUARTERS, NM, 3)
    assert triple_phase_boundary(QUARTERS[None], NM) == triple_phase_boundary(QUARTERS, NM) != 0


def test_slices_that_are_not_neighbours_are_measured_one_by_one():
    labels = np.random.default_rng(0).integers(0, 3, (5, 6, 7), np.uint8)
    for apart, alone in (
            (triple_phase_boundary(labels, NM, neighbours=False),
             np.mean([triple_phase_boundary(each, NM) for each in labels])),
            (interface_area(labels, NM, 3, neighbours=False)[0, 2],
             np.mean([interface_area(each, NM, 3)[0, 2] for each in labels]))):
        assert apart == pytest.approx(alone) != 0


def test_interfaces_of_many_classes_are_counted_although_labels_are_bytes():
    labels = np.array([[19, 20, 19, 20]], np.uint8)
    areas = interface_area(labels, UM, n_classes=21)
    assert areas[19, 20] == 2 and sum(areas.values()) == 2


def test_which_slices_are_neighbours():
    assert are_neighbours([4, 5, 6]) and are_neighbours(np.array([0, 1]))
    assert not any(map(are_neighbours, ([1, 11, 21], [1, 2, 4], [2, 1], [7])))


def test_lengths_have_a_unit():
    assert (length_unit(NM), length_unit(None)) == ("µm", "px")
    assert voxel_sides((500, 20, 10)) == (0.5, 0.02, 0.01) and voxel_sides(None) == (1, 1, 1)


# -- triple-phase boundary -------------------------------------------------------------------------


def test_three_phases_meet_at_one_corner_of_the_quarters():
    assert np.argwhere(triple_point_map(QUARTERS)).tolist() == [[1, 1]]
    assert triple_point_map(QUARTERS).shape == (3, 3)
    stack = np.stack([QUARTERS, QUARTERS])
    assert triple_point_map(stack).shape == (2, 3, 3) and triple_point_map(stack).sum() == 2
    # Planes z-y and z-x hold two phases at a corner.
    for plane, shape in (((0, 1), (1, 3, 4)), ((0, 2), (1, 4, 3))):
        meet = triple_point_map(stack, plane)
        assert meet.shape == shape and not meet.any()
    assert triple_phase_boundary(QUARTERS, UM) == pytest.approx(2 / 9)
    assert triple_phase_boundary(stack, UM) == pytest.approx(2 / 27)
    assert triple_phase_boundary(stack, UM, neighbours=False) == pytest.approx(2 / 9)


def test_the_boundary_of_any_three_phases_of_a_material_with_more():
    labels = np.array([[3, 3, 1], [0, 2, 1], [0, 2, 2]], np.uint8)
    assert triple_point_map(labels, triple=(0, 2, 3)).tolist() == [[True, False], [False, False]]
    assert triple_point_map(labels, triple=(3, 2, 1)).tolist() == [[False, True], [False, False]]
    assert triple_point_map(labels).tolist() == [[True, True], [False, False]]
    assert not triple_point_map(labels, triple=(0, 1, 2)).any()
    assert triple_phase_boundary(labels, UM, (0, 2, 3)) == 2 / 4
    assert triple_phase_boundaries(labels, UM, [(0, 2, 3), (0, 1, 2), None]) == [2 / 4, 0, 4 / 4]
    assert triple_phase_boundaries(labels, UM, []) == []  # of two phases
    four = np.array([[0, 1], [2, 3]], np.uint8)
    assert triple_point_map(four, triple=(0, 1, 2)).all()  # a fourth phase may meet them, too
    assert triple_point_map(12 + four).all()  # of 16 phases


@pytest.mark.parametrize("seed", range(5))
def test_grains_that_meet_at_equal_angles_make_one_triple_point(seed):
    down, right, turn = np.random.default_rng(seed).uniform(0, 1, 3)
    y, x = np.indices((20, 20)) - 10.0
    angle = (np.arctan2(y + down, x + right) + 2 * np.pi * turn) % (2 * np.pi)
    assert triple_point_map((3 * angle / (2 * np.pi)).astype(np.uint8)).sum() == 1


@pytest.mark.parametrize("axis", range(3))
def test_lines_along_an_axis_count_two_thirds_by_stereology(axis):
    columns = np.moveaxis(COLUMNS, 0, axis)
    assert triple_phase_boundary(columns, UM) == pytest.approx(2 / 3 * 25 / 23**2)
    sides = np.array([1000, 500, 250])  # 2 and 4 times as many lines per µm
    across = np.delete(sides, axis) / 1000
    assert triple_phase_boundary(columns, tuple(sides)) == pytest.approx(
        2 / 3 * 25 / 23**2 / across.prod())


@pytest.mark.parametrize("height", [1, 2])
def test_the_triple_line_around_a_ball_half_way_in_a_plane(height):
    """A circle of known length in cubes, and in voxels twice as high as wide."""
    rng, radius, side, lengths = np.random.default_rng(0), 20, 56, []
    shape = np.array([side // height, side, side])
    for normal in rng.normal(size=(20, 3)):
        place = np.stack(np.indices(shape), -1) - (shape - 1) / 2 - rng.uniform(-0.5, 0.5, 3)
        place[..., 0] *= height
        labels = (place @ normal > 0).astype(np.uint8)
        labels[(place**2).sum(-1) < radius**2] = 2
        lengths.append(triple_phase_boundary(labels, (1000 * height, 1000, 1000)))
    # The result is 7 % too long, because a plane that cuts ball and interface in a wedge below 90
    # degrees has one or two corners for one point.
    volumes = np.array([(side - height) * (side - 1) * side] * 2 + [side * (side - 1)**2])
    true = 2 * np.pi * radius * np.mean(1 / volumes)  # the volumes have corners of each plane
    assert 1.03 * true < np.mean(lengths) < 1.09 * true


def test_a_smaller_voxel_raises_area_and_length():
    sizes = (250,) * 3, UM
    lengths = [triple_phase_boundary(COLUMNS, size) for size in sizes]
    areas = [interface_area(COLUMNS, size, 3)[0, 2] for size in sizes]
    assert lengths[0] == pytest.approx(16 * lengths[1]) != 0
    assert areas[0] == pytest.approx(4 * areas[1]) != 0


UNLABELLED = np.array([[0, 1, IGNORE, 2]] * 2, np.uint8)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: volume_fractions(np.full((2, 2), 3, np.uint8), 3), DataError, "class 3.*0 to 2"),
        (lambda: volume_fractions(np.zeros(4, np.uint8), 3), DataError, r"shape \(4,\)"),
        (lambda: volume_fractions(np.zeros((4, 4)), 3), DataError, "float64.*integer"),
        (lambda: volume_fractions(UNLABELLED, 3), DataError, "2 of 8 pixels have no label"),
        (lambda: as_stack(UNLABELLED), DataError, "2 of 8 pixels have no label"),
        (lambda: triple_phase_boundary(UNLABELLED, None), DataError, "2 of 8 pixels"),
        (lambda: triple_point_map(np.full((2, 2), 16, np.uint8)), DataError, "class 16"),
        (lambda: interface_area(np.full((2, 2), 3, np.uint8), NM, 3), DataError, "class 3"),
        (lambda: interface_area(QUARTERS, (0, 1, 1), 3), ParameterError, r"voxel_nm is \(0, 1, 1"),
        (lambda: interface_area(QUARTERS, 18.4, 3), ParameterError, "voxel_nm is 18.4; give three"),
        (lambda: triple_phase_boundary(QUARTERS, (1, -1, 1)), ParameterError, "voxel_nm is"),
        (lambda: voxel_sides((1, np.nan, 1)), ParameterError, "positive"),
        (lambda: triple_phase_boundary(QUARTERS, UM, (0, 1, 1)), ParameterError, "three different"),
        (lambda: triple_phase_boundary(QUARTERS, UM, (0, 1)), ParameterError, "three different"),
        (lambda: triple_phase_boundary(QUARTERS[:1], UM), DataError, "two voxels along two axes"),
    ],
)
def test_wrong_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
