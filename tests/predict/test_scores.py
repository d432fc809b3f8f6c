"""Scores of a network, and where its errors lie."""

import numpy as np
import pytest
import torch
from conftest import blobs

from xraylib.dice import total_loss
from xraylib.noise import noisy_copies
from xraylib.predict.network import predict, recollected
from xraylib.predict.scores import (
    Scores,
    border_distance,
    evaluate,
    in_pieces,
    interface_distance,
    interface_share,
    near_interface,
    score,
    under_noise,
    worst_confusion,
)
from xraylib.slices.labelled import Slices
from xraylib.unet import UNet

VAL = blobs(5, 37, 41, seed=3)


def test_evaluation_scores_every_image_whatever_the_batch():
    torch.manual_seed(0)
    model = UNet(4, 2)
    model.grey.copy_(torch.tensor([35000.0, 8000.0]))
    together = evaluate(model, VAL, total_loss)
    one_by_one = [evaluate(model, VAL[index:index + 1], total_loss) for index in range(len(VAL))]
    assert together.confusion.sum() == 5 * 37 * 41
    assert np.array_equal(together.confusion, np.concatenate([scores.confusion for scores in one_by_one]))
    assert together.loss == pytest.approx(np.mean([scores.loss for scores in one_by_one]), rel=1e-3)
    assert together.mean == pytest.approx(together.dice.mean())
    assert model.training


def test_the_loss_is_computed_where_it_is_asked_for():
    scores = evaluate(UNet(2, 1), VAL)
    assert scores.loss is None and scores.where(np.array([0])).numbers.tolist() == [1]


def test_distance_to_an_interface():
    truth = np.zeros((2, 5, 8), np.uint8)
    truth[0, :, 4:] = 1
    assert interface_distance(truth[0])[2].tolist() == [4, 3, 2, 1, 1, 2, 3, 4]
    assert np.isinf(interface_distance(truth[1])).all()
    predicted = truth.copy()
    predicted[0, 0, [3, 1, 0]] = 2
    assert near_interface(truth, predicted) == pytest.approx([1 / 3, 1 / 3, 2 / 3])
    assert np.isnan(near_interface(truth, truth)).all()


def test_the_same_errors_counted_in_four_ways():
    """Two images of 10 pixels a phase; in the second, half of the pore is taken for YSZ."""
    counts = np.array([np.diag([10, 10, 10]), np.diag([10, 10, 10])])
    counts[1, 0] = [5, 5, 0]
    kinds = Scores(counts, np.arange(2), np.zeros(2)).kinds()
    pore, ysz = 2 * 5 / (10 + 5), 2 * 10 / (10 + 15)
    assert kinds["mean over images, then phases"] == pytest.approx((1 + (pore + ysz + 1) / 3) / 2)
    assert kinds["the worst image"] == pytest.approx((pore + ysz + 1) / 3)
    assert kinds["all pixels in one"] == pytest.approx((2 * 15 / (20 + 15) + 2 * 20 / (20 + 25) + 1) / 3)
    assert kinds["without class 0 (pore)"] == pytest.approx(((1 + ysz) / 2 + 1) / 2)


def test_volume_fractions_by_hand():
    counts = np.array([[[3, 1, 0], [2, 2, 0], [0, 0, 2]], [[8, 0, 0], [4, 4, 0], [0, 4, 0]]])     # [true, predicted]
    true, predicted = Scores(counts, np.arange(2), np.zeros(2)).fractions()
    assert true.tolist() == [[4 / 10, 4 / 10, 2 / 10], [8 / 20, 8 / 20, 4 / 20]]       # of 10 and of 20 pixels
    assert predicted.tolist() == [[5 / 10, 3 / 10, 2 / 10], [12 / 20, 8 / 20, 0]]


def test_a_prediction_without_a_network_is_scored_alike():
    predicted = [(label + 1) % 3 for label in VAL.labels]
    assert score(VAL.labels, VAL).mean == 1 and score(predicted, VAL).mean == 0


def test_the_share_of_a_phase_that_touches_another():
    label = np.zeros((4, 5), np.uint8)
    label[:, 4] = 1
    share = interface_share(Slices([label.astype(np.uint16)], [label], np.array([1])))
    assert share[:2].tolist() == [0.25, 1] and np.isnan(share[2])


def test_the_worst_confusion_in_words():
    counts = np.array([[9, 1, 0], [0, 9, 0], [0, 3, 9]])
    assert worst_confusion(counts) == "nickel taken for YSZ (75% of the wrong pixels)"


def a_network(padding="same", depth=2):
    """Weights as they were drawn, statistics of these slices: what it predicts is nonsense, but not of one phase."""
    torch.manual_seed(0)
    model = UNet(4, depth, padding=padding)
    model.grey.copy_(torch.tensor([35000.0, 8000.0]))
    return recollected(model, VAL.images)


def test_scores_under_noise_are_those_of_noisy_copies_and_without_noise_those_of_the_slices():
    model = a_network()
    none, some, much = under_noise(model, VAL, (0, 1000, 8000), seed=3)
    assert np.array_equal(none.confusion, evaluate(model, VAL).confusion)
    assert np.array_equal(much.confusion, evaluate(model, noisy_copies(VAL, 8000, 3)).confusion)
    assert [scores.noise_std.tolist() for scores in (none, some, much)] == [[0.0] * 5, [1000.0] * 5, [8000.0] * 5]
    assert not np.array_equal(much.confusion, under_noise(model, VAL, (8000,), seed=4)[0].confusion)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("side", [41, 100])
def test_in_one_piece_a_prediction_is_that_of_the_whole(padding, side):
    model = a_network(padding)
    whole = predict(model, VAL.images)
    assert len(np.unique(whole)) > 1 and np.array_equal(in_pieces(model, VAL.images, side), whole)


@pytest.mark.parametrize(("padding", "depth", "side"), [
    ("same", 2, 16), ("same", 2, 37), ("valid", 1, 16), ("valid", 2, 12)])   # 20 px around 1 px and 12: mirrored again
def test_a_piece_is_predicted_as_if_it_were_alone(padding, depth, side):
    model = a_network(padding, depth)
    together = in_pieces(model, VAL.images[:2], side)
    assert together.shape == (2, 37, 41) and together.dtype == np.uint8
    for top in range(0, 37, side):
        for left in range(0, 41, side):
            piece = np.s_[top:top + side, left:left + side]
            alone = predict(model, [image[piece] for image in VAL.images[:2]])
            assert np.array_equal(together[:, piece[0], piece[1]], alone)


def test_pixels_beyond_a_piece_do_not_matter():
    model, outside = a_network(), np.random.default_rng(0).integers(0, 65536, (37, 41), np.uint16)
    outside[16:32, 16:32] = VAL.images[0][16:32, 16:32]
    here, there = in_pieces(model, [VAL.images[0], outside], 16)
    assert np.array_equal(here[16:32, 16:32], there[16:32, 16:32]) and not np.array_equal(here, there)
    here, there = predict(model, [VAL.images[0], outside])                          # as they do where it is whole
    assert not np.array_equal(here[16:32, 16:32], there[16:32, 16:32])


@pytest.mark.parametrize(("shape", "side"), [((12, 8), 4), ((13, 18), 5), ((7, 11), 7), ((6, 4), 9), ((3, 5), 1)])
def test_distance_to_the_border_of_a_piece_step_by_step(shape, side):
    """How many steps it takes, up, down, left or right, to leave the piece."""
    rows, columns = np.indices(shape)
    piece = np.pad(rows // side * 100 + columns // side, 1, constant_values=-1)
    for (row, column), distance in np.ndenumerate(border_distance(shape, side)):
        steps = []
        for down, right in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            far = 1
            while piece[row + 1 + far * down, column + 1 + far * right] == piece[row + 1, column + 1]:
                far += 1
            steps.append(far)
        assert distance == min(steps)
