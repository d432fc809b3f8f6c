"""Figures: each a function of data that draws on the ``ax`` it is given."""

from copy import deepcopy
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke

from .data import PHASES, VOXEL_NM, Slices
from .scores import Scores
from .sets import home
from .unet import UNet

# One colour a phase, everywhere. "rgb" is the poster's; "safe" (Okabe and Ito) keeps its order of hues and can be told
# apart by colour-blind readers.
PALETTES = {
    "rgb": np.array([[230, 25, 25], [20, 190, 20], [40, 70, 255]], np.uint8),
    "safe": np.array([[213, 94, 0], [0, 158, 115], [0, 114, 178]], np.uint8),
}
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
    """Grey levels of each phase, as shares of all pixels."""
    bins = np.linspace(*np.percentile(slices.images[::5], [0.01, 99.99]), 150)
    for phase, name in enumerate(PHASES):
        counts = np.histogram(slices.images[slices.labels == phase], bins)[0]
        ax.stairs(counts / slices.images.size, bins, fill=True, alpha=0.55, color=LINES[phase], label=name)
    ax.set(xlabel="grey level (16 bit)", ylabel="share of pixels", yticks=[])
    ax.legend(frameon=False)


def learning_curve(history: list[dict[str, float]], ax: Axes, by_phase: bool = True) -> None:
    """Validation Dice against images seen, overall and by phase."""
    seen = [row["images"] for row in history]
    if by_phase:
        for phase, name in enumerate(PHASES):
            ax.plot(seen, [100 * row[f"dice_{name}"] for row in history], color=LINES[phase], lw=1, label=name)
    ax.plot(seen, [100 * row["dice"] for row in history], "o-", color="black", ms=4, label="mean")
    ax.set(xlabel="images (crops) seen", ylabel="validation Dice, %")
    ax.grid(alpha=0.3)
    ax.legend(frameon=False)


def clean_and_noisy_curve(history: list[dict[str, float]], ax: Axes) -> None:
    """Validation Dice against images seen: of the clean images, their noisy copies, and all (the poster's curve)."""
    seen = [row["images"] for row in history]
    for name, column, style in (("clean", "dice_clean", "o-"), ("all, as the poster", "dice", "s-k"),
                                ("noisy", "dice_noisy", "v-")):
        ax.plot(seen, [100 * row[column] for row in history], style, ms=5, label=name)
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


def line_profile(images: list[np.ndarray], names: list[str], ax: Axes) -> None:
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


# -- the network ------------------------------------------------------------------------------------------------------


def feature_maps(model: UNet, side: int) -> list[tuple[int, int]]:
    """(channels, side) of what each double convolution gives, first to last, for an output of side x side px."""
    shapes: list[tuple[int, int]] = []
    model = deepcopy(model).to("meta")                           # shapes without arithmetic
    for block in (model.stem, *(down.conv for down in model.down), *(up.conv for up in model.up)):
        block.register_forward_hook(lambda _block, _x, y: shapes.append((y.shape[1], y.shape[-1])))
    model(torch.empty(1, 1, side + 2 * model.margin, side + 2 * model.margin, device="meta"))
    return shapes


def draw_unet(model: UNet, ax: Axes, side: int = 512) -> None:
    """The network as a U (the poster's Figure 2), read off the module: widths stand for channels, heights for sides."""
    maps, depth = feature_maps(model, side), model.depth
    boxes = []                                                   # x, y, width, height of each double convolution
    for index, (channels, size) in enumerate(maps):
        width, height = 0.16 + 0.13 * np.log2(channels / model.width + 1), 0.3 + 1.3 * size / maps[0][1]
        boxes.append((1.5 * index, -1.35 * min(index, 2 * depth - index), width, height))
    for (x, y, width, height), (channels, size) in zip(boxes, maps, strict=True):
        ax.add_patch(Rectangle((x - width / 2, y), width, height, facecolor="#bcd7ee", edgecolor="#1b4b73", zorder=3))
        ax.text(x, y + height + 0.05, channels, ha="center", va="bottom", fontsize=10)
        ax.text(x, y - 0.06, f"{size}²", ha="center", va="top", fontsize=8, color="0.35")
    ends = [("image", -1.5, 1), (f"{model.n_classes} phases", 1.5 * len(maps), model.n_classes)]
    for name, x, channels in ends:
        ax.add_patch(Rectangle((x - 0.05, 0), 0.1, boxes[0][3], facecolor="0.85", edgecolor="0.3"))
        ax.text(x, boxes[0][3] + 0.05, channels, ha="center", va="bottom", fontsize=10)
        ax.text(x, -0.06, name, ha="center", va="top", fontsize=9)
    kinds = {"2 x [3x3 conv, batch norm, ReLU]": "#0072B2", "2x2 max-pooling, then the same": "#D55E00",
             "2x2 transposed conv, concatenation, then the same": "#009E73", "skip connection": "0.6",
             "1x1 conv": "#CC79A7"}
    double, pool, up, skip, last = kinds.values()
    arrow(ax, (-1.4, boxes[0][3] / 2), (boxes[0][0] - boxes[0][2] / 2, boxes[0][3] / 2), double)
    for index in range(2 * depth):
        (x0, y0, w0, h0), (x1, y1, w1, h1) = boxes[index], boxes[index + 1]
        arrow(ax, (x0 + w0 / 2, y0 + 0.2 * h0), (x1 - w1 / 2, y1 + 0.5 * h1), pool if index < depth else up)
    for index in range(depth):
        (x0, y0, w0, h0), (x1, _, w1, _) = boxes[index], boxes[2 * depth - index]
        arrow(ax, (x0 + w0 / 2, y0 + 0.8 * h0), (x1 - w1 / 2, y0 + 0.8 * h0), skip, "dashed")
    x, _, width, height = boxes[-1]
    arrow(ax, (x + width / 2, height / 2), (ends[1][1] - 0.1, height / 2), last)
    handles = [Line2D([], [], color=colour, label=name) for name, colour in kinds.items()]
    ax.legend(handles=handles, loc="lower left", frameon=False, fontsize=9)
    parameters = sum(weights.numel() for weights in model.parameters())
    ax.set_title(f"U-Net {model.width} x {depth}: {parameters / 1e6:.2f} million parameters")
    ax.set(xlim=(-2.3, 1.5 * len(maps) + 0.9), ylim=(-1.35 * depth - 0.5, boxes[0][3] + 0.4))
    ax.set_axis_off()


def arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], colour: str, style: str = "solid") -> None:
    ax.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": colour, "linestyle": style, "lw": 1.4})
