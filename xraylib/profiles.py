"""The three profiles, and the configuration of a run: a profile and the reader's changes to it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from .parameters import check, one_of

EXPERIMENTS = {  # and where the noise is: nowhere, in the pool that is split, in the second half of the validation set
    "01_baseline": "none", "02_noisy_train": "pool", "03_noisy_val": "val", "04_size_sweep": "none",
}


@dataclass(frozen=True)
class Recipe:
    """How a network is trained."""

    width: int             # channels at the top of the U-Net
    depth: int             # poolings
    crop: int              # side of the random crops, px (0: whole slices)
    batch: int             # crops a step
    augment: bool          # random flips and transposes
    optimiser: str         # "adamw" with a one-cycle schedule, or "rmsprop" with ReduceLROnPlateau, as published
    lr: float              # highest learning rate
    steps: int             # optimiser steps (0: `epochs` passes over the training set)
    epochs: int            # passes over the training set, where steps is 0
    evaluations: int       # evaluations during training, evenly spaced
    eval_slices: int       # validation slices that each of them looks at (0: all)


@dataclass(frozen=True)
class Profile:
    """One column of the table: how much data, how it is split, and the recipe."""

    n_slices: int                                # built-in slices
    size: int                                    # their side, px
    n_test: int                                  # built-in slices of another sample, for the test block
    counts: Mapping[str, tuple[int, int]]        # experiment -> training and validation slices
    sizes: tuple[int, ...]                       # training sizes of experiment 4
    recipe: Recipe
    sweep_recipe: Recipe                         # experiment 4


_LAPTOP = Recipe(16, 2, crop=64, batch=16, augment=True, optimiser="adamw", lr=1e-2, steps=750, epochs=0,
                 evaluations=10, eval_slices=20)
_TINY = Recipe(8, 2, crop=64, batch=8, augment=True, optimiser="adamw", lr=1e-2, steps=30, epochs=0,
               evaluations=3, eval_slices=4)
_PAPER = Recipe(64, 4, crop=0, batch=1, augment=False, optimiser="rmsprop", lr=1e-5, steps=0, epochs=200,
                evaluations=200, eval_slices=0)
_SIZES = (5, 10, 15, 20, 25, 45, 65, 85, 105)
_COUNTS = {"01_baseline": (400, 100), "02_noisy_train": (540, 60), "03_noisy_val": (440, 60),
           "04_size_sweep": (105, 100)}

PROFILES = {
    "tiny": Profile(48, 128, 8, {"01_baseline": (24, 8), "02_noisy_train": (27, 9), "03_noisy_val": (24, 6),
                                 "04_size_sweep": (8, 8)}, (2, 8), _TINY, _TINY),
    "laptop": Profile(500, 501, 50, _COUNTS, _SIZES, _LAPTOP,
                      replace(_LAPTOP, steps=150, evaluations=1)),
    "paper": Profile(500, 501, 50, _COUNTS, _SIZES, _PAPER, replace(_PAPER, steps=105 * 200, epochs=0)),
}


@dataclass(frozen=True)
class Config:
    """Everything a run depends on besides its data: two runs of equal `Config` and data are the same run."""

    experiment: str
    profile: str
    seed: int              # of the split, the noise, the initial weights and the crops
    n_train: int | None    # training slices (None: the profile's, shrunk to fit the data)
    n_val: int | None      # validation slices (likewise)
    split: str             # "random" (as published) or "block" (contiguous, with a gap)
    noise_std: float       # standard deviation of the added noise, 16-bit grey levels
    noisy: str             # where the noise is, see `EXPERIMENTS`
    recipe: Recipe

    def digest(self, fingerprint: str) -> str:
        """12 hexadecimal digits that name the run of this configuration on the data of this fingerprint."""
        text = json.dumps([asdict(self), fingerprint], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def configure(experiment: str, parameters: Mapping[str, Any] | None = None, **changes: Any) -> Config:
    """The `Config` of one run, from a reader's parameters and changes to them.

    What a run has no use for (data_dir, n_seeds, sizes, reuse) is left aside. Raises `ParameterError` for what is
    unknown, mistyped or out of range; `parameters.CHECKS` has the types and ranges.
    """
    one_of(*EXPERIMENTS)("experiment", experiment)
    noisy = EXPERIMENTS[experiment]
    defaults = {"profile": "", "seed": 0, "n_train": None, "n_val": None, "split": "random", "noise_std": 5000.0,
                "steps": None}
    p = check(**defaults | dict(parameters or {}) | changes)
    table = PROFILES[p["profile"]]
    recipe = table.sweep_recipe if experiment == "04_size_sweep" else table.recipe
    if p["steps"]:
        recipe = replace(recipe, steps=p["steps"], evaluations=min(recipe.evaluations, p["steps"]))
    return Config(experiment, p["profile"], p["seed"], p["n_train"], p["n_val"], p["split"],
                  p["noise_std"] if noisy != "none" else 0.0, noisy, recipe)
