"""The measurements of tools/prove/realism.py, on inputs with known answers."""

import numpy as np
import pytest
import realism
import stack_statistics
from scipy.ndimage import gaussian_filter

from xraylib.data import Slices, concatenate, save_slices
from xraylib.params import PROFILES
from xraylib.synthetic import generate_chunks


@pytest.fixture(scope="module")
def slices():
    samples = list(generate_chunks(40, 160, 0))
    images, labels = (
        list(np.concatenate([getattr(sample, name) for sample in samples]))
        for name in ("images", "labels"))
    return Slices(images, labels, np.arange(1, 41))


def test_the_interior_excludes_edges_but_not_the_border():
    labels = np.zeros((30, 30), np.uint8)
    labels[:, 15:] = 1
    inside = stack_statistics.interior(labels, 0)
    assert inside[:, :9].all() and not inside[:, 9:].any()  # column 9 is 6 from column 15


def test_noise_of_known_correlation_is_found():
    noise = gaussian_filter(np.random.default_rng(0).standard_normal((400, 400)), 1)
    rest = stack_statistics.noise_of(30000 + 500 * noise / noise.std(), np.ones((400, 400), bool))
    variance, first, second, *_ = stack_statistics.noise_moments(rest)
    assert variance**0.5 == pytest.approx(500, rel=0.03)
    correlations = first / variance, second / variance
    assert correlations == pytest.approx((np.exp(-1 / 4), np.exp(-1)), abs=0.05)


def test_noise_is_compared_inside_the_phase_only():
    first, second = np.array([1.0, 2.0, 0.0, 3.0]), np.array([5.0, 0.0, 7.0, -1.0])
    assert stack_statistics.covariance(first, second) == (1 * 5 - 3 * 1) / 2


def slanted(sigma):
    z, y, x = np.indices((40, 60, 60))
    phase = (x + 0.4 * y + 0.3 * z > 55).astype(np.uint8)  # slanting, as real edges are
    return 20000 + 14000 * gaussian_filter(phase.astype(float), sigma), phase


@pytest.mark.parametrize("sigma", [1.0, 1.6])
def test_edge_width_of_a_known_blur(sigma):
    width, facing_z, facing_y, facing_x = stack_statistics.edge_widths(*slanted(sigma), 500)
    assert width == facing_x == pytest.approx(2.563 * sigma, abs=0.25)
    assert np.isnan(facing_z) and np.isnan(facing_y)


@pytest.mark.parametrize("shift", [-1, 0, 1])
def test_shift_of_label_edges_is_found(shift):
    image, labels = slanted(1.4)
    phase = np.roll(labels, -shift, 2)  # the label edge moves out of the brighter phase
    levels = [20000, 34000, 41000]
    assert stack_statistics.label_shifts(image, phase, levels)[0] == pytest.approx(-shift, abs=0.25)


def test_closed_share_by_hand():
    labels = np.ones((5, 6, 7), np.uint8)
    labels[2, 2, 2:4] = 0  # closed
    labels[:, 4, 5] = 0    # reaches the border
    assert stack_statistics.closed_share(labels, 0) == pytest.approx(2 / 7)
    assert stack_statistics.closed_share(labels, 1) == stack_statistics.closed_share(labels, 2) == 0


def test_threshold_dice_by_hand():
    images = np.array([[[20000, 30000], [40000, 40000]]], np.uint16)
    labels = np.array([[[0, 1], [2, 1]]], np.uint8)
    # pore is right; YSZ 2 x 1 / (1 + 2); nickel 2 x 1 / (2 + 1)
    assert stack_statistics.threshold_dice(images, labels) == pytest.approx([1, 2 / 3, 2 / 3])


def test_the_judge_knows_chance_and_certainty():
    rng = np.random.default_rng(0)
    a, b = rng.normal(32000, 5000, (2, 20, 80, 80))
    assert realism.tell_apart(a, b + 9000, steps=20, tests=50) > 0.9
    assert realism.tell_apart(a, b, steps=2, tests=100) == pytest.approx(0.5, abs=0.1)


def test_command_prints_both_columns(slices, tmp_path, capsys, monkeypatch):
    save_slices(slices, tmp_path)
    monkeypatch.setattr(realism, "tell_apart", lambda real, builtin, seed: 0.5 + seed / 100)
    scores = 0.99, np.array([0.98, 0.982])
    monkeypatch.setattr(realism, "transfer", lambda builtin, real, seed: scores)
    realism.main([str(tmp_path), "--real", str(tmp_path)])
    printed = capsys.readouterr().out
    table = [line for line in printed.splitlines() if line.startswith("|")]
    rows = {line.split(" | ")[0].strip("| "): line for line in table}
    assert set(realism.REAL) <= set(rows)
    assert "0.974 / 0.960 / 0.962" in rows["threshold Dice"]
    assert "accuracy of 0.510" in printed
    assert ("Seed 2: Dice 99.00 on built-in slices, 98.10 on real ones; "
            "by blocks of 50: 98.00 98.20") in printed


def test_transfer_scores_blocks_of_real_slices(slices, monkeypatch):
    monkeypatch.setattr(realism, "PROFILES", {"laptop": PROFILES["tiny"]})
    monkeypatch.setattr(realism, "COUNTS", (30, 10))
    real = concatenate(slices, slices)
    val, blocks = realism.transfer(slices, real, seed=0)
    assert 0.2 < val <= 1 and blocks.shape == (2,) and ((blocks > 0.2) & (blocks <= 1)).all()
