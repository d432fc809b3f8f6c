"""How far a segmentation can be trusted: what its confidence is worth, where its errors lie, and whose they are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt, maximum
from scipy.ndimage import label as connected
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional as F

from ..predict.network import logits_of, predict
from ..predict.scores import Scores, score
from ..runs.folder import Run
from ..slices.labelled import PHASES, VOXEL_NM, Slices
from ..unet import UNet
from .phases import interface_area, off, quantities

# -- confidence -------------------------------------------------------------------------------------------------------


@torch.inference_mode()
def logits_and_truth(model: UNet, slices: Slices) -> tuple[Tensor, Tensor]:
    """Of every pixel of some slices: its logits, float32 (P, 3), and its label, int64 (P,), on the CPU."""
    logits = torch.cat([part.float().movedim(1, -1).flatten(0, 2).cpu() for _, part in logits_of(model, slices.images)])
    return logits, torch.from_numpy(np.stack(slices.labels)).long().flatten()


@dataclass(frozen=True)
class Reliability:
    """What confidence is worth, by bins of it: mean confidence and accuracy in each, (bins,), nan in an empty one;
    ``share`` of all pixels in each; mean confidence of the right and of the wrong pixels."""

    confidence: np.ndarray
    accuracy: np.ndarray
    share: np.ndarray
    right: float
    wrong: float

    @property
    def error(self) -> float:
        """Expected calibration error: the mean distance between confidence and accuracy (Guo et al. 2017, eq. 3)."""
        return float(np.nansum(self.share * np.abs(self.confidence - self.accuracy)))

    @property
    def mean(self) -> tuple[float, float]:
        """Confidence and accuracy of all pixels."""
        return float(np.nansum(self.share * self.confidence)), float(np.nansum(self.share * self.accuracy))


def reliability(logits: Tensor, truth: Tensor, temperature: float = 1.0, bins: int = 15) -> Reliability:
    """How often the most probable phase is the true one, by the probability that it is given.

    ``logits``: float (P, 3); ``truth``: int64 (P,); ``temperature``: the logits are divided by it. The bins are equally
    wide, from 1/3, the least that the largest of three probabilities can be, to 1.
    """
    confidence, guess = (logits / temperature).softmax(1).max(1)
    confidence, right = confidence.double().numpy(), (guess == truth).numpy()
    place = np.minimum((confidence - 1 / 3) * 1.5 * bins, bins - 1).astype(int).clip(0)
    pixels = np.bincount(place, minlength=bins)
    sums = [np.bincount(place, weights, bins) for weights in (confidence, right)]
    means = [np.divide(part, pixels, out=np.full(bins, np.nan), where=pixels > 0) for part in sums]
    of = {kind: float(confidence[right == kind].mean()) if (right == kind).any() else float("nan")
          for kind in (True, False)}
    return Reliability(*means, pixels / len(truth), of[True], of[False])


def fit_temperature(logits: Tensor, truth: Tensor) -> float:
    """The temperature whose probabilities have the least cross-entropy (Guo et al. 2017, arXiv:1706.04599, sec. 4.2).

    It changes no decision: dividing all logits by a number leaves their order.
    """
    found = minimize_scalar(lambda power: float(F.cross_entropy(logits * 2.0**-power, truth)), bounds=(-5, 5),
                            method="bounded", options={"xatol": 1e-3})
    return float(2.0**found.x)


# -- where errors are -------------------------------------------------------------------------------------------------


def feature_size(labels: np.ndarray) -> np.ndarray:
    """How thick the feature is that a pixel belongs to, px: class indices (H, W) -> float (H, W).

    A feature is a connected piece of one phase in the slice; its thickness is the diameter of the largest disc inside
    that has a pixel in its middle: 4 px count as 3, and the border of the slice is an end.
    """
    size = np.zeros(labels.shape)
    for phase in range(len(PHASES)):
        pieces, n = connected(labels == phase)
        radius = distance_transform_edt(np.pad(labels == phase, 1))[1:-1, 1:-1]
        widest = np.concatenate([[0], maximum(radius, pieces, range(1, n + 1)) if n else []])
        size += (2 * widest - 1).clip(0)[pieces]
    return size


def share_wrong(of: Callable[[np.ndarray], np.ndarray], labels: Sequence[np.ndarray], predicted: Sequence[np.ndarray],
                edges: Sequence[float]) -> np.ndarray:
    """By bins of a number that every pixel has: (3, bins).

    The share of all pixels in the bin, the share of the wrong pixels in it, and how many of the bin's pixels are wrong
    (nan for an empty bin). ``of``: the number from the label, as `scores.interface_distance` or `feature_size` has it;
    ``labels``, ``predicted``: class indices, N of (H, W); ``edges``: of the bins, which cover every pixel.
    """
    every, bad = np.zeros((2, len(edges) - 1), np.int64)
    for label, guess in zip(labels, predicted, strict=True):
        number = of(label)
        every += np.histogram(number, edges)[0]
        bad += np.histogram(number[label != guess], edges)[0]
    return np.array([every / every.sum(), bad / max(bad.sum(), 1),
                     np.divide(bad, every, out=np.full(len(bad), np.nan), where=every > 0)])


def wrong_layer(scores: Scores, labels: Sequence[np.ndarray],
                voxel_nm: float = VOXEL_NM) -> dict[tuple[int, int], tuple[float, float]]:
    """Of each two phases: their share of the wrong pixels (0..1), and how thick a layer these are at the interface, nm.

    The layer: the wrong part of the volume divided by the area of the interface in a unit of volume, which is an
    average over all directions. ``labels``: neighbouring slices, those of the scores.
    """
    counts, area = scores.confusion.sum(0), interface_area(np.stack(labels), voxel_nm)
    wrong = {(i, j): int(counts[i, j] + counts[j, i]) for i, j in combinations(range(len(PHASES)), 2)}
    return {pair: (pixels / max(sum(wrong.values()), 1), 1000 * pixels / counts.sum() / (area[pair] or np.nan))
            for pair, pixels in wrong.items()}


# -- whose errors they are --------------------------------------------------------------------------------------------


def whose(predicted: Sequence[np.ndarray], labels: Sequence[np.ndarray], truth: Sequence[np.ndarray]) -> np.ndarray:
    """Where prediction and label differ: the share of these pixels where the label is wrong, the network is, both are.

    Class indices, N of (H, W) three times; ``truth``: the perfect labels, which only a made-up volume has. (3,)
    """
    kinds = np.zeros(3)
    for guess, label, true in zip(predicted, labels, truth, strict=True):
        differ = guess != label
        kinds += [np.sum(differ & (guess == true)), np.sum(differ & (label == true)),
                  np.sum(differ & (guess != true) & (label != true))]
    return kinds / max(kinds.sum(), 1)


# -- on another volume ------------------------------------------------------------------------------------------------


def transfer(networks: Mapping[str, Sequence[Run]], blocks: Mapping[str, Slices],
             voxel_nm: float = VOXEL_NM) -> list[dict]:
    """Networks on blocks of neighbouring slices, in Dice and in quantities: what a training elsewhere is worth there.

    A row for each run and block: "trained on" and "block" (their names), "seed", "dice" (0..1), "off" (`phases.off`).
    """
    true = {name: quantities(np.stack(slices.labels), voxel_nm) for name, slices in blocks.items()}
    rows = []
    for (kind, runs), (name, slices) in product(networks.items(), blocks.items()):
        for run in runs:
            guess = predict(run.model(), slices.images)
            rows.append({"trained on": kind, "block": name, "seed": run.config["seed"],
                         "dice": score(guess, slices).mean, "off": off(quantities(guess, voxel_nm), true[name])})
    return rows
