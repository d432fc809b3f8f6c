"""The second built-in sample, and excerpts of volumes without labels (notebook 8).

The second sample is another material, imaged by a microscope that gets worse along z. The sample
stands in for a volume without labels. Its labels are used only at the end.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from ..data import (
    NI_YSZ,
    SECOND_SAMPLE,
    Slices,
    classes_from_values,
    random_stream,
)
from ..datasets import SIZES as BUILT_IN_SIZES
from ..datasets import TEST_SEED, built_in, built_in_folder, load_or_generate, load_slices
from ..errors import DataError
from ..files import expand_user, home
from ..formats.file_names import list_tiffs
from ..formats.layouts import has_labels
from ..formats.tiff import check_size, open_volume, read_slice
from ..synthetic import Material, Sample, generate_chunks

VERSION = 2  # increase it when this file generates other pixels
SIZES = {"tiny": (12, 128), "laptop": (48, 501), "paper": (48, 501)}  # slices, side in px
SEED = 2
# Finer grains, all phases darker and at equal steps of grey level, less sharp, noisier.
MATERIAL = Material(grain=0.7, grey=(12000, 22000, 32000), blur=(1.6, 1.9, 1.9), noise=1500)
FADING, NOISE = 0.4, 4000  # at the last slice: share of contrast lost, white noise added
# Three faults, each in a twelfth of the slices, beginning at this share of the volume.
FAULTS = {"rings": 1 / 4, "stripes": 1 / 2, "out of focus": 3 / 4}
STRENGTH, BLUR = 6000, 6  # grey levels of rings and stripes; sigma in px when out of focus
MAX_SLICES, MAX_SIDE = 48, 501  # of an excerpt


def built_in_second(profile: str) -> Slices:
    """Return the second built-in sample, generated once and then read from disk.

    Args:
        profile: "tiny", "laptop" or "paper".
    """
    n, size = SIZES[profile]
    folder = home() / "data" / "built-in" / f"second-v{VERSION}-{n}x{size}"
    return load_or_generate(folder, lambda: second_chunks(n, size), n, SEED)


def second_chunks(n: int, size: int) -> Iterator[Sample]:
    """Generate the n slices of the second sample, `size` px per side, several at a time."""
    start = 0
    for sample in generate_chunks(n, size, SEED, material=MATERIAL):
        shown = [_degraded(image, start + i, n) for i, image in enumerate(sample.images)]
        yield replace(sample, images=np.stack(shown))
        start += len(shown)


def slice_faults(slices: Slices) -> list[str]:
    """Return the fault of each slice of the complete sample, "" for none."""
    return [_fault(index, len(slices)) for index in range(len(slices))]


def built_in_test(profile: str) -> Slices:
    """Return the built-in test set of a profile."""
    _, n, size = BUILT_IN_SIZES[profile]
    return built_in(n, size, TEST_SEED)


def with_ground_truth(test: Slices, profile: str) -> Slices:
    """Return slices of the built-in test set with the perfect labels of the material itself.

    Args:
        test: Any slices of the built-in test set.
        profile: Profile of the test set.
    """
    _, n, size = BUILT_IN_SIZES[profile]
    paths = list_tiffs(built_in_folder(n, size, TEST_SEED) / "truth")
    labels = [
        classes_from_values(read_slice(paths[number], np.uint8), paths[number], NI_YSZ)
        for number in test.numbers
    ]
    return replace(test, labels=labels)


def _fault(index: int, n: int) -> str:
    """The fault of slice `index` of n: one of `FAULTS`, or ""."""
    length = max(1, n // 12)
    begins = ((name, round(share * n)) for name, share in FAULTS.items())
    return next((name for name, first in begins if first <= index < first + length), "")


def _pattern(fault: str, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return what rings or stripes add, float32 (H, W): a random number per circle or column."""
    y, x = (np.arange(side) - side / 2 for side in shape)
    place = np.hypot(y[:, None], x) if fault == "rings" else np.broadcast_to(x - x[0], shape)
    levels = gaussian_filter(rng.standard_normal(int(sum(shape))), 1)
    return (STRENGTH * (levels / levels.std())[place.astype(int)]).astype(np.float32)


def _degraded(image: np.ndarray, index: int, n: int) -> np.ndarray:
    """Return slice `index` of n, uint16 (H, W), as the failing microscope shows it."""
    rng, depth = random_stream(SEED, SECOND_SAMPLE, index), index / max(n - 1, 1)
    fault, middle = _fault(index, n), np.float32(MATERIAL.grey[1])
    shown = middle + np.float32(1 - FADING * depth) * (image - middle)
    if fault == "out of focus":
        shown = gaussian_filter(shown, BLUR)
    elif fault:
        shown = shown + _pattern(fault, image.shape, rng)
    shown = shown + np.float32(NOISE * depth) * rng.standard_normal(image.shape, np.float32)
    return np.clip(np.rint(shown), 0, 65535).astype(np.uint16)


# -- excerpts --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Excerpt:
    """A part of a volume without labels that fits in memory.

    Args:
        images: N arrays uint16 (H, W).
        numbers: int (N,), the place of each slice in the volume, from 1.
        note: How the part was chosen, as a text for the reader.
    """

    images: list[np.ndarray]
    numbers: np.ndarray
    note: str


def open_excerpt(volume: str, profile: str) -> tuple[Excerpt, Slices | None]:
    """Open a part of a volume, and its labels if there are any.

    Args:
        volume: "" for the second built-in sample, or a folder in the layout of `load_slices`, which
            both have labels. Any other folder of TIFFs, or TIFF of many pages, has none.
        profile: Profile of the built-in sample.

    Returns:
        The excerpt, and the same slices with labels or None.

    Raises:
        DataError: The volume cannot be used, see `read_excerpt` and `load_slices`.
    """
    folder = expand_user(volume or ".")
    if volume and not has_labels(folder):
        return read_excerpt(folder), None
    slices = load_slices(folder) if volume else built_in_second(profile)
    chosen, (rows, columns), note = _choose(len(slices), slices.shape)
    part = slices[chosen]
    images, labels = (
        [array[rows, columns] for array in arrays] for arrays in (part.images, part.labels)
    )
    numbers = part.numbers if volume else chosen + 1
    part = replace(part, images=images, labels=labels, numbers=numbers)
    return Excerpt(images, part.numbers, f"{note}, uint16."), part


def read_excerpt(path: Path) -> Excerpt:
    """Read a part of a volume without labels: runs of slices, and a window in the middle of each.

    Args:
        path: A TIFF file or a folder of TIFFs. uint16 is kept, uint8 is multiplied by 257. For
            float32, the middle 99.8 % of all grey levels is stretched to 0..65535, and NaN or
            infinity becomes the mean of its slice.

    Raises:
        DataError: A file cannot be read, slices have different sizes, or all pixels are alike.
    """
    pages = open_volume(path)
    for page in pages:
        check_size(page.file, page.shape, pages[0].shape)
    chosen, (rows, columns), note = _choose(len(pages), pages[0].shape)
    found = [pages[index].rows(rows.start, rows.stop)[:, columns] for index in chosen]
    return Excerpt(_as_uint16(found, path), chosen + 1, f"{note}, {pages[0].dtype.name}.")


def spread_runs(n: int, max_slices: int) -> np.ndarray:
    """Return the indices of at most `max_slices` of n slices, in runs of 3 neighbours."""
    if n <= max_slices:
        return np.arange(n)
    parts = np.array_split(np.arange(n), max(1, max_slices // 3))
    return np.concatenate([part[max(0, len(part) - 3) // 2 :][:3] for part in parts])


def _choose(n: int, shape: tuple[int, int]) -> tuple[np.ndarray, tuple[slice, ...], str]:
    """Choose which of n slices and which window of each to read, and describe the choice."""
    sides = [(length, min(length, MAX_SIDE)) for length in shape]
    window = tuple(slice((length - side) // 2, (length + side) // 2) for length, side in sides)
    (height, rows), (width, columns) = sides
    chosen = spread_runs(n, MAX_SLICES)
    note = f"{len(chosen)} of {n} slices, {rows} x {columns} of {height} x {width} px"
    return chosen, window, note


def _as_uint16(images: list[np.ndarray], path: Path) -> list[np.ndarray]:
    """Convert slices of uint8, uint16 or float32 to uint16, see `read_excerpt`."""
    finite = [image[np.isfinite(image)].astype(np.float64) for image in images]  # no overflow
    ends = [end for levels in finite if levels.size for end in (levels.min(), levels.max())]
    if not ends or min(ends) == max(ends):
        raise DataError(
            f"{path} holds one grey level only, or no number. Export it again, or name another "
            "volume."
        )
    if images[0].dtype.kind == "u":
        factor = np.uint16(257 if images[0].dtype.itemsize == 1 else 1)
        return [image.astype(np.uint16) * factor for image in images]
    low, high = np.percentile(np.concatenate([levels[::7] for levels in finite]), [0.1, 99.9])
    if low == high:  # nearly all pixels are alike
        low, high = float(min(ends)), float(max(ends))
    stretched = []
    for image, levels in zip(images, finite, strict=True):
        filled = np.where(np.isfinite(image), image, levels.mean() if levels.size else low)
        share = ((filled - low) / (high - low)).clip(0, 1)
        stretched.append(np.rint(share * 65535).astype(np.uint16))
    return stretched
