"""What label values mean, decided once for a whole data set."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from xraylib.data import COLOURS, NI_YSZ, Phases, Slices
from xraylib.errors import DataError
from xraylib.formats.labels import describe_labels, given_phases, guess_phases, read_labels
from xraylib.formats.layouts import DatasetFile, parse_label_map
from xraylib.formats.tiff import open_pages
from xraylib.losses import IGNORE

MANY = 20_000  # pixels
FOLDER = Path("set")


def guess(*files: dict[int, int], ignored=()) -> tuple[tuple[int, ...], set[int]]:
    """Values of the phases that are guessed from the counts of each file, and ignored values."""
    phases, guessed = guess_phases(files, [f"s{i}.tif" for i in range(len(files))], FOLDER,
                                   set(ignored))
    assert phases == Phases.numbered(phases.values)
    return phases.values, guessed


def alike(*values: int) -> dict[int, int]:
    """A file in which these values have the same number of pixels."""
    return dict.fromkeys(values, MANY)


@pytest.mark.parametrize(("values", "phases", "ignored"), [
    ((0, 255), (0, 255), set()), ((0, 128, 255), (0, 128, 255), set()),
    ((0, 1), (0, 1), set()), ((1, 2, 3), (1, 2, 3), set()),
    ((0, 1, 2, 255), (0, 1, 2), {255}), ((0, 1, 255), (0, 1), {255}), ((1, 2, 255), (1, 2), {255}),
    ((0, 2, 255), (0, 2, 255), set()), ((253, 254, 255), (253, 254, 255), set()),
    (range(16), tuple(range(16)), set()), ((*range(16), 255), tuple(range(16)), {255}),
    ((0, 1000, 65535), (0, 1000, 65535), set()),
])
def test_values_are_phases_in_order_and_255_may_be_no_label(values, phases, ignored):
    assert guess(alike(*values)) == (phases, ignored)
    split = [alike(*values[:2]), alike(*values[1:])] if len(values) < 4 else [alike(*values)] * 2
    if not {1, 255} <= set(values):
        assert guess(*split) == (phases, ignored)  # the set decides, not a file


def test_ignored_values_are_not_phases():
    assert guess(alike(0, 1, 2), ignored=[0]) == ((1, 2), set())
    assert guess(alike(0, 1, 2, 255), ignored=[0]) == ((1, 2), {255})
    assert guess(alike(0, 128, 255), ignored=[255]) == ((0, 128), set())


REMEDY = "say what each value means .python -m xraylib data inspect set --labels 1=pore,2=YSZ"


@pytest.mark.parametrize(("files", "message"), [
    ([alike(255)], f"the labels hold 1 value.*: 255. At least two.*{REMEDY}"),
    ([alike(*range(17))], f"set holds 17 label values. Up to 16 .* JPEG.*{REMEDY}"),
    ([alike(0, 1), {0: MANY, 7: 3}],
     f"only 3 of 60003 labelled pixels have the value 7 .s1.tif is the .*{REMEDY}"),
    ([alike(0, 255), alike(0, 1)],
     f"some labels use the value 1 .s1.tif., others 255 .s0.tif., none both.*{REMEDY}"),
    ([alike(0, 1, 2), alike(0, 128, 255)], "written in two ways"),
])
def test_what_cannot_be_guessed_is_refused_with_a_remedy(files, message):
    with pytest.raises(DataError, match=message):
        guess(*files)


# -- files -----------------------------------------------------------------------------------------

CLASSES = (np.arange(32 * 20).reshape(32, 20) % 3).astype(np.uint8)


def read(tmp_path, *masks, known="", **options):
    """Read masks, each from its file, with the label map `known`."""
    pages = []
    for number, mask in enumerate(masks):
        path = tmp_path / f"s{number}.tif"
        tifffile.imwrite(path, mask, **{"photometric": "minisblack"} | options)
        pages += open_pages(path, colours=True)
    return read_labels(pages, tmp_path, parse_label_map(known) if known else DatasetFile())


@pytest.mark.parametrize("dtype", [
    np.uint8, np.uint16, np.int16, np.uint32, np.int32, np.int64, np.float32, np.float64])
def test_every_type_of_whole_numbers_gives_the_same_classes(tmp_path, dtype):
    found = read(tmp_path, CLASSES.astype(dtype), CLASSES[::-1].astype(dtype))
    assert np.array_equal(found.classes, [CLASSES, CLASSES[::-1]])
    assert {mask.dtype for mask in found.classes} == {np.dtype(np.uint8)}
    assert found.phases == Phases.numbered((0, 1, 2)) and found.notes == ()


def test_values_keep_their_meaning_in_files_that_lack_some(tmp_path):
    values = np.array([7, 300, 65535], np.uint16)
    files = [values[CLASSES], values[CLASSES // 2], values[CLASSES // 2 * 2]]
    found = read(tmp_path, *files)
    assert np.array_equal(found.classes, [CLASSES, CLASSES // 2, CLASSES // 2 * 2])
    assert found.phases.values == (7, 300, 65535)


def test_a_label_map_decides_and_is_printed(tmp_path):
    found = read(tmp_path, CLASSES, np.zeros_like(CLASSES), known="2=YSZ,1=pore,0=ignore,9=ignore")
    assert found.phases.names == ("YSZ", "pore") and found.phases.values == (2, 1)
    assert np.array_equal(found.classes[0], np.array([IGNORE, 1, 0])[CLASSES])
    assert (found.classes[1] == IGNORE).all()
    assert found.notes == ("Pixels with the label value 0 have no label.",)


def test_a_guess_that_pixels_have_no_label_is_printed(tmp_path):
    mask = np.array([0, 1, 255], np.uint8)[CLASSES]
    found = read(tmp_path, mask)
    assert np.array_equal(found.classes[0], np.array([0, 1, IGNORE])[CLASSES])
    assert found.notes == ("Pixels with the label value 255 have no label.",)


RED, BLUE = (255, 0, 0), (0, 0, 255)
COLOURED = np.array([(0, 0, 0), RED, BLUE], np.uint8)[CLASSES]


def test_masks_in_colour_are_read_by_a_map_of_colours(tmp_path):
    known = "#ff0000=pore,#0000FF=YSZ,#000000=ignore"
    found = read(tmp_path, COLOURED, known=known, photometric="rgb")
    assert np.array_equal(found.classes[0], np.array([IGNORE, 0, 1])[CLASSES])
    assert found.phases.names == ("pore", "YSZ") and found.phases.values == (0, 1)
    assert found.notes == (
        "Pixels with the label value #000000 have no label.",
        "The labels are in colour: #ff0000 is pore, value 0; #0000FF is YSZ, value 1.")


def test_masks_in_colour_without_a_map_are_refused(tmp_path):
    with pytest.raises(DataError, match="s0.tif is in colour.*#0000.*--labels '#.*=pore,#.*=YSZ'"):
        read(tmp_path, COLOURED, photometric="rgb")
    with pytest.raises(DataError, match=r"meaning: #0000ff \(213 px\). Of the .* #000000 is b"):
        read(tmp_path, COLOURED, known="#ff0000=a,#000000=b", photometric="rgb")


def test_colours_without_red_are_colours_too(tmp_path):
    green = np.array([(0, 0, 0), (0, 255, 0), (0, 0, 255)], np.uint8)[CLASSES]
    with pytest.raises(DataError, match="s0.tif is in colour .3 colours"):
        read(tmp_path, green, photometric="rgb")
    found = read(tmp_path, green, known="#00ff00=a,#0000ff=b,#000000=c", photometric="rgb")
    assert np.array_equal(found.classes[0], np.array([2, 0, 1])[CLASSES])


def test_grey_masks_saved_as_rgb_are_read_as_values(tmp_path):
    mask = np.repeat(np.array([0, 128, 255], np.uint8)[CLASSES][..., None], 3, -1)
    found = read(tmp_path, mask, photometric="rgb")
    assert np.array_equal(found.classes[0], CLASSES) and found.phases.values == (0, 128, 255)


@pytest.mark.parametrize(("mask", "known", "message"), [
    (CLASSES + 0.5, "", "s0.tif holds numbers that are not whole"),
    (np.where(CLASSES, np.nan, 0), "", "s0.tif holds numbers that are not whole"),
    (CLASSES.astype(np.int16) - 1, "", "s0.tif holds values from -1 to 1. Label values must be"),
    (CLASSES.astype(np.int64) * 40000, "", "s0.tif holds values from 0 to 80000"),
    (np.arange(32 * 20, dtype=np.uint16).reshape(32, 20), "",
     "s0.tif holds 640 label values. Up to 16 can be phases. JPEG"),
    (CLASSES, "0=a,1=b", r"s0.tif has label values without a meaning: 2 \(213 px\). Of the known "
     "values, 0 is a, 1 is b. Correct the labels, or dataset.toml"),
    (CLASSES, "0=a,1=b,7=ignore", "0 is a, 1 is b, 7 is no label"),
])
def test_values_that_cannot_be_labels_are_refused(tmp_path, mask, known, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, mask, known=known)


def test_a_page_of_a_stack_is_named(tmp_path):
    stack = np.stack([CLASSES, CLASSES + 7])
    with pytest.raises(DataError, match=r"s0.tif, page 2 has label values without a meaning: 7"):
        read(tmp_path, stack, known="0=a,1=b,2=c")


# -- words -----------------------------------------------------------------------------------------


def test_given_phases_have_different_colours():
    known = parse_label_map("0=a,1=b,2=c")
    phases = [each.model_copy(update={"colour": colour}) for each, colour in
              zip(known.phases, (None, COLOURS[0], None), strict=True)]
    found = given_phases(known.model_copy(update={"phases": tuple(phases)}))
    assert found == Phases(("a", "b", "c"), (0, 1, 2), (COLOURS[1], COLOURS[0], COLOURS[2]))


def test_the_meaning_of_values_is_described():
    label = np.array([[0, 0, 0, 2], [IGNORE] * 4], np.uint8)
    slices = Slices([label.astype(np.uint16)], [label], np.array([1]), phases=NI_YSZ)
    assert describe_labels(slices) == [
        "value 0 -> pore (75.0 % of the labelled pixels)",
        "value 128 -> YSZ (absent from all labels)",
        "value 255 -> nickel (25.0 % of the labelled pixels)",
        "50.0 % of the pixels have no label, and count in neither loss nor score."]
    assert len(describe_labels(Slices([label[:1]], [label[:1]], np.array([1])))) == 3
