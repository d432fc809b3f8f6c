"""Train the same five networks in each number format of this machine; compare with the published.

    python tools/prove/precisions.py     notebook 1's network; 6 minutes per format on 2 cores

Prints the Dice of each seed, and fails if the means of two formats differ by a tenth of a point.
"""

import os
import subprocess
import sys
import tempfile
from itertools import combinations

import numpy as np
import torch

from xraylib import device
from xraylib.datasets import open_dataset
from xraylib.params import configure
from xraylib.published import published
from xraylib.runs import run_experiment

SEEDS = range(5)
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}


def formats() -> dict[str, dict[str, str]]:
    """Return the formats of this machine, and the variables that make a process compute in each."""
    here = {"float32 with AVX2": AVX2 | {"FLOAT32": "1"}}
    if device.has_avx512():
        here["float32 with AVX-512"] = {"FLOAT32": "1"}
    if device.supports_fast_bf16(torch.device("cpu")):
        here["bf16"] = {}
    return here


def train_one(seed: int) -> None:
    """Train, in a process of its own, and print Dice of validation and test set in per cent."""
    if os.environ.get("FLOAT32"):
        device.supports_fast_bf16 = lambda _: False
    config = configure("01_baseline", profile="laptop", seed=seed)
    run = run_experiment(config, open_dataset("laptop"), progress=False)
    print(100 * run.scores["val"].mean, 100 * run.scores["test"].mean)


def dice_of_seeds(variables: dict[str, str]) -> np.ndarray:
    """Return Dice in per cent, (seeds, 2): validation and test set."""
    rows = []
    with tempfile.TemporaryDirectory() as home:
        environment = os.environ | variables | {"XRAYLIB_HOME": home, "TQDM_DISABLE": "1"}
        for seed in SEEDS:
            done = subprocess.run([sys.executable, __file__, str(seed)], check=True,
                                  capture_output=True, text=True, env=environment)
            rows.append([float(word) for word in done.stdout.split()[-2:]])
    return np.array(rows)


def main() -> None:
    """Compare all formats."""
    found = {"bf16, as published": np.array([
        [100 * run.scores[part].mean for part in ("val", "test")]
        for run in published("01_baseline")])}
    found |= {name: dice_of_seeds(variables) for name, variables in formats().items()}
    for name, dice in found.items():
        (val, test), (val_sd, test_sd) = dice.mean(0), dice.std(0, ddof=1)
        seeds = ", ".join(f"{value:.2f}" for value in dice[:, 1])
        print(f"{name}: validation set {val:.3f} ± {val_sd:.3f}, test set {test:.3f} ± "
              f"{test_sd:.3f} % over {len(dice)} seeds ({seeds})", flush=True)
    for names in combinations(found, 2):
        first, second = (found[name].mean(0) for name in names)
        assert (abs(first - second) < 0.1).all(), names


if __name__ == "__main__":
    train_one(int(sys.argv[1])) if len(sys.argv) > 1 else main()
