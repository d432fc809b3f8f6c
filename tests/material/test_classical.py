"""Segmentation without a network: thresholds and filters by hand, a forest on its features, all against each other."""

from functools import partial

import numpy as np
import pytest
import torch
from conftest import blobs

from xraylib.dice import confusion, dice_score
from xraylib.material import classical
from xraylib.material.classical import METHODS, NETWORK, SCALES, best_thresholds, contest, cut, features, filtered
from xraylib.noise import noisy_copies
from xraylib.predict.network import predict
from xraylib.predict.scores import score
from xraylib.runs.folder import execute
from xraylib.runs.profiles import configure
from xraylib.slices.labelled import Slices
from xraylib.slices.sets import open_source

GAUSSIAN, LAPLACIAN, GRADIENT, ALONG, ACROSS, MOST_CURVED, LEAST_CURVED = range(7)     # features of a scale


def dice_of(learn, train, slices, seed=0):
    return score(learn(train, seed)(slices.images), slices).mean


# -- thresholds -------------------------------------------------------------------------------------------------------


def test_the_best_thresholds_by_hand():
    # Cut below bins 1 and 3: 3 of the 4 pore pixels alone, all 4 of YSZ among 6, 3 of the 4 of nickel alone.
    dice, limits = best_thresholds(np.array([[3, 1, 0, 0], [0, 2, 2, 0], [0, 0, 1, 3]]))
    assert limits == (1, 3) and dice == pytest.approx((2 * 3 / 7 + 2 * 4 / 10 + 2 * 3 / 7) / 3)


@pytest.mark.parametrize("seed", range(6))
def test_the_best_thresholds_are_the_best_of_all_pairs(seed):
    counts = np.random.default_rng(seed).integers(0, 9, (3, 6))
    phase, place = (part.repeat(counts.ravel()) for part in np.indices(counts.shape).reshape(2, -1))

    def dice(low, high):
        pixels = (torch.from_numpy(part.astype(int))[None, None] for part in (cut(place, (low, high)), phase))
        return float(dice_score(confusion(*pixels)).mean())

    pairs = {(low, high): dice(low, high) for low in range(7) for high in range(low, 7)}
    best, limits = best_thresholds(counts)
    assert best == pytest.approx(max(pairs.values())) == pytest.approx(pairs[limits])


def test_a_grey_level_at_a_limit_has_reached_it():
    assert cut(np.array([[0, 9, 10, 19, 20, 99]], np.uint16), (10, 20)).tolist() == [[0, 0, 1, 1, 2, 2]]
    assert cut(np.zeros((2, 2)), (10, 20)).dtype == np.uint8


def test_midpoints_by_hand():
    label = np.array([[0, 0, 0, 1], [1, 2, 2, 2]], np.uint8)
    image = np.array([[900, 1000, 1100, 2500], [3500, 9000, 8000, 10000]], np.uint16)   # means 1000, 3000, 9000
    predictor = classical.midpoints(Slices([image], [label], np.array([1])), 0)
    assert predictor([np.array([[0, 1999, 2000, 5999, 6000, 65535]], np.uint16)])[0].tolist() == [[0, 0, 1, 1, 2, 2]]


def test_otsu_finds_the_three_levels_of_each_slice():
    bright, dark = blobs(2, 60, 60).images
    guesses = classical.otsu(None, 0)([bright, dark // 8])          # no threshold fits both
    right = [(guess == label).mean() for guess, label in zip(guesses, blobs(2, 60, 60).labels, strict=True)]
    assert min(right) > 0.999


# -- filters ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("smooth", "strengths"), [
    (classical.gaussian, (0, 0.5, 1, 2)), (classical.median, (1, 3, 5)), (classical.non_local_means, (1, 1000, 8000))])
def test_noisy_training_slices_ask_for_a_stronger_filter(smooth, strengths):
    clean = blobs(3, 40, 40)
    noisy, others = noisy_copies(clean, 6000, seed=0), noisy_copies(blobs(2, 40, 40, seed=3), 6000, seed=1)
    used = []
    learn = partial(filtered, smooth=lambda image, by: used.append(by) or smooth(image, by), strengths=strengths)
    clean_dice = dice_of(learn, clean, others)
    assert used[-1] == strengths[0]                                 # all are perfect: the weakest is taken
    noisy_dice = dice_of(learn, noisy, others)
    assert used[-1] > strengths[0]
    assert noisy_dice > clean_dice + 0.05 and noisy_dice > dice_of(classical.midpoints, noisy, others) + 0.05


def test_thresholds_after_a_filter_are_those_of_what_it_gives():
    train = blobs(2, 40, 40)
    negative = Slices([65535 - image for image in train.images], train.labels, train.numbers)
    assert dice_of(partial(filtered, smooth=lambda image, _: 65535 - image, strengths=(0,)), negative, negative) == 1
    assert dice_of(partial(filtered, smooth=lambda image, _: image, strengths=(0,)), negative, negative) < 0.8


def test_filters_by_hand():
    image = np.zeros((9, 9), np.uint16)
    image[4, 4], image[:, 8] = 900, 500
    assert np.array_equal(classical.gaussian(image, 0), image)
    assert classical.gaussian(image, 1)[4, 4] == pytest.approx(900 / (2 * np.pi), rel=0.01)
    assert classical.median(image, 3)[4, 4] == 0 and classical.median(image, 3)[:, 8].tolist() == [500] * 9
    assert np.array_equal(classical.median(image, 1), image)


def test_non_local_means_keeps_an_edge_that_a_gaussian_blurs():
    step = np.full((40, 40), 20000.0)
    step[:, 20:] = 40000
    noisy = np.rint(step + np.random.default_rng(0).normal(0, 1000, step.shape)).astype(np.uint16)
    smooth = classical.non_local_means(noisy, 2000)
    assert np.std(smooth - step) < 500 and np.std(classical.gaussian(noisy, 1) - step) > 1000
    assert np.abs(classical.non_local_means(noisy, 1) - noisy).max() < 1                # nothing is alike


# -- a forest ---------------------------------------------------------------------------------------------------------


def in_the_middle(image):
    """The features far from the border, (scales, kinds)."""
    height, width = image.shape
    return features(image).reshape(height, width, len(SCALES), 7)[height // 2, width // 2]


def test_features_of_a_constant_are_nothing_but_its_grey_level():
    found = features(np.full((100, 110), 30000, np.uint16))
    assert found.shape == (11000, 42) and found.dtype == np.float32
    found = in_the_middle(np.full((100, 110), 30000, np.uint16))
    assert found[:, GAUSSIAN] == pytest.approx(30000)
    assert np.abs(found[:, LAPLACIAN]).max() < 0.01 * 30000         # the small kernels of scipy do not add up to 0
    assert np.abs(found[:, GRADIENT:]).max() < 1e-3


def test_features_of_a_slope_and_of_a_valley():
    x = np.arange(120) * np.ones((120, 1))
    slope, valley, kink = (in_the_middle(image.astype(np.uint16)) for image in (
        20000 + 100 * x, 5 * (x - 60)**2, 300 * np.abs(x - 60)))
    assert slope[:, GAUSSIAN] == pytest.approx(26000) and slope[:, GRADIENT] == pytest.approx(100, rel=0.02)
    assert slope[:, ALONG] == pytest.approx((8 * 100)**2, rel=1e-3)                     # Sobel: 8 times the slope
    assert np.abs(slope[:, [ACROSS, MOST_CURVED, LEAST_CURVED]]).max() < 1
    assert valley[:, GAUSSIAN] == pytest.approx(5 * np.square(SCALES), rel=0.02)        # of x^2: the variance
    assert valley[1:, LAPLACIAN] == pytest.approx(10, rel=0.02)     # the second derivative of 5 x^2
    assert valley[:, ALONG] == pytest.approx((8 * 10)**2 * np.square(SCALES), rel=0.02)  # slope 10 x, squared, averaged
    assert valley[:, MOST_CURVED] == pytest.approx(10, rel=1e-3) and np.abs(valley[:, LEAST_CURVED]).max() < 1e-2
    # A kink is as curved as the Gaussian is high: twice the slope over sqrt(2 pi) sigma.
    assert kink[3:, MOST_CURVED] == pytest.approx(2 * 300 / np.sqrt(2 * np.pi) / np.array(SCALES[3:]), rel=0.03)


@pytest.mark.parametrize("turned", [np.transpose, np.flipud, np.rot90])
def test_features_turn_with_the_image(turned):
    image = blobs(1, 48, 40).images[0]
    for here, there in zip(features(turned(image)).T, features(image).T, strict=True):
        assert np.allclose(here, turned(there.reshape(48, 40)).ravel(), rtol=0, atol=1e-4 * np.abs(there).max())


def test_a_forest_beats_thresholds_on_blurred_slices_and_follows_its_seed(monkeypatch):
    monkeypatch.setattr(classical, "SAMPLED", 2000)
    source = open_source("tiny")
    train, test = source.slices[::12], source.test[::4]
    one, again, other = (classical.forest(train, seed)(test.images) for seed in (0, 0, 1))
    assert score(one, test).mean > dice_of(classical.midpoints, train, test) + 0.005
    assert np.array_equal(one, again) and not np.array_equal(one, other)
    assert one[0].dtype == np.uint8 and one[0].shape == test.shape


# -- against a network ------------------------------------------------------------------------------------------------


def test_a_contest_scores_every_method_and_the_network(folder, monkeypatch):
    monkeypatch.setattr(classical, "SAMPLED", 1000)
    source = open_source("tiny", str(folder))
    run = execute(configure("01_baseline", profile="tiny", seed=3), source, bar=False)
    train, test = noisy_copies(source.slices[:3], 1000, seed=0), source.test[:2]
    rows = contest(run, train, test, (0, 4000, 15000))
    assert [row["method"] for row in rows] == [*METHODS, NETWORK]
    for row in rows:
        assert set(row) == {"method", "n_train", "noise_std", "seed", "noise_stds", "dice", "train_s", "predict_s"}
        assert (row["n_train"], row["noise_std"], row["seed"], row["noise_stds"]) == (3, 1000, 3, [0, 4000, 15000])
        assert 1 >= row["dice"][0] > row["dice"][1] > row["dice"][2] > 0 and row["train_s"] > 0 < row["predict_s"]
    noisy = noisy_copies(test, 4000, seed=3)
    assert rows[-1]["dice"][1] == score(predict(run.model(), noisy.images), noisy).mean
    assert rows[0]["dice"][1] == dice_of(classical.midpoints, train, noisy)
    assert rows[-1]["train_s"] == run.history[-1]["seconds"]
