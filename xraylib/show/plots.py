"""Figures of slices and of their grey levels, and how a figure is shown and kept. One colour a phase, everywhere."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke
from numpy.lib.stride_tricks import sliding_window_view

from ..files import home
from ..slices.labelled import PALETTES, PHASES, VOXEL_NM, Slices, grey_levels

LINES = [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in PALETTES["safe"]]
INK, OTHER_INK, PALE_INK = "black", "#aa4499", "0.6"   # for what is no phase: clean and noisy, validation and test
CONTEXT = np.array([16, 70, 124], np.uint8)            # greys of the pixels around an error: pore dark, nickel bright


def mask_image(labels: np.ndarray, palette: str = "safe") -> np.ndarray:
    """A mask in the colours of its phases: class indices (H, W) -> RGB uint8 (H, W, 3)."""
    return PALETTES[palette][labels]


def error_image(truth: np.ndarray, predicted: np.ndarray, palette: str = "safe") -> np.ndarray:
    """Misclassified pixels on the true mask: class indices (H, W) twice -> RGB uint8 (H, W, 3).

    A wrong pixel has the colour of its *true* class, as in the poster's Figure 6; a right one is a dark grey.
    """
    picture = np.repeat(CONTEXT[truth][..., None], 3, -1)
    wrong = truth != predicted
    picture[wrong] = PALETTES[palette][truth[wrong]]
    return picture


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


def phase_legend(figure: Figure, palette: str = "safe", meaning: str = "") -> None:
    """Below a figure: the colour of each phase, and what a coloured pixel means there."""
    handles = [Patch(color=colour / 255, label=phase) for phase, colour in zip(PHASES, PALETTES[palette], strict=True)]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, title=meaning)


def histogram(slices: Slices, ax: Axes) -> None:
    """Grey levels of each phase, as shares of all pixels; of at most 40 slices."""
    few = slices.some(40)
    images, labels = np.stack(few.images), np.stack(few.labels)
    bins = np.linspace(*np.percentile(images[:, ::3, ::3], [0.01, 99.99]), 150)
    for phase, name in enumerate(PHASES):
        counts = np.histogram(images[labels == phase], bins)[0]
        ax.stairs(counts / images.size, bins, fill=True, alpha=0.55, color=LINES[phase], label=name)
    ax.set(xlabel="grey level (16 bit)", ylabel="share of pixels", yticks=[])
    ax.legend(frameon=False)


def line_profile(images: Sequence[np.ndarray], names: list[str], ax: Axes, row: int | None = None) -> None:
    """Grey levels along a row (default: the middle one) of images (H, W) of the same slice; the last is on top."""
    row = len(images[0]) // 2 if row is None else row
    for image, name, colour in zip(images, names, ("0.72", "black"), strict=True):
        ax.plot(np.arange(image.shape[1]) * VOXEL_NM / 1000, image[row], color=colour, lw=1, label=name)
    ax.set(xlabel="position, µm", ylabel="grey level (16 bit)")
    ax.legend(frameon=False, loc="lower right")


def edge_profile(slices: Slices, ax: Axes, reach: int = 8) -> None:
    """Grey levels along a line from pore to nickel, ``reach`` px on both sides of the edge, and the phases' own greys.

    The line is a piece of a row with nothing but pore on the left and nickel on the right; of all such pieces in the
    first slices that have one, the one in the middle of the list.
    """
    def edges(label: np.ndarray) -> np.ndarray:
        """Where such a piece begins, (K, 2): row and column."""
        pieces = sliding_window_view(label, 2 * reach, 1)
        return np.argwhere((pieces[..., :reach].max(-1) == 0) & (pieces[..., reach:].min(-1) == 2))

    means = grey_levels(slices.some(20))
    with_edges = ((image, places) for image, label in zip(slices.images, slices.labels, strict=True)
                  if len(places := edges(label)))
    image, places = next(with_edges, (np.full((1, 2 * reach), np.nan), np.zeros((1, 2), int)))
    row, start = places[len(places) // 2]
    ax.plot(np.arange(-reach, reach) + 0.5, image[row, start:start + 2 * reach], "o-", color=INK)
    middles = (means[:-1] + means[1:]) / 2
    for phase, (low, high) in enumerate(zip((0, *middles), (*middles, 2**16), strict=True)):
        if np.isnan([low, high]).any():
            continue
        ax.axhspan(low, high, color=LINES[phase], alpha=0.25, lw=0)
        side = 1 if phase == 0 else -1                           # where the line is not
        ax.text(side * (reach - 0.2), means[phase], PHASES[phase], color=LINES[phase], va="center", weight="bold",
                ha="right" if phase == 0 else "left")
    ax.axvline(0, color=PALE_INK, ls="--")
    ax.set(xlabel="pixels from the edge: true pore on the left, true nickel on the right", ylabel="grey level (16 bit)",
           xlim=(-reach, reach), ylim=(np.nanmin(means) - 4000, np.nanmax(means) + 4000))


def cut_line(ax: Axes, row: int, width: int) -> None:
    """Mark on a slice the row that a profile cuts."""
    ax.annotate("", (width, row), (0, row), arrowprops={"arrowstyle": "-", "color": "#f0e442", "lw": 1.5})


def present(figure: Figure, alt: str) -> None:
    """Show a figure in a notebook, with a text for readers who cannot see it; once."""
    display(figure, metadata={"image/png": {"alt": alt}})
    plt.close(figure)


def keep(figure: Figure, folder: Path, name: str, alt: str) -> None:
    """`present` a figure, and write it as figures/``name``.png into a run's folder.

    Those of a published run go below runs/ too.
    """
    figures = home() / "runs" / folder.parent.name / folder.name / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    figure.savefig(figures / f"{name}.png", dpi=110, bbox_inches="tight")
    present(figure, alt)
