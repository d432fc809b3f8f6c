"""Networks that see neighbouring slices: 2.5-D and 3-D, and the samplers of their training crops.

Importing this module registers both networks.
"""

from typing import Any, Self

import torch
from torch import Tensor, nn

from ..augment import CropSampler, flip
from ..errors import ParameterError
from ..inference import NETWORKS
from ..tiles import inner_side
from ..training import SAMPLERS
from ..unet import UNet
from .transforms import TransformedCropSampler

CONTEXT = 2  # neighbours that the 2.5-D network sees on either side of a slice


class UNet25D(UNet):
    """A 2-D U-Net whose input channels are a slice and its two neighbours on either side.

    Args:
        width, depth, n_classes, padding: as in `UNet`.
    """

    def __init__(self, width: int = 64, depth: int = 4, n_classes: int = 3,
                 padding: str = "same") -> None:
        super().__init__(width, depth, n_classes, padding, in_channels=1 + 2 * CONTEXT)

    def slices_needed(self, part: range, n: int) -> list[int]:
        """List the slices and their neighbours; beyond an end, the last slice is repeated."""
        return [min(max(index, 0), n - 1)
                for index in range(part.start - CONTEXT, part.stop + CONTEXT)]

    def arrange(self, grey: Tensor) -> Tensor:
        """Turn grey levels (B + 4, H, W) into windows of five slices, (B, 5, H, W)."""
        return grey.unfold(0, self.in_channels, 1).permute(0, 3, 1, 2)


class UNet3D(UNet):
    """The U-Net of volumes (Cicek et al. 2016, arXiv:1606.06650): kernels and poolings are cubes.

    Its input is (B, 1, D, H, W), its output (B, n_classes, D, H, W), for D slices.

    Args:
        width, depth, n_classes: as in `UNet`.
        padding: "same" only.

    Raises:
        ParameterError: padding is not "same".
    """

    TILE_BUDGET = 2**24

    def __init__(self, width: int = 64, depth: int = 4, n_classes: int = 3,
                 padding: str = "same") -> None:
        if padding != "same":
            raise ParameterError(f"padding is {padding!r}; a 3-D network needs 'same'.")
        with torch.device("meta"):      # draws no random numbers: the 3-D layers draw all of them
            super().__init__(width, depth, n_classes, padding)
        for name, layer in list(self.named_modules()):
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.BatchNorm2d | nn.MaxPool2d):
                self.set_submodule(name, _in_3d(layer))
        self.grey = torch.tensor([0.0, 1.0])

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Move or convert the network; channels_last becomes channels_last_3d."""
        if kwargs.get("memory_format") is torch.channels_last:
            kwargs["memory_format"] = torch.channels_last_3d
        return super().to(*args, **kwargs)

    def slices_needed(self, part: range, n: int) -> list[int]:
        """List the slices and all those within the network's reach."""
        return list(range(max(0, part.start - self.reach), min(n, part.stop + self.reach)))

    def slab_size(self, n: int, tile: int = 0) -> int:
        """Return n if a cubic tile holds all n slices, else how many such a tile can predict."""
        side = tile or int((self.TILE_BUDGET / self.width) ** (1 / 3))
        return n if n <= side else inner_side(self, side)

    def arrange(self, grey: Tensor) -> Tensor:
        """Turn grey levels (D, H, W) into a batch of one volume, (1, 1, D, H, W)."""
        return grey[None, None]

    def per_slice(self, logits: Tensor) -> Tensor:
        """Turn logits (1, n_classes, D, H, W) into (D, n_classes, H, W)."""
        return logits[0].transpose(0, 1)


def _in_3d(layer: nn.Module) -> nn.Module:
    """Make a 3-D layer with the sizes of this 2-D layer and new weights."""
    if isinstance(layer, nn.MaxPool2d):
        return nn.MaxPool3d(layer.kernel_size)
    if isinstance(layer, nn.BatchNorm2d):
        return nn.BatchNorm3d(layer.num_features)
    kind = nn.ConvTranspose3d if isinstance(layer, nn.ConvTranspose2d) else nn.Conv3d
    return kind(layer.in_channels, layer.out_channels, layer.kernel_size[0],
                stride=layer.stride[0], padding=layer.padding[0], bias=layer.bias is not None)


class StackSampler(CropSampler):
    """Draw crops of neighbouring slices; `recipe.flips` also reverses their order at random.

    The training set must consist of neighbouring slices in order.
    """

    def seen_and_labelled(self, index: int) -> tuple[list[int], list[int]]:
        """List the slices seen around a chosen slice, and the slices whose labels are used."""
        return self.model.slices_needed(range(index, index + 1), len(self.images)), [index]

    def cut_crops(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Cut a random crop from the stack around each chosen slice.

        Args:
            chosen: indices of the slices, int64 (B,).

        Returns:
            Grey levels float32 (B, S, h, w) of the S slices that the network sees, and class
            indices int64 (B, h, w) of the chosen slices.
        """
        flips, n = self.recipe.flips, len(chosen)
        places = self.draw_places(chosen)
        reversals = 8 * torch.randint(2, (n,), generator=self.generator) * flips
        crops, targets = [], []
        for index, (window, turn), reversal in zip(chosen.tolist(), places, reversals.tolist(),
                                                   strict=True):
            seen, labelled = self.seen_and_labelled(index)
            grey = torch.stack([self.images[each][window] for each in seen]).float()
            classes = torch.stack([self.labels[each][window] for each in labelled]).long()
            crops.append(flip(grey, turn + reversal))
            targets.append(flip(classes, turn + reversal))
        return torch.stack(crops), torch.cat(targets)


class TransformedStackSampler(TransformedCropSampler, StackSampler):
    """Draw crops of neighbouring slices and transform each at random."""


class CubeSampler(StackSampler):
    """Draw cubes: as many slices as a crop has rows, with the labels of all of them."""

    def seen_and_labelled(self, index: int) -> tuple[list[int], list[int]]:
        """List the slices of the cube around a chosen slice; all of their labels are used."""
        cube = _cube(index, self.side, len(self.images))
        return cube, cube

    def cut_crops(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Cut a random cube around each chosen slice.

        Args:
            chosen: indices of the slices, int64 (B,).

        Returns:
            Grey levels float32 (B, 1, D, h, w) and class indices int64 (B, D, h, w).
        """
        images, labels = super().cut_crops(chosen)
        return images.unsqueeze(1), labels.view(len(chosen), -1, *labels.shape[1:])


def _cube(index: int, side: int, n: int) -> list[int]:
    """List `side` of n slices, with slice `index` in the middle unless an end is too near."""
    deep = min(side or n, n)
    first = min(max(index - deep // 2, 0), n - deep)
    return list(range(first, first + deep))


NETWORKS |= {"UNet25D": UNet25D, "UNet3D": UNet3D}
SAMPLERS |= {("UNet25D", False): StackSampler, ("UNet25D", True): TransformedStackSampler,
             ("UNet3D", False): CubeSampler}
