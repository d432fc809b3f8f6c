"""The hardware that networks run on: device, precision, memory format and memory allocation."""

import os
import platform
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor


def best_device() -> torch.device:
    """Return the GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def has_avx512() -> bool:
    """Say whether PyTorch uses AVX-512 on this CPU (ATEN_CPU_CAPABILITY=avx2 turns it off)."""
    return torch.backends.cpu.get_cpu_capability().startswith("AVX512")


def supports_fast_bf16(device: torch.device) -> bool:
    """Say whether this device multiplies bfloat16 faster than float32.

    A GPU that does not, as Colab's T4, uses float32, because gradients in float16 underflow.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return has_avx512() and bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def autocast(device: torch.device) -> AbstractContextManager:
    """Run convolutions in bfloat16 where that is fast; weights and losses stay in float32."""
    fast = supports_fast_bf16(device)
    return torch.autocast(device.type, torch.bfloat16) if fast else nullcontext()


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

    On a CPU without AVX-512, the backward pass of a wide network or of whole slices is up to 1.7
    times slower in channels_last (measured in tools/bench/RESULTS.md).
    Args:
        device, width: where the network is trained, and the channels of its first layer.
        whole_slices: whether it is trained on whole slices instead of crops.
    """
    if device.type == "cpu" and not has_avx512() and (width >= 32 or whole_slices):
        return torch.contiguous_format
    return inference_memory_format(device)


@cache
def keep_freed_memory() -> Tensor:
    """Let the C library keep up to 256 MB of freed memory; return what must stay for that.

    By default, glibc returns large blocks and the end of its heap to the system and requests the
    same pages again, which takes a third of a prediction's time. It keeps blocks up to the size of
    the largest one it has seen freed (at most 32 MB, see M_MMAP_THRESHOLD in mallopt(3)), so we
    free one first. The small tensor then ends the heap, so that the freed blocks do not. Nothing
    is written to them: they take no memory until later tensors fill them.
    """
    block = 2**25 - 2**17
    torch.empty(block, dtype=torch.uint8)
    blocks = [torch.empty(block, dtype=torch.uint8) for _ in range(8)]
    end = torch.empty(2**20, dtype=torch.uint8)
    blocks.clear()
    return end


def environment_info() -> dict[str, str | int | None]:
    """Describe the versions and the hardware of this process, for config.json."""
    device = best_device()
    return {"python": platform.python_version(), "torch": torch.__version__,
            "numpy": np.__version__,
            "device": torch.cuda.get_device_name() if device.type == "cuda" else "CPU",
            "processor": platform.processor() or platform.machine(), "cores": os.cpu_count(),
            "threads": torch.get_num_threads(), "precision": precision_name(device)}
