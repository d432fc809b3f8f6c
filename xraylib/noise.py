"""The noise transform: Gaussian noise on the raw 16-bit grey levels, seeded per slice."""

import numpy as np

from .slices.labelled import Slices


def add_noise(image: np.ndarray, std: float, seed: int, number: int) -> np.ndarray:
    """A noisy copy of one slice.

    ``image``: uint16 (H, W). ``std``: standard deviation in 16-bit grey levels (the poster: 5000), >= 0.
    ``seed``, ``number``: the noise depends on these two alone, so slice 17 gets the same noise in whatever order or
    batch it is drawn. Returns uint16 (H, W), clipped to 0..65535 and rounded. Raises ValueError for a negative std.
    """
    if not std >= 0:
        raise ValueError(f"noise_std is {std}; it is a standard deviation in grey levels and cannot be negative.")
    noise = np.random.default_rng([seed, number]).standard_normal(image.shape, np.float32)
    return np.clip(np.rint(image + np.float32(std) * noise), 0, 65535).astype(np.uint16)


def noisy_copies(slices: Slices, std: float, seed: int) -> Slices:
    """Noisy copies of slices: same labels and numbers, ``noise_std`` raised to ``std`` (see `add_noise`)."""
    images = [add_noise(image, std, seed, int(number))
              for image, number in zip(slices.images, slices.numbers, strict=True)]
    return Slices(images, slices.labels, slices.numbers, np.full(len(slices), float(std)))
