"""Grids of runs: here and on worker processes, one of which is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from distributed import LocalCluster
from safetensors.torch import load_file

from xraylib.files import home as home_of
from xraylib.runs import sweep
from xraylib.runs.folder import execute, folder_of
from xraylib.runs.profiles import configure
from xraylib.runs.sweep import SweepError
from xraylib.runs.tables import complete
from xraylib.slices.sets import open_source
from xraylib.workers import spread


def test_values_of_an_axis():
    assert sweep.values("5,10") == ["5", "10"] and sweep.values("0:3") == [0, 1, 2]


def test_a_grid_is_every_combination():
    configs = sweep.grid("04_size_sweep", {"n_train": ["5", "10"], "seed": range(3)}, profile="tiny", n_val=4)
    assert [(config.n_train, config.seed) for config in configs] == [(n, seed) for n in (5, 10) for seed in range(3)]
    assert {config.n_val for config in configs} == {4}


def test_a_failed_run_is_recorded_and_the_others_end(folder):
    source = open_source("tiny", str(folder))
    configs = sweep.grid("04_size_sweep", {"n_train": [4, 6, 8]}, profile="tiny", steps=4)
    broken = folder_of(configs[1], source.fingerprint)
    broken.mkdir(parents=True)
    (broken / "epochs").write_text("a file where a folder is needed")
    with pytest.raises(SweepError, match="1 of 3 runs failed, the others are complete") as raised:
        sweep.sweep(configs, source)
    (error,) = (home_of() / "runs").rglob(sweep.ERROR)
    assert str(error.parent) in str(raised.value) and "Traceback" in error.read_text()
    assert len(complete()) == 2
    assert [run.config["n_train"] for run in sweep.sweep(configs[::2], source)] == [4, 8]


def test_the_notebooks_way_and_the_sweeps_give_the_same_run(folder):
    config = configure("04_size_sweep", profile="tiny", steps=4, n_train=4)
    source = open_source("tiny", str(folder))
    (swept,) = sweep.sweep([config], source)
    assert swept.folder == execute(config, source).folder


def command(home: Path, folder: Path, *more: str, sizes: str = "4,6,8,10") -> subprocess.Popen:
    arguments = ["04_size_sweep", "-p", "profile=tiny", "-p", f"n_train={sizes}", "-p", "seed=0:3", "-p", "steps=20",
                 "-p", f"data_dir={folder}", *more]
    environment = os.environ | {"XRAYLIB_HOME": str(home), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-m", "xraylib", "sweep", *arguments], env=environment, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)


def results(home: Path) -> dict[str, bytes]:
    """The scores and weights of every complete run (the header of a weights file has no fixed order)."""
    return {path.parent.name: path.read_bytes() + b"".join(
        tensor.numpy().tobytes() for _, tensor in sorted(load_file(path.parent / "model.safetensors").items()))
        for path in home.rglob("result.json")}


def wait(process: subprocess.Popen, until) -> None:
    while not until():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def test_twelve_runs_on_two_workers_one_killed_and_one_failing_equal_a_serial_sweep(tmp_path, folder):
    home = tmp_path / "parallel"
    configs = sweep.grid("04_size_sweep", {"n_train": [4, 6, 8, 10], "seed": range(3)}, profile="tiny", steps=20)
    fingerprint = open_source("tiny", str(folder)).fingerprint
    broken = home / "runs" / "04_size_sweep" / configs[-1].digest(fingerprint)
    broken.mkdir(parents=True)
    (broken / "epochs").write_text("a file where a folder is needed")

    process = command(home, folder, "--workers", "2")
    wait(process, lambda: [path for path in home.rglob("last.pt") if path.parent != broken])
    workers = [child for child in psutil.Process(process.pid).children(recursive=True)
               if "spawn_main" in " ".join(child.cmdline())]
    assert len(workers) == 2
    workers[0].kill()
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 1 and "1 of 12 runs failed, the others are complete" in errors, errors
    assert str(broken) in errors and "Traceback" in (broken / sweep.ERROR).read_text()
    assert len(results(home)) == 11

    ended = {path: path.stat().st_mtime_ns for path in home.rglob("result.json")}
    (broken / "epochs").unlink()
    process = command(home, folder, "--workers", "2")
    table, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert all(path.stat().st_mtime_ns == before for path, before in ended.items())
    assert not (broken / sweep.ERROR).exists() and "0, 1, 2" in table

    process = command(tmp_path / "serial", folder)
    assert process.communicate(timeout=300) and process.returncode == 0
    assert results(tmp_path / "serial") == results(home) and len(results(home)) == 12
    assert not list(home.rglob("*.part*"))


def test_local_workers_keep_freed_memory():
    """Dask's own setting would have them give it back at once: a training would take twice the time."""
    names = ["MALLOC_TRIM_THRESHOLD_", "OMP_NUM_THREADS"]
    before = dict(os.environ)
    assert dict(spread(os.getenv, names, workers=1)) == {0: None, 1: "1"}
    assert os.environ == before             # what is started here later has all threads


def test_workers_that_do_not_end_in_time_spoil_nothing(monkeypatch):
    def close(self, *arguments, close=LocalCluster.close, **options):
        close(self, *arguments, **options)
        raise TimeoutError
    monkeypatch.setattr(LocalCluster, "close", close)
    assert dict(spread(str, [7], workers=1)) == {0: "7"}


@pytest.mark.parametrize("workers", [(), ("--workers", "2")])
def test_ctrl_c_says_how_to_go_on(tmp_path, folder, workers):
    process = command(tmp_path / "home", folder, *workers, sizes="4,6")
    wait(process, lambda: list((tmp_path / "home").rglob("result.json")))
    os.killpg(process.pid, signal.SIGINT)     # as a terminal does: every process of the command gets it
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and "of 6 runs; the same command goes on" in errors and "Traceback" not in errors
    process = command(tmp_path / "home", folder, sizes="4,6")
    assert process.communicate(timeout=300) and process.returncode == 0
    configs = [json.loads(path.read_text()) for path in (tmp_path / "home").rglob("config.json")]
    assert len(configs) == 6
