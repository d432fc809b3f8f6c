"""Training on the reader's own slices: cross-validation, recipes, names and the commands."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from conftest import blobs

from xraylib.__main__ import make_parser
from xraylib.data import save_slices
from xraylib.datasets import load_folders, make_dataset, open_dataset
from xraylib.errors import DataError, ParameterError, RunError, WeightsError
from xraylib.inference import load_weights
from xraylib.losses import IGNORE
from xraylib.outlook import own_material
from xraylib.outlook.example_material import ELECTRODE, write_example
from xraylib.outlook.own_material import (
    config_for,
    cross_validate,
    leave_out,
    name_network,
    parts_of,
    train_final,
)
from xraylib.params import configure
from xraylib.published import network_file
from xraylib.tables import complete_runs, summary

TINY = {"profile": "tiny"}
QUICK = TINY | {"steps": 3, "width": 4}


def patches(n, side=24):
    """Slices of which one patch each is labelled."""
    slices = blobs(n, 48, 40)
    labels = [np.full_like(label, IGNORE) for label in slices.labels]
    for patch, label in zip(labels, slices.labels, strict=True):
        patch[4:4 + side, 6:6 + side] = label[4:4 + side, 6:6 + side]
    return replace(slices, labels=labels)


def call(*words):
    arguments = make_parser().parse_args([*map(str, words)])
    arguments.call(arguments)


@pytest.mark.parametrize(("n", "folds"), [(1, 4), (2, 2), (5, 5), (9, 5)])
def test_every_labelled_pixel_is_left_out_once(n, folds):
    slices = patches(n)
    parts = parts_of(slices)
    assert len(parts) == folds
    times = [sum(np.asarray(part[index], int) for part in parts) for index in range(n)]
    for label, count in zip(slices.labels, times, strict=True):
        assert (count[label != IGNORE] == 1).all()


@pytest.mark.parametrize("n", [1, 3])
def test_no_pixel_of_the_part_left_out_is_trained_on(n):
    slices = patches(n)
    for fold in range(1, len(parts_of(slices)) + 1):
        train, val = leave_out(slices, fold)
        trained = {number: label != IGNORE
                   for number, label in zip(train.numbers, train.labels, strict=True)}
        scored = {number: label != IGNORE
                  for number, label in zip(val.numbers, val.labels, strict=True)}
        assert scored and trained
        for number, label in zip(slices.numbers, slices.labels, strict=True):
            nothing = np.zeros(label.shape, bool)
            one, other = trained.get(number, nothing), scored.get(number, nothing)
            assert not (one & other).any() and np.array_equal(one | other, label != IGNORE)


def test_neighbours_are_left_out_together():
    slices = blobs(10, 16, 16)[[7, 0, 3, 9, 2, 5, 1, 8]]
    groups = [leave_out(slices, fold)[1].numbers.tolist() for fold in range(1, 6)]
    assert [sorted(group) for group in groups] == [[1, 2], [3, 4], [6, 8], [9], [10]]


def test_impossible_parts_are_refused():
    slices = patches(1, side=1)
    with pytest.raises(DataError, match="Only one pixel is labelled. Label a patch"):
        parts_of(slices)
    config = configure(own_material.EXPERIMENT, TINY, fold=4)
    with pytest.raises(ParameterError, match=r"fold is 4, but .* 3 parts; it must be 0 .* to 3"):
        config.draw(patches(3))
    assert configure("01_baseline", TINY, fold=4).fold is None     # which has no folds


def test_a_run_says_in_its_note_what_it_was_scored_on():
    few = patches(3)
    notes = [config_for(make_dataset(few, "few", ("tiny", "few")), TINY, fold).draw(few).note
             for fold in (0, 2)]
    assert notes == ["All 3 slices train. The score is that of the training set.",
                     "Part 2 of the labels is left out and scored."]


def test_few_slices_take_the_recipe_for_few_labels_and_the_last_weights():
    few, many = (make_dataset(patches(n), "mine", ("tiny", "mine")) for n in (4, 5))
    assert config_for(few, {"profile": "laptop"}, 0).recipe.transforms == own_material.GEOMETRIC
    assert config_for(few, {"profile": "laptop"}, 0).recipe.steps == 1500
    assert config_for(few, {"profile": "laptop", "steps": 7}, 0).recipe.steps == 7
    assert config_for(many, {"profile": "laptop"}, 0).recipe.transforms == ()
    assert config_for(many, {"profile": "laptop", "evaluations": 3}, 1).recipe.evaluations == 1
    assert config_for(many, {"profile": "laptop"}, None).recipe.evaluations == 10
    assert config_for(few, {"profile": "paper"}, 0).recipe.steps == 21_000
    assert config_for(few, TINY, 0).recipe.steps == 30


def test_cross_validation_scores_all_labels_and_the_final_run_has_seen_them():
    dataset = make_dataset(patches(2), "mine", ("tiny", "mine"))
    checked = cross_validate(dataset, QUICK)
    assert checked.scores.confusion.sum() == 2 * 24 * 24
    assert checked.sentence == (
        "Cross-validation in 2 parts: each part was scored by a network that was trained without "
        "it. Neighbouring slices are near-copies. Some stand in different parts, so the score is "
        "too high.")
    assert checked.table().count("\n") == 4
    known = [dice for run in checked.runs for dice in run.scores["val"].dice]
    assert np.allclose(checked.scores.class_dice, np.nanmean(known, 0))
    one, guess = checked.worst()
    assert len(one) == 1 and guess.shape == one.shape
    final = train_final(dataset, QUICK)
    assert set(final.scores) == {"val"} and len(final.scores["val"].numbers) == 2
    assert "11_your_material" in summary(complete_runs())


def test_ten_slices_have_a_test_set(folder):
    dataset = open_dataset("tiny", folder)
    checked = cross_validate(dataset, QUICK)
    assert "4 test slices had no say" in checked.sentence and "test set" in checked.table()
    assert len(checked.runs) == 1 and checked.worst()[1].shape == (48, 40)
    assert train_final(dataset, QUICK).folder == checked.runs[0].folder


def test_a_phase_that_only_one_part_shows_is_reported():
    slices = patches(6)[[0, 2, 5]]
    slices.labels[1][slices.labels[1] == 2] = slices.labels[2][slices.labels[2] == 2] = 1
    sentence = cross_validate(make_dataset(slices, "mine", ("tiny", "mine")), QUICK).sentence
    assert sentence.endswith("trained without it. Without part 1, no label shows nickel, so the "
                             "network could not learn it.")
    one = make_dataset(patches(1), "one", ("tiny", "one"))
    assert "4 parts" in cross_validate(one, QUICK).sentence
    assert "They touch, so the score is a little too high." in cross_validate(one, QUICK).sentence


def test_slices_that_are_added_to_a_set_are_trained_on(tmp_path):
    """The end of a set is its test set, but corrected slices are made to be trained on."""
    save_slices(blobs(12, 48, 40), tmp_path / "set")
    save_slices(blobs(3, 48, 40, seed=5), tmp_path / "corrected")
    slices = load_folders([tmp_path / "set", tmp_path / "corrected"])
    dataset = make_dataset(slices, "both", ("tiny", "both"))
    train = config_for(dataset, TINY, None).draw(dataset.slices).train
    assert train.numbers[:3].tolist() == [1, 2, 3]
    assert np.array_equal(train.images[:3], blobs(3, 48, 40, seed=5).images)


@pytest.mark.parametrize("name", ["", "a b", "../a", "-a", "a" * 65, "é", "noise-robust"])
def test_impossible_names_are_refused(name):
    with pytest.raises(ParameterError, match="--name is"):
        own_material.check_name(name)


def test_a_name_belongs_to_one_network(home):
    dataset = make_dataset(patches(2), "mine", ("tiny", "mine"))
    final = train_final(dataset, QUICK)
    path = name_network(final, "mine")
    assert network_file("mine") == path == name_network(final, "mine")
    own_material.check_name_is_free("mine", dataset, QUICK)
    path.write_bytes(b"another")
    for parameters in (QUICK, QUICK | {"steps": 4}):                # trained already, and not yet
        with pytest.raises(RunError, match="mine.safetensors is another network. Choose another "
                                           "--name, or remove that file"):
            own_material.check_name_is_free("mine", dataset, parameters)
    with pytest.raises(RunError, match="is another network"):
        name_network(final, "mine")
    assert path.read_bytes() == b"another"


def test_networks_of_the_reader_are_listed_and_found(capsys):
    final = train_final(make_dataset(patches(2), "mine", ("tiny", "mine")), QUICK)
    name_network(final, "my-net_2")
    call("networks")
    assert "my-net_2         Yours. Phases: pore, YSZ, nickel." in capsys.readouterr().out
    with pytest.raises(WeightsError, match="The names are my-net_2, baseline, "):
        network_file("my-net")


@pytest.mark.parametrize(("given", "words"), [
    ("steps", "-p steps has no value. Write -p steps=3000"), ("steps=1,2", "give one value"),
    ("steps=1 -p steps=2", "-p steps is given twice"),
    ("data_dir=there", "train does not use data_dir"), ("fold=1", "train does not use fold"),
    ("stepz=3", "unknown parameter 'stepz'")])
def test_parameters_that_train_cannot_use(tmp_path, given, words):
    with pytest.raises(ParameterError, match=words):
        call("train", tmp_path, "--name", "mine", "-p", *given.split())


def test_from_a_folder_to_numbers_on_the_command_line(tmp_path, capsys):
    folder, out = tmp_path / "electrode", tmp_path / "out"
    write_example(folder, list(ELECTRODE.values()), (12, 96, 80))
    names = ",".join(f"{value}={name}" for value, name in enumerate(ELECTRODE, 1))
    call("data", "inspect", folder, "--labels", f"0=ignore,{names}")
    assert (folder / "inspection.png").stat().st_size > 10_000
    call("train", folder, "--name", "mine", "-p", "profile=tiny", "-p", "steps=12")
    call("predict", "mine", folder / "images", out, "--stack", "--worst", "2",
         tmp_path / "worst")
    with tifffile.TiffFile(out / "segmentation.tif") as file:
        stack = file.asarray()
        assert file.imagej_metadata["spacing"] == pytest.approx(1.3)
    assert stack.shape == (12, 96, 80) and set(np.unique(stack)) <= {1, 2, 3, 4}
    call("measure", out)
    table = (tmp_path / "out-measured" / "measurements.csv").read_text()
    rows = list(csv.DictReader(table.splitlines()))
    shares = [float(row["value"]) for row in rows if "volume fraction" in row["quantity"]]
    assert len(shares) == 4 and sum(shares) == pytest.approx(1, abs=1e-3)
    assert json.loads((out / "prediction.json").read_text())["voxel_nm"] == pytest.approx(
        [1300, 650, 650], rel=1e-9)
    call("train", folder, tmp_path / "worst", "--name", "better", "-p", "profile=tiny",
         "-p", "steps=12")
    assert load_weights(network_file("better")).phases.names == tuple(ELECTRODE)
    said = capsys.readouterr().out
    assert "Voxels of 1300 x 650 x 650 nm (z, y, x)." in said
    assert "python -m xraylib predict mine VOLUME OUT" in said
    assert "Cross-validation in 2 parts" in said and "Cross-validation in 4 parts" in said
