import numpy as np
import pytest
from conftest import blobs

from xraylib.slices import labelled, sets, tiff
from xraylib.slices.labelled import Slices, join
from xraylib.slices.tiff import DataError


def split(n, *arguments, **keywords):
    """The numbers of the slices that a split of slices 0..n-1 gives to training and to validation."""
    pool = Slices(np.zeros((n, 1, 1), np.uint16), np.zeros((n, 1, 1), np.uint8), np.arange(n))
    return tuple(part.numbers for part in sets.split(pool, *arguments, **keywords))


def test_random_split_is_disjoint_and_seeded():
    train, val = split(100, 70, 20, "random", seed=1)
    assert len(set(train) | set(val)) == 90
    assert np.array_equal(train, split(100, 70, 20, "random", seed=1)[0])
    assert not np.array_equal(train, split(100, 70, 20, "random", seed=2)[0])


def test_training_sets_of_a_size_sweep_are_nested_and_share_their_validation_set():
    large, small = (split(200, n, 50, "random", seed=4) for n in (105, 5))
    assert np.array_equal(large[0][:5], small[0]) and np.array_equal(large[1], small[1])


def test_block_split_is_contiguous_with_a_gap():
    train, val = split(500, 400, 100, "block", seed=0)
    assert train.tolist() == list(range(380)) and val.tolist() == list(range(400, 500))


def test_a_block_split_takes_the_order_of_the_volume_and_keeps_copies_beside_their_original():
    slices = blobs(30, 8, 8)
    train, val = sets.split(join(slices, slices[[3, 29]]), 27, 4, "block", seed=0)
    assert val.numbers.tolist() == [28, 29, 30, 30] and train.numbers[:5].tolist() == [1, 2, 3, 4, 4]


def test_more_than_there_is_is_refused():
    with pytest.raises(DataError, match=r"n_train \+ n_val is 80 \+ 30 = 110, but there are 100"):
        split(100, 80, 30, "random", seed=0)
    with pytest.raises(DataError, match=r"n_train \+ n_val is 0 \+ 20"):
        split(20, 0, 20, "random", seed=0)
    with pytest.raises(DataError, match="leaves none to train on"):
        split(20, 1, 19, "block", seed=0)


def test_a_part_of_a_slice_is_one_piece_and_lies_inside_a_larger_one():
    slices = blobs(10, 40, 60)
    parts = {share: sets.split(slices, share, 3, "random", seed=2) for share in (1 / 16, 1 / 4, 1)}
    assert {tuple(val.numbers) for _, val in parts.values()} == {tuple(parts[1][1].numbers)}
    small, large, whole = (train for train, _ in parts.values())
    assert (small.shape, large.shape, whole.shape) == ((10, 15), (20, 30), (40, 60))
    assert len(small) == 1 and small.numbers == large.numbers == whole.numbers
    assert np.shares_memory(small.images[0], large.images[0])

    def offset(part):
        return np.argwhere(np.lib.stride_tricks.sliding_window_view(whole.images[0], part.shape).reshape(
            41 - part.shape[0], 61 - part.shape[1], -1)[..., 0] == part.images[0][0, 0])

    inside = offset(small)[:, None] - offset(large)[None]
    assert ((inside >= 0) & (inside <= [10, 15])).all(-1).any()


def test_an_outline_is_split_as_the_slices_themselves():
    slices = blobs(40, 8, 8)
    for mode in ("random", "block"):
        drawn = [sets.split(each, 12, 9, mode, seed=3) for each in (slices, sets.outline(slices.numbers))]
        assert all(np.array_equal(here.numbers, there.numbers) for here, there in zip(*drawn, strict=True))


def test_distance_is_to_the_nearest_training_slice():
    assert sets.distance_to(np.array([10, 3]), np.array([1, 4, 8, 30])).tolist() == [2, 1, 2, 20]


@pytest.mark.parametrize(("n", "asked", "given", "fits"), [
    (500, (400, 100), (None, None), (400, 100)),
    (60, (400, 100), (None, None), (48, 12)),          # in proportion
    (60, (400, 100), (50, None), (50, 10)),            # what the reader gave stays
    (60, (400, 100), (None, 50), (10, 50)),
    (60, (400, 100), (50, 20), (50, 20)),              # also where it does not fit: `split` says so
    (3, (400, 100), (None, None), (2, 1)),
    (60, (400, 100), (0.25, None), (0.25, 59)),        # a part of a slice takes the place of one
    (60, (400, 100), (70, None), (70, 1)),
    (60, (400, 100), (None, 60), (1, 60)),             # `split` says so here, too
])
def test_counts_shrink_to_what_is_there(n, asked, given, fits):
    assert sets.fit_counts(n, asked, *given) == fits


def test_parts_of_a_set_and_sets_joined_hold_the_same_arrays():
    slices = blobs(6, 8, 8)
    part = join(slices[[4, 1]], slices[slices.numbers > 5])
    assert part.numbers.tolist() == [5, 2, 6]
    assert all(part.images[i] is slices.images[j] and part.labels[i] is slices.labels[j]
               for i, j in enumerate((4, 1, 5)))


def test_a_folder_gives_its_last_tenth_after_a_gap_to_the_test_block(folder):
    opened = sets.open_source("tiny", str(folder))
    assert opened.test.numbers.tolist() == [37, 38, 39, 40]
    assert opened.slices.numbers.tolist() == list(range(1, 36))


def test_built_in_slices_are_made_once_and_whole(home, monkeypatch):
    first = sets.open_source("tiny")
    assert (len(first.slices), len(first.test)) == (48, 8) and first.slices.shape == (128, 128)
    folders = sorted(path.name for path in (home / "data/built-in").iterdir())
    assert len(folders) == 2 and not any("part" in name for name in folders)
    truth = np.stack([labelled.to_classes(tiff.read(path, np.uint8), path)
                      for path in tiff.find(home / "data/built-in" / folders[0] / "truth").values()])
    assert 0.5 < (truth == np.stack(first.slices.labels)).mean() < 1          # perfect labels beside the imperfect ones
    monkeypatch.setattr(sets.synthetic, "chunks", None)            # a second call makes nothing
    assert sets.open_source("tiny").slices.fingerprint() == first.slices.fingerprint()
    for kind in ("data", "labels", "truth"):
        lost = home / "data/built-in" / folders[0] / kind / "slice_0007.tif"
        content = lost.read_bytes()
        lost.unlink()
        with pytest.raises(DataError, match=f"{folders[0]} is damaged .*{kind}.*; delete this folder: it is made agai"):
            sets.open_source("tiny")
        lost.write_bytes(content)


def test_the_perfect_test_block_differs_in_its_labels_alone():
    test = sets.built_in_test("tiny")
    perfect = sets.perfected(test, "tiny")
    assert test.fingerprint() == sets.open_source("tiny").test.fingerprint()
    assert np.array_equal(perfect.images, test.images) and np.array_equal(perfect.numbers, test.numbers)
    agreement = [(one == other).mean() for one, other in zip(perfect.labels, test.labels, strict=True)]
    assert len(agreement) == 8 and all(0.9 < share < 1 for share in agreement)         # the hand slips at interfaces
    assert perfect.labels[0].dtype == np.uint8 and set(np.unique(perfect.labels)) == {0, 1, 2}
    assert not perfect.noise_std.any()


def test_built_in_slices_that_break_off_leave_nothing_behind(home, monkeypatch):
    def broken(*_):
        raise OSError("no space left")
        yield

    monkeypatch.setattr(sets.synthetic, "chunks", broken)
    with pytest.raises(OSError, match="no space left"):
        sets.built_in(4, 16, 0)
    assert not any((home / "data/built-in").iterdir())
