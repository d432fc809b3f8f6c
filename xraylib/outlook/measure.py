"""Measure all quantities of a segmentation, with an uncertainty from its sub-volumes.

Labels and voxel sizes are defined as in `microstructure`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tqdm import tqdm

from ..data import Phases, Voxel
from ..errors import ParameterError
from ..figures import PALE_INK
from .microstructure import (
    as_stack,
    interface_area,
    length_unit,
    triple_phase_boundaries,
    volume_fractions,
    voxel_sides,
)
from .paths import (
    chord_counts,
    mean_chord,
    percolated_fractions,
    tortuosity,
    why_left_out,
)
from .sub_volumes import split_volume, uncertainty_notes

HEADER = ("quantity", "unit", "value", "standard error", "sub-volumes")
KINDS = ("volume fraction", "interface", "triple-phase boundary", "percolated fraction",
         "tortuosity")  # one panel of the figure for each
MAX_BARS = 12  # per panel of the figure


class Name(NamedTuple):
    """The name of a quantity."""

    of: str  # "pore, " or "pore-nickel "
    kind: str  # "volume fraction", "percolated fraction along z"
    unit: str = ""

    def __str__(self) -> str:
        return self.of + self.kind


class Quantity(NamedTuple):
    """A measured quantity."""

    name: Name
    value: float
    error: float  # standard error; nan if it is unknown
    parts: int  # sub-volumes that have this quantity


def _quantities(labels: np.ndarray, voxel_nm: Voxel | None, phases: Phases,
                triples: Sequence[Sequence[int]], neighbours: bool,
                chords: Sequence[Sequence[np.ndarray]]) -> dict[Name, float]:
    """Measure all quantities except those of percolation."""
    names, unit = phases.names, length_unit(voxel_nm)
    found = {Name(f"{name}, ", "volume fraction"): float(share)
             for name, share in zip(names, volume_fractions(labels, len(phases)), strict=True)}
    for (i, j), area in interface_area(labels, voxel_nm, len(phases), neighbours).items():
        found[Name(f"{names[i]}-{names[j]} ", "interface", f"1/{unit}")] = area
    lengths = triple_phase_boundaries(labels, voxel_nm, triples, neighbours)
    for three, length in zip(triples, lengths, strict=True):
        which = "" if len(phases) == 3 else "-".join(names[i] for i in three) + " "
        found[Name(which, "triple-phase boundary", f"1/{unit}²")] = length
    for name, counts in zip(names, chords, strict=True):
        found[Name(f"{name}, ", "mean chord", unit)] = mean_chord(counts, voxel_nm)
    return found


def measure_quantities(labels: np.ndarray, voxel_nm: Voxel | None, phases: Phases,
                       neighbours: bool = True) -> dict[str, float]:
    """Measure all quantities of a segmentation, by name and unit; percolation averaged over axes.

    Args:
        labels: class indices (Z, Y, X) or (Y, X).
        voxel_nm: size of a voxel along z, y and x, nm; None: unknown, so lengths are in px.
        phases: the phases of the material.
        neighbours: whether the slices are neighbours. If not, percolation is not measured.

    Raises:
        DataError: `labels` are not class indices of `phases`, or a pixel has no label.
    """
    classes = range(len(phases))
    chords = [chord_counts(labels, phase, neighbours) for phase in classes]
    found = _quantities(labels, voxel_nm, phases, list(combinations(classes, 3)), neighbours,
                        chords)
    by_name = {f"{name}, {name.unit}" if name.unit else str(name): value
               for name, value in found.items()}
    for phase in classes if neighbours else ():
        shares = percolated_fractions(labels, phase).values()
        by_name[f"{phases.names[phase]}, percolated fraction"] = float(np.mean([*shares]))
    return by_name


def relative_error(measured: Mapping[str, float], true: Mapping[str, float]) -> dict[str, float]:
    """Relative error of each quantity: 0.26 means 26 % too much, nan where the true value is 0."""
    return {name: measured[name] / (value or np.nan) - 1 for name, value in true.items()}


@dataclass(frozen=True)
class Measurements:
    """The quantities of a volume, for a table and a figure."""

    quantities: list[Quantity]
    chords: list[list[np.ndarray]]  # of each phase, from `paths.chord_counts`
    phases: Phases
    voxel_nm: Voxel | None
    notes: list[str]  # sentences on what the numbers mean, and what is left out

    def table(self, digits: int = 4) -> list[list[str]]:
        """Return rows under `HEADER`, with so many significant digits; unknown values are empty."""
        def text(number: float) -> str:
            return "" if np.isnan(number) else f"{number:.{digits}g}"

        return [[str(each.name), each.name.unit, text(each.value), text(each.error),
                 str(each.parts)] for each in self.quantities]

    def figure(self) -> Figure:
        """Draw the quantities as bars with standard errors, and the distribution of chords."""
        panels = {kind: [each for each in self.quantities if each.name.kind.startswith(kind)]
                  for kind in KINDS}
        panels = {kind: bars for kind, bars in panels.items() if bars}
        rows = (len(panels) + 2) // 2  # two panels per row; chords fill the rest of the last row
        fig = Figure(figsize=(11, 3.4 * rows), layout="constrained")
        grid = fig.add_gridspec(rows, 2)
        for place, (kind, bars) in enumerate(panels.items()):
            self._draw_bars(kind, bars, fig.add_subplot(grid[place // 2, place % 2]))
        self._draw_chords(fig.add_subplot(grid[-1, len(panels) % 2:]))
        return fig

    def _draw_bars(self, kind: str, bars: Sequence[Quantity], ax: Axes) -> None:
        """Draw the largest quantities of one kind, a phase in its colour."""
        largest = sorted(bars, key=lambda each: -np.nan_to_num(each.value))[:MAX_BARS]
        which = f" ({MAX_BARS} largest of {len(bars)})" if len(bars) > MAX_BARS else ""
        bars = [each for each in bars if each in largest]
        colours = dict(zip(self.phases.names, self.phases.colours, strict=True))
        owners = [each.name.of.removesuffix(", ").strip() for each in bars]
        labels = [owner + each.name.kind.removeprefix(kind)
                  for owner, each in zip(owners, bars, strict=True)]
        ax.barh(range(len(bars)), [each.value for each in bars],
                xerr=[np.nan_to_num(each.error) for each in bars],
                color=[colours.get(owner, PALE_INK) for owner in owners])
        ax.set_yticks(range(len(bars)), labels)
        ax.invert_yaxis()
        ax.set_xlim(left=0)
        unit = bars[0].name.unit
        ax.set(xlabel=f"{kind}, {unit}{which}" if unit else kind + which)

    def _draw_chords(self, ax: Axes) -> None:
        """Draw which share of a phase's chords has which length."""
        sides = voxel_sides(self.voxel_nm)
        longest = max(side * counts.nonzero()[0].max(initial=1) for by_axis in self.chords
                      for side, counts in zip(sides, by_axis, strict=True))
        voxels_per_bin = np.ceil(longest / max(sides) / 40)
        bins = max(sides) * (0.5 + voxels_per_bin * np.arange(41))
        for name, colour, by_axis in zip(self.phases.names, self.phases.colours, self.chords,
                                         strict=True):
            shares = sum(np.histogram(side * np.arange(len(counts)), bins, weights=counts / side)[0]
                         for side, counts in zip(sides, by_axis, strict=True))
            ax.stairs(100 * shares / (shares.sum() or 1), bins, color=colour, lw=1.5, label=name)
            ax.axvline(mean_chord(by_axis, self.voxel_nm), color=colour, ls="--", lw=1)
        ax.set(xlabel=f"length of a chord (dashed: mean), {length_unit(self.voxel_nm)}",
               ylabel="share of the chords, %")
        ax.legend(frameon=False)


def measure_volume(labels: np.ndarray, voxel_nm: Voxel | None, phases: Phases,
                   triple: Sequence[str] | None = None, parts: int = 8,
                   neighbours: bool = True, with_tortuosity: bool = False) -> Measurements:
    """Measure all quantities of a segmentation, and how much they differ between its sub-volumes.

    Besides the labels, this needs about five bytes per voxel.

    Args:
        labels: class indices, uint8 (Z, Y, X).
        voxel_nm: size of a voxel along z, y and x, nm; None: unknown, so lengths are in px.
        phases: the phases of the material.
        triple: names of the three phases whose triple-phase boundary is measured; None: all.
        parts: number of sub-volumes; 1: no uncertainty.
        neighbours: whether the slices are neighbours. If not, percolation is not measured.
        with_tortuosity: whether to compute tortuosities, which takes minutes and needs taufactor.

    Raises:
        DataError: `labels` are not class indices of `phases`, or a pixel has no label.
        ParameterError: `triple` are not three phases, or there are too many `parts`.
    """
    stack, classes = as_stack(labels, len(phases)), range(len(phases))
    neighbours = neighbours and len(stack) > 1
    triples = _triples(triple, phases)
    blocks = split_volume(stack.shape, parts, voxel_nm, neighbours)
    why_not = why_left_out(stack, neighbours, with_tortuosity)
    with_tortuosity = with_tortuosity and not why_not

    def measured(part: np.ndarray) -> tuple[dict[Name, float], list[list[np.ndarray]]]:
        chords = [chord_counts(part, phase, neighbours) for phase in classes]
        found = _quantities(part, voxel_nm, phases, triples, neighbours, chords)
        shares = {phase: percolated_fractions(part, phase) for phase in classes if neighbours}
        for phase, by_axis in shares.items():
            for axis, share in by_axis.items():
                of = f"{phases.names[phase]}, "
                found[Name(of, f"percolated fraction along {axis}")] = share
        for phase, by_axis in shares.items() if with_tortuosity else ():
            for axis, share in by_axis.items():
                found[Name(f"{phases.names[phase]}, ", f"tortuosity along {axis}")] = (
                    tortuosity(part, phase, axis, voxel_nm) if share > 0 else np.nan)
        return found, chords

    (whole, chords), *of_blocks = [
        measured(stack[block]) for block in tqdm([(), *blocks], "measuring", leave=False)]
    quantities = []
    for name, value in whole.items():
        values = np.array([found.get(name, np.nan) for found, _ in of_blocks])
        values = values[np.isfinite(values)]
        error = values.std(ddof=1) / len(values)**0.5 if len(values) > 1 else np.nan
        quantities.append(Quantity(name, value, float(error), len(values)))
    notes = uncertainty_notes(stack, blocks, voxel_nm, phases, chords, neighbours)
    absent = [name for name in phases.names if whole[Name(f"{name}, ", KINDS[0])] == 0]
    if absent:
        notes.append(f"The segmentation contains no {' and no '.join(absent)}.")
    return Measurements(quantities, chords, phases, voxel_nm, [*notes, *why_not])


def _triples(triple: Sequence[str] | None, phases: Phases) -> list[Sequence[int]]:
    """Return the phases of each triple-phase boundary: the three named ones, or all triples."""
    if triple is None:
        return list(combinations(range(len(phases)), 3))
    if len(set(triple)) != 3 or len(triple) != 3 or not set(triple) <= set(phases.names):
        raise ParameterError(f"triple is {', '.join(triple)}; name three different phases of "
                             f"{', '.join(phases.names)}.")
    return [[phases.names.index(name) for name in triple]]
