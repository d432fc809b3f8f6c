"""Trained networks: weights on disk, batch-norm statistics and predictions."""

import json
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import asdict
from math import inf, isfinite, prod
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .data import NI_YSZ, GreyScale, Phases
from .device import best_device, inference_memory_format, keep_freed_memory
from .errors import ParameterError, WeightsError, one_line_message
from .files import REINSTALL, atomic_file, load_plugins, packaged_data
from .tiles import add_margin, stack_logits, tile_spans, tiled_logits
from .unet import DoubleConv, UNet

# Every network class that weights files can name. Plugins add theirs.
NETWORKS: dict[str, type[UNet]] = {"UNet": UNet}
LIMITS = {"width": (1, 512), "depth": (1, 6), "n_classes": (2, 256)}    # smallest and largest


def save_weights(model: UNet, path: Path, half: bool = False) -> None:
    """Write weights as safetensors, with a header that describes the network and its phases.
    Args:
        model, path, half: the network; the file; whether to store convolutions as float16.
    Raises: ParameterError if the network's numbers of classes and of phases differ.
    """
    phases = getattr(model, "phases", NI_YSZ)
    if len(phases) != model.n_classes:
        raise ParameterError(f"The network has {model.n_classes} classes, but its phases are "
                             f"{', '.join(phases.names)}; set model.phases.")
    facts = {name: str(getattr(model, name)) for name in (*LIMITS, "padding")}
    facts |= {"network": type(model).__name__, "phases": json.dumps(phases.to_dict())}
    if hasattr(model, "grey_quantiles"):
        facts |= {"grey_scale": json.dumps(asdict(model.grey_scale)),
                  "grey_quantiles": json.dumps(model.grey_quantiles.round(1).tolist())}
    tensors = {name: (tensor.half() if half and tensor.ndim > 1 else tensor).contiguous()
               for name, tensor in model.state_dict().items()}
    header, content = _split(save(tensors))
    ordered = {"__metadata__": dict(sorted(facts.items()))}       # safetensors shuffles it
    text = json.dumps(ordered | header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)                               # tensors start at a multiple of 8
    with atomic_file(path) as file:
        file.write(len(text).to_bytes(8, "little") + text + content)


def _split(content: bytes) -> tuple[dict, bytes]:
    """Split a safetensors file into its header and the bytes of its tensors."""
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


def load_weights(path: str | Path) -> UNet:
    """Read a network from a weights file, see `read_weights`."""
    try:
        content = Path(path).read_bytes() if Path(path).is_file() else b""
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({one_line_message(error)}).") from error
    return read_weights(content, path)


def read_weights(content: bytes, path: str | Path) -> UNet:
    """Build a network with its `phases` from the content of a weights file, on the best device.

    Raises: WeightsError if the content is empty, damaged or foreign, or the network is too large.
    """
    try:
        if not content:
            raise ValueError("it is empty" if Path(path).is_file() else "there is no such file")
        tensors = load(content)
        facts = _split(content)[0].get("__metadata__", {})
        model = _meta_network(facts)
        floats = {name: part.float() for name, part in tensors.items() if part.is_floating_point()}
        expected = {name for name, part in model.state_dict().items() if part.is_floating_point()}
        model.load_state_dict(tensors | floats, assign=True)
        if set(floats) != expected or not all(part.isfinite().all() for part in floats.values()):
            raise ValueError("it holds numbers that are not finite, or of a wrong type")
        variances = [part for name, part in floats.items() if name.endswith("running_var")]
        if floats["grey"][1] <= 0 or any((part < 0).any() for part in variances):
            raise ValueError("it holds an impossible standard deviation or variance")
        model.grey_scale, model.grey_quantiles = _grey_levels(facts, *model.grey.tolist())
    except (SafetensorError, RuntimeError, LookupError, AttributeError, TypeError,
            ValueError) as error:
        remedy = REINSTALL if Path(path).is_relative_to(packaged_data() / "published") else (
            "Train the run again, or name the weights file of a complete run.")
        raise WeightsError(f"{path} is not a weights file of this library, or it is damaged "
                           f"({one_line_message(error)}). {remedy}") from error
    return model.to(best_device()).eval()


def _meta_network(facts: dict[str, str]) -> UNet:
    """Build the network that a header describes, without memory for its weights."""
    sizes = {name: int(facts[name]) for name in LIMITS}
    for name, (low, high) in LIMITS.items():
        if not low <= sizes[name] <= high:
            raise ValueError(f"its {name} is {sizes[name]}, not from {low} to {high}")
    phases = Phases.from_dict(json.loads(facts["phases"])) if "phases" in facts else NI_YSZ
    n, values = sizes["n_classes"], [range(2**16).index(value) for value in phases.values]
    found = len(phases), len(values), phases.palette().shape
    if found != (n, n, (n, 3)):
        raise ValueError(f"its n_classes is {n}, but its phases are {phases}")
    network = facts.get("network") or _network_of_old_header(facts)
    if network not in NETWORKS:
        load_plugins()
    if network not in NETWORKS:
        raise ValueError(f"its network {network} is not installed (known: {', '.join(NETWORKS)})")
    with torch.device("meta"):
        model = NETWORKS[network](**sizes, padding=facts["padding"])
    model.phases = phases
    return model


def _grey_levels(facts: dict[str, str], mean: float, std: float) -> tuple[GreyScale, np.ndarray]:
    """Read scale and quantiles of grey levels; old files hold mean and standard deviation only."""
    scale = GreyScale(**json.loads(facts.get("grey_scale", "{}")))
    shares = torch.linspace(0, 1, 101).clamp(5e-4, 0.9995)
    quantiles = (np.array(json.loads(facts["grey_quantiles"]), float) if "grey_quantiles" in facts
                 else mean + std * torch.special.ndtri(shares).numpy())
    possible = (quantiles.shape == (101,) and np.isfinite(quantiles).all()
                and (np.diff(quantiles) >= 0).all() and np.dtype(scale.dtype).kind in "uif"
                and 0 < scale.gain < inf and isfinite(scale.offset))
    if not possible:
        raise ValueError("its grey levels are impossible")
    return scale, quantiles


def _network_of_old_header(facts: dict[str, str]) -> str:
    """Name the network of a header written before version 1.0."""
    dims, context = int(facts.get("dims", 2)), int(facts.get("context", 0))
    for name, size, low, high in (("dims", dims, 2, 3), ("context", context, 0, 2)):
        if size not in (low, high):
            raise ValueError(f"its {name} is {size}, not {low} or {high}")
    return "UNet3D" if dims == 3 else "UNet25D" if context else "UNet"


@torch.no_grad()
def recalibrate_batch_norm(model: UNet, images: Sequence[np.ndarray]) -> UNet:
    """Copy a network and give it the batch-norm statistics of images, uint16 (H, W) each.

    The weights stay the same, and no label is needed (Schneider et al. 2020, arXiv:2006.16971).
    """
    if model.sees_neighbours:
        raise ParameterError(f"A {type(model).__name__} sees neighbouring slices; only a network "
                             "of single slices can be recalibrated. Use a UNet.")
    device, model = model.grey.device, deepcopy(model).train()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.momentum = None                                # the plain mean over all images
    for image in images:
        stack_logits(model, torch.from_numpy(image)[None].to(device).float())
    return model.eval()


def fuse_batch_norm(model: UNet) -> UNet:
    """Copy a network for prediction and fuse each batch norm into its convolution, for speed."""
    keep_freed_memory()
    model = deepcopy(model).eval()
    for block in [block.layers for block in model.modules() if isinstance(block, DoubleConv)]:
        for index in (0, 3):
            block[index] = fuse_conv_bn_eval(block[index], block[index + 1])
            block[index + 1] = nn.Identity()
    return model.to(memory_format=inference_memory_format(model.grey.device))


@torch.inference_mode()
def logits_of(model: UNet, images: Sequence[np.ndarray]) -> Iterator[tuple[slice, Tensor]]:
    """Predict whole slices, uint16 (H, W) each, in batches that fit into the cache of a CPU.

    Returns: The slices of each batch, as a `slice`, and their logits (B, n_classes, H, W).
    """
    device, n, shape = model.grey.device, len(images), images[0].shape
    largest = max(prod(image.shape) for image in images)
    model = fuse_batch_norm(model)
    if model.slab_size(2) > 1:                                             # a 3-D network
        for part, _ in tile_spans(n, model.slab_size(n), 0):
            logits = torch.empty(part.stop - part.start, model.n_classes, *shape, device=device)
            for rows, columns, tile in tiled_logits(
                    model, lambda index, rows: images[index][rows], n, shape, range(n)[part]):
                logits[..., rows, columns] = tile
            yield part, logits
        return
    batch = max(1, 2**(26 if device.type == "cuda" else 22) // (model.width * largest))
    if any(image.shape != shape for image in images):
        batch = 1                                                          # sizes differ
    for part, _ in tile_spans(n, batch, 0):
        needed = np.stack([images[i] for i in model.slices_needed(range(n)[part], n)])
        yield part, stack_logits(model, torch.from_numpy(needed).to(device).float())


def predict(model: UNet, images: Sequence[np.ndarray]) -> np.ndarray:
    """Return the most probable class of each pixel, uint8 (N, H, W); arguments: see `logits_of`.

    Slices of different sizes give an array (N,) of arrays uint8 (H, W).
    """
    parts = [logits.argmax(1).byte().cpu().numpy() for _, logits in logits_of(model, images)]
    if len({part.shape[1:] for part in parts}) == 1:
        return np.concatenate(parts)
    masks = np.empty(len(parts), object)
    for index, part in enumerate(parts):
        masks[index] = part[0]
    return masks


@torch.no_grad()
def first_features(model: UNet, image: np.ndarray) -> np.ndarray:
    """Normalise the channels of the first convolution like batch norm, without its scale and shift.

    Returns: float32 (width, H, W). In training, each channel has mean 0 and standard deviation 1.
    """
    caught: list[Tensor] = []
    conv, norm = model.stem.layers[:2]
    with conv.register_forward_hook(lambda _layer, _x, y: caught.append(y.float())):
        model(add_margin(model, torch.from_numpy(image)[None, None].to(conv.weight.device).float()))
    features = caught[0][..., :image.shape[0], :image.shape[1]]     # without the padding
    normalised = F.batch_norm(features, norm.running_mean, norm.running_var, eps=norm.eps)
    return normalised[0].cpu().numpy()


def receptive_field(model: UNet) -> int:
    """Return the side, px, of the square that one prediction depends on: 188 px at depth 4.

    With weights of 1 and mean pooling, the gradient of an output pixel is not 0 in this square.
    """
    model = UNet(1, model.depth).eval()
    for weights in model.parameters():
        nn.init.ones_(weights)
    for down in model.down:
        down.pool = nn.AvgPool2d(2)
    side = 2**(model.depth + 4)
    x = torch.ones(1, 1, side, side, requires_grad=True)
    model(x)[0, 0, side // 2, side // 2].backward()
    return int((x.grad[0, 0] != 0).any(0).sum())
