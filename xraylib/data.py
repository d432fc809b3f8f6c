"""Slices and their labels: find, pair, read, check, write and split them.

A labelled data set is a folder with two sub-folders::

    <folder>/data/*.tif[f]      uint16, one slice a file
    <folder>/labels/*.tif[f]    uint8, 0 = pore, 128 = YSZ, 255 = nickel

An image and its label are paired by the number that ends their names (``SOCprist0001`` <-> ``slice__001``).
"""

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tifffile

PHASES = ("pore", "YSZ", "nickel")
LABEL_VALUES = (0, 128, 255)  # how a label file writes the class indices 0, 1, 2: the one place that says so
VOXEL_NM = 18.4


class DataError(ValueError):
    """The data cannot be used as it is; the message says what is wrong, where, and what to do."""


@dataclass(frozen=True)
class Slices:
    """Slices of one volume, in memory.

    ``images``: uint16 (N, H, W), raw grey levels 0..65535. ``labels``: uint8 (N, H, W), class indices 0..2
    (see `PHASES`). ``numbers``: int (N,), the number of each slice in its volume; a noisy copy keeps its original's
    number. ``noise_std``: float (N,), the standard deviation of the noise added to each, in grey levels (0: none).
    """

    images: np.ndarray
    labels: np.ndarray
    numbers: np.ndarray
    noise_std: np.ndarray = field(default=None)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.noise_std is None:
            object.__setattr__(self, "noise_std", np.zeros(len(self.images)))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index) -> "Slices":
        """The slices at ``index``: an int array, a boolean mask or a slice (never a single int)."""
        return Slices(self.images[index], self.labels[index], self.numbers[index], self.noise_std[index])

    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with any pixel, label or number."""
        digest = hashlib.blake2b(digest_size=8)
        for array in (self.images, self.labels, self.numbers):
            digest.update(str(array.shape).encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def join(*parts: Slices) -> Slices:
    """Several `Slices` of one size, one after the other."""
    fields = ("images", "labels", "numbers", "noise_std")
    return Slices(*(np.concatenate([getattr(part, name) for part in parts]) for name in fields))


# -- reading ----------------------------------------------------------------------------------------------------------


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
    found: dict[int, Path] = {}
    for path in sorted(path for path in folder.iterdir() if path.suffix.lower() in (".tif", ".tiff")):
        number = number_of(path)
        if number in found:
            raise DataError(f"{folder}: {found[number].name} and {path.name} both end in {number}; keep one of them.")
        found[number] = path
    if not found:
        raise DataError(f"{folder} holds no .tif or .tiff file; put one TIFF a slice there.")
    return dict(sorted(found.items()))


def read(path: Path, dtype: type) -> np.ndarray:
    """One slice, (H, W), of exactly this dtype."""
    try:
        with tifffile.TiffFile(path) as tif:
            page = tif.pages[0]
            whole = all(start + count <= tif.filehandle.size
                        for start, count in zip(page.dataoffsets, page.databytecounts, strict=True))
            if not whole:
                raise DataError(f"{path} is cut short (it ends before its pixels do); copy or export it again.")
            array = tif.asarray()
    except DataError:
        raise
    except Exception as error:  # a damaged TIFF can fail anywhere inside the reader, with any exception
        raise DataError(f"{path} cannot be read as a TIFF ({error}); copy or export it again.") from error
    if array.ndim != 2:
        raise DataError(f"{path} has shape {array.shape}, not (height, width); save one grey slice a file.")
    if array.dtype != dtype:
        raise DataError(f"{path} holds {array.dtype}, not {np.dtype(dtype)}; convert it, keeping the grey levels.")
    return array


def to_classes(mask: np.ndarray, path: Path) -> np.ndarray:
    """Label values 0, 128, 255 -> class indices 0, 1, 2 (uint8, same shape)."""
    table = np.full(256, 255, np.uint8)
    table[list(LABEL_VALUES)] = range(len(LABEL_VALUES))
    classes = table[mask]
    if classes.max() == 255:
        values, counts = np.unique(mask[classes == 255], return_counts=True)
        found = ", ".join(f"{value} ({count} px)" for value, count in zip(values[:8], counts[:8], strict=True))
        raise DataError(
            f"{path} has label values other than {LABEL_VALUES}: {found}{' ...' if len(values) > 8 else ''}; "
            f"write {', '.join(f'{v} for {p}' for v, p in zip(LABEL_VALUES, PHASES, strict=True))}."
        )
    return classes


def load(folder: str | Path) -> Slices:
    """Read, pair and check a labelled data set (layout: see the top of this file).

    Raises `DataError` for a wrong folder, unpaired files, a damaged TIFF, a wrong dtype, shape or label value.
    """
    folder = Path(folder).expanduser()
    images, masks = find(folder / "data"), find(folder / "labels")
    for here, there, kind in ((images, masks, "label"), (masks, images, "image")):
        alone = [here[number].name for number in here if number not in there]
        if alone:
            raise DataError(
                f"{folder}: {len(alone)} files have no {kind} of the same number: {', '.join(alone[:5])}"
                f"{' ...' if len(alone) > 5 else ''}; add the missing files or take these away."
            )
    shape = read(next(iter(images.values())), np.uint16).shape
    slices = Slices(np.empty((len(images), *shape), np.uint16), np.empty((len(images), *shape), np.uint8),
                    np.array(list(images)))
    for index, number in enumerate(images):
        image, mask = read(images[number], np.uint16), read(masks[number], np.uint8)
        for path, array in ((images[number], image), (masks[number], mask)):
            if array.shape != shape:
                raise DataError(f"{path} is {array.shape} px, the first slice {shape}; all must have the same size.")
        slices.images[index], slices.labels[index] = image, to_classes(mask, masks[number])
    return slices


def save(slices: Slices, folder: str | Path) -> None:
    """Write the layout that `load` reads, one uncompressed TIFF a slice, into a folder (made if missing)."""
    write(slices.images, slices.numbers, Path(folder) / "data")
    write(as_values(slices.labels), slices.numbers, Path(folder) / "labels")


def as_values(labels: np.ndarray) -> np.ndarray:
    """Class indices 0, 1, 2 -> the values of a label file, 0, 128, 255 (uint8, same shape)."""
    return np.array(LABEL_VALUES, np.uint8)[labels]


def write(arrays: np.ndarray, numbers: np.ndarray, folder: Path, compression: str | None = None) -> None:
    """One TIFF a slice, named by its number, into a folder (made if missing)."""
    folder.mkdir(parents=True, exist_ok=True)
    for array, number in zip(arrays, numbers, strict=True):
        tifffile.imwrite(folder / f"slice_{number:04d}.tif", array, compression=compression)
