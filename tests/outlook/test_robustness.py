"""How Dice falls with noise, and which network is the best for noisy slices."""

from types import SimpleNamespace

import numpy as np
import pytest
from conftest import blobs

from xraylib.inference import recalibrate_batch_norm
from xraylib.metrics import evaluate
from xraylib.noise import noisy_copies
from xraylib.outlook import robustness
from xraylib.outlook.robustness import (
    best_kind,
    best_published,
    best_runs,
    noise_response,
    values_by_kind,
)
from xraylib.unet import UNet

PUBLISHED = {"use_published": True, "profile": "laptop", "data_dir": "", "seed": 0}


def row(kind, val, test=(0.5, 0.5)):
    return {"kind": kind, "val": list(val), "test": list(test)}


def test_a_noise_response_is_the_dice_of_both_sets_at_every_noise():
    """The seed of the noise is that of the run."""
    val, test = blobs(3, 48, 40, seed=1), blobs(2, 48, 40, seed=2)
    model = recalibrate_batch_norm(UNet(4, 1), val.images)
    run = SimpleNamespace(config={"experiment": "01_baseline", "seed": 3, "digest": "abc"},
                          model=lambda: model)
    found = noise_response(run, "clean slices", val, test, (0, 8000))
    assert {name: found[name] for name in ("kind", "experiment", "run", "seed", "noise_stds")} == {
        "kind": "clean slices", "experiment": "01_baseline", "run": "abc", "seed": 3,
        "noise_stds": [0, 8000]}
    for name, part in (("val", val), ("test", test)):
        expected = [evaluate(model, each).mean for each in (part, noisy_copies(part, 8000, 3))]
        assert found[name] == expected


def test_values_of_a_kind_come_together_in_the_order_of_the_kinds():
    rows = [row("b", (0.9, 0.2), (0.8, 0.1)), row("a", (0.5, 0.5)),
            row("b", (0.7, 0.4), (0.6, 0.3))]
    assert list(values_by_kind(rows, "val")) == ["b", "a"]
    assert values_by_kind(rows, "val")["b"].tolist() == [[0.9, 0.2], [0.7, 0.4]]
    assert values_by_kind(rows, "test")["b"].tolist() == [[0.8, 0.1], [0.6, 0.3]]


@pytest.mark.parametrize(("rows", "best"), [
    # Every noise counts the same, and so does every run. The test set plays no part.
    ([row("clean", (0.99, 0.3)), row("noisy", (0.9, 0.8))], "noisy"),
    ([row("even", (0.8, 0.8)), row("lucky", (0.9, 0.9)), row("lucky", (0.5, 0.5))], "even"),
    ([row("val", (0.9, 0.9), (0.1, 0.1)), row("test", (0.8, 0.8), (0.9, 0.9))], "val"),
])
def test_the_best_kind_has_the_highest_mean_validation_dice(rows, best):
    assert best_kind(rows) == best_kind(rows[::-1]) == best


def test_of_equal_kinds_the_first_is_the_best():
    assert best_kind([row("b", np.full(2, 0.5)), row("a", np.full(2, 0.5))]) == "b"


@pytest.mark.parametrize("n", [1, 2, 3])
def test_published_networks_are_taken_where_they_fit(n):
    """A reader who asked for one network got three."""
    found = best_runs(None, PUBLISHED, n=n)  # the data are not needed
    assert [run.place for run in found] == [run.place for run in best_published()[:n]]
    assert len(found) == n and {run.config["recipe"]["noise_std_max"] for run in found} == {15000}
    assert found[0].model().width == 16


@pytest.mark.parametrize(("changed", "noise_std", "n"), [
    ({"use_published": False}, 15_000, 3),
    ({"seed": 5}, 15_000, 3),
    ({"profile": "tiny"}, 15_000, 1),
    ({}, 1000, 2),  # networks trained up to 15,000 were returned
    ({}, 15_000, 4),  # three networks were returned
])
def test_else_as_many_are_trained_with_this_noise(monkeypatch, changed, noise_std, n):
    monkeypatch.setattr(robustness, "run_sweep", lambda *arguments: arguments)
    asked = PUBLISHED | changed
    configs, dataset, use_published = best_runs("data", asked, noise_std, n)
    assert dataset == "data" and use_published == asked["use_published"]
    assert [config.seed for config in configs] == [asked["seed"] + index for index in range(n)]
    assert {config.experiment for config in configs} == {"07_fresh_noise"}
    assert {config.recipe.noise_std_max for config in configs} == {noise_std}
    assert {config.profile for config in configs} == {asked["profile"]}
