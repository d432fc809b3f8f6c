"""Indicators that need no label, on slices of which they can be said beforehand."""

import numpy as np
import pytest
import torch
from conftest import blobs

from xraylib.material import unlabelled
from xraylib.material.unlabelled import INDICATORS, Look, grey_quantiles, grey_shift, look
from xraylib.predict.network import logits_of, predict
from xraylib.slices.labelled import Slices
from xraylib.unet import UNet


def of(labels, numbers=None, confidence=0.9, entropy=0.2, disagree=None, shift=None):
    """A look at slices of these labels; the rest is the same in all pixels unless it is given."""
    labels = np.asarray(labels, np.uint8)
    full = {name: np.broadcast_to(np.float16(value), labels.shape).copy()
            for name, value in (("confidence", confidence), ("entropy", entropy))}
    n = len(labels)
    numbers = np.arange(n) if numbers is None else np.asarray(numbers)
    return Look(list(np.zeros(labels.shape, np.uint16)), numbers, labels,
                full["confidence"], full["entropy"], np.zeros(labels.shape, bool) if disagree is None else disagree,
                np.zeros(n) if shift is None else np.asarray(shift, float))


ROWS = [[[0, 0, 1, 2]], [[0, 0, 1, 1]], [[1, 1, 1, 1]], [[2, 2, 2, 2]]]


def test_indicators_by_hand():
    disagree = np.zeros((4, 1, 4), bool)
    disagree[1, 0, :3] = True
    found = of(ROWS, [5, 6, 7, 9], disagree=disagree, shift=[0, 1, 2, 3]).indicators
    assert list(found) == list(INDICATORS)
    assert found["consistency"] == pytest.approx([3 / 4, (3 / 4 + 2 / 4) / 2, 2 / 4, np.nan], nan_ok=True)
    assert found["jump"] == pytest.approx([1 / 4, 1 / 2, 1 / 2, np.nan], nan_ok=True)
    assert found["rarest"].tolist() == [1 / 4, 0, 0, 0]
    assert found["disagreement"].tolist() == [0, 3 / 4, 0, 0] and found["shift"].tolist() == [0, 1, 2, 3]
    assert found["confidence"] == pytest.approx([0.9] * 4, abs=1e-3)


def test_fractions_by_hand():
    assert of(ROWS).fractions.tolist() == [[0.5, 0.25, 0.25], [0.5, 0.5, 0], [0, 1, 0], [0, 0, 1]]


def test_the_shift_is_how_far_grey_levels_have_to_be_moved():
    image = np.random.default_rng(0).integers(20000, 40000, (64, 64)).astype(np.uint16)
    usual = grey_quantiles([image])
    found = grey_shift([image, image + np.uint16(3000), (image // 2)], usual)
    assert found[:2] == pytest.approx([0, 3000 / usual.std()], abs=1e-9)
    assert found[2] == pytest.approx(usual.mean() / 2 / usual.std(), rel=1e-3)


class Thresholds(UNet):
    """A network that knows nothing but a grey level for each phase."""

    def __init__(self, *levels):
        super().__init__(4, 1)
        self.levels = torch.tensor(levels)

    def forward(self, images):
        return -((images - self.levels[:, None, None]) / 5000).abs()                # (B, 3, H, W)


def test_a_look_is_what_the_networks_say():
    slices = blobs(4, 32, 40)
    models = [Thresholds(21500.0, second, 41500.0).eval() for second in (35200.0, 32000.0, 38000.0)]
    here = look(models, slices.images, slices.numbers, grey_quantiles(slices.images))
    guesses = [predict(model, slices.images) for model in models]
    assert np.array_equal(here.labels, guesses[0])
    assert np.array_equal(here.disagree, (guesses[0] != guesses[1]) | (guesses[0] != guesses[2]))
    assert (guesses[0] != guesses[1]).any() and (guesses[0] != guesses[2]).any() and not here.disagree.all()
    probable = torch.cat([logits for _, logits in logits_of(models[0], slices.images)]).softmax(1).double().numpy()
    assert here.confidence == pytest.approx(probable.max(1), abs=1e-3)
    assert here.entropy == pytest.approx(-(probable * np.log(probable)).sum(1) / np.log(3), abs=2e-3)
    assert here.shift == pytest.approx(0, abs=0.2)


def test_entropy_is_0_where_it_is_sure_and_1_where_it_knows_nothing():
    class Always(UNet):
        def forward(self, images):
            sure, open_ = torch.tensor([99.0, 0, 0]), torch.zeros(3)
            return torch.stack([sure, open_], 1)[None, :, None].expand(len(images), 3, 2, 2)

    here = look([Always(4, 1).eval()], [np.eye(2, dtype=np.uint16)], np.array([1]), np.linspace(0, 1, 9))
    assert here.entropy[0].tolist() == [[0, 1], [0, 1]] and not here.disagree.any()
    assert here.confidence[0] == pytest.approx(np.array([[1, 1 / 3]] * 2), abs=1e-3)


# -- suspected regions ------------------------------------------------------------------------------------------------


def test_large_regions_of_doubt_are_suspected_thin_and_small_ones_not():
    disagree = np.zeros((1, 40, 40), bool)
    disagree[0, 5:15, 5:15] = disagree[0, 25:30, 25:30] = disagree[0, 0:40, 35:37] = True
    expected = np.zeros((40, 40), bool)
    expected[5:15, 5:15] = True
    assert np.array_equal(of(np.zeros((1, 40, 40)), disagree=disagree).suspected(0), expected)
    unsure = np.where(disagree, 0.5, 0.9)
    assert np.array_equal(of(np.zeros((1, 40, 40)), confidence=unsure).suspected(0), expected)


def test_what_neither_neighbour_has_is_suspected_only_where_they_agree():
    labels = np.zeros((3, 40, 40))
    labels[1, 5:15, 5:15], labels[1, 5:15, 20:30], labels[2, 5:15, 20:30] = 2, 1, 2
    found = of(labels).suspected(1)
    assert found[5:15, 5:15].all() and found.sum() == 100
    assert not of(labels).suspected(0).any() and not of(labels, [1, 2, 4]).suspected(1).any()


# -- what rings -------------------------------------------------------------------------------------------------------


def test_what_is_usual_is_seen_on_validation_slices_and_their_neighbours():
    slices = blobs(30, 32, 40)
    model = Thresholds(21500.0, 35200.0, 41500.0).eval()
    found = unlabelled.usual_look([model], slices, np.array([3, 3, 12, 20, 30]), n=2)
    assert found.numbers.tolist() == [11, 12, 13, 29, 30]                        # the last but two, and the last
    assert np.array_equal(found.labels, predict(model, [slices.images[number - 1] for number in found.numbers]))
    assert found.shift == pytest.approx(grey_shift(found.images, grey_quantiles(slices.images)))


def test_it_rings_beyond_four_deviations_on_the_bad_side_only():
    usual = of(ROWS * 2, shift=[0, 0, 0, 0, 2, 2, 2, 2])                         # 1 with deviation 1
    here = of(ROWS, shift=[4.9, 5.1, -9, 1])
    assert unlabelled.distance_from(usual, here)["shift"].tolist() == pytest.approx([3.9, 4.1, -10, 0])
    assert unlabelled.rings(usual, here)["shift"].tolist() == [False, True, False, False]
    assert unlabelled.ringing(usual, here) == []
    assert unlabelled.ringing(usual, of(ROWS, shift=[6, 6, 1, 1])) == ["shift"]


def test_a_low_confidence_rings_a_high_one_does_not():
    usual = of(ROWS, confidence=np.array([0.89, 0.91, 0.89, 0.91])[:, None, None] * np.ones((4, 1, 4)))
    found = [unlabelled.ringing(usual, of(ROWS, confidence=value)) for value in (0.5, 0.999)]
    assert found == [["confidence"], []]


def test_the_worst_is_first_by_all_indicators():
    labels = np.zeros((4, 1, 4))
    labels[2] = 1
    here = of(labels, shift=[0, 1, 3, 2], confidence=np.array([0.9, 0.8, 0.5, 0.7])[:, None, None] * np.ones((4, 1, 4)))
    assert unlabelled.worst_first(here).tolist() == [2, 3, 1, 0]


def test_rank_correlation_is_1_for_an_indicator_that_orders_as_dice_does():
    confidence = np.array([0.9, 0.8, 0.7, 0.6])[:, None, None] * np.ones((4, 1, 4))
    found = unlabelled.rank_correlation(of(ROWS, confidence=confidence, shift=[3, 2, 1, 0]),
                                        np.array([0.99, 0.98, 0.9, 0.5]))
    assert found["confidence"] == pytest.approx(1) and found["shift"] == pytest.approx(-1)
    assert np.isnan(found["disagreement"])                                       # the same in all slices


# -- remedies ---------------------------------------------------------------------------------------------------------


def test_rescaled_slices_have_the_usual_mean_and_deviation_and_keep_their_differences():
    slices = blobs(4, 60, 60)
    usual = grey_quantiles(slices.images)
    darker = [(image // 2 + index * 100).astype(np.uint16) for index, image in enumerate(slices.images)]
    found = np.stack(unlabelled.rescaled(darker, usual)).astype(float)
    assert found.mean() == pytest.approx(usual.mean(), rel=0.01) and found.std() == pytest.approx(usual.std(), rel=0.02)
    gain = found.std() / np.std(darker)
    assert found[3].mean() - found[0].mean() == pytest.approx(
        gain * (np.mean(darker[3]) - np.mean(darker[0])), rel=0.01)


def test_matched_slices_have_the_usual_histogram_one_by_one_and_keep_their_order():
    slices = blobs(4, 60, 60)
    usual = grey_quantiles(slices.images[:1])
    odd = [(np.sqrt(image) * 100 * (1 + index)).clip(0, 65535).astype(np.uint16)
           for index, image in enumerate(slices.images[:1] * 2)]
    found = unlabelled.matched(odd, usual)
    assert grey_shift(found, usual) == pytest.approx(0, abs=0.01)
    order = np.argsort(odd[1].ravel(), kind="stable")
    assert (np.diff(found[1].ravel()[order].astype(int)) >= 0).all()


# -- the verdict ------------------------------------------------------------------------------------------------------


def test_a_verdict_says_what_rings_and_what_is_true():
    usual, here = of(ROWS * 2, shift=[0, 0, 0, 0, 2, 2, 2, 2]), of(ROWS, shift=[6, 6, 6, 10])
    truth = Slices(here.images, list(np.array(ROWS, np.uint8)), here.numbers)
    truth.labels[3] = np.zeros((1, 4), np.uint8)                                 # one slice of four is all wrong
    found = unlabelled.verdict("mine", usual, here, truth)
    assert found["volume"] == "mine" and found["rings"] == ["shift"] and found["away"]["shift"] == pytest.approx(6)
    assert found["right"] == 3 / 4 and found["sure"] == pytest.approx(0.9, abs=1e-3) and 0.5 < found["dice"] < 1
    blind = unlabelled.verdict("mine", usual, here, None)
    assert np.isnan([blind["dice"], blind["right"]]).all() and blind["rings"] == ["shift"]


def test_every_remedy_gives_networks_and_what_to_show_them():
    slices = blobs(12, 32, 40)
    usual = grey_quantiles(slices.images)
    darker = [(image // 2).astype(np.uint16) for image in slices.images]
    model = UNet(4, 1).eval()
    found = unlabelled.remedies([model], darker, usual)
    assert list(found) == ["as it is", "mean and deviation", "histogram of each slice", "batch norm"]
    shown = {name: np.array_equal(np.stack(images), np.stack(darker)) for name, (_, images) in found.items()}
    assert shown == {name: name in ("as it is", "batch norm") for name in found}
    assert [networks[0] is model for networks, _ in found.values()] == [True, True, True, False]
    stored = [network.state_dict()["stem.layers.1.running_mean"] for network in (model, found["batch norm"][0][0])]
    assert not torch.equal(*stored)
