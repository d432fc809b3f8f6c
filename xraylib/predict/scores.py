"""Scores of a network, image by image, and where its errors lie."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt, maximum_filter, minimum_filter
from torch import Tensor

from ..dice import absent, confusion, dice_score
from ..noise import noisy_copies
from ..slices.labelled import PHASES, Slices
from ..unet import UNet
from .network import logits_of, predict


@dataclass(frozen=True)
class Scores:
    """Scores of N slices, image by image.

    ``confusion``: int64 (N, 3, 3), pixels by [image, true, predicted]. ``numbers``, ``noise_std``: (N,), as in
    `Slices`. ``loss``: mean over the images, where it was asked for.
    """

    confusion: np.ndarray
    numbers: np.ndarray
    noise_std: np.ndarray
    loss: float | None = None

    @property
    def dice(self) -> np.ndarray:
        """Dice by image and phase, (N, 3)."""
        return dice_score(torch.from_numpy(self.confusion)).numpy()

    @property
    def absent(self) -> int:
        """How often a phase was in neither truth nor prediction, so that its Dice counts 1."""
        return int(absent(torch.from_numpy(self.confusion)).sum())

    @property
    def mean(self) -> float:
        """The headline Dice: averaged over images, then over phases."""
        return float(self.dice.mean(0).mean())

    def fractions(self) -> tuple[np.ndarray, np.ndarray]:
        """Volume fractions by image and phase, the true and the predicted ones, (N, 3) each: no slice is needed."""
        pixels = self.confusion.sum((1, 2), keepdims=True)[..., 0]
        return self.confusion.sum(2) / pixels, self.confusion.sum(1) / pixels

    def kinds(self) -> dict[str, float]:
        """What may be meant by "the Dice" of these images: the headline, and the same errors counted otherwise."""
        counts = torch.from_numpy(self.confusion)
        return {"mean over images, then phases": self.mean,
                "all pixels in one": float(dice_score(counts.sum(0, keepdim=True)).mean()),
                "the worst image": float(self.dice.mean(1).min()),
                "without class 0 (pore)": float(self.dice.mean(0)[1:].mean())}

    def where(self, chosen: np.ndarray) -> "Scores":
        """The scores of the chosen images (boolean mask or indices); their loss is not known."""
        return Scores(self.confusion[chosen], self.numbers[chosen], self.noise_std[chosen])


def score(predicted: Sequence[np.ndarray], slices: Slices) -> Scores:
    """The scores of a prediction that no network made. ``predicted``: class indices, N of (H, W)."""
    counts = np.empty((len(slices), 3, 3), np.int64)
    for row, guess, truth in zip(counts, predicted, slices.labels, strict=True):   # one at a time: int64 takes room
        row[:] = confusion(torch.from_numpy(guess)[None], torch.from_numpy(truth)[None])[0]
    return Scores(counts, slices.numbers, slices.noise_std)


@torch.inference_mode()
def evaluate(model: UNet, slices: Slices, loss: Callable[[Tensor, Tensor], Tensor] | None = None) -> Scores:
    """Predict every slice, whole, and score the argmax against the labels; with the mean ``loss``, if one is given."""
    counts, losses = np.empty((len(slices), model.n_classes, model.n_classes), np.int64), []
    for part, logits in logits_of(model, slices.images):
        truth = torch.from_numpy(np.stack(slices.labels[part])).to(logits.device).long()
        counts[part] = confusion(logits.argmax(1), truth, model.n_classes).cpu()
        if loss:
            losses += [float(loss(*pair)) for pair in zip(logits.split(1), truth.split(1), strict=True)]
    return Scores(counts, slices.numbers, slices.noise_std, float(np.mean(losses)) if loss else None)


def under_noise(model: UNet, slices: Slices, noise_stds: Sequence[float], seed: int) -> list[Scores]:
    """The scores of noisy copies of slices, at each standard deviation of the noise, grey levels."""
    return [evaluate(model, noisy_copies(slices, std, seed)) for std in noise_stds]


def in_pieces(model: UNet, images: Sequence[np.ndarray], side: int) -> np.ndarray:
    """Class indices, uint8 (N, H, W), of images cut into squares of ``side`` px that are predicted one by one.

    No piece sees what is around it: what a segmentation loses that way (`network.tiled_logits` does it without loss).
    """
    guess, alike = np.empty((len(images), *images[0].shape), np.uint8), {}
    for (top, left), _ in np.ndenumerate(images[0][::side, ::side]):
        piece = slice(top * side, top * side + side), slice(left * side, left * side + side)
        alike.setdefault(images[0][piece].shape, []).append(piece)      # those of one size are predicted together
    for pieces in alike.values():
        found = predict(model, [image[piece] for piece in pieces for image in images])
        for piece, labels in zip(pieces, np.split(found, len(pieces)), strict=True):
            guess[:, *piece] = labels
    return guess


def border_distance(shape: tuple[int, int], side: int) -> np.ndarray:
    """How far each pixel is from the border of its piece, where an image is cut into squares of ``side``: (H, W), px.

    A pixel at the border is at distance 1. What is left over at the right and below makes smaller pieces.
    """
    rows, columns = (np.arange(length) for length in shape)
    down, right = (np.minimum(at % side + 1, np.minimum(at // side * side + side, len(at)) - at)
                   for at in (rows, columns))
    return np.minimum(down[:, None], right)


def interface_distance(truth: np.ndarray) -> np.ndarray:
    """How far each pixel is from the nearest true interface: class indices (H, W) -> float (H, W), px.

    A pixel beside one of another phase is at distance 1.
    """
    inside = maximum_filter(truth, 3) == minimum_filter(truth, 3)
    return (distance_transform_edt(inside) if not inside.all() else np.full(truth.shape, np.inf)) + 1


def interface_share(slices: Slices) -> np.ndarray:
    """Of the pixels of each phase, the share that touches another one, (3,), 0..1; nan for a phase that is nowhere."""
    counts = np.zeros((2, len(PHASES)))
    for label in slices.labels:
        touching = label[interface_distance(label) == 1]
        counts += [np.bincount(pixels, minlength=len(PHASES)) for pixels in (touching, label.ravel())]
    return np.divide(*counts, out=np.full(len(PHASES), np.nan), where=counts[1] > 0)


def worst_confusion(counts: np.ndarray) -> str:
    """The most frequent confusion of (3, 3) counts [true, predicted], for people: 'nickel taken for YSZ (30 % ...'."""
    wrong = counts * (1 - np.eye(len(PHASES), dtype=int))
    true, guess = np.unravel_index(wrong.argmax(), wrong.shape)
    share = wrong[true, guess] / max(wrong.sum(), 1)
    return f"{PHASES[true]} taken for {PHASES[guess]} ({share:.0%} of the wrong pixels)"


def near_interface(truth: Sequence[np.ndarray], predicted: Sequence[np.ndarray],
                   distances: tuple[int, ...] = (1, 2, 3)) -> list[float]:
    """The share of the wrong pixels of some slices within each distance (px) of a true interface; nan without any."""
    wrong = np.concatenate([interface_distance(here)[here != guess]
                            for here, guess in zip(truth, predicted, strict=True)])
    return [float((wrong <= distance).mean()) if wrong.size else float("nan") for distance in distances]
