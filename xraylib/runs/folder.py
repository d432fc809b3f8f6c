"""One folder per run.

``runs/<experiment>/<digest>/`` holds ``config.json`` (parameters, data, versions, hardware), ``history.csv``,
``model.safetensors``, ``epochs/``, ``figures/``, while it trains ``last.pt``, and ``result.json``, written last.
"""

import csv
import json
import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..experiments import EXPERIMENTS
from ..files import clean, home, replace, said, shipped, write_json
from ..noise import noisy_copies
from ..predict.network import best_device, load_weights, precision
from ..predict.scores import Scores, evaluate
from ..slices.labelled import Slices
from ..slices.sets import BUILT_IN, SIZES, Source, built_in_fingerprint, distance_to, open_source, outline
from ..train import Recipe
from ..unet import UNet
from .checkpoint import train_in
from .profiles import Config, configure


class RunError(RuntimeError):
    """A run is missing, incomplete or damaged; the message names the folder and what to do."""


@dataclass(frozen=True)
class Run:
    """A complete run, read from its folder. ``scores``: by set, "val" (as the experiment validates), "test" (the block
    that nothing was chosen on) and, where the run has to do with noise, "test_noisy" (the same block with it)."""

    folder: Path
    config: dict
    history: list[dict[str, float]]
    scores: dict[str, Scores]

    @property
    def place(self) -> str:
        """The folder, for people: seen from where data/ and runs/ are."""
        return os.path.relpath(self.folder, home())

    @property
    def weights(self) -> Path:
        """The file of the best weights. Raises `RunError` where a published run comes without them."""
        path = self.folder / "model.safetensors"
        if not path.exists():
            raise RunError(f"{self.folder} holds no weights (model.safetensors); few of the published runs do: set "
                           "reuse = False in the notebook, so that it trains its own.")
        return path

    def model(self) -> UNet:
        """The best network, in evaluation mode. Raises `RunError`, as `weights` does."""
        return load_weights(self.weights)


def folder_of(config: Config, fingerprint: str, below: Path | None = None) -> Path:
    """Where the run of this configuration lies, or would lie: below home()/runs, or this folder."""
    return (below or home() / "runs") / config.experiment / config.digest(fingerprint)


def execute(config: Config, source: Source, reuse: bool = False, bar: bool = True) -> Run:
    """The run of this configuration on these data: read if it is complete, resumed if it was killed, else trained.

    ``reuse``: where it is not complete here but came with the library, in ``data/published/``, read that one.
    ``bar``: show the progress of training. Raises `DataError` where its sets cannot be drawn, `TrainingError`.
    """
    folder = folder_of(config, source.fingerprint)
    published = folder_of(config, source.fingerprint, shipped() / "published")
    if reuse and not (folder / "result.json").exists() and (published / "result.json").exists():
        return load(published)
    if not (folder / "result.json").exists():
        drawn = config.draw(source.slices)
        (folder / "figures").mkdir(parents=True, exist_ok=True)
        for place in (folder, folder / "epochs"):
            clean(place)
        write_json(folder / "config.json", config.facts() | {
            "data": source.name, "fingerprint": source.fingerprint, "note": drawn.note, **circumstances()})
        history, best = train_in(folder, config.recipe, drawn.train, drawn.val, config.seed, bar)
        scores = score(load_weights(folder / "model.safetensors"), config, drawn.val, source.test, best)
        write_history(folder / "history.csv", history)
        write_json(folder / "result.json", {name: pack(part) for name, part in scores.items()})
        (folder / "last.pt").unlink(missing_ok=True)
    return load(folder)


def published(experiment: str, n_seeds: int = 3, **parameters) -> list[Run]:
    """Runs that came with the library, seeds 0 to n_seeds - 1: on built-in slices, laptop profile unless it is said.

    Raises `RunError` where there are none.
    """
    configs = [configure(experiment, {"profile": "laptop"} | parameters, seed=seed) for seed in range(n_seeds)]
    fingerprint = built_in_fingerprint(configs[0].profile)
    places = [folder_of(config, fingerprint, shipped() / "published") for config in configs]
    if not all((place / "result.json").exists() for place in places):
        raise RunError(f"{experiment} with {parameters} is not among the published runs of data/published/.")
    return [load(place) for place in places]


def published_rows(name: str) -> list[dict]:
    """The rows of a table that came with the library, ``data/published/NAME.json``: too long to be made by a reader."""
    return json.loads((shipped() / "published" / f"{name}.json").read_text())["rows"]


def distances(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Of each validation slice of a run on built-in slices: the distance to the nearest training slice, and Dice."""
    numbers, val = np.arange(1, SIZES[run.config["profile"]][0] + 1), run.scores["val"]
    return distance_to(config_of(run).draw(outline(numbers)).train.numbers, val.numbers), val.dice.mean(1)


def score(model: UNet, config: Config, val: Slices, test: Slices, best: Scores) -> dict[str, Scores]:
    """The scores of a run's best weights, by set. ``best``: what training saw of them; what it looked at is kept."""
    few = EXPERIMENTS[config.experiment].scored
    val, test = val.some(few), test.some(few)
    sets = {"test": test}
    if config.noise_std:
        sets["test_noisy"] = noisy_copies(test, config.noise_std, config.seed)
    seen = np.array_equal(best.numbers, val.numbers) and np.array_equal(best.noise_std, val.noise_std)
    if not seen:
        sets["val"] = val
    scores = {name: evaluate(model, part) for name, part in sets.items()}
    return {"val": best} | scores


def circumstances() -> dict:
    """Versions and hardware, for ``config.json``."""
    device = best_device()
    return {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__,
            "device": torch.cuda.get_device_name() if device.type == "cuda" else "CPU",
            "processor": platform.processor() or platform.machine(), "cores": os.cpu_count(),
            "threads": torch.get_num_threads(), "precision": precision(device)}


def pack(scores: Scores) -> dict:
    """Scores as result.json holds them."""
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in vars(scores).items()}


def unpack(content: dict) -> Scores:
    """The opposite of `pack`."""
    return Scores(**{name: np.array(value) if isinstance(value, list) else value for name, value in content.items()})


def write_history(path: Path, history: list[dict[str, float]]) -> None:
    """The history as a table, whole or not at all."""
    def write(part: Path) -> None:
        with part.open("w", newline="") as file:
            table = csv.DictWriter(file, history[0])
            table.writeheader()
            table.writerows(history)
    replace(path, write)


def load(folder: str | Path) -> Run:
    """Read a complete run. Raises `RunError` for a missing, incomplete or damaged folder."""
    folder = Path(folder)
    if not (folder / "result.json").exists():
        raise RunError(f"{folder} holds no complete run (no result.json); run its notebook, or `make run`, to the end.")
    parts = []
    for name, read in (("config.json", _config), ("history.csv", _history), ("result.json", _scores)):
        try:
            parts.append(read(folder / name))
        except PermissionError:
            raise
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, csv.Error) as error:
            raise RunError(f"{folder / name} is damaged ({said(error)}); delete {folder}, and run its notebook "
                           "again.") from error
    return Run(folder, *parts)


def _config(path: Path) -> dict:
    content = json.loads(path.read_text())
    lacking = {"fingerprint", "data", "note", "recipe"} - set(content)
    if lacking:
        raise ValueError(f"it lacks {', '.join(sorted(lacking))}")
    digest = _configured(content).digest(content["fingerprint"])
    if re.fullmatch("[0-9a-f]{12}", path.parent.name) and path.parent.name != digest:   # else it was renamed on purpose
        raise ValueError(f"it was changed: what it says is the run {digest}")
    return content


def _history(path: Path) -> list[dict[str, float]]:
    with path.open(newline="") as file:
        history = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    if not history or not {"step", "dice", "seconds"} <= set(history[0]):
        raise ValueError("it lacks rows or columns")
    return history


def _scores(path: Path) -> dict[str, Scores]:
    sets = json.loads(path.read_text())
    if not {"val", "test"} <= set(sets):
        raise ValueError("it lacks val or test")
    found = {name: unpack(part) for name, part in sets.items()}
    for name, scores in found.items():
        counts, n = scores.confusion, len(scores.numbers)
        fits = (counts.shape, scores.numbers.shape, scores.noise_std.shape) == ((n, 3, 3), (n,), (n,))
        if n == 0 or not fits or counts.dtype.kind != "i" or counts.min() < 0:
            raise ValueError(f"{name} is no table of pixels")
    return found


def config_of(run: Run) -> Config:
    """The configuration that a run was made from."""
    return _configured(run.config)


def _configured(content: dict) -> Config:
    facts = {name: content[name] for name in Config.__annotations__ if name in content}
    recipe = Recipe(**{name: tuple(value) if isinstance(value, list) else value     # JSON has no tuples
                       for name, value in facts["recipe"].items()})
    return Config(**facts | {"recipe": recipe})


def source_of(run: Run) -> Source:
    """The data that a run was made from, opened again. Raises `RunError` where they have changed."""
    name = run.config["data"]
    source = open_source(run.config["profile"], "" if name == BUILT_IN else name)
    if source.fingerprint != run.config["fingerprint"]:
        raise RunError(f"the data of {run.folder} ({name}) have changed since; run its notebook again.")
    return source
