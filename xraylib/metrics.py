"""Scores of a network, image by image, and where its errors lie."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt, maximum_filter, minimum_filter
from torch import Tensor

from .data import Slices
from .inference import logits_of
from .losses import IGNORE
from .noise import noisy_copies
from .unet import UNet


def confusion_matrix(predicted: Tensor, truth: Tensor, n_classes: int) -> Tensor:
    """Count the pixels, int64 (N, C, C), of each [image, true class, predicted class].

    Pixels whose truth is `losses.IGNORE` are not counted.
    Args:
        predicted, truth, n_classes: class indices, integer (N, H, W), and their number C.
    """
    if predicted.shape != truth.shape:
        raise ValueError(f"The prediction has the shape {tuple(predicted.shape)}, the truth "
                         f"{tuple(truth.shape)}; both must be (images, height, width).")
    pairs = truth.long() * n_classes + predicted.long()
    pairs = pairs.masked_fill_(truth == IGNORE, n_classes**2).flatten(1)              # N x HW
    counts = torch.stack([row.bincount(minlength=n_classes**2 + 1) for row in pairs])
    return counts[:, :-1].view(-1, n_classes, n_classes)


def dice_score(counts: Tensor) -> Tensor:
    """Compute the hard Dice score 2 |P and T| / (|P| + |T|): (N, C, C) -> float64 (N, C).

    If an image does not contain a class, its Dice for that class is nan, which all means leave out.
    Average over images first, then over classes.
    """
    both = counts.diagonal(dim1=1, dim2=2).double()
    true = counts.sum(2)
    return torch.where(true > 0, 2 * both / (counts.sum(1) + true).clamp(min=1), torch.nan)


@dataclass(frozen=True)
class Scores:
    """Scores of N slices with C classes, image by image."""

    confusion: np.ndarray  # int64 (N, C, C), pixels by [image, true class, predicted class]
    numbers: np.ndarray  # int (N,), number of each slice, as in `Slices`
    noise_std: np.ndarray  # float (N,), standard deviation of the added noise, as in `Slices`
    loss: float | None = None  # mean loss over the images, if it was computed

    @property
    def dice(self) -> np.ndarray:
        """Dice of each image and class, (N, C); nan where the image does not contain the class."""
        return dice_score(torch.from_numpy(self.confusion)).numpy()

    @property
    def class_dice(self) -> np.ndarray:
        """Mean Dice of each class over the images that contain it, (C,); nan if none does."""
        return _mean(self.dice, 0)

    @property
    def image_dice(self) -> np.ndarray:
        """Mean Dice of each image over the classes that it contains, (N,)."""
        return _mean(self.dice, 1)

    @property
    def absent(self) -> list[int]:
        """The classes that no image contains. They do not count in `mean`."""
        return np.flatnonzero(self.confusion.sum((0, 2)) == 0).tolist()

    @property
    def mean(self) -> float:
        """The headline Dice: the mean over images, then over the classes that are present."""
        return float(_mean(self.class_dice, 0))

    def dice_variants(self) -> dict[str, float]:
        """Return the headline Dice and three other scores that are also called "the Dice"."""
        all_pixels = torch.from_numpy(self.confusion).sum(0, keepdim=True)
        return {"mean over images, then phases": self.mean,
                "all pixels in one": float(_mean(dice_score(all_pixels).numpy()[0], 0)),
                "the worst image": float(self.image_dice.min()),
                "without class 0": float(_mean(self.class_dice[1:], 0))}

    def where(self, chosen: np.ndarray) -> "Scores":
        """Return the scores of some images (boolean mask or indices), without a loss."""
        return Scores(self.confusion[chosen], self.numbers[chosen], self.noise_std[chosen])


def _mean(values: np.ndarray, axis: int) -> np.ndarray:
    """Average the values that are not nan; nan where there is none."""
    counts = np.isfinite(values).sum(axis)
    return np.where(counts > 0, np.nansum(values, axis) / np.maximum(counts, 1), np.nan)


def wrong_pixels(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Find the pixels whose label is known and differs from the prediction, bool of their shape."""
    return (truth != predicted) & (truth != IGNORE)


def wrong_share(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Return the share of the labelled pixels that are wrong, 0..1; 0 if none is labelled."""
    return float(wrong_pixels(truth, predicted).sum() / max((truth != IGNORE).sum(), 1))


def score_masks(predicted: Sequence[np.ndarray], slices: Slices) -> Scores:
    """Score a segmentation from any source: class indices, N arrays uint8 (H, W)."""
    n_classes = len(slices.phases)
    counts = np.empty((len(slices), n_classes, n_classes), np.int64)
    # One slice at a time, because the int64 copies are eight times as large as the masks. All write
    # into one array, because small arrays in between would prevent the reuse of the copies' memory.
    for row, mask, truth in zip(counts, predicted, slices.labels, strict=True):
        pair = torch.from_numpy(mask)[None], torch.from_numpy(truth)[None]
        row[:] = confusion_matrix(*pair, n_classes)[0]
    return Scores(counts, slices.numbers, slices.noise_std)


@torch.inference_mode()
def evaluate(model: UNet, slices: Slices,
             loss: Callable[[Tensor, Tensor], Tensor] | None = None) -> Scores:
    """Predict whole slices and score the most probable classes against the labels.
    Args:
        model, slices, loss: the loss is a function of logits and target, like `losses.total_loss`.
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
    rows = []
    for std in noise_stds:
        inside = []
        for part, logits in logits_of(model, noisy_copies(slices, std, seed).images):
            chosen = torch.from_numpy(np.stack(slices.labels[part]) == phase)         # B x H x W
            inside.append(logits.float().softmax(1).cpu().transpose(0, 1)[:, chosen])
        rows.append(torch.cat(inside, 1).mean(1).numpy())                             # C
    return np.stack(rows)


def interface_distance(truth: np.ndarray) -> np.ndarray:
    """Return each pixel's distance to another phase, px (H, W): 1 beside it, inf if there is none.

    Pixels without a label do not count as a phase.
    """
    inside = maximum_filter(np.where(truth == IGNORE, 0, truth), 3) <= minimum_filter(truth, 3)
    return np.full(truth.shape, np.inf) if inside.all() else distance_transform_edt(inside) + 1


def share_near_interface(truth: Sequence[np.ndarray], predicted: Sequence[np.ndarray],
                         distances: Sequence[int] = (1, 2, 3)) -> list[float]:
    """Return the share of the wrong pixels within each distance of a true interface.
    Args:
        truth, predicted, distances: class indices, N arrays (H, W) each; px.
    Returns: One share per distance, 0..1; nan if no pixel is wrong.
    """
    pairs = zip(truth, predicted, strict=True)
    wrong = np.concatenate([interface_distance(right)[wrong_pixels(right, mask)]
                            for right, mask in pairs])
    return [float((wrong <= distance).mean()) if wrong.size else float("nan")
            for distance in distances]


def worst_confusion(counts: np.ndarray, names: Sequence[str]) -> str:
    """Name the most frequent confusion: "nickel taken for YSZ (30 % of the wrong pixels)"."""
    wrong = counts * (1 - np.eye(len(names), dtype=int))
    true, guess = np.unravel_index(wrong.argmax(), wrong.shape)
    share = wrong[true, guess] / max(wrong.sum(), 1)
    return f"{names[true]} taken for {names[guess]} ({100 * share:.0f} % of the wrong pixels)"
