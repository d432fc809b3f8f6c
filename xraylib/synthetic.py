"""The built-in data set: a look-alike of the Ni-YSZ slices, generated from random numbers alone.

The real volume (De Angelis et al. 2018, doi:10.5281/zenodo.1040274; segmentation in Brenne, Dahl &
Jørgensen 2020, arXiv:2009.07218) cannot be shipped. Here grains of one phase each (0 pore, 1 YSZ,
2 nickel) are the cells of a 3-D power diagram (a Voronoi tessellation with weighted seeds) with
rounded corners. A simulated microscope blurs them and adds band-limited noise. Every random number
depends only on (seed, purpose, place), so any slice of the endless volume can be generated alone.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from scipy import fft
from scipy.ndimage import gaussian_filter, uniform_filter
from scipy.spatial.distance import cdist
from scipy.special import ndtri

# Grains, with seeds on jittered grids: spacing, share of grid places with a seed, radius by phase
# (its square is the weight in the power diagram), grid steps of smoothing for pore and nickel.
POPULATIONS = {
    "large": (39, 1.000, (0, 0, 14), (0.53, 0.65)),
    "small": (20, 0.038, (14, 14, 14), (0.0, 0.0)),  # closed pores, YSZ inside nickel
}
PORE_BELOW, NICKEL_BELOW = -0.51, -0.98  # limits of a grain's normal numbers; set volume fractions
AVERSION = 0.95  # sets the area of the interface between pore and nickel
FLATTENING = 1.12  # grains are thinner along y, so a line along y crosses more interfaces
SOFTNESS = 50  # voxels squared: how far corners are rounded, see `_closeness`
REACH = 70  # no seed owns a point farther away: diagonal of a grid cell, plus the radius
STEP, TILE = 4, 8  # voxels between the nodes of the power diagram; nodes along y and x at a time
# Specks: slabs cut from balls, on interfaces and some inside nickel. Spacing, smallest and largest
# radius, shares of pore and YSZ (the rest is nickel), kept share of the specks inside nickel.
SPECK_SPACING, SPECK_RADII, SPECK_SHARES, SPECK_ALONE = 41, (4.0, 16.0), (0.50, 0.43), 0.25
# Power spectrum of the noise over frequency f (cycles per pixel): 1 + SLOW / (1 + (f / KNEE)^2)^
# FALL, cut off above CUTOFF as by the filter of a tomographic reconstruction.
NOISE_CUTOFF, NOISE_SLOW, NOISE_KNEE, NOISE_FALL = 0.26, 8.7, 0.02, 0.68
# Weights of successive layers, for correlations along z of 0.65, 0.20, 0.09, 0.15 and 0.11.
NOISE_OVER_Z = (0.620, 0.712, 0.271, 0.021, 0.028, 0.185)
DRIFT, DRIFT_SPACING = 80, 100  # of grey levels: standard deviation, slices between values
# The imitated manual labels compare phase shares that are blurred by LABEL_BLUR px more. LABEL_BIAS
# favours pore over YSZ, pore over nickel, nickel over YSZ; 0.1 moves an edge by about 0.1 px.
LABEL_BLUR, LABEL_BIAS = 1.25, (0.25, 0.10, -0.05)
BLOCK = 32  # slices are computed in aligned blocks, so every caller gets the same numbers
Axes = list[np.ndarray]  # the z, y and x coordinates that span a grid


@dataclass(frozen=True)
class Material:
    """What differs between samples. Lengths are in voxels of 18.4 nm."""

    grain: float = 1.0  # size of all grains, as a multiple of those of Ni-YSZ
    grey: tuple[float, float, float] = (21480, 35206, 41546)  # of pore, YSZ, nickel before blur
    blur: tuple[float, float, float] = (1.19, 1.40, 1.42)  # sigma along z, y, x
    noise: float = 682  # standard deviation in grey levels


@dataclass(frozen=True)
class Sample:
    """Consecutive slices, each array (N, H, W)."""

    images: np.ndarray  # uint16
    labels: np.ndarray  # uint8 class indices, as imperfect as a segmentation by hand
    truth: np.ndarray  # uint8 class indices, perfect


def generate_chunks(n: int, size: int, seed: int, start: int = 0,
                    material: Material = Material()) -> Iterator[Sample]:
    """Generate slices of the volume of a seed. Each slice is the same in every call and range.
    Args:
        n: Number of slices, >= 1.
        size: Side of a slice in px, >= 16. Another size shows the same grains with other noise.
        seed: Of the volume, 0 <= seed < 2^63.
        start: The first slice, >= 0.
        material: Its grains, contrast, blur and noise.
    Returns: Samples of at most 32 consecutive slices. Two samples are computed at a time.
    Raises: ValueError: An argument is out of range.
    """
    if n < 1 or size < 16 or not 0 <= seed < 2**63 or start < 0:
        raise ValueError(f"n must be at least 1, size 16, seed 0 (and below 2^63) and start 0, but "
                         f"n = {n}, size = {size}, seed = {seed}, start = {start}.")
    numbers = range(start // BLOCK, (start + n - 1) // BLOCK + 1)
    with ThreadPoolExecutor(2) as pool:
        waiting = deque(pool.submit(_block, seed, size, i, material) for i in numbers[:2])
        for i in numbers:
            sample = waiting.popleft().result()
            if i + 2 in numbers:
                waiting.append(pool.submit(_block, seed, size, i + 2, material))
            part = slice(max(start - BLOCK * i, 0), start + n - BLOCK * i)
            yield Sample(sample.images[part], sample.labels[part], sample.truth[part])


def _block(seed: int, size: int, number: int, material: Material) -> Sample:
    """The slices BLOCK * number .. BLOCK * (number + 1) - 1 of the volume."""
    start, rim = BLOCK * number, int(np.ceil(3.5 * max(material.blur)))  # rim: the reach of blur
    axes = [np.arange(-rim, BLOCK + rim) + start, *[np.arange(-rim, size + rim)] * 2]
    scaled = [a * f / material.grain for a, f in zip(axes, (1, FLATTENING, 1), strict=True)]
    truth = _microstructure(seed, scaled)
    exposures = list(_exposures(truth, rim, seed, start, material))
    images, labels = (np.stack(part) for part in zip(*exposures, strict=True))
    return Sample(images, labels, truth[(slice(rim, -rim),) * 3])


def _exposures(truth: np.ndarray, rim: int, seed: int, start: int,
               material: Material) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Image uint16 and labels uint8, (H, W), of each slice; `truth` has a rim of `rim` voxels."""
    shape = [fft.next_fast_len(side, real=True) for side in truth.shape[1:]]
    noise, blur, label_blur = _filters(shape, material)
    depth = gaussian_filter(np.eye(1, 2 * rim + 1, rim)[0], material.blur[0]).astype(np.float32)
    low, middle, high = np.array(material.grey, np.float32)
    knots = np.arange(start // DRIFT_SPACING, (start + BLOCK) // DRIFT_SPACING + 2)
    drift = DRIFT * ndtri(_hashed(seed, "drift", [knots, *np.zeros((2, 1))])).ravel()
    for i, white in enumerate(_white_noise(seed, start, len(truth) - 2 * rim, shape)):
        level = middle + np.float32(np.interp(start + i, DRIFT_SPACING * knots, drift))
        layers = list(zip(depth, truth[i : i + len(depth)], strict=True))
        shares = [sum(share * (layer == phase) for share, layer in layers) for phase in (0, 2)]
        pore, nickel = fft.rfft2(np.stack(shares), shape) * blur
        waves = (low - middle) * pore + (high - middle) * nickel + noise * fft.rfft2(white)
        fields = fft.irfft2(np.stack([waves, label_blur * pore, label_blur * nickel]), shape)
        image, pore, nickel = fields[:, rim : truth.shape[1] - rim, rim : truth.shape[2] - rim]
        ysz = 1 - pore - nickel
        pore += LABEL_BIAS[0] * ysz + LABEL_BIAS[1] * nickel
        nickel += LABEL_BIAS[2] * ysz
        label = np.where(nickel > np.maximum(pore, ysz), 2, pore <= ysz)
        yield np.clip(np.rint(image + level), 0, 65535).astype(np.uint16), label.astype(np.uint8)


def _filters(shape: list[int], material: Material) -> list[np.ndarray]:
    """Spectra, float32, of the noise, the blur of the image and the further blur of the labels."""
    y, x = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])
    square = y**2 + x**2
    power = 1 + NOISE_SLOW / (1 + square / NOISE_KNEE**2) ** NOISE_FALL
    root = np.sqrt(power * np.exp(-((square / NOISE_CUTOFF**2) ** 3)))
    noise = root * material.noise / np.linalg.norm(fft.irfft2(root, shape))
    blur = np.exp(-2 * np.pi**2 * ((material.blur[1] * y) ** 2 + (material.blur[2] * x) ** 2))
    label_blur = np.exp(-2 * np.pi**2 * LABEL_BLUR**2 * square)
    return [spectrum.astype(np.float32) for spectrum in (noise, blur, label_blur)]


def _white_noise(seed: int, start: int, n: int, shape: list[int]) -> Iterator[np.ndarray]:
    """Noise of unit variance for n slices, float32, white in the plane and correlated along z."""
    layers: deque[np.ndarray] = deque(maxlen=len(NOISE_OVER_Z))
    for z in range(start, start + n + len(NOISE_OVER_Z) - 1):
        rng = np.random.default_rng([seed, crc32(b"noise"), z])
        layers.append(rng.standard_normal(shape, np.float32))
        if len(layers) == layers.maxlen:
            pairs = zip(NOISE_OVER_Z, layers, strict=True)
            yield np.sum([np.float32(share) * layer for share, layer in pairs], 0)


def _hashed(seed: int, name: str, axes: Axes) -> np.ndarray:
    """Random numbers in (0, 1), functions of (seed, name, z, y, x) alone (splitmix64)."""
    state = np.zeros((1, 1, 1), np.uint64)
    constants = [np.full((1, 1, 1), number) for number in (seed, crc32(name.encode()))]
    for part in (*constants, *np.meshgrid(*axes, indexing="ij", sparse=True)):
        state = (state ^ part.astype(np.int64).view(np.uint64)) + np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
    return ((state >> np.uint64(11)).astype(np.float64) + 0.5) / 2**53


def _microstructure(seed: int, axes: Axes) -> np.ndarray:
    """The true phases, uint8 (Z, Y, X), on the grid that `axes` span."""
    nodes = [a[0] + (a[1] - a[0]) * np.arange(0, len(a) + STEP, STEP) for a in axes]
    grains = _grains(seed, nodes)
    points = np.stack(np.meshgrid(*nodes, indexing="ij"), -1)
    # Rounded values and weights that are quarters make sums exact, in any order of the threads.
    close = np.empty(points.shape, np.float32)
    for i, j in np.ndindex(*(-(-n // TILE) for n in points.shape[1:3])):
        tile = slice(None), slice(TILE * i, TILE * (i + 1)), slice(TILE * j, TILE * (j + 1))
        close[tile] = np.rint(1024 * _closeness(points[tile], *grains)) / 1024
    volume = np.empty([len(a) for a in axes], np.uint8)
    # Linear interpolation is fast as a product with a weight matrix along each axis.
    z, y, x = (np.maximum(1 - abs(np.arange(len(a))[:, None] / STEP - np.arange(len(n))), 0)
               .astype(np.float32) for a, n in zip(axes, nodes, strict=True))
    for few in np.array_split(np.arange(len(volume)), 6):  # to save memory
        pore, nickel = (y @ np.tensordot(z[few], close[..., p] - close[..., 1], 1) @ x.T
                        for p in (0, 2))
        volume[few] = np.where(nickel > np.maximum(pore, 0), 2, pore <= 0)
    _add_specks(volume, seed, axes, grains)
    return volume


def _grains(seed: int, axes: Axes) -> tuple[np.ndarray, np.ndarray]:
    """Seeds of the power diagram around a box: rows (z, y, x, radius), and their phases."""
    rows, phases, far = [], [], REACH + SPECK_RADII[1]  # specks around the box need seeds, too
    for name, (spacing, taken, radii, alike) in POPULATIONS.items():
        nodes = [np.arange((a[0] - far) // spacing - 5, (a[-1] + far) // spacing + 6) for a in axes]
        draw = {what: _hashed(seed, f"{name}-grain {what}", nodes)
                for what in ("z", "y", "x", "taken", "pore", "nickel")}
        pore, nickel = (_smoothed(ndtri(draw[phase]), sigma)
                        for phase, sigma in zip(("pore", "nickel"), alike, strict=True))
        phase = np.where(nickel - AVERSION * pore < NICKEL_BELOW, 2, 1) * (pore >= PORE_BELOW)
        grid = np.meshgrid(*nodes, indexing="ij")
        place = [(grid[i] + draw[axis]) * spacing for i, axis in enumerate("zyx")]
        here = np.pad(draw["taken"][5:-5, 5:-5, 5:-5] < taken, 5)  # without the outer layers
        rows.append(np.stack([*place, np.take(radii, phase)], -1)[here])
        phases.append(phase[here])
    return np.concatenate(rows), np.concatenate(phases)


def _smoothed(white: np.ndarray, sigma: float) -> np.ndarray:
    """Smooth white noise over `sigma` steps, minus its 5 x 5 x 5 local mean, to unit variance."""
    impulse = np.pad(np.ones((1, 1, 1)), 7)
    fields = [gaussian_filter(field, sigma) for field in (white, impulse)]
    alike, response = (field - uniform_filter(field, 5) for field in fields)
    return alike / np.linalg.norm(response)


def _closeness(points: np.ndarray, seeds: np.ndarray, phases: np.ndarray) -> np.ndarray:
    """How close each phase is to `points` (..., 3), float32 (..., 3). The closest one is taken."""
    # log sum exp((r^2 - d^2) / SOFTNESS) over a phase's seeds of radius r at distance d. The
    # largest term alone would give a power diagram; the sum rounds its corners.
    flat = points.reshape(-1, 3)
    low, high = flat.min(0) - REACH, flat.max(0) + REACH
    near = ((seeds[:, :3] > low) & (seeds[:, :3] < high)).all(1)
    power = cdist(flat, seeds[near, :3], "sqeuclidean") - seeds[near, 3] ** 2
    terms = np.exp(np.float32(power / -SOFTNESS))
    sums = [terms[:, phases[near] == phase].sum(1) for phase in range(3)]
    return np.log(np.stack(sums, -1) + np.float32(1e-37)).reshape(points.shape)


def _add_specks(volume: np.ndarray, seed: int, axes: Axes, grains: tuple) -> None:
    """Add specks to `volume` in place: on interfaces of the power diagram, and some in nickel."""
    smallest, largest = SPECK_RADII
    nodes = [np.arange((a[0] - largest) // SPECK_SPACING, (a[-1] + largest) // SPECK_SPACING + 1)
             for a in axes]
    *place, normal_z, normal_y, normal_x, size, kind, alone = (
        _hashed(seed, f"speck {what}", nodes) for what in
        ("z", "y", "x", "normal z", "normal y", "normal x", "radius", "phase", "alone"))
    centres = SPECK_SPACING * np.moveaxis(np.add(np.meshgrid(*nodes, indexing="ij"), place), 0, -1)
    normals = ndtri(np.stack([normal_z, normal_y, normal_x], -1))
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    radii = smallest * (largest / smallest) ** size
    phases = np.searchsorted(np.cumsum(SPECK_SHARES), kind)
    close = np.stack([[_closeness(row, *grains) for row in plane] for plane in centres])
    _, second, first = np.moveaxis(np.sort(close), -1, 0)
    kept = (first - second) * SOFTNESS < 45 * radii  # within half a radius of an interface
    kept |= (close.argmax(-1) == 2) & (alone < SPECK_ALONE)
    for centre, normal, radius, phase in zip(
            *(values[kept] for values in (centres, normals, radii, phases)), strict=True):
        box = tuple(slice(*np.searchsorted(a, (c - radius, c + radius)))
                    for a, c in zip(axes, centre, strict=True))
        near = np.meshgrid(*(a[part] for a, part in zip(axes, box, strict=True)), indexing="ij")
        away = np.stack(near, -1) - centre
        slab = ((away**2).sum(-1) < radius**2) & (np.abs(away @ normal) < radius / 2)
        volume[box][slab] = phase
