"""Panels with sliders that show which pixels are wrong, and why.

A panel is one `Image` and one `HTML`, which work the same in ipywidgets 7.7 (Colab) and 8. Text
from users and files is escaped in `html_table` and `html_legend`.
"""

import io
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from html import escape
from itertools import permutations
from typing import Any, NamedTuple

import ipywidgets as widgets
import matplotlib.image
import numpy as np

from .curves import curve_picture
from .data import Phases, Slices
from .figures import error_image, grey_picture, mask_image, pictures_in_a_row
from .inference import logits_of
from .metrics import score_masks, share_near_interface, wrong_pixels
from .noise import add_noise
from .runs import Run
from .tables import percent
from .unet import UNet

PICTURES = ("misclassified", "image", "true mask", "prediction", "overlay", "confidence")
MIN_WIDTH = 400        # px on the screen, at least, per picture
_PALETTES = (("colour-blind safe", "safe"), ("red, green, blue (the poster's)", "rgb"))
_WIDE = {"description_width": "8em"}


class Prediction(NamedTuple):
    """Class indices of a slice, uint8 (H, W), and their probabilities, float32 (H, W), 0..1."""

    labels: np.ndarray
    confidence: np.ndarray = np.empty(0)


class Predictor:
    """Predicts slices with added noise by one network, and remembers the latest predictions."""

    def __init__(self, model: UNet, slices: Slices, seed: int) -> None:
        self.model, self.slices, self.seed = model, slices, seed
        self.predict = lru_cache(64)(self._predict)  # 80 MB at 501 x 501 px

    def image(self, index: int, noise_std: float) -> np.ndarray:
        """Return a slice with noise, grey levels: uint16 (H, W)."""
        image, number = self.slices.images[index], int(self.slices.numbers[index])
        return add_noise(image, noise_std, self.seed, number) if noise_std else image

    def _predict(self, index: int, noise_std: float) -> Prediction:
        """Predict a slice with noise; called as `predict`."""
        ((_, logits),) = logits_of(self.model, [self.image(index, noise_std)])
        confidence, labels = logits.float().softmax(1)[0].max(0)
        return Prediction(labels.byte().cpu().numpy(), confidence.cpu().numpy())

    def picture(self, kind: str, index: int, noise_std: float, palette: str) -> np.ndarray:
        """Draw one of `PICTURES` of a slice with noise: RGB uint8 (H, W, 3)."""
        return picture(kind, self.image(index, noise_std), self.slices.labels[index],
                       self.predict(index, noise_std), self.slices.phases, palette)

    def show(self, number: int, noise: int, kind: str, palette: str) -> tuple[np.ndarray, str]:
        """Return one of `PICTURES` and HTML with the errors of the slice at a slider position."""
        labels, one = self.predict(number - 1, noise).labels, self.slices[[number - 1]]
        heading = html_table([], f"Slice {one.numbers[0]} of the volume")
        return (self.picture(kind, number - 1, noise, palette),
                heading + error_numbers(one, labels))


def picture(kind: str, image: np.ndarray, truth: np.ndarray, prediction: Prediction,
            phases: Phases, palette: str = "safe") -> np.ndarray:
    """Draw one of `PICTURES` of a slice, grey levels and class indices (H, W): RGB uint8."""
    if kind == "image":
        return grey_picture(image)
    if kind in ("true mask", "prediction"):
        return mask_image(truth if kind == "true mask" else prediction.labels, phases, palette)
    if kind == "misclassified":
        return error_image(truth, prediction.labels, phases, palette)
    if kind == "overlay":
        wrong = wrong_pixels(truth, prediction.labels)[..., None]
        return np.where(wrong, mask_image(truth, phases, palette), grey_picture(image))
    least = 1 / len(phases)  # the lowest possible confidence, which gets the darkest colour
    share = (prediction.confidence - least) / (1 - least)
    return matplotlib.colormaps["viridis"](share, bytes=True)[..., :3]


def png_bytes(shown: np.ndarray) -> bytes:
    """Encode a picture, RGB uint8 (H, W, 3), as PNG."""
    buffer = io.BytesIO()
    matplotlib.image.imsave(buffer, shown, format="png", pil_kwargs={"compress_level": 1})
    return buffer.getvalue()


def html_table(rows: Sequence[Sequence[str]], heading: str) -> str:
    """Return plain texts as an HTML table in the colours of its surroundings, light or dark."""
    lines = "".join("<tr>" + "".join(f'<td style="padding:0 .9em 0 0">{escape(cell)}</td>'
                                     for cell in row) + "</tr>" for row in rows)
    style = "margin:.1em 0 .6em; line-height:1.35"
    return f'<b>{escape(heading)}</b><table style="{style}">{lines}</table>'


def html_legend(phases: Phases, palette: str = "safe",
                meaning: str = "A wrong pixel has the colour of its true phase. Confidence: dark "
                               "means unsure, yellow means sure.") -> str:
    """Return HTML that explains the colours of the phases."""
    style = "display:inline-block; width:.8em; height:.8em; background:rgb"
    boxes = "".join(f'<span style="{style}({r},{g},{b})"></span> {escape(name)} &emsp;'
                    for name, (r, g, b) in zip(phases.names, phases.palette(palette), strict=True))
    return f"{boxes}<br>{escape(meaning)}"


def error_numbers(one: Slices, labels: np.ndarray) -> str:
    """Return HTML tables of the errors of one slice, predicted as class indices (H, W)."""
    names, scores = one.phases.names, score_masks([labels], one)
    dice = [(name, percent([value]))
            for name, value in zip((*names, "mean"), (*scores.dice[0], scores.mean), strict=True)]
    counts = scores.confusion[0]
    wrong = counts.sum() - counts.trace()
    near = share_near_interface(one.labels, [labels], (1, 2, 3))
    share = wrong / max(counts.sum(), 1)
    errors = [("wrong pixels", f"{wrong:,}"), ("of all", f"{100 * share:.2f} %")]
    errors += [(f"within {px} px of an interface", f"{100 * share:.0f} %" if wrong else
                "none is wrong") for px, share in enumerate(near, 1)]
    pairs = sorted(permutations(range(len(names)), 2), key=lambda pair: -int(counts[pair]))
    confusions = [(f"{names[true]} → {names[taken_for]}", f"{counts[true, taken_for]:,}",
                   f"{100 * counts[true, taken_for] / max(wrong, 1):.0f} %")
                  for true, taken_for in pairs[:6]]
    return (html_table(dice, "Dice, %") + html_table(errors, "Errors")
            + html_table(confusions, "True → predicted"))


class Panel(widgets.VBox):
    """Controls above a picture and its numbers. Without a kernel, the first picture is shown."""

    def __repr__(self) -> str:
        return "(Sliders: they appear when this cell is run.)"

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        inside = [*self.children]
        for child in inside:  # the list grows in the loop
            inside += getattr(child, "children", ())
        still = next(child.value for child in inside if isinstance(child, widgets.Image))
        text = {"text/plain": repr(self)}  # ipywidgets 7, as on Colab, has no method of this name
        shown = getattr(super(), "_repr_mimebundle_", lambda **_: text)(**options)
        return shown | {"image/png": b64encode(still).decode()}


def slider(description: str, low: int, high: int, value: int, step: int = 1) -> widgets.IntSlider:
    """Return a slider over integers."""
    return widgets.IntSlider(value, low, high, step, description=description, style=_WIDE,
                             layout={"width": "26em", "max_width": "98%"})


def choice(description: str, options: Sequence[Any]) -> widgets.Dropdown:
    """Return a menu whose first option is chosen."""
    return widgets.Dropdown(options=options, description=description, style=_WIDE,
                            layout={"width": "26em"})


def slice_controls(slices: Slices, noise_std: float = 0) -> dict[str, widgets.Widget]:
    """Return a slider over the slices and one over the added noise, grey levels."""
    return {"number": slider("slice", 1, len(slices), 1),
            "noise": slider("added noise", 0, 15_000, int(noise_std), 500)}


def panel(controls: Mapping[str, widgets.Widget], draw: Callable[..., tuple[np.ndarray, str]],
          phases: Phases, width: int, buttons: Sequence[widgets.Widget] = ()) -> Panel:
    """Return a panel that draws anew after every change of a control or of the palette.
    Args:
        controls: widgets, by the name of the argument of `draw` that each one sets.
        draw: takes these values and the palette; returns RGB uint8 (H, W, 3) and HTML.
        phases, width: the phases in the legend; the largest width of the picture, px.
        buttons: further widgets beside the controls.
    """
    controls = {**controls, "palette": choice("colours", _PALETTES)}
    image = widgets.Image(format="png", layout={"width": "100%", "max_width": f"{width}px"})
    text = widgets.HTML()

    def show(_change: Any = None) -> None:
        shown, numbers = draw(**{name: control.value for name, control in controls.items()})
        text.value = numbers + html_legend(phases, controls["palette"].value)
        image.value = png_bytes(shown)

    for control in controls.values():
        control.observe(show, "value")
    show()
    box = widgets.Box([image], layout={"flex": "0 1 auto", "max_width": f"{width}px"})
    below = {"flex_flow": "row wrap", "grid_gap": "1em", "align_items": "flex-start"}
    return Panel([widgets.HBox([*controls.values(), *buttons], layout={"flex_flow": "row wrap"}),
                  widgets.HBox([box, text], layout=below)])


def explore_errors(run: Run, slices: Slices) -> Panel:
    """Browse the errors of a run in labelled slices by slice and noise, as any of `PICTURES`."""
    predictor = Predictor(run.model(), slices, run.config["seed"])
    controls = slice_controls(slices) | {"kind": choice("picture", PICTURES)}
    buttons = _ranking_buttons(run, predictor, controls["number"])
    width = max(slices.shape[1], MIN_WIDTH)
    return panel(controls, predictor.show, slices.phases, width, buttons)


def _ranking_buttons(run: Run, predictor: Predictor,
                     number: widgets.IntSlider) -> list[widgets.Button]:
    """Return buttons that move the slider to the worst, the best or the next better slice."""
    @lru_cache(1)
    def ranking() -> list[int]:
        val, slices = run.scores["val"].where(run.scores["val"].noise_std == 0), predictor.slices
        if not np.array_equal(val.numbers, slices.numbers):  # the run has scored other slices
            guesses = [predictor.predict(index, 0).labels for index in range(len(slices))]
            val = score_masks(guesses, slices)
        return (val.image_dice.argsort() + 1).tolist()

    def go(button: widgets.Button) -> None:
        following = (ranking().index(number.value) + 1) % number.max
        number.value = ranking()[{"worst": 0, "best": -1, "next": following}[button.description]]

    buttons = [widgets.Button(description=name, layout={"width": "5em"})
               for name in ("worst", "best", "next")]
    for button in buttons:
        button.on_click(go)
    buttons[-1].tooltip = "the next better slice, after the worst"
    return buttons


def explore_training(run: Run, slices: Slices) -> Panel:
    """Show the errors of a labelled slice at each snapshot, beside the learning curve."""
    saved = run.snapshots()
    predictors = [Predictor(load(), slices, run.config["seed"]) for load in saved.values()]
    curves = [curve_picture(run.history, slices.phases, step) for step in saved]
    controls = {"place": slider("evaluation", 1, len(saved), len(saved)),
                **slice_controls(slices, run.config["noise_std"])}

    def draw(place: int, number: int, noise: int, palette: str) -> tuple[np.ndarray, str]:
        shown, numbers = predictors[place - 1].show(number, noise, "misclassified", palette)
        step = html_table([("step", f"{list(saved)[place - 1]}")], "Training")
        return pictures_in_a_row([shown, curves[place - 1]]), step + numbers

    return panel(controls, draw, slices.phases, max(slices.shape[1], MIN_WIDTH) + 428)


def compare_networks(runs: Mapping[str, Run], slices: Slices, noise_std: float = 0) -> Panel:
    """Show a slice segmented by several networks; noise_std: noise at the start, in grey levels."""
    seed = next(iter(runs.values())).config["seed"]
    predictors = {name: Predictor(run.model(), slices, seed) for name, run in runs.items()}
    controls = slice_controls(slices, noise_std) | {"kind": choice("picture", PICTURES)}

    def draw(number: int, noise: int, kind: str, palette: str) -> tuple[np.ndarray, str]:
        shown, rows = [], [["", *slices.phases.names, "mean", "wrong pixels"]]
        for name, predictor in predictors.items():
            shown.append(predictor.picture(kind, number - 1, noise, palette))
            labels = predictor.predict(number - 1, noise).labels
            scores = score_masks([labels], slices[[number - 1]])
            rows.append([name, *(percent([dice]) for dice in (*scores.dice[0], scores.mean)),
                         f"{wrong_pixels(slices.labels[number - 1], labels).sum():,}"])
        heading = f"Dice in % of slice {slices.numbers[number - 1]}, left to right"
        return pictures_in_a_row(shown), html_table(rows, heading)

    return panel(controls, draw, slices.phases, len(runs) * (max(slices.shape[1], MIN_WIDTH) + 8))
