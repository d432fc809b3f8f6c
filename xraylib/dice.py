"""Soft Dice loss and hard Dice score, side by side, and the training loss.

The *loss* is computed from probabilities and has a gradient; the *score* is computed from the argmax and is what a
result table shows. Dice and IoU measure the same overlap on two scales: IoU = Dice / (2 - Dice).
"""

import torch
from torch import Tensor
from torch.nn import functional as F

EPS = 1e-6  # keeps the loss defined when a class is absent


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Multi-class two-term Dice loss, the mean over classes of (Sudre et al. 2017, doi:10.1007/978-3-319-67558-9_28)

        DL2 = 1 - (sum(p r) + eps) / (sum(p + r) + eps) - (sum((1 - p)(1 - r)) + eps) / (sum(2 - p - r) + eps)

    p: softmax of the logits, r: the one-hot target; sums run over all pixels of the batch, per class, in float32 (in
    float64 for logits of float64).

    ``logits``: float (B, C, H, W), any value. ``target``: int64 (B, H, W), 0..C-1. Returns a scalar, -0.5..1: 0 for a
    perfect prediction of a class that is present. Of a class that is absent the first term has nothing to count and is
    about 0, so that the best it can have is about 0.5; only where sum(p) falls far below eps, to all of a class's
    pixels, does that term become eps/eps and the value -0.5, with a steep gradient on the way.
    """
    p = _at_least_float32(logits).softmax(1).transpose(0, 1).flatten(1)                  # C x BHW
    r = F.one_hot(target, logits.shape[1]).flatten(0, -2).T.to(p.dtype)                  # C x BHW
    inside = ((p * r).sum(1) + EPS) / ((p + r).sum(1) + EPS)                             # C
    outside = (((1 - p) * (1 - r)).sum(1) + EPS) / ((2 - p - r).sum(1) + EPS)            # C
    return (1 - inside - outside).mean()


def total_loss(logits: Tensor, target: Tensor) -> Tensor:
    """The poster's training loss, cross-entropy + Dice loss, in float32 or float64 as `dice_loss`.

    (B, C, H, W), int64 (B, H, W) -> scalar.
    """
    return F.cross_entropy(_at_least_float32(logits), target) + dice_loss(logits, target)


def _at_least_float32(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def confusion(predicted: Tensor, truth: Tensor, n_classes: int = 3) -> Tensor:
    """Pixel counts by true and predicted class, image by image.

    ``predicted``, ``truth``: integer (N, H, W), 0..n_classes-1. Returns int64 (N, n_classes, n_classes), indexed
    [image, true class, predicted class].
    """
    if predicted.shape != truth.shape:
        raise ValueError(f"the prediction is {tuple(predicted.shape)}, the truth {tuple(truth.shape)}; "
                         "both must be (images, height, width).")
    pair = (truth.long() * n_classes + predicted.long()).flatten(1)                      # N x HW
    return torch.stack([row.bincount(minlength=n_classes**2) for row in pair]).view(-1, n_classes, n_classes)


def dice_score(counts: Tensor) -> Tensor:
    """Hard Dice score per image and class, 2 |P and T| / (|P| + |T|), from `confusion` counts.

    ``counts``: (N, C, C). Returns float64 (N, C), 0..1. A class absent from truth *and* prediction scores 1 (nothing
    was there and nothing was claimed); `absent` says how many such cases there were. Average over images, then classes.
    """
    both = counts.diagonal(dim1=1, dim2=2).double()
    size = counts.sum(1) + counts.sum(2)
    return torch.where(size > 0, 2 * both / size.clamp(min=1), 1.0)


def absent(counts: Tensor) -> Tensor:
    """Bool (N, C): the class is in neither truth nor prediction, so that its Dice of 1 says nothing."""
    return (counts.sum(1) + counts.sum(2)) == 0


def iou_from_dice(dice):
    """Intersection over union |P and T| / |P or T| of the same masks: 99.1 % Dice is 98.2 % IoU. Any array, 0..1."""
    return dice / (2 - dice)
