"""Labelled slices in memory, their phases, and the random streams."""

from itertools import product

import numpy as np
import pytest
import tifffile
from conftest import blobs

from xraylib import data
from xraylib.data import NI_YSZ, Phases, Slices, concatenate, random_stream
from xraylib.errors import DataError
from xraylib.losses import IGNORE
from xraylib.noise import add_noise


def test_a_fingerprint_stays_the_same_from_version_to_version():
    assert blobs(3, 20, 24).fingerprint() == "fc0dcdc7db0db5ed"


def test_fingerprint_changes_with_a_pixel_a_label_and_a_number():
    slices = blobs(2, 8, 8)
    before = slices.fingerprint()
    for array in (slices.images[1], slices.labels[1], slices.numbers):
        array.flat[0] ^= 1
        assert slices.fingerprint() != before
        array.flat[0] ^= 1


def test_a_subsample_is_evenly_spaced():
    assert data.evenly_spaced(10, 5) == [2, 4, 6, 8, 10]
    assert data.evenly_spaced(3, 12) == [1, 2, 3]
    slices = blobs(10, 8, 8)
    assert slices.subsample(3).numbers.tolist() == [3, 7, 10]
    assert len(slices.subsample(0)) == len(slices.subsample(99)) == 10


def test_parts_of_a_set_and_joined_sets_hold_the_same_arrays():
    phases = Phases(("a", "b", "c"), (1, 2, 3), ("#000000",) * 3)
    blob = blobs(6, 8, 8)
    slices = Slices(blob.images, blob.labels, blob.numbers, np.arange(6.0), phases, (5.0, 5.0, 5.0),
                    notes=("read from a stack.",))
    part = concatenate(slices[[4, 1]], slices[slices.numbers > 5])
    assert part.numbers.tolist() == [5, 2, 6] and part.noise_std.tolist() == [4, 1, 5]
    assert all(part.images[i] is slices.images[j] and part.labels[i] is slices.labels[j]
               for i, j in enumerate((4, 1, 5)))
    assert part.phases == phases and part.voxel_nm == (5, 5, 5) and part.notes == slices.notes


def test_mean_grey_level_of_each_phase():
    image, label = np.array([[10, 20], [30, 40]], np.uint16), np.array([[0, 0], [2, 2]], np.uint8)
    pore, ysz, nickel = data.mean_grey_levels(Slices([image], [label], np.array([1])))
    assert (pore, nickel) == (15, 35) and np.isnan(ysz)


def test_grey_statistics_are_those_of_all_pixels():
    slices = blobs(7, 40, 36)
    grey = np.stack(slices.images)
    assert data.grey_statistics(slices) == pytest.approx((grey.mean(), grey.std()))
    flat = Slices([np.full((4, 4), 9, np.uint16)], [np.zeros((4, 4), np.uint8)], np.array([1]))
    assert data.grey_statistics(flat) == (9, 1)  # the network divides by it


# -- phases ----------------------------------------------------------------------------------------


def test_phases_are_unchanged_by_json():
    assert Phases.from_dict(NI_YSZ.to_dict()) == NI_YSZ and len(NI_YSZ) == 3
    assert NI_YSZ.to_dict()["values"] == [0, 128, 255]


def test_palettes_have_one_colour_per_phase():
    assert NI_YSZ.palette().tolist() == [[213, 94, 0], [0, 158, 115], [0, 114, 178]]
    assert NI_YSZ.palette("rgb").tolist() == [[230, 25, 25], [20, 190, 20], [40, 70, 255]]
    for n in (1, 2, 5):
        phases = Phases(tuple("abcde"[:n]), tuple(range(n)), ("#010203",) * n)
        assert phases.palette("rgb").shape == (n, 3) and phases.palette("rgb").dtype == np.uint8
        assert phases.palette().tolist() == [[1, 2, 3]] * n


def test_label_values_of_other_phases_are_read_and_refused(tmp_path):
    two = Phases(("void", "solid"), (7, 9), ("#000000", "#ffffff"))
    mask = np.array([[7, 9], [9, 9]], np.uint8)
    classes = data.classes_from_values(mask, tmp_path, two)
    assert classes.tolist() == [[0, 1], [1, 1]] and classes.dtype == np.uint8
    assert np.array_equal(data.values_from_classes(classes, two), mask)
    with pytest.raises(DataError, match=r"without a meaning: 8 \(1 px\). Of .* 7 is void, 9 is"):
        data.classes_from_values(np.array([[7, 8]], np.uint8), tmp_path, two)


def test_values_of_labels_have_the_type_that_holds_them():
    classes = np.array([[0, 1], [IGNORE, 1]], np.uint8)
    for values, ignore, dtype in (((7, 9), 255, np.uint8), ((0, 255), 1, np.uint8),
                                  ((0, 65535), 255, np.uint16), ((255, 256), 0, np.uint16)):
        phases = Phases.numbered(values)
        found = data.values_from_classes(classes, phases)
        assert found.dtype == dtype and phases.ignore_value == ignore
        assert found.tolist() == [[values[0], values[1]], [ignore, values[1]]]


# -- files -----------------------------------------------------------------------------------------


def test_files_are_written_as_the_real_set_has_them(folder):
    mask = tifffile.imread(folder / "labels" / "slice_0001.tif")
    assert mask.dtype == np.uint8 and set(np.unique(mask)) == {0, 128, 255}


# -- random streams --------------------------------------------------------------------------------


def test_no_two_purposes_share_their_random_numbers():
    """The split, copies, window, second sample and noise, for four seeds and 51 slices."""
    seeds, numbers = range(4), range(51)
    streams = {("split", seed): np.random.default_rng(seed) for seed in seeds}
    streams |= {(purpose, seed): random_stream(seed, purpose)
                for purpose in (data.COPIES, data.WINDOW, data.SLICE_ZERO) for seed in seeds}
    streams |= {("second", seed, number): random_stream(seed, data.SECOND_SAMPLE, number)
                for seed, number in product(seeds, numbers)}
    streams |= {("noise", seed, number): np.random.default_rng([seed, number])
                for seed, number in product(seeds, numbers) if number}
    states = {stream.bit_generator.state["state"]["state"] for stream in streams.values()}
    assert len(states) == len(streams) == 4 * (1 + 3 + 51 + 50)
    draws = {stream.bytes(8) for stream in streams.values()}
    assert len(draws) == len(streams)


def test_noise_of_a_slice_is_drawn_from_its_stream():
    grey = np.full((16, 16), 30000, np.uint16)
    streams = {0: random_stream(3, data.SLICE_ZERO), 7: np.random.default_rng([3, 7])}
    for number, stream in streams.items():
        noise = np.rint(grey + np.float32(1000) * stream.standard_normal(grey.shape, np.float32))
        assert np.array_equal(add_noise(grey, 1000, 3, number), noise.astype(np.uint16))
