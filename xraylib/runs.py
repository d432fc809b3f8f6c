"""One folder per run, and tables over runs.

``runs/<experiment>/<digest>/`` holds ``config.json`` (parameters, data, versions, hardware), ``history.csv``,
``model.safetensors``, ``epochs/``, ``figures/``, while it trains ``last.pt``, and ``result.json``, written last.
"""

import csv
import json
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from .data import PHASES
from .noise import noisy_copies
from .predict import best_device, fast_bf16, load_weights, replace
from .profiles import Config, Recipe
from .scores import Scores, evaluate
from .sets import BUILT_IN, Sets, Source, home, open_source, shipped
from .train import fit
from .unet import UNet

POSTER = {  # what the poster trained and validated on, and its Dice in per cent (single runs)
    "01_baseline": ("400 random images; 100 random images", "99.105"),
    "02_noisy_train": ("540 of originals and noisy copies; 60 likewise", "99.08"),
    "03_noisy_val": ("480 originals; 60 originals and 60 noisy copies", "66.48 at best, 63.65 in the end"),
    "04_size_sweep": ("5 images; the baseline's", "98.667 with 5 images"),
}
TITLES = {"val": "validation", "test": "test block", "test_noisy": "test block, noisy"}


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

    def model(self) -> UNet:
        """The best network, in evaluation mode. Raises `RunError` where a published run comes without its weights."""
        if not (self.folder / "model.safetensors").exists():
            raise RunError(f"{self.folder} holds no weights (model.safetensors): few of the published runs do; "
                           "set reuse = False in the notebook, so that it trains its own.")
        return load_weights(self.folder / "model.safetensors")


def write_json(path: Path, content: dict) -> None:
    replace(path, lambda part: part.write_text(json.dumps(content, indent=1) + "\n"))


def circumstances() -> dict:
    """Versions and hardware, for ``config.json``."""
    device = best_device()
    return {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__,
            "device": torch.cuda.get_device_name() if device.type == "cuda" else "CPU",
            "processor": platform.processor() or platform.machine(), "cores": os.cpu_count(),
            "threads": torch.get_num_threads(), "precision": "bf16 autocast" if fast_bf16(device) else "float32"}


def folder_of(config: Config, fingerprint: str, below: Path | None = None) -> Path:
    """Where the run of this configuration lies, or would lie: below home()/runs, or this folder."""
    return (below or home() / "runs") / config.experiment / config.digest(fingerprint)


def execute(config: Config, sets: Sets, reuse: bool = False, bar: bool = True) -> Run:
    """The run of this configuration on these sets: read if it is complete, resumed if it was killed, else trained.

    ``reuse``: where it is not complete here but came with the library, in ``data/published/``, read that one.
    ``bar``: show the progress of training.
    """
    folder = folder_of(config, sets.fingerprint)
    published = folder_of(config, sets.fingerprint, shipped() / "published")
    if reuse and not (folder / "result.json").exists() and (published / "result.json").exists():
        return load(published)
    if not (folder / "result.json").exists():
        (folder / "figures").mkdir(parents=True, exist_ok=True)
        write_json(folder / "config.json", asdict(config) | {
            "data": sets.name, "fingerprint": sets.fingerprint, "note": sets.note, **circumstances()})
        history = fit(config.recipe, sets.train, sets.val, config.seed, folder, bar)
        model = load_weights(folder / "model.safetensors")
        scored = {"val": sets.val, "test": sets.test}
        if config.noise_std:
            scored["test_noisy"] = noisy_copies(sets.test, config.noise_std, config.seed)
        scores = {name: pack(evaluate(model, part)) for name, part in scored.items()}
        write_history(folder / "history.csv", history)
        write_json(folder / "result.json", scores)
        for rest in (folder / "last.pt", *folder.rglob("*.part*")):     # and what a killed process was writing
            rest.unlink(missing_ok=True)
    return load(folder)


def pack(scores: Scores) -> dict:
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in vars(scores).items()}


def unpack(content: dict) -> Scores:
    return Scores(**{name: np.array(value) if isinstance(value, list) else value for name, value in content.items()})


def write_history(path: Path, history: list[dict[str, float]]) -> None:
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
    try:
        with (folder / "history.csv").open(newline="") as file:
            history = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
        scores = {name: unpack(part) for name, part in json.loads((folder / "result.json").read_text()).items()}
        return Run(folder, json.loads((folder / "config.json").read_text()), history, scores)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunError(f"{folder} is damaged ({error}); delete the folder and run its notebook again.") from error


def config_of(run: Run) -> Config:
    """The configuration that a run was made from."""
    names = {name: run.config[name] for name in Config.__annotations__}
    return Config(**names | {"recipe": Recipe(**names["recipe"])})


def source_of(run: Run) -> Source:
    """The data that a run was made from, opened again. Raises `RunError` where they have changed."""
    name = run.config["data"]
    source = open_source(run.config["profile"], "" if name == BUILT_IN else name)
    if source.fingerprint != run.config["fingerprint"]:
        raise RunError(f"the data of {run.folder} ({name}) have changed since; run its notebook again.")
    return source


# -- tables -----------------------------------------------------------------------------------------------------------


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def percent(values: list[float]) -> str:
    """Mean and, over several runs, standard deviation, in per cent of Dice: '98.91 ± 0.04'."""
    spread = f" ± {100 * np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
    return f"{100 * np.mean(values):.2f}{spread}"


def dice_table(found: list[Run]) -> str:
    """Dice in per cent, by set and phase; mean ± standard deviation over the runs (seeds)."""
    rows = []
    for name, title in TITLES.items():
        if name not in found[0].scores:
            continue
        dice = np.array([run.scores[name].dice.mean(0) for run in found])
        rows.append([title, str(len(found[0].scores[name].numbers)), f"**{percent(dice.mean(1))}**",
                     *(percent(dice[:, phase]) for phase in range(len(PHASES)))])
    return markdown(["Dice, %", "images", "mean", *PHASES], rows)


def against_poster(found: list[Run]) -> str:
    """The table of an experiment: the poster's, ours, what differs. ``found``: its runs, one a seed."""
    config, recipe = found[0].config, found[0].config["recipe"]
    trained_on, number = POSTER[config["experiment"]]
    length = f"{recipe['steps']} steps" if recipe["steps"] else f"{recipe['epochs']} epochs"
    crop = f"{recipe['batch']} crops of {recipe['crop']} px" if recipe["crop"] else "whole slices, one at a time"
    optimiser = {"rmsprop": "RMSprop, lr lowered on a plateau", "adamw": "AdamW, one-cycle"}[recipe["optimiser"]]
    return markdown(["", "poster", "here"], [
        ["validation Dice, %", f"**{number}**", f"**{percent([run.scores['val'].mean for run in found])}**"],
        ["test block Dice, %", "none", percent([run.scores["test"].mean for run in found])],
        ["runs", "1", str(len(found))],
        ["data", "500 slices, 501 x 501 px", config["data"]],
        ["training; validation", trained_on, config["note"]],
        ["network", "U-Net 64 x 4", f"U-Net {recipe['width']} x {recipe['depth']}"],
        ["optimiser", "RMSprop, lr lowered on a plateau", optimiser],
        ["a step sees", "a whole slice", crop],
        ["length", "200 epochs", length],
        ["a phase absent from truth and prediction (counts 1)", "not said",
         f"{sum(run.scores['val'].absent for run in found)} times"],
    ])


def complete() -> list[Run]:
    """Every complete run under ``runs/``."""
    return [load(result.parent) for result in sorted((home() / "runs").glob("*/*/result.json"))]


def summary(all_runs: list[Run]) -> str:
    """A table over runs beside the poster's numbers, grouped over seeds."""
    groups: dict[tuple, list[Run]] = {}
    for run in all_runs:
        key = {name: value for name, value in run.config.items() if name in Config.__annotations__ and name != "seed"}
        groups.setdefault((json.dumps(key, sort_keys=True), run.config["fingerprint"]), []).append(run)
    rows = []
    order = ("experiment", "data", "split", "profile")
    for found in sorted(groups.values(), key=lambda found: (*(found[0].config[name] for name in order),
                                                            found[0].config["n_train"] or 0)):
        config = found[0].config
        rows.append([config["experiment"], config["profile"], config["data"], config["split"],
                     ", ".join(str(run.config["seed"]) for run in found), POSTER[config["experiment"]][1],
                     *(percent([run.scores[name].mean for run in found]) if name in found[0].scores else ""
                       for name in TITLES),
                     f"{np.mean([run.history[-1]['seconds'] for run in found]):.0f}", config["note"]])
    return markdown(["experiment", "profile", "data", "split", "seeds", "poster, Dice %", *TITLES.values(),
                     "training, s", "how"], rows)
