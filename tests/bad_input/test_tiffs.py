"""Files that are damaged, foreign or not grey slices, wherever the library reads them."""

import os
import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile
from bad_input.spoiling import PREDICT, SET, Cases, Change
from PIL import Image

from xraylib.outlook.second_sample import open_excerpt

CASES = Cases()
Way = Callable[[Path, np.ndarray], object]  # to write a file in place of a good slice


def raw(path: Path, array: np.ndarray, told: bytes = b"", pages: int = 1, next_page: int = 0,
        **tags: int) -> None:
    """Write a TIFF of one strip by hand; `tags` t256, t257, ... replace those of its header.

    Several pages share the strip; `told` is the description.
    """
    height, width = array.shape
    start = 8 + array.nbytes + len(told)
    values = {256: width, 257: height, 258: 8 * array.itemsize, 259: 1, 262: 1, 273: 8, 277: 1,
              278: height, 279: array.nbytes} | {int(name[1:]): tags[name] for name in tags}
    entries = [(tag, 4, 1, value) for tag, value in values.items()]
    entries += [(270, 2, len(told), 8 + array.nbytes)] if told else []
    table = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    length = 2 + len(table) + 4
    chain = [*(start + length * page for page in range(1, pages)), next_page]
    path.write_bytes(struct.pack("<2sHI", b"II", 42, start) + array.tobytes() + told + b"".join(
        struct.pack("<H", len(entries)) + table + struct.pack("<I", each) for each in chain))


def packed_jpeg(path: Path, array: np.ndarray) -> None:
    """Write a page whose JPEG claims to be of 65,500 x 65,500 px."""
    tifffile.imwrite(path, array.astype(np.uint8), compression="jpeg")
    content = path.read_bytes()
    at = content.index(b"\xff\xc0") + 5
    path.write_bytes(content[:at] + struct.pack(">HH", 65500, 65500) + content[at + 4:])


def inflated(path: Path, array: np.ndarray) -> None:
    """Write a page of which the packed bytes become 100 MB."""
    packed = np.frombuffer(zlib.compress(bytes(10**8)), np.uint8)
    raw(path, packed[None], t256=24, t257=20, t258=16, t259=8, t278=20)


def two_ome_images(path: Path, array: np.ndarray) -> None:
    """Write two images that do not belong to one stack."""
    with tifffile.TiffWriter(path, ome=True) as tif:
        for _ in range(2):
            tif.write(array, contiguous=False)


def png(path: Path, array: np.ndarray) -> None:
    """Write a PNG under a name that ends in .tif."""
    Image.fromarray(array).save(path, "PNG")


def png_of_colours(path: Path, _: np.ndarray) -> None:
    """Write the beginning of a PNG of 16 bits per colour."""
    path.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">IIBB", 24, 20, 16, 2))


def ome(sizes: str, planes: str = "<TiffData/>") -> bytes:
    """The description of a stack by OME."""
    return (f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image><Pixels '
            f'DimensionOrder="XYZCT" SizeX="24" SizeY="20" {sizes}>{planes}</Pixels></Image>'
            "</OME>").encode()


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
FOREIGN = ("holds neither TIFF nor PNG, whatever its name says. Other formats (such as HDF5, "
           "NIfTI, NumPy, JPEG) are not read: export it as a TIFF.")
DAMAGED = f"cannot be read ( ... ). {AGAIN}"
TRUNCATED = f"is cut short (it ends before its pixels do). {AGAIN}"
UNREADABLE = f"page 1 cannot be read ( ... ). {AGAIN}"
HUGE = f"promises ... 000,000,000,000 bytes of pixels and holds ... {AGAIN}"
GREY = ("page 1 holds ... {} ... Slices must be grey images, (height, width), of uint8, uint16, "
        "int16, uint32, int32, int64, float16, float32, float64 or 1 bit: save it so.")
COLOURS = "is in colour. Save images in grey."
SAMPLES = "several values per pixel. Split the channels and give one."
CHANNELS = "holds 2 channels. Split the channels and give one. If they are slices, say so"
STACK = "Save one stack (slices, height, width), or one file per slice."
OTHER_COUNT = f"pages, but describes another number of slices. {STACK}"
UNLIKE = "page 2 holds ... page 1 ... All pages must be alike: save one file per slice."
NO_FILE = "is not a file (but a folder, pipe or broken link). Remove it."
SIDES = "Slices must have at least 16 px per side: crop less, or remove this file."
GONE = Path("/nowhere/slice.tif")


def channels(array: np.ndarray, n: int = 3) -> np.ndarray:
    """Different channels of 16 bits, (H, W, n)."""
    return np.stack([array.astype(np.uint16) // (1 + index) for index in range(n)], -1)


def pair(array: np.ndarray) -> np.ndarray:
    """Two slices, (2, H, W)."""
    return np.stack([array, array[::-1]])


ODDITIES: dict[str, tuple[str, Way]] = {
    "of no bytes": (FOREIGN, lambda path, _: path.write_bytes(b"")),
    "of text": (FOREIGN, lambda path, _: path.write_text("hello")),
    "that is HDF5": (FOREIGN, lambda path, _: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99))),
    "that is NumPy": (FOREIGN, lambda path, _: path.write_bytes(b"\x93NUMPY\1\0" + bytes(99))),
    "that is a JPEG": (FOREIGN, lambda path, array: Image.fromarray(array.astype(np.uint8)).save(
        path, "JPEG")),
    "that is a PNG of nothing": (f"is (0, 0) px. {SIDES}", lambda path, _: path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + bytes(99))),
    "that is a PNG cut short": (UNREADABLE, in_turn(png, cut(-100))),
    "that is half a header of a PNG": (DAMAGED, in_turn(png, cut(20))),
    "that is a PNG of 16-bit colours": (
        "is in colour, of 16 bits. Save it in grey, or with 8 bits.", png_of_colours),
    "with half a header": (DAMAGED, in_turn(written(), cut(6))),
    "cut before its pages": (DAMAGED, in_turn(written(), cut(20))),
    "cut short": (TRUNCATED, in_turn(written(), cut(-100))),
    "packed and cut short": (TRUNCATED, in_turn(written(compression="zlib"), cut(-100))),
    "packed and damaged": (UNREADABLE, in_turn(written(compression="zlib"), flip_bits)),
    "packed as nobody knows": (UNREADABLE, partial(raw, t259=64999)),
    "that promises 10^6 x 10^6 px": (HUGE, partial(raw, t256=10**6, t257=10**6, t278=10**6)),
    "that promises them packed": (HUGE, partial(
        raw, t256=10**6, t257=10**6, t278=10**6, t259=32773)),
    "that promises 200 rows": (TRUNCATED, partial(raw, t257=200, t278=200)),
    "that promises more rows than bytes": (TRUNCATED, partial(raw, t257=200, t278=200, t279=99)),
    "that packs more than its pixels": (
        f"page 1 holds more packed bytes than its pixels need. {AGAIN}", inflated),
    "that holds too large a JPEG": (
        f"page 1 holds a JPEG of [65500, 65500] px that does not fit in. {AGAIN}", packed_jpeg),
    "of pages that share their pixels": (
        "promise more pixels than the file holds.", partial(raw, pages=9)),
    "that describes 10^9 slices (tifffile)": (
        TRUNCATED, partial(raw, told=b'{"shape": [1000000000, 20, 24]}')),
    "that describes 10^9 slices (ImageJ)": (
        TRUNCATED, partial(raw, told=b"ImageJ=1.53\nimages=1000000000\nslices=1000000000\n")),
    "that describes 10^9 slices (OME)": (
        TRUNCATED, partial(raw, told=ome('SizeZ="1000000000" SizeC="1" SizeT="1"'))),
    "that describes -5 slices": (OTHER_COUNT, partial(raw, told=b"ImageJ=1.53\nslices=-5\n")),
    "that describes 5 slices of 2": (OTHER_COUNT, written(
        pair, photometric="minisblack", description="ImageJ=1.53\nslices=5\n")),
    "that describes slices in another order": (
        f"stores its slices in another order than its pages. {STACK}", partial(raw, told=ome(
            'SizeZ="2" SizeC="1" SizeT="1"', '<TiffData IFD="0" FirstZ="1" PlaneCount="1"/>'))),
    "with brackets without end": (DAMAGED, partial(raw, told=b'{"shape": ' + b"[" * 10**5)),
    "that lacks strips": (f"page 1 lacks a part of its pixels. {AGAIN}", partial(raw, t257=200)),
    "with sparse strips": (f"page 1 lacks a part of its pixels. {AGAIN}", partial(raw, t273=0)),
    "with empty strips": (f"page 1 lacks a part of its pixels. {AGAIN}", partial(raw, t279=0)),
    "of width 0": (f"page 1 is (20, 0) px. {SIDES}", partial(raw, t256=0)),
    "with a page nowhere": (f"is damaged after its page 1. {AGAIN}", partial(raw, next_page=10**7)),
    "to be shown turned": (
        "page 1 is to be shown turned or mirrored (Orientation 6), ... Save both upright, without "
        "that tag.", partial(raw, t274=6)),
    "of colours": (COLOURS, written(channels, photometric="rgb")),
    "of colours and alpha": (COLOURS, written(partial(channels, n=4), photometric="rgb")),
    "of pages of colour planes": (
        "holds 2 x 3 planes of colours. Split the channels and give one.", written(
            lambda array: np.stack([channels(array).transpose(2, 0, 1)] * 2), photometric="rgb",
            planarconfig="separate")),
    "of two values per pixel": (SAMPLES, written(
        partial(channels, n=2), photometric="minisblack", planarconfig="contig")),
    "of five planes": (SAMPLES, written(
        lambda array: np.stack([array] * 5), photometric="minisblack", planarconfig="separate")),
    "of cyan, magenta, yellow and black": (GREY.format("SEPARATED"), written(
        partial(channels, n=4), photometric="separated")),
    "of numbers whose white is 0": (
        "holds float32 that counts from white (MINISWHITE). Save it so that brighter pixels have "
        "larger values.", written(lambda array: array.astype(np.float32), photometric=0)),
    **{f"of {dtype}": (GREY.format(dtype), written(lambda array, dtype=dtype: array.astype(dtype)))
       for dtype in ("int8", "uint64", "complex64")},
    "of pages of two sizes": (UNLIKE, in_turn(
        written(), written(lambda array: array[:-2], append=True))),
    "of pages of two types": (UNLIKE.replace("holds", "holds float32"), in_turn(
        written(), written(lambda array: array.astype(np.float32), append=True))),
    "of two images": (f"holds 2 separate images. {STACK}", two_ome_images),
    "of two channels (ImageJ)": (CHANNELS, written(pair, imagej=True, metadata={"axes": "CYX"})),
    "of two channels (OME)": (CHANNELS, written(pair, ome=True, metadata={"axes": "CYX"})),
    "of two channels (tifffile)": (CHANNELS, written(
        pair, photometric="minisblack", metadata={"axes": "CYX"})),
    "of two channels (tifffile before 2026)": (CHANNELS, written(
        pair, photometric="minisblack", metadata=None,
        description='{"axes": "CYX", "shape": [2, 20, 24]}')),
    **{f"of slices at two times ({key})": (
        f"holds 2 x 2 slices, at several points in time. {STACK}", written(
            lambda array: np.stack([pair(array)] * 2), metadata={"axes": "TZYX"}, **{key: True}))
       for key in ("imagej", "ome")},
    "of four dimensions": (f"holds 2 x 2 slices. {STACK}", written(
        lambda array: np.stack([pair(array)] * 2), photometric="minisblack")),
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
