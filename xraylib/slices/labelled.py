"""Labelled slices in memory and on disk.

A labelled data set is a folder with two sub-folders::

    <folder>/data/*.tif[f]      uint16, one slice a file
    <folder>/labels/*.tif[f]    uint8, 0 = pore, 128 = YSZ, 255 = nickel

An image and its label are paired by the number that ends their names (``SOCprist0001`` <-> ``slice__001``).
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..files import expanded
from .tiff import DataError, find, read, write

PHASES = ("pore", "YSZ", "nickel")
LABEL_VALUES = (0, 128, 255)  # how a label file writes the class indices 0, 1, 2: the one place that says so
VOXEL_NM = 18.4
# One colour a phase, everywhere. "rgb" is the poster's; "safe" (Okabe and Ito) keeps its order of hues and can be told
# apart by colour-blind readers.
PALETTES = {
    "rgb": np.array([[230, 25, 25], [20, 190, 20], [40, 70, 255]], np.uint8),
    "safe": np.array([[213, 94, 0], [0, 158, 115], [0, 114, 178]], np.uint8),
}


@dataclass(frozen=True)
class Slices:
    """Slices of one volume, in memory. A part of them holds the same arrays, not copies.

    ``images``: N arrays uint16 (H, W), raw grey levels 0..65535. ``labels``: N arrays uint8 (H, W), class indices 0..2
    (see `PHASES`). ``numbers``: int (N,), the number of each slice in its volume; a noisy copy keeps its original's
    number. ``noise_std``: float (N,), the standard deviation of the noise added to each, in grey levels (0: none).
    """

    images: list[np.ndarray]
    labels: list[np.ndarray]
    numbers: np.ndarray
    noise_std: np.ndarray = field(default=None)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        object.__setattr__(self, "images", list(self.images))
        object.__setattr__(self, "labels", list(self.labels))
        if self.noise_std is None:
            object.__setattr__(self, "noise_std", np.zeros(len(self.images)))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index) -> "Slices":
        """The slices at ``index``: an int array or list, a boolean mask or a slice (never a single int)."""
        chosen = np.arange(len(self))[index]
        return Slices([self.images[i] for i in chosen], [self.labels[i] for i in chosen],
                      self.numbers[chosen], self.noise_std[chosen])

    def some(self, n: int) -> "Slices":
        """At most n of them, evenly spread, the last among them (0: all)."""
        return self[np.array(evenly(len(self), n or len(self))) - 1]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of every slice, px."""
        return self.images[0].shape

    def fingerprint(self) -> str:
        """16 hexadecimal digits that change with any pixel, label or number."""
        digest = hashlib.blake2b(digest_size=8)
        for arrays in (self.images, self.labels):
            digest.update(str((len(arrays), *self.shape)).encode())
            for array in arrays:
                digest.update(np.ascontiguousarray(array).data)
        digest.update(str(self.numbers.shape).encode())
        digest.update(np.ascontiguousarray(self.numbers).data)
        return digest.hexdigest()


def evenly(total: int, parts: int) -> list[int]:
    """The ends of ``parts`` equal parts of 1..total (of ``total`` parts, if there are not so many)."""
    return np.linspace(0, total, min(parts, total) + 1).round().astype(int)[1:].tolist()


def join(*parts: Slices) -> Slices:
    """Several `Slices` of one size, one after the other."""
    return Slices([image for part in parts for image in part.images],
                  [label for part in parts for label in part.labels],
                  np.concatenate([part.numbers for part in parts]), np.concatenate([part.noise_std for part in parts]))


def grey_levels(slices: Slices) -> np.ndarray:
    """The mean grey level of each phase, (3,); nan for a phase that is nowhere."""
    sums, counts = np.zeros(len(PHASES)), np.zeros(len(PHASES))
    for image, label in zip(slices.images, slices.labels, strict=True):
        sums += np.bincount(label.ravel(), image.ravel(), len(PHASES))
        counts += np.bincount(label.ravel(), minlength=len(PHASES))
    return np.divide(sums, counts, out=np.full(len(PHASES), np.nan), where=counts > 0)


def grey_statistics(slices: Slices) -> tuple[float, float]:
    """Mean and standard deviation of all grey levels, in float64, slice by slice (no large copy)."""
    mean = float(np.mean([image.mean(dtype=np.float64) for image in slices.images]))
    variance = float(np.mean([np.square(image - mean).mean() for image in slices.images]))
    return mean, max(variance**0.5, 1.0)


# -- files ------------------------------------------------------------------------------------------------------------


def to_classes(mask: np.ndarray, path: Path) -> np.ndarray:
    """Label values 0, 128, 255 -> class indices 0, 1, 2 (uint8, same shape)."""
    table = np.full(256, 255, np.uint8)
    table[list(LABEL_VALUES)] = range(len(LABEL_VALUES))
    classes = table[mask]
    if classes.max() == 255:
        values, counts = np.unique(mask[classes == 255], return_counts=True)
        wrong = ", ".join(f"{value} ({count} px)" for value, count in zip(values[:8], counts[:8], strict=True))
        raise DataError(
            f"{path} has label values other than {LABEL_VALUES}: {wrong}{' ...' if len(values) > 8 else ''}; "
            f"write {', '.join(f'{v} for {p}' for v, p in zip(LABEL_VALUES, PHASES, strict=True))} (python -m xraylib "
            "data convert does so with 0, 1, 2)."
        )
    return classes


def as_values(labels: np.ndarray) -> np.ndarray:
    """Class indices 0, 1, 2 -> the values of a label file, 0, 128, 255 (uint8, same shape)."""
    return np.array(LABEL_VALUES, np.uint8)[labels]


def load(folder: str | Path) -> Slices:
    """Read, pair and check a labelled data set (layout: see the top of this file).

    Raises `DataError` for a wrong folder, unpaired files, a damaged TIFF, a wrong dtype, shape or label value, and an
    image of one grey level.
    """
    folder = expanded(folder)
    images, masks = paired(folder)
    slices = Slices([], [], np.array(list(images)), np.zeros(len(images)))
    for number in images:
        image, mask = read(images[number], np.uint16), read(masks[number], np.uint8)
        slices.images.append(image)
        for path, array in ((images[number], image), (masks[number], mask)):
            if array.shape != slices.shape:
                raise DataError(f"{path} is {array.shape} px, the first slice {slices.shape}; all must have the same "
                                "size: crop them, or take it away.")
        if image.min() == image.max():
            raise DataError(f"{images[number]} holds one grey level only, {image.min()}; export it again, or take it "
                            "and its label away.")
        slices.labels.append(to_classes(mask, masks[number]))
    return slices


def paired(folder: Path) -> tuple[dict[int, Path], dict[int, Path]]:
    """The images and the labels of a data set by slice number. Raises `DataError` where one has no partner."""
    images, masks = find(folder / "data"), find(folder / "labels")
    for here, there, kind in ((images, masks, "label"), (masks, images, "image")):
        alone = [here[number].name for number in here if number not in there]
        if alone:
            raise DataError(
                f"{folder}: {len(alone)} files have no {kind} of the same number: {', '.join(alone[:5])}"
                f"{' ...' if len(alone) > 5 else ''}; add the missing files or take these away."
            )
    return images, masks


def save(slices: Slices, folder: str | Path) -> None:
    """Write the layout that `load` reads, one uncompressed TIFF a slice, into a folder (made if missing)."""
    write(slices.images, slices.numbers, Path(folder) / "data")
    write([as_values(label) for label in slices.labels], slices.numbers, Path(folder) / "labels")
