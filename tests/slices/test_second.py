"""The second built-in sample: it differs from the first as it says, and gets worse along z."""

import numpy as np
import pytest

from xraylib.material.phases import interface_area
from xraylib.predict.network import predict
from xraylib.slices import second, sets
from xraylib.slices.labelled import grey_levels, grey_statistics
from xraylib.slices.synthetic import generate
from xraylib.unet import UNet


@pytest.fixture(scope="module")
def samples():
    """The first sample and the second, of 36 slices of 160 x 160, before and after it got worse."""
    n, size = 36, 160
    whole = np.concatenate([part.images for part in second.chunks(n, size)])
    return generate(n, size), generate(n, size, second.SEED, material=second.MATERIAL), whole


def test_it_is_of_finer_grains_other_contrast_and_more_noise(samples):
    first, other, _ = samples
    assert sum(interface_area(other.truth).values()) > 1.2 * sum(interface_area(first.truth).values())
    levels = [[np.median(each.images[each.truth == phase]) for phase in range(3)] for each in (first, other)]
    steps = np.diff(levels, axis=1)
    assert steps[0][0] > 1.8 * steps[0][1] and steps[1][0] == pytest.approx(steps[1][1], rel=0.15)
    assert levels[1][2] < levels[0][2] - 8000
    flat = [np.diff(each.images.astype(int), axis=2)[(np.diff(each.truth, axis=2) == 0)] for each in (first, other)]
    assert np.std(flat[1]) > 1.3 * np.std(flat[0])


def contrast_kept(samples):
    """How far nickel is from pore in each slice, as a share of what it was before it got worse."""
    _, before, after = samples
    apart = [[image[truth == 2].mean() - image[truth == 0].mean()
              for image, truth in zip(images, before.truth, strict=True)] for images in (before.images, after)]
    return np.divide(*apart[::-1])


def test_contrast_falls_and_noise_rises_along_z(samples):
    kept, after = contrast_kept(samples), samples[2]
    assert kept[0] == pytest.approx(1, abs=0.03) and kept[-1] == pytest.approx(1 - second.FADING, abs=0.03)
    rough = [np.std(np.diff(image.astype(int), axis=1)) for image in after]
    assert rough[-1] > 2 * rough[0]


def test_faults_are_where_they_are_said_to_be():
    names = [second.fault_of(index, 48) for index in range(48)]
    assert [names.index(name) for name in second.FAULTS] == [12, 24, 36]
    assert all(names.count(name) == 4 for name in second.FAULTS) and names.count("") == 36
    assert {second.fault_of(index, 12) for index in range(12)} == {"", *second.FAULTS}


def test_rings_go_round_the_middle_and_stripes_are_columns():
    rings, stripes = (second.pattern(fault, (40, 40), np.random.default_rng(0)) for fault in ("rings", "stripes"))
    assert min(rings.std(), stripes.std()) > second.STRENGTH / 3
    assert rings[20, 2] == rings[20, 38] == rings[2, 20] != rings[20, 5]
    assert np.ptp(stripes, 0).max() == 0 and np.ptp(stripes, 1).min() > 0


def test_out_of_focus_blurs_the_phases_into_each_other(samples):
    kept = contrast_kept(samples)
    index = next(i for i in range(36) if second.fault_of(i, 36) == "out of focus")
    assert kept[index] < 0.85 * kept[index - 1]


def test_it_is_made_once_and_the_same_again(home, monkeypatch):
    slices = sets.built_in_second("tiny")
    assert len(slices) == 12 and slices.shape == (128, 128) and slices.numbers.tolist() == list(range(2001, 2013))
    again = np.concatenate([part.images for part in second.chunks(12, 128)])
    assert np.array_equal(again, np.stack(slices.images))
    monkeypatch.setattr(second, "worsened", None)                        # read, not made
    assert sets.built_in_second("tiny").fingerprint() == slices.fingerprint()
    assert (home / "data/built-in/second-v1-12x128/truth").is_dir()
    assert grey_statistics(slices)[0] < 27000 and len(grey_levels(slices)) == 3
    assert predict(UNet(4, 1).eval(), slices.images[:1]).shape == (1, 128, 128)


def test_the_first_sample_has_its_version_and_its_folder():
    assert sets.VERSION == 2 and sets.built_in_folder(500, 501, 0).name == "v2-500x501-seed0"
