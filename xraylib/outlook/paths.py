"""Measure paths inside a phase: chords, percolation and tortuosity.

Labels and voxel sizes are defined as in `microstructure`. Axes are named "z", "y" and "x".
"""

from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib.util import find_spec
from io import StringIO

import numpy as np
from scipy.ndimage import label as connected_regions
from torch import Tensor

from ..data import Voxel
from ..device import best_device
from .microstructure import as_stack, line_axes, voxel_sides

AXES = "zyx"
TORTUOSITY_VOXELS = 2_000_000  # a volume of this size takes about a minute per phase


def chord_counts(labels: np.ndarray, phase: int, neighbours: bool = True) -> list[np.ndarray]:
    """Count the chords of a phase by length, along each axis.

    A chord is an unbroken run of the phase along a line. Chords that touch the border are left out
    because their length is unknown; this makes the mean of a small volume slightly too small.

    Args:
        labels: class indices (Z, Y, X) or (Y, X).
        phase: class index of the phase.
        neighbours: whether the slices are neighbours; if not, there are no chords along z.

    Returns:
        For z, y and x: the number of chords of 0, 1, 2 ... voxels, int64 (voxels of a line + 1,).
    """
    stack, by_axis = as_stack(labels), []
    for axis, length in enumerate(stack.shape):
        counts = np.zeros(length + 1, np.int64)
        # A sheet holds lines side by side, which run along its last axis.
        sheets = stack if axis else np.moveaxis(stack, 0, -1)
        for sheet in sheets if axis in line_axes(stack, neighbours) else ():
            inside = (sheet.T if axis == 1 else sheet) == phase
            turns = np.flatnonzero(np.diff(inside, prepend=False, append=False))
            start, end = turns[0::2], turns[1::2]  # a chord can start or end in length + 1 places
            start, end = start % (length + 1), end % (length + 1)
            counts += np.bincount((end - start)[(start > 0) & (end < length)],
                                  minlength=length + 1)
        by_axis.append(counts)
    return by_axis


def mean_chord(counts: Sequence[np.ndarray], voxel_nm: Voxel | None) -> float:
    """Mean length of the chords of a phase, as if all axes had equally many lines per area.

    Args:
        counts: from `chord_counts`.
        voxel_nm: size of a voxel along z, y and x, nm; None: unknown.

    Returns:
        µm (px if the size is unknown); nan if there is no chord.
    """
    voxels = sum(int(each @ np.arange(len(each))) for each in counts)
    chords = sum(each.sum() / side
                 for each, side in zip(counts, voxel_sides(voxel_nm), strict=True))
    return float(voxels / chords) if chords else float("nan")


def percolated_fractions(labels: np.ndarray, phase: int) -> dict[str, float]:
    """Share of a phase that lies in regions which reach from one end of an axis to the other.

    Args:
        labels: class indices (Z, Y, X) or (Y, X).
        phase: class index of the phase.

    Returns:
        0 to 1, by axis of more than one voxel; nan if the phase is absent. Voxels that share a face
        are connected.
    """
    stack = as_stack(labels)
    regions, n = connected_regions(stack == phase)
    size, fractions = np.count_nonzero(regions), {}
    for axis in line_axes(stack):
        ends = np.zeros((2, n + 1), bool)
        ends[0, regions.take(0, axis)] = ends[1, regions.take(-1, axis)] = True
        through = ends.all(0)
        through[0] = False  # region 0 is the other phases
        inside = sum(np.count_nonzero(through[each]) for each in regions)
        fractions[AXES[axis]] = inside / size if size else float("nan")
    return fractions


def tortuosity(labels: np.ndarray, phase: int, axis: str, voxel_nm: Voxel | None) -> float:
    """Tortuosity factor of a phase along an axis: volume fraction / effective diffusivity.

    The package taufactor (Cooper et al. 2016, doi:10.1016/j.softx.2016.09.002) computes the
    diffusion from one end to the other. Nothing diffuses outside the phase.

    Args:
        labels: class indices (Z, Y, X).
        phase: class index of a phase that percolates along the axis.
        axis: "z", "y" or "x".
        voxel_nm: size of a voxel along z, y and x, nm; None: unknown, so cubes.

    Returns:
        At least 1; nan if the computation does not converge.

    Raises:
        ImportError: taufactor is not installed.
    """
    from taufactor import AnisotropicSolver

    class Solver(AnisotropicSolver):
        """Fixes taufactor 1.2, which loses the flux of voxels that are longer than wide."""

        def vertical_flux(self) -> Tensor:
            flux = self.field[:, 2:-1, 1:-1, 1:-1] - self.field[:, 1:-2, 1:-1, 1:-1]
            inside = self.factor.isfinite()
            return flux * (inside[:, 1:] & inside[:, :-1])

    along = AXES.index(axis)
    sides = list(voxel_sides(voxel_nm))
    sides.insert(0, sides.pop(along))
    inside = np.moveaxis(labels == phase, along, 0).astype(np.uint8)
    with redirect_stdout(StringIO()):  # hides the message that the solver did not converge
        solver = Solver(inside, tuple(sides), device=best_device())
        (factor,) = solver.solve(verbose=False)
    return float(factor) if solver.converged else float("nan")


def why_left_out(stack: np.ndarray, neighbours: bool, with_tortuosity: bool) -> list[str]:
    """Say why percolation or tortuosity is not measured, if so.

    Args:
        stack: class indices (Z, Y, X).
        neighbours: whether the slices are neighbours.
        with_tortuosity: whether tortuosity is asked for.
    """
    if not neighbours:
        return ["Percolation and tortuosity are left out, because they need slices that are "
                "neighbours."]
    if with_tortuosity and stack.size > TORTUOSITY_VOXELS:
        return [f"Tortuosity is left out, because it takes long for {stack.size:,} voxels. Measure "
                f"a part of at most {TORTUOSITY_VOXELS:,}, such as a cube of "
                f"{int(TORTUOSITY_VOXELS ** (1 / 3))} voxels."]
    if with_tortuosity and find_spec("taufactor") is None:
        return ["Tortuosity is left out. To get it, run: pip install taufactor"]
    return []
