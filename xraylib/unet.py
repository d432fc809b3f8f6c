"""The U-Net of Ronneberger, Fischer and Brox 2015 (arXiv:1505.04597), as the poster's Figure 2 draws it.

With ``dims=3`` it is that of Cicek et al. 2016 (arXiv:1606.06650): the same, but for kernels and poolings with a side
more. Shapes are given for 2-D; in 3-D a D stands before each H, and D is treated as H and W are.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CONV, NORM = {2: nn.Conv2d, 3: nn.Conv3d}, {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
POOL, UP = {2: nn.MaxPool2d, 3: nn.MaxPool3d}, {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


class DoubleConv(nn.Module):
    """[3x3 convolution, batch norm, ReLU] twice; the paper has no batch norm."""

    def __init__(self, c_in: int, c_out: int, pad: int, dims: int):
        super().__init__()
        conv, norm = CONV[dims], NORM[dims]
        self.layers = nn.Sequential(
            conv(c_in, c_out, 3, padding=pad, bias=False), norm(c_out), nn.ReLU(inplace=True),
            conv(c_out, c_out, 3, padding=pad, bias=False), norm(c_out), nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) -> (B, c_out, H, W); without padding, H and W lose 4."""
        return self.layers(x)


class Down(nn.Module):
    """2x2 max-pooling of stride 2, then a double convolution: half the size, twice the channels."""

    def __init__(self, c_in: int, c_out: int, pad: int, dims: int):
        super().__init__()
        self.pool, self.conv = POOL[dims](2), DoubleConv(c_in, c_out, pad, dims)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) -> (B, c_out, H/2, W/2)."""
        return self.conv(self.pool(x))


class Up(nn.Module):
    """2x2 transposed convolution, concatenation with the cropped skip connection, then a double convolution."""

    def __init__(self, c_in: int, c_out: int, pad: int, dims: int):
        super().__init__()
        self.up, self.conv = UP[dims](c_in, c_out, 2, stride=2), DoubleConv(c_in, c_out, pad, dims)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(B, c_in, H, W) and the map of twice that size on the way down -> (B, c_out, 2H, 2W)."""
        x = self.up(x)                                             # B x c_out x 2H x 2W
        for axis in range(2, x.ndim):                              # as much is cut off on either side
            skip = skip.narrow(axis, (skip.shape[axis] - x.shape[axis]) // 2, x.shape[axis])
        return self.conv(torch.cat([skip, x], 1))                  # B x c_out x 2H x 2W


class UNet(nn.Module):
    """U-Net with ``depth`` poolings and ``width`` channels at the top, doubled at each step down.

    The poster's network is 64 x 4 (31.0 million parameters); the laptop profile's is 16 x 2 (0.12 million).
    ``padding="same"`` pads each convolution by one, as the implementation that the poster modified does;
    ``"valid"`` does not, as the paper: then the input must be ``margin`` pixels larger on every side than the output.
    ``dims=3`` makes a network of volumes (with padding only), ``context=k`` one of slices that sees k neighbours of
    its slice on either side, as channels ("2.5-D").
    ``grey`` holds the mean and deviation of the training set's grey levels: they travel with the weights.
    """

    def __init__(self, width: int = 64, depth: int = 4, n_classes: int = 3, padding: str = "same", dims: int = 2,
                 context: int = 0):
        super().__init__()
        if padding not in ("same", "valid"):
            raise ValueError(f"padding is {padding!r}; it must be 'same' or 'valid'.")
        if dims != 2 and (dims, padding, context) != (3, "same", 0):
            raise ValueError(f"dims is {dims}, padding {padding!r} and context {context}; dims must be 2, or 3 with "
                             "padding 'same' and context 0.")
        self.width, self.depth, self.n_classes, self.padding = width, depth, n_classes, padding
        self.dims, self.context = dims, context
        pad = int(padding == "same")
        channels = [width * 2**level for level in range(depth + 1)]
        self.stem = DoubleConv(1 + 2 * context, width, pad, dims)
        self.down = nn.ModuleList(Down(c, 2 * c, pad, dims) for c in channels[:-1])
        self.up = nn.ModuleList(Up(2 * c, c, pad, dims) for c in reversed(channels[:-1]))
        self.head = CONV[dims](width, n_classes, 1)
        self.register_buffer("grey", torch.tensor([0.0, 1.0]))

    @property
    def margin(self) -> int:
        """Pixels lost on each side: 0 with padding, else 6 * 2^depth - 4 (92 at depth 4: 572 -> 388 in the paper)."""
        return 0 if self.padding == "same" else 6 * 2**self.depth - 4

    def forward(self, x: Tensor) -> Tensor:
        """Raw grey levels, float (B, 1 + 2 context, H + 2 margin, W + 2 margin) -> logits (B, n_classes, H, W).

        H and W may be any numbers: the sides that the poolings need are added below and to the right (the edge
        pixels repeated) and cut off again.
        """
        sides = [side - 2 * self.margin for side in x.shape[2:]]   # H and W
        if min(sides) < 1:
            raise ValueError(f"the input is {tuple(x.shape[2:])} px; without padding this U-Net needs more than "
                             f"{2 * self.margin} px a side.")
        x = (x - self.grey[0]) / self.grey[1]                      # B x 1 x H x W, of mean 0 and deviation 1
        step, rest = 2**self.depth, 0 if self.margin == 0 else 4   # unpadded output sides are 4 more than a multiple
        ends = [end for side in reversed(sides) for end in (0, (rest - side) % step)]
        x = F.pad(x, ends, mode="replicate")
        x = self.stem(x)                                           # B x width x H x W
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(x)                                            # B x 2C x H/2 x W/2
        for up in self.up:
            x = up(x, skips.pop())                                 # B x C x H x W
        return self.head(x)[(..., *map(slice, sides))]             # B x n_classes x H x W
