"""What each experiment trains and validates on."""

import inspect

import numpy as np
import pytest
from conftest import blobs

from xraylib.experiments import EXPERIMENTS, experiment
from xraylib.runs.profiles import RECIPES, configure
from xraylib.slices.labelled import join
from xraylib.slices.tiff import DataError


def draw(name, n=60, **parameters):
    return configure(name, parameters).draw(blobs(n, 16, 16))


def test_counts_shrink_in_proportion_and_say_so():
    drawn = draw("01_baseline", profile="laptop")
    assert (len(drawn.train), len(drawn.val)) == (48, 12)
    assert drawn.note == ("Asked for are 400 + 100 slices, 60 are here. 48 slices train and 12 validate, of 60; "
                          "random split.")
    assert draw("01_baseline", profile="laptop", n_train=40, n_val=20).note.startswith("40 slices train")


def test_counts_that_were_asked_for_do_not_shrink():
    with pytest.raises(DataError, match="there are 60 slices"):
        draw("01_baseline", profile="laptop", n_train=50, n_val=20)
    drawn = draw("01_baseline", profile="laptop", n_train=50)
    assert (len(drawn.train), len(drawn.val)) == (50, 10)


def test_the_note_names_a_part_of_a_slice_and_the_gap_of_a_block_split():
    assert draw("04_size_sweep", profile="laptop", n_train=0.25, n_val=20).note == (
        "0.25 of a slice trains and 20 validate, of 60; random split. No pore and no YSZ is in the training set: what "
        "it lacks cannot be learned.")
    assert draw("01_baseline", profile="laptop", n_train=45, n_val=15, split="block").note.startswith(
        "Asked for are 45 + 15 slices, 60 are here, less a gap. 43 slices train")


def test_experiment_2_gives_a_fifth_a_noisy_copy_before_the_split():
    drawn = draw("02_noisy_train", profile="tiny", n_train=54, n_val=18)
    both = join(drawn.train, drawn.val)
    assert (both.noise_std > 0).sum() == 12 and len(both) == 72
    copied = both.numbers[both.noise_std > 0]
    assert len(set(copied)) == 12 and set(copied) <= set(both.numbers[both.noise_std == 0])


def test_experiment_2_by_block_keeps_copies_on_the_side_of_their_original():
    drawn = draw("02_noisy_train", profile="tiny", split="block")
    assert not set(drawn.train.numbers) & set(drawn.val.numbers)
    assert drawn.note == "27 slices train and 9 validate, of 72; block split."


def test_experiment_3_validates_on_pairs_that_differ_by_the_noise_alone():
    drawn = draw("03_noisy_val", profile="tiny", noise_std=3000)
    clean, noisy = drawn.val[:6], drawn.val[6:]
    assert np.array_equal(clean.numbers, noisy.numbers)
    assert all(one is other for one, other in zip(clean.labels, noisy.labels, strict=True))
    assert (noisy.noise_std == 3000).all() and not drawn.train.noise_std.any()
    assert not set(drawn.train.numbers) & set(clean.numbers)


def test_experiment_7_is_the_baseline_with_noise_on_every_slice():
    drawn = draw("07_noisy_only", profile="tiny", noise_std=3000, seed=2)
    baseline = draw("01_baseline", profile="tiny", seed=2)
    for noisy, clean in ((drawn.train, baseline.train), (drawn.val, baseline.val)):
        assert np.array_equal(noisy.numbers, clean.numbers) and len(noisy) in (24, 8)
        assert (noisy.noise_std == 3000).all() and np.array_equal(noisy.labels, clean.labels)
        added = np.subtract(noisy.images, clean.images, dtype=float)
        assert added.std((1, 2)) == pytest.approx(3000, rel=0.2) and added.std() == pytest.approx(3000, rel=0.03)


def test_experiment_5_trains_on_one_of_the_slices_that_the_baseline_trains_on():
    drawn, baseline = (draw(name, profile="tiny", seed=2) for name in ("05_single_image", "01_baseline"))
    assert len(drawn.train) == 1 and drawn.train.numbers[0] in baseline.train.numbers
    assert np.array_equal(drawn.val.numbers, baseline.val.numbers)
    assert not drawn.train.noise_std.any() and not drawn.val.noise_std.any()


def test_experiment_6_has_the_sets_of_the_baseline():
    for part, same in zip(draw("06_small_crops", profile="tiny", seed=2)[:2],
                          draw("01_baseline", profile="tiny", seed=2)[:2], strict=True):
        assert np.array_equal(part.numbers, same.numbers) and np.array_equal(part.images, same.images)


def test_experiment_9_is_two_blocks_of_neighbours_each_slice_with_noise_of_its_own():
    drawn = draw("09_three_d", profile="tiny", noise_std=3000, dims=3)
    assert np.array_equal(drawn.train.numbers, np.arange(19, 51)) and np.array_equal(drawn.val.numbers, range(53, 61))
    added = np.subtract(drawn.val.images, blobs(60, 16, 16).images[52:], dtype=float)
    assert added.std() == pytest.approx(3000, rel=0.05)
    assert abs(np.corrcoef(added[0].ravel(), added[1].ravel())[0, 1]) < 0.25    # 256 pixels: chance is 0.06
    clean = draw("09_three_d", profile="tiny", noise_std=0, context=1)
    assert not clean.train.noise_std.any() and np.array_equal(clean.val.images, blobs(60, 16, 16).images[52:])


@pytest.mark.parametrize("how", [{"dims": 3}, {"context": 1}])
@pytest.mark.parametrize(("name", "split"), [("09_three_d", "random"), ("01_baseline", "random"),
                                             ("02_noisy_train", "block"), ("03_noisy_val", "block")])
def test_what_is_no_run_of_neighbours_is_refused_for_networks_that_see_them(how, name, split):
    with pytest.raises(DataError, match="set split to \"block\", in an experiment without copies"):
        draw(name, profile="tiny", crop=8, split=split, **how)
    draw(name, profile="tiny", split=split)                                          # a network of slices does not mind
    draw("01_baseline", profile="tiny", split="block", **how)


def test_fresh_noise_trains_on_clean_slices_and_validates_on_the_noisy_ones_of_experiment_7():
    fresh, fixed, clean = (draw(name, profile="tiny", seed=2, noise_std=3000)
                           for name in ("07_fresh_noise", "07_noisy_only", "01_baseline"))
    assert np.array_equal(fresh.train.images, clean.train.images) and not fresh.train.noise_std.any()
    assert np.array_equal(fresh.val.images, fixed.val.images) and (fresh.val.noise_std == 3000).all()
    for profile in RECIPES:
        assert configure("07_fresh_noise", profile=profile).recipe.transforms == ("noise",)


def test_noise_that_an_experiment_asks_for_is_declared():
    """Without the fact it would be given noise of 0; one slice trains without noise, and is tested with it."""
    asked = {name for name, facts in EXPERIMENTS.items() if "noise_std" in inspect.signature(facts.draw).parameters}
    assert {name for name, facts in EXPERIMENTS.items() if facts.noisy} == asked | {"05_single_image"}
    for name, facts in EXPERIMENTS.items():
        assert configure(name, noise_std=3000).noise_std == (3000 if facts.noisy else 0)


def test_noisy_copies_are_the_only_new_pixels():
    slices = blobs(60, 16, 16)
    for name in EXPERIMENTS:
        drawn = configure(name, profile="tiny").draw(slices)
        both = join(drawn.train, drawn.val)
        old = {id(array) for array in (*slices.images, *slices.labels)}
        assert all(id(label) in old for label in both.labels)
        assert all((id(image) in old) == (std == 0) for image, std in zip(both.images, both.noise_std, strict=True))


def test_an_experiment_is_one_function_that_fits_on_a_page_with_its_facts():
    for name, facts in EXPERIMENTS.items():
        source = inspect.getsource(facts.draw)
        assert source.startswith(f'@experiment("{name}"') and len(source.splitlines()) <= 12
        assert facts.poster in source and str(facts.counts) in source


def test_a_new_experiment_is_one_function(monkeypatch):
    monkeypatch.setitem(EXPERIMENTS, "99_swapped", None)         # so that it is gone after this test

    @experiment("99_swapped", counts=(40, 20), tiny=(3, 2), poster="none", poster_sets="none")
    def swapped(slices, split, seed):
        train, val = split(slices)
        return (val, train) if seed == 1 else (train, val)

    assert len(draw("99_swapped", profile="laptop").train) == 40
    assert len(draw("99_swapped", profile="laptop", seed=1).train) == 20
    assert configure("99_swapped", noise_std=3000).noise_std == 0     # it has no use for noise
