"""Segment slices without a network: thresholds, filters with thresholds, and a random forest.

A method is tuned on labelled slices and returns a predictor, which turns N raw slices, uint16
(H, W), into N masks of class indices, uint8 (H, W), as `inference.predict` does.
`benchmark_methods` compares all methods with a network. scikit-image and scikit-learn are optional
packages, so they are imported only where they are used.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from scipy.ndimage import gaussian_filter, median_filter

from ..data import Slices, mean_grey_levels
from ..inference import predict
from ..losses import IGNORE
from ..metrics import score_masks
from ..noise import noisy_copies
from ..runs import Run

Predictor = Callable[[Sequence[np.ndarray]], Sequence[np.ndarray] | np.ndarray]
Filter = Callable[[np.ndarray, float], np.ndarray]

BINS = np.linspace(0, 2**16, 513)  # edges of the grey-level bins that thresholds are chosen from
FOREST_PIXELS = 10_000  # pixels that a forest is trained on, drawn from all training slices
NETWORK = "U-Net"  # name of the network in the rows of `benchmark_methods`


# -- thresholds ------------------------------------------------------------------------------------


def grey_order(slices: Slices) -> np.ndarray:
    """Class indices of the phases that occur in some slices, from the darkest to the brightest."""
    means = mean_grey_levels(slices)
    return means.argsort()[:np.isfinite(means).sum()]


def midpoint_thresholds(slices: Slices) -> np.ndarray:
    """Grey levels half-way between the mean grey levels of neighbouring phases, ascending."""
    means = np.sort(mean_grey_levels(slices)[grey_order(slices)])
    return (means[:-1] + means[1:]) / 2


def apply_thresholds(image: np.ndarray, thresholds: Sequence[float] | np.ndarray,
                     order: np.ndarray) -> np.ndarray:
    """Segment a slice by thresholds.

    Args:
        image: grey levels (H, W).
        thresholds: ascending; a pixel at a threshold counts as above it.
        order: class indices from the darkest to the brightest, one more than thresholds.

    Returns:
        Class indices, uint8 (H, W).
    """
    return order.astype(np.uint8)[np.digitize(image, thresholds)]


def segment_by_midpoints(train: Slices, _seed: int) -> Predictor:
    """Segment by thresholds half-way between the mean grey levels of the phases."""
    thresholds, order = midpoint_thresholds(train), grey_order(train)
    return lambda images: [apply_thresholds(image, thresholds, order) for image in images]


def segment_by_otsu(train: Slices, _seed: int) -> Predictor:
    """Segment each slice by thresholds with the least grey-level variance in classes (Otsu 1979).

    The labels only tell how many phases there are, and which of them is brighter.
    """
    from skimage.filters import threshold_multiotsu

    order = grey_order(train)

    def segment(image: np.ndarray) -> np.ndarray:
        centres = threshold_multiotsu(image.astype(np.float32), len(order))  # of 256 bins
        return apply_thresholds(image, centres + np.ptp(image) / 512, order)

    return lambda images: [segment(image) for image in images]


def best_thresholds(histograms: np.ndarray) -> tuple[float, list[int]]:
    """Find the thresholds with the best mean Dice by dynamic programming.

    Args:
        histograms: pixels by (phase, bin), int (C, B); phases from the darkest to the brightest.

    Returns:
        The mean Dice, 0 to 1, and the C - 1 bins at which the phases after the first one begin.
    """
    below = np.pad(histograms.cumsum(1), ((0, 0), (1, 0)))  # (C, B + 1): pixels below each edge
    every, edges = below.sum(0), np.arange(below.shape[1])
    best, choices = np.where(edges == 0, 0.0, -np.inf), []  # sum of Dice of the phases so far
    for phase in below:
        size = every - every[:, None] + phase[-1]  # (begin, end): predicted and true pixels
        dice = 2 * (phase - phase[:, None]) / np.maximum(size, 1)
        total = np.where(edges >= edges[:, None], best[:, None] + dice, -np.inf)
        choices.append(total.argmax(0))
        best = total.max(0)
    ends = [int(edges[-1])]
    for begin in choices[:0:-1]:
        ends.insert(0, int(begin[ends[0]]))
    return float(best[-1]) / len(histograms), ends[:-1]


def segment_by_filter(train: Slices, _seed: int, smooth: Filter,
                      strengths: Sequence[float]) -> Predictor:
    """Filter, then threshold, with the strength and thresholds of the best Dice in training."""
    order = grey_order(train)

    def tune(strength: float) -> tuple[float, list[int]]:
        counts = np.zeros((len(order), len(BINS) - 1), np.int64)
        for image, label in zip(train.images, train.labels, strict=True):
            smoothed = smooth(image, strength)
            counts += [np.histogram(smoothed[label == phase], BINS)[0] for phase in order]
        return best_thresholds(counts)

    tuned = {strength: tune(strength) for strength in strengths}
    strength = max(tuned, key=lambda strength: tuned[strength][0])
    thresholds = BINS[tuned[strength][1]]
    return lambda images: [apply_thresholds(smooth(image, strength), thresholds, order)
                           for image in images]


def gaussian(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian filter with a standard deviation of `sigma` px; 0 changes nothing."""
    return gaussian_filter(image.astype(np.float32), sigma)


def median(image: np.ndarray, side: float) -> np.ndarray:
    """Median of a square of `side` px (odd) around each pixel."""
    return median_filter(image, int(side))


def non_local_means(image: np.ndarray, strength: float) -> np.ndarray:
    """Average nearby pixels whose surroundings are similar (Buades et al. 2005).

    Args:
        image: grey levels (H, W).
        strength: difference between surroundings that still counts as similar, grey levels (h).
    """
    from skimage.restoration import denoise_nl_means

    return denoise_nl_means(image.astype(np.float32), patch_size=5, patch_distance=6, h=strength,
                            fast_mode=True)


# -- random forest ---------------------------------------------------------------------------------


def pixel_features(image: np.ndarray) -> np.ndarray:
    """Describe each pixel by its surroundings, as ilastik and Trainable Weka do.

    At scales of 0.5, 1, 2, 4, 8 and 16 px: the smoothed grey level, the size of its gradient, and
    the eigenvalues of its Hessian (Arganda-Carreras 2017, doi:10.1093/bioinformatics/btx180).

    Args:
        image: grey levels, uint16 (H, W).

    Returns:
        float32 (H W, 24).
    """
    from skimage.feature import multiscale_basic_features

    return multiscale_basic_features(image).reshape(image.size, -1)


def segment_by_forest(train: Slices, seed: int) -> Predictor:
    """Train a random forest of 100 trees on features of `FOREST_PIXELS` pixels (Breiman 2001)."""
    from sklearn.ensemble import RandomForestClassifier

    rng, train = np.random.default_rng(seed), train.subsample(FOREST_PIXELS)
    features, classes = [], []
    for image, label in zip(train.images, train.labels, strict=True):
        labelled = np.flatnonzero(label != IGNORE)
        pixels = labelled[rng.integers(len(labelled), size=FOREST_PIXELS // len(train))]
        features.append(pixel_features(image)[pixels])
        classes.append(label.ravel()[pixels])
    forest = RandomForestClassifier(100, n_jobs=-1, random_state=seed)
    forest.fit(np.concatenate(features), np.concatenate(classes))
    return lambda images: [forest.predict(pixel_features(image)).reshape(image.shape)
                           .astype(np.uint8) for image in images]


METHODS: dict[str, Callable[[Slices, int], Predictor]] = {
    "midpoint thresholds": segment_by_midpoints,
    "multi-Otsu": segment_by_otsu,
    "Gaussian + thresholds": partial(
        segment_by_filter, smooth=gaussian, strengths=(0, 0.5, 1, 1.5, 2, 2.5, 3, 4, 5)),
    "median + thresholds": partial(
        segment_by_filter, smooth=median, strengths=(1, 3, 5, 7, 9, 11)),
    "non-local means + thresholds": partial(
        segment_by_filter, smooth=non_local_means,
        strengths=(250, 500, 1000, 1500, 2000, 3000, 4000, 6000, 8000)),
    "random forest": segment_by_forest,
}


# -- comparison with a network ---------------------------------------------------------------------


def benchmark_methods(run: Run, train: Slices, slices: Slices,
                      noise_stds: Sequence[float]) -> list[dict]:
    """Tune every method on the training slices of a run, and score all methods and its network.

    Args:
        run: the run of the network; its seed is that of the noise and the forest.
        train: labelled slices to tune on.
        slices: clean labelled slices to score on.
        noise_stds: standard deviations of the noise added to `slices`, grey levels.

    Returns:
        A row per method: "method", "n_train", "noise_std" (of the training slices), "seed",
        "noise_stds", "dice" (0 to 1, one number per standard deviation), "train_s" (seconds in all)
        and "predict_s" (seconds per slice).
    """
    seed = run.config["seed"]
    noisy = [noisy_copies(slices, std, seed) for std in noise_stds]

    def row(method: str, predictor: Predictor, train_s: float) -> dict:
        start = time.perf_counter()
        predicted = [predictor(part.images) for part in noisy]
        seconds = (time.perf_counter() - start) / len(noisy) / len(slices)
        dice = [score_masks(masks, part).mean
                for masks, part in zip(predicted, noisy, strict=True)]
        return {"method": method, "n_train": len(train), "noise_std": float(train.noise_std.max()),
                "seed": seed, "noise_stds": list(noise_stds), "dice": dice, "train_s": train_s,
                "predict_s": seconds}

    rows = []
    for method, tune in METHODS.items():
        start = time.perf_counter()
        predictor = tune(train, seed)
        rows.append(row(method, predictor, time.perf_counter() - start))
    return [*rows, row(NETWORK, partial(predict, run.model()), run.history[-1]["seconds"])]
