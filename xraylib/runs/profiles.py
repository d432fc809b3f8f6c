"""The three profiles, and the configuration of a run: an experiment, a profile and the reader's changes to it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from math import ceil
from typing import Any, NamedTuple

from ..experiments import EXPERIMENTS, Sets
from ..slices.labelled import PHASES, Slices
from ..slices.sets import SIZES, fit_counts, in_order, split
from ..train import Recipe
from .parameters import ParameterError, at_least, check, one_of

_LAPTOP = Recipe(16, 2, crop=32, batch=40, augment=True, optimiser="nadam", lr=1e-2, steps=750, epochs=0,
                 evaluations=10, eval_slices=20)
_TINY = Recipe(8, 2, crop=32, batch=32, augment=True, optimiser="nadam", lr=1e-2, steps=30, epochs=0,
               evaluations=3, eval_slices=4)
_PAPER = Recipe(64, 4, crop=0, batch=1, augment=False, optimiser="rmsprop", lr=1e-5, steps=0, epochs=200,
                evaluations=200, eval_slices=0)
RECIPES = {"tiny": _TINY, "laptop": _LAPTOP, "paper": _PAPER}
MOST_CHANNELS = 2048        # twice the poster's; the memory that a network takes grows with their square
# What a reader may change of it, under its own name; `augment` as "flips", and `noise_max` as "noise_std".
OF_THE_RECIPE = ("width", "depth", "padding", "dims", "context", "crop", "batch", "lr", "steps", "evaluations",
                 "transforms")
IDLE = ("data_dir", "volume", "n_seeds", "sizes", "crops", "voxel_nm", "reuse")   # what a single run has no use for
A_STEP = 2**16               # px that a step sees in `of_equal_pixels`: one crop of 256


@dataclass(frozen=True)
class Config:
    """Everything a run depends on besides its data: two runs of equal `Config` and data are the same run."""

    experiment: str
    profile: str
    seed: int              # of the split, the noise, the initial weights and the crops
    n_train: float | None  # training slices, or a part of one (None: the experiment's, shrunk to fit the data)
    n_val: int | None      # validation slices (likewise)
    split: str             # "random" (as published) or "block" (contiguous, with a gap)
    noise_std: float       # standard deviation of the added noise, 16-bit grey levels
    recipe: Recipe
    split_seed: int | None = None  # of the split alone: which slices train and validate (None: the seed)

    def facts(self) -> dict:
        """What config.json holds of it, and what names its run: see `facts_of`."""
        return facts_of(self) | {"recipe": facts_of(self.recipe)}

    def digest(self, fingerprint: str) -> str:
        """12 hexadecimal digits that name the run of this configuration on the data of this fingerprint."""
        text = json.dumps([self.facts(), fingerprint], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()

    def draw(self, slices: Slices) -> "Drawn":
        """The training and the validation set from these slices.

        The experiment's counts shrink in proportion where the slices are fewer, and the training block of a block split
        by its gap; the note says so. Counts that the reader gave and that are not there raise `DataError`, and sets of
        slices that are no neighbours for a network that needs them.
        """
        experiment, notes = EXPERIMENTS[self.experiment], []
        seed = self.seed if self.split_seed is None else self.split_seed

        def split_as_asked(pool: Slices) -> Sets:
            asked = experiment.counts_in(self.profile)
            train, val = split(pool, *fit_counts(len(pool), asked, self.n_train, self.n_val), self.split, seed)
            wanted = ceil(self.n_train or asked[0]), self.n_val or asked[1]
            if (len(train), len(val)) != wanted:
                notes.append(f"Asked for are {wanted[0]} + {wanted[1]} slices, {len(pool)} are here"
                             f"{', less a gap' if self.split == 'block' else ''}. ")
            part = f"{self.n_train:g} of a slice trains" if (self.n_train or 1) < 1 else f"{len(train)} slices train"
            notes.append(f"{part} and {len(val)} validate, of {len(pool)}; {self.split} split.")
            return train, val

        train, val = experiment.sets(slices, split_as_asked, noise_std=self.noise_std, seed=self.seed)
        if self.recipe.dims == 3 or self.recipe.context:
            in_order(train), in_order(val)
        lacking = [name for phase, name in enumerate(PHASES)
                   if not any((label == phase).any() for label in train.labels)]
        if lacking:
            notes.append(f" No {' and no '.join(lacking)} is in the training set: what it lacks cannot be learned.")
        return Drawn(train, val, "".join(notes))


def facts_of(part: Config | Recipe) -> dict:
    """The fields of a configuration or a recipe, by name.

    A field with a default is younger than the first runs. While it has its default it is left out, so that the run of
    a configuration has the name that it always had.
    """
    return {field.name: getattr(part, field.name) for field in fields(part)
            if getattr(part, field.name) != field.default}


class Drawn(NamedTuple):
    """The sets of a run, and the sentence that says how they were drawn."""

    train: Slices
    val: Slices
    note: str


def configure(experiment: str, parameters: Mapping[str, Any] | None = None, /, **changes: Any) -> Config:
    """The `Config` of one run, from a reader's parameters and changes to them.

    What a run has no use for (`IDLE`) is left aside. Raises `ParameterError` for what is
    unknown, mistyped or out of range; `parameters.CHECKS` has the types and ranges.
    """
    one_of(*EXPERIMENTS)("experiment", experiment)
    facts = EXPERIMENTS[experiment]
    defaults = {"profile": "", "seed": 0, "n_train": None, "n_val": None, "split": facts.split, "split_seed": None,
                "noise_std": 5000.0, "noise_min": 0.0, "flips": None}
    p = check(**defaults | dict(parameters or {}) | changes)
    own = facts.recipes.get(p["profile"], {})
    recipe = replace(RECIPES[p["profile"]], **dict(own)
                     | {name: p[name] for name in OF_THE_RECIPE if p.get(name) is not None})
    if missing := set(own.get("transforms", ())) - set(recipe.transforms):
        raise ParameterError(f"transforms is {list(recipe.transforms)}; {experiment} is nothing without "
                             f"{', '.join(map(repr, sorted(missing)))}: add it.")
    if p["flips"] is not None:
        recipe = replace(recipe, augment=p["flips"])
    if "noise" in recipe.transforms:
        at_least("noise_std", p["noise_std"], "noise_min", p["noise_min"])
        recipe = replace(recipe, noise_min=p["noise_min"], noise_max=p["noise_std"])
    if recipe.steps:
        recipe = replace(recipe, evaluations=min(recipe.evaluations, recipe.steps))
    if (deepest := recipe.width * 2**recipe.depth) > MOST_CHANNELS:
        raise ParameterError(f"width is {recipe.width} and depth {recipe.depth}, so that the U-Net has {deepest:,} "
                             f"channels where it is coarsest; {MOST_CHANNELS:,} are the most: lower one of them.")
    if recipe.dims == 3 and (recipe.context or recipe.padding == "valid" or recipe.transforms or not recipe.crop):
        raise ParameterError("dims is 3: a network of volumes is trained on cubes (crop above 0), with padding 'same', "
                             "without transforms and with context 0; change these, or set dims to 2.")
    return Config(experiment, p["profile"], p["seed"], p["n_train"], p["n_val"], p["split"],
                  p["noise_std"] if facts.noisy else 0.0, recipe, p["split_seed"])


def networks_of(profile: str) -> dict[str, dict[str, Any]]:
    """The networks of notebook 9, by name: what each changes of the profile's recipe.

    A kernel of 27 weights has three times those of 9, so that "3-D" has as many weights as "2-D" with fewer channels by
    the square root of 3; "3-D wide" has as many channels. All train for about as long in the laptop profile: with AVX2
    a step of 8 cubes takes 1.0 and 1.55 times that of "2-D". A cube's side is four px where the network is coarsest: 16
    px, the best of 8, 12, 16, 20 and 24 on noisy validation slices, each for as long.
    """
    recipe = RECIPES[profile]
    cubes = {"dims": 3, "crop": 4 * 2**recipe.depth, "batch": 8}
    return {"2-D": {}, "2.5-D": {"context": 2}, "3-D": cubes | {"width": round(recipe.width / 3**0.5)},
            "3-D wide": cubes | {"width": recipe.width, "steps": round(recipe.steps / 1.55) or None}}


def of_equal_pixels(crop: int, profile: str) -> dict[str, int]:
    """How crops of this side, px, show a network as many pixels as the profile's recipe does: crop, batch and steps.

    A step sees about `A_STEP` pixels whatever the side, so that the number of steps is about the same, too.
    """
    recipe = RECIPES[profile]
    steps = recipe.steps or recipe.epochs * EXPERIMENTS["06_small_crops"].counts[0]
    batch = max(1, round(A_STEP / crop**2))
    seen = steps * recipe.batch * (recipe.crop or SIZES[profile][2])**2
    return {"crop": crop, "batch": batch, "steps": max(1, round(seen / (batch * crop**2)))}
