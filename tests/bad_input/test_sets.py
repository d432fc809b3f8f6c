"""Labelled data sets that do not fit, and data sets that cannot be converted."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from bad_input.spoiling import (
    IMAGE,
    LABEL,
    SET,
    Cases,
    Change,
    all_rewritten,
    emptied,
    rewritten,
)

CASES = Cases()
CONVERT = "Make a copy that fits: python -m xraylib data convert set NEW_FOLDER."
FOLDER = ("is not a folder. data_dir must name a folder that holds data/ (images) and labels/ "
          "(masks).")
FILES = "holds no .tif or .tiff file. Put one TIFF per slice there."
VALUES = ("Write 0 for pore, 128 for YSZ, 255 for nickel (python -m xraylib data convert does so "
          "with 0, 1, 2).")
SAME_SIZE = "All images and labels must have the same size: crop them, or remove this file."


def as_jpeg(labels: np.ndarray) -> np.ndarray:
    """What JPEG leaves of labels: values beside the right ones."""
    rng = np.random.default_rng(0)
    return (labels.astype(int) + rng.integers(-3, 4, labels.shape)).clip(0, 255).astype(np.uint8)


def keep_nine() -> None:
    """Remove all slices but nine."""
    for path in [*Path("set").glob("*/slice_001?.tif")]:
        path.unlink()


def renumber_labels() -> None:
    """Give the labels numbers that no image has."""
    for index, path in enumerate(Path("set/labels").iterdir()):
        path.rename(path.with_name(f"m{100 + index}.tif"))


for name, message, *spoil in [
    ("no such folder", f"set/data {FOLDER}", lambda: Path("set").rename("elsewhere")),
    ("a folder without labels", f"set/labels {FOLDER}", lambda: shutil.rmtree("set/labels")),
    ("a file for a folder", f"set/data {FOLDER}", lambda: shutil.rmtree("set"),
     lambda: Path("set").write_text("")),
    ("no image", f"set/data {FILES}", emptied("set/data")),
    ("no label", f"set/labels {FILES}", emptied("set/labels")),
    ("an image without a label", "set: 1 files have no label of the same number: slice_0002.tif. "
     "Add the missing files or remove these.", LABEL.unlink),
    ("a label without an image", "set: 1 files have no image of the same number: slice_0002.tif. "
     "Add the missing files or remove these.", IMAGE.unlink),
    ("labels of other numbers", "set: 12 files have no label of the same number: slice_0001.tif "
     "... Add the missing files or remove these.", renumber_labels),
    ("a name without a number", "set/data/last.tif: rename the file. Its name must end in the "
     "slice's number ... as in slice_017.tif.", lambda: IMAGE.rename("set/data/last.tif")),
    ("a number beyond 2^63", f"slice_{2**63}.tif: rename the file. Its name must end in the "
     "slice's number (below 2^63)", lambda: IMAGE.rename(f"set/data/slice_{2**63}.tif")),
    ("a number twice", "set/data: b2.tif and slice_0002.tif both end in 2. Keep one of them.",
     lambda: shutil.copy(IMAGE, "set/data/b2.tif")),
    ("an 8-bit image", f"slice_0002.tif holds uint8, not uint16. {CONVERT}",
     rewritten(IMAGE, lambda array: (array // 257).astype(np.uint8))),
    ("a float image", f"slice_0002.tif holds float32, not uint16. {CONVERT}",
     rewritten(IMAGE, lambda array: array.astype(np.float32))),
    ("a 16-bit label", f"slice_0002.tif holds uint16, not uint8. {CONVERT}",
     rewritten(LABEL, lambda array: array.astype(np.uint16))),
    ("a float label", f"slice_0002.tif holds float32, not uint8. {CONVERT}",
     rewritten(LABEL, lambda array: array.astype(np.float32))),
    ("a stack for an image", "set/data/slice_0002.tif holds 3 images. Save one grey slice per "
     "file.", rewritten(IMAGE, lambda array: np.stack([array] * 3))),
    ("a stack for a label", "set/labels/slice_0002.tif holds 3 images. Save one grey slice per "
     "file.", rewritten(LABEL, lambda array: np.stack([array] * 3))),
    ("an image of another size", "data/slice_0002.tif is (20, 23) px, the first slice (20, 24). "
     f"{SAME_SIZE}", rewritten(IMAGE, lambda array: array[:, 1:])),
    ("a label of another size", "labels/slice_0002.tif is (20, 23) px, the first slice (20, 24). "
     f"{SAME_SIZE}", rewritten(LABEL, lambda array: array[:, 1:])),
    ("a turned label", "labels/slice_0002.tif is (24, 20) px, the first slice (20, 24). "
     f"{SAME_SIZE}", rewritten(LABEL, np.transpose)),
    ("an image of one grey level", "data/slice_0002.tif holds one grey level only, 7. Export it "
     "again, or remove it and its label.", rewritten(IMAGE, lambda array: np.full_like(array, 7))),
    ("labels that are class indices", "slice_0002.tif has label values other than (0, 128, 255): "
     f"1 ... {VALUES}", rewritten(LABEL, lambda array: array // 127)),
    ("labels damaged by JPEG", "slice_0002.tif has label values other than (0, 128, 255): 1 ... "
     f"px) ... {VALUES}", rewritten(LABEL, as_jpeg)),
    ("an image for a label", "slice_0002.tif has label values other than (0, 128, 255): ... "
     f"{VALUES}", lambda: tifffile.imwrite(LABEL, (tifffile.imread(IMAGE) // 257).astype("uint8"))),
    ("images and labels exchanged", f"data/slice_0001.tif holds uint8, not uint16. {CONVERT}",
     lambda: Path("set/data").rename("set/x"), lambda: Path("set/labels").rename("set/data"),
     lambda: Path("set/x").rename("set/labels")),
    ("nine slices", "set holds 9 labelled slices. At least 10 are needed to train and test.",
     keep_nine),
]:
    CASES.add(f"labelled: {name}", message, SET, *spoil)
CASES.add("labelled: a line break in the path", rf"a\nset/data {FOLDER}",
          SET.replace("data_dir=set", "'data_dir=a\nset'"))
CASES.add("labelled: a line break in a file's name", rf"data/a\n2.tif holds uint8 ... {CONVERT}",
          SET, rewritten(IMAGE, lambda array: array.astype(np.uint8)),
          lambda: IMAGE.rename("set/data/a\n2.tif"))
CASES.add("labelled: the home of nobody", f"~nobody-of-this-name/set/data {FOLDER}",
          SET.replace("=set", "=~nobody-of-this-name/set"))
CASES.add("labelled: an empty name", f" /data {FOLDER}", SET.replace("=set", "=' '"))


# -- conversion ------------------------------------------------------------------------------------


def floats(change: Change) -> object:
    """All images of the set become float32 and are changed."""
    return all_rewritten("set/data", lambda array: change(array.astype(np.float32)))


def with_one(value: float) -> Change:
    """One pixel gets this value."""
    def change(array: np.ndarray) -> np.ndarray:
        array[3, 4] = value
        return array
    return change


EXISTS = "exists. Name a new folder for the converted slices."
FINITE = ("set/data holds numbers from ... to ... which are not finite or are all the same. Repair "
          "them first.")
KINDS = "Labels must be 0, 1, 2 or 0, 128, 255."
for name, message, *spoil in [
    ("into a folder that exists", f"new {EXISTS}", lambda: Path("new").mkdir()),
    ("into a file", f"new {EXISTS}", lambda: Path("new").write_text("mine")),
    ("of nothing", f"set/data {FOLDER}", lambda: shutil.rmtree("set")),
    ("of images without labels", "set: 1 files have no label of the same number: slice_0002.tif. "
     "Add the missing files or remove these.", LABEL.unlink),
    ("of two types of images", "set/data holds uint16 and uint8. All images must have one type.",
     rewritten(IMAGE, lambda array: array.astype(np.uint8))),
    ("of an image of another size", "data/slice_0002.tif is (20, 23) px, the first slice (20, 24). "
     f"{SAME_SIZE}", rewritten(IMAGE, lambda array: array[:, 1:])),
    ("of an image of one grey level", "data/slice_0002.tif holds one grey level only, 7. Export it "
     "again, or remove it and its label.", rewritten(IMAGE, lambda array: np.full_like(array, 7))),
    ("of one number", FINITE, floats(np.zeros_like)),
    ("of a NaN", FINITE, floats(with_one(np.nan))),
    ("of an infinity", FINITE, floats(with_one(np.inf))),
    ("of a negative infinity", FINITE, floats(with_one(-np.inf))),
    ("of labels 1, 2, 3", f"slice_0002.tif holds ... values from 1 to 3. {KINDS}",
     rewritten(LABEL, lambda array: array // 127 + 1)),
    ("of labels damaged by JPEG", f"slice_0002.tif holds ... values from 0 to 255. {KINDS}",
     rewritten(LABEL, as_jpeg)),
    ("of a stack", "slice_0002.tif holds 3 images. Save one grey slice per file.",
     rewritten(IMAGE, lambda array: np.stack([array] * 3))),
]:
    CASES.add(f"convert: {name}", message, "data convert set new", *spoil)
CASES.add("convert: a folder into itself", f"set {EXISTS}", "data convert set set")


@pytest.mark.parametrize("name", CASES)
def test_it_is_one_line_and_nothing_is_written(name, refuse):
    refuse(*CASES[name])
