"""Scores of a network, image by image, and where its errors lie."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt, maximum_filter, minimum_filter
from torch import Tensor

from .data import Slices
from .inference import logits_of
from .noise import noisy_copies
from .unet import UNet


def confusion_matrix(predicted: Tensor, truth: Tensor, n_classes: int) -> Tensor:
    """Count the pixels, int64 (N, C, C), of each [image, true class, predicted class].
    Args:
        predicted, truth, n_classes: class indices, integer (N, H, W), and their number C.
    """
    if predicted.shape != truth.shape:
        raise ValueError(f"The prediction has the shape {tuple(predicted.shape)}, the truth "
                         f"{tuple(truth.shape)}; both must be (images, height, width).")
    pairs = (truth.long() * n_classes + predicted.long()).flatten(1)                  # N x HW
    counts = torch.stack([row.bincount(minlength=n_classes**2) for row in pairs])
    return counts.view(-1, n_classes, n_classes)


def dice_score(counts: Tensor) -> Tensor:
    """Compute the hard Dice score 2 |P and T| / (|P| + |T|): (N, C, C) -> float64 (N, C).

    A class that is absent from truth and prediction scores 1: `absent_classes` finds such cases.
    Average over images first, then over classes.
    """
    both = counts.diagonal(dim1=1, dim2=2).double()
    size = counts.sum(1) + counts.sum(2)
    return torch.where(size > 0, 2 * both / size.clamp(min=1), 1.0)


def absent_classes(counts: Tensor) -> Tensor:
    """Find the classes that are in neither truth nor prediction: (N, C, C) -> bool (N, C)."""
    return (counts.sum(1) + counts.sum(2)) == 0


@dataclass(frozen=True)
class Scores:
    """Scores of N slices with C classes, image by image."""

    confusion: np.ndarray  # int64 (N, C, C), pixels by [image, true class, predicted class]
    numbers: np.ndarray  # int (N,), number of each slice, as in `Slices`
    noise_std: np.ndarray  # float (N,), standard deviation of the added noise, as in `Slices`
    loss: float | None = None  # mean loss over the images, if it was computed

    @property
    def dice(self) -> np.ndarray:
        """Dice of each image and class, (N, C)."""
        return dice_score(torch.from_numpy(self.confusion)).numpy()

    @property
    def absent(self) -> int:
        """How often a class is in neither truth nor prediction, so that its Dice counts as 1."""
        return int(absent_classes(torch.from_numpy(self.confusion)).sum())

    @property
    def mean(self) -> float:
        """The headline Dice: the mean over images, then over classes."""
        return float(self.dice.mean(0).mean())

    def dice_variants(self) -> dict[str, float]:
        """Return the headline Dice and three other scores that are also called "the Dice"."""
        all_pixels = torch.from_numpy(self.confusion).sum(0, keepdim=True)
        return {"mean over images, then phases": self.mean,
                "all pixels in one": float(dice_score(all_pixels).mean()),
                "the worst image": float(self.dice.mean(1).min()),
                "without class 0": float(self.dice.mean(0)[1:].mean())}

    def where(self, chosen: np.ndarray) -> "Scores":
        """Return the scores of some images (boolean mask or indices), without a loss."""
        return Scores(self.confusion[chosen], self.numbers[chosen], self.noise_std[chosen])


def score_masks(predicted: Sequence[np.ndarray], slices: Slices) -> Scores:
    """Score a segmentation from any source: class indices, N arrays uint8 (H, W)."""
    n_classes = len(slices.phases)
    counts = np.empty((len(slices), n_classes, n_classes), np.int64)
    # One slice at a time, because the int64 copies are eight times as large as the masks, and into
    # one array, because small results in between would keep the C library from reusing the copies.
    for row, mask, truth in zip(counts, predicted, slices.labels, strict=True):
        pair = torch.from_numpy(mask)[None], torch.from_numpy(truth)[None]
        row[:] = confusion_matrix(*pair, n_classes)[0]
    return Scores(counts, slices.numbers, slices.noise_std)


@torch.inference_mode()
def evaluate(model: UNet, slices: Slices,
             loss: Callable[[Tensor, Tensor], Tensor] | None = None) -> Scores:
    """Predict whole slices and score the most probable classes against the labels.
    Args:
        model, slices, loss: the loss is a function of logits and target, as `losses.total_loss`.
    """
    counts, losses = np.empty((len(slices), model.n_classes, model.n_classes), np.int64), []
    for part, logits in logits_of(model, slices.images):
        truth = torch.from_numpy(np.stack(slices.labels[part])).to(logits.device).long()
        counts[part] = confusion_matrix(logits.argmax(1), truth, model.n_classes).cpu()
        if loss:
            losses += [float(each) for each in map(loss, logits.split(1), truth.split(1))]
    mean_loss = float(np.mean(losses)) if loss else None
    return Scores(counts, slices.numbers, slices.noise_std, mean_loss)


def mean_probabilities(model: UNet, slices: Slices, noise_stds: Sequence[float], phase: int,
                       seed: int = 0) -> np.ndarray:
    """Average the softmax over the pixels of one phase, for each noise standard deviation.
    Args:
        model, slices, noise_stds, phase, seed: L standard deviations, grey levels; a class index.
    Returns: float32 (L, C), 0..1: the mean probability of each class.
    """
    inside = torch.from_numpy(np.stack(slices.labels) == phase)                       # N x H x W
    rows = []
    for std in noise_stds:
        noisy = noisy_copies(slices, std, seed)
        parts = [logits.float().softmax(1).cpu() for _, logits in logits_of(model, noisy.images)]
        rows.append(torch.cat(parts).transpose(0, 1)[:, inside].mean(1).numpy())      # C
    return np.stack(rows)


def interface_distance(truth: np.ndarray) -> np.ndarray:
    """Measure how far each pixel is from another phase, px (H, W): 1 beside it, inf without one."""
    inside = maximum_filter(truth, 3) == minimum_filter(truth, 3)
    return np.full(truth.shape, np.inf) if inside.all() else distance_transform_edt(inside) + 1


def share_near_interface(truth: Sequence[np.ndarray], predicted: Sequence[np.ndarray],
                         distances: Sequence[int] = (1, 2, 3)) -> list[float]:
    """Return the share of the wrong pixels within each distance of a true interface.
    Args:
        truth, predicted, distances: class indices, N arrays (H, W) each; px.
    Returns: One share per distance, 0..1; nan if no pixel is wrong.
    """
    pairs = zip(truth, predicted, strict=True)
    wrong = np.concatenate([interface_distance(right)[right != mask] for right, mask in pairs])
    return [float((wrong <= distance).mean()) if wrong.size else float("nan")
            for distance in distances]


def worst_confusion(counts: np.ndarray, names: Sequence[str]) -> str:
    """Name the most frequent confusion: "nickel taken for YSZ (30 % of the wrong pixels)"."""
    wrong = counts * (1 - np.eye(len(names), dtype=int))
    true, guess = np.unravel_index(wrong.argmax(), wrong.shape)
    share = wrong[true, guess] / max(wrong.sum(), 1)
    return f"{names[true]} taken for {names[guess]} ({100 * share:.0f} % of the wrong pixels)"
