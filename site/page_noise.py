"""The noise of the live page: the same integers in Python and in JavaScript (noise.js).

A pixel's noise is the sum of twelve uniform numbers minus their mean, which is close to a normal
distribution. The numbers come from a hash of seed, slice and pixel. All steps are exact in integers
or in float64, so that both languages draw the same noise to the last bit.
"""

import numpy as np

WORDS = 6  # 32-bit words per pixel; each gives two uniform numbers of 16 bits
MEAN_OF_SUM = 12 * 65535 / 2  # of twelve numbers 0..65535; their standard deviation is 65536
UNIT = 65536


def _scramble(words: np.ndarray) -> np.ndarray:
    """Hash each 32-bit word: the finaliser of MurmurHash3, which is in the public domain."""
    words = (words ^ (words >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    words = (words ^ (words >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return words ^ (words >> np.uint32(16))


def draw_noise(n_pixels: int, seed: int, number: int) -> np.ndarray:
    """Draw noise with a standard deviation of `UNIT`, int32 (n_pixels,).

    Args:
        n_pixels, seed, number: of the slice, row by row; seed of the noise; number of the slice.
    """
    key = _scramble(_scramble(np.array([seed], np.uint32)) + np.uint32(number))
    counters = np.arange(WORDS * n_pixels, dtype=np.uint32).reshape(n_pixels, WORDS)
    words = _scramble(_scramble(counters) + key)
    total = (words >> np.uint32(16)).sum(1, dtype=np.int64)
    total += (words & np.uint32(0xFFFF)).sum(1, dtype=np.int64)
    return (total - int(MEAN_OF_SUM)).astype(np.int32)


def add_page_noise(image: np.ndarray, noise_std: float, seed: int, number: int) -> np.ndarray:
    """Add the page's noise to a slice, uint16 (H, W), rounded and clipped to 0..65535.

    Args:
        image, noise_std: grey levels, uint16 (H, W); standard deviation of the noise, grey levels.
        seed, number: of the noise, and of the slice in its volume.
    """
    noise = draw_noise(image.size, seed, number).reshape(image.shape)
    return np.floor(image + float(noise_std) * noise / UNIT + 0.5).clip(0, 65535).astype(np.uint16)
