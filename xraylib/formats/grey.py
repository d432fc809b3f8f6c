"""Converts grey levels of files to those of the library: uint16 that fill the 16-bit scale."""

from collections.abc import Sequence

import numpy as np

from ..data import GreyScale
from ..errors import DataError
from .tiff import Page

SAMPLE, STEP = 16, 4  # slices to look at; of each, every 4th pixel of every 4th row
FEW = 2**18  # pixels; if the chosen slices have no more, every pixel is used
GAINS = {8: 257.0, 12: 16.0, 16: 1.0}  # by the bits that grey levels need
LOW, HIGH = 8192, 57343  # targets of the 0.1 % and 99.9 % quantiles: the middle three quarters


def sample_grey_levels(slices: Sequence[Page] | Sequence[np.ndarray]) -> np.ndarray:
    """Return finite grey levels, float64 (P,), of at most 16 slices, every 4th pixel each way.
    Args:
        slices: Pages on disk or arrays (H, W), at least one. Of small slices, all pixels are used.
    Raises: DataError: The slices hold one grey level only, or no number.
    """
    chosen = np.unique(np.linspace(0, len(slices) - 1, SAMPLE).astype(int))
    height, width = slices[0].shape
    step = STEP if len(chosen) * height * width > FEW else 1
    parts = [each.sparse(step) if isinstance(each, Page) else each[::step, ::step]
             for each in (slices[index] for index in chosen)]
    levels = np.concatenate([part.ravel() for part in parts]).astype(np.float64)
    levels = levels[np.isfinite(levels)]
    if not levels.size or levels.min() == levels.max():
        place = f"{slices[0].file}" if isinstance(slices[0], Page) else "The first slice"
        raise DataError(f"{place} and the slices after it hold one grey level only, or no number. "
                        "Export them again.")
    return levels


def scale_of(slices: Sequence[Page] | Sequence[np.ndarray]) -> GreyScale:
    """Decide how grey levels become uint16. A few hot pixels do not influence the decision.

    Non-negative integers that need 8, 12 or 16 bits are multiplied by 257, 16 or 1. Other grey
    levels are scaled so that their 0.1 % and 99.9 % quantiles become 8192 and 57343.
    Args:
        slices: As for `sample_grey_levels`, which also says when `DataError` is raised.
    """
    dtype = slices[0].dtype
    if dtype == np.uint8:
        return GreyScale("uint8", GAINS[8])
    levels = sample_grey_levels(slices)
    low = np.quantile(levels, 0.001, method="higher")
    high = np.quantile(levels, 0.999, method="lower")
    if dtype.kind in "iu" and levels.min() >= 0 and high < 2**16:
        bits = next(bits for bits in GAINS if high < 2**bits)
        return GreyScale(dtype.name, GAINS[bits])
    if low == high:  # nearly all pixels are alike
        low, high = levels.min(), levels.max()
    gain = float((HIGH - LOW) / (high - low))
    return GreyScale(dtype.name, gain, float(LOW - gain * low))


def to_uint16(array: np.ndarray, scale: GreyScale) -> np.ndarray:
    """Convert grey levels of a file, (H, W), to those of the library, uint16 of the same shape.

    Values outside 0..65535 are clipped. NaN and infinity become the mean of the other pixels.
    """
    if scale.gain == 1 and scale.offset == 0 and array.dtype == np.uint16:
        return array
    levels = array * scale.gain + scale.offset if array.dtype.kind in "iu" else (
        array.astype(np.float64) * scale.gain + scale.offset)
    finite = np.isfinite(levels)
    if not finite.all():
        levels[~finite] = levels[finite].mean() if finite.any() else (LOW + HIGH) / 2
    return np.rint(levels.clip(0, 65535)).astype(np.uint16)


def describe_scale(scale: GreyScale) -> str:
    """Say in one sentence what `to_uint16` does to grey levels."""
    if scale.offset == 0 and scale.gain in GAINS.values():
        done = "are used unchanged" if scale.gain == 1 else (
            f"are multiplied by {scale.gain:g}, to fill 16 bits")
        return f"The grey levels are {scale.dtype} and {done}."
    low, high = ((level - scale.offset) / scale.gain for level in (LOW, HIGH))
    return (f"The grey levels are {scale.dtype}. They are scaled to 16 bits: {low:.4g} becomes "
            f"{LOW}, and {high:.4g} becomes {HIGH}.")
