"""Runs and their folders.

``runs/<experiment>/<digest>/`` holds ``config.json`` (parameters, data, versions, hardware),
``history.csv``, ``model.safetensors``, ``epochs/`` (weights during training), ``figures/``, during
training ``last.pt``, and ``result.json``, which is written last.
"""

import csv
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from . import records
from .checkpoint import train_with_checkpoints
from .data import Phases, Slices
from .datasets import BUILT_IN, SIZES, Dataset, distance_to_training, dummy_slices, open_dataset
from .device import environment_info
from .errors import RunError
from .experiments import get_experiment
from .files import atomic_file, home, remove_leftovers, write_json
from .inference import load_weights
from .metrics import Scores, evaluate
from .noise import noisy_copies
from .params import RunConfig
from .unet import UNet


@dataclass(frozen=True)
class Run:
    """A complete run.

    Its scores are those of "val" (the experiment's validation set), "test" (the test set) and, if
    the run involves noise, "test_noisy" (the test set with noise).
    """

    folder: Path  # of a published run: where it would be if it had been run here
    config: dict[str, Any]  # the content of config.json
    history: list[dict[str, float]]  # one row per evaluation
    scores: dict[str, Scores]
    weights_file: Path | None = None  # the best weights
    published: str = ""  # its name among the published runs

    @property
    def place(self) -> str:
        """Where it is, for people: a folder relative to `home()`, or a published run."""
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
        if self.weights_file and self.weights_file.exists():
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
        """Return loaders of the networks kept during training, by step, else of the best one."""
        from .published import published_snapshots  # published.py imports this module

        if self.published:
            kept = published_snapshots(self.published)
        else:
            kept = {int(path.stem): partial(load_weights, path)
                    for path in sorted((self.folder / "epochs").glob("*.safetensors"))}
        best = int(max(self.history, key=lambda row: row["dice"])["step"])
        return kept or {best: self.model}


def folder_of(config: RunConfig, fingerprint: str) -> Path:
    """Return the folder of the run of this configuration on data with this fingerprint."""
    return home() / "runs" / config.experiment / config.digest(fingerprint)


def run_experiment(config: RunConfig, dataset: Dataset, use_published: bool = False,
                   progress: bool = True) -> Run:
    """Return the run of a configuration: read if complete, resumed if it was killed, else trained.

    Args:
        config: Everything that the run depends on besides its data.
        dataset: The data.
        use_published: If it is not complete here, take the published run if there is one.
        progress: Show a progress bar while training.

    Raises:
        DataError: The sets cannot be drawn from the data.
        TrainingError: The training loss is no longer finite.
    """
    from .published import find_published  # published.py imports this module

    folder = folder_of(config, dataset.fingerprint)
    if not (folder / "result.json").exists():
        found = find_published(config, dataset.fingerprint) if use_published else None
        if found:
            return found
        _train(folder, config, dataset, progress)
    return load_run(folder)


def _train(folder: Path, config: RunConfig, dataset: Dataset, progress: bool) -> None:
    """Train and score a run, and write its folder."""
    drawn = config.draw(dataset.slices)
    for place in (folder, folder / "epochs", folder / "figures"):
        place.mkdir(parents=True, exist_ok=True)
        remove_leftovers(place)
    write_json(folder / "config.json", config.facts() | {
        "digest": config.digest(dataset.fingerprint), "fingerprint": dataset.fingerprint,
        "data": dataset.origin[1] or BUILT_IN, "note": drawn.note,
        "phases": dataset.slices.phases.to_dict(), **environment_info()})
    history, best = train_with_checkpoints(
        folder, config.recipe, drawn.train, drawn.val, config.seed, progress)
    model = load_weights(folder / "model.safetensors")
    scores = _score(model, config, drawn.val, dataset.test, best)
    with atomic_file(folder / "history.csv", "w", newline="") as file:
        table = csv.DictWriter(file, history[0])
        table.writeheader()
        table.writerows(history)
    result = {name: records.scores_to_dict(part) for name, part in scores.items()}
    write_json(folder / "result.json", result)
    (folder / "last.pt").unlink(missing_ok=True)


def _score(model: UNet, config: RunConfig, val: Slices, test: Slices,
           best: Scores) -> dict[str, Scores]:
    """Score the best weights on each set, but not again on what training saw (`best`)."""
    n = get_experiment(config.experiment).scored
    val, test = val.subsample(n), test.subsample(n)
    sets = {"test": test}
    if config.noise_std:
        sets["test_noisy"] = noisy_copies(test, config.noise_std, config.seed)
    if not (np.array_equal(best.numbers, val.numbers)
            and np.array_equal(best.noise_std, val.noise_std)):
        sets["val"] = val
    return {"val": best} | {name: evaluate(model, part) for name, part in sets.items()}


# -- reading ---------------------------------------------------------------------------------------


def load_run(folder: str | Path) -> Run:
    """Read a complete run.

    Raises:
        RunError: The folder is missing, or the run is incomplete or damaged.
    """
    folder = Path(folder)
    if not (folder / "result.json").exists():
        raise RunError(f"{folder} holds no complete run (no result.json). Run its notebook, or "
                       "`make run`, to the end.")
    remedy = f"Delete {folder} and run its notebook again."
    with records.damage_as_run_error(folder / "config.json", remedy):
        config = records.check_config(json.loads((folder / "config.json").read_text()))
        if re.fullmatch("[0-9a-f]{12}", folder.name) and folder.name != config["digest"]:
            raise ValueError(f"it is the config.json of the run {config['digest']}")
    with records.damage_as_run_error(folder / "history.csv", remedy):
        rows = csv.DictReader((folder / "history.csv").read_text().splitlines())
        history = records.check_history(list(rows))
    with records.damage_as_run_error(folder / "result.json", remedy):
        scores = records.check_scores(json.loads((folder / "result.json").read_text()),
                              len(config["phases"]["names"]))
    return Run(folder, config, history, scores, folder / "model.safetensors")


def config_of(run: Run) -> RunConfig:
    """Return the configuration of a run."""
    return records.parse_config(run.config)


def dataset_of(run: Run) -> Dataset:
    """Open the data of a run again.

    Raises:
        DataError: They cannot be read.
        RunError: They have changed since.
    """
    data = run.config["data"]
    dataset = open_dataset(run.config["profile"], "" if data == BUILT_IN else data)
    if dataset.fingerprint != run.config["fingerprint"]:
        raise RunError(f"The data of {run.place} ({data}) have changed since. Run its notebook "
                       "again.")
    return dataset


def training_distances(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Return the distance of each built-in validation slice to the training set, and its Dice."""
    numbers, val = np.arange(1, SIZES[run.config["profile"]][0] + 1), run.scores["val"]
    train = config_of(run).draw(dummy_slices(numbers)).train
    return distance_to_training(train.numbers, val.numbers), val.dice.mean(1)
