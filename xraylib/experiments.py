"""The experiments: what each trains on and what it validates on, with the poster's numbers beside.

An experiment is a function. It is given the slices and ``split``, which draws a training and a validation set from
whatever slices it is handed, at random or in blocks, as the reader asked. It returns the two sets. Runs, sweeps and
workers find it by its name: a new experiment is one more function here, and its notebook.
"""

from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature

import numpy as np

from .noise import noisy_copies
from .slices.labelled import Slices, join
from .slices.sets import COPIES

Sets = tuple[Slices, Slices]
Split = Callable[[Slices], Sets]


@dataclass(frozen=True)
class Experiment:
    """How the sets of an experiment are drawn, and the facts about it."""

    draw: Callable[..., Sets]
    counts: tuple[int, int]                  # slices that ``split`` draws for training and for validation
    tiny: tuple[int, int]                    # the same in the tiny profile
    poster: str                              # the poster's Dice, per cent (single runs)
    poster_sets: str                         # what it trained and validated on
    scored: int = 0                          # slices of each set that a run is scored on, evenly spread (0: all)
    sizes: tuple[int, ...] = ()              # training slices of its runs, where it is a sweep over them
    tiny_sizes: tuple[int, ...] = ()

    def counts_in(self, profile: str) -> tuple[int, int]:
        """Slices that ``split`` draws for training and for validation, where there are enough."""
        return self.tiny if profile == "tiny" else self.counts

    def sizes_in(self, profile: str) -> tuple[int, ...]:
        """The training sizes of a sweep over them, else none."""
        return self.tiny_sizes if profile == "tiny" else self.sizes

    @property
    def noisy(self) -> bool:
        """Whether it adds noise."""
        return "noise_std" in signature(self.draw).parameters

    def sets(self, slices: Slices, split: Split, **parameters) -> Sets:
        """Its training and validation set. Of the parameters it is given those that its function asks for."""
        wanted = signature(self.draw).parameters
        return self.draw(slices, split, **{name: value for name, value in parameters.items() if name in wanted})


EXPERIMENTS: dict[str, Experiment] = {}


def experiment(name: str, **facts):
    """Register the function below under this name."""
    def register(draw: Callable[..., Sets]) -> Callable[..., Sets]:
        EXPERIMENTS[name] = Experiment(draw, **facts)
        return draw
    return register


@experiment("01_baseline", counts=(400, 100), tiny=(24, 8),
            poster="99.105", poster_sets="400 random images; 100 random images")
def baseline(slices: Slices, split: Split) -> Sets:
    """Some slices train, others validate."""
    return split(slices)


@experiment("02_noisy_train", counts=(540, 60), tiny=(27, 9),
            poster="99.08", poster_sets="540 of originals and noisy copies; 60 likewise")
def noisy_train(slices: Slices, split: Split, noise_std: float, seed: int) -> Sets:
    """A fifth of the slices get a noisy copy (the poster names no share); originals and copies together are split."""
    chosen = np.random.default_rng([seed, COPIES]).permutation(len(slices))[:len(slices) // 5]
    copies = noisy_copies(slices[np.sort(chosen)], noise_std, seed)
    return split(join(slices, copies))


@experiment("03_noisy_val", counts=(440, 60), tiny=(24, 6),
            poster="66.48 at best, 63.65 in the end", poster_sets="480 originals; 60 originals and 60 noisy copies")
def noisy_val(slices: Slices, split: Split, noise_std: float, seed: int) -> Sets:
    """Clean slices train; others validate twice, as they are and with noise (480 + 60 + 60 would need 540 slices)."""
    train, val = split(slices)
    return train, join(val, noisy_copies(val, noise_std, seed))


@experiment("04_size_sweep", counts=(105, 100), tiny=(8, 8), sizes=(5, 10, 15, 20, 25, 45, 65, 85, 105),
            tiny_sizes=(2, 8), scored=20, poster="98.667 with 5 images", poster_sets="5 images; the baseline's")
def size_sweep(slices: Slices, split: Split) -> Sets:
    """The validation slices of the baseline, and ever fewer training slices, the few among the many."""
    return split(slices)


@experiment("07_noisy_only", counts=(400, 100), tiny=(24, 8),
            poster="announced", poster_sets="noisy images; not said")
def noisy_only(slices: Slices, split: Split, noise_std: float, seed: int) -> Sets:
    """The sets of the baseline, all with noise: no clean slice is ever seen."""
    train, val = split(slices)
    return noisy_copies(train, noise_std, seed), noisy_copies(val, noise_std, seed)
