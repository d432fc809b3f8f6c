"""Tables over runs, and the command that writes them."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from xraylib.runs.folder import Run, execute
from xraylib.runs.profiles import configure
from xraylib.runs.tables import against_poster, complete, dice_table, interval, points, resampled, slope, summary
from xraylib.slices.sets import open_source

CONFIG = configure("01_baseline", profile="tiny", steps=4)


@pytest.fixture
def source(folder):
    return open_source("tiny", str(folder))


def test_tables_average_over_seeds(source):
    group = [execute(configure("01_baseline", profile="tiny", steps=4, seed=seed), source) for seed in (0, 1)]
    means = [100 * run.scores["val"].mean for run in group]
    expected = f"{np.mean(means):.2f} ± {np.std(means, ddof=1):.2f}"
    for table in (dice_table(group), against_poster(group), summary(complete())):
        assert f"{expected}" in table
        assert len({line.count("|") for line in table.splitlines()}) == 1        # a whole Markdown table
    assert "99.105" in summary(complete()) and "99.105" in against_poster(group)
    assert summary(complete()).count("01_baseline") == 1


def test_complete_runs_of_any_folder(source, home):
    run = execute(CONFIG, source)
    (home / "elsewhere").mkdir()
    shutil.copytree(run.folder.parent, home / "elsewhere" / "01_baseline")
    shutil.copytree(run.folder, home / "elsewhere" / "01_baseline" / "second")
    assert [each.folder.name for each in complete(home / "elsewhere")] == [run.folder.name, "second"]
    assert len(complete()) == 1


def test_the_report_command_writes_what_it_prints(source, home):
    execute(CONFIG, source)
    done = subprocess.run([sys.executable, "-m", "xraylib", "report"], capture_output=True, text=True, check=True,
                          env=os.environ | {"XRAYLIB_HOME": str(home)})
    assert (home / "runs/summary.md").read_text() in done.stdout


def test_a_run_with_noise_has_a_row_for_the_noisy_test_block(source):
    config = configure("03_noisy_val", profile="tiny", steps=4)
    assert "test block, noisy" in dice_table([execute(config, source)])


def test_bootstrap_over_runs_and_blocks_of_slices():
    """The deviation of its draws is that of the mean: wider for blocks of copies, and for runs that differ."""
    rng = np.random.default_rng(1)
    alone = [rng.normal(0, 1, 400)]
    assert resampled(alone, block=1).std() == pytest.approx(1 / 20, rel=0.15)
    copies = [np.repeat(rng.normal(0, 1, 40), 10)]
    assert resampled(copies, block=10).std() > 2 * resampled(copies, block=1).std()
    assert resampled([np.zeros(50), np.ones(50)]).std() == pytest.approx(0.5 / 2**0.5, rel=0.1)


def test_differences_are_written_with_a_sign_and_never_as_minus_zero():
    assert [points(value) for value in (0.0012, -0.003, -0.00001, 0)] == ["+0.12", "-0.30", "0.00", "0.00"]
    assert interval(np.array([-0.00001, 0.001])) == "0.00 to 0.10"


def test_a_slope_can_come_out_either_way():
    def run(*dice):
        return Run(None, {}, [{"step": 10 * i, "dice": value} for i, value in enumerate(dice)], {})

    assert slope([run(0.9, 0.1, 0.5, 0.6, 0.7)], "dice_noisy") == "+20.0"      # the second half alone: 0.5 to 0.7
    assert slope([run(0.1, 0.9, 0.7, 0.5), run(0.1, 0.9, 0.7, 0.5)], "dice") == "-20.0 ± 0.0"
    assert slope([run(0.5, 0.5)], "dice") == "0.0"
