"""How a network is trained. Read `train` first. The rest builds the objects that `train` uses."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, isfinite
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.optim import NAdam, Optimizer, RMSprop
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau

from .augment import CropSampler
from .data import Slices, evenly_spaced, grey_quantiles, grey_statistics
from .device import autocast, best_device, keep_freed_memory, training_memory_format
from .errors import ParameterError, TrainingError
from .files import load_plugins
from .inference import NETWORKS
from .losses import total_loss
from .metrics import Scores, evaluate
from .noise import add_noise
from .unet import UNet, margin_of

MAX_CHANNELS = 2048  # twice the poster's; a network's memory grows with the square of the channels
MAX_MARGIN = 250_000_000  # margin pixels per step, times channels: 7 GB of memory
MAX_WIDENING = 10  # largest ratio of sides, crop with margin to crop; 99 % is then thrown away
TRANSFORMS = ("rotate", "scale", "elastic", "blur", "contrast", "brightness", "noise")
# Samplers of training crops, by the network's name and by whether the recipe has transforms.
SAMPLERS: dict[tuple[str, bool], type[CropSampler]] = {("UNet", False): CropSampler}


@dataclass(frozen=True)
class Recipe:
    """How a network is trained."""

    width: int  # channels at the top of the U-Net
    depth: int  # number of poolings
    crop: int  # side of the random crops, px (0: whole slices); of the cubes in 3-D
    batch: int  # crops per step
    flips: bool  # flip and transpose the crops at random
    optimiser: str  # "nadam" (one-cycle schedule) or "rmsprop" (plateau schedule, as published)
    lr: float  # highest learning rate
    steps: int  # optimiser steps (0: `epochs` decides)
    epochs: int  # passes over the training set, if steps is 0
    evaluations: int  # evaluations during training, evenly spaced
    eval_slices: int  # validation slices that each evaluation looks at (0: all)
    transforms: tuple[str, ...] = ()  # from `TRANSFORMS`; see outlook/transforms.py
    noise_std_min: float = 0.0  # smallest standard deviation that "noise" draws, grey levels
    noise_std_max: float = 0.0  # largest standard deviation that "noise" draws, grey levels
    padding: str = "same"  # or "valid": each crop is read with the margin that the network loses
    network: str = "UNet"  # name of the network's class in `inference.NETWORKS`


def train(state: "TrainingState", watched: Slices,
          on_step: Callable[[], object] | None = None,
          on_evaluation: Callable[[Scores], object] | None = None) -> None:
    """Train a network to its last step, and evaluate it along the way.

    Args:
        state: the network, its optimiser and its training crops. Training changes it in place.
        watched: validation slices. The network is evaluated on them and never trained on them.
        on_step, on_evaluation: called after each step, and with the scores of each evaluation.
    Raises: TrainingError if the training loss is no longer finite.
    """
    model, optimiser, schedule = state.model, state.optimiser, state.schedule
    start = time.perf_counter()
    while state.step < state.steps:
        images, labels = state.batches.next_batch()   # grey levels (B, 1, h, w), classes (B, h, w)
        with autocast(state.device):                  # bfloat16 where the device is fast at it
            logits = model(images)                    # forward: a logit per class, (B, C, h, w)
        loss = total_loss(logits, labels)             # cross-entropy + Dice loss: one number
        optimiser.zero_grad()                         # forget the gradient of the previous step
        loss.backward()                               # backward: d loss / d weight, for each weight
        clip_grad_norm_(model.parameters(), 1.0)      # one bad batch must not spoil the weights
        optimiser.step()                              # move each weight a little downhill
        schedule.after_step()                         # one-cycle: adjust the learning rate
        state.losses.append(loss.detach())
        state.step += 1
        if on_step:
            on_step()
        if state.step in state.evaluation_steps:
            state.seconds += _seconds_since(start, state.device)
            scores = evaluate(model, watched, total_loss)  # on slices, not on crops
            state.add_history_row(scores)
            schedule.after_evaluation(scores.mean)    # plateau: lower the rate if Dice stagnates
            if on_evaluation:
                on_evaluation(scores)
            start = time.perf_counter()


class TrainingState:
    """Everything that changes during training; the seed determines initial weights and crops."""

    STATEFUL = ("model", "optimiser", "schedule", "batches")  # attributes with a state_dict

    def __init__(self, recipe: Recipe, train_set: Slices, seed: int) -> None:
        check_sizes(recipe, min(max(image.shape) for image in train_set.images))
        keep_freed_memory()
        self.recipe, self.device = recipe, best_device()
        sampler = recipe.network, bool(recipe.transforms)
        if sampler not in SAMPLERS:
            load_plugins()
        self.model = build_unet(recipe, seed, train_set, self.device)
        self.batches = SAMPLERS[sampler](train_set, recipe, self.model, seed)
        self.steps = recipe.steps or recipe.epochs * ceil(len(train_set) / recipe.batch)
        self.evaluation_steps = evenly_spaced(self.steps, recipe.evaluations)
        self.optimiser, self.schedule = make_optimiser(self.model, recipe, self.steps)
        self.step, self.seconds = 0, 0.0  # seconds of training, without the evaluations
        self.losses: list[Tensor] = []  # of the steps since the last evaluation
        self.history: list[dict[str, float]] = []  # one row per evaluation

    def add_history_row(self, scores: Scores) -> None:
        """Add an evaluation to the history; raise `TrainingError` if the loss is not finite."""
        loss = float(sum(self.losses)) / len(self.losses)
        self.losses.clear()
        if not isfinite(loss):
            raise TrainingError(
                f"The loss is {loss} at step {self.step} of {self.steps}. The learning rate "
                f"{self.recipe.lr:g} is too high for these data; lower it.")
        self.history.append({
            "step": self.step, "images": self.step * self.recipe.batch, "seconds": self.seconds,
            "lr": self.optimiser.param_groups[0]["lr"], "train_loss": loss,
            **_validation_row(scores, self.model.phases.names)})

    def state_dict(self) -> dict[str, Any]:
        """Return everything that another process needs to continue, for `torch.save`."""
        state = {name: getattr(self, name).state_dict() for name in self.STATEFUL}
        return state | {"step": self.step, "seconds": self.seconds, "history": [*self.history]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        for name in self.STATEFUL:
            getattr(self, name).load_state_dict(state[name])
        self.step, self.seconds, self.history = state["step"], state["seconds"], [*state["history"]]


def build_unet(recipe: Recipe, seed: int, train_set: Slices, device: torch.device) -> UNet:
    """Make a network in training mode, with random weights that depend on the seed alone.
    Args:
        recipe, seed, train_set, device: the training set gives phases and grey-level statistics.
    """
    with torch.random.fork_rng(devices=[]):  # leaves the global random state as it is
        torch.manual_seed(seed)
        model = NETWORKS[recipe.network](
            recipe.width, recipe.depth, n_classes=len(train_set.phases), padding=recipe.padding)
    model.phases, model.grey_scale = train_set.phases, train_set.grey_scale
    model.grey_quantiles = grey_quantiles(_seen_images(recipe, train_set, seed))
    model.grey.copy_(torch.tensor(grey_statistics(train_set)))
    memory_format = training_memory_format(device, recipe.width, whole_slices=recipe.crop == 0)
    return model.to(device, memory_format=memory_format)


def _seen_images(recipe: Recipe, train_set: Slices, seed: int) -> list[np.ndarray]:
    """Return at most 40 slices, with the noise that the recipe adds to crops."""
    sample = train_set.subsample(40)
    stds = np.linspace(recipe.noise_std_min, recipe.noise_std_max, len(sample))
    return [add_noise(image, std, seed, int(number)) if std else image
            for image, std, number in zip(sample.images, stds, sample.numbers, strict=True)]


class OneCycle(OneCycleLR):
    """The rate rises for a quarter of the steps, then falls (Smith and Topin, arXiv:1708.07120)."""

    after_step = OneCycleLR.step

    def after_evaluation(self, dice: float) -> None:
        """Ignore the score."""


class Plateau(ReduceLROnPlateau):
    """The rate falls to a tenth when validation Dice has not risen for more than 5 evaluations."""

    after_evaluation = ReduceLROnPlateau.step

    def after_step(self) -> None:
        """Wait for the next evaluation."""


def make_optimiser(model: UNet, recipe: Recipe, steps: int) -> tuple[Optimizer, OneCycle | Plateau]:
    """Make NAdam with a one-cycle schedule, or RMSprop with a plateau schedule as published.
    Args:
        model, recipe, steps: recipe gives optimiser and highest rate; steps, the schedule's length.
    """
    if recipe.optimiser == "rmsprop":
        rmsprop = RMSprop(model.parameters(), lr=recipe.lr, weight_decay=1e-8, momentum=0.999)
        return rmsprop, Plateau(rmsprop, mode="max", patience=5)
    nadam = NAdam(model.parameters(), lr=recipe.lr)
    steps = max(steps, 8)  # OneCycleLR divides by the number of rising steps minus one
    return nadam, OneCycle(nadam, recipe.lr, total_steps=steps, pct_start=0.25)


def _validation_row(scores: Scores, names: tuple[str, ...]) -> dict[str, float]:
    """Return loss and Dice, also by phase and, if only a part is noisy, of clean and noisy ones."""
    row = {"val_loss": cast(float, scores.loss), "dice": scores.mean}
    row |= zip((f"dice_{name}" for name in names), scores.class_dice.tolist(), strict=True)
    for name, part in (("clean", scores.noise_std == 0), ("noisy", scores.noise_std > 0)):
        if part.any() and not part.all():
            row[f"dice_{name}"] = scores.where(part).mean
    return row


def _seconds_since(start: float, device: torch.device) -> float:
    """Return the seconds since `start`, after waiting for the GPU to finish its work."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def check_sizes(recipe: Recipe, slice_side: int = 0) -> None:
    """Raise `ParameterError` if a network or step is too large, or batch norm gets a single pixel.
    Args:
        recipe, slice_side: the longer side of the smallest slice, px, or 0 before slices are read.
    """
    depth, batch, side = recipe.depth, recipe.batch, recipe.crop or slice_side
    if (channels := recipe.width * 2**depth) > MAX_CHANNELS:
        raise ParameterError(f"width is {recipe.width} and depth {depth}, so the U-Net has "
                             f"{channels:,} channels at its coarsest level; at most "
                             f"{MAX_CHANNELS:,} are allowed. Lower one.")
    if batch == 1 and 0 < side <= 2**depth and recipe.padding == "same":
        what = "crop" if recipe.crop else "the smallest slice"
        raise ParameterError(f"batch is 1 and {what} {side}, which is one pixel at depth {depth}, "
                             "but batch norm needs two. Raise batch or crop, or lower depth.")
    margin = margin_of(recipe.padding, depth) if recipe.crop else 0
    whole = side + 2 * margin
    if whole > MAX_WIDENING * side or batch * recipe.width * (whole**2 - side**2) > MAX_MARGIN:
        raise ParameterError(f"crop is {side}, but with padding 'valid' and depth {depth} each "
                             f"crop needs a margin of {margin} px, which is too much for a batch "
                             f"of {batch}. Raise crop, or lower depth or batch.")
