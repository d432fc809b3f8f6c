"""Check the pages of a built book: links, pictures, and hosts that a browser would call.

    python tools/check_book.py build/book
"""

import re
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Where a browser fetches something without being asked: attributes by tag.
FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src",
           "audio": "src", "embed": "src", "object": "data", "input": "src", "image": "href",
           "use": "href"}
FETCHING_LINKS = {"stylesheet", "icon", "preload", "modulepreload", "prefetch", "manifest"}
CSS_FETCH = re.compile(r"""@import\s+["']([^"']+)|url\(\s*["']?([^"')]+)""")
FOREIGN = re.compile(r"(?:https?:)?//", re.IGNORECASE)
APART = "live"  # the live page, whose addresses hold its state behind the #


class Page(HTMLParser):
    """What a page links to and fetches, its anchors, and pictures without alternative text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.anchors: set[str] = set()
        self.undescribed: list[str] = []
        self.style = False
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note what one tag refers to."""
        given = {name: value or "" for name, value in attributes}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if FETCHED.get(tag) in given:
            self.fetched.append(given[FETCHED[tag]])
        if tag == "link" and FETCHING_LINKS & set(given.get("rel", "").split()):
            self.fetched.append(given["href"])
        self.fetched += [part.split()[0] for part in given.get("srcset", "").split(",") if part]
        self.fetched += css_fetches(given.get("style", ""))
        if tag == "img" and not given.get("alt"):
            self.undescribed.append(given.get("src", ""))
        self.style = tag == "style"

    def handle_data(self, data: str) -> None:
        """Note what a style sheet inside the page fetches."""
        if self.style:
            self.fetched += css_fetches(data)


def css_fetches(text: str) -> list[str]:
    """Return the addresses that a style sheet fetches."""
    return [first or second for first, second in CSS_FETCH.findall(text)]


def pages(folder: Path) -> list[Path]:
    """Return the pages of a book, without the templates that themes leave in _static."""
    return sorted(path for path in folder.rglob("*.html")
                  if "_static" not in path.relative_to(folder).parts)


@cache
def read(path: Path) -> Page:
    """Read a page once."""
    return Page(path.read_text())


def broken(folder: Path, path: Path, address: str) -> bool:
    """Return whether an address on a page leads nowhere inside the book.

    Args:
        folder: the book.
        path: the file that holds the address.
        address: as it stands there; one that leads elsewhere is never broken.
    """
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        return False
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if target.is_dir():
        target = target / "index.html"
    if not target.is_file() or not target.is_relative_to(folder):
        return True
    if target.suffix != ".html" or APART in target.relative_to(folder).parts:
        return False
    return bool(parts.fragment) and unquote(parts.fragment) not in read(target).anchors


def problems(folder: Path) -> list[str]:
    """Return a line for each broken link, foreign host and picture without alternative text."""
    folder = folder.resolve()
    found = []
    for path in pages(folder):
        name, page = path.relative_to(folder), read(path)
        found += [f"{name}: broken link {link}" for link in [*page.links, *page.fetched]
                  if broken(folder, path, link)]
        found += [f"{name}: fetches {each}" for each in page.fetched if FOREIGN.match(each)]
        found += [f"{name}: no alternative text for {each}" for each in page.undescribed]
    for path in sorted(folder.rglob("*.css")):
        name = path.relative_to(folder)
        found += [f"{name}: fetches {each}" for each in css_fetches(path.read_text())
                  if FOREIGN.match(each)]
    return found


def summary(folder: Path, found: list[str]) -> str:
    """Return the number of pages, of checked addresses and of problems, and the size of a book.

    Args:
        folder, found: the book, and its `problems`.
    """
    checked = sum(len(read(path).links) + len(read(path).fetched) for path in pages(folder))
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return (f"{len(pages(folder))} pages, {size / 1e6:.1f} MB, {checked:,} links and resources, "
            f"{len(found)} problems")


def main() -> None:
    """Print the problems of the book that the command line names."""
    folder = Path(sys.argv[1])
    found = problems(folder)
    print("\n".join([*found, summary(folder, found)]))


if __name__ == "__main__":
    main()
