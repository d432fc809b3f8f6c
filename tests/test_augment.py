"""The random crops that a network is trained on."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import blobs
from test_training import PUBLISHED, RECIPE, TRAIN, UNPADDED

from xraylib.augment import CropSampler, cut_windows, flip, random_places
from xraylib.data import Slices
from xraylib.losses import IGNORE
from xraylib.training import Recipe, TrainingState
from xraylib.unet import UNet


def sampler_of(recipe: Recipe, train_set: Slices = TRAIN, seed: int = 0) -> CropSampler:
    return TrainingState(recipe, train_set, seed).batches


def crops_of(recipe: Recipe, chosen: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Crops of these slices, whatever the recipe's batch."""
    sampler = sampler_of(recipe)
    sampler._next_slices = lambda: torch.tensor(chosen)
    return sampler.next_batch()


def test_every_slice_comes_once_before_any_comes_again():
    sampler = sampler_of(replace(RECIPE, batch=3), blobs(5, 16, 16))
    seen = [index for _ in range(10) for index in sampler._next_slices().tolist()]
    assert all(sorted(seen[at:at + 5]) == list(range(5)) for at in range(0, 30, 5))
    sampler = sampler_of(replace(RECIPE, batch=7), blobs(2, 16, 16))  # larger than the set
    assert sorted(np.bincount(sampler._next_slices().tolist())) == [3, 4]


def test_crops_are_real_windows_and_image_and_label_move_together():
    image = torch.arange(8 * 9, dtype=torch.int32).reshape(8, 9).to(torch.uint16)
    label = (image.int() % 3).to(torch.uint8)
    places = random_places([(8, 9)] * 512, 4, True, torch.Generator().manual_seed(0))
    batch, target = cut_windows([image], [label], torch.zeros(512, dtype=torch.int64), places)
    assert batch.shape == (512, 1, 4, 4) and target.shape == (512, 4, 4)
    assert torch.equal(batch[:, 0].long() % 3, target)
    steps = {(int(crop[0, 1] - crop[0, 0]), int(crop[1, 0] - crop[0, 0])) for crop in batch[:, 0]}
    assert steps == {(a, b) for s in (1, -1) for t in (9, -9)
                     for a, b in ((s, t), (t, s))}  # all eight symmetries
    corners = {int(crop.min()) for crop in batch}
    assert corners == {9 * y + x for y in range(5) for x in range(6)}  # every corner


def test_places_of_crops_that_are_not_square_are_never_transposed():
    turns = {turn for _, turn in random_places(
        [(8, 9)] * 200, 0, True, torch.Generator().manual_seed(0))}
    assert turns == {0, 1, 2, 3}


@pytest.mark.parametrize("side", [0, 64])
def test_whole_slices_and_slices_smaller_than_the_crop(side):
    images, labels = ([torch.from_numpy(array) for array in arrays]
                      for arrays in (TRAIN.images, TRAIN.labels))
    places = random_places([images[2].shape], side, False, torch.Generator().manual_seed(0))
    batch, _ = cut_windows(images, labels, torch.tensor([2]), places)
    assert torch.equal(batch[0, 0], images[2].float())


def test_a_seed_gives_the_crops_that_it_always_gave():
    """The digest is that of the first version without transforms: old runs stay what they were."""
    pixels = np.arange(3 * 40 * 36).reshape(3, 40, 36)
    slices = Slices((pixels * 7 % 65_521).astype(np.uint16), (pixels % 3).astype(np.uint8),
                    np.arange(3))
    sampler, digest = sampler_of(RECIPE, slices, seed=5), hashlib.blake2b(digest_size=6)
    for _ in range(3):
        for tensor in sampler.next_batch():
            digest.update(tensor.cpu().numpy().tobytes())
    assert digest.hexdigest() == "7c925128e6c1"
    assert float(torch.rand(1, generator=sampler.generator)) == 0.8795862197875977


def test_the_eight_flips_are_different_and_lose_nothing():
    image = torch.arange(9).reshape(3, 3)
    flipped = [flip(image, turn) for turn in range(8)]
    assert len({tuple(one.flatten().tolist()) for one in flipped}) == 8
    assert all(sorted(one.flatten().tolist()) == list(range(9)) for one in flipped)


def test_bit_3_of_a_turn_reverses_a_stack_and_nothing_else():
    stack = torch.arange(18).reshape(2, 3, 3)
    for turn in range(8):
        assert torch.equal(flip(stack, turn + 8), flip(stack, turn).flip(0))


# -- without padding -------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", [
    RECIPE, PUBLISHED, replace(RECIPE, crop=38)])  # the last crop is not square
def test_crops_without_padding_are_the_same_with_a_margin(recipe):
    """Their labels cover the same place, and exactly the pixels that the network predicts."""
    images, labels = crops_of(recipe, [0, 1, 2, 3])
    wide, taken = crops_of(replace(recipe, padding="valid"), [0, 1, 2, 3])
    assert torch.equal(labels, taken) and torch.equal(images, wide[..., 20:-20, 20:-20])
    model = UNet(4, 2, padding="valid").to(wide.device)
    assert model(wide).shape[2:] == taken.shape[1:]


def test_the_margin_of_a_crop_is_what_is_around_it_in_the_slice():
    """Every pixel has a grey level of its own, so the first label's tells where a crop lies."""
    image = np.arange(40 * 36, dtype=np.uint16).reshape(40, 36)
    slices = Slices([image], [(image % 3).astype(np.uint8)], np.array([1]))
    recipe = replace(UNPADDED, depth=1, crop=20, batch=800, flips=False)
    images, labels = sampler_of(recipe, slices).next_batch()
    wide, places = np.pad(image, 8, "reflect"), set()  # a margin of 8 px
    for crop, label in zip(images[:, 0].long().cpu().numpy(), labels.cpu().numpy(), strict=True):
        top, left = divmod(crop[8, 8], 36)
        assert np.array_equal(crop, wide[top:top + 36, left:left + 36])
        assert np.array_equal(label, slices.labels[0][top:top + 20, left:left + 20])
        places.add((top, left))
        if 8 <= top <= 12 and left == 8:  # the crop with its margin lies inside the slice
            assert np.array_equal(crop, image[top - 8:top + 28, :36])
    assert {top for top, _ in places} == set(range(21))
    assert {left for _, left in places} == set(range(17))


# -- slices of which a part is labelled ------------------------------------------------------------


def scribbles(label):
    """A line of one pixel's width across a slice, and a dot in its corner."""
    known = np.zeros(label.shape, bool)
    known[len(known) // 3, 5:15] = known[-1, -1] = True
    return known


def a_patch(label):
    return np.pad(np.ones((64, 64), bool), ((70, 16), (13, 63)))


def a_corner(label):
    return np.pad(np.ones((3, 2), bool), ((0, label.shape[0] - 3), (label.shape[1] - 2, 0)))


def partly_labelled(slices: Slices, known) -> Slices:
    labels = [np.where(known(label), label, IGNORE).astype(np.uint8) for label in slices.labels]
    return replace(slices, labels=labels)


@pytest.mark.parametrize("known", [scribbles, a_patch, a_corner])
@pytest.mark.parametrize("recipe", [
    RECIPE, UNPADDED, PUBLISHED, replace(UNPADDED, crop=0), replace(RECIPE, crop=400),
    replace(UNPADDED, crop=17), replace(RECIPE, transforms=("blur", "noise"))])
def test_every_crop_of_a_partly_labelled_slice_holds_a_label(known, recipe):
    """The second slice is labelled completely, and the third one not at all."""
    whole = blobs(3, 150, 140)
    part = partly_labelled(whole, known)
    slices = replace(part, labels=[part.labels[0], whole.labels[1],
                                   np.full_like(part.labels[2], IGNORE)])
    sampler = sampler_of(recipe, slices)
    sampler._next_slices = lambda: torch.tensor([0, 1, 2] * 40)
    images, labels = sampler.next_batch()
    labels, lost = labels.reshape(40, 3, -1), 2 * sampler.model.margin
    assert (labels[:, 0] != IGNORE).any(1).all()
    assert (labels[:, 1] != IGNORE).all() and (labels[:, 2] == IGNORE).all()
    assert images.shape[2] - lost == min(recipe.crop or 150, 150)


def test_crops_around_labels_are_real_windows_at_every_place_that_holds_a_label():
    """One pixel is labelled, so the crops of 4 px that hold it begin at 4 x 4 places."""
    image = np.arange(12 * 9, dtype=np.uint16).reshape(12, 9)
    label = np.full((12, 9), IGNORE, np.uint8)
    label[5, 7] = 2
    slices = Slices([image], [label], np.array([1]))
    sampler = sampler_of(replace(RECIPE, crop=4, batch=400, flips=False), slices)
    images, labels = sampler.next_batch()
    corners = set()
    for crop, target in zip(images[:, 0].long(), labels, strict=True):
        top, left = divmod(int(crop[0, 0]), 9)
        assert np.array_equal(crop, image[top:top + 4, left:left + 4])
        assert np.array_equal(target, label[top:top + 4, left:left + 4])
        corners.add((top, left))
    assert corners == {(top, left) for top in range(2, 6) for left in (4, 5)}


def test_labelled_pixels_are_drawn_alike():
    label = np.full((64, 64), IGNORE, np.uint8)
    label[3:5, 3:5], label[60, 60] = 0, 1  # crops of 1 px show which pixel was drawn
    slices = Slices([np.zeros((64, 64), np.uint16)], [label], np.array([1]))
    sampler = sampler_of(replace(RECIPE, crop=1, batch=5000, flips=False), slices)
    drawn = np.bincount(sampler.next_batch()[1].flatten().cpu())
    assert abs(drawn[0] / drawn.sum() - 0.8) < 0.02


# -- slices of different sizes ---------------------------------------------------------------------


def test_crops_are_cut_down_to_the_smallest_slice_of_their_batch():
    images = [np.full(shape, level, np.uint16)
              for level, shape in enumerate([(40, 30), (12, 50), (25, 25)], 1)]
    slices = Slices(images, [np.zeros(image.shape, np.uint8) for image in images], np.arange(3))
    for crop, shape in ((16, (12, 16)), (0, (12, 25)), (100, (12, 25))):
        sampler = sampler_of(replace(RECIPE, crop=crop, batch=3), slices)
        batch, labels = sampler.next_batch()
        assert batch.shape == (3, 1, *shape) and labels.shape == (3, *shape)
        assert sorted(batch[:, 0, 0, 0].tolist()) == [1, 2, 3]
