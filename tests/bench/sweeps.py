"""A grid of six runs of notebook 4 (5 slices, laptop profile) in this process, on one worker and on two: in turn."""

import os
import tempfile
import time

from bench import report

from xraylib.files import home as home_of
from xraylib.runs import sweep
from xraylib.slices import sets


def seconds(source: sets.Source, data: str, workers: int) -> float:
    """The time of the whole sweep in an empty home, the start of the workers included."""
    with tempfile.TemporaryDirectory() as home:
        os.environ["XRAYLIB_HOME"] = home
        os.makedirs(f"{home}/data")
        os.symlink(data, f"{home}/data/built-in")
        configs = sweep.grid("04_size_sweep", {"seed": range(6)}, profile="laptop", n_train=5, n_val=10)
        start = time.perf_counter()
        sweep.sweep(configs, source, workers=workers)
        return time.perf_counter() - start


if __name__ == "__main__":
    source, data = sets.open_source("laptop"), str((home_of() / "data" / "built-in").resolve())
    before = os.environ.get("XRAYLIB_HOME")
    times = {workers: seconds(source, data, workers) for workers in (0, 1, 2)}
    os.environ.pop("XRAYLIB_HOME") if before is None else os.environ.update(XRAYLIB_HOME=before)
    names = {0: "in this process, all cores", 1: "one worker, all cores", 2: "two workers, half the cores each"}
    report("sweeps", ["6 runs", "seconds", "against one worker", "more than in this process, s a run"], [
        [names[workers], f"{value:.0f}", f"{times[1] / value:.2f}", f"{(value - times[0]) / 6:+.1f}"]
        for workers, value in times.items()], times=times)
