"""Segmentation without a network: thresholds, filters, a forest, and their comparison."""

from dataclasses import replace
from functools import partial
from itertools import combinations_with_replacement
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import blobs

from xraylib.data import Phases, Slices
from xraylib.inference import predict
from xraylib.losses import IGNORE
from xraylib.metrics import confusion_matrix, dice_score, score_masks
from xraylib.noise import noisy_copies
from xraylib.outlook import classical
from xraylib.outlook.classical import (
    METHODS,
    NETWORK,
    apply_thresholds,
    benchmark_methods,
    best_thresholds,
    grey_order,
    midpoint_thresholds,
    pixel_features,
    segment_by_filter,
    segment_by_forest,
    segment_by_midpoints,
    segment_by_otsu,
)
from xraylib.unet import UNet

ORDER = np.arange(3)
# Four phases whose grey levels do not rise with the class index.
FOUR = Phases(("a", "b", "c", "d"), (0, 1, 2, 3), ("#000000", "#444444", "#888888", "#cccccc"))
LEVELS = np.array([30000, 10000, 40000, 20000])


def dice_of(learn, train, slices, seed=0):
    return score_masks(learn(train, seed)(slices.images), slices).mean


def four_phases(n, seed=0):
    """Slices of 40 x 40 with four phases in squares of 10 px."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(4, size=(n, 4, 4)).astype(np.uint8).repeat(10, 1).repeat(10, 2)
    images = (LEVELS[labels] + rng.normal(0, 500, labels.shape)).astype(np.uint16)
    return Slices(images, labels, np.arange(n), phases=FOUR)


# -- thresholds ------------------------------------------------------------------------------------


def test_the_best_thresholds_by_hand():
    # Below bins 1 and 3: 3 of 4 pore pixels alone, all 4 of YSZ among 6, 3 of 4 of nickel alone.
    dice, thresholds = best_thresholds(np.array([[3, 1, 0, 0], [0, 2, 2, 0], [0, 0, 1, 3]]))
    assert thresholds == [1, 3]
    assert dice == pytest.approx((2 * 3 / 7 + 2 * 4 / 10 + 2 * 3 / 7) / 3)


@pytest.mark.parametrize("n_classes", [2, 3, 4])
@pytest.mark.parametrize("seed", range(4))
def test_the_best_thresholds_are_the_best_of_all(seed, n_classes):
    counts = np.random.default_rng(seed).integers(0, 9, (n_classes, 6))
    truth, place = (part.repeat(counts.ravel()) for part in np.indices(counts.shape).reshape(2, -1))

    def dice(thresholds):
        predicted = apply_thresholds(place, thresholds, np.arange(n_classes))
        pixels = (torch.from_numpy(part.astype(int))[None, None] for part in (predicted, truth))
        return float(dice_score(confusion_matrix(*pixels, n_classes)).mean())

    choices = combinations_with_replacement(range(7), n_classes - 1)
    scores = {chosen: dice(chosen) for chosen in choices}
    best, thresholds = best_thresholds(counts)
    assert best == pytest.approx(max(scores.values()))
    assert best == pytest.approx(scores[tuple(thresholds)])


def test_a_grey_level_at_a_threshold_counts_as_above_it():
    image = np.array([[0, 9, 10, 19, 20, 99]], np.uint16)
    assert apply_thresholds(image, (10, 20), ORDER).tolist() == [[0, 0, 1, 1, 2, 2]]
    assert apply_thresholds(image, (10, 20), np.array([2, 0, 1])).tolist() == [[2, 2, 0, 0, 1, 1]]
    assert apply_thresholds(np.zeros((2, 2)), (10, 20), ORDER).dtype == np.uint8


def test_midpoints_by_hand():
    label = np.array([[0, 0, 0, 1], [1, 2, 2, 2]], np.uint8)
    image = np.array([[900, 1000, 1100, 2500], [3500, 9000, 8000, 10000]], np.uint16)
    train = Slices([image], [label], np.array([1]))  # means of 1000, 3000 and 9000
    image = np.array([[0, 1999, 2000, 5999, 6000, 65535]], np.uint16)
    assert segment_by_midpoints(train, 0)([image])[0].tolist() == [[0, 0, 1, 1, 2, 2]]


def test_otsu_finds_the_three_levels_of_each_slice():
    slices = blobs(2, 60, 60)
    bright, dark = slices.images
    guesses = segment_by_otsu(slices, 0)([bright, dark // 8])  # no threshold fits both
    correct = [(guess == label).mean() for guess, label in zip(guesses, slices.labels, strict=True)]
    assert min(correct) > 0.999


@pytest.mark.parametrize("learn", [
    segment_by_midpoints, segment_by_otsu, segment_by_forest,
    partial(segment_by_filter, smooth=classical.gaussian, strengths=(0, 1))])
def test_phases_may_be_four_in_any_order_of_brightness(learn):
    train, test = four_phases(3), four_phases(2, seed=1)
    assert grey_order(train).tolist() == [1, 3, 0, 2]
    assert midpoint_thresholds(train) == pytest.approx([15000, 25000, 35000], abs=100)
    assert dice_of(learn, train, test) > 0.97


def test_a_phase_that_the_training_slices_lack_is_left_out():
    train = blobs(2, 40, 40)
    labels = [np.minimum(label, 1) for label in train.labels]
    train = Slices(train.images, labels, train.numbers)
    assert grey_order(train).tolist() == [0, 1] and len(midpoint_thresholds(train)) == 1
    assert np.unique(segment_by_midpoints(train, 0)(train.images)).tolist() == [0, 1]


# -- filters ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("smooth", "strengths"), [
    (classical.gaussian, (0, 0.5, 1, 2)), (classical.median, (1, 3, 5)),
    (classical.non_local_means, (1, 1000, 8000))])
def test_noisy_training_slices_lead_to_a_stronger_filter(smooth, strengths):
    clean = blobs(3, 40, 40)
    noisy = noisy_copies(clean, 6000, seed=0)
    others = noisy_copies(blobs(2, 40, 40, seed=3), 6000, seed=1)
    used = []

    def observed(image, strength):
        used.append(strength)
        return smooth(image, strength)

    learn = partial(segment_by_filter, smooth=observed, strengths=strengths)
    clean_dice = dice_of(learn, clean, others)
    assert used[-1] == strengths[0]  # all strengths are perfect, and the weakest is taken
    noisy_dice = dice_of(learn, noisy, others)
    assert used[-1] > strengths[0]
    assert noisy_dice > clean_dice + 0.05
    assert noisy_dice > dice_of(segment_by_midpoints, noisy, others) + 0.05


def test_thresholds_are_tuned_on_what_the_filter_returns():
    train = blobs(2, 40, 40)

    def learn(smooth):
        return partial(segment_by_filter, smooth=lambda image, _: smooth(image), strengths=(0,))

    assert dice_of(learn(lambda image: image // 2), train, train) == 1
    assert dice_of(learn(lambda image: image // 20000), train, train) < 0.9


def test_filters_by_hand():
    image = np.zeros((9, 9), np.uint16)
    image[4, 4], image[:, 8] = 900, 500
    assert np.array_equal(classical.gaussian(image, 0), image)
    assert classical.gaussian(image, 1)[4, 4] == pytest.approx(900 / (2 * np.pi), rel=0.01)
    assert classical.median(image, 3)[4, 4] == 0
    assert classical.median(image, 3)[:, 8].tolist() == [500] * 9
    assert np.array_equal(classical.median(image, 1), image)


def test_non_local_means_keeps_an_edge_that_a_gaussian_blurs():
    step = np.full((40, 40), 20000.0)
    step[:, 20:] = 40000
    noise = np.random.default_rng(0).normal(0, 1000, step.shape)
    noisy = np.rint(step + noise).astype(np.uint16)
    smooth = classical.non_local_means(noisy, 2000)
    assert np.std(smooth - step) < 500 and np.std(classical.gaussian(noisy, 1) - step) > 1000
    assert np.abs(classical.non_local_means(noisy, 1) - noisy).max() < 1  # nothing looks alike


# -- random forest ---------------------------------------------------------------------------------


def test_a_pixel_has_four_features_at_each_of_six_scales():
    image = np.zeros((60, 64), np.uint16)
    image[:, 32:] = 65535
    features = pixel_features(image)
    assert features.shape == (60 * 64, 24) and features.dtype == np.float32
    features = features.reshape(60, 64, 6, 4)
    assert features[30, 0, 0] == pytest.approx([0, 0, 0, 0]) and features[30, 63, 0, 0] == 1
    gradient = features[30, 31, :, 1]
    assert (np.diff(gradient) < 0).all() and gradient[0] > 10 * gradient[-1] > 0  # more smoothing


def test_a_forest_beats_thresholds_on_blurred_slices_and_follows_its_seed(monkeypatch):
    monkeypatch.setattr(classical, "FOREST_PIXELS", 2000)
    train, test = blobs(4, 48, 40), blobs(2, 48, 40, seed=1)
    for part in (train, test):
        part.images[:] = [classical.gaussian(image, 2).astype(np.uint16) for image in part.images]
    one, again, other = (segment_by_forest(train, seed)(test.images) for seed in (0, 0, 1))
    assert score_masks(one, test).mean > dice_of(segment_by_midpoints, train, test) + 0.005
    assert np.array_equal(one, again) and not np.array_equal(one, other)
    assert one[0].dtype == np.uint8 and one[0].shape == test.shape


@pytest.mark.parametrize("n", [4, 9])
def test_a_forest_of_more_slices_than_pixels_takes_one_pixel_of_some(monkeypatch, n):
    """Above 10,000 slices the forest got no pixel at all and failed."""
    monkeypatch.setattr(classical, "FOREST_PIXELS", 4)
    seen = []
    monkeypatch.setattr(classical, "pixel_features",
                        lambda image: seen.append(image) or pixel_features(image))
    train = blobs(n, 20, 20)
    assert segment_by_forest(train, 0)(train.images[:1])[0].shape == (20, 20)
    assert len(seen) == 4 + 1


# -- comparison with a network ---------------------------------------------------------------------


class Thresholds(UNet):
    """A network that only knows a grey level for each phase."""

    def forward(self, images):
        levels = torch.tensor([21500.0, 35200.0, 41500.0])
        return -(images - levels[:, None, None]).abs()  # (B, 3, H, W)


def test_the_benchmark_scores_every_method_and_the_network(monkeypatch):
    monkeypatch.setattr(classical, "FOREST_PIXELS", 1000)
    model = Thresholds(4, 1).eval()
    run = SimpleNamespace(config={"seed": 3}, history=[{"seconds": 1}, {"seconds": 7}],
                          model=lambda: model)
    train, test = noisy_copies(blobs(3, 48, 40), 1000, seed=0), blobs(2, 48, 40, seed=2)
    rows = benchmark_methods(run, train, test, (0, 4000, 15000))
    assert [row["method"] for row in rows] == [*METHODS, NETWORK]
    for row in rows:
        assert set(row) == {"method", "n_train", "noise_std", "seed", "noise_stds", "dice",
                            "train_s", "predict_s"}
        assert (row["n_train"], row["noise_std"], row["seed"]) == (3, 1000, 3)
        assert row["noise_stds"] == [0, 4000, 15000]
        assert 1 >= row["dice"][0] > row["dice"][1] > row["dice"][2] > 0
        assert row["train_s"] > 0 < row["predict_s"]
    noisy = noisy_copies(test, 4000, seed=3)
    assert rows[-1]["dice"][1] == score_masks(predict(model, noisy.images), noisy).mean
    assert rows[0]["dice"][1] == dice_of(segment_by_midpoints, train, noisy)
    assert rows[-1]["train_s"] == 7


@pytest.mark.parametrize("method", METHODS)
def test_methods_learn_from_the_labelled_pixels_alone(method):
    train, test = four_phases(4), four_phases(2, seed=1)
    known = np.random.default_rng(0).random(train.labels.shape) < 0.2
    labels = np.where(known, train.labels, IGNORE).astype(np.uint8)
    part = replace(train, labels=list(labels))
    assert grey_order(part).tolist() == [1, 3, 0, 2]
    assert dice_of(METHODS[method], part, test) > 0.9
