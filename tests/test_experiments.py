"""What each experiment of the core trains and validates on."""

import inspect

import numpy as np
import pytest
from conftest import blobs

from xraylib.data import concatenate
from xraylib.errors import DataError, ParameterError
from xraylib.experiments import EXPERIMENTS, experiment, get_experiment
from xraylib.params import configure

CORE = ("01_baseline", "02_noisy_train", "03_noisy_val", "04_size_sweep")


def draw(name, n=60, **parameters):
    return configure(name, parameters).draw(blobs(n, 16, 16))


def test_counts_shrink_in_proportion_and_the_note_says_so():
    drawn = draw("01_baseline", profile="laptop")
    assert (len(drawn.train), len(drawn.val)) == (48, 12)
    assert drawn.note == (
        "The experiment asks for 400 + 100 slices, but there are 60. 48 slices train and 12 "
        "validate, of 60; random split.")
    note = draw("01_baseline", profile="laptop", n_train=40, n_val=20).note
    assert note.startswith("40 slices train")


def test_counts_that_the_reader_chose_do_not_shrink():
    with pytest.raises(DataError, match="there are 60 slices"):
        draw("01_baseline", profile="laptop", n_train=50, n_val=20)
    drawn = draw("01_baseline", profile="laptop", n_train=50)
    assert (len(drawn.train), len(drawn.val)) == (50, 10)


def test_the_note_names_a_share_of_a_slice_and_the_gap_of_a_block_split():
    note = draw("04_size_sweep", profile="laptop", slice_share=0.25, n_val=20).note
    sentence, _, absent = note.partition(" The training set contains ")
    assert sentence == "0.25 of a slice trains and 20 validate, of 60; random split."
    assert absent.endswith(", so the network cannot learn it.") and absent.startswith("no ")
    note = draw("01_baseline", profile="laptop", n_train=45, n_val=15, split="block").note
    assert note.startswith("The experiment asks for 45 + 15 slices, but there are 60 and a gap is "
                           "left out. 43 slices train")


def test_a_share_of_a_slice_is_a_window_of_the_one_training_slice():
    whole = draw("01_baseline", profile="tiny", n_train=1, n_val=8)
    part = draw("01_baseline", profile="tiny", slice_share=0.25, n_val=8)
    assert np.array_equal(part.train.numbers, whole.train.numbers)
    assert np.array_equal(part.val.numbers, whole.val.numbers)
    assert part.train.shape == (8, 8) and part.val.shape == (16, 16)


def test_experiment_2_gives_a_fifth_a_noisy_copy_before_the_split():
    drawn = draw("02_noisy_train", profile="tiny", n_train=54, n_val=18)
    both = concatenate(drawn.train, drawn.val)
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


def test_noise_that_an_experiment_asks_for_is_declared():
    """Without the fact it would be given noise of 0."""
    for name in CORE:
        facts = EXPERIMENTS[name]
        assert facts.noisy == ("noise_std" in inspect.signature(facts.draw).parameters)
        assert configure(name, noise_std=3000).noise_std == (3000 if facts.noisy else 0)


def test_noisy_copies_are_the_only_new_pixels():
    slices = blobs(60, 16, 16)
    old = {id(array) for array in (*slices.images, *slices.labels)}
    for name in EXPERIMENTS:
        drawn = configure(name, profile="tiny").draw(slices)
        both = concatenate(drawn.train, drawn.val)
        assert all(id(label) in old for label in both.labels)
        assert all((id(image) in old) == (std == 0)
                   for image, std in zip(both.images, both.noise_std, strict=True))


def test_an_experiment_is_one_function_that_fits_on_a_page_with_its_facts():
    get_experiment("05_single_image")        # so that the plugin is there
    for name, facts in EXPERIMENTS.items():
        source = inspect.getsource(facts.draw)
        assert source.startswith(f'@experiment("{name}"') and len(source.splitlines()) <= 12
        assert facts.poster in source and str(facts.counts) in source


def test_a_new_experiment_is_one_function(monkeypatch):
    monkeypatch.setitem(EXPERIMENTS, "99_swapped", None)     # so that it is gone after this test

    @experiment("99_swapped", counts=(40, 20), tiny=(3, 2), poster="none", poster_sets="none")
    def swapped(slices, split, seed):
        train, val = split(slices)
        return (val, train) if seed == 1 else (train, val)

    assert len(draw("99_swapped", profile="laptop").train) == 40
    assert len(draw("99_swapped", profile="laptop", seed=1).train) == 20
    assert configure("99_swapped", noise_std=3000).noise_std == 0     # it does not use noise


def test_an_unknown_experiment_is_named_with_the_known_ones():
    with pytest.raises(ParameterError, match="experiment is '05'; it must be one of "
                                             "'01_baseline', .*'09_three_d'"):
        get_experiment("05")
