"""Networks of slices, of neighbouring slices and of volumes: what each makes of the same volume."""

import numpy as np

from ..predict.scores import score
from ..runs.folder import Run
from ..slices.labelled import Slices
from .phases import label_agreement, off, triple_phase_boundary


def flips(labels: np.ndarray) -> dict[str, float]:
    """Share of the voxels whose next one along z, y and x has another label, 0..1. Class indices, (Z, Y, X).

    Of a material that looks alike along all axes it is the same along all. What a network of single slices adds along
    z are errors that come and go from slice to slice.
    """
    return {axis: 1 - label_agreement(np.moveaxis(labels, index, 0), [1])[1] for index, axis in enumerate("zyx")}


def row_of(kind: str, run: Run, slices: Slices, guess: np.ndarray) -> dict:
    """A row of the run table of notebook 9: what the network of a run makes of these neighbouring slices, ``guess``.

    "kind": the network, for people; "run", "seed", "noise_std": which run it is; "dice": mean over slices and phases,
    0..1; "flips_z", "flips_y", "flips_x", "tpb": how far label flips and triple-phase boundary are from those of the
    labels, as a share of these (see `phases.off`).
    """
    truth = np.stack(slices.labels)
    found, true = ({f"flips_{axis}": share for axis, share in flips(labels).items()}
                   | {"tpb": triple_phase_boundary(labels)} for labels in (guess, truth))
    return {"kind": kind, "run": run.folder.name, "seed": run.config["seed"], "noise_std": run.config["noise_std"],
            "dice": score(guess, slices).mean, **off(found, true)}
