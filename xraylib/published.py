"""The runs, tables and networks that come with the library, in ``data/published/``.

``<experiment>.json`` holds the runs of an experiment, one per line. ``weights/`` holds the weights
of some of them, ``tables/`` what took too long to compute in a notebook, and ``networks.json`` the
networks that have a short name.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save

from . import records
from .datasets import built_in_fingerprint
from .errors import RunError, WeightsError
from .experiments import EXPERIMENTS
from .files import expand_user, load_plugins, packaged_data
from .inference import read_weights
from .params import RunConfig, configure
from .runs import Run, folder_of, load_run
from .training import TRANSFORMS
from .unet import UNet

REMEDY = "It came with the library: install the library again."


@dataclass(frozen=True)
class NamedNetwork:
    """A published network with a short name."""

    file: Path  # its weights
    good_for: str  # one sentence
    experiment: str  # that trained it
    dice: dict[str, float]  # of the built-in test set, 0..1: "clean", "noisy" (noise of 5,000)


def published(experiment: str, n_seeds: int = 3, **parameters: Any) -> list[Run]:
    """Return the published runs with the seeds 0 to n_seeds - 1, on the built-in data.

    Args:
        experiment: Name of the experiment.
        n_seeds: Number of runs.
        parameters: What differs from the laptop profile.

    Raises:
        RunError: One of them is not published.
    """
    configs = [configure(experiment, {"profile": "laptop"} | parameters, seed=seed)
               for seed in range(n_seeds)]
    runs = [find_published(config, built_in_fingerprint(config.profile)) for config in configs]
    if None in runs:
        raise RunError(f"{experiment} with {parameters} is not among the published runs.")
    return [run for run in runs if run]


def find_published(config: RunConfig, fingerprint: str) -> Run | None:
    """Return the published run of this configuration on data with this fingerprint, if any."""
    digest = config.digest(fingerprint)
    return next((run for run in published_runs(config.experiment)
                 if run.config["digest"] == digest), None)


def published_runs(experiment: str = "") -> list[Run]:
    """Return all published runs of an experiment, or of all experiments."""
    if not experiment:
        load_plugins()
        return [run for name in EXPERIMENTS for run in published_runs(name)]
    path = _folder() / f"{experiment}.json"
    return _read_runs(path, path.stat().st_mtime_ns) if path.exists() else []


@lru_cache(maxsize=32)
def _read_runs(path: Path, _changed: int) -> list[Run]:
    """Read the runs of an experiment, once per version of the file."""
    runs = []
    with records.damage_as_run_error(path, REMEDY):
        for row in json.loads(path.read_text())["runs"]:
            config = records.check_config(row["config"])
            folder = folder_of(records.parse_config(config), config["fingerprint"])
            history = records.check_history(row["history"])
            scores = records.check_scores(row["scores"], len(config["phases"]["names"]))
            weights = path.parent / "weights" / f"{row['name']}.safetensors"
            runs.append(Run(folder, config, history, scores, weights, row["name"]))
    return runs


def published_snapshots(name: str) -> dict[int, Callable[[], UNet]]:
    """Return what loads the networks kept during the training of a published run, by step."""
    path = _folder() / "weights" / f"{name}-snapshots.safetensors"
    if not path.exists():
        return {}
    with safe_open(path, "pt") as file:
        steps = sorted({tensor.partition("/")[0] for tensor in file.keys()})  # noqa: SIM118
    return {int(step): partial(_load_snapshot, path, f"{step}/") for step in steps}


def _load_snapshot(path: Path, prefix: str) -> UNet:
    """Load the network whose tensors have this prefix."""
    with safe_open(path, "pt") as file:
        tensors = {name.removeprefix(prefix): file.get_tensor(name)
                   for name in file.keys() if name.startswith(prefix)}  # noqa: SIM118
        return read_weights(save(tensors, file.metadata()), path)


def published_rows(name: str) -> list[dict[str, Any]]:
    """Return the rows of a table: methods, noisy, three_d, unlabelled, real or batch_norm.

    Raises:
        RunError: The table is missing or damaged.
    """
    path = _folder() / "tables" / f"{name}.json"
    with records.damage_as_run_error(path, REMEDY):
        return json.loads(path.read_text())["rows"]


def named_networks() -> dict[str, NamedNetwork]:
    """Return the published networks by their short names."""
    path = _folder() / "networks.json"
    with records.damage_as_run_error(path, REMEDY):
        rows = json.loads(path.read_text())
        return {name: NamedNetwork(**row | {"file": _folder() / row["file"]})
                for name, row in rows.items()}


def network_file(name_or_path: str | Path) -> Path:
    """Return the weights file of a short name, a weights file or the folder of a run.

    Raises:
        RunError: The folder holds no complete run.
        WeightsError: There is no such name, file or folder.
    """
    networks, path = named_networks(), expand_user(name_or_path)
    if str(name_or_path) in networks:
        return networks[str(name_or_path)].file
    if path.is_dir():
        return load_run(path).weights
    if not path.exists():
        raise WeightsError(f"{name_or_path} is neither a file, a run folder nor the name of a "
                           f"published network. The names are {', '.join(networks)}.")
    return path


def run_name(config: RunConfig) -> str:
    """Name a published run by its differences from the defaults: "01_baseline-block-seed1"."""
    usual = configure(config.experiment, profile=config.profile, seed=config.seed)
    hidden = {"recipe", "noise_std_max", "n_train" if config.slice_share else ""}
    parts = [config.experiment, *([config.profile] if config.profile != "laptop" else [])]
    for mine, other in ((config, usual), (config.recipe, usual.recipe)):
        for name in (field.name for field in fields(mine) if field.name not in hidden):
            if (value := getattr(mine, name)) != getattr(other, name):
                parts.append(_describe(name, value))
    return "-".join([*parts, f"seed{config.seed}"])


def _describe(name: str, value: Any) -> str:
    """Write one value of a configuration as a part of a file name."""
    if isinstance(value, bool):
        return name if value else f"no_{name}"
    if isinstance(value, int | float):
        return f"{name}{value:g}"
    if value == TRANSFORMS:
        return "all_transforms"
    return "+".join(value) if isinstance(value, tuple) else value


def _folder() -> Path:
    """Return the folder of all that is published."""
    return packaged_data() / "published"
