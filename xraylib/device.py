"""The hardware that networks run on: device, precision, memory format and memory allocation."""

import os
import platform
import time
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def best_device() -> torch.device:
    """Return the GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def has_avx512() -> bool:
    """Say whether PyTorch uses AVX-512 on this CPU (ATEN_CPU_CAPABILITY=avx2 turns it off)."""
    return torch.backends.cpu.get_cpu_capability().startswith("AVX512")


def supports_fast_bf16(device: torch.device) -> bool:
    """Say whether this device multiplies bfloat16 faster than float32."""
    if device.type == "cuda":  # Colab's T4 stays with float32: gradients in float16 underflow
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return has_avx512() and bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def autocast(device: torch.device) -> torch.autocast:
    """Run convolutions in bfloat16 where that is fast; weights and losses stay in float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=supports_fast_bf16(device))


def precision_name(device: torch.device) -> str:
    """Name the precision that `autocast` computes in."""
    return "bf16 autocast" if supports_fast_bf16(device) else "float32"


def inference_memory_format(device: torch.device) -> torch.memory_format:
    """Return the fastest format for predictions: channels_last, except on a GPU in float32."""
    slow = device.type == "cuda" and not supports_fast_bf16(device)
    return torch.contiguous_format if slow else torch.channels_last


def training_memory_format(device: torch.device, width: int,
                           whole_slices: bool) -> torch.memory_format:
    """Return the memory format in which this device trains fastest.
    Args:
        device, width, whole_slices: The device; channels of the first layer; True without crops.
    """
    # On such a CPU, channels_last slows the backward pass up to 1.7 times (tools/bench/RESULTS.md).
    if device.type == "cpu" and not has_avx512() and (width >= 32 or whole_slices):
        return torch.contiguous_format
    return inference_memory_format(device)


@cache
def keep_freed_memory() -> Tensor:
    """Let the C library keep up to 256 MB of freed memory; return a tensor that must stay alive.

    Otherwise a prediction spends a third of its time requesting memory pages that it had before.
    glibc keeps blocks up to the size of the largest block ever freed (at most 32 MB, mallopt(3)),
    but gives back the end of its heap, so the returned tensor occupies it. No block is written to.
    """
    block = 2**25 - 2**17
    torch.empty(block, dtype=torch.uint8)
    blocks = [torch.empty(block, dtype=torch.uint8) for _ in range(8)]
    end = torch.empty(2**20, dtype=torch.uint8)
    blocks.clear()
    return end


@cache
def _most_threads() -> int:
    """Return how many threads PyTorch was given at the start: OMP_NUM_THREADS, or all cores."""
    return torch.get_num_threads()


def set_threads(n: int = 0) -> int:
    """Let PyTorch use n threads (0: all, or one if that is faster now); return the number.

    Threads wait for each other after every operation. If another program is busy, one thread is
    always late, and a step takes 3 to 17 times as long as on one thread (tools/bench/RESULTS.md).
    """
    most = _most_threads()
    candidates = [min(n, most)] if n else sorted({most, 1})
    seconds = {each: _seconds_of_small_steps(each) for each in candidates if len(candidates) > 1}
    chosen = min(seconds, key=seconds.__getitem__, default=candidates[0])
    torch.set_num_threads(chosen)
    return chosen


def _seconds_of_small_steps(threads: int) -> float:
    """Time a few training steps of two small convolutions on this many threads."""
    torch.set_num_threads(threads)
    with torch.random.fork_rng(devices=[]):
        layers = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3))
    images = torch.zeros(8, 8, 64, 64)
    for step in range(9):
        if step == 1:  # the first step only warms up
            start = time.perf_counter()
        layers(images).sum().backward()
    return time.perf_counter() - start


def environment_info() -> dict[str, str | int | None]:
    """Describe the versions and the hardware of this process, for config.json."""
    device = best_device()
    return {"python": platform.python_version(), "torch": torch.__version__,
            "numpy": np.__version__,
            "device": torch.cuda.get_device_name() if device.type == "cuda" else "CPU",
            "processor": platform.processor() or platform.machine(), "cores": os.cpu_count(),
            "threads": torch.get_num_threads(), "precision": precision_name(device)}
