"""The experiments: what each one trains on, what it validates on, and the poster's numbers.

An experiment is a function. It receives the slices and ``split``, which divides slices into a
training and a validation set, at random or in blocks, as the reader chose. It returns the two sets.
Runs, sweeps and workers find an experiment by its name. A new experiment is one more function.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from .data import COPIES, Slices, concatenate, random_stream
from .errors import ParameterError
from .files import load_plugins
from .noise import noisy_copies

Sets = tuple[Slices, Slices]
Split = Callable[[Slices], Sets]


class Drawn(NamedTuple):
    """The sets of a run, and a sentence about how they were drawn."""

    train: Slices
    val: Slices
    note: str


@dataclass(frozen=True)
class Experiment:
    """How the sets of an experiment are drawn, and the facts about it."""

    draw: Callable[..., Sets]
    counts: tuple[int, int]  # training and validation slices that `split` draws
    tiny: tuple[int, int]  # the same in the tiny profile
    poster: str  # the poster's Dice in per cent, of a single run
    poster_sets: str  # the poster's training and validation set
    scored: int = 0  # how many slices of each set are scored, evenly spaced (0: all)
    sizes: tuple[float, ...] = ()  # numbers of training slices, if the experiment compares them
    tiny_sizes: tuple[float, ...] = ()
    noisy: bool = False  # runs are also scored on noisy copies of the test set
    split: str = "random"  # the default split
    recipes: Mapping[str, Mapping] = field(default_factory=dict)  # changes to a profile's recipe


EXPERIMENTS: dict[str, Experiment] = {}
LIKE_105_SLICES = {"steps": 21_000, "epochs": 0}  # paper profile: as many steps as for 105 slices


def experiment(name: str, **facts: Any) -> Callable[[Callable[..., Sets]], Callable[..., Sets]]:
    """Register the decorated function as an experiment; facts: other fields of `Experiment`."""
    def register(draw: Callable[..., Sets]) -> Callable[..., Sets]:
        EXPERIMENTS[name] = Experiment(draw, **facts)
        return draw

    return register


def get_experiment(name: str) -> Experiment:
    """Find an experiment of the core or of a plugin, or raise `ParameterError`."""
    if name not in EXPERIMENTS:
        load_plugins()
    if name not in EXPERIMENTS:
        names = ", ".join(map(repr, sorted(EXPERIMENTS)))
        raise ParameterError(f"experiment is {name!r}; it must be one of {names}.")
    return EXPERIMENTS[name]


def sizes_for(name: str, parameters: Mapping[str, Any], n_slices: int) -> list[float]:
    """List the training set sizes of a sweep: the reader's, or the experiment's as far as they fit.
    Args:
        name, parameters: Name of the experiment; a notebook's profile, n_val and sizes.
        n_slices: Number of slices that training and validation can use.
    """
    facts, tiny = get_experiment(name), parameters["profile"] == "tiny"
    n_val = parameters["n_val"] or (facts.tiny if tiny else facts.counts)[1]
    sizes = facts.tiny_sizes if tiny else facts.sizes
    return sorted(parameters["sizes"] or {min(size, max(1, n_slices - n_val)) for size in sizes})


@experiment("01_baseline", counts=(400, 100), tiny=(24, 8),
            poster="99.105", poster_sets="400 random images; 100 random images")
def baseline(slices: Slices, split: Split) -> Sets:
    """Some slices train the network, others validate it."""
    return split(slices)


@experiment("02_noisy_train", counts=(540, 60), tiny=(27, 9), noisy=True, poster="99.08",
            poster_sets="540 of originals and noisy copies; 60 likewise")
def noisy_train(slices: Slices, split: Split, noise_std: float, seed: int) -> Sets:
    """Copy a fifth of the slices (the poster names no share) with noise, and split the union."""
    chosen = random_stream(seed, COPIES).permutation(len(slices))[: len(slices) // 5]
    copies = noisy_copies(slices[np.sort(chosen)], noise_std, seed)
    return split(concatenate(slices, copies))


@experiment("03_noisy_val", counts=(440, 60), tiny=(24, 6), noisy=True,
            poster="66.48 at best, 63.65 in the end",
            poster_sets="480 originals; 60 originals and 60 noisy copies")
def noisy_val(slices: Slices, split: Split, noise_std: float, seed: int) -> Sets:
    """Train on clean slices, validate on others, each once clean and once with noise.

    The poster's 480 training slices and 60 pairs would need 540 different slices.
    """
    train, val = split(slices)
    return train, concatenate(val, noisy_copies(val, noise_std, seed))


@experiment("04_size_sweep", counts=(105, 100), tiny=(8, 8), scored=20,
            sizes=(5, 10, 15, 20, 25, 45, 65, 85, 105), tiny_sizes=(2, 8),
            recipes={"laptop": {"steps": 150, "evaluations": 1}, "paper": LIKE_105_SLICES},
            poster="98.667 with 5 images", poster_sets="5 images; the baseline's")
def size_sweep(slices: Slices, split: Split) -> Sets:
    """Validate on the baseline's slices; each training set is a subset of the larger ones."""
    return split(slices)
