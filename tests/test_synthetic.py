"""The built-in slices look like the real ones, and are the same whoever asks for them."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import generate
from stack_statistics import edge_widths, grey_rows, label_shifts, threshold_dice

from xraylib.data import NI_YSZ_VOXEL_NM
from xraylib.outlook.microstructure import interface_area, volume_fractions
from xraylib.outlook.smoothness import label_agreement
from xraylib.synthetic import BLOCK, Material, _hashed, _microstructure, generate_chunks

KINDS = ("images", "labels", "truth")


@pytest.fixture(scope="module")
def sample():
    return generate(64, 256)


def same(a, b):
    return all(np.array_equal(getattr(a, kind), getattr(b, kind)) for kind in KINDS)


def test_shapes_and_types(sample):
    assert sample.images.shape == sample.labels.shape == sample.truth.shape == (64, 256, 256)
    assert sample.images.dtype == np.uint16
    assert sample.labels.dtype == sample.truth.dtype == np.uint8
    assert set(np.unique(sample.labels)) == set(np.unique(sample.truth)) == {0, 1, 2}


@pytest.mark.parametrize(("seed", "start", "size", "digest"), [
    (0, 0, 501, "065417c5cf455dfb"), (0, 250, 501, "380284b2f21e06b5")])
def test_the_pixels_never_change(seed, start, size, digest):
    """Another VERSION of the built-in data is needed for other pixels."""
    made = hashlib.sha256()
    sample = generate(3 if start == 0 else 2, size, seed, start)
    for array in (sample.images, sample.labels, sample.truth):
        made.update(array.data)
        made.update(str((array.dtype, array.shape)).encode())
    assert made.hexdigest().startswith(digest)


@pytest.mark.parametrize("start", [0, 31, 32, 40])
def test_any_slice_alone_is_the_slice_of_the_volume(start):
    volume, alone = generate(48, 64, seed=3), generate(1, 64, seed=3, start=start)
    part = (getattr(volume, kind)[start : start + 1] for kind in KINDS)
    assert same(alone, type(volume)(*part))


def test_chunks_are_small_and_add_up_to_the_volume():
    volume, chunks = generate(75, 32, start=20), list(generate_chunks(75, 32, 0, start=20))
    assert max(len(chunk.images) for chunk in chunks) <= BLOCK
    assert np.array_equal(np.concatenate([chunk.images for chunk in chunks]), volume.images)


def test_seeds_differ_and_sizes_show_the_same_grains():
    small, large = generate(1, 64), generate(1, 96)
    assert np.array_equal(small.truth, large.truth[:, :64, :64])
    assert np.mean(small.truth == generate(1, 64, seed=1).truth) < 0.9


def test_blocks_join_without_a_seam(sample):
    steps = np.abs(np.diff(sample.images.astype(int), axis=0)).mean((1, 2))
    others = np.arange(63) != BLOCK - 1
    assert steps[BLOCK - 1] < 1.05 * steps.max(initial=0, where=others)


@pytest.mark.parametrize("start", [BLOCK, 10 * BLOCK])
def test_blocks_agree_where_they_overlap(start):
    plane = [np.arange(-5, 91)] * 2
    first, second = (_microstructure(4, [np.arange(z - 5, z + BLOCK + 5), *plane])
                     for z in (start - BLOCK, start))
    assert np.array_equal(first[-10:], second[:10])


def test_it_looks_about_like_the_real_slices(sample):
    fractions = volume_fractions(sample.labels, 3)
    assert np.abs(fractions - (0.295, 0.434, 0.272)).max() < 0.1  # 0.03 for a large volume
    area = list(interface_area(sample.labels, NI_YSZ_VOXEL_NM, 3).values())
    assert np.abs(np.array(area) / (1.18, 0.62, 0.94) - 1).max() < 0.35
    assert label_agreement(sample.labels, [1])[1] == pytest.approx(0.977, abs=0.006)
    widths = edge_widths(sample.images, sample.labels)
    assert widths == pytest.approx([3.51, 3.19, 3.61, 3.65], abs=0.25)
    assert 0.95 < threshold_dice(sample.images, sample.labels).mean() < 0.98
    rows = grey_rows(sample.images, sample.labels)
    for name, expected, near in (
        ("mean grey level inside", [21516, 35186, 41510], {"abs": 250}),
        ("noise, standard deviation", [683, 661, 669], {"rel": 0.08}),
        ("noise autocorrelation, lag 1", [0.75, 0.74, 0.74], {"abs": 0.03}),
        ("noise autocorrelation, lag 3", [0.03, 0.00, 0.00], {"abs": 0.04}),
        ("the same along z, lag 1", [0.63, 0.64, 0.63], {"abs": 0.03}),
        ("the same along z, lag 5", [0.10, 0.10, 0.09], {"abs": 0.04}),
    ):
        assert rows[name] == pytest.approx(expected, **near), name
    shifts = label_shifts(sample.images, sample.labels, rows["mean grey level inside"])
    assert shifts == pytest.approx([0.35, 0.13, 0.00], abs=0.08)


def test_grains_are_flat_along_y():
    truth = generate(128, 256, seed=2).truth
    z, y, x = (np.mean(np.diff(truth, axis=axis) != 0) for axis in range(3))
    assert 1.03 < 2 * y / (z + x) < 1.2  # 1.09 in the real labels


def test_another_material_has_other_grains_contrast_blur_and_noise():
    materials = Material(), Material(grain=2), Material(blur=(0.5, 0.5, 0.5))
    plain, large, sharp = (generate(32, 128, material=material) for material in materials)
    areas = [sum(interface_area(each.truth, None, 3).values()) for each in (plain, large)]
    assert areas[1] < 0.7 * areas[0]
    assert np.mean(sharp.truth == plain.truth) > 0.99
    across = [np.abs(np.diff(each.images.astype(int), axis=2))[np.diff(each.truth, axis=2) != 0]
              for each in (plain, sharp)]
    assert across[1].mean() > 1.5 * across[0].mean()
    still = generate(2, 128, material=Material(grey=(500, 1000, 1500), noise=0)).images
    assert 400 < still.min() < still.max() < 1800
    assert (np.diff(still.astype(int), axis=2) == 0).mean() > 0.4


def test_the_number_of_threads_changes_nothing():
    code = ("import hashlib; from xraylib.synthetic import generate_chunks\n"
            "digest = hashlib.sha256()\n"
            "for chunk in generate_chunks(40, 256, 0):\n"
            "    for array in vars(chunk).values(): digest.update(array.tobytes())\n"
            "print(digest.hexdigest())")
    one, two = (subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True,
        env=os.environ | {"OPENBLAS_NUM_THREADS": n, "OMP_NUM_THREADS": n}).stdout for n in "12")
    assert one == two


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_generating_slices_takes_little_memory():
    code = ("from xraylib.synthetic import generate_chunks\n"
            "for sample in generate_chunks(160, 501, 0): pass\n"
            "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])")
    peak = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert int(peak.stdout) < 450 * 1024  # kB, with the interpreter, numpy and scipy


def test_labels_err_at_edges_only_a_little(sample):
    wrong = sample.labels != sample.truth
    assert 0.003 < wrong.mean() < 0.02


def test_hashed_numbers_are_uniform_and_belong_to_their_place():
    axes = [np.arange(-8, 8)] * 3
    numbers = _hashed(5, "one", axes)
    assert abs(numbers.mean() - 0.5) < 0.02 and abs(numbers.var() - 1 / 12) < 0.005
    assert np.array_equal(_hashed(5, "one", [a[3:] for a in axes]), numbers[3:, 3:, 3:])
    assert abs(np.corrcoef(numbers[1:].ravel(), numbers[:-1].ravel())[0, 1]) < 0.05
    for other in (_hashed(6, "one", axes), _hashed(5, "two", axes)):
        assert abs(np.corrcoef(numbers.ravel(), other.ravel())[0, 1]) < 0.05


@pytest.mark.parametrize(("name", "value"), [
    ("n", 0), ("size", 8), ("seed", -1), ("seed", 2**63), ("start", -1)])
def test_arguments_out_of_range_are_errors(name, value):
    with pytest.raises(ValueError, match=f"{name} = {value}"):
        next(generate_chunks(**{"n": 1, "size": 16, "seed": 0, "start": 0} | {name: value}))
