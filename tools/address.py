"""Set the repository's address in every file that names it.

    python tools/address.py owner/name    set it in pyproject.toml and everywhere else
    python tools/address.py               set everywhere else what pyproject.toml says

The address stands in pyproject.toml, under [project.urls]. The badges and the set-up cell of the
notebooks, README, docs, CONTRIBUTING and CITATION.cff repeat it, because none of them can read
another file. The address of the book on GitHub Pages follows from it.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SUFFIXES = {".cff", ".ipynb", ".md", ".toml", ".yaml", ".yml"}
OTHER_REPOSITORIES = {"magn2998/XraySegmentation"}  # repositories of others that our files link to
ADDRESS = re.compile(
    r"((?:github\.com|colab\.research\.google\.com/github|mybinder\.org/v2/gh)/)"
    r"([\w.-]+/[\w-]+(?:\.(?!git\b)[\w-]+)*)"  # owner/name, without .git
)
BOOK = re.compile(r"https://([\w.-]+)\.github\.io/([\w-]+(?:\.[\w-]+)*)/")  # owner, name


def repository(root: Path = ROOT) -> str:
    """Return owner/name as pyproject.toml gives it."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    return project["urls"]["repository"].removeprefix("https://github.com/")


def book_address(ours: str | None = None) -> str:
    """Return where GitHub Pages publishes the book of a repository owner/name, at first ours."""
    owner, name = (ours or repository()).split("/")
    return f"https://{owner}.github.io/{name}/"


def text_files(root: Path = ROOT) -> list[Path]:
    """Return the files that may name the address: all that git tracks or would add."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    paths = {root / name for name in listed.split("\0") if Path(name).suffix in SUFFIXES}
    return sorted(path for path in paths if path.is_file())


def other_addresses(path: Path, ours: str) -> set[str]:
    """Return what a file names as a repository and what is neither ours nor a known other one."""
    text = path.read_text()
    named = {slug for _, slug in ADDRESS.findall(text)}
    named |= {f"{owner}/{name}" for owner, name in BOOK.findall(text)}
    return named - {ours} - OTHER_REPOSITORIES


def set_address(ours: str, root: Path = ROOT) -> list[Path]:
    """Write our address over every other one, and return the files that changed."""
    changed = []
    for path in text_files(root):
        if other_addresses(path, ours):
            text = ADDRESS.sub(
                lambda match: match[0] if match[2] in OTHER_REPOSITORIES else match[1] + ours,
                path.read_text())
            path.write_text(BOOK.sub(book_address(ours), text))
            changed.append(path)
    return changed


def main() -> None:
    """Set the address that the command line gives, or the one in pyproject.toml."""
    ours = sys.argv[1] if sys.argv[1:] else repository()
    if len(sys.argv) > 2 or not re.fullmatch(r"[\w.-]+/[\w.-]+", ours):
        sys.exit("error: give the address as owner/name: make address REPOSITORY=owner/name")
    changed = set_address(ours)
    for path in changed:
        print(path.relative_to(ROOT))
    print(f"{len(changed)} files changed; the repository is https://github.com/{ours}.")


if __name__ == "__main__":
    main()
