"""Labelled data sets that do not fit together, or whose labels have no clear meaning."""

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
    Spoil,
    all_rewritten,
    emptied,
    rewritten,
)

CASES = Cases()
FOLDER = ("is not a folder. data_dir must name a folder that holds data/ (images) and labels/ "
          "(masks).")
FILES = "holds no .tif, .tiff or .png file. Put one file per slice there, or one stack."
VALUES = ("Of the known values, 0 is pore, 128 is YSZ, 255 is nickel. Correct the labels, or "
          "dataset.toml beside them.")
INSPECT = ("say what each value means (python -m xraylib data inspect set --labels "
           "1=pore,2=YSZ,0=ignore).")
PARTNER = ("Add the missing images, or rename the labels. Removing these labels does not help if "
           "the numbers of all labels are shifted.")
TYPES = "slice_0001.tif uint16. All images must have the same type."
MANY = ("Up to 16 can be phases. JPEG or a resampling with interpolation may have smeared them, or "
        f"it is an image and no mask: ... {INSPECT}")
ALIGNED = ("Check that images and labels have the same numbers and orientation. If all is right, "
           'write pairing = "number" into set/dataset.toml.')
TOML = Path("set/dataset.toml")


def as_jpeg(labels: np.ndarray) -> np.ndarray:
    """What JPEG leaves of labels: values beside the right ones."""
    rng = np.random.default_rng(0)
    return (labels.astype(int) + rng.integers(-9, 10, labels.shape)).clip(0, 255).astype(np.uint8)


def keep_nine() -> None:
    """Remove all slices but nine."""
    for path in [*Path("set").glob("*/slice_001?.tif")]:
        path.unlink()


def renumber_labels() -> None:
    """Give the labels the numbers 0 to 11, where images have 1 to 12."""
    for number in range(1, 13):
        Path(f"set/labels/slice_{number:04d}.tif").rename(f"set/labels/m{number - 1}.tif")


def shift_labels() -> None:
    """Give every image its neighbour's label, as who removes what has no partner."""
    renumber_labels()
    Path("set/labels/m0.tif").unlink()
    Path("set/data/slice_0012.tif").unlink()
    TOML.unlink()


def labels(change: Change) -> Spoil:
    """All labels are changed, and nothing says what they mean."""
    def spoil() -> None:
        all_rewritten("set/labels", change)()
        TOML.unlink()
    return spoil


def in_two_ways() -> None:
    """Half of the masks hold 0 and 1, half 0 and 255."""
    for number in range(1, 13):
        path = Path(f"set/labels/slice_{number:04d}.tif")
        rewritten(path, lambda array, top=255 if number % 2 else 1: (array > 0) * np.uint8(top))()
    TOML.unlink()


def with_one(value: float) -> Change:
    """One pixel gets this value."""
    def change(array: np.ndarray) -> np.ndarray:
        array[3, 4] = value
        return array
    return change


def as_stack(folder: str, count: int) -> Spoil:
    """A stack of the first slices is all that the folder holds."""
    def spoil() -> None:
        paths = sorted(Path(folder).iterdir())
        stack = np.stack([tifffile.imread(path) for path in paths[:count]])
        emptied(folder)()
        tifffile.imwrite(f"{folder}/stack.tif", stack, photometric="minisblack")
    return spoil


for name, message, *spoil in [
    ("no such folder", f"set/data {FOLDER}", lambda: Path("set").rename("elsewhere")),
    ("a folder without labels", f"set/labels {FOLDER}", lambda: shutil.rmtree("set/labels")),
    ("a file for a folder", f"set/data {FOLDER}", lambda: shutil.rmtree("set"),
     lambda: Path("set").write_text("")),
    ("labels and masks", "set holds both labels/ and masks/. Keep one of them.",
     lambda: Path("set/masks").mkdir()),
    ("no image", f"set/data {FILES}", emptied("set/data")),
    ("no label", f"set/labels {FILES}", emptied("set/labels")),
    ("a label without an image", "set: 1 labels have no image of the same number: slice_0002.tif. "
     f"{PARTNER}", IMAGE.unlink),
    ("labels of shifted numbers", "set: images have the numbers 1 to 12, labels 0 to 11. If the "
     'first label belongs to the first image, and so on, write pairing = "order" into '
     "set/dataset.toml. Do not remove files.", renumber_labels),
    ("labels of the neighbours", "set: the label of the previous slice fits the grey levels of a "
     f"slice better than its own label as it is, in most of 8 slices. {ALIGNED}", shift_labels),
    ("labels upside down", f"set: its label flipped up-down fits ... {ALIGNED}",
     labels(np.flipud)),
    ("a name of its own", "set: 1 labels have no image of the same number or name: slice_0002.tif. "
     f"{PARTNER}", lambda: IMAGE.rename("set/data/last.tif")),
    ("a number beyond 2^63", "set: 1 labels have no image of the same number or name: "
     f"slice_0002.tif. {PARTNER}", lambda: IMAGE.rename(f"set/data/slice_{2**63}.tif")),
    ("an 8-bit image", f"slice_0002.tif holds uint8, {TYPES}",
     rewritten(IMAGE, lambda array: (array // 257).astype(np.uint8))),
    ("a float image", f"slice_0002.tif holds float32, {TYPES}",
     rewritten(IMAGE, lambda array: array.astype(np.float32))),
    ("a float label", "slice_0002.tif holds numbers that are not whole, or no numbers. Labels must "
     "be whole numbers: export them again.",
     rewritten(LABEL, lambda array: array.astype(np.float32) / 2)),
    ("a label of NaN", "slice_0002.tif holds numbers that are not whole",
     rewritten(LABEL, lambda array: with_one(np.nan)(array.astype(np.float32)))),
    ("a negative label", "slice_0002.tif holds values from -1 to 255. Label values must be 0 to "
     "65535: export the labels again.",
     rewritten(LABEL, lambda array: with_one(-1)(array.astype(np.int16)))),
    ("a stack for an image", "set/data/slice_0002.tif holds 3 images. Save one slice per file, or "
     "all slices in one file.", rewritten(IMAGE, lambda array: np.stack([array] * 3))),
    ("a stack for a label", "set/labels/slice_0002.tif holds 3 images. Save one slice per file, or "
     "all slices in one file.", rewritten(LABEL, lambda array: np.stack([array] * 3))),
    ("stacks of different lengths", "set holds 12 images and 9 labels. To be paired in their order "
     "they must be equally many: add an empty label for each image that you have not labelled.",
     as_stack("set/data", 12), as_stack("set/labels", 9)),
    ("a stack and slices", "set holds a stack on one side and slices on the other. If both are in "
     'the same order, write pairing = "order" into set/dataset.toml.', as_stack("set/data", 12)),
    ("an image of another size", "labels/slice_0002.tif is (20, 24) px, its image (20, 23). Crop "
     "one of them, or remove both.", rewritten(IMAGE, lambda array: array[:, 1:])),
    ("a turned label", "labels/slice_0002.tif is (24, 20) px, its image (20, 24). Crop one of "
     "them, or remove both.", rewritten(LABEL, np.transpose)),
    ("an image of one grey level", "data/slice_0002.tif holds one grey level only, 7. Export it "
     "again, or remove it and its label.", rewritten(IMAGE, lambda array: np.full_like(array, 7))),
    ("images without a number", "set/data/slice_0001.tif and the slices after it hold one grey "
     "level only, or no number. Export them again.", all_rewritten(
         "set/data", lambda array: np.full(array.shape, np.nan, np.float32))),
    ("labels that are class indices", "slice_0002.tif has label values without a meaning: 1 ( ... "
     f" px), 2 ( ... px). {VALUES}", rewritten(LABEL, lambda array: array // 127)),
    ("labels damaged by JPEG", f"slice_0002.tif has label values without a meaning: 1 ... {VALUES}",
     rewritten(LABEL, as_jpeg)),
    ("an image for a label", f"slice_0002.tif has label values without a meaning: ... {VALUES}",
     lambda: tifffile.imwrite(LABEL, (tifffile.imread(IMAGE) // 257).astype("uint8"))),
    ("images and labels exchanged", "labels/slice_0001.tif has label values without a meaning",
     lambda: Path("set/data").rename("set/x"), lambda: Path("set/labels").rename("set/data"),
     lambda: Path("set/x").rename("set/labels")),
    ("nine slices", "set holds 9 labelled slices. At least 10 are needed to train and test. With "
     "fewer, use python -m xraylib train or notebook 11, which cross-validate.", keep_nine),
    # What is guessed.
    ("one value", f"set: the labels hold 1 value (or none) that can be a phase: 3. ... {INSPECT}",
     labels(lambda array: np.full_like(array, 3))),
    ("values smeared by JPEG", f"holds ... label values. {MANY}", labels(as_jpeg)),
    ("images for labels", f"holds ... label values. {MANY}",
     lambda: shutil.rmtree("set/labels"), lambda: shutil.copytree("set/data", "set/labels"),
     TOML.unlink),
    ("masks in two ways", "set: some labels use the value 1 (set/labels/slice_0002.tif), others "
     f"255 (set/labels/slice_0001.tif), none both. They seem to be written in two ... {INSPECT}",
     in_two_ways),
    ("a stray pixel", "set: only 1 of 11520 labelled pixels have the value 77 "
     f"(set/labels/slice_0002.tif is the first file). ... {INSPECT}",
     lambda: all_rewritten("set/labels", lambda array: np.repeat(array[:20], 2, 1))(),
     lambda: all_rewritten("set/data", lambda array: np.repeat(array[:20], 2, 1))(),
     rewritten(LABEL, with_one(77)), TOML.unlink),
    # What dataset.toml says.
    ("an unreadable dataset.toml", "set/dataset.toml cannot be read ( ... ). Correct it, or remove "
     "it and run python -m xraylib data inspect set.", lambda: TOML.write_text("phases = ")),
    ("an unknown word", "set/dataset.toml has a fault in voxel: Extra inputs are not permitted. "
     "Correct it", lambda: TOML.write_text("voxel = 18.4")),
    ("one phase", "set/dataset.toml has a fault: it names 1 phase, not 2 to 16. Correct it",
     lambda: TOML.write_text('[[phases]]\nname = "pore"\nvalue = 0\n')),
    ("labels without a labelled pixel", "set: no label holds a labelled pixel. Label some pixels "
     "first.", lambda: TOML.write_text("ignore = [7]\n" + "".join(
         f'[[phases]]\nname = "p{value}"\nvalue = {value}\n' for value in (1, 2))),
     all_rewritten("set/labels", lambda array: np.full_like(array, 7))),
]:
    CASES.add(f"labelled: {name}", message, SET, *spoil)
CASES.add("labelled: a line break in the path", rf"a\nset/data {FOLDER}",
          SET.replace("data_dir=set", "'data_dir=a\nset'"))
CASES.add("labelled: a line break in a file's name", rf"data/a\n2.tif holds uint8, {TYPES}",
          SET, rewritten(IMAGE, lambda array: array.astype(np.uint8)),
          lambda: IMAGE.rename("set/data/a\n2.tif"))
CASES.add("labelled: the home of nobody", f"~nobody-of-this-name/set/data {FOLDER}",
          SET.replace("=set", "=~nobody-of-this-name/set"))
CASES.add("labelled: an empty name", f" /data {FOLDER}", SET.replace("=set", "=' '"))


@pytest.mark.parametrize("name", CASES)
def test_it_is_one_line_and_nothing_is_written(name, refuse):
    refuse(*CASES[name])
