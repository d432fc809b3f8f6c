"""Good data to spoil, and the check that bad input ends in one line and changes nothing."""

import os
import shlex
import shutil
import signal
import stat
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
import torch
from bad_input.spoiling import Spoil, must_say
from conftest import blobs

from xraylib import __main__, workers
from xraylib.data import save_slices
from xraylib.datasets import open_dataset
from xraylib.errors import XraylibError
from xraylib.inference import save_weights
from xraylib.outlook.stacks import UNet25D
from xraylib.params import configure
from xraylib.runs import run_experiment
from xraylib.unet import UNet


@pytest.fixture(scope="session")
def good(tmp_path_factory):
    """Good data: a labelled set, a volume of its images, a run and its weights, two networks."""
    folder = tmp_path_factory.mktemp("good")
    save_slices(blobs(12, 20, 24), folder / "set")
    shutil.copytree(folder / "set/data", folder / "volume")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XRAYLIB_HOME", str(folder / "home"))
        run = run_experiment(configure("01_baseline", profile="tiny", steps=1, width=2, depth=1),
                             open_dataset("tiny", folder / "set"))
    shutil.copy(run.weights, folder)
    for model, name in ((UNet(2, 1), "flat"), (UNet25D(2, 1), "context")):
        model.grey.copy_(torch.tensor([30000.0, 8000.0]))
        save_weights(model, folder / f"{name}.safetensors")
    return folder


@pytest.fixture
def place(good, monkeypatch):
    """A copy of the good data that other users can reach; a test has a minute in it."""
    def hang(*_) -> None:
        raise TimeoutError("the call does not end")

    before = signal.signal(signal.SIGALRM, hang)
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(good, folder, dirs_exist_ok=True)
        os.chmod(folder, 0o755)
        monkeypatch.setenv("XRAYLIB_HOME", f"{folder}/home")
        monkeypatch.chdir(folder)
        monkeypatch.setattr(workers, "SCHEDULER_TIMEOUT", 0.5)
        for name in ("PROFILE", "SEEDS", "DATA"):  # what a case sets is removed after it
            monkeypatch.setenv(f"XRAYLIB_{name}", "")
        signal.alarm(60)
        yield Path(folder)
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        for path in Path(folder).rglob("*"):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)


@pytest.fixture
def refuse(place, monkeypatch, capsys):
    """Spoil the good data, call, and check that one line says it and that nothing is written."""
    def run(fragments: str, call: str | Callable, spoil: tuple[Spoil, ...],
            user: AbstractContextManager | None = None) -> None:
        for each in spoil:
            each()
        before = _content(place)
        with user or nullcontext():
            message = _message(call, monkeypatch, capsys)
        must_say(fragments, message)
        assert _content(place) == before
    return run


def _content(folder: Path) -> dict:
    """Names, modes and contents of all that a folder holds."""
    found = {}
    for path in sorted(folder.rglob("*")):
        mode, content = path.lstat().st_mode, None
        if stat.S_ISREG(mode) and os.access(path, os.R_OK):
            content = path.read_bytes()
        elif stat.S_ISLNK(mode):
            content = os.readlink(path)
        found[str(path.relative_to(folder))] = mode, content
    return found


def _message(call: str | Callable, patch: pytest.MonkeyPatch, capsys) -> str:
    """What a command line or a function says when it refuses."""
    if callable(call):
        with pytest.raises((XraylibError, OSError)) as raised:
            call()
        return str(raised.value)
    patch.setattr(sys, "argv", ["xraylib", *shlex.split(call)])
    with pytest.raises(SystemExit) as raised:
        __main__.main()
    code = raised.value.code
    if not isinstance(code, str):  # argparse's own
        return capsys.readouterr().err.splitlines()[-1]
    assert code.startswith("error: ") and code.endswith((".", ")"))
    return code
