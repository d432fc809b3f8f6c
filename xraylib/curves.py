"""Figures of scores and features, and the power law that a learning curve follows."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.optimize import curve_fit

from .data import Phases
from .figures import INK, OTHER_INK, PALE_INK

History = Sequence[Mapping[str, float]]


def _plot_columns(history: History, ax: Axes, ylabel: str,
                  lines: Iterable[tuple[str, str, str, str]], factor: float = 100) -> None:
    """Draw columns of a history against the training step: (column, name, style, colour) each."""
    steps = [row["step"] for row in history]
    for column, name, style, colour in lines:
        values = [factor * row[column] for row in history]
        ax.plot(steps, values, style, color=colour, ms=4, label=name)
    ax.set(xlabel="step", ylabel=ylabel)
    ax.grid(alpha=0.3)
    ax.legend(frameon=False)


def loss_curve(history: History, ax: Axes) -> None:
    """Draw training and validation loss against the training step."""
    lines = [("train_loss", "training", "o-", PALE_INK), ("val_loss", "validation", "o-", INK)]
    _plot_columns(history, ax, "cross-entropy + Dice loss", lines, factor=1)


def learning_curve(history: History, ax: Axes, phases: Phases) -> None:
    """Draw validation Dice against the training step, for each phase and on average."""
    lines = [(f"dice_{name}", name, "-", colour)
             for name, colour in zip(phases.names, phases.colours, strict=True)]
    _plot_columns(history, ax, "validation Dice, %", [*lines, ("dice", "mean", "o-", INK)])


def clean_and_noisy_curve(history: History, clean_axis: Axes, noisy_axis: Axes) -> None:
    """Draw validation Dice: the clean half on one axis, the noisy half and the mean on the other.

    Clean Dice varies by tenths of a per cent, noisy Dice by tens. Without noise, they are equal.
    """
    clean, noisy = (name if name in history[0] else "dice" for name in ("dice_clean", "dice_noisy"))
    _plot_columns(history, clean_axis, "validation Dice, %", [(clean, "clean half", "o-", INK)])
    _plot_columns(history, noisy_axis, "validation Dice, %", [
        ("dice", "mean of both halves", "s-", PALE_INK),
        (noisy, "noisy half", "v-", OTHER_INK)])


def noise_and_rate(history: History, upper: Axes, lower: Axes) -> None:
    """Draw the noisy half's Dice above the clean half's; shade the first learning rate's steps."""
    clean_and_noisy_curve(history, lower, upper)
    first = [row["step"] for row in history if row["lr"] == history[0]["lr"]]
    for ax in (upper, lower):
        ax.axvspan(0, first[-1], color=PALE_INK, alpha=0.2, lw=0)
    upper.set_xlabel("")
    upper.figure.align_ylabels()
    lower.set_xlabel("step (shaded: first learning rate)")


def curve_picture(history: History, phases: Phases, step: int) -> np.ndarray:
    """Draw validation Dice with a marker at a step, as RGB uint8 (500, 420, 3)."""
    figure = Figure(figsize=(4.2, 5), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    if "dice_noisy" in history[0]:
        clean_and_noisy_curve(history, *figure.subplots(2, 1, height_ratios=[1, 1.6]))
    else:
        learning_curve(history, figure.subplots(), phases)
    for ax in figure.axes:
        ax.label_outer()
        ax.axvline(step, color="black", lw=6, alpha=0.2)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def statistics_curves(rows: History, ax: Axes) -> None:
    """Draw Dice of noisy slices against the step, with three kinds of batch-norm statistics."""
    _plot_columns(rows, ax, "Dice of noisy slices, %", [
        ("as_trained", "running averages, as trained", "v-", OTHER_INK),
        ("clean", "statistics of clean slices", "o:", INK),
        ("noisy", "statistics of noisy slices", "s-", PALE_INK)])
    ax.set_ylim(0, 101)


def confusion_heat_map(counts: np.ndarray, phases: Phases, ax: Axes, title: str = "") -> None:
    """Draw which phases each true phase is predicted as, in %; counts: int [true, predicted]."""
    share = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    ax.imshow(share, cmap="Greys", vmin=0, vmax=115)
    for (true, predicted), value in np.ndenumerate(share):
        ax.text(predicted, true, f"{value:.1f} %", ha="center", va="center",
                color="white" if value > 57.5 else "black")
    places, names = range(len(phases)), phases.names
    ax.set(xlabel="predicted phase", ylabel="true phase (a row adds up to 100 %)", title=title,
           xticks=places, xticklabels=names, yticks=places, yticklabels=names)


def feature_histograms(features: Sequence[np.ndarray], labels: np.ndarray, phases: Phases,
                       titles: Sequence[str], axes: Sequence[Axes]) -> None:
    """Draw histograms by true phase of one feature, (H, W), in several versions of a slice."""
    low, high = np.percentile(np.stack(features), [0.1, 99.9])
    bins = np.linspace(low, high, 120)
    for feature, title, ax in zip(features, titles, axes, strict=True):
        for phase, (name, colour) in enumerate(zip(phases.names, phases.colours, strict=True)):
            counts = np.histogram(feature[labels == phase], bins)[0]
            ax.stairs(counts / labels.size, bins, fill=True, alpha=0.55, color=colour, label=name)
        ax.set(xlabel="value, in standard deviations\nof the training set", yticks=[], title=title)
    axes[0].set_ylabel("share of pixels")
    axes[0].legend(frameon=False)


def channel_spread(clean: np.ndarray, noisy: np.ndarray, ax: Axes) -> None:
    """Draw the standard deviation of every channel, (C,), for a clean slice and its noisy copy."""
    place = np.arange(len(clean))
    ax.bar(place - 0.2, clean, 0.4, color=INK, label="clean slice")
    ax.bar(place + 0.2, noisy, 0.4, color=OTHER_INK, label="its noisy copy")
    ax.axhline(1, color="0.5", lw=1, ls="--")
    ax.annotate("what later\nlayers expect", (1, 1), (8, 0), ("axes fraction", "data"),
                "offset points", va="center", annotation_clip=False)
    ax.set(xlabel="channel of the first convolution", ylabel="standard deviation", xticks=place)
    ax.legend(frameon=False)


def probability_curves(noise_stds: Sequence[float], rows: np.ndarray, phases: Phases,
                       ax: Axes) -> None:
    """Draw the mean probability of each phase, (noise levels, C), against the noise."""
    for name, colour, probability in zip(phases.names, phases.colours, rows.T, strict=True):
        ax.plot(noise_stds, 100 * probability, "o-", ms=4, color=colour, label=name)
    ax.set(xlabel="added noise, grey levels", ylabel="mean probability, %", ylim=(-2, 102))
    ax.grid(alpha=0.3)
    ax.legend(frameon=False)


def dice_against_size(sizes: Sequence[float], dice: np.ndarray, ax: Axes, name: str,
                      style: str = "o-", colour: str = INK) -> None:
    """Draw mean and standard deviation of Dice, (runs, sizes), against the training set size."""
    spread = 100 * dice.std(0, ddof=1) if len(dice) > 1 else None
    ax.errorbar(sizes, 100 * dice.mean(0), spread, fmt=style, color=colour, capsize=3, ms=5,
                label=name)
    ax.set(xscale="log", xlabel="labelled slices in the training set", ylabel="Dice, %")
    ax.set_xticks(sizes, [f"1/{round(1 / n)}" if n < 1 else f"{n}" for n in sizes])
    ax.minorticks_off()
    ax.grid(alpha=0.3)


def _power_law(n: np.ndarray, floor: float, scale: float, power: float) -> np.ndarray:
    """The error, 1 - Dice, after training on n slices: Hestness et al. 2017, arXiv:1712.00409."""
    return floor + scale * np.asarray(n, float) ** -power


def _fit_error(sizes: Sequence[float], dice: np.ndarray) -> np.ndarray:
    """Fit the `_power_law` to 1 - Dice, (runs, sizes): floor, scale and power."""
    error = 1 - dice.mean(0)
    start = (error.min(), max(error[0] - error.min(), 1e-4) * sizes[0] ** 0.5, 0.5)
    return curve_fit(_power_law, sizes, error, start, bounds=([0, 0, 0.05], [1, 1, 4]),
                     maxfev=20_000)[0]


def smallest_enough(sizes: Sequence[float], dice: np.ndarray) -> float:
    """Return the smallest size whose fitted Dice is within 0.002 of that of the largest size.
    Args:
        sizes, dice: numbers of training slices, ascending; Dice (runs, sizes), 0..1.
    """
    tried = np.geomspace(sizes[0], sizes[-1], 2000)
    error = _power_law(tried, *_fit_error(sizes, dice))
    return float(tried[np.argmax(error - error[-1] <= 0.002)])


def bootstrap_runs(dice: np.ndarray, draws: int = 200) -> list[np.ndarray]:
    """Resample the runs with replacement, separately at each size; each draw is (runs, sizes)."""
    rng = np.random.default_rng(0)
    return [np.take_along_axis(dice, rng.integers(len(dice), size=dice.shape), 0)
            for _ in range(draws)]


def error_fit(sizes: Sequence[float], draws: Sequence[np.ndarray], ax: Axes, colour: str) -> None:
    """Draw the median and the middle 95 % of the curves fitted to `bootstrap_runs`."""
    dense = np.geomspace(sizes[0], sizes[-1], 100)
    lines = 100 - 100 * np.array([_power_law(dense, *_fit_error(sizes, dice)) for dice in draws])
    low, middle, high = np.quantile(lines, [0.025, 0.5, 0.975], 0)
    ax.fill_between(dense, low, high, color=colour, alpha=0.15, lw=0)
    ax.plot(dense, middle, color=colour, lw=1)
