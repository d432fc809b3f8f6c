"""Prediction in pieces, influence of the surroundings, and the cost of a training step."""

import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import blobs

from xraylib import device
from xraylib.inference import predict, recalibrate_batch_norm, receptive_field
from xraylib.outlook import small_crops
from xraylib.outlook.small_crops import (
    bytes_kept_for_backward,
    distance_to_border,
    influence,
    influence_within,
    predict_in_pieces,
    seconds_per_step,
)
from xraylib.params import PROFILES
from xraylib.unet import UNet

SLICES = blobs(5, 37, 41, seed=3)


def random_network(padding="same", depth=2):
    """Random weights with batch-norm statistics of these slices: it predicts several phases."""
    torch.manual_seed(0)
    model = UNet(4, depth, padding=padding)
    model.grey.copy_(torch.tensor([35000.0, 8000.0]))
    return recalibrate_batch_norm(model, SLICES.images)


# -- prediction in pieces --------------------------------------------------------------------------


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("side", [41, 100])
def test_one_piece_is_predicted_like_a_whole_slice(padding, side):
    model = random_network(padding)
    whole = predict(model, SLICES.images)
    assert len(np.unique(whole)) > 1
    assert np.array_equal(predict_in_pieces(model, SLICES.images, side), whole)


@pytest.mark.parametrize(("padding", "depth", "side"), [
    # 20 px are mirrored around pieces of 12 px and 1 px, which takes more than one reflection.
    ("same", 2, 16), ("same", 2, 37), ("valid", 1, 16), ("valid", 2, 12)])
def test_a_piece_is_predicted_as_if_it_were_alone(padding, depth, side):
    model = random_network(padding, depth)
    together = predict_in_pieces(model, SLICES.images[:2], side)
    assert together.shape == (2, 37, 41) and together.dtype == np.uint8
    for top in range(0, 37, side):
        for left in range(0, 41, side):
            piece = np.s_[top:top + side, left:left + side]
            alone = predict(model, [image[piece] for image in SLICES.images[:2]])
            assert np.array_equal(together[:, piece[0], piece[1]], alone)


def test_pixels_beyond_a_piece_do_not_matter():
    model, inside = random_network(), np.s_[16:32, 16:32]
    other = np.random.default_rng(0).integers(0, 65536, (37, 41), np.uint16)
    other[inside] = SLICES.images[0][inside]
    here, there = predict_in_pieces(model, [SLICES.images[0], other], 16)
    assert np.array_equal(here[inside], there[inside]) and not np.array_equal(here, there)
    here, there = predict(model, [SLICES.images[0], other])  # in a whole slice they do matter
    assert not np.array_equal(here[inside], there[inside])


@pytest.mark.parametrize(("shape", "side"), [
    ((12, 8), 4), ((13, 18), 5), ((7, 11), 7), ((6, 4), 9), ((3, 5), 1)])
def test_the_distance_to_the_border_counts_the_steps_out_of_the_piece(shape, side):
    rows, columns = np.indices(shape)
    piece = np.pad(rows // side * 100 + columns // side, 1, constant_values=-1)
    for (row, column), distance in np.ndenumerate(distance_to_border(shape, side)):
        row, column, steps = row + 1, column + 1, []
        for down, right in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            far = 1
            while piece[row + far * down, column + far * right] == piece[row, column]:
                far += 1
            steps.append(far)
        assert distance == min(steps)


# -- influence -------------------------------------------------------------------------------------


def test_the_influence_ends_where_the_receptive_field_does():
    """The square reaches 14 px from the middle; the network (depth 1) sees about 16 x 16 px."""
    model = random_network(depth=1)
    shares, side = influence(model, SLICES, 14), receptive_field(model)
    assert shares.shape == (29, 29) and shares.sum() == pytest.approx(1)
    rows, columns = shares.any(1), shares.any(0)
    assert rows.sum() == columns.sum() == side
    assert np.abs(np.array(np.nonzero(rows)).mean() - 14) <= 1
    assert not any(weights.grad is not None for weights in model.parameters())


def test_the_influence_within_a_square_by_hand():
    shares = np.full((5, 5), 0.5 / 24)
    shares[2, 2] = 0.5
    assert influence_within(shares).tolist() == pytest.approx([0.5, 0.5 + 8 * 0.5 / 24, 1])


# -- cost of a step --------------------------------------------------------------------------------


def test_recipes_take_turns_and_the_fastest_round_counts(monkeypatch):
    ticks = iter([0, 50, 0, 0, 5, 0, 0, 10, 0, 0, 20, 0])  # start and end of 5 steps, next start
    monkeypatch.setattr("xraylib.training.time.perf_counter", ticks.__next__)
    monkeypatch.setattr(small_crops, "TIMED_ROUNDS", 2)
    recipe = replace(PROFILES["tiny"], width=2, batch=2)
    found = seconds_per_step({"a": recipe, "b": recipe}, blobs(4, 48, 40))
    assert found == {"a": 2, "b": 1} and next(ticks, None) is None


def test_what_is_kept_for_the_backward_pass_by_hand(monkeypatch):
    """The sizes are those of a float32 network of width w with one pooling, per pixel of the crop.

    At the top there is 1 number for the grey level, 4 w for two convolutions, each before and after
    its batch norm (the ReLU works in place), on the way down, as many on the way up, and 2 w where
    the two meet. Below there are, for a quarter of the pixels, w after the pooling, w places of 8
    bytes, and 4 x 2 w. What does not grow with the crop are the weights.
    """
    monkeypatch.setattr(device, "supports_fast_bf16", lambda _: False)
    model, w = UNet(6, 1), 6
    kept = {side: bytes_kept_for_backward(model, torch.rand(2, 1, side, side))
            for side in (32, 64, 96)}
    pixel = 4 * (1 + 4 * w + 2 * w + 4 * w) + (4 * w + 8 * w + 4 * 4 * 2 * w) / 4
    assert kept[64] - kept[32] == 2 * (64**2 - 32**2) * pixel
    assert kept[96] - kept[64] == 2 * (96**2 - 64**2) * pixel
    weights = 4 * sum(parameter.numel() for parameter in model.parameters())
    assert 0 < kept[32] - 2 * 32**2 * pixel < 1.5 * weights


def test_nothing_that_was_counted_stays_in_memory():
    model, made = random_network(), []
    model.head.register_forward_hook(
        lambda _layer, _inputs, logits: made.append(weakref.ref(logits)))
    bytes_kept_for_backward(model, torch.rand(1, 1, 32, 32))
    assert made[0]() is None
