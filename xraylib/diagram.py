"""Draws a U-Net; all sizes are read from the network itself."""

from copy import deepcopy

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from .unet import UNet

LAYERS = {
    "2 x [3x3 conv, batch norm, ReLU]": "#0072B2", "2x2 max-pooling, then the same": "#D55E00",
    "2x2 transposed conv, concatenation, then the same": "#009E73", "skip connection": "0.6",
    "1x1 conv": "#CC79A7",
}
Box = tuple[float, float, float, float]  # middle, bottom, width, height


def draw_unet(model: UNet, ax: Axes, side: int = 512) -> None:
    """Draw a 2-D network as a U, like Figure 2 of the poster.
    Args:
        model, ax: The network, and where to draw it.
        side: Side of the output, px. Wider boxes have more channels, taller boxes more pixels.
    """
    maps, depth = _feature_maps(model, side), model.depth
    boxes: list[Box] = [
        (1.5 * index, -1.35 * min(index, 2 * depth - index),
         0.16 + 0.13 * np.log2(channels / model.width + 1), 0.3 + 1.3 * size / maps[0][1])
        for index, (channels, size) in enumerate(maps)]
    texts = [(f"{channels}", f"{size}²") for channels, size in maps]
    texts[0] = f"{maps[0][0]} channels", f"{maps[0][1]} x {maps[0][1]} px"
    for box, text in zip(boxes, texts, strict=True):
        _draw_box(ax, box, "#bcd7ee", "#1b4b73", *text, 8)
    end, top, n_classes = 1.5 * len(maps), boxes[0][3], model.n_classes
    _draw_box(ax, (-1.5, 0, 0.1, top), "0.85", "0.3", f"{model.in_channels}", "image", 9)
    _draw_box(ax, (end, 0, 0.1, top), "0.85", "0.3", f"{n_classes}", f"{n_classes} phases", 9)
    _draw_arrows(ax, boxes, depth, end)
    handles = [Line2D([], [], color=colour, label=name) for name, colour in LAYERS.items()]
    ax.legend(handles=handles, loc="lower left", frameon=False, fontsize=9)
    parameters = sum(weights.numel() for weights in model.parameters())
    ax.set_title(f"U-Net {model.width} x {depth}: {parameters / 1e6:.2f} million weights")
    ax.set(xlim=(-2.3, end + 0.9), ylim=(-1.35 * depth - 0.5, top + 0.4))
    ax.set_axis_off()


def _feature_maps(model: UNet, side: int) -> list[tuple[int, int]]:
    """List channels and side of the output of each double convolution, in order."""
    shapes: list[tuple[int, int]] = []
    model = deepcopy(model).to("meta")  # computes shapes only
    for block in (model.stem, *(down.conv for down in model.down), *(up.conv for up in model.up)):
        block.register_forward_hook(lambda _block, _x, y: shapes.append((y.shape[1], y.shape[-1])))
    side += 2 * model.margin
    model(torch.empty(1, model.in_channels, side, side, device="meta"))
    return shapes


def _draw_box(ax: Axes, box: Box, fill: str, edge: str, above: str, below: str, size: int) -> None:
    """Draw a box with a text above and below it."""
    x, y, width, height = box
    ax.add_patch(Rectangle((x - width / 2, y), width, height, fc=fill, ec=edge, zorder=3))
    ax.text(x, y + height + 0.05, above, ha="center", va="bottom")
    ax.text(x, y - 0.06, below, ha="center", va="top", fontsize=size, color="0.35")


def _draw_arrows(ax: Axes, boxes: list[Box], depth: int, end: float) -> None:
    """Draw an arrow per layer between the image, the boxes and the output at `end`."""
    def arrow(start: Box, leaving: float, stop: Box, arriving: float, colour: str,
              style: str = "solid") -> None:
        ends = (stop[0] - stop[2] / 2, arriving), (start[0] + start[2] / 2, leaving)
        ax.annotate("", *ends, arrowprops={"arrowstyle": "-|>", "color": colour,
                                           "linestyle": style, "lw": 1.4})

    double, pool, up, skip, last = LAYERS.values()
    image, output = (-1.5, 0, 0.2, 0), (end, 0, 0.2, 0)  # with a gap around them
    arrow(image, boxes[0][3] / 2, boxes[0], boxes[0][3] / 2, double)
    for start, stop, colour in zip(boxes, boxes[1:], depth * [pool] + depth * [up], strict=False):
        arrow(start, start[1] + 0.2 * start[3], stop, stop[1] + 0.5 * stop[3], colour)
    for start, stop in zip(boxes[:depth], boxes[:depth:-1], strict=True):
        arrow(start, start[1] + 0.8 * start[3], stop, start[1] + 0.8 * start[3], skip, "dashed")
    arrow(boxes[-1], boxes[-1][3] / 2, output, boxes[-1][3] / 2, last)
