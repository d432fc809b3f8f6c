"""The training loss: cross-entropy plus soft Dice loss."""

import torch
from torch import Tensor
from torch.nn import functional as F

EPS = 1e-6  # keeps the loss defined when a class is absent
IGNORE = 255  # class index of a pixel without a label: it counts in neither loss nor score


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Compute the two-term Dice loss, averaged over the classes.

    DL2 = 1 - (sum(p r) + eps) / (sum(p + r) + eps)
            - (sum((1 - p)(1 - r)) + eps) / (sum(2 - p - r) + eps)

    from Sudre et al. 2017 (doi:10.1007/978-3-319-67558-9_28). Here p is the softmax of the logits
    and r the one-hot target. The sums run over all pixels of the batch, per class. Each fraction is
    half a Dice score, 1/2 for a perfect prediction, so the loss of a perfect prediction is 0. A
    class that is absent from the target costs about 0.5, because its first fraction is about 0.
    (If sum(p) falls far below eps, that fraction becomes eps/eps = 1 and the loss -0.5.)
    Args:
        logits: float (B, C, H, W), any value.
        target: int64 (B, H, W), 0..C-1, or `IGNORE`.
    Returns: A scalar, -0.5..1, at least float32; 0 if all classes are present and right.
    """
    n_classes = logits.shape[1]
    p = _at_least_float32(logits).softmax(1).transpose(0, 1).flatten(1)          # C x BHW
    target, known = target.flatten(), target.flatten() != IGNORE                 # BHW
    if not known.all():
        p, target = p[:, known], target[known]                                   # C x K, K
    r = F.one_hot(target, n_classes).T.to(p.dtype)                               # C x BHW
    inside = ((p * r).sum(1) + EPS) / ((p + r).sum(1) + EPS)                     # C
    outside = (((1 - p) * (1 - r)).sum(1) + EPS) / ((2 - p - r).sum(1) + EPS)    # C
    return (1 - inside - outside).mean()


def total_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Compute the poster's training loss: cross-entropy + `dice_loss`, with the same arguments."""
    logits = _at_least_float32(logits)
    if (target == IGNORE).all():
        return 0 * logits.sum()                                                  # nothing to learn
    return F.cross_entropy(logits, target, ignore_index=IGNORE) + dice_loss(logits, target)


def _at_least_float32(logits: Tensor) -> Tensor:
    """Raise the precision of bfloat16 logits to float32."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
