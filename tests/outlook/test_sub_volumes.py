"""Sub-volumes cover the volume once, and what their scatter is worth is said."""

import numpy as np
import pytest

from xraylib.data import NI_YSZ
from xraylib.errors import ParameterError
from xraylib.outlook.paths import chord_counts
from xraylib.outlook.sub_volumes import split_volume, uncertainty_notes


@pytest.mark.parametrize(("shape", "options", "block"), [
    ((20, 20, 20), {}, (10, 10, 10)),
    ((80, 20, 20), {}, (20, 10, 20)),  # 4 x 2 x 1 blocks are as wide as possible
    ((20, 20, 20), {"voxel_nm": (80, 20, 20)}, (5, 20, 10)),
    ((1, 40, 20), {}, (1, 10, 10)),
    ((16, 30, 30), {"neighbours": False}, (2, 30, 30)),
    ((2, 30, 30), {"neighbours": False}, (1, 15, 15)),
])
def test_blocks_cover_a_volume_once(shape, options, block):
    blocks = split_volume(shape, 8, **options)
    count = np.zeros(shape, int)
    for each in blocks:
        count[each] += 1
        assert sorted(count[each].shape) == sorted(block)
    assert len(blocks) == 8 and (count == 1).all()
    assert split_volume(shape, 1, **options) == []


def test_equal_blocks_differ_by_a_voxel_at_most():
    sizes = {np.empty((7, 9, 11))[block].shape for block in split_volume((7, 9, 11), 8)}
    assert sizes <= {(z, y, x) for z in (3, 4) for y in (4, 5) for x in (5, 6)}


@pytest.mark.parametrize(("parts", "shape"), [(0, (9, 9, 9)), (11, (9, 9, 9)), (64, (4, 4, 8))])
def test_impossible_numbers_of_blocks_are_refused(parts, shape):
    with pytest.raises(ParameterError, match=f"parts is {parts}.*{shape[0]} x {shape[1]}"):
        split_volume(shape, parts)


def test_small_blocks_are_called_unreliable():
    stripes = np.tile(np.repeat([0, 1, 2], 4), (12, 36, 3)).astype(np.uint8)  # chords of 4 voxels

    def notes(stack):
        chords = [chord_counts(stack, phase) for phase in range(3)]
        return uncertainty_notes(stack, split_volume(stack.shape, 8), None, NI_YSZ, chords)

    (said,) = notes(np.tile(stripes, (2, 1, 1)))
    assert "8 sub-volumes of 12 x 18 x 18 voxels" in said
    both = notes(stripes)
    assert len(both) == 2 and "less than 3 mean chords of pore (4 px)" in both[1]
