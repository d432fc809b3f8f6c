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

from xraylib.data import NI_YSZ, Phases, Slices
from xraylib.inference import predict, recalibrate_batch_norm
from xraylib.losses import IGNORE, total_loss
from xraylib.metrics import (
    Scores,
    confusion_matrix,
    dice_score,
    evaluate,
    interface_distance,
    mean_probabilities,
    score_masks,
    share_near_interface,
    worst_confusion,
    wrong_pixels,
    wrong_share,
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
    """Class 2 is absent from the truth, so it has no Dice."""
    assert score(HALVES, HALVES)[0].tolist() == pytest.approx([1, 1, np.nan], nan_ok=True)


def test_disjoint():
    assert score(1 - HALVES, HALVES)[0, :2].tolist() == [0, 0]


def test_half_right():
    # Class 0: 4 px right, 4 + 8 predicted and true: 2*4/12. Class 1: 8 right, 12 + 8: 2*8/20.
    assert score(SHIFTED, HALVES)[0, :2].tolist() == pytest.approx([8 / 12, 16 / 20])


def test_a_class_that_is_only_in_the_prediction_has_no_dice_and_costs_the_others_theirs():
    predicted = HALVES.clone()
    predicted[0, 0, 0] = 2
    dice = score(predicted, HALVES)[0].tolist()
    assert dice == pytest.approx([2 * 7 / (7 + 8), 1, np.nan], nan_ok=True)


def test_each_image_of_a_batch_is_scored_separately():
    both = score(torch.cat([HALVES, SHIFTED]), torch.cat([HALVES, HALVES]))
    alone = torch.cat([score(HALVES, HALVES), score(SHIFTED, HALVES)])
    assert torch.equal(both.nan_to_num(), alone.nan_to_num())


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
    present = counts.sum(2) > 0                            # torchmetrics gives nan or 0 to others
    assert torch.allclose(dice_score(counts).float()[present], theirs[present], atol=1e-6)


@settings(deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 4), st.integers(1, 8))
def test_score_agrees_with_monai(seed, n, side):
    """A class that is absent from the truth is nan there, too; in small images that is frequent."""
    generator = torch.Generator().manual_seed(seed)
    truth, predicted = (torch.randint(3, (n, side, side), generator=generator) for _ in "12")
    helper = DiceHelper(include_background=True, ignore_empty=True, reduction="none",
                        get_not_nans=False, apply_argmax=True, num_classes=3)
    theirs = helper(one_hot(predicted, 3).movedim(-1, 1), truth[:, None])
    assert torch.allclose(score(predicted, truth).float(), theirs, atol=1e-6, equal_nan=True)


def test_pixels_without_a_label_are_not_counted():
    """The counts are those of the labelled pixels alone, whatever is predicted elsewhere."""
    generator = torch.Generator().manual_seed(0)
    truth, predicted = torch.randint(3, (2, 4, 9, 9), generator=generator)
    known = torch.rand(truth.shape, generator=generator) < 0.5
    part = truth.where(known, IGNORE)
    counts = confusion_matrix(predicted, part, 3)
    for index in range(4):
        alone = [each[index][known[index]][None, None] for each in (predicted, truth)]
        assert torch.equal(counts[index], confusion_matrix(*alone, 3)[0])
    assert counts.sum() == known.sum()
    assert torch.equal(counts, confusion_matrix(predicted.byte(), part.byte(), 3))
    wrong = wrong_pixels(part.numpy(), predicted.numpy())
    assert np.array_equal(wrong, (known & (predicted != truth)).numpy())
    assert wrong_share(part.numpy(), predicted.numpy()) == wrong.sum() / int(known.sum())
    nothing = np.full((3, 3), IGNORE)
    assert wrong_share(nothing, np.zeros((3, 3))) == 0 and score_masks(
        [nothing.astype(np.uint8)], Slices([nothing], [nothing.astype(np.uint8)], np.array([1]))
    ).absent == [0, 1, 2]


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


def test_an_image_without_a_class_does_not_count_in_the_mean_of_the_class():
    """The second image has no class 2, neither has class 3; one pixel taken for it is an error."""
    counts = np.zeros((2, 4, 4), int)
    counts[0, range(3), range(3)] = 10
    counts[1, 0, 0], counts[1, 0, 3], counts[1, 1, 1] = 9, 1, 10
    scores = Scores(counts, np.arange(2), np.zeros(2))
    zero = 2 * 9 / (9 + 10)
    assert scores.class_dice == pytest.approx([(1 + zero) / 2, 1, 1, np.nan], nan_ok=True)
    assert scores.image_dice == pytest.approx([1, (zero + 1) / 2])
    assert scores.mean == pytest.approx(((1 + zero) / 2 + 1 + 1) / 3) and scores.absent == [3]
    assert scores.dice_variants()["all pixels in one"] == pytest.approx((2 * 19 / 39 + 2) / 3)


def test_a_stray_pixel_of_a_phase_that_is_nowhere_costs_one_pixel():
    """Of two phases, 0 and 2, in a library of three: neither flattered by a third nor ruined."""
    truth = np.random.default_rng(0).integers(0, 2, (64, 64)).astype(np.uint8) * 2
    stray = truth.copy()
    stray[0, 0] = 1
    slices = Slices([truth], [truth], np.array([1]))
    perfect, almost = (score_masks([guess], slices) for guess in (truth, stray))
    assert perfect.mean == 1 and 0.9998 < almost.mean < 1 and almost.absent == [1]


def test_slices_of_different_sizes_are_scored_like_each_alone(model):
    sizes = [(37, 41), (20, 41), (37, 20)]
    pairs = zip(VAL.images, VAL.labels, sizes, strict=False)
    images, labels = zip(*((image[:h, :w], label[:h, :w]) for image, label, (h, w) in pairs),
                         strict=True)
    slices = Slices(list(images), list(labels), np.arange(3))
    together, masks = evaluate(model, slices, total_loss), predict(model, slices.images)
    alone = [evaluate(model, slices[[index]], total_loss) for index in range(3)]
    assert np.array_equal(together.confusion, np.concatenate([each.confusion for each in alone]))
    assert together.loss == pytest.approx(np.mean([each.loss for each in alone]))
    assert [mask.shape for mask in masks] == sizes and masks[0].dtype == np.uint8
    assert np.array_equal(score_masks(masks, slices).confusion, together.confusion)
    together = mean_probabilities(model, slices, [0, 900], 1)
    alone = [mean_probabilities(model, slices[[index]], [0, 900], 1) for index in range(3)]
    pixels = [(label == 1).sum() for label in labels]
    assert together == pytest.approx(np.average(alone, 0, pixels), abs=1e-5)


def test_masks_of_any_source_are_scored_alike():
    predicted = [(label + 1) % 3 for label in VAL.labels]
    assert score_masks(VAL.labels, VAL).mean == 1 and score_masks(predicted, VAL).mean == 0


def test_any_number_of_classes():
    """Five phases, the last two of which do not occur; the network predicts five classes."""
    slices = replace(VAL, phases=FIVE)
    perfect = score_masks(VAL.labels, slices)
    assert perfect.confusion.shape == (5, 5, 5) and perfect.absent == [3, 4] and perfect.mean == 1
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


def test_between_a_phase_and_unlabelled_pixels_there_is_no_interface():
    truth = np.full((5, 12), 1, np.uint8)
    truth[:, 8:], truth[:, 2:4] = 2, IGNORE
    assert interface_distance(truth)[2].tolist() == [8, 7, 6, 5, 4, 3, 2, 1, 1, 2, 3, 4]
    for only in (0, 2):  # one phase alone
        assert np.isinf(interface_distance(np.where(truth == 2, only, IGNORE))).all()
    predicted = np.where(truth == 1, 2, 1)  # every labelled pixel is wrong
    assert share_near_interface([truth], [predicted]) == pytest.approx([2 / 10, 4 / 10, 6 / 10])


def test_the_worst_confusion_in_words():
    counts = np.array([[9, 1, 0], [0, 9, 0], [0, 3, 9]])
    words = worst_confusion(counts, NI_YSZ.names)
    assert words == "nickel taken for YSZ (75 % of the wrong pixels)"
