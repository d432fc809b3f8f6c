"""Tables of runs, beside the poster's numbers. The runs of a group differ only in their seed."""

import json
import re
from collections.abc import Sequence
from html import escape
from math import isfinite, isnan

import numpy as np

from .errors import printable
from .experiments import get_experiment
from .files import home
from .params import RunConfig
from .runs import Run, load_run

TITLES = {"val": "validation", "test": "test set", "test_noisy": "test set, noisy"}


def markdown_text(text: str) -> str:
    """Escape HTML, links and ends of cells in a text, such as a name that a reader chose."""
    return re.sub(r"[\\|\[]", r"\\\g<0>", escape(printable(text), quote=False))


def markdown_table(header: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table. Cells may be **bold**; HTML and links in them are escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(markdown_text, line))} |" for line in lines)


def percent(values: Sequence[float]) -> str:
    """Return the mean of Dice values, 0..1, ± their standard deviation: '98.91 ± 0.04' (%).

    Absent phases have the value nan, which is left out. If no value remains, the text is '–'.
    """
    values = [value for value in values if not isnan(value)]
    if not values:
        return "–"
    spread = f" ± {100 * np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
    return f"{100 * np.mean(values):.2f}{spread}"


def signed(values: Sequence[float]) -> str:
    """Return the mean of finite differences ± their standard deviation: '+23.7 ± 3.0', or '–'."""
    values = [value for value in values if isfinite(value)]
    if not values:
        return "–"
    spread = f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{np.mean(values):+.1f}{spread}".replace("-0.0", "0.0").replace("+0.0", "0.0")


def points(difference: float) -> str:
    """Return a difference of Dice values in percentage points: '+0.12', '-0.30', '0.00'."""
    text = f"{100 * difference:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text


def interval(draws: np.ndarray) -> str:
    """Return the middle 95 % of bootstrap draws in percentage points: '-0.03 to 0.11'."""
    low, high = (f"{100 * np.quantile(draws, q):.2f}" for q in (0.025, 0.975))
    return f"{low} to {high}".replace("-0.00", "0.00")


def headline_dice(group: list[Run], name: str) -> list[float]:
    """Return the mean Dice of each run on "val", "test" or "test_noisy" (noise 0: "test")."""
    return [run.scores[name if name in run.scores else "test"].mean for run in group]


def dice_by_slice(group: list[Run], name: str) -> list[np.ndarray]:
    """Return the mean Dice of each slice of a set, in the order of the volume: (N,) per run."""
    scores = [run.scores[name] for run in group]
    return [each.image_dice[np.argsort(each.numbers, kind="stable")] for each in scores]


def bootstrap_means(runs: Sequence[np.ndarray], block: int = 10) -> np.ndarray:
    """Bootstrap the mean over runs and their slices, with 2,000 draws.
    Each draw takes runs with replacement, and in each run blocks of neighbouring slices, because
    neighbours in a volume are near-copies (block bootstrap, Künsch 1989).
    Args:
        runs: One number per slice, in the order of the volume: (N,) per run.
        block: Number of slices per block.
    """
    rng = np.random.default_rng(0)
    blocks = [np.array_split(values, max(1, round(len(values) / block))) for values in runs]

    def mean_of(parts: list[np.ndarray]) -> float:
        drawn = rng.integers(len(parts), size=len(parts))
        return np.concatenate([parts[index] for index in drawn]).mean()

    return np.array([np.mean([mean_of(blocks[run]) for run in
                              rng.integers(len(blocks), size=len(blocks))]) for _ in range(2000)])


def slope(group: list[Run], column: str) -> str:
    """Return how much Dice rises in the second half of training, by a straight-line fit.
    Args:
        group, column: Runs, and a column of their history ("dice" if it is missing).
    Returns: Percentage points, ± the standard deviation over the group.
    """
    rises = []
    for run in group:
        half = run.history[len(run.history) // 2:]
        name = column if column in half[0] else "dice"
        steps, dice = ([row[key] for row in half] for key in ("step", name))
        rise = np.polyfit(steps, dice, 1)[0] * (steps[-1] - steps[0]) if len(half) > 1 else 0.0
        rises.append(100 * rise)
    return signed(rises)


def dice_table(group: list[Run]) -> str:
    """Return a table of Dice in per cent by set and phase, ± the standard deviation.

    Below it, sentences name the phases that are absent from a set.
    """
    rows, notes, names = [], [], np.array(group[0].phases.names)
    for name, title in TITLES.items():
        if name in group[0].scores:
            dice = np.array([run.scores[name].class_dice for run in group])
            rows.append([title, str(len(group[0].scores[name].numbers)),
                         f"**{percent(headline_dice(group, name))}**", *map(percent, dice.T)])
            if absent := names[np.isnan(dice).all(0)].tolist():
                notes.append(f"{title.capitalize()}: no image contains {' or '.join(absent)}. ")
    notes += ["A phase without Dice does not count in the mean."] * bool(notes)
    table = markdown_table(["Dice, %", "images", "mean", *names], rows)
    return table + "\n\n" * bool(notes) + "".join(notes)


def complete_runs() -> list[Run]:
    """Return every complete run below ``runs/``; of copied folders, only the first."""
    runs: dict[str, Run] = {}
    for result in sorted((home() / "runs").glob("*/*/result.json")):
        run = load_run(result.parent)
        runs.setdefault(run.config["digest"], run)
    return list(runs.values())


def group_by_seed(runs: list[Run]) -> list[list[Run]]:
    """Group runs that differ only in their seed, in the order of the summary."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        facts = {name: run.config[name] for name in (*RunConfig.__annotations__, "fingerprint")
                 if name in run.config and name != "seed"}
        groups.setdefault(json.dumps(facts, sort_keys=True), []).append(run)
    return sorted(groups.values(), key=lambda group: (
        *(group[0].config[name] for name in ("experiment", "data", "split", "profile")),
        group[0].config["n_train"] or 0))


def summary(runs: list[Run]) -> str:
    """Return a table with one row per group of runs, beside the poster's numbers."""
    rows = []
    for group in group_by_seed(runs):
        config = group[0].config
        dice = (percent(headline_dice(group, name)) if name in group[0].scores else ""
                for name in TITLES)
        seconds = np.mean([run.history[-1]["seconds"] for run in group])
        rows.append([config["experiment"], config["profile"], config["data"], config["split"],
                     ", ".join(str(run.config["seed"]) for run in group),
                     get_experiment(config["experiment"]).poster, *dice, f"{seconds:.0f}",
                     config["note"]])
    return markdown_table(["experiment", "profile", "data", "split", "seeds", "poster, Dice %",
                           *TITLES.values(), "training, s", "how"], rows)
