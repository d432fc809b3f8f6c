"""What small crops change: predictions in pieces, effective receptive field, cost of a step."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..data import Slices
from ..datasets import cut_window
from ..device import autocast
from ..inference import predict
from ..tiles import add_margin
from ..training import Recipe, TrainingState, train
from ..unet import UNet

INFLUENCE_PLACES = 200  # places over which the influence is averaged
TIMED_ROUNDS, TIMED_STEPS = 3, 5  # of `seconds_per_step`: rounds, and steps per round


def predict_in_pieces(model: UNet, images: Sequence[np.ndarray], side: int) -> np.ndarray:
    """Cut slices into squares and predict each square alone, without what surrounds it.

    Args:
        model: any network.
        images: N arrays uint16 (H, W).
        side: side of the squares, px.

    Returns:
        Class indices, uint8 (N, H, W).
    """
    labels = np.empty((len(images), *images[0].shape), np.uint8)
    by_shape: dict[tuple[int, ...], list[tuple[slice, slice]]] = {}  # one shape is one batch
    for (row, column), _ in np.ndenumerate(images[0][::side, ::side]):
        piece = slice(row * side, row * side + side), slice(column * side, column * side + side)
        by_shape.setdefault(images[0][piece].shape, []).append(piece)
    for pieces in by_shape.values():
        predicted = predict(model, [image[piece] for piece in pieces for image in images])
        for piece, part in zip(pieces, np.split(predicted, len(pieces)), strict=True):
            labels[:, *piece] = part
    return labels


def distance_to_border(shape: tuple[int, int], side: int) -> np.ndarray:
    """Distance of each pixel to the border of its piece (see `predict_in_pieces`).

    Args:
        shape: height and width of a slice, px.
        side: side of the pieces, px; those at the right and the lower edge may be smaller.

    Returns:
        int64 (H, W), px; 1 at the border.
    """
    def along(length: int) -> np.ndarray:
        place = np.arange(length)
        end = np.minimum(place // side * side + side, length)
        return np.minimum(place % side + 1, end - place)

    rows, columns = (along(length) for length in shape)
    return np.minimum(rows[:, None], columns)


def influence(model: UNet, slices: Slices, reach: int) -> np.ndarray:
    """Measure how much each surrounding pixel contributes to the prediction of the middle one.

    The influence is the absolute gradient of the middle pixel's highest logit with respect to each
    grey level, averaged over `INFLUENCE_PLACES` random places: the effective receptive field
    (Luo et al. 2016, arXiv:1701.04128).

    Args:
        model: a network that sees single slices.
        slices: slices larger than the square.
        reach: px on each side of the middle, at least the reach of the network.

    Returns:
        Shares that add up to 1, float64 (2 reach + 1, 2 reach + 1).
    """
    rng, side, model = np.random.default_rng(0), 2 * reach + 1, deepcopy(model).eval()
    places = [(rng.integers(len(slices)), *(rng.integers(n - side + 1) for n in slices.shape))
              for _ in range(INFLUENCE_PLACES)]
    windows = np.stack([slices.images[index][top:top + side, left:left + side]
                        for index, top, left in places])
    gradients = np.zeros((side, side))
    for part in np.split(windows, 10):  # 20 places at a time, because the graph takes memory
        x = torch.from_numpy(part).float().unsqueeze(1).to(model.grey.device).requires_grad_()
        model(add_margin(model, x))[:, :, reach, reach].amax(1).sum().backward()
        gradients += x.grad.abs().sum((0, 1)).cpu().numpy()
    return gradients / gradients.sum()


def influence_within(shares: np.ndarray) -> np.ndarray:
    """Sum the `influence` inside squares of 1, 3, 5, ... px around the middle: (reach + 1,)."""
    reach = len(shares) // 2
    squares = [slice(reach - far, reach + far + 1) for far in range(reach + 1)]
    return np.array([shares[square, square].sum() for square in squares])


def seconds_per_step(recipes: Mapping[str, Recipe], train_set: Slices) -> dict[str, float]:
    """Time a training step of each recipe on this computer.

    The recipes take turns, and the fastest of `TIMED_ROUNDS` rounds counts.

    Args:
        recipes: recipes by name.
        train_set: training slices.

    Returns:
        Seconds per step by name.
    """
    fastest = dict.fromkeys(recipes, float("inf"))
    watched = cut_window(train_set[:1], 1 / 64, 0)  # small, because its score is not used
    for name, recipe in [*recipes.items()] * TIMED_ROUNDS:
        state = TrainingState(replace(recipe, steps=TIMED_STEPS, evaluations=1), train_set, 0)
        train(state, watched)
        fastest[name] = min(fastest[name], state.seconds / TIMED_STEPS)
    return fastest


def bytes_kept_for_backward(model: UNet, images: Tensor) -> int:
    """Count the memory that a forward pass keeps for the backward pass.

    This memory makes up most of what training needs.

    Args:
        model: any network.
        images: a batch, as `UNet.forward` takes it.

    Returns:
        Bytes; each block of memory counts once.
    """
    blocks: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        blocks[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor.detach()  # otherwise the tensor and its graph would keep each other alive

    with (torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
          autocast(images.device)):
        logits = model(images)
    assert logits.requires_grad
    return sum(blocks.values())
