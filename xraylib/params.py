"""Parameters of notebooks and sweeps, the three profiles, and the configuration of a run."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

from .data import Slices
from .datasets import cut_window, fit_counts, require_neighbours, split_slices
from .errors import ParameterError
from .experiments import Sets, get_experiment
from .schema import Parameters, validate
from .training import Recipe

PROFILES = {
    "tiny": Recipe(8, 2, crop=32, batch=32, flips=True, optimiser="nadam", lr=1e-2, steps=30,
                   epochs=0, evaluations=3, eval_slices=4),
    "laptop": Recipe(16, 2, crop=32, batch=40, flips=True, optimiser="nadam", lr=1e-2, steps=750,
                     epochs=0, evaluations=10, eval_slices=20),
    "paper": Recipe(64, 4, crop=0, batch=1, flips=False, optimiser="rmsprop", lr=1e-5, steps=0,
                    epochs=200, evaluations=200, eval_slices=0),
}
MAX_CHANNELS = 2048  # twice the poster's; the memory for a network grows with their square
# Parameters that change the recipe, and those that no single run uses.
RECIPE_FIELDS = ("width", "depth", "padding", "network", "crop", "batch", "lr", "flips", "steps",
                 "evaluations", "transforms")
NOTEBOOK_ONLY = ("data_dir", "volume", "n_seeds", "sizes", "crops", "voxel_nm", "use_published")
# What a network demands of a recipe: plugins add functions that raise `ParameterError`.
RECIPE_CHECKS: dict[str, Callable[[Recipe], None]] = {}


def check_parameters(**values: Any) -> dict[str, Any]:
    """Check parameters before anything expensive starts.

    Args:
        values: Parameters by name. An empty profile, data_dir or n_seeds (None) means
            $XRAYLIB_PROFILE, $XRAYLIB_DATA or $XRAYLIB_SEEDS, else "laptop", "" (the built-in
            data) or 1.

    Returns:
        The same names, each value of the right type and within its range.

    Raises:
        ParameterError: A parameter is unknown, or its value is impossible.
    """
    checked = validate(values)
    return {name: getattr(checked, name) for name in values}


def from_notebook(namespace: dict[str, Any], names: str) -> dict[str, Any]:
    """Check the parameters of a notebook.

    papermill only warns about a name that a notebook does not know. Here, any other number, text
    or list among the notebook's variables stops it, when this function is called for the first
    time in a kernel.

    Args:
        namespace: ``globals()`` of the notebook.
        names: Names of its parameters, separated by spaces.

    Returns:
        The checked parameters.

    Raises:
        ParameterError: A parameter is unknown, or its value is impossible.
    """
    known = names.split()
    literal = (str, int, float, list, tuple, dict, type(None))
    unknown = sorted(name for name, value in namespace.items() if isinstance(value, literal)
                     and not name.startswith("_") and name not in {*known, "In", "Out"})
    if unknown and "_xraylib_checked" not in namespace:
        raise ParameterError(f"unknown parameter {', '.join(map(repr, unknown))}; this notebook "
                             f"knows {', '.join(known)}.")
    checked = check_parameters(**{name: namespace[name] for name in known})
    namespace["_xraylib_checked"] = True
    return checked


def size_parameters(size: float) -> dict[str, Any]:
    """Return the parameters of a training set of this many slices (below 1: a share of one)."""
    if size < 1:
        return {"n_train": 1, "slice_share": size}
    return {"n_train": int(size), "slice_share": None}


# -- the configuration of a run --------------------------------------------------------------------


class Drawn(NamedTuple):
    """The sets of a run, and a sentence about how they were drawn."""

    train: Slices
    val: Slices
    note: str


@dataclass(frozen=True)
class RunConfig:
    """Everything that a run depends on besides its data: equal ones give the same run."""

    experiment: str
    profile: str
    seed: int  # of the split, the noise, the initial weights and the crops
    n_train: int | None  # training slices (None: the experiment's, fewer if the data are few)
    n_val: int | None  # validation slices (likewise)
    split: str  # "random" (the poster's) or "block" (contiguous, with a gap)
    noise_std: float  # standard deviation of the added noise, 16-bit grey levels
    recipe: Recipe
    split_seed: int | None = None  # of the split alone (None: the seed)
    slice_share: float | None = None  # train on this share of one slice's area (None: all of it)

    def facts(self) -> dict[str, Any]:
        """Return what identifies the run: all fields but those that still have their default."""
        return _without_defaults(self) | {"recipe": _without_defaults(self.recipe)}

    def digest(self, fingerprint: str) -> str:
        """Name this run on the data with this fingerprint: 12 hexadecimal digits."""
        text = json.dumps([self.facts(), fingerprint], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()

    def draw(self, slices: Slices) -> Drawn:
        """Draw the training and the validation set from these slices.

        If there are fewer slices than the experiment asks for, its counts shrink in proportion.
        The gap of a block split may shrink the training set. The note says so.

        Raises:
            DataError: The counts that the reader chose are too large, or the network needs
                neighbouring slices and these are not.
        """
        notes: list[str] = []
        seed = self.seed if self.split_seed is None else self.split_seed
        asked = get_experiment(self.experiment).counts_in(self.profile)

        def split_as_asked(pool: Slices) -> Sets:
            counts = fit_counts(len(pool), asked, self.n_train, self.n_val)
            train, val = split_slices(pool, *counts, self.split, seed)
            notes.append(self._note(len(train), len(val), len(pool), asked))
            return cut_window(train, self.slice_share, seed) if self.slice_share else train, val

        train, val = get_experiment(self.experiment).sets(
            slices, split_as_asked, noise_std=self.noise_std, seed=self.seed)
        if self.recipe.network != "UNet":
            require_neighbours(train)
            require_neighbours(val)
        absent = [name for index, name in enumerate(slices.phases.names)
                  if not any((label == index).any() for label in train.labels)]
        if absent:
            notes.append(f"The training set contains no {' and no '.join(absent)}, so the network "
                         "cannot learn it.")
        return Drawn(train, val, " ".join(notes))

    def _note(self, n_train: int, n_val: int, n: int, asked: tuple[int, int]) -> str:
        """Say how many slices train and validate, and whether more were asked for."""
        wanted = self.n_train or asked[0], self.n_val or asked[1]
        gap = " and a gap is left out" if self.split == "block" else ""
        short = (f"The experiment asks for {wanted[0]} + {wanted[1]} slices, but there are {n}"
                 f"{gap}. " if (n_train, n_val) != wanted else "")
        part = f"{self.slice_share:g} of a slice trains" if self.slice_share else (
            f"{n_train} slices train")
        return f"{short}{part} and {n_val} validate, of {n}; {self.split} split."


def _without_defaults(part: RunConfig | Recipe) -> dict[str, Any]:
    """Return the fields that differ from their default, so that a new field renames no old run."""
    return {field.name: getattr(part, field.name) for field in fields(part)
            if getattr(part, field.name) != field.default}


def configure(experiment: str, parameters: Mapping[str, Any] | None = None, /,
              **changes: Any) -> RunConfig:
    """Make the configuration of one run.

    Args:
        experiment: Name of an experiment.
        parameters: A notebook's parameters; those that no run uses (`NOTEBOOK_ONLY`) are ignored.
        changes: Parameters that differ from them.

    Raises:
        ParameterError: A parameter is unknown, or its value is impossible or does not fit others.
    """
    facts = get_experiment(experiment)
    p = validate({"profile": "", "split": facts.split} | dict(parameters or {}) | changes)
    own = facts.recipes.get(p.profile, {})
    chosen = {name: getattr(p, name) for name in RECIPE_FIELDS if name in p.model_fields_set}
    recipe = replace(PROFILES[p.profile], **dict(own) | {
        name: value for name, value in chosen.items() if value is not None})
    if "noise" in recipe.transforms:
        recipe = replace(recipe, noise_std_min=p.noise_std_min, noise_std_max=p.noise_std)
    if recipe.steps:
        recipe = replace(recipe, evaluations=min(recipe.evaluations, recipe.steps))
    _check_fit(experiment, p, recipe, set(own.get("transforms", ())))
    n_train = p.n_train if p.slice_share is None else 1
    return RunConfig(experiment, p.profile, p.seed, n_train, p.n_val, p.split,
                     p.noise_std if facts.noisy else 0.0, recipe, p.split_seed, p.slice_share)


def _check_fit(experiment: str, p: Parameters, recipe: Recipe, needed: set[str]) -> None:
    """Raise `ParameterError` if parameters do not fit each other."""
    if missing := needed - set(recipe.transforms):
        raise ParameterError(f"transforms is {list(recipe.transforms)}; {experiment} needs "
                             f"{', '.join(map(repr, sorted(missing)))}: add it.")
    if recipe.noise_std_max < recipe.noise_std_min:
        raise ParameterError(f"noise_std is {p.noise_std:g}, less than noise_std_min, "
                             f"{p.noise_std_min:g}; raise noise_std or lower noise_std_min.")
    if p.slice_share is not None and p.n_train not in (None, 1):
        raise ParameterError(f"slice_share is {p.slice_share:g} and n_train {p.n_train}, but a "
                             "share is of one slice; leave one of them out.")
    if (channels := recipe.width * 2**recipe.depth) > MAX_CHANNELS:
        raise ParameterError(
            f"width is {recipe.width} and depth {recipe.depth}, so the U-Net has {channels:,} "
            f"channels at its coarsest level; at most {MAX_CHANNELS:,} are allowed. Lower one.")
    RECIPE_CHECKS.get(recipe.network, lambda recipe: None)(recipe)
