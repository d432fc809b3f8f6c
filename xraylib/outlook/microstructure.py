"""Measure the microstructure of a segmented material.

Labels are class indices: integers of shape (Z, Y, X) for a stack of slices, (Y, X) for one slice.
The microstructure is taken as isotropic, so each measure is a mean over the axes, as in stereology
(Underwood 1970, Quantitative Stereology).
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from scipy.ndimage import label as connected_regions

from ..data import NI_YSZ, Phases
from ..errors import DataError, ParameterError


def _check_labels(labels: np.ndarray, n_classes: int | None = None) -> None:
    """Raise DataError unless `labels` is a slice or a stack of class indices below `n_classes`."""
    if labels.ndim not in (2, 3):
        raise DataError(f"labels have shape {labels.shape}; give (Z, Y, X) or (Y, X).")
    if labels.dtype.kind not in "ui":
        raise DataError(f"labels are of type {labels.dtype}; give integer class indices.")
    if n_classes is not None and labels.max() >= n_classes:
        raise DataError(f"labels hold class {labels.max()}, but there are {n_classes} classes, "
                        f"0 to {n_classes - 1}.")


def _voxel_side(voxel_nm: float | None) -> float:
    """Side of a voxel in µm. Raises ParameterError unless it is a positive number."""
    if voxel_nm is None or not 0 < voxel_nm < np.inf:
        raise ParameterError(f"voxel_nm is {voxel_nm}; it must be a positive number of nanometres.")
    return voxel_nm / 1000


def volume_fractions(labels: np.ndarray, n_classes: int = len(NI_YSZ)) -> np.ndarray:
    """Share of the voxels in each class.

    Args:
        labels: class indices (Z, Y, X) or (Y, X).
        n_classes: number of classes.

    Returns:
        float64 (n_classes,); the shares add up to 1.

    Raises:
        DataError: `labels` are not class indices below `n_classes`.
    """
    _check_labels(labels, n_classes)
    return np.bincount(labels.ravel(), minlength=n_classes) / labels.size


def interface_area(labels: np.ndarray, voxel_nm: float,
                   n_classes: int = len(NI_YSZ)) -> dict[tuple[int, int], float]:
    """Interface area per volume, 1/µm, between each two classes.

    The area is twice the number of interfaces that a line crosses per length, S_V = 2 P_L
    (Underwood 1970), averaged over lines along the axes.

    Args:
        labels: class indices (Z, Y, X) or (Y, X).
        voxel_nm: side of a voxel, nm.
        n_classes: number of classes.

    Returns:
        Areas by pair (lower class, higher class).

    Raises:
        DataError: `labels` are not class indices below `n_classes`.
    """
    _check_labels(labels, n_classes)
    side = _voxel_side(voxel_nm)
    areas: dict[tuple[int, int], list[float]] = {}
    for axis in range(labels.ndim):
        if labels.shape[axis] == 1:  # a stack of one slice has no lines along z
            continue
        lines = np.moveaxis(labels, axis, 0)
        codes = np.zeros(n_classes**2, np.int64)
        for here, there in zip(lines[:-1], lines[1:], strict=True):
            steps = here.astype(np.intp) * n_classes + there
            codes += np.bincount(steps.ravel(), minlength=n_classes**2)
        shares = codes.reshape(n_classes, n_classes) / codes.sum()
        for i, j in combinations(range(n_classes), 2):
            areas.setdefault((i, j), []).append(2 * (shares[i, j] + shares[j, i]) / side)
    return {pair: float(np.mean(by_axis)) for pair, by_axis in areas.items()}


def triple_point_map(labels: np.ndarray, plane: tuple[int, int] = (0, 1),
                     phases: Sequence[int] = (0, 1, 2)) -> np.ndarray:
    """Mark the corners between voxels where three phases meet.

    A corner is marked if the four voxels around it in the plane of two axes hold all three phases.
    In a stack such a corner is a voxel edge, seen end-on.

    Args:
        labels: class indices (Z, Y, X) or (Y, X).
        plane: the two axes of the plane.
        phases: class indices of the three phases.

    Returns:
        bool, one shorter than `labels` along both axes of the plane.

    Raises:
        ParameterError: `phases` does not hold three different classes.
    """
    if len(phases) != 3 or len(set(phases)) != 3:
        raise ParameterError(f"phases is {tuple(phases)}; give three different classes.")
    present = np.zeros(labels.shape, np.uint8)
    for bit, phase in enumerate(phases):
        present[labels == phase] = 1 << bit
    for axis in plane:
        length = present.shape[axis]
        present = present.take(range(length - 1), axis) | present.take(range(1, length), axis)
    return present == 0b111


def triple_point_density(labels: np.ndarray, phases: Sequence[int] = (0, 1, 2)) -> list[float]:
    """Triple points per square voxel of a plane cut, for each kind of plane along the axes.

    Args:
        labels: class indices (Z, Y, X) or (Y, X).
        phases: class indices of the three phases.

    Returns:
        Three densities for a stack (planes z-y, z-x, y-x), one for a single slice.
    """
    _check_labels(labels)
    maps = (triple_point_map(labels, plane, phases)
            for plane in combinations(range(labels.ndim), 2))
    return [float(corners.mean()) for corners in maps if corners.size]


def triple_phase_boundary(labels: np.ndarray, voxel_nm: float,
                          phases: Sequence[int] = (0, 1, 2)) -> float:
    """Triple-phase boundary length per volume, 1/µm²: where the reaction of the cell takes place.

    The length is twice the number of triple points per area of a plane cut, L_V = 2 P_A
    (Underwood 1970), averaged over planes across the axes. A phase that ends in a wedge of 30 to 45
    degrees meets the others in 1.1 to 1.2 voxel corners instead of one.

    Args:
        labels: class indices (Z, Y, X) or (Y, X).
        voxel_nm: side of a voxel, nm.
        phases: class indices of the three phases.

    Raises:
        ParameterError: `voxel_nm` is not positive, or `phases` are not three different classes.
    """
    side = _voxel_side(voxel_nm)
    return 2 * float(np.mean(triple_point_density(labels, phases))) / side**2


def triple_phase_edge_length(labels: np.ndarray, voxel_nm: float,
                             phases: Sequence[int] = (0, 1, 2)) -> float:
    """Triple-phase boundary length per volume, 1/µm², measured along the voxel edges of a stack.

    The edges form a staircase that is on average 1.5 times as long as the line it follows: 1.5 is
    the mean of |x| + |y| + |z| over all directions. Along an axis the factor is 1, along a diagonal
    of the voxel 1.73.

    Args:
        labels: class indices (Z, Y, X), at least two voxels along each axis.
        voxel_nm: side of a voxel, nm.
        phases: class indices of the three phases.
    """
    side = _voxel_side(voxel_nm)
    if labels.ndim != 3 or min(labels.shape) < 2:
        raise DataError(f"labels have shape {labels.shape}; give a stack (Z, Y, X) with at least "
                        "two voxels along each axis.")
    return sum(triple_point_density(labels, phases)) / side**2


def percolated_fraction(labels: np.ndarray, phase: int, axis: int = 0) -> float:
    """Share of a phase that lies in regions which reach from one end of an axis to the other.

    Args:
        labels: class indices (Z, Y, X) or (Y, X).
        phase: class index of the phase.
        axis: the axis along which the regions must reach both ends.

    Returns:
        0 to 1; nan if the phase is absent. Voxels that share a face are connected.
    """
    _check_labels(labels)
    regions, _ = connected_regions(labels == phase)
    ends = regions.take(0, axis), regions.take(-1, axis)
    through = np.setdiff1d(np.intersect1d(*ends), 0)
    sizes = np.bincount(regions.ravel())
    return float(sizes[through].sum() / sizes[1:].sum()) if len(sizes) > 1 else float("nan")


def chord_lengths(labels: np.ndarray, phase: int) -> np.ndarray:
    """Lengths of all chords of a phase along the axes.

    A chord is an unbroken run of the phase along a line. Chords that touch the border are left out
    because their length is unknown; this makes the mean of a small volume slightly too small.

    Args:
        labels: class indices (Z, Y, X) or (Y, X).
        phase: class index of the phase.

    Returns:
        int64 (chords,), in voxels.
    """
    _check_labels(labels)
    lengths = []
    for axis in range(labels.ndim):
        inside = np.moveaxis(labels, axis, -1) == phase
        length = inside.shape[-1]
        turns = np.flatnonzero(np.diff(inside, axis=-1, prepend=False, append=False))
        start, end = turns[0::2], turns[1::2]  # a chord can start or end in length + 1 places
        start, end = start % (length + 1), end % (length + 1)
        lengths.append((end - start)[(start > 0) & (end < length)])
    return np.concatenate(lengths)


def measure_quantities(labels: np.ndarray, voxel_nm: float,
                       phases: Phases = NI_YSZ) -> dict[str, float]:
    """All measures of a segmentation by name and unit, for a table.

    Mean chords and percolated fractions are means over the axes.

    Args:
        labels: class indices (Z, Y, X) or (Y, X).
        voxel_nm: side of a voxel, nm.
        phases: the phases of the material.
    """
    names, classes = phases.names, range(len(phases))
    fractions = volume_fractions(labels, len(phases))
    found = {f"{names[i]}, volume fraction": float(fractions[i]) for i in classes}
    for (i, j), area in interface_area(labels, voxel_nm, len(phases)).items():
        found[f"{names[i]}-{names[j]} interface, 1/µm"] = area
    for three in combinations(classes, 3):
        which = "" if len(phases) == 3 else "-".join(names[i] for i in three) + " "
        length = triple_phase_boundary(labels, voxel_nm, three)
        found[f"{which}triple-phase boundary, 1/µm²"] = length
    for i in classes:
        chords = chord_lengths(labels, i)
        mean = float(chords.mean()) if len(chords) else float("nan")
        found[f"{names[i]}, mean chord, µm"] = mean * _voxel_side(voxel_nm)
    axes = [axis for axis in range(labels.ndim) if labels.shape[axis] > 1]
    for i in classes:
        paths = [percolated_fraction(labels, i, axis) for axis in axes]
        found[f"{names[i]}, percolated fraction"] = float(np.mean(paths))
    return found


def relative_error(measured: Mapping[str, float], true: Mapping[str, float]) -> dict[str, float]:
    """Relative error of each quantity: 0.26 means 26 % too much, nan where the true value is 0."""
    return {name: measured[name] / (value or np.nan) - 1 for name, value in true.items()}
