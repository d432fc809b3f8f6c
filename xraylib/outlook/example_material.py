"""A made-up material that stands in for the reader's own data in notebook 11.

It looks like data from a laboratory scanner: one 12-bit ImageJ stack with a voxel size, and a stack
of labels in which a person has marked small patches of two slices.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile
from scipy.ndimage import gaussian_filter

from ..files import atomic_folder, home

# The phases of a sandstone (two) and of a composite electrode (four), with their volume fractions.
SANDSTONE = {"pore": 0.25, "quartz": 0.75}
ELECTRODE = {"pore": 0.20, "binder": 0.15, "graphite": 0.50, "silicon": 0.15}
MATERIALS = {"sandstone": SANDSTONE, "electrode": ELECTRODE}
VOXEL_UM = (1.3, 0.65, 0.65)  # along z, y, x: slices are twice as far apart as pixels
GRAIN = 6.0  # px, sigma of the random fields, one per phase; the largest field decides the phase
BLUR, NOISE = 1.0, 60.0  # px; standard deviation in 12-bit grey levels
DARKEST, BRIGHTEST = 900, 3000  # mean grey levels of the first and of the last phase, 12 bit
PATCH = 64  # px, side of a labelled patch
SHAPES = {"tiny": (12, 96, 96), "laptop": (48, 256, 256), "paper": (48, 256, 256)}  # in voxels


def make_volume(fractions: Sequence[float], shape: tuple[int, int, int],
                seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Make a volume of as many phases as there are volume fractions.

    Args:
        fractions: of the phases, adding up to 1.
        shape: slices, height and width in voxels of `VOXEL_UM`.
        seed: of all random numbers.

    Returns:
        Grey levels of 12 bit, uint16 (Z, Y, X), and class indices, uint8 (Z, Y, X).
    """
    rng = np.random.default_rng(seed)
    sigma = GRAIN * VOXEL_UM[2] / np.array(VOXEL_UM)  # round grains, in anisotropic voxels
    fields = np.stack([gaussian_filter(rng.standard_normal(shape, np.float32), sigma, mode="wrap")
                       for _ in fractions])
    fields /= fields.std((1, 2, 3), keepdims=True)
    offsets = np.zeros(len(fractions), np.float32)
    for _ in range(40):  # until each phase has its volume fraction
        phases = np.argmax(fields + offsets[:, None, None, None], 0).astype(np.uint8)
        shares = np.bincount(phases.ravel(), minlength=len(fractions)) / phases.size
        offsets += 1.5 * (np.array(fractions) - shares)
    grey = np.linspace(DARKEST, BRIGHTEST, len(fractions), dtype=np.float32)[phases]
    grey = gaussian_filter(grey, BLUR * VOXEL_UM[2] / np.array(VOXEL_UM))
    grey += NOISE * rng.standard_normal(shape, np.float32)
    return np.rint(grey.clip(0, 4095)).astype(np.uint16), phases


def write_example(folder: Path, fractions: Sequence[float], shape: tuple[int, int, int],
                  seed: int = 0) -> None:
    """Write a made-up material in the form that users have. An existing folder is kept.

    The folder gets images/scan.tif (12 bit, ImageJ stack with voxel size), labels/patches.tif (0:
    not labelled, 1, 2 ...: the phases, in two patches of two slices) and truth/truth.tif, the
    labels of all voxels, which `datasets.load_slices` does not read.

    Args:
        folder: to create.
        fractions, shape, seed: see `make_volume`.
    """
    if folder.exists():
        return
    images, truth = make_volume(fractions, shape, seed)
    labels = np.zeros_like(truth)
    side = min(PATCH, *shape[1:])
    for index, (top, left) in ((shape[0] // 4, (0, 0)),
                               (3 * shape[0] // 4, (shape[1] - side, shape[2] - side))):
        patch = index, slice(top, top + side), slice(left, left + side)
        labels[patch] = truth[patch] + 1
    z, y, x = VOXEL_UM
    metadata = {"axes": "ZYX", "unit": "um", "spacing": z}
    with atomic_folder(folder) as part:
        for name, stack in (("images/scan", images), ("labels/patches", labels),
                            ("truth/truth", truth + np.uint8(1))):
            path = part / f"{name}.tif"
            path.parent.mkdir()
            tifffile.imwrite(path, stack, imagej=True, metadata=metadata,
                             resolution=(1 / x, 1 / y))


def open_example(name: str, profile: str) -> tuple[Path, str]:
    """Write a made-up material if it is missing; return its folder and what its labels mean.

    Args:
        name: "sandstone" or "electrode".
        profile: "tiny", "laptop" or "paper".

    Returns:
        The folder, relative to the working directory, and the text for `--labels`:
        "0=ignore,1=pore,2=quartz".
    """
    folder = home() / "data" / "examples" / f"{name}-{profile}"
    write_example(folder, list(MATERIALS[name].values()), SHAPES[profile])
    meaning = [f"{value}={phase}" for value, phase in enumerate(MATERIALS[name], 1)]
    return Path(os.path.relpath(folder)), ",".join(["0=ignore", *meaning])


def read_truth(folder: Path) -> np.ndarray:
    """Read the true class indices of a made-up material, uint8 (Z, Y, X)."""
    return tifffile.imread(folder / "truth" / "truth.tif") - np.uint8(1)
