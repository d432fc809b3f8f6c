"""The Dice loss by hand, on 4 x 4 masks, and its gradient."""

import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from xraylib.losses import IGNORE, dice_loss, total_loss

HALVES = torch.tensor([[0, 0, 1, 1]] * 4)[None]            # left half 0, right half 1
SHIFTED = torch.tensor([[0, 1, 1, 1]] * 4)[None]           # one column of 0 taken for 1


def certain(mask):
    """Logits that put all probability on a mask."""
    return 200.0 * one_hot(mask, 3).movedim(-1, 1) - 100


def test_loss_of_a_perfect_prediction():
    mask = torch.tensor([[0, 1, 2, 2]] * 4)[None]
    assert dice_loss(certain(mask), mask).item() == pytest.approx(0, abs=1e-5)


def test_loss_of_an_absent_class_is_minus_a_half():
    loss = dice_loss(certain(HALVES), HALVES).item()
    assert loss == pytest.approx((0 + 0 - 0.5) / 3, abs=1e-5)


def test_loss_by_hand():
    # SHIFTED against HALVES, all 16 px certain. Class 0: p = 4, r = 8, both 4, neither 8:
    # 1 - 4/12 - 8/20. Class 1: p = 12, r = 8, both 8, neither 4: 1 - 8/20 - 4/12.
    # Class 2 is absent: -1/2.
    one = 1 - 4 / 12 - 8 / 20
    loss = dice_loss(certain(SHIFTED), HALVES).item()
    assert loss == pytest.approx((one + one - 0.5) / 3, abs=1e-5)


def test_loss_sums_over_the_batch_before_it_divides():
    """Class 2 is in one of the two images only, but no image divides by its own size."""
    other = torch.full((1, 4, 4), 2)
    truth = torch.cat([HALVES, other])
    predicted = torch.cat([SHIFTED, other])
    # both, p + r, neither, 2 - p - r; of 32 px
    terms = [(4, 12, 24, 52), (8, 20, 20, 44), (16, 32, 16, 32)]
    by_hand = sum(1 - a / b - c / d for a, b, c, d in terms) / 3
    assert dice_loss(certain(predicted), truth).item() == pytest.approx(by_hand, abs=1e-5)


def test_the_total_loss_adds_cross_entropy():
    logits = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    expected = cross_entropy(logits, HALVES) + dice_loss(logits, HALVES)
    assert torch.equal(total_loss(logits, HALVES), expected)


def test_the_order_of_the_axes_of_space_does_not_matter():
    """The same voxels as an image, a batch or a volume."""
    logits = torch.randn(2, 4, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    target = torch.randint(4, (2, 3, 5, 6), generator=torch.Generator().manual_seed(1))
    as_batch = logits.transpose(1, 2).flatten(0, 1), target.flatten(0, 1)
    as_row = logits.transpose(0, 1).flatten(1)[None, :, None], target.flatten()[None, None]
    for loss in (dice_loss, total_loss):
        values = [loss(*pair).item() for pair in ((logits, target), as_batch, as_row)]
        assert values == pytest.approx([values[0]] * 3, rel=1e-5)


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
    """Against finite differences; with two phases, the third is absent from the target."""
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(phases, (2, 4, 5), generator=generator)
    logits = torch.randn(2, 3, 4, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    assert loss(logits, target).dtype == torch.float64
    assert torch.autograd.gradcheck(loss, (logits, target))


# -- pixels without a label ------------------------------------------------------------------------


def partly_labelled(phases):
    """Logits, a target of which two thirds are labelled, and where it is."""
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(3, phases, 7, 8, generator=generator, dtype=torch.float64)
    target = torch.randint(phases, (3, 7, 8), generator=generator)
    known = torch.rand(target.shape, generator=generator) < 2 / 3
    return logits.requires_grad_(), target.where(known, IGNORE), known


@pytest.mark.parametrize("loss", [dice_loss, total_loss])
@pytest.mark.parametrize("phases", [2, 3, 16])
def test_the_loss_is_that_of_the_labelled_pixels_alone(loss, phases):
    logits, target, known = partly_labelled(phases)
    value = loss(logits, target)
    value.backward()
    alone = logits.detach().movedim(1, -1)[known].T[None, :, None].requires_grad_()
    expected = loss(alone, target[known][None, None])
    expected.backward()
    assert value.item() == pytest.approx(expected.item(), rel=1e-12)
    gradient = logits.grad.movedim(1, -1)
    assert not gradient[~known].any()
    assert torch.allclose(gradient[known].T, alone.grad[0, :, 0], rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("loss", [dice_loss, total_loss])
def test_the_gradient_of_a_part_is_that_of_the_value(loss):
    logits, target, _ = partly_labelled(3)
    assert torch.autograd.gradcheck(loss, (logits, target))


def test_without_any_label_there_is_nothing_to_learn():
    logits = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    value = total_loss(logits, torch.full((2, 4, 4), IGNORE))
    value.backward()
    assert value.item() == 0 and not logits.grad.any() and logits.grad.isfinite().all()
