import numpy as np
import pytest
from conftest import blobs

from xraylib import data, sets
from xraylib.data import DataError
from xraylib.profiles import configure


def source(n=60):
    slices = blobs(n, 16, 16)
    return sets.Source(slices, blobs(4, 16, 16, seed=9), "blobs", slices.fingerprint(), ("tiny", "blobs"))


def test_random_split_is_disjoint_and_seeded():
    train, val = sets.split(100, 70, 20, "random", seed=1)
    assert len(set(train) | set(val)) == 90
    assert np.array_equal(train, sets.split(100, 70, 20, "random", seed=1)[0])
    assert not np.array_equal(train, sets.split(100, 70, 20, "random", seed=2)[0])


def test_training_sets_of_a_size_sweep_are_nested_and_share_their_validation_set():
    large, small = (sets.split(200, n, 50, "random", seed=4) for n in (105, 5))
    assert np.array_equal(large[0][:5], small[0]) and np.array_equal(large[1], small[1])


def test_block_split_is_contiguous_with_a_gap():
    train, val = sets.split(500, 400, 100, "block", seed=0)
    assert train.tolist() == list(range(380)) and val.tolist() == list(range(400, 500))


def test_more_than_there_is_is_refused():
    with pytest.raises(DataError, match=r"n_train \+ n_val is 80 \+ 30 = 110, but there are 100"):
        sets.split(100, 80, 30, "random", seed=0)
    with pytest.raises(DataError, match="leaves none to train on"):
        sets.split(20, 1, 19, "block", seed=0)


def test_counts_shrink_in_proportion_and_say_so():
    drawn = sets.prepare(configure("01_baseline", profile="laptop"), source(60))
    assert (len(drawn.train), len(drawn.val)) == (48, 12)
    assert "asks for 400 + 100 slices, 60 are here: 48 train and 12 validate" in drawn.note


def test_counts_that_were_asked_for_do_not_shrink():
    with pytest.raises(DataError, match="there are 60 slices"):
        sets.prepare(configure("01_baseline", profile="laptop", n_train=50, n_val=20), source(60))
    drawn = sets.prepare(configure("01_baseline", profile="laptop", n_train=50), source(60))
    assert (len(drawn.train), len(drawn.val)) == (50, 10)


def test_experiment_2_gives_a_fifth_a_noisy_copy_before_the_split():
    drawn = sets.prepare(configure("02_noisy_train", profile="tiny", n_train=54, n_val=18), source(60))
    both = data.join(drawn.train, drawn.val)
    assert (both.noise_std > 0).sum() == 12 and len(both) == 72
    copied = both.numbers[both.noise_std > 0]
    assert len(set(copied)) == 12 and set(copied) <= set(both.numbers[both.noise_std == 0])


def test_experiment_2_by_block_keeps_copies_on_the_side_of_their_original():
    drawn = sets.prepare(configure("02_noisy_train", profile="tiny", split="block"), source(60))
    assert not set(drawn.train.numbers) & set(drawn.val.numbers)
    assert "The gap between the blocks leaves" not in drawn.note


def test_experiment_3_validates_on_pairs_that_differ_by_the_noise_alone():
    drawn = sets.prepare(configure("03_noisy_val", profile="tiny", noise_std=3000), source(60))
    clean, noisy = drawn.val[:6], drawn.val[6:]
    assert np.array_equal(clean.numbers, noisy.numbers) and np.array_equal(clean.labels, noisy.labels)
    assert (noisy.noise_std == 3000).all() and not drawn.train.noise_std.any()
    assert not set(drawn.train.numbers) & set(clean.numbers)


def test_a_folder_gives_its_last_tenth_after_a_gap_to_the_test_block(folder):
    opened = sets.open_source("tiny", str(folder))
    assert opened.test.numbers.tolist() == [37, 38, 39, 40]
    assert opened.slices.numbers.tolist() == list(range(1, 36))


def test_a_folder_too_small_to_test_on_is_refused(tmp_path):
    data.save(blobs(9, 16, 16), tmp_path / "few")
    with pytest.raises(DataError, match="at least 10 are needed"):
        sets.open_source("tiny", str(tmp_path / "few"))


def test_built_in_slices_are_made_once_and_whole(home, monkeypatch):
    first = sets.open_source("tiny")
    assert (len(first.slices), len(first.test)) == (48, 8) and first.slices.images.shape[1:] == (128, 128)
    folders = sorted(path.name for path in (home / "data/built-in").iterdir())
    assert len(folders) == 2 and not any("part" in name for name in folders)
    truth = np.stack([data.to_classes(data.read(path, np.uint8), path)
                      for path in data.find(home / "data/built-in" / folders[0] / "truth").values()])
    assert 0.5 < (truth == first.slices.labels).mean() < 1          # perfect labels beside the imperfect ones
    monkeypatch.setattr(sets.synthetic, "chunks", None)            # a second call makes nothing
    assert sets.open_source("tiny").slices.fingerprint() == first.slices.fingerprint()


def test_built_in_slices_that_break_off_leave_nothing_behind(home, monkeypatch):
    def broken(*_):
        raise OSError("no space left")
        yield

    monkeypatch.setattr(sets.synthetic, "chunks", broken)
    with pytest.raises(OSError, match="no space left"):
        sets.built_in(4, 16, 0)
    assert not any((home / "data/built-in").iterdir())
