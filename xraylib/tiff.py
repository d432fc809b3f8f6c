"""TIFF files: one slice per file, or the pages of a volume, of which rows can be read."""

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from .errors import DataError, one_line_message
from .files import expand_user

MIN_SIDE = 16  # px of a slice
MAX_COMPRESSION = 2000  # bytes of a page per byte of its file; zlib reaches 1030
DTYPES = ("uint8", "uint16", "float32")
AGAIN = "Copy or export it again."
TRUNCATED = f"is cut short (it ends before its pixels do). {AGAIN}"
logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # our own errors say what is wrong


def list_tiffs(folder: Path) -> dict[int, Path]:
    """List the TIFF files of a folder by the number that ends each name (17 in slice__017.tif)."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder. data_dir must name a folder that holds data/ "
                        "(images) and labels/ (masks).")
    numbered: dict[int, Path] = {}
    for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in (".tif", ".tiff")):
        match = re.search(r"(\d+)$", path.stem)
        if not match or int(match[1]) >= 2**63:
            raise DataError(f"{path}: rename the file. Its name must end in the slice's number "
                            "(below 2^63), as in slice_017.tif.")
        other = numbered.setdefault(int(match[1]), path)
        if other is not path:
            raise DataError(f"{folder}: {other.name} and {path.name} both end in {int(match[1])}. "
                            "Keep one of them.")
    if not numbered:
        raise DataError(f"{folder} holds no .tif or .tiff file. Put one TIFF per slice there.")
    return dict(sorted(numbered.items()))


def check_size(path: Path, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Raise `DataError` unless a slice has the size of the first one.
    Args:
        path, shape, expected: The slice, its size (H, W) and that of the first one.
    """
    if shape != expected:
        raise DataError(f"{path} is {shape} px, the first slice {expected}. All images and labels "
                        "must have the same size: crop them, or remove this file.")


def open_slice(path: Path) -> "Page":
    """Open a TIFF file that must hold one slice; raises `DataError` as `open_pages` does."""
    page, *others = open_pages(path)
    if others:
        raise DataError(f"{path} holds {1 + len(others)} images. Save one grey slice per file.")
    return page


def read_slice(path: Path, dtype: type) -> np.ndarray:
    """Read one slice of a data set, (H, W), of exactly this dtype, or raise `DataError`."""
    page = open_slice(path)
    if page.dtype.name != np.dtype(dtype).name:
        raise DataError(f"{path} holds {page.dtype.name}, not {np.dtype(dtype)}. Make a copy that "
                        f"fits: python -m xraylib data convert {path.parent.parent} NEW_FOLDER.")
    return page.whole().astype(dtype, copy=False)


def write_slices(arrays: Iterable[np.ndarray], numbers: Iterable[int], folder: Path,
                 compression: str | None = None) -> None:
    """Write one TIFF per slice, named by its number.
    Args:
        arrays, numbers, folder: The slices, (H, W) each; the folder is created if missing.
        compression: As for `tifffile.imwrite`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for array, number in zip(arrays, numbers, strict=True):
        tifffile.imwrite(folder / f"slice_{number:04d}.tif", array, compression=compression)


@dataclass(frozen=True)
class Page:
    """One slice on disk, read by rows so that memory need not hold all of it."""

    name: str  # of the slice that is written
    file: Path
    index: int  # of the page in its file
    shape: tuple[int, int]
    dtype: np.dtype
    offset: int | None  # of its pixels in the file; None: compressed, so all rows are read
    stamp: tuple[int, int]  # size and time (ns) of the file when it was opened

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Read rows start..stop - 1, (rows, W), in the file's dtype, or raise `DataError`."""
        if self.offset is None:
            try:
                return tifffile.imread(self.file, key=self.index)[start:stop]
            except Exception as error:
                raise DataError(f"{self.file}, page {self.index + 1} cannot be read "
                                f"({one_line_message(error)}). {AGAIN}") from error
        count, row = (stop - start) * self.shape[1], self.shape[1] * self.dtype.itemsize
        found = np.fromfile(self.file, self.dtype, count, offset=self.offset + start * row)
        if found.size < count:
            raise DataError(f"{self.file} {TRUNCATED}")
        return found.reshape(-1, self.shape[1])

    def whole(self) -> np.ndarray:
        """Read all rows, (H, W)."""
        return self.rows(0, self.shape[0])

    def check_unchanged(self) -> None:
        """Raise `DataError` if the file was written to after it was opened."""
        if _stamp(self.file) != self.stamp:
            raise DataError(f"{self.file} was changed while it was read. Wait until the program "
                            "that writes it has ended, then name a new folder.")


def open_pages(path: Path) -> list[Page]:
    """Open the slices of a TIFF file (also BigTIFF and ImageJ stacks): complete, grey and alike."""
    if not path.is_file():
        raise DataError(f"{path} is not a file (but a folder, pipe or broken link). Remove it.")
    try:
        stamp = _stamp(path)
        with tifffile.TiffFile(path) as tif:
            return _checked_pages(path, stamp, tif)
    except (DataError, PermissionError):
        raise
    except Exception as error:  # a damaged file can fail anywhere inside tifffile
        reason = one_line_message(error)
        raise DataError(f"{path} cannot be read as a TIFF ({reason}). {AGAIN}") from error


def open_volume(path: str | Path) -> list[Page]:
    """Open the slices of a TIFF file, or of all TIFF files of a folder in order of number."""
    path = expand_user(path)
    if path.is_file():
        return open_pages(path)
    if not path.is_dir():
        raise DataError(f"{path} is neither a TIFF file nor a folder of TIFFs. Check the path.")
    pages = [page for file in list_tiffs(path).values() for page in open_pages(file)]
    named: dict[str, Page] = {}
    for page in pages:
        if page.dtype.name != pages[0].dtype.name:
            raise DataError(f"{page.file} holds {page.dtype.name}, the first file "
                            f"{pages[0].dtype.name}. All files must have the same dtype.")
        other = named.setdefault(page.name, page)
        if other is not page:
            raise DataError(f"{other.file} and {page.file} would both be written as "
                            f"{page.name}.tif. Rename one.")
    return pages


def resolution_tags(page: Page) -> dict:
    """Return the resolution tags of a slice for `tifffile.imwrite`, {} if it has no valid ones."""
    with tifffile.TiffFile(page.file) as tif:
        found: Any = tif.pages[min(page.index, len(tif.pages) - 1)]
        tags = found.tags
        try:
            pairs = tags["XResolution"].value, tags["YResolution"].value
            unit = tifffile.RESUNIT(tags["ResolutionUnit"].value if "ResolutionUnit" in tags else 2)
            valid = all(Fraction(over, under) > 0 for over, under in pairs)
        except (KeyError, TypeError, ValueError, ZeroDivisionError):
            return {}
    return {"resolution": pairs, "resolutionunit": unit} if valid else {}


def _stamp(path: Path) -> tuple[int, int]:
    """Size and time (ns) of a file, which change when it is written to."""
    return path.stat().st_size, path.stat().st_mtime_ns


def _checked_pages(path: Path, stamp: tuple[int, int], tif: tifffile.TiffFile) -> list[Page]:
    """Check all pages of an open file, and find where the pixels of each slice begin."""
    pages: list[Any] = list(tif.pages)
    first = pages[0]
    for number, page in enumerate(pages, 1):
        _check_page(page, first, path, number)
    tif.filehandle.seek(tif.pages.next_page_offset or 0)
    if tif.filehandle.read(tif.tiff.offsetsize) != bytes(tif.tiff.offsetsize):  # not the last page
        raise DataError(f"{path} is damaged after its page {len(pages)}. {AGAIN}")
    series, shape = tif.series[0], tif.series[0].shape
    if len(tif.series) > 1 or len(shape) > 3:
        raise DataError(f"{path} holds {len(tif.series)} separate images, the first of {shape}. "
                        "Save one stack (slices, height, width), or one file per slice.")
    count = 1 if len(shape) < 3 else shape[0]
    if count == len(pages):
        offsets = [page.dataoffsets[0] if page.is_final else None for page in pages]
    elif len(pages) == 1 and series.dataoffset is not None:  # ImageJ's format beyond 4 GB
        offsets = [series.dataoffset + index * first.nbytes for index in range(count)]
    else:
        raise DataError(f"{path} packs {count} slices into {len(pages)} pages. Save one per page.")
    if any(offset and offset + first.nbytes > stamp[0] for offset in offsets):
        raise DataError(f"{path} {TRUNCATED}")
    names = [path.stem] if count == 1 else [f"{path.stem}_{i:05d}" for i in range(1, count + 1)]
    dtype = first.dtype.newbyteorder(tif.byteorder)
    return [Page(name, path, index, first.shape, dtype, offset, stamp)
            for index, (name, offset) in enumerate(zip(names, offsets, strict=True))]


def _check_page(page: Any, first: Any, path: Path, number: int) -> None:
    """Raise `DataError` unless a page is a complete grey slice of page 1's shape and dtype."""
    place, held = f"{path}, page {number}", path.stat().st_size
    size, kind = tuple(map(int, page.shape)), "none" if page.dtype is None else page.dtype.name
    grey = page.photometric == tifffile.PHOTOMETRIC.MINISBLACK and page.samplesperpixel == 1
    if not grey or len(size) != 2 or kind not in DTYPES:
        colours = tifffile.PHOTOMETRIC(page.photometric).name
        raise DataError(f"{place} holds {kind} of shape {size}, {colours}. Slices must be grey "
                        f"(MINISBLACK), (height, width), of {', '.join(DTYPES)}: save it so.")
    if min(size) < MIN_SIDE:
        raise DataError(f"{place} is {size} px. Slices must have at least {MIN_SIDE} px per side: "
                        "crop less, or remove this file.")
    if (size, page.dtype) != (first.shape, first.dtype):
        raise DataError(f"{place} holds {kind} of shape {size}, page 1 {first.dtype.name} of "
                        f"{first.shape}. All pages must be alike: save one file per slice.")
    if page.nbytes > MAX_COMPRESSION * held:
        raise DataError(f"{path} promises {page.nbytes:,} bytes of pixels and holds {held:,}. "
                        f"{AGAIN}")
    pieces = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    if len(pieces) != prod(page.chunked) or any(min(piece) <= 0 for piece in pieces):
        raise DataError(f"{place} lacks a part of its pixels. {AGAIN}")
    if any(start + count > held for start, count in pieces):
        raise DataError(f"{path} {TRUNCATED}")
