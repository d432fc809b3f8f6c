"""Rules that hold for every notebook, read from its file, and runs by papermill.

The tests whose names hold "papermill" execute notebooks. The others take seconds, and a pre-commit
hook runs them. `make test` also runs every cell of every notebook, see tools/prepare_notebooks.py.
"""

import ast
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
from address import repository
from prepare_notebooks import prepared

ROOT = Path(__file__).resolve().parents[1]
FILES = {path.stem: path for path in sorted((ROOT / "notebooks").rglob("*.ipynb"))}
NOTEBOOKS = {name: nbformat.read(path, 4) for name, path in FILES.items()}
CHECK_OUTPUT = "nbval-check-output"  # tag of the cells whose output nbval compares
HIDDEN = {  # what JupyterLab and Colab need to hide what a tag hides in Jupyter Book
    "hide-input": {"source_hidden": True},
    "hide-cell": {"source_hidden": True, "outputs_hidden": True}}
MAKE_FIGURE = {"subplots", "figure", "error_panels", "compare_predictions", "draw_along_z"}
SHOW_FIGURE = {"display_figure", "save_figure"}  # both take the caption last
EXERCISE = re.compile(r"(\d+)\. \*\((easy|medium|hard)\)\* \S")
every = pytest.mark.parametrize("name", NOTEBOOKS)


def code(name):
    return [cell for cell in NOTEBOOKS[name].cells if cell.cell_type == "code"]


def prose(name):
    return "\n".join(cell.source for cell in NOTEBOOKS[name].cells if cell.cell_type == "markdown")


def tags(cell):
    return cell.metadata.get("tags", [])


def sources(name):
    return [cell.source for cell in code(name)]


def calls(source, names):
    """The calls of these functions, whatever module they are in."""
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)
            and ast.unparse(node.func).rpartition(".")[2] in names]


def parameters_cell(name):
    (cell,) = [cell for cell in code(name) if "parameters" in tags(cell)]
    return cell


# -- code ------------------------------------------------------------------------------------------


@every
def test_cells_are_short(name):
    """At most 12 lines; a training loop, which is one thing, may have 18."""
    for cell in code(name):
        limit = 18 if "training-loop" in tags(cell) else 12
        lines = [line for line in cell.source.splitlines() if line.strip()]
        assert len(lines) <= limit, cell.source


@every
def test_lines_fit_on_a_screen_of_1280_px(name):
    """But for a line that holds nothing but the address of the repository."""
    lines = [line for source in sources(name) for line in source.splitlines()]
    assert not [line for line in lines
                if len(line) > 88 and not line.lstrip().startswith('"git+https://')]


@every
def test_cells_are_easy_to_read(name):
    """No classes, short functions with a docstring, no comprehension inside a comprehension."""
    loops = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
    for source in sources(name):
        for node in ast.walk(ast.parse(source)):
            assert not isinstance(node, ast.ClassDef | ast.AsyncFunctionDef), source
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 10 and ast.get_docstring(node), source
            inner = sum(isinstance(child, loops) for child in ast.walk(node)) - 1
            assert not isinstance(node, loops) or inner <= 1, source


@every
def test_at_most_six_imports_stand_before_the_first_lesson(name):
    cells = code(name)
    before = cells[:cells.index(parameters_cell(name))]
    nodes = [node for cell in before for node in ast.parse(cell.source).body]
    assert 0 < len([node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]) <= 6


@every
def test_every_import_is_there(name):
    nodes = [node for source in sources(name) for node in ast.walk(ast.parse(source))]
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            exec(ast.unparse(node), {})


@every
def test_parameters_are_literals_each_with_a_comment(name):
    lines = parameters_cell(name).source.splitlines()
    assert lines[0].startswith("# The parameters")
    for node in ast.parse("\n".join(lines)).body:
        ast.literal_eval(node.value)
    assert all("  # " in line for line in lines[1:])


@every
def test_every_parameter_is_checked(name):
    """`params.from_notebook` gets the names of all parameters, and of no other."""
    assigned = [node.targets[0].id for node in ast.parse(parameters_cell(name).source).body]
    (call,) = [call for source in sources(name) for call in calls(source, {"from_notebook"})]
    assert ast.literal_eval(call.args[1]).split() == assigned


@every
def test_the_set_up_is_the_same_everywhere_and_of_two_statements(name):
    assert code(name)[0].source == code("01_baseline")[0].source
    assert f"git+https://github.com/{repository()}" in code(name)[0].source
    assert len(ast.parse(code(name)[0].source).body) <= 2


@every
def test_every_zip_says_whether_lengths_may_differ(name):
    zips = [call for source in sources(name) for call in calls(source, {"zip"})]
    assert all("strict" in {word.arg for word in call.keywords} for call in zips)


@every
def test_cells_hidden_by_a_tag_are_hidden_in_every_viewer(name):
    for cell in NOTEBOOKS[name].cells:
        expected = {}
        for tag in tags(cell):
            expected |= HIDDEN.get(tag, {})
        assert cell.metadata.get("jupyter", {}) == expected, cell.source
        assert cell.metadata.get("cellView") == ("form" if expected else None), cell.source


# -- text ------------------------------------------------------------------------------------------


@every
def test_badges_open_this_notebook(name):
    path = FILES[name].relative_to(ROOT).as_posix()
    ours = f"https://colab.research.google.com/github/{repository()}/blob/main/{path}"
    binder = f"https://mybinder.org/v2/gh/{repository()}/main?labpath={path.replace('/', '%2F')}"
    assert ours in prose(name) and binder in prose(name)


@every
def test_the_skeleton_is_complete_and_in_order(name):
    marks = ["**The question.**", "**You will**", "| profile |", "## Set-up",
             "## Predict before you look", "## Answer", "## Exercises", "## References"]
    found = [prose(name).find(mark) for mark in marks]
    assert -1 not in found and found == sorted(found)


@every
def test_every_exercise_is_followed_by_its_hidden_solution(name):
    """Three exercises or more, numbered, each with a level and then with one cell of code."""
    cells = NOTEBOOKS[name].cells
    numbers = []
    for cell, following in pairwise(cells):
        found = [EXERCISE.match(line) for line in cell.source.splitlines()]
        found = [match for match in found if match and cell.cell_type == "markdown"]
        numbers += [int(match[1]) for match in found]
        assert len(found) <= 1, cell.source
        if found:
            assert following.cell_type == "code", cell.source
            assert {"hide-cell", "solution"} <= set(tags(following)), cell.source
    assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) >= 3
    assert len(numbers) == sum("solution" in tags(cell) for cell in cells)
    assert "<details>" not in prose(name)


def test_the_appendix_of_notebook_3_stands_between_exercises_and_references():
    places = [prose("03_noisy_val").find(f"## {title}")
              for title in ("Exercises", "Appendix", "References")]
    assert -1 not in places and places == sorted(places)


@every
def test_every_figure_has_a_caption_of_whole_sentences(name):
    """It ends the call that shows the figure. A caption may hold numbers that the cell computes."""
    for source in sources(name):
        shown = calls(source, SHOW_FIGURE)
        assert len(shown) == len(calls(source, MAKE_FIGURE)) and ".show()" not in source, source
        for call in shown:
            parts = getattr(call.args[-1], "values", [call.args[-1]])
            text = "".join(part.value if isinstance(part, ast.Constant) else "N" for part in parts)
            assert len(text.split()) >= 8 and not text[0].islower(), source
            assert text.rstrip(")")[-1] in ".?", source


@every
def test_executed_figures_are_followed_by_their_caption(name):
    for cell in code(name):
        for output, following in pairwise([*cell.outputs, {}]):
            data = output.get("data", {})
            if "image/png" in data and "application/vnd.jupyter.widget-view+json" not in data:
                alt = output.metadata["image/png"]["alt"]
                assert following.get("data", {}).get("text/markdown") == f"*{alt}*", cell.source


# -- outputs ---------------------------------------------------------------------------------------


@every
def test_outputs_are_those_of_one_complete_run_or_none(name):
    counts = [cell.execution_count for cell in code(name)]
    assert counts in ([None] * len(counts), list(range(1, len(counts) + 1)))
    outputs = [output for cell in code(name) for output in cell.outputs]
    assert not any(output.output_type == "error" for output in outputs)
    if counts[0] is None:
        assert not outputs
    shown = [f"{output.get('text')} {output.get('data', {}).get('text/markdown')}"
             for output in outputs]
    assert name == "01b_scores" or not re.search(r"\bnan\b", " ".join(shown))  # it explains nan
    assert "widgets" not in NOTEBOOKS[name].metadata


@pytest.mark.parametrize("topic", ["kernel", "softmax", "dice_of", "dice_loss"])
def test_outputs_of_calculations_by_hand_are_compared(topic):
    """A convolution, probabilities, a Dice score and the soft loss in notebook 1."""
    assert any(topic in cell.source for cell in code("01_baseline") if CHECK_OUTPUT in tags(cell))


@every
def test_outputs_that_are_compared_are_text(name):
    """Not a figure or a time, which differ from computer to computer."""
    for cell in code(name):
        if CHECK_OUTPUT in tags(cell):
            assert "print(" in cell.source, cell.source
            executed = cell.execution_count is not None
            assert [output.output_type for output in cell.outputs] == ["stream"] * executed


def test_papermill_and_nbval_compare_the_outputs_of_marked_cells(tmp_path):
    """As `make test` runs them: the second cell shows what it does not compute."""
    notebook = nbformat.v4.new_notebook(metadata=NOTEBOOKS["01_baseline"].metadata)
    for source, output, marks in (
            ("profile = ''", "", ["parameters"]), ("print(1)", "2\n", [CHECK_OUTPUT]),
            ("print(1)", "1\n", [CHECK_OUTPUT]), ("print(1)", "3\n", [])):
        shown = [nbformat.v4.new_output("stream", text=output)] if output else []
        notebook.cells.append(nbformat.v4.new_code_cell(
            source, outputs=shown, metadata={"tags": marks}, execution_count=1))
    nbformat.write(notebook, tmp_path / "stored.ipynb")
    nbformat.write(prepared(tmp_path / "stored.ipynb"), tmp_path / "prepared.ipynb")
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run([*command, "--rootdir", tmp_path, tmp_path / "prepared.ipynb"],
                          capture_output=True, text=True)
    assert re.search(r"1 failed, 4 passed", done.stdout), done.stdout
    assert "Cell 2" in done.stdout


# -- papermill -------------------------------------------------------------------------------------


def papermill(name, folder, *arguments):
    command = [sys.executable, "-m", "papermill", "--no-progress-bar", FILES[name], "out.ipynb",
               "-p", "profile", "tiny", "-p", "use_published", "False", *arguments]
    environment = os.environ | {"XRAYLIB_HOME": str(folder / "home")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    return done, nbformat.read(folder / "out.ipynb", 4)


def test_papermill_runs_from_any_folder_with_other_parameters(tmp_path):
    other = ["-p", "seed", "7", "-p", "split", "block", "-p", "n_train", "12"]
    done, notebook = papermill("01_baseline", tmp_path, *other)
    assert done.returncode == 0, done.stderr
    (config,) = (tmp_path / "home/runs").glob("01_baseline/*/config.json")
    for text in ('"seed": 7', '"n_train": 12', '"split": "block"'):
        assert text in config.read_text()
    saved = re.findall(r'save_figure\(\w+, \w+, "(\w+)"', "\n".join(sources("01_baseline")))
    assert saved and {path.stem for path in (config.parent / "figures").iterdir()} == set(saved)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert outputs and not any(output.output_type == "error" for output in outputs)


@pytest.mark.parametrize(("arguments", "message"), [
    (["-p", "profile", "lptop"], "profile is 'lptop'; it must be one of"),
    (["-p", "sede", "3"], "unknown parameter 'sede'; this notebook knows profile, data_dir"),
    (["-p", "n_train", "60"], "n_train + n_val is 60 + 1 = 61, but there are 48 slices"),
])
def test_papermill_stops_at_a_wrong_parameter_before_anything_starts(tmp_path, arguments, message):
    done, _ = papermill("01_baseline", tmp_path, *arguments)
    assert done.returncode != 0 and message in done.stderr
    assert not (tmp_path / "home/runs").exists()
