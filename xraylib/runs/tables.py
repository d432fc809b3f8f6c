"""Tables over runs, beside the poster's numbers. A group is the runs of one configuration, one a seed."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..experiments import EXPERIMENTS
from ..files import home
from ..slices.labelled import PHASES
from .folder import Run, load
from .profiles import Config

TITLES = {"val": "validation", "test": "test block", "test_noisy": "test block, noisy"}


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def percent(values: list[float]) -> str:
    """Mean and, over several runs, standard deviation, in per cent of Dice: '98.91 ± 0.04'."""
    spread = f" ± {100 * np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
    return f"{100 * np.mean(values):.2f}{spread}"


def means(group: list[Run], name: str) -> list[float]:
    """The headline Dice of each run of a group on one of its sets: "val", "test" or "test_noisy"."""
    return [run.scores[name].mean for run in group]


def resampled(runs: Sequence[np.ndarray], block: int = 10, draws: int = 2000) -> np.ndarray:
    """Bootstrap: what the mean over runs and their slices might have been, (draws,).

    ``runs``: a number for each slice, in the order of the volume, (N,) for each run (seed). Drawn with replacement are
    runs, and in each of them blocks of ``block`` slices, because neighbours in a volume are near-copies.
    """
    rng = np.random.default_rng(0)
    blocks = [np.array_split(values, max(1, round(len(values) / block))) for values in runs]

    def mean_of(parts: list[np.ndarray]) -> float:
        return np.concatenate([parts[index] for index in rng.integers(len(parts), size=len(parts))]).mean()

    return np.array([np.mean([mean_of(blocks[index]) for index in rng.integers(len(blocks), size=len(blocks))])
                     for _ in range(draws)])


def by_slice(group: list[Run], name: str) -> list[np.ndarray]:
    """Mean Dice over the phases of each slice of a set, in the order of the volume, for each run of a group."""
    scores = [run.scores[name] for run in group]
    return [each.dice.mean(1)[np.argsort(each.numbers, kind="stable")] for each in scores]


def interval(draws: np.ndarray) -> str:
    """The middle 95 % of bootstrap draws of a Dice or a difference, in points: '-0.03 to 0.11'."""
    low, high = (f"{100 * np.quantile(draws, q):.2f}" for q in (0.025, 0.975))
    return f"{low} to {high}".replace("-0.00", "0.00")


def signed(values: list[float]) -> str:
    """Mean and, over several runs, standard deviation of differences, with their sign: '+23.7 ± 3.0'."""
    spread = f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{np.mean(values):+.1f}{spread}".replace("-0.0", "0.0").replace("+0.0", "0.0")


def slope(group: list[Run], column: str) -> str:
    """How a column of the history moves over the second half of training, in points: mean ± deviation over a group.

    The slope of a straight line through it, times the length; not the last value less the best, which is never above 0.
    """
    rises = []
    for run in group:
        half = run.history[len(run.history) // 2:]
        steps, dice = ([row[name] for row in half] for name in ("step", column if column in half[0] else "dice"))
        rises.append(100 * np.polyfit(steps, dice, 1)[0] * (steps[-1] - steps[0]) if len(half) > 1 else 0.0)
    return signed(rises)


def points(difference: float) -> str:
    """A difference of two Dice values in points, with its sign: '+0.12', '-0.30', '0.00'."""
    text = f"{100 * difference:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text


def dice_table(group: list[Run]) -> str:
    """Dice in per cent, by set and phase; mean ± standard deviation over the group."""
    rows = []
    for name, title in TITLES.items():
        if name in group[0].scores:
            dice = np.array([run.scores[name].dice.mean(0) for run in group])
            rows.append([title, str(len(group[0].scores[name].numbers)), f"**{percent(dice.mean(1))}**",
                         *(percent(dice[:, phase]) for phase in range(len(PHASES)))])
    return markdown(["Dice, %", "images", "mean", *PHASES], rows)


def against_poster(group: list[Run]) -> str:
    """The table of an experiment: the poster's, ours, what differs."""
    config, recipe = group[0].config, group[0].config["recipe"]
    facts = EXPERIMENTS[config["experiment"]]
    length = f"{recipe['steps']} steps" if recipe["steps"] else f"{recipe['epochs']} epochs"
    crop = f"{recipe['batch']} crops of {recipe['crop']} px" if recipe["crop"] else f"{recipe['batch']} whole slice(s)"
    optimiser = {"rmsprop": "RMSprop, lr lowered on a plateau", "nadam": "NAdam, one-cycle"}[recipe["optimiser"]]
    told = "200 epochs" if config["experiment"] == "02_noisy_train" else "not said; 200 epochs in experiment 2"
    return markdown(["", "poster", "here"], [
        ["validation Dice, %", f"**{facts.poster}**", f"**{percent(means(group, 'val'))}**"],
        ["test block Dice, %", "none", percent(means(group, "test"))],
        ["runs", "not said: a single number", str(len(group))],
        ["data", "500 slices, 501 x 501 px", config["data"]],
        ["training; validation", facts.poster_sets, config["note"]],
        ["slices scored, validation; test", "all; none", "; ".join(
            str(len(group[0].scores[name].numbers)) for name in ("val", "test"))],
        ["network", "U-Net 64 x 4", f"U-Net {recipe['width']} x {recipe['depth']}"],
        ["optimiser", "RMSprop, lr lowered on a plateau", optimiser],
        ["a step sees", "not said; in its code one whole slice", crop],
        ["length", told, length],
        ["a phase absent from truth and prediction (counts 1)", "not said",
         f"{sum(run.scores['val'].absent for run in group)} times"],
    ])


def complete(below: Path | None = None) -> list[Run]:
    """Every complete run under ``runs/``, or below this folder."""
    return [load(result.parent) for result in sorted((below or home() / "runs").glob("*/*/result.json"))]


def groups_of(runs: list[Run]) -> list[list[Run]]:
    """Runs that differ by the seed alone, together; in the order of the tables."""
    groups: dict[tuple, list[Run]] = {}
    for run in runs:
        key = {name: value for name, value in run.config.items() if name in Config.__annotations__ and name != "seed"}
        groups.setdefault((json.dumps(key, sort_keys=True), run.config["fingerprint"]), []).append(run)

    def place(group: list[Run]) -> tuple:
        config = group[0].config
        return *(config[name] for name in ("experiment", "data", "split", "profile")), config["n_train"] or 0

    return sorted(groups.values(), key=place)


def summary(runs: list[Run]) -> str:
    """A table over runs beside the poster's numbers, a row a group."""
    rows = []
    for group in groups_of(runs):
        config = group[0].config
        rows.append([config["experiment"], config["profile"], config["data"], config["split"],
                     ", ".join(str(run.config["seed"]) for run in group), EXPERIMENTS[config["experiment"]].poster,
                     *(percent(means(group, name)) if name in group[0].scores else "" for name in TITLES),
                     f"{np.mean([run.history[-1]['seconds'] for run in group]):.0f}", config["note"]])
    return markdown(["experiment", "profile", "data", "split", "seeds", "poster, Dice %", *TITLES.values(),
                     "training, s", "how"], rows)
