"""Which files are slices, and which numbers their names hold."""

from pathlib import Path

import pytest

from xraylib.errors import DataError
from xraylib.formats.file_names import image_files, list_tiffs, slice_number, stem_without_suffix


@pytest.mark.parametrize(("name", "stem", "number"), [
    ("slice__017.tif", "slice__017", 17), ("a1b22.tif", "a1b22", 22), ("7.tiff", "7", 7),
    ("img_001_ch00.tif", "img_001", 1), ("img_002_mask.tif", "img_002", 2),
    ("img_002_masks.png", "img_002", 2), ("img-3-labels.tif", "img-3", 3),
    ("img_4_label.ome.tif", "img_4", 4), ("img_5.ome.tif", "img_5", 5), ("i_6_seg.tif", "i_6", 6),
    ("i_7_Simple Segmentation.tiff", "i_7", 7), ("scan2_008_crop.tif", "scan2_008_crop", 8),
    ("s (9).tif", "s (9)", 9), ("mask.tif", "mask", None), ("unmask.tif", "unmask", None),
])
def test_the_last_number_counts_without_the_usual_endings(name, stem, number):
    assert (stem_without_suffix(Path(name)), slice_number(Path(name))) == (stem, number)


def test_only_images_that_are_not_hidden_are_listed(tmp_path):
    for name in ("s_2.tif", "s_1.TIFF", "s_3.png", "._s_1.tif", ".s.tif", "Thumbs.db", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in image_files(tmp_path)] == ["s_1.TIFF", "s_2.tif", "s_3.png"]
    assert {number: path.name for number, path in list_tiffs(tmp_path).items()} == {
        1: "s_1.TIFF", 2: "s_2.tif"}


def test_slices_are_in_order_of_number(tmp_path):
    for name in ("s_10.tif", "s_9.tif", "s_100.tif"):
        (tmp_path / name).touch()
    assert list(list_tiffs(tmp_path)) == [9, 10, 100]


def test_a_single_file_such_as_a_stack_needs_no_number(tmp_path):
    (tmp_path / "scan.tif").touch()
    assert list_tiffs(tmp_path) == {0: tmp_path / "scan.tif"}


@pytest.mark.parametrize(("names", "message"), [
    (["last.tif", "s_1.tif"], "last.tif: rename the file. Its name must hold the slice's number"),
    ([f"s{2**63}.tif"], "rename the file. Its name must hold the slice's number (below 2^63)"),
    (["x_001.tif", "x_001 (1).tif"], "x_001 (1).tif and x_001.tif is 1. Keep one of them"),
    (["x_003.tif", "x_003 (1).tif"], "x_003 (1).tif has the name of a copy, unlike x_003.tif."),
    (["x_1_ch00.tif", "x_1_ch01.tif"], "x_1_ch00.tif and x_1_ch01.tif is 1. Keep one of them"),
    (["notes.txt"], "holds no .tif or .tiff file. Put one TIFF per slice there."),
])
def test_ambiguous_file_names_are_refused(tmp_path, names, message):
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(DataError) as raised:
        list_tiffs(tmp_path)
    assert message in str(raised.value) and str(tmp_path) in str(raised.value)


def test_files_that_are_all_numbered_in_brackets_are_not_copies(tmp_path):
    for name in ("scan2 (1).tif", "scan2 (2).tif"):
        (tmp_path / name).touch()
    assert list(list_tiffs(tmp_path)) == [1, 2]
