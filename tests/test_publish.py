"""The maintainer's tool that makes data/published/."""

import json

import publish
import published_runs
import pytest
import torch
from conftest import blobs
from published_runs import run_name

from xraylib.datasets import built_in_fingerprint
from xraylib.inference import load_weights, recalibrate_batch_norm, save_weights
from xraylib.metrics import evaluate
from xraylib.noise import noisy_copies
from xraylib.params import configure
from xraylib.published import checksum, named_networks
from xraylib.published import published_runs as read_published
from xraylib.runs import Run, config_of
from xraylib.unet import UNet

SLICES = blobs(6, 32, 48)
CONFIGS = published_runs.configs()


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = UNet(4, 1)
    model.phases = SLICES.phases
    model.grey.copy_(torch.tensor([30000.0, 8000.0]))
    return recalibrate_batch_norm(model.eval(), SLICES.images)


def test_published_files_equal_what_the_tool_writes():
    """The same runs under the same names, and weights of the same ones."""
    wanted = {config.digest(built_in_fingerprint(config.profile)): run_name(config)
              for config in CONFIGS}
    published = {run.config["digest"]: run.published for run in read_published()}
    assert published == wanted and len(set(wanted.values())) == len(CONFIGS)
    for run in read_published():
        if published_runs.has_weights(config_of(run)):
            assert run.weights.exists()
        if published_runs.has_snapshots(config_of(run)):
            assert len(run.snapshots()) > 1


def test_every_named_network_is_a_published_run():
    assert list(named_networks()) == list(published_runs.NETWORKS)
    for name, network in named_networks().items():
        experiment, parameters, good_for = published_runs.NETWORKS[name]
        config = published_runs.laptop_config(experiment, parameters)
        assert network.file.stem == run_name(config) and network.file.exists()
        assert network.good_for == good_for and network.experiment == experiment


def test_rows_are_written_one_per_line(tmp_path):
    rows = [{"kind": "ä", "values": [1, 2.5]}, {"kind": "b", "values": []}]
    publish.write_rows(tmp_path / "new/table.json", "rows", iter(rows))
    text = (tmp_path / "new/table.json").read_text()
    assert json.loads(text) == {"rows": rows, "checksum": checksum(rows)}
    assert text.count("\n") == len(rows) + 3


def test_runs_are_written_as_they_are_read(tmp_path, monkeypatch, model):
    """With weights in half precision and, where the notebooks show them, all snapshots."""
    configs = [configure("01_baseline", profile="laptop", seed=seed) for seed in (0, 1)]
    folder, runs = tmp_path / "runs", {}
    (folder / "epochs").mkdir(parents=True)
    (tmp_path / "published/weights").mkdir(parents=True)
    for name in ("model", "epochs/000075", "epochs/000150"):
        save_weights(model, folder / f"{name}.safetensors")
    for config, run in zip(configs, read_published("01_baseline"), strict=False):
        digest = config.digest("data")
        content = run.config | config.facts() | {"digest": digest, "fingerprint": "data"}
        weights = folder / "model.safetensors"
        runs[config] = Run(folder, content, run.history, run.scores, weights)
    publish.write_runs(runs, {configs[0]}, tmp_path / "published")
    monkeypatch.setattr("xraylib.published.packaged_data", lambda: tmp_path)
    first, second = read_published("01_baseline")
    assert config_of(first) == configs[0] and config_of(second) == configs[1]
    assert first.history == runs[configs[0]].history
    assert first.weights.exists() and not second.weights_file.exists()
    weight = model.stem.layers[0].weight
    for network in (load_weights(first.weights), *(load() for load in first.snapshots().values())):
        assert torch.equal(network.stem.layers[0].weight, weight.half().float())
    assert list(first.snapshots()) == [75, 150]


def test_statistics_over_training_by_network(model):
    """The network has the statistics of clean slices, so "as_trained" equals "clean"."""
    noisy = noisy_copies(SLICES, 8000, 0)
    (row,) = publish.statistics_over_training({7: lambda: model}, SLICES, noisy)
    assert row["step"] == 7 and row["as_trained"] == pytest.approx(evaluate(model, noisy).mean)
    assert row["clean"] == pytest.approx(row["as_trained"], abs=1e-6)
    copies = noisy_copies(SLICES.subsample(5), 8000, 1)
    recalibrated = recalibrate_batch_norm(model, copies.images)
    assert row["noisy"] == pytest.approx(evaluate(recalibrated, noisy).mean)


def test_names_are_sorted_as_people_do():
    names = ["n_train10-seed0", "n_train5-seed1", "n_train5-seed0"]
    assert sorted(names, key=publish.natural_order) == names[:0:-1] + names[:1]
