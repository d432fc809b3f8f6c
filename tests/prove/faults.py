"""Killed at any moment, and on a full disk: nothing is lost, and what comes out at last is the same.

    python tests/prove/faults.py kill     a run, a sweep and a prediction, each killed at 20 moments, then
                                          started again
    python tests/prove/faults.py disk     a disk that is full when a checkpoint, a slice and a data set are written
                                          (root only: it mounts a small file system)
"""

import csv
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tifffile
from safetensors.numpy import load_file

from xraylib.files import shipped
from xraylib.predict.network import load_weights
from xraylib.slices import sets

KILLS = 20
GRID = ("sweep", "07_noisy_only", "-p", "profile=tiny")
RUN = (*GRID, "-p", "n_train=4", "-p", "steps=300")
SWEEP = (*GRID, "-p", "n_train=1,4", "-p", "seed=0:2", "-p", "steps=100", "--workers", "2")
FREE = 4096                                              # bytes that are left on a disk that is called full


def start(home: Path, *arguments: str | Path) -> subprocess.Popen:
    """``python -m xraylib`` with these arguments, in a process group of its own."""
    return subprocess.Popen([sys.executable, "-m", "xraylib", *arguments], start_new_session=True, text=True,
                            env=os.environ | {"XRAYLIB_HOME": str(home), "TQDM_DISABLE": "1"},
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finish(process: subprocess.Popen) -> None:
    """Wait for it to end well."""
    _, said = process.communicate()
    assert process.returncode == 0, said


def refused(process: subprocess.Popen) -> str:
    """Wait for it to end with one sentence, and nothing else; return that."""
    _, said = process.communicate()
    assert process.returncode == 1 and said.startswith("error: ") and said.count("\n") == 1, said
    return said.strip()


def left_in(folder: Path) -> dict[str, object]:
    """Every file in a folder by its name: its bytes; of a history all but the seconds, of weights the numbers.

    (The header of a weights file names the same facts in another order each time.)
    """
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.name == "history.csv":
            with path.open() as lines:
                found[name] = [row | {"seconds": ""} for row in csv.DictReader(lines)]
        elif path.suffix == ".safetensors":
            found[name] = {key: tensor.tobytes() for key, tensor in load_file(path).items()}
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


def must_equal(found: dict[str, object], expected: dict[str, object]) -> None:
    """The same files, and in each the same; else it says which."""
    assert found.keys() == expected.keys(), found.keys() ^ expected.keys()
    assert found == expected, [name for name in expected if found[name] != expected[name]]


def prepared(folder: Path) -> tuple[Path, Path]:
    """A home with the tiny data set, and a volume of pages."""
    finish(start(folder / "home", "data", "make", "--profile", "tiny"))
    tifffile.imwrite(folder / "volume.tif", np.stack(sets.built_in(12, 501, 0).images))
    return folder / "home", folder / "volume.tif"


def weights() -> Path:
    """A published network."""
    return next((shipped() / "published" / "01_baseline").glob("*/model.safetensors"))


# -- killed -----------------------------------------------------------------------------------------------------------


def killed(name: str, command: Callable[[Path], tuple], inside: str, home: Path, scratch: Path) -> None:
    """Kill a command at moments drawn from the time it takes, start it again, and compare with one left alone."""
    def fresh() -> Path:
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.copytree(home, scratch)
        return scratch

    fresh()
    begin = time.perf_counter()
    finish(start(scratch, *command(scratch)))
    seconds, expected, begun = time.perf_counter() - begin, left_in(scratch / inside), 0
    for moment in np.sort(np.random.default_rng(0).uniform(0, seconds, KILLS)):
        process = start(fresh(), *command(scratch))
        time.sleep(moment)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        begun += bool(left_in(scratch / inside))
        finish(start(scratch, *command(scratch)))
        must_equal(left_in(scratch / inside), expected)
    assert begun > KILLS / 4
    print(f"{name}: {seconds:.1f} s; killed at {KILLS} moments, at {begun} of them with something on disk, and started "
          f"again: {len(expected)} files the same bit for bit, none beside them", flush=True)


def kill(folder: Path) -> None:
    """A run, a sweep and a prediction."""
    home, volume = prepared(folder)
    killed("a run", lambda here: RUN, "runs", home, folder / "scratch")
    killed("a sweep of four runs, two at a time", lambda here: SWEEP, "runs", home, folder / "scratch")
    killed("a prediction of 12 slices", lambda here: ("predict", weights(), volume, here / "out", "--preview", "5"),
           "out", home, folder / "scratch")


# -- a full disk ------------------------------------------------------------------------------------------------------


@contextmanager
def small_disk(place: Path, megabytes: int) -> Iterator[Path]:
    """A file system of this size."""
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def fill(place: Path) -> Path:
    """Leave a few bytes free; returns the file that takes the rest."""
    filler = place / "filler"
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(place).free - FREE)
    return filler


def room_made(process: subprocess.Popen, filler: Path, todo: str = "make room, and give the same command again") -> str:
    """It ends with a sentence that says what is wrong and what to do; then room is made."""
    sentence = refused(process)
    assert "No space left on device" in sentence and todo in sentence, sentence
    filler.unlink()
    return sentence


def until(there: Callable[[], bool], process: subprocess.Popen) -> None:
    """Wait until something is on disk."""
    while not there():
        assert process.poll() is None
        time.sleep(0.01)


def disk(folder: Path) -> None:
    """A checkpoint, a slice, a data set."""
    home, volume = prepared(folder)
    finish(start(home, *RUN))
    finish(start(home, "predict", weights(), volume, folder / "out"))
    with small_disk(folder / "disk", 40) as place:
        shutil.copytree(home / "data", place / "data")
        process = start(place, *RUN)
        until(lambda: any((place / "runs").rglob("last.pt")), process)
        sentence = room_made(process, fill(place), "the same command runs the failed ones again")
        load_weights(next((place / "runs").rglob("model.safetensors")))
        assert any((place / "runs").rglob("last.pt"))
        finish(start(place, *RUN))
        must_equal(left_in(place / "runs"), left_in(home / "runs"))
        print(f"a checkpoint: {sentence}\n  resumed: the same result bit for bit", flush=True)

        process = start(place, "predict", weights(), volume, place / "out")
        until(lambda: len(list((place / "out").glob("*.tif"))) >= 3, process)
        sentence = room_made(process, fill(place))
        done = {path: path.stat().st_mtime_ns for path in (place / "out").glob("*.tif")}
        assert all((tifffile.imread(path) == tifffile.imread(folder / "out" / path.name)).all() for path in done)
        finish(start(place, "predict", weights(), volume, place / "out"))
        assert all(path.stat().st_mtime_ns == when for path, when in done.items())
        must_equal(left_in(place / "out"), left_in(folder / "out"))
        print(f"a slice: {sentence}\n  {len(done)} slices stayed, then all are the same bit for bit", flush=True)

        shutil.rmtree(place / "data")
        sentence = room_made(start(place, "data", "make", "--profile", "tiny"), fill(place))
        assert not left_in(place / "data")
        finish(start(place, "data", "make", "--profile", "tiny"))
        must_equal(left_in(place / "data"), left_in(home / "data"))
        print(f"a data set: {sentence}\n  nothing of it stayed, then it is whole", flush=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        {"kill": kill, "disk": disk}[sys.argv[1]](Path(temporary))


if __name__ == "__main__":
    main()
