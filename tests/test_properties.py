"""What holds for any input, tried on many drawn ones: slices on disk, splits, noise, tiles, Dice, damaged TIFFs."""

import tempfile
from contextlib import nullcontext
from functools import cache, partial
from unittest.mock import patch

import mutated
import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from xraylib.dice import confusion, dice_score
from xraylib.experiments import EXPERIMENTS
from xraylib.noise import noisy_copies
from xraylib.predict import network, tiles
from xraylib.predict.network import folded, tiled_logits
from xraylib.runs.profiles import configure
from xraylib.slices import labelled, sets
from xraylib.slices.labelled import Slices
from xraylib.slices.tiff import DataError
from xraylib.unet import UNet

TRIED = partial(settings, deadline=None, derandomize=True)       # a machine may be slow; and what fails fails again
SEEDS = st.integers(0, 2**31 - 1)
SIDES = st.integers(16, 40)
NUMBERS = st.lists(st.integers(0, 2**63 - 1) | st.integers(0, 99), min_size=1, max_size=6, unique=True)


def drawn(numbers, height, width, seed):
    """Slices of these numbers, of pixels that have nothing to do with each other."""
    rng = np.random.default_rng(seed)
    shape = len(numbers), height, width
    return Slices(rng.integers(0, 65536, shape, np.uint16), rng.integers(0, 3, shape, np.uint8), np.array(numbers))


# -- slices on disk ---------------------------------------------------------------------------------------------------


@TRIED(max_examples=40)
@given(NUMBERS, SIDES, SIDES, SEEDS)
def test_slices_come_back_from_a_folder_as_they_were_in_the_order_of_their_numbers(numbers, height, width, seed):
    slices = drawn(numbers, height, width, seed)
    with tempfile.TemporaryDirectory() as folder:
        labelled.save(slices, folder)
        loaded = labelled.load(folder)
    assert loaded.numbers.tolist() == sorted(numbers)
    assert loaded.fingerprint() == slices[np.argsort(slices.numbers)].fingerprint()
    assert {array.dtype for array in loaded.images} == {np.dtype(np.uint16)}
    assert {array.dtype for array in loaded.labels} == {np.dtype(np.uint8)}


# -- splits -----------------------------------------------------------------------------------------------------------


@TRIED(max_examples=200)
@given(st.integers(1, 300), st.integers(1, 320), st.integers(1, 320), st.sampled_from(["random", "block"]), SEEDS)
def test_a_split_is_disjoint_seeded_and_as_large_as_asked_or_one_sentence(n, n_train, n_val, kind, seed):
    pool = sets.outline(np.random.default_rng(seed).permutation(n) + 1)
    fits = n_train + n_val <= n and (kind == "random" or n_val + sets.gap_of(n) < n)
    if not fits:
        with pytest.raises(DataError, match="lower"):
            sets.split(pool, n_train, n_val, kind, seed)
        return
    train, val = (part.numbers for part in sets.split(pool, n_train, n_val, kind, seed))
    again = sets.split(pool, n_train, n_val, kind, seed)
    assert [part.numbers.tolist() for part in again] == [train.tolist(), val.tolist()]
    assert len({*train, *val}) == len(train) + len(val) and len(val) == n_val and len(train) >= 1
    if kind == "random":
        assert len(train) == n_train
    else:
        assert len(train) == min(n_train, n - n_val - sets.gap_of(n))
        assert np.array_equal(val, np.arange(n - n_val, n) + 1) and (np.diff(train) == 1).all()
        assert val.min() - train.max() == sets.gap_of(n) + 1                # so many lie between, in neither


@TRIED(max_examples=100)
@given(st.integers(2, 300), st.data(), st.sampled_from(["random", "block"]), SEEDS)
def test_a_smaller_training_set_lies_in_a_larger_one_and_both_have_one_validation_set(n, data, kind, seed):
    n_val = data.draw(st.integers(1, n - 1))
    large, small = sorted(data.draw(st.lists(st.integers(1, n - n_val), min_size=2, max_size=2)), reverse=True)
    assume(kind == "random" or n_val + sets.gap_of(n) < n)
    pool = sets.outline(np.arange(n) + 1)
    (many, val), (few, same) = (sets.split(pool, size, n_val, kind, seed) for size in (large, small))
    assert set(few.numbers) <= set(many.numbers) and np.array_equal(val.numbers, same.numbers)


@TRIED(max_examples=300)
@given(st.sampled_from(sorted(EXPERIMENTS)), st.integers(1, 60), st.none() | st.integers(1, 70),
       st.none() | st.integers(1, 70) | st.sampled_from([0.1, 0.9]), st.sampled_from(["random", "block"]), SEEDS)
@example("01_baseline", 40, 40, None, "random", 0)
@example("02_noisy_train", 5, 6, None, "random", 0)
def test_every_experiment_draws_two_sets_or_says_why_not(experiment, n, n_val, n_train, split, seed):
    """And nothing is drawn for ever: a training set of no slices would be."""
    config = configure(experiment, profile="tiny", n_train=n_train, n_val=n_val, split=split, seed=seed)
    try:
        train, val, note = config.draw(sets.outline(np.arange(n) + 1))
    except DataError as error:
        assert "lower" in str(error) and "\n" not in str(error)
        return
    assert len(train) >= 1 and len(val) >= 1 and note
    for part, asked in ((train, n_train), (val, n_val)):
        assert asked is None or len(part) in (np.ceil(asked), 2 * asked) or "Asked for are" in note


# -- noise ------------------------------------------------------------------------------------------------------------


@TRIED(max_examples=60)
@given(NUMBERS, st.floats(0, 65535), SEEDS, st.randoms(use_true_random=False))
def test_noise_is_clipped_and_the_same_in_any_order_and_batch_and_labels_are_untouched(numbers, std, seed, random):
    slices = drawn(numbers, 16, 17, seed)
    slices.images[0][:], before = random.choice([0, 65535]), [label.copy() for label in slices.labels]
    noisy, order = noisy_copies(slices, std, seed), random.sample(range(len(numbers)), len(numbers))
    for index, image in enumerate(noisy.images):
        added = np.rint(slices.images[index] + np.float32(std) * np.random.default_rng(
            [seed, numbers[index]]).standard_normal(image.shape, np.float32))
        assert image.dtype == np.uint16 and np.array_equal(image, added.clip(0, 65535))
        assert noisy.labels[index] is slices.labels[index] and np.array_equal(before[index], slices.labels[index])
    part = order[:random.randint(1, len(order))]
    assert noisy_copies(slices[part], std, seed).fingerprint() == noisy[part].fingerprint()


# -- tiles ------------------------------------------------------------------------------------------------------------


@TRIED(max_examples=100)
@given(st.integers(1, 5000), st.integers(1, 700), st.integers(0, 200))
def test_spans_are_all_there_is_once_and_what_each_must_see_lies_around_it(length, inner, reach):
    cuts = list(tiles.spans(length, inner, reach))
    assert [index for part, _ in cuts for index in range(length)[part]] == list(range(length))
    for part, seen in cuts:
        assert (seen.start, seen.stop) == (max(0, part.start - reach), min(length, part.stop + reach))


@cache
def a_network(depth, padding):
    torch.manual_seed(depth)
    model = UNet(2, depth, padding=padding)
    model.grey.copy_(torch.tensor([32768.0, 18918.0]))
    for _ in range(3):
        model(torch.randn(2, 1, 64 + 2 * model.margin, 64 + 2 * model.margin) * 18918 + 32768)
    return folded(model)


@TRIED(max_examples=25)
@given(st.integers(1, 2), st.sampled_from(["same", "valid"]), st.integers(16, 120), st.integers(16, 120),
       st.integers(1, 130), SEEDS)
def test_a_slice_in_tiles_of_any_side_is_the_slice_at_once(depth, padding, height, width, side, seed):
    image, model = drawn([1], height, width, seed).images[0], a_network(depth, padding)
    found = []
    with patch.object(network, "autocast", lambda device: nullcontext()):
        for pixels in (side, 10_000):
            logits = np.full((3, height, width), np.nan, np.float32)
            cut = tiled_logits(model, lambda _, rows: image[rows], 1, image.shape, range(1), pixels)
            for rows, columns, tile in cut:
                assert np.isnan(logits[:, rows, columns]).all()
                logits[:, rows, columns] = tile[0]
            found.append(logits)
    assert np.allclose(*found, atol=1e-4)


# -- Dice -------------------------------------------------------------------------------------------------------------


@TRIED(max_examples=100)
@given(SEEDS, st.integers(1, 4), st.integers(1, 9), st.permutations(range(3)))
def test_dice_lies_in_0_to_1_and_is_the_same_the_other_way_round_and_by_any_name_or_order(seed, n, side, names):
    generator = torch.Generator().manual_seed(seed)
    truth, guess = (torch.randint(3, (n, side, side + 1), generator=generator) for _ in range(2))
    dice, names = dice_score(confusion(guess, truth)), torch.tensor(names)
    assert (dice >= 0).all() and (dice <= 1).all() and (dice_score(confusion(truth, truth)) == 1).all()
    assert torch.equal(dice, dice_score(confusion(truth, guess)))                       # who predicts whom
    assert torch.equal(dice, dice_score(confusion(names[guess], names[truth]))[:, names])     # what a phase is called
    pixels = torch.randperm(truth[0].numel(), generator=generator)                      # where a pixel is
    moved = (each.flatten(1)[:, pixels].view_as(each) for each in (guess, truth))
    assert torch.equal(dice, dice_score(confusion(*moved)))
    assert torch.equal(dice.flip(0), dice_score(confusion(guess.flip(0), truth.flip(0))))     # which image comes first


# -- damaged TIFFs ----------------------------------------------------------------------------------------------------


def test_every_reader_makes_slices_or_one_sentence_of_damaged_tiffs(tmp_path):
    """Ten thousand more in `make prove`; the last two here have a list of numbers for a width."""
    found = {mutated.outcome(mutated.mutant(seed), tmp_path / "v_1.tif") for seed in (*range(300), 2702, 3019)}
    assert found == {"sentence", "both"}


def test_a_tiff_that_is_not_damaged_is_read(tmp_path):
    """So that a reader that refuses all is noticed."""
    valid = mutated.kinds(np.random.default_rng(0))
    for index, content in enumerate(valid):
        (tmp_path / f"v_{index}.tif").write_bytes(content)
        mutated.by_pages(tmp_path / f"v_{index}.tif")
    mutated.as_label(tmp_path / f"v_{len(valid) - 1}.tif")
