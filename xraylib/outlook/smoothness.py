"""Measure how smooth a segmentation is: from slice to slice, and within slices."""

from collections.abc import Iterable

import numpy as np
from scipy.ndimage import correlate1d

from ..data import Slices
from ..errors import DataError, ParameterError
from ..metrics import score_masks
from ..runs import Run
from .measure import relative_error
from .microstructure import triple_phase_boundary


def label_agreement(labels: np.ndarray, lags: Iterable[int]) -> dict[int, float]:
    """Share of the pixels that have the same class in two slices `lag` apart.

    Args:
        labels: class indices (Z, Y, X).
        lags: distances between two slices, in slices.

    Returns:
        The share, 0 to 1, by lag.

    Raises:
        DataError: `labels` is not a stack.
        ParameterError: a lag is negative or not smaller than the number of slices.
    """
    if labels.ndim != 3:
        raise DataError(f"labels have shape {labels.shape}; give a stack of slices (Z, Y, X).")
    lags = list(lags)
    if wrong := [lag for lag in lags if not 0 <= lag < len(labels)]:
        raise ParameterError(f"lags are {wrong}; for {len(labels)} slices they must be from 0 to "
                             f"{len(labels) - 1}.")
    return {lag: float(np.mean(labels[lag:] == labels[:len(labels) - lag])) for lag in lags}


def label_flips(labels: np.ndarray) -> dict[str, float]:
    """Share of the voxels whose next voxel along z, y and x has another label.

    The share is the same along all axes of an isotropic material. A network that sees single slices
    adds flips along z, because its errors come and go from slice to slice.

    Args:
        labels: class indices (Z, Y, X).

    Returns:
        The share, 0 to 1, by axis "z", "y" and "x".
    """
    return {name: 1 - label_agreement(np.moveaxis(labels, axis, 0), [1])[1]
            for axis, name in enumerate("zyx")}


def majority_filter(labels: np.ndarray) -> np.ndarray:
    """Replace each label by the most frequent one around it.

    Args:
        labels: class indices (Z, Y, X) or (Y, X).

    Returns:
        uint8 of the same shape: the majority of 3 x 3 x 3 voxels or 3 x 3 pixels.
    """
    found, most = np.zeros(labels.shape, np.uint8), np.zeros(labels.shape, np.uint8)
    for phase in range(int(labels.max()) + 1):
        count = (labels == phase).astype(np.uint8)
        for axis in range(labels.ndim):
            count = correlate1d(count, np.ones(3), axis, mode="nearest")
        found[count > most] = phase
        np.maximum(most, count, out=most)
    return found


def volume_errors(kind: str, run: Run, slices: Slices, predicted: np.ndarray) -> dict:
    """Return a row of the table of notebook 9: the errors of a network on neighbouring slices.

    Args:
        kind: name of the network, for display.
        run: the run that trained it.
        slices: neighbouring slices with labels.
        predicted: its class indices for these slices, (Z, Y, X).

    Returns:
        "kind", "run", "seed", "noise_std"; "dice", 0 to 1; relative errors of "flips_z", "flips_y",
        "flips_x" (`label_flips`) and "tpb" (`triple_phase_boundary`).
    """
    measured, true = ({f"flips_{axis}": share for axis, share in label_flips(labels).items()}
                      | {"tpb": triple_phase_boundary(labels, slices.voxel_nm)}
                      for labels in (predicted, np.stack(slices.labels)))
    return {"kind": kind, "run": run.config["digest"], "seed": run.config["seed"],
            "noise_std": run.config["noise_std"], "dice": score_masks(predicted, slices).mean,
            **relative_error(measured, true)}
