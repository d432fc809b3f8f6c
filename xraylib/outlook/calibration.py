"""Measure how far a segmentation can be trusted: its confidence, and where its errors come from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt, maximum
from scipy.ndimage import label as connected_regions
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional as F

from ..data import Slices, Voxel
from ..inference import logits_of, predict
from ..losses import IGNORE
from ..metrics import Scores, score_masks, wrong_pixels
from ..runs import Run
from ..unet import UNet
from .measure import measure_quantities, relative_error
from .microstructure import are_neighbours, interface_area

BINS = 15  # of confidence, as in Guo et al. 2017

# -- confidence ------------------------------------------------------------------------------------


@torch.inference_mode()
def logits_and_truth(model: UNet, slices: Slices) -> tuple[Tensor, Tensor]:
    """Predict labelled slices and list all their P pixels.

    Returns:
        Logits, float32 (P, n_classes), and labels, int64 (P,), on the CPU.
    """
    parts = [part.float().movedim(1, -1).flatten(0, 2).cpu()  # (B, C, H, W) -> (B H W, C)
             for _, part in logits_of(model, slices.images)]
    return torch.cat(parts), torch.from_numpy(np.stack(slices.labels)).long().flatten()


@dataclass(frozen=True)
class Reliability:
    """How confidence compares with accuracy.

    Args:
        confidence: mean confidence in each bin, (`BINS`,), nan in an empty bin.
        accuracy: share of correct pixels in each bin, likewise.
        share: share of all pixels in each bin.
        confidence_if_correct: mean confidence of the correct pixels, nan without any.
        confidence_if_wrong: mean confidence of the wrong pixels, nan without any.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    share: np.ndarray
    confidence_if_correct: float
    confidence_if_wrong: float

    @property
    def calibration_error(self) -> float:
        """Expected calibration error (Guo et al. 2017, eq. 3): mean |confidence - accuracy|."""
        return float(np.nansum(self.share * np.abs(self.confidence - self.accuracy)))

    @property
    def mean_confidence(self) -> float:
        """Mean confidence of all pixels."""
        return float(np.nansum(self.share * self.confidence))

    @property
    def mean_accuracy(self) -> float:
        """Share of correct pixels."""
        return float(np.nansum(self.share * self.accuracy))


def measure_reliability(logits: Tensor, truth: Tensor, temperature: float = 1.0) -> Reliability:
    """Compare the probability of the predicted class with how often it is the true one.

    The bins have equal width, from 1 / n_classes, the lowest possible confidence, to 1.

    Args:
        logits: float (P, n_classes).
        truth: int64 (P,).
        temperature: the logits are divided by it.
    """
    highest, predicted = (logits / temperature).softmax(1).max(1)
    confidence, correct = highest.double().numpy(), (predicted == truth).numpy()
    chance = 1 / logits.shape[1]
    place = ((confidence - chance) / (1 - chance) * BINS).astype(int).clip(0, BINS - 1)
    pixels = np.bincount(place, minlength=BINS)
    means = [np.divide(np.bincount(place, values, BINS), pixels, out=np.full(BINS, np.nan),
                       where=pixels > 0) for values in (confidence, correct)]
    by_outcome = [float(confidence[part].mean()) if part.any() else float("nan")
                  for part in (correct, ~correct)]
    return Reliability(*means, pixels / len(truth), *by_outcome)


def fit_temperature(logits: Tensor, truth: Tensor) -> float:
    """Find the temperature that gives the lowest cross-entropy.

    Temperature scaling changes no prediction, because it keeps the order of the logits
    (Guo et al. 2017, arXiv:1706.04599, section 4.2).

    Args:
        logits: float (P, n_classes).
        truth: int64 (P,).

    Returns:
        1/32 to 32.
    """
    found = minimize_scalar(lambda power: float(F.cross_entropy(logits * 2.0**-power, truth)),
                            bounds=(-5, 5), method="bounded", options={"xatol": 1e-3})
    return float(2.0**found.x)


# -- where errors are ------------------------------------------------------------------------------


def feature_thickness(labels: np.ndarray) -> np.ndarray:
    """Thickness of the feature that each pixel belongs to.

    A feature is a connected region of one phase in the slice. Its thickness is the diameter of the
    largest disc inside it that is centred on a pixel: 4 px count as 3. The border of the slice ends
    a feature.

    Args:
        labels: class indices (H, W).

    Returns:
        float64 (H, W), px.
    """
    thickness = np.zeros(labels.shape)
    for phase in np.unique(labels):
        regions, n = connected_regions(labels == phase)
        radius = distance_transform_edt(np.pad(labels == phase, 1))[1:-1, 1:-1]
        widest = np.concatenate([[0], maximum(radius, regions, range(1, n + 1))])
        thickness += (2 * widest - 1).clip(0)[regions]
    return thickness


def errors_by_bin(measure: Callable[[np.ndarray], np.ndarray], labels: Sequence[np.ndarray],
                  predicted: Sequence[np.ndarray], edges: Sequence[float]) -> np.ndarray:
    """Sort labelled pixels, and the wrong ones, into bins of a number that each pixel has.

    Args:
        measure: computes the number from a label, (H, W) -> (H, W), for example
            `metrics.interface_distance` or `feature_thickness`.
        labels: class indices, N of (H, W).
        predicted: class indices, N of (H, W).
        edges: edges of the bins, which cover every pixel.

    Returns:
        (3, bins): the share of all pixels in each bin, the share of the wrong pixels in it, and the
        share of the bin's pixels that are wrong (nan for an empty bin).
    """
    pixels, wrong = np.zeros((2, len(edges) - 1), np.int64)
    for label, guess in zip(labels, predicted, strict=True):
        numbers = measure(label)
        pixels += np.histogram(numbers[label != IGNORE], edges)[0]
        wrong += np.histogram(numbers[wrong_pixels(label, guess)], edges)[0]
    within = np.divide(wrong, pixels, out=np.full(len(wrong), np.nan), where=pixels > 0)
    return np.array([pixels / pixels.sum(), wrong / max(wrong.sum(), 1), within])


def error_layers(scores: Scores, labels: Sequence[np.ndarray],
                 voxel_nm: Voxel | None) -> dict[tuple[int, int], tuple[float, float]]:
    """Express the wrong pixels of each pair of phases as a layer on the interface between them.

    The thickness is the wrong share of the volume, divided by the interface area per volume.

    Args:
        scores: of some slices.
        labels: class indices of these slices, N of (H, W).
        voxel_nm: size of a voxel along z, y and x, nm; None: unknown.

    Returns:
        By pair of classes: its share of the wrong pixels, 0 to 1, and the thickness in nm, or in px
        if the size of a voxel is unknown (nan if the phases do not touch).
    """
    counts = scores.confusion.sum(0)
    n = len(counts)
    area = interface_area(np.stack(labels), voxel_nm, n, are_neighbours(scores.numbers))
    nm = 1000 if voxel_nm else 1
    wrong = {(i, j): int(counts[i, j] + counts[j, i]) for i, j in combinations(range(n), 2)}
    n_wrong, n_pixels = max(sum(wrong.values()), 1), counts.sum()
    return {pair: (pixels / n_wrong, nm * pixels / n_pixels / (area[pair] or np.nan))
            for pair, pixels in wrong.items()}


def attribute_errors(predicted: Sequence[np.ndarray], labels: Sequence[np.ndarray],
                     truth: Sequence[np.ndarray]) -> np.ndarray:
    """Find out whether the label or the network is wrong where the two differ.

    Args:
        predicted: class indices, N of (H, W).
        labels: class indices as a person would draw them, N of (H, W).
        truth: class indices of the material itself, which only generated slices have.

    Returns:
        (3,): shares of these pixels: only the label is wrong, only the network is wrong, both are.
    """
    counts = np.zeros(3)
    for guess, label, true in zip(predicted, labels, truth, strict=True):
        differ = guess != label
        counts += [np.sum(differ & (guess == true)), np.sum(differ & (label == true)),
                   np.sum(differ & (guess != true) & (label != true))]
    return counts / max(counts.sum(), 1)


# -- transfer to another volume --------------------------------------------------------------------


def evaluate_transfer(networks: Mapping[str, Sequence[Run]], blocks: Mapping[str, Slices],
                      voxel_nm: Voxel | None) -> list[dict]:
    """Evaluate networks on volumes that they were not trained on.

    Args:
        networks: runs by what they were trained on.
        blocks: labelled slices by name.
        voxel_nm: size of a voxel along z, y and x, nm; None: unknown.

    Returns:
        A row per run and block: "trained_on", "block", "seed", "dice" (0 to 1) and
        "relative_error" of each quantity (`measure.measure_quantities`).
    """
    def measured(labels: np.ndarray, slices: Slices) -> dict[str, float]:
        return measure_quantities(labels, voxel_nm, slices.phases, are_neighbours(slices.numbers))

    true = {name: measured(np.stack(slices.labels), slices) for name, slices in blocks.items()}
    rows = []
    for (trained_on, runs), (name, slices) in product(networks.items(), blocks.items()):
        for run in runs:
            labels = predict(run.model(), slices.images)
            rows.append({"trained_on": trained_on, "block": name, "seed": run.config["seed"],
                         "dice": score_masks(labels, slices).mean,
                         "relative_error": relative_error(measured(labels, slices), true[name])})
    return rows
