"""Compare networks by how their Dice falls with noise, and choose the best one for noisy slices."""

from collections.abc import Mapping, Sequence

import numpy as np

from ..data import Slices
from ..datasets import Dataset
from ..params import configure
from ..published import published_rows, published_runs
from ..runs import Run
from ..sweep import run_sweep
from .scores import evaluate_under_noise

PUBLISHED_NOISE = 15_000  # strongest noise that the published networks were trained with


def noise_response(run: Run, kind: str, val: Slices, test: Slices,
                   noise_stds: Sequence[float]) -> dict:
    """Return a row of the table of notebook 7: the Dice of a network at each noise level.

    Args:
        run: the run that trained the network; its seed is that of the noise.
        kind: how the network was trained, for display.
        val: clean validation slices.
        test: clean slices of the test set.
        noise_stds: standard deviations of the noise, grey levels.

    Returns:
        "kind", "experiment", "run", "seed", "noise_stds"; "val" and "test": mean Dice, 0 to 1, one
        number per standard deviation.
    """
    model, seed = run.model(), run.config["seed"]
    dice = {name: [scores.mean for scores in evaluate_under_noise(model, part, noise_stds, seed)]
            for name, part in (("val", val), ("test", test))}
    return {"kind": kind, "experiment": run.config["experiment"], "run": run.config["digest"],
            "seed": seed, "noise_stds": list(noise_stds), **dice}


def values_by_kind(rows: Sequence[Mapping], column: str) -> dict[str, np.ndarray]:
    """Collect a column of a table by the rows' "kind": an array (rows, ...) per kind."""
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    return {kind: np.array([row[column] for row in rows if row["kind"] == kind]) for kind in kinds}


def best_kind(rows: Sequence[Mapping]) -> str:
    """Return the kind with the highest validation Dice, averaged over all noise levels and runs.

    Each noise level counts the same, because the noise of the next volume is unknown. The test set
    plays no part in the choice.
    """
    dice = values_by_kind(rows, "val")
    return max(dice, key=lambda kind: dice[kind].mean())


def best_published() -> list[Run]:
    """Return published runs of the `best_kind`, one per seed, the best validation Dice first."""
    rows = published_rows("noisy")
    best = [row for row in rows if row["kind"] == best_kind(rows)]
    best.sort(key=lambda row: -np.mean(row["val"]))
    runs = {run.config["digest"]: run for run in published_runs(best[0]["experiment"])}
    return [runs[row["run"]] for row in best]


def best_runs(dataset: Dataset, parameters: Mapping, noise_std: float = PUBLISHED_NOISE,
              n: int = 3) -> list[Run]:
    """Return runs of the best network for noisy slices, which differ by the seed; use the first.

    These are published runs if `parameters` ask for published runs. Otherwise networks are trained
    in the same way, with new noise in each step.

    Args:
        dataset: the data to train on.
        parameters: "use_published", "profile", "data_dir" and "seed" of a notebook.
        noise_std: strongest noise to train with, grey levels.
        n: number of runs, with the seeds "seed", "seed" + 1, ...
    """
    asked = tuple(parameters[name] for name in ("use_published", "profile", "data_dir", "seed"))
    if asked == (True, "laptop", "", 0) and noise_std == PUBLISHED_NOISE:
        published = best_published()
        if n <= len(published):
            return published[:n]
    configs = [configure("07_fresh_noise", parameters, noise_std=noise_std,
                         seed=parameters["seed"] + index) for index in range(n)]
    return run_sweep(configs, dataset, parameters["use_published"])
