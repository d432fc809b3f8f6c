"""Make all that is in data/published/, which the notebooks show.

    python tools/publish.py           before the notebooks are executed in place (`make publish`)
    python tools/publish.py FOLDER    only the table of the real slices, which are in this folder

These are the notebooks' own runs (laptop profile, built-in data, seeds 0 to 2) and what takes too
long for a reader: other splits, the poster's recipe on a smaller network, more sizes and steps,
methods without a network. That takes three hours on 2 cores the first time; complete runs are
kept. `published.py` says what is stored where.
"""

import json
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from published_runs import (
    NETWORKS,
    configs,
    has_snapshots,
    has_weights,
    laptop_config,
    run_name,
)
from published_tables import (
    Row,
    method_rows,
    noise_rows,
    real_rows,
    repair_rows,
    stack_rows,
    unlabelled_rows,
)

from xraylib.data import Slices
from xraylib.datasets import Dataset, open_dataset
from xraylib.figures import compare_predictions
from xraylib.files import atomic_file, packaged_data, write_json
from xraylib.inference import predict, recalibrate_batch_norm, save_weights
from xraylib.metrics import evaluate
from xraylib.noise import noisy_copies
from xraylib.outlook.robustness import best_kind
from xraylib.outlook.scores import evaluate_under_noise
from xraylib.params import RunConfig
from xraylib.published import checksum, published, published_rows
from xraylib.runs import Run, run_experiment, scores_to_dict
from xraylib.sweep import run_sweep
from xraylib.tables import headline_dice
from xraylib.unet import UNet

TABLES = packaged_data() / "published" / "tables"


def write_rows(path: Path, name: str, rows: Iterable[Row]) -> None:
    """Write rows as JSON, one per line, under one name, and their checksum."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = list(rows)
    lines = ",\n".join(json.dumps(row, separators=(",", ":"), ensure_ascii=False) for row in rows)
    with atomic_file(path, "w", encoding="utf-8") as file:
        file.write(f'{{"{name}":[\n{lines}\n],\n"checksum":"{checksum(rows)}"}}\n')


# -- runs ------------------------------------------------------------------------------------------


def natural_order(text: str) -> list[str | int]:
    """Return a key that sorts names as people do: n_train5 before n_train10."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", text)]


def write_runs(runs: dict[RunConfig, Run], with_weights: set[RunConfig], folder: Path) -> None:
    """Write one table per experiment, and the weights of some runs."""
    by_name = {run_name(config): config for config in runs}
    assert len(by_name) == len(runs), "two runs have the same name"
    rows: dict[str, list[Row]] = {}
    for name in sorted(by_name, key=natural_order):
        config, run = by_name[name], runs[by_name[name]]
        scores = {part: scores_to_dict(each) for part, each in run.scores.items()}
        rows.setdefault(config.experiment, []).append({
            "name": name, "digest": run.config["digest"], "config": run.config,
            "history": run.history, "scores": scores})
        if config in with_weights:
            save_weights(run.model(), folder / "weights" / f"{name}.safetensors", half=True)
        if has_snapshots(config):
            snapshots = folder / "weights" / f"{name}-snapshots"
            snapshots.mkdir()
            for step, load in run.snapshots().items():
                save_weights(load(), snapshots / f"{step:06d}.safetensors", half=True)
    for experiment, part in rows.items():
        write_rows(folder / f"{experiment}.json", "runs", part)


def name_networks(dataset: Dataset, folder: Path) -> None:
    """Write which networks have a name, with the Dice of the test set, clean and noisy."""
    rows = {}
    for name, (experiment, parameters, good_for) in NETWORKS.items():
        config = laptop_config(experiment, parameters)
        file = f"weights/{run_name(config)}.safetensors"
        model = run_experiment(config, dataset).model()
        clean, noisy = evaluate_under_noise(model, dataset.test, (0, 5000), 0)
        dice = {"clean": round(clean.mean, 4), "noisy": round(noisy.mean, 4)}
        rows[name] = {"file": file, "good_for": good_for, "experiment": experiment, "dice": dice}
    write_json(folder / "networks.json", rows)


def draw_hero(dataset: Dataset, folder: Path) -> None:
    """Draw the README's picture: one noisy slice and three networks, with their test Dice."""
    clean, noisy = (published(name)[0].model() for name in ("03_noisy_val", "02_noisy_train"))
    repaired = recalibrate_batch_norm(clean, noisy_copies(dataset.slices[:10], 5000, 0).images)
    rows = published_rows("repair")
    dice = [np.mean([row["as_trained"] for row in rows]),
            np.mean([row["repaired"] for row in rows]),
            np.mean(headline_dice(published("02_noisy_train"), "test_noisy"))]
    names = ("trained on clean slices", "the same, repaired without labels", "trained with noise")
    one = noisy_copies(dataset.test[:1], 5000, 0)
    guesses = [predict(model, one.images)[0] for model in (clean, repaired, noisy)]
    titles = [f"{name},\n{100 * value:.0f} % Dice" for name, value in zip(names, dice, strict=True)]
    figure = compare_predictions(one.images[0], one.labels[0], guesses, titles, one.phases,
                                 one.voxel_nm)
    figure.savefig(folder / "hero.png", dpi=90, bbox_inches="tight")


# -- batch-norm statistics ------------------------------------------------------------------------


def batch_norm_rows(runs: Sequence[Run], dataset: Dataset) -> Iterator[Row]:
    """Measure the batch-norm statistics over the trainings by the poster's recipe (notebook 3)."""
    for run in runs:
        noisy = noisy_copies(dataset.test[:4], 5000, run.config["seed"])
        clean = dataset.slices.subsample(20)
        for row in statistics_over_training(run.snapshots(), clean, noisy):
            yield {"run": run.config["digest"], "seed": run.config["seed"]} | row


def statistics_over_training(snapshots: Mapping[int, Callable[[], UNet]], clean: Slices,
                             noisy: Slices) -> list[dict[str, float]]:
    """Score noisy slices by each network kept during a training, with three kinds of statistics.

    Args:
        snapshots: What loads each network, by step.
        clean: Clean slices, for statistics; no label is used.
        noisy: Noisy slices to score on.

    Returns:
        A row per snapshot: "step", and the Dice with the running averages of the training
        ("as_trained"), with statistics of the clean slices ("clean"), and with those of noisy
        copies of five of them ("noisy").
    """
    copies = noisy_copies(clean.subsample(5), float(noisy.noise_std.max()), 1)
    rows = []
    for step, load in snapshots.items():
        model = load()
        kinds = {"as_trained": model, "clean": recalibrate_batch_norm(model, clean.images),
                 "noisy": recalibrate_batch_norm(model, copies.images)}
        dice = {name: evaluate(kind, noisy).mean for name, kind in kinds.items()}
        rows.append({"step": step} | dice)
    return rows


def main() -> None:
    """Make everything, or with a folder only the table of the real slices."""
    if sys.argv[1:]:
        write_rows(TABLES / "real.json", "rows", real_rows(sys.argv[1]))
        return
    folder, dataset, wanted = TABLES.parent, open_dataset("laptop"), configs()
    runs = dict(zip(wanted, run_sweep(wanted, dataset, workers=2), strict=True))
    responses = list(noise_rows(dataset))
    best = {row["run"] for row in responses if row["kind"] == best_kind(responses)}
    with_weights = {config for config, run in runs.items()
                    if has_weights(config) or run.config["digest"] in best}
    shutil.rmtree(folder / "weights", ignore_errors=True)
    (folder / "weights").mkdir(parents=True)
    write_runs(runs, with_weights, folder)
    name_networks(dataset, folder)
    write_rows(TABLES / "noisy.json", "rows", responses)
    poster = [run for config, run in runs.items() if config.profile == "paper"]
    write_rows(TABLES / "batch_norm.json", "rows", batch_norm_rows(poster, dataset))
    write_rows(TABLES / "methods.json", "rows", method_rows(dataset))
    write_rows(TABLES / "unlabelled.json", "rows", unlabelled_rows(dataset))
    write_rows(TABLES / "three_d.json", "rows", stack_rows(dataset))
    write_rows(TABLES / "repair.json", "rows", repair_rows(dataset))
    draw_hero(dataset, folder)


if __name__ == "__main__":
    main()
