"""Checks what a TIFF file claims against what it holds, before any of its pixels are read."""

import json
from math import prod
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from tifffile import PHOTOMETRIC, TiffFile
from tifffile.tifffile import jpeg_shape

from ..errors import DataError

MIN_SIDE = 16  # px of a slice
MAX_COMPRESSION, ALWAYS_ALLOWED = 100, 2**28  # limits of a page: bytes per file byte, or bytes
DTYPES = ("uint8", "uint16", "int16", "uint32", "int32", "int64", "float16", "float32", "float64")
KINDS = (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.RGB, PHOTOMETRIC.PALETTE)
JPEG = {6, 7, 33007, 34892}  # codes of compression
ALPHA = {1, 2}  # codes of an extra sample that is opacity; others are measured values
AGAIN = "Copy or export it again."
TRUNCATED = f"is cut short (it ends before its pixels do). {AGAIN}"
STACK = "Save one stack (slices, height, width), or one file per slice."


def check_side(place: str, size: tuple[int, ...]) -> None:
    """Raise `DataError` if an image, (H, W), is smaller than the library can use."""
    if min(size) < MIN_SIDE:
        raise DataError(f"{place} is {tuple(map(int, size))} px. Slices must have at least "
                        f"{MIN_SIDE} px per side: crop less, or remove this file.")


def check_promise(path: Path, unpacked: int, held: int) -> None:
    """Raise `DataError` if a file of `held` bytes cannot hold a page of `unpacked` bytes.
    Args:
        path, unpacked, held: The file; bytes of one page when unpacked; bytes of the file.
    """
    if unpacked > max(MAX_COMPRESSION * held, ALWAYS_ALLOWED):
        raise DataError(f"{path} promises {unpacked:,} bytes of pixels and holds {held:,}. {AGAIN}")


def check_pages(path: Path, tif: TiffFile, held: int) -> list[Any]:
    """Return the pages of an open TIFF file, all complete and alike, or raise `DataError`.
    Args:
        path, tif, held: The file, its open form, and its size in bytes.
    """
    pages: list[Any] = []
    pixels = 0
    for number, page in enumerate(tif.pages, 1):
        pages.append(page)
        _check_kind(page, f"{path}, page {number}")
        _check_alike(page, pages[0], f"{path}, page {number}")
        _check_pixels(page, path, number, held)
        if page.compression in JPEG:
            _check_jpegs(page, f"{path}, page {number}")
        pixels += min(page.nbytes, sum(page.databytecounts))
        if pixels > held:
            raise DataError(f"{path}, pages 1 to {number} promise more pixels than the file holds. "
                            f"{AGAIN}")
    tif.filehandle.seek(tif.pages.next_page_offset or 0)
    if tif.filehandle.read(tif.tiff.offsetsize) != bytes(tif.tiff.offsetsize):  # not the last page
        raise DataError(f"{path} is damaged after its page {len(pages)}. {AGAIN}")
    return pages


def count_slices(path: Path, tif: TiffFile, pages: list[Any], held: int) -> int:
    """Return the number of slices that the pages hold according to the file's own description.
    Args:
        path, tif, pages, held: As for `check_pages`, and what it returned.
    Raises: DataError: There are channels or several axes, or slices and pages differ in number.
    """
    first = pages[0]
    axes = [(axis, size) for axis, size in _described_axes(path, tif, first) if size != 1]
    if any(axis == "C" for axis, _ in axes):
        raise DataError(f"{path} holds {dict(axes)['C']} channels. Split the channels and give "
                        "one. If they are slices, say so in the file: by Image > Properties "
                        """of Fiji, or by metadata={"axes": "ZYX"} of tifffile.imwrite.""")
    if len(axes) > 1:
        times = ", at several points in time" if "T" in dict(axes) else ""
        sizes = " x ".join(str(size) for _, size in axes)
        raise DataError(f"{path} holds {sizes} slices{times}. {STACK}")
    # tifffile, and so imageio and scikit-image, write 3 or 4 slices as the planes of one RGB(A)
    # image. Programs that write colours mix them pixel by pixel, so planes are taken for slices.
    planes = int(first.samplesperpixel) if first.planarconfig == 2 else 1
    count = axes[0][1] if axes else max(len(pages), planes)
    if planes > 1 and (len(pages) > 1 or count != planes):
        raise DataError(f"{path} holds {len(pages)} x {planes} planes of colours. Split the "
                        "channels and give one.")
    # ImageJ's format beyond 4 GB, and that of MetaMorph, have one page for all slices, too.
    in_one = len(pages) == 1 and count > 1 and first.is_final and len(first.shape) == 2
    if in_one and first.dataoffsets[0] + count * first.nbytes > held:
        raise DataError(f"{path} {TRUNCATED}")
    if count not in (len(pages), planes) and not in_one:
        raise DataError(f"{path} holds {len(pages)} pages, but describes another number of slices. "
                        f"{STACK}")
    return count


def _check_kind(page: Any, place: str) -> None:
    """Raise `DataError` unless a page is grey, palette or RGB, of a dtype that can be read."""
    size, kind = tuple(map(int, page.shape)), "none" if page.dtype is None else page.dtype.name
    name = PHOTOMETRIC(page.photometric).name
    if page.photometric not in KINDS or len(size) not in (2, 3) or kind not in (*DTYPES, "bool"):
        raise DataError(f"{place} holds {kind} of shape {size}, {name}. Slices must be grey "
                        f"images, (height, width), of {', '.join(DTYPES)} or 1 bit: save it so.")
    is_rgb, separate = page.photometric == PHOTOMETRIC.RGB, page.planarconfig == 2
    extra = page.samplesperpixel - (3 if is_rgb else 1)
    opacity = len(page.extrasamples) == extra and set(page.extrasamples) <= ALPHA
    if "Z" in page.axes or not opacity or (separate and extra and not is_rgb):
        raise DataError(f"{place} holds {size}, several values per pixel. Split the channels and "
                        "give one.")
    if page.photometric == PHOTOMETRIC.MINISWHITE and page.dtype.kind not in "ub":
        raise DataError(f"{place} holds {kind} that counts from white ({name}). Save it so that "
                        "brighter pixels have larger values.")
    if (turn := page.tags.valueof(274, 1)) != 1:
        raise DataError(f"{place} is to be shown turned or mirrored (Orientation {turn}), which "
                        "some programs do and others do not, so it may not fit its label. Save "
                        "both upright, without that tag.")


def _check_alike(page: Any, first: Any, place: str) -> None:
    """Raise `DataError` if a page is too small, or unlike page 1."""
    kinds = [(each.shape, each.dtype, each.photometric, each.samplesperpixel, each.planarconfig)
             for each in (page, first)]
    check_side(place, page.shape[-2:] if page.planarconfig == 2 else page.shape[:2])
    if kinds[0] != kinds[1]:
        here, there = (f"{kind.name} of shape {tuple(map(int, shape))}, {PHOTOMETRIC(light).name}"
                       for shape, kind, light, *_ in kinds)
        raise DataError(f"{place} holds {here}, page 1 {there}. All pages must be alike: save one "
                        "file per slice.")


def _check_pixels(page: Any, path: Path, number: int, held: int) -> None:
    """Raise `DataError` if the pixels of a page are not all there, or cannot be in the file."""
    pieces = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    unpacked = max(page.nbytes, prod(page.chunks) * prod(page.chunked) * page.dtype.itemsize)
    check_promise(path, unpacked, held)
    if len(pieces) != prod(page.chunked) or any(min(piece) <= 0 for piece in pieces):
        raise DataError(f"{path}, page {number} lacks a part of its pixels. {AGAIN}")
    if page.is_final:
        pieces.append((page.dataoffsets[0], page.nbytes))
    if any(start + count > held for start, count in pieces):
        raise DataError(f"{path} {TRUNCATED}")
    if page.compression != 1 and sum(page.databytecounts) > 2 * unpacked + 1000 * len(pieces):
        raise DataError(f"{path}, page {number} holds more packed bytes than its pixels need. "
                        f"{AGAIN}")


def _check_jpegs(page: Any, place: str) -> None:
    """Raise `DataError` if a JPEG in a page claims to be larger than its strip or tile."""
    for start, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        page.parent.filehandle.seek(start)
        _, *size, _ = jpeg_shape(page.parent.filehandle.read(min(count, 2**17)))
        if prod(size) > 2 * prod(page.chunks):
            raise DataError(f"{place} holds a JPEG of {size} px that does not fit in. {AGAIN}")


def _described_axes(path: Path, tif: TiffFile, first: Any) -> list[tuple[str, int]]:
    """Return names and sizes of the axes before the height, from the file's own description."""
    text = first.description if first.is_shaped else ""  # tifffile's own, its names in any order
    if "shape" in (told := json.loads(text) if text.startswith("{") else {}):
        shape = [(axis, int(size)) for axis, size in zip(
            told.get("axes") or "Q" * len(told["shape"]), told["shape"], strict=True) if size != 1]
        split = len(shape) - len(first.shape)
        return shape[:split] if tuple(size for _, size in shape[split:]) == first.shape else []
    if tif.is_stk:
        return [("Z", first.tags[33629].count)]
    axes = []
    if tif.is_ome:
        axes = _ome_axes(path, str(tif.ome_metadata))
    elif tif.is_imagej:
        told = tif.imagej_metadata or {}
        axes = [(axis, int(told.get(name, 1)))
                for axis, name in (("C", "channels"), ("Z", "slices"), ("T", "frames"))]
        if prod(size for _, size in axes) == 1:
            axes = [("Z", int(told.get("images", 1)))]
    samples = ("C", int(first.samplesperpixel))  # red, green and blue do not count as channels
    return [axis for axis in axes if axis != samples or first.planarconfig == 2]


def _ome_axes(path: Path, xml: str) -> list[tuple[str, int]]:
    """Return names and sizes of axes from an OME description, without opening other files."""
    root = ElementTree.fromstring(xml)
    images = root.findall(".//{*}Pixels")
    if not images:
        return []
    if len(images) > 1:
        raise DataError(f"{path} holds {len(images)} separate images. {STACK}")
    axes = [(axis, int(images[0].get(f"Size{axis}", 1))) for axis in "CZT"]
    if len({uuid.get("FileName") for uuid in root.findall(".//{*}UUID")}) > 1:
        return axes[:1]  # each file of such a set describes the slices of all files
    if sum(size > 1 for _, size in axes) < 2:
        for told in images[0].findall("{*}TiffData[@IFD]"):
            if int(told.get("IFD", 0)) != sum(int(told.get(f"First{axis}", 0)) for axis in "CZT"):
                raise DataError(f"{path} stores its slices in another order than its pages. "
                                f"{STACK}")
    return axes
