"""IoU, volume fractions and scores under noise."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_metrics import FIVE, VAL

from xraylib.inference import recalibrate_batch_norm
from xraylib.metrics import Scores, evaluate, score_masks
from xraylib.noise import noisy_copies
from xraylib.outlook.scores import evaluate_under_noise, iou_from_dice, scored_fractions
from xraylib.unet import UNet


def test_iou():
    assert iou_from_dice(0.99105) == pytest.approx(0.98226, abs=1e-5)
    # SHIFTED against HALVES, class 0: 4 px in both, 8 in either
    assert iou_from_dice(8 / 12) == pytest.approx(4 / 8)


def test_volume_fractions_by_hand():
    counts = np.array([[[3, 1, 0], [2, 2, 0], [0, 0, 2]],            # [true, predicted], 10 px
                       [[8, 0, 0], [4, 4, 0], [0, 4, 0]]])           # 20 px
    true, predicted = scored_fractions(Scores(counts, np.arange(2), np.zeros(2)))
    assert true.tolist() == [[4 / 10, 4 / 10, 2 / 10], [8 / 20, 8 / 20, 4 / 20]]
    assert predicted.tolist() == [[5 / 10, 3 / 10, 2 / 10], [12 / 20, 8 / 20, 0]]
    every = scored_fractions(score_masks(VAL.labels, replace(VAL, phases=FIVE)))
    assert every[0].shape == (5, 5)


def test_scores_under_noise_are_those_of_noisy_copies():
    torch.manual_seed(0)
    model = UNet(4, 2)
    model.grey.copy_(torch.tensor([35000.0, 8000.0]))
    model = recalibrate_batch_norm(model, VAL.images)
    none, low, high = evaluate_under_noise(model, VAL, (0, 1000, 8000), seed=3)
    assert np.array_equal(none.confusion, evaluate(model, VAL).confusion)
    assert np.array_equal(high.confusion, evaluate(model, noisy_copies(VAL, 8000, 3)).confusion)
    assert [scores.noise_std.tolist() for scores in (none, low, high)] == [
        [0.0] * 5, [1000.0] * 5, [8000.0] * 5]
    other_seed = evaluate_under_noise(model, VAL, (8000,), seed=4)[0]
    assert not np.array_equal(high.confusion, other_seed.confusion)
