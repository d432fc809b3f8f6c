"""Data sets, and the drawing of training and validation sets from them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..files import expanded, home, said, whole_folder
from . import excerpt, labelled, second, synthetic, tiff
from .labelled import Slices
from .tiff import DataError

VERSION = 2                  # of the built-in slices: to be raised when synthetic.py comes to give other numbers
BUILT_IN = "built-in"
SIZES = {                    # built-in slices by profile: how many, how many more in the test block, their side in px
    "tiny": (48, 8, 128), "laptop": (500, 50, 501), "paper": (500, 50, 501),
}
SEED, TEST_SEED = 0, 1       # of the volumes that the built-in slices and their test block are cut from
SPLIT, COPIES, WINDOW = 0, 1, 2   # what is drawn at random, as a second word of the seed: so that no two are alike


def built_in_folder(n: int, size: int, seed: int) -> Path:
    """Where the built-in slices of these numbers lie, or will lie."""
    return home() / "data" / "built-in" / f"v{VERSION}-{n}x{size}-seed{seed}"


def built_in(n: int, size: int, seed: int) -> Slices:
    """The first n slices of the built-in volume of this seed; made once, then read from disk.

    They lie in ``home()/data/built-in/`` in the layout of `labelled.load`; ``truth/`` beside them holds the perfect
    labels.
    """
    return made(built_in_folder(n, size, seed), lambda: synthetic.chunks(n, size, seed), n, seed)


def built_in_second(profile: str) -> Slices:
    """The second built-in sample, of another material (`second.MATERIAL`); made once, in the layout of `built_in`."""
    n, size = second.SIZES[profile]
    folder = home() / "data" / "built-in" / f"second-v{second.VERSION}-{n}x{size}"
    return made(folder, lambda: second.chunks(n, size), n, second.SEED)


def made(folder: Path, samples: Callable[[], Iterable[synthetic.Sample]], n: int, seed: int) -> Slices:
    """The n built-in slices of a folder; where it is not there, it is made of these samples, whole or not at all.

    Raises `DataError` where a file of it was changed or taken away.
    """
    numbers = np.arange(1, n + 1) + 1000 * seed                  # no two slices of a data set have the same number
    if not folder.exists():
        bar = tqdm(total=n, desc="making built-in slices", unit="slice", leave=False)
        with whole_folder(folder) as part, bar:
            done = 0
            for sample in samples():
                here = numbers[done:done + len(sample.images)]
                labelled.save(Slices(sample.images, sample.labels, here), part)
                tiff.write(labelled.as_values(sample.truth), here, part / "truth", compression="zlib")
                bar.update(len(here))
                done += len(here)
    try:
        for kind in ("data", "labels", "truth"):
            if list(tiff.find(folder / kind)) != numbers.tolist():
                raise DataError(f"{kind} does not hold the slices {numbers[0]} to {numbers[-1]}")
        return labelled.load(folder)
    except DataError as error:
        raise DataError(f"{folder} is damaged ({said(error)}); delete this folder: it is made again.") from error


def built_in_test(profile: str) -> Slices:
    """The built-in test block: another sample of the same material."""
    _, n, size = SIZES[profile]
    return built_in(n, size, TEST_SEED)


def perfected(test: Slices, profile: str) -> Slices:
    """Slices of the built-in test block with the labels of the material itself, which no hand has drawn."""
    _, n, size = SIZES[profile]
    paths = tiff.find(built_in_folder(n, size, TEST_SEED) / "truth")
    labels = [labelled.to_classes(tiff.read(paths[number], np.uint8), paths[number]) for number in test.numbers]
    return Slices(test.images, labels, test.numbers, test.noise_std)


def open_volume(volume: str, profile: str, most: int = 48, side: int = 501) -> tuple[excerpt.Excerpt, Slices | None]:
    """A volume without labels, and its labels for the end, where there are any: the same slices, or None.

    "" is the second built-in sample, whose labels are known; a folder in the layout of `labelled.load` has labels, too;
    any other folder of TIFFs, or TIFF of many pages, has none. Of a large one a part, see `excerpt.excerpt`.
    """
    folder = expanded(volume)
    if volume and not (folder / "labels").is_dir():
        return excerpt.excerpt(volume, most, side), None
    whole = labelled.load(folder) if volume else built_in_second(profile)
    chosen, (rows, columns), note = excerpt.cut(len(whole), whole.shape, most, side)
    part = whole[chosen]
    part = Slices([image[rows, columns] for image in part.images], [label[rows, columns] for label in part.labels],
                  chosen + 1)
    return excerpt.Excerpt(part.images, part.numbers, f"{note}, uint16."), part


def built_in_fingerprint(profile: str) -> str:
    """What stands for the pixels of a profile's built-in slices, which need not be there."""
    n, n_test, size = SIZES[profile]
    return f"built-in v{VERSION} {n}+{n_test} x {size}"


@dataclass(frozen=True)
class Source:
    """A data set before any split: ``slices`` to train and validate on, and a ``test`` block kept apart."""

    slices: Slices
    test: Slices
    name: str                # for people
    fingerprint: str         # of all pixels, labels and numbers
    origin: tuple[str, str]  # profile and data_dir: what `open_source` opens it again with, in another process


def open_source(profile: str, data_dir: str = "") -> Source:
    """The data of a profile: the built-in slices, or a folder in the layout of `labelled.load`.

    Built-in: the test block is another sample. A folder: its last tenth, after a gap of N/25
    slices that belong to neither, because neighbours in a volume are near-copies.
    """
    if not data_dir:
        n, _, size = SIZES[profile]
        return Source(built_in(n, size, SEED), built_in_test(profile), BUILT_IN, built_in_fingerprint(profile),
                      (profile, data_dir))
    slices = labelled.load(data_dir)
    n_test, gap = len(slices) // 10, gap_of(len(slices))
    if n_test < 1:
        raise DataError(f"{data_dir} holds {len(slices)} labelled slices; at least 10 are needed to train and test.")
    return Source(slices[:len(slices) - n_test - gap], slices[len(slices) - n_test:],
                  str(data_dir), slices.fingerprint(), (profile, str(expanded(data_dir).resolve())))


def gap_of(n: int) -> int:
    """Slices left out between two blocks of a volume of n: labels 20 apart still agree in 60 % of the pixels."""
    return max(1, n // 25)


def fit_counts(n: int, asked: tuple[int, int], n_train: float | None, n_val: int | None) -> tuple[float, int]:
    """How many of n slices train and validate: what the reader gave, else what is asked, in proportion to fit."""
    train, val = n_train or asked[0], n_val or asked[1]
    if train + val > n and n_val is None:
        val = max(1, n - ceil(n_train) if n_train else round(n * val / (train + val)))
    if train + val > n and n_train is None:
        train = max(1, n - val)
    return train, val


def outline(numbers: np.ndarray) -> Slices:
    """Slices of these numbers of three pixels, one a phase: enough to see which ones a split would draw."""
    labels = np.tile(np.arange(len(labelled.PHASES), dtype=np.uint8), (len(numbers), 1, 1))
    return Slices(labels.astype(np.uint16), labels, numbers)


def distance_to(train: np.ndarray, val: np.ndarray) -> np.ndarray:
    """How many slices each validation slice is from the nearest training slice; both are slice numbers. (N,)"""
    return np.abs(val[:, None] - train[None]).min(1)


def in_order(slices: Slices) -> None:
    """Raises `DataError` unless these are neighbouring slices of one volume, each once and in order."""
    if not (np.diff(slices.numbers) == 1).all():
        raise DataError("a network that sees neighbouring slices (dims 3, or context above 0) cannot learn from these: "
                        "they are not all the slices of a part of one volume, in order; set split to \"block\", in "
                        "an experiment without copies beside originals (09_three_d).")


def window(slices: Slices, share: float, seed: int) -> Slices:
    """The same window of every slice, this share of its area, placed by ``seed``; a smaller one lies in a larger."""
    rows, columns = (max(1, round(side * share**0.5)) for side in slices.shape)
    down, right = np.random.default_rng([seed, WINDOW]).random(2)
    top, left = int(down * (slices.shape[0] - rows)), int(right * (slices.shape[1] - columns))
    cut = slice(top, top + rows), slice(left, left + columns)
    return Slices([image[cut] for image in slices.images], [label[cut] for label in slices.labels], slices.numbers,
                  slices.noise_std)


def split(slices: Slices, n_train: float, n_val: int, kind: str, seed: int) -> tuple[Slices, Slices]:
    """A training and a validation set from these slices, disjoint.

    "random": drawn by ``seed``; validation comes first from the permutation, so that for one seed and n_val the
    validation set is the same at every n_train and the training sets are nested. "block": in the order of the volume,
    a copy beside its original, the last n_val slices validate and the n_train before a gap of N/25 train; the training
    block shrinks where the gap needs its slices. ``n_train`` below 1 trains on a `window` of one slice. Raises
    `DataError` where there are too few.
    """
    if 0 < n_train < 1:
        train, val = split(slices, 1, n_val, kind, seed)
        return window(train, n_train, seed), val
    n = len(slices)
    if n_train + n_val > n or n_train < 1:
        raise DataError(f"n_train + n_val is {n_train} + {n_val} = {n_train + n_val}, but there are {n} slices to "
                        "draw from; lower one of them.")
    if kind == "random":
        order = np.random.default_rng([seed, SPLIT]).permutation(n)
        return slices[order[n_val:n_val + n_train]], slices[order[:n_val]]
    end = n - n_val - gap_of(n)
    if end < 1:
        raise DataError(f"a block split of {n} slices with {n_val} for validation leaves none to train on; lower "
                        "n_val.")
    order = np.argsort(slices.numbers, kind="stable")
    return slices[order[max(0, end - n_train):end]], slices[order[n - n_val:]]
