"""What a materials scientist reads off a segmentation: fractions, interfaces, triple-phase boundary, paths through it.

Labels are class indices (0 pore, 1 YSZ, 2 nickel), uint8, of shape (Z, Y, X) or (Y, X). The microstructure is taken as
isotropic: every measure is an average over the axes, as in stereology (Underwood 1970, Quantitative Stereology).
"""

from collections.abc import Iterable, Mapping
from itertools import combinations

import numpy as np
from scipy.ndimage import correlate1d
from scipy.ndimage import label as connected

from ..slices.labelled import PHASES, VOXEL_NM


def check(labels: np.ndarray, voxel_nm: float = VOXEL_NM) -> None:
    """Raise ValueError unless `labels` is an array of class indices of two or three axes, and the voxel has a size."""
    if not voxel_nm > 0:
        raise ValueError(f"voxel_nm must be positive, got {voxel_nm}")
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


def interface_area(labels: np.ndarray, voxel_nm: float = VOXEL_NM, n_classes: int = 3) -> dict[tuple[int, int], float]:
    """Area of the interface between each two classes in a unit of volume, 1/um, keyed by (lower, higher class).

    Twice the number of interfaces that a line crosses per length (S_V = 2 P_L), averaged over lines along the axes.
    """
    check(labels, voxel_nm)
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


def three_meet(labels: np.ndarray, first: int = 0, second: int = 1) -> np.ndarray:
    """Corners of which the four pixels around, in the plane of two axes, hold three phases.

    Class indices -> bool, one shorter along both axes. In a stack such a corner is a voxel edge, seen end-on.
    """
    found = np.left_shift(1, labels).astype(np.uint8)            # one bit a phase
    for axis in (first, second):
        length = found.shape[axis]
        found = np.take(found, range(length - 1), axis) | np.take(found, range(1, length), axis)
    return found == 0b111


def triple_points(labels: np.ndarray) -> list[float]:
    """Points where the three phases meet, per square voxel of a plane cut, for each kind of plane along the axes.

    A stack has three kinds of planes, a single slice one.
    """
    check(labels)
    found = [three_meet(labels, *plane) for plane in combinations(range(labels.ndim), 2)]
    return [float(corners.mean()) for corners in found if corners.size]   # a stack of one slice has no planes across


def triple_phase_boundary(labels: np.ndarray, voxel_nm: float = VOXEL_NM) -> float:
    """Length of the lines along which the three phases meet in a unit of volume, 1/um^2: where the cell reacts.

    Twice the number of points in which they cross a plane per area (L_V = 2 P_A), averaged over planes across the axes.
    On voxels a phase that ends in a wedge of 30 to 45 degrees meets the others in 1.1 to 1.2 corners instead of one.
    """
    check(labels, voxel_nm)
    return 2 * float(np.mean(triple_points(labels))) / (voxel_nm / 1000) ** 2


def triple_phase_edges(labels: np.ndarray, voxel_nm: float = VOXEL_NM) -> float:
    """The same length along the voxel edges of a stack, 1/um^2: a staircase, 1.5 times as long as the line it follows.

    1.5 is the mean of |x| + |y| + |z| over all directions; along an axis it is 1, along a diagonal of the voxel 1.73.
    Raises ValueError for a single slice.
    """
    check(labels, voxel_nm)
    if labels.ndim != 3 or min(labels.shape) < 2:
        raise ValueError(f"voxel edges need a stack of slices (Z, Y, X), got shape {labels.shape}")
    return sum(triple_points(labels)) / (voxel_nm / 1000) ** 2


def percolated_fraction(labels: np.ndarray, phase: int, axis: int = 0) -> float:
    """Share of a phase in pieces that reach both ends of an axis, joined by faces, 0..1; nan without the phase."""
    check(labels)
    pieces, _ = connected(labels == phase)
    ends = np.take(pieces, 0, axis), np.take(pieces, -1, axis)
    through = np.setdiff1d(np.intersect1d(*ends), 0)
    sizes = np.bincount(pieces.ravel())
    return float(sizes[through].sum() / sizes[1:].sum()) if len(sizes) > 1 else float("nan")


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


def quantities(labels: np.ndarray, voxel_nm: float = VOXEL_NM) -> dict[str, float]:
    """All of them by name and unit, for a table; mean chords and percolated fractions are averages over the axes."""
    found = {f"{phase}, volume fraction": float(share)
             for phase, share in zip(PHASES, volume_fractions(labels), strict=True)}
    for (i, j), area in interface_area(labels, voxel_nm).items():
        found[f"{PHASES[i]}-{PHASES[j]} interface, 1/µm"] = area
    found["triple-phase boundary, 1/µm²"] = triple_phase_boundary(labels, voxel_nm)
    for index, phase in enumerate(PHASES):
        chords = chord_lengths(labels, index)
        found[f"{phase}, mean chord, µm"] = float(chords.mean()) * voxel_nm / 1000 if len(chords) else float("nan")
    for index, phase in enumerate(PHASES):
        paths = [percolated_fraction(labels, index, axis) for axis in range(labels.ndim) if labels.shape[axis] > 1]
        found[f"{phase}, percolated fraction"] = float(np.mean(paths))
    return found


def off(found: Mapping[str, float], true: Mapping[str, float]) -> dict[str, float]:
    """How far each quantity is from the true one, as a share of it: 0.26 is 26 % too much; nan where that is 0."""
    return {name: found[name] / (value or np.nan) - 1 for name, value in true.items()}


def majority(labels: np.ndarray) -> np.ndarray:
    """The most frequent phase in the 3 x 3 pixels or 3 x 3 x 3 voxels around each: uint8, of the same shape."""
    found, most = np.zeros(labels.shape, np.uint8), np.zeros(labels.shape, np.uint8)
    for phase in range(len(PHASES)):
        count = (labels == phase).astype(np.uint8)
        for axis in range(labels.ndim):
            count = correlate1d(count, np.ones(3), axis, mode="nearest")
        found[count > most] = phase
        np.maximum(most, count, out=most)
    return found
