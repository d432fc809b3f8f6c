"""Batches: which slices, which crops of them, turned which way."""

import numpy as np
import torch
from torch import Tensor

from .data import Slices


def grey_statistics(slices: Slices) -> tuple[float, float]:
    """Mean and standard deviation of all grey levels, in float64, slice by slice (no large copy)."""
    mean = float(np.mean([image.mean(dtype=np.float64) for image in slices.images]))
    variance = float(np.mean([np.square(image - mean).mean() for image in slices.images]))
    return mean, max(variance**0.5, 1.0)


def draw(order: Tensor, position: int, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor, int]:
    """The next ``batch`` entries of an endless stream of permutations: every slice once before any comes again.

    Returns the entries, the permutation they end in, and the position in it.
    """
    taken = order[position:position + batch]
    while len(taken) < batch:
        order, position = torch.randperm(len(order), generator=generator), -len(taken)
        taken = torch.cat([taken, order[:batch - len(taken)]])
    return taken, order, position + batch


def flip(image: Tensor, turn: int) -> Tensor:
    """One of the eight symmetries of the square, (H, W): bit 0 flips rows, bit 1 columns, bit 2 transposes."""
    image = image.flip([axis for axis in (0, 1) if turn >> axis & 1])
    return image.T if turn & 4 else image


def crops(images: Tensor, labels: Tensor, chosen: Tensor, side: int, augment: bool,
          generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """One random crop of each chosen slice, flipped and transposed at random if ``augment``.

    ``images``: uint16 (N, H, W); ``labels``: uint8 (N, H, W); ``side``: px, 0 for whole slices, at most H and W are
    taken. Returns grey levels, float32, and class indices, int64: (B, 1, rows, columns) and (B, rows, columns).
    """
    height, width = images.shape[1:]
    rows, columns = min(side or height, height), min(side or width, width)
    corners = torch.rand(len(chosen), 2, generator=generator) * torch.tensor([height - rows + 1, width - columns + 1])
    turns = torch.randint(8 if rows == columns else 4, (len(chosen),), generator=generator) * augment
    cropped, targets = [], []
    for index, (top, left), turn in zip(chosen.tolist(), corners.int().tolist(), turns.tolist(), strict=True):
        window = (index, slice(top, top + rows), slice(left, left + columns))
        cropped.append(flip(images[window].float(), turn))
        targets.append(flip(labels[window].long(), turn))
    return torch.stack(cropped).unsqueeze(1), torch.stack(targets)
