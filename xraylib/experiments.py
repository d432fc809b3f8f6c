"""The experiments: what each trains on and what it validates on, with the poster's numbers beside.

An experiment is a function. It is given the slices and ``split``, which draws a training and a validation set from
whatever slices it is handed, at random or in blocks, as the reader asked. It returns the two sets. Runs, sweeps and
workers find it by its name: a new experiment is one more function here, and its notebook.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
    sizes: tuple[float, ...] = ()            # training slices of its runs, where it is a sweep over them
    tiny_sizes: tuple[float, ...] = ()
    noisy: bool = False                      # its runs are scored on noisy copies of the test block, too
    split: str = "random"                    # how it splits where nobody says otherwise
    recipes: Mapping[str, Mapping] = field(default_factory=dict)   # by profile: what differs from its recipe

    def counts_in(self, profile: str) -> tuple[int, int]:
        """Slices that ``split`` draws for training and for validation, where there are enough."""
        return self.tiny if profile == "tiny" else self.counts

    def sizes_in(self, profile: str) -> tuple[float, ...]:
        """The training sizes of a sweep over them, else none."""
        return self.tiny_sizes if profile == "tiny" else self.sizes

    def sets(self, slices: Slices, split: Split, **parameters) -> Sets:
        """Its training and validation set. Of the parameters it is given those that its function asks for."""
        wanted = signature(self.draw).parameters
        return self.draw(slices, split, **{name: value for name, value in parameters.items() if name in wanted})


EXPERIMENTS: dict[str, Experiment] = {}
AS_105 = {"steps": 21_000, "epochs": 0}      # of the paper profile: as many steps for few slices as for 105


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


@experiment("02_noisy_train", counts=(540, 60), tiny=(27, 9), noisy=True,
            poster="99.08", poster_sets="540 of originals and noisy copies; 60 likewise")
def noisy_train(slices: Slices, split: Split, noise_std: float, seed: int) -> Sets:
    """A fifth of the slices get a noisy copy (the poster names no share); originals and copies together are split."""
    chosen = np.random.default_rng([seed, COPIES]).permutation(len(slices))[:len(slices) // 5]
    copies = noisy_copies(slices[np.sort(chosen)], noise_std, seed)
    return split(join(slices, copies))


@experiment("03_noisy_val", counts=(440, 60), tiny=(24, 6), noisy=True,
            poster="66.48 at best, 63.65 in the end", poster_sets="480 originals; 60 originals and 60 noisy copies")
def noisy_val(slices: Slices, split: Split, noise_std: float, seed: int) -> Sets:
    """Clean slices train; others validate twice, as they are and with noise (480 + 60 + 60 would need 540 slices)."""
    train, val = split(slices)
    return train, join(val, noisy_copies(val, noise_std, seed))


@experiment("04_size_sweep", counts=(105, 100), tiny=(8, 8), sizes=(5, 10, 15, 20, 25, 45, 65, 85, 105),
            tiny_sizes=(2, 8), scored=20, recipes={"laptop": {"steps": 150, "evaluations": 1}, "paper": AS_105},
            poster="98.667 with 5 images", poster_sets="5 images; the baseline's")
def size_sweep(slices: Slices, split: Split) -> Sets:
    """The validation slices of the baseline, and ever fewer training slices, the few among the many."""
    return split(slices)


@experiment("05_single_image", counts=(1, 100), tiny=(1, 8), scored=20, noisy=True,
            recipes={"laptop": {"steps": 1500}, "paper": AS_105},
            poster="announced", poster_sets="a single image, transformed; not said")
def single_image(slices: Slices, split: Split) -> Sets:
    """One slice trains, or a part of one; the validation slices of the baseline. All clean."""
    return split(slices)


@experiment("06_small_crops", counts=(400, 100), tiny=(24, 8), scored=20,
            poster="announced", poster_sets="smaller images; not said")
def small_crops(slices: Slices, split: Split) -> Sets:
    """The sets of the baseline; its runs differ in the crops that they see of them."""
    return split(slices)


@experiment("07_noisy_only", counts=(400, 100), tiny=(24, 8), sizes=(1, 5, 400),
            tiny_sizes=(1 / 4, 2, 8), noisy=True, poster="announced", poster_sets="noisy images; not said")
def noisy_only(slices: Slices, split: Split, noise_std: float, seed: int) -> Sets:
    """The sets of the baseline, all with noise: no clean slice is ever seen."""
    train, val = split(slices)
    return noisy_copies(train, noise_std, seed), noisy_copies(val, noise_std, seed)


@experiment("07_fresh_noise", counts=(400, 100), tiny=(24, 8), noisy=True,
            recipes=dict.fromkeys(("tiny", "laptop", "paper"), {"transforms": ("noise",)}),
            poster="announced", poster_sets="noisy images; not said")
def fresh_noise(slices: Slices, split: Split, noise_std: float, seed: int) -> Sets:
    """Clean slices train, to which the transform "noise" adds noise at each step; noisy ones validate."""
    train, val = split(slices)
    return train, noisy_copies(val, noise_std, seed)


@experiment("09_three_d", counts=(400, 20), tiny=(32, 8), noisy=True, split="block",
            recipes={"tiny": {"eval_slices": 0}, "laptop": {"eval_slices": 0, "evaluations": 5}},
            poster="announced", poster_sets="3D; not said")
def three_d(slices: Slices, split: Split, noise_std: float, seed: int) -> Sets:
    """Two blocks of neighbouring slices, all with noise, each slice with its own; without noise, all clean."""
    train, val = split(slices)
    return noisy_copies(train, noise_std, seed), noisy_copies(val, noise_std, seed)
