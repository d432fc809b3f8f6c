"""How the grey levels of a volume are mapped to those that a network was trained on.

Grey levels of the training set's dtype stay as they are. Their mean and standard deviation do not
reveal a change of contrast, because both also depend on the composition (a block of resin, for
example). Grey levels that are rare in the training set, or uneven across a slice, do reveal it.
"""

from collections.abc import Sequence
from math import ceil, isfinite

import numpy as np
from scipy.special import ndtr, ndtri

from .data import GreyScale
from .errors import DataError, ParameterError
from .formats.grey import scale_of
from .formats.tiff import Page
from .unet import UNet

CONTRASTS = ("none", "match", "percentiles")
SLICES, PIXELS = 16, 2**16  # how many slices to look at, and about how many pixels of each
BINS = np.linspace(0, 65536, 65)  # of histograms, in 16-bit grey levels
# Limits of `_faults`, as shares of pixels. If half of a slice is resin or a nickel collector, the
# three shares are at most 0.017, 0.037 and 0.030. Inverted contrast or an offset of 5,000 raises
# the first share to at least 0.027. Noise of 1,500 raises the second to 0.051, for a network that
# was trained without noise. Shading of 15 % raises the third to 0.10.
CROWDED, UNKNOWN, UNEVEN = 0.022, 0.049, 0.08
DIFFERENT = 0.15  # share of pixels by which the histograms may differ without a note


def choose_contrast(pages: Sequence[Page], model: UNet, kind: str = "") -> tuple[GreyScale, str]:
    """Choose how to map a volume's grey levels to those of a network, and whether to warn.

    Constant borders, NaN, infinity and hot pixels do not influence the choice.
    Args:
        pages, model: The slices; a network, which knows the grey levels of its training set.
        kind: "none": values mean what they mean in the training set. "match": mean and standard
            deviation become those of the training set; "percentiles": the 1 % and 99 % quantiles
            do. "": "none" for the dtype of the training set, else "percentiles".
    Returns: The scale, and sentences that say what was done and whether to trust the result.
    Raises: DataError if every slice holds one grey level only; ParameterError if kind is unknown.
    """
    if kind not in ("", *CONTRASTS):
        raise ParameterError(f"contrast is {kind!r}; it must be one of {', '.join(CONTRASTS)}.")
    sample = _sample(pages)
    levels = np.concatenate([part[np.isfinite(part)] for part in sample])
    clipped = levels.clip(*np.quantile(levels, [0.001, 0.999]))  # without hot pixels
    mean, std = float(clipped.mean()), float(clipped.std())
    dtype, known = pages[0].dtype.name, model.grey_scale
    kind = kind or ("none" if dtype == known.dtype else "percentiles")
    if kind == "none":
        both = {dtype, known.dtype}
        scale = scale_of(pages) if both == {"uint8", "uint16"} else GreyScale(
            dtype, known.gain, known.offset)
        done = ("used unchanged" if (scale.gain, scale.offset) == (1, 0) else
                "scaled as those of the training set")
    elif kind == "match":
        there, spread = model.grey.tolist()
        gain = spread / std if std else 0.0
        scale = GreyScale(dtype, gain, there - gain * mean)
        done = (f"brought to the mean and standard deviation of the training set, {there:.0f} ± "
                f"{spread:.0f}")
    else:
        scale, low, high = _by_percentiles(levels, dtype, model.grey_quantiles)
        done = f"scaled so that 98 % of them lie from {low:.0f} to {high:.0f}"
    if not (scale.gain > 0 and isfinite(scale.gain) and isfinite(scale.offset)):
        raise DataError(f"{pages[0].file} and the slices after it hold grey levels that cannot be "
                        f"scaled, {mean:.4g} ± {std:.4g}. Try --contrast percentiles.")
    scaled = [part * scale.gain + scale.offset for part in sample]
    return scale, (f"{dtype}, grey levels {mean:.4g} ± {std:.4g} (mean ± standard deviation). They "
                   f"are {done}. {_verdict(scaled, model.grey_quantiles, kind)}")


def _sample(pages: Sequence[Page]) -> list[np.ndarray]:
    """Sample pixels of up to 16 slices that are not blank, float64; NaN where there is no data."""
    spread = np.unique(np.linspace(0, len(pages) - 1, SLICES).astype(int)).tolist()
    found: list[np.ndarray] = []
    for index in dict.fromkeys([*spread, *range(len(pages))]):
        height, width = pages[index].shape
        step = ceil((height * width / PIXELS) ** 0.5)
        part = _without_border(pages[index].sparse(step).astype(np.float64))
        levels = part[np.isfinite(part)]
        found += [part] if levels.size and levels.min() < levels.max() else []
        if len(found) == SLICES:
            break
    if not found:
        raise DataError(f"{pages[0].file} and the slices after it hold one grey level only, or no "
                        "number, so there is nothing to segment. Export them again.")
    return found


def _without_border(levels: np.ndarray) -> np.ndarray:
    """Replace infinity, and a value that fills a corner and is rare in the middle, by NaN."""
    levels = np.where(np.isfinite(levels), levels, np.nan)
    middle = np.array_split(np.array_split(levels, 3)[1], 3, 1)[1]
    for corner in (levels[:4, :4], levels[:4, -4:], levels[-4:, :4], levels[-4:, -4:]):
        fills = (corner == corner[0, 0]).all()
        if fills and (middle == corner[0, 0]).sum() < 0.01 * middle.size:
            levels = np.where(levels == corner[0, 0], np.nan, levels)
    return levels


def _by_percentiles(levels: np.ndarray, dtype: str,
                    known: np.ndarray) -> tuple[GreyScale, float, float]:
    """Map the 1 % and 99 % quantiles to the p % and 100 - p % quantiles of the training set.

    p is the number from 1 to 20 for which the two histograms overlap most. If the training set was
    noisy and the volume is not, the volume fills only the middle of the training set's range.
    """
    low, high = np.quantile(levels, [0.01, 0.99])
    if low == high:  # nearly all pixels are alike
        low, high = levels.min(), levels.max()
    sorted_levels, expected = np.quantile(levels, np.linspace(0.001, 0.999, 1000)), _expected(known)
    best = (-1.0, GreyScale(), 0.0, 0.0)
    for p in range(1, 21):
        left, right = float(known[p]), float(known[100 - p])
        gain = float((right - left) / (high - low))
        offset = left - gain * float(low)
        overlap = float(np.sqrt(expected * _histogram(sorted_levels * gain + offset)).sum())
        best = max(best, (overlap, GreyScale(dtype, gain, offset), left, right), key=lambda x: x[0])
    return best[1:]


def _expected(known: np.ndarray) -> np.ndarray:
    """Turn the quantiles of the training set into the share of its pixels in each of the bins.

    The distribution is taken as normal between two quantiles, as it is for noise beyond 99 %.
    """
    shares = np.linspace(0, 1, len(known)).clip(1e-5, 1 - 1e-5)
    return np.diff(ndtr(np.interp(BINS, known, ndtri(shares))))


def _histogram(levels: np.ndarray, bins: np.ndarray = BINS) -> np.ndarray:
    """Return the share of pixels in each bin; values outside all bins count in the outermost."""
    return np.histogram(levels.clip(bins[0], bins[-1]), bins)[0] / max(levels.size, 1)


def _faults(scaled: Sequence[np.ndarray], known: np.ndarray) -> list[str]:
    """List the faults of grey levels (16-bit scale) that no other composition can explain."""
    levels = np.concatenate([part[np.isfinite(part)] for part in scaled])
    found, expected = _histogram(levels), _expected(known)
    rare = expected < 0.3 / len(expected)
    crowded = np.maximum(0, found - 6 * expected)[~rare].sum()  # no phase can grow 6 times as large
    unknown = np.maximum(0, found - 3 * expected)[rare].sum()
    faults = []
    if crowded > CROWDED or unknown > UNKNOWN:
        faults.append(f"{100 * (crowded + unknown):.0f} % of the pixels have grey levels that are "
                      "rare in the training set, as after a change of brightness, contrast or "
                      "noise, or in another material")
    if len(scaled) >= 4 and min(scaled[0].shape) >= 128 and _unevenness(scaled, levels) > UNEVEN:
        faults.append("the same grey levels are not found in all parts of the slices, as with "
                      "shading")
    return faults


def _unevenness(scaled: Sequence[np.ndarray], levels: np.ndarray) -> float:
    """Return the share of pixels by which the ninths of a slice exceed twice the overall shares."""
    low, high = np.quantile(levels, [0.001, 0.999]).tolist()
    bins = np.linspace(low, high, 49)
    usual, excess = _histogram(levels, bins), 0.0
    for rows in range(3):
        for columns in range(3):
            cells = [np.array_split(np.array_split(part, 3)[rows], 3, 1)[columns]
                     for part in scaled]
            cell = np.concatenate([each[np.isfinite(each)] for each in cells])
            over = np.maximum(0, _histogram(cell, bins) - 2 * usual).sum()
            excess += float(over) * cell.size / levels.size
    return excess


def _verdict(scaled: Sequence[np.ndarray], known: np.ndarray, kind: str) -> str:
    """Say how far the network can be trusted with these grey levels."""
    faults = _faults(scaled, known)
    if faults:
        others = " or ".join(f"--contrast {other}" for other in CONTRASTS[1:] if other != kind)
        return (f"WARNING: do not trust this segmentation: {'; '.join(faults)}. Try {others}, and "
                "look at previews (--preview 10).")
    levels = np.concatenate([part[np.isfinite(part)] for part in scaled])
    differ = np.maximum(0, _histogram(levels) - _expected(known)).sum() > DIFFERENT
    return ("The shares of grey levels differ from those of the training set. Another composition "
            "does no harm, uneven brightness does. Look at previews." if differ else
            "They are distributed as those of the training set.") + (
            "" if kind == "none" else " Another material or resolution can still be segmented "
            "wrongly: look at previews (--preview 10).")
