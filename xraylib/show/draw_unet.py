"""The drawing of a U-Net, read off the module itself."""

from copy import deepcopy

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from ..unet import UNet


def feature_maps(model: UNet, side: int) -> list[tuple[int, int]]:
    """(channels, side) of what each double convolution gives, first to last, for an output of side x side px."""
    shapes: list[tuple[int, int]] = []
    model = deepcopy(model).to("meta")                           # shapes without arithmetic
    for block in (model.stem, *(down.conv for down in model.down), *(up.conv for up in model.up)):
        block.register_forward_hook(lambda _block, _x, y: shapes.append((y.shape[1], y.shape[-1])))
    model(torch.empty(1, 1, side + 2 * model.margin, side + 2 * model.margin, device="meta"))
    return shapes


def receptive_field(model: UNet) -> int:
    """The side of the square of input pixels that one output pixel depends on, px: 44 at depth 2, 188 at depth 4.

    Read off a network with all weights 1, and poolings that take the mean, so that no pixel is lost: by the slope of a
    middle output pixel along every input pixel.
    """
    model = UNet(1, model.depth).eval()
    for weights in model.parameters():
        torch.nn.init.ones_(weights)
    for down in model.down:
        down.pool = torch.nn.AvgPool2d(2)
    x = torch.ones(1, 1, 2**(model.depth + 4), 2**(model.depth + 4), requires_grad=True)
    middle = x.shape[-1] // 2
    model(x)[0, 0, middle, middle].backward()
    return int((x.grad[0, 0] != 0).any(0).sum())


def draw_unet(model: UNet, ax: Axes, side: int = 512) -> None:
    """The network as a U (the poster's Figure 2), read off the module: widths stand for channels, heights for sides."""
    maps, depth = feature_maps(model, side), model.depth
    boxes = []                                                   # x, y, width, height of each double convolution
    for index, (channels, size) in enumerate(maps):
        width, height = 0.16 + 0.13 * np.log2(channels / model.width + 1), 0.3 + 1.3 * size / maps[0][1]
        boxes.append((1.5 * index, -1.35 * min(index, 2 * depth - index), width, height))
    for (x, y, width, height), (channels, size) in zip(boxes, maps, strict=True):
        ax.add_patch(Rectangle((x - width / 2, y), width, height, facecolor="#bcd7ee", edgecolor="#1b4b73", zorder=3))
        first = (x, y) == boxes[0][:2]
        ax.text(x, y + height + 0.05, f"{channels} channels" if first else channels, ha="center", va="bottom")
        ax.text(x, y - 0.06, f"{size} x {size} px" if first else f"{size}²", ha="center", va="top", fontsize=8,
                color="0.35")
    ends = [("image", -1.5, 1), (f"{model.n_classes} phases", 1.5 * len(maps), model.n_classes)]
    for name, x, channels in ends:
        ax.add_patch(Rectangle((x - 0.05, 0), 0.1, boxes[0][3], facecolor="0.85", edgecolor="0.3"))
        ax.text(x, boxes[0][3] + 0.05, channels, ha="center", va="bottom")
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
    """An arrow from one point to another."""
    ax.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": colour, "linestyle": style, "lw": 1.4})
