"""TIFF files that are damaged, foreign or not grey slices, wherever the library reads them."""

import os
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile
from bad_input.spoiling import PREDICT, SET, Cases, Change

from xraylib.outlook.second_sample import open_excerpt

CASES = Cases()
Way = Callable[[Path, np.ndarray], object]  # to write a file in place of a good slice


def raw(path: Path, array: np.ndarray, next_page: int = 0, **tags: int) -> None:
    """Write a TIFF of one strip by hand; `tags` t256, t257, ... replace those of its header."""
    height, width = array.shape
    values = {256: width, 257: height, 258: 8 * array.itemsize, 259: 1, 262: 1, 273: 8, 277: 1,
              278: height, 279: array.nbytes} | {int(name[1:]): tags[name] for name in tags}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in values.items())
    path.write_bytes(struct.pack("<2sHI", b"II", 42, 8 + array.nbytes) + array.tobytes()
                     + struct.pack("<H", len(values)) + entries + struct.pack("<I", next_page))


def written(change: Change = lambda array: array, **options) -> Way:
    """Write the changed array as tifffile does."""
    return lambda path, array: tifffile.imwrite(path, change(array), **options)


def in_turn(*ways: Way) -> Way:
    """Do one after the other."""
    return lambda path, array: [way(path, array) for way in ways]


def cut(size: int) -> Way:
    """Keep the first bytes; negative: all but the last ones."""
    return lambda path, _: path.write_bytes(path.read_bytes()[:size])


def flip_bits(path: Path, _: np.ndarray) -> None:
    """Damage a file in the middle of its pixels."""
    content = bytearray(path.read_bytes())
    for at in range(len(content) - 90, len(content) - 60):
        content[at] ^= 255
    path.write_bytes(content)


AGAIN = "Copy or export it again."
TIFF = f"cannot be read as a TIFF ( ... ). {AGAIN}"
TRUNCATED = f"is cut short (it ends before its pixels do). {AGAIN}"
UNREADABLE = f"page 1 cannot be read ( ... ). {AGAIN}"
HUGE = f"promises ... 000,000,000,000 bytes of pixels and holds ... {AGAIN}"
GREY = ("page 1 holds ... {} ... Slices must be grey (MINISBLACK), (height, width), of uint8, "
        "uint16, float32: save it so.")
UNLIKE = "page 2 holds ... page 1 ... All pages must be alike: save one file per slice."
NO_FILE = "is not a file (but a folder, pipe or broken link). Remove it."
SIDES = "Slices must have at least 16 px per side: crop less, or remove this file."
GONE = Path("/nowhere/slice.tif")
ODDITIES: dict[str, tuple[str, Way]] = {
    "of no bytes": (TIFF, lambda path, _: path.write_bytes(b"")),
    "of text": (TIFF, lambda path, _: path.write_text("hello")),
    "that is a PNG": (TIFF, lambda path, _: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(99))),
    "with half a header": (TIFF, in_turn(written(), cut(6))),
    "cut before its pages": (TIFF, in_turn(written(), cut(20))),
    "cut short": (TRUNCATED, in_turn(written(), cut(-100))),
    "packed and cut short": (TRUNCATED, in_turn(written(compression="zlib"), cut(-100))),
    "packed and damaged": (UNREADABLE, in_turn(written(compression="zlib"), flip_bits)),
    "packed as nobody knows": (UNREADABLE, partial(raw, t259=64999)),
    "that promises 10^6 x 10^6 px": (HUGE, partial(raw, t256=10**6, t257=10**6, t278=10**6)),
    "that promises them packed": (HUGE, partial(
        raw, t256=10**6, t257=10**6, t278=10**6, t259=32773)),
    "that promises 200 rows": (TRUNCATED, partial(raw, t257=200, t278=200)),
    "that lacks strips": (f"page 1 lacks a part of its pixels. {AGAIN}", partial(raw, t257=200)),
    "with sparse strips": (f"page 1 lacks a part of its pixels. {AGAIN}", partial(raw, t273=0)),
    "with empty strips": (f"page 1 lacks a part of its pixels. {AGAIN}", partial(raw, t279=0)),
    "of width 0": (f"page 1 is (20, 0) px. {SIDES}", partial(raw, t256=0)),
    "with a page nowhere": (f"is damaged after its page 1. {AGAIN}", partial(raw, next_page=10**7)),
    "of colours": (GREY.format("RGB"), written(
        lambda array: np.stack([array] * 3, -1), photometric="rgb")),
    "of colours and alpha": (GREY.format("RGB"), written(
        lambda array: np.stack([array] * 4, -1), photometric="rgb")),
    "of colours one after the other": (GREY.format("RGB"), written(
        lambda array: np.stack([array] * 3), photometric="rgb", planarconfig="separate")),
    "of grey and alpha": (GREY.format("MINISBLACK"), written(
        lambda array: np.stack([array] * 2, -1), photometric="minisblack", planarconfig="contig",
        extrasamples=["unassalpha"])),
    "of a palette": (GREY.format("PALETTE"), written(
        lambda array: array.astype(np.uint8), photometric="palette",
        colormap=np.zeros((3, 256), np.uint16))),
    "whose white is 0": (GREY.format("MINISWHITE"), written(photometric="miniswhite")),
    **{f"of {dtype}": (GREY.format(dtype), written(lambda array, dtype=dtype: array.astype(dtype)))
       for dtype in ("int8", "int16", "int32", "uint32", "uint64", "float16", "float64",
                     "complex64", "bool")},
    "of pages of two sizes": (UNLIKE, in_turn(
        written(), written(lambda array: array[:-2], append=True))),
    "of pages of two types": (UNLIKE.replace("holds", "holds float32"), in_turn(
        written(), written(lambda array: array.astype(np.float32), append=True))),
    "of two images": ("holds 2 separate images ... Save one stack (slices, height, width), or one "
                      "file per slice.", in_turn(written(), written(append=True))),
    "of four dimensions": (
        "holds 1 separate images, the first of (2, 2, 20, 24). Save one stack", written(
            lambda array: np.stack([[array] * 2] * 2), photometric="minisblack")),
    "of 5 x 5 px": (f"page 1 is (5, 5) px. {SIDES}", written(lambda array: array[:5, :5])),
    "of 15 rows": (f"page 1 is (15, 24) px. {SIDES}", written(lambda array: array[:15])),
    "that is a pipe": (NO_FILE, lambda path, _: os.mkfifo(path)),
    "that is a folder": (NO_FILE, lambda path, _: path.mkdir()),
    "that is a broken link": (NO_FILE, lambda path, _: path.symlink_to(GONE)),
    "that is a link to itself": (NO_FILE, lambda path, _: path.symlink_to(path.name)),
    "that is a device": (NO_FILE, lambda path, _: path.symlink_to("/dev/zero")),
}
READERS: dict[str, tuple[str, str | Callable]] = {
    "an image": ("set/data/slice_0002.tif", SET),
    "a label": ("set/labels/slice_0002.tif", SET),
    "a slice to segment": ("volume/slice_0002.tif", PREDICT),
    "a slice to look at": ("volume/slice_0002.tif", partial(open_excerpt, "volume", "tiny")),
    "an image to convert": ("set/data/slice_0002.tif", "data convert set new"),
}


def replace(path: str, way: Way) -> None:
    """Write another file in place of a good TIFF."""
    array = tifffile.imread(path)
    Path(path).unlink()
    way(Path(path), array)


for reader, (name, call) in READERS.items():
    for oddity, (message, way) in ODDITIES.items():
        CASES.add(f"{reader} {oddity}", f"{name} ... {message}", call, partial(replace, name, way))


@pytest.mark.parametrize("name", CASES)
def test_it_is_one_line_and_nothing_is_written(name, refuse):
    refuse(*CASES[name])
