"""A network at work: the device it runs on, its weights on disk, what it predicts."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .unet import DoubleConv, UNet


class WeightsError(RuntimeError):
    """A weights file is missing or damaged; the message names it and says what to do."""


def best_device() -> torch.device:
    """A GPU when there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fast_bf16(device: torch.device) -> bool:
    """Whether this device multiplies bfloat16 faster than float32: asked, not assumed."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def autocast(device: torch.device) -> AbstractContextManager:
    """bfloat16 convolutions where the device is fast at them; weights, batch-norm statistics and loss stay float32."""
    return torch.autocast(device.type, torch.bfloat16) if fast_bf16(device) else nullcontext()


# -- weights ----------------------------------------------------------------------------------------------------------


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write(temporary path)`` write a file, then put it in place at once: whole or not at all."""
    part = path.with_name(f"{path.name}.part{os.getpid()}")
    try:
        write(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def save_weights(model: UNet, path: Path, half: bool = False) -> None:
    """Weights as safetensors; the header says what network they fit.

    ``half`` stores the convolutions as float16: half the size, for the snapshots that the sliders show.
    """
    header = {name: str(getattr(model, name)) for name in ("width", "depth", "n_classes", "padding")}
    tensors = {name: (tensor.half() if half and tensor.ndim == 4 else tensor).contiguous()
               for name, tensor in model.state_dict().items()}
    replace(path, lambda part: save_file(tensors, part, header))


def load_weights(path: str | Path) -> UNet:
    """The network of a weights file, in evaluation mode, on the best device. Raises `WeightsError`."""
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        model = UNet(int(header["width"]), int(header["depth"]), int(header["n_classes"]), header["padding"])
        model.load_state_dict(tensors)
    except (OSError, SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path} is no weights file of this library, or damaged ({error}); train the run again, or "
                           "name the model.safetensors of a complete run.") from error
    return model.to(best_device(), memory_format=torch.channels_last).eval()


# -- prediction -------------------------------------------------------------------------------------------------------


def folded(model: UNet) -> UNet:
    """A copy to predict with: each batch norm is folded into the convolution before it. The same function, faster."""
    model = deepcopy(model).eval()
    for block in [block.layers for block in model.modules() if isinstance(block, DoubleConv)]:
        for conv in (0, 3):
            block[conv], block[conv + 1] = fuse_conv_bn_eval(block[conv], block[conv + 1]), nn.Identity()
    return model.to(memory_format=torch.channels_last)


@torch.inference_mode()
def logits_of(model: UNet, images: np.ndarray) -> Iterator[tuple[slice, Tensor]]:
    """Whole slices, a few at a time: which ones, and their logits (B, n_classes, H, W).

    ``images``: raw grey levels, uint16 (N, H, W). A batch takes about the same memory whatever its size and network,
    on a CPU so little that its features stay in the cache.
    """
    device, model = next(model.parameters()).device, folded(model)
    batch = max(1, 2**(26 if device.type == "cuda" else 22) // (model.width * images[0].size))
    for start in range(0, len(images), batch):
        part = slice(start, start + batch)
        with autocast(device):
            yield part, model(torch.from_numpy(images[part]).to(device).float().unsqueeze(1))


def predict(model: UNet, images: np.ndarray) -> np.ndarray:
    """The most probable phase of every pixel: raw grey levels uint16 (N, H, W) -> class indices uint8 (N, H, W)."""
    return np.concatenate([logits.argmax(1).byte().cpu().numpy() for _, logits in logits_of(model, images)])
