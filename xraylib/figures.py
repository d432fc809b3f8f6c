"""Figures of slices, grey levels and errors. A phase has one colour in all of them."""

import inspect
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Markdown, display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import uniform_filter

from .data import UNLABELLED, Phases, Slices, Voxel, mean_grey_levels
from .files import home
from .losses import IGNORE
from .metrics import wrong_pixels, wrong_share
from .runs import Run
from .tables import markdown_text

INK, OTHER_INK, PALE_INK = "black", "#aa4499", "0.6"  # for lines and bars that stand for no phase
_MARK = "#f0e442"      # yellow: frames and lines on a slice
_REACH = 8             # px shown on each side of an edge
_LEGEND = ("{}: wrong pixels in the colour of their true phase, correct pixels in grey.\n"
           "{}: the true or the predicted phase of each pixel. White lines frame wrong pixels.")


def mask_image(labels: np.ndarray, phases: Phases, palette: str = "safe") -> np.ndarray:
    """Colour a mask by phase: class indices (H, W) -> RGB uint8 (H, W, 3)."""
    colours = np.full((IGNORE + 1, 3), UNLABELLED, np.uint8)
    colours[:len(phases)] = phases.palette(palette)
    return colours[labels]


def error_image(truth: np.ndarray, predicted: np.ndarray, phases: Phases,
                palette: str = "safe") -> np.ndarray:
    """Colour wrong pixels (H, W) by true phase, the others grey, as RGB (the poster's Figure 6)."""
    greys = np.full(IGNORE + 1, UNLABELLED[0], np.uint8)
    greys[:len(phases)] = np.linspace(16, 88, len(phases))  # paler greys resemble YSZ
    wrong = wrong_pixels(truth, predicted)[..., None]
    return np.where(wrong, mask_image(truth, phases, palette), greys[truth][..., None])


def grey_picture(image: np.ndarray) -> np.ndarray:
    """Turn grey levels (H, W) into RGB uint8 (H, W, 3), from the 0.1 to the 99.9 percentile."""
    low, high = np.percentile(image[::3, ::3], [0.1, 99.9])
    grey = (image.astype(np.float32) - low) * (255 / max(high - low, 1))
    return np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, -1)


def pictures_in_a_row(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Join RGB pictures in a row, 8 white pixels apart, with white below the shorter ones."""
    height = max(map(len, pictures))
    padded = [np.pad(shown, ((0, height - len(shown)), (0, 8), (0, 0)), constant_values=255)
              for shown in pictures]
    return np.concatenate(padded, 1)[:, :-8]


def show_slice(picture: np.ndarray, ax: Axes, title: str = "",
               voxel_nm: Voxel | None = None) -> None:
    """Show grey levels (H, W) or RGB (H, W, 3), with a scale bar if the voxel size is known."""
    low, high = np.percentile(picture, [0.1, 99.9])
    ax.imshow(picture, cmap="gray", vmin=low, vmax=high, interpolation="antialiased")
    ax.set_title(title)
    ax.set_axis_off()
    if voxel_nm:
        _add_scale_bar(ax, picture.shape[0], picture.shape[1], voxel_nm[2])


def _add_scale_bar(ax: Axes, height: int, width: int, voxel_nm: float) -> None:
    """Draw a scale bar of 1, 2 or 5 times a power of ten nm, at most a fifth of the width long."""
    power = 10.0 ** np.floor(np.log10(width * voxel_nm / 5))
    nm = max(step * power for step in (1, 2, 5) if step * power <= width * voxel_nm / 5)
    text = f"{nm:g} nm" if nm < 1e3 else f"{nm / 1e3:g} µm" if nm < 1e6 else f"{nm / 1e6:g} mm"
    left, pixels = 0.04 * width, nm / voxel_nm
    white: Any = {"color": "white", "path_effects": [withStroke(linewidth=3, foreground="k")]}
    ax.add_patch(Rectangle((left, 0.93 * height), pixels, 0.015 * height, **white))
    ax.text(left + pixels / 2, 0.915 * height, text, ha="center", va="bottom", **white)


def phase_legend(figure: Figure, phases: Phases, meaning: str = "",
                 labels: Sequence[np.ndarray] = ()) -> None:
    """Add a legend of phases below a figure, with "no label" if `labels` have unlabelled pixels."""
    handles = [Patch(color=colour, label=name)
               for name, colour in zip(phases.names, phases.colours, strict=True)]
    if any((label == IGNORE).any() for label in labels):
        handles.append(Patch(color=np.divide(UNLABELLED, 255), label="no label"))
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 8),
                  frameon=False, title=meaning)


def grey_histogram(slices: Slices, ax: Axes) -> None:
    """Draw histograms of grey levels by phase, as shares of labelled pixels, of up to 40 slices."""
    sample, phases = slices.subsample(40), slices.phases
    images, labels = (np.concatenate([array.ravel() for array in arrays])
                      for arrays in (sample.images, sample.labels))
    few = np.concatenate([image[::3, ::3].ravel() for image in sample.images])
    low, high = np.percentile(few, [0.01, 99.99])
    bins = np.linspace(low, high, 150)
    for phase, (name, colour) in enumerate(zip(phases.names, phases.colours, strict=True)):
        counts = np.histogram(images[labels == phase], bins)[0]
        shares = counts / (labels != IGNORE).sum()
        ax.stairs(shares, bins, fill=True, alpha=0.55, color=colour, label=name)
    ax.set(xlabel="grey level (16 bit)", ylabel="share of pixels", yticks=[])
    ax.legend(frameon=False)


def line_profile(images: Sequence[np.ndarray], names: Sequence[str], ax: Axes, row: int,
                 voxel_nm: Voxel | None = None) -> None:
    """Draw the grey levels of two images along a row, in µm, or px if the voxel size is unknown."""
    positions = np.arange(images[0].shape[1]) * (voxel_nm[2] / 1000 if voxel_nm else 1)
    for image, name, colour in zip(images, names, ("0.72", "black"), strict=True):
        ax.plot(positions, image[row], color=colour, lw=1, label=name)
    ax.set(xlabel=f"position, {'µm' if voxel_nm else 'px'}", ylabel="grey level (16 bit)")
    ax.legend(frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1))


def edge_profile(slices: Slices, ax: Axes) -> None:
    """Draw grey levels across an edge from darkest to brightest phase, over a band per phase."""
    means = mean_grey_levels(slices.subsample(20))
    order = np.argsort(means)[:np.isfinite(means).sum()]  # present phases, the darkest first
    names, colours = slices.phases.names, slices.phases.colours
    grey = _grey_across_edge(slices, order[0], order[-1])
    ax.plot(np.arange(len(grey)) - _REACH + 0.5, grey, "o-", color=INK)
    limits = [0, *(means[order][:-1] + means[order][1:]) / 2, 2**16]
    for phase, low, high in zip(order, limits[:-1], limits[1:], strict=True):
        x, side = (_REACH - 0.2, "right") if phase == order[0] else (0.2 - _REACH, "left")
        ax.axhspan(low, high, color=colours[phase], alpha=0.25, lw=0)
        ax.text(x, means[phase], names[phase], color=colours[phase], va="center", weight="bold",
                ha=side)
    ax.axvline(0, color=PALE_INK, ls="--")
    ax.set(xlabel=f"pixels from the edge: true {names[order[0]]} on the left, "
                  f"true {names[order[-1]]} on the right", ylabel="grey level (16 bit)",
           xlim=(-_REACH, _REACH), ylim=(means[order[0]] - 4000, means[order[-1]] + 4000))


def _grey_across_edge(slices: Slices, dark: int, bright: int) -> np.ndarray:
    """Return a piece of a row of grey levels: `_REACH` dark and `_REACH` bright pixels, or none."""
    for image, label in zip(slices.images, slices.labels, strict=True):
        left, right = (np.all(sliding_window_view(label == phase, _REACH, 1), -1)
                       for phase in (dark, bright))
        starts = np.argwhere(left[:, :-_REACH] & right[:, _REACH:])
        if len(starts):
            row, start = starts[len(starts) // 2]
            return image[row, start:start + 2 * _REACH]
    return np.empty(0)


def mark_row(ax: Axes, row: int, width: int) -> None:
    """Mark on a slice of this width the row that a profile shows."""
    ax.hlines(row, 0, width - 1, color=_MARK, lw=1.5)


def show_source(function: Callable) -> Markdown:
    """Return the source code of a function or class, for a notebook to display."""
    return Markdown(f"```python\n{textwrap.dedent(inspect.getsource(function))}```")


def display_figure(figure: Figure, caption: str) -> None:
    """Display a figure once in a notebook, with its caption below and as alternative text."""
    display(figure, metadata={"image/png": {"alt": caption}})
    display(Markdown(f"*{markdown_text(caption)}*"))
    plt.close(figure)


def save_figure(figure: Figure, run: Run, name: str, caption: str) -> None:
    """Display a figure, and save it as figures/NAME.png in the folder of a run, below runs/."""
    folder = home() / "runs" / run.folder.parent.name / run.folder.name / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{name}.png", dpi=110, bbox_inches="tight")
    display_figure(figure, caption)


def worst_place(wrong: np.ndarray, truth: np.ndarray | None = None,
                side: int = 48) -> tuple[slice, slice]:
    """Return rows and columns of the square with the most wrong pixels, bool (H, W).
    Args:
        truth: class indices (H, W). If given, a square with enough of every phase is preferred.
    """
    side = min(side, *wrong.shape)
    rank = _share_in_squares(wrong, side)
    if truth is not None:
        present = np.setdiff1d(truth, IGNORE)
        rank += np.all([_share_in_squares(truth == phase, side) >= 0.3 / len(present)
                        for phase in present], 0)
    top, left = np.unravel_index(rank.argmax(), rank.shape)
    return slice(top, top + side), slice(left, left + side)


def _share_in_squares(mask: np.ndarray, side: int) -> np.ndarray:
    """Share of true pixels in the square of this side that begins at each pixel."""
    shares = uniform_filter(mask.astype(np.float32), side, mode="constant", origin=-(side // 2))
    return shares[:mask.shape[0] - side + 1, :mask.shape[1] - side + 1]


def mark_place(ax: Axes, place: tuple[slice, slice]) -> None:
    """Draw a frame around a place, rows and columns, on a slice."""
    rows, columns = place
    ax.add_patch(Rectangle((columns.start - 0.5, rows.start - 0.5), columns.stop - columns.start,
                           rows.stop - rows.start, fill=False, edgecolor=_MARK, lw=1.5))


def _zoom(labels: np.ndarray, wrong: np.ndarray, ax: Axes, title: str, phases: Phases) -> None:
    """Show a piece of a mask, (h, w), with a white line between its wrong and its right pixels."""
    show_slice(mask_image(labels, phases), ax, title)
    rows, columns = (np.argwhere(np.diff(np.pad(wrong, 1), axis=axis)).T for axis in (0, 1))
    ax.hlines(rows[0] - 0.5, rows[1] - 1.5, rows[1] - 0.5, color="white", lw=1.2)
    ax.vlines(columns[1] - 0.5, columns[0] - 1.5, columns[0] - 0.5, color="white", lw=1.2)


def error_panels(slices: Slices, predicted: Sequence[np.ndarray], titles: Sequence[str]) -> Figure:
    """Show where each prediction (H, W) of a slice is wrong, and enlarge its worst place."""
    fig = plt.figure(figsize=(11, 3.4 * len(slices) + 0.8), layout="constrained")
    grid = fig.add_gridspec(2 * len(slices), 4, width_ratios=(1, 2, 2, 2))
    rows = zip(slices.images, slices.labels, predicted, titles, strict=True)
    for top, (image, truth, guess, title) in zip(range(0, grid.nrows, 2), rows, strict=True):
        small = [fig.add_subplot(grid[row, 0]) for row in (top, top + 1)]
        large = [fig.add_subplot(grid[top:top + 2, column]) for column in (1, 2, 3)]
        wrong = wrong_pixels(truth, guess)
        place = worst_place(wrong)
        show_slice(image, small[0], title)
        show_slice(error_image(truth, guess, slices.phases), small[1],
                   f"{100 * wrong_share(truth, guess):.2f} % wrong")
        show_slice(image[place], large[0], "worst place: image", slices.voxel_nm)
        _zoom(truth[place], wrong[place], large[1], "its true phase", slices.phases)
        _zoom(guess[place], wrong[place], large[2], "predicted phase", slices.phases)
        for ax in small:
            mark_place(ax, place)
    phase_legend(fig, slices.phases, _LEGEND.format("Small", "Large"), slices.labels)
    return fig


def compare_predictions(image: np.ndarray, truth: np.ndarray, guesses: Sequence[np.ndarray],
                        titles: Sequence[str], phases: Phases,
                        voxel_nm: Voxel | None = None) -> Figure:
    """Show errors of several networks in a slice, (H, W), and enlarge a place with all phases."""
    side = min(3.6, 11 / (len(guesses) + 1))  # inches
    heights = side * image.shape[0] / image.shape[1], side
    fig, axes = plt.subplots(2, len(guesses) + 1, layout="constrained", height_ratios=heights,
                             figsize=(side * (len(guesses) + 1), sum(heights) + 1.4))
    place = worst_place(wrong_pixels(truth, guesses[0]), truth)
    show_slice(image, axes[0, 0], "image", voxel_nm)
    show_slice(mask_image(truth[place], phases), axes[1, 0], "enlarged: true phase")
    for (above, below), guess, title in zip(axes.T[1:], guesses, titles, strict=True):
        wrong = wrong_pixels(truth, guess)
        show_slice(error_image(truth, guess, phases), above,
                   f"{title}:\n{100 * wrong_share(truth, guess):.2f} % wrong")
        _zoom(guess[place], wrong[place], below, "predicted phase", phases)
    for ax in axes[0]:
        mark_place(ax, place)
    phase_legend(fig, phases, _LEGEND.format("Above", "Below"), [truth])
    return fig
