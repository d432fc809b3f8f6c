"""Figures: each a function of data that draws on the ``ax`` it is given."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke

from ..files import home
from ..predict.scores import Scores
from ..slices.labelled import PALETTES, PHASES, VOXEL_NM, Slices

LINES = [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in PALETTES["safe"]]
MASK_GREYS = np.array([30, 128, 226], np.uint8)  # how a mask is drawn: as its file, 0 / 128 / 255, a little softer


def mask_image(labels: np.ndarray) -> np.ndarray:
    """A mask in grey: class indices (H, W) -> RGB uint8 (H, W, 3); pore dark, YSZ grey, nickel bright."""
    return np.repeat(MASK_GREYS[labels][..., None], 3, -1)


def error_image(truth: np.ndarray, predicted: np.ndarray, palette: str = "rgb") -> np.ndarray:
    """Misclassified pixels on the true mask: class indices (H, W) twice -> RGB uint8 (H, W, 3).

    A wrong pixel has the colour of its *true* class (the poster's R, G, B); a right one its grey, darkened.
    """
    picture = (mask_image(truth) * 0.55).astype(np.uint8)
    wrong = truth != predicted
    picture[wrong] = PALETTES[palette][truth[wrong]]
    return picture


def error_legend(figure: Figure, palette: str = "rgb") -> None:
    """Below a figure: which colour a wrong pixel has, by its true phase."""
    handles = [Patch(color=colour / 255, label=f"true {phase}, missed")
               for phase, colour in zip(PHASES, PALETTES[palette], strict=True)]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)


def show(picture: np.ndarray, ax: Axes, title: str = "", scale_bar: bool = False) -> None:
    """A slice, (H, W) grey levels, or a picture, (H, W, 3) RGB; the bar is 1 um at the data set's voxel of 18.4 nm."""
    grey = {"cmap": "gray", "vmin": np.percentile(picture, 0.1), "vmax": np.percentile(picture, 99.9)}
    ax.imshow(picture, interpolation="nearest", **(grey if picture.ndim == 2 else {}))
    ax.set_title(title)
    ax.set_axis_off()
    if scale_bar:
        length, (height, width) = 1000 / VOXEL_NM, picture.shape[:2]
        edge = [withStroke(linewidth=3, foreground="black")]     # readable on bright phases too
        ax.add_patch(Rectangle((0.04 * width, 0.93 * height), length, 0.015 * height, color="white", path_effects=edge))
        ax.text(0.04 * width + length / 2, 0.915 * height, "1 µm", color="white", ha="center", va="bottom",
                path_effects=edge)


def histogram(slices: Slices, ax: Axes) -> None:
    """Grey levels of each phase, as shares of all pixels; of at most 40 slices."""
    few = slices[::max(1, len(slices) // 40)]
    images, labels = np.stack(few.images), np.stack(few.labels)
    bins = np.linspace(*np.percentile(images[:, ::3, ::3], [0.01, 99.99]), 150)
    for phase, name in enumerate(PHASES):
        counts = np.histogram(images[labels == phase], bins)[0]
        ax.stairs(counts / images.size, bins, fill=True, alpha=0.55, color=LINES[phase], label=name)
    ax.set(xlabel="grey level (16 bit)", ylabel="share of pixels", yticks=[])
    ax.legend(frameon=False)


def learning_curve(history: list[dict[str, float]], ax: Axes) -> None:
    """Validation Dice against images seen, overall and by phase."""
    seen = [row["images"] for row in history]
    for phase, name in enumerate(PHASES):
        ax.plot(seen, [100 * row[f"dice_{name}"] for row in history], color=LINES[phase], lw=1, label=name)
    ax.plot(seen, [100 * row["dice"] for row in history], "o-", color="black", ms=4, label="mean")
    ax.set(xlabel="images (crops) seen", ylabel="validation Dice, %")
    ax.grid(alpha=0.3)
    ax.legend(frameon=False)


def clean_and_noisy_curve(history: list[dict[str, float]], ax: Axes) -> None:
    """Validation Dice against images seen: of the clean images, their noisy copies, and all (the poster's curve).

    Without noise the three are the same.
    """
    seen = [row["images"] for row in history]
    for name, column, style in (("clean", "dice_clean", "o-"), ("all, as the poster", "dice", "s-k"),
                                ("noisy", "dice_noisy", "v-")):
        ax.plot(seen, [100 * row.get(column, row["dice"]) for row in history], style, ms=5, label=name)
    ax.set(xlabel="images (crops) seen", ylabel="validation Dice, %", ylim=(0, 101))
    ax.grid(alpha=0.3)
    ax.legend(frameon=False, loc="lower right")


def loss_curve(history: list[dict[str, float]], ax: Axes) -> None:
    """Training and validation loss against images seen."""
    seen = [row["images"] for row in history]
    ax.plot(seen, [row["train_loss"] for row in history], "o-", ms=4, color="0.55", label="training")
    ax.plot(seen, [row["val_loss"] for row in history], "o-", ms=4, color="black", label="validation")
    ax.set(xlabel="images (crops) seen", ylabel="cross-entropy + Dice loss")
    ax.grid(alpha=0.3)
    ax.legend(frameon=False)


def dice_by_phase(scores: Scores, ax: Axes) -> None:
    """Dice of every image, phase by phase, with the mean as a bar."""
    dice, spread = 100 * scores.dice, np.linspace(-0.25, 0.25, len(scores.dice))
    for phase in range(len(PHASES)):
        ax.plot(phase + spread, dice[:, phase], ".", color=LINES[phase], alpha=0.6)
        ax.hlines(dice[:, phase].mean(), phase - 0.35, phase + 0.35, color="black", lw=2)
        ax.annotate(f"{dice[:, phase].mean():.2f}", (phase + 0.37, dice[:, phase].mean()), va="center")
    ax.set(xticks=range(len(PHASES)), xticklabels=PHASES, xlim=(-0.5, len(PHASES) - 0.3), ylabel="Dice of an image, %")
    ax.grid(axis="y", alpha=0.3)


def line_profile(images: Sequence[np.ndarray], names: list[str], ax: Axes) -> None:
    """Grey levels along the middle row of images (H, W) of the same slice; the last name is drawn on top."""
    for image, name, colour in zip(images, names, ("0.72", "black"), strict=True):
        row = image[len(image) // 2]
        ax.plot(np.arange(len(row)) * VOXEL_NM / 1000, row, color=colour, lw=1, label=name)
    ax.set(xlabel="position, µm", ylabel="grey level (16 bit)")
    ax.legend(frameon=False, loc="lower right")


def confusion_matrix(counts: np.ndarray, ax: Axes, title: str = "") -> None:
    """What the pixels of each true phase are taken for, in per cent of it. ``counts``: (3, 3), [true, predicted]."""
    share = 100 * counts / counts.sum(1, keepdims=True)
    ax.imshow(share, cmap="Blues", vmin=0, vmax=115)
    for true in range(len(PHASES)):
        for guess in range(len(PHASES)):
            ax.text(guess, true, f"{share[true, guess]:.1f}", ha="center", va="center",
                    color="white" if share[true, guess] > 60 else "black")
    ax.set(xticks=range(len(PHASES)), xticklabels=PHASES, yticks=range(len(PHASES)), yticklabels=PHASES,
           xlabel="predicted", ylabel="true", title=title)


def dice_against_size(sizes: list[int], curves: dict[str, np.ndarray], ax: Axes) -> None:
    """Dice against the number of training slices, on a logarithmic axis.

    ``curves``: by name, (runs, sizes), 0..1; the line is the mean over the runs, the bars their standard deviation.
    """
    for (name, dice), style in zip(curves.items(), ("o-", "s--"), strict=True):
        spread = 100 * dice.std(0, ddof=1) if len(dice) > 1 else None
        ax.errorbar(sizes, 100 * dice.mean(0), spread, fmt=style, capsize=3, label=name)
    (low, high), least = ax.get_ylim(), 1                   # a point of Dice at least, lest chance looks like a trend
    margin = max(0, (least - high + low) / 2)
    ax.set(xscale="log", xlabel="training slices", ylabel="Dice, %", xticks=sizes, xticklabels=sizes,
           ylim=(low - margin, high + margin))
    ax.minorticks_off()
    ax.grid(alpha=0.3)
    ax.legend(frameon=False)


def errors(slices: Slices, predicted: np.ndarray, titles: list[str], palette: str = "rgb") -> Figure:
    """A row a slice: image, true mask, misclassified pixels. ``predicted``: class indices (N, H, W)."""
    size = (11, 3.85 * len(slices) + 0.3)
    fig, axes = plt.subplots(len(slices), 3, figsize=size, squeeze=False, layout="constrained")
    for row, image, truth, guess, title in zip(axes, slices.images, slices.labels, predicted, titles, strict=True):
        show(image, row[0], title, scale_bar=True)
        show(mask_image(truth), row[1], "true mask")
        show(error_image(truth, guess, palette), row[2], f"misclassified: {100 * (truth != guess).mean():.2f} %")
    error_legend(fig, palette)
    return fig


def error_row(truth: np.ndarray, guesses: np.ndarray, titles: list[str], palette: str = "rgb") -> Figure:
    """Misclassified pixels of one slice by several networks: class indices (H, W) and (N, H, W)."""
    size = (11, 11 / len(guesses) + 0.6)
    fig, axes = plt.subplots(1, len(guesses), figsize=size, squeeze=False, layout="constrained")
    for ax, guess, title in zip(axes[0], guesses, titles, strict=True):
        show(error_image(truth, guess, palette), ax, f"{title}: {100 * (truth != guess).mean():.2f} % wrong")
    error_legend(fig, palette)
    return fig


def keep(figure: Figure, folder: Path, name: str) -> None:
    """Write a figure as figures/``name``.png into a run's folder; those of a published run go below runs/ too."""
    figures = home() / "runs" / folder.parent.name / folder.name / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    figure.savefig(figures / f"{name}.png", dpi=110, bbox_inches="tight")
