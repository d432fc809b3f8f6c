"""Labels that are shifted by a slice or turned are noticed, and nothing else is."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import blobs, generate
from scipy.ndimage import gaussian_filter

from xraylib.data import GreyScale
from xraylib.errors import DataError
from xraylib.formats.alignment import check_alignment, unexplained_variance
from xraylib.losses import IGNORE


def complaint(images: np.ndarray, labels: np.ndarray, places: Sequence[int] | None = None) -> str:
    """What is said of these labels of the images at these places (default: all); "" for nothing."""
    pages = [SimpleNamespace(sparse=lambda step, image=image: image[::step, ::step])
             for image in images]
    classes = dict(zip(places if places is not None else range(len(images)), labels, strict=True))
    try:
        check_alignment(Path("set"), SimpleNamespace(images=pages), classes, GreyScale())
    except DataError as error:
        return str(error)
    return ""


def field(seed: int, along: float, across: float, shape=(24, 72, 96)) -> np.ndarray:
    """Smooth random numbers, alike over these numbers of slices and of pixels."""
    noise = np.random.default_rng(seed).normal(size=(shape[0] + 40, *shape[1:]))
    smooth = gaussian_filter(noise, (along, across, across))[20:-20]
    return smooth / smooth.std()


def thirds(values: np.ndarray) -> np.ndarray:
    """Classes 0, 1, 2 of the lowest, middle and highest third."""
    return np.digitize(values, np.quantile(values, [1 / 3, 2 / 3])).astype(np.uint8)


def microscope(labels: np.ndarray, noise: float = 1500, seed: int = 0) -> np.ndarray:
    """Images of labels."""
    grey = np.array([20000, 32000, 44000])[labels]
    return (grey + np.random.default_rng(seed).normal(0, noise, grey.shape)).astype(np.uint16)


SETS = {
    "blobs": lambda: (np.stack(blobs(20, 48, 48).images), np.stack(blobs(20, 48, 48).labels)),
    "grains": lambda: (microscope(thirds(field(0, 4, 4))), thirds(field(0, 4, 4))),
    "two phases with much noise": lambda: (
        microscope((field(0, 2, 4) > 0).astype(np.uint8), 6000),
        (field(0, 2, 4) > 0).astype(np.uint8)),
    "the built-in material": lambda: (lambda made: (made.images, made.labels))(generate(20, 128)),
}


@pytest.mark.parametrize("name", SETS)
def test_right_labels_are_accepted_and_wrong_ones_are_named(name):
    images, labels = SETS[name]()
    assert complaint(images, labels) == ""
    assert "label of the next slice fits" in complaint(images[1:], labels[:-1])
    assert "label of the previous slice fits" in complaint(images[:-1], labels[1:])
    assert "flipped up-down fits" in complaint(images, labels[:, ::-1])
    assert "flipped left-right fits" in complaint(images, labels[:, :, ::-1])
    assert "turned by 180 degrees fits" in complaint(images, labels[:, ::-1, ::-1])
    if images.shape[1] == images.shape[2]:
        assert "transposed fits" in complaint(images, labels.transpose(0, 2, 1))
    assert 'pairing = "number" into set/dataset.toml' in complaint(images, labels[:, ::-1])


def test_labels_of_every_third_slice_are_compared_with_the_images_between():
    images, labels = SETS["grains"]()
    every = np.arange(1, 22, 3)
    assert complaint(images, labels[every], every) == ""
    assert complaint(images, labels[[7]], [7]) == ""
    assert "previous slice fits" in complaint(images, labels[every + 1], every)
    assert "next slice fits" in complaint(images, labels[every - 1], every)


def test_a_few_labelled_pixels_are_enough():
    images, labels = SETS["grains"]()
    scribbles = np.where(np.random.default_rng(0).random(labels.shape) < 0.97, IGNORE, labels)
    assert complaint(images, scribbles) == ""
    assert "flipped left-right" in complaint(images, scribbles[:, :, ::-1])
    corner = np.full_like(labels, IGNORE)
    corner[:, :32, :32] = labels[:, :32, :32]
    assert complaint(images, corner) == ""


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("across", [3, 20])
@pytest.mark.parametrize("along", [0, 10])
def test_labels_that_have_nothing_to_do_with_grey_levels_are_accepted(along, across, seed):
    labels = thirds(field(seed, along, across))
    images = (32000 + 4000 * field(100 + seed, along, 30 - across)
              + 40 * seed * np.arange(96)).astype(np.uint16)
    assert complaint(images, labels) == ""


@pytest.mark.parametrize("along", [10, 20])
def test_neighbours_that_are_near_copies_are_accepted(along):
    labels = thirds(field(1, along, 8))
    assert np.mean(labels[1:] == labels[:-1]) > 0.95
    assert complaint(microscope(labels, 4000), labels) == ""
    same = np.repeat(labels[:1], 24, 0)
    assert complaint(microscope(same, 4000), same) == ""


def test_slices_with_more_noise_than_their_neighbours_are_accepted():
    labels = thirds(field(2, 10, 8))
    noise = np.random.default_rng(0).normal(0, 1, labels.shape)
    for strength in (np.arange(24) % 2, np.arange(24) / 24):
        images = microscope(labels) + 6000 * strength[:, None, None] * noise
        assert complaint(images.clip(0, 65535).astype(np.uint16), labels) == ""


def test_slices_of_several_sizes_are_compared_where_they_fit():
    images, labels = SETS["grains"]()
    cut = [slice(None, None if index % 2 else -8) for index in range(24)]
    images, labels = ([array[rows] for array, rows in zip(arrays, cut, strict=True)]
                      for arrays in (images, labels))
    assert complaint(images, labels) == ""
    assert "flipped up-down" in complaint(images, [label[::-1] for label in labels])


def test_variance_that_the_phases_leave_unexplained():
    grey = np.array([[1, 3], [11, 13]], np.uint16)
    rows = np.array([[0, 0], [1, 1]], np.uint8)
    assert unexplained_variance(grey, rows) == pytest.approx(4 / 104)
    assert unexplained_variance(grey, np.zeros((2, 2), np.uint8)) == 1
    assert unexplained_variance(grey, np.array([[0, 255], [1, 255]], np.uint8)) == 0
    assert np.isnan(unexplained_variance(grey, np.full((2, 2), IGNORE, np.uint8)))
    assert np.isnan(unexplained_variance(grey * 0, np.zeros((2, 2), np.uint8)))
    assert np.isnan(unexplained_variance(grey, np.zeros((2, 1), np.uint8)))
