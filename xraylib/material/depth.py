"""What networks of slices, of neighbouring slices and of volumes make of the same volume: errors, smoothness, length."""

from collections.abc import Mapping, Sequence

import numpy as np

from ..predict.network import predict
from ..predict.scores import score
from ..runs.folder import Run
from ..slices.labelled import Slices
from .phases import label_agreement, triple_phase_boundary

AXES = ("z", "y", "x")


def flips(labels: np.ndarray) -> dict[str, float]:
    """Share of the voxels whose next one along each axis has another label, 0..1; class indices, (Z, Y, X).

    Of a material that looks alike along all axes it is the same along all. What a network of single slices adds along
    z are errors that come and go from slice to slice.
    """
    return {axis: 1 - label_agreement(np.moveaxis(labels, index, 0), [1])[1] for index, axis in enumerate(AXES)}


def row_of(kind: str, run: Run, slices: Slices) -> dict:
    """A row of the run table of notebook 9: a run, and what its network makes of these neighbouring slices.

    "kind": the network, for people; "run", "seed", "noise_std": which run it is; "weights": how many; "seconds": of
    training; "dice": by phase, mean over the slices, 0..1; "flips": see `flips`; "tpb": triple-phase boundary, 1/um^2.
    """
    model = run.model()
    labels = predict(model, slices.images)
    return {"kind": kind, "run": run.folder.name, "seed": run.config["seed"], "noise_std": run.config["noise_std"],
            "weights": sum(part.numel() for part in model.parameters()), "seconds": run.history[-1]["seconds"],
            "dice": score(labels, slices).dice.mean(0).tolist(), "flips": flips(labels),
            "tpb": triple_phase_boundary(labels)}


def grouped(rows: Sequence[Mapping], name: str) -> dict[tuple[str, float], np.ndarray]:
    """A number of the rows by kind and noise, (runs,): "dice" is the mean over phases, "flips" those along z."""
    def value(row: Mapping) -> float:
        return {"dice": lambda: np.mean(row["dice"]), "flips": lambda: row["flips"]["z"]}.get(name, lambda: row[name])()

    keys = dict.fromkeys((row["kind"], row["noise_std"]) for row in rows)
    return {key: np.array([value(row) for row in rows if (row["kind"], row["noise_std"]) == key]) for key in keys}
