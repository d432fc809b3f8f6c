"""`make address` sets the repository's address in every file, tried on a copy of the tree."""

import shutil
import subprocess
import sys

import pytest
from address import ROOT, book_address, other_addresses, repository, text_files


@pytest.fixture
def copy(tmp_path):
    """A copy of the files that name the address, and of the tool."""
    for path in [*text_files(), ROOT / "tools/address.py"]:
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    return tmp_path


def set_address(copy, *arguments):
    command = [sys.executable, copy / "tools/address.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_make_address_changes_every_file_and_nothing_else(copy):
    before = repository()
    assert set_address(copy, "a.b/my-notebooks").returncode == 0
    assert repository(copy) == "a.b/my-notebooks"
    for path in text_files(copy):
        assert not other_addresses(path, "a.b/my-notebooks")
        original = (ROOT / path.relative_to(copy)).read_text()
        expected = original
        for host in ("github.com", "google.com/github", "mybinder.org/v2/gh"):
            expected = expected.replace(f"{host}/{before}", f"{host}/a.b/my-notebooks")
        expected = expected.replace(book_address(before), "https://a.b.github.io/my-notebooks/")
        assert path.read_text() == expected, path
    notebook = (copy / "notebooks/01_baseline.ipynb").read_text()
    assert "git+https://github.com/a.b/my-notebooks" in notebook
    assert "colab.research.google.com/github/a.b/my-notebooks/blob/main/" in notebook


def test_the_address_of_pyproject_is_set_where_none_is_given(copy):
    path = copy / "pyproject.toml"
    path.write_text(path.read_text().replace(repository(), "someone/else"))
    printed = set_address(copy).stdout
    assert "CITATION.cff" in printed and "README.md" in printed
    assert not any(other_addresses(path, "someone/else") for path in text_files(copy))
    assert set_address(copy).stdout.startswith("0 files changed")


def test_the_set_address_can_be_set_again_and_another_repository_stays(copy):
    other = "https://github.com/magn2998/XraySegmentation.git"
    (copy / "new.md").write_text(f"{other} github.com/x/y.git")
    set_address(copy, "one/two")
    assert (copy / "new.md").read_text() == f"{other} github.com/one/two.git"


@pytest.mark.parametrize("wrong", ["notebooks", "https://github.com/a/b", "a/b/c", "a b/c"])
def test_an_address_of_another_form_is_refused(copy, wrong):
    before = (copy / "pyproject.toml").read_text()
    done = set_address(copy, wrong)
    assert done.returncode == 1 and done.stderr.startswith("error: give the address as owner/name")
    assert (copy / "pyproject.toml").read_text() == before
