"""The training loop: seeded, explicit, resumable."""

import time
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from .batches import crops, draw, grey_statistics
from .data import PHASES, Slices
from .predict import autocast, best_device, replace, save_weights
from .profiles import Recipe
from .scores import Scores, evaluate, total_loss
from .unet import UNet

MAX_SNAPSHOTS = 12   # in epochs/, for the slider over training
CHECK_EVERY = 10     # steps between two looks at whether the loss is finite: each look makes a GPU wait


class TrainingError(RuntimeError):
    """Training cannot go on; the message says why and what to do."""


def new_unet(recipe: Recipe, seed: int, train: Slices, device: torch.device) -> UNet:
    """A U-Net whose initial weights depend on the seed alone; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = UNet(recipe.width, recipe.depth)
    model.grey.copy_(torch.tensor(grey_statistics(train)))
    return model.to(device, memory_format=torch.channels_last)


def optimiser_of(model: UNet, recipe: Recipe, steps: int):
    """The recipe's optimiser and its schedule, which steps with each batch (one-cycle) or each evaluation (plateau)."""
    if recipe.optimiser == "rmsprop":
        optimiser = torch.optim.RMSprop(model.parameters(), lr=recipe.lr, weight_decay=1e-8, momentum=0.999)
        return optimiser, torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, mode="max", patience=5)
    optimiser = torch.optim.AdamW(model.parameters(), lr=recipe.lr)
    whole = max(steps, 8)  # OneCycleLR divides by the length of the rise, a quarter less one step
    return optimiser, torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.lr, total_steps=whole, pct_start=0.25)


def validation_row(scores: Scores) -> dict[str, float]:
    """What the learning curve shows of one evaluation: Dice overall, by phase, and of clean and noisy images."""
    row = {"val_loss": scores.loss, "dice": scores.mean}
    row |= {f"dice_{phase}": float(value) for phase, value in zip(PHASES, scores.dice.mean(0), strict=True)}
    noisy = scores.noise_std > 0
    if noisy.any() and not noisy.all():
        row |= {"dice_clean": scores.where(~noisy).mean, "dice_noisy": scores.where(noisy).mean}
    return row


def evenly(total: int, parts: int) -> list[int]:
    """The ends of ``parts`` equal parts of 1..total (of ``total`` parts, if there are not so many)."""
    return np.linspace(0, total, min(parts, total) + 1).round().astype(int)[1:].tolist()


def save_state(path: Path, parts: dict, generator: torch.Generator, **rest) -> None:
    """All that resuming needs, whole or not at all."""
    state = {name: part.state_dict() for name, part in parts.items()} | {"generator": generator.get_state()} | rest
    replace(path, lambda part: torch.save(state, part))


def load_state(path: Path, parts: dict, generator: torch.Generator) -> dict:
    """Put a saved state back into the model, optimiser, schedule and generator; return the rest."""
    state = torch.load(path, weights_only=True, map_location="cpu")
    for name, part in parts.items():
        part.load_state_dict(state.pop(name))
    generator.set_state(state.pop("generator"))
    return state


def fit(recipe: Recipe, train: Slices, val: Slices, seed: int, folder: Path,
        show: bool = True) -> list[dict[str, float]]:
    """Train a U-Net, or resume where a killed call left off, and return the history, one row an evaluation.

    Writes into ``folder``, each file whole or not at all: ``last.pt`` (all that resuming needs) at every evaluation,
    ``model.safetensors`` (the weights of the best validation Dice) and ``epochs/`` (at most 12 snapshots).
    ``show``: a progress bar. Raises `TrainingError` when the loss is no longer finite.
    """
    device = best_device()
    images, labels = (torch.from_numpy(array).to(device) for array in (train.images, train.labels))
    steps = recipe.steps or recipe.epochs * -(-len(train) // recipe.batch)
    marks, snapshots = evenly(steps, recipe.evaluations), evenly(recipe.evaluations, MAX_SNAPSHOTS)
    watched = val[np.array(evenly(len(val), recipe.eval_slices or len(val))) - 1]
    model = new_unet(recipe, seed, train, device)
    optimiser, schedule = optimiser_of(model, recipe, steps)
    generator = torch.Generator().manual_seed(seed)
    parts = {"model": model, "optimiser": optimiser, "schedule": schedule}
    order, position, step, seconds, history = torch.randperm(len(train), generator=generator), 0, 0, 0.0, []
    if (folder / "last.pt").exists():
        order, position, step, seconds, history = load_state(folder / "last.pt", parts, generator).values()
    (folder / "epochs").mkdir(parents=True, exist_ok=True)

    bar = tqdm(total=steps, initial=step, desc=f"training, seed {seed}", unit="step", leave=False, mininterval=1,
               **({} if show else {"disable": True}))  # not disable=False: that would overrule TQDM_DISABLE
    for mark in marks[len(history):]:
        start, first, running = time.perf_counter(), step, torch.zeros((), device=device)
        while step < mark:
            chosen, order, position = draw(order, position, recipe.batch, generator)
            batch, target = crops(images, labels, chosen, recipe.crop, recipe.augment, generator)
            with autocast(device):
                logits = model(batch)
            loss = total_loss(logits, target)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            if recipe.optimiser == "adamw":
                schedule.step()
            step, running = step + 1, running + loss.detach()
            bar.update()
            if step % CHECK_EVERY == 0 and not running.isfinite():
                break
        if not running.isfinite():
            raise TrainingError(f"The loss is {float(running)} at step {step} of {steps}: the learning rate "
                                f"{recipe.lr:g} is too high for these data; lower it. {folder} keeps the last state.")
        seconds += time.perf_counter() - start
        row = {"step": step, "images": step * recipe.batch, "seconds": seconds, "lr": optimiser.param_groups[0]["lr"],
               "train_loss": float(running) / (step - first), **validation_row(evaluate(model, watched))}
        history.append(row)
        if recipe.optimiser == "rmsprop":
            schedule.step(row["dice"])
        if row["dice"] >= max(entry["dice"] for entry in history):
            save_weights(model, folder / "model.safetensors")
        if len(history) in snapshots:
            save_weights(model, folder / "epochs" / f"{step:06d}.safetensors", half=True)
        save_state(folder / "last.pt", parts, generator,
                   order=order, position=position, step=step, seconds=seconds, history=history)
        bar.set_postfix(loss=f"{row['train_loss']:.3f}", dice=f"{row['dice']:.4f}")
    bar.close()
    return history
