"""Time a training step and a prediction against plain float32, in turn; give our share of the peak.

Plain is what a program without this library does: float32, contiguous memory. (Both keep freed
memory, because the C library's thresholds, once they have risen, hold for all of a process.)

    python tools/bench/steps.py                  as this processor can
    ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 python tools/bench/steps.py
                                                 as a processor without AVX-512 can
"""

from contextlib import nullcontext
from functools import partial
from typing import NamedTuple

import torch
from bench import memory, report, seconds_in_turn
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from xraylib.augment import cut_windows, random_places
from xraylib.datasets import built_in
from xraylib.device import autocast, best_device, supports_fast_bf16, training_memory_format
from xraylib.inference import logits_of
from xraylib.losses import total_loss
from xraylib.params import PROFILES
from xraylib.training import Recipe, make_optimiser
from xraylib.unet import UNet

DEVICE = best_device()
SLICES = built_in(48, 501, 0)
IMAGES, LABELS = (
    [torch.from_numpy(array).to(DEVICE) for array in arrays]
    for arrays in (SLICES.images, SLICES.labels))
DTYPE = torch.bfloat16 if supports_fast_bf16(DEVICE) else torch.float32


class Setting(NamedTuple):
    """A network and its optimiser, and a batch to train them on."""

    model: UNet
    optimiser: torch.optim.Optimizer
    images: Tensor
    labels: Tensor
    ours: bool  # False: plain float32


def step(setting: Setting) -> None:
    """Take one step as `training.train` does; plain: without autocast."""
    model, optimiser, images, labels, ours = setting
    with autocast(DEVICE) if ours else nullcontext():
        logits = model(images)
    loss = total_loss(logits, labels)
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()


def random_crops(chosen: torch.Tensor, side: int, flips: bool,
                 generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut a random crop from each chosen slice, as training does."""
    shapes = [IMAGES[index].shape for index in chosen.tolist()]
    return cut_windows(IMAGES, LABELS, chosen, random_places(shapes, side, flips, generator))


def make_setting(recipe: Recipe, side: int, ours: bool) -> Setting:
    """Make a network and its optimiser, as `training` does or plain (contiguous), and a batch."""
    torch.manual_seed(0)
    fast = training_memory_format(DEVICE, recipe.width, whole_slices=recipe.crop == 0)
    memory_format = fast if ours else torch.contiguous_format
    model = UNet(recipe.width, recipe.depth).to(DEVICE, memory_format=memory_format)
    chosen = torch.arange(recipe.batch) % len(IMAGES)
    generator = torch.Generator().manual_seed(0)
    images, labels = random_crops(chosen, side, False, generator)
    if side == 512:  # slices of 501 px, with the 11 px that make them 512
        images, labels = (nn.functional.pad(part.float(), (0, 11, 0, 11)).to(part.dtype)
                          for part in (images, labels))
    model.grey.copy_(torch.stack([images.mean(), images.std()]))
    return Setting(model, make_optimiser(model, recipe, 10**6)[0], images, labels, ours)


def count_flops(setting: Setting) -> int:
    """Count the floating-point operations of one step: every convolution forward and backward."""
    with FlopCounterMode(display=False) as counter:
        total_loss(setting.model(setting.images), setting.labels).backward()
    return counter.get_total_flops()


def peak_flops(rounds: int) -> float:
    """Measure the FLOP/s of a 3 x 3 convolution 64 -> 64 on 512 x 512 px, in our precision."""
    channels_last = torch.channels_last
    conv = nn.Conv2d(64, 64, 3, padding=1, bias=False)
    conv = conv.to(DEVICE, DTYPE, memory_format=channels_last)
    x = torch.randn(1, 64, 512, 512, device=DEVICE, dtype=DTYPE).to(memory_format=channels_last)
    with torch.inference_mode():
        seconds = seconds_in_turn(rounds, conv=lambda: [conv(x) for _ in range(10)])["conv"] / 10
    return 2 * 64 * 64 * 9 * 512 * 512 / seconds


def time_training(rows: list, numbers: dict) -> None:
    """Compare training steps of the poster's and of the laptop network."""
    laptop, paper = PROFILES["laptop"], PROFILES["paper"]
    for name, recipe, side, rounds in (
            ("poster's, 64 x 4", paper, 512, 3), ("laptop", laptop, laptop.crop, 15)):
        plain, ours = (make_setting(recipe, side, fast) for fast in (False, True))
        before = peak_flops(5)
        seconds = seconds_in_turn(rounds, plain=partial(step, plain), ours=partial(step, ours))
        peak, flops = max(before, peak_flops(5)), count_flops(ours)
        share = flops / seconds["ours"] / peak
        rows.append([
            f"training step, {name}, {recipe.batch} of {side} px",
            f"{1e3 * seconds['plain']:.0f} ms", f"{1e3 * seconds['ours']:.0f} ms",
            f"{seconds['plain'] / seconds['ours']:.2f}",
            f"{share:.0%} of {peak / 1e9:.0f} GFLOP/s"])
        numbers[f"step {name}"] = seconds | {"flops": flops, "peak": peak, "share": share}


@torch.inference_mode()
def predict_plainly(model: UNet, images: Tensor) -> None:
    """Predict slices one by one, without this library."""
    for image in images:
        model(image[None])


def predict_as_library(model: UNet, images) -> None:
    """Predict slices as the library does."""
    for _ in logits_of(model, images):
        pass


def time_prediction(rows: list, numbers: dict) -> None:
    """Compare predictions of slices by the laptop and by the poster's network."""
    for name, width, depth, count, rounds in (
            ("laptop network", 16, 2, 8, 7), ("poster's, 64 x 4", 64, 4, 2, 3)):
        torch.manual_seed(0)
        plain = UNet(width, depth).to(DEVICE).eval()
        ours = UNet(width, depth).to(DEVICE)
        x = torch.stack(IMAGES[:count]).float().unsqueeze(1)
        seconds = seconds_in_turn(
            rounds, plain=partial(predict_plainly, plain, x),
            ours=partial(predict_as_library, ours, SLICES.images[:count]))
        rows.append([
            f"prediction of a slice of 501 x 501 px, {name}",
            f"{1e3 * seconds['plain'] / count:.0f} ms", f"{1e3 * seconds['ours'] / count:.0f} ms",
            f"{seconds['plain'] / seconds['ours']:.2f}", ""])
        numbers[f"predict {name}"] = seconds


def time_overhead(rows: list, numbers: dict) -> None:
    """Measure the crops and flips of a laptop step, and the memory over many steps."""
    recipe = PROFILES["laptop"]
    ours, generator = make_setting(recipe, recipe.crop, True), torch.Generator().manual_seed(0)
    chosen = torch.arange(recipe.batch) % len(IMAGES)
    cut = partial(random_crops, chosen, recipe.crop, True, generator)
    seconds = seconds_in_turn(30, step=partial(step, ours), crops=cut)
    share = seconds["crops"] / (seconds["step"] + seconds["crops"])
    rows.append(["crops, flips and transfer of a laptop step", "",
                 f"{1e3 * seconds['crops']:.1f} ms", "", f"{share:.1%} of the step"])
    numbers["overhead"] = seconds
    start = memory()
    for index in range(2000):
        images, labels = cut()
        step(ours._replace(images=images, labels=labels))
        if index == 100:
            start = memory()
    rows.append(["memory after 100 and after 2,000 laptop steps", f"{start:.2f} GB",
                 f"{memory():.2f} GB", "", ""])
    numbers["memory"] = [start, memory()]


if __name__ == "__main__":
    rows, numbers = [], {}
    time_overhead(rows, numbers)
    time_training(rows, numbers)
    time_prediction(rows, numbers)
    report("steps", ["", "plain float32", "ours", "ratio", "share"], rows, **numbers)
