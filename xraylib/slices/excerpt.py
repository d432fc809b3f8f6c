"""What is looked at of a volume without labels: some slices, of each a window, as uint16; never more than that."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .tiff import DataError, open_volume


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
        if page.shape != pages[0].shape:
            raise DataError(f"{page.file} is {page.shape} px, the first slice {pages[0].shape}; all must have the same "
                            "size: crop them, or take it away.")
    chosen, (rows, columns), note = cut(len(pages), pages[0].shape, most, side, run)
    found = [pages[index].rows(rows.start, rows.stop)[:, columns] for index in chosen]
    return Excerpt(as_uint16(found, Path(path)), chosen + 1, f"{note}, {pages[0].dtype.name}.")


def cut(n: int, shape: tuple[int, int], most: int, side: int,
        run: int = 3) -> tuple[np.ndarray, tuple[slice, slice], str]:
    """What an `excerpt` holds of n slices of this shape: which slices, which window of each, and how to say that."""
    chosen, (rows, columns) = spread_runs(n, most, run), middle(shape, side)
    size = f"{rows.stop - rows.start} x {columns.stop - columns.start}"
    return chosen, (rows, columns), f"{len(chosen)} of {n} slices, {size} of {shape[0]} x {shape[1]} px"


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
        raise DataError(f"{path} holds one grey level only, or no number; export it again, or name another volume.")
    if images[0].dtype.kind == "u":
        return [image.astype(np.uint16) * np.uint16(257 if image.dtype.itemsize == 1 else 1) for image in images]
    filled = [np.where(np.isfinite(image), image, few.mean() if few.size else low)
              for image, few in zip(images, finite, strict=True)]
    return [np.rint(((image - low) / (high - low)).clip(0, 1) * 65535).astype(np.uint16) for image in filled]
