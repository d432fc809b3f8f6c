"""Chords, percolation and tortuosity: by hand, and on shapes whose measures are known."""

import numpy as np
import pytest
from taufactor import Solver

from xraylib.errors import DataError
from xraylib.outlook.paths import chord_counts, mean_chord, percolated_fractions, tortuosity

UM = (1000,) * 3
# One line: chords of 2 (touches the border), 3, 1 and 2 (touches the border) voxels.
LINE = np.array([[0, 0, 1, 1, 1, 0, 2, 2]], np.uint8)


def test_chords_by_hand():
    for phase, expected in enumerate(([0, 1], [0, 0, 0, 1], [])):
        z, y, x = chord_counts(LINE, phase)
        assert (z.sum(), y.sum(), len(x)) == (0, 0, 9)
        assert x.tolist() == expected + [0] * (9 - len(expected))
    cube = np.zeros((5, 6, 7), np.uint8)
    cube[1:4, 1:5, 1:6] = 1
    counts = chord_counts(cube, 1)
    assert [each.argmax() for each in counts] == [3, 4, 5]
    assert [each.sum() for each in counts] == [4 * 5, 3 * 5, 3 * 4]
    assert [each.sum() for each in chord_counts(cube, 1, neighbours=False)] == [0, 3 * 5, 3 * 4]


def test_mean_chords_by_hand():
    assert mean_chord(chord_counts(LINE, 1), (500,) * 3) == 1.5
    assert mean_chord(chord_counts(LINE, 0), None) == 1
    assert np.isnan(mean_chord(chord_counts(LINE, 2), UM))
    box = np.zeros((5, 6, 7), np.uint8)
    box[1:4, 1:5, 1:6] = 1
    # Chords of 3 x 2, 4 and 5 µm, on as many lines per area: the box is 60 x 2 µm³, its faces are
    # 20, 30 and 24 µm². All lines together are 3 volumes long, and have one chord per face area.
    assert mean_chord(chord_counts(box, 1), (2000, 1000, 1000)) == pytest.approx(
        3 * 120 / (20 + 30 + 24))


@pytest.mark.parametrize("height", [1, 2])
def test_the_mean_chord_of_a_ball(height):
    place = np.indices((44 // height, 44, 44))
    z, y, x = place - np.array([21.4 / height, 21.2, 21.7])[:, None, None, None]
    ball = ((height * z)**2 + y**2 + x**2 < 20**2).astype(np.uint8)
    found = mean_chord(chord_counts(ball, 1), (1000 * height, 1000, 1000))
    assert found == pytest.approx(4 * 20 / 3, rel=0.01)  # 4 V / S (Cauchy)


def test_percolation_by_hand():
    labels = np.zeros((4, 5, 5), np.uint8)
    labels[:, 1, 1] = 1  # a channel of 4 voxels from end to end
    labels[:3, 3, 3], labels[1:, 1, 3] = 1, 1  # two dead ends of 3 voxels, one from either end
    assert percolated_fractions(labels, 1) == {"z": 4 / 10, "y": 0, "x": 0}
    assert percolated_fractions(labels, 0) == {"z": 1, "y": 1, "x": 1}
    assert np.isnan([*percolated_fractions(labels, 2).values()]).all()
    # An edge does not connect voxels. A single slice has no way across it.
    assert percolated_fractions(np.eye(4, dtype=np.uint8), 1) == {"y": 0, "x": 0}
    assert percolated_fractions(np.array([[1, 0], [1, 1], [0, 1]]), 1)["y"] == 1
    with pytest.raises(DataError, match="shape"):
        percolated_fractions(np.zeros(4, np.uint8), 0)


def test_straight_channels_are_as_long_as_they_look_and_bent_ones_longer():
    labels = np.zeros((12, 12, 12), np.uint8)
    labels[:, 4:8] = 1
    for axis in "zx":
        assert tortuosity(labels, 1, axis, None) == pytest.approx(1, rel=0.01)
    labels[:5, 4], labels[4:8, 4], labels[7:] = 1, 1, 0
    labels[:6, 2:4], labels[:6, 6:8], labels[6:, 2:4], labels[5:7, 2:8] = 1, 0, 0, 1
    assert tortuosity(labels, 1, "z", None) > 1.2


def test_the_axis_and_the_size_of_a_voxel_count():
    """A material in cubes of 1 µm, and every second slice of a finer image of it."""
    rng = np.random.default_rng(1)
    coarse = (rng.random((4, 8, 16)) < 0.8).astype(np.uint8)
    fine = coarse.repeat(8, 0).repeat(4, 1).repeat(2, 2)
    along = {axis: tortuosity(fine, 1, axis, UM) for axis in "zyx"}
    theirs = [Solver(np.moveaxis(fine, axis, 0), device="cpu").solve(verbose=False).item()
              for axis in range(3)]
    assert [*along.values()] == pytest.approx(theirs, rel=0.01)
    assert max(theirs) > 1.03 * min(theirs)  # so a wrong axis would be noticed
    for axis in "zyx":
        long = tortuosity(fine[::2], 1, axis, (2000, 1000, 1000))
        assert long == pytest.approx(along[axis], rel=0.04)
