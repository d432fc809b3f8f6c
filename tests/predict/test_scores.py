"""Scores of a network, and where its errors lie."""

import numpy as np
import pytest
import torch
from conftest import blobs

from xraylib.dice import total_loss
from xraylib.predict.scores import (
    Scores,
    evaluate,
    interface_distance,
    interface_share,
    near_interface,
    score,
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
