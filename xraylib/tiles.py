"""Predictions of neighbouring slices, in tiles whose logits equal those of whole slices."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from .device import autocast
from .unet import UNet


def add_margin(model: UNet, images: Tensor) -> Tensor:
    """Pad images (B, C, H, W) by reflection, with the margin that the network loses."""
    if model.margin == 0:
        return images
    rows, columns = (torch.from_numpy(np.pad(np.arange(side), model.margin, "reflect"))
                     .to(images.device) for side in images.shape[-2:])
    return images[..., rows[:, None], columns]


def stack_logits(model: UNet, grey: Tensor) -> Tensor:
    """Predict together the slices that `model.slices_needed` lists, grey levels float (S, H, W).

    Returns: Logits (P, n_classes, H, W). P is S in 3-D, else the number of slices asked for.
    """
    with autocast(grey.device):
        logits = model(add_margin(model, model.arrange(grey)))
    return model.per_slice(logits)


def tile_spans(length: int, inner: int, reach: int) -> Iterator[tuple[slice, slice]]:
    """Divide a side of a volume into tiles; yield what each tile predicts and what it sees.
    Args:
        length, inner, reach: pixels of the side, those a tile predicts, and those it sees beyond.
    """
    for start in range(0, length, inner):
        stop = min(start + inner, length)
        yield slice(start, stop), slice(max(0, start - reach), min(length, stop + reach))


def inner_side(model: UNet, side: int) -> int:
    """Return how many pixels of a tile's side can be predicted: a multiple of the stride."""
    inner = max(side - 2 * model.reach, model.reach)
    return inner - inner % model.stride


@torch.inference_mode()
def tiled_logits(model: UNet, read: Callable[[int, slice], np.ndarray], n: int,
                 shape: tuple[int, int], part: range,
                 side: int = 0) -> Iterator[tuple[slice, slice, Tensor]]:
    """Predict slices in tiles whose logits equal those of whole slices.

    Each tile sees all that its prediction depends on and starts at a multiple of the stride, so no
    seams appear (the overlap-tile strategy of Ronneberger et al. 2015, Figure 2).
    Args:
        model, read: from `inference.fuse_batch_norm`; a function (index, rows) that reads a slice.
        n, shape: number of neighbouring slices; height and width of each.
        part: the slices to predict; for a 3-D network, it starts at a multiple of the stride.
        side: side of a tile in px, or 0 for the largest that `model.TILE_BUDGET` allows.
    Returns: Rows, columns and logits (P, n_classes, rows, columns) of each tile, without overlap.
    """
    needed = model.slices_needed(part, n)
    inner = inner_side(model, side or int((model.TILE_BUDGET / (model.width * len(needed))) ** 0.5))
    for rows, high in tile_spans(shape[0], inner, model.reach):
        band = np.stack([read(index, high) for index in needed])
        for columns, wide in tile_spans(shape[1], inner, model.reach):
            window = torch.from_numpy(np.ascontiguousarray(band[..., wide]))
            logits = stack_logits(model, window.to(model.grey.device).float())
            if len(logits) > len(part):                  # a 3-D network predicts all that it sees
                logits = logits[part.start - needed[0]:][:len(part)]
            top, left = rows.start - high.start, columns.start - wide.start
            yield rows, columns, logits[..., top:top + rows.stop - rows.start,
                                        left:left + columns.stop - columns.start]
