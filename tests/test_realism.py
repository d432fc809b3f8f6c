import numpy as np
import pytest
import realism
from scipy.ndimage import gaussian_filter

from xraylib.slices.labelled import Slices, save
from xraylib.slices.synthetic import generate


@pytest.fixture(scope="module")
def slices():
    sample = generate(40, 160)
    return Slices(sample.images, sample.labels, np.arange(1, 41))


def test_interior_keeps_off_edges_but_not_off_the_border():
    labels = np.zeros((30, 30), np.uint8)
    labels[:, 15:] = 1
    inside = realism.interior(labels, 0)
    assert inside[:, :9].all() and not inside[:, 9:].any()  # column 9 is 6 from column 15


def test_noise_of_known_correlation_is_found():
    noise = gaussian_filter(np.random.default_rng(0).standard_normal((400, 400)), 1)
    variance, first, second, _ = realism.noise_moments(30000 + 500 * noise / noise.std(), np.ones((400, 400), bool))
    assert variance**0.5 == pytest.approx(500, rel=0.03)
    assert (first / variance, second / variance) == pytest.approx((np.exp(-1 / 4), np.exp(-1)), abs=0.05)


@pytest.mark.parametrize("sigma", [1.0, 1.6])
def test_edge_width_of_a_known_blur(sigma):
    z, y, x = np.indices((40, 60, 60))
    phase = (x + 0.4 * y + 0.3 * z > 55).astype(np.uint8)  # slanted, as real edges are
    image = 20000 + 14000 * gaussian_filter(phase.astype(float), sigma)
    assert realism.edge_width(image, phase, 500) == pytest.approx(2.563 * sigma, abs=0.25)


def test_threshold_dice_by_hand():
    images = np.array([[[20000, 30000], [40000, 40000]]], np.uint16)
    labels = np.array([[[0, 1], [2, 1]]], np.uint8)
    # pore is right; YSZ 2 x 1 / (1 + 2); nickel 2 x 1 / (2 + 1)
    assert realism.threshold_dice(images, labels) == pytest.approx([1, 2 / 3, 2 / 3])


def test_the_judge_knows_chance_and_certainty():
    rng = np.random.default_rng(0)
    a, b = rng.normal(32000, 5000, (2, 20, 80, 80))
    assert realism.tell_apart(a, b + 9000, steps=20, tests=50) > 0.9
    assert realism.tell_apart(a, b, steps=2, tests=100) == pytest.approx(0.5, abs=0.1)


def test_command_prints_both_columns(slices, tmp_path, capsys, monkeypatch):
    save(slices, tmp_path)
    monkeypatch.setattr(realism, "tell_apart", lambda real, builtin: 0.5)
    realism.main([str(tmp_path), "--real", str(tmp_path)])
    printed = capsys.readouterr().out
    rows = {line.split(" | ")[0].strip("| "): line for line in printed.splitlines() if line.startswith("|")}
    assert set(realism.REAL) <= set(rows)
    assert "0.974 / 0.960 / 0.962" in rows["threshold Dice"]
    assert "accuracy of 0.500" in printed
