"""Split a volume into sub-volumes, and say how far the scatter between them can be trusted."""

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod

import numpy as np

from ..data import Phases, Voxel
from ..errors import ParameterError
from .microstructure import length_unit, line_axes, voxel_sides
from .paths import mean_chord

FEW_CHORDS = 3  # least width of a sub-volume, in mean chords
Block = tuple[slice, slice, slice]


def _splits(shape: Sequence[int], parts: int, axes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Yield the ways to split a volume into blocks of at least two voxels along some axes."""
    divisors = [n for n in range(1, parts + 1) if parts % n == 0]
    for split in product(divisors, repeat=3):
        if prod(split) == parts and all(
                length // n >= (2 if axis in axes else 1)
                for axis, (length, n) in enumerate(zip(shape, split, strict=True))):
            yield split


def split_volume(shape: Sequence[int], parts: int, voxel_nm: Voxel | None = None,
                 neighbours: bool = True) -> list[Block]:
    """Split a volume into blocks that are equal (to a voxel) and as wide as possible.

    Args:
        shape: voxels along z, y and x.
        parts: number of blocks; a cube is split into 8 = 2 x 2 x 2.
        voxel_nm: size of a voxel along z, y and x, nm; None: unknown, so cubes.
        neighbours: whether the slices are neighbours. If not, every slice shows another place, so
            the volume is first divided into groups of slices.

    Returns:
        The blocks; none for one part.

    Raises:
        ParameterError: there are fewer voxels than needed, or `parts` is less than 1.
    """
    axes = [axis for axis in range(3) if shape[axis] > 1 and (axis or neighbours)]
    sides = np.multiply(voxel_sides(voxel_nm), shape)

    def widths(split: tuple[int, ...]) -> list[float]:
        return sorted(sides[axis] / split[axis] for axis in axes)

    best = max(_splits(shape, parts, axes), key=widths, default=None)
    if best is None:
        raise ParameterError(f"parts is {parts}, but {' x '.join(map(str, shape))} voxels cannot "
                             "be split into so many equal blocks. Give another number, such as "
                             "8 or 1.")
    edges = [np.linspace(0, length, n + 1).astype(int)
             for length, n in zip(shape, best, strict=True)]
    spans = [[slice(a, b) for a, b in zip(along[:-1], along[1:], strict=True)] for along in edges]
    return list(product(*spans)) if parts > 1 else []


def uncertainty_notes(stack: np.ndarray, blocks: Sequence[Block], voxel_nm: Voxel | None,
                      phases: Phases, chords: Sequence[Sequence[np.ndarray]],
                      neighbours: bool = True) -> list[str]:
    """Say what the standard errors mean, and whether the sub-volumes are large enough.

    Args:
        stack: class indices (Z, Y, X).
        blocks: from `split_volume`.
        voxel_nm: size of a voxel along z, y and x, nm; None: unknown.
        phases: the phases of the material.
        chords: of each phase, from `paths.chord_counts`.
        neighbours: whether the slices are neighbours.
    """
    if not blocks:
        return []
    block = stack[blocks[0]]
    size, unit = " x ".join(map(str, block.shape)), length_unit(voxel_nm)
    notes = [f"The standard error says how far a quantity would scatter between volumes of this "
             f"size: it is the standard deviation of {len(blocks)} sub-volumes of {size} voxels, "
             f"divided by the square root of {len(blocks)}, and too small where neighbouring "
             "sub-volumes resemble each other."]
    if neighbours:
        notes[0] += (" Percolated fractions and tortuosities also depend on the size of a volume, "
                     "so their standard errors are only a hint.")
    means = [mean_chord(counts, voxel_nm) for counts in chords]
    longest = int(np.argmax(np.nan_to_num(means)))
    width = min(np.multiply(voxel_sides(voxel_nm), block.shape)[line_axes(block, neighbours)])
    if width < FEW_CHORDS * means[longest]:
        notes.append(f"The standard errors are not reliable: a sub-volume is only {width:.3g} "
                     f"{unit} wide, less than {FEW_CHORDS} mean chords of {phases.names[longest]} "
                     f"({means[longest]:.3g} {unit}). Measure a larger volume, or choose fewer "
                     "parts.")
    return notes
