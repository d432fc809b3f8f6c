"""How long until a validation Dice, training time only, on real slices: our recipe against the poster's.

    python tests/bench/time_to_dice.py five FOLDER [CAP]     0.98 from 5 slices; the poster's recipe stops after CAP s
    python tests/bench/time_to_dice.py most FOLDER [STEPS]    the baseline's random split, four fifths train; how high
                                                              so many steps get (1800)
    python tests/bench/time_to_dice.py precision FOLDER      bf16 against fp32 over 5 seeds, from 5 slices
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

from xraylib import train
from xraylib.dice import total_loss
from xraylib.predict.network import autocast, best_device, load_weights, precision
from xraylib.predict.scores import evaluate
from xraylib.runs.checkpoint import train_in
from xraylib.runs.profiles import RECIPES, configure
from xraylib.slices.labelled import Slices, load
from xraylib.slices.sets import split
from xraylib.unet import UNet

DEVICE = best_device()


def draw(folder: str, n_train: int, n_val: int, seed: int) -> tuple[Slices, Slices]:
    return split(load(folder), n_train, n_val, "random", seed)


def first(history: list[dict], goal: float) -> float:
    """The training seconds of the first evaluation that reaches the goal; nan if none does."""
    return next((row["seconds"] for row in history if row["dice"] >= goal), float("nan"))


def fit(recipe, few, val, seed: int) -> list[dict]:
    with tempfile.TemporaryDirectory() as folder:
        return train_in(Path(folder), recipe, few, val, seed)


def posters(few: Slices, val: Slices, goal: float, cap: float) -> list[dict]:
    """The poster's recipe as its code did it: 16 bit / 255, fp32, whole slices one by one, RMSprop."""
    torch.manual_seed(0)
    model = UNet(64, 4).to(DEVICE)
    model.grey.copy_(torch.tensor([0.0, 255.0]))
    optimiser = torch.optim.RMSprop(model.parameters(), lr=1e-5, weight_decay=1e-8, momentum=0.999)
    images, labels = ([torch.from_numpy(array).to(DEVICE) for array in arrays] for arrays in (few.images, few.labels))
    history: list[dict] = [{"seconds": 0.0, "dice": 0.0}]
    while history[-1]["dice"] < goal and history[-1]["seconds"] < cap:
        start = time.perf_counter()
        for index in torch.randperm(len(few)).tolist():
            loss = total_loss(model(images[index].float()[None, None]), labels[index].long()[None])
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
        history.append({"seconds": history[-1]["seconds"] + time.perf_counter() - start,
                        "dice": evaluate(model, val).mean})
        print(f"the poster's recipe: {history[-1]['seconds']:.0f} s, {history[-1]['dice']:.4f}", flush=True)
    return history


def five(folder: str, cap: str = "900") -> None:
    few, val = draw(folder, 5, 20, 0)
    recipe = configure("04_size_sweep", profile="laptop").recipe
    recipe = replace(recipe, evaluations=recipe.steps // 5, eval_slices=0)
    ours = [fit(recipe, few, val, seed) for seed in range(3)]
    times = [first(history, 0.98) for history in ours]
    theirs = posters(few, val, 0.98, float(cap))
    reached = first(theirs, 0.98)
    ratio = (f"{reached / np.median(times):.0f}" if np.isfinite(reached)
             else f"more than {theirs[-1]['seconds'] / np.median(times):.0f}")
    report("five", ["0.98 validation Dice from 5 real slices", "seconds of training", "in the end"], [
        ["laptop recipe of notebook 4, seeds 0-2", ", ".join(f"{value:.1f}" for value in times),
         ", ".join(f"{history[-1]['dice']:.4f} at {history[-1]['seconds']:.0f} s" for history in ours)],
        ["the poster's recipe, fp32", f"{reached:.0f}", f"{theirs[-1]['dice']:.4f} at {theirs[-1]['seconds']:.0f} s"],
        ["ratio of the medians", ratio, ""]], ours=ours, theirs=theirs)


def most(folder: str, *steps: str) -> None:
    steps = steps or ("1800",)                # what `make bench` asks for
    n = len(load(folder))
    few, val = draw(folder, n - n // 5, n // 5, 0)
    rows, histories = [], {}
    for count in map(int, steps):
        recipe = replace(RECIPES["laptop"], steps=count, evaluations=10, eval_slices=0)
        histories[count] = history = fit(recipe, few, val, 0)
        rows.append([str(count), f"{first(history, 0.99):.0f}", f"{first(history, 0.991):.0f}",
                     f"{max(row['dice'] for row in history):.4f}", f"{history[-1]['seconds']:.0f}"])
    report("most", [f"steps ({len(few)} train, {len(val)} validate)", "s to 0.990", "s to 0.991", "best", "s in all"],
           rows, histories=histories)


def precisions(folder: str) -> None:
    few, val = draw(folder, 5, 50, 0)
    ends: dict[str, list[float]] = {"as the machine allows": [], "fp32": []}
    for seed in range(5):
        for name in ends:
            train.autocast = autocast if name != "fp32" else lambda _: nullcontext()
            with tempfile.TemporaryDirectory() as place:
                train_in(Path(place), configure("04_size_sweep", profile="laptop").recipe, few, val, seed)
                ends[name].append(evaluate(load_weights(Path(place) / "model.safetensors"), val).mean)
    report("precision", ["trained in", "validation Dice, % (5 seeds)", "mean"], [
        [f"{name} ({precision(DEVICE)})" if name != "fp32" else name,
         ", ".join(f"{100 * value:.2f}" for value in values), f"{100 * np.mean(values):.2f}"]
        for name, values in ends.items()], ends=ends)


if __name__ == "__main__":
    parts = {"five": five, "most": most, "precision": precisions}
    if len(sys.argv) < 3 or sys.argv[1] not in parts:
        sys.exit(__doc__)
    parts[sys.argv[1]](*sys.argv[2:])
