import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from xraylib import runs, sets
from xraylib.profiles import EXPERIMENTS, PROFILES, configure
from xraylib.runs import RunError


@pytest.fixture
def drawn(folder):
    return sets.prepare(CONFIG, sets.open_source("tiny", str(folder)))


CONFIG = configure("01_baseline", profile="tiny", steps=4)


def test_a_run_folder_holds_all_that_was_promised(drawn):
    run = runs.execute(CONFIG, drawn)
    names = {path.name for path in run.folder.iterdir()}
    assert names == {"config.json", "history.csv", "model.safetensors", "epochs", "figures", "result.json"}
    assert run.folder == runs.folder_of(CONFIG, drawn.fingerprint)
    assert run.config["recipe"]["width"] == 8 and run.config["torch"] and run.config["note"] == drawn.note
    assert [row["step"] for row in run.history] == [1, 3, 4]
    assert {name: len(scores.numbers) for name, scores in run.scores.items()} == {"val": 8, "test": 4}


def test_a_run_with_noise_is_tested_on_noisy_copies_too(folder):
    config = configure("03_noisy_val", profile="tiny", steps=4, noise_std=3000)
    run = runs.execute(config, sets.prepare(config, sets.open_source("tiny", str(folder))))
    assert len(run.scores["val"].numbers) == 12 and set(run.history[0]) >= {"dice_clean", "dice_noisy"}
    assert (run.scores["test_noisy"].noise_std == 3000).all()
    assert "test block, noisy" in runs.dice_table([run])


def test_a_complete_run_is_not_repeated(drawn, monkeypatch):
    first = runs.execute(CONFIG, drawn)
    monkeypatch.setattr(runs, "fit", None)
    again = runs.execute(CONFIG, drawn)
    assert again.history == first.history
    assert np.array_equal(again.scores["val"].confusion, first.scores["val"].confusion)


def test_a_published_run_is_shown_only_when_asked_for(drawn, home, monkeypatch):
    run = runs.execute(CONFIG, drawn)
    monkeypatch.setattr(runs, "shipped", lambda: home / "shipped")
    published = runs.folder_of(CONFIG, drawn.fingerprint, home / "shipped/published")
    published.parent.mkdir(parents=True)
    run.folder.rename(published)
    assert runs.execute(CONFIG, drawn, reuse=True).folder == published
    monkeypatch.setattr(runs, "fit", None)
    with pytest.raises(TypeError):
        runs.execute(CONFIG, drawn)


KILLED = """
import sys
from xraylib import runs, sets
from xraylib.profiles import EXPERIMENTS, PROFILES, configure
config = configure("01_baseline", profile="tiny", steps=90)
runs.execute(config, sets.prepare(config, sets.open_source("tiny", sys.argv[1])))
"""


def test_a_run_killed_by_the_system_resumes_and_leaves_no_half_file(folder, home):
    """SIGKILL after the first checkpoint; what comes next ends where an undisturbed run ends."""
    config = configure("01_baseline", profile="tiny", steps=90)
    source = sets.open_source("tiny", str(folder))
    where = runs.folder_of(config, source.fingerprint)
    environment = os.environ | {"XRAYLIB_HOME": str(home)}
    process = subprocess.Popen([sys.executable, "-c", KILLED, folder], env=environment, stderr=subprocess.DEVNULL)
    while not (where / "last.pt").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert not (where / "result.json").exists()
    (where / "epochs" / "000030.safetensors.part1").write_bytes(b"half")       # as if it died while writing this one
    resumed = runs.execute(config, sets.prepare(config, source))
    assert not list(where.rglob("*.part*"))
    where.rename(where.with_name("resumed"))
    whole = runs.execute(config, sets.prepare(config, source))
    assert np.array_equal(resumed.scores["val"].confusion, whole.scores["val"].confusion)
    assert [row["dice"] for row in resumed.history] == [row["dice"] for row in whole.history]


@pytest.mark.parametrize(("spoil", "message"), [
    (lambda folder: (folder / "result.json").unlink(), "holds no complete run"),
    (lambda folder: (folder / "result.json").write_text('{"val": {"con'), "is damaged"),
    (lambda folder: (folder / "history.csv").unlink(), "is damaged"),
    (lambda folder: (folder / "config.json").write_text(""), "is damaged"),
])
def test_an_incomplete_or_damaged_run_is_one_sentence_that_names_the_folder(drawn, spoil, message):
    folder = runs.execute(CONFIG, drawn).folder
    spoil(folder)
    with pytest.raises(RunError, match=message) as raised:
        runs.load(folder)
    assert str(folder) in str(raised.value) and "\n" not in str(raised.value)


def test_tables_average_over_seeds(drawn, folder):
    source = sets.open_source("tiny", str(folder))
    found = [runs.execute(config, sets.prepare(config, source)) for seed in (0, 1)
             for config in [configure("01_baseline", profile="tiny", steps=4, seed=seed)]]
    means = [100 * run.scores["val"].mean for run in found]
    expected = f"{np.mean(means):.2f} ± {np.std(means, ddof=1):.2f}"
    for table in (runs.dice_table(found), runs.against_poster(found), runs.summary(runs.complete())):
        assert f"{expected}" in table
        assert len({line.count("|") for line in table.splitlines()}) == 1        # a whole Markdown table
    assert "99.105" in runs.summary(runs.complete()) and "99.105" in runs.against_poster(found)
    assert runs.summary(runs.complete()).count("01_baseline") == 1


def test_the_report_command_writes_what_it_prints(drawn, home):
    runs.execute(CONFIG, drawn)
    done = subprocess.run([sys.executable, "-m", "xraylib", "report"], capture_output=True, text=True, check=True,
                          env=os.environ | {"XRAYLIB_HOME": str(home)})
    assert (home / "runs/summary.md").read_text() in done.stdout
    result = next((home / "runs").glob("*/*/result.json"))
    result.write_text(json.dumps({}))
    (result.parent / "history.csv").unlink()
    done = subprocess.run([sys.executable, "-m", "xraylib", "report"], capture_output=True, text=True,
                          env=os.environ | {"XRAYLIB_HOME": str(home)})
    assert done.returncode == 1 and done.stderr.startswith("error: ") and "is damaged" in done.stderr


def test_published_runs_are_those_that_the_notebooks_would_make_now():
    """Their folders' names follow from profile, code's version of the data and seed: a stale one would not be found."""
    found = [runs.load(path.parent) for path in (sets.shipped() / "published").glob("*/*/result.json")]
    sizes = PROFILES["laptop"].sizes
    expected = {(name, n, seed) for name in EXPERIMENTS for seed in range(3)
                for n in (sizes if name == "04_size_sweep" else [None])}
    assert {(run.config["experiment"], run.config["n_train"], run.config["seed"]) for run in found} == expected
    for run in found:
        config = configure(run.config["experiment"], profile="laptop", n_train=run.config["n_train"],
                           seed=run.config["seed"])
        assert config.digest(run.config["fingerprint"]) == run.folder.name
        assert run.config["fingerprint"].startswith(f"built-in v{sets.VERSION} ")
    with_weights = [run for run in found if run.config["n_train"] in (None, sizes[0], sizes[-1])]
    assert all(run.model().width == PROFILES["laptop"].recipe.width for run in with_weights)
    snapshots = {run.config["experiment"] for run in found if (run.folder / "epochs").exists()}
    assert snapshots == {"01_baseline", "03_noisy_val"}


def test_a_published_run_without_weights_says_so(drawn, home):
    run = runs.execute(CONFIG, drawn)
    (run.folder / "model.safetensors").unlink()
    with pytest.raises(RunError, match="set reuse = False"):
        runs.load(run.folder).model()
