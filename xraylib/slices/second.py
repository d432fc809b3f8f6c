"""The second built-in sample: another material, under a microscope that gets worse along z. It plays the volume without
labels in notebook 8; its labels are kept beside, for the end."""

from collections.abc import Iterator

import numpy as np
from scipy.ndimage import gaussian_filter

from . import synthetic
from .labelled import Slices
from .synthetic import Material, Sample

VERSION = 1                                             # to be raised when this file comes to give other numbers
SIZES = {"tiny": (12, 128), "laptop": (48, 501), "paper": (48, 501)}   # slices and their side in px, by profile
SEED = 2
# Finer grains, all phases darker and at equal steps (nickel stands out from YSZ as YSZ from pore), less sharp, noisier.
MATERIAL = Material(grain=0.7, grey=(12000, 22000, 32000), blur=(1.6, 1.9, 1.9), noise=1500)
FADING, NOISE = 0.4, 4000                               # at the last slice: contrast lost (a share), white noise added
# Three faults, each over a twelfth of the slices, beginning at this share of the volume.
FAULTS = {"rings": 1 / 4, "stripes": 1 / 2, "out of focus": 3 / 4}
STRENGTH, BLUR = 6000, 6                                # of rings and stripes, grey levels; out of focus: sigma, px


def fault_of(index: int, n: int) -> str:
    """The fault of slice ``index``, 0..n-1, of n: one of `FAULTS`, or ""."""
    length = max(1, n // 12)
    return next((name for name, start in FAULTS.items() if 0 <= index - round(start * n) < length), "")


def pattern(fault: str, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """What rings or stripes add, float32 (H, W): one normal random number a circle around the middle, or a column."""
    y, x = (np.arange(side) - side / 2 for side in shape)
    place = np.hypot(y[:, None], x) if fault == "rings" else np.broadcast_to(x - x[0], shape)
    each = gaussian_filter(rng.standard_normal(int(sum(shape))), 1)
    return np.float32(STRENGTH * (each / each.std())[place.astype(int)])


def worsened(image: np.ndarray, index: int, n: int) -> np.ndarray:
    """Slice ``index`` of n, uint16 (H, W), as this microscope shows it: contrast falls and noise rises along z."""
    rng, depth = np.random.default_rng([SEED, index]), index / max(n - 1, 1)
    fault, middle = fault_of(index, n), np.float32(MATERIAL.grey[1])
    shown = middle + np.float32(1 - FADING * depth) * (image - middle)
    if fault == "out of focus":
        shown = gaussian_filter(shown, BLUR)
    elif fault:
        shown = shown + pattern(fault, image.shape, rng)
    shown = shown + np.float32(NOISE * depth) * rng.standard_normal(image.shape, np.float32)
    return np.clip(np.rint(shown), 0, 65535).astype(np.uint16)


def chunks(n: int, size: int) -> Iterator[Sample]:
    """The n slices of the sample, ``size`` px a side, in the runs of `synthetic.chunks`."""
    start = 0
    for sample in synthetic.chunks(n, size, SEED, material=MATERIAL):
        images = np.stack([worsened(image, start + i, n) for i, image in enumerate(sample.images)])
        yield Sample(images, sample.labels, sample.truth)
        start += len(images)


def faults(slices: Slices) -> list[str]:
    """The fault of each slice of the whole sample, or ""."""
    return [fault_of(index, len(slices)) for index in range(len(slices))]
