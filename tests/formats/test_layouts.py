"""Which image belongs to which label, and dataset.toml."""

import tomllib

import numpy as np
import pytest
import tifffile

from xraylib.errors import DataError, ParameterError
from xraylib.formats.layouts import (
    DatasetFile,
    PhaseEntry,
    find_pairs,
    parse_label_map,
    read_dataset_file,
    write_dataset_file,
)


def place(folder, **names):
    """Sub-folders with slices of these names; the k-th is full of k, a stack of its page numbers.

    A name with "*N" is a stack of N pages.
    """
    for kind, files in names.items():
        (folder / kind).mkdir(parents=True)
        for index, name in enumerate(files, 1):
            name, _, pages = name.partition("*")
            slices = np.ones((int(pages or 1), 16, 17), np.uint8) * index
            if pages:
                slices *= np.arange(1, int(pages) + 1, dtype=np.uint8)[:, None, None]
            tifffile.imwrite(folder / kind / name, slices, photometric="minisblack")


def found(folder, pairing=None):
    """Number of each image, and what image and label are full of (label None: there is none)."""
    pairs = find_pairs(folder, pairing)
    masks = [pairs.labels.get(index) for index in range(len(pairs.images))]
    return [(int(number), int(image.whole()[0, 0]), mask and int(mask.whole()[0, 0]))
            for number, image, mask in zip(pairs.numbers, pairs.images, masks, strict=True)]


@pytest.mark.parametrize(("names", "expected"), [
    ({"data": ["s_10.tif", "s_9.tif"], "labels": ["m9.tif", "m10.tif"]}, [(9, 2, 1), (10, 1, 2)]),
    ({"images": ["SOC0001.tiff", "SOC0002.TIF"], "masks": ["slice__001.tif", "slice__002.tif"]},
     [(1, 1, 1), (2, 2, 2)]),
    ({"images": ["a_001_ch00.tif", "a_002_ch00.tif"], "labels": ["a_001_mask.tif",
                                                               "a_002_mask.tif"]},
     [(1, 1, 1), (2, 2, 2)]),
    ({"data": ["s1.ome.tif", "s2.ome.tif"], "labels": ["s1-labels.tif", "s2-labels.tif"]},
     [(1, 1, 1), (2, 2, 2)]),
    ({"data": ["foam.tif", "bone.tif"], "masks": ["bone_seg.tif", "foam_seg.tif"]},
     [(1, 2, 1), (3, 1, 2)]),  # no numbers, so no neighbours
    ({"data": ["a_1.tif", "b_1.tif"], "labels": ["b_1.tif", "a_1.tif"]}, [(1, 1, 2), (3, 2, 1)]),
    ({"data": ["scan.tif"], "labels": ["drawn.tif"]}, [(1, 1, 1)]),
    ({"data": ["slice_7.tif"], "labels": ["mask_7.tif"]}, [(7, 1, 1)]),
    ({"data": ["scan.tif*3"], "labels": ["labels.tif*3"]}, [(1, 1, 1), (2, 2, 2), (3, 3, 3)]),
    ({"data": ["s1.tif", "s2.tif", "s3.tif"], "labels": ["s2.tif"]},
     [(1, 1, None), (2, 2, 1), (3, 3, None)]),
])
def test_each_label_finds_its_image(tmp_path, names, expected):
    place(tmp_path, **names)
    for kind in names:  # what systems leave behind
        (tmp_path / kind / "._s_10.tif").write_bytes(b"\0\5\26\7")
        (tmp_path / kind / "Thumbs.db").write_bytes(b"\0")
    assert found(tmp_path) == expected


@pytest.mark.parametrize(("names", "expected"), [
    ({"data": ["s1.tif", "s2.tif"], "labels": ["s0.tif", "s1.tif"]}, [(1, 1, 1), (2, 2, 2)]),
    ({"data": ["scan.tif*2"], "labels": ["b.tif", "a.tif"]}, [(1, 1, 2), (2, 2, 1)]),
    ({"data": ["s4.tif", "s5.tif"], "labels": ["all.tif*2"]}, [(4, 1, 1), (5, 2, 2)]),
    ({"data": ["b.tif", "a.tif"], "labels": ["x.tif", "y.tif"]}, [(1, 2, 1), (3, 1, 2)]),
])
def test_pairing_in_order(tmp_path, names, expected):
    place(tmp_path, **names)
    with pytest.raises(DataError):
        found(tmp_path)
    assert found(tmp_path, "order") == expected


@pytest.mark.parametrize(("names", "message"), [
    ({"data": ["1.tif"], "images": ["1.tif"], "labels": ["1.tif"]}, "holds both data/ and images/"),
    ({"data": ["1.tif"], "labels": ["1.tif"], "masks": ["1.tif"]}, "both labels/ and masks/"),
    ({"labels": ["1.tif"]}, r"data is not a folder. data_dir must name a folder that holds data/"),
    ({"data": ["1.tif"]}, "labels is not a folder"),
    ({"data": [], "labels": ["1.tif"]}, "data holds no .tif, .tiff or .png file"),
    ({"data": ["1.tif", "2.tif*3"], "labels": ["1.tif", "2.tif"]},
     "2.tif holds 3 images. Save one slice per file, or all slices in one file"),
    ({"data": ["a.tif*3"], "labels": ["b.tif*2"]}, "holds 3 images and 2 labels. .*equally many"),
    ({"data": ["a.tif*2"], "labels": ["1.tif", "2.tif"]}, 'stack on one side.*pairing = "order"'),
    ({"data": [f"{i}.tif" for i in range(1, 15)], "labels": [f"{i}.tif" for i in range(14)]},
     'images have the numbers 1 to 14, labels 0 to 13. .*pairing = "order" into .*dataset.toml. Do '
     "not remove"),
    ({"data": ["1.tif"], "labels": ["2.tif"]}, "numbers 1 to 1, labels 2 to 2"),
    ({"data": ["1.tif", "2.tif", "5.tif"], "labels": ["1.tif", "2.tif", "7.tif"]},
     "1 labels have no image of the same number: 7.tif. Add the missing images, or"),
    ({"data": ["a.tif", "b.tif"], "labels": ["a_mask.tif", "c_mask.tif"]},
     "1 labels have no image of the same number or name: c_mask.tif"),
    ({"data": ["a.tif", "a.tiff"], "labels": ["a_mask.tif"]},
     "a.tif and a.tiff have the same name, apart from suffixes"),
])
def test_what_does_not_fit_is_refused(tmp_path, names, message):
    place(tmp_path, **names)
    with pytest.raises(DataError, match=message):
        found(tmp_path)


# -- dataset.toml ----------------------------------------------------------------------------------

FILE = DatasetFile(
    voxel_nm=(40, 18.4, 18.4), ignore=(255, 7), pairing="order",
    phases=(PhaseEntry(name='a "b" \\ c = # é 相', value=0, colour="#d55e00"),
            PhaseEntry(name="solid", value=65535)))


def test_a_written_dataset_file_is_read(tmp_path):
    assert read_dataset_file(tmp_path) == read_dataset_file(tmp_path / "missing") == DatasetFile()
    write_dataset_file(tmp_path, FILE)
    assert read_dataset_file(tmp_path) == FILE
    assert [path.name for path in tmp_path.iterdir()] == ["dataset.toml"]
    colours = parse_label_map("#FF0000=pore,#0000ff=YSZ,#000000=ignore")
    write_dataset_file(tmp_path, colours)
    assert read_dataset_file(tmp_path) == colours and colours.in_colour and not FILE.in_colour
    assert [phase.key for phase in colours.phases] == [0xFF0000, 0x0000FF]
    text = (tmp_path / "dataset.toml").read_text()
    assert text.startswith("# What the labels") and "pairing" not in tomllib.loads(text)


def test_one_number_is_the_side_of_a_cube(tmp_path):
    (tmp_path / "dataset.toml").write_text("voxel_nm = 20\n")
    assert read_dataset_file(tmp_path) == DatasetFile(voxel_nm=(20, 20, 20))


def test_label_maps_are_read():
    file = parse_label_map("1=pore, 2 = YSZ,0=ignore,255=ignore")
    assert file.ignore == (0, 255)
    assert [(each.name, each.value) for each in file.phases] == [("pore", 1), ("YSZ", 2)]


@pytest.mark.parametrize(("text", "message"), [
    ("pore", "'pore' is not VALUE=NAME. Write --labels 1=pore"), ("", "is not VALUE=NAME"),
    ("-1=pore,2=b", "is not VALUE=NAME"), ("1=a,2=", "at least 1 character"),
    ("1=a", "names 1 phase, not 2 to 16"), ("1=a,1=b", "a label value is given twice"),
    ("1=a,2=b,1=ignore", "given twice"), ("1=a,2=a", "printable and different"),
    ("70000=a,2=b", "65535"), ("#12=a,2=b", "match pattern"), ("#ff0000=a,2=b", "must have rgb"),
    (",".join(f"{i}=p{i}" for i in range(17)), "names 17 phases, not 2 to 16"),
])
def test_a_label_map_that_does_not_fit_is_refused(text, message):
    with pytest.raises(ParameterError, match=message) as raised:
        parse_label_map(text)
    assert "\n" not in str(raised.value)


PHASE = '[[phases]]\nname = "{}"\nvalue = {}\n'


@pytest.mark.parametrize(("text", "message"), [
    ("voxel_nm = ", "cannot be read"), ("voxel = 3", "in voxel: Extra"),
    ("voxel_nm = 0", "in voxel_nm.0: Input should be greater than 0"),
    ("voxel_nm = nan", "in voxel_nm.0: Input should be a finite"),
    ("voxel_nm = [1, 2]", "in voxel_nm.2: Field required"),
    ("ignore = 255", "in ignore"), ("ignore = [-1]", "ignore.0"), ("ignore = [true]", "ignore.0"),
    ('pairing = "stem"', "in pairing: Input should be 'number' or 'order'"),
    (PHASE.format("a", 0), "names 1 phase,"),
    (PHASE.format("a", 0) + PHASE.format("b", 0), "a label value is given twice"),
    (PHASE.format("a", 0) + PHASE.format("b", 1.5), "in phases.1.value: Input should be a valid"),
    (PHASE.format("a", 0) + PHASE.format("", 1), "in phases.1.name"),
    (PHASE.format("a", 0) + PHASE.format("\\u0007", 1), "printable and different"),
    (PHASE.format("a", 0) + PHASE.format("b", '1\nrgb = "#ff0000"'), "either all phases must"),
    (PHASE.format("a", 0) + PHASE.format("b", '1\ncolour = "red"'), "in phases.1.colour: String"),
    (PHASE.format("a", 0) + '[[phases]]\nname = "b"', "either all phases must have a value"),
    ("\ufeff\0", "cannot be read"),
])
def test_a_damaged_dataset_file_is_refused(tmp_path, text, message):
    (tmp_path / "dataset.toml").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message) as raised:
        read_dataset_file(tmp_path)
    words = str(raised.value)
    assert "\n" not in words and "dataset.toml" in words and words.endswith(f"inspect {tmp_path}.")


def test_a_dataset_file_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "dataset.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="dataset.toml cannot be read"):
        read_dataset_file(tmp_path)
