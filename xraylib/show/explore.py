"""Sliders: which pixels are wrong, and why. Thin ipywidgets shells over functions that return pictures and numbers.

Every panel is one `ipywidgets.Image` (PNG bytes) and one `ipywidgets.HTML`, core widgets that are the same in
ipywidgets 7.7 (Colab) and 8 (JupyterLab, Binder).
"""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from pathlib import Path

import ipywidgets as widgets
import numpy as np

from ..augment import TRANSFORMS, example
from ..material.depth import flips
from ..predict.network import load_weights
from ..runs.folder import Run, config_of, source_of
from ..slices.labelled import PHASES, Slices
from . import plots
from .views import (
    PICTURES,
    Guess,
    Guesser,
    curve_picture,
    cuts,
    dice_of,
    legend,
    numbers,
    orthogonal,
    picture,
    png,
    side_by_side,
    table,
)

MAX_NOISE = 15_000     # grey levels
SMALLEST = 400         # px on the screen that a picture takes at least


# -- what a panel needs of a run --------------------------------------------------------------------------------------


def own_slices(run: Run) -> Slices:
    """The validation slices of a run, without its noisy copies."""
    val = config_of(run).draw(source_of(run).slices).val
    return val[val.noise_std == 0]


def snapshots(run: Run) -> dict[int, Path]:
    """The weights kept during training, by step: where none are, as in most published runs, the best alone."""
    kept = {int(path.stem): path for path in sorted((run.folder / "epochs").glob("*.safetensors"))}
    return kept or {int(max(run.history, key=lambda row: row["dice"])["step"]): run.weights}


# -- panels -----------------------------------------------------------------------------------------------------------


class Panel(widgets.VBox):
    """Controls above a picture and its numbers; where no kernel runs, a sentence stands in its place."""

    def __repr__(self) -> str:
        return "(Sliders: they appear when this cell is run.)"


def slider(description: str, low: int, high: int, value: int, step: int = 1) -> widgets.IntSlider:
    """A slider over whole numbers, as wide as the panels have it."""
    return widgets.IntSlider(value, low, high, step, description=description, style={"description_width": "8em"},
                             layout={"width": "26em", "max_width": "98%"})


def choice(description: str, options, value) -> widgets.Dropdown:
    """A menu, as wide as the panels have it."""
    return widgets.Dropdown(options=options, value=value, description=description, layout={"width": "26em"},
                            style={"description_width": "8em"})


def palette_choice() -> widgets.Dropdown:
    """The menu of colours."""
    return choice("colours", [("colour-blind safe", "safe"), ("red, green, blue (the poster's)", "rgb")], "safe")


def panel(controls: Mapping[str, widgets.Widget], draw: Callable[..., tuple[np.ndarray, str]], width: str,
          buttons: tuple[widgets.Widget, ...] = ()) -> Panel:
    """A panel that shows ``draw(**values of the controls)``, a picture and HTML, again after every change."""
    image, text = widgets.Image(format="png", layout={"width": "100%", "max_width": width}), widgets.HTML()

    def show(_change=None) -> None:
        shown, text.value = draw(**{name: control.value for name, control in controls.items()})
        image.value = png(shown)

    for control in controls.values():
        control.observe(show, "value")
    show()
    above = widgets.HBox([*controls.values(), *buttons], layout={"flex_flow": "row wrap"})
    below = widgets.HBox([widgets.Box([image], layout={"flex": "0 1 auto", "max_width": width}), text],
                         layout={"flex_flow": "row wrap", "grid_gap": "1em", "align_items": "flex-start"})
    return Panel([above, below])


def explore_errors(run: Run, slices: Slices | None = None) -> Panel:
    """Browse a run's errors: by validation slice and by the noise added to it, as any of `PICTURES`.

    ``slices``: others than the run's own validation slices.
    """
    slices = own_slices(run) if slices is None else slices
    guesser = Guesser(run.model(), slices, run.config["seed"])
    controls = {"number": slider("slice", 1, len(slices), 1), "noise": slider("added noise", 0, MAX_NOISE, 0, 500),
                "kind": choice("picture", PICTURES, PICTURES[0]), "palette": palette_choice()}
    buttons = {name: widgets.Button(description=name, layout={"width": "5em"}) for name in ("worst", "best", "next")}

    def draw(number: int, noise: int, kind: str, palette: str) -> tuple[np.ndarray, str]:
        guess, truth = guesser.guess(number - 1, noise), slices.labels[number - 1]
        shown = picture(kind, guesser.image(number - 1, noise), truth, guess, palette)
        where = f"slice {slices.numbers[number - 1]} of the volume<br>"
        return shown, where + numbers(truth, guess.labels) + legend(palette)

    @lru_cache(1)
    def ranking() -> list[int]:
        """Indices of the slices without noise, worst first; by the run's own scores where it was scored on these."""
        scored = run.scores["val"].where(run.scores["val"].noise_std == 0)
        dice = scored.dice.mean(1) if np.array_equal(scored.numbers, slices.numbers) else [
            dice_of(truth, guesser.guess(index, 0).labels).mean() for index, truth in enumerate(slices.labels)]
        return np.argsort(dice).tolist()

    def go(button: widgets.Button) -> None:
        here = ranking().index(controls["number"].value - 1)
        place = {"worst": 0, "best": -1, "next": (here + 1) % len(slices)}[button.description]
        controls["number"].value = ranking()[place] + 1

    for button in buttons.values():
        button.on_click(go)
    buttons["next"].tooltip = "the next better slice, from the worst on"
    return panel(controls, draw, f"{max(slices.shape[1], SMALLEST)}px", tuple(buttons.values()))


def explore_transforms(one: Slices, side: int = 64, noise_max: float = 5000) -> Panel:
    """What training makes of one place of a slice, the first of ``one``: four draws of the chosen transforms."""
    corner, scale = tuple((length - side) // 2 for length in one.shape), 4
    limits = np.percentile(one.images[0], [0.1, 99.9])
    controls = {"names": widgets.SelectMultiple(options=TRANSFORMS, value=TRANSFORMS[:1], rows=len(TRANSFORMS),
                                                description="transforms", style={"description_width": "8em"}),
                "draws": slider("draws", 1, 50, 1), "palette": palette_choice()}

    def draw(names: tuple[str, ...], draws: int, palette: str) -> tuple[np.ndarray, str]:
        crops = [example(one, corner, side, names, noise_max, 4 * draws + index) for index in range(4)]
        greys = [np.interp(image, limits, (0, 255)).astype(np.uint8)[..., None].repeat(3, 2) for image, _ in crops]
        masks = [plots.mask_image(label, palette) for _, label in crops]
        shown = np.concatenate([side_by_side(greys), side_by_side(masks)])
        return shown.repeat(scale, 0).repeat(scale, 1), legend(palette)

    return panel(controls, draw, f"{4 * side * scale}px")


def explore_training(run: Run, slices: Slices | None = None) -> Panel:
    """The errors of one slice over training, beside the learning curve; of its noisy copy, where the run has noise."""
    slices = own_slices(run) if slices is None else slices
    kept = snapshots(run)
    steps = [int(row["step"]) for row in run.history if int(row["step"]) in kept]
    guessers = {step: Guesser(load_weights(kept[step]), slices, run.config["seed"]) for step in steps}
    curve = lru_cache(len(steps))(partial(curve_picture, run.history))
    controls = {"kept": slider("evaluation", 1, len(steps), len(steps)), "number": slider("slice", 1, len(slices), 1),
                "noise": slider("added noise", 0, MAX_NOISE, int(run.config["noise_std"]), 500),
                "palette": palette_choice()}

    def draw(kept: int, number: int, noise: int, palette: str) -> tuple[np.ndarray, str]:
        step = steps[kept - 1]
        labels, truth = guessers[step].guess(number - 1, noise).labels, slices.labels[number - 1]
        shown = side_by_side([plots.error_image(truth, labels, palette), curve(step)])
        text = table([["step", f"{step}"], ["slice of the volume", f"{slices.numbers[number - 1]}"],
                      ["Dice of this slice", f"{100 * dice_of(truth, labels).mean():.2f} %"],
                      ["wrong pixels", f"{int((truth != labels).sum()):,}"]], "This slice at this step")
        return shown, text + legend(palette)

    return panel(controls, draw, f"{max(slices.shape[1], SMALLEST) + 428}px")


def compare(runs: Mapping[str, Run], slices: Slices | None = None, noise_std: float = 0) -> Panel:
    """One slice by several networks, side by side. ``runs``: by the names to show; ``noise_std``: to begin with.

    ``slices``: others than the first run's validation slices.
    """
    first = next(iter(runs.values()))
    slices = own_slices(first) if slices is None else slices
    guessers = {name: Guesser(run.model(), slices, first.config["seed"]) for name, run in runs.items()}
    controls = {"number": slider("slice", 1, len(slices), 1),
                "noise": slider("added noise", 0, MAX_NOISE, int(noise_std), 500),
                "kind": choice("picture", PICTURES, PICTURES[0]), "palette": palette_choice()}

    def draw(number: int, noise: int, kind: str, palette: str) -> tuple[np.ndarray, str]:
        truth, image = slices.labels[number - 1], next(iter(guessers.values())).image(number - 1, noise)
        guesses = {name: guesser.guess(number - 1, noise) for name, guesser in guessers.items()}
        shown = side_by_side([picture(kind, image, truth, guess, palette) for guess in guesses.values()])
        rows = [["", *PHASES, "mean", "wrong pixels"]]
        for name, guess in guesses.items():
            dice = dice_of(truth, guess.labels)
            rows.append([name, *(f"{100 * value:.2f} %" for value in dice), f"<b>{100 * dice.mean():.2f} %</b>",
                         f"{int((truth != guess.labels).sum()):,}"])
        return shown, table(rows, f"Dice of slice {slices.numbers[number - 1]}, left to right") + legend(palette)

    return panel(controls, draw, f"{len(runs) * (max(slices.shape[1], SMALLEST) + 8)}px")


def explore_volume(slices: Slices, predicted: Mapping[str, np.ndarray]) -> Panel:
    """Neighbouring slices and what networks make of them, cut through a voxel across z, x and y.

    ``predicted``: class indices uint8 (Z, Y, X), by the names to show.
    """
    images, truth = np.stack(slices.images), np.stack(slices.labels)
    controls = {axis: slider(axis, 1, n, (n + 1) // 2) for axis, n in zip("zyx", truth.shape, strict=True)}
    controls |= {"network": choice("network", list(predicted), next(iter(predicted))),
                 "kind": choice("picture", PICTURES[:-1], PICTURES[0]), "palette": palette_choice()}

    @lru_cache(len(predicted))
    def whole(network: str) -> str:
        guess = predicted[network]
        rows = [["wrong voxels", f"{100 * (guess != truth).mean():.2f} %", ""],
                ["another label in the next voxel", "predicted", "true"]]
        rows += [[f"along {axis}", f"{100 * share:.2f} %", f"{100 * true:.2f} %"]
                 for (axis, share), true in zip(flips(guess).items(), flips(truth).values(), strict=True)]
        return table(rows, f"The whole volume by {network}")

    def draw(z: int, y: int, x: int, network: str, kind: str, palette: str) -> tuple[np.ndarray, str]:
        at, guess = (z - 1, y - 1, x - 1), predicted[network]
        planes = [cuts(volume, at) for volume in (images, truth, guess)]
        shown = [picture(kind, image, true, Guess(labels, None), palette)
                 for image, true, labels in zip(*planes, strict=True)]
        wrong = [f"{(true != labels).sum():,}" for true, labels in zip(*planes[1:], strict=True)]
        text = table([["across z", "across x", "across y"], wrong], "Wrong voxels in the three cuts")
        return orthogonal(shown, at), text + whole(network) + legend(palette)

    return panel(controls, draw, f"{max(truth.shape[2] + 8 + len(truth), SMALLEST)}px")
