"""Figures of scores: over training, over phases, over the size of the training set, against each other."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from ..predict.scores import Scores
from ..runs.limits import fit_error, power_law
from ..slices.labelled import PHASES
from .plots import INK, LINES, OTHER_INK, PALE_INK

History = Sequence[Mapping[str, float]]


def over_training(ax: Axes, ylabel: str) -> None:
    """What every curve over training has."""
    ax.set(xlabel="step", ylabel=ylabel)
    ax.grid(alpha=0.3)
    ax.legend(frameon=False)


def loss_curve(history: History, ax: Axes) -> None:
    """Training and validation loss over training."""
    steps = [row["step"] for row in history]
    ax.plot(steps, [row["train_loss"] for row in history], "o-", ms=4, color=PALE_INK, label="training")
    ax.plot(steps, [row["val_loss"] for row in history], "o-", ms=4, color=INK, label="validation")
    over_training(ax, "cross-entropy + Dice loss")


def learning_curve(history: History, ax: Axes) -> None:
    """Validation Dice over training, overall and by phase."""
    steps = [row["step"] for row in history]
    for phase, name in enumerate(PHASES):
        ax.plot(steps, [100 * row[f"dice_{name}"] for row in history], color=LINES[phase], lw=1, label=name)
    ax.plot(steps, [100 * row["dice"] for row in history], "o-", color=INK, ms=4, label="mean")
    over_training(ax, "validation Dice, %")


def halves(history: History, clean: Axes, noisy: Axes) -> None:
    """Validation Dice over training: of the clean images on one axis; of their noisy copies, and of all, on the other.

    Two axes, because the clean half moves by tenths where the noisy one moves by tens. Without noise all are the same.
    """
    steps = [row["step"] for row in history]
    for ax, name, column, style, colour in ((clean, "clean half", "dice_clean", "o-", INK),
                                            (noisy, "all (the poster's curve)", "dice", "s-", PALE_INK),
                                            (noisy, "noisy half", "dice_noisy", "v-", OTHER_INK)):
        ax.plot(steps, [100 * row.get(column, row["dice"]) for row in history], style, ms=4, color=colour, label=name)
    for ax in (clean, noisy):
        over_training(ax, "validation Dice, %")


def clean_and_noisy_curve(history: History, upper: Axes, lower: Axes) -> None:
    """The `halves`, the clean one above."""
    halves(history, upper, lower)
    upper.set_xlabel("")
    upper.tick_params(labelbottom=False)


def noise_and_rate(history: History, upper: Axes, lower: Axes) -> None:
    """The `halves`, the noisy one above; shaded where the learning rate is still the first."""
    halves(history, lower, upper)
    first = [row["step"] for row in history if row["lr"] == history[0]["lr"]]
    for ax in (upper, lower):
        ax.axvspan(0, first[-1], color=PALE_INK, alpha=0.2, lw=0)
    upper.set_xlabel("")
    lower.set_xlabel("step (shaded: first learning rate)")


def dice_by_phase(scores: Scores, ax: Axes) -> None:
    """Dice of every image, phase by phase, with the mean as a bar."""
    dice, spread = 100 * scores.dice, np.linspace(-0.25, 0.25, len(scores.dice))
    for phase in range(len(PHASES)):
        ax.plot(phase + spread, dice[:, phase], ".", color=LINES[phase], alpha=0.6)
        ax.hlines(dice[:, phase].mean(), phase - 0.35, phase + 0.35, color="black", lw=2)
        ax.annotate(f"{dice[:, phase].mean():.2f}", (phase + 0.37, dice[:, phase].mean()), va="center")
    ax.set(xticks=range(len(PHASES)), xticklabels=PHASES, xlim=(-0.5, len(PHASES) - 0.3), ylabel="Dice of an image, %")
    ax.grid(axis="y", alpha=0.3)


def confusion_matrix(counts: np.ndarray, ax: Axes, title: str = "") -> None:
    """What the pixels of each true phase are taken for, in per cent of it. ``counts``: (3, 3), [true, predicted]."""
    share = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    heat_map(share, PHASES, PHASES, ax, (0, 115), "{:.1f} %")
    ax.set(xlabel="taken for", ylabel="true phase (a row adds up to 100 %)", title=title)


def heat_map(values: np.ndarray, rows: Sequence[str], columns: Sequence[str], ax: Axes, limits: tuple[float, float],
             form: str = "{:.1f}") -> None:
    """A table of numbers, the larger the darker. ``values``: (rows, columns); ``limits``: white, and black."""
    ax.imshow(values, cmap="Greys", vmin=limits[0], vmax=limits[1])
    for (row, column), value in np.ndenumerate(values):
        ax.text(column, row, form.format(value), ha="center", va="center",
                color="white" if value > np.mean(limits) else "black")
    ax.set(xticks=range(len(columns)), xticklabels=columns, yticks=range(len(rows)), yticklabels=rows)


def tipping_line(kept: np.ndarray, ax: Axes) -> None:
    """Around the fields of a `heat_map` that are ``kept``, bool (rows, columns), a thick line; the others hatched."""
    for row, column in np.argwhere(~kept):
        ax.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, hatch="//", ec="0.6", lw=0))
    edges = np.pad(kept, 1).astype(int)
    for axis, (down, right) in ((0, (0, 1)), (1, (1, 0))):
        for y, x in np.argwhere(np.diff(edges, axis=axis)):
            start = np.array([x - 1.5 + (axis == 1), y - 1.5 + (axis == 0)])
            ax.plot(*zip(start, start + [right, down], strict=True), color=OTHER_INK, lw=3, solid_capstyle="round",
                    clip_on=False)


def by_name(named: Mapping[str, Sequence[float]], ax: Axes, label: str = "", style: str = "o", colour: str = INK,
            shift: float = 0) -> None:
    """Dice, 0..1, of the runs of each name: a point a run, a bar at their mean; ``shift``: to the right, 0..1."""
    for place, values in enumerate(named.values()):
        spread = shift + np.linspace(-0.08, 0.08, len(values)) * (len(values) > 1)
        ax.plot(place + spread, 100 * np.array(values), style, color=colour, ms=6, alpha=0.8,
                label=label if place == 0 else None)
        ax.hlines(100 * np.mean(values), place + shift - 0.16, place + shift + 0.16, color=colour, lw=2)
    ax.set(xticks=range(len(named)), xticklabels=named, ylabel="Dice, %")
    ax.grid(axis="y", alpha=0.3)


def dice_against_size(sizes: Sequence[float], dice: np.ndarray, ax: Axes, name: str, style: str = "o-",
                      colour: str = INK) -> None:
    """Dice against the number of training slices, on a logarithmic axis.

    ``dice``: (runs, sizes), 0..1; the line is the mean over the runs, the bars their standard deviation.
    """
    spread = 100 * dice.std(0, ddof=1) if len(dice) > 1 else None
    ax.errorbar(sizes, 100 * dice.mean(0), spread, fmt=style, color=colour, capsize=3, ms=5, label=name)
    ax.set(xscale="log", xlabel="labelled slices in the training set", ylabel="Dice, %")
    ax.set_xticks(sizes, [f"1/{round(1 / n)}" if n < 1 else f"{n}" for n in sizes])
    ax.minorticks_off()
    ax.grid(alpha=0.3)


def dice_against_distance(distance: np.ndarray, dice: np.ndarray, ax: Axes, name: str, style: str, colour: str) -> None:
    """Dice of validation slices, (N,), against their distance to the nearest training slice, in bins that double."""
    edges = 2 ** np.arange(int(np.log2(distance.max())) + 2)
    bins = [(distance >= low) & (distance < high) for low, high in zip(edges[:-1], edges[1:], strict=True)]
    bins = [chosen for chosen in bins if chosen.any()]
    ax.plot([distance[chosen].mean() for chosen in bins], [100 * dice[chosen].mean() for chosen in bins], style,
            color=colour, ms=5, label=name)
    ax.set(xscale="log", xlabel="slices to the nearest training slice", ylabel="Dice, %")
    ax.set_xticks(edges[:-1], [f"{edge}" for edge in edges[:-1]])
    ax.minorticks_off()
    ax.grid(alpha=0.3)


def error_fit(sizes: Sequence[float], draws: Sequence[np.ndarray], ax: Axes, colour: str) -> None:
    """The learning curve that fits best, and the middle 95 % of those of bootstrap draws (see `limits`)."""
    dense = np.geomspace(sizes[0], sizes[-1], 100)
    lines = 100 - 100 * np.array([power_law(dense, *fit_error(sizes, dice)) for dice in draws])
    low, middle, high = np.quantile(lines, [0.025, 0.5, 0.975], 0)
    ax.fill_between(dense, low, high, color=colour, alpha=0.15, lw=0)
    ax.plot(dense, middle, color=colour, lw=1)
