"""Labelled data in the layouts and types that people have are read pixel by pixel."""

import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile
from conftest import blobs
from PIL import Image

from xraylib.data import NI_YSZ, GreyScale, Phases, save_slices
from xraylib.datasets import load_folders, load_slices
from xraylib.errors import DataError
from xraylib.formats.layouts import parse_label_map, write_dataset_file
from xraylib.losses import IGNORE

SLICES = blobs(6, 40, 56)
GREY, CLASSES = np.stack(SLICES.images), np.stack(SLICES.labels)
Write = Callable[..., object]


def slices(array: np.ndarray, folder: Path, name: str = "s_{:03d}.tif", first: int = 1,
           **options) -> None:
    """Write one TIFF per slice."""
    folder.mkdir(parents=True)
    for number, each in enumerate(array, first):
        tifffile.imwrite(folder / name.format(number), each,
                         **{"photometric": "minisblack"} | options)


def stack(array: np.ndarray, folder: Path, name: str = "stack.tif", **options) -> None:
    """Write one TIFF of many pages."""
    folder.mkdir(parents=True)
    tifffile.imwrite(folder / name, array, **{"photometric": "minisblack"} | options)


def pngs(array: np.ndarray, folder: Path, mode: str | None = None) -> None:
    """Write one PNG per slice."""
    folder.mkdir(parents=True)
    for number, each in enumerate(array, 1):
        image = Image.fromarray(each)
        (image.convert(mode) if mode else image).save(folder / f"s_{number:03d}.png")


def palette(array: np.ndarray, folder: Path) -> None:
    """Write TIFFs whose values are indices of colours."""
    colours = np.random.default_rng(0).integers(0, 65535, (3, 256), np.uint16)
    slices(array, folder, photometric="palette", colormap=colours)


def palette_pngs(array: np.ndarray, folder: Path) -> None:
    """Write PNGs whose values are indices of colours."""
    folder.mkdir(parents=True)
    for number, each in enumerate(array, 1):
        image = Image.fromarray(each).convert("P")
        image.putdata(each.ravel())
        image.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255])
        image.save(folder / f"s_{number:03d}.png")


def rgb(array: np.ndarray, folder: Path) -> None:
    """Write grey slices as RGB of equal channels."""
    slices(np.repeat(array[..., None], 3, -1), folder, photometric="rgb")


ij = partial(stack, imagej=True, photometric=None, metadata={"axes": "ZYX"})
LAYOUTS: dict[str, tuple[Write, Write, list[int]]] = {
    "slices": (slices, slices, [1, 2, 3, 4, 5, 6]),
    "other names": (partial(slices, name="SOC{:04d}.tiff", first=7),
                    partial(slices, name="mask__{:d}_label.TIF", first=7), [7, 8, 9, 10, 11, 12]),
    "suffixes": (partial(slices, name="s_{:02d}_ch00.tif"),
                 partial(slices, name="s_{:02d}_seg.tif"), [1, 2, 3, 4, 5, 6]),
    "OME slices": (partial(slices, name="s_{}.ome.tif"), slices, [1, 2, 3, 4, 5, 6]),
    "stacks": (stack, stack, [1, 2, 3, 4, 5, 6]),
    "packed stacks": (partial(stack, compression="zlib"), partial(stack, compression="zlib"),
                      [1, 2, 3, 4, 5, 6]),
    "ImageJ": (ij, ij, [1, 2, 3, 4, 5, 6]),
    "BigTIFF": (partial(stack, bigtiff=True), stack, [1, 2, 3, 4, 5, 6]),
    "OME with Z": (partial(stack, name="s.ome.tif", ome=True, metadata={"axes": "ZYX"}),
                   stack, [1, 2, 3, 4, 5, 6]),
    "PNG masks": (slices, pngs, [1, 2, 3, 4, 5, 6]),
    "big-endian": (partial(slices, byteorder=">"), partial(stack, byteorder=">"), []),
}


@pytest.mark.parametrize(("images", "masks"), [("data", "labels"), ("images", "masks")])
@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_is_read(tmp_path, name, images, masks):
    write_images, write_masks, numbers = LAYOUTS[name]
    write_images(GREY, tmp_path / images)
    write_masks(CLASSES + np.uint8(1), tmp_path / masks)
    if not numbers:
        (tmp_path / "dataset.toml").write_text('pairing = "order"\n')
    for folder in (images, masks):
        (tmp_path / folder / "._s_001.tif").write_bytes(b"\0\5\26\7")
        (tmp_path / folder / "Thumbs.db").write_bytes(b"\0")
    found = load_slices(tmp_path)
    assert np.array_equal(found.images, GREY) and found.images[0].dtype == np.uint16
    assert np.array_equal(found.labels, CLASSES) and found.labels[0].dtype == np.uint8
    assert found.numbers.tolist() == numbers or name == "big-endian"
    assert found.phases == Phases.numbered((1, 2, 3)) and found.grey_scale == GreyScale()


def stretched(array):
    """What becomes of grey levels that are neither 8, 12 nor 16 bits of an integer."""
    low = np.quantile(array, 0.001, method="higher")
    high = np.quantile(array, 0.999, method="lower")
    return (8192 + (array.astype(float) - low) * (57343 - 8192) / (high - low)).clip(0, 65535)


BYTES, TWELVE = (GREY >> 8).astype(np.uint8), GREY >> 4
BIT = GREY.astype(float) / 65535
IMAGES: dict[str, tuple[Write, np.ndarray, np.ndarray]] = {
    "uint8": (slices, BYTES, BYTES * np.uint16(257)), "12 bits": (slices, TWELVE, TWELVE * 16),
    "uint16": (slices, GREY, GREY), "PNG of 8 bits": (pngs, BYTES, BYTES * np.uint16(257)),
    "PNG of 16 bits": (pngs, GREY, GREY), "RGB": (rgb, BYTES, BYTES * np.uint16(257)),
    "MINISWHITE": (partial(slices, photometric="miniswhite"), 255 - BYTES, BYTES * np.uint16(257)),
    "int16 from 0": (slices, (GREY >> 1).astype(np.int16), GREY >> 1),
    "int16": (slices, (GREY - 32768.0).astype(np.int16), stretched(GREY)),
    "int32": (slices, GREY.astype(np.int32) * 9, stretched(GREY)),
    "uint32": (slices, GREY.astype(np.uint32), GREY),
    "float16": (slices, BIT.astype(np.float16), stretched(BIT.astype(np.float16))),
    "float32": (stack, BIT.astype(np.float32), stretched(BIT)),
    "float64": (slices, BIT * 1e-6, stretched(BIT)),
}


@pytest.mark.parametrize("name", IMAGES)
def test_images_of_every_type_become_16_bits(tmp_path, name):
    write, given, expected = IMAGES[name]
    write(given, tmp_path / "data")
    (stack if write is stack else slices)(CLASSES, tmp_path / "labels")
    found = load_slices(tmp_path)
    assert found.images[0].dtype == np.uint16
    assert np.abs(np.stack(found.images) - expected).max() <= (1 if "float" in name else 0.5)
    assert np.array_equal(found.labels, CLASSES)
    assert f"The grey levels are {found.grey_scale.dtype}" in found.notes[0]


MASKS: dict[str, tuple[Write, np.ndarray]] = {
    **{np.dtype(dtype).name: (slices, CLASSES.astype(dtype)) for dtype in (
        np.uint8, np.uint16, np.int16, np.uint32, np.int32, np.int64, np.float32, np.float64)},
    "palette": (palette, CLASSES), "PNG": (pngs, CLASSES), "PNG with a palette": (
        palette_pngs, CLASSES), "grey RGB": (rgb, CLASSES), "PNG of RGB": (
        partial(pngs, mode="RGB"), CLASSES),
    "1 bit": (slices, CLASSES > 0), "PNG of 1 bit": (pngs, CLASSES > 0),
}


@pytest.mark.parametrize("name", MASKS)
def test_masks_of_every_type_give_the_same_classes(tmp_path, name):
    write, given = MASKS[name]
    slices(GREY, tmp_path / "data")
    write(given, tmp_path / "labels")
    found = load_slices(tmp_path)
    assert np.array_equal(found.labels, np.minimum(CLASSES, given.max()))
    assert len(found.phases) == (2 if "1 bit" in name else 3)


@pytest.mark.parametrize("write", [slices, pngs])
def test_masks_in_colour_are_read_with_a_map(tmp_path, write):
    colours = np.array([(255, 0, 0), (0, 128, 0), (0, 0, 0)], np.uint8)[CLASSES]
    slices(GREY, tmp_path / "data")
    write(colours, tmp_path / "labels", **{"photometric": "rgb"} if write is slices else {})
    with pytest.raises(DataError, match="s_001.* is in colour.*--labels '#"):
        load_slices(tmp_path)
    write_dataset_file(tmp_path, parse_label_map("#FF0000=pore,#008000=YSZ,#000000=ignore"))
    found = load_slices(tmp_path)
    assert np.array_equal(found.labels, np.array([0, 1, IGNORE])[CLASSES])
    assert found.phases.names == ("pore", "YSZ") and found.phases.values == (0, 1)


def test_saved_slices_are_read_unchanged(tmp_path):
    phases = Phases(("a", "b", "c"), (255, 0, 1000), NI_YSZ.colours)
    saved = blobs(8, 40, 48)
    saved.labels[3][:4] = IGNORE
    for each in (saved, blobs(4, 20, 20)):
        for kind in (NI_YSZ, phases):
            given = type(saved)(each.images, each.labels, each.numbers, phases=kind,
                                voxel_nm=(40.0, 20.0, 20.0))
            folder = tmp_path / f"{len(each)}{kind.names[0]}"
            save_slices(given, folder)
            found = load_slices(folder)
            assert found.fingerprint() == given.fingerprint()
            assert found.phases == kind and found.voxel_nm == (40, 20, 20)


def test_loading_holds_one_copy_of_the_data(tmp_path):
    save_slices(blobs(20, 256, 256), tmp_path / "set")
    tracemalloc.start()
    found = load_slices(tmp_path / "set")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    held = sum(array.nbytes for array in (*found.images, *found.labels))
    assert peak < 1.3 * held + 2.5 * 10**6  # the second: one slice as float64, with copies


def test_slices_may_have_different_sizes(tmp_path):
    for kind, array in (("data", GREY), ("labels", CLASSES)):
        (tmp_path / kind).mkdir()
        for number, each in enumerate(array, 1):
            tifffile.imwrite(tmp_path / kind / f"{number}.tif", each[:, : 50 + number])
    found = load_slices(tmp_path)
    assert [image.shape for image in found.images] == [(40, min(56, 50 + n)) for n in range(1, 7)]
    assert all(np.array_equal(label, array[:, : 50 + n]) for n, (label, array)
               in enumerate(zip(found.labels, CLASSES, strict=True), 1))


def test_images_without_a_label_are_left_aside_and_reported(tmp_path):
    slices(GREY, tmp_path / "data")
    slices(CLASSES[1::3], tmp_path / "labels")
    for old, new in ((2, 5), (1, 2)):
        (tmp_path / f"labels/s_{old:03d}.tif").rename(tmp_path / f"labels/s_{new:03d}.tif")
    found = load_slices(tmp_path)
    assert found.numbers.tolist() == [2, 5] and np.array_equal(found.labels, CLASSES[1::3])
    assert np.array_equal(found.images, GREY[1::3])
    assert found.notes[-1] == "4 of 6 images have no label and are left aside."


def test_labels_without_a_labelled_pixel_are_left_aside_and_reported(tmp_path):
    stack(GREY, tmp_path / "images")
    masks = np.zeros_like(CLASSES)
    masks[2:4] = CLASSES[2:4] + 1
    stack(masks, tmp_path / "masks")
    (tmp_path / "dataset.toml").write_text("ignore = [0]\nvoxel_nm = [40, 20, 20]")
    found = load_slices(tmp_path)
    assert found.numbers.tolist() == [3, 4] and np.array_equal(found.labels, CLASSES[2:4])
    assert found.voxel_nm == (40, 20, 20)
    assert found.notes[-1] == ("4 labels hold no labelled pixel and are left aside, the first of "
                               f"them in {tmp_path / 'masks' / 'stack.tif'}, page 1.")
    (tmp_path / "dataset.toml").write_text("ignore = [0, 1, 2, 3]")
    with pytest.raises(DataError, match="the labels hold 0 value"):
        load_slices(tmp_path)


def test_masks_written_in_two_ways_are_refused(tmp_path):
    slices(GREY, tmp_path / "data")
    slices([(mask > 0) * np.uint8(255 if index % 2 else 1) for index, mask in enumerate(CLASSES)],
           tmp_path / "labels")
    with pytest.raises(DataError, match="the value 1 .*s_001.tif.*, others 255 .*s_002.tif"):
        load_slices(tmp_path)


def test_labels_of_the_neighbour_are_refused_unless_they_are_meant(tmp_path):
    """Images 1..6, labels 0..5, of which the reader removes those without a partner."""
    slices(GREY, tmp_path / "data")
    slices(CLASSES, tmp_path / "labels", first=0)
    with pytest.raises(DataError, match="numbers 1 to 6, labels 0 to 5.*Do not remove files"):
        load_slices(tmp_path)
    for gone in ("data/s_006.tif", "labels/s_000.tif"):
        (tmp_path / gone).unlink()
    with pytest.raises(DataError, match='the label of the previous slice fits.*pairing = "number"'):
        load_slices(tmp_path)
    (tmp_path / "dataset.toml").write_text('pairing = "number"')
    assert len(load_slices(tmp_path)) == 5


@pytest.mark.parametrize("hot", [1, 10, 1e3, 1e5, 1e6])
def test_a_hot_pixel_leaves_thousands_of_grey_levels(tmp_path, hot):
    grey = BIT.astype(np.float32)
    grey[3, 10, 10] = hot
    slices(grey, tmp_path / "data")
    slices(CLASSES, tmp_path / "labels")
    assert len(np.unique(np.stack(load_slices(tmp_path).images))) > 5000


@pytest.mark.parametrize(("images", "masks", "message"), [
    ([GREY, (GREY >> 8).astype(np.uint8)], [CLASSES] * 2, "s_007.tif holds uint8, s_001.tif uint"),
    ([GREY], [CLASSES[:, 1:]], r"labels/s_001.tif is \(39, 56\) px, its image \(40, 56\)"),
    ([np.full_like(GREY, 7)], [CLASSES], "s_001.tif and the slices after it hold one grey level"),
    ([np.concatenate([GREY[:5], GREY[:1] * 0 + 7])], [CLASSES],
     "data/s_006.tif holds one grey level only, 7. Export"),
])
def test_what_does_not_fit_is_refused(tmp_path, images, masks, message):
    for kind, parts in (("data", images), ("labels", masks)):
        slices([each for part in parts for each in part], tmp_path / kind)
    with pytest.raises(DataError, match=message):
        load_slices(tmp_path)


@pytest.mark.parametrize(("write", "expected"), [
    (partial(stack, imagej=True, photometric=None, resolution=(1 / 0.02, 1 / 0.02),
             metadata={"axes": "ZYX", "unit": "um", "spacing": 0.05}), (50, 20, 20)),
    (partial(stack, name="s.ome.tif", ome=True, metadata={
        "axes": "ZYX", "PhysicalSizeX": 0.02, "PhysicalSizeY": 0.02, "PhysicalSizeZ": 0.05}),
     (50, 20, 20)),
    (stack, None),
])
def test_the_size_of_a_voxel_is_read_or_given_and_never_assumed(tmp_path, write, expected):
    write(GREY, tmp_path / "data")
    stack(CLASSES, tmp_path / "labels")
    found = load_slices(tmp_path).voxel_nm
    assert found == (expected and pytest.approx(expected))
    (tmp_path / "dataset.toml").write_text("voxel_nm = 7.5")
    assert load_slices(tmp_path).voxel_nm == (7.5, 7.5, 7.5)


# -- several folders -------------------------------------------------------------------------------


def test_slices_of_two_folders_are_never_neighbours(tmp_path):
    for name, first, dtype in (("a", 5, np.uint16), ("b", 1, np.uint8), ("c", 9, np.uint16)):
        slices((GREY >> (8 if dtype == np.uint8 else 0)).astype(dtype), tmp_path / name / "data",
               first=first)
        slices(CLASSES, tmp_path / name / "labels", first=first)
    found = load_folders([tmp_path / name for name in "abc"])
    assert found.numbers.tolist() == [*range(1, 7), *range(8, 14), *range(15, 21)]
    assert np.array_equal(found.labels, np.concatenate([CLASSES] * 3))
    assert np.array_equal(found.images[12:], GREY) and found.grey_scale == GreyScale()
    assert np.array_equal(found.images[6:12], (GREY >> 8) * 257)


def test_float_grey_levels_of_two_folders_are_scaled_alike(tmp_path):
    for name, grey in (("a", BIT), ("b", BIT[:3] / 2)):
        slices(grey.astype(np.float32), tmp_path / name / "data")
        slices(CLASSES[: len(grey)], tmp_path / name / "labels")
    first, both = load_slices(tmp_path / "a"), load_folders([tmp_path / "a", str(tmp_path / "b")])
    scale = first.grey_scale
    assert both.grey_scale == scale and np.array_equal(both.images[3:], first.images)
    expected = (BIT[:3] / 2 * scale.gain + scale.offset).clip(0, 65535)
    assert np.abs(np.stack(both.images[:3]) - expected).max() < 1


def test_folders_of_other_phases_are_refused(tmp_path):
    save_slices(SLICES, tmp_path / "a")
    slices(GREY, tmp_path / "b/data")
    slices(CLASSES, tmp_path / "b/labels")
    with pytest.raises(DataError, match="b has the phases .*phase 0.*a has .*pore.* the same d"):
        load_folders([tmp_path / "a", tmp_path / "b"])
