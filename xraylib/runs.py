"""Runs and their folders.

``runs/<experiment>/<digest>/`` holds ``config.json`` (parameters, data, versions, hardware),
``history.csv``, ``model.safetensors``, ``epochs/`` (weights during training), ``figures/``, during
training ``last.pt``, and ``result.json``, which is written last.
"""

import csv
import json
import os
import re
import reprlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from math import isfinite, isnan
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from .checkpoint import train_with_checkpoints
from .data import Phases
from .datasets import BUILT_IN, Dataset
from .device import environment_info, set_threads
from .errors import RunError, one_line_message
from .experiments import get_experiment
from .files import atomic_file, home, read_regular, remove_leftovers, write_json
from .inference import load_weights
from .metrics import Scores, evaluate
from .noise import noisy_copies
from .params import RunConfig
from .training import Recipe
from .unet import UNet

REQUIRED = {"digest": str, "fingerprint": str, "data": str, "note": str, "phases": dict,
            "recipe": dict, "device": str, "precision": str}
RUN_CONFIG, PHASES = TypeAdapter(RunConfig), TypeAdapter(Phases)


@dataclass(frozen=True)
class Run:
    """A complete run."""

    folder: Path  # of a published run: where it would be if it had been run here
    config: dict[str, Any]  # the content of config.json
    history: list[dict[str, float]]  # one row per evaluation
    scores: dict[str, Scores]  # of the sets "val", "test" and, with noise, "test_noisy"
    weights_file: Path = Path()  # of the best weights; may be missing
    published: str = ""  # name among the published runs, "" for other runs

    @property
    def place(self) -> str:
        """Where the run is, as text: a folder relative to `home()`, or a published run."""
        if self.published:
            return f"published run {self.published}"
        return os.path.relpath(self.folder, home())

    @property
    def phases(self) -> Phases:
        """The phases that its network segments."""
        return Phases.from_dict(self.config["phases"])

    @property
    def weights(self) -> Path:
        """The file of the best weights; raises `RunError` if there is none."""
        if self.weights_file.exists():
            return self.weights_file
        if self.published:
            raise RunError(f"{self.published} is published without weights, as most runs are. Set "
                           "use_published = False, so that the notebook trains its own.")
        raise RunError(f"{self.folder} holds no weights (model.safetensors). Delete this folder "
                       "and run its notebook again.")

    def model(self) -> UNet:
        """Load the best network, in evaluation mode; raises `RunError` if it has no weights."""
        return load_weights(self.weights)

    def snapshots(self) -> dict[int, Callable[[], UNet]]:
        """Return a loader of each snapshot, by step; without snapshots, of the best network."""
        name = f"{self.published}-snapshots" if self.published else "epochs"
        files = {step: self.weights_file.with_name(name) / f"{step:06d}.safetensors"
                 for step in (int(row["step"]) for row in self.history)}
        best = int(max(self.history, key=lambda row: row["dice"])["step"])
        return {step: partial(load_weights, path) for step, path in files.items()
                if path.exists()} or {best: self.model}


def folder_of(config: RunConfig, fingerprint: str) -> Path:
    """Return the folder of the run of this configuration on data with this fingerprint."""
    return home() / "runs" / config.experiment / config.digest(fingerprint)


def run_experiment(config: RunConfig, dataset: Dataset, use_published: bool = False,
                   progress: bool = True) -> Run:
    """Return the run of a configuration: read a complete run, resume a killed one, or train anew.

    Args:
        config, dataset: everything that the run depends on.
        use_published, progress: take a published run if none is complete here; show progress.
    Raises: DataError if the sets cannot be drawn, TrainingError if the loss is no longer finite.
    """
    from .published import find_published  # published.py imports this module

    folder = folder_of(config, dataset.fingerprint)
    if not (folder / "result.json").is_file():
        if use_published and (found := find_published(config, dataset.fingerprint)):
            return found
        _train(folder, config, dataset, progress)
    return load_run(folder)


def _train(folder: Path, config: RunConfig, dataset: Dataset, progress: bool) -> None:
    """Train a run, score its best weights, and write its folder."""
    drawn = config.draw(dataset.slices)
    for place in (folder, folder / "epochs", folder / "figures"):
        place.mkdir(parents=True, exist_ok=True)
        remove_leftovers(place)
    set_threads(_threads_of(folder))
    write_json(folder / "config.json", config.facts() | {
        "digest": config.digest(dataset.fingerprint), "fingerprint": dataset.fingerprint,
        "data": dataset.origin[1] or BUILT_IN, "note": drawn.note,
        "phases": dataset.slices.phases.to_dict(), **environment_info()})
    history, best = train_with_checkpoints(
        folder, config.recipe, drawn.train, drawn.val, config.seed, progress)
    n = get_experiment(config.experiment).scored
    val, test = drawn.val.subsample(n), dataset.test.subsample(n)
    sets = {"test": test} if len(test) else {}
    if config.noise_std and len(test):
        sets["test_noisy"] = noisy_copies(test, config.noise_std, config.seed)
    if not (np.array_equal(best.numbers, val.numbers)
            and np.array_equal(best.noise_std, val.noise_std)):  # not yet scored in training
        sets["val"] = val
    model = load_weights(folder / "model.safetensors")
    scores = {"val": best} | {name: evaluate(model, part) for name, part in sets.items()}
    with atomic_file(folder / "history.csv", "w", newline="") as file:
        table = csv.DictWriter(file, history[0])
        table.writeheader()
        table.writerows(history)
    write_json(folder / "result.json", {"digest": config.digest(dataset.fingerprint)} | {
        name: scores_to_dict(part) for name, part in scores.items()})
    (folder / "last.pt").unlink(missing_ok=True)


def _threads_of(folder: Path) -> int:
    """Return an interrupted run's number of threads, which affects the last bits, or else 0."""
    with suppress(OSError, ValueError, LookupError, TypeError):
        return max(0, int(json.loads((folder / "config.json").read_bytes())["threads"]))
    return 0


def load_run(folder: str | Path) -> Run:
    """Read a complete run; raises `RunError` if it is missing, incomplete or damaged."""
    folder = Path(folder)
    if not (folder / "result.json").is_file():
        raise RunError(f"{folder} holds no complete run (no result.json). Run its notebook, or "
                       "`make run`, to the end.")
    remedy = f"Delete {folder} and run its notebook again."
    with text_of(folder / "config.json", remedy) as text:
        config = check_config(json.loads(text))
        if re.fullmatch("[0-9a-f]{12}", folder.name) and folder.name != config["digest"]:
            raise ValueError(f"it is the config.json of the run {config['digest']}")
    with text_of(folder / "history.csv", remedy) as text:
        history = check_history(list(csv.DictReader(text.splitlines())), config["recipe"])
    with text_of(folder / "result.json", remedy) as text:
        scores = check_scores(json.loads(text), config)
    return Run(folder, config, history, scores, folder / "model.safetensors")


def config_of(run: Run) -> RunConfig:
    """Return the configuration of a run."""
    return RUN_CONFIG.validate_python(run.config)


@contextmanager
def text_of(path: Path, remedy: str) -> Iterator[str]:
    """Yield the text of a file; turn errors in reading it into a `RunError` with a remedy."""
    try:
        yield read_regular(path).decode()
    except PermissionError:
        raise
    except RunError as error:
        raise RunError(f"{path} {error}") from error
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
    if unknown := sorted(set(content["recipe"]) - set(Recipe.__annotations__)):
        raise RunError(f"was written by a newer version of the library: its recipe has "
                       f"{', '.join(unknown)}. Update the library, or move this run elsewhere.")
    PHASES.validate_python(content["phases"])
    config = RUN_CONFIG.validate_python(content)
    get_experiment(config.experiment)
    if (digest := config.digest(content["fingerprint"])) != content["digest"]:
        raise ValueError(f"it was changed: it describes the run {digest}, not {content['digest']}")
    for name, value in json.loads(json.dumps(config.facts())).items():
        if value != content[name]:
            raise ValueError(f"it was changed: {name} is {reprlib.repr(content[name])}")
    return content


def check_history(rows: list[dict[str, Any]], recipe: dict[str, Any]) -> list[dict[str, float]]:
    """Return the rows of a history as numbers, or raise an error if they do not fit the recipe."""
    history = [{name: float(value) for name, value in row.items()} for row in rows]
    if not history or not {"step", "dice", "seconds"} <= set(history[0]):
        raise ValueError("it lacks rows or columns")
    if recipe["steps"] and (len(history), history[-1]["step"]) != (
            recipe["evaluations"], recipe["steps"]):
        raise ValueError(f"it does not hold {recipe['evaluations']} rows up to step "
                         f"{recipe['steps']}")
    for number, row in enumerate(history, 1):
        for name, value in row.items():  # a phase that no slice contains has no Dice
            if not (isfinite(value) or isnan(value) and name.startswith("dice_")):
                raise ValueError(f"{name} is {value} in row {number}")
    return history


def check_scores(content: Any, config: dict[str, Any]) -> dict[str, Scores]:
    """Return the scores in the content of a result.json, or raise an error if they are invalid."""
    needed = {"val"} if "fold" in config else {"val", "test"}
    if not needed <= set(content):
        raise ValueError("it lacks val or test")
    if (digest := content.pop("digest", config["digest"])) != config["digest"]:
        raise ValueError(f"it is the result.json of the run {digest}")
    scores, n_classes = {}, len(config["phases"]["names"])
    for name, part in content.items():
        arrays: dict[str, Any] = {key: np.array(value) if isinstance(value, list) else value
                                  for key, value in part.items()}
        found = scores[name] = Scores(**arrays)
        counts, n = found.confusion, len(found.numbers)
        fits = counts.shape == (n, n_classes, n_classes) and found.noise_std.shape == (n,)
        kinds = counts.dtype.kind + found.numbers.dtype.kind + found.noise_std.dtype.kind
        if not fits or kinds not in ("iif", "iii") or not counts.any() or counts.min() < 0:
            raise ValueError(f"{name} is no table of pixels")
    return scores


def scores_to_dict(scores: Scores) -> dict[str, Any]:
    """Return scores in the form in which result.json holds them."""
    return {name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in vars(scores).items()}
