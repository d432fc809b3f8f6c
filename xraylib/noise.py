"""Gaussian noise on raw 16-bit grey levels, with a random stream of its own for each slice."""

from dataclasses import replace

import numpy as np

from .data import SLICE_ZERO, Slices, random_stream
from .errors import ParameterError


def add_noise(image: np.ndarray, noise_std: float, seed: int, number: int) -> np.ndarray:
    """Add Gaussian noise to one slice.

    The noise depends on `seed` and `number` alone. Slice 17 gets the same noise in any batch.
    Args:
        image: raw grey levels, uint16 (H, W).
        noise_std: standard deviation of the noise, grey levels, at least 0 (the poster: 5000).
        seed, number: seed of the run, and number of the slice in its volume.
    Returns: The noisy slice, uint16 (H, W), rounded and clipped to 0..65535.
    Raises: ParameterError if `noise_std` is negative or not a number.
    """
    if not noise_std >= 0:
        raise ParameterError(f"noise_std is {noise_std}; it must be at least 0 (grey levels).")
    # NumPy draws the same numbers from [seed, 0] as from seed, which the split of the data uses.
    # So slice 0 has a stream of its own.
    rng = np.random.default_rng([seed, number]) if number else random_stream(seed, SLICE_ZERO)
    noise = rng.standard_normal(image.shape, np.float32)
    return np.clip(np.rint(image + np.float32(noise_std) * noise), 0, 65535).astype(np.uint16)


def noisy_copies(slices: Slices, noise_std: float, seed: int) -> Slices:
    """Copy slices with noise added to each.

    Args:
        slices, noise_std, seed: as in `add_noise`; the labels and the numbers stay the same.
    """
    images = [add_noise(image, noise_std, seed, int(number))
              for image, number in zip(slices.images, slices.numbers, strict=True)]
    return replace(slices, images=images, noise_std=np.full(len(slices), float(noise_std)))
