"""The content of a run's files, checked when it is read."""

import csv
import json
import reprlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from .data import Phases
from .errors import RunError, one_line_message
from .experiments import get_experiment
from .metrics import Scores
from .params import RunConfig

REQUIRED = {"digest": str, "fingerprint": str, "data": str, "note": str, "phases": dict,
            "recipe": dict}
_RUN_CONFIG, _PHASES = TypeAdapter(RunConfig), TypeAdapter(Phases)


@contextmanager
def damage_as_run_error(path: Path, remedy: str) -> Iterator[None]:
    """Turn an error in reading a file into a `RunError` that says what to do."""
    try:
        yield
    except PermissionError:
        raise
    except (OSError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError,
            RecursionError, csv.Error) as error:
        raise RunError(f"{path} is damaged ({one_line_message(error)}). {remedy}") from error


def check_config(content: Any) -> dict[str, Any]:
    """Return the content of a config.json, or raise an error if it describes no run."""
    if not isinstance(content, dict):
        raise TypeError("it holds no names and values")
    if missing := sorted(set(REQUIRED) - set(content)):
        raise ValueError(f"it lacks {', '.join(missing)}")
    for name, kind in REQUIRED.items():
        if not isinstance(content[name], kind):
            raise TypeError(f"{name} is {reprlib.repr(content[name])}")
    _PHASES.validate_python(content["phases"])
    config = parse_config(content)
    get_experiment(config.experiment)
    facts, digest = config.facts(), config.digest(content["fingerprint"])
    stored = {name: content[name] for name in RunConfig.__annotations__ if name in content}
    if digest != content["digest"] or json.loads(json.dumps(facts)) != stored:
        raise ValueError(f"it was changed: it describes the run {digest}, not {content['digest']}")
    return content


def parse_config(content: Mapping[str, Any]) -> RunConfig:
    """Return the configuration in the content of a config.json."""
    return _RUN_CONFIG.validate_python(
        {name: content[name] for name in RunConfig.__annotations__ if name in content})


def check_history(rows: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Return the rows of a history as numbers, or raise an error if they are none."""
    history = [{name: float(value) for name, value in row.items()} for row in rows]
    if not history or not {"step", "dice", "seconds"} <= set(history[0]):
        raise ValueError("it lacks rows or columns")
    return history


def check_scores(content: Any, n_classes: int) -> dict[str, Scores]:
    """Return the scores in the content of a result.json, or raise an error if they are none."""
    if not {"val", "test"} <= set(content):
        raise ValueError("it lacks val or test")
    scores = {}
    for name, part in content.items():
        arrays: dict[str, Any] = {key: np.array(value) if isinstance(value, list) else value
                                  for key, value in part.items()}
        found = Scores(**arrays)
        counts, n = found.confusion, len(found.numbers)
        fits = counts.shape == (n, n_classes, n_classes) and found.noise_std.shape == (n,)
        kinds = counts.dtype.kind + found.numbers.dtype.kind + found.noise_std.dtype.kind
        if n == 0 or not fits or kinds not in ("iif", "iii") or counts.min() < 0:
            raise ValueError(f"{name} is no table of pixels")
        scores[name] = found
    return scores


def scores_to_dict(scores: Scores) -> dict[str, Any]:
    """Return scores as result.json holds them."""
    return {name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in vars(scores).items()}
