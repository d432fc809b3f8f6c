"""How close the built-in slices come to the real ones: every published figure measured again, a judge, and transfer.

    python tests/prove/realism.py BUILTIN_FOLDER [--real FOLDER]

prints a table (Markdown). With a folder of real slices it measures them too, trains small networks to tell the two
kinds apart (an accuracy of 0.5 means that they cannot), and scores networks of the laptop profile, which have seen
built-in slices only, on the real ones.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from scipy import ndimage
from scipy.ndimage import distance_transform_edt, gaussian_filter, map_coordinates
from torch import nn
from torch.nn import functional as F

from xraylib.experiments import EXPERIMENTS
from xraylib.material.phases import chord_lengths, interface_area, label_agreement, volume_fractions
from xraylib.predict.network import load_weights
from xraylib.predict.scores import evaluate
from xraylib.runs.checkpoint import train_in
from xraylib.runs.profiles import RECIPES
from xraylib.slices.labelled import PHASES, Slices, load
from xraylib.slices.sets import split

LAGS = (1, 2, 5, 10, 20, 40, 100)
MIDPOINTS = (28351, 38348)  # half-way between the mean grey levels of pore and YSZ, and of YSZ and nickel
INSIDE = 6  # pixels from the edge of a phase beyond which blur no longer reaches
SLOW = 8  # sigma, in pixels, of what counts as slow drift and not as noise
FAR = (1, 2, 3, 5)  # pixels, or slices, apart at which the noise is compared with itself
PAIRS = ((0, 1), (0, 2), (1, 2))
COUNTS = EXPERIMENTS["01_baseline"].counts
SEEDS = (0, 1, 2)  # of the judges, and of the networks that are carried over to the real slices

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
    "noise autocorrelation, lag 5": (0.05, 0.02, 0.02),
    "the same along z, lag 1": (0.63, 0.64, 0.63),
    "the same along z, lag 2": (0.19, 0.16, 0.16),
    "the same along z, lag 3": (0.08, 0.06, 0.06),
    "the same along z, lag 5": (0.10, 0.10, 0.09),
    "edge 10-90 %, voxels": (3.51,),
    "the same of edges facing z, y, x": (3.19, 3.61, 3.65),
    "label edges inside the brighter phase, 0-1, 0-2, 1-2, voxels": (0.35, 0.13, 0.00),
    "interfaces crossed along z, y, x, per 100 voxels": (2.43, 2.68, 2.46),
    "in closed pieces, % of the phase": (1.26, 0.25, 1.81),
    "mean chord, voxels": (33.1, 38.6, 36.2),
    "chords, lower and upper quartile": (16, 43, 16, 51, 17, 49),
}


def interior(labels: np.ndarray, phase: int) -> np.ndarray:
    """Pixels of one slice (H, W) more than INSIDE pixels from any other phase; the slice's border is no edge."""
    padded = np.pad(labels == phase, 1, mode="edge")
    return distance_transform_edt(padded)[1:-1, 1:-1] > INSIDE


def noise_of(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A slice less its slow part, inside `mask`, and 0 outside; float64."""
    weight = np.maximum(gaussian_filter(mask.astype(float), SLOW), 1e-6)
    return np.where(mask, image - gaussian_filter(np.where(mask, image, 0.0), SLOW) / weight, 0)


def covariance(first: np.ndarray, second: np.ndarray) -> float:
    """Mean product of two arrays of noise where both are inside their phase."""
    both = (first != 0) & (second != 0)
    return float((first[both] * second[both]).mean())


def noise_moments(noise: np.ndarray) -> list[float]:
    """Variance of a slice of `noise_of`, and its covariances FAR pixels apart, mean of down and right."""
    far = [(covariance(noise[k:], noise[:-k]) + covariance(noise[:, k:], noise[:, :-k])) / 2 for k in FAR]
    return [covariance(noise, noise), *far]


def grey_rows(images: np.ndarray, labels: np.ndarray) -> dict[str, list[float]]:
    """Grey level and noise of each phase well inside it, from at most 20 slices spread over the stack."""
    chosen = np.unique(np.linspace(0, len(images) - 1, 20).astype(int))
    means, moments, along = [], [], []
    for phase in range(3):
        masks = {i: m for i in chosen if (m := interior(labels[i], phase)).sum() > 500}
        noise = {i: noise_of(images[i], m) for i, m in masks.items()}
        means.append([images[i][m].mean() for i, m in masks.items()])
        moments.append(np.mean([noise_moments(n) for n in noise.values()], 0))
        later = {(i, k): noise_of(images[i + k], interior(labels[i + k], phase))
                 for i in masks for k in FAR if i + k < len(images)}
        along.append([np.mean([covariance(noise[i], n) for (i, k), n in later.items() if k == far]) for far in FAR])
    rows = {"mean grey level inside": [np.mean(m) for m in means],
            "its lowest over slices": [min(m) for m in means],
            "its highest over slices": [max(m) for m in means],
            "noise, standard deviation": [m[0] ** 0.5 for m in moments]}
    rows |= {f"noise autocorrelation, lag {k}": [m[i] / m[0] for m in moments] for i, k in enumerate(FAR, 1)}
    return rows | {f"the same along z, lag {k}": [a[i] / m[0] for a, m in zip(along, moments, strict=True)]
                   for i, k in enumerate(FAR)}


def edge_widths(images: np.ndarray, labels: np.ndarray, count: int = 20000, seed: int = 0) -> list[float]:
    """Width in voxels over which the median profile across a flat edge of pore and YSZ climbs from 10 to 90 %.

    Of all edges, and of those within 32 degrees of facing z, y and x. Profiles are sampled along the 3-D gradient of
    the smoothed volume and aligned where each crosses 50 %, so that neither slanting edges nor imperfect labels widen
    them. A Gaussian blur of sigma s gives 2.56 s.
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
    low, high = profiles[:, t < -5].mean(1, keepdims=True), profiles[:, t > 5].mean(1, keepdims=True)
    share = (profiles - low) / (high - low)
    middle = np.abs(t) < 3
    centre = [np.interp(0.5, np.maximum.accumulate(s[middle]), t[middle]) for s in share]
    around = np.arange(-5, 5.01, 0.1)
    aligned = np.stack([np.interp(around + c, t, s) for c, s in zip(centre, share, strict=True)])

    def width(chosen: np.ndarray) -> float:
        median = np.median(aligned[chosen], 0) if chosen.any() else np.full(len(around), np.nan)
        return float(np.interp(0.9, median, around) - np.interp(0.1, median, around))

    return [width(np.ones(len(slope), bool)), *(width(np.abs(slope[:, axis]) > 0.85) for axis in range(3))]


def label_shifts(images: np.ndarray, labels: np.ndarray, levels: list[float]) -> list[float]:
    """How far label edges lie inside the second phase of each of PAIRS, pixels: the median over flat, steep edges.

    Measured along x, from the label's edge to where the image, lightly smoothed, crosses the mean of the two grey
    `levels`; both phases reach 6 pixels from the edge.
    """
    smoothed = gaussian_filter(images[:48].astype(np.float32), 0.6)
    runs, values = (np.lib.stride_tricks.sliding_window_view(a, 12, axis=2) for a in (labels[:48], smoothed))
    shifts = []
    for pair in PAIRS:
        found = []
        for left, right in (pair, pair[::-1]):
            edges = (runs[..., 5] == left) & (runs[..., 6] == right)
            sides, profile = runs[edges], values[edges]
            flat = (sides[:, :6] == left).all(1) & (sides[:, 6:] == right).all(1)
            rise = (profile[flat] - (levels[left] + levels[right]) / 2) / (levels[right] - levels[left])
            crossing = (rise[:, 2:9] < 0) & (rise[:, 3:10] >= 0)
            first = crossing.argmax(1) + 2
            before, after = (np.take_along_axis(rise, (first + k)[:, None], 1)[:, 0] for k in (0, 1))
            steep = (crossing.sum(1) == 1) & (after - before > 0.22)  # 0.28 where an edge faces x
            shift = (first - before / (after - before) - 5.5)[steep]
            found.append(-shift if (left, right) == pair else shift)
        all_found = np.concatenate(found)
        shifts.append(float(np.median(all_found)) if len(all_found) else np.nan)
    return shifts


def closed_share(labels: np.ndarray, phase: int) -> float:
    """Share of the volume of a phase in pieces that touch neither the rest of it nor the border of the stack."""
    pieces = ndimage.label(labels == phase)[0]
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0  # what is not of this phase
    closed = sizes.copy()
    for axis in range(3):
        closed[np.unique(np.take(pieces, (0, -1), axis))] = 0
    return float(closed.sum() / max(sizes.sum(), 1))


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
    widths = edge_widths(images, labels) if len(images) >= 30 else []
    rows = {"volume fraction": list(volume_fractions(labels)), **grey_rows(images, labels)}
    rows["grey levels, lowest and highest"] = [int(images.min()), int(images.max())]
    rows["edge 10-90 %, voxels"] = widths[:1]
    rows["the same of edges facing z, y, x"] = widths[1:]
    rows["label edges inside the brighter phase, 0-1, 0-2, 1-2, voxels"] = (
        label_shifts(images, labels, rows["mean grey level inside"]))
    rows["interface area 0-1, 0-2, 1-2, 1/um"] = list(interface_area(labels).values())
    rows["interfaces crossed along z, y, x, per 100 voxels"] = [
        100 * float(np.mean(np.diff(labels, axis=axis) != 0)) for axis in range(3)]
    rows["in closed pieces, % of the phase"] = [100 * closed_share(labels, p) for p in range(3)]
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
    is in both. Its learning rate falls to 0: at a constant one the accuracy depends on when training stops.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    layers = [layer for i, o in ((1, 16), (16, 32), (32, 64), (64, 64)) for layer in
              (nn.Conv2d(i, o, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU())]
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 1))
    optimiser = torch.optim.AdamW(net.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    truth = torch.cat([torch.zeros(32), torch.ones(32)])[:, None]
    for _ in range(steps):
        batch = torch.cat([patches(stack[: int(0.6 * len(stack))], 32, rng) for stack in (first, second)])
        loss = F.binary_cross_entropy_with_logits(net(batch), truth)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    net.eval()
    with torch.inference_mode():
        scores = [net(patches(stack[int(0.7 * len(stack)) :], tests, rng)) for stack in (first, second)]
    return float(((scores[0] < 0).float().mean() + (scores[1] >= 0).float().mean()) / 2)


def transfer(builtin: Slices, real: Slices, seed: int) -> tuple[float, np.ndarray]:
    """Dice of a laptop-profile network on built-in validation slices (its best), and on real slices by blocks of 50."""
    train, val = split(builtin, *COUNTS, "random", seed)
    with TemporaryDirectory() as folder:
        history, _ = train_in(Path(folder), RECIPES["laptop"], train, val, seed, show=False)
        dice = evaluate(load_weights(Path(folder) / "model.safetensors"), real).dice.mean(1)
    return max(row["dice"] for row in history), np.array([dice[i : i + 50].mean() for i in range(0, len(dice), 50)])


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
        stacks = [np.stack(slices.images) for slices in (real, builtin)]
        found = [tell_apart(*stacks, seed=seed) for seed in SEEDS]
        print(f"\nSmall networks tell patches of 64 x 64 apart with an accuracy of {np.mean(found):.3f} (chance: 0.5);",
              "by seed", " ".join(f"{f:.3f}" for f in found))
        for seed in SEEDS:
            val, blocks = transfer(builtin, real, seed)
            print(f"Seed {seed}: Dice {100 * val:.2f} on built-in slices, {100 * blocks.mean():.2f} on real ones;",
                  "by blocks of 50:", " ".join(f"{100 * b:.2f}" for b in blocks))


if __name__ == "__main__":
    main()
