"""Run folders that are damaged, and what the system refuses: permissions, full disks."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from bad_input.spoiling import FLAT, SET, Cases, Spoil, must_say
from safetensors.torch import load_file

from xraylib import __main__
from xraylib.datasets import open_dataset
from xraylib.files import name_in_errors
from xraylib.params import configure
from xraylib.runs import load_run, run_experiment

CASES, FORBIDDEN = Cases(), Cases()


# -- run folders -----------------------------------------------------------------------------------


def run_folder() -> Path:
    """The folder of the good run."""
    (folder,) = Path("home/runs").glob("*/*")
    return folder


def changed(name: str, change: Callable) -> Spoil:
    """A file of the run changes: its content (JSON) if the function asks for it, else its text."""
    def spoil() -> None:
        path = run_folder() / name
        if change.__code__.co_varnames[:1] == ("content",):
            path.write_text(json.dumps(change(json.loads(path.read_text()))))
        else:
            path.write_text(change(path.read_text()))
    return spoil


def without(*names: str) -> Callable:
    """JSON loses these."""
    return lambda content: {name: content[name] for name in content if name not in names}


def also(**more: object) -> Callable:
    """JSON gets other values."""
    return lambda content: content | more


def val(**more: object) -> Callable:
    """result.json gets other scores of the validation set."""
    return lambda content: content | {"val": content["val"] | more}


def recipe(**more: object) -> Callable:
    """config.json gets another recipe."""
    return lambda content: content | {"recipe": content["recipe"] | more}


TABLE = "val is no table of pixels"
TWO = {"numbers": [1, 2], "noise_std": [0, 0]}
LACKS = "it lacks rows or columns"
OTHER_RUN = "it was changed: it describes the run"
for name, message, change in [
    ("result.json", "it lacks val or test", lambda text: "{}"),
    ("result.json", "it lacks val or test", lambda text: "[]"),
    ("result.json", "", lambda text: ""), ("result.json", "", lambda text: text[:99]),
    ("result.json", "", lambda text: "3"), ("result.json", "", lambda text: "null"),
    ("result.json", "", lambda text: "[" * 100_000),
    ("result.json", "it lacks val or test", without("val")),
    ("result.json", "it lacks val or test", without("test")),
    ("result.json", TABLE, val(confusion=[[1, 2], [3, 4]])),
    ("result.json", TABLE, val(confusion=[])),
    ("result.json", TABLE, val(confusion=[[[0] * 3] * 3] * 2, **TWO)),
    ("result.json", "it is the result.json of the run 0123456789ab", also(digest="0123456789ab")),
    ("result.json", TABLE, val(numbers=[], noise_std=[], confusion=[])),
    ("result.json", TABLE, val(numbers=[1])),
    ("result.json", TABLE, val(confusion=[[[-1] * 3] * 3] * 2, **TWO)),
    ("result.json", TABLE, val(confusion=[[[0.5] * 3] * 3] * 2, **TWO)),
    ("result.json", TABLE, val(confusion=[[[1] * 2] * 2] * 2, **TWO)),
    ("result.json", "", val(confusion="many")), ("result.json", "unexpected keyword", val(more=1)),
    ("result.json", "", also(test=3)),
    ("history.csv", LACKS, lambda text: ""), ("history.csv", LACKS, lambda text: "{}"),
    ("history.csv", LACKS, lambda text: text.splitlines()[0]),
    ("history.csv", LACKS, lambda text: text.replace("dice,", "dise,")),
    ("history.csv", "'one'", lambda text: text.replace("\n1,", "\none,")),
    ("history.csv", "", lambda text: text + "2,3"),
    ("history.csv", "it does not hold ... rows up to step",
     lambda text: text + text.splitlines(True)[-1]),
    ("history.csv", "seconds is nan in row 1",
     lambda text: re.sub(r"(?<=\n)(\d+,\d+),[^,]+", r"\1,nan", text)),
    ("history.csv", "dice is inf in row", lambda text: re.sub(
        r"(?<=\n)((?:[^,]+,){6})[^,]+", r"\1inf", text)),
    ("history.csv", "", lambda text: text + ",".join("9" * 40)),
    ("config.json", "", lambda text: ""),
    ("config.json", "it holds no names and values", lambda text: "[]"),
    ("config.json", "", lambda text: text[:50]),
    ("config.json", "it lacks data, device, digest, fingerprint, note, phases, precision, recipe",
     lambda text: "{}"),
    ("config.json", "it lacks recipe", without("recipe")),
    ("config.json", "it lacks fingerprint", without("fingerprint")),
    ("config.json", "it lacks device", without("device")),
    ("config.json", "note is 3", also(note=3)), ("config.json", "data is None", also(data=None)),
    ("config.json", "profile ... valid string", also(profile=3)),
    ("config.json", "it lacks phases", without("phases")),
    ("config.json", "it lacks data, note", without("data", "note")),
    ("config.json", "seed ... required", without("seed")),
    ("config.json", OTHER_RUN, also(seed=1)), ("config.json", OTHER_RUN, also(profile="laptop")),
    ("config.json", OTHER_RUN, also(fingerprint="0")),
    ("config.json", OTHER_RUN, also(digest="0123456789ab")),
    ("config.json", OTHER_RUN, recipe(width=64)),
    ("config.json", "width ... required", also(recipe={})),
    ("config.json", "recipe is 3", also(recipe=3)), ("config.json", "data is 3", also(data=3)),
    ("config.json", "phases is 3", also(phases=3)),
    ("config.json", "values ... required",
     also(phases={"names": ["pore"], "colours": ["#000000"]})),
    ("config.json", "experiment is '11_none'; it must be one of", also(experiment="11_none")),
]:
    CASES.add(f"run: {name} spoilt in way {len(CASES)}",
              f"{name} is damaged ( ... {message} ... ). Delete ... /home/runs/01_baseline/ ... "
              "and run its notebook again.", "report", changed(name, change))
for name in ("history.csv", "config.json"):
    CASES.add(f"run: no {name}", f"{name} is damaged ( ... No such file ... Delete ... and run its "
              "notebook again.", "report", lambda name=name: (run_folder() / name).unlink())
CASES.add("run: in the folder of another", "config.json is damaged (it is the config.json of the "
          "run ... ). Delete ... and run its notebook again.", "report",
          lambda: run_folder().rename("home/runs/01_baseline/0123456789ab"))
CASES.add("run: of a newer version", "config.json was written by a newer version of the library: "
          "its recipe has colour. Update the library, or move this run elsewhere.", "report",
          changed("config.json", recipe(colour=1)))
NO_RUN = "home/runs holds no complete run. Run a notebook to its end, or `make run`."
CASES.add("run: not one", NO_RUN, "report", lambda: shutil.rmtree("home"))
CASES.add("run: no result", NO_RUN, "report", lambda: (run_folder() / "result.json").unlink())
CASES.add("run: no weights", "holds no weights (model.safetensors). Delete this folder and run its "
          "notebook again.", lambda: load_run(run_folder()).model(),
          lambda: (run_folder() / "model.safetensors").unlink())
CASES.add("home: a file", "home ... Choose another folder, or change this one. XRAYLIB_HOME sets "
          "where data/ and runs/ are", "data make", lambda: shutil.rmtree("home"),
          lambda: Path("home").write_text("mine"))


@pytest.mark.parametrize("name", CASES)
def test_it_is_one_line_and_nothing_is_written(name, refuse):
    refuse(*CASES[name])


# -- what the system refuses -----------------------------------------------------------------------


def test_a_full_disk_is_reported_whatever_message_numpy_gives():
    with (open("/dev/full", "wb") as full, pytest.raises(OSError) as raised,
          name_in_errors(Path("a.tif"))):
        np.zeros(2**20, np.uint8).tofile(full)
    must_say("a.tif: No space left on device. Make room and give the same command again: what is "
             "complete is kept.", __main__.system_message(raised.value))


def forbidden(pattern: str, mode: int = 0) -> Spoil:
    """Files that nobody may read or, with mode 0o555, folders that nobody may write to."""
    return lambda: [path.chmod(mode) for path in [*Path().glob(pattern)]]


@contextmanager
def another_user():
    """The process belongs to nobody if it was root's, to whom every mode is right."""
    try:
        if os.getuid() == 0:
            os.seteuid(65534)
        yield
    finally:
        os.seteuid(os.getuid())


DENIED = ("Permission denied. Choose another folder, or change this one. XRAYLIB_HOME sets where "
          "data/ and runs/ are")
for name, line, message, *spoil in [
    ("an image", SET, f"set/data/slice_0002.tif: {DENIED}", forbidden("set/data/slice_0002.tif")),
    ("a label", SET, f"set/labels/slice_0002.tif: {DENIED}",
     forbidden("set/labels/slice_0002.tif")),
    ("the images", SET, f"set/data: {DENIED}", forbidden("set/data")),
    ("a slice", FLAT, f"volume/slice_0002.tif: {DENIED}", forbidden("volume/slice_0002.tif")),
    ("the weights", FLAT, f"flat.safetensors: {DENIED}", forbidden("flat.safetensors")),
    ("the place of OUT", FLAT, f"out: {DENIED}", lambda: Path().chmod(0o555)),
    ("OUT", FLAT, f"out/network.safetensors: {DENIED}", lambda: Path("out").mkdir(),
     forbidden("out", mode=0o555)),
    ("a result", "report", f"result.json: {DENIED}", forbidden("home/runs/*/*/result.json")),
    ("the table", "report", f"home/runs/summary.md: {DENIED}", forbidden("home/runs", mode=0o555)),
    ("the place of the data", "data make --profile tiny", f"home/data: {DENIED}",
     forbidden("home", mode=0o555)),
    ("the place of the runs", f"{SET} -p seed=5", "1 of 1 runs failed ... Permission denied",
     forbidden("home/runs/*", mode=0o555)),
]:
    FORBIDDEN.add(name, message, line, *spoil)


@pytest.mark.parametrize("name", FORBIDDEN)
def test_missing_permissions_are_one_line(name, refuse):
    refuse(*FORBIDDEN[name], another_user())


# -- two at once -----------------------------------------------------------------------------------


def test_two_processes_at_the_same_time_give_the_same_data_and_run(tmp_path, home,
                                                                                monkeypatch):
    words = "sweep 01_baseline -p profile=tiny -p steps=12 -p evaluations=12"
    processes = [subprocess.Popen([sys.executable, "-m", "xraylib", *words.split()],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
                 for _ in range(2)]
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0 and "Traceback" not in errors, errors
    assert len(list((home / "data/built-in").iterdir())) == 2
    assert not list(home.rglob("*.xraylib-tmp"))
    config = configure("01_baseline", profile="tiny", steps=12, evaluations=12)
    dataset = open_dataset("tiny")
    monkeypatch.setenv("XRAYLIB_HOME", str(tmp_path / "alone"))
    alone = run_experiment(config, dataset).folder
    both = home / alone.relative_to(tmp_path / "alone")
    names = [{str(path.relative_to(each)) for path in each.rglob("*")} for each in (both, alone)]
    assert names[0] == names[1]
    assert (both / "result.json").read_text() == (alone / "result.json").read_text()
    one, other = (load_file(each / "model.safetensors") for each in (both, alone))
    assert all(torch.equal(one[name], other[name]) for name in one)
