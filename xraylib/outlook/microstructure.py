"""Measure the microstructure of a segmented material.

Labels are class indices: integers of shape (Z, Y, X) for a stack of slices, (Y, X) for one slice.
The size of a voxel, along z, y and x in nm, may differ between the axes. If it is unknown (None),
voxels are taken as cubes of side 1 px and lengths are in px. Measures are means over the axes, as
in stereology (Underwood 1970, Quantitative Stereology): exact on average for an isotropic material.

Slices that are not neighbours, such as every tenth of a volume, are measured one by one
(``neighbours=False``): only lines and planes within them count.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from ..data import MAX_PHASES, Voxel
from ..errors import DataError, ParameterError
from ..losses import IGNORE


def as_stack(labels: np.ndarray, n_classes: int = IGNORE) -> np.ndarray:
    """Return labels (Z, Y, X), or raise DataError unless they are class indices below n_classes."""
    if labels.ndim not in (2, 3):
        raise DataError(f"labels have shape {labels.shape}; give (Z, Y, X) or (Y, X).")
    if labels.dtype.kind not in "ui":
        raise DataError(f"labels are of type {labels.dtype}; give integer class indices.")
    highest = labels.max()
    if highest == IGNORE:
        raise DataError(f"{np.count_nonzero(labels == IGNORE):,} of {labels.size:,} pixels have no "
                        "label, and a microstructure can only be measured where all pixels have "
                        "one. Segment these slices with a network and measure the result.")
    if highest >= n_classes:
        raise DataError(f"labels hold class {highest}, but there are {n_classes} classes, "
                        f"0 to {n_classes - 1}.")
    return labels if labels.ndim == 3 else labels[None]


def voxel_sides(voxel_nm: Voxel | None) -> tuple[float, ...]:
    """Sides of a voxel along z, y and x: in µm, or 1 px if unknown."""
    if voxel_nm is None:
        return 1.0, 1.0, 1.0
    if np.shape(voxel_nm) != (3,) or not all(0 < side < np.inf for side in voxel_nm):
        raise ParameterError(f"voxel_nm is {voxel_nm}; give three positive numbers of nanometres, "
                             "along z, y and x, or None if the size is unknown.")
    return tuple(side / 1000 for side in voxel_nm)


def are_neighbours(numbers: Sequence[int] | np.ndarray) -> bool:
    """Whether several slices follow each other without a gap, by their numbers in the volume."""
    return len(numbers) > 1 and bool((np.diff(numbers) == 1).all())


def length_unit(voxel_nm: Voxel | None) -> str:
    """Unit of all lengths: "µm", or "px" if the size of a voxel is unknown."""
    return "µm" if voxel_nm else "px"


def line_axes(stack: np.ndarray, neighbours: bool = True) -> list[int]:
    """Axes along which there are lines of several voxels."""
    return [axis for axis in range(3) if stack.shape[axis] > 1 and (axis or neighbours)]


def _steps(stack: np.ndarray, axis: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield all pairs of neighbouring voxels along an axis, slice by slice."""
    if axis == 0:
        yield from zip(stack[:-1], stack[1:], strict=True)
    for each in stack if axis else ():
        yield (each[:-1], each[1:]) if axis == 1 else (each[:, :-1], each[:, 1:])


def volume_fractions(labels: np.ndarray, n_classes: int) -> np.ndarray:
    """Share of the voxels in each class.

    Args:
        labels: class indices (Z, Y, X) or (Y, X).
        n_classes: number of classes.

    Returns:
        float64 (n_classes,); the shares add up to 1.

    Raises:
        DataError: `labels` are not class indices below `n_classes`.
    """
    stack = as_stack(labels, n_classes)
    return sum(np.bincount(each.ravel(), minlength=n_classes) for each in stack) / stack.size


def interface_area(labels: np.ndarray, voxel_nm: Voxel | None, n_classes: int,
                   neighbours: bool = True) -> dict[tuple[int, int], float]:
    """Interface area per volume, 1/µm (1/px), between each pair of classes.

    The area is twice the number of interfaces that a line crosses per length, S_V = 2 P_L
    (Underwood 1970), averaged over lines along the axes.

    Args:
        labels: class indices (Z, Y, X) or (Y, X).
        voxel_nm: size of a voxel along z, y and x, nm; None: unknown.
        n_classes: number of classes.
        neighbours: whether the slices are neighbours.

    Returns:
        Areas by pair (lower class, higher class).

    Raises:
        DataError: `labels` are not class indices below `n_classes`.
        ParameterError: `voxel_nm` is not a size.
    """
    stack, sides = as_stack(labels, n_classes), voxel_sides(voxel_nm)
    areas: dict[tuple[int, int], list[float]] = {}
    for axis in line_axes(stack, neighbours):
        codes = np.zeros(n_classes**2, np.int64)
        for here, there in _steps(stack, axis):
            steps = here.astype(np.intp) * n_classes + there
            codes += np.bincount(steps.ravel(), minlength=n_classes**2)
        shares = codes.reshape(n_classes, n_classes) / codes.sum()
        for i, j in combinations(range(n_classes), 2):
            areas.setdefault((i, j), []).append(2 * (shares[i, j] + shares[j, i]) / sides[axis])
    return {pair: float(np.mean(by_axis)) for pair, by_axis in areas.items()}


# -- triple-phase boundary -------------------------------------------------------------------------


def _meetings(triple: Sequence[int] | None) -> np.ndarray:
    """Say for each set of classes (bit i: class i) whether it contains the triple, or any three."""
    sets = np.arange(1 << MAX_PHASES)
    if triple is None:
        return sum(sets >> phase & 1 for phase in range(MAX_PHASES)) >= 3
    if len(triple) != 3 or len(set(triple)) != 3:
        raise ParameterError(f"triple is {tuple(triple)}; give three different classes.")
    wanted = sum(1 << phase for phase in triple)
    return sets & wanted == wanted


def _corners(stack: np.ndarray, plane: tuple[int, int]) -> Iterator[np.ndarray]:
    """Yield the set of classes, uint16, around each corner between voxels, slice by slice."""
    first, second = plane
    for voxels in _steps(stack, first):
        here, there = (np.left_shift(1, each, dtype=np.uint16, casting="unsafe")
                       for each in voxels)
        meet = here | there
        yield (meet[:-1] | meet[1:]) if second == 1 else (meet[:, :-1] | meet[:, 1:])


def triple_point_map(labels: np.ndarray, plane: tuple[int, int] = (1, 2),
                     triple: Sequence[int] | None = None) -> np.ndarray:
    """Mark the corners between voxels where three phases meet.

    A corner is marked if the four voxels around it in the plane of two axes hold three phases.
    In a stack such a corner is a voxel edge, seen end-on.

    Args:
        labels: class indices (Z, Y, X) or (Y, X).
        plane: the two axes of the plane; 0, 1 and 2 are z, y and x.
        triple: class indices of the three phases; None: any three.

    Returns:
        bool (Z, Y, X) or (Y, X), one shorter than `labels` along both axes of the plane.

    Raises:
        DataError: `labels` are not class indices below `data.MAX_PHASES`.
        ParameterError: `triple` does not hold three different classes.
    """
    meetings = _meetings(triple)
    found = np.stack([meetings[each] for each in _corners(as_stack(labels, MAX_PHASES), plane)])
    return found if labels.ndim == 3 else found[0]


def triple_phase_boundaries(labels: np.ndarray, voxel_nm: Voxel | None,
                            triples: Sequence[Sequence[int] | None],
                            neighbours: bool = True) -> list[float]:
    """Length per volume, 1/µm² (1/px²), of the lines along which three phases meet.

    The length is twice the number of triple points per area of a plane cut, L_V = 2 P_A
    (Underwood 1970), averaged over planes across the axes. A phase that ends in a wedge of 30 to 45
    degrees meets the others in 1.1 to 1.2 voxel corners instead of one.

    Args:
        labels: class indices (Z, Y, X) or (Y, X).
        voxel_nm: size of a voxel along z, y and x, nm; None: unknown.
        triples: class indices of the three phases of each boundary; None: any three.
        neighbours: whether the slices are neighbours.

    Returns:
        One length per triple.

    Raises:
        DataError: `labels` are not class indices below `data.MAX_PHASES`.
        ParameterError: `voxel_nm` is not a size, or a triple does not hold three different classes.
    """
    if not triples:
        return []
    stack, sides = as_stack(labels, MAX_PHASES), voxel_sides(voxel_nm)
    meetings = [_meetings(triple) for triple in triples]
    densities = []
    planes = list(combinations(line_axes(stack, neighbours), 2))
    if not planes:
        raise DataError(f"labels have shape {labels.shape}; phases meet on planes, which need at "
                        "least two voxels along two axes.")
    for first, second in planes:
        counts = sum(np.bincount(corners.ravel(), minlength=1 << MAX_PHASES)
                     for corners in _corners(stack, (first, second)))
        densities.append([counts[meeting].sum() / counts.sum() / (sides[first] * sides[second])
                          for meeting in meetings])
    return [2 * float(length) for length in np.mean(densities, axis=0)]


def triple_phase_boundary(labels: np.ndarray, voxel_nm: Voxel | None,
                          triple: Sequence[int] | None = None, neighbours: bool = True) -> float:
    """Triple-phase boundary of three phases: where the reaction of a fuel cell takes place.

    Args:
        labels, voxel_nm, neighbours: as for `triple_phase_boundaries`.
        triple: class indices of the three phases; None: any three.
    """
    return triple_phase_boundaries(labels, voxel_nm, [triple], neighbours)[0]
