"""A network at work: the device, precision and memory format it runs in, its weights on disk, what it predicts."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..files import replace, said
from ..slices.labelled import PHASES
from ..unet import DoubleConv, UNet
from .tiles import inner_of, neighbours, reach_of, seen_by, slab_of, spans, tile_side

LIMITS = {                                # of a network's size: least and greatest
    "width": (1, 512), "depth": (1, 6), "n_classes": (len(PHASES),) * 2, "dims": (2, 3), "context": (0, 8),
}


class WeightsError(RuntimeError):
    """A weights file is missing or damaged; the message names it and says what to do."""


# -- what it runs on --------------------------------------------------------------------------------------------------


def best_device() -> torch.device:
    """A GPU when there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def has_avx512() -> bool:
    """Whether PyTorch uses AVX-512 on this CPU (ATEN_CPU_CAPABILITY=avx2 keeps it from doing so)."""
    return torch.backends.cpu.get_cpu_capability().startswith("AVX512")


def fast_bf16(device: torch.device) -> bool:
    """Whether this device multiplies bfloat16 faster than float32: asked, not assumed.

    A GPU without it (Colab's T4) trains in float32: float16 would be faster on it, but its gradients underflow unless
    the loss is scaled, one more thing in the training loop, for a laptop run of a few seconds there. The precision of
    a run stands in its config.json and in its notebook.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    return has_avx512() and bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def autocast(device: torch.device) -> AbstractContextManager:
    """bfloat16 convolutions where the device is fast at them; weights, batch-norm statistics and loss stay float32."""
    return torch.autocast(device.type, torch.bfloat16) if fast_bf16(device) else nullcontext()


def precision(device: torch.device) -> str:
    """What `autocast` computes in, for people."""
    return "bf16 autocast" if fast_bf16(device) else "float32"


def prediction_format(device: torch.device, dims: int = 2) -> torch.memory_format:
    """channels_last, which every CPU predicts faster in; contiguous on a GPU that computes in float32."""
    if device.type == "cuda" and not fast_bf16(device):
        return torch.contiguous_format
    return torch.channels_last_3d if dims == 3 else torch.channels_last


def training_format(device: torch.device, width: int, whole: bool, dims: int = 2) -> torch.memory_format:
    """As `prediction_format`, but for a wide network or whole slices on a CPU without AVX-512.

    There the backward pass is up to 1.7 times slower in channels_last (measured in tests/bench/RESULTS.md).
    """
    if device.type == "cpu" and not has_avx512() and (width >= 32 or whole):
        return torch.contiguous_format
    return prediction_format(device, dims)


@cache
def keep_freed_memory() -> Tensor:
    """Let the C library keep up to 256 MB of freed tensors for the next ones; once a process, nothing is set.

    glibc gives large blocks and the end of its heap back to the system, and gets them again page by page: a third of
    the time of a prediction. What is large it learns from the largest block that it has seen freed, 32 MB at most
    (mallopt(3), M_MMAP_THRESHOLD), so one is freed. Then as many as make 256 MB are taken from the heap and freed
    before a small one, the returned tensor, which stays: they are no longer the end. Nothing of it is touched, so only
    what tensors fill later takes memory.
    """
    block = 2**25 - 2**17
    torch.empty(block, dtype=torch.uint8)
    blocks = [torch.empty(block, dtype=torch.uint8) for _ in range(8)]
    end = torch.empty(2**20, dtype=torch.uint8)
    blocks.clear()
    return end


# -- weights ----------------------------------------------------------------------------------------------------------


def save_weights(model: UNet, path: Path, half: bool = False) -> None:
    """Weights as safetensors; the header says what network they fit.

    ``half`` stores the convolutions as float16: half the size, for the snapshots that the sliders show.
    """
    header = {name: str(getattr(model, name)) for name in ("width", "depth", "n_classes", "padding", "dims", "context")}
    tensors = {name: (tensor.half() if half and tensor.ndim > 1 else tensor).contiguous()
               for name, tensor in model.state_dict().items()}
    replace(path, lambda part: save_file(tensors, part, header))


def load_weights(path: str | Path) -> UNet:
    """The network of a weights file, in evaluation mode, on the best device.

    Raises `WeightsError`, also for a network that is larger than any (`LIMITS`) and for numbers that it cannot hold.
    """
    try:
        if not Path(path).is_file():
            raise FileNotFoundError("there is no file of that name")
        with open(path, "rb"), safe_open(path, "pt") as file:           # which calls missing what may not be read
            header = {"dims": 2, "context": 0} | file.metadata()                # older files have neither
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        size = {name: int(header[name]) for name in LIMITS}
        for name, (low, high) in LIMITS.items():
            if not low <= size[name] <= high:
                raise ValueError(f"its {name} is {size[name]}, not from {low} to {high}")
        with torch.device("meta"):                              # whatever the header says, this takes no memory
            model = UNet(**size, padding=header["padding"])
        floats = {name: tensor.float() for name, tensor in tensors.items() if tensor.is_floating_point()}
        real = {name for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
        model.load_state_dict(tensors | floats, assign=True)
        variances = [tensor for name, tensor in floats.items() if name.endswith("running_var")]
        if real != set(floats) or not all(tensor.isfinite().all() for tensor in floats.values()):
            raise ValueError("it holds numbers that are not finite, or of a wrong type")
        if model.grey[1] <= 0 or any((tensor < 0).any() for tensor in variances):
            raise ValueError("it holds a deviation or a variance that cannot be")
    except (OSError, SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path} is no weights file of this library, or damaged ({said(error)}); train the run "
                           "again, or name the model.safetensors of a complete run.") from error
    return model.to(best_device()).eval()


@torch.no_grad()
def recollected(model: UNet, images: Sequence[np.ndarray]) -> UNet:
    """A copy whose batch-norm statistics are those of these images; its weights stay, and no label is asked for.

    ``images``: raw grey levels, N arrays uint16 (H, W) (Schneider et al. 2020, arXiv:2006.16971).
    """
    device, model = next(model.parameters()).device, deepcopy(model).train()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.momentum = None                                # the plain mean over all images
    for image in images:
        with autocast(device):
            model(with_margin(model, torch.from_numpy(image).to(device).float()[None, None]))
    return model.eval()


# -- prediction -------------------------------------------------------------------------------------------------------


def folded(model: UNet) -> UNet:
    """A copy to predict with: each batch norm is folded into the convolution before it. The same function, faster."""
    keep_freed_memory()
    model = deepcopy(model).eval()
    for block in [block.layers for block in model.modules() if isinstance(block, DoubleConv)]:
        for conv in (0, 3):
            block[conv], block[conv + 1] = fuse_conv_bn_eval(block[conv], block[conv + 1]), nn.Identity()
    return model.to(memory_format=prediction_format(next(model.parameters()).device, model.dims))


def with_margin(model: UNet, images: Tensor) -> Tensor:
    """The pixels that a network without padding needs around an image, mirrored at its edges: (B, 1, H, W).

    Where an image is smaller than the margin, it is mirrored again, as `augment.mirrored` does.
    """
    if model.margin == 0:
        return images
    rows, columns = (torch.from_numpy(np.pad(np.arange(side), model.margin, "reflect")).to(images.device)
                     for side in images.shape[-2:])
    return images[..., rows[:, None], columns]


def logits_of_stack(model: UNet, grey: Tensor) -> Tensor:
    """Logits (D, n_classes, H, W) of neighbouring slices, grey levels float (D + 2 context, H, W)."""
    x = grey[None, None] if model.dims == 3 else grey.unfold(0, 1 + 2 * model.context, 1).permute(0, 3, 1, 2)
    with autocast(grey.device):
        logits = model(with_margin(model, x))
    return logits[0].transpose(0, 1) if model.dims == 3 else logits


@torch.inference_mode()
def tiled_logits(model: UNet, read: Callable[[int, slice], np.ndarray], n: int, shape: tuple[int, int], part: range,
                 side: int = 0) -> Iterator[tuple[slice, slice, Tensor]]:
    """Rows, columns and logits (D, n_classes, rows, columns) of each tile of D slices, in order, without overlap.

    A tile sees as far around it as the network looks, and begins where a pooling window begins: its logits are those
    of the whole slices at once, so that no seams are there to be blended (the overlap-tile strategy of Ronneberger et
    al. 2015, Figure 2). ``model``: as `folded` gives it; ``read``: rows of one of the ``n`` neighbouring slices, all of
    this ``shape``; ``part``: which of them, for a 3-D network from a multiple of the poolings' step; ``side``: px of a
    tile (0: as memory allows).
    """
    reach, device, seen = reach_of(model), next(model.parameters()).device, seen_by(model, part, n)
    inner = inner_of(model, side or tile_side(model, len(seen)))
    first = part.start - seen[0] if model.dims == 3 else 0
    for rows, high in spans(shape[0], inner, reach):
        band = np.stack([read(index, high) for index in seen])
        for columns, wide in spans(shape[1], inner, reach):
            window = torch.from_numpy(np.ascontiguousarray(band[..., wide]))
            logits = logits_of_stack(model, window.to(device).float())[first:first + len(part)]
            top, left = rows.start - high.start, columns.start - wide.start
            yield rows, columns, logits[..., top:top + rows.stop - rows.start, left:left + columns.stop - columns.start]


@torch.inference_mode()
def logits_of(model: UNet, images: Sequence[np.ndarray]) -> Iterator[tuple[slice, Tensor]]:
    """Whole slices, a few at a time: which ones, and their logits (B, n_classes, H, W).

    ``images``: raw grey levels, N arrays uint16 (H, W); for a network that sees neighbours, the neighbouring slices of
    a volume in their order. A batch takes about the same memory whatever its size and network, on a CPU so little that
    a 2-D network's features stay in the cache.
    """
    device, model, n, (height, width) = next(model.parameters()).device, folded(model), len(images), images[0].shape
    if model.dims == 3:
        for part, _ in spans(n, slab_of(model, n), 0):
            logits = torch.empty(part.stop - part.start, model.n_classes, height, width, device=device)
            for rows, columns, tile in tiled_logits(model, lambda index, rows: images[index][rows], n, (height, width),
                                                    range(n)[part]):
                logits[..., rows, columns] = tile
            yield part, logits
        return
    batch = max(1, 2**(26 if device.type == "cuda" else 22) // (model.width * height * width))
    for part, _ in spans(n, batch, 0):
        seen = neighbours(range(n)[part], model.context, n)
        yield part, logits_of_stack(model, torch.from_numpy(np.stack([images[i] for i in seen])).to(device).float())


def predict(model: UNet, images: Sequence[np.ndarray]) -> np.ndarray:
    """The most probable phase of each pixel: raw grey levels, N of uint16 (H, W) -> class indices uint8 (N, H, W)."""
    return np.concatenate([logits.argmax(1).byte().cpu().numpy() for _, logits in logits_of(model, images)])
