"""TIFF files: a slice a file, or the pages of a volume read by rows; what is wrong with one is one sentence."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

SMALLEST = 16       # px a side of a slice that is worth a look
MOST_PACKED = 2000  # a compressed page of more bytes than this times its file's is no image: zlib reaches 1030


class DataError(ValueError):
    """The data cannot be used as they are; the message says what is wrong, where, and what to do."""


def number_of(path: Path) -> int:
    """The number that ends a file's name: 17 for ``slice__017.tif``."""
    match = re.search(r"(\d+)$", path.stem)
    if not match:
        raise DataError(f"{path}: the name must end in the slice's number, as in slice_017.tif; rename the file.")
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
    return DataError(f"{path} cannot be read as a TIFF ({error}); copy or export it again.")


def cut_short(path: Path) -> DataError:
    """The file ends before its pixels do."""
    return DataError(f"{path} is cut short (it ends before its pixels do); copy or export it again.")


def read(path: Path, dtype: type) -> np.ndarray:
    """One slice, (H, W), of exactly this dtype."""
    try:
        with tifffile.TiffFile(path) as tif:
            page = tif.pages[0]
            check_size(path, page.nbytes)
            if len(tif.series) > 1:
                raise DataError(f"{path} holds {len(tif.series)} images; save one grey slice a file.")
            whole = all(start + count <= tif.filehandle.size
                        for start, count in zip(page.dataoffsets, page.databytecounts, strict=True))
            if not whole:
                raise cut_short(path)
            array = tif.asarray()
    except DataError:
        raise
    except Exception as error:
        raise unreadable(path, error) from error
    if array.ndim != 2:
        raise DataError(f"{path} has shape {array.shape}, not (height, width); save one grey slice a file.")
    if array.dtype != dtype:
        raise DataError(f"{path} holds {array.dtype}, not {np.dtype(dtype)}; convert it, keeping the grey levels.")
    return array


def check_size(path: Path, promised: int) -> None:
    """Raise `DataError` where a header promises more bytes of pixels than its file can hold, packed or not."""
    held = path.stat().st_size
    if promised > MOST_PACKED * held:
        raise DataError(f"{path} promises {promised:,} bytes of pixels and holds {held:,}; copy or export it again.")


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

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows start..stop, (rows, W), in the file's dtype. Raises `DataError` where the file ends before."""
        if self.offset is None:
            try:
                return tifffile.imread(self.file, key=self.index)[start:stop]
            except Exception as error:
                raise DataError(f"{self.file}, page {self.index + 1} cannot be read ({error}); copy or export it "
                                "again.") from error
        width = self.shape[1]
        found = np.fromfile(self.file, self.dtype, (stop - start) * width,
                            offset=self.offset + start * width * self.dtype.itemsize)
        if found.size < (stop - start) * width:
            raise cut_short(self.file)
        return found.reshape(-1, width)


def pages_of(path: Path) -> list[Page]:
    """The slices of a TIFF file, one or many pages (BigTIFF and ImageJ stacks too)."""
    try:
        with tifffile.TiffFile(path) as tif:
            series = tif.series[0]
            if len(tif.series) > 1:
                raise DataError(f"{path} holds {len(tif.series)} separate images, not one stack; save them as one "
                                "stack, or one file a slice.")
            shape, dtype = series.shape, series.dtype.newbyteorder(tif.byteorder)
            start, many, samples = series.dataoffset, len(tif.pages), tif.pages[0].samplesperpixel
    except DataError:
        raise
    except Exception as error:
        raise unreadable(path, error) from error
    if len(shape) not in (2, 3) or samples != 1 or dtype.kind + str(dtype.itemsize) not in ("u1", "u2", "f4"):
        raise DataError(f"{path} holds {dtype.name} of shape {shape}; slices must be grey, (height, width) or (slices, "
                        "height, width), and uint8, uint16 or float32.")
    count, size = (1 if len(shape) == 2 else shape[0]), shape[-2] * shape[-1] * dtype.itemsize
    check_size(path, size)
    if start is None and many < count:
        raise DataError(f"{path} packs {count} slices into {many} pages; save one slice a page.")
    if start is not None and start + count * size > path.stat().st_size:
        raise cut_short(path)
    return [Page(path.stem if count == 1 else f"{path.stem}_{index + 1:05d}", path, index, shape[-2:], dtype,
                 None if start is None else start + index * size) for index in range(count)]


def open_volume(path: str | Path) -> list[Page]:
    """The slices of a TIFF file, or of all TIFF files of a folder, in the order of their numbers."""
    path = Path(path).expanduser()
    if path.is_file():
        return pages_of(path)
    if not path.is_dir():
        raise DataError(f"{path} is neither a TIFF file nor a folder of TIFF files.")
    pages = [page for file in find(path).values() for page in pages_of(file)]
    for page in pages:
        if page.dtype.name != pages[0].dtype.name:
            raise DataError(f"{page.file} holds {page.dtype.name}, the first file {pages[0].dtype.name}; all must have "
                            "the same dtype.")
    return pages


@dataclass(frozen=True)
class Excerpt:
    """What is looked at of a volume: images uint16 (H, W), the place of each in the volume (1..N), and how it was
    cut."""

    images: list[np.ndarray]
    numbers: np.ndarray
    note: str


def excerpt(path: str | Path, most: int = 48, side: int = 501, run: int = 3) -> Excerpt:
    """At most ``most`` slices of a volume, in runs of ``run`` neighbours spread evenly, of each a window in the middle.

    Memory holds that much and no more, however large the volume is. uint16 stay as they are, uint8 are multiplied by
    257; of float32 the middle 99.8 % of all grey levels is stretched over 0..65535, and what is not a number becomes
    its slice's mean. Raises `DataError` for what cannot be read, for slices of different or too small sizes, and where
    all pixels are alike.
    """
    pages = open_volume(path)
    for page in pages:
        if page.shape != pages[0].shape or min(page.shape) < SMALLEST:
            raise DataError(f"{page.file} holds a slice of {page.shape} px, the first one {pages[0].shape}; all must "
                            f"have the same size, and at least {SMALLEST} px a side.")
    chosen = spread_runs(len(pages), most, run)
    rows, columns = middle(pages[0].shape, side)
    found = [pages[index].rows(rows.start, rows.stop)[:, columns] for index in chosen]
    note = (f"{len(chosen)} of {len(pages)} slices, {rows.stop - rows.start} x {columns.stop - columns.start} of "
            f"{pages[0].shape[0]} x {pages[0].shape[1]} px, {pages[0].dtype.name}.")
    return Excerpt(as_uint16(found, Path(path)), chosen + 1, note)


def spread_runs(n: int, most: int, run: int = 3) -> np.ndarray:
    """At most ``most`` of n slices, in runs of ``run`` neighbours spread evenly: their indices; all, if it can be."""
    if n <= most:
        return np.arange(n)
    parts = np.array_split(np.arange(n), max(1, most // run))
    return np.concatenate([part[max(0, len(part) - run) // 2:][:run] for part in parts])


def middle(shape: tuple[int, int], side: int) -> tuple[slice, slice]:
    """Rows and columns of the window of at most ``side`` px a side in the middle of a slice."""
    rows, columns = (slice((length - min(length, side)) // 2, (length + min(length, side)) // 2) for length in shape)
    return rows, columns


def as_uint16(images: list[np.ndarray], path: Path) -> list[np.ndarray]:
    """Slices of uint8, uint16 or float32 as uint16 of the same sizes; see `excerpt`."""
    finite = [image[np.isfinite(image)] for image in images]
    every = np.concatenate([few[::7] for few in finite])
    low, high = np.percentile(every, [0.1, 99.9]) if every.size else (0, 0)
    if low == high:
        raise DataError(f"{path} holds one grey level only; there is nothing to segment.")
    if images[0].dtype.kind == "u":
        return [image.astype(np.uint16) * np.uint16(257 if image.dtype.itemsize == 1 else 1) for image in images]
    filled = [np.where(np.isfinite(image), image, few.mean() if few.size else low)
              for image, few in zip(images, finite, strict=True)]
    return [np.rint(((image - low) / (high - low)).clip(0, 1) * 65535).astype(np.uint16) for image in filled]


def resolution(page: Page) -> dict:
    """The resolution tags of a slice, as `tifffile.imwrite` takes them."""
    with tifffile.TiffFile(page.file) as tif:
        tags = tif.pages[min(page.index, len(tif.pages) - 1)].tags
        if "XResolution" not in tags or "YResolution" not in tags:
            return {}
        unit = tags["ResolutionUnit"].value if "ResolutionUnit" in tags else 2
        return {"resolution": (tags["XResolution"].value, tags["YResolution"].value), "resolutionunit": unit}
