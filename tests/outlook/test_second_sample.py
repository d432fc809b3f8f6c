"""The second built-in sample gets worse along z, and of a volume without labels a part is read."""

import numpy as np
import pytest
import tifffile
from conftest import generate

from xraylib.data import grey_statistics, mean_grey_levels
from xraylib.datasets import load_slices
from xraylib.errors import DataError
from xraylib.outlook import second_sample
from xraylib.outlook.microstructure import interface_area
from xraylib.outlook.second_sample import open_excerpt, read_excerpt, spread_runs, with_ground_truth


@pytest.fixture(scope="module")
def samples():
    """The first sample and the second, 36 slices of 160 x 160, before and after it got worse."""
    n, size = 36, 160
    worse = np.concatenate([chunk.images for chunk in second_sample.second_chunks(n, size)])
    before = generate(n, size, second_sample.SEED, material=second_sample.MATERIAL)
    return generate(n, size), before, worse


def test_it_has_finer_grains_other_contrast_and_more_noise(samples):
    first, other, _ = samples
    areas = [sum(interface_area(each.truth, None, 3).values()) for each in (first, other)]
    assert areas[1] > 1.2 * areas[0]
    levels = [[np.median(each.images[each.truth == phase]) for phase in range(3)]
              for each in (first, other)]
    steps = np.diff(levels, axis=1)
    assert steps[0][0] > 1.8 * steps[0][1] and steps[1][0] == pytest.approx(steps[1][1], rel=0.15)
    assert levels[1][2] < levels[0][2] - 8000
    flat = [np.diff(each.images.astype(int), axis=2)[(np.diff(each.truth, axis=2) == 0)]
            for each in (first, other)]
    assert np.std(flat[1]) > 1.3 * np.std(flat[0])


def contrast_kept(samples):
    """Contrast of nickel and pore in each slice, as a share of what it was before."""
    _, before, worse = samples
    contrasts = [[image[truth == 2].mean() - image[truth == 0].mean()
                  for image, truth in zip(images, before.truth, strict=True)]
                 for images in (worse, before.images)]
    return np.divide(*contrasts)


def test_contrast_falls_and_noise_rises_along_z(samples):
    kept, worse = contrast_kept(samples), samples[2]
    assert kept[0] == pytest.approx(1, abs=0.03)
    assert kept[-1] == pytest.approx(1 - second_sample.FADING, abs=0.03)
    rough = [np.std(np.diff(image.astype(int), axis=1)) for image in worse]
    assert rough[-1] > 2 * rough[0]


def test_each_fault_has_its_slices():
    names = [second_sample._fault(index, 48) for index in range(48)]
    assert [names.index(name) for name in second_sample.FAULTS] == [12, 24, 36]
    assert all(names.count(name) == 4 for name in second_sample.FAULTS) and names.count("") == 36
    assert {second_sample._fault(index, 12) for index in range(12)} == {"", *second_sample.FAULTS}


def test_rings_go_round_the_middle_and_stripes_are_columns():
    rings, stripes = (second_sample._pattern(fault, (40, 40), np.random.default_rng(0))
                      for fault in ("rings", "stripes"))
    assert min(rings.std(), stripes.std()) > second_sample.STRENGTH / 3
    assert rings[20, 2] == rings[20, 38] == rings[2, 20] != rings[20, 5]
    assert np.ptp(stripes, 0).max() == 0 and np.ptp(stripes, 1).min() > 0


def test_out_of_focus_blurs_the_phases_into_each_other(samples):
    kept = contrast_kept(samples)
    index = [second_sample._fault(i, 36) for i in range(36)].index("out of focus")
    assert kept[index] < 0.85 * kept[index - 1]


def test_it_is_generated_once_and_the_same_again(home, monkeypatch):
    slices = second_sample.built_in_second("tiny")
    assert len(slices) == 12 and slices.shape == (128, 128)
    assert slices.numbers.tolist() == list(range(2001, 2013))
    again = np.concatenate([chunk.images for chunk in second_sample.second_chunks(12, 128)])
    assert np.array_equal(again, slices.images)
    assert second_sample.slice_faults(slices)[3] == "rings"
    monkeypatch.setattr(second_sample, "_degraded", None)  # read, not generated
    assert second_sample.built_in_second("tiny").fingerprint() == slices.fingerprint()
    assert (home / "data/built-in/second-v2-12x128/truth").is_dir()
    assert grey_statistics(slices)[0] < 27000 and len(mean_grey_levels(slices)) == 3


def test_the_perfect_test_set_differs_in_its_labels_alone():
    test = second_sample.built_in_test("tiny")
    perfect = with_ground_truth(test[[5, 2]], "tiny")
    assert np.array_equal(perfect.images, [test.images[5], test.images[2]])
    assert perfect.numbers.tolist() == test.numbers[[5, 2]].tolist()
    agreement = [np.mean(perfect.labels[0] == test.labels[5]),
                 np.mean(perfect.labels[1] == test.labels[2])]
    assert all(0.9 < share < 1 for share in agreement)  # the hand slips at interfaces
    assert perfect.labels[0].dtype == np.uint8 and set(np.unique(perfect.labels)) == {0, 1, 2}


# -- excerpts --------------------------------------------------------------------------------------


def save(folder, arrays):
    folder.mkdir(exist_ok=True)
    for number, array in enumerate(arrays, 1):
        tifffile.imwrite(folder / f"s_{number:03d}.tif", array)
    return folder


def ramp(n, height, width, dtype):
    """Slices in which every pixel says where it is."""
    z, y, x = np.meshgrid(np.arange(n), np.arange(height), np.arange(width), indexing="ij")
    return (z * 1000 + y * 30 + x).astype(dtype)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(second_sample, "MAX_SLICES", 12)
    monkeypatch.setattr(second_sample, "MAX_SIDE", 20)


def test_a_small_volume_is_read_completely(tmp_path):
    volume = ramp(5, 20, 30, np.uint16)
    found = read_excerpt(save(tmp_path / "v", volume))
    assert np.array_equal(found.images, volume) and found.numbers.tolist() == [1, 2, 3, 4, 5]
    assert found.note == "5 of 5 slices, 20 x 30 of 20 x 30 px, uint16."


def test_of_a_large_volume_runs_of_neighbours_and_a_window_in_the_middle(tmp_path, small):
    volume = ramp(50, 40, 64, np.uint16)
    tifffile.imwrite(tmp_path / "stack.tif", volume, photometric="minisblack")
    found = read_excerpt(tmp_path / "stack.tif")
    assert len(found.images) == 12 and found.images[0].shape == (20, 20)
    assert np.diff(found.numbers).reshape(-1)[[0, 1, 3, 4]].tolist() == [1, 1, 1, 1]
    assert np.array_equal(found.images[4], volume[found.numbers[4] - 1, 10:30, 22:42])
    assert found.numbers[0] < 13 and found.numbers[-1] > 38  # from end to end


def test_float32_is_stretched_and_holes_are_filled(tmp_path):
    volume = ramp(3, 20, 30, np.float32) / 1e5 - 0.01
    volume[0, 5, 5], volume[1] = np.nan, np.inf
    volume[1, 0, :2] = 0.002, 0.004
    found = read_excerpt(save(tmp_path / "v", volume))
    assert {image.dtype for image in found.images} == {np.dtype(np.uint16)}
    assert found.images[0].min() == 0 and found.images[2].max() == 65535
    order = np.argsort(volume[2].ravel(), kind="stable")
    assert (np.diff(found.images[2].ravel()[order].astype(int)) >= 0).all()
    assert found.images[0][5, 5] == pytest.approx(found.images[0].mean(), abs=300)
    assert np.unique(found.images[1][1:]).size == 1  # all holes: the mean of its two pixels


def test_numbers_as_large_as_float32_holds_are_stretched_without_a_warning(tmp_path):
    volume = np.linspace(-3e38, 3e38, 1200).reshape(2, 20, 30).astype(np.float32)
    volume[0, 0] = np.nan
    found = read_excerpt(save(tmp_path / "v", volume))
    assert len(np.unique(found.images[0])) > 100 < len(np.unique(found.images[1]))


def test_uint8_uses_all_of_the_range(tmp_path):
    found = read_excerpt(save(tmp_path / "v", ramp(1, 16, 16, np.uint8)))
    assert found.images[0][0, 3] == 3 * 257 and found.images[0].dtype == np.uint16


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_sparse_volume_is_read_and_only_a_constant_one_refused(tmp_path, dtype):
    """Fewer than one pixel in a thousand differs, so the percentiles are equal."""
    volume = np.zeros((2, 100, 100), dtype)
    volume[0, 10, 1:6], volume[1, 50, 50] = 90, 200
    found = read_excerpt(save(tmp_path / "v", volume))
    assert len(np.unique(found.images)) == 3 and np.argmax(found.images) == 15050
    with pytest.raises(DataError, match="v2 holds one grey level only"):
        read_excerpt(save(tmp_path / "v2", np.full((2, 20, 20), 7, dtype)))


def test_a_volume_without_a_number_is_refused(tmp_path):
    with pytest.raises(DataError, match="or no number"):
        read_excerpt(save(tmp_path / "v", np.full((2, 20, 20), np.nan, np.float32)))


def test_slices_of_several_sizes_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"s_002.tif is \(20, 23\) px, the first slice \(20, 24\)"):
        read_excerpt(save(tmp_path / "v", [np.eye(20, n, dtype=np.uint8) for n in (24, 23)]))


def test_a_labelled_folder_keeps_its_labels_of_the_same_pixels(folder, small):
    slices = load_slices(folder)  # 40 slices of 48 x 40
    found, truth = open_excerpt(str(folder), "tiny")
    assert found.numbers.tolist() == truth.numbers.tolist() and len(truth) == 12
    for index, number in enumerate(found.numbers):
        assert np.array_equal(found.images[index], slices.images[number - 1][14:34, 10:30])
        assert np.array_equal(truth.labels[index], slices.labels[number - 1][14:34, 10:30])
    assert found.note == "12 of 40 slices, 20 x 20 of 48 x 40 px, uint16."


def test_slices_of_a_labelled_folder_keep_their_numbers(folder, small):
    for file in sorted(folder.rglob("slice_*.tif")):
        file.rename(file.with_name(f"s_{10 * int(file.stem[-4:]):03d}.tif"))
    found, truth = open_excerpt(str(folder), "tiny")
    assert set(found.numbers % 10) == {0} and found.numbers.tolist() == truth.numbers.tolist()


def test_any_other_folder_has_no_labels_and_no_name_is_the_second_sample(folder):
    assert open_excerpt(str(folder / "data"), "tiny")[1] is None
    found, truth = open_excerpt("", "tiny")
    assert truth.labels[3].shape == (128, 128) and found.numbers.tolist() == list(range(1, 13))


@pytest.mark.parametrize(("n", "most", "expected"), [
    (4, 6, [0, 1, 2, 3]), (20, 6, [3, 4, 5, 13, 14, 15]), (7, 6, [0, 1, 2, 4, 5, 6]),
    (9, 2, [3, 4, 5])])
def test_runs_are_spread_evenly(n, most, expected):
    assert spread_runs(n, most).tolist() == expected
