"""Run folders: what they hold, how they are read, resumed and found damaged."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import blobs

from xraylib import runs
from xraylib.data import save_slices
from xraylib.datasets import BUILT_IN, open_dataset
from xraylib.errors import RunError
from xraylib.experiments import EXPERIMENTS
from xraylib.metrics import evaluate
from xraylib.params import configure
from xraylib.runs import config_of, folder_of, load_run, run_experiment
from xraylib.tables import complete_runs, summary
from xraylib.training import TRANSFORMS


@pytest.fixture
def dataset(folder):
    return open_dataset("tiny", folder)


CONFIG = configure("01_baseline", profile="tiny", steps=4)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A complete run in a home of its own."""
    place = tmp_path_factory.mktemp("trained")
    save_slices(blobs(20, 24, 24), place / "set")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XRAYLIB_HOME", str(place))
        return run_experiment(CONFIG, open_dataset("tiny", place / "set"))


def test_a_run_folder_holds_all_that_was_promised(dataset):
    run = run_experiment(CONFIG, dataset)
    names = {path.name for path in run.folder.iterdir()}
    assert names == {"config.json", "history.csv", "model.safetensors", "epochs", "figures",
                     "result.json"}
    assert run.folder == folder_of(CONFIG, dataset.fingerprint)
    assert run.place == f"runs/01_baseline/{run.config['digest']}"
    assert run.config["recipe"]["width"] == 8 and run.config["torch"]
    assert run.config["note"] == CONFIG.draw(dataset.slices).note
    assert run.phases == dataset.slices.phases == run.model().phases
    assert [row["step"] for row in run.history] == [1, 3, 4]
    assert {name: len(scores.numbers) for name, scores in run.scores.items()} == {
        "val": 8, "test": 4}
    kept = run.snapshots()
    assert list(kept) == [1, 3, 4] and kept[3]().width == 8


def test_a_run_on_a_share_of_a_slice_with_every_transform_is_read_as_it_was_made(dataset):
    """A quarter of 48 x 40 px is 24 x 20, smaller than a crop of 32."""
    config = configure("01_baseline", profile="tiny", steps=4, slice_share=0.25, noise_std=700,
                       transforms=list(TRANSFORMS), split_seed=2)
    run = run_experiment(config, dataset)
    assert config_of(run) == config and run.folder.name == config.digest(dataset.fingerprint)
    assert run.config["recipe"]["transforms"] == list(TRANSFORMS)
    assert run.config["recipe"]["noise_std_max"] == 700
    assert run.config["note"].startswith("0.25 of a slice trains") and len(run.history) == 3


def test_a_run_without_padding_is_read_as_it_was_made(dataset):
    config = configure("06_small_crops", profile="tiny", steps=4, padding="valid")
    run = run_experiment(config, dataset)
    assert config_of(run) == config
    assert run.config["recipe"]["padding"] == run.model().padding == "valid"
    again = evaluate(run.model(), dataset.test.subsample(20))
    assert np.array_equal(again.confusion, run.scores["test"].confusion)


def test_a_run_with_noise_is_tested_on_noisy_copies_too(dataset):
    config = configure("03_noisy_val", profile="tiny", steps=4, noise_std=3000)
    run = run_experiment(config, dataset)
    assert len(run.scores["val"].numbers) == 12
    assert set(run.history[0]) >= {"dice_clean", "dice_noisy"}
    assert (run.scores["test_noisy"].noise_std == 3000).all()


def test_a_run_without_a_test_set_is_scored_on_what_it_leaves_out(tmp_path):
    save_slices(blobs(3, 24, 24), tmp_path / "few")
    dataset = open_dataset("tiny", tmp_path / "few", min_slices=1)
    configs = [configure("11_your_material", profile="tiny", steps=2, fold=n) for n in (0, 2)]
    everything, fold = (run_experiment(config, dataset) for config in configs)
    assert set(everything.scores) == set(fold.scores) == {"val"}
    assert everything.scores["val"].numbers.tolist() == [1, 2, 3]
    assert fold.scores["val"].numbers.tolist() == [2] and everything.folder != fold.folder
    assert config_of(load_run(fold.folder)) == configs[1]
    table = summary(complete_runs())
    assert "Part 2 of the labels is left out and scored." in table and table.count("\n") == 3


def test_a_run_that_has_lost_the_scores_of_its_test_set_is_damaged(trained, tmp_path):
    folder = copy_of(trained, tmp_path)
    edit(folder / "result.json", lambda content: {"val": content["val"]})
    with pytest.raises(RunError, match="result.json is damaged .it lacks val or test"):
        load_run(folder)


@pytest.mark.parametrize(("experiment", "n_val", "evaluations"),
                         [("04_size_sweep", None, 1), ("01_baseline", 3, 2)])
def test_no_slice_is_scored_twice_by_the_same_weights(dataset, monkeypatch, experiment, n_val,
                                                      evaluations):
    """If training looked at every slice to be scored, the scores of the best weights are known."""
    seen = []
    monkeypatch.setattr(
        runs, "evaluate", lambda model, slices: seen.append(slices) or evaluate(model, slices))
    config = configure(experiment, profile="tiny", steps=4, n_val=n_val)
    config = replace(config, recipe=replace(config.recipe, evaluations=evaluations, eval_slices=0))
    run = run_experiment(config, dataset)
    assert [part.numbers.tolist() for part in seen] == [dataset.test.numbers.tolist()]
    again = evaluate(run.model(), config.draw(dataset.slices).val)
    assert np.array_equal(again.confusion, run.scores["val"].confusion)


def test_a_sweep_over_sizes_is_scored_on_slices_spread_over_its_sets(folder):
    save_slices(blobs(300, 16, 16), folder)
    config = configure("04_size_sweep", profile="tiny", steps=2, n_val=80)
    run = run_experiment(config, open_dataset("tiny", folder))
    assert len(run.scores["val"].numbers) == len(run.scores["test"].numbers) == 20
    assert np.ptp(run.scores["test"].numbers) > 25


def test_a_complete_run_is_not_repeated(dataset, monkeypatch):
    first = run_experiment(CONFIG, dataset)
    monkeypatch.setattr(runs, "train_with_checkpoints", None)
    again = run_experiment(CONFIG, dataset)
    assert again.history == first.history
    assert np.array_equal(again.scores["val"].confusion, first.scores["val"].confusion)


# -- the data of a run -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["set", BUILT_IN])
def test_a_run_records_its_data_so_that_they_are_found_from_any_folder(tmp_path, monkeypatch, name):
    """Defects: data_dir was stored as typed; a folder called built-in meant the built-in data."""
    save_slices(blobs(20, 24, 24), tmp_path / name)
    monkeypatch.chdir(tmp_path)
    run = run_experiment(configure("01_baseline", profile="tiny", steps=1),
                         open_dataset("tiny", name))
    assert run.config["data"] == str(tmp_path / name)
    monkeypatch.chdir("/")
    assert open_dataset("tiny", run.config["data"]).fingerprint == run.config["fingerprint"]


# -- killed runs -----------------------------------------------------------------------------------


KILLED = """
import sys
from xraylib.datasets import open_dataset
from xraylib.params import configure
from xraylib.runs import run_experiment
config = configure("01_baseline", profile="tiny", steps=90)
run_experiment(config, open_dataset("tiny", sys.argv[1]))
"""


def test_a_run_killed_by_the_system_resumes_and_leaves_no_half_file(folder, home, dataset):
    """SIGKILL after the first checkpoint; the resumed run equals an undisturbed one."""
    config = configure("01_baseline", profile="tiny", steps=90)
    where = folder_of(config, dataset.fingerprint)
    process = subprocess.Popen([sys.executable, "-c", KILLED, folder], stderr=subprocess.DEVNULL,
                               env=os.environ | {"XRAYLIB_HOME": str(home)})
    while not (where / "last.pt").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert not (where / "result.json").exists()
    (where / "epochs/.0123456789abcdef.xraylib-tmp").write_bytes(b"half")   # as if killed in it
    resumed = run_experiment(config, dataset)
    assert not list(where.rglob("*.xraylib-tmp"))
    where.rename(where.with_name("resumed"))
    whole = run_experiment(config, dataset)
    assert np.array_equal(resumed.scores["val"].confusion, whole.scores["val"].confusion)
    assert [row["dice"] for row in resumed.history] == [row["dice"] for row in whole.history]


def test_an_interrupted_run_keeps_its_number_of_threads(dataset, monkeypatch):
    config, asked = configure("01_baseline", profile="tiny", steps=90), []
    where = folder_of(config, dataset.fingerprint)

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "train_with_checkpoints", interrupt)
    monkeypatch.setattr(runs, "set_threads", asked.append)
    for threads, kept in ((7, 7), (-1, 0), ("x", 0), (None, 0)):
        with pytest.raises(KeyboardInterrupt):
            run_experiment(config, dataset)
        edit(where / "config.json", lambda content, threads=threads: content | {"threads": threads})
        with pytest.raises(KeyboardInterrupt):
            run_experiment(config, dataset)
        assert asked[-1] == kept
    assert asked[0] == 0
    assert json.loads((where / "config.json").read_text())["threads"] == torch.get_num_threads()


# -- damaged runs ----------------------------------------------------------------------------------


def copy_of(run, folder):
    """The folder of a run under its own name."""
    return shutil.copytree(run.folder, folder / run.folder.name)


def edit(path, change):
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


@pytest.mark.parametrize(("name", "values"), [
    ("note", (None, 3, [])), ("data", (None, 3, {})), ("profile", (None, 3, [], "huge")),
    ("experiment", (None, 3, [], "05")), ("seed", ("x", None, 1.5, [])), ("fingerprint", (3, None)),
    ("recipe", (3, None, [], {})), ("phases", (3, None, {}, {"names": 3})), ("digest", (3, "0")),
    ("split", (3,)), ("n_train", ("x",)), ("noise_std", ("x", None))])
def test_an_edited_configuration_is_one_clear_error(trained, tmp_path, name, values):
    for number, value in enumerate(values):
        folder = copy_of(trained, tmp_path / str(number))
        edit(folder / "config.json", lambda content, value=value: content | {name: value})
        with pytest.raises(RunError, match=r"config\.json is damaged \(.*\)\. Delete .* and run "
                                           "its notebook again"):
            load_run(folder)


@pytest.mark.parametrize("value", [
    None, 3, "x", [], {}, {"val": 3, "test": 3}, {"val": {}, "test": {}}])
def test_a_result_of_another_type_is_one_clear_error(trained, tmp_path, value):
    folder = copy_of(trained, tmp_path)
    edit(folder / "result.json", lambda content: value)
    with pytest.raises(RunError, match=r"result\.json is damaged \(.*\)\. Delete .* and run its"):
        load_run(folder)


@pytest.mark.parametrize("change", [
    {"numbers": ["a"]}, {"noise_std": ["a"]}, {"noise_std": 3}, {"confusion": [[[0.5] * 3] * 3]},
    {"confusion": [[[-1] * 3] * 3], "numbers": [1], "noise_std": [0]}, {"more": 1},
    {"confusion": [[[1] * 4] * 4], "numbers": [1], "noise_std": [0]}])
def test_impossible_scores_are_one_clear_error(trained, tmp_path, change):
    folder = copy_of(trained, tmp_path)
    edit(folder / "result.json", lambda content: content | {"val": content["val"] | change})
    with pytest.raises(RunError, match=r"result\.json is damaged"):
        load_run(folder)


def test_an_edited_configuration_is_found_in_a_renamed_folder_too(trained, tmp_path):
    folder = copy_of(trained, tmp_path).rename(tmp_path / "mine")
    assert config_of(load_run(folder)) == CONFIG             # renaming alone is no damage
    edit(folder / "config.json", lambda content: content | {"seed": 7})
    with pytest.raises(RunError, match="it was changed: it describes the run [0-9a-f]{12}, not"):
        load_run(folder)
    folder = copy_of(trained, tmp_path).rename(tmp_path / "0123456789ab")     # of another run
    with pytest.raises(RunError, match=f"it is the config.json of the run {trained.folder.name}"):
        load_run(folder)


def test_a_run_of_an_experiment_that_is_gone_says_so(trained, monkeypatch):
    monkeypatch.delitem(EXPERIMENTS, "01_baseline")
    with pytest.raises(RunError, match="experiment is '01_baseline'; it must be one of"):
        load_run(trained.folder)


def test_foreign_files_among_the_snapshots_are_left_alone(trained, tmp_path):
    """Defect: a copy made by a file manager ended a panel in a ValueError."""
    folder = copy_of(trained, tmp_path)
    for name in ("000001 (copy)", "000777"):
        shutil.copy(folder / "epochs/000001.safetensors", folder / f"epochs/{name}.safetensors")
    assert list(load_run(folder).snapshots()) == [1, 3, 4]


def test_missing_files_are_reported(trained, tmp_path):
    with pytest.raises(RunError, match=r"holds no complete run \(no result\.json\)"):
        load_run(tmp_path)
    folder = copy_of(trained, tmp_path)
    (folder / "model.safetensors").unlink()
    with pytest.raises(RunError, match=r"holds no weights \(model\.safetensors\)\. Delete"):
        load_run(folder).model()
    (folder / "history.csv").unlink()
    with pytest.raises(RunError, match=r"history\.csv is damaged \(.*No such file.*\)\. Delete"):
        load_run(folder)
