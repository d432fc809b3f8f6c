"""The random crops that a network is trained on."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import blobs
from test_training import PUBLISHED, RECIPE, TRAIN, UNPADDED

from xraylib.augment import CropSampler, flip, random_crops, random_places
from xraylib.data import Slices
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
    batch, target = random_crops([image], [label], torch.zeros(512, dtype=torch.int64), 4, True,
                                 torch.Generator().manual_seed(0))
    assert batch.shape == (512, 1, 4, 4) and target.shape == (512, 4, 4)
    assert torch.equal(batch[:, 0].long() % 3, target)
    steps = {(int(crop[0, 1] - crop[0, 0]), int(crop[1, 0] - crop[0, 0])) for crop in batch[:, 0]}
    assert steps == {(a, b) for s in (1, -1) for t in (9, -9)
                     for a, b in ((s, t), (t, s))}  # all eight symmetries
    corners = {int(crop.min()) for crop in batch}
    assert corners == {9 * y + x for y in range(5) for x in range(6)}  # every corner


def test_places_of_crops_that_are_not_square_are_never_transposed():
    turns = {turn for _, turn in random_places(
        (8, 9), 200, 0, True, torch.Generator().manual_seed(0))}
    assert turns == {0, 1, 2, 3}


@pytest.mark.parametrize("side", [0, 64])
def test_whole_slices_and_slices_smaller_than_the_crop(side):
    images, labels = ([torch.from_numpy(array) for array in arrays]
                      for arrays in (TRAIN.images, TRAIN.labels))
    batch, _ = random_crops(images, labels, torch.tensor([2]), side, False,
                            torch.Generator().manual_seed(0))
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
