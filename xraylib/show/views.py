"""What the sliders show of one slice, one network and one noise level: pictures and numbers, without any widget."""

import io
from functools import lru_cache
from typing import NamedTuple

import matplotlib
import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from ..dice import confusion, dice_score
from ..noise import add_noise
from ..predict.network import logits_of
from ..predict.scores import near_interface
from ..slices.labelled import PALETTES, PHASES, Slices
from ..unet import UNet
from . import curves, plots

PICTURES = ("misclassified", "image", "true mask", "prediction", "overlay", "confidence")
CUT = (240, 228, 66)   # yellow: the lines along which a volume is cut
KEPT = 64              # predictions in memory: 64 of 501 x 501 are 80 MB


class Guess(NamedTuple):
    """What a network says of one slice: class indices uint8 (H, W), and their probabilities float32 (H, W), 0..1."""

    labels: np.ndarray
    confidence: np.ndarray


class Guesser:
    """One network's predictions of slices and of their noisy versions; each is made once and then remembered."""

    def __init__(self, model: UNet, slices: Slices, seed: int = 0):
        self.model, self.slices, self.seed = model, slices, seed
        self.guess = lru_cache(KEPT)(self._guess)

    def image(self, index: int, noise_std: float) -> np.ndarray:
        """The slice that the network sees, uint16 (H, W)."""
        image = self.slices.images[index]
        return add_noise(image, noise_std, self.seed, int(self.slices.numbers[index])) if noise_std else image

    def _guess(self, index: int, noise_std: float) -> Guess:
        ((_, logits),) = logits_of(self.model, [self.image(index, noise_std)])
        confidence, labels = logits.float().softmax(1)[0].max(0)
        return Guess(labels.byte().cpu().numpy(), confidence.cpu().numpy())


def grey_picture(image: np.ndarray) -> np.ndarray:
    """A slice as RGB uint8 (H, W, 3), stretched between its 0.1 % and 99.9 % grey levels."""
    low, high = np.percentile(image[::3, ::3], [0.1, 99.9])
    grey = ((image.astype(np.float32) - low) * (255 / max(high - low, 1))).clip(0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, -1)


def picture(kind: str, image: np.ndarray, truth: np.ndarray, guess: Guess, palette: str = "safe") -> np.ndarray:
    """One of `PICTURES` as RGB uint8 (H, W, 3). Wrong pixels have the colour of their true phase."""
    if kind == "image":
        return grey_picture(image)
    if kind in ("true mask", "prediction"):
        return plots.mask_image(truth if kind == "true mask" else guess.labels, palette)
    if kind == "misclassified":
        return plots.error_image(truth, guess.labels, palette)
    if kind == "overlay":
        shown, wrong = grey_picture(image), truth != guess.labels
        shown[wrong] = PALETTES[palette][truth[wrong]]
        return shown
    table = (255 * matplotlib.colormaps["viridis"](np.linspace(0, 1, 256))[:, :3]).astype(np.uint8)
    return table[((guess.confidence - 1 / 3) * (255 * 1.5)).clip(0, 255).astype(np.uint8)]


def png(shown: np.ndarray) -> bytes:
    """RGB uint8 (H, W, 3) as the bytes of a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(shown).save(buffer, "png", compress_level=1)
    return buffer.getvalue()


def side_by_side(pictures: list[np.ndarray]) -> np.ndarray:
    """Pictures in a row, 8 white pixels between them and below the lower ones."""
    height, width = max(map(len, pictures)), sum(shown.shape[1] for shown in pictures) + 8 * (len(pictures) - 1)
    row, left = np.full((height, width, 3), 255, np.uint8), 0
    for shown in pictures:
        row[:len(shown), left:left + shown.shape[1]] = shown
        left += shown.shape[1] + 8
    return row


def cuts(volume: np.ndarray, at: tuple[int, int, int]) -> list[np.ndarray]:
    """A volume (Z, Y, X) cut through a voxel, across z, x and y: (Y, X), (Y, Z) and (Z, X)."""
    z, y, x = at
    return [volume[z], volume[:, :, x].T, volume[:, y]]


def orthogonal(pictures: list[np.ndarray], at: tuple[int, int, int]) -> np.ndarray:
    """Pictures of three `cuts`, RGB, so that their axes meet: across x on the right, across y below.

    Yellow lines show where the other two cut; 8 white pixels lie between the pictures.
    """
    z, y, x = at
    for shown, row, column in zip(pictures, (y, y, z), (x, z, x), strict=True):
        shown[row], shown[:, column] = CUT, CUT
    above, below = side_by_side(pictures[:2]), pictures[2]
    below = np.pad(below, ((8, 0), (0, above.shape[1] - below.shape[1]), (0, 0)), constant_values=255)
    return np.concatenate([above, below])


def table(rows: list[list[str]], heading: str) -> str:
    """A small HTML table in the colours of its surroundings (light or dark)."""
    lines = "".join("<tr>" + "".join(f'<td style="padding:0 .9em 0 0">{cell}</td>' for cell in row) + "</tr>"
                    for row in rows)
    return f'<b>{heading}</b><table style="margin:.1em 0 .6em; line-height:1.35">{lines}</table>'


def legend(palette: str = "safe", meaning: str = "A wrong pixel has the colour of its true phase. Confidence: dark "
                                                  "unsure, yellow sure.") -> str:
    """What the colours mean, in HTML; the same in every panel that shows errors."""
    boxes = "".join(f'<span style="display:inline-block; width:.8em; height:.8em; background:rgb({r},{g},{b})"></span> '
                    f"{phase} &emsp;"
                    for phase, (r, g, b) in zip(PHASES, PALETTES[palette], strict=True))
    return f"{boxes}<br>{meaning}"


def counts_of(truth: np.ndarray, labels: np.ndarray) -> torch.Tensor:
    """Pixels of one slice by [true, predicted] phase: class indices (H, W) twice -> int64 (1, 3, 3)."""
    return confusion(torch.from_numpy(labels)[None], torch.from_numpy(truth)[None])


def dice_of(truth: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Dice of one slice, by phase: class indices (H, W) twice -> (3,), 0..1."""
    return dice_score(counts_of(truth, labels))[0].numpy()


def numbers(truth: np.ndarray, labels: np.ndarray) -> str:
    """Dice, wrong pixels, confusions and how near they are to an interface, for one slice, in HTML."""
    counts, wrong = counts_of(truth, labels), int((truth != labels).sum())
    dice = dice_score(counts)[0].numpy()
    pairs = sorted(((int(counts[0, t, p]), t, p) for t in range(3) for p in range(3) if t != p), reverse=True)
    near = near_interface([truth], [labels]) if wrong else [float("nan")] * 3
    return "".join([
        table([[phase, f"{100 * value:.2f} %"] for phase, value in zip(PHASES, dice, strict=True)]
              + [["mean", f"<b>{100 * dice.mean():.2f} %</b>"]], "Dice"),
        table([["wrong pixels", f"{wrong:,}"], ["of all", f"{100 * wrong / truth.size:.2f} %"]]
              + [[f"within {distance} px of an interface", f"{100 * share:.0f} %" if wrong else "none is wrong"]
                 for distance, share in zip((1, 2, 3), near, strict=True)], "Errors"),
        table([[f"{PHASES[t]} &rarr; {PHASES[p]}", f"{count:,}", f"{100 * count / max(wrong, 1):.0f} %"]
               for count, t, p in pairs], "True &rarr; predicted")])


def curve_picture(history: list[dict[str, float]], step: int) -> np.ndarray:
    """The learning curve with a marker at a step, RGB uint8 (500, 420, 3)."""
    canvas = FigureCanvasAgg(Figure(figsize=(4.2, 5), dpi=100, layout="constrained"))
    if "dice_noisy" in history[0]:
        axes = canvas.figure.subplots(2, 1, height_ratios=[1, 1.6])
        curves.clean_and_noisy_curve(history, *axes)
    else:
        axes = [canvas.figure.subplots()]
        curves.learning_curve(history, *axes)
    here = next(row for row in history if row["step"] == step)
    for ax in axes:
        ax.axvline(here["step"], color="black", lw=6, alpha=0.2)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
