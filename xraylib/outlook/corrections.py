"""Correct a new volume, or the networks, without labels."""

from collections.abc import Sequence

import numpy as np

from ..data import evenly_spaced
from ..inference import recalibrate_batch_norm
from ..unet import UNet
from .quality import grey_quantiles

RECALIBRATION_SLICES = 10  # slices that batch-norm statistics are measured on


def to_uint16(levels: np.ndarray) -> np.ndarray:
    """Round grey levels to uint16, clipped to 0..65535."""
    return np.clip(np.rint(levels), 0, 65535).astype(np.uint16)


def match_mean_and_std(images: Sequence[np.ndarray],
                       training_levels: np.ndarray) -> list[np.ndarray]:
    """Give slices the training set's mean and standard deviation, with one gain and offset for all.

    Args:
        images: N arrays uint16 (H, W).
        training_levels: `grey_quantiles` of the training set.
    """
    levels = grey_quantiles(images)
    gain = training_levels.std() / max(levels.std(), 1e-9)
    return [to_uint16((image - levels.mean()) * gain + training_levels.mean()) for image in images]


def match_histogram(images: Sequence[np.ndarray], training_levels: np.ndarray) -> list[np.ndarray]:
    """Give each slice the training set's histogram, with its own monotonic curve.

    The result is wrong where phase fractions differ: as many pixels become bright as in training.
    """
    return [to_uint16(np.interp(image, grey_quantiles([image]), training_levels))
            for image in images]


def candidate_corrections(models: Sequence[UNet], images: Sequence[np.ndarray],
                          training_levels: np.ndarray
                          ) -> dict[str, tuple[list[UNet], list[np.ndarray]]]:
    """Return corrections that need no label: by name, the networks and the slices to segment.

    Args:
        models: networks of single slices.
        images: N arrays uint16 (H, W), the volume.
        training_levels: `grey_quantiles` of the training set.
    """
    few = [images[index - 1] for index in evenly_spaced(len(images), RECALIBRATION_SLICES)]
    recalibrated = [recalibrate_batch_norm(model, few) for model in models]
    return {"no correction": (list(models), list(images)),
            "mean and standard deviation": (
                list(models), match_mean_and_std(images, training_levels)),
            "histogram of each slice": (list(models), match_histogram(images, training_levels)),
            "batch-norm statistics": (recalibrated, list(images))}
