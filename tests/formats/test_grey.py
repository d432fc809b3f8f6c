"""Grey levels of every type become 16 bits, whatever a few hot pixels hold."""

import numpy as np
import pytest

from xraylib.data import GreyScale
from xraylib.errors import DataError
from xraylib.formats.grey import describe_scale, sample_grey_levels, scale_of, to_uint16

GREY = np.random.default_rng(0).normal(0.5, 0.1, (14, 72, 96)).clip(0, 1)  # of 0..1


def levels(top, dtype):
    """Grey levels from 0 to `top`."""
    return np.rint(GREY * top).astype(dtype)


@pytest.mark.parametrize(("array", "gain"), [
    (levels(255, np.uint8), 257), (levels(15, np.uint8), 257), (levels(255, np.uint16), 257),
    (levels(4095, np.uint16), 16), (levels(65535, np.uint16), 1), (levels(4095, np.int16), 16),
    (levels(32767, np.int16), 1), (levels(65535, np.uint32), 1), (levels(4095, np.int64), 16),
    (levels(4096 / GREY.max(), np.uint16), 16), (levels(256 * 2, np.uint16), 16),
])
def test_integers_that_need_8_12_or_16_bits_fill_the_scale(array, gain):
    scale = scale_of(array)
    assert scale == GreyScale(array.dtype.name, gain, 0)
    expected = (array.astype(np.int64) * gain).clip(0, 65535)
    assert np.array_equal(to_uint16(array, scale), expected)
    assert str(gain) in describe_scale(scale) or "unchanged" in describe_scale(scale)


def test_16_bit_grey_levels_are_the_same_array():
    grey = levels(65535, np.uint16)
    assert to_uint16(grey, scale_of(grey)) is grey
    assert describe_scale(GreyScale()) == "The grey levels are uint16 and are used unchanged."


@pytest.mark.parametrize("array", [
    GREY.astype(np.float16), GREY.astype(np.float32), GREY * 1e-9, 1e6 - GREY,
    (GREY - 0.5) * 1e300,
    levels(30000, np.int16) - np.int16(15000), levels(10**6, np.int32), levels(10**9, np.uint32),
    levels(10**12, np.int64),
], ids=range(9))
def test_everything_else_is_stretched_and_stays_in_order(array):
    scale = scale_of(array)
    grey = to_uint16(array, scale)
    low, high = np.quantile(array, [0.001, 0.999])
    ends = np.quantile(grey, [0.001, 0.999])
    assert ends == pytest.approx([8192, 57343], abs=200) and grey.dtype == np.uint16
    order = np.argsort(array, axis=None)
    assert (np.diff(grey.ravel()[order].astype(int)) >= 0).all()
    expected = 8192 + (array.astype(float) - low) / (high - low) * (57343 - 8192)
    assert np.abs(grey - expected.clip(0, 65535)).max() < 300
    said = describe_scale(scale)
    assert said.startswith(f"The grey levels are {array.dtype.name}. They are scaled to 16 bits")


@pytest.mark.parametrize("hot", [1, 10, 1e3, 1e5, 1e6, 3e38, np.inf, -np.inf, np.nan, -1e30])
@pytest.mark.parametrize("at", [(3, 10, 10), (0, 0, 0)])
def test_a_hot_pixel_does_not_change_the_grey_levels_of_others(hot, at):
    array = GREY.astype(np.float32)
    expected = to_uint16(array, scale_of(array))
    array[at] = hot
    grey = to_uint16(array, scale_of(array))
    others = np.ones(array.shape, bool)
    others[at] = False
    assert np.abs(grey.astype(int) - expected)[others].max() < 60
    assert len(np.unique(grey)) > 10_000
    if not np.isfinite(hot):
        assert grey[at] == pytest.approx(grey[others].mean(), abs=1)


def test_a_hot_pixel_in_one_small_slice_is_recognised():
    array = levels(4000, np.uint16)[:1, :16, :16]
    array[0, 4, 8] = 65535
    assert scale_of(array).gain == 16
    assert to_uint16(array, scale_of(array))[0, 4, 8] == 65535


def test_a_sample_of_many_large_slices_is_small():
    pages = [np.full((512, 512), number) for number in range(100)]
    sample = sample_grey_levels(pages)
    assert sample.size == 16 * 128 * 128 and (sample.min(), sample.max()) == (0, 99)


@pytest.mark.parametrize("array", [
    np.full((2, 20, 20), 7.0), np.full((2, 20, 20), np.nan), np.full((2, 20, 20), 7, np.uint16)])
def test_one_grey_level_is_refused(array):
    with pytest.raises(DataError, match="The first slice and .* one grey level only, or no number"):
        scale_of(array)


def test_nearly_one_grey_level_is_stretched_from_end_to_end():
    array = np.zeros((1, 100, 100))
    array[0, :4, 0] = 5
    grey = to_uint16(array, scale_of(array))
    assert grey[0, 0, 0] == 57343 and grey[0, 9, 9] == 8192


def test_a_slice_without_a_number_is_middle_grey():
    empty = np.full((3, 4), np.nan, np.float32)
    assert (to_uint16(empty, GreyScale("float32", 100, 5)) == 32768).all()
