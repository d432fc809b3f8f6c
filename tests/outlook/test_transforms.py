"""Transforms of training crops, compared with results by hand where there are any."""

import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from conftest import blobs
from test_augment import crops_of, sampler_of
from test_training import PUBLISHED, RECIPE, TRAIN, TRANSFORMED, UNPADDED
from torch import Tensor
from torch.nn import functional as F

from xraylib.augment import mirror_pad
from xraylib.data import Slices
from xraylib.datasets import cut_window
from xraylib.outlook import transforms
from xraylib.outlook.transforms import (
    GEOMETRIC,
    INTENSITY,
    MAX_ANGLE,
    MAX_SHIFT,
    SCALES,
    apply_transforms,
    example_crop,
    resample,
    rotated_and_scaled,
    sampling_positions,
    transform_margin,
)
from xraylib.training import TRANSFORMS

GREY = torch.tensor([33_300.0, 7_250.0])  # mean and standard deviation of the built-in slices
SETS = [names for n in (1, 2, 3) for names in combinations(GEOMETRIC, n)]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def disks(batch: int, height: int, width: int) -> Tensor:
    """Labels in rings of 9 px, 0 1 2 1 0 ..., int64 (B, H, W)."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    rings = [torch.hypot(y - 7.0 - 3 * k, x - 9.0 - 2 * k) for k in range(batch)]
    return 2 - ((torch.stack(rings) / 9).long() % 4 - 2).abs()


def window(names: tuple[str, ...], side: int = 32, batch: int = 6) -> tuple[Tensor, Tensor, int]:
    """Images that are their labels times 10,000, with the margin that these transforms need."""
    margin = transform_margin(side, names)
    labels = disks(batch, side + 2 * margin, side + 2 * margin)
    return 10_000.0 * labels.unsqueeze(1), labels, margin


def transformed(names: tuple[str, ...], seed: int = 0, noise_std: float = 700):
    images, labels, margin = window(names)
    return apply_transforms(images, labels, names, margin, GREY, (0, noise_std), generator(seed))


def changed(images: Tensor, *names: str, noise: tuple[float, float] = (0, 0)) -> Tensor:
    """These images after intensity transforms."""
    labels = torch.zeros(len(images), *images.shape[2:], dtype=torch.int64)
    return apply_transforms(images, labels, names, 0, GREY, noise, generator())[0]


# -- all transforms --------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [(), *((name,) for name in TRANSFORMS), TRANSFORMS])
def test_crops_keep_their_type_and_shape_and_stay_within_16_bits(names):
    images, labels = transformed(names, noise_std=5000)
    assert (images.dtype, images.shape) == (torch.float32, (6, 1, 32, 32))
    assert (labels.dtype, labels.shape) == (torch.int64, (6, 32, 32))
    assert set(labels.unique().tolist()) == {0, 1, 2}
    assert images.min() >= 0 and images.max() <= 65535


def test_without_a_name_nothing_is_drawn_and_nothing_changes():
    images, labels, margin = window(())
    source = generator()
    same, taken = apply_transforms(images, labels, (), margin, GREY, (0, 700), source)
    assert margin == 0 and torch.equal(same, images) and torch.equal(taken, labels)
    assert torch.equal(source.get_state(), generator().get_state())


def test_the_generator_decides_and_the_order_of_the_names_does_not():
    first, labels = transformed(TRANSFORMS)
    for again, taken in (transformed(TRANSFORMS), transformed(TRANSFORMS[::-1])):
        assert torch.equal(first, again) and torch.equal(labels, taken)
    assert not torch.equal(first, transformed(TRANSFORMS, seed=1)[0])


@pytest.mark.parametrize("names", [*SETS, ("brightness",), ("contrast",), ("noise",)])
def test_every_crop_of_a_batch_is_transformed_in_its_own_way(names):
    images, labels, margin = window(names, batch=1)
    images, labels = images.expand(8, -1, -1, -1), labels.expand(8, -1, -1)
    crops, _ = apply_transforms(images, labels, names, margin, GREY, (0, 700), generator())
    assert len({crop.numpy().tobytes() for crop in crops}) == 8


# -- geometric -------------------------------------------------------------------------------------


def test_an_angle_of_0_and_a_scale_of_1_give_the_middle_of_the_window():
    images, labels = torch.rand(2, 1, 12, 15) * 40_000, disks(2, 12, 15)
    where = rotated_and_scaled(6, 9, torch.zeros(2), torch.ones(2))
    same, taken = resample(images, labels, where)
    assert torch.equal(taken, labels[:, 3:9, 3:12])
    assert torch.allclose(same, images[..., 3:9, 3:12], atol=0.1)


def test_a_quarter_turn_is_a_quarter_turn():
    images, labels = torch.rand(1, 1, 8, 8) * 40_000, disks(1, 8, 8)
    where = rotated_and_scaled(8, 8, torch.tensor([90.0]), torch.ones(1))
    rotated, taken = resample(images, labels, where)
    assert torch.equal(taken, labels.rot90(1, (1, 2)))
    assert torch.allclose(rotated, images.rot90(1, (2, 3)), atol=0.1)


def test_a_scale_of_2_reads_every_half_pixel():
    ramp = torch.arange(9.0).expand(1, 1, 9, 9)
    where = rotated_and_scaled(5, 5, torch.zeros(1), torch.tensor([2.0]))
    scaled, _ = resample(ramp, ramp[0].long(), where)
    assert torch.allclose(scaled[0, 0], torch.tensor([3.0, 3.5, 4.0, 4.5, 5.0]).expand(5, 5))


@pytest.mark.parametrize("names", SETS)
def test_image_and_label_move_together(names):
    """An image that is its label times 10,000 stays one, except at interfaces."""
    images, labels = transformed(names)
    error = (images[:, 0] - 10_000 * labels).abs()
    highest, lowest = (F.max_pool2d(sign * labels.float(), 5, 1) * sign for sign in (1, -1))
    inside = error[:, 2:-2, 2:-2][highest == lowest]  # where 5 x 5 px have one label
    assert (inside < 0.1).all() and 0.2 < inside.numel() / highest.numel() < 0.8
    assert error.max() < 7_501  # the nearest of four pixels has a weight of at least 1/4


@pytest.mark.parametrize("names", SETS)
@pytest.mark.parametrize(("rows", "columns"), [(32, 32), (4, 4), (40, 36), (1, 9)])
def test_no_crop_reads_beyond_its_margin(names, rows, columns):
    where = sampling_positions(2000, rows, columns, names, generator())
    margin = transform_margin(max(rows, columns), names)
    reach = torch.tensor([columns - 1, rows - 1]) / 2 + margin
    assert (where.abs().amax((0, 1, 2)) <= reach).all()
    if {"rotate", "scale"} <= set(names):
        angle, scale = torch.tensor([MAX_ANGLE]), torch.tensor([SCALES[0]])
        extreme = rotated_and_scaled(rows, columns, angle, scale)
        assert (extreme.abs().amax((0, 1, 2)) <= reach).all()
        assert where.abs().max() > max(rows, columns) / 2  # and the margin is read


def test_margins_by_hand():
    # 19.6 - 16, 18.8 - 16 and 2 x 2 px
    assert [transform_margin(32, (name,)) for name in TRANSFORMS] == [4, 3, 4, 0, 0, 0, 0]
    assert transform_margin(32, TRANSFORMS) == math.ceil(16 * 1.2247 / 0.85 - 16 + 4) == 12


def test_edges_are_mirrored_and_nothing_is_copied_without_need():
    array = np.arange(12, dtype=np.uint16).reshape(3, 4)
    assert mirror_pad(array, 0) is array
    wide = mirror_pad(array, 3)  # more than the slice has, so it is mirrored again
    assert wide.dtype == np.uint16 and wide.shape == (9, 10)
    assert wide[3].tolist() == [3, 2, 1, 0, 1, 2, 3, 2, 1, 0]
    assert wide[:, 3].tolist() == [4, 8, 4, 0, 4, 8, 4, 0, 4]
    images = torch.from_numpy(wide.astype(np.float32))[None, None]
    labels = torch.from_numpy(wide.astype(np.int64))[None]
    read, _ = resample(images, labels, torch.tensor([[[[-2.5, 0.0], [2.5, 0.0]]]]))
    # One pixel beyond either edge of row 1, which holds 4 to 7.
    assert torch.allclose(read.flatten(), torch.tensor([5.0, 6.0]))


def test_elastic_moves_a_few_pixels_smoothly_and_folds_nothing():
    still = rotated_and_scaled(32, 32, torch.zeros(1), torch.ones(1))
    where = sampling_positions(500, 32, 32, ("elastic",), generator())
    shifts = where - still
    assert 0.8 < shifts.std() < 1.3 and shifts.mean().abs() < 0.05
    assert shifts.abs().max() < 2 * MAX_SHIFT
    along_x, along_y = where.diff(dim=2)[:, :-1], where.diff(dim=1)[:, :, :-1]  # (B, 31, 31, 2)
    area = along_x[..., 0] * along_y[..., 1] - along_x[..., 1] * along_y[..., 0]  # of each pixel
    assert (area > 0).all() and 0.1 < area.std() < 0.4


def test_bilinear_sampling_leaves_two_thirds_of_the_noise():
    """The number of the docstring: (1 - t)^2 + t^2 of the variance is left along each axis.

    Its mean over t is 2/3.
    """
    noise = torch.randn(50, 1, 60, 60, generator=generator())
    where = sampling_positions(50, 32, 32, GEOMETRIC, generator())
    read, _ = resample(noise, torch.zeros(50, 60, 60, dtype=torch.int64), where)
    assert float(read.std()) == pytest.approx(2 / 3, abs=0.03)


# -- intensity -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", INTENSITY)
def test_labels_stay_under_intensity_transforms(name):
    assert torch.equal(transformed((name,))[1], window(())[1])


def flat(level: float, batch: int = 2000, side: int = 2) -> Tensor:
    """Crops of one grey level."""
    return torch.full((batch, 1, side, side), level)


def test_brightness_shifts_a_crop_by_at_most_a_fifth_of_a_standard_deviation():
    images = flat(30_000)
    images[..., 0] += 1000
    shift = changed(images, "brightness") - images
    assert (shift == shift[..., :1, :1]).all()  # all pixels alike
    assert 1400 < shift.max() <= 1450 and -1450 <= shift.min() < -1400 and shift.mean().abs() < 60


def test_contrast_stretches_about_the_training_mean():
    level = changed(flat(43_300), "contrast")  # 10,000 above the mean
    assert 42_300 <= level.min() < 42_330 and 44_270 < level.max() <= 44_300
    assert torch.equal(changed(flat(33_300), "contrast"), flat(33_300))


def test_brightness_and_contrast_together_keep_the_phases_apart():
    pore, ysz, nickel = (changed(flat(level), "brightness", "contrast")
                         for level in (21_500, 35_200, 41_500))
    assert pore.max() < ysz.min() and ysz.max() < nickel.min()


@pytest.mark.parametrize(("low", "high"), [(0, 700), (500, 700), (700, 700)])
def test_noise_has_every_standard_deviation_of_its_range(low, high):
    noise = changed(flat(30_000, 300, 40), "noise", noise=(low, high)) - 30_000
    stds = noise.std((1, 2, 3))
    assert low * 0.93 < stds.min() < low * 1.05 + 30 and high * 0.97 < stds.max() < high * 1.07
    assert float(stds.mean()) == pytest.approx((low + high) / 2, rel=0.1 if low == 0 else 0.02)
    assert abs(float(noise.mean())) < 5


def test_blur_by_hand():
    point = torch.zeros(3, 1, 9, 9)
    point[..., 4, 4] = 1
    spread = transforms._blur(point, torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1, 1))
    assert torch.equal(spread[0], point[0])
    assert torch.allclose(spread.sum((1, 2, 3)), torch.ones(3))
    for index, sigma in ((1, 0.5), (2, 1.0)):
        ratio = float(spread[index, 0, 4, 5] / spread[index, 0, 4, 4])
        assert ratio == pytest.approx(math.exp(-0.5 / sigma**2))  # a Gaussian, one pixel away
        assert torch.allclose(spread[index, 0], spread[index, 0].T)
    small = torch.full((1, 1, 2, 2), 30_000.0)  # smaller than the kernel
    assert torch.allclose(transforms._blur(small, torch.ones(1, 1, 1, 1)), small)


def test_every_other_crop_stays_sharp():
    images = torch.rand(1000, 1, 8, 8, generator=generator()) * 40_000
    pairs = zip(changed(images, "blur"), images, strict=True)
    same = torch.tensor([torch.equal(one, other) for one, other in pairs])
    assert 0.5 < same.float().mean() < 0.62  # a blur below 0.13 px changes nothing in float32


def test_grey_levels_are_clipped_to_16_bits():
    assert changed(flat(500), "noise", noise=(0, 5000)).min() == 0
    assert changed(flat(65_000), "noise", noise=(0, 5000)).max() == 65535


# -- an example ------------------------------------------------------------------------------------

ONE = blobs(1, 48, 41)


def examples(names: tuple[str, ...], noise_std: float = 0, slices: Slices = ONE) -> np.ndarray:
    """50 examples of one crop, (50, 16, 16)."""
    return np.array([example_crop(slices, (7, 20), 16, names, noise_std, seed)[0]
                     for seed in range(50)])


def test_an_example_without_transforms_is_the_crop_itself():
    image, label = example_crop(ONE, (7, 20), 16, (), 700, 0)
    assert (image.dtype, label.dtype) == (np.float32, np.uint8)
    assert np.array_equal(image, ONE.images[0][7:23, 20:36])
    assert np.array_equal(label, ONE.labels[0][7:23, 20:36])


@pytest.mark.parametrize("corner", [(7, 20), (0, 0), (32, 25)])
def test_the_margin_that_an_example_is_read_with_does_not_move_it(corner, monkeypatch):
    monkeypatch.setattr(transforms, "sampling_positions", lambda batch, rows, columns, *_:
                        rotated_and_scaled(rows, columns, torch.zeros(batch), torch.ones(batch)))
    image, label = example_crop(ONE, corner, 16, (), 700, 0)
    same, taken = example_crop(ONE, corner, 16, GEOMETRIC, 700, 0)
    assert np.array_equal(label, taken) and np.allclose(image, same, atol=0.5)


def test_the_seed_decides_an_example():
    (first, label), (again, _), (other, moved) = (
        example_crop(ONE, (7, 20), 16, TRANSFORMS, 700, seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert not np.array_equal(label, moved)


def test_an_example_is_transformed_as_strongly_as_a_training_crop():
    crop = ONE.images[0][7:23, 20:36].astype(float)
    noise = (examples(("noise",), 700) - crop).std((1, 2))
    assert noise.min() < 100 and 600 < noise.max() < 780
    shift = np.abs((examples(("brightness",)) - crop).mean((1, 2))).max()
    assert 0.18 < shift / ONE.images[0].std() <= 0.2  # of the slice's own standard deviation


def test_an_example_at_the_edge_is_mirrored_and_not_black():
    grey = Slices([np.full((48, 41), 30_000, np.uint16)], ONE.labels, ONE.numbers)
    shown = [example_crop(grey, (0, 25), 16, GEOMETRIC, 0, seed)[0] for seed in range(50)]
    assert np.abs(np.array(shown) - 30_000).max() < 1


# -- training crops --------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", [RECIPE, PUBLISHED])
def test_geometric_transforms_that_move_nothing_give_the_same_crops(monkeypatch, recipe):
    """The margin that they read changes neither where a crop lies nor how it is flipped."""
    monkeypatch.setattr(
        transforms, "sampling_positions", lambda batch, rows, columns, *_: rotated_and_scaled(
            rows, columns, torch.zeros(batch), torch.ones(batch)))
    images, labels = crops_of(recipe, [0, 1, 2, 3])
    same, taken = crops_of(replace(recipe, transforms=("rotate",)), [0, 1, 2, 3])
    assert torch.equal(labels, taken) and torch.allclose(images, same, atol=0.5)


def test_64_pixels_of_a_slice_are_enough_for_transformed_crops():
    window = cut_window(blobs(1, 501, 501), (64 / 501) ** 2, seed=0)
    sampler = sampler_of(replace(TRANSFORMED, crop=32, batch=40), window)
    assert window.shape == (64, 64)
    assert sampler.images[0].shape == (88, 88)  # 12 px are mirrored on each side
    assert torch.equal(sampler.labels[0][11], sampler.labels[0][13])
    images, labels = sampler.next_batch()
    assert (images.shape, labels.shape) == ((40, 1, 32, 32), (40, 32, 32))
    assert len({label.cpu().numpy().tobytes() for label in labels}) == 40


def test_slices_smaller_than_the_crop_are_transformed_whole():
    assert sampler_of(replace(TRANSFORMED, crop=64)).next_batch()[0].shape == (4, 1, 40, 36)


@pytest.mark.parametrize("names", [("rotate",), ("scale",), ("elastic",), GEOMETRIC])
@pytest.mark.parametrize("crop", [16, 0, 64])
def test_transformed_labels_lie_where_the_output_without_padding_lies(names, crop):
    """An image that is its label times 10,000 stays one, as above."""
    slices = replace(TRAIN, images=[label.astype(np.uint16) * 10_000 for label in TRAIN.labels])
    sampler = sampler_of(replace(UNPADDED, transforms=names, crop=crop, batch=20), slices)
    images, labels = sampler.next_batch()
    assert labels.shape[1:] == ((16, 16) if crop == 16 else (40, 36))
    error = (images[:, 0, 20:-20, 20:-20] - 10_000 * labels).abs()
    assert error.max() < 7_501 and (error < 0.1).float().mean() > 0.4


@pytest.mark.parametrize("crop", [16, 0])
def test_no_transform_reads_beyond_the_margin_of_a_crop_without_padding(crop):
    """Beyond the margin it would read 0. The network's margin is transformed, too."""
    flat = Slices(np.full((2, 40, 36), 30_000, np.uint16), np.zeros((2, 40, 36), np.uint8),
                  np.arange(2))
    recipe = replace(UNPADDED, transforms=GEOMETRIC, crop=crop, batch=200)
    images, _ = sampler_of(recipe, flat).next_batch()
    assert (images - 30_000).abs().max() < 1


@pytest.mark.parametrize(("low", "high"), [(3000, 3000), (2000, 4000), (0, 3000)])
def test_crops_get_new_noise_at_every_step_within_the_range_of_the_recipe(low, high):
    flat = Slices(np.full((2, 64, 64), 30_000, np.uint16), np.zeros((2, 64, 64), np.uint8),
                  np.arange(2))
    sampler = sampler_of(replace(RECIPE, transforms=("noise",), noise_std_min=low,
                                 noise_std_max=high, crop=64, batch=100), flat)
    first, second = (sampler.next_batch()[0] - 30_000 for _ in range(2))
    stds = first.std((1, 2, 3))
    assert low * 0.95 <= stds.min() < low + 300 and high - 300 < stds.max() < high * 1.05
    correlation = float((first * second).mean()) / (first.std() * second.std())
    assert correlation == pytest.approx(0, abs=0.02)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU has a copy of its own")
@pytest.mark.parametrize("names", [(), INTENSITY])
def test_training_does_not_copy_slices(names):
    sampler = sampler_of(replace(RECIPE, transforms=names), TRAIN[[5, 5, 0]])
    originals = [TRAIN.images[index] for index in (5, 5, 0)]
    for tensor, array in zip(sampler.images, originals, strict=True):
        assert tensor.data_ptr() == array.ctypes.data
