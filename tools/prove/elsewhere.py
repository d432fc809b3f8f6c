"""Run the notebooks where their readers open them: Colab, Binder and other versions of Python.

    python tools/prove/elsewhere.py colab     an environment of Colab's packages alone (ipywidgets
                                              7.7.1) with a stand-in for google.colab and the
                                              repository off the path; all notebooks
    python tools/prove/elsewhere.py binder    a clone, Binder's packages, binder/postBuild; then
                                              notebook 1 as it opens and notebook 2 with another
                                              noise level, which it has to train; all processes
                                              together, JupyterLab too, get 2 GB (root only)
    python tools/prove/elsewhere.py lowest    the wheel of a clean checkout, torch 2.13.0 and the
                                              lowest versions of all else that pyproject.toml
                                              allows: its commands, then the tests, but not those
                                              of the book and of pages in a browser
    python tools/prove/elsewhere.py newest [PYTHON]
                                              the same with the newest versions, by this Python

Each makes an environment of its own in a temporary folder (1.5 GB) and respects $TORCH_INDEX.
"""

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
import tomllib
from functools import partial
from pathlib import Path

import nbformat
from environments import (
    clean_environment,
    environment,
    installed,
    limited_to,
    peak_of_children,
    peak_of_group,
)
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MOVE_SLIDERS = """
import ipywidgets
assert ipywidgets.__version__ == "7.7.1"
from xraylib import widgets
for panel in (widgets.explore_errors(run, drawn.val), widgets.explore_training(run, drawn.val),
              widgets.compare_networks({"one": run, "again": run}, drawn.val)):
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


def execute(notebook: Path, python: Path, work: Path, more: str = "", **variables: str) -> float:
    """Execute a stored notebook in a kernel of this Python.

    Its set-up cell installs the library from this repository instead of from its address.

    Args:
        notebook: The stored notebook.
        python: Of the kernel.
        work: Where it is executed.
        more: Code that runs after it.
        variables: Environment variables of the kernel.

    Returns:
        How long it took, s.
    """
    kernel = work / "jupyter" / "kernels" / "elsewhere"
    kernel.mkdir(parents=True, exist_ok=True)
    (kernel / "kernel.json").write_text(json.dumps({
        "argv": [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "elsewhere", "language": "python"}))
    os.environ["JUPYTER_PATH"] = str(work / "jupyter")
    content = nbformat.read(notebook, 4)
    set_up = next(cell for cell in content.cells if cell.cell_type == "code")
    address = f"git+{PROJECT['urls']['repository']}"
    assert address in set_up.source
    set_up.source = set_up.source.replace(address, str(ROOT))
    content.cells += [nbformat.v4.new_code_cell(more)] if more else []
    start = time.perf_counter()
    client = NotebookClient(content, kernel_name="elsewhere", timeout=1800,
                            resources={"metadata": {"path": str(work)}})
    client.execute(env=clean_environment() | {
        "PATH": f"{python.parent}:{os.environ['PATH']}",  # of the pip that the set-up cell calls
        "IPYTHONDIR": str(work / "ipython"), "TQDM_DISABLE": "1"} | variables)
    return time.perf_counter() - start


def pretend_colab(temporary: Path) -> Path:
    """Make an environment of Colab's packages, with a google.colab, and return its Python."""
    # Colab lacks these, or has another version.
    missing = ("torch", "ipywidgets", "jupyterlab", "papermill", "imagecodecs")
    wanted = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["notebooks"]
    python = environment(temporary / "venv", "ipykernel", "ipywidgets==7.7.1",
                         *(name for name in wanted if not name.startswith(missing)))
    (site,) = (temporary / "venv").glob("lib/python*/site-packages")
    (site / "google" / "colab").mkdir(parents=True)
    (site / "google" / "colab" / "__init__.py").touch()
    startup = temporary / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    # Loaded before the first cell, as on Colab.
    (startup / "00_colab.py").write_text("import google.colab\n")
    return python


def colab(temporary: Path) -> None:
    """Execute all notebooks in an environment like Colab's."""
    python = pretend_colab(temporary)
    before = installed(python)
    absent = subprocess.run([python, "-c", "import xraylib"], cwd=temporary, capture_output=True)
    assert absent.returncode != 0, "xraylib is there before the set-up cell has run"
    for notebook in sorted((ROOT / "notebooks").rglob("*.ipynb")):
        first = notebook.stem == "01_baseline"
        seconds = execute(notebook, python, temporary, MOVE_SLIDERS if first else "",
                          XRAYLIB_PROFILE="tiny")
        print(f"Colab's packages, {notebook.stem}, tiny{', all sliders moved' * first}: "
              f"{seconds:.0f} s", flush=True)
    added = {line.split(" @ ")[0].split("==")[0] for line in installed(python) ^ before}
    assert added == {PROJECT["name"]}, f"the set-up cell changed other packages: {added}"
    trained = set(temporary.glob("runs/*/*/model.safetensors"))
    notebook = ROOT / "notebooks" / "01_baseline.ipynb"
    seconds = execute(notebook, python, temporary)
    assert trained == set(temporary.glob("runs/*/*/model.safetensors")), "trained, not published"
    print(f"Colab's packages, 01_baseline, laptop, a published run: {seconds:.0f} s with "
          f"the generation of the data; peak memory {peak_of_children():.2f} GB")


def binder(temporary: Path) -> None:
    """Execute two notebooks in an environment like Binder's, within 2 GB."""
    clone = temporary / "clone"
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    packages = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["notebooks"]
    python = environment(temporary / "venv", *packages)
    clean = clean_environment() | {"PATH": f"{python.parent}:{os.environ['PATH']}",
                                   "HOME": str(temporary), "TQDM_DISABLE": "1"}
    start = time.perf_counter()
    subprocess.run(["bash", "binder/postBuild"], cwd=clone, check=True, env=clean)
    print(f"binder/postBuild in a fresh clone: {time.perf_counter() - start:.0f} s", flush=True)
    with limited_to(2) as (group, join):
        server = subprocess.Popen(
            [python, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.port=0",
             f"--IdentityProvider.token={secrets.token_hex(16)}"], cwd=clone, env=clean,
            preexec_fn=join, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            changed = ["02_noisy_train", "-p", "noise_std", "3000"]
            for name, *parameters in (["01_baseline"], changed):
                start = time.perf_counter()
                process = subprocess.Popen(
                    [python, "-m", "papermill", "--no-progress-bar", f"{name}.ipynb",
                     temporary / "out.ipynb", *parameters], cwd=clone / "notebooks", env=clean,
                    preexec_fn=join, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
                peak, kills = peak_of_group(group, process)
                errors = process.communicate()[1].decode()[-2000:]
                assert process.returncode == 0 and kills == 0, errors
                assert server.poll() is None
                trained = len(list(clone.glob("runs/*/*/result.json")))
                print(f"Binder's packages, {' '.join([name, *parameters])}, {trained} run(s) "
                      f"trained: {time.perf_counter() - start:.0f} s, peak memory {peak:.2f} GB "
                      "of 2 with JupyterLab, nothing killed", flush=True)
            assert trained == 1, "published runs were trained again, or the changed one was not"
        finally:
            server.terminate()
            server.wait()


def packaged_environment(temporary: Path, lowest: bool, base: str) -> Path:
    """Install the wheel of a clean checkout with the lowest or newest versions of all else."""
    pip_wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"]
    subprocess.run([*pip_wheel, temporary, temporary / "checkout"], check=True)
    more = PROJECT["optional-dependencies"]
    extras = more["notebooks"] + more["cluster"] + more["export"]
    packages = [name for name in PROJECT["dependencies"] + extras
                if not name.startswith("torch")]
    if lowest:
        packages = [name.replace(">=", "==") for name in packages]
    tools = ("ruff", "mypy", "pre-commit")
    tests = [name for name in more["test"] + more["book"] if not name.startswith(tools)]
    python = environment(temporary / "venv", *packages, *tests, *temporary.glob("*.whl"), base=base)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                    "--no-deps", "--requirement", ROOT / "tests" / "no-deps.txt"], check=True)
    return python


def packaged(temporary: Path, lowest: bool = False, base: str = sys.executable) -> None:
    """Run the commands and the tests with an installed wheel."""
    checkout, outside = temporary / "checkout", temporary / "outside"
    subprocess.run(["git", "clone", "--quiet", ROOT, checkout], check=True)
    python = packaged_environment(temporary, lowest, base)
    outside.mkdir()
    quiet = clean_environment() | {"TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1"}

    def run(*command: str | Path, where: Path = outside) -> None:
        start = time.perf_counter()
        done = subprocess.run(command, cwd=where, env=quiet, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        print(f"{' '.join(map(str, command[1:4]))}: {time.perf_counter() - start:.0f} s; "
              f"{done.stdout.strip().splitlines()[-1]}", flush=True)

    command = python.with_name("xraylib")
    for words in ("data make --profile tiny", "sweep 01_baseline -p profile=tiny", "report"):
        run(command, *words.split())
    volume = temporary / "volume"
    run(command, "predict", "baseline", next(outside.glob("data/built-in/*/data")), volume)
    assert (outside / "runs" / "summary.md").exists() and any(volume.glob("*.tif"))
    run(python.with_name("pytest"), "-q", "-n", "auto", "--dist", "worksteal",
        *(f"--ignore=tests/{name}" for name in ("browser", "site", "test_book.py")),
        *(["-W", "default"] if lowest else []), where=checkout)


def main() -> None:
    """Run the part that the command line names."""
    places = {"colab": colab, "binder": binder, "newest": packaged,
              "lowest": partial(packaged, lowest=True)}
    if len(sys.argv) < 2 or sys.argv[1] not in places:
        sys.exit(__doc__)
    options = {"base": sys.argv[2]} if sys.argv[2:] else {}
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # other users of the tests read the library here
        places[sys.argv[1]](Path(folder), **options)


if __name__ == "__main__":
    main()
