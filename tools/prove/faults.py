"""Kill commands at any moment and fill the disk: nothing is lost, and the final result is the same.

    python tools/prove/faults.py kill     a run, a sweep and a prediction, each killed at 20 moments
                                          and then started again
    python tools/prove/faults.py disk     the disk is full when a checkpoint, a slice and a data set
                                          are written (root only: it mounts a small file system)
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

from xraylib.datasets import built_in
from xraylib.inference import load_weights

KILLS = 20
GRID = ("sweep", "07_noisy_only", "-p", "profile=tiny")
RUN = (*GRID, "-p", "n_train=4", "-p", "steps=300")
SWEEP = (*GRID, "-p", "n_train=1,4", "-p", "seed=0:2", "-p", "steps=100", "--workers", "2")
NETWORK = "baseline"  # a published network
FREE = 4096  # bytes left on a disk that we call full


def start(home: Path, *arguments: str | Path) -> subprocess.Popen:
    """Start ``python -m xraylib`` with these arguments, in a process group of its own.

    All have one thread: runs that begin anew may choose another number, which changes last bits.
    """
    environment = os.environ | {
        "XRAYLIB_HOME": str(home), "TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "xraylib", *arguments], start_new_session=True, text=True,
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finish(process: subprocess.Popen) -> None:
    """Wait for a process to end without an error."""
    _, message = process.communicate()
    assert process.returncode == 0, message


def error_of(process: subprocess.Popen) -> str:
    """Wait for a process to end with an error message of one line, and return the message."""
    _, message = process.communicate()
    one_line = message.startswith("error: ") and message.count("\n") == 1
    assert process.returncode == 1 and one_line, message
    return message.strip()


def contents(folder: Path) -> dict[str, object]:
    """Return the content of every file in a folder by its name; a history without its seconds."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.name == "history.csv":
            with path.open() as lines:
                found[name] = [row | {"seconds": ""} for row in csv.DictReader(lines)]
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


def must_equal(found: dict[str, object], expected: dict[str, object]) -> None:
    """Fail unless both have the same files with the same contents; name those that differ."""
    assert found.keys() == expected.keys(), found.keys() ^ expected.keys()
    assert found == expected, [name for name in expected if found[name] != expected[name]]


def prepare(folder: Path) -> tuple[Path, Path]:
    """Make a home with the tiny data set, and a volume with many pages."""
    finish(start(folder / "home", "data", "make", "--profile", "tiny"))
    tifffile.imwrite(folder / "volume.tif", np.stack(built_in(12, 501, 0).images))
    return folder / "home", folder / "volume.tif"


# -- killed ----------------------------------------------------------------------------------------


def kill_often(name: str, command: Callable[[Path], tuple], inside: str, home: Path,
               scratch: Path) -> None:
    """Kill a command at random moments, start it again, and compare with an undisturbed one.

    Args:
        name: Of the command, for people.
        command: Returns its arguments, given the home that it runs in.
        inside: Folder of the home that the command writes into.
        home: A home with data; each trial runs in a copy.
        scratch: Where the copy is made.
    """
    def fresh() -> Path:
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.copytree(home, scratch)
        return scratch

    fresh()
    begin = time.perf_counter()
    finish(start(scratch, *command(scratch)))
    seconds, expected, begun = time.perf_counter() - begin, contents(scratch / inside), 0
    for moment in np.sort(np.random.default_rng(0).uniform(0, seconds, KILLS)):
        process = start(fresh(), *command(scratch))
        time.sleep(moment)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        begun += bool(contents(scratch / inside))
        finish(start(scratch, *command(scratch)))
        must_equal(contents(scratch / inside), expected)
    assert begun > KILLS / 4
    print(f"{name}: {seconds:.1f} s; killed at {KILLS} moments, {begun} times with something on "
          f"disk, and started again: the same {len(expected)} files bit for bit, and no other",
          flush=True)


def kill(folder: Path) -> None:
    """Kill a run, a sweep and a prediction."""
    home, volume = prepare(folder)

    def predict(here: Path) -> tuple:
        return "predict", NETWORK, volume, here / "out", "--preview", "5"

    scratch = folder / "scratch"
    kill_often("a run", lambda here: RUN, "runs", home, scratch)
    kill_often("a sweep of four runs, two at a time", lambda here: SWEEP, "runs", home, scratch)
    kill_often("a prediction of 12 slices", predict, "out", home, scratch)


# -- a full disk -----------------------------------------------------------------------------------


@contextmanager
def small_disk(place: Path, megabytes: int) -> Iterator[Path]:
    """Mount a file system of this size."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", place]
    subprocess.run(command, check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def fill(place: Path) -> Path:
    """Leave a few bytes free, and return the file that takes the rest."""
    filler = place / "filler"
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(place).free - FREE)
    return filler


def make_room(process: subprocess.Popen, filler: Path, advice: str = "Make room") -> str:
    """Wait for the error message, which says what is wrong and what to do; then make room."""
    message = error_of(process)
    assert "No space left on device" in message and advice in message, message
    filler.unlink()
    return message


def wait_for(there: Callable[[], bool], process: subprocess.Popen) -> None:
    """Wait until something is on disk."""
    while not there():
        assert process.poll() is None
        time.sleep(0.01)


def fill_in_training(place: Path, expected: dict[str, object]) -> None:
    """Fill the disk while checkpoints are written."""
    process = start(place, *RUN)
    wait_for(lambda: any((place / "runs").rglob("last.pt")), process)
    advice = "The same command runs the failed ones again"
    message = make_room(process, fill(place), advice)
    load_weights(next((place / "runs").rglob("model.safetensors")))
    assert any((place / "runs").rglob("last.pt"))
    finish(start(place, *RUN))
    must_equal(contents(place / "runs"), expected)
    print(f"a checkpoint: {message}\n  resumed: the same result bit for bit", flush=True)


def fill_in_prediction(place: Path, volume: Path, expected: Path) -> None:
    """Fill the disk while segmented slices are written."""
    command = ("predict", NETWORK, volume, place / "out")
    process = start(place, *command)
    wait_for(lambda: len(list((place / "out").glob("*.tif"))) >= 3, process)
    message = make_room(process, fill(place))
    done = {path: path.stat().st_mtime_ns for path in (place / "out").glob("*.tif")}
    for path in done:
        assert (tifffile.imread(path) == tifffile.imread(expected / path.name)).all(), path
    finish(start(place, *command))
    assert all(path.stat().st_mtime_ns == when for path, when in done.items())
    must_equal(contents(place / "out"), contents(expected))
    print(f"a slice: {message}\n  {len(done)} slices stayed, then all are the same bit for bit",
          flush=True)


def fill_in_generation(place: Path, expected: dict[str, object]) -> None:
    """Fill the disk while the built-in data are written."""
    command = ("data", "make", "--profile", "tiny")
    shutil.rmtree(place / "data")
    message = make_room(start(place, *command), fill(place))
    assert not contents(place / "data")
    finish(start(place, *command))
    must_equal(contents(place / "data"), expected)
    print(f"a data set: {message}\n  nothing of it stayed, then it is complete", flush=True)


def disk(folder: Path) -> None:
    """Fill the disk under a checkpoint, a slice and a data set."""
    home, volume = prepare(folder)
    finish(start(home, *RUN))
    finish(start(home, "predict", NETWORK, volume, folder / "out"))
    with small_disk(folder / "disk", 40) as place:
        shutil.copytree(home / "data", place / "data")
        fill_in_training(place, contents(home / "runs"))
        fill_in_prediction(place, volume, folder / "out")
        fill_in_generation(place, contents(home / "data"))


def main() -> None:
    """Run the part that the command line names."""
    parts = {"kill": kill, "disk": disk}
    if sys.argv[1:] not in ([name] for name in parts):
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as temporary:
        parts[sys.argv[1]](Path(temporary))


if __name__ == "__main__":
    main()
