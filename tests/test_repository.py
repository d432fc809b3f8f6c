"""Files that must agree with each other, and rules that hold for the whole tree."""

import contextlib
import io
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REPOSITORY = PROJECT["urls"]["repository"]


def tracked():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_binder_has_the_tested_environment():
    assert (ROOT / "binder/environment.yml").read_text() == (ROOT / "environment.yml").read_text()


def test_the_environment_holds_every_dependency():
    names = {re.split(r"[ =<>]", line.strip(" -"))[0] for line in (ROOT / "environment.yml").read_text().splitlines()}
    conda = {"torch": "pytorch", "matplotlib": "matplotlib-base"}
    for requirement in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["notebooks"]:
        name = re.split(r"[<>=]", requirement)[0]
        assert conda.get(name, name) in names


def test_the_repository_has_one_address():
    address = re.compile(r"github\.com/([\w.-]+/[\w.-]+?)(?=\.git|[/#\s\"')\]?]|$)")
    ours = REPOSITORY.removeprefix("https://github.com/")
    foreign = {"magn2998/XraySegmentation"}
    for path in tracked():
        if path.suffix in {".md", ".cff", ".yml", ".toml", ".ipynb"}:
            assert set(address.findall(path.read_text())) <= {ours, *foreign}, path


def test_make_installs_the_torch_of_the_tested_environment():
    (version,) = re.findall(r"torch==(\S+)", (ROOT / "Makefile").read_text())
    assert f"pytorch ={version.rsplit('.', 1)[0]}" in (ROOT / "environment.yml").read_text()


def test_library_files_are_short():
    for path in (ROOT / "xraylib").glob("*.py"):
        assert path.read_text().count("\n") <= 250, path


def test_nothing_large_is_committed():
    sizes = {path: path.stat().st_size for path in tracked()}
    assert max(sizes.values()) < 3_000_000 and sum(sizes.values()) < 40_000_000


@pytest.mark.parametrize("name", ["LSF", "SLURM", "PBS"])
def test_the_readmes_cluster_scripts_make_a_job_script(name):
    """What they pass is known to dask-jobqueue and ends up in the script that a scheduler would be given."""
    (block,) = [block for block in re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
                if f"{name}Cluster" in block]
    code = block.replace('if __name__ == "__main__":', "if True:").replace('"port": 8786', '"port": 0')
    spoken = io.StringIO()
    with contextlib.redirect_stdout(spoken):
        scope: dict = {}
        exec(code.replace("cluster.adapt(minimum=1, maximum=20)", "script = cluster.job_script()"), scope)
        scope["cluster"].close()
    assert "--scheduler tcp://" in spoken.getvalue()
    assert "OMP_NUM_THREADS=4" in scope["script"] and "--lifetime 225m" in scope["script"]
    assert re.search(r"-n 4|--cpus-per-task=4|ncpus=4", scope["script"])
