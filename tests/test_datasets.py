"""Data sets, built-in or the reader's own, and the splits that are drawn from them."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from conftest import blobs

from xraylib import datasets, synthetic
from xraylib.data import NI_YSZ, Slices, classes_from_values, concatenate, save_slices
from xraylib.datasets import cut_window, load_slices, open_dataset, split_slices
from xraylib.errors import DataError
from xraylib.formats.file_names import list_tiffs
from xraylib.formats.tiff import read_slice


def split(n, *arguments, **keywords):
    """The numbers of the slices that a split of slices 0..n-1 gives to training and validation."""
    empty = np.zeros((n, 1, 1))
    pool = Slices(list(empty.astype(np.uint16)), list(empty.astype(np.uint8)), np.arange(n))
    return tuple(part.numbers for part in split_slices(pool, *arguments, **keywords))


# -- splits ----------------------------------------------------------------------------------------


def test_random_split_is_disjoint_and_seeded():
    train, val = split(100, 70, 20, "random", seed=1)
    assert len(set(train) | set(val)) == 90
    assert np.array_equal(train, split(100, 70, 20, "random", seed=1)[0])
    assert not np.array_equal(train, split(100, 70, 20, "random", seed=2)[0])
    # The same slices in every version of the library, or old runs would not be found again.
    assert (train[:5].tolist(), val[:5].tolist()) == ([45, 14, 62, 70, 75], [48, 8, 16, 81, 6])


def test_training_sets_of_a_size_sweep_are_nested_and_share_their_validation_set():
    large, small = (split(200, n, 50, "random", seed=4) for n in (105, 5))
    assert np.array_equal(large[0][:5], small[0]) and np.array_equal(large[1], small[1])


def test_block_split_is_contiguous_with_a_gap():
    train, val = split(500, 400, 100, "block", seed=0)
    assert train.tolist() == list(range(380)) and val.tolist() == list(range(400, 500))


def test_a_block_split_keeps_the_order_of_the_volume_and_copies_beside_their_originals():
    slices = blobs(30, 8, 8)
    train, val = split_slices(concatenate(slices, slices[[3, 29]]), 27, 4, "block", seed=0)
    assert val.numbers.tolist() == [28, 29, 30, 30]
    assert train.numbers[:5].tolist() == [1, 2, 3, 4, 4]


def test_more_slices_than_there_are_is_refused():
    with pytest.raises(DataError, match=r"n_train \+ n_val is 80 \+ 30 = 110, but there are 100"):
        split(100, 80, 30, "random", seed=0)
    with pytest.raises(DataError, match=r"n_train \+ n_val is 0 \+ 20"):
        split(20, 0, 20, "random", seed=0)
    with pytest.raises(DataError, match="leaves none to train on"):
        split(20, 1, 19, "block", seed=0)


def test_a_window_is_one_piece_and_lies_inside_a_larger_one():
    slices = blobs(2, 40, 60)
    small, large, all_of_it = (cut_window(slices, share, seed=2) for share in (1 / 16, 1 / 4, 1))
    assert (small.shape, large.shape, all_of_it.shape) == ((10, 15), (20, 30), (40, 60))
    assert small.numbers.tolist() == [1, 2]
    assert np.shares_memory(small.images[0], large.images[0])

    def corner(part):
        size = part.shape
        views = np.lib.stride_tricks.sliding_window_view(slices.images[0], size)
        return np.argwhere((views == part.images[0]).all((2, 3)))[0]

    inside = corner(small) - corner(large)
    assert (inside >= 0).all() and (inside + small.shape <= large.shape).all()
    corners = {tuple(corner(cut_window(slices, 1 / 16, seed))) for seed in range(9)}
    assert len(corners) > 5


def test_dummy_slices_are_split_like_the_slices_themselves():
    slices = blobs(40, 8, 8)
    for mode in ("random", "block"):
        drawn = [split_slices(each, 12, 9, mode, seed=3)
                 for each in (slices, datasets.dummy_slices(slices.numbers))]
        assert all(np.array_equal(a.numbers, b.numbers) for a, b in zip(*drawn, strict=True))


def test_only_consecutive_slices_are_neighbours():
    slices = blobs(6, 8, 8)
    datasets.require_neighbours(slices[2:5])
    for wrong in ([0, 2], [1, 0], [0, 0, 1]):
        with pytest.raises(DataError, match='Set split to "block"'):
            datasets.require_neighbours(slices[wrong])
    slices.labels[2], slices.images[2] = slices.labels[2][:, :5], slices.images[2][:, :5]
    datasets.require_neighbours(slices[3:])
    with pytest.raises(DataError, match="2 sizes, from 8 x 5 px to 8 x 8 px.*Crop all slices"):
        datasets.require_neighbours(slices)


@pytest.mark.parametrize(("n", "asked", "given", "fits"), [
    (500, (400, 100), (None, None), (400, 100)),
    (60, (400, 100), (None, None), (48, 12)),  # in proportion
    (60, (400, 100), (50, None), (50, 10)),  # the reader's choice stays
    (60, (400, 100), (None, 50), (10, 50)),
    (60, (400, 100), (50, 20), (50, 20)),  # also where it does not fit: the split refuses it
    (3, (400, 100), (None, None), (2, 1)),
    (60, (400, 100), (1, None), (1, 59)),
    (60, (400, 100), (70, None), (70, 1)),
    (60, (400, 100), (None, 60), (1, 60)),
])
def test_counts_shrink_to_the_slices_that_there_are(n, asked, given, fits):
    assert datasets.fit_counts(n, asked, *given) == fits


# -- folders ---------------------------------------------------------------------------------------


def test_a_folder_gives_its_last_tenth_after_a_gap_to_the_test_set(folder):
    opened = open_dataset("tiny", str(folder))
    assert opened.test.numbers.tolist() == [37, 38, 39, 40]
    assert opened.slices.numbers.tolist() == list(range(1, 36))
    assert np.array_equal(opened.slices.labels, load_slices(folder).labels[:35])


def test_a_fingerprint_of_a_folder_changes_with_pixels_phases_and_grey_levels(folder):
    def fingerprint():
        return open_dataset("tiny", folder).fingerprint

    before, path, toml = fingerprint(), folder / "data/slice_0007.tif", folder / "dataset.toml"
    assert before == fingerprint() and len(before) == 16
    content, text = path.read_bytes(), toml.read_text()
    tifffile.imwrite(path, tifffile.imread(path) ^ 1)
    assert fingerprint() != before
    path.write_bytes(content)
    for old, new in (("pore", "void"), ("#d55e00", "#000001")):
        toml.write_text(text.replace(old, new))
        assert fingerprint() != before
    toml.write_text(text)
    assert fingerprint() == before


@pytest.mark.parametrize("name", ["set", "built-in"])
def test_a_relative_folder_is_opened_again_from_anywhere(tmp_path, monkeypatch, name):
    """Also one that has the name of the built-in data."""
    monkeypatch.chdir(tmp_path)
    save_slices(blobs(20, 16, 16), name)
    opened = open_dataset("tiny", name)
    assert opened.origin == ("tiny", str((tmp_path / name).resolve()))
    monkeypatch.chdir("/")
    again = open_dataset(*opened.origin)
    assert again.fingerprint == opened.fingerprint != datasets.built_in_fingerprint("tiny")


def test_fewer_than_ten_slices_are_refused_unless_allowed(tmp_path):
    save_slices(blobs(9, 16, 16), tmp_path / "set")
    with pytest.raises(DataError, match="holds 9 labelled slices. At least 10 are needed .* 11, w"):
        open_dataset("tiny", tmp_path / "set")
    opened = open_dataset("tiny", tmp_path / "set", min_slices=1)
    assert opened.slices.numbers.tolist() == list(range(1, 10)) and len(opened.test) == 0
    assert opened.test.phases == opened.slices.phases and opened.test.numbers.dtype.kind == "i"


def test_the_meaning_of_labels_is_printed_once(folder, capsys):
    (folder / "dataset.toml").unlink()
    open_dataset("tiny", folder)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"Labels in {folder}:"
    assert [line.split(" (")[0] for line in said[1:4]] == [
        "value 0 -> phase 0", "value 128 -> phase 1", "value 255 -> phase 2"]
    assert said[4:] == ["The grey levels are uint16 and are used unchanged."]
    open_dataset("tiny", folder)
    open_dataset("tiny")
    assert capsys.readouterr().out == ""


# -- built-in slices -------------------------------------------------------------------------------


def test_built_in_slices_are_generated_once_and_complete(home, monkeypatch):
    first = open_dataset("tiny")
    assert (len(first.slices), len(first.test)) == (48, 8) and first.slices.shape == (128, 128)
    assert first.origin == ("tiny", "") and first.slices.phases == NI_YSZ
    assert first.slices.voxel_nm == first.test.voxel_nm == (18.4, 18.4, 18.4)
    place = home / "data/built-in"
    folders = sorted(path.name for path in place.iterdir())
    assert folders == ["v2-48x128-seed0", "v2-8x128-seed1"]
    truth = [classes_from_values(read_slice(path, np.uint8), path, NI_YSZ)
             for path in list_tiffs(place / folders[0] / "truth").values()]
    assert 0.5 < np.mean(np.equal(truth, first.slices.labels)) < 1  # perfect beside imperfect ones
    monkeypatch.setattr(synthetic, "generate_chunks", None)  # a second call generates nothing
    assert open_dataset("tiny").slices.fingerprint() == first.slices.fingerprint()
    for kind in ("data", "labels", "truth"):
        lost = place / folders[0] / kind / "slice_0007.tif"
        content = lost.read_bytes()
        lost.unlink()
        with pytest.raises(DataError, match=f"{folders[0]} is damaged .*{kind}.*Delete this folde"):
            open_dataset("tiny")
        lost.write_bytes(content)


def test_built_in_slices_never_change():
    """The pixels of version 2; another VERSION is needed for others."""
    assert datasets.VERSION == 2
    assert open_dataset("tiny").slices.fingerprint() == "1a8ba9bfa189459d"
    assert open_dataset("tiny").test.fingerprint() == "d9d4db4c7b958659"


def test_built_in_slices_of_older_versions_have_no_dataset_file(home):
    first, folder = open_dataset("tiny"), datasets.built_in_folder(48, 128, datasets.SEED)
    given = load_slices(folder)  # as a reader's folder, by its dataset.toml
    assert given.phases == NI_YSZ and given.voxel_nm == first.slices.voxel_nm
    assert given.fingerprint() == first.slices.fingerprint()
    for name in ("dataset.toml", "checksum.txt"):
        (folder / name).unlink()
    again = open_dataset("tiny").slices
    assert again.fingerprint() == first.slices.fingerprint() and again.phases == NI_YSZ
    assert not (folder / "dataset.toml").exists() and (folder / "checksum.txt").exists()


@pytest.mark.parametrize(("kind", "change"), [
    ("data", lambda array: np.random.default_rng(0).integers(0, 65536, array.shape, np.uint16)),
    ("labels", np.zeros_like), ("truth", np.zeros_like)])
def test_built_in_slices_that_were_changed_are_refused(home, kind, change):
    path = datasets.built_in_folder(8, 128, datasets.TEST_SEED) / kind / "slice_1003.tif"
    datasets.built_in(8, 128, datasets.TEST_SEED)
    tifffile.imwrite(path, change(tifffile.imread(path)))
    with pytest.raises(DataError, match="is damaged .its pixels are not those .* Delete this"):
        datasets.built_in(8, 128, datasets.TEST_SEED)


def test_built_in_slices_that_break_off_leave_nothing_behind(home, monkeypatch):
    def broken(*_):
        raise OSError("no space left")
        yield

    monkeypatch.setattr(synthetic, "generate_chunks", broken)
    with pytest.raises(OSError, match="no space left"):
        datasets.built_in(4, 16, 0)
    assert not (home / "data").exists()


def test_the_name_of_a_data_set_is_for_people(folder):
    assert open_dataset("tiny", folder).name == str(folder)
    assert Path(open_dataset("tiny", folder).origin[1]).is_absolute()
    assert open_dataset("tiny").name == datasets.BUILT_IN


def test_built_in_slices_are_generated_without_a_progress_bar_too(home):
    """Numbers were taken from the bar, which stands still if TQDM_DISABLE is set."""
    code = "from xraylib.datasets import open_dataset; open_dataset('tiny')"
    environment = os.environ | {"TQDM_DISABLE": "1"}  # read when tqdm is imported
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    for folder, first, n in (("v2-48x128-seed0", 1, 48), ("v2-8x128-seed1", 1001, 8)):
        numbers = list(list_tiffs(home / "data/built-in" / folder / "data"))
        assert numbers == list(range(first, first + n))
