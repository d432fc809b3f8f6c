"""Dice by hand, on 4 x 4 masks, and against two other implementations; scores; places of errors."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import blobs
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import one_hot
from torchmetrics.functional.segmentation import dice_score as torchmetrics_dice

from xraylib.data import NI_YSZ, Phases
from xraylib.inference import predict, recalibrate_batch_norm
from xraylib.losses import total_loss
from xraylib.metrics import (
    Scores,
    absent_classes,
    confusion_matrix,
    dice_score,
    evaluate,
    interface_distance,
    mean_probabilities,
    score_masks,
    share_near_interface,
    worst_confusion,
)
from xraylib.unet import UNet

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)    # of torch, about MONAI's networks
    from monai.metrics import DiceHelper

HALVES = torch.tensor([[0, 0, 1, 1]] * 4)[None]            # left half 0, right half 1
SHIFTED = torch.tensor([[0, 1, 1, 1]] * 4)[None]           # one column of 0 taken for 1
VAL = blobs(5, 37, 41, seed=3)
FIVE = Phases(tuple("abcde"), (1, 2, 3, 4, 9), ("#000000",) * 5)


def score(predicted, truth):
    return dice_score(confusion_matrix(predicted, truth, 3))


@pytest.fixture(scope="module")
def model():
    """A network with random weights and the batch-norm statistics of these slices."""
    torch.manual_seed(0)
    network = UNet(4, 2)
    network.grey.copy_(torch.tensor([35000.0, 8000.0]))
    return recalibrate_batch_norm(network, VAL.images)


# -- Dice -----------------------------------------------------------------------------------------


def test_perfect():
    """Class 2 is absent from both, which counts as 1 and is reported."""
    assert score(HALVES, HALVES).tolist() == [[1, 1, 1]]
    absent = absent_classes(confusion_matrix(HALVES, HALVES, 3))
    assert absent.tolist() == [[False, False, True]]


def test_disjoint():
    assert score(1 - HALVES, HALVES).tolist() == [[0, 0, 1]]


def test_half_right():
    # Class 0: 4 px right, 4 + 8 predicted and true: 2*4/12. Class 1: 8 right, 12 + 8: 2*8/20.
    assert score(SHIFTED, HALVES)[0].tolist() == pytest.approx([8 / 12, 16 / 20, 1])


def test_a_class_only_in_the_prediction_scores_zero():
    predicted = HALVES.clone()
    predicted[0, 0, 0] = 2
    assert score(predicted, HALVES)[0, 2] == 0
    assert not absent_classes(confusion_matrix(predicted, HALVES, 3)).any()


def test_a_batch_of_two_is_scored_image_by_image():
    both = score(torch.cat([HALVES, SHIFTED]), torch.cat([HALVES, HALVES]))
    assert torch.equal(both, torch.cat([score(HALVES, HALVES), score(SHIFTED, HALVES)]))


def test_the_confusion_matrix_is_indexed_true_then_predicted():
    counts = confusion_matrix(SHIFTED, HALVES, 3)[0]
    assert counts.tolist() == [[4, 4, 0], [0, 8, 0], [0, 0, 0]]


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="both must be"):
        confusion_matrix(HALVES, HALVES[:, :3], 3)


@settings(deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 4), st.integers(2, 6))
def test_score_agrees_with_torchmetrics(seed, n, n_classes):
    generator = torch.Generator().manual_seed(seed)
    truth, predicted = (torch.randint(n_classes, (n, 9, 9), generator=generator) for _ in "12")
    theirs = torchmetrics_dice(predicted, truth, num_classes=n_classes, average="none",
                               input_format="index")
    counts = confusion_matrix(predicted, truth, n_classes)
    present = ~absent_classes(counts)                      # torchmetrics gives nan or 0 to others
    assert torch.allclose(dice_score(counts).float()[present], theirs[present], atol=1e-6)


@settings(deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 4), st.integers(1, 8))
def test_score_agrees_with_monai(seed, n, side):
    """A class that is absent from both counts as 1 there, too; in small images that is frequent."""
    generator = torch.Generator().manual_seed(seed)
    truth, predicted = (torch.randint(3, (n, side, side), generator=generator) for _ in "12")
    helper = DiceHelper(include_background=True, ignore_empty=False, reduction="none",
                        get_not_nans=False, apply_argmax=True, num_classes=3)
    theirs = helper(one_hot(predicted, 3).movedim(-1, 1), truth[:, None])
    assert torch.allclose(score(predicted, truth).float(), theirs, atol=1e-6)


# -- scores ---------------------------------------------------------------------------------------


def test_evaluation_scores_every_image_in_any_batch():
    torch.manual_seed(0)
    model = UNet(4, 2)
    model.grey.copy_(torch.tensor([35000.0, 8000.0]))
    together = evaluate(model, VAL, total_loss)
    parts = [evaluate(model, VAL[index:index + 1], total_loss) for index in range(len(VAL))]
    assert together.confusion.sum() == 5 * 37 * 41
    assert np.array_equal(together.confusion, np.concatenate([part.confusion for part in parts]))
    assert together.loss == pytest.approx(np.mean([part.loss for part in parts]), rel=1e-3)
    assert together.mean == pytest.approx(together.dice.mean())
    assert model.training


def test_the_loss_is_computed_only_on_request():
    scores = evaluate(UNet(2, 1), VAL)
    assert scores.loss is None and scores.where(np.array([0])).numbers.tolist() == [1]


def test_the_same_errors_counted_in_four_ways():
    """Two images of 10 pixels per phase; in the second, half of class 0 is taken for class 1."""
    counts = np.array([np.diag([10, 10, 10]), np.diag([10, 10, 10])])
    counts[1, 0] = [5, 5, 0]
    variants = Scores(counts, np.arange(2), np.zeros(2)).dice_variants()
    zero, one = 2 * 5 / (10 + 5), 2 * 10 / (10 + 15)
    mean = (1 + (zero + one + 1) / 3) / 2
    pixels = (2 * 15 / (20 + 15) + 2 * 20 / (20 + 25) + 1) / 3
    assert variants["mean over images, then phases"] == pytest.approx(mean)
    assert variants["the worst image"] == pytest.approx((zero + one + 1) / 3)
    assert variants["all pixels in one"] == pytest.approx(pixels)
    assert variants["without class 0"] == pytest.approx(((1 + one) / 2 + 1) / 2)


def test_masks_of_any_source_are_scored_alike():
    predicted = [(label + 1) % 3 for label in VAL.labels]
    assert score_masks(VAL.labels, VAL).mean == 1 and score_masks(predicted, VAL).mean == 0


def test_any_number_of_classes():
    """Five phases, the last two of which do not occur; the network predicts five classes."""
    slices = replace(VAL, phases=FIVE)
    perfect = score_masks(VAL.labels, slices)
    assert perfect.confusion.shape == (5, 5, 5) and perfect.absent == 10 and perfect.mean == 1
    scores = evaluate(UNet(2, 1, n_classes=5), slices, total_loss)
    assert scores.confusion.shape == (5, 5, 5) and scores.dice.shape == (5, 5)
    assert np.isfinite(scores.loss)
    assert worst_confusion(np.ones((5, 5)), FIVE.names) == "a taken for b (5 % of the wrong pixels)"


def test_probabilities_are_those_of_the_pixels_of_the_phase(model):
    rows = mean_probabilities(model, VAL, [0, 5000], phase=1)
    assert rows.shape == (2, 3) and rows.sum(1) == pytest.approx([1, 1], abs=1e-2)
    predicted = predict(model, VAL.images)[np.stack(VAL.labels) == 1]
    assert rows[0].argmax() == np.bincount(predicted, minlength=3).argmax()


# -- places of errors -----------------------------------------------------------------------------


def test_distance_to_an_interface():
    truth = np.zeros((2, 5, 8), np.uint8)
    truth[0, :, 4:] = 1
    assert interface_distance(truth[0])[2].tolist() == [4, 3, 2, 1, 1, 2, 3, 4]
    assert np.isinf(interface_distance(truth[1])).all()
    predicted = truth.copy()
    predicted[0, 0, [3, 1, 0]] = 2
    assert share_near_interface(truth, predicted) == pytest.approx([1 / 3, 1 / 3, 2 / 3])
    assert np.isnan(share_near_interface(truth, truth)).all()


def test_the_worst_confusion_in_words():
    counts = np.array([[9, 1, 0], [0, 9, 0], [0, 3, 9]])
    words = worst_confusion(counts, NI_YSZ.names)
    assert words == "nickel taken for YSZ (75 % of the wrong pixels)"
