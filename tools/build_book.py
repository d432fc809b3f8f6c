"""Build the book into build/book, and check it.

    python tools/build_book.py            build/book-source (gathered pages), then build/book
    python tools/build_book.py FOLDER     FOLDER instead of build/book

The pages are the notebooks with their outputs, docs/ and book/. If `make site` has built the live
page, the book shows it.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from check_book import problems, summary

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "data/README.md",
         "data/published/hero.png", "docs", "notebooks"]
SITE = ROOT / "build/site"


def gather(folder: Path) -> None:
    """Copy the pages into an empty folder, with those of book/ at its top."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in PAGES:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns(".*"))
        else:
            shutil.copyfile(source, target)
    for path in (ROOT / "book").glob("*.md"):
        shutil.copyfile(path, folder / path.name)


def build(target: Path, site: Path = SITE) -> None:
    """Build the book. A warning of Sphinx is an error.

    Args:
        target: folder that is replaced. The gathered pages lie beside it.
        site: folder with the live page; the book does without where there is none.
    """
    source = target.with_name(f"{target.name}-source")
    gather(source)
    shutil.rmtree(target, ignore_errors=True)
    has_site = (site / "index.html").exists()
    subprocess.run(
        [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going",
         "--conf-dir", str(ROOT / "book"), "--doctree-dir", str(source / ".doctrees"),
         *(["--tag", "live"] if has_site else []), str(source), str(target)], check=True)
    if has_site:
        shutil.copytree(site, target / "live", ignore=shutil.ignore_patterns("ready"))
        page = target / "live/index.html"  # its links must leave the frame on the front page
        page.write_text(page.read_text().replace("<head>", '<head>\n<base target="_top">', 1))
    (target / ".nojekyll").touch()  # else GitHub Pages leaves out folders with an underscore


def main() -> None:
    """Build and check the book; exit with an error if a check fails."""
    target = Path(sys.argv[1] if sys.argv[1:] else ROOT / "build/book").resolve()
    try:
        build(target)
    except subprocess.CalledProcessError:
        sys.exit("error: Sphinx could not build the book, or warned; its messages are above")
    found = problems(target)
    print(f"{target}: {summary(target, found)}")
    if found:
        sys.exit("error: in the built book\n" + "\n".join(found))


if __name__ == "__main__":
    main()
