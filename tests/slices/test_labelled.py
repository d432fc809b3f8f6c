import struct

import numpy as np
import pytest
import tifffile
from conftest import blobs

from xraylib.slices import labelled
from xraylib.slices.tiff import DataError, read


def test_what_is_saved_is_loaded(folder):
    saved, loaded = blobs(40, 48, 40), labelled.load(folder)
    assert np.array_equal(loaded.images, saved.images) and loaded.images[0].dtype == np.uint16
    assert np.array_equal(loaded.labels, saved.labels) and loaded.labels[0].dtype == np.uint8
    assert loaded.numbers.tolist() == list(range(1, 41))
    assert loaded.fingerprint() == saved.fingerprint()


def test_some_of_them_are_evenly_spread():
    assert labelled.evenly(10, 5) == [2, 4, 6, 8, 10] and labelled.evenly(3, 12) == [1, 2, 3]
    slices = blobs(10, 8, 8)
    assert slices.some(3).numbers.tolist() == [3, 7, 10]
    assert len(slices.some(0)) == len(slices.some(99)) == 10


def test_mean_grey_level_of_each_phase():
    image, label = np.array([[10, 20], [30, 40]], np.uint16), np.array([[0, 0], [2, 2]], np.uint8)
    pore, ysz, nickel = labelled.grey_levels(labelled.Slices([image], [label], np.array([1])))
    assert (pore, nickel) == (15, 35) and np.isnan(ysz)


def test_grey_statistics_are_those_of_all_pixels():
    slices = blobs(7, 40, 36)
    grey = np.stack(slices.images)
    assert labelled.grey_statistics(slices) == pytest.approx((grey.mean(), grey.std()))
    flat = labelled.Slices([np.full((4, 4), 9, np.uint16)], [np.zeros((4, 4), np.uint8)], np.array([1]))
    assert labelled.grey_statistics(flat) == (9, 1)                       # the network divides by it


def test_files_are_written_as_the_real_set_has_them(folder):
    mask = tifffile.imread(folder / "labels" / "slice_0001.tif")
    assert mask.dtype == np.uint8 and set(np.unique(mask)) == {0, 128, 255}


def test_paired_by_number_whatever_the_names(tmp_path):
    image = np.arange(16 * 17, dtype=np.uint16).reshape(16, 17)
    for number in (10, 9):
        for kind, name, array in (("data", f"SOCprist{number:04d}.tiff", image + number),
                                  ("labels", f"slice__{number:03d}.tif", np.full((16, 17), 128, np.uint8))):
            (tmp_path / kind).mkdir(exist_ok=True)
            tifffile.imwrite(tmp_path / kind / name, array)
    slices = labelled.load(tmp_path)
    assert slices.numbers.tolist() == [9, 10]
    assert slices.images[0][0, 0] == 9 and (np.stack(slices.labels) == 1).all()


def test_fingerprint_changes_with_a_pixel_a_label_and_a_number():
    slices = blobs(2, 8, 8)
    before = slices.fingerprint()
    for array in (slices.images[1], slices.labels[1], slices.numbers):
        array.flat[0] ^= 1
        assert slices.fingerprint() != before
        array.flat[0] ^= 1


def test_a_packbits_tiff_cut_short_is_refused(folder):
    """The real set's compression."""
    image = np.random.default_rng(0).integers(0, 65535, (48, 40), np.uint16)
    path = folder / "data/slice_0002.tif"
    write_packbits(path, image)
    assert np.array_equal(read(path, np.uint16), image)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="slice_0002.tif"):
        read(path, np.uint16)


def write_packbits(path, image):
    """tifffile writes no PackBits without a codec; literal runs of 128 bytes are the simplest valid stream."""
    raw = image.tobytes()
    packed = b"".join(bytes([len(raw[i:i + 128]) - 1]) + raw[i:i + 128] for i in range(0, len(raw), 128))
    entries = [(256, 3, 1, image.shape[1]), (257, 3, 1, image.shape[0]), (258, 3, 1, 16), (259, 3, 1, 32773),
               (262, 3, 1, 1), (273, 4, 1, 8), (277, 3, 1, 1), (278, 3, 1, image.shape[0]), (279, 4, 1, len(packed))]
    head = struct.pack("<2sHI", b"II", 42, 8 + len(packed))
    tail = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + b"\0\0\0\0"
    path.write_bytes(head + packed + tail)
