"""Figures of errors: where they are in a slice, and at the worst place, large enough to be seen, what they are."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from scipy.ndimage import uniform_filter

from ..slices.labelled import PHASES, Slices
from .plots import error_image, mask_image, phase_legend, show

ZOOM = 48       # px: side of the square that is shown large
LEGEND = ("Misclassified: wrong pixels in the colour of their TRUE phase, right ones grey.\n"
          "Enlarged: every pixel in the colour of the phase named above it, wrong ones framed in white.")


def worst_place(wrong: np.ndarray, truth: np.ndarray | None = None, side: int = ZOOM) -> tuple[slice, slice]:
    """The square of this side (px) that holds the most wrong pixels, (H, W) bool: its rows and columns.

    ``truth``: class indices (H, W), to prefer a square in which each phase has a tenth of the pixels.
    """
    side = min(side, *wrong.shape)

    def share(mask: np.ndarray) -> np.ndarray:
        """The share of true pixels in the square that begins at each pixel, where there is room for one."""
        whole = uniform_filter(mask.astype(np.float32), side, mode="constant", origin=-(side // 2))
        return whole[:mask.shape[0] - side + 1, :mask.shape[1] - side + 1]

    rank = share(wrong)
    if truth is not None:
        rank = rank + np.all([share(truth == phase) >= 0.1 for phase in range(len(PHASES))], 0)
    top, left = np.unravel_index(rank.argmax(), rank.shape)
    return slice(top, top + side), slice(left, left + side)


def mark(ax: Axes, place: tuple[slice, slice]) -> None:
    """A frame around the place that is shown large."""
    rows, columns = place
    ax.add_patch(Rectangle((columns.start - 0.5, rows.start - 0.5), columns.stop - columns.start,
                           rows.stop - rows.start, fill=False, edgecolor="#f0e442", lw=1.5))


def zoom(labels: np.ndarray, wrong: np.ndarray, ax: Axes, title: str, palette: str) -> None:
    """A piece of a mask, (h, w), with a white frame around the pixels that are wrong."""
    show(mask_image(labels, palette), ax, title)
    edges = np.pad(wrong, 1).astype(int)
    lines = [((x - 1.5, y - 0.5), (x - 0.5, y - 0.5)) for y, x in np.argwhere(np.diff(edges, axis=0))]
    lines += [((x - 0.5, y - 1.5), (x - 0.5, y - 0.5)) for y, x in np.argwhere(np.diff(edges, axis=1))]
    ax.add_collection(LineCollection(lines, colors="white", linewidths=1.2))   # where a wrong pixel meets a right one


def errors(slices: Slices, predicted: Sequence[np.ndarray], titles: list[str], palette: str = "safe") -> Figure:
    """A row a slice: image, misclassified pixels, and large the worst place: image, truth, what it is taken for.

    ``predicted``: class indices, N of (H, W).
    """
    fig, axes = plt.subplots(len(slices), 5, figsize=(14, 3.1 * len(slices) + 0.7), squeeze=False,
                             layout="constrained")
    for row, image, truth, guess, title in zip(axes, slices.images, slices.labels, predicted, titles, strict=True):
        wrong = truth != guess
        place = worst_place(wrong)
        show(image, row[0], title, scale_bar=True)
        show(error_image(truth, guess, palette), row[1], f"misclassified: {100 * wrong.mean():.2f} %")
        show(image[place], row[2], "worst place: image")
        zoom(truth[place], wrong[place], row[3], "its true phase", palette)
        zoom(guess[place], wrong[place], row[4], "predicted phase", palette)
        for ax in row[:2]:
            mark(ax, place)
    phase_legend(fig, palette, LEGEND)
    return fig


def side_by_side(image: np.ndarray, truth: np.ndarray, guesses: Sequence[np.ndarray], titles: list[str],
                 palette: str = "safe") -> Figure:
    """One slice by several networks: misclassified pixels above, below what they take the worst place for.

    ``image``, ``truth``, each guess: (H, W). The worst place is that of the first network, with all phases in it.
    """
    columns, heights = len(guesses) + 1, (3.4 * image.shape[0] / image.shape[1], 3.4)
    fig, axes = plt.subplots(2, columns, figsize=(3.4 * columns, sum(heights) + 1), squeeze=False,
                             layout="constrained", height_ratios=heights)
    place = worst_place(truth != guesses[0], truth)
    show(image, axes[0, 0], "image", scale_bar=True)
    zoom(truth[place], np.zeros_like(truth[place], bool), axes[1, 0], "enlarged: true phase", palette)
    for column, guess, title in zip(axes.T[1:], guesses, titles, strict=True):
        wrong = truth != guess
        show(error_image(truth, guess, palette), column[0], f"{title}:\n{100 * wrong.mean():.2f} % wrong")
        zoom(guess[place], wrong[place], column[1], "predicted phase", palette)
    for ax in axes[0]:
        mark(ax, place)
    phase_legend(fig, palette, LEGEND)
    return fig
