import numpy as np
import pytest

from xraylib.material.phases import chord_lengths, interface_area, label_agreement, volume_fractions

# 4 x 4 worked by hand: pore above, YSZ below on the left, nickel below on the right.
QUARTERS = np.array([[0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 2, 2], [1, 1, 2, 2]], np.uint8)
# One line: chords of 2 (touches), 3, 1 and 2 (touches) voxels.
LINE = np.array([[0, 0, 1, 1, 1, 0, 2, 2]], np.uint8)


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


def test_one_slice_of_a_stack_counts_as_a_picture():
    assert interface_area(QUARTERS[None]) == interface_area(QUARTERS)


def test_chords_by_hand():
    assert chord_lengths(LINE, 1).tolist() == [3]
    assert chord_lengths(LINE, 0).tolist() == [1]  # the run of 2 touches the border
    assert chord_lengths(LINE, 2).tolist() == []
    cube = np.zeros((5, 5, 5), np.uint8)
    cube[1:4, 1:4, 1:4] = 1
    assert chord_lengths(cube, 1).tolist() == [3] * 27


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
        (lambda: label_agreement(QUARTERS, [1]), "stack"),
        (lambda: label_agreement(QUARTERS[None], [1]), "lags"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
