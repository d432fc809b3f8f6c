"""Time a sweep of six runs of notebook 4 in this process, on one worker and on two, in turn.

Laptop profile, 5 training slices.
"""

import os
import tempfile
import time
from pathlib import Path

from bench import report

from xraylib.datasets import Dataset, open_dataset
from xraylib.files import home
from xraylib.sweep import parameter_grid, run_sweep

NAMES = {0: "in this process, all cores", 1: "one worker, all cores",
         2: "two workers, half the cores each"}


def seconds(dataset: Dataset, built_in: Path, workers: int) -> float:
    """Return the time of the sweep in an empty home, with the start of the workers."""
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["XRAYLIB_HOME"] = temporary
        (Path(temporary) / "data").mkdir()
        (Path(temporary) / "data" / "built-in").symlink_to(built_in)
        configs = parameter_grid("04_size_sweep", {"seed": range(6)}, profile="laptop", n_train=5,
                                 n_val=10)
        start = time.perf_counter()
        run_sweep(configs, dataset, workers=workers)
        return time.perf_counter() - start


if __name__ == "__main__":
    dataset, built_in = open_dataset("laptop"), (home() / "data" / "built-in").resolve()
    before = os.environ.get("XRAYLIB_HOME")
    times = {workers: seconds(dataset, built_in, workers) for workers in NAMES}
    os.environ.pop("XRAYLIB_HOME") if before is None else os.environ.update(XRAYLIB_HOME=before)
    header = ["6 runs", "seconds", "speed against one worker", "extra seconds per run"]
    report("sweeps", header, [
        [NAMES[workers], f"{value:.0f}", f"{times[1] / value:.2f}",
         f"{(value - times[0]) / 6:+.1f}"] for workers, value in times.items()], times=times)
