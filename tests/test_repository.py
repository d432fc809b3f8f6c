"""Files that must agree with each other, and rules that hold for all files."""

import ast
import contextlib
import io
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from address import other_addresses, repository, text_files

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT, OPTIONAL = PYPROJECT["project"], PYPROJECT["project"]["optional-dependencies"]
LIBRARY = ROOT / "xraylib"
CORE = sorted(LIBRARY.glob("*.py"))
FORMATS = sorted((LIBRARY / "formats").glob("*.py"))
OUTLOOK = sorted((LIBRARY / "outlook").glob("*.py"))
BOOK = sorted((ROOT / "book").glob("*.py"))
TOOLS = sorted([*(ROOT / "tools").rglob("*.py"), *(ROOT / "site").glob("*.py")])
SCRIPTS = sorted([*(ROOT / "site").glob("*.*js"), *(ROOT / "site").glob("*.css"),
                  ROOT / "site/index.html", ROOT / "tools/prove/engines.mjs"])
TESTS = sorted((ROOT / "tests").rglob("*.py"))
CORE_LINES, FORMATS_LINES, FILE_LINES = 4_950, 1_700, 270  # the goal for the core is 3,700


def name_of(path):
    return str(path.relative_to(ROOT))


def every(paths):
    return pytest.mark.parametrize("path", paths, ids=name_of)


def tracked():
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


# -- the packages ----------------------------------------------------------------------------------


def requirement_names(requirements):
    return {re.split(r"[<>=]", requirement)[0] for requirement in requirements}


def test_binder_has_the_tested_environment():
    tested = (ROOT / "environment.yml").read_text()
    assert (ROOT / "binder/environment.yml").read_text() == tested


def test_the_environment_holds_every_dependency():
    lines = (ROOT / "environment.yml").read_text().splitlines()
    names = {re.split(r"[ =<>]", line.strip(" -"))[0] for line in lines}
    conda = {"torch": "pytorch", "matplotlib": "matplotlib-base"}
    wanted = requirement_names(PROJECT["dependencies"] + sum(OPTIONAL.values(), []))
    assert {conda.get(name, name) for name in wanted} <= names


def test_make_installs_the_torch_of_the_tested_environment():
    (version,) = re.findall(r"torch==(\S+)", (ROOT / "Makefile").read_text())
    assert f"pytorch ={version.rsplit('.', 1)[0]}" in (ROOT / "environment.yml").read_text()


def test_every_package_of_the_library_is_installed():
    folders = {str(path.parent.relative_to(ROOT)) for path in LIBRARY.rglob("*.py")}
    packages = {folder.replace("/", ".") for folder in folders}
    assert set(PYPROJECT["tool"]["setuptools"]["packages"]) == {*packages, "xraylib.shipped"}


def third_party(paths) -> dict[str, str]:
    """What these files import from elsewhere, and one file that does."""
    files = [*TOOLS, *BOOK, *TESTS]
    ours = {"xraylib", *(path.stem for path in files), *(path.parent.name for path in files)}
    found = {}
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            found |= {name.split(".")[0]: name_of(path) for name in names}
    return {name: path for name, path in found.items()
            if name not in ours | sys.stdlib_module_names}


@pytest.mark.parametrize(("paths", "extras"), [
    ([*CORE, *OUTLOOK], ("notebooks", "cluster", "export")),
    ([*TOOLS, *TESTS], ("notebooks", "cluster", "export", "test")),
    (BOOK, ("book",)),
], ids=["library", "tools and tests", "book"])
def test_every_imported_package_is_declared(paths, extras):
    alone = (ROOT / "tests/no-deps.txt").read_text().splitlines()
    declared = requirement_names(
        [*PROJECT["dependencies"], *(name for extra in extras for name in OPTIONAL[extra])]
        + [line for line in alone if "#" not in line])
    for name, path in third_party(paths).items():
        distributions = {each.lower() for each in packages_distributions()[name]}
        assert distributions & declared, f"{path} imports {name}, which pyproject.toml lacks"


def test_versions_and_dates_agree():
    citation = (ROOT / "CITATION.cff").read_text()
    changelog = (ROOT / "CHANGELOG.md").read_text()
    version, date = re.search(r"^## \[?([\d.]+)\]? - (\S+)$", changelog, re.MULTILINE).groups()
    assert f"\nversion: {version}\n" in citation and f"\ndate-released: {date}\n" in citation
    assert f'__version__ = "{version}"' in (LIBRARY / "__init__.py").read_text()


# -- the house -------------------------------------------------------------------------------------

# From the ground up: a module imports modules that stand before it, and none that stand after it.
LAYERS = [
    "errors", "files", "device", "losses",
    "formats.file_names", "formats.tiff_checks", "formats.tiff", "formats.voxel_size",
    "formats.layouts", "data",
    "formats.grey", "formats.labels", "formats.alignment", "formats.reading", "synthetic",
    "unet", "tiles", "inference", "noise", "metrics", "augment", "training", "checkpoint",
    "datasets", "formats.download", "workers", "contrast", "formats.outputs", "volumes",
    "experiments", "params", "runs", "published", "sweep", "tables", "cli",
    "figures", "diagram", "curves", "widgets",
    "__main__",
]
# runs.py asks published.py inside two functions, because published.py returns runs.
LATE_IMPORTS = {("runs", "published")}


def imported(path: Path) -> set[str]:
    """Modules of the library that a module imports, without those for type checkers alone."""
    found = set()
    tree = ast.parse(path.read_text())
    typing_only = {id(node) for block in ast.walk(tree) if isinstance(block, ast.If)
                   and ast.unparse(block.test) == "TYPE_CHECKING" for node in ast.walk(block)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level and id(node) not in typing_only:
            package = path.parent.relative_to(LIBRARY).parts
            start = package[:len(package) - node.level + 1]
            target = [*start, *filter(None, (node.module or "").split("."))]
            is_module = node.module and node.module != "formats"
            found |= {".".join(target)} if is_module else {
                ".".join([*target, alias.name]) for alias in node.names}
        elif isinstance(node, ast.Import | ast.ImportFrom):
            assert node.__class__ is ast.Import or node.module != "xraylib", path
    return found


def layer(path: Path) -> str:
    """A module's name in LAYERS."""
    return ".".join(path.relative_to(LIBRARY).with_suffix("").parts)


@every([*CORE, *FORMATS])
def test_the_core_imports_downward_and_never_the_outlook(path):
    if path.stem == "__init__":
        assert not imported(path)
        return
    for name in imported(path):
        assert name in LAYERS, f"{path.name} imports {name}, which is no module of the core"
        if (path.stem, name) not in LATE_IMPORTS:
            below = LAYERS.index(name) < LAYERS.index(layer(path))
            assert below, f"{path.name} imports {name}, which stands above it in LAYERS"


def test_every_module_of_the_core_has_a_layer():
    modules = {layer(path) for path in [*CORE, *FORMATS]}
    assert modules == {"__init__", "formats.__init__", *LAYERS}


def test_the_import_check_finds_imports():
    assert imported(LIBRARY / "losses.py") == set()
    assert {"data", "losses", "metrics", "unet"} <= imported(LIBRARY / "training.py")
    assert {"datasets", "published"} <= imported(LIBRARY / "__main__.py")
    assert {"augment", "unet"} <= imported(LIBRARY / "outlook/stacks.py")
    assert "outlook.stacks" in imported(LIBRARY / "outlook/__init__.py")
    assert ("published" in imported(LIBRARY / "runs.py")) == bool(LATE_IMPORTS)


def test_importing_the_core_does_not_import_the_outlook():
    names = [f"xraylib.{name}" for name in LAYERS]
    code = (f"import importlib, sys\nfor name in {names}: importlib.import_module(name)\n"
            "print([name for name in sys.modules if name.startswith('xraylib.outlook')])")
    environment = os.environ | {"MPLBACKEND": "agg"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          check=True, env=environment)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("paths", "most"), [(CORE, CORE_LINES), (FORMATS, FORMATS_LINES)],
                         ids=["core", "formats"])
def test_the_core_is_small(paths, most):
    lines = {path.name: path.read_text().count("\n") for path in paths}
    assert sum(lines.values()) <= most, f"{sum(lines.values())} lines: {lines}"


@every([*CORE, *FORMATS, *OUTLOOK, *TOOLS, *BOOK])
def test_files_are_short(path):
    assert path.read_text().count("\n") <= FILE_LINES


@every(SCRIPTS)
def test_the_files_of_the_page_are_short_and_say_what_they_hold(path):
    text = path.read_text()
    assert text.count("\n") <= FILE_LINES
    if path.suffix in (".js", ".mjs"):
        assert text.startswith("// ") and max(map(len, text.splitlines())) <= 100


def test_the_page_names_no_host_and_its_packages_come_from_the_registry():
    """Addresses stand in facts.json; npm asks the registry that the computer is set up for."""
    for path in SCRIPTS:
        assert not re.search(r"https?://(?!www\.w3\.org)", path.read_text()), path
    lock = (ROOT / "site/package-lock.json").read_text()
    assert '"resolved"' not in lock and lock.count('"integrity"') > 20


def test_every_module_of_formats_has_its_tests_in_the_folder_of_that_name():
    tests = {path.name for path in (ROOT / "tests/formats").glob("*.py")}
    assert tests == {f"test_{path.stem}.py" for path in FORMATS if path.stem != "__init__"}


# -- docstrings ------------------------------------------------------------------------------------


def public(body: list[ast.stmt], owner: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Public functions and classes, and the public methods of these, by name."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield owner + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body, f"{node.name}.")


@every([*CORE, *FORMATS, *OUTLOOK, *TOOLS, *BOOK])
def test_every_module_and_public_function_has_a_docstring(path):
    tree = ast.parse(path.read_text())
    lacking = [name for name, node in public(tree.body) if not ast.get_docstring(node)]
    assert ast.get_docstring(tree) and not lacking, lacking


def undescribed(node: ast.FunctionDef) -> list[str]:
    """Arguments of a function that its Args section leaves out.

    A function of one or two arguments may do without the section, if its first line says enough.
    """
    given = node.args
    arguments = [each.arg for each in (
        *given.posonlyargs, *given.args, given.vararg, *given.kwonlyargs, given.kwarg) if each]
    names = [name for name in arguments if name not in ("self", "cls") and name[0] != "_"]
    _, found, section = ast.get_docstring(node).partition("Args:\n")
    section = section.partition("\n\n")[0]
    if not found and len(names) < 3:
        return []
    return [name for name in names if not re.search(rf"\b{name}\b", section)]


# Functions that draw say in a sentence what they draw of what; the command line is no interface.
DRAWING = {"figures.py", "curves.py", "diagram.py", "widgets.py", "__main__.py", "cli.py"}


@every([path for path in [*CORE, *FORMATS] if path.name not in DRAWING])
def test_docstrings_describe_the_arguments(path):
    lacking = {}
    for name, node in public(ast.parse(path.read_text()).body):
        is_experiment = "@experiment" in "".join(
            f"@{ast.unparse(each)}" for each in getattr(node, "decorator_list", ()))
        if isinstance(node, ast.FunctionDef) and not is_experiment and undescribed(node):
            lacking[name] = undescribed(node)
    assert not lacking


# -- tools -----------------------------------------------------------------------------------------


@every(TOOLS)
def test_tools_use_names_that_the_library_has(path):
    """Most tools run too long for a test."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("xraylib"):
            for alias in node.names:
                module = import_module(node.module)
                if not hasattr(module, alias.name):
                    import_module(f"{node.module}.{alias.name}")


# -- addresses, links and documents ----------------------------------------------------------------


@every(text_files())
def test_the_repository_has_one_address(path):
    """If this fails, run `make address`; list a repository of others in tools/address.py."""
    assert other_addresses(path, repository()) == set()


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a Markdown text."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
            for heading in headings}


@every([path for path in tracked() if path.suffix == ".md"])
def test_every_relative_link_leads_somewhere(path):
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        place = path.parent / file if file else path
        assert place.exists(), f"{target} does not exist"
        if anchor and place.suffix == ".md":
            headings = anchors(re.sub(r"```.*?```", "", place.read_text(), flags=re.DOTALL))
            assert anchor in headings, f"{target}: there is no such heading"


def test_nothing_large_is_committed():
    sizes = {path: path.stat().st_size for path in tracked()}
    assert max(sizes.values()) < 3_000_000 and sum(sizes.values()) < 45_000_000


@pytest.mark.parametrize("name", ["LSF", "SLURM", "PBS"])
def test_the_documented_cluster_scripts_make_a_job_script(name):
    """dask-jobqueue knows what they pass, and it arrives in the script for the scheduler."""
    texts = [(ROOT / file).read_text() for file in ("README.md", "docs/cluster.md")
             if (ROOT / file).exists()]
    blocks = re.findall(r"```python\n(.*?)```", "\n".join(texts), re.DOTALL)
    (block,) = [block for block in blocks if f"{name}Cluster" in block]
    code = block.replace('"port": 8786', '"port": 0').replace("127.0.0.1:8787", "127.0.0.1:0")
    code = code.replace("cluster.adapt(minimum=1, maximum=20)", "script = cluster.job_script()")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        scope: dict = {}
        exec(code, scope)
        server = scope["cluster"].scheduler.http_server
        assert {each.getsockname()[0] for each in server._sockets.values()} == {"127.0.0.1"}
        scope["cluster"].close()
    assert "--scheduler tcp://" in printed.getvalue()
    assert "OMP_NUM_THREADS=4" in scope["script"] and "--lifetime 225m" in scope["script"]
    assert re.search(r"-n 4|--cpus-per-task=4|ncpus=4", scope["script"])
