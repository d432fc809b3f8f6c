"""Image files, read row by row: one slice per file, or the pages of a volume.

TIFF and PNG files are told apart by their content, not by their names.
"""

import logging
import re
import struct
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image
from tifffile import PHOTOMETRIC

from ..errors import DataError, one_line_message
from ..files import expand_user
from .file_names import list_tiffs
from .tiff_checks import AGAIN, TRUNCATED, check_pages, check_promise, check_side, count_slices

PNG = b"\x89PNG\r\n\x1a\n"
TIFF = tuple(order + kind for order in (b"II", b"MM") for kind in (b"*\0", b"\0*", b"+\0", b"\0+"))
BAND = 2**22  # pixels to unpack at a time when only some of them are needed
logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # our own errors say what is wrong


def check_size(path: Path, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Raise `DataError` unless a slice has the size of the first one.
    Args:
        path, shape, expected: The slice, its size (H, W) and that of the first one.
    """
    if shape != expected:
        raise DataError(f"{path} is {shape} px, the first slice {expected}. All images and labels "
                        "must have the same size: crop them, or remove this file.")


def open_slice(path: Path, colours: bool = False) -> "Page":
    """Open a file that must hold one slice; arguments and errors are those of `open_pages`."""
    page, *others = open_pages(path, colours)
    if others:
        raise DataError(f"{path} holds {1 + len(others)} images. Save one grey slice per file.")
    return page


def read_slice(path: Path, dtype: type) -> np.ndarray:
    """Read one slice of a data set, (H, W), of exactly this dtype, or raise `DataError`."""
    page = open_slice(path)
    if page.dtype.name != np.dtype(dtype).name:
        raise DataError(f"{path} holds {page.dtype.name}, not {np.dtype(dtype)}. Save it "
                        f"as {np.dtype(dtype)}.")
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

    name: str  # under which the segmented slice is written
    file: Path
    index: int  # of the page in its file
    shape: tuple[int, int]
    dtype: np.dtype  # of what is read, in this machine's byte order
    stored: np.dtype  # of the pixels in the file
    offset: int | None  # of the pixels in the file; None: compressed or in colour
    stamp: tuple[int, int]  # size and time (ns) of the file when it was opened
    mixed: int = 1  # values per pixel in the file: 3 for RGB
    plane: int | None = None  # index of the plane, if the planes of the page are slices
    white: int = 0  # value of black in a file in which 0 is white, otherwise 0
    colours: bool = False  # whether pixels are read as 0xRRGGBB

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Read rows start..stop - 1, (rows, W); larger is brighter. `DataError` if impossible."""
        if self.offset is None:
            return self._from_file(self._unpacked(start, stop))
        count, row = (stop - start) * self.shape[1], self.shape[1] * self.stored.itemsize
        found = np.fromfile(self.file, self.stored, count, offset=self.offset + start * row)
        if found.size < count:
            raise DataError(f"{self.file} {TRUNCATED}")
        return self._from_file(found.reshape(-1, self.shape[1]))

    def whole(self) -> np.ndarray:
        """Read all rows, (H, W)."""
        return self.rows(0, self.shape[0])

    def sparse(self, step: int) -> np.ndarray:
        """Read every step-th pixel of every step-th row, without holding all rows if possible."""
        height, width = self.shape
        if self.offset is not None:
            return np.concatenate([self.rows(row, row + 1)[:, ::step]
                                   for row in range(0, height, step)])
        band = height if _begins(self.file).startswith(PNG) else -(-BAND // width)
        return np.concatenate([self.rows(top, min(top + band, height))[-top % step::step, ::step]
                               .copy() for top in range(0, height, band)])

    def check_unchanged(self) -> None:
        """Raise `DataError` if the file was written to after it was opened."""
        if _stamp(self.file) != self.stamp:
            raise DataError(f"{self.file} was changed while it was read. Wait until the program "
                            "that writes it has ended, then name a new folder.")

    def _unpacked(self, start: int, stop: int) -> np.ndarray:
        """Return rows start..stop - 1 as the file holds them, (rows, W) or (rows, W, samples)."""
        try:
            if _begins(self.file).startswith(PNG):
                with (warnings.catch_warnings(action="ignore"),
                      Image.open(self.file, formats=["PNG"]) as image):
                    return np.asarray(image)[start:stop]
            with tifffile.TiffFile(self.file) as tif:
                page: Any = tif.pages[self.index]
                return (_decode_rows(page, start, stop) if self.plane is None else
                        page.asarray()[self.plane, start:stop])
        except Exception as error:
            raise DataError(f"{self.file}, page {self.index + 1} cannot be read "
                            f"({one_line_message(error)}). {AGAIN}") from error

    def _from_file(self, found: np.ndarray) -> np.ndarray:
        """Turn rows as the file holds them into grey levels, label values or 0xRRGGBB."""
        if found.ndim == 3 and self.colours:
            red, green, blue = np.moveaxis(found[..., :3].astype(np.uint32), -1, 0)
            return red << 16 | green << 8 | blue
        if found.ndim == 3:
            if (found[..., 1:3] != found[..., :1]).any() and found.shape[-1] > 2:
                raise DataError(f"{self.file}, page {self.index + 1} is in colour. Save images in "
                                "grey. For labels, give each phase its colour in dataset.toml: "
                                'rgb = "#ff0000".')
            found = found[..., 0]
        found = found.astype(self.dtype, copy=False)
        return self.white - found if self.white else found


def _decode_rows(page: Any, start: int, stop: int) -> np.ndarray:
    """Decode the strips or tiles that hold rows start..stop - 1 of a page."""
    found = np.empty((stop - start, *page.shape[1:]), page.dtype)
    (height, *_), (_, beside, *_) = page.chunks, page.chunked
    for index in range(start // height * beside, -(-stop // height) * beside):
        page.parent.filehandle.seek(page.dataoffsets[index])
        packed = page.parent.filehandle.read(page.databytecounts[index])
        part, (_, _, y, x, _), _ = page.decode(packed, index, jpegtables=page.jpegtables)
        top, end = max(y, start), min(y + part.shape[1], stop)
        into = found[top - start:end - start, x:x + part.shape[2]]
        into[:] = part[0, top - y:end - y, :into.shape[1]].reshape(into.shape)
    return found


def open_pages(path: Path, colours: bool = False) -> list[Page]:
    """Open the slices of a TIFF file (also BigTIFF, ImageJ and OME stacks), or of a PNG file.

    Without `colours`, the three channels of a colour image must be equal, and the image is read as
    grey. A palette image is read as indices, a 1-bit image as 0 and 1.
    Args:
        path: The file.
        colours: Read 8-bit red, green and blue as 0xRRGGBB, uint32, for masks.
    Returns: Complete slices of one size and dtype (`tiff_checks.DTYPES`).
    Raises: DataError: The file is damaged, foreign, in colour, or has several channels or times.
    """
    if not path.is_file():
        raise DataError(f"{path} is not a file (but a folder, pipe or broken link). Remove it.")
    stamp, begins = _stamp(path), _begins(path)
    if not begins.startswith((PNG, *TIFF)):
        raise DataError(f"{path} holds neither TIFF nor PNG, whatever its name says. Other formats "
                        "(such as HDF5, NIfTI, NumPy, JPEG) are not read: export it as a TIFF.")
    try:
        if begins.startswith(PNG):
            pages = [_png_page(path, stamp, begins, colours)]
        else:
            with tifffile.TiffFile(path) as tif:
                pages = _tiff_pages(path, stamp, tif, colours)
        for page in pages:
            if page.mixed > 1 and not page.colours:
                page.whole()  # rejects images that are not grey before anything is written
    except (DataError, PermissionError):
        raise
    except Exception as error:  # a damaged file can fail anywhere inside tifffile
        raise DataError(f"{path} cannot be read ({one_line_message(error)}). {AGAIN}") from error
    return pages


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


def _stamp(path: Path) -> tuple[int, int]:
    """Return size and time (ns) of a file, which change when the file is written to."""
    return path.stat().st_size, path.stat().st_mtime_ns


def _begins(path: Path) -> bytes:
    """Return the first bytes of a file: they show its format and, for a PNG, its size and type."""
    with path.open("rb") as file:
        return file.read(26)


def _tiff_pages(path: Path, stamp: tuple[int, int], tif: tifffile.TiffFile, colours: bool,
                ) -> list[Page]:
    """Check an open TIFF file and return its slices."""
    pages = check_pages(path, tif, stamp[0])
    count, first = count_slices(path, tif, pages, stamp[0]), pages[0]
    separate = first.planarconfig == 2 and first.samplesperpixel > 1
    shape = first.shape[-2:] if separate else first.shape[:2]
    mixed = first.samplesperpixel if len(first.shape) > 2 and not separate else 1
    stored = first.dtype.newbyteorder(tif.byteorder)
    dtype = np.dtype(np.uint8 if first.dtype.kind == "b" else first.dtype)
    colours = colours and mixed > 2 and dtype == np.uint8
    # tifffile writes True as 1 and declares 1 as black, which is not what masks mean.
    inverted = first.photometric == PHOTOMETRIC.MINISWHITE and (
        first.dtype.kind != "b" or not first.software.startswith("tifffile"))
    white = 2**first.bitspersample - 1 if inverted else 0
    found = []
    for index in range(count):
        page, skipped = (pages[index], 0) if count == len(pages) else (
            first, index * prod(shape) * stored.itemsize)
        offset = page.dataoffsets[0] + skipped if page.is_final and mixed == 1 else None
        found.append(Page(_slice_name(path, index, count), path, page.index, shape,
                          np.dtype(np.uint32) if colours else dtype, stored, offset, stamp,
                          mixed, index if separate else None, white, colours))
    return found


def _png_page(path: Path, stamp: tuple[int, int], begins: bytes, colours: bool) -> Page:
    """Return the slice of a PNG file, whose header gives size, bits and colour type (0: grey)."""
    width, height, bits, kind = struct.unpack(">16x2I2B", begins)
    mixed = {2: 3, 4: 2, 6: 4}.get(kind, 1)
    check_side(str(path), (height, width))
    check_promise(path, height * width * mixed * (2 if bits == 16 else 1), stamp[0])
    if bits == 16 and kind:
        raise DataError(f"{path} is in colour, of 16 bits. Save it in grey, or with 8 bits.")
    dtype = np.dtype(np.uint16 if bits == 16 else np.uint8)
    colours = colours and mixed > 2
    return Page(_slice_name(path, 0, 1), path, 0, (height, width),
                np.dtype(np.uint32) if colours else dtype, dtype, None, stamp, mixed,
                colours=colours)


def _slice_name(path: Path, index: int, count: int) -> str:
    """Name a slice of a file. Its segmentation is written under this name."""
    stem = re.sub(r"\.ome$", "", path.stem, flags=re.I)
    return stem if count == 1 else f"{stem}_{index + 1:05d}"
