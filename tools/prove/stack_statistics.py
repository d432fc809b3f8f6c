"""Measure grey levels, noise, edges and material of labelled slices, for `realism.py`."""

import numpy as np
from scipy import ndimage
from scipy.ndimage import distance_transform_edt, gaussian_filter, map_coordinates

from xraylib.data import NI_YSZ_VOXEL_NM, Slices
from xraylib.outlook.microstructure import interface_area, volume_fractions
from xraylib.outlook.paths import chord_counts
from xraylib.outlook.smoothness import label_agreement

LAGS = (1, 2, 5, 10, 20, 40, 100)
# Half-way between the mean grey levels of pore and YSZ, and of YSZ and nickel.
MIDPOINTS = (28351, 38348)
INSIDE = 6  # px from the edge of a phase beyond which blur no longer reaches
SLOW = 8  # standard deviation, px, of what counts as slow drift and not as noise
FAR = (1, 2, 3, 5)  # px, or slices, apart at which the noise is compared with itself
PAIRS = ((0, 1), (0, 2), (1, 2))


def interior(labels: np.ndarray, phase: int) -> np.ndarray:
    """Mark the pixels more than INSIDE px from any other phase; the border of a slice is no edge.

    Args:
        labels: Class indices of one slice, (H, W).
        phase: Class index of the phase.
    """
    padded = np.pad(labels == phase, 1, mode="edge")
    return distance_transform_edt(padded)[1:-1, 1:-1] > INSIDE


def noise_of(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Subtract the slow part from a slice inside `mask`; return 0 outside, float64."""
    weight = np.maximum(gaussian_filter(mask.astype(float), SLOW), 1e-6)
    return np.where(mask, image - gaussian_filter(np.where(mask, image, 0.0), SLOW) / weight, 0)


def covariance(first: np.ndarray, second: np.ndarray) -> float:
    """Return the mean product of two arrays of noise where both are inside their phase."""
    both = (first != 0) & (second != 0)
    return float((first[both] * second[both]).mean())


def noise_moments(noise: np.ndarray) -> list[float]:
    """Return the variance of a slice of `noise_of`, and its covariances FAR pixels apart."""
    far = [(covariance(noise[k:], noise[:-k]) + covariance(noise[:, k:], noise[:, :-k])) / 2
           for k in FAR]  # the mean of down and right
    return [covariance(noise, noise), *far]


def grey_rows(images: np.ndarray, labels: np.ndarray) -> dict[str, list[float]]:
    """Measure grey level and noise well inside each phase, in 20 slices spread over the stack."""
    chosen = np.unique(np.linspace(0, len(images) - 1, 20).astype(int))
    means, moments, along = [], [], []
    for phase in range(3):
        masks = {i: m for i in chosen if (m := interior(labels[i], phase)).sum() > 500}
        noise = {i: noise_of(images[i], m) for i, m in masks.items()}
        means.append([images[i][m].mean() for i, m in masks.items()])
        moments.append(np.mean([noise_moments(n) for n in noise.values()], 0))
        later = {(i, k): noise_of(images[i + k], interior(labels[i + k], phase))
                 for i in masks for k in FAR if i + k < len(images)}
        along.append([np.mean([covariance(noise[i], n) for (i, k), n in later.items() if k == far])
                      for far in FAR])
    rows = {"mean grey level inside": [np.mean(m) for m in means],
            "its lowest over slices": [min(m) for m in means],
            "its highest over slices": [max(m) for m in means],
            "noise, standard deviation": [m[0] ** 0.5 for m in moments]}
    rows |= {f"noise autocorrelation, lag {k}": [m[i] / m[0] for m in moments]
             for i, k in enumerate(FAR, 1)}
    return rows | {
        f"the same along z, lag {k}": [a[i] / m[0] for a, m in zip(along, moments, strict=True)]
        for i, k in enumerate(FAR)}


def edge_widths(images: np.ndarray, labels: np.ndarray, count: int = 20000,
                seed: int = 0) -> list[float]:
    """Measure over how many voxels the median profile across a flat edge climbs from 10 to 90 %.

    Profiles of edges between pore and YSZ are sampled along the 3-D gradient of the smoothed
    volume and aligned where each crosses 50 %, so that neither slanting edges nor imperfect labels
    widen them. A Gaussian blur of standard deviation s gives 2.56 s.

    Args:
        images: Grey levels (Z, Y, X).
        labels: Class indices (Z, Y, X).
        count: Number of edges, drawn at random.
        seed: Of the drawing.

    Returns:
        The width of all edges, and of those within 32 degrees of facing z, y and x.
    """
    volume, rim = images[:48].astype(np.float32), 10
    inner = labels[:48][(slice(rim, -rim),) * 3]
    places = np.argwhere((inner[:, :, :-1] == 0) & (inner[:, :, 1:] == 1)) + rim
    places = places[np.random.default_rng(seed).permutation(len(places))[:count]]
    slope = np.stack(np.gradient(gaussian_filter(volume, 2)), -1)[tuple(places.T)]
    slope /= np.linalg.norm(slope, axis=1, keepdims=True)
    t = np.arange(-9, 9.01, 0.25)
    points = places[:, None] + t[:, None] * slope[:, None]
    profiles = map_coordinates(volume, points.T, order=3).T
    sides = map_coordinates(labels[:48], points.T, order=0).T
    flat = (sides[:, t < -2] == 0).all(1) & (sides[:, t > 2] == 1).all(1)
    profiles, slope = profiles[flat], slope[flat]
    low, high = (profiles[:, side].mean(1, keepdims=True) for side in (t < -5, t > 5))
    share = (profiles - low) / (high - low)
    middle = np.abs(t) < 3
    centre = [np.interp(0.5, np.maximum.accumulate(s[middle]), t[middle]) for s in share]
    around = np.arange(-5, 5.01, 0.1)
    aligned = np.stack([np.interp(around + c, t, s) for c, s in zip(centre, share, strict=True)])

    def width(chosen: np.ndarray) -> float:
        median = np.median(aligned[chosen], 0) if chosen.any() else np.full(len(around), np.nan)
        return float(np.interp(0.9, median, around) - np.interp(0.1, median, around))

    facing = [np.abs(slope[:, axis]) > 0.85 for axis in range(3)]
    return [width(chosen) for chosen in (np.ones(len(slope), bool), *facing)]


def label_shifts(images: np.ndarray, labels: np.ndarray, levels: list[float]) -> list[float]:
    """Measure how far label edges lie inside the second phase of each of PAIRS, px.

    The median over flat, steep edges along x, from the label's edge to where the lightly smoothed
    image crosses the mean of the two grey levels. Both phases reach 6 px from the edge.

    Args:
        images: Grey levels (Z, Y, X).
        labels: Class indices (Z, Y, X).
        levels: Mean grey level of each phase.
    """
    smoothed = gaussian_filter(images[:48].astype(np.float32), 0.6)
    runs, values = (np.lib.stride_tricks.sliding_window_view(array, 12, axis=2)
                    for array in (labels[:48], smoothed))
    shifts = []
    for pair in PAIRS:
        found = []
        for left, right in (pair, pair[::-1]):
            edges = (runs[..., 5] == left) & (runs[..., 6] == right)
            sides, profile = runs[edges], values[edges]
            flat = (sides[:, :6] == left).all(1) & (sides[:, 6:] == right).all(1)
            rise = profile[flat] - (levels[left] + levels[right]) / 2
            rise = rise / (levels[right] - levels[left])
            crossing = (rise[:, 2:9] < 0) & (rise[:, 3:10] >= 0)
            first = crossing.argmax(1) + 2
            before, after = (np.take_along_axis(rise, (first + k)[:, None], 1)[:, 0]
                             for k in (0, 1))
            steep = (crossing.sum(1) == 1) & (after - before > 0.22)  # 0.28 where an edge faces x
            shift = (first - before / (after - before) - 5.5)[steep]
            found.append(-shift if (left, right) == pair else shift)
        all_found = np.concatenate(found)
        shifts.append(float(np.median(all_found)) if len(all_found) else np.nan)
    return shifts


def closed_share(labels: np.ndarray, phase: int) -> float:
    """Return the share of a phase in pieces that touch neither its rest nor the stack's border."""
    pieces = ndimage.label(labels == phase)[0]
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0  # the other phases
    closed = sizes.copy()
    for axis in range(3):
        closed[np.unique(np.take(pieces, (0, -1), axis))] = 0
    return float(closed.sum() / max(sizes.sum(), 1))


def threshold_dice(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return Dice of each phase, averaged over slices, of a segmentation by two MIDPOINTS."""
    scores = np.empty((len(images), 3))
    for score, image, label in zip(scores, images, labels, strict=True):
        guess = np.digitize(image, MIDPOINTS)
        for phase in range(3):
            mine, theirs = guess == phase, label == phase
            score[phase] = 2 * (mine & theirs).sum() / max(mine.sum() + theirs.sum(), 1)
    return scores.mean(0)


def measure(slices: Slices) -> dict[str, list[float]]:
    """Measure every quantity of the table: one to seven numbers by name (see realism.REAL)."""
    images, labels = np.stack(slices.images), np.stack(slices.labels)
    chords = [np.concatenate([np.repeat(np.arange(len(counts)), counts)
                              for counts in chord_counts(labels, p)]) for p in range(3)]
    lags = label_agreement(labels, [lag for lag in LAGS if lag < len(labels)])
    dice = threshold_dice(images, labels)
    widths = edge_widths(images, labels) if len(images) >= 30 else []
    rows = {"volume fraction": list(volume_fractions(labels, 3)), **grey_rows(images, labels)}
    rows["grey levels, lowest and highest"] = [int(images.min()), int(images.max())]
    rows["edge 10-90 %, voxels"] = widths[:1]
    rows["the same of edges facing z, y, x"] = widths[1:]
    rows["label edges inside the brighter phase, 0-1, 0-2, 1-2, voxels"] = (
        label_shifts(images, labels, rows["mean grey level inside"]))
    area = interface_area(labels, NI_YSZ_VOXEL_NM, 3)
    rows["interface area 0-1, 0-2, 1-2, 1/um"] = list(area.values())
    rows["interfaces crossed along z, y, x, per 100 voxels"] = [
        100 * float(np.mean(np.diff(labels, axis=axis) != 0)) for axis in range(3)]
    rows["in closed pieces, % of the phase"] = [100 * closed_share(labels, p) for p in range(3)]
    rows["mean chord, voxels"] = [c.mean() for c in chords]
    quartiles = [np.percentile(c, (25, 75)) for c in chords]
    rows["chords, lower and upper quartile"] = list(np.concatenate(quartiles))
    rows["label agreement at lags " + ", ".join(map(str, LAGS))] = list(lags.values())
    rows["threshold Dice"] = list(dice)
    return rows | {"threshold Dice, mean": [dice.mean()]}
