"""The book builds without a warning, and its pages are whole; the checks can fail.

One test builds the book and looks at it, because test processes share no fixture.
"""

import functools
import http.server
import re
import shutil
import subprocess
import threading
from collections import Counter

import check_book
import nbformat
import pages
import pytest
from address import ROOT, book_address, repository
from build_book import build, gather
from check_book import Page, problems, summary
from playwright.sync_api import sync_playwright

LIVE = '<!DOCTYPE html><html><head><title>Live</title></head><body id="live">live</body></html>'
NOTEBOOKS = {path.relative_to(ROOT).with_suffix("").as_posix(): nbformat.read(path, 4)
             for path in sorted((ROOT / "notebooks").rglob("*.ipynb"))}


# -- the book --------------------------------------------------------------------------------------


def test_the_book_builds_without_problems(tmp_path):
    site, book = tmp_path / "site", tmp_path / "book"
    site.mkdir()
    (site / "index.html").write_text(LIVE)
    build(book, site)
    assert problems(book) == []
    text = {path.relative_to(book).as_posix(): path.read_text() for path in book.rglob("*.html")}
    look_at_the_front_page(text["index.html"])
    for name, notebook in NOTEBOOKS.items():
        look_at_a_notebook(name, notebook, text[f"{name}.html"])
    assert text["docs/teaching.html"].count('<details class="answer">') >= 15
    assert len(re.findall(r'id="term-', text["docs/glossary.html"])) >= 80
    search_and_count_foreign_requests(book)


def look_at_the_front_page(text):
    assert '<iframe class="live" src="live/index.html"' in text
    assert 'href="notebooks/01_baseline.html">Start the course' in text
    assert "A network that was trained without noise fails on noisy slices" in text


def look_at_a_notebook(name, notebook, text):
    """Buttons, folded solutions, described figures, live links, and terms linked once."""
    for host in ("colab.research.google.com/github", "mybinder.org/v2/gh"):
        assert f"https://{host}/{repository()}" in text
    assert f"_sources/{name}.ipynb" in text and f"{book_address()}{name}.html" in text
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    solutions = [cell for cell in cells if "solution" in cell.metadata.get("tags", [])]
    assert text.count("Show the solution") == len(solutions)
    outputs = [output for cell in cells for output in cell.outputs]
    sliders = [output for output in outputs
               if any("widget" in kind for kind in output.get("data", {}))]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert text.count('class="figure-caption"') >= len(pictures) - len(sliders)
    assert text.count("live/index.html#slice=") == len(sliders)
    assert "vnd.jupyter" not in text and "require" not in "".join(Page(text).fetched)
    terms = Counter(re.findall(r'class="term reference internal" href="[^"]*#(term-[\w-]+)"', text))
    assert len(terms) >= 5 and set(terms.values()) == {1}


def search_and_count_foreign_requests(book):
    """Open every page on a narrow screen, search as a reader does, and see whom Chromium calls."""
    handler = functools.partial(QuietHandler, directory=str(book))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    home, called = f"http://127.0.0.1:{server.server_port}/", []
    names = "chromium", "chromium-browser", "google-chrome"
    executable = next(filter(None, map(shutil.which, names)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 800})
        page.on("request", lambda request: called.append(request.url))
        for path in check_book.pages(book):
            page.goto(home + path.relative_to(book).as_posix())
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
        page.goto(f"{home}search.html?q=percolated")
        page.locator("#search-results li a").first.wait_for()
        found = page.locator("#search-results li a").all_inner_texts()
        browser.close()
    server.shutdown()
    server.server_close()
    assert "Glossary" in found
    assert [url for url in called if not url.startswith((home, "data:"))] == []


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Print nothing."""


def test_a_broken_link_in_a_notebook_fails_the_build(tmp_path, monkeypatch, capfd):
    def gather_one_page(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "docs").mkdir()
        (folder / "docs/glossary.md").write_text("# Glossary\n")
        notebook = nbformat.v4.new_notebook(metadata=NOTEBOOKS["notebooks/01_baseline"].metadata)
        notebook.cells = [nbformat.v4.new_markdown_cell("# Title\n\n[gone](../docs/gone.md)")]
        nbformat.write(notebook, folder / "index.ipynb")

    monkeypatch.setattr("build_book.gather", gather_one_page)
    with pytest.raises(subprocess.CalledProcessError):
        build(tmp_path / "book", tmp_path)
    assert "gone.md" in capfd.readouterr().err


def test_gathered_pages_are_those_of_the_repository(tmp_path):
    gather(tmp_path / "pages")
    for name in ("notebooks/01_baseline.ipynb", "docs/glossary.md", "data/published/hero.png"):
        assert (tmp_path / "pages" / name).read_bytes() == (ROOT / name).read_bytes()
    assert (tmp_path / "pages/index.md").exists()


# -- what changes on the way into the book ---------------------------------------------------------


def test_links_to_code_lead_to_the_repository_and_others_stay(tmp_path):
    gather(tmp_path / "pages")

    def changed(text):
        return pages.prepare_markdown(text, "docs/architecture", tmp_path / "pages")

    folder, file = (f"https://github.com/{repository()}/{kind}/main/" for kind in ("tree", "blob"))
    assert changed("[a](own-data.md#b)") == "[a](own-data.md#b)"
    assert changed("[a](../README.md)") == "[a](../index.md)"
    assert changed("[a](https://a.b/c)") == "[a](https://a.b/c)"
    assert changed("[a](../xraylib)") == f"[a]({folder}xraylib)"
    assert changed("[a](../Makefile#L1)") == f"[a]({file}Makefile#L1)"
    assert changed("[a](../no.py)") == "[a](../no.py)"
    assert changed("[![a](https://b/c.svg)](https://d)") == "[a](https://d)"


@pytest.mark.parametrize(("source", "parameters", "noise"), [
    ("compare(runs, noise_std=10_000)", "noise_std = 5000", 10_000),
    ('compare(runs, p["noise_std"])', "seed = 0\nnoise_std = 3000  # grey levels", 3000),
    ("compare(runs)", "seed = 0", 0),
])
def test_the_live_page_is_opened_at_the_noise_of_the_panel(source, parameters, noise):
    assert pages.noise_of(source, parameters) == noise
    link = pages.live_link("notebooks/outlook/x", noise, True)
    assert f'href="../../live/index.html#slice=1001&amp;noise={noise}"' in link
    assert "href" not in pages.live_link("notebooks/outlook/x", noise, False)


def test_a_term_is_found_in_the_plural_and_the_longest_first():
    terms = pages.glossary_terms("- **batch**: a.\n- **batch norm** (BN): `b` [c](d).\n- **±**: e.")
    assert terms["bn"] == terms["batch norm"] == ("term-batch-norm", "b c.")
    assert pages.split_names("Boundary (TPB)") == ["boundary", "tpb"]
    assert terms["±"][0] == "term-plus-minus"
    assert pages.first_term("Two Batches of batch norms", terms)[0] == "Batches"
    assert pages.first_term("x batch norms", terms)[0] == "batch norms"
    assert pages.first_term("a mini-batch, batched", terms) is None


# -- the checks ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "problem"), [
    ('<a href="b.html#there">', None), ('<a href="https://else.where">', None),
    ('<a href="">', None), ('<img src="b.html" alt="a picture">', None),
    ('<a href="c.html">', "broken link c.html"),
    ('<a href="b.html#nowhere">', "broken link b.html#nowhere"),
    ('<a href="../">', "broken link ../"),
    ('<img src="gone.png" alt="a picture">', "broken link gone.png"),
    ('<img src="b.html">', "no alternative text for b.html"),
    ('<script src="https://cdn/x.js">', "fetches https://cdn/x.js"),
    ('<script src="//cdn/x.js">', "fetches //cdn/x.js"),
    ('<link rel="stylesheet" href="http://cdn/x.css">', "fetches http://cdn/x.css"),
    ('<iframe src="https://cdn/">', "fetches https://cdn/"),
    ('<img alt="a" srcset="https://cdn/x.png 2x">', "fetches https://cdn/x.png"),
    ('<p style="background: url(https://cdn/x.png)">', "fetches https://cdn/x.png"),
    ('<style>@import "https://cdn/x.css";</style>', "fetches https://cdn/x.css"),
])
def test_each_check_can_fail(tmp_path, text, problem):
    (tmp_path / "a.html").write_text(text)
    (tmp_path / "b.html").write_text('<h1 id="there">')
    assert problems(tmp_path) == ([f"a.html: {problem}"] if problem else [])
    assert summary(tmp_path, problems(tmp_path)).endswith(f" {1 if problem else 0} problems")


def test_style_sheets_are_checked_and_templates_of_themes_are_not(tmp_path):
    (tmp_path / "_static").mkdir()
    (tmp_path / "_static/a.html").write_text('<a href="{{ pathto }}">')
    (tmp_path / "_static/a.css").write_text("a { background: url('//cdn/a.png') }")
    assert problems(tmp_path) == ["_static/a.css: fetches //cdn/a.png"]


