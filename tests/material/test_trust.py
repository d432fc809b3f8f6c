"""How far a segmentation can be trusted: by hand, and on numbers that are drawn from what is to be found."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import blobs

from xraylib.material import trust
from xraylib.material.phases import volume_fractions
from xraylib.material.trust import (
    feature_size,
    fit_temperature,
    logits_and_truth,
    reliability,
    share_wrong,
    transfer,
    whose,
    wrong_layer,
)
from xraylib.predict.network import predict, recollected
from xraylib.predict.scores import score
from xraylib.slices.labelled import Slices
from xraylib.unet import UNet

# Five pixels: how probable each phase is, and which one is true. Confidence 0.5, 0.6, 0.8, 0.9, 0.7; the second and the
# last are wrong.
PROBABLE = torch.tensor([[0.5, 0.3, 0.2], [0.2, 0.6, 0.2], [0.1, 0.1, 0.8], [0.9, 0.04, 0.06], [0.2, 0.7, 0.1]])
TRUTH = torch.tensor([0, 2, 2, 0, 0])


# -- confidence -------------------------------------------------------------------------------------------------------


def test_reliability_by_hand():
    found = reliability(PROBABLE.log(), TRUTH, bins=2)              # from 1/3 to 2/3 and to 1
    assert found.confidence == pytest.approx([(0.5 + 0.6) / 2, (0.8 + 0.9 + 0.7) / 3])
    assert found.accuracy == pytest.approx([1 / 2, 2 / 3])
    assert found.share == pytest.approx([2 / 5, 3 / 5])
    assert found.error == pytest.approx(2 / 5 * (0.55 - 1 / 2) + 3 / 5 * (0.8 - 2 / 3))
    assert found.right == pytest.approx((0.5 + 0.8 + 0.9) / 3) and found.wrong == pytest.approx((0.6 + 0.7) / 2)
    assert found.mean == pytest.approx(((0.5 + 0.6 + 0.8 + 0.9 + 0.7) / 5, 3 / 5))


def test_an_empty_bin_is_nan_and_counts_nothing():
    found = reliability(PROBABLE.log()[[0, 3]], TRUTH[[0, 3]], bins=3)     # 0.5 below 0.56 and 0.9 above 0.78
    assert found.confidence == pytest.approx([0.5, np.nan, 0.9], nan_ok=True)
    assert found.accuracy == pytest.approx([1, np.nan, 1], nan_ok=True) and found.share.tolist() == [0.5, 0, 0.5]
    assert found.error == pytest.approx((0.5 + 0.1) / 2) and found.mean == pytest.approx((0.7, 1))
    assert np.isnan(found.wrong) and found.right == pytest.approx(0.7)


def test_the_least_and_the_most_confidence_lie_in_the_first_and_the_last_bin():
    found = reliability(torch.tensor([[0.0, 0, 0], [99, 0, 0], [0, 99, 0]]), torch.tensor([0, 0, 0]))
    assert found.share == pytest.approx([1 / 3, *[0] * 13, 2 / 3]) and found.accuracy[-1] == 0.5


def test_a_temperature_divides_the_logits():
    one, other = reliability(PROBABLE.log(), TRUTH), reliability(3 * PROBABLE.log(), TRUTH, temperature=3)
    assert one.right == pytest.approx(other.right) and one.wrong == pytest.approx(other.wrong)
    assert reliability(PROBABLE.log(), TRUTH, temperature=3).right < one.right


@pytest.mark.parametrize("temperature", [0.5, 1, 3])
def test_the_temperature_that_labels_were_drawn_with_is_found_and_changes_no_decision(temperature):
    chance = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(20_000, 3, generator=chance)
    truth = torch.multinomial((logits / temperature).softmax(1), 1, generator=chance)[:, 0]
    found = fit_temperature(logits, truth)
    assert found == pytest.approx(temperature, rel=0.04)
    before, after = reliability(logits, truth), reliability(logits, truth, found)
    assert after.mean[1] == pytest.approx(before.mean[1]) and after.error < 0.01
    assert before.error < 0.01 or temperature != 1 and before.error > 0.05


def test_logits_and_labels_are_in_the_order_of_the_pixels(monkeypatch):
    """Logits that say where they are from: slice, phase, row and column; three slices in two parts."""
    n, phase, y, x = np.indices((3, 3, 4, 5))
    whole = torch.from_numpy(1000 * n + 100 * phase + 10 * y + x)
    monkeypatch.setattr(trust, "logits_of", lambda *_: ((part, whole[part]) for part in (slice(0, 2), slice(2, 4))))
    labels = np.random.default_rng(0).integers(0, 3, (3, 4, 5), np.uint8)
    logits, truth = logits_and_truth(None, Slices(labels.astype(np.uint16), labels, np.arange(3)))
    pixel = 2 * 20 + 3 * 5 + 1                                      # the second in the last row of the last slice
    assert logits[pixel].tolist() == [2031, 2131, 2231] and truth[pixel] == labels[2, 3, 1]
    assert logits.shape == (60, 3) and logits[:, 0].unique().numel() == 60 and logits.dtype == torch.float32
    assert truth.dtype == torch.int64 and truth.tolist() == [int(labels[p // 20, p // 5 % 4, p % 5]) for p in range(60)]


def test_logits_are_those_that_the_network_predicts_with():
    torch.manual_seed(0)
    slices = blobs(3, 20, 28)
    model = recollected(UNet(4, 2), slices.images)                  # random weights, but more than one phase comes out
    logits, truth = logits_and_truth(model, slices)
    guess = logits.argmax(1).reshape(3, 20, 28).numpy()
    assert np.array_equal(guess, predict(model, slices.images)) and len(np.unique(guess)) > 1
    accuracy = (guess == np.stack(slices.labels)).mean()
    assert reliability(logits, truth).mean[1] == pytest.approx(accuracy)


# -- where errors are -------------------------------------------------------------------------------------------------


def test_feature_size_by_hand():
    widths, phases = [3, 1, 5, 3, 1], [0, 1, 2, 1, 0]               # upright stripes: the two of a phase are apart
    labels = np.tile(np.repeat(phases, widths), (12, 1)).astype(np.uint8)
    labels[9, 6] = 0                                                # a single pixel in the widest
    size = feature_size(labels)
    assert size[0].tolist() == np.repeat(widths, widths).tolist()
    assert size[9].tolist() == [3, 3, 3, 1, 5, 5, 1, 5, 5, 3, 3, 3, 1]


def test_a_spur_has_the_size_of_what_it_hangs_on():
    labels = np.zeros((7, 12), np.uint8)
    labels[1:6, 1:6], labels[3, 6:10], labels[6, 6] = 1, 1, 2
    assert (feature_size(labels)[labels == 1] == 5).all()
    labels[6, 6] = 1                                                # what touches at a corner does not hang on it
    assert feature_size(labels)[6, 6] == 1


def test_the_share_of_wrong_pixels_by_hand():
    labels = [np.array([[0, 0, 1]]), np.array([[1, 1, 2, 2], [2, 2, 0, 0]])]
    predicted = [np.array([[1, 0, 1]]), np.array([[0, 2, 2, 2], [2, 2, 0, 0]])]
    # The number is 1.5 in pore, 2 in YSZ, 9 in nickel. Of 11 pixels in all, 3 of them wrong, there are from 1 below 2
    # four, one of them wrong; from 2 below 4 three, two wrong; from 4 below 5 none; from 5 below 10 four, all right.
    found = share_wrong(lambda label: np.array([1.5, 2, 9])[label], labels, predicted, (1, 2, 4, 5, 10))
    assert found == pytest.approx(np.array([[4 / 11, 3 / 11, 0, 4 / 11], [1 / 3, 2 / 3, 0, 0],
                                            [1 / 4, 2 / 3, np.nan, 0]]), nan_ok=True)
    none = share_wrong(np.sqrt, labels, labels, (0, 1, 2))          # all are right
    assert none == pytest.approx(np.array([[4 / 11, 7 / 11], [0, 0], [0, 0]]))


def halves(top):
    """Pore in so many rows of 8 x 10, nickel below."""
    return np.where(np.arange(8)[:, None] < top, 0, 2).repeat(10, 1).astype(np.uint8)


@pytest.mark.parametrize(("n", "per_axis"), [(1, 2), (3, 3)])
def test_an_interface_moved_by_a_voxel_is_wrong_in_a_layer_of_a_voxel(n, per_axis):
    truth, predicted = [halves(4)] * n, [halves(5)] * n
    found = wrong_layer(score(predicted, Slices(truth, truth, np.arange(n))), truth, voxel_nm=20)
    # Wrong is 1 of 8 rows. The interface is crossed once in 7 steps along one of 2 or 3 axes: 2 / 7 / 2 or 2 / 7 / 3 a
    # voxel. A layer of 20 nm along one of two axes, 1.5 times that along one of three, but for steps instead of rows.
    assert found[0, 2] == pytest.approx((1, 20 * (1 / 8) / (2 / 7 / per_axis)))
    assert [*found[0, 1], *found[1, 2]] == pytest.approx([0, np.nan] * 2, nan_ok=True)  # they do not touch


def test_wrong_pixels_are_shared_out_among_pairs_of_phases():
    truth = np.array([[0, 0, 1, 1, 2, 2]], np.uint8)
    guess = [np.array([[0, 1, 0, 1, 2, 1]], np.uint8)]
    found = wrong_layer(score(guess, Slices([truth], [truth], np.array([1]))), [truth], voxel_nm=1000)
    # Two of three are between pore and YSZ. A line has 2 P_L = 2 / 5 of each of the two interfaces.
    assert found[0, 1] == pytest.approx((2 / 3, 1000 * (2 / 6) / (2 / 5)))
    assert found[1, 2] == pytest.approx((1 / 3, 1000 * (1 / 6) / (2 / 5)))
    right = SimpleNamespace(confusion=np.diag([2, 2, 2])[None])
    assert wrong_layer(right, [truth])[0, 1] == (0, 0)


# -- whose errors they are --------------------------------------------------------------------------------------------


def test_whose_errors_by_hand():
    predicted = [np.array([[0, 0, 1, 1, 0]]), np.array([[0, 1, 2]])]
    labels = [np.array([[0, 1, 0, 0, 1]]), np.array([[1, 1, 2]])]
    truth = [np.array([[0, 0, 1, 0, 2]]), np.array([[0, 2, 2]])]
    # They differ in 4 + 1 pixels: the prediction is right in 2 + 1 of them, the label in 1, neither in 1.
    assert whose(predicted, labels, truth).tolist() == [3 / 5, 1 / 5, 1 / 5]
    assert whose(labels, labels, truth).tolist() == [0, 0, 0]


# -- on another volume ------------------------------------------------------------------------------------------------


def test_a_network_elsewhere_in_dice_and_in_quantities(monkeypatch):
    """Networks that are nothing but what they add to a class index, on two blocks of the same volume."""
    slices = blobs(6, 30, 30)
    monkeypatch.setattr(trust, "predict", lambda more, images: (np.stack(
        [slices.labels[int(image[0, 0])] for image in images]) + more).astype(np.uint8) % 3)
    images = [np.full((30, 30), number, np.uint16) for number in range(6)]
    runs = {name: [SimpleNamespace(model=lambda more=more: more, config={"seed": seed}) for seed in seeds]
            for name, more, seeds in (("here", 0, (4,)), ("elsewhere", 1, (5, 6)))}
    blocks = {"top": Slices(images[:3], slices.labels[:3], np.arange(3)),
              "bottom": Slices(images[3:], slices.labels[3:], np.arange(3, 6))}
    rows = transfer(runs, blocks, voxel_nm=10)
    assert [(row["trained on"], row["block"], row["seed"]) for row in rows] == [
        ("here", "top", 4), ("here", "bottom", 4), ("elsewhere", "top", 5), ("elsewhere", "top", 6),
        ("elsewhere", "bottom", 5), ("elsewhere", "bottom", 6)]
    assert [row["dice"] for row in rows] == [1, 1, 0, 0, 0, 0]
    assert {share for row in rows[:2] for share in row["off"].values() if not np.isnan(share)} == {0}
    pore, _, nickel = volume_fractions(np.stack(slices.labels[3:]))
    assert rows[-1]["off"]["pore, volume fraction"] == pytest.approx(nickel / pore - 1)     # what was nickel is pore
