import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import publish
import pytest
from conftest import blobs

from xraylib.augment import TRANSFORMS
from xraylib.files import shipped
from xraylib.predict.scores import evaluate
from xraylib.runs import folder as runs
from xraylib.runs import noisy
from xraylib.runs.folder import RunError
from xraylib.runs.profiles import configure
from xraylib.slices import labelled
from xraylib.slices.sets import built_in_fingerprint, open_source


@pytest.fixture
def source(folder):
    return open_source("tiny", str(folder))


CONFIG = configure("01_baseline", profile="tiny", steps=4)


def test_a_run_folder_holds_all_that_was_promised(source):
    run = runs.execute(CONFIG, source)
    names = {path.name for path in run.folder.iterdir()}
    assert names == {"config.json", "history.csv", "model.safetensors", "epochs", "figures", "result.json"}
    assert run.folder == runs.folder_of(CONFIG, source.fingerprint)
    assert run.config["recipe"]["width"] == 8 and run.config["torch"]
    assert run.config["note"] == CONFIG.draw(source.slices).note
    assert [row["step"] for row in run.history] == [1, 3, 4]
    assert {name: len(scores.numbers) for name, scores in run.scores.items()} == {"val": 8, "test": 4}


def test_a_run_on_a_part_of_a_slice_with_every_transform_is_read_as_it_was_made(source):
    """64 x 64 px of a slice of 501 x 501 are 0.016 of it; here 24 x 20 of 48 x 40, smaller than a crop of 32."""
    config = configure("01_baseline", profile="tiny", steps=4, n_train=0.25, transforms=list(TRANSFORMS), noise_std=700,
                       split_seed=2)
    run = runs.execute(config, source)
    assert runs.config_of(run) == config and run.folder.name == config.digest(source.fingerprint)
    assert run.config["recipe"]["transforms"] == list(TRANSFORMS) and run.config["recipe"]["noise_max"] == 700
    assert run.config["note"].startswith("0.25 of a slice trains") and len(run.history) == 3


def test_a_run_without_padding_is_read_as_it_was_made(source):
    config = configure("06_small_crops", profile="tiny", steps=4, padding="valid")
    run = runs.execute(config, source)
    assert runs.config_of(run) == config and run.config["recipe"]["padding"] == run.model().padding == "valid"
    again = evaluate(run.model(), source.test.some(20))
    assert np.array_equal(again.confusion, run.scores["test"].confusion)


def test_a_run_with_noise_is_tested_on_noisy_copies_too(folder):
    config = configure("03_noisy_val", profile="tiny", steps=4, noise_std=3000)
    run = runs.execute(config, open_source("tiny", str(folder)))
    assert len(run.scores["val"].numbers) == 12 and set(run.history[0]) >= {"dice_clean", "dice_noisy"}
    assert (run.scores["test_noisy"].noise_std == 3000).all()


@pytest.mark.parametrize(("experiment", "n_val", "evaluations"), [("04_size_sweep", None, 1), ("01_baseline", 3, 2)])
def test_no_slice_is_scored_twice_by_the_same_weights(source, monkeypatch, experiment, n_val, evaluations):
    """Where training looked at every slice to be scored, what it saw of the best weights is the score."""
    seen = []
    monkeypatch.setattr(runs, "evaluate", lambda model, slices: seen.append(slices) or evaluate(model, slices))
    config = configure(experiment, profile="tiny", steps=4, n_val=n_val)
    config = replace(config, recipe=replace(config.recipe, evaluations=evaluations, eval_slices=0))
    run = runs.execute(config, source)
    assert [part.numbers.tolist() for part in seen] == [source.test.numbers.tolist()]
    again = evaluate(run.model(), config.draw(source.slices).val)
    assert np.array_equal(again.confusion, run.scores["val"].confusion)


def test_a_sweep_is_scored_on_some_slices_spread_over_its_sets(folder):
    labelled.save(blobs(300, 16, 16), folder)
    source = open_source("tiny", str(folder))
    run = runs.execute(configure("04_size_sweep", profile="tiny", steps=2, n_val=80), source)
    assert len(run.scores["val"].numbers) == len(run.scores["test"].numbers) == 20
    assert np.ptp(run.scores["test"].numbers) > 25


def test_a_complete_run_is_not_repeated(source, monkeypatch):
    first = runs.execute(CONFIG, source)
    monkeypatch.setattr(runs, "train_in", None)
    again = runs.execute(CONFIG, source)
    assert again.history == first.history
    assert np.array_equal(again.scores["val"].confusion, first.scores["val"].confusion)


def test_a_published_run_is_shown_only_when_asked_for(source, home, monkeypatch):
    run = runs.execute(CONFIG, source)
    monkeypatch.setattr(runs, "shipped", lambda: home / "shipped")
    published = runs.folder_of(CONFIG, source.fingerprint, home / "shipped/published")
    published.parent.mkdir(parents=True)
    run.folder.rename(published)
    assert runs.execute(CONFIG, source, reuse=True).folder == published
    monkeypatch.setattr(runs, "train_in", None)
    with pytest.raises(TypeError):
        runs.execute(CONFIG, source)


KILLED = """
import sys
from xraylib.runs.folder import execute
from xraylib.runs.profiles import configure
from xraylib.slices.sets import open_source
execute(configure("01_baseline", profile="tiny", steps=90), open_source("tiny", sys.argv[1]))
"""


def test_a_run_killed_by_the_system_resumes_and_leaves_no_half_file(folder, home):
    """SIGKILL after the first checkpoint; what comes next ends where an undisturbed run ends."""
    config = configure("01_baseline", profile="tiny", steps=90)
    source = open_source("tiny", str(folder))
    where = runs.folder_of(config, source.fingerprint)
    environment = os.environ | {"XRAYLIB_HOME": str(home)}
    process = subprocess.Popen([sys.executable, "-c", KILLED, folder], env=environment, stderr=subprocess.DEVNULL)
    while not (where / "last.pt").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert not (where / "result.json").exists()
    half = f"000030.safetensors.part{process.pid}@{socket.gethostname()}"
    (where / "epochs" / half).write_bytes(b"half")                             # as if it died while writing this one
    resumed = runs.execute(config, source)
    assert not list(where.rglob("*.part*"))
    where.rename(where.with_name("resumed"))
    whole = runs.execute(config, source)
    assert np.array_equal(resumed.scores["val"].confusion, whole.scores["val"].confusion)
    assert [row["dice"] for row in resumed.history] == [row["dice"] for row in whole.history]


def test_published_runs_are_those_that_the_notebooks_would_make_now():
    """Their folders' names follow from parameters, version of the data and seed: a stale one would not be found."""
    found = {path.parent.name: runs.load(path.parent) for path in (shipped() / "published").glob("*/*/result.json")}
    expected = {config.digest(built_in_fingerprint(config.profile)): config for config in publish.configs()}
    assert set(found) == set(expected)
    assert all((run.config["profile"], run.config["seed"]) == (expected[name].profile, expected[name].seed)
               for name, run in found.items())
    with_weights = {name for name, run in found.items() if (run.folder / "model.safetensors").exists()}
    assert with_weights == {name for name, config in expected.items() if publish.has_weights(config)} | {
        run.folder.name for run in noisy.best_published()}
    assert all(found[name].model().width == found[name].config["recipe"]["width"] for name in with_weights)
    snapshots = {run.config["experiment"] for run in found.values() if (run.folder / "epochs").exists()}
    assert snapshots == {"01_baseline", "03_noisy_val"}
    poster = runs.published("03_noisy_val", **publish.POSTERS)
    assert [run.config["seed"] for run in poster] == [0, 1, 2] and all((run.folder / "batch_norm.json").exists()
                                                                       for run in poster)


def test_every_published_run_has_the_name_that_its_own_config_gives():
    """So that a parameter that comes later and is off renames none of them."""
    folders = [path.parent for path in (shipped() / "published").glob("*/*/config.json")]
    assert len(folders) > 100
    for folder in folders:
        run = runs.load(folder)
        config = runs.config_of(run)
        assert config.digest(run.config["fingerprint"]) == folder.name
        facts = json.loads(json.dumps(config.facts()))              # JSON has no tuples
        assert facts == {name: run.config[name] for name in facts}


def test_published_rows_are_of_the_networks_that_are_published():
    """The table of notebook 10: three seeds of each training, and the network's Dice is that of its own weights."""
    rows = [row for row in runs.published_rows("methods") if row["method"] == "U-Net"]
    assert len(rows) == 18 and {(row["n_train"], row["noise_std"]) for row in rows} == {
        (n, std) for n in (1, 5, 25) for std in (0, 5000)}
    few = [row["dice"][0] for row in rows if row["n_train"] == 5 and row["noise_std"] == 0]
    own = [run.scores["test"].mean for run in runs.published("01_baseline", n_train=5)]
    assert few == pytest.approx(own, abs=0.002)                     # of five slices of the block, and of all
    assert {row["trained on"] for row in runs.published_rows("real")} == {"real", "built-in"}


def test_the_best_noisy_predictor_is_published_and_is_the_best_of_its_table():
    rows = runs.published_rows("noisy")
    assert [row["kind"] for row in rows] == [kind for kind in publish.MATRIX for _ in publish.SEEDS]
    best = noisy.best_published()
    chosen = {row["run"]: row for row in rows if row["kind"] == noisy.best_kind(rows)}
    assert {run.folder.name for run in best} == set(chosen) and {run.config["seed"] for run in best} == {0, 1, 2}
    means = [np.mean(chosen[run.folder.name]["val"]) for run in best]
    assert means == sorted(means, reverse=True)
    for run in best:                                                # of twenty slices of the block, and of all
        assert chosen[run.folder.name]["test"][0] == pytest.approx(run.scores["test"].mean, abs=0.002)


def test_a_published_run_that_is_not_there_says_so():
    with pytest.raises(RunError, match="is not among the published runs"):
        runs.published("01_baseline", steps=7)


def test_distances_of_a_published_run_are_those_of_its_own_draw():
    (run,) = runs.published("01_baseline", n_seeds=1, **publish.SPARSE)
    distance, dice = runs.distances(run)
    val = run.scores["val"]
    assert len(distance) == len(dice) == len(val.numbers) == 475 and distance.min() == 1 and distance.max() > 20
    taken = sorted(set(range(1, 501)) - set(val.numbers))
    assert len(taken) == 25                                       # what is not validated trains
    assert np.array_equal(distance, [min(abs(number - train) for train in taken) for number in val.numbers])
