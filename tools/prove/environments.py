"""Virtual environments and limits of memory, for `elsewhere.py`."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def environment(folder: Path, *packages: str | Path, base: str = sys.executable) -> Path:
    """Make a virtual environment of Python ``base`` with torch and these packages.

    Returns:
        Its Python.
    """
    subprocess.run([base, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    torch_index = os.environ.get("TORCH_INDEX")
    index = ["--index-url", torch_index] if torch_index else []
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *index, "torch==2.13.0"], check=True)
    subprocess.run([*pip, *packages], check=True)
    return python


def clean_environment() -> dict[str, str]:
    """Return this process's variables without those of Python and of the library."""
    return {name: value for name, value in os.environ.items()
            if not name.startswith(("XRAYLIB", "PYTHON"))}


def installed(python: Path) -> set[str]:
    """Return the packages of an environment, with their versions."""
    command = [python, "-m", "pip", "freeze"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return set(listed.splitlines())


def peak_of_children() -> float:
    """Return the peak memory of the finished child processes, GB."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9


@contextmanager
def limited_to(gigabytes: float) -> Iterator[tuple[Path, Callable[[], None]]]:
    """Make a control group whose processes are killed if together they exceed this memory.

    Returns:
        The folder of the group, and a function by which a child process joins it.
    """
    root, limit = Path("/sys/fs/cgroup"), str(int(gigabytes * 2**30))
    first = (root / "memory").is_dir()  # version 1 of control groups, else 2
    group = (root / "memory" if first else root) / f"binder{os.getpid()}"
    try:
        group.mkdir()
        (group / ("memory.limit_in_bytes" if first else "memory.max")).write_text(limit)
        swap = group / ("memory.memsw.limit_in_bytes" if first else "memory.swap.max")
        if swap.exists():
            swap.write_text(limit if first else "0")
    except OSError as error:
        sys.exit(f"no control group can be made ({error}); run this as root on a Linux machine")
    try:
        yield group, lambda: (group / "cgroup.procs").write_text(str(os.getpid()))
    finally:
        group.rmdir()


def peak_of_group(group: Path, process: subprocess.Popen) -> tuple[float, int]:
    """Wait for the process.

    Returns:
        The peak memory of its group without the cache of files, GB, and how many were killed.
    """
    peak = 0
    while process.poll() is None:
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        peak = max(peak, int(stat.get("total_rss", stat.get("anon", 0))))
        time.sleep(0.1)
    events = next(group.glob("memory.oom_control"), group / "memory.events").read_text()
    return peak / 1e9, int(dict(line.split()[:2] for line in events.splitlines())["oom_kill"])
