"""What the page measures is what the library measures."""

import numpy as np
import pytest
from conftest import blobs

from xraylib.inference import first_features, load_weights
from xraylib.metrics import interface_distance, score_masks, wrong_share
from xraylib.outlook.classical import apply_thresholds, median
from xraylib.outlook.microstructure import (
    interface_area,
    triple_phase_boundary,
    volume_fractions,
)
from xraylib.published import network_file

HEIGHT, WIDTH, VOXEL_NM = 40, 53, (18.4, 18.4, 18.4)
IMPORT = 'import * as metrics from "./metrics.js"; const [h, w] = [40, 53];'


@pytest.fixture
def pair():
    """A slice, and a mask of it that is partly wrong."""
    slices = blobs(1, HEIGHT, WIDTH)
    mask = slices.labels[0].copy()
    wrong = np.random.default_rng(0).random(mask.shape) < 0.2
    mask[wrong] = (mask[wrong] + 1) % 3
    return slices, mask


@pytest.mark.parametrize("absent", [False, True])
def test_scores(javascript, pair, absent):
    slices, mask = pair
    truth = slices.labels[0]
    if absent:
        truth[truth == 2] = 1
    found = javascript(IMPORT + "say(metrics.score(mask, truth, 3));", mask=mask, truth=truth)
    scores = score_masks([mask], slices)
    expected = [None if np.isnan(dice) else dice for dice in scores.dice[0]]
    assert found["dice"] == pytest.approx(expected)
    assert found["mean"] == pytest.approx(scores.mean)
    assert found["share"] == pytest.approx(wrong_share(truth, mask))
    assert found["wrong"] == (mask != truth).sum()


def test_quantities_of_the_material(javascript, pair):
    _, mask = pair
    code = """say([metrics.volumeFractions(mask, 3), metrics.interfaceArea(mask, h, w, 0.0184),
                   metrics.triplePoints(mask, h, w, 0.0184)]);"""
    fractions, area, points = javascript(IMPORT + code, mask=mask)
    assert fractions == pytest.approx(volume_fractions(mask, 3).tolist())
    assert area == pytest.approx(sum(interface_area(mask, VOXEL_NM, 3).values()))
    assert points == pytest.approx(triple_phase_boundary(mask, VOXEL_NM) / 2) and points > 0


def test_distance_to_the_interface(javascript, pair):
    truth = pair[0].labels[0]
    places = [(0, 0), (39, 52), (20, 30), (11, 3)]
    code = f"""say({[list(place) for place in places]}.map(([row, column]) =>
                  metrics.interfaceDistance(truth, h, w, row, column)));"""
    expected = interface_distance(truth)
    assert javascript(IMPORT + code, truth=truth) == pytest.approx(
        [expected[place] for place in places])


def test_classes_confidence_and_entropy(javascript):
    logits = np.random.default_rng(1).normal(0, 3, (3, 200))
    shares = (np.exp(logits) / np.exp(logits).sum(0)).astype(np.float32)
    code = """const { mask, confidence } = metrics.classify(shares, 3);
              say([mask, confidence, metrics.meanEntropy(shares, 3)]);"""
    mask, confidence, entropy = javascript(IMPORT + code, shares=shares)
    assert mask == shares.argmax(0).tolist()
    assert confidence == pytest.approx(shares.max(0).tolist())
    assert entropy == pytest.approx(float(-(shares * np.log(shares)).sum(0).mean() / np.log(3)))


def test_a_cut_is_the_same_part_of_every_map(javascript):
    maps = np.arange(2 * 40 * 53, dtype=np.uint16).reshape(2, 40, 53)
    code = "say(metrics.cut(maps, h, w, { top: 5, left: 7, height: 11, width: 13 }, 2));"
    assert javascript(IMPORT + code, maps=maps) == maps[:, 5:16, 7:20].ravel().tolist()


@pytest.mark.parametrize("side", [1, 3, 7, 11])
def test_thresholds_after_a_median_filter(javascript, pair, side):
    image, thresholds, order = pair[0].images[0], (28000, 38000), np.array([0, 1, 2])
    code = f"""import {{ segmentByThresholds }} from "./thresholds.js";
               say(segmentByThresholds(image, 40, 53, {side}, [28000, 38000], [0, 1, 2]));"""
    expected = apply_thresholds(median(image, side), thresholds, order)
    assert javascript(code, image=image) == expected.ravel().tolist()


@pytest.mark.parametrize("from_image", [False, True])
def test_the_first_layer(javascript, pair, built, from_image):
    """The channels of a box that touches two borders, one of which the network pads."""
    image = pair[0].images[0]
    code = f"""import {{ firstLayer }} from "./first_layer.js";
        const facts = JSON.parse(readFileSync("{built.parent}/site-assets/facts.json"));
        const box = {{ top: 30, left: 41, height: 10, width: 12 }};
        say(firstLayer(image, 40, 53, box, facts.networks.baseline, {str(from_image).lower()}));"""
    padded = np.pad(image, ((0, 0), (0, 3)), "edge")  # 53 columns become 56, a multiple of 4
    expected = first_features(load_weights(network_file("baseline")).cpu(), padded)
    if from_image:
        expected -= expected.mean((1, 2), keepdims=True)
        expected /= expected.std((1, 2), keepdims=True)
    found = np.reshape(javascript(code, image=image), (16, 10, 12))
    np.testing.assert_allclose(found, expected[:, 30:, 41:53], atol=2e-3)
