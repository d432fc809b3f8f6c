"""What goes on inside a network."""

import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import blobs

from xraylib.noise import noisy_copies
from xraylib.predict import network
from xraylib.predict.network import predict, recollected, save_weights
from xraylib.predict.scores import evaluate
from xraylib.runs.profiles import RECIPES
from xraylib.show import draw_unet, insides
from xraylib.slices.sets import open_source
from xraylib.unet import UNet


@pytest.fixture
def model():
    """A network whose batch norm has met these slices."""
    torch.manual_seed(0)
    network = UNet(4, 1)
    network.grey.copy_(torch.tensor([33000.0, 8000.0]))
    return recollected(network, SLICES.images)


SLICES = blobs(4, 48, 41)


def test_features_of_the_training_set_have_mean_0_and_deviation_1(model):
    features = np.stack([insides.first_features(model, image) for image in SLICES.images])
    assert features.shape == (4, 4, 48, 41)
    assert features.mean((0, 2, 3)) == pytest.approx(np.zeros(4), abs=0.1)
    assert features.std((0, 2, 3)) == pytest.approx(np.ones(4), abs=0.1)


def test_noise_widens_them(model):
    clean, noisy = (insides.first_features(model, part.images[0]).std((1, 2))
                    for part in (SLICES, noisy_copies(SLICES, 8000, 0)))
    assert (noisy > clean).all() and noisy.max() > 1.2


def test_probabilities_are_those_of_the_pixels_of_the_phase(model):
    rows = insides.probabilities(model, SLICES, [0, 5000], phase=1)
    assert rows.shape == (2, 3) and rows.sum(1) == pytest.approx([1, 1], abs=1e-2)
    called = predict(model, SLICES.images)[np.stack(SLICES.labels) == 1]
    assert rows[0].argmax() == np.bincount(called, minlength=3).argmax()


def test_statistics_of_each_snapshot_are_collected_anew(model, tmp_path, ax):
    """A network that has the statistics of clean slices already scores as "clean" says, whatever the other kinds do."""
    save_weights(model, tmp_path / "0001.safetensors")
    noisy = noisy_copies(SLICES, 8000, 0)
    (row,) = insides.statistics_over_training({1: tmp_path / "0001.safetensors"}, SLICES, noisy)
    assert row["step"] == 1 and row["as_trained"] == pytest.approx(evaluate(model, noisy).mean)
    assert row["clean"] == pytest.approx(row["as_trained"], abs=0.02)
    others = recollected(model, noisy_copies(SLICES, 8000, 1).images)
    assert row["noisy"] == pytest.approx(evaluate(others, noisy).mean)
    insides.statistics_curves([row], ax)


def test_what_is_kept_for_the_backward_pass_by_hand(monkeypatch):
    """In float32, of a network of width w and one pooling, for each pixel of the crop.

    At the top 1 for the grey level and 4 w for two convolutions, each before and after its batch norm (the ReLU works
    in place), on the way down and as many on the way up, and 2 w where the two meet; below, of a quarter of the
    pixels, w after the pooling and w places of 8 bytes, and 4 x 2 w. What does not grow with the crop are weights.
    """
    monkeypatch.setattr(network, "fast_bf16", lambda _: False)
    model, w = UNet(6, 1), 6
    kept = {side: insides.kept_for_backward(model, torch.rand(2, 1, side, side)) for side in (32, 64, 96)}
    pixel = 4 * (1 + 4 * w + 2 * w + 4 * w) + (4 * w + 8 * w + 4 * 4 * 2 * w) / 4
    assert (kept[64] - kept[32]) / (2 * (64**2 - 32**2)) == (kept[96] - kept[64]) / (2 * (96**2 - 64**2)) == pixel
    weights = 4 * sum(parameter.numel() for parameter in model.parameters())
    assert 0 < kept[32] - 2 * 32**2 * pixel < 1.5 * weights


def test_nothing_stays_of_what_was_counted(model):
    made = []
    model.head.register_forward_hook(lambda _layer, _inputs, logits: made.append(weakref.ref(logits)))
    insides.kept_for_backward(model, torch.rand(1, 1, 32, 32))
    assert made[0]() is None


def test_influence_ends_where_the_network_cannot_look(model):
    """Its window ends 14 px from the middle, and the network (depth 1) sees a square of 16 or so around it."""
    shares, side = insides.influence(model, SLICES, 14), draw_unet.receptive_field(model)
    assert shares.shape == (29, 29) and shares.sum() == pytest.approx(1)
    rows, columns = shares.any(1), shares.any(0)
    assert rows.sum() == columns.sum() == side and np.abs(np.array(np.nonzero(rows)).mean() - 14) <= 1
    assert insides.influence(model, SLICES, 14, seed=1).tolist() != shares.tolist()


def test_the_share_from_within_a_square_by_hand():
    shares = np.full((5, 5), 0.5 / 24)
    shares[2, 2] = 0.5
    assert insides.within(shares).tolist() == pytest.approx([0.5, 0.5 + 8 * 0.5 / 24, 1])


def test_steps_are_timed_in_turn_and_the_fastest_counts(folder, monkeypatch):
    ticks = iter([0, 50, 0, 5, 0, 10, 0, 20])                    # seconds: two recipes, two rounds of five steps
    monkeypatch.setattr("xraylib.train.time.perf_counter", ticks.__next__)
    tiny = replace(RECIPES["tiny"], width=2, batch=2)
    found = insides.seconds_a_step({"a": tiny, "b": tiny}, open_source("tiny", str(folder)).slices, rounds=2)
    assert found == {"a": 2, "b": 1}


def test_their_figures_draw(model, ax):
    features = [insides.first_features(model, SLICES.images[0])[0]] * 2
    insides.feature_histograms(features, SLICES.labels[0], ["a", "b"], [ax, ax.twinx()])
    insides.spread_bars(np.ones(4), np.ones(4), ax)
    insides.probability_curves([0, 1], np.full((2, 3), 1 / 3), ax)
