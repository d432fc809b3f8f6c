"""Dice by hand, on 4 x 4 masks, and against two other implementations."""

import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import one_hot
from torchmetrics.functional.segmentation import dice_score as their_dice_score

from xraylib.dice import absent, confusion, dice_loss, dice_score, iou_from_dice, total_loss

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)     # of torch, about what MONAI's networks use
    from monai.metrics import DiceHelper

HALVES = torch.tensor([[0, 0, 1, 1]] * 4)[None]             # left half 0, right half 1
SHIFTED = torch.tensor([[0, 1, 1, 1]] * 4)[None]            # one column of 0 taken for 1


def score(predicted, truth):
    return dice_score(confusion(predicted, truth))


def certain(mask, n_classes=3):
    """Logits that put all probability on a mask."""
    return 200.0 * one_hot(mask, n_classes).movedim(-1, 1) - 100


def test_perfect():
    assert score(HALVES, HALVES).tolist() == [[1, 1, 1]]    # class 2 is absent from both and counts 1 ...
    assert absent(confusion(HALVES, HALVES)).tolist() == [[False, False, True]]     # ... and is reported


def test_disjoint():
    assert score(1 - HALVES, HALVES).tolist() == [[0, 0, 1]]


def test_half_right():
    # class 0: 4 px right, 4 + 8 claimed and true -> 2*4/12; class 1: 8 right, 12 + 8 -> 2*8/20
    assert score(SHIFTED, HALVES)[0].tolist() == pytest.approx([8 / 12, 16 / 20, 1])


def test_a_class_only_in_the_prediction_scores_zero():
    predicted = HALVES.clone()
    predicted[0, 0, 0] = 2
    assert score(predicted, HALVES)[0, 2] == 0
    assert not absent(confusion(predicted, HALVES)).any()


def test_a_batch_of_two_is_scored_image_by_image():
    both = score(torch.cat([HALVES, SHIFTED]), torch.cat([HALVES, HALVES]))
    assert torch.equal(both, torch.cat([score(HALVES, HALVES), score(SHIFTED, HALVES)]))


def test_confusion_is_indexed_true_then_predicted():
    counts = confusion(SHIFTED, HALVES)[0]
    assert counts.tolist() == [[4, 4, 0], [0, 8, 0], [0, 0, 0]]


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="both must be"):
        confusion(HALVES, HALVES[:, :3])


@settings(deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 4))
def test_score_agrees_with_torchmetrics(seed, n):
    generator = torch.Generator().manual_seed(seed)
    truth, predicted = (torch.randint(3, (n, 8, 8), generator=generator) for _ in range(2))
    theirs = their_dice_score(predicted, truth, num_classes=3, average="none", input_format="index")
    assert torch.allclose(score(predicted, truth).float(), theirs, atol=1e-6)


@settings(deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 4), st.integers(1, 8))
def test_score_agrees_with_monai(seed, n, side):
    """Also where a class is absent from both, which counts 1 there, too; in small images that is often so."""
    generator = torch.Generator().manual_seed(seed)
    truth, predicted = (torch.randint(3, (n, side, side), generator=generator) for _ in range(2))
    helper = DiceHelper(include_background=True, ignore_empty=False, reduction="none", get_not_nans=False,
                        apply_argmax=True, num_classes=3)
    theirs = helper(certain(predicted), truth[:, None])
    assert torch.allclose(score(predicted, truth).float(), theirs, atol=1e-6)


def test_loss_of_a_perfect_prediction():
    mask = torch.tensor([[0, 1, 2, 2]] * 4)[None]
    assert dice_loss(certain(mask), mask).item() == pytest.approx(0, abs=1e-5)


def test_loss_of_an_absent_class_is_minus_a_half():
    assert dice_loss(certain(HALVES), HALVES).item() == pytest.approx((0 + 0 - 0.5) / 3, abs=1e-5)


def test_loss_by_hand():
    # SHIFTED against HALVES, all 16 px certain. Class 0: p = 4, r = 8, both 4, neither 8: 1 - 4/12 - 8/20; class 1:
    # p = 12, r = 8, both 8, neither 4: 1 - 8/20 - 4/12; class 2 absent: -1/2.
    one = 1 - 4 / 12 - 8 / 20
    assert dice_loss(certain(SHIFTED), HALVES).item() == pytest.approx((one + one - 0.5) / 3, abs=1e-5)


def test_loss_sums_over_the_batch_before_it_divides():
    """One image without class 2 and one with it: the sums run over both, so that no image divides by its own size."""
    other = torch.full((1, 4, 4), 2)
    truth = torch.cat([HALVES, other])
    predicted = torch.cat([SHIFTED, other])
    terms = [(4, 12, 24, 52), (8, 20, 20, 44), (16, 32, 16, 32)]     # both, p + r, neither, 2 - p - r; 32 px
    by_hand = sum(1 - a / b - c / d for a, b, c, d in terms) / 3
    assert dice_loss(certain(predicted), truth).item() == pytest.approx(by_hand, abs=1e-5)


def test_loss_has_a_gradient_that_helps():
    logits = torch.zeros(1, 3, 4, 4, requires_grad=True)
    before = dice_loss(logits, HALVES)
    before.backward()
    assert logits.grad.abs().max() > 0
    assert dice_loss(logits - 10 * logits.grad, HALVES) < before


def test_loss_is_computed_in_float32():
    logits = torch.randn(1, 3, 64, 64).bfloat16()
    assert dice_loss(logits, torch.zeros(1, 64, 64, dtype=torch.long)).dtype == torch.float32


@pytest.mark.parametrize("loss", [dice_loss, total_loss])
@pytest.mark.parametrize("phases", [3, 2])
def test_the_gradient_is_that_of_the_value_in_float64(loss, phases):
    """Against finite differences; with two phases the third is absent from the target."""
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(phases, (2, 4, 5), generator=generator)
    logits = torch.randn(2, 3, 4, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    assert loss(logits, target).dtype == torch.float64
    assert torch.autograd.gradcheck(loss, (logits, target))


def test_iou():
    assert iou_from_dice(0.99105) == pytest.approx(0.98226, abs=1e-5)
    # SHIFTED against HALVES, class 0: 4 px in both, 8 in either
    assert iou_from_dice(8 / 12) == pytest.approx(4 / 8)
