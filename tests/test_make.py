"""The Makefile: folders of any name, and no system packages without asking."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


SETTINGS = ("MAKE", "DATA", "NAMES", "PARAMETERS", "PROFILE", "SEED", "TORCH_INDEX")


def make(*arguments, **options):
    """Run make as if .venv were ready, without the settings of a `make test` around it."""
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith(SETTINGS)}
    command = ["make", "--old-file=.venv/ready", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True,
                          **options)


def output_folder(data, *arguments):
    done = make("--dry-run", "run", "NAMES=01_baseline", f"DATA={data}", *arguments)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("mkdir -p ")]
    return line.removeprefix("mkdir -p ")


@pytest.mark.parametrize("name", [
    "slices", "a folder with spaces", "it's", 'say "hi"', "$HOME", "$(dollar)", "a#b", "Größe 5 µm",
])
def test_make_run_takes_a_folder_of_any_name(tmp_path, name):
    """The folder reaches papermill as it is, and the outputs have a name that make can hold."""
    folder = output_folder(tmp_path / name)
    assert folder.startswith("runs/notebooks/laptop-seed0-") and " " not in folder
    assert folder.encode().isascii() and not set(folder) & set("'\"$#()")
    recipe = 'include Makefile\nshow:\n\t@echo "$$DATA"\n'
    done = make("--file=-", "show", f"DATA={tmp_path / name}", input=recipe)
    assert done.stdout == f"{tmp_path / name}\n"


def test_outputs_of_different_data_and_parameters_never_mix(tmp_path):
    for name in ("a b", "c/a b", "a_b"):
        (tmp_path / name).mkdir(parents=True)
    folders = {output_folder(tmp_path / name) for name in ("a b", "c/a b", "a_b")}
    folders |= {output_folder(tmp_path / "a b", "PARAMETERS=-p noise_std 3000"),
                output_folder(tmp_path / "a b", "PROFILE=tiny"),
                output_folder(tmp_path / "a b", "SEED=1"), output_folder("")}
    assert len(folders) == 7
    assert any(folder.endswith("-p-noise_std-3000") and "-a-b-" in folder for folder in folders)
    relative = os.path.relpath(tmp_path / "a b", ROOT)
    assert output_folder(relative) == output_folder(tmp_path / "a b")  # one folder, one output


def test_make_test_runs_every_check():
    printed = make("--dry-run", "test").stdout
    for check in ("ruff check .", "bin/mypy", "pytest -n auto", "prepare_notebooks.py build/nbval",
                  "--nbval-lax build/nbval", "check_browser.py"):
        assert check in printed
    assert "apt" not in printed and "install" not in printed
    built = make("--dry-run", "--what-if=site/index.html", "test").stdout
    assert "node site/build.mjs build/site-assets build/site" in built


def test_a_missing_browser_stops_with_what_to_install(tmp_path):
    command = [sys.executable, ROOT / "tools/check_browser.py"]
    nowhere = dict.fromkeys(("PATH", "HOME", "PLAYWRIGHT_BROWSERS_PATH"), str(tmp_path))
    done = subprocess.run(command, env=nowhere, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith("error: the tests of the sliders need")
    assert "apt-get install chromium" in done.stderr and "make chromium" in done.stderr
    (tmp_path / "chromium").symlink_to(shutil.which("true"))
    assert subprocess.run(command, env=nowhere).returncode == 0


def test_a_missing_node_stops_with_what_to_install(tmp_path):
    command = [sys.executable, ROOT / "tools/check_node.py"]
    done = subprocess.run(command, env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 1 and "Node.js 18 or later with npm, which is not" in done.stderr
    assert "apt-get install nodejs npm" in done.stderr
    for name, version in (("node", "v16.20.1"), ("npm", "8")):
        (tmp_path / name).write_text(f"#!/bin/sh\necho {version}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(command, env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 1 and "which is too old (v16.20.1)" in done.stderr
    (tmp_path / "node").write_text("#!/bin/sh\necho v18.0.0\n")
    assert subprocess.run(command, env={"PATH": str(tmp_path)}).returncode == 0
