"""The noise that is added to slices."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import blobs

from xraylib.data import Phases, Slices, random_stream
from xraylib.errors import ParameterError
from xraylib.noise import add_noise, noisy_copies


def test_standard_deviation_and_mean_in_grey_levels():
    flat = np.full((400, 400), 30000, np.uint16)
    noisy = add_noise(flat, 5000, seed=0, number=1).astype(float)
    assert noisy.mean() == pytest.approx(30000, abs=60)
    assert noisy.std() == pytest.approx(5000, rel=0.02)


def test_clipped_to_sixteen_bits_and_not_wrapped():
    for grey in (0, 65535):
        noisy = add_noise(np.full((100, 100), grey, np.uint16), 5000, seed=0, number=1)
        assert noisy.dtype == np.uint16
        assert (noisy == grey).mean() == pytest.approx(0.5, abs=0.03)  # the clipped half
        assert np.abs(noisy.astype(int) - grey).max() < 30000    # nothing wrapped around


def test_a_slice_gets_its_noise_whatever_the_order_or_batch():
    slices = blobs(6, 16, 16)
    every, reverse, one = (noisy_copies(part, 5000, seed=3)
                           for part in (slices, slices[::-1], slices[2:3]))
    assert np.array_equal(every.images, reverse.images[::-1])
    assert np.array_equal(every.images[2], one.images[0])


def test_other_seeds_and_slices_get_other_noise():
    image = np.full((32, 32), 30000, np.uint16)
    noisy = [add_noise(image, 5000, seed, number) for seed in (0, 1) for number in range(3)]
    assert len({each.tobytes() for each in noisy}) == 6


def test_slices_after_the_first_have_the_noise_that_they_always_had():
    noise = np.random.default_rng([3, 17]).standard_normal((8, 8), np.float32)
    noisy = add_noise(np.full((8, 8), 30000, np.uint16), 100, seed=3, number=17)
    assert np.array_equal(noisy, np.rint(30000 + np.float32(100) * noise).astype(np.uint16))


def test_the_noise_of_slice_0_has_nothing_to_do_with_the_split():
    """The split draws from the seed alone, and NumPy ignores a 0 at the end of a list of seeds."""
    noisy = add_noise(np.full((8, 8), 30000, np.uint16), 100, seed=3, number=0).astype(float)
    for stream, same in ((np.random.default_rng(3), False), (np.random.default_rng([3, 0]), False),
                         (random_stream(3, 4), True)):
        noise = np.rint(100 * stream.standard_normal((8, 8), np.float32))
        assert np.array_equal(noisy - 30000, noise) == same


def test_a_noisy_copy_keeps_all_but_the_images_and_says_how_noisy_it_is():
    two = Phases(("solid", "void", "rest"), (0, 100, 255), ("#000000", "#777777", "#ffffff"))
    slices: Slices = replace(blobs(3, 16, 16), phases=two, voxel_nm=20.0)
    noisy = noisy_copies(slices, 5000, seed=0)
    assert all(mine is theirs for mine, theirs in zip(noisy.labels, slices.labels, strict=True))
    assert noisy.numbers is slices.numbers
    assert (noisy.phases, noisy.voxel_nm) == (two, 20.0)
    assert noisy.noise_std.tolist() == [5000.0] * 3 and slices.noise_std.tolist() == [0.0] * 3


def test_no_noise_changes_nothing():
    slices = blobs(2, 16, 16)
    assert np.array_equal(noisy_copies(slices, 0, seed=0).images, slices.images)


@pytest.mark.parametrize("noise_std", [-3, float("nan")])
def test_a_negative_or_missing_standard_deviation_is_refused(noise_std):
    with pytest.raises(ParameterError, match=f"noise_std is {noise_std}; it must be at least 0"):
        add_noise(np.zeros((4, 4), np.uint16), noise_std, 0, 1)
