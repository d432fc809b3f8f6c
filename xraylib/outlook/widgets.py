"""Panels with sliders for notebooks 5, 9 and 10."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import ipywidgets
import numpy as np

from ..data import Slices
from ..figures import error_image, grey_picture, mask_image, pictures_in_a_row
from ..metrics import wrong_pixels, wrong_share
from ..noise import add_noise
from ..training import TRANSFORMS
from ..widgets import (
    MIN_WIDTH,
    PICTURES,
    Panel,
    Prediction,
    choice,
    error_numbers,
    html_table,
    panel,
    picture,
    slice_controls,
    slider,
)
from .classical import apply_thresholds, gaussian, grey_order, midpoint_thresholds
from .smoothness import label_flips
from .transforms import example_crop

CUT_LINE = (240, 228, 66)  # yellow: where a volume is cut
DRAWS, ENLARGED = 4, 4     # crops shown at a time, and screen pixels per pixel of a crop


# -- transforms ------------------------------------------------------------------------------------


def explore_transforms(one: Slices, side: int = 64, noise_max: float = 5000) -> Panel:
    """Show the middle of a slice as training sees it: four crops after the chosen transforms.

    Args:
        one: the first of these slices is shown.
        side: side of the crop, px.
        noise_max: largest standard deviation that "noise" draws, grey levels.
    """
    corner = ((one.shape[0] - side) // 2, (one.shape[1] - side) // 2)
    limits = np.percentile(one.images[0], [0.1, 99.9])
    menu = ipywidgets.SelectMultiple(options=TRANSFORMS, value=TRANSFORMS[:1], rows=len(TRANSFORMS),
                                     description="transforms", style={"description_width": "8em"})
    controls = {"names": menu, "draws": slider("draws", 1, 50, 1)}

    def draw(names: tuple[str, ...], draws: int, palette: str) -> tuple[np.ndarray, str]:
        crops = [example_crop(one, corner, side, names, noise_max, DRAWS * draws + index)
                 for index in range(DRAWS)]
        greys = [np.interp(image, limits, (0, 255)).astype(np.uint8)[..., None].repeat(3, 2)
                 for image, _ in crops]
        masks = [mask_image(label, one.phases, palette) for _, label in crops]
        shown = np.concatenate([pictures_in_a_row(greys), pictures_in_a_row(masks)])
        return shown.repeat(ENLARGED, 0).repeat(ENLARGED, 1), ""

    return panel(controls, draw, one.phases, DRAWS * ENLARGED * side)


# -- volumes ---------------------------------------------------------------------------------------


def orthogonal_cuts(volume: np.ndarray, at: tuple[int, int, int]) -> list[np.ndarray]:
    """Cut a volume (Z, Y, X) through the voxel `at`, across z, x and y: (Y, X), (Y, Z), (Z, X)."""
    z, y, x = at
    return [volume[z], volume[:, :, x].T, volume[:, y]]


def cuts_picture(pictures: Sequence[np.ndarray], at: tuple[int, int, int]) -> np.ndarray:
    """Join the pictures of three `orthogonal_cuts` so that their axes meet.

    The cut across x is on the right, the one across y below. Yellow lines show where the other two
    cuts are. 8 white pixels lie between the pictures.

    Args:
        pictures: RGB uint8, in the order of `orthogonal_cuts`; they are not changed.
        at: the voxel (z, y, x).
    """
    z, y, x = at
    pictures = [shown.copy() for shown in pictures]
    for shown, row, column in zip(pictures, (y, y, z), (x, z, x), strict=True):
        shown[row], shown[:, column] = CUT_LINE, CUT_LINE
    above, below = pictures_in_a_row(pictures[:2]), pictures[2]
    rest = above.shape[1] - below.shape[1]
    below = np.pad(below, ((8, 0), (0, rest), (0, 0)), constant_values=255)
    return np.concatenate([above, below])


def explore_volume(slices: Slices, predicted: Mapping[str, np.ndarray]) -> Panel:
    """Show cuts across z, y and x through a voxel of a volume, as several networks segment it.

    Args:
        slices: neighbouring labelled slices.
        predicted: class indices uint8 (Z, Y, X), by the name of the network.
    """
    images, truth, phases = np.stack(slices.images), np.stack(slices.labels), slices.phases
    controls = {axis: slider(axis, 1, n, (n + 1) // 2)
                for axis, n in zip("zyx", truth.shape, strict=True)}
    controls |= {"network": choice("network", list(predicted)),
                 "kind": choice("picture", PICTURES[:-1])}

    @lru_cache(len(predicted))
    def volume_table(network: str) -> str:
        return _volume_table(network, truth, predicted[network])

    def draw(z: int, y: int, x: int, network: str, kind: str,
             palette: str) -> tuple[np.ndarray, str]:
        at = z - 1, y - 1, x - 1
        cuts = [orthogonal_cuts(volume, at) for volume in (images, truth, predicted[network])]
        shown = [picture(kind, image, true, Prediction(labels), phases, palette)
                 for image, true, labels in zip(*cuts, strict=True)]
        wrong = [f"{wrong_pixels(true, labels).sum():,}"
                 for true, labels in zip(*cuts[1:], strict=True)]
        text = html_table([["across z", "across x", "across y"], wrong],
                          "Wrong voxels in the three cuts")
        return cuts_picture(shown, at), text + volume_table(network)

    return panel(controls, draw, phases, max(truth.shape[2] + 8 + len(truth), MIN_WIDTH))


def _volume_table(network: str, truth: np.ndarray, predicted: np.ndarray) -> str:
    """Return HTML with the wrong voxels of a volume and its label flips along each axis."""
    rows = [["wrong voxels", f"{100 * wrong_share(truth, predicted):.2f} %", ""],
            ["another label in the next voxel", "predicted", "true"]]
    true = label_flips(truth)
    rows += [[f"along {axis}", f"{100 * share:.2f} %", f"{100 * true[axis]:.2f} %"]
             for axis, share in label_flips(predicted).items()]
    return html_table(rows, f"The volume by {network}")


# -- thresholds ------------------------------------------------------------------------------------


def explore_thresholds(slices: Slices, seed: int = 0) -> Panel:
    """Segment by hand: sliders for noise, a Gaussian filter and the thresholds between phases.

    The thresholds start half-way between the mean grey levels of neighbouring phases.

    Args:
        seed: seed of the noise.
    """
    phases, order = slices.phases, grey_order(slices)
    names = [phases.names[phase] for phase in order]
    starts = midpoint_thresholds(slices).round(-2).astype(int).tolist()
    sliders = {f"threshold {place}": slider(f"threshold {place}", 0, 2**16, start, 100)
               for place, start in enumerate(starts, 1)}
    meaning = html_table([[name, f"between {dark} and {bright}"] for name, dark, bright
                          in zip(sliders, names[:-1], names[1:], strict=True)], "Thresholds")
    controls = {**slice_controls(slices), "sigma": slider("Gaussian, 0.1 px", 0, 50, 0), **sliders}

    def draw(number: int, noise: int, palette: str, sigma: int,
             **thresholds: int) -> tuple[np.ndarray, str]:
        one = slices[[number - 1]]
        image = add_noise(one.images[0], noise, seed, int(one.numbers[0]))
        smooth = gaussian(image, sigma / 10)
        labels = apply_thresholds(smooth, sorted(thresholds.values()), order)
        shown = [grey_picture(smooth), error_image(one.labels[0], labels, phases, palette)]
        return pictures_in_a_row(shown), meaning + error_numbers(one, labels)

    return panel(controls, draw, phases, 2 * (max(slices.shape[1], MIN_WIDTH) + 8))
