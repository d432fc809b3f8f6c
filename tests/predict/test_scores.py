"""Scores of a network, and where its errors lie."""

import numpy as np
import pytest
import torch
from conftest import blobs

from xraylib.dice import total_loss
from xraylib.predict.scores import evaluate, interface_distance, near_interface
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
