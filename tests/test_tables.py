"""Tables over runs, and the command that writes them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from xraylib.data import NI_YSZ, Phases
from xraylib.datasets import open_dataset
from xraylib.metrics import Scores
from xraylib.params import configure
from xraylib.runs import Run, run_experiment
from xraylib.tables import (
    bootstrap_means,
    complete_runs,
    dice_table,
    group_by_seed,
    headline_dice,
    interval,
    markdown_table,
    percent,
    points,
    signed,
    slope,
    summary,
)

CONFIG = configure("01_baseline", profile="tiny", steps=4)


@pytest.fixture
def dataset(folder):
    return open_dataset("tiny", folder)


def test_tables_average_over_seeds(dataset):
    group = [run_experiment(configure("01_baseline", profile="tiny", steps=4, seed=seed), dataset)
             for seed in (0, 1)]
    means = [100 * run.scores["val"].mean for run in group]
    expected = f"{np.mean(means):.2f} ± {np.std(means, ddof=1):.2f}"
    for table in (dice_table(group), summary(complete_runs())):
        assert expected in table
        assert len({line.count("|") for line in table.splitlines()}) == 1     # valid Markdown
    assert "99.105" in summary(complete_runs())
    assert summary(complete_runs()).count("01_baseline") == 1


def test_copied_run_folders_count_once(dataset, home):
    run = run_experiment(CONFIG, dataset)
    shutil.copytree(run.folder, run.folder.with_name("copy"))
    assert len(complete_runs()) == 1 and len(group_by_seed(complete_runs())) == 1
    assert summary(complete_runs()).count("| random | 0 |") == 1


def test_the_report_command_writes_what_it_prints(dataset, home):
    run_experiment(CONFIG, dataset)
    done = subprocess.run([sys.executable, "-m", "xraylib", "report"], capture_output=True,
                          text=True, check=True, env=os.environ | {"XRAYLIB_HOME": str(home)})
    assert (home / "runs/summary.md").read_text() in done.stdout


def test_a_run_with_noise_has_a_row_for_the_noisy_test_set(dataset):
    config = configure("03_noisy_val", profile="tiny", steps=4)
    assert "test set, noisy" in dice_table([run_experiment(config, dataset)])


def test_a_table_has_the_phases_of_its_run(dataset):
    run = run_experiment(CONFIG, dataset)
    other = Phases(("air", "steel", "rust"), (0, 128, 255), ("#000000", "#0072b2", "#d55e00"))
    run.config["phases"] = other.to_dict()
    assert "| air | steel | rust |" in dice_table([run])


def test_a_phase_that_no_slice_contains_is_left_out_of_the_mean_and_named():
    """The second of two runs has validated on slices with nickel, and no slice has YSZ."""
    def run_with(*confusions: np.ndarray) -> Run:
        scores = {name: Scores(np.array([counts]), np.array([1]), np.zeros(1))
                  for name, counts in zip(("val", "test"), confusions, strict=True)}
        return Run(Path(), {"phases": NI_YSZ.to_dict()}, [], scores)

    pore, both = np.diag([90, 0, 0]), np.diag([90, 0, 90])
    pore[0, 1] = both[0, 1] = 20
    dice = 2 * 90 / (90 + 110)
    table, empty, sentence = dice_table(
        [run_with(pore, both), run_with(both, both)]).partition("\n\n")
    assert [line.split(" | ")[2:] for line in table.splitlines()[2:]] == [
        [f"**{percent([dice, (dice + 1) / 2])}**", "90.00 ± 0.00", "–", "100.00 |"],
        ["**95.00 ± 0.00**", "90.00 ± 0.00", "–", "100.00 ± 0.00 |"]]
    assert empty and sentence == (
        "Validation: no image contains YSZ. Test set: no image contains YSZ. A phase without Dice "
        "does not count in the mean.")
    perfect = np.diag([1, 1, 1])
    assert "–" not in dice_table([run_with(perfect, perfect)])


def test_names_are_escaped_in_tables():
    """Defect: a volume named as an HTML element ran its script in the page made of a notebook."""
    table = markdown_table(["a|b", "c\\|d"], [["<img src=x onerror=alert(1)>", "[x](y)\r\n"]])
    assert table == (r"| a\|b | c\\\|d |" "\n| --- | --- |\n"
                     r"| &lt;img src=x onerror=alert(1)&gt; | \[x](y)\\r\\n |")
    assert markdown_table(["**1.00**"], []).startswith("| **1.00** |")


def test_bootstrap_over_runs_and_blocks_of_slices():
    """The deviation of its draws is that of the mean: wider for copies and for unequal runs."""
    rng = np.random.default_rng(1)
    alone = [rng.normal(0, 1, 400)]
    assert bootstrap_means(alone, block=1).std() == pytest.approx(1 / 20, rel=0.15)
    copies = [np.repeat(rng.normal(0, 1, 40), 10)]
    assert bootstrap_means(copies).std() > 2 * bootstrap_means(copies, block=1).std()
    unequal = bootstrap_means([np.zeros(50), np.ones(50)])
    assert unequal.std() == pytest.approx(0.5 / 2**0.5, rel=0.1)


def test_differences_have_a_sign_and_are_never_minus_zero():
    assert [points(value) for value in (0.0012, -0.003, -0.00001, 0)] == [
        "+0.12", "-0.30", "0.00", "0.00"]
    assert interval(np.array([-0.00001, 0.001])) == "0.00 to 0.10"
    nan, inf = float("nan"), float("inf")
    assert [signed(values) for values in ([1, nan, inf], [nan], [-0.01])] == ["+1.0", "–", "0.0"]


def test_without_noise_the_noisy_test_set_is_the_test_set(dataset):
    """Defect: notebooks 5 and 7 ended in a KeyError after training with noise_std = 0."""
    run = run_experiment(configure("07_noisy_only", profile="tiny", steps=2, noise_std=0), dataset)
    assert headline_dice([run], "test_noisy") == headline_dice([run], "test")


def test_a_slope_can_be_of_either_sign():
    def run(*dice):
        history = [{"step": 10 * i, "dice": value} for i, value in enumerate(dice)]
        return Run(None, {}, history, {})

    assert slope([run(0.9, 0.1, 0.5, 0.6, 0.7)], "dice_noisy") == "+20.0"   # 0.5 to 0.7
    falling = [run(0.1, 0.9, 0.7, 0.5), run(0.1, 0.9, 0.7, 0.5)]
    assert slope(falling, "dice") == "-20.0 ± 0.0"
    assert slope([run(0.5, 0.5)], "dice") == "0.0"
