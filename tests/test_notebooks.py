"""What holds for every notebook, read from its file; and papermill runs with other parameters."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
from tiny import solutions

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = {path.stem: nbformat.read(path, 4) for path in sorted((ROOT / "notebooks").rglob("*.ipynb"))}
PATHS = {path.stem: path.relative_to(ROOT) for path in sorted((ROOT / "notebooks").rglob("*.ipynb"))}
REPOSITORY = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["repository"]
every = pytest.mark.parametrize("name", NOTEBOOKS)


def code(name):
    return [cell for cell in NOTEBOOKS[name].cells if cell.cell_type == "code"]


def prose(name):
    return "\n".join(cell.source for cell in NOTEBOOKS[name].cells if cell.cell_type == "markdown")


@every
def test_cells_are_short_and_easy_to_read(name):
    """At most 12 lines; a small function may stand for a nested comprehension, which may not stand at all."""
    loops = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
    for cell in code(name):
        assert len([line for line in cell.source.splitlines() if line.strip()]) <= 12, cell.source
        for node in ast.walk(ast.parse(cell.source)):
            assert not isinstance(node, (ast.ClassDef, ast.AsyncFunctionDef)), cell.source
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 6 and ast.get_docstring(node), cell.source
            inner = sum(isinstance(child, loops) for child in ast.walk(node)) - 1
            assert not isinstance(node, loops) or inner <= 1, cell.source


@every
def test_one_parameters_cell_of_literals_each_explained(name):
    (cell,) = [cell for cell in code(name) if "parameters" in cell.metadata.get("tags", [])]
    lines = cell.source.splitlines()
    assert lines[0].startswith("# The parameters")              # what parameters.from_notebook looks for
    for node in ast.parse(cell.source).body:
        ast.literal_eval(node.value)
    assert all("  # " in line for line in lines[1:])


@every
def test_badges_and_set_up_point_to_the_one_repository_address(name):
    slug = REPOSITORY.removeprefix("https://github.com/")
    path = PATHS[name].as_posix()
    assert f"https://colab.research.google.com/github/{slug}/blob/main/{path}" in prose(name)
    assert f"https://mybinder.org/v2/gh/{slug}/main?labpath={path.replace('/', '%2F')}" in prose(name)
    assert f'"git+{REPOSITORY}"' in code(name)[0].source


@every
def test_same_set_up_everywhere(name):
    assert code(name)[0].source == code(next(iter(NOTEBOOKS)))[0].source


@every
def test_the_skeleton_is_whole_and_in_order(name):
    marks = ["**The question.**", "**You will**", "| profile |", "## Set-up", "## Predict before you look", "## Answer",
             "## Exercises", "## References"]
    found = [prose(name).find(mark) for mark in marks]
    assert -1 not in found and found == sorted(found)
    assert prose(name).count("<details>") == prose(name).count("</details>") >= 3


@every
def test_outputs_are_those_of_one_whole_run_or_none(name):
    counts = [cell.execution_count for cell in code(name)]
    assert counts in ([None] * len(counts), list(range(1, len(counts) + 1)))
    outputs = [output for cell in code(name) for output in cell.outputs]
    assert not any(output.output_type == "error" for output in outputs)
    if counts[0] is None:
        assert not outputs
    assert "widgets" not in NOTEBOOKS[name].metadata


def papermill(name, folder, *arguments):
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", str(ROOT / PATHS[name]), "out.ipynb",
               "-p", "profile", "tiny", "-p", "reuse", "False", *arguments]
    environment = os.environ | {"XRAYLIB_HOME": str(folder / "home")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    return done, nbformat.read(folder / "out.ipynb", 4)


def test_papermill_runs_it_from_any_folder_with_other_parameters(tmp_path):
    other = ["-p", "seed", "7", "-p", "split", "block", "-p", "n_train", "12"]
    done, notebook = papermill("01_baseline", tmp_path, *other)
    assert done.returncode == 0, done.stderr
    (config,) = (tmp_path / "home/runs").glob("01_baseline/*/config.json")
    assert re.search(r'"seed": 7', config.read_text()) and re.search(r'"n_train": 12', config.read_text())
    figures = {path.stem for path in (config.parent / "figures").iterdir()}
    assert figures == {"learning_curve", "dice_by_phase", "errors", "errors_over_training", "leak"}
    assert not [cell for cell in notebook.cells if cell.get("outputs") and cell.outputs[0].output_type == "error"]


@pytest.mark.parametrize(("arguments", "message"), [
    (["-p", "profile", "lptop"], "profile is 'lptop'; it must be one of"),
    (["-p", "n_train", "0"], "n_train is 0; it must be a whole number"),
    (["-p", "sede", "3"], "unknown parameter 'sede'; this notebook knows data_dir"),
    (["-p", "data_dir", "nowhere"], "data is not a folder; data_dir must name"),
    (["-p", "n_train", "60"], "n_train + n_val is 60 + 1 = 61, but there are 48 slices"),
])
def test_a_wrong_parameter_stops_it_with_a_sentence_before_anything_starts(tmp_path, arguments, message):
    done, _ = papermill("01_baseline", tmp_path, *arguments)
    assert done.returncode != 0 and message in done.stderr
    assert not (tmp_path / "home/runs").exists()


@every
def test_exercises_have_solutions(name):
    """What they do is seen when nbval runs them, see tests/tiny.py."""
    assert len(solutions(NOTEBOOKS[name])) >= 3
