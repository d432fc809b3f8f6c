"""Data sets, and the drawing of training and validation sets from them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from . import data, synthetic
from .data import NI_YSZ, Slices
from .errors import DataError, one_line_message
from .files import atomic_folder, expand_user, home
from .tiff import list_tiffs, write_slices

VERSION = 2  # of the built-in slices: raise it when synthetic.py gives other pixels
BUILT_IN = "built-in"
# Built-in data by profile: slices, slices of the test set, side in px.
SIZES = {"tiny": (48, 8, 128), "laptop": (500, 50, 501), "paper": (500, 50, 501)}
SEED, TEST_SEED = 0, 1  # of the volumes of the built-in slices and of their test set


@dataclass(frozen=True)
class Dataset:
    """A data set before any split."""

    slices: Slices  # to train and validate on
    test: Slices  # the test set, kept apart
    name: str  # for people
    fingerprint: str  # changes with any pixel, label or number
    origin: tuple[str, str]  # profile and absolute data_dir, with which `open_dataset` reopens it


def open_dataset(profile: str, data_dir: str | Path = "") -> Dataset:
    """Open the built-in data of a profile ("tiny", "laptop", "paper"), or a folder of at least 10.

    The test set of the built-in data is another sample. That of a folder is its last tenth, after
    a gap that belongs to neither, because neighbours are near-copies.
    """
    if not data_dir:
        n, n_test, size = SIZES[profile]
        slices, test = built_in(n, size, SEED), built_in(n_test, size, TEST_SEED)
        return Dataset(slices, test, BUILT_IN, built_in_fingerprint(profile), (profile, ""))
    origin = profile, str(expand_user(data_dir).resolve())
    slices = data.load_slices(data_dir)
    n, n_test = len(slices), len(slices) // 10
    if n_test < 1:
        raise DataError(f"{data_dir} holds {n} labelled slices. At least 10 are needed to train "
                        "and test.")
    train, test = slices[: n - n_test - block_gap(n)], slices[n - n_test :]
    return Dataset(train, test, str(data_dir), slices.fingerprint(), origin)


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
        folder, generate: Where (truth/ holds the perfect labels); returns the slices in parts.
        n, seed: Slices have the numbers 1000 * seed + 1 .. n, unique within a data set.
    Raises: DataError: A file in the folder was changed or removed.
    """
    numbers = np.arange(1, n + 1) + 1000 * seed
    if not folder.exists():
        bar = tqdm(total=n, desc="generating built-in slices", unit="slice", leave=False)
        with atomic_folder(folder) as part, bar:
            done = 0  # not bar.n, which stays 0 with TQDM_DISABLE=1
            for sample in generate():
                here = numbers[done : done + len(sample.images)]
                done += len(here)
                data.save_slices(Slices(list(sample.images), list(sample.labels), here), part)
                truth = data.values_from_classes(sample.truth, NI_YSZ)
                write_slices(truth, here, part / "truth", compression="zlib")
                bar.update(len(here))
    try:
        for kind in ("data", "labels", "truth"):
            if list(list_tiffs(folder / kind)) != numbers.tolist():
                raise DataError(f"{kind} does not hold the slices {numbers[0]} to {numbers[-1]}")
        return replace(data.load_slices(folder), voxel_nm=data.NI_YSZ_VOXEL_NM)
    except DataError as error:
        raise DataError(f"{folder} is damaged ({one_line_message(error)}). Delete this folder: it "
                        "is then generated again.") from error


def split_slices(slices: Slices, n_train: int, n_val: int, kind: str,
                 seed: int) -> tuple[Slices, Slices]:
    """Draw disjoint training and validation sets, or raise `DataError` if there are too few slices.
    Args:
        slices, n_train, n_val: What to draw from, and the numbers of slices to draw.
        kind, seed: "random": a permutation of this seed, validation first, so that all n_train have
            the same validation set and nested training sets. "block": in the order of the volume,
            with copies beside their originals, the last n_val slices validate, and the n_train
            slices before a gap train (fewer if the gap needs them).
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
    """Cut the same window from all slices; a smaller one lies inside a larger one.
    Args:
        slices, share, seed: What to cut; share of their area, 0 < share <= 1; seed of the place.
    """
    rows, columns = (max(1, round(side * share**0.5)) for side in slices.shape)
    down, right = data.random_stream(seed, data.WINDOW).random(2)
    top, left = int(down * (slices.shape[0] - rows)), int(right * (slices.shape[1] - columns))
    cut = slice(top, top + rows), slice(left, left + columns)
    images, labels = ([a[cut] for a in arrays] for arrays in (slices.images, slices.labels))
    return replace(slices, images=images, labels=labels)


def block_gap(n: int) -> int:
    """Return how many of n slices to leave out between two blocks."""
    return max(1, n // 25)  # labels 20 slices apart still agree in 60 % of the pixels


def fit_counts(n: int, asked: tuple[int, int], n_train: int | None,
               n_val: int | None) -> tuple[int, int]:
    """Return how many of n slices train and validate.
    Args:
        n, asked: The experiment asks for these counts, lowered in proportion if n is too small.
        n_train, n_val: The reader's choices, kept even if they do not fit. None: no choice.
    """
    train, val = n_train or asked[0], n_val or asked[1]
    if train + val > n and n_val is None:
        val = max(1, n - n_train if n_train else round(n * val / (train + val)))
    if train + val > n and n_train is None:
        train = max(1, n - val)
    return train, val


def dummy_slices(numbers: np.ndarray) -> Slices:
    """Return slices of these numbers with one pixel per phase, to see what a split would draw."""
    labels = np.tile(np.arange(len(NI_YSZ), dtype=np.uint8), (len(numbers), 1, 1))
    return Slices(list(labels.astype(np.uint16)), list(labels), numbers)


def require_neighbours(slices: Slices) -> None:
    """Raise `DataError` unless these are neighbouring slices of one volume, in order."""
    if not (np.diff(slices.numbers) == 1).all():
        raise DataError("A network that sees neighbouring slices cannot learn from these: they are "
                        'not all slices of a part of one volume, in order. Set split to "block", '
                        'in an experiment without copies beside originals, or network to "UNet".')
