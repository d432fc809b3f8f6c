"""Checks that labels belong to their images, by how well they explain the grey levels."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np

from ..data import GreyScale
from ..errors import DataError
from ..losses import IGNORE
from .grey import to_uint16
from .layouts import DATASET_FILE, Pairs

SAMPLE, SIDE = 8, 256  # pairs to check; pixels to use per side, at most
# An alternative is better if it leaves less than this share of the labels' unexplained variance.
BETTER_NEIGHBOUR, BETTER_TURN = 0.9, 0.75
MOST = 0.75  # share of the pairs that must agree
TURNS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "flipped up-down": lambda mask: mask[::-1],
    "flipped left-right": lambda mask: mask[:, ::-1],
    "turned by 180 degrees": lambda mask: mask[::-1, ::-1],
    "transposed": np.transpose,
}
NEIGHBOURS = {"of the next slice": 1, "of the previous slice": -1}


def unexplained_variance(image: np.ndarray, mask: np.ndarray) -> float:
    """Return the share of the grey levels' variance that lies within the phases, 0..1, or nan.
    Args:
        image, mask: Grey levels and class indices, (H, W); pixels without a label are left out.
    """
    labels = mask[mask != IGNORE]
    if image.shape != mask.shape or not labels.size:
        return np.nan
    grey = image[mask != IGNORE].astype(np.float64)
    grey -= grey.mean()
    counts, total = np.bincount(labels), np.square(grey).sum()
    between = np.square(np.bincount(labels, grey)) / np.maximum(counts, 1)
    return float(1 - between.sum() / total) if total else np.nan


def check_alignment(folder: Path, pairs: Pairs, classes: Mapping[int, np.ndarray],
                    scale: GreyScale) -> None:
    """Raise `DataError` if labels fit clearly better when turned, or with a neighbouring image.

    An alternative must leave less variance unexplained than the labels as they are, and less than
    labels moved within the slice, which fit by chance only. The label of one neighbour must fit
    better and the label of the other worse. This excludes noise in a slice as the cause.
    Args:
        folder, pairs, scale: The data set; its images and labels; how its images become uint16.
        classes: Class indices of each label, uint8 (H, W), by the index of its image.
    """
    chosen = np.random.default_rng(0).permutation(list(classes))[:SAMPLE]
    rows = [dict(_fits(pairs, classes, index, scale)) for index in chosen.tolist()]
    left = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    own = left.pop("own")
    by_chance = [left.pop(name) for name in list(left) if name.startswith("moved")]
    better = {}
    for name, other in left.items():
        both = np.isfinite(own + other)
        share = BETTER_NEIGHBOUR if name in NEIGHBOURS else BETTER_TURN
        if not both.any() or (other < share * own)[both].mean() < MOST:
            continue
        limits = [own, *by_chance]
        if name in NEIGHBOURS:
            (opposite,) = set(NEIGHBOURS) - {name}
            worse = np.isfinite(own + left[opposite])
            if not (left[opposite] > own)[worse].mean() >= MOST:
                continue
        if all(other[both].mean() < share * np.nanmean(each[both]) for each in limits):
            better[name] = other[both].mean()
    if better:
        name = min(better, key=better.__getitem__)
        label = f"the label {name}" if name in NEIGHBOURS else f"its label {name}"
        raise DataError(f"{folder}: {label} fits the grey levels of a slice better than its own "
                        f"label as it is, in most of {len(chosen)} slices. Check that images and "
                        "labels have the same numbers and orientation. If all is right, write "
                        f'pairing = "number" into {folder / DATASET_FILE}.')


def _fits(pairs: Pairs, classes: Mapping[int, np.ndarray], index: int,
          scale: GreyScale) -> Iterator[tuple[str, float]]:
    """Yield the variance that the label of an image, and each alternative, leaves unexplained."""
    mask = classes[index]
    step = -(-max(mask.shape) // SIDE)

    @cache
    def image(place: int) -> np.ndarray:
        return to_uint16(pairs.images[place].sparse(step), scale)

    def fit(place: int, label: np.ndarray) -> float:
        return unexplained_variance(image(place), label[::step, ::step])

    yield "own", fit(index, mask)
    for name, turn in TURNS.items():
        yield name, fit(index, turn(mask))
    for name, move in NEIGHBOURS.items():
        if index + move in classes:
            yield name, fit(index, classes[index + move])
        else:  # that slice has no label: compare this label with the image on the other side
            place = index - move
            inside = 0 <= place < len(pairs.images)
            yield name, fit(place, mask) if inside else np.nan
    for share in product((0.25, 0.5, 0.75), repeat=2):
        by = [round(part * side) for part, side in zip(share, mask.shape, strict=True)]
        yield f"moved by {share}", fit(index, np.roll(mask, by, (0, 1)))
