import re

import numpy as np
import pytest
from realism import edge_width, grey_rows, threshold_dice

from xraylib.material.phases import interface_area, label_agreement, volume_fractions
from xraylib.slices.synthetic import BLOCK, chunks, generate, hashed


@pytest.fixture(scope="module")
def sample():
    return generate(64, 256)


def test_shapes_and_types(sample):
    assert sample.images.shape == sample.labels.shape == sample.truth.shape == (64, 256, 256)
    assert sample.images.dtype == np.uint16
    assert sample.labels.dtype == sample.truth.dtype == np.uint8
    assert set(np.unique(sample.labels)) == set(np.unique(sample.truth)) == {0, 1, 2}
    assert generate(2, (48, 80)).images.shape == (2, 48, 80)


def same(a, b):
    return all(np.array_equal(getattr(a, k), getattr(b, k)) for k in ("images", "labels", "truth"))


@pytest.mark.parametrize("start", [0, 31, 32, 40])
def test_any_slice_alone_is_the_slice_of_the_whole(start):
    whole, alone = generate(48, 64, seed=3), generate(1, 64, seed=3, start=start)
    assert same(alone, type(whole)(*(getattr(whole, k)[start : start + 1] for k in ("images", "labels", "truth"))))


def test_chunks_make_up_the_whole():
    whole, parts = generate(75, 32, start=20), list(chunks(75, 32, start=20))
    assert max(len(p.images) for p in parts) <= BLOCK
    assert np.array_equal(np.concatenate([p.images for p in parts]), whole.images)


def test_seeds_differ_and_sizes_show_the_same_grains():
    small, large = generate(1, 64), generate(1, 96)
    assert np.array_equal(small.truth, large.truth[:, :64, :64])
    assert np.mean(small.truth == generate(1, 64, seed=1).truth) < 0.9


def test_blocks_join_without_a_seam(sample):
    agreement = [np.mean(a == b) for a, b in zip(sample.truth[:-1], sample.truth[1:], strict=True)]
    assert agreement[BLOCK - 1] > min(agreement[: BLOCK - 1]) - 0.003
    steps = np.abs(np.diff(sample.images.astype(int), axis=0)).mean((1, 2))
    assert steps[BLOCK - 1] < 1.05 * steps.max(initial=0, where=np.arange(63) != BLOCK - 1)


def test_it_is_about_as_the_real_slices(sample):
    assert np.abs(volume_fractions(sample.labels) - (0.295, 0.434, 0.272)).max() < 0.1  # 0.03 for a whole volume
    area = list(interface_area(sample.labels).values())
    assert np.abs(np.array(area) / (1.18, 0.62, 0.94) - 1).max() < 0.35
    assert label_agreement(sample.labels, [1])[1] == pytest.approx(0.977, abs=0.006)
    assert edge_width(sample.images, sample.labels) == pytest.approx(3.6, abs=0.25)
    assert 0.95 < threshold_dice(sample.images, sample.labels).mean() < 0.98
    rows = grey_rows(sample.images, sample.labels)
    assert rows["mean grey level inside"] == pytest.approx([21516, 35186, 41510], abs=400)  # a small piece: drift
    assert rows["noise, standard deviation"] == pytest.approx([683, 661, 669], rel=0.08)
    assert rows["noise autocorrelation, lag 1"] == pytest.approx([0.75, 0.74, 0.74], abs=0.03)


def test_labels_err_at_edges_only_a_little(sample):
    wrong = sample.labels != sample.truth
    assert 0.003 < wrong.mean() < 0.02


def test_hashed_numbers_are_uniform_and_belong_to_their_place():
    axes = [np.arange(-8, 8)] * 3
    numbers = hashed(5, 1, axes)
    assert abs(numbers.mean() - 0.5) < 0.02 and abs(numbers.var() - 1 / 12) < 0.005
    assert np.array_equal(hashed(5, 1, [a[3:] for a in axes]), numbers[3:, 3:, 3:])
    assert abs(np.corrcoef(numbers[1:].ravel(), numbers[:-1].ravel())[0, 1]) < 0.05
    assert abs(np.corrcoef(numbers.ravel(), hashed(6, 1, axes).ravel())[0, 1]) < 0.05


@pytest.mark.parametrize(
    ("name", "value"), [("n", 0), ("size", 8), ("size", (99, 8)), ("seed", -1), ("seed", 2**63), ("start", -1)]
)
def test_arguments_out_of_range_are_named(name, value):
    with pytest.raises(ValueError, match=f"{name} = {re.escape(str(value))}"):
        generate(**{name: value})
