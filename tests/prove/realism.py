"""How close the built-in slices come to the real ones: every published figure measured again, and a judge.

    python tests/prove/realism.py BUILTIN_FOLDER [--real FOLDER]

prints a table (Markdown). With a folder of real slices it measures them too, and trains a small network to tell the
two kinds apart: an accuracy of 0.5 means that it cannot.
"""

import argparse

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt, gaussian_filter, map_coordinates
from torch import nn
from torch.nn import functional as F

from xraylib.material.phases import chord_lengths, interface_area, label_agreement, volume_fractions
from xraylib.slices.labelled import PHASES, Slices, load

LAGS = (1, 2, 5, 10, 20, 40, 100)
MIDPOINTS = (28351, 38348)  # half-way between the mean grey levels of pore and YSZ, and of YSZ and nickel
INSIDE = 6  # pixels from the edge of a phase beyond which blur no longer reaches
SLOW = 8  # sigma, in pixels, of what counts as slow drift and not as noise

# Figures of the 500 real slices (De Angelis et al. 2018, doi:10.5281/zenodo.1040274; edge width: Brenne, Dahl &
# Jørgensen 2020, arXiv:2009.07218), and what `measure` below finds on the first 250 of them where nothing is published.
REAL: dict[str, tuple[float, ...]] = {
    "volume fraction": (0.295, 0.434, 0.272),
    "mean grey level inside": (21516, 35186, 41510),
    "its lowest over slices": (21350, 35072, 41378),
    "its highest over slices": (21685, 35321, 41615),
    "noise, standard deviation": (683, 661, 669),
    "noise autocorrelation, lag 1": (0.75, 0.74, 0.74),
    "noise autocorrelation, lag 2": (0.31, 0.27, 0.28),
    "noise autocorrelation, lag 3": (0.05, 0.00, 0.01),
    "grey levels, lowest and highest": (16723, 46900),
    "edge 10-90 %, voxels": (3.7,),
    "interface area 0-1, 0-2, 1-2, 1/um": (1.18, 0.62, 0.94),
    "label agreement at lags " + ", ".join(map(str, LAGS)): (0.977, 0.954, 0.883, 0.777, 0.604, 0.419, 0.351),
    "threshold Dice": (0.974, 0.960, 0.962),
    "threshold Dice, mean": (0.965,),
}
FIRST_250: dict[str, tuple[float, ...]] = {
    "edge 10-90 %, voxels": (3.51,),
    "mean chord, voxels": (33.1, 38.6, 36.2),
    "chords, lower and upper quartile": (16, 43, 16, 51, 17, 49),
}


def interior(labels: np.ndarray, phase: int) -> np.ndarray:
    """Pixels of one slice (H, W) more than INSIDE pixels from any other phase; the slice's border is no edge."""
    padded = np.pad(labels == phase, 1, mode="edge")
    return distance_transform_edt(padded)[1:-1, 1:-1] > INSIDE


def noise_moments(image: np.ndarray, mask: np.ndarray) -> list[float]:
    """Variance of a slice inside `mask` without its slow part, and the covariances 1, 2 and 3 pixels apart."""
    weight = np.maximum(gaussian_filter(mask.astype(float), SLOW), 1e-6)
    rest = np.where(mask, image - gaussian_filter(np.where(mask, image, 0.0), SLOW) / weight, 0)
    moments = [(rest[mask] ** 2).mean()]
    for lag in (1, 2, 3):
        down = (rest[lag:] * rest[:-lag])[mask[lag:] & mask[:-lag]].mean()
        right = (rest[:, lag:] * rest[:, :-lag])[mask[:, lag:] & mask[:, :-lag]].mean()
        moments.append((down + right) / 2)
    return moments


def grey_rows(images: np.ndarray, labels: np.ndarray) -> dict[str, list[float]]:
    """Grey level and noise of each phase well inside it, from at most 20 slices spread over the stack."""
    chosen = np.unique(np.linspace(0, len(images) - 1, 20).astype(int))
    means, moments = [], []
    for phase in range(3):
        masks = {i: m for i in chosen if (m := interior(labels[i], phase)).sum() > 500}
        means.append([images[i][m].mean() for i, m in masks.items()])
        moments.append(np.mean([noise_moments(images[i].astype(float), m) for i, m in masks.items()], 0))
    rows = {"mean grey level inside": [np.mean(m) for m in means],
            "its lowest over slices": [min(m) for m in means],
            "its highest over slices": [max(m) for m in means],
            "noise, standard deviation": [m[0] ** 0.5 for m in moments]}
    return rows | {f"noise autocorrelation, lag {k}": [m[k] / m[0] for m in moments] for k in (1, 2, 3)}


def edge_width(images: np.ndarray, labels: np.ndarray, count: int = 5000, seed: int = 0) -> float:
    """Width in voxels over which the median profile across a flat edge of pore and YSZ climbs from 10 to 90 %.

    Profiles are sampled along the 3-D gradient of the smoothed volume and aligned where each crosses 50 %, so that
    neither slanting edges nor imperfect labels widen them. A Gaussian blur of sigma s gives 2.56 s.
    """
    volume, rim = images[:48].astype(np.float32), 10
    inner = labels[:48][(slice(rim, -rim),) * 3]
    places = np.argwhere((inner[:, :, :-1] == 0) & (inner[:, :, 1:] == 1)) + rim
    places = places[np.random.default_rng(seed).permutation(len(places))[:count]]
    slope = np.stack(np.gradient(gaussian_filter(volume, 2)), -1)[tuple(places.T)]
    t = np.arange(-9, 9.01, 0.25)
    points = places[:, None] + t[:, None] * (slope / np.linalg.norm(slope, axis=1, keepdims=True))[:, None]
    profiles = map_coordinates(volume, points.T, order=3).T
    sides = map_coordinates(labels[:48], points.T, order=0).T
    profiles = profiles[(sides[:, t < -2] == 0).all(1) & (sides[:, t > 2] == 1).all(1)]
    low, high = profiles[:, t < -5].mean(1, keepdims=True), profiles[:, t > 5].mean(1, keepdims=True)
    share = (profiles - low) / (high - low)
    middle = np.abs(t) < 3
    centre = [np.interp(0.5, np.maximum.accumulate(s[middle]), t[middle]) for s in share]
    around = np.arange(-5, 5.01, 0.1)
    median = np.median([np.interp(around + c, t, s) for c, s in zip(centre, share, strict=True)], 0)
    return float(np.interp(0.9, median, around) - np.interp(0.1, median, around))


def threshold_dice(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Dice of each phase, averaged over slices, when grey levels are cut at the two MIDPOINTS."""
    scores = np.empty((len(images), 3))
    for score, image, label in zip(scores, images, labels, strict=True):
        guess = np.digitize(image, MIDPOINTS)
        for phase in range(3):
            mine, theirs = guess == phase, label == phase
            score[phase] = 2 * (mine & theirs).sum() / max(mine.sum() + theirs.sum(), 1)
    return scores.mean(0)


def measure(slices: Slices) -> dict[str, list[float]]:
    """Every quantity of the table for one set of slices: a name and one to seven numbers (see REAL for their order)."""
    images, labels = np.stack(slices.images), np.stack(slices.labels)
    chords = [chord_lengths(labels, p) for p in range(3)]
    lags = label_agreement(labels, [lag for lag in LAGS if lag < len(labels)])
    dice = threshold_dice(images, labels)
    rows = {"volume fraction": list(volume_fractions(labels)), **grey_rows(images, labels)}
    rows["grey levels, lowest and highest"] = [int(images.min()), int(images.max())]
    rows["edge 10-90 %, voxels"] = [edge_width(images, labels)] if len(images) >= 30 else []
    rows["interface area 0-1, 0-2, 1-2, 1/um"] = list(interface_area(labels).values())
    rows["mean chord, voxels"] = [c.mean() for c in chords]
    rows["chords, lower and upper quartile"] = [q for c in chords for q in np.percentile(c, (25, 75))]
    rows["label agreement at lags " + ", ".join(map(str, LAGS))] = list(lags.values())
    rows["threshold Dice"] = list(dice)
    return rows | {"threshold Dice, mean": [dice.mean()]}


def patches(images: np.ndarray, count: int, rng: np.random.Generator, size: int = 64) -> torch.Tensor:
    """`count` random square patches, flipped and transposed at random, float32 (count, 1, size, size) of unit scale."""
    out = np.empty((count, 1, size, size), np.float32)
    for patch in out:
        z, y, x = (rng.integers(0, n + 1) for n in (len(images) - 1, *(n - size for n in images.shape[1:])))
        cut = images[z, y : y + size, x : x + size][:: rng.choice((-1, 1)), :: rng.choice((-1, 1))]
        patch[0] = cut if rng.random() < 0.5 else cut.T
    out += rng.normal(0, 300, (count, 1, 1, 1))  # the level drifts along a volume: no clue that would last
    return torch.from_numpy((out - 32000) / 9000)


def tell_apart(first: np.ndarray, second: np.ndarray, steps: int = 1200, tests: int = 500, seed: int = 0) -> float:
    """Held-out accuracy of a small network that tells 64-pixel patches of two stacks (N, H, W) apart; 0.5 is chance.

    It learns from the first 60 % of the slices of each and is tested on the last 30 %: no slice, and hardly a grain,
    is in both.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    layers = [layer for i, o in ((1, 16), (16, 32), (32, 64), (64, 64)) for layer in
              (nn.Conv2d(i, o, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU())]
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 1))
    optimiser = torch.optim.AdamW(net.parameters(), 2e-3)
    truth = torch.cat([torch.zeros(32), torch.ones(32)])[:, None]
    for _ in range(steps):
        batch = torch.cat([patches(stack[: int(0.6 * len(stack))], 32, rng) for stack in (first, second)])
        loss = F.binary_cross_entropy_with_logits(net(batch), truth)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    net.eval()
    with torch.inference_mode():
        scores = [net(patches(stack[int(0.7 * len(stack)) :], tests, rng)) for stack in (first, second)]
    return float(((scores[0] < 0).float().mean() + (scores[1] >= 0).float().mean()) / 2)


def table(columns: dict[str, dict[str, list[float]]]) -> str:
    """Markdown table of quantities (rows) by source (columns); numbers in the order pore, YSZ, nickel."""
    def text(values: list[float]) -> str:
        return " / ".join(f"{v:.0f}" if abs(v) >= 100 else f"{v:.3g}" if abs(v) >= 1 else f"{v:.3f}" for v in values)

    names = dict.fromkeys(name for column in columns.values() for name in column)
    lines = [f"| quantity ({', '.join(PHASES)}) | " + " | ".join(columns) + " |", "| --- " * (len(columns) + 1) + "|"]
    lines += [f"| {name} | " + " | ".join(text(c.get(name, [])) for c in columns.values()) + " |" for name in names]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Read the folders, print the table, and with --real the judge's accuracy."""
    parser = argparse.ArgumentParser(prog="realism.py", description=__doc__.split("\n")[0])
    parser.add_argument("builtin", help="folder of built-in slices (data/ and labels/)")
    parser.add_argument("--real", help="folder of real slices of the same layout")
    options = parser.parse_args(arguments)
    builtin = load(options.builtin)
    columns = {"real, published": REAL, "real, first 250": FIRST_250, "built-in": measure(builtin)}
    if options.real:
        real = load(options.real)
        columns["real, measured"] = measure(real)
    print(table(columns))
    if options.real:
        accuracy = tell_apart(np.stack(real.images), np.stack(builtin.images))
        print(f"\nA small network tells patches of 64 x 64 apart with an accuracy of {accuracy:.3f} (chance: 0.5).")


if __name__ == "__main__":
    main()
