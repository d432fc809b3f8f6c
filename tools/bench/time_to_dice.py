"""Time training until it reaches a validation Dice on real slices: our recipe and the poster's.

    python tools/bench/time_to_dice.py five FOLDER [CAP]
        0.98 from 5 slices; the poster's recipe stops after CAP seconds
    python tools/bench/time_to_dice.py most FOLDER [STEPS ...]
        random split, four fifths train: the best Dice after so many steps (1800)
    python tools/bench/time_to_dice.py precision FOLDER
        bf16 against float32 over 5 seeds, from 5 slices
"""

import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from bench import report

from xraylib import training
from xraylib.checkpoint import train_with_checkpoints
from xraylib.data import Slices
from xraylib.datasets import load_slices, split_slices
from xraylib.device import autocast, best_device, precision_name
from xraylib.inference import load_weights
from xraylib.losses import total_loss
from xraylib.metrics import evaluate
from xraylib.params import PROFILES, configure
from xraylib.training import Recipe
from xraylib.unet import UNet

DEVICE = best_device()


def draw(folder: str, n_train: int, n_val: int) -> tuple[Slices, Slices]:
    """Draw a training and a validation set at random."""
    return split_slices(load_slices(folder), n_train, n_val, "random", 0)


def seconds_to(history: list[dict], goal: float) -> float:
    """Return the training seconds of the first evaluation that reaches the goal, else nan."""
    return next((row["seconds"] for row in history if row["dice"] >= goal), float("nan"))


def train(recipe: Recipe, few: Slices, val: Slices, seed: int) -> list[dict]:
    """Train by a recipe and return the history."""
    with tempfile.TemporaryDirectory() as folder:
        return train_with_checkpoints(Path(folder), recipe, few, val, seed, progress=True)[0]


def train_as_poster(few: Slices, val: Slices, goal: float, cap: float) -> list[dict]:
    """Train as the poster's code did: 16 bit / 255, float32, whole slices one by one, RMSprop."""
    torch.manual_seed(0)
    model = UNet(64, 4).to(DEVICE)
    model.grey.copy_(torch.tensor([0.0, 255.0]))
    optimiser = torch.optim.RMSprop(model.parameters(), lr=1e-5, weight_decay=1e-8, momentum=0.999)
    images, labels = ([torch.from_numpy(array).to(DEVICE) for array in arrays]
                      for arrays in (few.images, few.labels))
    history: list[dict] = [{"seconds": 0.0, "dice": 0.0}]
    while history[-1]["dice"] < goal and history[-1]["seconds"] < cap:
        start = time.perf_counter()
        for index in torch.randperm(len(few)).tolist():
            logits = model(images[index].float()[None, None])
            loss = total_loss(logits, labels[index].long()[None])
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
        seconds = history[-1]["seconds"] + time.perf_counter() - start
        history.append({"seconds": seconds, "dice": evaluate(model, val).mean})
        print(f"the poster's recipe: {seconds:.0f} s, {history[-1]['dice']:.4f}", flush=True)
    return history


def five(folder: str, cap: str = "900") -> None:
    """Compare the time to 0.98 from 5 slices."""
    few, val = draw(folder, 5, 20)
    recipe = configure("04_size_sweep", profile="laptop").recipe
    recipe = replace(recipe, evaluations=recipe.steps // 5, eval_slices=0)
    ours = [train(recipe, few, val, seed) for seed in range(3)]
    times = [seconds_to(history, 0.98) for history in ours]
    poster = train_as_poster(few, val, 0.98, float(cap))
    reached = seconds_to(poster, 0.98)
    ratio = (f"{reached / np.median(times):.0f}" if np.isfinite(reached)
             else f"more than {poster[-1]['seconds'] / np.median(times):.0f}")
    ends = [f"{history[-1]['dice']:.4f} at {history[-1]['seconds']:.0f} s"
            for history in (*ours, poster)]
    header = ["0.98 validation Dice from 5 real slices", "seconds of training", "at the end"]
    report("five", header, [
        ["laptop recipe of notebook 4, seeds 0-2", ", ".join(f"{value:.1f}" for value in times),
         ", ".join(ends[:-1])],
        ["the poster's recipe, float32", f"{reached:.0f}", ends[-1]],
        ["ratio of the medians", ratio, ""]], ours=ours, poster=poster)


def most(folder: str, *steps: str) -> None:
    """Say how high the baseline gets with so many steps."""
    n = len(load_slices(folder))
    few, val = draw(folder, n - n // 5, n // 5)
    rows, histories = [], {}
    for count in map(int, steps or ("1800",)):
        recipe = replace(PROFILES["laptop"], steps=count, evaluations=10, eval_slices=0)
        histories[count] = history = train(recipe, few, val, 0)
        rows.append([str(count), f"{seconds_to(history, 0.99):.0f}",
                     f"{seconds_to(history, 0.991):.0f}",
                     f"{max(row['dice'] for row in history):.4f}", f"{history[-1]['seconds']:.0f}"])
    header = [f"steps ({len(few)} train, {len(val)} validate)", "s to 0.990", "s to 0.991", "best",
              "s in total"]
    report("most", header, rows, histories=histories)


def precision(folder: str) -> None:
    """Compare networks trained in the machine's precision and in float32."""
    few, val = draw(folder, 5, 50)
    recipe = configure("04_size_sweep", profile="laptop").recipe
    contexts = {precision_name(DEVICE): autocast, "float32 everywhere": lambda _: nullcontext()}
    ends: dict[str, list[float]] = {name: [] for name in contexts}
    for seed in range(5):
        for name, context in contexts.items():
            training.autocast = context
            with tempfile.TemporaryDirectory() as place:
                train_with_checkpoints(Path(place), recipe, few, val, seed, progress=True)
                model = load_weights(Path(place) / "model.safetensors")
            ends[name].append(evaluate(model, val).mean)
    report("precision", ["trained in", "validation Dice, % (5 seeds)", "mean"], [
        [name, ", ".join(f"{100 * value:.2f}" for value in values), f"{100 * np.mean(values):.2f}"]
        for name, values in ends.items()], ends=ends)


if __name__ == "__main__":
    parts = {"five": five, "most": most, "precision": precision}
    if len(sys.argv) < 3 or sys.argv[1] not in parts:
        sys.exit(__doc__)
    parts[sys.argv[1]](*sys.argv[2:])
