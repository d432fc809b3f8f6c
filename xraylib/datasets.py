"""Data sets, and how training and validation sets are drawn from them."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing import parent_process
from pathlib import Path

import numpy as np
from tqdm import tqdm

from . import data, synthetic
from .data import NI_YSZ, NI_YSZ_VOXEL_NM, Slices
from .errors import DataError, one_line_message, printable
from .files import atomic_folder, create_exclusively, home, real_path
from .formats.file_names import list_tiffs
from .formats.labels import describe_labels
from .formats.reading import load_folders as load_folders
from .formats.reading import load_slices as load_slices
from .formats.tiff import write_slices

VERSION = 2  # of the built-in slices: increase it when synthetic.py generates other pixels
BUILT_IN = "built-in"
# Built-in data by profile: slices, slices of the test set, side in px.
SIZES = {"tiny": (48, 8, 128), "laptop": (500, 50, 501), "paper": (500, 50, 501)}
# Defined here, because folders written by older versions have no dataset.toml.
BUILT_IN_FILE = data.dataset_file(NI_YSZ, NI_YSZ_VOXEL_NM).model_copy(update={"pairing": "number"})
SEED, TEST_SEED = 0, 1  # of the volumes of the built-in slices and of their test set


@dataclass(frozen=True)
class Dataset:
    """A data set before any split."""

    slices: Slices  # to train and validate on
    test: Slices  # the test set, kept apart
    name: str  # for display
    fingerprint: str  # changes with any pixel, label or number
    origin: tuple[str, str]  # profile and absolute data_dir, with which `open_dataset` reopens it


def open_dataset(profile: str, data_dir: str | Path = "", min_slices: int = 10) -> Dataset:
    """Open the built-in data of a profile ("tiny", "laptop", "paper"), or a folder.

    The test set of the built-in data is another sample. The test set of a folder is its last tenth,
    after a gap that belongs to neither set, because neighbouring slices are near-copies. Fewer than
    10 slices have no test set. The meaning of a folder's labels is printed.
    Args:
        profile, data_dir: The profile; a folder as in `layouts`, or "" for the built-in data.
        min_slices: Least number of labelled slices that a folder must hold.
    Raises: DataError: The folder cannot be read, or holds too few labelled slices.
    """
    if not data_dir:
        n, n_test, size = SIZES[profile]
        slices, test = built_in(n, size, SEED), built_in(n_test, size, TEST_SEED)
        return Dataset(slices, test, BUILT_IN, built_in_fingerprint(profile), (profile, ""))
    origin = profile, str(real_path(data_dir))
    slices = load_slices(data_dir)
    if len(slices) < min_slices:
        raise DataError(f"{data_dir} holds {len(slices)} labelled slices. At least {min_slices} "
                        "are needed to train and test. With fewer, use python -m xraylib train or "
                        "notebook 11, which cross-validate.")
    return make_dataset(slices, str(data_dir), origin)


def make_dataset(slices: Slices, name: str, origin: tuple[str, str]) -> Dataset:
    """Split the test set off a reader's slices, and print what their labels mean.
    Args:
        slices, name, origin: All labelled slices; the other two as in `Dataset`.
    """
    n, n_test = len(slices), len(slices) // 10
    _print_once("\n".join([f"Labels in {printable(name)}:", *describe_labels(slices),
                           *slices.notes]))
    facts = [slices.fingerprint(), slices.phases.to_dict(), str(slices.grey_scale)]
    fingerprint = hashlib.blake2b(json.dumps(facts).encode(), digest_size=8).hexdigest()
    train = slices[: n - n_test - block_gap(n)] if n_test else slices
    return Dataset(train, slices[n - n_test :], name, fingerprint, origin)


@cache
def _print_once(text: str) -> None:
    """Print a text once, however often the same folder is opened, and not in worker processes."""
    if parent_process() is None:
        print(text)


def built_in_folder(n: int, size: int, seed: int) -> Path:
    """Return the folder of these built-in slices, which need not exist yet.
    Args:
        n, size, seed: As for `built_in`.
    """
    return home() / "data" / "built-in" / f"v{VERSION}-{n}x{size}-seed{seed}"


def built_in(n: int, size: int, seed: int) -> Slices:
    """Return the first n slices of a built-in volume, generated once and then read from disk.
    Args:
        n, size, seed: Number of slices, side of a slice in px, seed of the volume.
    """
    folder = built_in_folder(n, size, seed)
    return load_or_generate(folder, lambda: synthetic.generate_chunks(n, size, seed), n, seed)


def built_in_fingerprint(profile: str) -> str:
    """Return the fingerprint of a profile's built-in data, which need not be generated."""
    n, n_test, size = SIZES[profile]
    return f"built-in v{VERSION} {n}+{n_test} x {size}"


def load_or_generate(folder: Path, generate: Callable[[], Iterable[synthetic.Sample]], n: int,
                     seed: int) -> Slices:
    """Read n generated slices from a folder, after generating them if it is missing.
    Args:
        folder, generate: The folder (perfect labels in truth/); a function that yields the slices.
        n, seed: Slices get the numbers 1000 * seed + 1 to 1000 * seed + n, unique in a data set.
    Raises: DataError: A file in the folder was changed or removed after it was first read.
    """
    numbers = np.arange(1, n + 1) + 1000 * seed
    if not folder.exists():
        bar = tqdm(total=n, desc="generating built-in slices", unit="slice", leave=False)
        with atomic_folder(folder) as part, bar:
            done = 0  # not bar.n, which stays 0 with TQDM_DISABLE=1
            for sample in generate():
                here = numbers[done : done + len(sample.images)]
                done += len(here)
                data.save_slices(Slices(list(sample.images), list(sample.labels), here,
                                        voxel_nm=NI_YSZ_VOXEL_NM), part)
                truth = data.values_from_classes(sample.truth, NI_YSZ)
                write_slices(truth, here, part / "truth", compression="zlib")
                bar.update(len(here))
    try:
        for kind in ("data", "labels", "truth"):
            if list(list_tiffs(folder / kind)) != numbers.tolist():
                raise DataError(f"{kind} does not hold the slices {numbers[0]} to {numbers[-1]}")
        slices = load_slices(folder, BUILT_IN_FILE)
        _check_content(folder, slices)
        return slices
    except DataError as error:
        raise DataError(f"{folder} is damaged ({one_line_message(error)}). Delete this folder: it "
                        "is then generated again.") from error


def _check_content(folder: Path, slices: Slices) -> None:
    """Raise `DataError` unless a generated folder holds what it held when it was first read."""
    digest = hashlib.blake2b(slices.fingerprint().encode(), digest_size=16)
    for path in list_tiffs(folder / "truth").values():
        digest.update(path.read_bytes())
    path = folder / "checksum.txt"
    with suppress(OSError):  # a read-only folder has not been changed
        create_exclusively(path, digest.hexdigest().encode())
    if path.exists() and path.read_text().strip() != digest.hexdigest():
        raise DataError("its pixels are not those that were generated")


def split_slices(slices: Slices, n_train: int, n_val: int, kind: str,
                 seed: int) -> tuple[Slices, Slices]:
    """Draw disjoint training and validation sets, or raise `DataError` if there are too few slices.
    Args:
        slices, n_train, n_val: What to draw from, and the numbers of slices to draw.
        kind, seed: "random": the seed shuffles the slices. The first ones validate, so every
            n_train has the same validation set, and training sets are nested. "block": in the order
            of the volume, with copies beside their originals, the last n_val slices validate and
            the n_train slices before a gap train (fewer if the gap needs them).
    """
    n = len(slices)
    if n_train + n_val > n or n_train < 1:
        raise DataError(f"n_train + n_val is {n_train} + {n_val} = {n_train + n_val}, but there "
                        f"are {n} slices to draw from. Lower one of them.")
    if kind == "random":
        order = np.random.default_rng(seed).permutation(n)
        return slices[order[n_val : n_val + n_train]], slices[order[:n_val]]
    end = n - n_val - block_gap(n)
    if end < 1:
        raise DataError(f"A block split of {n} slices with {n_val} for validation leaves none to "
                        "train on. Lower n_val.")
    order = np.argsort(slices.numbers, kind="stable")
    return slices[order[max(0, end - n_train) : end]], slices[order[n - n_val :]]


def cut_window(slices: Slices, share: float, seed: int) -> Slices:
    """Cut the same window from all slices; a smaller window lies inside a larger one.
    Args:
        slices, share, seed: The slices; share of their area, 0 < share <= 1; seed of the place.
    """
    place = data.random_stream(seed, data.WINDOW).random(2)

    def cut(array: np.ndarray) -> np.ndarray:
        sides = [max(1, round(side * share**0.5)) for side in array.shape]
        starts = [int(at * (whole - side))
                  for at, whole, side in zip(place, array.shape, sides, strict=True)]
        return array[tuple(slice(a, a + side) for a, side in zip(starts, sides, strict=True))]

    return replace(slices, images=list(map(cut, slices.images)),
                   labels=list(map(cut, slices.labels)))


def block_gap(n: int) -> int:
    """Return how many of n slices to leave out between two blocks."""
    return max(1, n // 25)  # labels 20 slices apart still agree in 60 % of the pixels


def fit_counts(n: int, asked: tuple[int, int], n_train: int | None,
               n_val: int | None) -> tuple[int, int]:
    """Return how many of n slices train and validate.
    Args:
        n, asked: Number of slices; the experiment's counts, scaled down if n is too small.
        n_train, n_val: The reader's choices, kept even if they do not fit. None: no choice.
    """
    train, val = n_train or asked[0], n_val or asked[1]
    if train + val > n and n_val is None:
        val = max(1, n - n_train if n_train else round(n * val / (train + val)))
    if train + val > n and n_train is None:
        train = max(1, n - val)
    return train, val


def dummy_slices(numbers: np.ndarray) -> Slices:
    """Return slices with these numbers and one pixel per phase, to see what a split would draw."""
    labels = np.tile(np.arange(len(NI_YSZ), dtype=np.uint8), (len(numbers), 1, 1))
    return Slices(list(labels.astype(np.uint16)), list(labels), numbers)


def require_neighbours(slices: Slices) -> None:
    """Raise `DataError` unless these are neighbouring slices of one volume, in order."""
    if not (np.diff(slices.numbers) == 1).all():
        raise DataError("A network that sees neighbouring slices cannot learn from these: they are "
                        'not all slices of a part of one volume, in order. Set split to "block", '
                        'in an experiment without copies beside originals, or network to "UNet".')
    require_one_size(slices.images)


def require_one_size(images: Sequence[np.ndarray]) -> None:
    """Raise `DataError` unless all images (H, W) have the same height and width."""
    sizes = sorted({image.shape for image in images})
    if len(sizes) > 1:
        first, *_, last = (f"{height} x {width} px" for height, width in sizes)
        raise DataError(f"The slices have {len(sizes)} sizes, from {first} to {last}, but "
                        "neighbouring slices are compared pixel by pixel. Crop all slices to one "
                        "size.")
