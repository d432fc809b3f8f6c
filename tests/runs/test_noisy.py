"""How networks fall with noise, and which one is called the best."""

import numpy as np
import pytest
from conftest import blobs

from xraylib.noise import noisy_copies
from xraylib.predict.scores import evaluate
from xraylib.runs import noisy
from xraylib.runs.folder import execute
from xraylib.runs.profiles import configure
from xraylib.slices.sets import open_source


def row(kind, val, test=(0.5, 0.5)):
    return {"kind": kind, "val": list(val), "test": list(test)}


def test_a_fall_holds_the_dice_of_both_sets_at_every_deviation(folder):
    """The noise is that of the run's own seed."""
    config = configure("01_baseline", profile="tiny", steps=4, seed=3)
    run = execute(config, open_source("tiny", str(folder)))
    val, test = blobs(3, 48, 40, seed=1), blobs(2, 48, 40, seed=2)
    fall = noisy.fall(run, "clean slices", val, test, (0, 8000))
    assert {name: fall[name] for name in ("kind", "experiment", "run", "seed", "noise_stds")} == {
        "kind": "clean slices", "experiment": "01_baseline", "run": run.folder.name, "seed": 3, "noise_stds": [0, 8000]}
    for name, part in (("val", val), ("test", test)):
        assert fall[name] == [evaluate(run.model(), each).mean for each in (part, noisy_copies(part, 8000, 3))]


def test_rows_of_a_kind_come_together_in_the_order_of_the_kinds():
    rows = [row("b", (0.9, 0.2), (0.8, 0.1)), row("a", (0.5, 0.5)), row("b", (0.7, 0.4), (0.6, 0.3))]
    assert list(noisy.by_kind(rows, "val")) == ["b", "a"]
    assert noisy.by_kind(rows, "val")["b"].tolist() == [[0.9, 0.2], [0.7, 0.4]]
    assert noisy.by_kind(rows, "test")["b"].tolist() == [[0.8, 0.1], [0.6, 0.3]]


@pytest.mark.parametrize(("rows", "best"), [
    ([row("clean", (0.99, 0.3)), row("noisy", (0.9, 0.8))], "noisy"),                    # every deviation counts alike
    ([row("even", (0.8, 0.8)), row("lucky", (0.9, 0.9)), row("lucky", (0.5, 0.5))], "even"),    # and every run
    ([row("val", (0.9, 0.9), (0.1, 0.1)), row("test", (0.8, 0.8), (0.9, 0.9))], "val"),  # the test block has no say
])
def test_the_best_kind_has_the_highest_mean_validation_dice(rows, best):
    assert noisy.best_kind(rows) == noisy.best_kind(rows[::-1]) == best


def test_of_equal_kinds_the_first_is_the_best():
    assert noisy.best_kind([row("b", np.full(2, 0.5)), row("a", np.full(2, 0.5))]) == "b"


def test_where_published_networks_fit_they_are_the_best_predictor():
    asked = {"reuse": True, "profile": "laptop", "data_dir": "", "seed": 0}
    found = noisy.best_on(None, asked)                                   # the data are not asked for
    assert [run.folder for run in found] == [run.folder for run in noisy.best_published()] and len(found) == 3


@pytest.mark.parametrize("changed", [{"reuse": False}, {"seed": 5}])
def test_else_as_many_are_trained_with_fresh_noise(folder, changed):
    asked = {"reuse": True, "profile": "tiny", "data_dir": str(folder), "seed": 0} | changed
    found = noisy.best_on(open_source("tiny", str(folder)), asked)
    assert [run.config["seed"] for run in found] == [asked["seed"] + index for index in range(3)]
    assert {run.config["experiment"] for run in found} == {"07_fresh_noise"}
    assert {run.config["recipe"]["noise_max"] for run in found} == {15000}
