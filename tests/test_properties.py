"""Properties that hold for any input, tried on many random ones."""

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
from torch.nn.functional import one_hot

from xraylib import tiles
from xraylib.augment import cut_windows, flip, random_places
from xraylib.data import SLICE_ZERO, Slices, random_stream, save_slices
from xraylib.datasets import block_gap, dummy_slices, load_slices, split_slices
from xraylib.errors import DataError
from xraylib.experiments import EXPERIMENTS
from xraylib.files import load_plugins
from xraylib.inference import fuse_batch_norm
from xraylib.metrics import confusion_matrix, dice_score
from xraylib.noise import noisy_copies
from xraylib.params import configure
from xraylib.tiles import tile_spans, tiled_logits
from xraylib.unet import UNet

load_plugins()  # also the experiments of xraylib.outlook
# A machine may be slow, and what fails once must fail again.
TRIED = partial(settings, deadline=None, derandomize=True)
SEEDS, SIDES = st.integers(0, 2**31 - 1), st.integers(16, 40)
NUMBERS = st.lists(
    st.integers(0, 2**63 - 1) | st.integers(0, 99), min_size=1, max_size=6, unique=True)


def random_slices(numbers: list[int], height: int, width: int, seed: int) -> Slices:
    """Slices of these numbers, whose pixels have nothing to do with each other."""
    rng = np.random.default_rng(seed)
    shape = len(numbers), height, width
    return Slices(list(rng.integers(0, 65536, shape, np.uint16)),
                  list(rng.integers(0, 3, shape, np.uint8)), np.array(numbers))


# -- slices on disk --------------------------------------------------------------------------------


@TRIED(max_examples=40)
@given(NUMBERS, SIDES, SIDES, SEEDS)
def test_slices_come_back_from_a_folder_unchanged_in_order_of_number(numbers, height, width, seed):
    slices = random_slices(numbers, height, width, seed)
    with tempfile.TemporaryDirectory() as folder:
        save_slices(slices, folder)
        loaded = load_slices(folder)
    assert loaded.numbers.tolist() == sorted(numbers)
    assert loaded.fingerprint() == slices[np.argsort(slices.numbers)].fingerprint()
    assert {array.dtype for array in loaded.images} == {np.dtype(np.uint16)}
    assert {array.dtype for array in loaded.labels} == {np.dtype(np.uint8)}


# -- splits ----------------------------------------------------------------------------------------


@TRIED(max_examples=200)
@given(st.integers(1, 300), st.integers(1, 320), st.integers(1, 320),
       st.sampled_from(["random", "block"]), SEEDS)
def test_a_split_is_disjoint_seeded_and_as_large_as_asked_or_an_error(
        n, n_train, n_val, kind, seed):
    pool = dummy_slices(np.random.default_rng(seed).permutation(n) + 1)
    fits = n_train + n_val <= n and (kind == "random" or n_val + block_gap(n) < n)
    if not fits:
        with pytest.raises(DataError, match="[Ll]ower"):
            split_slices(pool, n_train, n_val, kind, seed)
        return
    train, val = (part.numbers for part in split_slices(pool, n_train, n_val, kind, seed))
    again = split_slices(pool, n_train, n_val, kind, seed)
    assert [part.numbers.tolist() for part in again] == [train.tolist(), val.tolist()]
    assert len({*train, *val}) == len(train) + len(val)
    assert len(val) == n_val and len(train) >= 1
    if kind == "random":
        assert len(train) == n_train
    else:
        gap = block_gap(n)
        assert len(train) == min(n_train, n - n_val - gap)
        assert np.array_equal(val, np.arange(n - n_val, n) + 1) and (np.diff(train) == 1).all()
        assert val.min() - train.max() == gap + 1  # the slices of the gap are in neither set


@TRIED(max_examples=100)
@given(st.integers(2, 300), st.data(), st.sampled_from(["random", "block"]), SEEDS)
def test_a_smaller_training_set_is_part_of_a_larger_one_with_the_same_validation_set(
        n, data, kind, seed):
    n_val = data.draw(st.integers(1, n - 1))
    sizes = data.draw(st.lists(st.integers(1, n - n_val), min_size=2, max_size=2))
    assume(kind == "random" or n_val + block_gap(n) < n)
    pool = dummy_slices(np.arange(n) + 1)
    (many, val), (few, same) = (split_slices(pool, size, n_val, kind, seed)
                                for size in sorted(sizes, reverse=True))
    assert set(few.numbers) <= set(many.numbers) and np.array_equal(val.numbers, same.numbers)


@TRIED(max_examples=300)
@given(st.sampled_from(sorted(EXPERIMENTS)), st.integers(1, 60), st.none() | st.integers(1, 70),
       st.none() | st.integers(1, 70) | st.sampled_from([0.1, 0.9]),
       st.sampled_from(["random", "block"]), SEEDS)
@example("01_baseline", 40, 40, None, "random", 0)
@example("02_noisy_train", 5, 6, None, "random", 0)
def test_every_experiment_draws_two_sets_or_says_why_not(experiment, n, n_val, size, split, seed):
    """No experiment draws an empty training set, with which training would never end."""
    few = {"slice_share": size} if isinstance(size, float) else {"n_train": size}
    config = configure(experiment, profile="tiny", n_val=n_val, split=split, seed=seed, **few)
    try:
        train, val, note = config.draw(dummy_slices(np.arange(n) + 1))
    except DataError as error:
        assert "ower" in str(error) and "\n" not in str(error)
        return
    assert len(train) >= 1 and len(val) >= 1 and note
    for part, asked in ((train, config.n_train), (val, n_val)):
        assert asked is None or len(part) in (asked, 2 * asked) or "asks for" in note


# -- noise -----------------------------------------------------------------------------------------


@TRIED(max_examples=60)
@given(NUMBERS, st.floats(0, 65535), SEEDS, st.randoms(use_true_random=False))
def test_noise_is_clipped_and_the_same_in_any_order_and_batch(numbers, noise_std, seed, random):
    slices = random_slices(numbers, 16, 17, seed)
    slices.images[0][:], before = random.choice([0, 65535]), [each.copy() for each in slices.labels]
    noisy = noisy_copies(slices, noise_std, seed)
    for index, (number, image) in enumerate(zip(numbers, noisy.images, strict=True)):
        rng = np.random.default_rng([seed, number]) if number else random_stream(seed, SLICE_ZERO)
        noise = rng.standard_normal(image.shape, np.float32)
        expected = np.rint(slices.images[index] + np.float32(noise_std) * noise)
        assert image.dtype == np.uint16 and np.array_equal(image, expected.clip(0, 65535))
        assert noisy.labels[index] is slices.labels[index]
        assert np.array_equal(before[index], slices.labels[index])
    part = random.sample(range(len(numbers)), random.randint(1, len(numbers)))
    same = noisy_copies(slices[part], noise_std, seed)
    assert same.fingerprint() == noisy[part].fingerprint()


# -- crops -----------------------------------------------------------------------------------------


@TRIED(max_examples=100)
@given(SIDES, SIDES, st.integers(0, 50), st.booleans(), st.integers(1, 20), SEEDS)
def test_crops_are_flipped_windows_of_their_slice_and_label(height, width, side, flips, n, seed):
    slices = random_slices([1, 2], height, width, seed)
    images, labels = ([torch.from_numpy(array) for array in arrays]
                      for arrays in (slices.images, slices.labels))
    chosen = torch.from_numpy(np.random.default_rng(seed).integers(2, size=n))
    generator = torch.Generator().manual_seed(seed)
    shape = tuple(min(side or length, length) for length in (height, width))
    places = random_places([(height, width)] * n, side, flips, generator)
    crops, targets = cut_windows(images, labels, chosen, places)
    for crop, target, index, ((rows, columns), turn) in zip(
            crops, targets, chosen, places, strict=True):
        assert rows.start >= 0 and rows.stop <= height and rows.stop - rows.start == shape[0]
        assert columns.start >= 0 and columns.stop <= width
        assert columns.stop - columns.start == shape[1] and turn < (8 if flips else 1)
        image, label = (part[index][rows, columns].long() for part in (images, labels))
        assert torch.equal(crop[0], flip(image, turn).float())
        assert torch.equal(target, flip(label, turn))


# -- tiles -----------------------------------------------------------------------------------------


@TRIED(max_examples=100)
@given(st.integers(1, 5000), st.integers(1, 700), st.integers(0, 200))
def test_tiles_cover_a_side_once_and_each_sees_what_is_around_it(length, inner, reach):
    spans = list(tile_spans(length, inner, reach))
    assert [index for part, _ in spans for index in range(length)[part]] == list(range(length))
    for part, seen in spans:
        assert seen.start == max(0, part.start - reach)
        assert seen.stop == min(length, part.stop + reach)


@cache
def small_network(depth: int, padding: str) -> UNet:
    torch.manual_seed(depth)
    model = UNet(2, depth, padding=padding)
    model.grey.copy_(torch.tensor([32768.0, 18918.0]))
    side = 64 + 2 * model.margin
    for _ in range(3):  # batch-norm statistics
        model(torch.randn(2, 1, side, side) * 18918 + 32768)
    return fuse_batch_norm(model)


@TRIED(max_examples=25)
@given(st.integers(1, 2), st.sampled_from(["same", "valid"]), st.integers(16, 120),
       st.integers(16, 120), st.integers(1, 130), SEEDS)
def test_tiles_of_any_side_give_the_prediction_of_the_slice_at_once(
        depth, padding, height, width, side, seed):
    image = random_slices([1], height, width, seed).images[0]
    model, found = small_network(depth, padding), []
    with patch.object(tiles, "autocast", lambda device: nullcontext()):
        for pixels in (side, 10_000):
            logits = np.full((3, height, width), np.nan, np.float32)
            for rows, columns, tile in tiled_logits(
                    model, lambda _, rows: image[rows], 1, image.shape, range(1), pixels):
                assert np.isnan(logits[:, rows, columns]).all()
                logits[:, rows, columns] = tile[0]
            found.append(logits)
    assert np.allclose(*found, atol=1e-4)


# -- Dice ------------------------------------------------------------------------------------------


@TRIED(max_examples=100)
@given(SEEDS, st.integers(2, 5), st.integers(1, 4), st.integers(1, 9), st.data())
def test_dice_lies_in_0_to_1_and_does_not_depend_on_roles_names_or_order(
        seed, n_classes, n, side, data):
    generator = torch.Generator().manual_seed(seed)
    truth, guess = (torch.randint(n_classes, (n, side, side + 1), generator=generator)
                    for _ in range(2))
    names = torch.tensor(data.draw(st.permutations(range(n_classes))))

    def score(predicted: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
        dice = dice_score(confusion_matrix(predicted, true, n_classes))
        present = one_hot(true.flatten(1), n_classes).any(1)
        assert torch.equal(dice.isnan(), ~present)  # nan: the class is absent from the truth
        return dice.nan_to_num(-1)

    dice, perfect, swapped = score(guess, truth), score(truth, truth), score(truth, guess)
    assert ((dice >= 0) & (dice <= 1) | (dice == -1)).all() and (perfect.abs() == 1).all()
    in_both = (dice >= 0) & (swapped >= 0)
    assert torch.equal(dice[in_both], swapped[in_both])  # which one is the prediction
    assert torch.equal(dice, score(names[guess], names[truth])[:, names])  # the names of classes
    pixels = torch.randperm(truth[0].numel(), generator=generator)
    moved = (each.flatten(1)[:, pixels].view_as(each) for each in (guess, truth))
    assert torch.equal(dice, score(*moved))  # the order of pixels
    assert torch.equal(dice.flip(0), score(guess.flip(0), truth.flip(0)))  # the order of images


# -- damaged TIFFs ---------------------------------------------------------------------------------


def test_every_reader_reads_damaged_tiffs_or_rejects_them_with_an_error(tmp_path):
    """`make prove` tries ten thousand more. The last two here give a list of numbers as width."""
    seeds = (*range(300), 2702, 3019)
    found = {mutated.outcome(mutated.mutant(seed), tmp_path / "v_1.tif") for seed in seeds}
    assert found == {"rejected", "both"}


def test_a_valid_tiff_is_read(tmp_path):
    """A reader that rejects everything would pass the test above."""
    contents = mutated.valid_tiffs(np.random.default_rng(0))
    for index, content in enumerate(contents):
        (tmp_path / f"v_{index}.tif").write_bytes(content)
        mutated.read_pages(tmp_path / f"v_{index}.tif")
    mutated.read_label(tmp_path / f"v_{len(contents) - 1}.tif")
