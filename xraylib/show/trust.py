"""Figures of what a segmentation is worth: against other methods, in a material's quantities, in confidence."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes

from ..material.classical import METHODS, NETWORK, cut, gaussian, midpoint_limits
from ..material.phases import three_meet
from ..material.trust import Reliability
from ..material.unlabelled import INDICATORS, LIMIT, Look, rings
from ..noise import add_noise
from ..slices.labelled import PHASES, Slices
from .explore import MAX_NOISE, SMALLEST, Panel, palette_choice, panel, slider
from .plots import INK, LINES, OTHER_INK, PALE_INK, error_image, mask_image, show
from .views import grey_picture, legend, numbers, side_by_side

LOOKS = (("v:", "0.7"), ("^--", "0.7"), ("s-", "#ccbb44"), ("D-", "#663300"), ("p-", "#999933"), ("o-", OTHER_INK))
STYLES = dict(zip(METHODS, LOOKS, strict=True)) | {NETWORK: ("o-", INK)}     # marker, line and colour of each method


def fall_with_noise(rows: Sequence[Mapping], ax: Axes, lines: bool = True) -> None:
    """Dice against the noise of the slices that are segmented, one line a method; bars over the runs of the same one.

    ``rows``: as `classical.contest` gives them, of one training noise. ``lines``: else open circles, and no name.
    """
    for method, (style, colour) in STYLES.items():
        of = [row for row in rows if row["method"] == method]
        if not of:
            continue
        dice = 100 * np.array([row["dice"] for row in of])
        spread = dice.std(0, ddof=1) if len(of) > 1 else None
        look = ({"fmt": style, "ms": 4, "capsize": 2, "label": method} if lines else
                {"fmt": "o", "mfc": "none", "ms": 9})
        ax.errorbar(np.array(of[0]["noise_stds"]) / 1000, dice.mean(0), spread, color=colour, **look)
    ax.set(xlabel="noise in the slices that are segmented, thousand grey levels", ylabel="test block Dice, %")
    ax.grid(alpha=0.3)


def against_dice(points: Mapping[str, Sequence[tuple[float, float]]], ax: Axes, title: str) -> None:
    """How far a quantity is off, in per cent of the true one, against Dice in per cent; points of a name are runs."""
    for (name, pairs), marker in zip(points.items(), cycle("osDv^p<>hX*"), strict=False):
        ax.plot(*np.transpose(pairs), marker, ms=6, label=name, color=INK if NETWORK in name else PALE_INK,
                mfc="none" if NETWORK in name else None)
    ax.axhline(0, color=INK, lw=1)
    ax.set(xlabel="Dice, %", title=title)
    ax.grid(alpha=0.3)


def reliability_diagram(named: Mapping[str, Reliability], ax: Axes) -> None:
    """Accuracy against confidence in bins of it, a curve a name; on the diagonal, confidence means what it says."""
    ax.plot([1 / 3, 1], [1 / 3, 1], color=PALE_INK, ls="--", label="as it should be")
    for (name, of), (style, colour) in zip(named.items(), cycle((("o-", INK), ("s-", OTHER_INK))), strict=False):
        ax.plot(of.confidence, of.accuracy, style, color=colour, ms=4, label=f"{name}: error {100 * of.error:.1f} %")
    ax.set(xlabel="confidence (probability of the chosen phase)", ylabel="share of them that is right", ylim=(0, 1.02))
    ax.grid(alpha=0.3)
    ax.legend(frameon=False, loc="upper left")


def confidence_with_noise(noise_stds: Sequence[float], of: Sequence[Reliability], ax: Axes) -> None:
    """Mean confidence and accuracy against noise: where they part, the network does not know that it fails."""
    confidence, accuracy = 100 * np.array([each.mean for each in of]).T
    levels = np.array(noise_stds) / 1000
    ax.plot(levels, confidence, "s-", color=OTHER_INK, label="mean confidence")
    ax.plot(levels, accuracy, "o-", color=INK, label="pixels that are right")
    ax.fill_between(levels, confidence, accuracy, color=OTHER_INK, alpha=0.12, lw=0)
    ax.set(xlabel="added noise, thousand grey levels", ylabel="%", ylim=(0, 103))
    ax.grid(alpha=0.3)
    ax.legend(frameon=False, loc="lower left")


def shares(found: np.ndarray, names: Sequence[str], ax: Axes, xlabel: str) -> None:
    """Bars by bins: the share of all pixels and of the wrong ones; above them, how many of the bin's are wrong.

    ``found``: (3, bins), as `trust.share_wrong` gives it.
    """
    place = np.arange(len(names))
    ax.bar(place - 0.2, 100 * found[0], 0.4, color=PALE_INK, label="of all pixels")
    ax.bar(place + 0.2, 100 * found[1], 0.4, color=OTHER_INK, label="of the wrong pixels")
    for at, column in zip(place, found.T, strict=True):
        wrong = f"{100 * column[2]:.2f} %\nwrong" if column[0] else "none"
        ax.text(at, 100 * column[:2].max() + 1, wrong, ha="center", va="bottom", fontsize=8)
    ax.set(xticks=place, xticklabels=names, xlabel=xlabel, ylabel="share, %", ylim=(0, 100 * found[:2].max() + 14))
    ax.legend(frameon=False)


def triple_picture(labels: np.ndarray, ax: Axes, title: str) -> None:
    """A mask, (H, W), with a dot at each corner where three phases meet."""
    show(mask_image(labels), ax, title)
    rows, columns = np.nonzero(three_meet(labels))
    ax.plot(columns + 0.5, rows + 0.5, "o", ms=7, mfc="white", mec="black")


def explore_thresholds(slices: Slices, seed: int = 0) -> Panel:
    """Sliders to segment by hand: noise, a Gaussian filter and two thresholds, which begin at the phases' midpoints."""
    low, high = (round(limit, -2) for limit in midpoint_limits(slices))
    controls = {"number": slider("slice", 1, len(slices), 1), "noise": slider("added noise", 0, MAX_NOISE, 0, 500),
                "sigma": slider("Gaussian, 0.1 px", 0, 50, 0, 1), "low": slider("pore below", 0, 2**16, int(low), 100),
                "high": slider("nickel above", 0, 2**16, int(high), 100), "palette": palette_choice()}

    def draw(number: int, noise: int, sigma: int, low: int, high: int, palette: str) -> tuple[np.ndarray, str]:
        truth = slices.labels[number - 1]
        image = add_noise(slices.images[number - 1], noise, seed, int(slices.numbers[number - 1]))
        smooth = gaussian(image, sigma / 10)
        labels = cut(smooth, sorted((low, high)))
        shown = side_by_side([grey_picture(smooth), error_image(truth, labels, palette)])
        return shown, numbers(truth, labels) + legend(palette)

    return panel(controls, draw, f"{2 * (max(slices.shape[1], SMALLEST) + 8)}px")


# -- without labels ---------------------------------------------------------------------------------------------------


def grey_levels_of(named: Mapping[str, np.ndarray], ax: Axes) -> None:
    """Histograms of grey levels, one a name, from their quantiles (`unlabelled.grey_quantiles`)."""
    for (name, quantiles), colour in zip(named.items(), cycle((PALE_INK, OTHER_INK, INK)), strict=False):
        bins = np.linspace(quantiles[1], quantiles[-2], 80)
        counts = np.histogram(quantiles, bins)[0] / len(quantiles) / (bins[1] - bins[0])
        ax.stairs(counts, bins, color=colour, lw=1.5, label=name)
    ax.set(xlabel="grey level (16 bit)", ylabel="share of pixels", yticks=[])
    ax.legend(frameon=False)


def along_z(here: Look, usual: Look, name: str, ax: Axes) -> None:
    """An indicator slice by slice; circled where it rings; the band is what is usual, out to where it would ring."""
    values, loud, of = here.indicators[name], rings(usual, here)[name], usual.indicators[name]
    middle, reach = np.nanmean(of), LIMIT * np.nanstd(of)
    ax.axhspan(max(middle - reach, 0), middle + reach, color=PALE_INK, alpha=0.4, lw=0)
    ax.plot(here.numbers, values, ".", color=INK, ms=4)
    ax.plot(here.numbers[loud], values[loud], "o", color=OTHER_INK, mfc="none", ms=6)
    ax.set(title=f"{name} ({'low' if INDICATORS[name] < 0 else 'high'} is bad)", xlabel="slice")


def fractions_along_z(here: Look, usual: Look, ax: Axes) -> None:
    """The share of each phase slice by slice; dashed: its mean in the training volume."""
    for phase, (name, colour) in enumerate(zip(PHASES, LINES, strict=True)):
        ax.plot(here.numbers, 100 * here.fractions[:, phase], ".", color=colour, label=name)
        ax.axhline(100 * usual.fractions[:, phase].mean(), color=colour, ls="--", lw=1)
    ax.set(xlabel="slice", ylabel="share of the slice, %")
    ax.margins(y=0.25)
    ax.legend(frameon=False, ncols=3, loc="upper center", columnspacing=1, handletextpad=0.2)


def indicator_against_dice(here: Look, dice: np.ndarray, name: str, correlation: float, ax: Axes) -> None:
    """An indicator against the true Dice of each slice, (N,), 0..1; ``correlation``: by rank, for the title."""
    ax.plot(100 * dice, here.indicators[name], ".", color=INK)
    ax.set(title=f"{name}: {correlation:.2f}", xlabel="true Dice, %", ylabel=name)
