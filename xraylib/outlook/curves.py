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

_LOOKS = (("v:", PALE_INK), ("^--", PALE_INK), ("X-", "#e69f00"), ("D-.", "#56b4e9"),
          ("p-", "#999933"), ("s--", OTHER_INK))
METHOD_STYLES = {  # marker with line, and colour, of each method of notebook 10
    **dict(zip(METHODS, _LOOKS, strict=True)), NETWORK: ("o-", INK)}
FEWEST_PIXELS = 100  # bins of confidence with fewer pixels are not drawn


def dice_by_group(groups: Mapping[str, Sequence[float]], ax: Axes, label: str = "",
                  style: str = "o", colour: str = INK, shift: float = 0) -> None:
    """Draw the Dice of every run as a point, one group beside the other, and the means as bars.
    Args:
        groups: Dice of the runs, 0..1, by the name of their group.
        label: name in the legend.
        shift: distance by which points are moved to the right of their group's place, 0..1.
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
        A size, interpolated over its logarithm, at least the first size; inf if none reaches it.
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
             limits: tuple[float, float], bold: np.ndarray) -> None:
    """Draw a table of numbers, (rows, columns), on shades of grey that begin at the lower limit.
    Args:
        limits: lowest and highest value; the highest is pale grey, so that numbers are readable.
        bold: which numbers are bold and black, bool (rows, columns); the others are grey.
    """
    low, high = limits
    ax.imshow(values, cmap="Greys", vmin=low, vmax=low + 3 * (high - low))
    for (row, column), value in np.ndenumerate(values):
        ax.text(column, row, f"{value:.1f}", ha="center", va="center",
                weight="bold" if bold[row, column] else "normal",
                color="black" if bold[row, column] else "0.4")
    ax.set(xticks=range(len(columns)), xticklabels=columns, yticks=range(len(rows)),
           yticklabels=rows)


def reliability_diagram(reliabilities: Mapping[str, Reliability], n_classes: int, ax: Axes,
                        pixels: int) -> None:
    """Draw accuracy against confidence. On the diagonal, both are equal, which is ideal.
    Args:
        reliabilities: by name; the legend also shows the calibration errors.
        n_classes: number of phases; the lowest possible confidence is 1 / n_classes.
        pixels: number of pixels in all bins; bins with fewer than `FEWEST_PIXELS` are left out.
    """
    ax.plot([100 / n_classes, 100], [100 / n_classes, 100], color=PALE_INK, ls="--", label="ideal")
    for (name, each), (style, colour) in zip(reliabilities.items(),
                                             cycle((("o-", INK), ("s-", OTHER_INK))), strict=False):
        full = each.share * pixels >= FEWEST_PIXELS
        ax.plot(100 * each.confidence[full], 100 * each.accuracy[full], style, color=colour, ms=4,
                label=f"{name}: error {100 * each.calibration_error:.1f} %")
    ax.set(xlabel="confidence (probability of the predicted phase), %",
           ylabel="share of correct pixels, %", ylim=(0, 103))
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
    ax.set(xlabel="added noise, thousand grey levels", ylabel="confidence, correct pixels, %",
           ylim=(0, 103))
    ax.grid(alpha=0.3)
    ax.legend(frameon=False, loc="lower left")


def error_shares(shares: np.ndarray, names: Sequence[str], ax: Axes, xlabel: str) -> None:
    """Draw the share of wrong pixels in each bin.
    Args:
        shares: (3, bins), from `calibration.errors_by_bin`. The bars show the last row. The numbers
            above them show the second row, the share of all wrong pixels that lie in the bin.
        names: names of the bins.
    """
    place, rates = np.arange(len(names)), 100 * np.nan_to_num(shares[2])
    ax.bar(place, rates, 0.7, color=OTHER_INK)
    for at, (every, wrong, _), rate in zip(place, shares.T, rates, strict=True):
        text = f"{100 * wrong:.0f} %" if every else "no pixel"
        ax.annotate(text, (at, rate), (0, 3), textcoords="offset points", ha="center")
    ax.set(xticks=place, xticklabels=names, xlabel=xlabel, ylabel="wrong pixels in the bin, %",
           title="number above a bar: share of all errors", ylim=(0, 1.12 * max(rates.max(), 0.1)))


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
    """Draw an indicator slice by slice, in per cent ("shift": in standard deviations).

    Slices with an alarm are purple. The band reaches `ALARM_LIMIT` standard deviations from the
    mean of the reference.
    """
    factor, unit = (1, "standard deviations") if name == "shift" else (100, "%")
    values, expected = (factor * each.indicators[name] for each in (volume, reference))
    alarm = slice_alarms(reference, volume)[name]
    middle, reach = np.nanmean(expected), ALARM_LIMIT * np.nanstd(expected)
    ax.axhspan(max(middle - reach, 0), middle + reach, color=PALE_INK, alpha=0.4, lw=0,
               label="normal")
    for chosen, style, colour, label in ((~alarm, "o", INK, "no alarm"),
                                         (alarm, "D", OTHER_INK, "alarm")):
        ax.plot(volume.numbers[chosen], values[chosen], style, color=colour, ms=4,
                label=label if chosen.any() else None)
    ax.set(title=f"{name} ({'low' if INDICATORS[name] < 0 else 'high'} is bad)", xlabel="slice",
           ylabel=f"{name}, {unit}")
    ax.legend(frameon=False)


def fractions_along_z(reference: Inspection, volume: Inspection, ax: Axes) -> None:
    """Draw the share of each phase slice by slice; lines show the means of the reference."""
    phases, looks = volume.phases, cycle(zip("o^sv", ((0, (6, 6)), (3, (3, 3)), (6, (6, 6)), "-."),
                                             strict=True))
    for name, colour, shares, expected, (marker, dashes) in zip(
            phases.names, phases.colours, volume.fractions.T, reference.fractions.mean(0), looks,
            strict=False):
        ax.plot(volume.numbers, 100 * shares, marker, ms=3.5, color=colour, label=name)
        ax.axhline(100 * expected, color=colour, ls=dashes, lw=1.2)
    ax.set(xlabel="slice", ylabel="share of the slice, %")
    ax.margins(y=0.25)
    ax.legend(frameon=False, ncols=3, loc="upper center", columnspacing=1, handletextpad=0.2)
