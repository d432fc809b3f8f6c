"""The made-up material of notebook 11."""

import numpy as np
import pytest
import tifffile

from xraylib.outlook.example_material import ELECTRODE, SANDSTONE, make_volume, write_example

SHAPE = (12, 96, 80)


@pytest.mark.parametrize("fractions", [SANDSTONE, ELECTRODE], ids=len)
def test_each_phase_has_its_volume_fraction_and_its_grey_level(fractions):
    images, truth = make_volume(list(fractions.values()), SHAPE, seed=1)
    assert images.shape == truth.shape == SHAPE and images.max() < 4096
    shares = np.bincount(truth.ravel()) / truth.size
    assert shares == pytest.approx(list(fractions.values()), abs=0.01)
    means = [images[truth == phase].mean() for phase in range(len(fractions))]
    assert np.diff(means).min() > 300


def test_the_same_seed_makes_the_same_volume():
    first, again, other = (make_volume([0.4, 0.6], SHAPE, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[1], other[1])


def test_the_folder_is_written_once_with_two_labelled_patches(tmp_path):
    folder = tmp_path / "electrode"
    write_example(folder, list(ELECTRODE.values()), SHAPE)
    labels, truth = (tifffile.imread(folder / name)
                     for name in ("labels/patches.tif", "truth/truth.tif"))
    known = labels > 0
    assert known.sum() == 2 * 64 * 64 and known.any((1, 2)).sum() == 2
    assert np.array_equal(labels[known], truth[known])
    with tifffile.TiffFile(folder / "images/scan.tif") as file:
        assert file.imagej_metadata["spacing"] == 1.3 and file.series[0].axes == "ZYX"
    before = (folder / "images/scan.tif").stat().st_mtime_ns
    write_example(folder, [0.5, 0.5], SHAPE)
    assert (folder / "images/scan.tif").stat().st_mtime_ns == before
