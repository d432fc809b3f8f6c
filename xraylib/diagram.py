"""The drawing of a U-Net, with all sizes read off the network itself."""

from copy import deepcopy

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from .unet import UNet

_LAYERS = {
    "2 x [3x3 conv, batch norm, ReLU]": "#0072B2", "2x2 max-pooling, then the same": "#D55E00",
    "2x2 transposed conv, concatenation, then the same": "#009E73", "skip connection": "0.6",
    "1x1 conv": "#CC79A7",
}
_DOUBLE, _POOL, _UP, _SKIP, _LAST = _LAYERS.values()
Box = tuple[float, float, float, float]        # middle, bottom, width, height


def draw_unet(model: UNet, ax: Axes, side: int = 512) -> None:
    """Draw a 2-D network as a U, like Figure 2 of the poster.

    Args:
        side: side of the output, px. Wider boxes have more channels, higher ones more pixels.
    """
    maps, depth = _feature_maps(model, side), model.depth
    boxes: list[Box] = [
        (1.5 * index, -1.35 * min(index, 2 * depth - index),
         0.16 + 0.13 * np.log2(channels / model.width + 1), 0.3 + 1.3 * size / maps[0][1])
        for index, (channels, size) in enumerate(maps)]
    _draw_feature_maps(ax, boxes, maps)
    end = 1.5 * len(maps)
    for name, x, channels in (("image", -1.5, model.in_channels),
                              (f"{model.n_classes} phases", end, model.n_classes)):
        _draw_box(ax, (x, 0, 0.1, boxes[0][3]), "0.85", "0.3", f"{channels}", name, 9)
    _draw_arrows(ax, boxes, depth, end)
    handles = [Line2D([], [], color=colour, label=name) for name, colour in _LAYERS.items()]
    ax.legend(handles=handles, loc="lower left", frameon=False, fontsize=9)
    parameters = sum(weights.numel() for weights in model.parameters())
    ax.set_title(f"U-Net {model.width} x {depth}: {parameters / 1e6:.2f} million parameters")
    ax.set(xlim=(-2.3, end + 0.9), ylim=(-1.35 * depth - 0.5, boxes[0][3] + 0.4))
    ax.set_axis_off()


def _feature_maps(model: UNet, side: int) -> list[tuple[int, int]]:
    """Channels and side of the output of each double convolution, from the first to the last."""
    shapes: list[tuple[int, int]] = []
    model = deepcopy(model).to("meta")         # shapes without arithmetic
    for block in (model.stem, *(down.conv for down in model.down), *(up.conv for up in model.up)):
        block.register_forward_hook(lambda _block, _x, y: shapes.append((y.shape[1], y.shape[-1])))
    side += 2 * model.margin
    model(torch.empty(1, model.in_channels, side, side, device="meta"))
    return shapes


def _draw_box(ax: Axes, box: Box, fill: str, edge: str, above: str, below: str, size: int) -> None:
    """Draw a box with a text above and below it."""
    x, y, width, height = box
    ax.add_patch(Rectangle((x - width / 2, y), width, height, facecolor=fill, edgecolor=edge,
                           zorder=3))
    ax.text(x, y + height + 0.05, above, ha="center", va="bottom")
    ax.text(x, y - 0.06, below, ha="center", va="top", fontsize=size, color="0.35")


def _draw_feature_maps(ax: Axes, boxes: list[Box], maps: list[tuple[int, int]]) -> None:
    """Draw a box per double convolution with its channels and its side."""
    for box, (channels, size) in zip(boxes, maps, strict=True):
        first = box is boxes[0]
        _draw_box(ax, box, "#bcd7ee", "#1b4b73", f"{channels} channels" if first else f"{channels}",
                  f"{size} x {size} px" if first else f"{size}²", 8)


def _draw_arrows(ax: Axes, boxes: list[Box], depth: int, end: float) -> None:
    """Draw an arrow per layer between the image, the boxes and the output at `end`."""
    def arrow(start: tuple[float, float], stop: tuple[float, float], colour: str,
              style: str = "solid") -> None:
        ax.annotate("", stop, start, arrowprops={"arrowstyle": "-|>", "color": colour,
                                                 "linestyle": style, "lw": 1.4})

    middle = boxes[0][3] / 2
    arrow((-1.4, middle), (boxes[0][0] - boxes[0][2] / 2, middle), _DOUBLE)
    for index, ((x0, y0, w0, h0), (x1, y1, w1, h1)) in enumerate(
            zip(boxes[:-1], boxes[1:], strict=True)):
        arrow((x0 + w0 / 2, y0 + 0.2 * h0), (x1 - w1 / 2, y1 + 0.5 * h1),
              _POOL if index < depth else _UP)
    for (x0, y0, w0, h0), (x1, _, w1, _) in zip(boxes[:depth], reversed(boxes[depth + 1:]),
                                                strict=True):
        arrow((x0 + w0 / 2, y0 + 0.8 * h0), (x1 - w1 / 2, y0 + 0.8 * h0), _SKIP, "dashed")
    x, _, width, height = boxes[-1]
    arrow((x + width / 2, height / 2), (end - 0.1, height / 2), _LAST)
