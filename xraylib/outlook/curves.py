"""Figures of notebooks 1b and 5 to 10."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ..data import Phases
from ..figures import INK, OTHER_INK, PALE_INK, mask_image, show_slice
from .calibration import Reliability
from .classical import METHODS, NETWORK
from .microstructure import triple_point_map
from .quality import ALARM_LIMIT, INDICATORS, Inspection, slice_alarms

_LOOKS = (("v:", "0.7"), ("^--", "0.7"), ("s-", "#ccbb44"), ("D-", "#663300"), ("p-", "#999933"),
          ("o-", OTHER_INK))
METHOD_STYLES = {  # marker with line, and colour, of each method of notebook 10
    **dict(zip(METHODS, _LOOKS, strict=True)), NETWORK: ("o-", INK)}


def dice_by_group(groups: Mapping[str, Sequence[float]], ax: Axes, label: str = "",
                  style: str = "o", colour: str = INK, shift: float = 0) -> None:
    """Draw the Dice of every run as a point, one group beside the other, and the means as bars.
    Args:
        groups: Dice of the runs, 0..1, by the name of their group.
        label: name in the legend.
        shift: distance to the right of the group's place, 0..1.
    """
    for place, values in enumerate(groups.values()):
        spread = shift + np.linspace(-0.08, 0.08, len(values)) * (len(values) > 1)
        ax.plot(place + spread, 100 * np.array(values), style, color=colour, ms=6, alpha=0.8,
                label=label if place == 0 else None)
        ax.hlines(100 * np.mean(values), place + shift - 0.16, place + shift + 0.16, color=colour,
                  lw=2)
    ax.set(xticks=range(len(groups)), xticklabels=groups, ylabel="Dice, %")
    ax.grid(axis="y", alpha=0.3)


def dice_against_noise(rows: Sequence[Mapping[str, Any]], ax: Axes) -> None:
    """Draw Dice against the noise in the segmented slices, one line per method.
    Args:
        rows: from `classical.benchmark_methods`, of one training noise. The bars are the standard
            deviation over the runs of a method.
    """
    for method, (style, colour) in METHOD_STYLES.items():
        runs = [row for row in rows if row["method"] == method]
        if not runs:
            continue
        dice = 100 * np.array([row["dice"] for row in runs])
        spread = dice.std(0, ddof=1) if len(runs) > 1 else None
        ax.errorbar(np.array(runs[0]["noise_stds"]) / 1000, dice.mean(0), spread, fmt=style,
                    color=colour, ms=4, capsize=2, label=method)
    ax.set(xlabel="noise in the segmented slices, thousand grey levels", ylabel="test set Dice, %")
    ax.grid(alpha=0.3)


def smallest_reaching(sizes: Sequence[float], dice: np.ndarray, target: float) -> float:
    """Interpolate the smallest training set whose mean Dice reaches a target.
    Args:
        sizes: numbers of training slices, ascending.
        dice: (runs, sizes), 0..1.
        target: Dice, 0..1.
    Returns:
        A size, by straight lines over its logarithm, at least the first; inf if none does.
    """
    mean, logs = dice.mean(0), np.log(sizes)
    if not (mean >= target).any():
        return float("inf")
    at = int(np.argmax(mean >= target))
    if at == 0:
        return float(sizes[0])
    return float(np.exp(np.interp(target, mean[at - 1:at + 1], logs[at - 1:at + 1])))


def dice_against_distance(distance: np.ndarray, dice: np.ndarray, ax: Axes, name: str, style: str,
                          colour: str) -> None:
    """Draw Dice of N slices against the distance to the training set, in bins that double.
    Args:
        distance: int (N,), slices to the nearest training slice, at least 1.
        dice: (N,), 0..1.
    """
    edges = 2 ** np.arange(int(np.log2(distance.max())) + 2)
    places = np.digitize(distance, edges)
    means = [(distance[places == place].mean(), 100 * dice[places == place].mean())
             for place in np.unique(places)]
    ax.plot(*np.transpose(means), style, color=colour, ms=5, label=name)
    ax.set(xscale="log", xlabel="slices to the nearest training slice", ylabel="Dice, %")
    ax.set_xticks(edges[:-1], edges[:-1])
    ax.minorticks_off()
    ax.grid(alpha=0.3)


def heat_map(values: np.ndarray, rows: Sequence[str], columns: Sequence[str], ax: Axes,
             limits: tuple[float, float]) -> None:
    """Draw a table of numbers, (rows, columns), from white to black at the two limits."""
    ax.imshow(values, cmap="Greys", vmin=limits[0], vmax=limits[1])
    for (row, column), value in np.ndenumerate(values):
        ax.text(column, row, f"{value:.1f}", ha="center", va="center",
                color="white" if value > np.mean(limits) else "black")
    ax.set(xticks=range(len(columns)), xticklabels=columns, yticks=range(len(rows)),
           yticklabels=rows)


def tipping_line(kept: np.ndarray, ax: Axes) -> None:
    """Draw a thick line around the kept fields of a heat map, bool (rows, columns)."""
    edges = np.pad(kept, 1)
    for axis, (down, right) in ((0, (0, 1)), (1, (1, 0))):
        for y, x in np.argwhere(np.diff(edges, axis=axis)):
            start = np.array([x - 1.5 + (axis == 1), y - 1.5 + (axis == 0)])
            ax.plot(*zip(start, start + [right, down], strict=True), color=OTHER_INK, lw=3,
                    solid_capstyle="round", clip_on=False)


def reliability_diagram(reliabilities: Mapping[str, Reliability], n_classes: int, ax: Axes) -> None:
    """Draw accuracy against confidence; on the diagonal, confidence means what it says.
    Args:
        reliabilities: by name; the legend also shows the calibration errors.
        n_classes: number of phases; the lowest possible confidence is 1 / n_classes.
    """
    ax.plot([1 / n_classes, 1], [1 / n_classes, 1], color=PALE_INK, ls="--", label="ideal")
    for (name, each), (style, colour) in zip(reliabilities.items(),
                                             cycle((("o-", INK), ("s-", OTHER_INK))), strict=False):
        ax.plot(each.confidence, each.accuracy, style, color=colour, ms=4,
                label=f"{name}: error {100 * each.calibration_error:.1f} %")
    ax.set(xlabel="confidence (probability of the predicted phase)",
           ylabel="share of correct pixels", ylim=(0, 1.02))
    ax.grid(alpha=0.3)
    ax.legend(frameon=False, loc="upper left")


def confidence_against_noise(noise_stds: Sequence[float], reliabilities: Sequence[Reliability],
                             ax: Axes) -> None:
    """Draw mean confidence and accuracy against noise, and shade the difference.
    Args:
        noise_stds: standard deviations of the noise, grey levels, one per reliability.
    """
    levels = np.array(noise_stds) / 1000
    confidence = 100 * np.array([each.mean_confidence for each in reliabilities])
    accuracy = 100 * np.array([each.mean_accuracy for each in reliabilities])
    ax.plot(levels, confidence, "s-", color=OTHER_INK, label="mean confidence")
    ax.plot(levels, accuracy, "o-", color=INK, label="correct pixels")
    ax.fill_between(levels, confidence, accuracy, color=OTHER_INK, alpha=0.12, lw=0)
    ax.set(xlabel="added noise, thousand grey levels", ylabel="%", ylim=(0, 103))
    ax.grid(alpha=0.3)
    ax.legend(frameon=False, loc="lower left")


def error_shares(shares: np.ndarray, names: Sequence[str], ax: Axes, xlabel: str) -> None:
    """Draw which share of all and of the wrong pixels lies in each bin.
    Args:
        shares: (3, bins), from `calibration.errors_by_bin`; the text above each pair of bars is
            the last row, the share of the bin's pixels that are wrong.
        names: names of the bins.
    """
    place = np.arange(len(names))
    ax.bar(place - 0.2, 100 * shares[0], 0.4, color=PALE_INK, label="of all pixels")
    ax.bar(place + 0.2, 100 * shares[1], 0.4, color=OTHER_INK, label="of the wrong pixels")
    for at, (every, wrong, rate) in zip(place, shares.T, strict=True):
        text = f"{100 * rate:.2f} %\nwrong" if every else "none"
        ax.text(at, 100 * max(every, wrong) + 1, text, ha="center", va="bottom", fontsize=8)
    ax.set(xticks=place, xticklabels=names, xlabel=xlabel, ylabel="share, %",
           ylim=(0, 100 * shares[:2].max() + 14))
    ax.legend(frameon=False)


def show_triple_points(labels: np.ndarray, phases: Phases, ax: Axes, title: str) -> None:
    """Show a mask, class indices (H, W), with a dot on each corner where three phases meet."""
    show_slice(mask_image(labels, phases), ax, title)
    rows, columns = np.nonzero(triple_point_map(labels))
    ax.plot(columns + 0.5, rows + 0.5, "o", ms=7, mfc="white", mec="black")


def grey_quantile_histograms(quantiles: Mapping[str, np.ndarray], ax: Axes) -> None:
    """Draw histograms of grey levels from their `quality.grey_quantiles`, one per name."""
    for (name, levels), colour in zip(quantiles.items(), cycle((PALE_INK, OTHER_INK, INK)),
                                      strict=False):
        bins = np.linspace(levels[1], levels[-2], 80)
        counts = np.histogram(levels, bins)[0] / len(levels) / (bins[1] - bins[0])
        ax.stairs(counts, bins, color=colour, lw=1.5, label=name)
    ax.set(xlabel="grey level (16 bit)", ylabel="share of pixels", yticks=[])
    ax.legend(frameon=False)


def indicator_along_z(reference: Inspection, volume: Inspection, name: str, ax: Axes) -> None:
    """Draw an indicator slice by slice.

    Slices with an alarm are purple. The band reaches `ALARM_LIMIT` standard deviations from the
    mean of the reference.
    """
    values, expected = volume.indicators[name], reference.indicators[name]
    alarm = slice_alarms(reference, volume)[name]
    middle, reach = np.nanmean(expected), ALARM_LIMIT * np.nanstd(expected)
    ax.axhspan(max(middle - reach, 0), middle + reach, color=PALE_INK, alpha=0.4, lw=0)
    for chosen, colour, label in ((~alarm, INK, "normal"), (alarm, OTHER_INK, "alarm")):
        ax.plot(volume.numbers[chosen], values[chosen], "o", color=colour, ms=4, label=label)
    ax.set(title=f"{name} ({'low' if INDICATORS[name] < 0 else 'high'} is bad)", xlabel="slice")


def fractions_along_z(reference: Inspection, volume: Inspection, ax: Axes) -> None:
    """Draw the share of each phase slice by slice; dashed: the mean of the reference."""
    phases = volume.phases
    for name, colour, shares, expected in zip(phases.names, phases.colours, volume.fractions.T,
                                              reference.fractions.mean(0), strict=True):
        ax.plot(volume.numbers, 100 * shares, ".", color=colour, label=name)
        ax.axhline(100 * expected, color=colour, ls="--", lw=1)
    ax.set(xlabel="slice", ylabel="share of the slice, %")
    ax.margins(y=0.25)
    ax.legend(frameon=False, ncols=3, loc="upper center", columnspacing=1, handletextpad=0.2)
