"""The training loop, and what it is made of: a recipe, random crops, an optimiser and its schedule."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from .augment import flip, margin_of, mirrored, transform
from .dice import total_loss
from .predict.network import autocast, best_device, keep_freed_memory, training_format
from .predict.scores import Scores, evaluate
from .predict.tiles import neighbours
from .slices.labelled import PHASES, Slices, evenly, grey_statistics
from .unet import UNet


class TrainingError(RuntimeError):
    """Training cannot go on; the message says why and what to do."""


@dataclass(frozen=True)
class Recipe:
    """How a network is trained."""

    width: int             # channels at the top of the U-Net
    depth: int             # poolings
    crop: int              # side of the random crops, px (0: whole slices); in 3-D, of cubes
    batch: int             # crops a step
    augment: bool          # random flips and transposes
    optimiser: str         # "nadam" with a one-cycle schedule, or "rmsprop" with ReduceLROnPlateau, as published
    lr: float              # highest learning rate
    steps: int             # optimiser steps (0: `epochs` passes over the training set)
    epochs: int            # passes over the training set, where steps is 0
    evaluations: int       # evaluations during training, evenly spaced
    eval_slices: int       # validation slices that each of them looks at (0: all)
    transforms: tuple[str, ...] = ()   # of the crops, by their names in augment.py
    noise_min: float = 0.0             # of the transform "noise": the smallest standard deviation, grey levels
    noise_max: float = 0.0             # ... and the largest
    padding: str = "same"              # or "valid": a crop is read with the margin that the network loses
    dims: int = 2                      # 3: a network of volumes; the training set is neighbouring slices, in order
    context: int = 0                   # neighbours of a slice that a 2-D network sees on either side, likewise


# -- the loop ---------------------------------------------------------------------------------------------------------


def fit(learner: "Learner", watched: Slices) -> Iterator[Scores]:
    """Train the learner's network; after every part of its steps, score it on the slices watched and hand that out."""
    model, optimiser, schedule = learner.model, learner.optimiser, learner.schedule
    for steps in learner.parts():
        for _ in steps:
            chosen = learner.draw()                        # some slices; each comes once before any comes again
            images, labels = learner.crops(chosen)         # B x 1 x h x w grey levels, B x h x w classes
            with autocast(learner.device):                 # in bf16 where that is fast
                logits = model(images)                     # forward: B x 3 x h x w, one number a phase and pixel
            loss = total_loss(logits, labels)              # cross-entropy + Dice loss: one number
            optimiser.zero_grad()                          # forget the gradient of the step before
            loss.backward()                                # backward: the slope of the loss along every weight
            clip_grad_norm_(model.parameters(), 1.0)       # a bad batch must not throw the weights far away
            optimiser.step()                               # every weight moves a little downhill
            if learner.recipe.optimiser == "nadam":
                schedule.step()                            # the learning rate rises, then falls (one-cycle)
            learner.losses.append(loss.detach())
        scores = evaluate(model, watched, total_loss)      # whole slices that it is not trained on
        learner.note(scores)
        yield scores


# -- what it moves ----------------------------------------------------------------------------------------------------


class Learner:
    """A network in training, its training set, and all that changes from step to step."""

    def __init__(self, recipe: Recipe, train: Slices, seed: int):
        keep_freed_memory()
        self.recipe, self.device = recipe, best_device()
        self.model = new_unet(recipe, seed, train, self.device)
        side = (recipe.crop or max(train.shape)) + 2 * self.model.margin
        self.margin = margin_of(side, recipe.transforms)                 # px that these read around a crop
        around = self.margin + self.model.margin                         # px around each slice, mirrored
        self.images, self.labels = ([torch.from_numpy(mirrored(array, around)).to(self.device) for array in arrays]
                                    for arrays in (train.images, train.labels))
        self.steps = recipe.steps or recipe.epochs * -(-len(train) // recipe.batch)
        self.optimiser, self.schedule = optimiser_of(self.model, recipe, self.steps)
        self.generator = torch.Generator().manual_seed(seed)
        self.order, self.position = torch.randperm(len(train), generator=self.generator), 0
        self.step, self.seconds = 0, 0.0
        self.on_step: Callable[[], object] = lambda: None
        self.losses: list[Tensor] = []                # since the last evaluation
        self.history: list[dict[str, float]] = []     # a row an evaluation

    def parts(self) -> Iterator[Iterator[int]]:
        """The steps still to be done, in parts that each end with an evaluation."""
        for end in evenly(self.steps, self.recipe.evaluations)[len(self.history):]:
            yield self._until(end)

    def _until(self, end: int) -> Iterator[int]:
        start = time.perf_counter()
        while self.step < end:
            yield self.step
            self.step += 1
            self.on_step()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        self.seconds += time.perf_counter() - start

    def draw(self) -> Tensor:
        """The next slices of an endless stream of permutations, (B,): each slice once before any comes again."""
        batch, n = self.recipe.batch, len(self.order)
        taken = self.order[self.position:self.position + batch]
        self.position += batch
        while len(taken) < batch:
            self.order = torch.randperm(n, generator=self.generator)
            self.position = batch - len(taken)
            taken = torch.cat([taken, self.order[:self.position]])
        return taken

    def crops(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """A random crop of each chosen slice, as the recipe says; see `crops` and `augment.transform`.

        Without padding the grey levels have the network's margin around them, and the labels have not.
        """
        recipe, generator, lost = self.recipe, self.generator, self.model.margin
        side = recipe.crop and recipe.crop + 2 * (self.margin + lost)
        batch = crops(self.images, self.labels, chosen, side, recipe.augment, generator, recipe.dims, recipe.context)
        images, labels = transform(*batch, recipe.transforms, self.margin, self.model.grey,
                                   (recipe.noise_min, recipe.noise_max), generator)
        return images, labels[..., lost:labels.shape[-2] - lost, lost:labels.shape[-1] - lost]

    def note(self, scores: Scores) -> None:
        """Add a row to the history; on a plateau, lower the learning rate. Raises `TrainingError` for a lost loss."""
        loss = float(sum(self.losses)) / len(self.losses)
        self.losses.clear()
        if not np.isfinite(loss):
            raise TrainingError(f"The loss is {loss} at step {self.step} of {self.steps}: the learning rate "
                                f"{self.recipe.lr:g} is too high for these data; lower it.")
        self.history.append({
            "step": self.step, "images": self.step * self.recipe.batch, "seconds": self.seconds,
            "lr": self.optimiser.param_groups[0]["lr"], "train_loss": loss, **validation_row(scores)})
        if self.recipe.optimiser == "rmsprop":
            self.schedule.step(scores.mean)

    def state_dict(self) -> dict:
        """All that going on needs, as `torch.save` writes it."""
        parts = {name: getattr(self, name).state_dict() for name in ("model", "optimiser", "schedule")}
        return parts | {"generator": self.generator.get_state()} | {name: getattr(self, name) for name in (
            "order", "position", "step", "seconds", "history")}

    def load_state_dict(self, state: dict) -> None:
        """Go on from where `state_dict` was taken."""
        for name, value in state.items():
            if name == "generator":
                self.generator.set_state(value)
            elif name in ("model", "optimiser", "schedule"):
                getattr(self, name).load_state_dict(value)
            else:
                setattr(self, name, value)


def new_unet(recipe: Recipe, seed: int, train: Slices, device: torch.device) -> UNet:
    """A U-Net whose initial weights depend on the seed alone; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = UNet(recipe.width, recipe.depth, padding=recipe.padding, dims=recipe.dims, context=recipe.context)
    model.grey.copy_(torch.tensor(grey_statistics(train)))
    return model.to(device, memory_format=training_format(device, recipe.width, recipe.crop == 0, recipe.dims))


def optimiser_of(model: UNet, recipe: Recipe, steps: int):
    """The recipe's optimiser and its schedule, which steps with each batch (one-cycle) or each evaluation (plateau)."""
    if recipe.optimiser == "rmsprop":
        optimiser = torch.optim.RMSprop(model.parameters(), lr=recipe.lr, weight_decay=1e-8, momentum=0.999)
        return optimiser, torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, mode="max", patience=5)
    optimiser = torch.optim.NAdam(model.parameters(), lr=recipe.lr)
    whole = max(steps, 8)  # OneCycleLR divides by the length of the rise, a quarter less one step
    return optimiser, torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.lr, total_steps=whole, pct_start=0.25)


def crops(images: list[Tensor], labels: list[Tensor], chosen: Tensor, side: int, augment: bool,
          generator: torch.Generator, dims: int = 2, context: int = 0) -> tuple[Tensor, Tensor]:
    """One random crop of each chosen slice, flipped and transposed at random if ``augment``.

    ``images``: N of uint16 (H, W); ``labels``: N of uint8 (H, W); ``side``: px, 0 for whole slices, at most H and W
    are taken. Returns grey levels, float32, and class indices, int64: (B, 1, rows, columns) and (B, rows, columns).

    Where the slices are neighbours: with ``context`` k, the grey levels of the k slices before and behind come too, as
    channels (B, 1 + 2k, rows, columns). With ``dims`` 3, as many slices as ``side`` says around the chosen one, as near
    as the ends allow: (B, 1, slices, rows, columns) and (B, slices, rows, columns). Their order is flipped, too.
    """
    height, width = images[0].shape
    rows, columns = min(side or height, height), min(side or width, width)
    corners = torch.rand(len(chosen), 2, generator=generator) * torch.tensor([height - rows + 1, width - columns + 1])
    turns = torch.randint(8 if rows == columns else 4, (len(chosen),), generator=generator)
    if dims == 3 or context:
        turns += 8 * torch.randint(2, (len(chosen),), generator=generator)
    cropped, targets = [], []
    for index, (top, left), turn in zip(chosen.tolist(), corners.int().tolist(), (turns * augment).tolist(),
                                        strict=True):
        window = slice(top, top + rows), slice(left, left + columns)
        taken = cube(index, side, len(images)) if dims == 3 else [index]
        around = taken if dims == 3 else neighbours(range(index, index + 1), context, len(images))
        cropped.append(flip(torch.stack([images[each][window] for each in around]).float(), turn))
        targets.append(flip(torch.stack([labels[each][window] for each in taken]).long(), turn))
    if dims == 3:
        return torch.stack(cropped).unsqueeze(1), torch.stack(targets)
    return torch.stack(cropped), torch.cat(targets)


def cube(index: int, side: int, n: int) -> range:
    """So many neighbouring slices of n, the slice ``index`` in the middle unless an end is too near."""
    deep = min(side or n, n)
    first = min(max(index - deep // 2, 0), n - deep)
    return range(first, first + deep)


def validation_row(scores: Scores) -> dict[str, float]:
    """What the learning curve shows of one evaluation: Dice overall, by phase, and of clean and noisy images."""
    row = {"val_loss": scores.loss, "dice": scores.mean}
    row |= {f"dice_{phase}": float(value) for phase, value in zip(PHASES, scores.dice.mean(0), strict=True)}
    noisy = scores.noise_std > 0
    if noisy.any() and not noisy.all():
        row |= {"dice_clean": scores.where(~noisy).mean, "dice_noisy": scores.where(noisy).mean}
    return row
