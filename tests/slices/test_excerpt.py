"""Volumes without labels: what is read of them."""

import numpy as np
import pytest
import tifffile

from xraylib.slices import labelled, sets
from xraylib.slices.excerpt import excerpt, spread_runs


def save(folder, arrays):
    folder.mkdir(exist_ok=True)
    for number, array in enumerate(arrays, 1):
        tifffile.imwrite(folder / f"s_{number:03d}.tif", array)
    return folder


def ramp(n, height, width, dtype):
    """Slices in which every pixel says where it is."""
    z, y, x = np.meshgrid(np.arange(n), np.arange(height), np.arange(width), indexing="ij")
    return (z * 1000 + y * 30 + x).astype(dtype)


def test_a_small_volume_is_read_whole_as_it_is(tmp_path):
    volume = ramp(5, 20, 30, np.uint16)
    found = excerpt(save(tmp_path / "v", volume))
    assert np.array_equal(np.stack(found.images), volume) and found.numbers.tolist() == [1, 2, 3, 4, 5]
    assert found.note == "5 of 5 slices, 20 x 30 of 20 x 30 px, uint16."


def test_of_a_large_one_runs_of_neighbours_and_a_window_in_the_middle(tmp_path):
    volume = ramp(50, 40, 64, np.uint16)
    tifffile.imwrite(tmp_path / "stack.tif", volume, photometric="minisblack")
    found = excerpt(tmp_path / "stack.tif", most=12, side=20)
    assert len(found.images) == 12 and found.images[0].shape == (20, 20)
    assert np.diff(found.numbers).reshape(-1)[[0, 1, 3, 4]].tolist() == [1, 1, 1, 1]
    assert np.array_equal(found.images[4], volume[found.numbers[4] - 1, 10:30, 22:42])
    assert found.numbers[0] < 13 and found.numbers[-1] > 38                # from end to end


def test_float32_is_stretched_and_holes_are_filled(tmp_path):
    volume = ramp(3, 20, 30, np.float32) / 1e5 - 0.01
    volume[0, 5, 5], volume[1] = np.nan, np.inf
    volume[1, 0, :2] = 0.002, 0.004
    found = excerpt(save(tmp_path / "v", volume))
    assert {image.dtype for image in found.images} == {np.dtype(np.uint16)}
    assert found.images[0].min() == 0 and found.images[2].max() == 65535
    order = np.argsort(volume[2].ravel(), kind="stable")
    assert (np.diff(found.images[2].ravel()[order].astype(int)) >= 0).all()
    assert found.images[0][5, 5] == pytest.approx(found.images[0].mean(), abs=300)
    assert np.unique(found.images[1][1:]).size == 1                        # all holes: the mean of its two pixels


def test_uint8_uses_the_whole_range(tmp_path):
    found = excerpt(save(tmp_path / "v", ramp(1, 16, 16, np.uint8)))
    assert found.images[0][0, 3] == 3 * 257 and found.images[0].dtype == np.uint16


# -- with labels for the end ------------------------------------------------------------------------------------------


def test_a_labelled_folder_keeps_its_labels_of_the_same_pixels(folder):
    whole = labelled.load(folder)                                                # 40 slices of 48 x 40
    found, truth = sets.open_volume(str(folder), "tiny", most=6, side=20)
    assert found.numbers.tolist() == truth.numbers.tolist() and len(truth) == 6
    for index, number in enumerate(found.numbers):
        assert np.array_equal(found.images[index], whole.images[number - 1][14:34, 10:30])
        assert np.array_equal(truth.labels[index], whole.labels[number - 1][14:34, 10:30])
    assert found.note == "6 of 40 slices, 20 x 20 of 48 x 40 px, uint16."


def test_any_other_folder_has_none_and_nothing_is_the_second_sample(folder):
    assert sets.open_volume(str(folder / "data"), "tiny")[1] is None
    found, truth = sets.open_volume("", "tiny")
    assert truth.labels[3].shape == (128, 128) and found.numbers.tolist() == list(range(1, 13))


@pytest.mark.parametrize(("n", "most", "expected"), [(4, 6, [0, 1, 2, 3]), (20, 6, [3, 4, 5, 13, 14, 15]),
                                                     (7, 6, [0, 1, 2, 4, 5, 6]), (9, 2, [3, 4, 5])])
def test_runs_are_spread_evenly(n, most, expected):
    assert spread_runs(n, most).tolist() == expected
