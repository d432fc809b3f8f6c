"""Parameters of notebooks and sweeps, the three profiles, and the configuration of a run."""

import hashlib
import json
import os
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from inspect import signature
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, StrictBool, TypeAdapter, ValidationError

from .data import Slices
from .datasets import cut_window, fit_counts, require_neighbours, split_slices
from .errors import ParameterError
from .experiments import Drawn, Sets, get_experiment
from .files import load_plugins
from .inference import NETWORKS
from .training import TRANSFORMS, Recipe, check_sizes

_QUICK = partial(Recipe, depth=2, crop=32, flips=True, optimiser="nadam", lr=1e-2, epochs=0)
PROFILES = {
    "tiny": _QUICK(width=8, batch=32, steps=30, evaluations=3, eval_slices=4),
    "laptop": _QUICK(width=16, batch=40, steps=750, evaluations=10, eval_slices=20),
    "paper": Recipe(64, 4, crop=0, batch=1, flips=False, optimiser="rmsprop", lr=1e-5, steps=0,
                    epochs=200, evaluations=200, eval_slices=0),
}
RECIPE_CHECKS: dict[str, Callable[[Recipe], None]] = {}  # by network; raise `ParameterError`


def _number(value: Any) -> Any:
    """Read a number, also from text (papermill passes 1e-3 as text), but not True and not 1_0."""
    try:
        return value if value is None else float(str(value).replace("_", "?")) + 0.0  # -0.0 is 0
    except ValueError:
        return float("nan")  # which no parameter may be


def _network(value: Any) -> str:
    """Check the name of a network class; plugins that may define it are loaded first."""
    load_plugins()
    if value not in list(NETWORKS):
        raise ValueError(f"one of {', '.join(map(repr, NETWORKS))}")
    return value


def _list(value: Any) -> Any:
    """Read a list, also from text: papermill and the command line pass "[2, 3]" as text."""
    if isinstance(value, str) and value[:1] + value[-1:] == "[]":
        return [item.strip(" '\"") for item in value[1:-1].split(",") if item.strip()]
    return value


def _transforms(value: Any) -> tuple[str, ...]:
    """Sort the names of transforms into the order in which they are applied."""
    value = _list(value)
    names = [name for name in value.split("+") if name] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or sorted(map(str, names)) != sorted(
            name for name in TRANSFORMS if name in names):
        raise ValueError(f"a list of {', '.join(map(repr, TRANSFORMS))}, each at most once, or [] "
                         "(none); on the command line 'blur+noise', or '' (none)")
    return tuple(name for name in TRANSFORMS if name in names)


Read = BeforeValidator(_number)
NSlices = Annotated[int, Field(ge=1, le=100_000), Read]
Share = Annotated[float, Field(gt=0, lt=1, description="a number between 0 and 1"), Read]
Side = Annotated[int, Field(ge=8, le=4096), Read]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1), Read]


class Parameters(BaseModel, extra="forbid", allow_inf_nan=False):
    """All parameters that a notebook or a sweep may set, with their types and ranges."""

    profile: Literal["", "tiny", "laptop", "paper"] = ""
    data_dir: str = ""
    volume: str = ""
    example: Literal["electrode", "sandstone"] = "electrode"
    seed: Seed = 0
    n_seeds: Annotated[int | None, Field(ge=1, le=100), Read] = None
    n_train: NSlices | None = None
    slice_share: Share | None = None
    n_val: NSlices | None = None
    sizes: Annotated[list[NSlices | Share], BeforeValidator(_list)] = Field(
        [], description="a list of training sizes, as [5, 25], or [] (the profile decides)")
    crops: Annotated[list[Side], BeforeValidator(_list)] = Field(
        [], min_length=1, description="a list of sides in px, as [32, 64]")
    split: Literal["random", "block"] = "random"
    split_seed: Seed | None = None
    fold: Annotated[int | None, Field(ge=0, le=100), Read] = None
    noise_std: Annotated[float, Field(ge=0, le=65535), Read] = 5000.0
    noise_std_min: Annotated[float, Field(ge=0, le=65535), Read] = 0.0
    voxel_nm: Annotated[float | None, Field(ge=1e-3, le=1e9), Read] = None
    steps: Annotated[int | None, Field(ge=1, le=10_000_000), Read] = None
    evaluations: Annotated[int | None, Field(ge=1, le=10_000), Read] = None
    width: Annotated[int | None, Field(ge=1, le=512), Read] = None
    depth: Annotated[int | None, Field(ge=1, le=6), Read] = None
    padding: Literal["same", "valid"] = "same"
    network: Annotated[str, BeforeValidator(_network)] = "UNet"
    crop: Annotated[int | None, Field(ge=0, le=100_000), Read] = None
    batch: Annotated[int | None, Field(ge=1, le=10_000), Read] = None
    lr: Annotated[float | None, Field(ge=1e-9, le=1), Read] = None
    flips: StrictBool | None = None
    transforms: Annotated[tuple[str, ...], BeforeValidator(_transforms)] = ()
    use_published: StrictBool = False


ENVIRONMENT = {"profile": ("XRAYLIB_PROFILE", "laptop"), "data_dir": ("XRAYLIB_DATA", ""),
               "n_seeds": ("XRAYLIB_SEEDS", 1)}  # if unset: the variable, and the default


def check_parameters(**values: Any) -> dict[str, Any]:
    """Check and convert parameters, take unset ones from the environment, or raise an error."""
    for name, (variable, default) in ENVIRONMENT.items():
        if name in values and values[name] == Parameters.model_fields[name].default:
            values[name] = os.environ.get(variable) or default
    try:
        return Parameters.model_validate(values).model_dump(exclude_unset=True)
    except ValidationError as error:
        problem = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    name, *place = map(str, problem["loc"])
    if problem["type"] == "extra_forbidden":
        raise ParameterError(f"unknown parameter {name!r}; the known ones are "
                             f"{', '.join(Parameters.model_fields)}.")
    schema, value = Parameters.model_json_schema()["properties"][name], _list(values[name])
    if place and place[0].isdecimal():
        name, schema, value = f"{name}[{place[0]}]", schema["items"], value[int(place[0])]
    allowed = problem.get("ctx", {}).get("error") or _allowed(schema)
    raise ParameterError(f"{name} is {reprlib.repr(value)}; it must be {allowed}.")


def _allowed(schema: Mapping[str, Any]) -> str:
    """Put a JSON schema into words."""
    if "anyOf" in schema:
        return " or ".join(map(_allowed, schema["anyOf"]))
    if "enum" in schema:
        return f"one of {', '.join(map(repr, schema['enum']))}"
    words = {"integer": "a whole number from {minimum} to {maximum}", "string": "a text in quotes",
             "number": "a number from {minimum:g} to {maximum:g}", "boolean": "True or False",
             "null": "None (the default)"}
    return schema.get("description") or words[schema["type"]].format_map(schema)


def from_notebook(namespace: dict[str, Any], names: str) -> dict[str, Any]:
    """Check the parameters of a notebook: those of its ``globals()`` with these names.
    papermill only warns about a parameter that a notebook does not know. This function raises an
    error when it is first called in a kernel and finds any other number, text or list.
    """
    known = names.split()
    literals = {name for name, value in namespace.items() if not name.startswith("_")
                and isinstance(value, str | int | float | list | tuple | dict | None)}
    unknown = sorted(literals - {*known, "In", "Out"})
    if unknown and "_xraylib_checked" not in namespace:
        raise ParameterError(f"unknown parameter {', '.join(map(repr, unknown))}; this notebook "
                             f"knows {', '.join(known)}.")
    namespace["_xraylib_checked"] = check_parameters(**{name: namespace[name] for name in known})
    return namespace["_xraylib_checked"]


def size_parameters(size: float) -> dict[str, Any]:
    """Return the parameters of a training set of this many slices (below 1: a share of a slice)."""
    return {"n_train": max(1, int(size)), "slice_share": size if size < 1 else None}


@dataclass(frozen=True)
class RunConfig:
    """Everything that a run depends on besides its data. Equal configurations give the same run."""

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
    fold: int | None = None  # the part that cross-validation leaves out (0: none, None: a split)

    def facts(self) -> dict[str, Any]:
        """Return the fields that differ from their default, so that new fields rename no run."""
        return TypeAdapter(RunConfig).dump_python(self, exclude_defaults=True)

    def digest(self, fingerprint: str) -> str:
        """Return 12 hexadecimal digits that name this run on data with this fingerprint."""
        text = json.dumps([self.facts(), fingerprint], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()

    def draw(self, slices: Slices) -> Drawn:
        """Draw the training and the validation set from these slices.
        With few slices, or the gap of a block split, the sets are smaller, and the note says so.
        Raises: DataError: Chosen counts are too large, or the network needs neighbouring slices.
        """
        experiment, notes = get_experiment(self.experiment), []
        asked = experiment.tiny if self.profile == "tiny" else experiment.counts
        seed = self.seed if self.split_seed is None else self.split_seed

        def split(pool: Slices) -> Sets:
            counts = fit_counts(len(pool), asked, self.n_train, self.n_val)
            train, val = split_slices(pool, *counts, self.split, seed)
            wanted = self.n_train or asked[0], self.n_val or asked[1]
            if (len(train), len(val)) != wanted:
                gap = " and a gap is left out" if self.split == "block" else ""
                notes.append(f"The experiment asks for {wanted[0]} + {wanted[1]} slices, but there "
                             f"are {len(pool)}{gap}.")
            part = (f"{self.slice_share:g} of a slice trains" if self.slice_share
                    else f"{len(train)} slices train")
            notes.append(f"{part} and {len(val)} validate, of {len(pool)}; {self.split} split.")
            return cut_window(train, self.slice_share, seed) if self.slice_share else train, val

        wanted = signature(experiment.draw).parameters.keys() & {"noise_std", "seed", "fold"}
        train, val = experiment.draw(slices, split, **{key: getattr(self, key) for key in wanted})
        if self.fold:
            notes.append(f"Part {self.fold} of the labels is left out and scored.")
        elif val is train:
            notes.append(f"All {len(train)} slices train. The score is that of the training set.")
        if self.recipe.network != "UNet":
            require_neighbours(train)
            require_neighbours(val)
        if absent := [name for index, name in enumerate(slices.phases.names)
                      if not any((label == index).any() for label in train.labels)]:
            notes.append(f"The training set contains no {' and no '.join(absent)}, so the network "
                         "cannot learn it.")
        return Drawn(train, val, " ".join(notes))


def configure(experiment: str, parameters: Mapping[str, Any] | None = None, /,
              **changes: Any) -> RunConfig:
    """Make the configuration of one run.
    Args:
        experiment: Name of the experiment.
        parameters, changes: A notebook's parameters, and those that differ from them.
    Raises: ParameterError: A parameter is unknown, or its value is impossible or does not fit.
    """
    facts = get_experiment(experiment)
    values = {"profile": "", "split": facts.split} | dict(parameters or {}) | changes
    p = Parameters.model_construct(**check_parameters(**values))
    own = facts.recipes.get(p.profile, {})
    chosen = p.model_dump(include=Recipe.__annotations__.keys() - {"noise_std_min"},
                          exclude_unset=True, exclude_none=True)
    recipe = replace(PROFILES[p.profile], **{**own, **chosen})
    if "noise" in recipe.transforms:
        recipe = replace(recipe, noise_std_min=p.noise_std_min, noise_std_max=p.noise_std)
    if recipe.steps:
        recipe = replace(recipe, evaluations=min(recipe.evaluations, recipe.steps))
    if missing := set(own.get("transforms", ())) - set(recipe.transforms):
        raise ParameterError(f"transforms is {list(recipe.transforms)}; {experiment} needs "
                             f"{', '.join(map(repr, sorted(missing)))}: add it.")
    if recipe.noise_std_max < recipe.noise_std_min:
        raise ParameterError(f"noise_std is {p.noise_std:g}, less than noise_std_min, "
                             f"{p.noise_std_min:g}; raise noise_std or lower noise_std_min.")
    if p.slice_share is not None and p.n_train not in (None, 1):
        raise ParameterError(f"slice_share is {p.slice_share:g} and n_train {p.n_train}, but a "
                             "share is of one slice; leave one of them out.")
    check_sizes(recipe)
    RECIPE_CHECKS.get(recipe.network, lambda _: None)(recipe)
    return RunConfig(experiment, p.profile, p.seed, 1 if p.slice_share else p.n_train, p.n_val,
                     p.split, p.noise_std if facts.noisy else 0.0, recipe, p.split_seed,
                     p.slice_share, p.fold if "fold" in signature(facts.draw).parameters else None)
