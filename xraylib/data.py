"""Labelled slices in memory and on disk, and the random streams of everything that is drawn.

A labelled data set is a folder with one slice per file in two sub-folders: data/*.tif[f], images,
uint16, and labels/*.tif[f], uint8, the values of the phases (0, 128, 255). An image and its label
have the same number at the end of their names (``SOCprist0001``, ``slice__001``).
"""

import hashlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .errors import DataError
from .files import expand_user
from .tiff import check_size, list_tiffs, read_slice, write_slices

POSTER_COLOURS = ((230, 25, 25), (20, 190, 20), (40, 70, 255))
COPIES, WINDOW, SECOND_SAMPLE, SLICE_ZERO = 1, 2, 3, 4  # purposes of random streams, no others


def random_stream(seed: int, *purpose: int) -> np.random.Generator:
    """Return the random numbers of a purpose: COPIES, WINDOW ..., then any numbers >= 0 (a slice).

    They differ from those of all other purposes, of the split (``default_rng(seed)``) and of the
    noise of slice n (``default_rng([seed, n])``).
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=purpose))


@dataclass(frozen=True)
class Phases:
    """The phases of a material: their order is that of the class indices."""

    names: tuple[str, ...]
    values: tuple[int, ...]  # of each phase in a label file, 0..255
    colours: tuple[str, ...]  # "#rrggbb" of each phase, which colour-blind readers can tell apart

    def __len__(self) -> int:
        return len(self.names)

    def to_dict(self) -> dict[str, list]:
        """Return what a JSON file holds of the phases."""
        return {name: list(entries) for name, entries in asdict(self).items()}

    @classmethod
    def from_dict(cls, content: dict[str, list]) -> "Phases":
        """Return the phases that `to_dict` described."""
        return cls(**{name: tuple(entries) for name, entries in content.items()})

    def palette(self, name: str = "safe") -> np.ndarray:
        """Return the colours as uint8 (C, 3): "safe", or "rgb" (the poster's for three phases)."""
        safe = np.array([list(bytes.fromhex(colour[1:])) for colour in self.colours], np.uint8)
        if name == "rgb":
            safe[: len(POSTER_COLOURS)] = POSTER_COLOURS[: len(self)]
        return safe


# The phases of the built-in data, in Okabe and Ito's colours, and the side of its voxels.
NI_YSZ = Phases(("pore", "YSZ", "nickel"), (0, 128, 255), ("#d55e00", "#009e73", "#0072b2"))
NI_YSZ_VOXEL_NM = 18.4


@dataclass(frozen=True)
class Slices:
    """Slices of one volume in memory. A part of them shares their arrays."""

    images: list[np.ndarray]  # N arrays uint16 (H, W), raw grey levels 0..65535
    labels: list[np.ndarray]  # N arrays uint8 (H, W), class indices
    numbers: np.ndarray  # int (N,), of each slice in its volume; a noisy copy keeps the number
    # float (N,), standard deviation of the added noise, in grey levels; by default 0
    noise_std: np.ndarray = None  # type: ignore[assignment]
    phases: Phases = NI_YSZ
    voxel_nm: float | None = None  # side of a voxel; None: unknown

    def __post_init__(self) -> None:
        if self.noise_std is None:
            object.__setattr__(self, "noise_std", np.zeros(len(self.images)))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Any) -> "Slices":
        """Return the slices at an int array or list, boolean mask or slice (not a single int)."""
        chosen = np.arange(len(self))[index]
        return replace(self, images=[self.images[i] for i in chosen],
                       labels=[self.labels[i] for i in chosen],
                       numbers=self.numbers[chosen], noise_std=self.noise_std[chosen])

    def subsample(self, n: int) -> "Slices":
        """Return at most n slices, evenly spaced, with the last one (0: all)."""
        return self[np.array(evenly_spaced(len(self), n or len(self))) - 1]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of every slice in px."""
        return self.images[0].shape

    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that change with any pixel, label or number."""
        digest = hashlib.blake2b(digest_size=8)
        for arrays in (self.images, self.labels):
            digest.update(str((len(self), *self.shape)).encode())
            for array in arrays:
                digest.update(np.ascontiguousarray(array).data)
        digest.update(str(self.numbers.shape).encode() + self.numbers.tobytes())
        return digest.hexdigest()


def evenly_spaced(total: int, parts: int) -> list[int]:
    """Return the ends of `parts` equal parts of 1..total (of `total` parts if it is smaller)."""
    return np.linspace(0, total, min(parts, total) + 1).round().astype(int)[1:].tolist()


def concatenate(*parts: Slices) -> Slices:
    """Join slices of one size and material, one part after the other."""
    return replace(parts[0], images=[image for part in parts for image in part.images],
                   labels=[label for part in parts for label in part.labels],
                   numbers=np.concatenate([part.numbers for part in parts]),
                   noise_std=np.concatenate([part.noise_std for part in parts]))


def mean_grey_levels(slices: Slices) -> np.ndarray:
    """Return the mean grey level of each phase, float64 (C,); nan for a phase that is absent."""
    n_classes = len(slices.phases)
    sums, counts = np.zeros(n_classes), np.zeros(n_classes)
    for image, label in zip(slices.images, slices.labels, strict=True):
        sums += np.bincount(label.ravel(), image.ravel(), n_classes)
        counts += np.bincount(label.ravel(), minlength=n_classes)
    return np.divide(sums, counts, out=np.full(n_classes, np.nan), where=counts > 0)


def grey_statistics(slices: Slices) -> tuple[float, float]:
    """Return mean and standard deviation (at least 1) of all grey levels, slice by slice."""
    mean = float(np.mean([image.mean(dtype=np.float64) for image in slices.images]))
    variance = float(np.mean([np.square(image - mean).mean() for image in slices.images]))
    return mean, max(variance**0.5, 1.0)


def classes_from_values(mask: np.ndarray, path: Path, phases: Phases) -> np.ndarray:
    """Turn the values of a label file into class indices, uint8 of the same shape.
    Args:
        mask, path, phases: uint8, its file for errors, and whose values it may hold (`DataError`).
    """
    table = np.full(256, 255, np.uint8)
    table[list(phases.values)] = range(len(phases))
    classes = table[mask]
    if classes.max() == 255:
        values, counts = np.unique(mask[classes == 255], return_counts=True)
        wrong = [f"{value} ({count} px)" for value, count in zip(values, counts, strict=True)]
        right = map("{} for {}".format, phases.values, phases.names)
        raise DataError(f"{path} has label values other than {phases.values}: "
                        f"{', '.join(wrong[:8])}{' ...' * (len(wrong) > 8)}. Write "
                        f"{', '.join(right)} (python -m xraylib data convert does so with "
                        f"{', '.join(map(str, range(len(phases))))}).")
    return classes


def values_from_classes(labels: np.ndarray, phases: Phases) -> np.ndarray:
    """Turn class indices into the values of a label file, uint8 of the same shape."""
    return np.array(phases.values, np.uint8)[labels]


def load_slices(folder: str | Path) -> Slices:
    """Read a labelled data set (layout: see the top of this file), or raise `DataError`."""
    images: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    pairs = pair_files(expand_user(folder))
    for path, mask_path in pairs.values():
        image, mask = read_slice(path, np.uint16), read_slice(mask_path, np.uint8)
        images.append(image)
        check_size(path, image.shape, images[0].shape)
        check_size(mask_path, mask.shape, images[0].shape)
        check_not_constant(path, image)
        labels.append(classes_from_values(mask, mask_path, NI_YSZ))
    return Slices(images, labels, np.array(list(pairs)))


def check_not_constant(path: Path, image: np.ndarray) -> None:
    """Raise `DataError` if all pixels of an image are alike."""
    if image.min() == image.max():
        raise DataError(f"{path} holds one grey level only, {image.min()}. Export it again, or "
                        "remove it and its label.")


def pair_files(folder: Path) -> dict[int, tuple[Path, Path]]:
    """List the image and the label of each slice number; `DataError` if one has no partner."""
    images, masks = list_tiffs(folder / "data"), list_tiffs(folder / "labels")
    for here, there, kind in ((images, masks, "label"), (masks, images, "image")):
        alone = [here[number].name for number in here if number not in there]
        if alone:
            names = ", ".join(alone[:5]) + " ..." * (len(alone) > 5)
            raise DataError(f"{folder}: {len(alone)} files have no {kind} of the same number: "
                            f"{names}. Add the missing files or remove these.")
    return {number: (images[number], masks[number]) for number in images}


def save_slices(slices: Slices, folder: str | Path) -> None:
    """Write slices in the layout that `load_slices` reads, into a folder (created if missing)."""
    labels = (values_from_classes(label, slices.phases) for label in slices.labels)
    write_slices(slices.images, slices.numbers, Path(folder) / "data")
    write_slices(labels, slices.numbers, Path(folder) / "labels")
