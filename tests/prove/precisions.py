"""Number formats: the same five trainings in each that this machine computes in, and as published (bf16).

    python tests/prove/precisions.py     notebook 1's network; 6 minutes a format on 2 cores

Says the Dice of each seed, and fails where the means of two formats are a tenth of a point apart.
"""

import os
import subprocess
import sys
import tempfile
from itertools import combinations

import numpy as np
import torch

from xraylib.predict import network
from xraylib.runs.folder import execute, published
from xraylib.runs.profiles import configure
from xraylib.slices.sets import open_source

SEEDS = range(5)
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}


def formats() -> dict[str, dict[str, str]]:
    """The formats that this machine has, and what makes a process compute in each."""
    here = {"float32 with AVX2": AVX2 | {"FLOAT32": "1"}}
    if network.has_avx512():
        here["float32 with AVX-512"] = {"FLOAT32": "1"}
    if network.fast_bf16(torch.device("cpu")):
        here["bf16"] = {}
    return here


def one(seed: int) -> None:
    """In a process of its own: train, and say the Dice of the validation slices and of the test block, per cent."""
    if os.environ.get("FLOAT32"):
        network.fast_bf16 = lambda device: False
    run = execute(configure("01_baseline", profile="laptop", seed=seed), open_source("laptop"), bar=False)
    print(100 * run.scores["val"].mean, 100 * run.scores["test"].mean)


def main() -> None:
    found = {"bf16, as published": np.array([
        [100 * run.scores[part].mean for part in ("val", "test")] for run in published("01_baseline")])}
    for name, how in formats().items():
        rows = []
        with tempfile.TemporaryDirectory() as home:
            for seed in SEEDS:
                done = subprocess.run([sys.executable, __file__, str(seed)], check=True, capture_output=True, text=True,
                                      env=os.environ | how | {"XRAYLIB_HOME": home, "TQDM_DISABLE": "1"})
                rows.append([float(word) for word in done.stdout.split()[-2:]])
        found[name] = np.array(rows)
    for name, dice in found.items():
        (val, test), (val_sd, test_sd) = dice.mean(0), dice.std(0, ddof=1)
        print(f"{name}: validation {val:.3f} ± {val_sd:.3f}, test block {test:.3f} ± {test_sd:.3f} % over {len(dice)} "
              f"seeds ({', '.join(f'{value:.2f}' for value in dice[:, 1])})", flush=True)
    for names in combinations(found, 2):
        first, second = (found[name].mean(0) for name in names)
        assert (abs(first - second) < 0.1).all(), names


if __name__ == "__main__":
    one(int(sys.argv[1])) if len(sys.argv) > 1 else main()
