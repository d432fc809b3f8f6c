"""Files that must agree with each other, and rules that hold for the whole tree."""

import ast
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
    optional = PROJECT["optional-dependencies"]
    for requirement in PROJECT["dependencies"] + optional["notebooks"] + optional["cluster"] + optional["test"]:
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


# The house, from the ground up: what stands here imports what stands before it, and nothing after.
FLOORS = ["files", "workers", "unet", "dice", "slices", "noise", "augment", "experiments", "predict", "train", "runs",
          "material", "show", "__main__"]
TAUGHT = ("unet", "dice", "noise", "train")
MODULES = sorted(path.relative_to(ROOT / "xraylib") for path in (ROOT / "xraylib").rglob("*.py")
                 if path.name != "__init__.py")
ROOMS = sorted(path.parent for path in (ROOT / "xraylib").glob("*/__init__.py"))


def imported(module: Path) -> set[str]:
    """The floors that a module of the library imports from (it does so by relative imports alone)."""
    floors = set()
    for node in ast.walk(ast.parse((ROOT / "xraylib" / module).read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            target = [*module.parts[:-node.level], *filter(None, (node.module or "").split("."))]
            floors |= {target[0]} if target else {alias.name for alias in node.names}
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            assert "xraylib" not in ast.unparse(node), module
    return floors


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_nothing_imports_what_stands_above_it(module):
    own = module.parts[0].removesuffix(".py")
    for floor in imported(module) - {own}:
        assert FLOORS.index(floor) < FLOORS.index(own), f"{module} imports {floor}"


def test_the_look_at_imports_sees_them():
    assert imported(Path("train.py")) == {"augment", "dice", "predict", "slices", "unet"}
    assert imported(Path("runs/folder.py")) > {"experiments", "files", "predict", "slices", "train", "runs"}
    assert "slices" in imported(Path("__main__.py")) and "runs" in imported(Path("__main__.py"))


def test_every_room_has_one_line_that_says_what_is_in_it_and_few_files():
    assert {path.name for path in ROOMS} | {str(path.with_suffix("")) for path in MODULES if len(path.parts) == 1} == {
        *FLOORS}
    for room in ROOMS:
        (line,) = ast.parse((room / "__init__.py").read_text()).body
        assert isinstance(line, ast.Expr) and "\n" not in line.value.value
        assert len(list(room.glob("*.py"))) <= 10, room
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert set(packages) == {"xraylib", "xraylib.shipped", *(f"xraylib.{room.name}" for room in ROOMS)}


def test_library_files_are_short():
    lines = {path: (ROOT / "xraylib" / path).read_text().count("\n") for path in MODULES}
    assert max(lines.values()) <= 250
    assert sum(lines[Path(f"{name}.py")] for name in TAUGHT) <= 500


def test_every_public_function_says_what_it_does():
    for path in MODULES:
        body = ast.parse((ROOT / "xraylib" / path).read_text()).body
        methods = [node for owner in body if isinstance(owner, ast.ClassDef) for node in owner.body]
        for node in (*body, *methods):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{path}: {node.name}"


def test_the_readme_says_where_everything_is():
    """Its table of concepts names every file of the library, and no other."""
    text = (ROOT / "README.md").read_text()
    table = text[text.index("## Where is what"):]
    named = set(re.findall(r"\]\(xraylib/([\w/]+\.py)\)", table[:table.index("\n## ", 3)]))
    assert named == {path.as_posix() for path in MODULES}


def test_nothing_large_is_committed():
    sizes = {path: path.stat().st_size for path in tracked()}
    assert max(sizes.values()) < 3_000_000 and sum(sizes.values()) < 45_000_000


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
