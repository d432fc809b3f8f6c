"""The parameters that a reader may change, checked in one place before anything expensive starts."""

import ast
import math
import os
import reprlib
from collections.abc import Callable, Mapping
from typing import Any

from ..augment import TRANSFORMS
from ..predict.network import LIMITS

OR_NONE = {False: "", True: " or None (the default)"}
LITERALS = (str, int, float, list, tuple, type(None))   # a module or a function of a parameter's name is none


class ParameterError(ValueError):
    """A parameter is unknown, mistyped or out of range; the message says which, what was given and what is allowed."""


def _wrong(name: str, value: Any, expected: str) -> ParameterError:
    return ParameterError(f"{name} is {reprlib.repr(value)}; it must be {expected}.")


def _whole(low: int, high: int, none: bool = False, part: str = ""):
    """A check; ``part``: what else, between 0 and 1, it may be."""
    def check(name: str, value: Any) -> float | None:
        if none and value is None:
            return None
        number = _number(value)
        if part and 0 < number < 1:
            return number
        if not low <= number <= high or number != int(number):
            raise _wrong(name, value, f"a whole number from {low} to {high}{part}{OR_NONE[none]}")
        return int(number)
    return check


def _real(low: float, high: float, none: bool = False):
    def check(name: str, value: Any) -> float | None:
        if none and value is None:
            return None
        number = _number(value)
        if not low <= number <= high:
            raise _wrong(name, value, f"a number from {low:g} to {high:g}{OR_NONE[none]}")
        return number
    return check


def _number(value: Any) -> float:
    """A number, also if YAML made a string of it (papermill reads 1e-3 as one); nan for anything else."""
    if isinstance(value, bool) or "_" in str(value):        # Python reads 1_0 as 10
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _slices(none: bool = False):
    """A check that the value is a number of slices, or a part of one."""
    return _whole(1, 100_000, none, ", or a part of a slice between 0 and 1")


def one_of(*allowed: str):
    """A check that the value is one of these."""
    def check(name: str, value: Any) -> str:
        if value not in allowed:
            raise _wrong(name, value, f"one of {', '.join(map(repr, allowed))}")
        return value
    return check


def at_least(name: str, value: float, other: str, bound: float) -> None:
    """Raises `ParameterError` where one parameter is less than another that bounds it."""
    if value < bound:
        raise ParameterError(f"{name} is {value:g}, less than {other}, {bound:g}; raise the one or lower the other.")


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong(name, value, "a text in quotes")
    return value


def _flag(none: bool = False):
    def check(name: str, value: Any) -> bool | None:
        if not isinstance(value, bool) and not (none and value is None):
            raise _wrong(name, value, f"True or False{OR_NONE[none]}")
        return value
    return check


def _list(of: Callable[[str, Any], Any], example: str):
    def check(name: str, value: Any) -> list:
        if not isinstance(value, (list, tuple)):
            raise _wrong(name, value, f"a list of {example}")
        return [of(f"{name}[{index}]", each) for index, each in enumerate(value)]
    return check


def _transforms(name: str, value: Any) -> tuple[str, ...]:
    """Names of transforms, in the order in which they are done, whatever order they are given in."""
    known = isinstance(value, (list, tuple)) and all(each in TRANSFORMS for each in value)
    if not known or len(set(value)) < len(value):
        raise _wrong(name, value, f"a list of {', '.join(map(repr, TRANSFORMS))}, each at most once, or [] (none)")
    return tuple(each for each in TRANSFORMS if each in value)


CHECKS = {
    "profile": one_of("", "tiny", "laptop", "paper"),
    "data_dir": _text,
    "volume": _text,
    "seed": _whole(0, 2**31 - 1),
    "n_seeds": _whole(1, 100, none=True),
    "n_train": _slices(none=True),
    "n_val": _whole(1, 100_000, none=True),
    "sizes": _list(_slices(), "training sizes, as [5, 25], or [] (the profile decides)"),
    "crops": _list(_whole(8, 4096), "sides in px, as [32, 64]"),
    "split": one_of("random", "block"),
    "split_seed": _whole(0, 2**31 - 1, none=True),
    "noise_std": _real(0, 65535),
    "noise_min": _real(0, 65535),
    "voxel_nm": _real(1e-3, 1e9),
    "steps": _whole(1, 10_000_000, none=True),
    "evaluations": _whole(1, 10_000, none=True),
    "width": _whole(*LIMITS["width"], none=True),
    "depth": _whole(*LIMITS["depth"], none=True),
    "padding": one_of("same", "valid"),
    "dims": _whole(*LIMITS["dims"], none=True),
    "context": _whole(*LIMITS["context"], none=True),
    "crop": _whole(0, 100_000, none=True),
    "batch": _whole(1, 10_000, none=True),
    "lr": _real(1e-9, 1, none=True),
    "flips": _flag(none=True),
    "transforms": _transforms,
    "reuse": _flag(),
}


def check(**parameters: Any) -> dict[str, Any]:
    """The parameters, each of the right type and within its range; raises `ParameterError` for the first that is not.

    An empty profile becomes $XRAYLIB_PROFILE, else "laptop"; an empty data_dir $XRAYLIB_DATA, else "" (built-in);
    n_seeds None becomes $XRAYLIB_SEEDS, else 1.
    """
    unknown = [name for name in parameters if name not in CHECKS]
    if unknown:
        raise ParameterError(f"unknown parameter {unknown[0]!r}; the known ones are {', '.join(CHECKS)}.")
    environment = {"profile": ("", "XRAYLIB_PROFILE", "laptop"), "data_dir": ("", "XRAYLIB_DATA", ""),
                   "n_seeds": (None, "XRAYLIB_SEEDS", 1)}
    for name, (empty, variable, default) in environment.items():
        if name in parameters and parameters[name] == empty:
            parameters[name] = os.environ.get(variable) or default
    return {name: CHECKS[name](name, value) for name, value in parameters.items()}


def from_notebook(namespace: Mapping[str, Any]) -> dict[str, Any]:
    """The checked parameters of a notebook, from its ``globals()``.

    papermill writes the values it is given into a cell that begins with "# Parameters" and only warns of a name that
    the notebook does not know; here an unknown name stops the notebook. (nbval keeps no history of the cells it runs:
    then every parameter that is there is taken.)
    """
    cells = [source for source in namespace["In"] if source.startswith("# Parameters")]
    own = [source for source in namespace["In"] if source.startswith("# The parameters")]
    known = {name for source in own for name in _assigned(source)} or {
        name for name in CHECKS if name in namespace and isinstance(namespace[name], LITERALS)}
    unknown = sorted({name for source in cells for name in _assigned(source)} - known)
    if unknown:
        raise ParameterError(f"unknown parameter {', '.join(map(repr, unknown))}; "
                             f"this notebook knows {', '.join(sorted(known))}.")
    return check(**{name: namespace[name] for name in sorted(known)})


def _assigned(source: str) -> list[str]:
    return [target.id for node in ast.parse(source).body if isinstance(node, ast.Assign)
            for target in node.targets if isinstance(target, ast.Name)]
