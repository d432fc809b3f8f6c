"""TIFF files: a slice a file, or the pages of a volume read by rows; what is wrong with one is one sentence."""

import logging
import re
import struct
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from pathlib import Path

import numpy as np
import tifffile

from ..files import expanded, said

SMALLEST = 16       # px a side of a slice that is worth a look
MOST_PACKED = 2000  # a compressed page of more bytes than this times its file's is no image: zlib reaches 1030
TYPES = ("uint8", "uint16", "float32")
logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what it would say of a damaged file is in the one sentence


class DataError(ValueError):
    """The data cannot be used as they are; the message says what is wrong, where, and what to do."""


def number_of(path: Path) -> int:
    """The number that ends a file's name: 17 for ``slice__017.tif``."""
    match = re.search(r"(\d+)$", path.stem)
    if not match or int(match[1]) >= 2**63:
        raise DataError(f"{path}: the name must end in the slice's number, as in slice_017.tif (below 2^63); rename "
                        "the file.")
    return int(match[1])


def find(folder: Path) -> dict[int, Path]:
    """The TIFF files of a folder by slice number, in order."""
    if not folder.is_dir():
        raise DataError(
            f"{folder} is not a folder; data_dir must name a folder that holds data/ (images) and labels/ (masks)."
        )
    numbered: dict[int, Path] = {}
    for path in sorted(path for path in folder.iterdir() if path.suffix.lower() in (".tif", ".tiff")):
        number = number_of(path)
        if number in numbered:
            raise DataError(f"{folder}: {numbered[number].name} and {path.name} both end in {number}; keep one of "
                            "them.")
        numbered[number] = path
    if not numbered:
        raise DataError(f"{folder} holds no .tif or .tiff file; put one TIFF a slice there.")
    return dict(sorted(numbered.items()))


def unreadable(path: Path, error: Exception) -> DataError:
    """A damaged TIFF can fail anywhere inside the reader, with any exception."""
    return DataError(f"{path} cannot be read as a TIFF ({said(error)}); copy or export it again.")


def cut_short(path: Path) -> DataError:
    """The file ends before its pixels do."""
    return DataError(f"{path} is cut short (it ends before its pixels do); copy or export it again.")


def page_of(path: Path) -> "Page":
    """The only slice of a TIFF file. Raises `DataError`, as `pages_of` does, and where there are several."""
    page, *others = pages_of(path)
    if others:
        raise DataError(f"{path} holds {1 + len(others)} images; save one grey slice a file.")
    return page


def read(path: Path, dtype: type) -> np.ndarray:
    """One slice of a data set, (H, W), of exactly this dtype. Raises `DataError`, as `page_of` does."""
    page = page_of(path)
    if page.dtype.name != np.dtype(dtype).name:
        raise DataError(f"{path} holds {page.dtype.name}, not {np.dtype(dtype)}; make a copy of the set that fits: "
                        f"python -m xraylib data convert {path.parent.parent} NEW_FOLDER.")
    return page.whole().astype(dtype, copy=False)


def write(arrays: list[np.ndarray], numbers: np.ndarray, folder: Path, compression: str | None = None) -> None:
    """One TIFF a slice, named by its number, into a folder (made if missing)."""
    folder.mkdir(parents=True, exist_ok=True)
    for array, number in zip(arrays, numbers, strict=True):
        tifffile.imwrite(folder / f"slice_{number:04d}.tif", array, compression=compression)


# -- volumes ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Page:
    """One slice on disk: where it is and what it holds. Rows are read, so that memory does not hold it whole."""

    name: str                             # of the slice that is written
    file: Path
    index: int                            # of the page in its file
    shape: tuple[int, int]
    dtype: np.dtype
    offset: int | None                    # of its pixels in the file; None: compressed, so that it is read whole
    stamp: tuple[int, int]                # size and time (ns) of the file when it was opened

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows start..stop, (rows, W), in the file's dtype. Raises `DataError` where the file ends before."""
        if self.offset is None:
            try:
                return tifffile.imread(self.file, key=self.index)[start:stop]
            except Exception as error:
                raise DataError(f"{self.file}, page {self.index + 1} cannot be read ({said(error)}); copy or export it "
                                "again.") from error
        width = self.shape[1]
        found = np.fromfile(self.file, self.dtype, (stop - start) * width,
                            offset=self.offset + start * width * self.dtype.itemsize)
        if found.size < (stop - start) * width:
            raise cut_short(self.file)
        return found.reshape(-1, width)

    def whole(self) -> np.ndarray:
        """All rows, (H, W), as `rows` reads them."""
        return self.rows(0, self.shape[0])

    def must_be_as_opened(self) -> None:
        """Raise `DataError` where its file has been written to since it was opened."""
        if stamp_of(self.file) != self.stamp:
            raise DataError(f"{self.file} was changed while it was read; wait until what writes it has ended, then "
                            "name a new folder.")


def stamp_of(path: Path) -> tuple[int, int]:
    """What changes when a file is written to: its size, and its time in ns."""
    state = path.stat()
    return state.st_size, state.st_mtime_ns


def pages_of(path: Path) -> list[Page]:
    """The slices of a TIFF file, one or many pages (BigTIFF and ImageJ stacks too).

    Every page is looked at before one is read: raises `DataError` where one is no grey slice, unlike the first, or not
    all there.
    """
    if not path.is_file():
        raise DataError(f"{path} is no file (but a folder, a pipe or a broken link); take it away.")
    try:
        stamp = stamp_of(path)
        with tifffile.TiffFile(path) as tif:
            pages = list(tif.pages)
            for number, page in enumerate(pages, 1):
                check(page, pages[0], path, number)
            if _next(tif, pages[-1]):
                raise DataError(f"{path} is damaged after its page {len(pages)}; copy or export it again.")
            series, shape = tif.series[0], tif.series[0].shape
            if len(tif.series) > 1 or len(shape) > 3:
                raise DataError(f"{path} holds {len(tif.series)} separate images, not one stack, the first of shape "
                                f"{shape}; save one stack (slices, height, width), or one file a slice.")
            count = 1 if len(shape) < 3 else shape[0]
            if count == len(pages):
                offsets = [page.dataoffsets[0] if page.is_final else None for page in pages]
            elif len(pages) == 1 and series.dataoffset is not None:      # as ImageJ has it, beyond 4 GB
                offsets = [series.dataoffset + index * pages[0].nbytes for index in range(count)]
            else:
                raise DataError(f"{path} packs {count} slices into {len(pages)} pages; save one slice a page.")
            dtype, size = pages[0].dtype.newbyteorder(tif.byteorder), tif.filehandle.size
            if any(offset is not None and offset + pages[0].nbytes > size for offset in offsets):
                raise cut_short(path)
            shape = pages[0].shape
    except (DataError, PermissionError):
        raise
    except Exception as error:
        raise unreadable(path, error) from error
    return [Page(path.stem if count == 1 else f"{path.stem}_{index + 1:05d}", path, index, shape, dtype, offset, stamp)
            for index, offset in enumerate(offsets)]


def check(page: tifffile.TiffPage, first: tifffile.TiffPage, path: Path, number: int) -> None:
    """Raise `DataError` where a page is no grey slice, unlike the first, or where not all of its pixels are there."""
    kind, size = "none" if page.dtype is None else page.dtype.name, tuple(map(int, page.shape))
    grey = page.photometric == tifffile.PHOTOMETRIC.MINISBLACK and len(size) == 2 and page.samplesperpixel == 1
    if not grey or kind not in TYPES:
        colours = tifffile.PHOTOMETRIC(page.photometric).name
        raise DataError(f"{path}, page {number} holds {kind} of shape {size}, {colours}; slices must be grey "
                        f"(MINISBLACK), (height, width), and {', '.join(TYPES[:-1])} or {TYPES[-1]}: save it so.")
    if min(size) < SMALLEST:
        raise DataError(f"{path}, page {number} is {size} px; slices must have {SMALLEST} px a side or more: "
                        "crop less, or take it away.")
    if (size, page.dtype) != (first.shape, first.dtype):
        raise DataError(f"{path}, page {number} holds {kind} of shape {size}, page 1 {first.dtype.name} of "
                        f"{first.shape}; all must be alike: save one file a slice.")
    held = path.stat().st_size
    if page.nbytes > MOST_PACKED * held:
        raise DataError(f"{path} promises {page.nbytes:,} bytes of pixels and holds {held:,}; copy or export it again.")
    pieces = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    if len(pieces) != prod(page.chunked) or not all(start > 0 and count > 0 for start, count in pieces):
        raise DataError(f"{path}, page {number} lacks a part of its pixels; copy or export it again.")
    if any(start + count > held for start, count in pieces):
        raise cut_short(path)


def _next(tif: tifffile.TiffFile, page: tifffile.TiffPage) -> int:
    """Where in the file the page after this one is said to stand; 0: nowhere, it is the last."""
    form, file = tif.tiff, tif.filehandle
    file.seek(page.offset)
    (tags,) = struct.unpack(form.tagnoformat, file.read(form.tagnosize))
    file.seek(page.offset + form.tagnosize + tags * form.tagsize)
    return struct.unpack(form.offsetformat, file.read(form.offsetsize))[0]


def open_volume(path: str | Path) -> list[Page]:
    """The slices of a TIFF file, or of all TIFF files of a folder, in the order of their numbers."""
    path = expanded(path)
    if path.is_file():
        return pages_of(path)
    if not path.is_dir():
        raise DataError(f"{path} is neither a TIFF file nor a folder of TIFF files; check the path.")
    pages = [page for file in find(path).values() for page in pages_of(file)]
    for page in pages:
        if page.dtype.name != pages[0].dtype.name:
            raise DataError(f"{page.file} holds {page.dtype.name}, the first file {pages[0].dtype.name}; all must have "
                            "the same dtype.")
    named: dict[str, Page] = {}
    for page in pages:
        other = named.setdefault(page.name, page)
        if other is not page:
            raise DataError(f"{other.file} and {page.file} would both be written as {page.name}.tif; rename one.")
    return pages


def resolution(page: Page) -> dict:
    """The resolution tags of a slice, as `tifffile.imwrite` takes them; none where they are not there or mean none."""
    with tifffile.TiffFile(page.file) as tif:
        tags = tif.pages[min(page.index, len(tif.pages) - 1)].tags
        try:
            pairs = tags["XResolution"].value, tags["YResolution"].value
            unit = tifffile.RESUNIT(tags["ResolutionUnit"].value if "ResolutionUnit" in tags else 2)
            sound = all(Fraction(over, under) > 0 for over, under in pairs)
        except (KeyError, TypeError, ValueError, ZeroDivisionError):
            return {}
    return {"resolution": pairs, "resolutionunit": unit} if sound else {}
