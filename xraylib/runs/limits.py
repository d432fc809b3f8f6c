"""How many labels are enough: a learning curve through Dice against the size of the training set."""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import curve_fit


def power_law(n: np.ndarray, floor: float, scale: float, power: float) -> np.ndarray:
    """The error that a training set of n slices leaves: a floor, and a part that falls as a power of n.

    Hestness et al. 2017, arXiv:1712.00409.
    """
    return floor + scale * np.asarray(n, float) ** -power


def fit_error(sizes: Sequence[float], dice: np.ndarray) -> np.ndarray:
    """Floor, scale and power of the `power_law` through 1 - Dice. ``dice``: (runs, sizes), 0..1."""
    error = 1 - dice.mean(0)
    start = (error.min(), max(error[0] - error.min(), 1e-4) * sizes[0] ** 0.5, 0.5)
    found, _ = curve_fit(power_law, sizes, error, start, bounds=([0, 0, 0.05], [1, 1, 4]), maxfev=20_000)
    return found


def smallest_enough(sizes: Sequence[float], dice: np.ndarray, within: float = 0.002) -> float:
    """The smallest n, between the sizes that were tried, whose Dice is ``within`` that of the largest, by the fit."""
    floor, scale, power = fit_error(sizes, dice)
    tried = np.geomspace(sizes[0], sizes[-1], 2000)
    error = power_law(tried, floor, scale, power)
    return float(tried[np.argmax(error - error[-1] <= within)])


def smallest_reaching(sizes: Sequence[float], dice: np.ndarray, target: float) -> float:
    """The smallest n whose mean Dice reaches the target, by straight lines over log n; inf if none of them does.

    ``dice``: (runs, sizes), sizes ascending. Where the first size that was tried reaches it, that one.
    """
    mean, logs = dice.mean(0), np.log(sizes)
    if not (mean >= target).any():
        return float("inf")
    at = int(np.argmax(mean >= target))
    return float(sizes[0] if at == 0 else np.exp(np.interp(target, mean[at - 1:at + 1], logs[at - 1:at + 1])))


def resampled_runs(dice: np.ndarray, draws: int = 200) -> list[np.ndarray]:
    """Bootstrap over the runs, at every size anew. ``dice``: (runs, sizes); each draw is of the same shape."""
    rng = np.random.default_rng(0)
    return [np.take_along_axis(dice, rng.integers(len(dice), size=dice.shape), 0) for _ in range(draws)]
