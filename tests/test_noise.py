import numpy as np
import pytest
from conftest import blobs

from xraylib.noise import add_noise, noisy_copies


def test_standard_deviation_and_mean_in_grey_levels():
    noisy = add_noise(np.full((400, 400), 30000, np.uint16), 5000, seed=0, number=1).astype(float)
    assert noisy.mean() == pytest.approx(30000, abs=60) and noisy.std() == pytest.approx(5000, rel=0.02)


def test_clipped_to_sixteen_bits_and_not_wrapped():
    for grey in (0, 65535):
        noisy = add_noise(np.full((100, 100), grey, np.uint16), 5000, seed=0, number=1)
        assert noisy.dtype == np.uint16
        assert (noisy == grey).mean() == pytest.approx(0.5, abs=0.03)          # the clipped half
        assert np.abs(noisy.astype(int) - grey).max() < 30000                  # nothing came round the other end


def test_a_slice_gets_its_noise_whatever_the_order_or_batch():
    slices = blobs(6, 16, 16)
    every, reverse, one = (noisy_copies(part, 5000, seed=3) for part in (slices, slices[::-1], slices[2:3]))
    assert np.array_equal(every.images, reverse.images[::-1])
    assert np.array_equal(every.images[2], one.images[0])


def test_other_seeds_and_slices_get_other_noise():
    image = np.full((32, 32), 30000, np.uint16)
    assert not np.array_equal(add_noise(image, 5000, 0, 1), add_noise(image, 5000, 1, 1))
    assert not np.array_equal(add_noise(image, 5000, 0, 1), add_noise(image, 5000, 0, 2))


def test_labels_and_numbers_stay_and_the_copy_says_how_noisy_it_is():
    slices = blobs(3, 16, 16)
    noisy = noisy_copies(slices, 5000, seed=0)
    assert all(mine is theirs for mine, theirs in zip(noisy.labels, slices.labels, strict=True))
    assert noisy.numbers is slices.numbers
    assert noisy.noise_std.tolist() == [5000.0] * 3 and slices.noise_std.tolist() == [0.0] * 3


def test_no_noise_changes_nothing():
    slices = blobs(2, 16, 16)
    assert np.array_equal(noisy_copies(slices, 0, seed=0).images, slices.images)


@pytest.mark.parametrize("std", [-3, float("nan")])
def test_a_negative_or_missing_deviation_is_refused(std):
    with pytest.raises(ValueError, match="noise_std is"):
        add_noise(np.zeros((4, 4), np.uint16), std, 0, 1)
