"""The runs, tables and networks that come with the library, in ``data/published/``.

``<experiment>.json`` holds the runs of an experiment, one per line. ``weights/`` holds the weights
of some of them, ``tables/`` what took too long to compute in a notebook, and ``networks.json`` the
networks that have a short name.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from .datasets import built_in_fingerprint
from .errors import RunError, WeightsError
from .experiments import EXPERIMENTS
from .files import REINSTALL, expand_user, home, load_plugins, packaged_data
from .params import RunConfig, configure
from .runs import Run, check_config, check_history, check_scores, load_run, text_of


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
        experiment, n_seeds, parameters: parameters are those that differ from the laptop profile.
    Raises: RunError if one of them is not published.
    """
    runs = []
    for seed in range(n_seeds):
        config = configure(experiment, {"profile": "laptop"} | parameters, seed=seed)
        run = find_published(config, built_in_fingerprint(config.profile))
        if not run:
            raise RunError(f"{experiment} with {parameters} is not among the published runs.")
        runs.append(run)
    return runs


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
    return _read_runs(path, path.stat().st_mtime_ns, home()) if path.exists() else []


@lru_cache(maxsize=32)
def _read_runs(path: Path, _changed: int, place: Path) -> list[Run]:
    """Read the runs of an experiment, once per version of the file."""
    runs = []
    with text_of(path, REINSTALL) as text:
        for row in _rows_in(text, "runs"):
            config = check_config(row["config"])
            folder = place / "runs" / config["experiment"] / config["digest"]
            scores = check_scores(row["scores"], config)
            weights = path.parent / "weights" / f"{row['name']}.safetensors"
            runs.append(Run(folder, config,
                            check_history(row["history"], config["recipe"]), scores, weights,
                            row["name"]))
    return runs


def published_rows(name: str) -> list[dict[str, Any]]:
    """Return the rows of a table in ``tables/``; raises `RunError` if it is missing or damaged."""
    with text_of(_folder() / "tables" / f"{name}.json", REINSTALL) as text:
        return _rows_in(text, "rows")


def checksum(rows: list[dict[str, Any]]) -> str:
    """Return the checksum of rows, which a published file holds beside them."""
    return hashlib.blake2b(json.dumps(rows).encode(), digest_size=8).hexdigest()


def _rows_in(text: str, name: str) -> list[dict[str, Any]]:
    """Return the rows in a published file, or raise an error if they were changed."""
    content = json.loads(text)
    if content["checksum"] != checksum(content[name]):
        raise ValueError("its rows were changed")
    return content[name]


def named_networks() -> dict[str, NamedNetwork]:
    """Return the published networks by their short names."""
    with text_of(_folder() / "networks.json", REINSTALL) as text:
        return {name: NamedNetwork(**row | {"file": _folder() / row["file"]})
                for name, row in json.loads(text).items()}


def own_networks() -> dict[str, Path]:
    """Return the weights files of the networks that the reader has named (`train --name`)."""
    return {path.stem: path for path in sorted((home() / "networks").glob("*.safetensors"))}


def network_file(name_or_path: str | Path) -> Path:
    """Return the weights file of a network, given its name, its file or the folder of its run.
    Raises: RunError if a folder holds no complete run, WeightsError if there is no such network.
    """
    known = own_networks() | {name: network.file for name, network in named_networks().items()}
    path = known.get(str(name_or_path)) or expand_user(name_or_path)
    if path.is_dir():
        return load_run(path).weights
    if not path.exists():
        raise WeightsError(f"{name_or_path} is neither a file, a run folder nor the name of a "
                           f"network. The names are {', '.join(known)}.")
    return path


def _folder() -> Path:
    """Return the folder of the published files."""
    return packaged_data() / "published"
