"""TIFF files: what is written is read, and what is damaged is refused."""

import struct

import numpy as np
import pytest
import tifffile

from xraylib import tiff
from xraylib.errors import DataError


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 65535, (48, 40), np.uint16)


def write_packbits(path, image):
    """tifffile writes no PackBits without a codec; literal runs of 128 bytes are valid PackBits."""
    raw = image.tobytes()
    runs = [raw[i:i + 128] for i in range(0, len(raw), 128)]
    packed = b"".join(bytes([len(run) - 1]) + run for run in runs)
    entries = [(256, 3, 1, image.shape[1]), (257, 3, 1, image.shape[0]), (258, 3, 1, 16),
               (259, 3, 1, 32773), (262, 3, 1, 1), (273, 4, 1, 8), (277, 3, 1, 1),
               (278, 3, 1, image.shape[0]), (279, 4, 1, len(packed))]
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    path.write_bytes(struct.pack("<2sHI", b"II", 42, 8 + len(packed)) + packed
                     + struct.pack("<H", len(entries)) + table + bytes(4))


def test_a_packbits_tiff_cut_short_is_refused(tmp_path, image):
    """The real set's compression."""
    path = tmp_path / "slice_0002.tif"
    write_packbits(path, image)
    assert np.array_equal(tiff.read_slice(path, np.uint16), image)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="slice_0002.tif"):
        tiff.read_slice(path, np.uint16)


@pytest.mark.parametrize("options", [{}, {"byteorder": ">"}, {"bigtiff": True}, {"imagej": True},
                                     {"compression": "zlib"}, {"tile": (16, 16)}])
def test_pages_of_a_volume_are_read_by_rows(tmp_path, image, options):
    volume = np.stack([image, image[::-1], image // 2])
    tifffile.imwrite(tmp_path / "stack.tif", volume, photometric="minisblack", **options)
    pages = tiff.open_volume(tmp_path / "stack.tif")
    assert [page.name for page in pages] == ["stack_00001", "stack_00002", "stack_00003"]
    assert all(page.shape == (48, 40) for page in pages)
    assert np.array_equal([page.whole() for page in pages], volume)
    assert np.array_equal(pages[1].rows(5, 9), volume[1, 5:9])


def test_slices_are_written_one_per_file_and_listed_by_number(tmp_path, image):
    tiff.write_slices([image, image + 1], [12, 3], tmp_path / "deep/new", compression="zlib")
    (tmp_path / "deep/new/notes.txt").touch()
    found = tiff.list_tiffs(tmp_path / "deep/new")
    assert {number: path.name for number, path in found.items()} == {
        3: "slice_0003.tif", 12: "slice_0012.tif"}
    assert list(found) == [3, 12] and np.array_equal(tiff.read_slice(found[12], np.uint16), image)
    assert [page.name for page in tiff.open_volume(tmp_path / "deep/new")] == [
        "slice_0003", "slice_0012"]


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, image):
    path = tmp_path / "slice_1.tif"
    tifffile.imwrite(path, image)
    (page,) = tiff.open_pages(path)
    page.check_unchanged()
    tifffile.imwrite(path, image[:20])
    with pytest.raises(DataError, match="was changed while it was read"):
        page.check_unchanged()
    with pytest.raises(DataError, match="is cut short"):
        page.whole()


def test_resolution_is_kept_if_it_means_something(tmp_path, image):
    path = tmp_path / "slice_1.tif"
    tifffile.imwrite(path, image, resolution=(1000, 500), resolutionunit="CENTIMETER")
    tags = tiff.resolution_tags(tiff.open_slice(path))
    assert tags == {"resolution": ((1000, 1), (500, 1)), "resolutionunit": 3}
    tifffile.imwrite(path, image, resolution=(0, 0))
    assert tiff.resolution_tags(tiff.open_slice(path)) == {}


@pytest.mark.parametrize(("name", "number"), [("a1b22", 22), ("7", 7), ("slice__017", 17)])
def test_the_number_ends_the_name(tmp_path, name, number):
    (tmp_path / f"{name}.tif").touch()
    assert list(tiff.list_tiffs(tmp_path)) == [number]


@pytest.mark.parametrize("name", ["last", "1_", f"s{2**63}"])
def test_a_name_without_a_number_is_refused(tmp_path, name):
    (tmp_path / f"{name}.tif").touch()
    with pytest.raises(DataError, match="must end in the slice's number"):
        tiff.list_tiffs(tmp_path)
