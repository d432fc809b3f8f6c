"""Compare the built-in slices with the real ones: published figures, a judge and transfer.

    python tools/prove/realism.py BUILTIN_FOLDER [--real FOLDER]

prints a table in Markdown. With a folder of real slices it measures these too, trains small
networks to tell the two kinds apart (an accuracy of 0.5 means that they cannot), and scores
networks of the laptop profile, which have seen built-in slices only, on the real ones.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from stack_statistics import LAGS, measure
from torch import Tensor, nn
from torch.nn import functional as F

from xraylib.checkpoint import train_with_checkpoints
from xraylib.data import NI_YSZ, Slices
from xraylib.datasets import load_slices, split_slices
from xraylib.experiments import EXPERIMENTS
from xraylib.inference import load_weights
from xraylib.metrics import evaluate
from xraylib.params import PROFILES
from xraylib.tables import markdown_table

COUNTS = EXPERIMENTS["01_baseline"].counts
SEEDS = (0, 1, 2)  # of the judges, and of the networks that are scored on the real slices

# Figures of the 500 real slices (De Angelis et al. 2018, doi:10.5281/zenodo.1040274; edge width:
# Brenne, Dahl & Jørgensen 2020, arXiv:2009.07218). FIRST_250 is what `measure` finds on the first
# 250 of them where nothing is published.
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
    "label agreement at lags " + ", ".join(map(str, LAGS)): (
        0.977, 0.954, 0.883, 0.777, 0.604, 0.419, 0.351),
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


def random_patches(images: np.ndarray, count: int, rng: np.random.Generator) -> Tensor:
    """Draw square patches, flipped and transposed at random, float32 (count, 1, 64, 64)."""
    size = 64
    out = np.empty((count, 1, size, size), np.float32)
    for patch in out:
        highest = len(images) - 1, *(n - size for n in images.shape[1:])
        z, y, x = (rng.integers(0, n + 1) for n in highest)
        cut = images[z, y : y + size, x : x + size][:: rng.choice((-1, 1)), :: rng.choice((-1, 1))]
        patch[0] = cut if rng.random() < 0.5 else cut.T
    out += rng.normal(0, 300, (count, 1, 1, 1))  # the level drifts along a volume: no lasting clue
    return torch.from_numpy((out - 32000) / 9000)


def judge_network() -> nn.Sequential:
    """Make a small network that gives each patch one logit."""
    layers = [layer for i, o in ((1, 16), (16, 32), (32, 64), (64, 64)) for layer in
              (nn.Conv2d(i, o, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU())]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 1))


def tell_apart(first: np.ndarray, second: np.ndarray, steps: int = 1200, tests: int = 500,
               seed: int = 0) -> float:
    """Train a small network to tell 64-pixel patches of two stacks apart.

    It learns from the first 60 % of the slices of each stack and is tested on the last 30 %, so no
    slice, and hardly a grain, is in both. Its learning rate falls to 0. With a constant rate the
    accuracy would depend on when training stops.

    Args:
        first, second: Grey levels (N, H, W).
        steps: Training steps of 64 patches.
        tests: Test patches of each stack.
        seed: Of the weights and of the patches.

    Returns:
        The accuracy on the test patches; 0.5 is chance.
    """
    torch.manual_seed(seed)
    rng, net = np.random.default_rng(seed), judge_network()
    optimiser = torch.optim.AdamW(net.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    truth = torch.cat([torch.zeros(32), torch.ones(32)])[:, None]
    for _ in range(steps):
        batch = torch.cat([random_patches(stack[: int(0.6 * len(stack))], 32, rng)
                           for stack in (first, second)])
        loss = F.binary_cross_entropy_with_logits(net(batch), truth)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    net.eval()
    with torch.inference_mode():
        scores = [net(random_patches(stack[int(0.7 * len(stack)) :], tests, rng))
                  for stack in (first, second)]
    return float(((scores[0] < 0).float().mean() + (scores[1] >= 0).float().mean()) / 2)


def transfer(builtin: Slices, real: Slices, seed: int) -> tuple[float, np.ndarray]:
    """Train a laptop network on built-in slices.

    Returns:
        Its best Dice on built-in validation slices, and its Dice on real slices by blocks of 50.
    """
    train, val = split_slices(builtin, *COUNTS, "random", seed)
    with TemporaryDirectory() as folder:
        history, _ = train_with_checkpoints(Path(folder), PROFILES["laptop"], train, val, seed,
                                            progress=False)
        dice = evaluate(load_weights(Path(folder) / "model.safetensors"), real).image_dice
    blocks = [dice[i : i + 50].mean() for i in range(0, len(dice), 50)]
    return max(row["dice"] for row in history), np.array(blocks)


def three_digits(value: float) -> str:
    """Write a number with three digits."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3{'g' if abs(value) >= 1 else 'f'}}"


def table(columns: dict[str, dict[str, list[float]]]) -> str:
    """Make a Markdown table of quantities (rows) by source (columns), phases in the usual order."""
    header = [f"quantity ({', '.join(NI_YSZ.names)})", *columns]
    names = dict.fromkeys(name for column in columns.values() for name in column)
    rows = [[" / ".join(map(three_digits, column.get(name, []))) for column in columns.values()]
            for name in names]
    return markdown_table(header, [[name, *row] for name, row in zip(names, rows, strict=True)])


def main(arguments: list[str] | None = None) -> None:
    """Read the folders, print the table, and with --real the judge's accuracy."""
    parser = argparse.ArgumentParser(prog="realism.py", description=__doc__.split("\n")[0])
    parser.add_argument("builtin", help="folder of built-in slices (data/ and labels/)")
    parser.add_argument("--real", help="folder of real slices of the same layout")
    options = parser.parse_args(arguments)
    builtin = load_slices(options.builtin)
    columns = {"real, published": REAL, "real, first 250": FIRST_250, "built-in": measure(builtin)}
    if options.real:
        real = load_slices(options.real)
        columns["real, measured"] = measure(real)
    print(table(columns))
    if options.real:
        stacks = [np.stack(slices.images) for slices in (real, builtin)]
        found = [tell_apart(*stacks, seed=seed) for seed in SEEDS]
        print("\nSmall networks tell patches of 64 x 64 px apart with an accuracy of "
              f"{np.mean(found):.3f} (chance: 0.5); by seed", " ".join(f"{f:.3f}" for f in found))
        for seed in SEEDS:
            val, blocks = transfer(builtin, real, seed)
            print(f"Seed {seed}: Dice {100 * val:.2f} on built-in slices, "
                  f"{100 * blocks.mean():.2f} on real ones; by blocks of 50:",
                  " ".join(f"{100 * block:.2f}" for block in blocks))


if __name__ == "__main__":
    main()
