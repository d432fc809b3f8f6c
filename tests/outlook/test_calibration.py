"""Confidence and errors: by hand, and on numbers drawn from the answer that is to be found."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import blobs

from xraylib.data import Slices
from xraylib.inference import predict, recalibrate_batch_norm
from xraylib.losses import IGNORE
from xraylib.metrics import score_masks
from xraylib.outlook import calibration
from xraylib.outlook.calibration import (
    attribute_errors,
    error_layers,
    errors_by_bin,
    evaluate_transfer,
    feature_thickness,
    fit_temperature,
    logits_and_truth,
    measure_reliability,
)
from xraylib.outlook.microstructure import volume_fractions
from xraylib.unet import UNet

# Five pixels: the probability of each phase, and the true one. The confidences are 0.5, 0.6, 0.8,
# 0.9 and 0.7; the second and the last pixel are wrong.
PROBABLE = torch.tensor([[0.5, 0.3, 0.2], [0.2, 0.6, 0.2], [0.1, 0.1, 0.8], [0.9, 0.04, 0.06],
                         [0.2, 0.7, 0.1]])
TRUTH = torch.tensor([0, 2, 2, 0, 0])


# -- confidence ------------------------------------------------------------------------------------


def test_reliability_by_hand(monkeypatch):
    monkeypatch.setattr(calibration, "BINS", 2)  # from 1/3 to 2/3, and to 1
    found = measure_reliability(PROBABLE.log(), TRUTH)
    assert found.confidence == pytest.approx([(0.5 + 0.6) / 2, (0.8 + 0.9 + 0.7) / 3])
    assert found.accuracy == pytest.approx([1 / 2, 2 / 3])
    assert found.share == pytest.approx([2 / 5, 3 / 5])
    assert found.calibration_error == pytest.approx(
        2 / 5 * (0.55 - 1 / 2) + 3 / 5 * (0.8 - 2 / 3))
    assert found.confidence_if_correct == pytest.approx((0.5 + 0.8 + 0.9) / 3)
    assert found.confidence_if_wrong == pytest.approx((0.6 + 0.7) / 2)
    assert found.mean_confidence == pytest.approx((0.5 + 0.6 + 0.8 + 0.9 + 0.7) / 5)
    assert found.mean_accuracy == pytest.approx(3 / 5)


def test_an_empty_bin_is_nan_and_does_not_count(monkeypatch):
    monkeypatch.setattr(calibration, "BINS", 3)  # 0.5 is below 0.56, 0.9 above 0.78
    found = measure_reliability(PROBABLE.log()[[0, 3]], TRUTH[[0, 3]])
    assert found.confidence == pytest.approx([0.5, np.nan, 0.9], nan_ok=True)
    assert found.accuracy == pytest.approx([1, np.nan, 1], nan_ok=True)
    assert found.share.tolist() == [0.5, 0, 0.5]
    assert found.calibration_error == pytest.approx((0.5 + 0.1) / 2)
    assert (found.mean_confidence, found.mean_accuracy) == pytest.approx((0.7, 1))
    assert np.isnan(found.confidence_if_wrong)
    assert found.confidence_if_correct == pytest.approx(0.7)


@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_the_lowest_and_the_highest_confidence_lie_in_the_first_and_the_last_bin(n_classes):
    logits = torch.zeros(3, n_classes)
    logits[1, 0] = logits[2, 1] = 99
    found = measure_reliability(logits, torch.tensor([0, 0, 0]))
    assert found.share == pytest.approx([1 / 3, *[0] * 13, 2 / 3]) and found.accuracy[-1] == 0.5
    assert found.confidence[0] == pytest.approx(1 / n_classes)


def test_a_temperature_divides_the_logits():
    one = measure_reliability(PROBABLE.log(), TRUTH)
    other = measure_reliability(3 * PROBABLE.log(), TRUTH, temperature=3)
    assert one.confidence_if_correct == pytest.approx(other.confidence_if_correct)
    assert one.confidence_if_wrong == pytest.approx(other.confidence_if_wrong)
    hot = measure_reliability(PROBABLE.log(), TRUTH, temperature=3)
    assert hot.confidence_if_correct < one.confidence_if_correct


@pytest.mark.parametrize("temperature", [0.5, 1, 3])
def test_the_temperature_that_labels_were_drawn_with_is_found(temperature):
    chance = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(20_000, 3, generator=chance)
    truth = torch.multinomial((logits / temperature).softmax(1), 1, generator=chance)[:, 0]
    found = fit_temperature(logits, truth)
    assert found == pytest.approx(temperature, rel=0.04)
    before, after = measure_reliability(logits, truth), measure_reliability(logits, truth, found)
    assert after.mean_accuracy == pytest.approx(before.mean_accuracy)
    assert after.calibration_error < 0.01
    assert before.calibration_error < 0.01 if temperature == 1 else before.calibration_error > 0.05


def test_logits_and_labels_are_in_the_order_of_the_pixels(monkeypatch):
    """Each logit tells its slice, phase, row and column; three slices come in two parts."""
    n, phase, y, x = np.indices((3, 3, 4, 5))
    whole = torch.from_numpy(1000 * n + 100 * phase + 10 * y + x)
    monkeypatch.setattr(calibration, "logits_of",
                        lambda *_: ((part, whole[part]) for part in (slice(0, 2), slice(2, 4))))
    labels = np.random.default_rng(0).integers(0, 3, (3, 4, 5), np.uint8)
    logits, truth = logits_and_truth(None, Slices(labels, labels, np.arange(3)))
    pixel = 2 * 20 + 3 * 5 + 1  # the second one in the last row of the last slice
    assert logits[pixel].tolist() == [2031, 2131, 2231] and truth[pixel] == labels[2, 3, 1]
    assert logits.shape == (60, 3) and logits.dtype == torch.float32
    assert logits[:, 0].unique().numel() == 60
    assert truth.dtype == torch.int64 and truth.tolist() == labels.ravel().tolist()


def test_logits_are_those_that_the_network_predicts_with():
    torch.manual_seed(0)
    slices = blobs(3, 20, 28)
    # The weights are random, but with fitting statistics more than one phase is predicted.
    model = recalibrate_batch_norm(UNet(4, 2), slices.images)
    logits, truth = logits_and_truth(model, slices)
    guess = logits.argmax(1).reshape(3, 20, 28).numpy()
    assert np.array_equal(guess, predict(model, slices.images)) and len(np.unique(guess)) > 1
    accuracy = (guess == np.stack(slices.labels)).mean()
    assert measure_reliability(logits, truth).mean_accuracy == pytest.approx(accuracy)


# -- where errors are ------------------------------------------------------------------------------


def test_feature_thickness_by_hand():
    widths, phases = [3, 1, 5, 3, 1], [0, 1, 2, 1, 0]  # stripes; two of one phase do not touch
    labels = np.tile(np.repeat(phases, widths), (12, 1)).astype(np.uint8)
    labels[9, 6] = 0  # a single pixel in the widest stripe
    thickness = feature_thickness(labels)
    assert thickness[0].tolist() == np.repeat(widths, widths).tolist()
    assert thickness[9].tolist() == [3, 3, 3, 1, 5, 5, 1, 5, 5, 3, 3, 3, 1]


def test_a_spur_is_as_thick_as_the_feature_that_it_belongs_to():
    labels = np.zeros((7, 12), np.uint8)
    labels[1:6, 1:6], labels[3, 6:10], labels[6, 6] = 1, 1, 2
    assert (feature_thickness(labels)[labels == 1] == 5).all()
    labels[6, 6] = 1  # a pixel that touches only at a corner does not belong to the feature
    assert feature_thickness(labels)[6, 6] == 1


def test_errors_by_bin_by_hand():
    labels = [np.array([[0, 0, 1]]), np.array([[1, 1, 2, 2], [2, 2, 0, 0]])]
    predicted = [np.array([[1, 0, 1]]), np.array([[0, 2, 2, 2], [2, 2, 0, 0]])]
    # The number is 1.5 in pore, 2 in YSZ and 9 in nickel. 3 of 11 pixels are wrong. Between 1 and
    # 2 there are four pixels, one of them wrong; between 2 and 4 three, two of them wrong; between
    # 4 and 5 none; between 5 and 10 four, all correct.
    found = errors_by_bin(lambda label: np.array([1.5, 2, 9])[label], labels, predicted,
                          (1, 2, 4, 5, 10))
    expected = [[4 / 11, 3 / 11, 0, 4 / 11], [1 / 3, 2 / 3, 0, 0], [1 / 4, 2 / 3, np.nan, 0]]
    assert found == pytest.approx(np.array(expected), nan_ok=True)
    assert found == pytest.approx(errors_by_bin(
        lambda label: np.array([1.5, 2, 9, 1])[label % 252], [*labels, np.array([[IGNORE]])],
        [*predicted, np.array([[0]])], (1, 2, 4, 5, 10)), nan_ok=True)  # of labelled pixels alone
    none = errors_by_bin(np.sqrt, labels, labels, (0, 1, 2))  # all pixels are correct
    assert none == pytest.approx(np.array([[4 / 11, 7 / 11], [0, 0], [0, 0]]))


def halves(top):
    """Pore in so many rows of 8 x 10 pixels, nickel below."""
    return np.where(np.arange(8)[:, None] < top, 0, 2).repeat(10, 1).astype(np.uint8)


@pytest.mark.parametrize(("n", "step", "axes"), [(1, 1, 2), (3, 1, 3), (3, 10, 2)])
def test_an_interface_moved_by_a_voxel_is_wrong_in_a_layer_of_a_voxel(n, step, axes):
    truth, predicted = [halves(4)] * n, [halves(5)] * n
    scores = score_masks(predicted, Slices(truth, truth, step * np.arange(n)))
    found = error_layers(scores, truth, (20,) * 3)
    # 1 of 8 rows is wrong. The interface is crossed once in 7 steps along one of 2 or 3 axes, which
    # is 2 / 7 / 2 or 2 / 7 / 3 per voxel.
    assert found[0, 2] == pytest.approx((1, 20 * (1 / 8) / (2 / 7 / axes)))
    assert [*found[0, 1], *found[1, 2]] == pytest.approx([0, np.nan] * 2, nan_ok=True)


def test_wrong_pixels_are_divided_among_pairs_of_phases():
    truth = np.array([[0, 0, 1, 1, 2, 2]], np.uint8)
    guess = [np.array([[0, 1, 0, 1, 2, 1]], np.uint8)]
    scores = score_masks(guess, Slices([truth], [truth], np.array([1])))
    found = error_layers(scores, [truth], (1000,) * 3)
    # Two of three are between pore and YSZ. A line has 2 P_L = 2 / 5 of each of the two interfaces.
    assert found[0, 1] == pytest.approx((2 / 3, 1000 * (2 / 6) / (2 / 5)))
    assert found[1, 2] == pytest.approx((1 / 3, 1000 * (1 / 6) / (2 / 5)))
    in_px = error_layers(scores, [truth], None)
    assert in_px[0, 1] == pytest.approx((2 / 3, (2 / 6) / (2 / 5)))
    correct = SimpleNamespace(confusion=np.diag([2, 2, 2])[None], numbers=np.array([1]))
    assert error_layers(correct, [truth], (18.4,) * 3)[0, 1] == (0, 0)


def test_errors_are_attributed_by_hand():
    predicted = [np.array([[0, 0, 1, 1, 0]]), np.array([[0, 1, 2]])]
    labels = [np.array([[0, 1, 0, 0, 1]]), np.array([[1, 1, 2]])]
    truth = [np.array([[0, 0, 1, 0, 2]]), np.array([[0, 2, 2]])]
    # They differ in 4 + 1 pixels: the prediction is right in 2 + 1 of them, the label in 1, none
    # in 1.
    assert attribute_errors(predicted, labels, truth).tolist() == [3 / 5, 1 / 5, 1 / 5]
    assert attribute_errors(labels, labels, truth).tolist() == [0, 0, 0]


# -- transfer to another volume --------------------------------------------------------------------


def test_a_network_on_another_volume(monkeypatch):
    """The networks are numbers that are added to the true class, on two blocks of one volume."""
    slices = blobs(6, 30, 30)

    def predict(more, images):
        truth = np.stack([slices.labels[int(image[0, 0])] for image in images])
        return (truth + more).astype(np.uint8) % 3

    monkeypatch.setattr(calibration, "predict", predict)
    images = [np.full((30, 30), number, np.uint16) for number in range(6)]
    runs = {name: [SimpleNamespace(model=lambda more=more: more, config={"seed": seed})
                   for seed in seeds]
            for name, more, seeds in (("here", 0, (4,)), ("elsewhere", 1, (5, 6)))}
    blocks = {"top": Slices(images[:3], slices.labels[:3], np.arange(3)),
              "bottom": Slices(images[3:], slices.labels[3:], np.arange(3, 6))}
    rows = evaluate_transfer(runs, blocks, (10,) * 3)
    assert [(row["trained_on"], row["block"], row["seed"]) for row in rows] == [
        ("here", "top", 4), ("here", "bottom", 4), ("elsewhere", "top", 5),
        ("elsewhere", "top", 6), ("elsewhere", "bottom", 5), ("elsewhere", "bottom", 6)]
    assert [row["dice"] for row in rows] == [1, 1, 0, 0, 0, 0]
    perfect = [error for row in rows[:2] for error in row["relative_error"].values()]
    assert {error for error in perfect if not np.isnan(error)} == {0}
    pore, _, nickel = volume_fractions(np.stack(slices.labels[3:]), 3)
    error = rows[-1]["relative_error"]["pore, volume fraction"]
    assert error == pytest.approx(nickel / pore - 1)  # nickel is predicted as pore
    assert all("pore, percolated fraction" in row["relative_error"] for row in rows)
    apart = {"apart": Slices(images[::3], slices.labels[::3], np.arange(6)[::3])}
    (row,) = evaluate_transfer({"here": runs["here"]}, apart, None)  # slices are no neighbours
    assert not any("percolated" in name for name in row["relative_error"])
    assert "triple-phase boundary, 1/px²" in row["relative_error"]
