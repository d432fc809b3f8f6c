"""The U-Net of Ronneberger, Fischer and Brox 2015 (arXiv:1505.04597), as the poster's Figure 2 draws it."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class DoubleConv(nn.Module):
    """[3x3 convolution, batch norm, ReLU] twice; the paper has no batch norm."""

    def __init__(self, c_in: int, c_out: int, pad: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(c_in, c_out, 3, padding=pad, bias=False), nn.BatchNorm2d(c_out), nn.ReLU(inplace=True),
            nn.Conv2d(c_out, c_out, 3, padding=pad, bias=False), nn.BatchNorm2d(c_out), nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) -> (B, c_out, H, W); without padding, H and W lose 4."""
        return self.layers(x)


class Down(nn.Module):
    """2x2 max-pooling of stride 2, then a double convolution: half the size, twice the channels."""

    def __init__(self, c_in: int, c_out: int, pad: int):
        super().__init__()
        self.pool, self.conv = nn.MaxPool2d(2), DoubleConv(c_in, c_out, pad)

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) -> (B, c_out, H/2, W/2)."""
        return self.conv(self.pool(x))


class Up(nn.Module):
    """2x2 transposed convolution, concatenation with the cropped skip connection, then a double convolution."""

    def __init__(self, c_in: int, c_out: int, pad: int):
        super().__init__()
        self.up, self.conv = nn.ConvTranspose2d(c_in, c_out, 2, stride=2), DoubleConv(c_in, c_out, pad)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(B, c_in, H, W) and the map of twice that size on the way down -> (B, c_out, 2H, 2W)."""
        x = self.up(x)                                             # B x c_out x 2H x 2W
        top, left = (skip.shape[-2] - x.shape[-2]) // 2, (skip.shape[-1] - x.shape[-1]) // 2
        skip = skip[..., top:top + x.shape[-2], left:left + x.shape[-1]]
        return self.conv(torch.cat([skip, x], 1))                  # B x c_out x 2H x 2W


class UNet(nn.Module):
    """U-Net with ``depth`` poolings and ``width`` channels at the top, doubled at each step down.

    The poster's network is 64 x 4 (31.0 million parameters); the laptop profile's is 16 x 2 (0.12 million).
    ``padding="same"`` pads each convolution by one, as the implementation that the poster modified does;
    ``"valid"`` does not, as the paper: then the input must be ``margin`` pixels larger on every side than the output.
    ``grey`` holds the mean and deviation of the training set's grey levels: they travel with the weights.
    """

    def __init__(self, width: int = 64, depth: int = 4, n_classes: int = 3, padding: str = "same"):
        super().__init__()
        if padding not in ("same", "valid"):
            raise ValueError(f"padding is {padding!r}; it must be 'same' or 'valid'.")
        self.width, self.depth, self.n_classes, self.padding = width, depth, n_classes, padding
        pad = int(padding == "same")
        channels = [width * 2**level for level in range(depth + 1)]
        self.stem = DoubleConv(1, width, pad)
        self.down = nn.ModuleList(Down(c, 2 * c, pad) for c in channels[:-1])
        self.up = nn.ModuleList(Up(2 * c, c, pad) for c in reversed(channels[:-1]))
        self.head = nn.Conv2d(width, n_classes, 1)
        self.register_buffer("grey", torch.tensor([0.0, 1.0]))

    @property
    def margin(self) -> int:
        """Pixels lost on each side: 0 with padding, else 6 * 2^depth - 4 (92 at depth 4: 572 -> 388 in the paper)."""
        return 0 if self.padding == "same" else 6 * 2**self.depth - 4

    def forward(self, x: Tensor) -> Tensor:
        """Raw grey levels, float (B, 1, H + 2 margin, W + 2 margin) -> logits (B, n_classes, H, W).

        H and W may be any numbers: the sides that the poolings need are added below and to the right (the edge
        pixels repeated) and cut off again.
        """
        height, width = x.shape[-2] - 2 * self.margin, x.shape[-1] - 2 * self.margin
        if min(height, width) < 1:
            raise ValueError(f"the input is {tuple(x.shape[-2:])} px; without padding this U-Net needs more than "
                             f"{2 * self.margin} px a side.")
        x = (x - self.grey[0]) / self.grey[1]                      # B x 1 x H x W, of mean 0 and deviation 1
        step, rest = 2**self.depth, 0 if self.margin == 0 else 4   # unpadded output sides are 4 more than a multiple
        x = F.pad(x, (0, (rest - width) % step, 0, (rest - height) % step), mode="replicate")
        x = self.stem(x)                                           # B x width x H x W
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(x)                                            # B x 2C x H/2 x W/2
        for up in self.up:
            x = up(x, skips.pop())                                 # B x C x H x W
        return self.head(x)[..., :height, :width]                  # B x n_classes x H x W
