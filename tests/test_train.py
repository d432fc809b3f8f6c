"""The loop that the notebook shows, and what it is made of."""

import hashlib
import inspect

import numpy as np
import pytest
import torch
from conftest import blobs

from xraylib import augment, train
from xraylib.slices import sets
from xraylib.slices.labelled import Slices
from xraylib.train import Learner, Recipe, TrainingError, crops, fit
from xraylib.unet import UNet

RECIPE = Recipe(width=4, depth=2, crop=16, batch=4, augment=True, optimiser="nadam", lr=1e-2, steps=24, epochs=0,
                evaluations=4, eval_slices=3)
PUBLISHED = Recipe(width=4, depth=2, crop=0, batch=1, augment=False, optimiser="rmsprop", lr=1e-4, steps=0, epochs=2,
                   evaluations=2, eval_slices=0)
TRANSFORMED = Recipe(**vars(RECIPE) | {"transforms": augment.TRANSFORMS, "noise_max": 2000.0})
VOLUMES = Recipe(**vars(RECIPE) | {"dims": 3, "crop": 8, "batch": 2})
WITH_NEIGHBOURS = Recipe(**vars(RECIPE) | {"context": 1})
UNPADDED = Recipe(**vars(RECIPE) | {"padding": "valid"})       # of 2 poolings: 20 px around a crop
TRAIN, VAL = blobs(7, 40, 36), blobs(5, 37, 41, seed=3)


def trained(recipe: Recipe, seed: int = 0, slices: Slices = TRAIN) -> Learner:
    learner = Learner(recipe, slices, seed)
    for _ in fit(learner, VAL):
        pass
    return learner


def test_the_lesson_is_short_enough_to_be_read_at_once():
    assert len(inspect.getsource(fit).splitlines()) <= 25


def test_it_learns():
    learner = Learner(Recipe(**vars(RECIPE) | {"steps": 120, "width": 8, "crop": 32}), TRAIN, 0)
    dice = [scores.mean for scores in fit(learner, TRAIN)]
    assert max(dice) > 0.99 > dice[0] and [row["dice"] for row in learner.history] == dice


def test_the_seed_decides_and_the_global_random_state_does_not():
    torch.manual_seed(1)
    first = trained(RECIPE)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    second, other = trained(RECIPE), trained(RECIPE, seed=1)
    assert torch.equal(state, torch.get_rng_state())
    assert [row["dice"] for row in first.history] == [row["dice"] for row in second.history]
    assert [row["dice"] for row in first.history] != [row["dice"] for row in other.history]


@pytest.mark.parametrize("recipe", [RECIPE, PUBLISHED, TRANSFORMED, UNPADDED, VOLUMES, WITH_NEIGHBOURS])
@pytest.mark.parametrize("parts", [1, 3])
def test_a_learner_goes_on_from_its_state_as_if_it_had_never_stopped(recipe, parts):
    whole, first, second = trained(recipe), Learner(recipe, TRAIN, 0), Learner(recipe, TRAIN, 0)
    for _, _ in zip(range(parts), fit(first, VAL), strict=False):
        second.load_state_dict(first.state_dict())
    for _ in fit(second, VAL):
        pass
    for one, other in zip(whole.history, second.history, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}
    one, other = whole.model.state_dict(), second.model.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_loss_that_is_not_finite_stops_with_a_sentence():
    with pytest.raises(TrainingError, match="The loss is nan at step .* lower it"):
        trained(Recipe(**vars(RECIPE) | {"lr": 1e38}))


def test_history_has_a_row_an_evaluation_with_the_training_time_alone(monkeypatch):
    monkeypatch.setattr(train.time, "perf_counter", iter(range(1000)).__next__)
    learner = trained(Recipe(**vars(RECIPE) | {"steps": 26, "evaluations": 13}))
    assert [row["step"] for row in learner.history] == list(range(2, 27, 2))
    assert [row["images"] for row in learner.history] == list(range(8, 105, 8))
    assert [row["seconds"] for row in learner.history] == list(range(1, 14))      # of a clock that ticks when read


def test_the_published_schedule_lowers_the_rate_on_a_plateau():
    model = UNet(2, 1)
    optimiser, schedule = train.optimiser_of(model, PUBLISHED, 10)
    for _ in range(7):
        schedule.step(0.5)                            # validation Dice stands still: one best, then more than 5 worse
    assert optimiser.param_groups[0]["lr"] == pytest.approx(1e-5)
    assert optimiser.defaults["momentum"] == 0.999 and optimiser.defaults["weight_decay"] == 1e-8


def test_an_epoch_of_the_published_recipe_sees_every_slice_once():
    assert Learner(PUBLISHED, TRAIN, 0).steps == 2 * len(TRAIN)


def test_every_slice_comes_once_before_any_comes_again():
    learner = Learner(Recipe(**vars(RECIPE) | {"batch": 3}), blobs(5, 16, 16), 0)
    seen = [index for _ in range(10) for index in learner.draw().tolist()]
    assert all(sorted(seen[start:start + 5]) == list(range(5)) for start in range(0, 30, 5))
    learner = Learner(Recipe(**vars(RECIPE) | {"batch": 7}), blobs(2, 16, 16), 0)             # larger than the set
    assert sorted(np.bincount(learner.draw().tolist())) == [3, 4]


def test_crops_are_real_windows_and_image_and_label_move_together():
    image = torch.arange(8 * 9, dtype=torch.int32).reshape(8, 9).to(torch.uint16)
    label = (image.int() % 3).to(torch.uint8)
    batch, target = crops([image], [label], torch.zeros(512, dtype=int), 4, True, torch.Generator().manual_seed(0))
    assert batch.shape == (512, 1, 4, 4) and target.shape == (512, 4, 4)
    assert torch.equal(batch[:, 0].long() % 3, target)
    steps = {(int(crop[0, 1] - crop[0, 0]), int(crop[1, 0] - crop[0, 0])) for crop in batch[:, 0]}
    assert steps == {(a, b) for s in (1, -1) for t in (9, -9) for a, b in ((s, t), (t, s))}    # all eight symmetries
    assert {int(crop.min()) for crop in batch} == {9 * y + x for y in range(5) for x in range(6)}   # every corner


@pytest.mark.parametrize("side", [0, 64])
def test_whole_slices_and_slices_smaller_than_the_crop(side):
    images, labels = ([torch.from_numpy(array) for array in arrays] for arrays in (TRAIN.images, TRAIN.labels))
    batch, _ = crops(images, labels, torch.tensor([2]), side, False, torch.Generator().manual_seed(0))
    assert torch.equal(batch[0, 0], images[2].float())


def test_without_transforms_a_seed_gives_the_crops_that_it_always_gave():
    """Their digest before there were transforms, and the next number of the generator: runs stay what they were."""
    pixels = np.arange(3 * 40 * 36).reshape(3, 40, 36)
    slices = Slices((pixels * 7 % 65_521).astype(np.uint16), (pixels % 3).astype(np.uint8), np.arange(3))
    learner, digest = Learner(RECIPE, slices, 5), hashlib.blake2b(digest_size=6)
    for _ in range(3):
        for tensor in learner.crops(learner.draw()):
            digest.update(tensor.cpu().numpy().tobytes())
    assert digest.hexdigest() == "7c925128e6c1"
    assert float(torch.rand(1, generator=learner.generator)) == 0.8795862197875977


def test_geometric_transforms_of_nothing_give_the_same_crops(monkeypatch):
    """The margin that they read from changes neither where a crop lies nor how it is flipped."""
    monkeypatch.setattr(augment, "positions", lambda batch, rows, columns, *_: augment.turned_and_scaled(
        rows, columns, torch.zeros(batch), torch.ones(batch)))
    for recipe in (RECIPE, PUBLISHED):
        (images, labels), (same, taken) = (
            learner.crops(torch.arange(4)) for learner in (
                Learner(recipe, TRAIN, 0), Learner(Recipe(**vars(recipe) | {"transforms": ("rotate",)}), TRAIN, 0)))
        assert torch.equal(labels, taken) and torch.allclose(images, same, atol=0.5)


def test_64_pixels_of_a_slice_are_enough_for_transformed_crops():
    window = sets.window(blobs(1, 501, 501), (64 / 501) ** 2, seed=0)
    learner = Learner(Recipe(**vars(TRANSFORMED) | {"crop": 32, "batch": 40}), window, 0)
    assert window.shape == (64, 64) and learner.images[0].shape == (88, 88)       # 12 px around it, mirrored
    assert torch.equal(learner.labels[0][11], learner.labels[0][13])
    images, labels = learner.crops(learner.draw())
    assert (images.shape, labels.shape) == ((40, 1, 32, 32), (40, 32, 32))
    assert len({label.cpu().numpy().tobytes() for label in labels}) == 40


def test_slices_smaller_than_the_crop_are_transformed_whole():
    learner = Learner(Recipe(**vars(TRANSFORMED) | {"crop": 64}), TRAIN, 0)
    assert learner.crops(learner.draw())[0].shape == (4, 1, 40, 36)


def test_a_network_learns_from_transformed_crops_too():
    learner = Learner(Recipe(**vars(TRANSFORMED) | {"steps": 120, "width": 8, "crop": 32}), TRAIN[:1], 0)
    assert max(scores.mean for scores in fit(learner, VAL)) > 0.9


# -- neighbouring slices ----------------------------------------------------------------------------------------------


def numbered(n, height, width):
    """A stack in which every voxel has a number of its own, 100 z + 10 y + x, and a label that follows from it."""
    z, y, x = np.meshgrid(np.arange(n), np.arange(height), np.arange(width), indexing="ij")
    grey = torch.from_numpy(100 * z + 10 * y + x).to(torch.uint16)
    return list(grey), list((grey.int() % 3).to(torch.uint8))


def test_cubes_are_real_ones_and_their_labels_move_with_them():
    images, labels = numbered(7, 8, 9)
    batch, target = crops(images, labels, torch.tensor([3] * 512), 4, True, torch.Generator().manual_seed(0), dims=3)
    assert batch.shape == (512, 1, 4, 4, 4) and target.shape == (512, 4, 4, 4)
    assert torch.equal(batch[:, 0].long() % 3, target)
    steps = {tuple(int(each - crop[0, 0, 0]) for each in (crop[1, 0, 0], crop[0, 1, 0], crop[0, 0, 1]))
             for crop in batch[:, 0]}
    assert steps == {(100 * up, *turn) for up in (1, -1) for s in (1, -1) for t in (10, -10)
                     for turn in ((s, t), (t, s))}                                             # all sixteen
    assert {int(crop.min()) for crop in batch} == {100 + 10 * y + x for y in range(5) for x in range(6)}


def test_a_cube_has_its_slice_in_the_middle_unless_an_end_is_near():
    assert [list(train.cube(index, 4, 7)) for index in (0, 3, 6)] == [[0, 1, 2, 3], [1, 2, 3, 4], [3, 4, 5, 6]]
    assert train.cube(1, 8, 3) == train.cube(2, 0, 3) == range(3)             # as many as there are


def test_a_crop_with_context_has_the_label_of_its_middle_slice():
    images, labels = numbered(5, 8, 9)
    chosen = torch.tensor([0, 2, 4] * 100)
    batch, target = crops(images, labels, chosen, 4, True, torch.Generator().manual_seed(0), context=2)
    assert batch.shape == (300, 5, 4, 4) and target.shape == (300, 4, 4)
    assert torch.equal(batch[:, 2].long() % 3, target)
    seen = {(int(index), *(((crop - crop[2]) / 100).int()[:, 0, 0].tolist()))
            for index, crop in zip(chosen, batch, strict=True)}
    assert seen == {(0, 0, 0, 0, 1, 2), (0, 2, 1, 0, 0, 0), (2, -2, -1, 0, 1, 2), (2, 2, 1, 0, -1, -2),
                    (4, -2, -1, 0, 0, 0), (4, 0, 0, 0, -1, -2)}


def test_a_context_of_none_gives_the_crops_of_single_slices():
    images, labels = numbered(5, 8, 9)
    one, other = (crops(images, labels, torch.arange(5), 4, True, torch.Generator().manual_seed(3), **how)
                  for how in ({}, {"dims": 2, "context": 0}))
    assert all(torch.equal(*pair) for pair in zip(one, other, strict=True))


@pytest.mark.parametrize("how", [{"dims": 3, "batch": 2, "crop": 12}, {"context": 1, "transforms": augment.TRANSFORMS,
                                                                      "noise_max": 1000.0}, {"context": 1}])
def test_networks_of_neighbouring_slices_learn(how):
    learner = Learner(Recipe(**vars(RECIPE) | {"steps": 120, "width": 8, "crop": 24} | how), blobs(20, 40, 36), 0)
    assert max(scores.mean for scores in fit(learner, blobs(9, 40, 36))) > 0.95


# -- without padding --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", [RECIPE, PUBLISHED, Recipe(**vars(RECIPE) | {"crop": 38})])   # the last: not square
def test_crops_without_padding_are_the_same_with_a_margin(recipe):
    """Whose labels are those of the same place, as many as the network gives logits."""
    (images, labels), (wide, taken) = (Learner(how, TRAIN, 0).crops(torch.arange(4)) for how in (
        recipe, Recipe(**vars(recipe) | {"padding": "valid"})))
    assert torch.equal(labels, taken) and torch.equal(images, wide[..., 20:-20, 20:-20])
    assert UNet(4, 2, padding="valid")(wide).shape[2:] == taken.shape[1:]


@pytest.mark.parametrize("names", [("rotate",), ("scale",), ("elastic",), augment.GEOMETRIC])
@pytest.mark.parametrize("crop", [16, 0, 64])
def test_transformed_labels_lie_where_the_output_of_a_network_without_padding_lies(names, crop):
    """An image that is its label times 10,000 still is one: see the same test of the transforms themselves."""
    slices = Slices([label.astype(np.uint16) * 10_000 for label in TRAIN.labels], TRAIN.labels, TRAIN.numbers)
    learner = Learner(Recipe(**vars(UNPADDED) | {"transforms": names, "crop": crop, "batch": 20}), slices, 0)
    images, labels = learner.crops(learner.draw())
    assert labels.shape[1:] == ((16, 16) if crop == 16 else (40, 36))
    off = (images[:, 0, 20:-20, 20:-20] - 10_000 * labels).abs()
    assert off.max() < 7_501 and (off < 0.1).float().mean() > 0.4


@pytest.mark.parametrize("crop", [16, 0])
def test_no_transform_reads_beyond_the_margin_of_a_crop_without_padding(crop):
    """What it reads there would be 0. The transforms turn the network's margin, too, and need more for it."""
    flat = Slices(np.full((2, 40, 36), 30_000, np.uint16), np.zeros((2, 40, 36), np.uint8), np.arange(2))
    learner = Learner(Recipe(**vars(UNPADDED) | {"transforms": augment.GEOMETRIC, "crop": crop, "batch": 200}), flat, 0)
    images, _ = learner.crops(learner.draw())
    assert (images - 30_000).abs().max() < 1


def test_the_margin_of_a_crop_is_what_is_around_it_in_the_slice():
    """Every pixel has a grey level of its own, so that the first label's tells where a crop lies."""
    image = np.arange(40 * 36, dtype=np.uint16).reshape(40, 36)
    slices = Slices([image], [(image % 3).astype(np.uint8)], np.array([1]))
    recipe = Recipe(**vars(RECIPE) | {"padding": "valid", "depth": 1, "crop": 20, "batch": 800, "augment": False})
    learner, wide = Learner(recipe, slices, 0), np.pad(image, 8, "reflect")       # a margin of 8 px
    images, labels = learner.crops(learner.draw())
    places = set()
    for crop, label in zip(images[:, 0].long().numpy(), labels.numpy(), strict=True):
        top, left = divmod(crop[8, 8], 36)
        assert np.array_equal(crop, wide[top:top + 36, left:left + 36])
        assert np.array_equal(label, slices.labels[0][top:top + 20, left:left + 20])
        places.add((top, left))
        if 8 <= top <= 12 and left == 8:                                          # all of it inside: nothing mirrored
            assert np.array_equal(crop, image[top - 8:top + 28, :36])
    assert {top for top, _ in places} == set(range(21)) and {left for _, left in places} == set(range(17))


def test_a_network_without_padding_learns():
    learner = Learner(Recipe(**vars(UNPADDED) | {"steps": 60, "width": 8, "depth": 1}), TRAIN, 0)
    assert max(scores.mean for scores in fit(learner, VAL)) > 0.97


# -- fresh noise ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("low", "high"), [(3000, 3000), (2000, 4000), (0, 3000)])
def test_crops_get_new_noise_at_every_step_of_the_recipes_deviations(low, high):
    flat = Slices(np.full((2, 64, 64), 30_000, np.uint16), np.zeros((2, 64, 64), np.uint8), np.arange(2))
    learner = Learner(Recipe(**vars(RECIPE) | {
        "transforms": ("noise",), "noise_min": low, "noise_max": high, "crop": 64, "batch": 100}), flat, 0)
    first, second = (learner.crops(learner.draw())[0] - 30_000 for _ in range(2))
    deviations = first.std((1, 2, 3))
    assert low * 0.95 <= deviations.min() < low + 300 and high - 300 < deviations.max() < high * 1.05
    assert float((first * second).mean()) / (first.std() * second.std()) == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("transforms", [(), augment.INTENSITY])
def test_training_holds_no_copy_of_the_slices(transforms):
    learner = Learner(Recipe(**vars(RECIPE) | {"transforms": transforms}), TRAIN[[5, 5, 0]], 0)
    for tensor, array in zip(learner.images, (TRAIN.images[i] for i in (5, 5, 0)), strict=True):
        assert tensor.data_ptr() == array.ctypes.data
