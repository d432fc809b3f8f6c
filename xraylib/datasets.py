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
    """A data set before any split.

    Args:
        slices: To train and validate on.
        test: The test set, kept apart.
        name: For people.
        fingerprint: Changes with any pixel, label or number.
        origin: Profile and data_dir (absolute, "" for the built-in data): what `open_dataset`
            needs to open the data set again in another process.
    """

    slices: Slices
    test: Slices
    name: str
    fingerprint: str
    origin: tuple[str, str]


def open_dataset(profile: str, data_dir: str | Path = "") -> Dataset:
    """Open the data of a profile.

    Args:
        profile: "tiny", "laptop" or "paper".
        data_dir: A folder in the layout of `load_slices`. Its last tenth is the test set, after a
            gap that belongs to neither, because neighbours are near-copies. "": the built-in
            data, whose test set is another sample.

    Raises:
        DataError: The folder cannot be used, or holds fewer than 10 slices.
    """
    if not data_dir:
        n, _, size = SIZES[profile]
        slices, test = built_in(n, size, SEED), built_in_test(profile)
        return Dataset(slices, test, BUILT_IN, built_in_fingerprint(profile), (profile, ""))
    origin = profile, str(expand_user(data_dir).resolve())
    slices = data.load_slices(data_dir)
    n = len(slices)
    n_test = n // 10
    if n_test < 1:
        raise DataError(f"{data_dir} holds {n} labelled slices. At least 10 are needed to train "
                        "and test.")
    train, test = slices[: n - n_test - block_gap(n)], slices[n - n_test :]
    return Dataset(train, test, str(data_dir), slices.fingerprint(), origin)


# -- built-in slices -------------------------------------------------------------------------------


def built_in_folder(n: int, size: int, seed: int) -> Path:
    """Return the folder of these built-in slices, which need not exist yet."""
    return home() / "data" / "built-in" / f"v{VERSION}-{n}x{size}-seed{seed}"


def built_in(n: int, size: int, seed: int) -> Slices:
    """Return the first n slices of a built-in volume, generated once and then read from disk.

    Args:
        n: Number of slices.
        size: Side of a slice in px.
        seed: Of the volume.
    """
    folder = built_in_folder(n, size, seed)
    return load_or_generate(folder, lambda: synthetic.generate_chunks(n, size, seed), n, seed)


def built_in_test(profile: str) -> Slices:
    """Return the built-in test set: another sample of the same material."""
    _, n, size = SIZES[profile]
    return built_in(n, size, TEST_SEED)


def built_in_fingerprint(profile: str) -> str:
    """Return the fingerprint of a profile's built-in data, which need not be generated."""
    n, n_test, size = SIZES[profile]
    return f"built-in v{VERSION} {n}+{n_test} x {size}"


def load_or_generate(folder: Path, generate: Callable[[], Iterable[synthetic.Sample]], n: int,
                     seed: int) -> Slices:
    """Read n generated slices from a folder, after generating them if it is missing.

    Args:
        folder: In the layout of `load_slices`; truth/ beside it holds the perfect labels.
        generate: Returns the slices in parts.
        n: Number of slices.
        seed: Slices have the numbers 1000 * seed + 1 .. n, unique within a data set.

    Raises:
        DataError: A file in the folder was changed or removed.
    """
    numbers = np.arange(1, n + 1) + 1000 * seed
    if not folder.exists():
        bar = tqdm(total=n, desc="generating built-in slices", unit="slice", leave=False)
        with atomic_folder(folder) as part, bar:
            for sample in generate():
                here = numbers[bar.n : bar.n + len(sample.images)]
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


# -- splits ----------------------------------------------------------------------------------------


def split_slices(slices: Slices, n_train: int, n_val: int, kind: str,
                 seed: int) -> tuple[Slices, Slices]:
    """Draw disjoint training and validation sets.

    Args:
        slices: To draw from.
        n_train: Number of training slices.
        n_val: Number of validation slices.
        kind: "random": a permutation, of which validation comes first, so that the validation set
            is the same at every n_train and the training sets are nested. "block": in the order
            of the volume, copies beside their originals, the last n_val slices validate, and the
            n_train slices before a gap train (fewer if the gap needs them).
        seed: Of the permutation.

    Raises:
        DataError: There are too few slices.
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
    """Cut the same window from every slice.

    Args:
        slices: To cut from.
        share: Area of the window as a share of the slice, 0 < share <= 1.
        seed: Of its place. A smaller window lies inside a larger one.
    """
    rows, columns = (max(1, round(side * share**0.5)) for side in slices.shape)
    down, right = data.random_stream(seed, data.WINDOW).random(2)
    top, left = int(down * (slices.shape[0] - rows)), int(right * (slices.shape[1] - columns))
    cut = slice(top, top + rows), slice(left, left + columns)
    images, labels = ([a[cut] for a in arrays] for arrays in (slices.images, slices.labels))
    return replace(slices, images=images, labels=labels)


def block_gap(n: int) -> int:
    """Return how many of n slices to leave out between two blocks.

    Labels 20 slices apart still agree in 60 % of the pixels.
    """
    return max(1, n // 25)


def fit_counts(n: int, asked: tuple[int, int], n_train: int | None,
               n_val: int | None) -> tuple[int, int]:
    """Return how many of n slices train and validate.

    Args:
        n: Number of slices.
        asked: The experiment's counts, lowered in proportion if they do not fit.
        n_train: The reader's choice, kept even if it does not fit. None: no choice.
        n_val: The same for validation.
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


def distance_to_training(train_numbers: np.ndarray, val_numbers: np.ndarray) -> np.ndarray:
    """Return the distance in slices from each validation slice to its nearest training slice."""
    return np.abs(val_numbers[:, None] - train_numbers[None]).min(1)


def require_neighbours(slices: Slices) -> None:
    """Raise `DataError` unless these are neighbouring slices of one volume, in order."""
    if not (np.diff(slices.numbers) == 1).all():
        raise DataError("A network that sees neighbouring slices cannot learn from these: they are "
                        'not all slices of a part of one volume, in order. Set split to "block", '
                        "in an experiment without copies beside originals.")
