"""The notebooks where their readers open them, as far as it can be tried on one machine: Colab, Binder, other Pythons.

    python tests/prove/elsewhere.py colab     an environment of Colab's packages alone (ipywidgets 7.7.1), a stand-in
                                              for google.colab, the repository off the path, the unmodified notebooks
    python tests/prove/elsewhere.py binder    a clone, Binder's packages, binder/postBuild; then notebook 1 as it opens,
                                              and notebook 2 with another noise level, which it has to train, with
                                              everything limited to 2 GB together, JupyterLab too (root only)
    python tests/prove/elsewhere.py lowest    the wheel of a clean checkout, torch 2.13.0 and of all else the lowest
                                              versions that the metadata allows: its commands far from the repository,
                                              then the tests, but those in a browser
    python tests/prove/elsewhere.py newest [PYTHON]   the same with what is served now, by this Python

Each makes an environment of its own in a temporary folder (1.5 GB); $TORCH_INDEX is respected.
"""

import json
import os
import resource
import secrets
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
AT_ONCE = ("-n", "auto", "--dist", "worksteal")      # a process a core, as in the Makefile
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


MOVES = """
import ipywidgets
assert ipywidgets.__version__ == "7.7.1"
for panel in (explore.explore_errors(run, drawn.val), explore.explore_training(run, drawn.val),
              explore.compare({"one": run, "again": run}, drawn.val)):
    picture, seen = panel.children[1].children[0].children[0], set()
    for control in panel.children[0].children:
        if hasattr(control, "click"):
            control.click()
        for value in (getattr(control, "max", None), getattr(control, "min", None)):
            if value is not None:
                control.value = value
                seen.add(picture.value)
        for option in getattr(control, "options", ()):
            control.value = option[1] if isinstance(option, tuple) else option
            seen.add(picture.value)
    assert len(seen) >= 4, "the picture does not follow the sliders"
"""


def environment(folder: Path, *packages: str | Path, base: str = sys.executable) -> Path:
    """A new virtual environment with torch and these packages; returns its Python. ``base``: the Python it is of."""
    subprocess.run([base, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    index = ["--index-url", os.environ["TORCH_INDEX"]] if "TORCH_INDEX" in os.environ else []
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *index, "torch==2.13.0"], check=True)
    subprocess.run([*pip, *packages], check=True)
    return python


def installed(python: Path) -> set[str]:
    listed = subprocess.run([python, "-m", "pip", "freeze"], check=True, capture_output=True, text=True).stdout
    return set(listed.splitlines())


def execute(notebook: Path, python: Path, work: Path, more: str = "", **variables: str) -> float:
    """The seconds that a notebook takes, as it is stored and ``more`` after it, in a kernel of this Python."""
    kernel = work / "jupyter" / "kernels" / "elsewhere"
    kernel.mkdir(parents=True, exist_ok=True)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("XRAYLIB", "PYTHON"))}
    (kernel / "kernel.json").write_text(json.dumps({
        "argv": [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"], "display_name": "elsewhere",
        "language": "python"}))
    os.environ["JUPYTER_PATH"] = str(work / "jupyter")
    content = nbformat.read(notebook, 4)
    content.cells += [nbformat.v4.new_code_cell(more)] if more else []
    start = time.perf_counter()
    NotebookClient(content, kernel_name="elsewhere", timeout=1800, resources={"metadata": {"path": str(work)}}).execute(
        env=clean | {"IPYTHONDIR": str(work / "ipython"), "TQDM_DISABLE": "1"} | variables)
    return time.perf_counter() - start


def peak_of_children() -> float:
    """The most memory that any finished child process held, GB."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9


def colab(temporary: Path) -> None:
    not_there = ("torch", "ipywidgets", "jupyterlab", "papermill", "imagecodecs")     # or there in another version
    shipped = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["notebooks"]
    python = environment(temporary / "venv", "ipykernel", "ipywidgets==7.7.1",
                         *(name for name in shipped if not name.startswith(not_there)))
    (site,) = (temporary / "venv").glob("lib/python*/site-packages")
    (site / "google" / "colab").mkdir(parents=True)
    (site / "google" / "colab" / "__init__.py").touch()
    startup = temporary / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00_colab.py").write_text("import google.colab\n")   # loaded before the first cell, as there
    before = installed(python)
    missing = subprocess.run([python, "-c", "import xraylib"], cwd=temporary, capture_output=True)
    assert missing.returncode != 0, "xraylib is there before the set-up cell has run"
    for notebook in sorted((ROOT / "notebooks").rglob("*.ipynb")):
        moves, told = (MOVES, ", all sliders moved") if notebook.stem == "01_baseline" else ("", "")
        seconds = execute(notebook, python, temporary, moves, XRAYLIB_SOURCE=str(ROOT), XRAYLIB_PROFILE="tiny")
        print(f"Colab's packages, {notebook.stem}, tiny{told}: {seconds:.0f} s", flush=True)
    added = {line.split(" @ ")[0].split("==")[0] for line in installed(python) ^ before}
    assert added == {PROJECT["name"]}, f"the set-up cell changed other packages: {added}"
    trained = set(temporary.glob("runs/*/*/model.safetensors"))
    seconds = execute(ROOT / "notebooks" / "01_baseline.ipynb", python, temporary, XRAYLIB_SOURCE=str(ROOT))
    assert trained == set(temporary.glob("runs/*/*/model.safetensors")), "trained, not reused"
    print(f"Colab's packages, 01_baseline, laptop, a published run: {seconds:.0f} s, data made on the way; "
          f"{peak_of_children():.2f} GB at most")


@contextmanager
def limited_to(gigabytes: float) -> Iterator[tuple[Path, Callable[[], None]]]:
    """A control group whose processes together are killed above this memory: its folder, and how a child joins it."""
    whole = Path("/sys/fs/cgroup")
    first = (whole / "memory").is_dir()                          # version 1 of control groups, else 2
    group = (whole / "memory" if first else whole) / f"binder{os.getpid()}"
    try:
        group.mkdir()
        (group / ("memory.limit_in_bytes" if first else "memory.max")).write_text(str(int(gigabytes * 2**30)))
        swap = group / ("memory.memsw.limit_in_bytes" if first else "memory.swap.max")
        if swap.exists():
            swap.write_text(str(int(gigabytes * 2**30) if first else 0))
    except OSError as error:
        sys.exit(f"no control group can be made here ({error}); run this as root on a Linux machine")
    try:
        yield group, lambda: (group / "cgroup.procs").write_text(str(os.getpid()))
    finally:
        group.rmdir()


def most_held(group: Path, process: subprocess.Popen) -> tuple[float, int]:
    """Until the process ends: the most that its group held (GB, without files' cache), and how many were killed."""
    peak = 0
    while process.poll() is None:
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        peak = max(peak, int(stat.get("total_rss", stat.get("anon", 0))))
        time.sleep(0.1)
    events = next(group.glob("memory.oom_control"), group / "memory.events").read_text()
    return peak / 1e9, int(dict(line.split()[:2] for line in events.splitlines())["oom_kill"])


def binder(temporary: Path) -> None:
    clone = temporary / "clone"
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    python = environment(temporary / "venv", *PROJECT["dependencies"], *PROJECT["optional-dependencies"]["notebooks"])
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("XRAYLIB", "PYTHON"))}
    clean |= {"PATH": f"{python.parent}:{os.environ['PATH']}", "HOME": str(temporary), "TQDM_DISABLE": "1"}
    start = time.perf_counter()
    subprocess.run(["bash", "binder/postBuild"], cwd=clone, check=True, env=clean)
    print(f"binder/postBuild in a fresh clone: {time.perf_counter() - start:.0f} s", flush=True)
    with limited_to(2) as (group, join):
        server = subprocess.Popen([python, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.port=0",
                                   f"--IdentityProvider.token={secrets.token_hex(16)}"], cwd=clone, env=clean,
                                  preexec_fn=join, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            for notebook, *parameters in (["01_baseline"], ["02_noisy_train", "-p", "noise_std", "3000"]):
                start = time.perf_counter()
                process = subprocess.Popen([python, "-m", "papermill", "--no-progress-bar", f"{notebook}.ipynb",
                                            temporary / "out.ipynb", *parameters], cwd=clone / "notebooks", env=clean,
                                           preexec_fn=join, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
                peak, kills = most_held(group, process)
                assert process.returncode == 0 and kills == 0, process.stderr.read().decode()[-2000:]
                process.stderr.close()
                assert server.poll() is None
                trained = len(list(clone.glob("runs/*/*/result.json")))
                print(f"Binder's packages, {' '.join([notebook, *parameters])}, {trained} run(s) trained, everything "
                      f"within 2 GB, JupyterLab included: {time.perf_counter() - start:.0f} s, {peak:.2f} GB held at "
                      "most, nothing killed", flush=True)
            assert trained == 1, "the published runs were not shown, or the changed one not trained"
        finally:
            server.terminate()
            server.wait()


def packaged(temporary: Path, lowest: bool = False, base: str = sys.executable) -> None:
    checkout, outside = temporary / "checkout", temporary / "outside"
    subprocess.run(["git", "clone", "--quiet", ROOT, checkout], check=True)
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", temporary, checkout],
                   check=True)
    (wheel,) = temporary.glob("*.whl")
    more = PROJECT["optional-dependencies"]
    shipped = [name for name in PROJECT["dependencies"] + more["notebooks"] + more["cluster"]
               if not name.startswith("torch")]
    python = environment(temporary / "venv", *([name.replace(">=", "==") for name in shipped] if lowest else shipped),
                         *(name for name in more["test"] if not name.startswith(("ruff", "nbval"))), wheel, base=base)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
                    "--requirement", ROOT / "tests" / "no-deps.txt"], check=True)
    outside.mkdir()
    volume, published = checkout / "volume", next(checkout.glob("data/published/01_baseline/*/model.safetensors"))
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("XRAYLIB", "PYTHON"))}

    def run(*command: str | Path, where: Path = outside) -> None:
        start = time.perf_counter()
        done = subprocess.run(command, cwd=where, env=clean | {"TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1"},
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        print(f"{' '.join(map(str, command[1:4]))}: {time.perf_counter() - start:.0f} s; "
              f"{done.stdout.strip().splitlines()[-1]}", flush=True)

    for arguments in ("data make --profile tiny", "sweep 01_baseline -p profile=tiny", "report"):
        run(python, "-m", "xraylib", *arguments.split())
    run(python, "-m", "xraylib", "predict", published, next(outside.glob("data/built-in/*/data")), volume)
    assert (outside / "runs" / "summary.md").exists() and any(volume.glob("*.tif"))
    run(python.with_name("pytest"), "-q", *AT_ONCE, "--ignore", "tests/show/browser",
        *(["-W", "default"] if lowest else []), where=checkout)


if __name__ == "__main__":
    places = {"colab": colab, "binder": binder, "lowest": partial(packaged, lowest=True), "newest": packaged}
    if len(sys.argv) < 2 or sys.argv[1] not in places:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        places[sys.argv[1]](Path(folder), **({"base": sys.argv[2]} if sys.argv[2:] else {}))
