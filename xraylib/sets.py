"""Where the slices come from, and which of them train, validate and test."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from . import data, synthetic
from .data import DataError, Slices
from .noise import noisy_copies
from .profiles import PROFILES, Config

VERSION = 1    # of the built-in slices: to be raised when synthetic.py comes to give other numbers
BUILT_IN = "built-in"
TEST_SEED = 1  # the built-in test block is cut from the volume of this seed, the rest from that of seed 0


def home() -> Path:
    """The folder that holds data/ and runs/: $XRAYLIB_HOME, else the repository, else the current folder."""
    if "XRAYLIB_HOME" in os.environ:
        return Path(os.environ["XRAYLIB_HOME"])
    repository = Path(__file__).resolve().parents[1]
    return repository if (repository / "pyproject.toml").exists() else Path.cwd()


def shipped() -> Path:
    """What comes with the library, registry.txt and published/: in an installed package, else in the repository."""
    package = Path(__file__).resolve().parent
    return package / "shipped" if (package / "shipped").exists() else package.parent / "data"


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder that becomes ``folder`` when the block ends well, and is removed when it does not."""
    part = folder.with_name(f"{folder.name}.part{os.getpid()}")
    part.mkdir(parents=True)
    try:
        yield part
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def built_in(n: int, size: int, seed: int) -> Slices:
    """The first n slices of the built-in volume of this seed; made once, then read from disk.

    They lie in ``home()/data/built-in/`` in the layout of `data.load`; ``truth/`` beside them holds the perfect labels.
    """
    folder = home() / "data" / "built-in" / f"v{VERSION}-{n}x{size}-seed{seed}"
    if not folder.exists():
        bar = tqdm(total=n, desc="making built-in slices", unit="slice", leave=False)
        with whole_folder(folder) as part, bar:
            numbers = np.arange(1, n + 1)
            for sample in synthetic.chunks(n, size, seed):
                here, numbers = numbers[:len(sample.images)], numbers[len(sample.images):]
                data.save(Slices(sample.images, sample.labels, here), part)
                data.write(data.as_values(sample.truth), here, part / "truth", compression="zlib")
                bar.update(len(here))
    return data.load(folder)


@dataclass(frozen=True)
class Source:
    """A data set before any split: ``slices`` to train and validate on, and a ``test`` block kept apart."""

    slices: Slices
    test: Slices
    name: str              # for people
    fingerprint: str       # of all pixels, labels and numbers
    origin: tuple[str, str]  # profile and data_dir: what `open_source` opens it again with, in another process


def open_source(profile: str, data_dir: str = "") -> Source:
    """The data of a profile: the built-in slices, or a folder in the layout of `data.load`.

    Built-in: the test block is another sample of the same material. A folder: its last tenth, after a gap of N/25
    slices that belong to neither, because neighbours in a volume are near-copies.
    """
    table = PROFILES[profile]
    if not data_dir:
        slices, test = built_in(table.n_slices, table.size, 0), built_in(table.n_test, table.size, TEST_SEED)
        fingerprint = f"built-in v{VERSION} {table.n_slices}+{table.n_test} x {table.size}"
        return Source(slices, test, BUILT_IN, fingerprint, (profile, data_dir))
    slices = data.load(data_dir)
    n_test, gap = len(slices) // 10, gap_of(len(slices))
    if n_test < 1:
        raise DataError(f"{data_dir} holds {len(slices)} labelled slices; at least 10 are needed to train and test.")
    return Source(slices[:len(slices) - n_test - gap], slices[len(slices) - n_test:],
                  str(data_dir), slices.fingerprint(), (profile, str(Path(data_dir).expanduser().resolve())))


def gap_of(n: int) -> int:
    """Slices left out between two blocks of a volume of n: labels 20 apart still agree in 60 % of the pixels."""
    return max(1, n // 25)


@dataclass(frozen=True)
class Sets:
    """The training and validation set of a run, its test block, and a sentence that says how they were drawn."""

    train: Slices
    val: Slices
    test: Slices
    name: str
    fingerprint: str
    note: str


def split(n: int, n_train: int, n_val: int, kind: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Disjoint, sorted-by-draw indices into n slices: training (n_train,), validation (n_val,).

    "random": drawn by ``seed``; validation comes first from the permutation, so that for one seed and n_val the
    validation set is the same at every n_train and the training sets are nested. "block": the last n_val slices
    validate, the n_train before a gap of N/25 train; the training block shrinks where the gap needs its slices.
    """
    if n_train + n_val > n:
        raise DataError(f"n_train + n_val is {n_train} + {n_val} = {n_train + n_val}, but there are {n} slices to "
                        "draw from; lower one of them.")
    if kind == "block":
        end = n - n_val - gap_of(n)
        if end < 1:
            raise DataError(f"a block split of {n} slices with {n_val} for validation leaves none to train on; "
                            "lower n_val.")
        return np.arange(max(0, end - n_train), end), np.arange(n - n_val, n)
    order = np.random.default_rng([seed, 0]).permutation(n)
    return order[n_val:n_val + n_train], order[:n_val]


def prepare(config: Config, source: Source) -> Sets:
    """Draw the sets of a run and add the noise that its experiment asks for (design of each: see its notebook).

    The profile's counts shrink in proportion where the data are fewer, and the note says so; counts that the reader
    gave raise `DataError` instead. Experiment 2 (``noisy="pool"``) gives a fifth of the slices a noisy copy before the
    split; experiment 3 (``"val"``) validates on originals and on noisy copies of the same.
    """
    pool = source.slices
    if config.noisy == "pool":
        chosen = np.random.default_rng([config.seed, 1]).permutation(len(pool))[:len(pool) // 5]
        pool = data.join(pool, noisy_copies(pool[np.sort(chosen)], config.noise_std, config.seed))
    n_train, n_val, note = counts(config, len(pool))
    if config.noisy == "pool" and config.split == "block":
        pool = pool[np.argsort(pool.numbers, kind="stable")]     # a copy stays beside its original
    train, val = (pool[index] for index in split(len(pool), n_train, n_val, config.split, config.seed))
    if len(train) < n_train:
        note += f" The gap between the blocks leaves {len(train)} to train on."
    if config.noisy == "val":
        val = data.join(val, noisy_copies(val, config.noise_std, config.seed))
    return Sets(train, val, source.test, source.name, source.fingerprint, note)


def counts(config: Config, n: int) -> tuple[int, int, str]:
    """Training and validation slices out of n, and the sentence that says so."""
    asked_train, asked_val = PROFILES[config.profile].counts[config.experiment]
    n_train, n_val = config.n_train or asked_train, config.n_val or asked_val
    note = f"{n_train} slices train and {n_val} validate, of {n}; {config.split} split."
    if n_train + n_val > n and (config.n_train is None or config.n_val is None):
        if config.n_train is None and config.n_val is None:
            n_val = max(1, round(n * n_val / (n_train + n_val)))
        elif config.n_val is None:
            n_val = max(1, n - n_train)
        n_train = n_train if config.n_train else n - n_val
        note = (f"The profile asks for {asked_train} + {asked_val} slices, {n} are here: {n_train} train and {n_val} "
                f"validate; {config.split} split.")
    return n_train, n_val, note
