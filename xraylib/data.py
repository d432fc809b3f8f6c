"""Labelled slices in memory, and a random stream for each purpose.

`layouts` describes how labelled slices are kept on disk, and `datasets.load_slices` reads them.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .errors import DataError
from .formats.layouts import MAX_PHASES as MAX_PHASES
from .formats.layouts import DatasetFile, PhaseEntry, write_dataset_file
from .formats.tiff import write_slices
from .losses import IGNORE

Voxel = tuple[float, float, float]  # size along z, y, x in nm
# Colours of 16 phases that colour-blind readers can tell apart, by Okabe and Ito and by Tol.
COLOURS = ("#d55e00", "#009e73", "#0072b2", "#cc79a7", "#f0e442", "#56b4e9", "#e69f00", "#332288",
           "#882255", "#117733", "#44aa99", "#999933", "#aa4499", "#661100", "#888888", "#000000")
POSTER_COLOURS = ((230, 25, 25), (20, 190, 20), (40, 70, 255))
COPIES, WINDOW, SECOND_SAMPLE, SLICE_ZERO = 1, 2, 3, 4  # all purposes of random streams
UNLABELLED = (200, 200, 200)  # colour of pixels without a label


def random_stream(seed: int, *purpose: int) -> np.random.Generator:
    """Return a generator for a purpose: COPIES, WINDOW ..., then any numbers >= 0, such as a slice.

    Its random numbers differ from those of all other purposes, from those of the split
    (``default_rng(seed)``) and from the noise of slice n (``default_rng([seed, n])``).
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=purpose))


@dataclass(frozen=True)
class Phases:
    """The phases of a material, in the order of their class indices."""

    names: tuple[str, ...]
    values: tuple[int, ...]  # of each phase in a label file, 0..65535
    colours: tuple[str, ...]  # "#rrggbb" of each phase, which colour-blind readers can tell apart

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def numbered(cls, values: Sequence[int]) -> "Phases":
        """Return phases named "phase 0", "phase 1" ... for these label values."""
        names = tuple(f"phase {index}" for index in range(len(values)))
        return cls(names, tuple(values), COLOURS[: len(values)])

    @property
    def ignore_value(self) -> int:
        """The value of pixels without a label in label files: 255, or the first that is free."""
        return next(value for value in (IGNORE, *range(IGNORE)) if value not in self.values)

    def to_dict(self) -> dict[str, list]:
        """Return the phases as a dictionary that can be written as JSON."""
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


# The phases of the built-in data and the size of its voxels, which its dataset.toml names.
NI_YSZ = Phases(("pore", "YSZ", "nickel"), (0, 128, 255), COLOURS[:3])
NI_YSZ_VOXEL_NM = (18.4, 18.4, 18.4)


@dataclass(frozen=True)
class GreyScale:
    """How grey levels of files become those of the library: value * gain + offset, as uint16."""

    dtype: str = "uint16"  # of the files
    gain: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True)
class Slices:
    """Slices of one volume in memory. A subset shares the arrays of the original."""

    images: list[np.ndarray]  # N arrays uint16 (H, W), raw grey levels 0..65535
    labels: list[np.ndarray]  # N arrays uint8 (H, W), class indices or `losses.IGNORE`
    numbers: np.ndarray  # int (N,), of each slice in its volume; a noisy copy keeps the number
    # float (N,), standard deviation of the added noise, in grey levels; by default 0
    noise_std: np.ndarray = None  # type: ignore[assignment]
    phases: Phases = NI_YSZ
    voxel_nm: Voxel | None = None  # size of a voxel; None: unknown
    grey_scale: GreyScale = GreyScale()  # maps the files' grey levels to those of `images`
    notes: tuple[str, ...] = ()  # sentences for the user on how the files were read

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
        return self[np.array(evenly_spaced(len(self), n or len(self)), int) - 1]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the first slice in px; the others may have another size."""
        return self.images[0].shape

    def fingerprint(self) -> str:
        """Return 16 hexadecimal digits that change with any pixel, label or number."""
        digest = hashlib.blake2b(digest_size=8)
        for arrays in (self.images, self.labels):
            digest.update(str((len(self), *self.shape)).encode())
            for array in arrays:
                if array.shape != self.shape:
                    digest.update(str(array.shape).encode())
                digest.update(np.ascontiguousarray(array).data)
        digest.update(str(self.numbers.shape).encode() + self.numbers.tobytes())
        return digest.hexdigest()


def evenly_spaced(total: int, parts: int) -> list[int]:
    """Split 1..total into at most `parts` equal parts and return the last number of each part."""
    return np.linspace(0, total, min(parts, total) + 1).round().astype(int)[1:].tolist()


def concatenate(*parts: Slices) -> Slices:
    """Join slices of one size and material, one part after the other."""
    return replace(parts[0], images=[image for part in parts for image in part.images],
                   labels=[label for part in parts for label in part.labels],
                   numbers=np.concatenate([part.numbers for part in parts]),
                   noise_std=np.concatenate([part.noise_std for part in parts]))


def mean_grey_levels(slices: Slices) -> np.ndarray:
    """Return the mean grey level of each phase, float64 (C,); nan for a phase that is absent."""
    n_classes, size = len(slices.phases), IGNORE + 1
    sums, counts = np.zeros(size), np.zeros(size)
    for image, label in zip(slices.images, slices.labels, strict=True):
        sums += np.bincount(label.ravel(), image.ravel(), size)
        counts += np.bincount(label.ravel(), minlength=size)
    sums, counts = sums[:n_classes], counts[:n_classes]
    return np.divide(sums, counts, out=np.full(n_classes, np.nan), where=counts > 0)


def grey_statistics(slices: Slices) -> tuple[float, float]:
    """Return mean and standard deviation (at least 1) of the grey levels; slices weigh the same."""
    mean = float(np.mean([image.mean(dtype=np.float64) for image in slices.images]))
    variance = float(np.mean([np.square(image - mean).mean() for image in slices.images]))
    return mean, max(variance**0.5, 1.0)


def grey_quantiles(images: Sequence[np.ndarray]) -> np.ndarray:
    """Return 101 evenly spaced quantiles of grey levels, ascending, of every 4th row and column."""
    pixels = np.concatenate([image[::4, ::4].ravel() for image in images])
    return np.quantile(pixels, np.linspace(0, 1, 101))


def classes_from_values(mask: np.ndarray, path: Path, phases: Phases) -> np.ndarray:
    """Turn the values of a label file into class indices, uint8 of the same shape.
    Args:
        mask, path, phases: Label values 0..65535, (H, W); the file, for errors; the known phases.
    Raises: DataError if a label value belongs to no phase.
    """
    table = np.full(2**16, IGNORE, np.uint8)
    table[list(phases.values)] = range(len(phases))
    classes = table[mask]
    if (classes == IGNORE).any():
        values, counts = np.unique(mask[classes == IGNORE], return_counts=True)
        raise unknown_values(path, dict(zip(values.tolist(), counts.tolist(), strict=True)),
                             zip(phases.values, phases.names, strict=True))
    return classes


def unknown_values(place: object, counts: Mapping[Any, int],
                   known: Iterable[tuple[Any, str]]) -> DataError:
    """Return the error for a label file with values that belong to no phase.
    Args:
        place, counts: The file, or page of a file; pixels of each wrong value.
        known: The values that have a meaning, each with its meaning.
    """
    wrong = [f"{value} ({count} px)" for value, count in counts.items()]
    right = [f"{value} is {name}" for value, name in known]
    return DataError(f"{place} has label values without a meaning: {', '.join(wrong[:8])}"
                     f"{' ...' * (len(wrong) > 8)}. Of the known values, {', '.join(right)}. "
                     "Correct the labels, or dataset.toml beside them.")


def values_from_classes(labels: np.ndarray, phases: Phases) -> np.ndarray:
    """Turn class indices into the values of a label file, of the same shape.
    Returns: uint8, or uint16 for values above 255; `phases.ignore_value` where there is no label.
    """
    table = np.full(IGNORE + 1, phases.ignore_value, np.uint16)
    table[: len(phases)] = phases.values
    return (table.astype(np.uint8) if max(phases.values) < 256 else table)[labels]


def save_slices(slices: Slices, folder: str | Path) -> None:
    """Write slices into a folder, created if missing, as a data set for `datasets.load_slices`."""
    folder, phases = Path(folder), slices.phases
    labels = (values_from_classes(label, phases) for label in slices.labels)
    write_slices(slices.images, slices.numbers, folder / "data")
    write_slices(labels, slices.numbers, folder / "labels")
    unlabelled = any((label == IGNORE).any() for label in slices.labels)
    write_dataset_file(folder, dataset_file(phases, slices.voxel_nm, unlabelled))


def dataset_file(phases: Phases, voxel_nm: Voxel | None, unlabelled: bool = False) -> DatasetFile:
    """Return the content of dataset.toml for a data set with these phases.
    Args:
        phases, voxel_nm, unlabelled: The phases; size of a voxel in nm; whether some pixels have no
            label and thus the value `phases.ignore_value`.
    """
    entries = tuple(PhaseEntry(name=name, value=value, colour=colour) for name, value, colour in
                    zip(phases.names, phases.values, phases.colours, strict=True))
    return DatasetFile(voxel_nm=voxel_nm, phases=entries,
                       ignore=(phases.ignore_value,) if unlabelled else ())
