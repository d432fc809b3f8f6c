"""How the grey levels of a volume become those that a network was trained on."""

from collections.abc import Sequence

import numpy as np

from .errors import DataError
from .tiff import Page
from .unet import UNet


def match_contrast(pages: Sequence[Page], model: UNet) -> tuple[float, float, str]:
    """Find the gain and offset that bring grey levels to the mean and spread of the training set.

    uint16 slices within a quarter of a standard deviation of the training set stay unchanged.
    Returns: Gain, offset, and a sentence that says what was done.
    Raises: DataError if all pixels have the same grey level.
    """
    chosen = np.unique(np.linspace(0, len(pages) - 1, min(16, len(pages))).astype(int))
    sample = np.concatenate([_sparse(pages[index]).ravel() for index in chosen]).astype(np.float64)
    sample = sample[np.isfinite(sample)]
    mean, std = (sample.mean(), sample.std()) if sample.size else (0.0, 0.0)
    if std == 0:
        raise DataError(f"{pages[0].file} and the slices after it hold one grey level only, or no "
                        "number, so there is nothing to segment. Export them again.")
    train_mean, train_std = model.grey.tolist()
    here = f"{pages[0].dtype.name}, grey levels {mean:.4g} ± {std:.4g} (mean ± standard deviation)"
    there = f"those of the training set, {train_mean:.0f} ± {train_std:.0f}"
    alike = max(abs(mean - train_mean), abs(std - train_std)) < train_std / 4
    if pages[0].dtype.name == "uint16" and alike:
        return 1.0, 0.0, f"{here}. They are like {there}, and are used unchanged."
    gain = train_std / std
    return gain, train_mean - gain * mean, (
        f"{here}. They are brought to {there}. A volume of another material, resolution or "
        "contrast can still be segmented wrongly: look at the previews.")


def _sparse(page: Page) -> np.ndarray:
    """Every fourth pixel of every fourth row of a slice, without holding all of it if possible."""
    if page.offset is None:
        return page.whole()[::4, ::4]
    return np.array(np.memmap(page.file, page.dtype, "r", page.offset, page.shape)[::4, ::4])
