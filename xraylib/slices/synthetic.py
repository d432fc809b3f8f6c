"""The built-in data set: a look-alike of the Ni-YSZ slices, grown from random numbers alone.

The real volume (De Angelis et al. 2018, doi:10.5281/zenodo.1040274; segmentation in Brenne, Dahl & Jørgensen 2020,
arXiv:2009.07218) cannot be shipped. Here grains are cells of a 3-D power diagram (a Voronoi tessellation whose seeds
have sizes) with rounded corners, each of one phase; the microscope blurs them and adds band-limited noise. Every random
number is a function of (seed, what for, where): the volume is endless in z and any slice can be made alone. Arrays are
float32: on another processor a grey level may come out one higher or lower.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from zlib import crc32

import numpy as np
from scipy import fft
from scipy.ndimage import gaussian_filter, uniform_filter
from scipy.spatial.distance import cdist
from scipy.special import ndtri


@dataclass(frozen=True)
class Material:
    """What differs between samples. Lengths are in voxels (of 18.4 nm), grey levels of 16 bits."""

    grain: float = 1.0  # size of all grains, as a multiple of those of Ni-YSZ
    grey: tuple[float, float, float] = (21480, 35206, 41546)  # of pore, YSZ, nickel; blur brings them closer together
    blur: tuple[float, float, float] = (1.19, 1.40, 1.42)  # sigma along z, y, x: 10-90 % edges of 3.0, 3.5, 3.6 voxels
    noise: float = 682  # standard deviation


# Grains. Their seeds lie on jittered grids: spacing, share of places taken, radius by phase (squared, the weight in the
# power diagram), grid steps over which grains are alike (as to pore, as to nickel).
POPULATIONS = {
    "large": (39, 1.000, (0, 0, 14), (0.53, 0.65)),  # volumes, interfaces, chords, agreement between slices
    "small": (20, 0.038, (14, 14, 14), (0.0, 0.0)),  # closed pores, YSZ inside nickel
}
# Volume fractions: a grain is pore or nickel below these values of its normal random numbers; interface pore-nickel.
PORE_BELOW, NICKEL_BELOW, AVERSION = -0.51, -0.98, 0.95
FLATTENED = 1.12  # grains are thinner along y by this factor: a tenth more interfaces are crossed along it
SOFTNESS = 50  # voxels squared: how far corners are rounded, see `closeness`
REACH = 70  # no seed owns a point farther away: diagonal of a grid cell, and a little for the radius
# Specks: slabs cut from balls, on interfaces and some inside nickel. Spacing, smallest and largest radius, share of
# pore and of YSZ (the rest is nickel), share kept of those inside nickel. Those thinner than the blur are the grey
# shadows of unresolved features, most of which the labels leave out.
SPECK_SPACING, SPECK_RADII, SPECK_SHARES, SPECK_ALONE = 41, (4.0, 16.0), (0.50, 0.43), 0.25

# Power spectrum of the noise over frequency f, cycles per pixel: 1 + SLOW / (1 + (f / KNEE)^2)^FALL, cut off beyond
# CUTOFF as by the filter of a tomographic reconstruction; shares of successive layers, which correlate it along z.
NOISE_CUTOFF, NOISE_SLOW, NOISE_KNEE, NOISE_FALL = 0.26, 8.7, 0.02, 0.68
NOISE_OVER_Z = (0.620, 0.712, 0.271, 0.021, 0.028, 0.185)  # unit norm; autocorrelation 0.65, 0.20, 0.09, 0.15, 0.11
DRIFT, DRIFT_SPACING = 80, 100  # of the grey level along z: standard deviation, slices between its random values

# The segmentation by hand compares phase fractions blurred by LABEL_BLUR pixels more: it rounds corners and leaves out
# specks. It favours pore over YSZ, pore over nickel, nickel over YSZ: 0.1 moves an edge by a good 0.1 pixels.
LABEL_BLUR, LABEL_BIAS = 1.25, (0.25, 0.10, -0.05)

BLOCK = 32  # slices are computed in aligned blocks of this many: the same numbers whoever asks for them
STEP, TILE = 4, 8  # voxels between the nodes at which the power diagram is evaluated; nodes along y and x at a time
Axes = list[np.ndarray]  # the z, y and x coordinates that span a grid


@dataclass(frozen=True)
class Sample:
    """Consecutive slices: images uint16, labels (imperfect) and truth uint8 class indices, each (N, H, W)."""

    images: np.ndarray
    labels: np.ndarray
    truth: np.ndarray


def hashed(seed: int, name: str, axes: Axes) -> np.ndarray:
    """Uniform random numbers in (0, 1), float64, each a function of (seed, name, z, y, x) alone (splitmix64)."""
    state = np.zeros((1, 1, 1), np.uint64)
    grid = np.meshgrid(*axes, indexing="ij", sparse=True)
    for part in (np.full((1, 1, 1), seed), np.full((1, 1, 1), crc32(name.encode())), *grid):
        state = (state ^ part.astype(np.int64).view(np.uint64)) + np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
    return ((state >> np.uint64(11)).astype(np.float64) + 0.5) / 2**53


def affinity(white: np.ndarray, sigma: float) -> np.ndarray:
    """White noise on the seeds' grid -> standard normals alike over `sigma` steps (but for the outer 5 layers).

    The mean over 5 x 5 x 5 neighbours is taken off, so that every region gets its fair share of each phase.
    """
    impulse = np.pad(np.ones((1, 1, 1)), 7)
    alike, response = (a - uniform_filter(a, 5) for a in (gaussian_filter(f, sigma) for f in (white, impulse)))
    return alike / np.linalg.norm(response)


def grains(seed: int, axes: Axes) -> tuple[np.ndarray, np.ndarray]:
    """Seeds of the power diagram in reach of the box `axes`: rows (z, y, x, radius), float64, and their phases."""
    rows, phases, far = [], [], REACH + SPECK_RADII[1]  # specks around the box want their seeds too
    for name, (spacing, taken, radii, alike) in POPULATIONS.items():
        nodes = [np.arange((a[0] - far) // spacing - 5, (a[-1] + far) // spacing + 6) for a in axes]
        draw = {what: hashed(seed, f"{name}-grain {what}", nodes)
                for what in ("z", "y", "x", "taken", "pore", "nickel")}
        pore, nickel = (affinity(ndtri(draw[p]), sigma) for p, sigma in zip(("pore", "nickel"), alike, strict=True))
        phase = np.where(pore < PORE_BELOW, 0, np.where(nickel - AVERSION * pore < NICKEL_BELOW, 2, 1))
        place = [(g + draw[w]) * spacing for g, w in zip(np.meshgrid(*nodes, indexing="ij"), "zyx", strict=True)]
        here = np.pad(draw["taken"][5:-5, 5:-5, 5:-5] < taken, 5)  # the outer layers only served the affinity
        rows.append(np.stack([*place, np.take(radii, phase)], -1)[here])
        phases.append(phase[here])
    return np.concatenate(rows), np.concatenate(phases)


def closeness(points: np.ndarray, seeds: np.ndarray, phases: np.ndarray) -> np.ndarray:
    """How close each phase is to `points` (N, 3): float32 (N, 3), in units of SOFTNESS; the closest owns the point.

    The logarithm of the sum over its seeds, d away and of radius r, of exp((r^2 - d^2) / SOFTNESS): the largest term
    alone would give a power diagram, the sum rounds its corners.
    """
    near = ((seeds[:, :3] > points.min(0) - REACH) & (seeds[:, :3] < points.max(0) + REACH)).all(1)
    power = cdist(points, seeds[near, :3], "sqeuclidean") - seeds[near, 3] ** 2
    terms = np.exp(np.float32(power / -SOFTNESS))
    return np.log(np.stack([terms[:, phases[near] == phase].sum(1) for phase in range(3)], -1) + np.float32(1e-37))


def add_specks(phases: np.ndarray, seed: int, axes: Axes, seeds: np.ndarray, kinds: np.ndarray) -> None:
    """Cut specks into `phases`, in place: those on interfaces of the power diagram of `seeds`, and some in nickel."""
    smallest, largest = SPECK_RADII
    nodes = [np.arange((a[0] - largest) // SPECK_SPACING, (a[-1] + largest) // SPECK_SPACING + 1) for a in axes]
    z, y, x, normal_z, normal_y, normal_x, size, phase, alone = (
        hashed(seed, f"speck {what}", nodes).ravel()
        for what in ("z", "y", "x", "normal z", "normal y", "normal x", "radius", "phase", "alone"))
    centres = np.stack(np.meshgrid(*nodes, indexing="ij"), -1).reshape(-1, 3) + np.stack([z, y, x], -1)
    centres *= SPECK_SPACING
    normals = ndtri(np.stack([normal_z, normal_y, normal_x], -1))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    radii, kind = smallest * (largest / smallest) ** size, np.searchsorted(np.cumsum(SPECK_SHARES), phase)
    close = np.concatenate([closeness(row, seeds, kinds) for row in centres.reshape(-1, len(nodes[2]), 3)])
    _, second, first = np.sort(close, 1).T
    kept = (first - second) * SOFTNESS < 45 * radii  # d^2 differs by about 90 voxels a voxel: within half a radius
    kept |= (close.argmax(1) == 2) & (alone < SPECK_ALONE)
    for centre, normal, radius, number in zip(*(v[kept] for v in (centres, normals, radii, kind)), strict=True):
        part = tuple(slice(*np.searchsorted(a, (c - radius, c + radius))) for a, c in zip(axes, centre, strict=True))
        away = np.stack(np.meshgrid(*(a[p] for a, p in zip(axes, part, strict=True)), indexing="ij"), -1) - centre
        phases[part][((away**2).sum(-1) < radius**2) & (np.abs(away @ normal) < radius / 2)] = number


def microstructure(seed: int, axes: Axes) -> np.ndarray:
    """The phases as they are, uint8 (Z, Y, X), on the grid spanned by `axes`."""
    nodes = [a[0] + (a[1] - a[0]) * np.arange(0, len(a) + STEP, STEP) for a in axes]
    seeds, kinds = grains(seed, nodes)
    points = np.stack(np.meshgrid(*nodes, indexing="ij"), -1)
    close = np.empty(points.shape, np.float32)
    for i, j in np.ndindex(*(-(-n // TILE) for n in points.shape[1:3])):
        tile = (slice(None), slice(TILE * i, TILE * (i + 1)), slice(TILE * j, TILE * (j + 1)))
        close[tile] = closeness(points[tile].reshape(-1, 3), seeds, kinds).reshape(close[tile].shape)
    close = np.rint(1024 * close) / 1024  # with weights that are fourths, sums are exact, however many threads add them
    phases = np.empty([len(a) for a in axes], np.uint8)
    # Linear interpolation is a product with a matrix of weights along each axis: faster than looking neighbours up.
    z, y, x = (np.float32(np.maximum(1 - np.abs(np.arange(len(a))[:, None] / STEP - np.arange(len(n))), 0))
               for a, n in zip(axes, nodes, strict=True))
    for some in np.array_split(np.arange(len(phases)), 6):  # a few slices at a time: these are the largest arrays
        pore, nickel = (y @ np.tensordot(z[some], close[..., p] - close[..., 1], 1) @ x.T for p in (0, 2))
        phases[some] = np.where(nickel > np.maximum(pore, 0), 2, pore <= 0)
    add_specks(phases, seed, axes, seeds, kinds)
    return phases


def white_noise(seed: int, start: int, n: int, shape: list[int]) -> Iterator[np.ndarray]:
    """For each of `n` slices: noise of unit variance, float32, white in the plane and correlated along z."""
    layers: deque[np.ndarray] = deque(maxlen=len(NOISE_OVER_Z))
    for z in range(start, start + n + len(NOISE_OVER_Z) - 1):
        layers.append(np.random.default_rng([seed, crc32(b"noise"), z]).standard_normal(shape, np.float32))
        if len(layers) == layers.maxlen:
            yield sum(np.float32(share) * layer for share, layer in zip(NOISE_OVER_Z, layers, strict=True))


def exposures(truth: np.ndarray, rim: int, seed: int, start: int, material: Material) -> Iterator[tuple]:
    """Image uint16 and labels uint8, (H, W), of each slice from `start` on; `truth` has a rim of `rim` voxels."""
    shape = [fft.next_fast_len(side, real=True) for side in truth.shape[1:]]
    y, x = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])
    square = y**2 + x**2
    power = (1 + NOISE_SLOW / (1 + square / NOISE_KNEE**2) ** NOISE_FALL) * np.exp(-((square / NOISE_CUTOFF**2) ** 3))
    noise = np.float32(np.sqrt(power) * material.noise / np.linalg.norm(fft.irfft2(np.sqrt(power), shape)))
    blur = np.float32(np.exp(-2 * np.pi**2 * ((material.blur[1] * y) ** 2 + (material.blur[2] * x) ** 2)))
    more = np.float32(np.exp(-2 * np.pi**2 * LABEL_BLUR**2 * square))
    depth = np.float32(gaussian_filter(np.eye(1, 2 * rim + 1, rim)[0], material.blur[0]))
    low, middle, high = np.float32(material.grey)
    knots = np.arange(start // DRIFT_SPACING, (start + BLOCK) // DRIFT_SPACING + 2)
    levels = DRIFT * ndtri(hashed(seed, "drift", [knots, *np.zeros((2, 1))])).ravel()
    for i, white in enumerate(white_noise(seed, start, len(truth) - 2 * rim, shape)):
        level = middle + np.float32(np.interp(start + i, DRIFT_SPACING * knots, levels))
        layers = list(zip(depth, truth[i : i + len(depth)], strict=True))
        fractions = [sum(share * (layer == phase) for share, layer in layers) for phase in (0, 2)]
        pore, nickel = fft.rfft2(np.stack(fractions), shape) * blur
        waves = (low - middle) * pore + (high - middle) * nickel + noise * fft.rfft2(white)
        whole = fft.irfft2(np.stack([waves, more * pore, more * nickel]), shape)
        image, pore, nickel = whole[:, rim : truth.shape[1] - rim, rim : truth.shape[2] - rim]
        ysz = 1 - pore - nickel
        pore += LABEL_BIAS[0] * ysz + LABEL_BIAS[1] * nickel
        nickel += LABEL_BIAS[2] * ysz
        label = np.where(nickel > np.maximum(pore, ysz), 2, pore <= ysz)
        yield np.clip(np.rint(image + level), 0, 65535).astype(np.uint16), label.astype(np.uint8)


def block(seed: int, size: tuple[int, int], number: int, material: Material) -> Sample:
    """The slices BLOCK * number .. BLOCK * (number + 1) - 1 of the volume."""
    start, rim = BLOCK * number, int(np.ceil(3.5 * max(material.blur)))  # from so far away blur reaches into the block
    axes = [np.arange(-rim, n + rim) + first for n, first in zip((BLOCK, *size), (start, 0, 0), strict=True)]
    truth = microstructure(seed, [a * f / material.grain for a, f in zip(axes, (1, FLATTENED, 1), strict=True)])
    images, labels = (np.stack(part) for part in zip(*exposures(truth, rim, seed, start, material), strict=True))
    return Sample(images, labels, truth[(slice(rim, -rim),) * 3])


def chunks(n: int = 500, size: int | tuple[int, int] = 501, seed: int = 0, start: int = 0,
           material: Material = Material()) -> Iterator[Sample]:
    """The volume's slices start .. start + n - 1 in runs of at most 32, two computed at a time; see `generate`."""
    shape = (size, size) if np.ndim(size) == 0 else tuple(size)
    if n < 1 or min(shape) < 16 or not 0 <= seed < 2**63 or start < 0:
        got = f"n = {n}, size = {size}, seed = {seed}, start = {start}"
        raise ValueError(f"n must be at least 1, size 16, seed 0 (and below 2^63) and start 0, got {got}")
    numbers = range(start // BLOCK, (start + n - 1) // BLOCK + 1)
    with ThreadPoolExecutor(2) as pool:
        waiting = deque(pool.submit(block, seed, shape, i, material) for i in numbers[:2])
        for i in numbers:
            sample = waiting.popleft().result()
            if i + 2 in numbers:
                waiting.append(pool.submit(block, seed, shape, i + 2, material))
            part = slice(max(start - BLOCK * i, 0), start + n - BLOCK * i)
            yield Sample(sample.images[part], sample.labels[part], sample.truth[part])


def generate(n: int = 500, size: int | tuple[int, int] = 501, seed: int = 0, start: int = 0,
             material: Material = Material()) -> Sample:
    """Slices start .. start + n - 1 of the volume of `seed`: an endless stack in z of `size` (pixels or (H, W)).

    The same on every call and in any portion: `generate(1, start=k)` is slice k of `generate(500)` exactly. Another
    size cuts the same grains elsewhere, with other noise. ValueError if n < 1, size < 16, or seed or start < 0.
    """
    parts = list(chunks(n, size, seed, start, material))
    return Sample(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Sample)))
