"""One training step and one prediction: ours against plain fp32, in turn; the share of the hardware's own ceiling.

Plain is what a program without this library does: fp32, contiguous. (Both keep freed memory: the C library's
thresholds, once they have risen, hold for the whole process.)

    python tests/bench/steps.py                                                              as this processor can
    ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 python tests/bench/steps.py     as one without AVX-512 would
"""

from functools import partial

import torch
from bench import memory, report, seconds_in_turn
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from xraylib.dice import total_loss
from xraylib.predict.network import autocast, best_device, fast_bf16, logits_of, training_format
from xraylib.runs.profiles import RECIPES
from xraylib.slices.sets import built_in
from xraylib.train import Recipe, crops, optimiser_of
from xraylib.unet import UNet

DEVICE = best_device()
SLICES = built_in(48, 501, 0)
IMAGES, LABELS = ([torch.from_numpy(array).to(DEVICE) for array in arrays] for arrays in (SLICES.images, SLICES.labels))
DTYPE = torch.bfloat16 if fast_bf16(DEVICE) else torch.float32


def step(model: UNet, optimiser, batch, target, fast: bool) -> None:
    """One step as in `train.fit`; plain: without autocast."""
    if fast:
        with autocast(DEVICE):
            logits = model(batch)
    else:
        logits = model(batch)
    loss = total_loss(logits, target)
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()


def setting(recipe: Recipe, side: int, fast: bool):
    """A model and its optimiser, as `train.new_unet` makes them, or plain (contiguous); and a batch."""
    torch.manual_seed(0)
    ours = training_format(DEVICE, recipe.width, whole=recipe.crop == 0)
    memory_format = ours if fast else torch.contiguous_format
    model = UNet(recipe.width, recipe.depth).to(DEVICE, memory_format=memory_format)
    generator = torch.Generator().manual_seed(0)
    batch, target = crops(IMAGES, LABELS, torch.arange(recipe.batch) % len(IMAGES), side, False, generator)
    if side == 512:                                    # whole slices, with the 11 px that make them 512
        batch, target = (nn.functional.pad(each.float(), (0, 11, 0, 11)).to(each.dtype) for each in (batch, target))
    model.grey.copy_(torch.stack([batch.mean(), batch.std()]))
    return model, optimiser_of(model, recipe, 10**6)[0], batch, target, fast


def flops_of(model: UNet, batch, target) -> int:
    """Floating-point operations of one step: every convolution forward and backward."""
    with FlopCounterMode(display=False) as counter:
        total_loss(model(batch), target).backward()
    return counter.get_total_flops()


def ceiling(rounds: int) -> float:
    """FLOP/s of a 3x3 convolution 64 -> 64 on 512 x 512, channels_last, in the precision that we use."""
    conv = nn.Conv2d(64, 64, 3, padding=1, bias=False).to(DEVICE, DTYPE, memory_format=torch.channels_last)
    x = torch.randn(1, 64, 512, 512, device=DEVICE, dtype=DTYPE).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        seconds = seconds_in_turn(rounds, conv=lambda: [conv(x) for _ in range(10)])["conv"] / 10
    return 2 * 64 * 64 * 9 * 512 * 512 / seconds


def training(rows: list, numbers: dict) -> None:
    laptop, paper = RECIPES["laptop"], RECIPES["paper"]
    for name, recipe, side, rounds in (("poster's, 64 x 4", paper, 512, 3), ("laptop", laptop, laptop.crop, 15)):
        plain, ours = (setting(recipe, side, fast) for fast in (False, True))
        before = ceiling(5)
        seconds = seconds_in_turn(rounds, plain=partial(step, *plain), ours=partial(step, *ours))
        peak, flops = max(before, ceiling(5)), flops_of(*ours[:1], *ours[2:4])
        share = flops / seconds["ours"] / peak
        rows.append([f"training step, {name}, {recipe.batch} of {side} px", f"{1e3 * seconds['plain']:.0f} ms",
                     f"{1e3 * seconds['ours']:.0f} ms", f"{seconds['plain'] / seconds['ours']:.2f}",
                     f"{share:.0%} of {peak / 1e9:.0f} GFLOP/s"])
        numbers[f"step {name}"] = seconds | {"flops": flops, "ceiling": peak, "share": share}


@torch.inference_mode()
def one_by_one(model: UNet, images: torch.Tensor) -> None:
    for image in images:
        model(image[None])


def all_of(model: UNet, images) -> None:
    for _ in logits_of(model, images):
        pass


def prediction(rows: list, numbers: dict) -> None:
    for name, width, depth, count, rounds in (("laptop network", 16, 2, 8, 7), ("poster's, 64 x 4", 64, 4, 2, 3)):
        torch.manual_seed(0)
        plain = UNet(width, depth).to(DEVICE).eval()
        ours = UNet(width, depth).to(DEVICE)
        x = torch.stack(IMAGES[:count]).float().unsqueeze(1)
        seconds = seconds_in_turn(rounds, plain=partial(one_by_one, plain, x),
                                  ours=partial(all_of, ours, SLICES.images[:count]))
        rows.append([f"prediction of a slice of 501 x 501, {name}", f"{1e3 * seconds['plain'] / count:.0f} ms",
                     f"{1e3 * seconds['ours'] / count:.0f} ms", f"{seconds['plain'] / seconds['ours']:.2f}", ""])
        numbers[f"predict {name}"] = seconds


def overhead(rows: list, numbers: dict) -> None:
    """Everything but the network in a laptop step, which is crops and flips; and the memory over many steps."""
    recipe = RECIPES["laptop"]
    ours, generator = setting(recipe, recipe.crop, True), torch.Generator().manual_seed(0)
    chosen = torch.arange(recipe.batch) % len(IMAGES)
    seconds = seconds_in_turn(30, step=partial(step, *ours),
                              crops=partial(crops, IMAGES, LABELS, chosen, recipe.crop, True, generator))
    rows.append(["crops, flips and transfer of a laptop step", "", f"{1e3 * seconds['crops']:.1f} ms", "",
                 f"{seconds['crops'] / (seconds['step'] + seconds['crops']):.1%} of the step"])
    numbers["overhead"] = seconds
    start = memory()
    for index in range(2000):
        batch, target = crops(IMAGES, LABELS, chosen, recipe.crop, True, generator)
        step(*ours[:2], batch, target, True)
        if index == 100:
            start = memory()
    rows.append(["memory after 100 and after 2,000 laptop steps", f"{start:.2f} GB", f"{memory():.2f} GB",
                 "", ""])
    numbers["memory"] = [start, memory()]


if __name__ == "__main__":
    rows, numbers = [], {}
    overhead(rows, numbers)
    training(rows, numbers)
    prediction(rows, numbers)
    report("steps", ["", "plain fp32", "ours", "ratio", "share"], rows, **numbers)
