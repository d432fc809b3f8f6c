"""Shared by the benchmarks: timing in turn, and tables with the JSON beside them."""

import json
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from xraylib.device import best_device, environment_info
from xraylib.files import home
from xraylib.tables import markdown_table

OUT = home() / "build" / "bench"


def seconds_in_turn(rounds: int, **candidates: Callable[[], object]) -> dict[str, float]:
    """Return the median time of each candidate; they run A B A B after one uncounted round."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(rounds + 1):
        for name, call in candidates.items():
            start = time.perf_counter()
            call()
            if best_device().type == "cuda":
                torch.cuda.synchronize()
            if turn:
                times[name].append(time.perf_counter() - start)
    return {name: float(np.median(values)) for name, values in times.items()}


def memory() -> float:
    """Return the memory that this process holds now, GB (Linux)."""
    status = Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in status if line.startswith("VmRSS")]
    return int(line.split()[1]) * 1024 / 1e9


def report(name: str, header: list[str], rows: list[list[str]], **numbers) -> None:
    """Print the table; write the table and the numbers to build/bench/<name>.json."""
    OUT.mkdir(parents=True, exist_ok=True)
    content = {"date": time.strftime("%Y-%m-%d"), **environment_info(),
               "system": platform.platform(), "table": [header, *rows], **numbers}
    (OUT / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
    print(f"\n## {name}\n\n{markdown_table(header, rows)}\n", flush=True)
