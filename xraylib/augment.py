"""Transformations of training crops: one labelled slice, seen turned, stretched, bent, in other light and other noise.

Geometric ones move grey levels and labels alike, by one resampling (Simard, Steinkraus and Platt 2003; Ronneberger,
Fischer and Brox 2015, section 3.1). Intensity ones change grey levels alone. All random numbers come from a given
`torch.Generator`, so that a killed run resumes bit for bit: the transforms of torchvision v2 and kornia draw from the
global random state of PyTorch, those of MONAI from one of numpy, and torchvision's rotate a whole batch by one angle.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .slices.labelled import Slices, grey_statistics

GEOMETRIC = ("rotate", "scale", "elastic")
INTENSITY = ("blur", "contrast", "brightness", "noise")   # in this order: the optics, then the detector
TRANSFORMS = GEOMETRIC + INTENSITY

ANGLE = 15.0          # degrees, at most, either way; quarter turns are among the flips
SCALE = (0.85, 1.2)   # a sixth smaller to a fifth larger: far less than grains differ among themselves
ELASTIC = 2.0         # px, at most, along each axis and at nodes ...
NODES = 8             # ... that are 8 px apart: as smooth as Simard's Gaussian of 4 px, and too little to fold
BLUR = 1.0            # px, standard deviation, at most; that of the microscope is 1.4 px (synthetic.py), of both 1.7
# YSZ (35,200) and nickel (41,500) are 0.9 deviations of the grey levels (7,250, mean 33,300) apart. With both of these
# at their most, YSZ at its lightest is still darker than nickel at its darkest: 36,840 and 39,230.
CONTRAST = 0.1        # the gain differs from 1 by that, at most
BRIGHTNESS = 0.2      # deviations of the training set's grey levels, at most


def transform(images: Tensor, labels: Tensor, names: tuple[str, ...], margin: int, grey: Tensor,
              noise: tuple[float, float], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A batch of crops, each transformed at random by all transforms of these names (of `TRANSFORMS`, in any order).

    ``images``: grey levels 0..65535, float32 (B, 1, h + 2 margin, w + 2 margin); ``labels``: class indices, int64
    (B, h + 2 margin, w + 2 margin); ``margin``: px, what `margin_of` says; ``grey``: mean and deviation of the
    training set's grey levels, (2,); ``noise``: the smallest and the largest standard deviation of "noise", grey
    levels. Returns the same kinds, (B, 1, h, w) and (B, h, w).

    Bilinear sampling averages noise: after a geometric transform, white noise, as noise.py adds it, has two thirds of
    its deviation on average; that of the built-in slices, which neighbouring pixels share, 0.92. A network that is
    trained on such crops alone meets more noise on whole slices than it has learned; "noise" adds some again.
    """
    if margin:
        rows, columns = (side - 2 * margin for side in labels.shape[1:])
        images, labels = resample(images, labels, positions(len(labels), rows, columns, names, generator))
    return intensity(images, names, grey, noise, generator), labels


def example(one: Slices, corner: tuple[int, int], side: int, names: tuple[str, ...], noise_max: float,
            seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A crop of a slice, the first of ``one``, as training might see it: grey levels float32 and class indices uint8.

    ``corner``: its top and left, px; ``side``: px; ``noise_max``: of "noise"; ``seed``: of all that is drawn.
    """
    margin, (top, left) = margin_of(side, names), corner
    window = slice(top, top + side + 2 * margin), slice(left, left + side + 2 * margin)     # of the mirrored slice
    image, label = (torch.from_numpy(mirrored(array, margin)[window]) for array in (one.images[0], one.labels[0]))
    images, labels = transform(image.float()[None, None], label.long()[None], names, margin,
                               torch.tensor(grey_statistics(one)), (0, noise_max), torch.Generator().manual_seed(seed))
    return images[0, 0].numpy(), labels[0].byte().numpy()


def _uniform(low: float, high: float, generator: torch.Generator, *shape: int) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator)


# -- geometric --------------------------------------------------------------------------------------------------------


def margin_of(side: int, names: tuple[str, ...]) -> int:
    """How far beyond a crop of this side, px, the transforms of these names read at most; 0: none of them moves it."""
    if not set(names) & set(GEOMETRIC):
        return 0
    turned = math.cos(math.radians(ANGLE)) + math.sin(math.radians(ANGLE)) if "rotate" in names else 1
    reach = side / 2 * turned / (SCALE[0] if "scale" in names else 1)
    return math.ceil(reach - side / 2 + (2 * ELASTIC if "elastic" in names else 0))   # between nodes: up to 1.9 ELASTIC


def mirrored(array: np.ndarray, margin: int) -> np.ndarray:
    """A slice (H, W) with ``margin`` pixels more on each side, mirrored at its edge: a copy, unless ``margin`` is 0."""
    return np.pad(array, margin, "reflect") if margin else array


def flip(image: Tensor, turn: int) -> Tensor:
    """One of the eight symmetries of the square, (..., H, W): bit 0 flips rows, bit 1 columns, bit 2 transposes.

    Of a stack, (D, H, W), bit 3 flips the order of the slices.
    """
    image = image.flip([axis for bit, axis in ((1, -2), (2, -1), (8, -3)) if turn & bit])
    return image.mT if turn & 4 else image


def positions(batch: int, rows: int, columns: int, names: tuple[str, ...], generator: torch.Generator) -> Tensor:
    """Where each pixel of each crop is read: x and y from the middle of its window, px, (batch, rows, columns, 2)."""
    angle = _uniform(-ANGLE, ANGLE, generator, batch) if "rotate" in names else torch.zeros(batch)
    scale = _uniform(*SCALE, generator, batch) if "scale" in names else torch.ones(batch)
    where = turned_and_scaled(rows, columns, angle, scale)
    if "elastic" in names:
        nodes = math.ceil(rows / NODES) + 1, math.ceil(columns / NODES) + 1
        moves = _uniform(-ELASTIC, ELASTIC, generator, batch, 2, *nodes)
        moves = F.interpolate(moves, (rows, columns), mode="bicubic", align_corners=True)   # B x 2 x rows x columns
        where = where + moves.permute(0, 2, 3, 1)
    return where


def turned_and_scaled(rows: int, columns: int, angle: Tensor, scale: Tensor) -> Tensor:
    """`positions` of crops turned by ``angle``, degrees, (B,), and enlarged by ``scale``, (B,), about their middle."""
    x, y = torch.arange(columns) - (columns - 1) / 2, torch.arange(rows) - (rows - 1) / 2
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)                             # rows x columns x 2
    cos, sin = torch.cos(torch.deg2rad(angle)) / scale, torch.sin(torch.deg2rad(angle)) / scale
    turn = torch.stack([cos, sin, -sin, cos], -1).reshape(-1, 1, 2, 2)
    return grid @ turn


def resample(images: Tensor, labels: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """Windows read at these `positions`: grey levels between pixels bilinearly, labels from the nearest pixel."""
    height, width = labels.shape[1:]
    grid = (2 * where / torch.tensor([width - 1, height - 1])).to(images.device)   # -1 and 1: the outermost pixels
    taken = F.grid_sample(labels.unsqueeze(1).float(), grid, mode="nearest", align_corners=True)
    return F.grid_sample(images, grid, mode="bilinear", align_corners=True), taken.squeeze(1).long()


# -- intensity --------------------------------------------------------------------------------------------------------


def intensity(images: Tensor, names: tuple[str, ...], grey: Tensor,
              noise: tuple[float, float], generator: torch.Generator) -> Tensor:
    """Grey levels (B, 1, h, w) in other light and other noise, as `transform`; what a 16-bit detector can tell."""
    def drawn(low: float, high: float) -> Tensor:
        return _uniform(low, high, generator, len(images), 1, 1, 1).to(images.device)

    if "blur" in names:
        images = blurred(images, drawn(-BLUR, BLUR).clamp(min=0))                  # every other crop stays sharp
    if "contrast" in names:
        images = grey[0] + drawn(1 - CONTRAST, 1 + CONTRAST) * (images - grey[0])
    if "brightness" in names:
        images = images + drawn(-BRIGHTNESS, BRIGHTNESS) * grey[1]
    if "noise" in names:
        images = images + drawn(*noise) * torch.randn(images.shape, generator=generator).to(images.device)
    return images.clamp(0, 65535)


def blurred(images: Tensor, sigma: Tensor) -> Tensor:
    """Images (B, 1, h, w) under a Gaussian of ``sigma``, px, (B, 1, 1, 1), 0 to 1 (0: as they are); edges repeated."""
    far = torch.arange(-3, 4, device=images.device)
    kernel = torch.exp(-far**2 / (2 * sigma.clamp(min=1e-3)**2)).unsqueeze(1)      # B x 1 x 1 x 1 x 7
    kernel = kernel / kernel.sum(-1, keepdim=True)
    images = F.pad(images, (3, 3, 3, 3), mode="replicate")                         # B x 1 x (h + 6) x (w + 6)
    images = (images.unfold(2, 7, 1) * kernel).sum(-1)                             # B x 1 x h x (w + 6)
    return (images.unfold(3, 7, 1) * kernel).sum(-1)                               # B x 1 x h x w
