"""Scores of a network, image by image, and where its errors lie."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt, maximum_filter, minimum_filter
from torch import Tensor
from torch.nn import functional as F

from .data import Slices
from .dice import absent, confusion, dice_loss, dice_score
from .predict import logits_of
from .unet import UNet


@dataclass(frozen=True)
class Scores:
    """Scores of N slices, image by image.

    ``confusion``: int64 (N, 3, 3), pixels by [image, true, predicted]. ``loss``: mean over the images.
    ``numbers``, ``noise_std``: (N,), as in `Slices`.
    """

    confusion: np.ndarray
    loss: float
    numbers: np.ndarray
    noise_std: np.ndarray

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

    def where(self, chosen: np.ndarray) -> "Scores":
        """The scores of the chosen images (boolean mask or indices); the loss stays that of all."""
        return Scores(self.confusion[chosen], self.loss, self.numbers[chosen], self.noise_std[chosen])


def total_loss(logits: Tensor, target: Tensor) -> Tensor:
    """The poster's training loss, cross-entropy + Dice loss, in float32. (B, C, H, W), int64 (B, H, W) -> scalar."""
    return F.cross_entropy(logits.float(), target) + dice_loss(logits, target)


@torch.inference_mode()
def evaluate(model: UNet, slices: Slices) -> Scores:
    """Predict every slice, whole, and score the argmax against the labels."""
    tables, losses = [], []
    for part, logits in logits_of(model, slices.images):
        truth = torch.from_numpy(slices.labels[part]).to(logits.device).long()
        losses += [float(total_loss(*pair)) for pair in zip(logits.split(1), truth.split(1), strict=True)]
        tables.append(confusion(logits.argmax(1), truth, model.n_classes).cpu())
    return Scores(torch.cat(tables).numpy(), float(np.mean(losses)), slices.numbers, slices.noise_std)


def interface_distance(truth: np.ndarray) -> np.ndarray:
    """How far each pixel is from the nearest true interface: class indices (N, H, W) -> float (N, H, W), px.

    A pixel beside one of another phase is at distance 1.
    """
    inside = maximum_filter(truth, (1, 3, 3)) == minimum_filter(truth, (1, 3, 3))
    return np.stack([distance_transform_edt(image) if not image.all() else np.full(image.shape, np.inf)
                     for image in inside]) + 1


def near_interface(truth: np.ndarray, predicted: np.ndarray, distances: tuple[int, ...] = (1, 2, 3)) -> list[float]:
    """The share of wrong pixels within each distance (px) of a true interface; nan where none is wrong."""
    wrong = interface_distance(truth)[truth != predicted]
    return [float((wrong <= distance).mean()) if wrong.size else float("nan") for distance in distances]
