"""Random transforms of training crops (notebook 5).

Geometric transforms move grey levels and labels alike, with a single resampling (Simard,
Steinkraus and Platt 2003; Ronneberger, Fischer and Brox 2015, section 3.1). Intensity transforms
change the grey levels alone. Every random number comes from the sampler's `torch.Generator`, so
that a killed run resumes bit for bit. Ready-made libraries cannot do this: torchvision v2 and
kornia draw from the global random state of PyTorch, and MONAI draws from one of NumPy.

Importing this module registers the sampler of transformed crops.
"""

import math

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from ..augment import CropSampler, mirror_pad
from ..data import Slices, grey_statistics
from ..training import SAMPLERS, TRANSFORMS, Recipe
from ..unet import UNet

GEOMETRIC = TRANSFORMS[:3]  # rotate, scale, elastic
INTENSITY = TRANSFORMS[3:]  # blur, contrast, brightness, noise: the optics come first

MAX_ANGLE = 15.0  # degrees, either way (flips and transposes add the quarter turns)
SCALES = (0.85, 1.2)  # the sizes of grains in a slice differ much more than this
MAX_SHIFT = 2.0  # px along each axis, of the nodes that "elastic" moves
NODE_DISTANCE = 8  # px: as smooth as Simard's Gaussian of 4 px, and the slice never folds over
MAX_BLUR = 1.0  # px, standard deviation; the microscope's own blur is 1.4 px, see synthetic.py
# The mean grey level is 33,300 with a standard deviation of 7,250. YSZ (35,200) and nickel
# (41,500) stay apart even if contrast and brightness change as much as they can: the brightest
# YSZ (36,840) is still darker than the darkest nickel (39,230).
MAX_CONTRAST = 0.1  # the gain is 1 plus or minus this
MAX_BRIGHTNESS = 0.2  # standard deviations of the training set's grey levels


class TransformedCropSampler(CropSampler):
    """Draw crops and transform each at random, as `recipe.transforms` says."""

    def __init__(self, train_set: Slices, recipe: Recipe, model: UNet, seed: int) -> None:
        side = (recipe.crop or max(train_set.shape)) + 2 * model.margin
        self.margin = transform_margin(side, recipe.transforms)
        super().__init__(train_set, recipe, model, seed, self.margin)

    def cut_crops(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Cut a random crop from each chosen slice and transform it."""
        recipe = self.recipe
        return apply_transforms(
            *super().cut_crops(chosen), recipe.transforms, self.margin, self.model.grey,
            (recipe.noise_std_min, recipe.noise_std_max), self.generator)


def apply_transforms(images: Tensor, labels: Tensor, names: tuple[str, ...], margin: int,
                     grey: Tensor, noise_range: tuple[float, float],
                     generator: Generator) -> tuple[Tensor, Tensor]:
    """Transform each crop of a batch at random.

    Bilinear sampling averages noise. Geometric transforms lower the standard deviation of white
    noise to two thirds, and of the built-in slices' smoother noise to 0.92. A network trained on
    such crops alone meets more noise in whole slices than it has learned. "noise" adds some again.
    Args:
        images: grey levels 0..65535, float32 (B, C, h + 2 margin, w + 2 margin).
        labels: class indices, int64 (B, h + 2 margin, w + 2 margin).
        names: from `TRANSFORMS`, in any order.
        margin: what `transform_margin` says for these names, px.
        grey: mean and standard deviation of the training set's grey levels, (2,).
        noise_range: smallest and largest standard deviation that "noise" draws, grey levels.
        generator: source of the random numbers.
    Returns: Grey levels float32 (B, C, h, w) and class indices int64 (B, h, w).
    """
    if margin:
        rows, columns = (side - 2 * margin for side in labels.shape[1:])
        where = sampling_positions(len(labels), rows, columns, names, generator)
        images, labels = resample(images, labels, where)
    return _change_intensity(images, names, grey, noise_range, generator), labels


def example_crop(slices: Slices, corner: tuple[int, int], side: int, names: tuple[str, ...],
                 noise_std: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut a crop from the first slice and transform it as training does.

    Args:
        slices: their grey levels set the strength of "contrast" and "brightness".
        corner, side: top and left of the crop, and its side, px.
        names: from `TRANSFORMS`.
        noise_std: largest standard deviation that "noise" draws, grey levels.
        seed: of the transforms.
    Returns: Grey levels float32 (side, side) and class indices uint8 (side, side).
    """
    margin, (top, left) = transform_margin(side, names), corner
    # Mirroring moves the corner by the margin, and the window begins the margin before it.
    window = slice(top, top + side + 2 * margin), slice(left, left + side + 2 * margin)
    image, label = (torch.from_numpy(mirror_pad(array, margin)[window])
                    for array in (slices.images[0], slices.labels[0]))
    images, labels = apply_transforms(
        image.float()[None, None], label.long()[None], names, margin,
        torch.tensor(grey_statistics(slices)), (0, noise_std), Generator().manual_seed(seed))
    return images[0, 0].numpy(), labels[0].byte().numpy()


def transform_margin(side: int, names: tuple[str, ...]) -> int:
    """Return how far beyond a crop of this side (px) these transforms read, in px."""
    if not set(names) & set(GEOMETRIC):
        return 0
    angle = math.radians(MAX_ANGLE if "rotate" in names else 0)
    reach = side / 2 * (math.cos(angle) + math.sin(angle))
    reach /= SCALES[0] if "scale" in names else 1
    # Bicubic interpolation between nodes overshoots up to 1.9 times MAX_SHIFT.
    return math.ceil(reach - side / 2 + (2 * MAX_SHIFT if "elastic" in names else 0))


def sampling_positions(batch: int, rows: int, columns: int, names: tuple[str, ...],
                       generator: Generator) -> Tensor:
    """Draw the positions at which geometric transforms read each pixel of each crop.

    Args:
        batch, rows, columns: number of the crops, their height and their width, px.
        names: from `TRANSFORMS`; those that are not geometric change nothing.
        generator: source of the random numbers.
    Returns: x and y, px from the middle of the crop, float32 (B, rows, columns, 2).
    """
    angle, scale = torch.zeros(batch), torch.ones(batch)
    if "rotate" in names:
        angle = _uniform(-MAX_ANGLE, MAX_ANGLE, generator, batch)
    if "scale" in names:
        scale = _uniform(*SCALES, generator, batch)
    where = rotated_and_scaled(rows, columns, angle, scale)
    if "elastic" in names:  # a random shift at each node, interpolated smoothly between the nodes
        nodes = math.ceil(rows / NODE_DISTANCE) + 1, math.ceil(columns / NODE_DISTANCE) + 1
        shifts = _uniform(-MAX_SHIFT, MAX_SHIFT, generator, batch, 2, *nodes)
        shifts = F.interpolate(shifts, (rows, columns), mode="bicubic", align_corners=True)
        where = where + shifts.permute(0, 2, 3, 1)
    return where


def rotated_and_scaled(rows: int, columns: int, angle: Tensor, scale: Tensor) -> Tensor:
    """Return the `sampling_positions` for given angles (degrees, (B,)) and magnifications (B,)."""
    x, y = torch.arange(columns) - (columns - 1) / 2, torch.arange(rows) - (rows - 1) / 2
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)  # (rows, columns, 2)
    cos, sin = torch.cos(torch.deg2rad(angle)) / scale, torch.sin(torch.deg2rad(angle)) / scale
    return grid @ torch.stack([cos, sin, -sin, cos], -1).reshape(-1, 1, 2, 2)


def resample(images: Tensor, labels: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """Read images (B, C, H, W) bilinearly and labels (B, H, W) at the nearest pixel.

    `where` holds `sampling_positions`, (B, rows, columns, 2). Shapes become (B, C, rows, columns)
    and (B, rows, columns).
    """
    height, width = labels.shape[1:]
    grid = (2 * where / torch.tensor([width - 1, height - 1])).to(images.device)  # edges: -1 and 1
    taken = F.grid_sample(labels.unsqueeze(1).float(), grid, mode="nearest", align_corners=True)
    images = F.grid_sample(images, grid, mode="bilinear", align_corners=True)
    return images, taken.squeeze(1).long()


def _uniform(low: float, high: float, generator: Generator, *shape: int) -> Tensor:
    """Draw uniform random numbers."""
    return low + (high - low) * torch.rand(shape, generator=generator)


def _change_intensity(images: Tensor, names: tuple[str, ...], grey: Tensor,
                      noise_range: tuple[float, float], generator: Generator) -> Tensor:
    """Apply the intensity transforms, and clip to what a 16-bit detector can record."""
    def draw(low: float, high: float) -> Tensor:
        return _uniform(low, high, generator, len(images), 1, 1, 1).to(images.device)

    if "blur" in names:
        images = _blur(images, draw(-MAX_BLUR, MAX_BLUR).clamp(min=0))  # half stay sharp
    if "contrast" in names:
        images = grey[0] + draw(1 - MAX_CONTRAST, 1 + MAX_CONTRAST) * (images - grey[0])
    if "brightness" in names:
        images = images + draw(-MAX_BRIGHTNESS, MAX_BRIGHTNESS) * grey[1]
    if "noise" in names:
        std = draw(*noise_range)
        images = images + std * torch.randn(images.shape, generator=generator).to(images.device)
    return images.clamp(0, 65535)


def _blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Blur images (B, C, h, w) with Gaussians of `sigma` px, (B, 1, 1, 1), 0 to 1."""
    offsets = torch.arange(-3, 4, device=images.device)
    kernel = torch.exp(-offsets**2 / (2 * sigma.clamp(min=1e-3)**2)).unsqueeze(1)
    kernel = kernel / kernel.sum(-1, keepdim=True)  # (B, 1, 1, 1, 7)
    images = F.pad(images, (3, 3, 3, 3), mode="replicate")  # (B, C, h + 6, w + 6)
    images = (images.unfold(2, 7, 1) * kernel).sum(-1)  # (B, C, h, w + 6)
    return (images.unfold(3, 7, 1) * kernel).sum(-1)  # (B, C, h, w)


SAMPLERS["UNet", True] = TransformedCropSampler
