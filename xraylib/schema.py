"""Types and ranges of all parameters, and the error messages about them."""

import os
import reprlib
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from .errors import ParameterError
from .files import load_plugins
from .inference import NETWORKS
from .training import TRANSFORMS


def _number(value: Any) -> Any:
    """Read a number, also from text (papermill passes 1e-3 as text), but not True and not 1_0."""
    if value is None:
        return None
    try:
        if isinstance(value, bool) or "_" in str(value):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError from None


def _network(value: Any) -> str:
    """Check the name of a network class, which a plugin may have to add first."""
    if value not in list(NETWORKS):
        load_plugins()
    if value not in list(NETWORKS):
        raise ValueError(f"one of {', '.join(map(repr, NETWORKS))}")
    return value


def _transforms(value: Any) -> tuple[str, ...]:
    """Sort the names of transforms into the order in which they are applied."""
    names = [name for name in value.split("+") if name] if isinstance(value, str) else value
    known = isinstance(names, list | tuple) and all(name in TRANSFORMS for name in names)
    if not known or len(set(names)) < len(names):
        raise ValueError(f"a list of {', '.join(map(repr, TRANSFORMS))}, each at most once, or [] "
                         "(none); on the command line 'blur+noise', or '' (none)")
    return tuple(name for name in TRANSFORMS if name in names)


Read = BeforeValidator(_number)
NSlices = Annotated[int, Field(ge=1, le=100_000), Read]
Share = Annotated[float, Field(gt=0, lt=1), Read]
Side = Annotated[int, Field(ge=8, le=4096), Read]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1), Read]
GreyLevels = Annotated[float, Field(ge=0, le=65535), Read]
Flag = Annotated[bool, Field(strict=True)]


class Parameters(BaseModel):
    """All parameters that a notebook or a sweep may set, with their types and ranges."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    profile: Literal["", "tiny", "laptop", "paper"] = ""
    data_dir: str = ""
    volume: str = ""
    seed: Seed = 0
    n_seeds: Annotated[int | None, Field(ge=1, le=100), Read] = None
    n_train: NSlices | None = None
    slice_share: Share | None = None
    n_val: NSlices | None = None
    sizes: list[NSlices | Share] = Field(
        [], description="a list of training sizes, as [5, 25], or [] (the profile decides)")
    crops: list[Side] = Field([], description="a list of sides in px, as [32, 64]")
    split: Literal["random", "block"] = "random"
    split_seed: Seed | None = None
    noise_std: GreyLevels = 5000.0
    noise_std_min: GreyLevels = 0.0
    voxel_nm: Annotated[float, Field(ge=1e-3, le=1e9), Read] = 18.4
    steps: Annotated[int | None, Field(ge=1, le=10_000_000), Read] = None
    evaluations: Annotated[int | None, Field(ge=1, le=10_000), Read] = None
    width: Annotated[int | None, Field(ge=1, le=512), Read] = None
    depth: Annotated[int | None, Field(ge=1, le=6), Read] = None
    padding: Literal["same", "valid"] = "same"
    network: Annotated[str, BeforeValidator(_network)] = "UNet"
    crop: Annotated[int | None, Field(ge=0, le=100_000), Read] = None
    batch: Annotated[int | None, Field(ge=1, le=10_000), Read] = None
    lr: Annotated[float | None, Field(ge=1e-9, le=1), Read] = None
    flips: Flag | None = None
    transforms: Annotated[tuple[str, ...], BeforeValidator(_transforms)] = ()
    use_published: Flag = False


# What an empty value means: an environment variable, else a default.
ENVIRONMENT: dict[str, tuple[Any, str, Any]] = {
    "profile": ("", "XRAYLIB_PROFILE", "laptop"), "data_dir": ("", "XRAYLIB_DATA", ""),
    "n_seeds": (None, "XRAYLIB_SEEDS", 1)}


def validate(values: Mapping[str, Any]) -> Parameters:
    """Check parameters, after taking those that are empty from the environment.

    Raises:
        ParameterError: A parameter is unknown, or its value is impossible.
    """
    values = dict(values)
    for name, (empty, variable, default) in ENVIRONMENT.items():
        if name in values and values[name] == empty:
            values[name] = os.environ.get(variable) or default
    try:
        return Parameters.model_validate(values)
    except ValidationError as error:
        raise ParameterError(_message(error, values)) from None


def _message(error: ValidationError, values: Mapping[str, Any]) -> str:
    """Name the first wrong parameter, its value and what is allowed."""
    problem = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    name, *place = map(str, problem["loc"])
    if problem["type"] == "extra_forbidden":
        return (f"unknown parameter {name!r}; the known ones are "
                f"{', '.join(Parameters.model_fields)}.")
    schema, value = Parameters.model_json_schema()["properties"][name], values[name]
    if place and place[0].isdecimal():
        name, schema, value = f"{name}[{place[0]}]", schema["items"], value[int(place[0])]
    allowed = str(problem.get("ctx", {}).get("error", "")) or _allowed(schema)
    return f"{name} is {reprlib.repr(value)}; it must be {allowed}."


def _allowed(schema: Mapping[str, Any]) -> str:
    """Put a JSON schema into words."""
    if "anyOf" in schema:
        return " or ".join(map(_allowed, schema["anyOf"]))
    if "enum" in schema:
        return f"one of {', '.join(map(repr, schema['enum']))}"
    kind = {"integer": "a whole number", "number": "a number", "string": "a text in quotes",
            "boolean": "True or False", "null": "None (the default)"}.get(schema["type"], "")
    if "exclusiveMinimum" in schema:
        kind += f" between {schema['exclusiveMinimum']} and {schema['exclusiveMaximum']}"
    elif "minimum" in schema:
        low, high = (schema[bound] for bound in ("minimum", "maximum"))
        style = "" if schema["type"] == "integer" else "g"
        kind += f" from {low:{style}} to {high:{style}}"
    return schema.get("description", kind)
