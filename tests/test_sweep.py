"""Sweeps: grids of runs here and on worker processes, one of which is killed."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import warnings
from functools import partial
from pathlib import Path

import psutil
import pytest
from conftest import probe
from publish import write_rows
from safetensors.torch import load_file

from xraylib import published, workers
from xraylib.datasets import open_dataset
from xraylib.errors import ParameterError, SweepError, WorkersError
from xraylib.files import home as home_folder
from xraylib.params import configure
from xraylib.runs import folder_of, run_experiment, scores_to_dict
from xraylib.sweep import ERROR_FILE, parameter_grid, parse_values, run_sweep
from xraylib.tables import complete_runs
from xraylib.workers import map_tasks


@pytest.fixture
def dataset(folder):
    return open_dataset("tiny", folder)


# -- grids -----------------------------------------------------------------------------------------


def test_values_of_a_parameter_on_the_command_line():
    assert parse_values("5,10") == ["5", "10"] and parse_values("0:3") == [0, 1, 2]
    assert parse_values("None,True,x") == [None, True, "x"]
    with pytest.raises(ParameterError, match="'3:1' is not a range of at most 100,000 values. "
                                             "Write 0:5 for 0, 1, 2, 3, 4, or list the values"):
        parse_values("3:1")


def test_a_grid_is_every_combination():
    configs = parameter_grid("04_size_sweep", {"n_train": ["5", "10"], "seed": range(3)},
                             profile="tiny", n_val=4)
    assert [(config.n_train, config.seed) for config in configs] == [
        (n, seed) for n in (5, 10) for seed in range(3)]
    assert {config.n_val for config in configs} == {4}


def test_a_grid_over_transforms_takes_names_joined_by_a_plus():
    """Defect: a list could not be given on the command line."""
    values = parse_values("blur+noise,noise,")
    configs = parameter_grid("01_baseline", {"transforms": values}, profile="tiny")
    assert [config.recipe.transforms for config in configs] == [("blur", "noise"), ("noise",), ()]


@pytest.mark.parametrize(("axes", "message"), [
    ({"seed": [0, 0.0]}, "seed=0 and seed=0.0 are the same run of 01_baseline. Give each value"),
    ({"noise_std": [1, 2]}, "noise_std=1 and noise_std=2 are the same run of 01_baseline"),
    ({"sizes": [3]}, "a sweep does not use sizes. Vary what a run depends on"),
    ({"use_published": [True]}, "a sweep does not use use_published.*--use-published"),
    ({"seed": range(1000), "n_train": range(1, 200)},
     "these parameters make 199,000 runs, but a sweep has at most 100,000")])
def test_a_grid_that_makes_no_sense_is_refused(axes, message):
    with pytest.raises(ParameterError, match=message):
        parameter_grid("01_baseline", axes, profile="tiny")


# -- sweeps in this process ------------------------------------------------------------------------


def test_a_failed_run_is_recorded_and_the_others_end(dataset):
    configs = parameter_grid("04_size_sweep", {"n_train": [4, 6, 8]}, profile="tiny", steps=4)
    broken = folder_of(configs[1], dataset.fingerprint)
    broken.mkdir(parents=True)
    (broken / "epochs").write_text("a file where a folder is needed")
    with pytest.raises(SweepError, match="1 of 3 runs failed, the others are complete") as raised:
        run_sweep(configs, dataset)
    (error,) = (home_folder() / "runs").rglob(ERROR_FILE)
    assert str(error.parent) in str(raised.value) and "Traceback" in error.read_text()
    assert "FileExistsError" in str(raised.value)
    assert len(complete_runs()) == 2
    assert [run.config["n_train"] for run in run_sweep(configs[::2], dataset)] == [4, 8]


def test_the_notebooks_way_and_the_sweeps_give_the_same_run(dataset):
    config = configure("04_size_sweep", profile="tiny", steps=4, n_train=4)
    (swept,) = run_sweep([config], dataset)
    assert swept.folder == run_experiment(config, dataset).folder


def test_a_sweep_takes_published_runs_if_asked_to(dataset, tmp_path, monkeypatch):
    """Defect: a sweep trained published runs again."""
    config = configure("04_size_sweep", profile="tiny", steps=2, n_train=4)
    run = run_experiment(config, dataset)
    row = {"name": "mine", "config": run.config, "history": run.history,
           "scores": {name: scores_to_dict(part) for name, part in run.scores.items()}}
    write_rows(tmp_path / "shipped/published/04_size_sweep.json", "runs", [row])
    monkeypatch.setattr(published, "packaged_data", lambda: tmp_path / "shipped")
    run.folder.rename(tmp_path / "gone")
    (taken,) = run_sweep([config], dataset, use_published=True)
    assert taken.published == "mine" and not run.folder.exists()
    (trained,) = run_sweep([config], dataset)
    assert not trained.published and trained.folder.exists()


# -- sweeps on workers, by the command line --------------------------------------------------------


def command(home: Path, folder: Path, *more: str, sizes: str = "4,6,8,10") -> subprocess.Popen:
    arguments = ["04_size_sweep", "-p", "profile=tiny", "-p", f"n_train={sizes}", "-p", "seed=0:3",
                 "-p", "steps=20", "-p", f"data_dir={folder}", *more]
    environment = os.environ | {"XRAYLIB_HOME": str(home), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-m", "xraylib", "sweep", *arguments], text=True,
                            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            start_new_session=True)


def results(home: Path) -> dict[str, bytes]:
    """The scores and weights of every complete run."""
    return {path.parent.name: path.read_bytes() + b"".join(
        tensor.numpy().tobytes()
        for _, tensor in sorted(load_file(path.parent / "model.safetensors").items()))
        for path in home.rglob("result.json")}


def wait(process: subprocess.Popen, until) -> None:
    while not until():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


@pytest.mark.heavy
def test_twelve_runs_on_two_workers_one_killed_and_one_failing_equal_a_serial_sweep(tmp_path,
                                                                                    folder):
    home = tmp_path / "parallel"
    configs = parameter_grid("04_size_sweep", {"n_train": [4, 6, 8, 10], "seed": range(3)},
                             profile="tiny", steps=20)
    fingerprint = open_dataset("tiny", folder).fingerprint
    broken = home / "runs" / "04_size_sweep" / configs[-1].digest(fingerprint)
    broken.mkdir(parents=True)
    (broken / "epochs").write_text("a file where a folder is needed")

    process = command(home, folder, "--workers", "2")
    wait(process, lambda: [path for path in home.rglob("last.pt") if path.parent != broken])
    children = psutil.Process(process.pid).children(recursive=True)
    processes = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
    assert len(processes) == 2
    processes[0].kill()
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 1, errors
    assert "1 of 12 runs failed, the others are complete" in errors, errors
    assert str(broken) in errors and "Traceback" in (broken / ERROR_FILE).read_text()
    assert len(results(home)) == 11

    ended = {path: path.stat().st_mtime_ns for path in home.rglob("result.json")}
    (broken / "epochs").unlink()
    process = command(home, folder, "--workers", "2")
    table, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert all(path.stat().st_mtime_ns == before for path, before in ended.items())
    assert not (broken / ERROR_FILE).exists() and "0, 1, 2" in table

    process = command(tmp_path / "serial", folder)
    assert process.communicate(timeout=300) and process.returncode == 0
    assert results(tmp_path / "serial") == results(home) and len(results(home)) == 12
    assert not list(home.rglob("*.xraylib-tmp"))


@pytest.mark.parametrize("more", [
    (), pytest.param(("--workers", "2"), marks=pytest.mark.heavy)])
def test_ctrl_c_says_how_to_continue(tmp_path, folder, more):
    process = command(tmp_path / "home", folder, *more, sizes="4,6")
    wait(process, lambda: list((tmp_path / "home").rglob("result.json")))
    os.killpg(process.pid, signal.SIGINT)     # as a terminal does: every process gets it
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and "Traceback" not in errors, errors
    assert "of 6 runs. The same command continues" in errors
    process = command(tmp_path / "home", folder, sizes="4,6")
    assert process.communicate(timeout=300) and process.returncode == 0
    assert len(list((tmp_path / "home").rglob("config.json"))) == 6


# -- workers ---------------------------------------------------------------------------------------


def test_local_workers_keep_freed_memory_listen_on_loopback_and_leave_no_files():
    """Dask's own setting would have them return it at once: a training would take twice the time.

    Defects: the environment of this process was cleared and restored, and Dask's web server
    listened at all addresses.
    """
    before = dict(os.environ)
    for _, found in map_tasks(probe, [0], workers=1):
        assert os.environ == before        # while the workers run, too
        assert found == (None, "1", {"127.0.0.1"})
        started = psutil.Process().children(recursive=True)
        folder = Path(started[0].cmdline()[-1].split("'")[-2])
        assert len(started) > 1 and folder.is_dir()
        assert not any(os.getsid(each.pid) == os.getsid(0) for each in started)  # of the terminal
    assert os.environ == before and not folder.exists()
    assert not psutil.wait_procs(started, timeout=10)[1]


def test_warnings_of_workers_are_printed_at_the_end(capfd):
    assert list(map_tasks(warnings.warn, ["mind the gap"], workers=1)) == [(0, None)]
    assert re.fullmatch(r"\S+: UserWarning: mind the gap\n.*\n", capfd.readouterr().err)


def test_a_task_that_kills_its_worker_again_and_again_is_one_clear_error(monkeypatch):
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "0")
    with pytest.raises(WorkersError, match="ended its worker again and again, most likely for lack "
                                           "of memory"):
        list(map_tasks(os._exit, [1], workers=1))


@pytest.fixture
def cluster():
    """The address of a Dask scheduler, and what starts processes: scheduler, then workers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    processes = []

    def start(kind: str, *arguments: str) -> subprocess.Popen:
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *arguments]
        command += ["--dashboard-address", "127.0.0.1:0"]
        processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL,
                                          stderr=subprocess.DEVNULL))
        return processes[-1]

    start("scheduler", "--host", "127.0.0.1", "--port", port)
    yield f"tcp://127.0.0.1:{port}", processes[0], partial(start, "worker", "--no-nanny")
    for process in processes:
        process.kill()
        process.wait()


def test_a_scheduler_that_dies_is_one_clear_error(cluster, caplog):
    """Defect: Dask wrote three tracebacks before it."""
    address, scheduler, start_worker = cluster
    start_worker(address)
    tasks = map_tasks(time.sleep, [0, 60], scheduler=address)
    assert next(tasks)[0] == 0
    scheduler.kill()
    with pytest.raises(WorkersError, match="the Dask scheduler stopped. What is complete is "
                                           "kept: start it and give the same command again"):
        next(tasks)
    tasks.close()
    assert not [each for each in caplog.records if each.exc_info or each.levelname == "ERROR"]


def test_waiting_for_workers_ends(cluster, monkeypatch, capsys):
    """Defect: the command waited silently."""
    address, _, start_worker = cluster
    monkeypatch.setattr(workers, "NOTICE_AFTER", 0.5)
    tasks = map_tasks(abs, [-1], scheduler=address)
    monkeypatch.setattr(workers, "MAX_NOTICES", 3)
    with pytest.raises(WorkersError, match=f"the Dask scheduler at {address} has no worker. Start "
                                           rf"one \(dask worker {address}\), and give the same"):
        next(tasks)
    assert capsys.readouterr().err.count(f"The Dask scheduler at {address} has no worker.") == 1
    monkeypatch.setattr(workers, "MAX_NOTICES", 1000)
    tasks = map_tasks(abs, [-1], scheduler=address)
    start_worker(address)
    assert list(tasks) == [(0, 1)]


def test_the_documented_script_runs_without_a_guard(tmp_path, folder):
    """Defect: each worker ran the reader's script again, and eight tracebacks said so."""
    text = (Path(__file__).parents[1] / "docs/cluster.md").read_text("utf-8")
    (script,) = re.findall(r"```python\n(from xraylib .*?)```", text, re.DOTALL)
    small = script.replace('"laptop"', f'"tiny", {str(folder)!r}').replace(
        'range(5)}', 'range(2)}, profile="tiny", steps=2').replace("[5, 10]", "[4]")
    (tmp_path / "script.py").write_text(small + "print(len(runs))\n")
    done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True,
                          env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False)
    assert "__main__" not in script and "steps=2" in small
    assert done.stdout.endswith("\n2\n") or done.stdout == "2\n", done.stderr
    assert len(list((home_folder() / "runs").rglob("result.json"))) == 2
