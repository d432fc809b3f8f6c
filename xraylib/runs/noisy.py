"""Networks against noise: how each falls as slices get noisier, where it tips over, and which one is the best."""

from collections.abc import Mapping, Sequence

import numpy as np

from ..files import shipped
from ..predict.scores import under_noise
from ..slices.labelled import Slices
from ..slices.sets import Source
from .folder import Run, load, published_rows
from .profiles import configure
from .sweep import sweep


def fall(run: Run, kind: str, val: Slices, test: Slices, noise_stds: Sequence[float]) -> dict:
    """A row of the run table of notebook 7: mean Dice (0..1) of clean slices with noise of each of these deviations.

    "kind": how it was trained, for people; "experiment", "run", "seed": which run it is; "noise_stds"; "val" and
    "test": Dice of the validation slices and of the test block, one number a deviation.
    """
    model, seed = run.model(), run.config["seed"]
    dice = {name: [scores.mean for scores in under_noise(model, part, noise_stds, seed)]
            for name, part in (("val", val), ("test", test))}
    return {"kind": kind, "experiment": run.config["experiment"], "run": run.folder.name, "seed": seed,
            "noise_stds": list(noise_stds), **dice}


def by_kind(rows: Sequence[Mapping], name: str) -> dict[str, np.ndarray]:
    """Dice of the rows of each kind, (runs, deviations), on one set: "val" or "test"."""
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    return {kind: np.array([row[name] for row in rows if row["kind"] == kind]) for kind in kinds}


def best_kind(rows: Sequence[Mapping]) -> str:
    """The rule of notebook 7: the highest validation Dice, averaged over all deviations of the noise and all runs.

    Every deviation counts alike, because nobody knows how noisy the next volume is; the test block has no say.
    """
    dice = by_kind(rows, "val")
    return max(dice, key=lambda kind: dice[kind].mean())


def best_published() -> list[Run]:
    """The best noisy predictor: the published runs of the `best_kind`, one a seed, the best of them first."""
    rows = published_rows("noisy")
    best = [row for row in rows if row["kind"] == best_kind(rows)]
    best.sort(key=lambda row: -np.mean(row["val"]))
    return [load(shipped() / "published" / row["experiment"] / row["run"]) for row in best]


def best_on(source: Source, parameters: Mapping, noise_std: float = 15_000, n: int = 3) -> list[Run]:
    """The best noisy predictor for these data, n networks that differ by the seed, the one to be used first.

    The published ones where a reader's parameters (profile, data_dir, seed, reuse) ask for what is published, else
    networks that are trained as these were: with fresh noise of 0 to ``noise_std``, by seeds from the reader's on.
    """
    asked = (parameters["reuse"], parameters["profile"], parameters["data_dir"], parameters["seed"])
    if asked == (True, "laptop", "", 0):
        return best_published()
    return sweep([configure("07_fresh_noise", parameters, noise_std=noise_std, seed=parameters["seed"] + index)
                  for index in range(n)], source, parameters["reuse"])
