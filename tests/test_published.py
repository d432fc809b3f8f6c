"""The runs, tables and networks that come with the library."""

import json
import shutil

import pytest
from publish import write_rows
from published_runs import run_name

from xraylib import inference, published, runs
from xraylib.datasets import built_in_fingerprint, open_dataset
from xraylib.errors import RunError, WeightsError
from xraylib.files import packaged_data
from xraylib.inference import load_weights
from xraylib.params import configure
from xraylib.published import (
    find_published,
    named_networks,
    network_file,
    published_rows,
    published_runs,
)
from xraylib.runs import config_of, run_experiment, scores_to_dict

CONFIG = configure("01_baseline", profile="tiny", steps=2)


def test_published_runs_have_the_digests_and_names_of_their_configurations():
    """So that a parameter that is added later and is off renames none of them."""
    every = published_runs()
    assert len(every) > 300
    for run in every:
        config = config_of(run)
        assert config.digest(run.config["fingerprint"]) == run.config["digest"]
        assert run_name(config) == run.published
        assert find_published(config, built_in_fingerprint(config.profile)) is run
    assert len({run.published for run in every}) == len({run.config["digest"] for run in every})


def test_every_published_weights_file_belongs_to_a_run_and_can_be_read():
    files = {path.stem for path in (packaged_data() / "published/weights").iterdir()}
    by_name = {run.published: run for run in published_runs()}
    snapshots = {name for name in files if name.endswith("-snapshots")}
    assert snapshots == {"01_baseline-seed0-snapshots", "03_noisy_val-seed0-snapshots"}
    for name in files - snapshots:
        recipe = by_name[name].config["recipe"]
        model = by_name[name].model()
        assert (model.width, type(model).__name__) == (
            recipe["width"], recipe.get("network", "UNet"))
    assert len(files) > 50


def test_snapshots_of_a_published_run_are_networks_by_step():
    (run,) = published.published("01_baseline", n_seeds=1)
    kept = run.snapshots()
    assert list(kept) == [int(row["step"]) for row in run.history]
    assert kept[75]().width == 16
    (other,) = published.published("01_baseline", n_seeds=1, split="block")
    assert len(other.snapshots()) == 1                   # the best network


def test_a_run_that_is_not_published_is_an_error():
    with pytest.raises(RunError, match="is not among the published runs"):
        published.published("01_baseline", steps=7)


def test_most_runs_are_published_without_weights():
    run = published.published("01_baseline", n_seeds=1, n_train=25)[0]
    with pytest.raises(RunError, match="01_baseline-n_train25-seed0 is published without weights, "
                                       "as most runs are. Set use_published = False"):
        run.model()


def test_tables_are_about_the_published_runs():
    digests = {run.config["digest"] for run in published_runs()}
    for name in ("noisy", "three_d", "batch_norm"):
        assert {row["run"] for row in published_rows(name)} <= digests
    rows = [row for row in published_rows("methods") if row["method"] == "U-Net"]
    assert len(rows) == 18
    assert {(row["n_train"], row["noise_std"]) for row in rows} == {
        (n, std) for n in (1, 5, 25) for std in (0, 5000)}
    few = [row["dice"][0] for row in rows if row["n_train"] == 5 and row["noise_std"] == 0]
    own = [run.scores["test"].mean for run in published.published("01_baseline", n_train=5)]
    assert few == pytest.approx(own, abs=0.002)          # of five test slices, and of all
    assert {row["trained_on"] for row in published_rows("real")} == {"real", "built-in"}
    assert {row["seed"] for row in published_rows("batch_norm")} == {0, 1, 2}


def test_named_networks_can_be_read_and_have_the_dice_of_their_runs():
    networks = named_networks()
    assert list(networks)[:3] == ["baseline", "clean-and-noisy", "noise-robust"]
    by_file = {run.published: run for run in published_runs()}
    for name, network in networks.items():
        run = by_file[network.file.stem]
        assert network_file(name) == network.file == run.weights
        assert load_weights(network.file) and network.good_for.endswith(".")
        assert network.experiment == run.config["experiment"]
        scored = "noisy" if network.experiment in ("09_three_d", "07_noisy_only") else "clean"
        key = "test_noisy" if scored == "noisy" else "test"
        assert network.dice[scored] == pytest.approx(run.scores[key].mean, abs=0.002)


def test_a_network_is_named_by_its_name_its_file_or_its_run(folder, tmp_path):
    run = run_experiment(CONFIG, open_dataset("tiny", folder))
    assert network_file(run.folder) == network_file(str(run.weights)) == run.weights
    with pytest.raises(WeightsError, match="nowhere is neither a file, a run folder nor the name "
                                           "of a network. The names are baseline, "):
        network_file("nowhere")
    with pytest.raises(RunError, match="holds no complete run"):
        network_file(tmp_path)


# -- a published folder of the test's own ----------------------------------------------------------


@pytest.fixture
def dataset(folder):
    return open_dataset("tiny", folder)


@pytest.fixture
def shipped(tmp_path, dataset, monkeypatch):
    """Published are a run of this data set, without weights, and a table."""
    run = run_experiment(CONFIG, dataset)
    place = tmp_path / "shipped/published"
    row = {"name": "mine", "config": run.config, "history": run.history,
           "scores": {name: scores_to_dict(part) for name, part in run.scores.items()}}
    write_rows(place / "01_baseline.json", "runs", [row])
    write_rows(place / "tables/noisy.json", "rows", [{"run": "x", "val": 0.5}])
    for module in (published, inference):
        monkeypatch.setattr(module, "packaged_data", lambda: tmp_path / "shipped")
    shutil.rmtree(run.folder)
    return place


def test_a_published_run_is_taken_only_when_asked_for(shipped, dataset, monkeypatch):
    run = run_experiment(CONFIG, dataset, use_published=True)
    assert run.published == "mine" and run.place == "published run mine"
    assert not run.folder.exists()
    other = configure("01_baseline", profile="tiny", steps=3)
    assert not run_experiment(other, dataset, use_published=True).published
    monkeypatch.setattr(runs, "train_with_checkpoints", None)
    with pytest.raises(TypeError):
        run_experiment(CONFIG, dataset)


def test_damage_of_what_is_published_is_mended_by_installing_again(shipped):
    """Not by deleting a folder and running a notebook."""
    path = shipped / "01_baseline.json"
    good = path.read_text()
    for text in ("", "[]", "{", good.replace('"seed":0', '"seed":1'),
                 json.dumps({"runs": [{"name": "mine"}]})):
        path.write_text(text)
        with pytest.raises(RunError, match=r"01_baseline\.json is damaged \(.*\)\. It came with "
                                           "the library: install the library again"):
            published_runs("01_baseline")
    table = shipped / "tables/noisy.json"
    for text in ("[]", table.read_text().replace("0.5", "0.6"), '{"rows": []}'):
        table.write_text(text)
        with pytest.raises(RunError, match=r"noisy\.json is damaged .* install the library again"):
            published_rows("noisy")
    weights = shipped / "weights/mine.safetensors"
    weights.parent.mkdir()
    weights.write_text("damaged")
    with pytest.raises(WeightsError, match="It came with the library: install"):
        load_weights(weights)
    with pytest.raises(RunError, match=r"networks\.json is damaged \(.*No such file"):
        named_networks()
