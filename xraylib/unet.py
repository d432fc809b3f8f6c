"""The U-Net of Ronneberger, Fischer and Brox 2015 (arXiv:1505.04597), as in the poster's Figure 2.

Comments give shapes as B (batch) x C (channels) x H (height) x W (width).
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .errors import ParameterError

if TYPE_CHECKING:
    import numpy as np

    from .data import GreyScale, Phases


class DoubleConv(nn.Module):
    """Twice a 3x3 convolution, batch norm and ReLU; the paper has no batch norm."""

    def __init__(self, in_channels: int, out_channels: int, padding: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, padding=padding, bias=False),
            nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, padding=padding, bias=False),
            nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        """B x in_channels x H x W -> B x out_channels x H x W; without padding, minus 4 px."""
        return self.layers(x)


class Down(nn.Module):
    """A 2x2 max-pooling, then a double convolution: half the size, twice the channels."""

    def __init__(self, in_channels: int, out_channels: int, padding: int) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(2)
        self.conv = DoubleConv(in_channels, out_channels, padding)

    def forward(self, x: Tensor) -> Tensor:
        """B x in_channels x H x W -> B x out_channels x H/2 x W/2."""
        return self.conv(self.pool(x))


class Up(nn.Module):
    """A 2x2 transposed convolution, the cropped skip connection, then a double convolution."""

    def __init__(self, in_channels: int, out_channels: int, padding: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2)
        self.conv = DoubleConv(in_channels, out_channels, padding)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """B x in_channels x H x W and the map of twice that size -> B x out_channels x 2H x 2W."""
        x = self.up(x)                                           # B x out_channels x 2H x 2W
        for axis in range(2, x.ndim):                            # crop the skip map on both sides
            skip = skip.narrow(axis, (skip.shape[axis] - x.shape[axis]) // 2, x.shape[axis])
        return self.conv(torch.cat([skip, x], 1))                # B x out_channels x 2H x 2W


def margin_of(padding: str, depth: int) -> int:
    """Return the px that a U-Net loses on each side: 92 at depth 4 without padding (572 -> 388)."""
    return 0 if padding == "same" else 6 * 2**depth - 4


class UNet(nn.Module):
    """A U-Net: the poster's has width 64 and depth 4 (31.0 million parameters).

    Args:
        width: channels of the first double convolution; each pooling doubles them.
        depth: number of poolings; each halves the height and the width.
        n_classes, in_channels: number of phases, and channels of the input.
        padding: "same" pads each convolution by one pixel, as the poster's code does. "valid" does
            not, as in the paper: the input must be `margin` px larger on each side.
    Raises: ParameterError if padding is neither "same" nor "valid".
    """

    TILE_BUDGET = 2**23  # largest width x pixels of a tile, which limits a prediction's memory
    grey: Tensor         # mean and standard deviation of the training set's grey levels
    # Set by training and loading: what the classes mean, how grey levels of files are read, and 101
    # quantiles of the training set's grey levels.
    phases: "Phases"
    grey_scale: "GreyScale"
    grey_quantiles: "np.ndarray"

    def __init__(self, width: int = 64, depth: int = 4, n_classes: int = 3, padding: str = "same",
                 in_channels: int = 1) -> None:
        super().__init__()
        if padding not in ("same", "valid"):
            raise ParameterError(f"padding is {padding!r}; it must be 'same' or 'valid'.")
        self.width, self.depth, self.n_classes = width, depth, n_classes
        self.padding, self.in_channels = padding, in_channels
        self.stride = 2**depth         # a pixel at the bottom stands for stride x stride px
        self.reach = 6 * self.stride   # px: how far away a pixel can still change a prediction
        self.margin = margin_of(padding, depth)
        pad = int(padding == "same")
        channels = [width * 2**level for level in range(depth)]
        self.stem = DoubleConv(in_channels, width, pad)
        self.down = nn.ModuleList(Down(c, 2 * c, pad) for c in channels)
        self.up = nn.ModuleList(Up(2 * c, c, pad) for c in reversed(channels))
        self.head = nn.Conv2d(width, n_classes, 1)
        self.register_buffer("grey", torch.tensor([0.0, 1.0]))

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits, B x n_classes x H x W, for any H and W.

        Args:
            x: raw grey levels, float, B x in_channels x (H + 2 margin) x (W + 2 margin).
        """
        sides = [side - 2 * self.margin for side in x.shape[2:]]   # H and W
        if min(sides) < 1:
            raise ValueError(f"The input is {tuple(x.shape[2:])} px. Without padding this U-Net "
                             f"needs more than {2 * self.margin} px per side.")
        x = (x - self.grey[0]) / self.grey[1]       # B x 1 x H x W; mean 0, standard deviation 1
        # Sides must fit the poolings: a multiple of stride, plus 4 if no convolution pads.
        rest = 0 if self.margin == 0 else 4
        ends = [end for side in reversed(sides) for end in (0, (rest - side) % self.stride)]
        x = F.pad(x, ends, mode="replicate")        # below and to the right; cropped off at the end
        x = self.stem(x)                                           # B x width x H x W
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(x)                                            # B x 2C x H/2 x W/2
        for up in self.up:
            x = up(x, skips.pop())                                 # B x C x H x W
        return self.head(x)[(..., *map(slice, sides))]             # B x n_classes x H x W

    # How the network sees a stack. Networks that see several slices at once override these methods.

    def slices_needed(self, part: range, n: int) -> list[int]:
        """List the slices out of n that the network must see to predict the slices in part."""
        return list(part)

    def slab_size(self, n: int, tile: int = 0) -> int:
        """Return how many of n slices are predicted together; tile: side in px (0: automatic)."""
        return 1

    def arrange(self, grey: Tensor) -> Tensor:
        """Turn a stack of grey levels (S, H, W) into the network's input (B, in_channels, H, W)."""
        return grey.unsqueeze(1)

    def per_slice(self, logits: Tensor) -> Tensor:
        """Turn the network's output into logits (P, n_classes, H, W) of P slices."""
        return logits

    @property
    def sees_neighbours(self) -> bool:
        """Whether the prediction of a slice depends on the slices next to it."""
        return self.slices_needed(range(1, 2), 3) != [1]
