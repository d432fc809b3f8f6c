"""What a materials scientist reads off a segmentation: volume fractions, interface areas, chord lengths.

Labels are class indices (0 pore, 1 YSZ, 2 nickel), uint8, of shape (Z, Y, X) or (Y, X). The microstructure is taken as
isotropic: every measure is an average over the axes, as in stereology (Underwood 1970, Quantitative Stereology).
"""

from collections.abc import Iterable
from itertools import combinations

import numpy as np


def check(labels: np.ndarray) -> None:
    """Raise ValueError unless `labels` is an array of class indices of two or three axes."""
    if labels.ndim not in (2, 3):
        raise ValueError(f"labels must have shape (Z, Y, X) or (Y, X), got {labels.shape}")
    if labels.dtype.kind not in "ui":
        raise ValueError(f"labels must be integer class indices, got {labels.dtype}")


def volume_fractions(labels: np.ndarray, n_classes: int = 3) -> np.ndarray:
    """Share of the voxels in each class, float64 (n_classes,); the shares add up to 1."""
    check(labels)
    counts = np.bincount(labels.ravel(), minlength=n_classes)
    if len(counts) > n_classes:
        raise ValueError(f"labels hold class {len(counts) - 1}, but n_classes is {n_classes}")
    return counts / labels.size


def interface_area(labels: np.ndarray, voxel_nm: float = 18.4, n_classes: int = 3) -> dict[tuple[int, int], float]:
    """Area of the interface between each two classes in a unit of volume, 1/um, keyed by (lower, higher class).

    Twice the number of interfaces that a line crosses per length (S_V = 2 P_L), averaged over lines along the axes.
    """
    check(labels)
    if voxel_nm <= 0:
        raise ValueError(f"voxel_nm must be positive, got {voxel_nm}")
    pairs = {pair: [] for pair in combinations(range(n_classes), 2)}
    for axis in range(labels.ndim):
        if labels.shape[axis] == 1:  # a single slice has no lines across it
            continue
        lines = np.moveaxis(labels, axis, 0)
        codes = np.zeros(n_classes**2, np.int64)
        for here, there in zip(lines[:-1], lines[1:], strict=True):
            codes += np.bincount((here * n_classes + there).ravel(), minlength=n_classes**2)
        crossings = codes.reshape(n_classes, n_classes) / codes.sum()
        for i, j in pairs:
            pairs[i, j].append(2 * (crossings[i, j] + crossings[j, i]) / (voxel_nm / 1000))
    return {pair: float(np.mean(areas)) for pair, areas in pairs.items()}


def chord_lengths(labels: np.ndarray, phase: int) -> np.ndarray:
    """Lengths in voxels (int64, one entry a chord) of all chords of `phase` along the axes: take the mean, a histogram.

    A chord is an unbroken run of the phase along a line. Those that touch the border are left out: their length is
    not known, which makes the mean of a small volume somewhat too small.
    """
    check(labels)
    found = []
    for axis in range(labels.ndim):
        inside = np.moveaxis(labels, axis, -1) == phase
        length = inside.shape[-1]
        turns = np.flatnonzero(np.diff(inside, axis=-1, prepend=False, append=False))
        start, end = turns[0::2], turns[1::2]  # every line has length + 1 places where a chord can start or end
        start, end = start % (length + 1), end % (length + 1)
        found.append((end - start)[(start > 0) & (end < length)])
    return np.concatenate(found)


def label_agreement(labels: np.ndarray, lags: Iterable[int]) -> dict[int, float]:
    """Share of the pixels with the same class in two slices `lag` apart, for each lag: how alike near slices are."""
    check(labels)
    if labels.ndim != 3:
        raise ValueError(f"label_agreement needs a stack of slices (Z, Y, X), got shape {labels.shape}")
    lags = list(lags)
    wrong = [lag for lag in lags if not 0 <= lag < len(labels)]
    if wrong:
        raise ValueError(f"lags must be from 0 to {len(labels) - 1} for {len(labels)} slices, got {wrong}")
    return {lag: float(np.mean(labels[lag:] == labels[: len(labels) - lag])) for lag in lags}
