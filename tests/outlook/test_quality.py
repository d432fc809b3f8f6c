"""Judging a segmentation without labels, on slices for which the answer is known."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import blobs

from xraylib.data import Phases, Slices
from xraylib.errors import DataError
from xraylib.inference import logits_of, predict
from xraylib.outlook import quality
from xraylib.outlook.quality import (
    INDICATORS,
    Inspection,
    distance_from_reference,
    grey_quantiles,
    grey_shift,
    inspect_reference,
    inspect_volume,
    judge_volume,
    rank_correlations,
    slice_alarms,
    volume_alarms,
    worst_first,
)
from xraylib.unet import UNet


def inspection(labels, numbers=None, confidence=0.9, entropy=0.2, disagreement=None, shift=None):
    """An inspection of slices with these labels; what is not given is the same in all pixels."""
    labels = np.asarray(labels, np.uint8)
    full = [np.broadcast_to(np.float16(value), labels.shape).copy()
            for value in (confidence, entropy)]
    n, none = len(labels), np.zeros(labels.shape, bool)
    return Inspection(
        list(np.zeros(labels.shape, np.uint16)),
        np.arange(n) if numbers is None else np.asarray(numbers), labels, *full,
        none if disagreement is None else disagreement,
        np.zeros(n) if shift is None else np.asarray(shift, float))


def by_slice(*values):
    """One value for all pixels of each slice in `ROWS`."""
    return np.array(values)[:, None, None] * np.ones((len(values), 1, 4))


ROWS = [[[0, 0, 1, 2]], [[0, 0, 1, 1]], [[1, 1, 1, 1]], [[2, 2, 2, 2]]]


def test_indicators_by_hand():
    disagreement = np.zeros((4, 1, 4), bool)
    disagreement[1, 0, :3] = True
    found = inspection(ROWS, [5, 6, 7, 9], disagreement=disagreement, shift=[0, 1, 2, 3]).indicators
    assert list(found) == list(INDICATORS)
    assert found["consistency"] == pytest.approx(
        [3 / 4, (3 / 4 + 2 / 4) / 2, 2 / 4, np.nan], nan_ok=True)
    assert found["jump"] == pytest.approx([1 / 4, 1 / 2, 1 / 2, np.nan], nan_ok=True)
    assert found["rarest"].tolist() == [1 / 4, 0, 0, 0]
    assert found["disagreement"].tolist() == [0, 3 / 4, 0, 0]
    assert found["shift"].tolist() == [0, 1, 2, 3]
    assert found["confidence"] == pytest.approx([0.9] * 4, abs=1e-3)


def test_fractions_by_hand():
    assert inspection(ROWS).fractions.tolist() == [
        [0.5, 0.25, 0.25], [0.5, 0.5, 0], [0, 1, 0], [0, 0, 1]]


def test_the_shift_is_how_far_grey_levels_have_to_be_moved():
    image = np.random.default_rng(0).integers(20000, 40000, (64, 64)).astype(np.uint16)
    levels = grey_quantiles([image])
    found = grey_shift([image, image + np.uint16(3000), (image // 2)], levels)
    assert found[:2] == pytest.approx([0, 3000 / levels.std()], abs=1e-9)
    assert found[2] == pytest.approx(levels.mean() / 2 / levels.std(), rel=1e-3)


class Thresholds(UNet):
    """A network that only knows a grey level for each phase."""

    def __init__(self, *levels):
        super().__init__(4, 1, n_classes=len(levels))
        self.levels = torch.tensor(levels)

    def forward(self, images):
        return -((images - self.levels[:, None, None]) / 5000).abs()  # (B, n_classes, H, W)


def test_an_inspection_holds_what_the_networks_predict():
    slices = blobs(4, 32, 40)
    models = [Thresholds(21500.0, second, 41500.0).eval() for second in (35200.0, 32000.0, 38000.0)]
    found = inspect_volume(models, slices.images, slices.numbers, grey_quantiles(slices.images))
    first, second, third = (predict(model, slices.images) for model in models)
    assert np.array_equal(found.labels, first)
    assert np.array_equal(found.disagreement, (first != second) | (first != third))
    assert (first != second).any() and (first != third).any() and not found.disagreement.all()
    logits = torch.cat([logits for _, logits in logits_of(models[0], slices.images)])
    probable = logits.softmax(1).double().numpy()
    assert found.confidence == pytest.approx(probable.max(1), abs=1e-3)
    entropy = -(probable * np.log(probable)).sum(1) / np.log(3)
    assert found.entropy == pytest.approx(entropy, abs=2e-3)
    assert found.shift == pytest.approx(0, abs=0.2)


def test_a_network_of_two_phases():
    slices, model = blobs(2, 32, 40), Thresholds(21500.0, 35200.0).eval()
    model.phases = Phases(("dark", "bright"), (0, 1), ("#000000", "#ffffff"))
    found = inspect_volume([model], slices.images, slices.numbers, grey_quantiles(slices.images))
    assert found.phases is model.phases and found.fractions.shape == (2, 2)
    assert found.fractions.sum(1) == pytest.approx([1, 1]) and found.entropy.max() <= 1


def test_entropy_is_0_if_the_network_is_sure_and_1_if_it_knows_nothing():
    class Always(UNet):
        def forward(self, images):
            sure, unsure = torch.tensor([99.0, 0, 0]), torch.zeros(3)
            logits = torch.stack([sure, unsure], 1)[None, :, None]
            return logits.expand(len(images), 3, 2, 2)

    image = np.eye(2, dtype=np.uint16)
    found = inspect_volume([Always(4, 1).eval()], [image], np.array([1]), np.linspace(0, 1, 9))
    assert found.entropy[0].tolist() == [[0, 1], [0, 1]] and not found.disagreement.any()
    assert found.confidence[0] == pytest.approx(np.array([[1, 1 / 3]] * 2), abs=1e-3)


# -- suspect regions -------------------------------------------------------------------------------


def test_large_regions_of_doubt_are_suspect_but_thin_and_small_ones_are_not():
    doubt = np.zeros((1, 40, 40), bool)
    doubt[0, 5:15, 5:15] = doubt[0, 25:30, 25:30] = doubt[0, 0:40, 35:37] = True
    expected = np.zeros((40, 40), bool)
    expected[5:15, 5:15] = True
    found = inspection(np.zeros((1, 40, 40)), disagreement=doubt)
    assert np.array_equal(found.suspect_regions(0), expected)
    found = inspection(np.zeros((1, 40, 40)), confidence=np.where(doubt, 0.5, 0.9))
    assert np.array_equal(found.suspect_regions(0), expected)


def test_what_neither_neighbour_has_is_suspect_only_where_they_agree():
    labels = np.zeros((3, 40, 40))
    labels[1, 5:15, 5:15], labels[1, 5:15, 20:30], labels[2, 5:15, 20:30] = 2, 1, 2
    found = inspection(labels).suspect_regions(1)
    assert found[5:15, 5:15].all() and found.sum() == 100
    assert not inspection(labels).suspect_regions(0).any()
    assert not inspection(labels, [1, 2, 4]).suspect_regions(1).any()


# -- alarms ----------------------------------------------------------------------------------------


def test_the_reference_is_validation_slices_and_their_neighbours(monkeypatch):
    monkeypatch.setattr(quality, "REFERENCE_SLICES", 2)
    slices = blobs(30, 32, 40)
    model = Thresholds(21500.0, 35200.0, 41500.0).eval()
    found = inspect_reference([model], slices, np.array([3, 3, 12, 20, 30]))
    assert found.numbers.tolist() == [11, 12, 13, 29, 30]  # around the second and the last one
    images = [slices.images[number - 1] for number in found.numbers]
    assert np.array_equal(found.labels, predict(model, images))
    assert found.shift == pytest.approx(grey_shift(images, grey_quantiles(slices.images)))


def test_an_alarm_needs_four_deviations_on_the_bad_side():
    reference = inspection(ROWS * 2, shift=[0, 0, 0, 0, 2, 2, 2, 2])  # mean 1, deviation 1
    volume = inspection(ROWS, shift=[4.9, 5.1, -9, 1])
    distances = distance_from_reference(reference, volume)
    assert distances["shift"].tolist() == pytest.approx([3.9, 4.1, -10, 0])
    assert slice_alarms(reference, volume)["shift"].tolist() == [False, True, False, False]
    assert volume_alarms(reference, volume) == []
    assert volume_alarms(reference, inspection(ROWS, shift=[6, 6, 1, 1])) == ["shift"]


def test_a_low_confidence_raises_an_alarm_and_a_high_one_does_not():
    reference = inspection(ROWS, confidence=by_slice(0.89, 0.91, 0.89, 0.91))
    found = [volume_alarms(reference, inspection(ROWS, confidence=value)) for value in (0.5, 0.999)]
    assert found == [["confidence"], []]


def test_the_worst_slice_is_first_by_all_indicators():
    labels = np.zeros((4, 1, 4))
    labels[2] = 1
    volume = inspection(labels, shift=[0, 1, 3, 2], confidence=by_slice(0.9, 0.8, 0.5, 0.7))
    assert worst_first(volume).tolist() == [2, 3, 1, 0]


def test_the_rank_correlation_is_1_for_an_indicator_that_orders_slices_as_dice_does():
    volume = inspection(ROWS, confidence=by_slice(0.9, 0.8, 0.7, 0.6), shift=[3, 2, 1, 0])
    found = rank_correlations(volume, np.array([0.99, 0.98, 0.9, 0.5]))
    assert found["confidence"] == pytest.approx(1) and found["shift"] == pytest.approx(-1)
    assert np.isnan(found["disagreement"])  # it is the same in all slices


def test_slices_without_neighbours_have_no_rank_correlation_of_consistency():
    volume = inspection(ROWS, [1, 3, 5, 7], shift=[3, 2, 1, 0])
    found = rank_correlations(volume, np.array([0.5, 0.6, 0.7, 0.8]))
    assert np.isnan(found["consistency"]) and found["shift"] == pytest.approx(1)


def test_a_row_holds_the_alarms_and_the_true_values():
    reference = inspection(ROWS * 2, shift=[0, 0, 0, 0, 2, 2, 2, 2])
    volume = inspection(ROWS, shift=[6, 6, 6, 10])
    truth = Slices(volume.images, list(np.array(ROWS, np.uint8)), volume.numbers)
    truth.labels[3] = np.zeros((1, 4), np.uint8)  # one slice of four is all wrong
    found = judge_volume("mine", reference, volume, truth)
    assert found["volume"] == "mine" and found["alarms"] == ["shift"]
    assert found["distances"]["shift"] == pytest.approx(6)
    assert found["accuracy"] == 3 / 4 and 0.5 < found["dice"] < 1
    assert found["confidence"] == pytest.approx(0.9, abs=1e-3)
    blind = judge_volume("mine", reference, volume, None)
    assert np.isnan([blind["dice"], blind["accuracy"]]).all() and blind["alarms"] == ["shift"]


def test_slices_of_different_sizes_are_refused():
    slices = blobs(3, 40, 40)
    slices.images[1] = slices.images[1][:30]
    with pytest.raises(DataError, match="2 sizes, from 30 x 40 px to 40 x 40 px.*Crop all"):
        inspect_volume([], slices.images, slices.numbers, np.zeros(1001))


def test_judging_needs_no_optional_package():
    """Notebook 8 must run where scikit-image and scikit-learn are not installed."""
    modules = ("quality", "corrections", "robustness", "second_sample", "score_sheet", "curves")
    code = (f"import sys\nfrom xraylib.outlook import {', '.join(modules)}\n"
            "assert not {'skimage', 'sklearn'} & {*sys.modules}")
    subprocess.run([sys.executable, "-c", code], check=True)
