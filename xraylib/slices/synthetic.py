"""The built-in data set: a look-alike of the Ni-YSZ slices, grown from random numbers alone.

The real volume (De Angelis et al. 2018, doi:10.5281/zenodo.1040274; segmentation in Brenne, Dahl & Jørgensen 2020,
arXiv:2009.07218) cannot be shipped. Here grains are cells of a 3-D power diagram (a Voronoi tessellation whose seeds
have sizes), each of one phase; corners are rounded, and the microscope adds blur, correlated noise and drift. Every
random number is a function of (seed, what for, where): the volume is endless in z and any slice can be made alone.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import correlate1d, gaussian_filter, uniform_filter
from scipy.spatial import cKDTree
from scipy.special import ndtri

# Grains; lengths are voxels of 18.4 nm. A population: spacing of the jittered grid of seeds, share of places taken,
# radii (the weight in a power diagram is a radius squared), grid steps over which grains are alike (pore, nickel).
POPULATIONS = (
    (41, 1.00, (0.0, 25.0), (0.50, 0.75)),  # grains: interface area, chord lengths, label agreement between slices
    (20, 0.05, (14.0, 20.0), (0.00, 0.00)),  # small ones: closed pores, YSZ inside nickel
)
# Volume fractions: a grain is pore or nickel below these values of its normal random numbers; interface pore-nickel.
PORE_BELOW, NICKEL_BELOW, AVERSION = -0.51, -0.58, 0.45
WARP, WARP_SPACING = 1.8, 9  # bends the facets: standard deviation, spacing of the random lattice
# Specks: small pieces cut by planes. Spacing, range of radii, share of each phase, share kept of those inside nickel.
# Those thinner than the blur are the grey shadows of unresolved features, most of which the labels leave out.
SPECK_SPACING, SPECK_RADII, SPECK_FRACTIONS, SPECK_ALONE = 36, (4.0, 16.0), (0.40, 0.50, 0.10), 0.25
ROUNDING = 1.7  # sigma of the smoothing that rounds corners

# The microscope; grey levels are 16-bit.
GREY = (21480, 35206, 41546)  # of each phase; blur brings the means inside to 21516, 35186, 41510
BLUR = 1.37  # sigma of the point spread function: edges as wide as the real ones when measured alike
NOISE, NOISE_SIGMA = 672, (0.77, 0.91, 0.93)  # standard deviation; sigma over z, y, x: autocorrelation 0.75 / 0.31
DRIFT, DRIFT_SPACING = 170, 150  # slow drift of the grey level: standard deviation, spacing of the random lattice

# The segmentation by hand: a phase's score is a sum of blurred phase fractions (a row of LABEL_GAIN) and smooth noise;
# 0.1 more moves an edge by 0.17 voxels. Real labels give a little more to pore, and to YSZ beside nickel.
LABEL_GAIN, LABEL_NOISE, LABEL_SPACING = ((1, 0.28, 0.12), (0, 1, 0.12), (0, 0, 1)), 0.06, 3

BLOCK = 32  # slices are computed in aligned blocks of this many: the same numbers whoever asks for them
STEP = 4  # spacing of the lattice on which the power diagram is evaluated
HALO = 20  # voxels computed around a block for what reaches into it: rounding, blur, lattice (a multiple of STEP)
Axes = list[np.ndarray]  # the z, y and x coordinates that span a grid


@dataclass(frozen=True)
class Sample:
    """Consecutive slices: images uint16, labels (imperfect) and truth uint8 class indices, each (N, H, W)."""

    images: np.ndarray
    labels: np.ndarray
    truth: np.ndarray


def hashed(seed: int, stream: int, axes: Axes) -> np.ndarray:
    """Uniform random numbers in (0, 1), float64, each a function of (seed, stream, z, y, x) alone (splitmix64)."""
    state = np.zeros((1, 1, 1), np.uint64)
    grid = np.meshgrid(*axes, indexing="ij", sparse=True)
    for part in (np.full((1, 1, 1), seed), np.full((1, 1, 1), stream), *grid):
        state = (state ^ part.astype(np.int64).view(np.uint64)) + np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
    return ((state >> np.uint64(11)).astype(np.float64) + 0.5) / 2**53


def smooth(field: np.ndarray, sigmas: tuple[float, float, float]) -> np.ndarray:
    """Gaussian smoothing that keeps the variance of white noise; the outer 3 sigma are not to be used."""
    for axis, sigma in enumerate(sigmas):
        x = np.arange(-np.ceil(3 * sigma), np.ceil(3 * sigma) + 1)
        weights = np.exp(-0.5 * (x / max(sigma, 1e-6)) ** 2)
        field = correlate1d(field, weights / np.sqrt((weights**2).sum()), axis)
    return field


def resample(lattice: np.ndarray, nodes: Axes, axes: Axes) -> np.ndarray:
    """Linear interpolation of a regular `lattice` (Z, Y, X), known at `nodes`, on the grid spanned by `axes`."""
    for axis, (node, at) in enumerate(zip(nodes, axes, strict=True)):
        place = (at - node[0]) / (node[1] - node[0])
        left = np.minimum(place.astype(int), len(node) - 2)
        share = (place - left).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
        below, lattice = np.take(lattice, left, axis), np.take(lattice, left + 1, axis)
        lattice -= below  # in place: these are the largest arrays of all
        lattice *= share
        lattice += below
    return lattice


def smooth_field(seed: int, stream: int, spacing: int, axes: Axes) -> np.ndarray:
    """Random field of about unit variance, float32, smooth over `spacing` voxels, on the grid spanned by `axes`."""
    nodes = [np.arange(a[0] // spacing - 3, a[-1] // spacing + 5) for a in axes]
    lattice = smooth(ndtri(hashed(seed, stream, nodes)), (1, 1, 1))[3:-3, 3:-3, 3:-3].astype(np.float32)
    return resample(lattice, [n[3:-3] * spacing for n in nodes], axes)


def affinity(white: np.ndarray, sigma: float) -> np.ndarray:
    """White noise on the seeds' grid -> standard normals alike over `sigma` steps (but for the outer layers).

    The mean over 5 x 5 x 5 neighbours is taken off, so that every region gets its fair share of each phase.
    """
    impulse = np.pad(np.ones((1, 1, 1)), 7)
    field, response = (smooth(a, (sigma,) * 3) for a in (white, impulse))
    response -= uniform_filter(response, 5, mode="constant")
    return (field - uniform_filter(field, 5)) / np.sqrt((response**2).sum())


def grains(seed: int, axes: Axes) -> tuple[np.ndarray, np.ndarray]:
    """Seeds of the power diagram that can reach the box `axes`: rows (z, y, x, lift) float64, and their phases.

    The distance to a seed of radius r is |x - seed|^2 - r^2; a fourth coordinate, the `lift` sqrt(R^2 - r^2) with R
    the largest radius, makes an ordinary distance of it, which a k-d tree can search.
    """
    rows, phases, widest = [], [], max(radii[1] for _, _, radii, _ in POPULATIONS)
    for number, (spacing, taken, (low, high), sigmas) in enumerate(POPULATIONS):
        nodes = [np.arange(a[0] // spacing - 8, a[-1] // spacing + 9) for a in axes]
        draw = [hashed(seed, 100 + 10 * number + i, nodes) for i in range(7)]
        pore, nickel = (affinity(ndtri(d), sigma) for d, sigma in zip(draw[5:], sigmas, strict=True))
        phase = np.where(pore < PORE_BELOW, 0, np.where(nickel - AVERSION * pore < NICKEL_BELOW, 2, 1))
        place = [(g + d) * spacing for g, d in zip(np.meshgrid(*nodes, indexing="ij"), draw[:3], strict=True)]
        here = np.pad(draw[3][5:-5, 5:-5, 5:-5] < taken, 5)  # the outer layers only served the affinity
        rows.append(np.stack([*place, np.sqrt(widest**2 - (low + (high - low) * draw[4]) ** 2)], -1)[here])
        phases.append(phase[here])
    return np.concatenate(rows), np.concatenate(phases)


def largest(fields: Iterator[np.ndarray]) -> np.ndarray:
    """Index, uint8, of the field that is largest at each voxel (argmax that holds two fields at a time)."""
    best = next(fields)
    index = np.zeros(best.shape, np.uint8)
    for number, field in enumerate(fields, 1):
        index[field > best] = number
        np.maximum(best, field, out=best)
    return index


def add_specks(phases: np.ndarray, seed: int, axes: Axes) -> None:
    """Cut small angular specks of the SPECK phases into `phases`, in place: on interfaces, and some inside nickel."""
    nodes = [np.arange(a[0] // SPECK_SPACING - 1, a[-1] // SPECK_SPACING + 2) for a in axes]
    draw = np.stack([hashed(seed, 200 + i, nodes).ravel() for i in range(12)], -1)
    corner = np.stack(np.meshgrid(*nodes, indexing="ij"), -1).reshape(-1, 3)
    centres = (corner + draw[:, :3]) * SPECK_SPACING - [a[0] for a in axes]
    normals = ndtri(draw[:, 3:9]).reshape(-1, 2, 3)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    radii = SPECK_RADII[0] * (SPECK_RADII[1] / SPECK_RADII[0]) ** draw[:, 9]
    kinds = np.searchsorted(np.cumsum(SPECK_FRACTIONS[:2]), draw[:, 10])
    for centre, normal, radius, kind, chance in zip(centres, normals, radii, kinds, draw[:, 11], strict=True):
        low, high = (np.maximum(np.rint(centre + side), 0).astype(int) for side in (-radius, radius + 1))
        box = phases[tuple(map(slice, low, high))]
        core = box[tuple(slice(n // 4, n - n // 4) for n in box.shape)]
        if core.size == 0 or (core.min() == core.max() and not (chance < SPECK_ALONE and core.min() == 2)):
            continue
        away = np.indices(box.shape) + (low - centre)[:, None, None, None]
        first, second = np.abs(np.tensordot(normal, away, 1))
        box[((away**2).sum(0) < radius**2) & (first < 0.5 * radius) & (second < 0.7 * radius)] = kind


def microstructure(seed: int, axes: Axes) -> np.ndarray:
    """The phases as they are, uint8 (Z, Y, X), on the grid of voxels spanned by `axes` (its rim is less exact)."""
    nodes = [np.arange(a[0], a[-1] + STEP, STEP) for a in axes]
    grid = np.meshgrid(*nodes, indexing="ij")
    bent = [g + WARP * smooth_field(seed, i, WARP_SPACING, nodes) for i, g in enumerate(grid)]
    points = np.stack([*bent, np.zeros_like(bent[0])], -1)
    seeds, kinds = grains(seed, axes)
    nearness = (-(cKDTree(seeds[kinds == p]).query(points)[0] ** 2).astype(np.float32) for p in range(3))
    phases = largest(resample(near, nodes, axes) for near in nearness)
    add_specks(phases, seed, axes)
    return largest(gaussian_filter((phases == p).astype(np.float32), ROUNDING, truncate=3) for p in range(3))


def pixel_noise(seed: int, axes: Axes) -> np.ndarray:
    """Detector and reconstruction noise of unit variance, float32, drawn slice by slice and correlated over a pixel."""
    shape = (len(axes[1]), len(axes[2]))
    keys = [np.array([seed, int(z) % 2**64], np.uint64) for z in axes[0]]
    rngs = [np.random.Generator(np.random.Philox(key=key)) for key in keys]
    return smooth(np.stack([rng.standard_normal(shape, np.float32) for rng in rngs]), NOISE_SIGMA)


def block(seed: int, size: tuple[int, int], number: int) -> Sample:
    """The slices BLOCK * number .. BLOCK * (number + 1) - 1 of the volume."""
    axes = [np.arange(-HALO, n + HALO) for n in (BLOCK, *size)]
    axes[0] += BLOCK * number
    truth = microstructure(seed, axes)
    cut = (slice(HALO, -HALO),) * 3
    fractions = [gaussian_filter((truth == p).astype(np.float32), BLUR)[cut] for p in range(3)]
    inner = [a[HALO:-HALO] for a in axes]
    image = sum(np.float32(grey) * fraction for grey, fraction in zip(GREY, fractions, strict=True))
    image += DRIFT * smooth_field(seed, 10, DRIFT_SPACING, inner)
    image += NOISE * pixel_noise(seed, [a[HALO - 4 : 4 - HALO] for a in axes])[4:-4, 4:-4, 4:-4]
    labels = largest(sum(np.float32(gain) * fraction for gain, fraction in zip(LABEL_GAIN[p], fractions, strict=True))
                     + LABEL_NOISE * smooth_field(seed, 20 + p, LABEL_SPACING, inner) for p in range(3))
    return Sample(np.clip(np.rint(image), 0, 65535).astype(np.uint16), labels, truth[cut])


def checked(n: int, size: int | tuple[int, int], seed: int, start: int) -> tuple[int, int]:
    """Height and width, once all arguments are found in range."""
    height, width = (size, size) if np.ndim(size) == 0 else size
    if n < 1 or min(height, width) < 16 or not 0 <= seed < 2**63 or start < 0:
        got = f"n = {n}, size = {size}, seed = {seed}, start = {start}"
        raise ValueError(f"n must be at least 1, size 16, seed 0 (and below 2^63) and start 0, got {got}")
    return height, width


def chunks(n: int = 500, size: int | tuple[int, int] = 501, seed: int = 0, start: int = 0) -> Iterator[Sample]:
    """The volume's slices start .. start + n - 1 in runs of at most 32, two computed at a time; see `generate`."""
    shape = checked(n, size, seed, start)
    numbers = range(start // BLOCK, (start + n - 1) // BLOCK + 1)
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(block, seed, shape, i) for i in numbers[:2]]
        for i in numbers:
            sample = waiting.pop(0).result()
            if i + 2 in numbers:
                waiting.append(pool.submit(block, seed, shape, i + 2))
            part = slice(max(start - BLOCK * i, 0), start + n - BLOCK * i)
            yield Sample(sample.images[part], sample.labels[part], sample.truth[part])


def generate(n: int = 500, size: int | tuple[int, int] = 501, seed: int = 0, start: int = 0) -> Sample:
    """Slices start .. start + n - 1 of the volume of `seed`: an endless stack in z of `size` (pixels or (H, W)).

    The same on every call and in any portion: `generate(1, start=k)` is slice k of `generate(500)` exactly. Another
    size cuts the same grains elsewhere, with other noise. ValueError if n < 1, size < 16, or seed or start < 0.
    """
    height, width = checked(n, size, seed, start)
    whole = Sample(*(np.empty((n, height, width), dtype) for dtype in (np.uint16, np.uint8, np.uint8)))
    done = 0
    for part in chunks(n, size, seed, start):
        for name, array in vars(whole).items():
            array[done : done + len(part.images)] = getattr(part, name)
        done += len(part.images)
    return whole
