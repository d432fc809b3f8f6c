"""Segmentation without a network, as its users do it: thresholds, filters before them, a forest on pixel features.

A method is tuned on labelled slices and gives back a predictor: raw grey levels, N of uint16 (H, W) -> class indices,
N of uint8 (H, W), as `predict.network.predict` does. `contest` holds all of them and a network against each other.
"""

import os
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_gradient_magnitude, gaussian_laplace, median_filter
from skimage.feature import hessian_matrix, hessian_matrix_eigvals, structure_tensor, structure_tensor_eigenvalues
from skimage.filters import threshold_multiotsu
from skimage.restoration import denoise_nl_means
from sklearn.ensemble import RandomForestClassifier

from ..noise import noisy_copies
from ..predict.network import predict
from ..predict.scores import score
from ..runs.folder import Run
from ..slices.labelled import PHASES, Slices, grey_levels

Predictor = Callable[[Sequence[np.ndarray]], Sequence[np.ndarray]]
Filter = Callable[[np.ndarray, float], np.ndarray]

BINS = np.linspace(0, 2**16, 513)                # grey levels between which a threshold is looked for
SCALES = (0.7, 1, 1.6, 3.5, 5, 10)               # px, of the forest's features: those of ilastik
SAMPLED = 10_000                                 # pixels that a forest is trained on, drawn from all training slices


# -- thresholds -------------------------------------------------------------------------------------------------------


def cut(image: np.ndarray, limits: Sequence[float]) -> np.ndarray:
    """Class indices of grey levels, uint8: how many of the limits each has reached."""
    return np.digitize(image, limits).astype(np.uint8)


def midpoint_limits(train: Slices) -> np.ndarray:
    """The two grey levels half-way between those of the phases."""
    means = grey_levels(train)
    return (means[:-1] + means[1:]) / 2


def midpoints(train: Slices, _seed: int) -> Predictor:
    """Thresholds half-way between the phases' mean grey levels."""
    limits = midpoint_limits(train)
    return lambda images: [cut(image, limits) for image in images]


def otsu(_train: Slices, _seed: int) -> Predictor:
    """Two thresholds for each slice from its histogram alone: the least variance within classes (Otsu 1979)."""
    def limits(image: np.ndarray) -> np.ndarray:
        """The upper ends of the bins, of 256, that each class but the last ends with."""
        return threshold_multiotsu(image.astype(np.float32), len(PHASES)) + np.ptp(image) / 512

    return lambda images: [cut(image, limits(image)) for image in images]


def best_thresholds(histograms: np.ndarray) -> tuple[float, tuple[int, int]]:
    """The two bins at which to cut for the best mean Dice, and that Dice. ``histograms``: pixels by (phase, bin)."""
    below = np.concatenate([np.zeros((3, 1), np.int64), histograms.cumsum(1)], 1)    # of a phase, below a limit
    every, total = below.sum(0), below[:, -1]
    low, high = np.arange(len(every))[:, None], np.arange(len(every))[None]
    dice = 2 * below[0][low] / np.maximum(every[low] + total[0], 1)
    dice = dice + 2 * (below[1][high] - below[1][low]) / np.maximum(every[high] - every[low] + total[1], 1)
    dice = dice + 2 * (total[2] - below[2][high]) / np.maximum(every[-1] - every[high] + total[2], 1)
    dice = np.where(high >= low, dice / 3, 0)
    best = np.unravel_index(dice.argmax(), dice.shape)
    return float(dice[best]), (int(best[0]), int(best[1]))


def filtered(train: Slices, _seed: int, smooth: Filter, strengths: Sequence[float]) -> Predictor:
    """Thresholds after a filter: its strength and both thresholds are those of the best Dice on the training slices."""
    def tune(strength: float) -> tuple[float, tuple[int, int]]:
        counts = np.zeros((len(PHASES), len(BINS) - 1), np.int64)
        for image, label in zip(train.images, train.labels, strict=True):
            smoothed = smooth(image, strength)
            counts += [np.histogram(smoothed[label == phase], BINS)[0] for phase in range(len(PHASES))]
        return best_thresholds(counts)

    tuned = {strength: tune(strength) for strength in strengths}
    strength = max(tuned, key=lambda strength: tuned[strength][0])
    limits = BINS[list(tuned[strength][1])]
    return lambda images: [cut(smooth(image, strength), limits) for image in images]


def gaussian(image: np.ndarray, sigma: float) -> np.ndarray:
    """Each pixel the mean of its surroundings, weighted by a Gaussian. ``sigma``: px; 0 leaves the slice as it is."""
    return gaussian_filter(image.astype(np.float32), sigma)


def median(image: np.ndarray, side: float) -> np.ndarray:
    """Each pixel the median of a square. ``side``: px, odd."""
    return median_filter(image, int(side))


def non_local_means(image: np.ndarray, strength: float) -> np.ndarray:
    """Each pixel the mean of those in the neighbourhood whose surroundings look alike (Buades et al. 2005).

    ``strength``: h, the difference between surroundings that still counts as alike, in grey levels.
    """
    return denoise_nl_means(image.astype(np.float32), patch_size=5, patch_distance=6, h=strength, fast_mode=True)


# -- a forest ---------------------------------------------------------------------------------------------------------


def features(image: np.ndarray) -> np.ndarray:
    """What a pixel classifier looks at: float32 (H W, 7 x `SCALES`).

    At each scale, as in ilastik and Trainable Weka: Gaussian, Laplacian, gradient magnitude, the eigenvalues of the
    structure tensor and of the Hessian (Arganda-Carreras et al. 2017, doi:10.1093/bioinformatics/btx180).
    """
    image, found = image.astype(np.float32), []
    for sigma in SCALES:
        found += [smooth(image, sigma) for smooth in (gaussian_filter, gaussian_laplace, gaussian_gradient_magnitude)]
        tensor = structure_tensor(image, sigma, mode="reflect")
        hessian = hessian_matrix(image, sigma, mode="reflect", use_gaussian_derivatives=False)
        found += [*structure_tensor_eigenvalues(tensor), *hessian_matrix_eigvals(hessian)]
    return np.stack([feature.ravel() for feature in found], 1, dtype=np.float32)


def forest(train: Slices, seed: int) -> Predictor:
    """A random forest of 100 trees on the `features` of `SAMPLED` labelled pixels (Breiman 2001)."""
    rng, share = np.random.default_rng(seed), SAMPLED // len(train)
    chosen = [rng.integers(image.size, size=share) for image in train.images]
    known = np.concatenate([features(image)[places] for image, places in zip(train.images, chosen, strict=True)])
    phases = np.concatenate([label.ravel()[places] for label, places in zip(train.labels, chosen, strict=True)])
    trees = RandomForestClassifier(100, n_jobs=os.cpu_count(), random_state=seed).fit(known, phases)
    return lambda images: [trees.predict(features(image)).reshape(image.shape).astype(np.uint8) for image in images]


METHODS: dict[str, Callable[[Slices, int], Predictor]] = {
    "midpoint thresholds": midpoints,
    "multi-Otsu": otsu,
    "Gaussian + thresholds": partial(filtered, smooth=gaussian, strengths=(0, 0.5, 1, 1.5, 2, 2.5, 3, 4, 5)),
    "median + thresholds": partial(filtered, smooth=median, strengths=(1, 3, 5, 7, 9, 11)),
    "non-local means + thresholds": partial(filtered, smooth=non_local_means, strengths=(
        250, 500, 1000, 1500, 2000, 3000, 4000, 6000, 8000)),
    "random forest": forest,
}

NETWORK = "U-Net"                                # what it is called beside them


# -- against a network ------------------------------------------------------------------------------------------------


def contest(run: Run, train: Slices, slices: Slices, noise_stds: Sequence[float]) -> list[dict]:
    """Every method tuned on the training slices of a run, and the run's network, scored on others with ever more noise.

    A row each: "method", "n_train", "noise_std" (of the training slices), "seed", "noise_stds" and the "dice" (0..1) at
    each of them, "train_s" in all and "predict_s" a slice, seconds.
    """
    seed = run.config["seed"]
    noisy = [noisy_copies(slices, std, seed) for std in noise_stds]

    def row(method: str, predictor: Predictor, train_s: float) -> dict:
        start = time.perf_counter()
        guesses = [predictor(part.images) for part in noisy]
        seconds = (time.perf_counter() - start) / len(noisy) / len(slices)
        dice = [score(guess, part).mean for guess, part in zip(guesses, noisy, strict=True)]
        return {"method": method, "n_train": len(train), "noise_std": float(train.noise_std.max()), "seed": seed,
                "noise_stds": list(noise_stds), "dice": dice, "train_s": train_s, "predict_s": seconds}

    rows = []
    for method, learn in METHODS.items():
        start = time.perf_counter()
        predictor = learn(train, seed)
        rows.append(row(method, predictor, time.perf_counter() - start))
    return [*rows, row(NETWORK, partial(predict, run.model()), run.history[-1]["seconds"])]
