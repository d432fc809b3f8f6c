"""Random training crops, drawn by one generator whose state is stored in each checkpoint."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Generator, Tensor

from .data import Slices
from .losses import IGNORE
from .unet import UNet

if TYPE_CHECKING:
    from .training import Recipe


Window = tuple[slice, slice]  # rows and columns


class CropSampler:
    """Draw training batches: slices in random order, and a random crop of each.

    Each slice is drawn once before any slice is drawn again. Each crop is read with the margin that
    the network loses. In a partly labelled slice, each crop holds a labelled pixel before it is
    transformed. Subclasses override `cut_crops`, which may read `extra` px around that margin.
    """

    def __init__(self, train_set: Slices, recipe: "Recipe", model: UNet, seed: int,
                 extra: int = 0) -> None:
        self.recipe, self.model = recipe, model
        self.around = model.margin + extra  # px of mirrored pixels around each slice
        self.side = recipe.crop and recipe.crop + 2 * self.around
        self.images, self.labels = (
            [torch.from_numpy(mirror_pad(array, self.around)).to(model.grey.device)
             for array in arrays] for arrays in (train_set.images, train_set.labels))
        # Flat indices of labelled pixels, at most 65,536 per slice; partly labelled slices only.
        known = {index: np.flatnonzero(label != IGNORE).astype(np.int32)
                 for index, label in enumerate(train_set.labels) if (label == IGNORE).any()}
        self.labelled = {index: pixels[::len(pixels) // 2**16 + 1]
                         for index, pixels in known.items() if len(pixels)}
        self.generator = torch.Generator().manual_seed(seed)
        self.order = torch.empty(0, dtype=torch.int64)  # indices of the slices to draw next

    def next_batch(self) -> tuple[Tensor, Tensor]:
        """Draw grey levels float32 (B, 1, h + 2 margin, w + 2 margin), labels int64 (B, h, w)."""
        images, labels = self.cut_crops(self._next_slices())
        lost, (rows, columns) = self.model.margin, labels.shape[-2:]
        return images, labels[..., lost:rows - lost, lost:columns - lost]

    def cut_crops(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Cut a random crop with its margin from each chosen slice; see `cut_windows`."""
        return cut_windows(self.images, self.labels, chosen, self.draw_places(chosen))

    def draw_places(self, chosen: Tensor) -> list[tuple[Window, int]]:
        """Draw the window and the turn of a crop in each chosen slice; see `random_places`."""
        shapes = [self.images[index].shape for index in chosen.tolist()]
        places = random_places(shapes, self.side, self.recipe.flips, self.generator)
        return [(self._window_on_label(index, window) if index in self.labelled else window, turn)
                for index, (window, turn) in zip(chosen.tolist(), places, strict=True)]

    def _window_on_label(self, index: int, window: Window) -> Window:
        """Draw a window of the same size that has a labelled pixel inside its margin."""
        pixels, shape, drawn = self.labelled[index], self.labels[index].shape, []
        pixel = pixels[torch.randint(len(pixels), (), generator=self.generator)]
        pixel = np.array(divmod(pixel, shape[1] - 2 * self.around)) + self.around
        starts = torch.rand(2, generator=self.generator).tolist()
        for at, length, part, start in zip(pixel.tolist(), shape, window, starts, strict=True):
            size = part.stop - part.start
            low = max(0, at - size + self.around + 1)
            first = low + int(start * (min(at - self.around, length - size) - low + 1))
            drawn.append(slice(first, first + size))
        return drawn[0], drawn[1]

    def _next_slices(self) -> Tensor:
        """Return the next indices, (B,), of an endless stream of permutations."""
        while len(self.order) < self.recipe.batch:
            permutation = torch.randperm(len(self.images), generator=self.generator)
            self.order = torch.cat([self.order, permutation])
        chosen, self.order = self.order.tensor_split([self.recipe.batch])
        return chosen

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next draws depend on."""
        return {"generator": self.generator.get_state(), "order": self.order}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.generator.set_state(state["generator"])
        self.order = state["order"]


def mirror_pad(array: np.ndarray, margin: int) -> np.ndarray:
    """Pad a slice (H, W) by reflection, `margin` px on each side. Margin 0 makes no copy."""
    return np.pad(array, margin, "reflect") if margin else array


def cut_windows(images: list[Tensor], labels: list[Tensor], chosen: Tensor,
                places: list[tuple[Window, int]]) -> tuple[Tensor, Tensor]:
    """Cut one crop from each of the chosen slices.
    Args:
        images, labels, chosen: N tensors each, uint16 and uint8 (H, W); slice indices, int64 (B,).
        places: the window of each crop and its turn, as `random_places` draws them.
    Returns: Grey levels float32 (B, 1, h, w) and class indices int64 (B, h, w).
    """
    crops, targets = [], []
    for index, (window, turn) in zip(chosen.tolist(), places, strict=True):
        crops.append(flip(images[index][window].float(), turn))
        targets.append(flip(labels[index][window].long(), turn))
    return torch.stack(crops).unsqueeze(1), torch.stack(targets)


def random_places(shapes: Sequence[tuple[int, int]], side: int, flips: bool,
                  generator: Generator) -> list[tuple[Window, int]]:
    """Draw where to cut a crop from each of several slices, and how to flip the crop.
    Args:
        shapes, generator: height and width of each slice, px; source of the random numbers.
        side: side of the crops, px, at most that of the smallest slice. 0: as large as that slice.
        flips: whether to flip crops and, if they are square, transpose them.
    Returns: The window (rows, columns) of each crop, and its turn, a number for `flip`.
    """
    rows, columns = (min(side or least, least) for least in map(min, *shapes, shapes[0]))
    corners = torch.rand(len(shapes), 2, generator=generator)
    corners = (corners * (torch.tensor(shapes) - torch.tensor([rows, columns]) + 1)).int()
    turns = torch.randint(8 if rows == columns else 4, (len(shapes),), generator=generator) * flips
    return [((slice(top, top + rows), slice(left, left + columns)), turn)
            for (top, left), turn in zip(corners.tolist(), turns.tolist(), strict=True)]


def flip(image: Tensor, turn: int) -> Tensor:
    """Apply one of the eight symmetries of the square to an image (H, W) or a stack (D, H, W).

    Bit 0 of `turn` flips up-down, bit 1 left-right, bit 2 transposes, bit 3 reverses a stack.
    """
    image = image.flip([axis for bit, axis in ((1, -2), (2, -1), (8, -3)) if turn & bit])
    return image.mT if turn & 4 else image
