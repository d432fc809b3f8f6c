"""The commands in README and docs work as they stand, on made-up slices in the tiny profile."""

import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tifffile
from conftest import blobs

from xraylib.__main__ import make_parser
from xraylib.params import check_parameters

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "book/start.md",
         *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = [(page.name, block) for page in PAGES
          for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL)]
# What would take long or needs a cluster, and what stands for it here.
SHORTER = {"n_train=5,10,15": "n_train=5,10", "seed=0:5": "seed=0:1", "--workers 2": ""}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """One home for all pages, so that a network is trained once."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def folder(home, tmp_path, monkeypatch):
    """A working directory with the reader's labelled slices and a volume."""
    monkeypatch.setenv("XRAYLIB_HOME", str(home))
    monkeypatch.setenv("XRAYLIB_PROFILE", "tiny")
    monkeypatch.chdir(tmp_path)
    for kind in ("my_slices/images", "my_slices/labels", "my_volume"):
        Path(kind).mkdir(parents=True)
    slices = blobs(12, 64, 64)
    for index, (image, label) in enumerate(zip(slices.images, slices.labels, strict=True)):
        tifffile.imwrite(f"my_slices/images/s_{index}.tif", image)
        tifffile.imwrite(f"my_slices/labels/s_{index}.tif", label.astype(np.uint8))
        tifffile.imwrite(f"my_volume/s_{index}.tif", image)
    return home


def run_library(words, home):
    """Run a command of the library in this process; one that needs a cluster is only parsed."""
    runs = sorted((home / "runs").glob("11_your_material/*/result.json"))
    words = [str(runs[0].parent) if word.endswith("/0123456789ab") else word for word in words]
    arguments = make_parser().parse_args(words)
    if "--scheduler" not in words and words != ["data", "fetch", "data/real"]:
        arguments.call(arguments)


@pytest.mark.parametrize(("page", "block"), BLOCKS, ids=[f"{n}-{i}" for i, (n, _) in
                                                         enumerate(BLOCKS)])
def test_commands_work(page, block, folder):
    for line in block.splitlines():
        for long, short in SHORTER.items():
            line = line.replace(long, short)
        program, *words = shlex.split(line, comments=True)
        if program == "make":
            subprocess.run(["make", "-n", *words], cwd=ROOT, check=True, capture_output=True)
        elif words[:2] == ["-m", "xraylib"]:
            run_library(words[2:], folder)
        elif program.endswith("papermill"):
            assert (ROOT / words[0]).exists() and words[2::3] == ["-p"] * (len(words) // 3)
            check_parameters(**dict(zip(words[3::3], words[4::3], strict=True)))
        elif words[:2] == ["-m", "pytest"]:
            assert (ROOT / words[2]).exists()
        elif program == "git":
            assert words[0] == "clone"
        else:
            assert program in {".venv/bin/pre-commit", ".venv/bin/ruff", ".venv/bin/mypy"}, line
