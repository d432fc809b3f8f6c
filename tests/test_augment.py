"""Transformations of training crops, by hand where a hand can do them."""

import math
from itertools import combinations

import numpy as np
import pytest
import torch
from conftest import blobs
from torch.nn import functional as F

from xraylib import augment
from xraylib.augment import (
    ANGLE,
    GEOMETRIC,
    INTENSITY,
    SCALE,
    TRANSFORMS,
    blurred,
    example,
    flip,
    intensity,
    margin_of,
    mirrored,
    positions,
    resample,
    transform,
    turned_and_scaled,
)
from xraylib.slices.labelled import Slices

GREY = torch.tensor([33_300.0, 7_250.0])     # mean and deviation of the built-in slices
SETS = [names for n in (1, 2, 3) for names in combinations(GEOMETRIC, n)]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def disks(batch: int, height: int, width: int) -> torch.Tensor:
    """Labels in rings, 0 1 2 1 0 ..., of 9 px each, (B, H, W)."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    rings = torch.stack([torch.hypot(y - 7.0 - 3 * k, x - 9.0 - 2 * k) for k in range(batch)])
    return 2 - ((rings / 9).long() % 4 - 2).abs()


def window(names: tuple[str, ...], side: int = 32, batch: int = 6) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Images that are their labels times 10,000, with the margin that these transforms need."""
    margin = margin_of(side, names)
    labels = disks(batch, side + 2 * margin, side + 2 * margin)
    return 10_000.0 * labels.unsqueeze(1), labels, margin


def transformed(names: tuple[str, ...], seed: int = 0, noise_max: float = 700):
    images, labels, margin = window(names)
    return transform(images, labels, names, margin, GREY, (0, noise_max), generator(seed))


# -- what holds for all of them ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [(), *((name,) for name in TRANSFORMS), TRANSFORMS])
def test_crops_keep_their_kind_and_their_place_in_16_bits(names):
    images, labels = transformed(names, noise_max=5000)
    assert (images.dtype, images.shape) == (torch.float32, (6, 1, 32, 32))
    assert (labels.dtype, labels.shape) == (torch.int64, (6, 32, 32))
    assert set(labels.unique().tolist()) == {0, 1, 2} and images.min() >= 0 and images.max() <= 65535


def test_without_a_name_nothing_is_drawn_and_nothing_changes():
    images, labels, margin = window(())
    state = generator()
    same, taken = transform(images, labels, (), margin, GREY, (0, 700), state)
    assert margin == 0 and torch.equal(same, images) and torch.equal(taken, labels)
    assert torch.equal(state.get_state(), generator().get_state())


def test_the_generator_decides_and_the_order_of_the_names_does_not():
    first, labels = transformed(TRANSFORMS)
    for again, taken in (transformed(TRANSFORMS), transformed(TRANSFORMS[::-1])):
        assert torch.equal(first, again) and torch.equal(labels, taken)
    assert not torch.equal(first, transformed(TRANSFORMS, seed=1)[0])


def test_every_crop_of_a_batch_is_transformed_in_its_own_way():
    for names in (*SETS, ("brightness",), ("contrast",), ("noise",)):
        images, labels, margin = window(names, batch=1)
        images, labels = images.expand(8, -1, -1, -1), labels.expand(8, -1, -1)
        changed, _ = transform(images, labels, names, margin, GREY, (0, 700), generator())
        assert len({each.numpy().tobytes() for each in changed}) == 8, names


def test_the_eight_flips_are_different_and_lose_nothing():
    image = torch.arange(9).reshape(3, 3)
    turned = [flip(image, turn) for turn in range(8)]
    assert len({tuple(one.flatten().tolist()) for one in turned}) == 8
    assert all(sorted(one.flatten().tolist()) == list(range(9)) for one in turned)


# -- geometric --------------------------------------------------------------------------------------------------------


def test_turned_by_0_and_scaled_by_1_is_the_middle_of_the_window_itself():
    images, labels = torch.rand(2, 1, 12, 15) * 40_000, disks(2, 12, 15)
    same, taken = resample(images, labels, turned_and_scaled(6, 9, torch.zeros(2), torch.ones(2)))
    assert torch.equal(taken, labels[:, 3:9, 3:12])
    assert torch.allclose(same, images[..., 3:9, 3:12], atol=0.1)


def test_a_quarter_turn_is_a_quarter_turn():
    images, labels = torch.rand(1, 1, 8, 8) * 40_000, disks(1, 8, 8)
    turned, taken = resample(images, labels, turned_and_scaled(8, 8, torch.tensor([90.0]), torch.ones(1)))
    assert torch.equal(taken, labels.rot90(1, (1, 2)))
    assert torch.allclose(turned, images.rot90(1, (2, 3)), atol=0.1)


def test_scaled_by_2_reads_every_half_pixel():
    ramp = torch.arange(9.0).expand(1, 1, 9, 9)
    scaled, _ = resample(ramp, ramp[0].long(), turned_and_scaled(5, 5, torch.zeros(1), torch.tensor([2.0])))
    assert torch.allclose(scaled[0, 0], torch.tensor([3.0, 3.5, 4.0, 4.5, 5.0]).expand(5, 5))


@pytest.mark.parametrize("names", SETS)
def test_image_and_label_move_together(names):
    """An image that is its label times 10,000 still is one, away from interfaces; at them it is in between."""
    images, labels = transformed(names)
    off = (images[:, 0] - 10_000 * labels).abs()
    high, low = (F.max_pool2d(sign * labels.float(), 5, 1) * sign for sign in (1, -1))       # of 5 x 5 px about each
    inside = off[:, 2:-2, 2:-2][high == low]
    assert (inside < 0.1).all() and 0.2 < inside.numel() / high.numel() < 0.8
    assert off.max() < 7_501                                  # the nearest of four pixels has a weight of 1/4 at least


@pytest.mark.parametrize("names", SETS)
@pytest.mark.parametrize(("rows", "columns"), [(32, 32), (4, 4), (40, 36), (1, 9)])
def test_no_crop_reads_beyond_its_margin(names, rows, columns):
    where = positions(2000, rows, columns, names, generator())
    margin = margin_of(max(rows, columns), names)
    reach = torch.tensor([columns - 1, rows - 1]) / 2 + margin
    assert (where.abs().amax((0, 1, 2)) <= reach).all()
    extreme = turned_and_scaled(rows, columns, torch.tensor([ANGLE]), torch.tensor([SCALE[0]]))
    assert "rotate" not in names or "scale" not in names or (extreme.abs().amax((0, 1, 2)) <= reach).all()
    assert not {"rotate", "scale"} < set(names) or where.abs().max() > max(rows, columns) / 2     # and it does read it


def test_margins_by_hand():
    assert [margin_of(32, (name,)) for name in TRANSFORMS] == [4, 3, 4, 0, 0, 0, 0]  # 19.6 - 16, 18.8 - 16, 2 x 2 px
    assert margin_of(32, TRANSFORMS) == math.ceil(16 * 1.2247 / 0.85 - 16 + 4) == 12


def test_edges_are_mirrored_and_nothing_is_copied_without_need():
    array = np.arange(12, dtype=np.uint16).reshape(3, 4)
    assert mirrored(array, 0) is array
    wide = mirrored(array, 3)                                     # more than the slice has: mirrored again
    assert wide.dtype == np.uint16 and wide.shape == (9, 10)
    assert wide[3].tolist() == [3, 2, 1, 0, 1, 2, 3, 2, 1, 0] and wide[:, 3].tolist() == [4, 8, 4, 0, 4, 8, 4, 0, 4]
    images, labels = (torch.from_numpy(wide.astype(kind)).unsqueeze(0) for kind in (np.float32, np.int64))
    read, _ = resample(images.unsqueeze(1), labels, torch.tensor([[[[-2.5, 0.0], [2.5, 0.0]]]]))
    assert torch.allclose(read.flatten(), torch.tensor([5.0, 6.0]))   # one pixel beyond either edge of row 1, 4 to 7


def test_elastic_moves_a_few_pixels_smoothly_and_folds_nothing():
    still = turned_and_scaled(32, 32, torch.zeros(1), torch.ones(1))
    where = positions(500, 32, 32, ("elastic",), generator())
    moves = where - still
    assert 0.8 < moves.std() < 1.3 and moves.mean().abs() < 0.05 and moves.abs().max() < 2 * augment.ELASTIC
    along_x, along_y = where.diff(dim=2)[:, :-1], where.diff(dim=1)[:, :, :-1]      # B x 31 x 31 x 2
    area = along_x[..., 0] * along_y[..., 1] - along_x[..., 1] * along_y[..., 0]    # that a pixel is read from
    assert (area > 0).all() and 0.1 < area.std() < 0.4


def test_bilinear_sampling_leaves_two_thirds_of_the_noise():
    """The docstring's number: as much as (1 - t)^2 + t^2 leaves of the variance, 2/3 on average, along either axis."""
    noise = torch.randn(50, 1, 60, 60, generator=generator())
    read, _ = resample(noise, torch.zeros(50, 60, 60, dtype=torch.int64), positions(50, 32, 32, GEOMETRIC, generator()))
    assert float(read.std()) == pytest.approx(2 / 3, abs=0.03)


# -- intensity --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", INTENSITY)
def test_labels_keep_under_intensity_transforms(name):
    labels = window(())[1]
    assert torch.equal(transformed((name,))[1], labels)


def many(level: float, batch: int = 2000) -> torch.Tensor:
    """Crops of 2 x 2 px, of one grey level."""
    return torch.full((batch, 1, 2, 2), level)


def test_brightness_shifts_a_crop_by_at_most_a_fifth_of_a_deviation():
    images = many(30_000)
    images[..., 0] += 1000
    shift = intensity(images, ("brightness",), GREY, (0, 0), generator()) - images
    assert (shift == shift[..., :1, :1]).all()                                      # as a whole
    assert 1400 < shift.max() <= 1450 and -1450 <= shift.min() < -1400 and shift.mean().abs() < 60


def test_contrast_stretches_about_the_training_mean():
    level = intensity(many(43_300), ("contrast",), GREY, (0, 0), generator())            # 10,000 above the mean
    assert 42_300 <= level.min() < 42_330 and 44_270 < level.max() <= 44_300
    assert torch.equal(intensity(many(33_300), ("contrast",), GREY, (0, 0), generator()), many(33_300))


def test_brightness_and_contrast_together_keep_the_phases_apart():
    names = ("brightness", "contrast")
    pore, ysz, nickel = (intensity(many(level), names, GREY, (0, 0), generator()) for level in (21_500, 35_200, 41_500))
    assert pore.max() < ysz.min() and ysz.max() < nickel.min()


def test_noise_has_every_deviation_up_to_the_one_given():
    noise = intensity(torch.full((300, 1, 40, 40), 30_000.0), ("noise",), GREY, (0, 700), generator()) - 30_000
    deviations = noise.std((1, 2, 3))
    assert deviations.max() < 700 * 1.05 and deviations.min() < 30
    assert float(deviations.mean()) == pytest.approx(350, rel=0.1)
    assert abs(float(noise.mean())) < 5


@pytest.mark.parametrize(("low", "high"), [(700, 700), (500, 700)])
def test_noise_has_no_less_than_its_smallest_deviation(low, high):
    noise = intensity(torch.full((300, 1, 40, 40), 30_000.0), ("noise",), GREY, (low, high), generator()) - 30_000
    deviations = noise.std((1, 2, 3))
    assert low * 0.93 < deviations.min() < low * 1.05 and high * 0.97 < deviations.max() < high * 1.07
    assert float(deviations.mean()) == pytest.approx((low + high) / 2, rel=0.02)


def test_blur_by_hand():
    point = torch.zeros(3, 1, 9, 9)
    point[..., 4, 4] = 1
    spread = blurred(point, torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1, 1))
    assert torch.equal(spread[0], point[0])
    assert torch.allclose(spread.sum((1, 2, 3)), torch.ones(3))
    for index, sigma in ((1, 0.5), (2, 1.0)):
        ratio = float(spread[index, 0, 4, 5] / spread[index, 0, 4, 4])
        assert ratio == pytest.approx(math.exp(-0.5 / sigma**2))                    # a Gaussian, one pixel away
        assert torch.allclose(spread[index, 0], spread[index, 0].T)
    flat = torch.full((1, 1, 2, 2), 30_000.0)                                       # smaller than the kernel
    assert torch.allclose(blurred(flat, torch.ones(1, 1, 1, 1)), flat)


def test_every_other_crop_stays_sharp():
    images = torch.rand(1000, 1, 8, 8, generator=generator()) * 40_000
    changed = intensity(images, ("blur",), GREY, (0, 0), generator())
    same = torch.tensor([torch.equal(one, other) for one, other in zip(changed, images, strict=True)])
    assert 0.5 < same.float().mean() < 0.62                       # and those of less than 0.13 px, in float32


def test_what_a_16_bit_detector_cannot_tell_is_clipped():
    noisy = intensity(many(500), ("noise",), GREY, (0, 5000), generator())
    assert noisy.min() == 0 and intensity(many(65_000), ("noise",), GREY, (0, 5000), generator()).max() == 65535


# -- an example of them -----------------------------------------------------------------------------------------------

ONE = blobs(1, 48, 41)


def test_an_example_without_transforms_is_the_crop_itself():
    image, label = example(ONE, (7, 20), 16, (), 700, 0)
    assert (image.dtype, label.dtype) == (np.float32, np.uint8)
    assert np.array_equal(image, ONE.images[0][7:23, 20:36]) and np.array_equal(label, ONE.labels[0][7:23, 20:36])


@pytest.mark.parametrize("corner", [(7, 20), (0, 0), (32, 25)])
def test_the_margin_that_an_example_is_read_with_does_not_move_it(corner, monkeypatch):
    monkeypatch.setattr(augment, "positions", lambda batch, rows, columns, *_: turned_and_scaled(
        rows, columns, torch.zeros(batch), torch.ones(batch)))
    (image, label), (same, taken) = (example(ONE, corner, 16, names, 700, 0) for names in ((), GEOMETRIC))
    assert np.array_equal(label, taken) and np.allclose(image, same, atol=0.5)


def test_an_example_is_one_of_what_training_draws():
    """Its seed decides, labels follow geometric transforms alone, and noise has every deviation up to the largest."""
    (first, label), (again, _), (other, elsewhere) = (example(ONE, (7, 20), 16, TRANSFORMS, 700, seed)
                                                     for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other) and not np.array_equal(label, elsewhere)
    crop = ONE.images[0][7:23, 20:36].astype(float)
    noise = [(example(ONE, (7, 20), 16, ("noise",), 700, seed)[0] - crop).std() for seed in range(50)]
    assert min(noise) < 100 and 600 < max(noise) < 780
    bright = [(example(ONE, (7, 20), 16, ("brightness",), 0, seed)[0] - crop).mean() for seed in range(50)]
    assert 0.18 < np.abs(bright).max() / ONE.images[0].std() <= 0.2               # of the slice's own deviation
    flat = Slices([np.full((48, 41), 30_000, np.uint16)], ONE.labels, ONE.numbers)
    shown = [example(flat, (0, 25), 16, GEOMETRIC, 0, seed)[0] for seed in range(50)]
    assert np.abs(np.array(shown) - 30_000).max() < 1                             # mirrored beyond the edge, not black
