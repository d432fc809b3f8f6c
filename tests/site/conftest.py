"""The built page, a server for it, a browser, and JavaScript that runs in Node."""

import base64
import io
import json
import re
import subprocess
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from page_server import open_browser, serve
from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[2]
READ = """
import { readFileSync } from "node:fs";
const read = (name, type) => new type(new Uint8Array(readFileSync(`${FOLDER}/${name}`)).buffer);
const say = (result) => console.log(JSON.stringify(result, (_, value) =>
  ArrayBuffer.isView(value) ? Array.from(value) : value));
"""
SLOW = 120_000  # ms that a busy computer may need
TYPES = {"uint8": "Uint8Array", "uint16": "Uint16Array", "int32": "Int32Array",
         "float32": "Float32Array", "float64": "Float64Array"}


@pytest.fixture
def javascript(tmp_path):
    """Run JavaScript that imports the page's modules and calls say(result); return the result.

    Arrays are given by name and have the same name there, row by row.
    """
    def run(code: str, **arrays: np.ndarray):
        lines = [f'const FOLDER = "{tmp_path}";', READ]
        for name, array in arrays.items():
            (tmp_path / name).write_bytes(np.ascontiguousarray(array).tobytes())
            lines.append(f'const {name} = read("{name}", {TYPES[array.dtype.name]});')
        done = subprocess.run(["node", "--input-type=module"], input="\n".join([*lines, code]),
                              cwd=ROOT / "site", capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
    return run


@pytest.fixture(scope="session")
def built() -> Path:
    """The folder of the built page."""
    folder = ROOT / "build/site"
    assert (folder / "xray.html").exists(), "run `make site` first"
    return folder


@pytest.fixture(scope="session")
def facts(built) -> dict:
    """What the page knows of the library."""
    return json.loads((built.parent / "site-assets/facts.json").read_text())


@pytest.fixture(scope="session")
def address(built):
    """The address of the built page on a server of this computer."""
    with serve(built) as found:
        yield f"{found}/index.html"


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        opened = open_browser(playwright)
        yield opened
        opened.close()


class LivePage:
    """The live page in a browser tab, with notes of what goes wrong and what is asked for."""

    def __init__(self, browser, address: str):
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.context = browser.new_context(viewport={"width": 1280, "height": 800})
        self.page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._note)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address)

    def _note(self, line) -> None:
        if line.type in ("error", "warning"):
            self.errors.append(line.text)

    def __getitem__(self, id_: str):
        return self.page.locator(f"#{id_}")

    def settles(self, slice_: int = 1001, seed: int = 0, noise: int = 5000) -> None:
        self.page.locator(f"#status[data-done='{slice_} {seed} {noise}']").wait_for(timeout=SLOW)

    def state(self) -> dict[str, str]:
        """What the address says."""
        fragment = urlsplit(self["address"].input_value()).fragment
        assert fragment == urlsplit(self.page.url).fragment or "#" not in self.page.url
        return {name: value for name, (value,) in parse_qs(fragment).items()}

    def text(self, id_: str) -> str:
        return self[id_].text_content()

    def table(self, id_: str) -> dict[str, list[str]]:
        """The rows of a table by the text of their first cell."""
        rows = self[id_].locator("tbody tr").evaluate_all(
            "rows => rows.map(row => [...row.children].map(cell => cell.textContent))")
        return {name: cells for name, *cells in rows}

    def pixels(self, id_: str) -> np.ndarray:
        """What a canvas shows, RGB uint8 (H, W, 3)."""
        png = self[id_].evaluate("canvas => canvas.toDataURL().split(',')[1]")
        with Image.open(io.BytesIO(base64.b64decode(png))) as picture:
            return np.array(picture.convert("RGB"))

    def open_file(self, path) -> None:
        """Give the page a file, and wait until it has an answer."""
        self["own-status"].evaluate("line => { line.textContent = ''; }")
        self["own-error"].evaluate("line => { line.hidden = true; line.textContent = ''; }")
        self["file"].set_input_files(path)
        answer = self.page.locator("#own-error:not([hidden]), #own-status:has-text('grey levels')")
        answer.first.wait_for(timeout=SLOW)

    def close(self) -> None:
        """Close the tab. There must have been no error, and no request to another host."""
        assert self.errors == []
        ours = r"(blob:)?(http://127\.0\.0\.1:|file:///|null/)|data:"
        assert [url for url in self.requests if not re.match(ours, url)] == []
        self.context.close()


@pytest.fixture(scope="module")
def open_page(browser):
    """Open an address in a new tab."""
    return lambda address: LivePage(browser, address)


@pytest.fixture(scope="module")
def offline_page(open_page, address):
    """The page, which has lost its network after loading."""
    page = open_page(address)
    page.settles()
    page.page.wait_for_load_state("networkidle")
    page.context.set_offline(True)
    yield page
    page.close()


@pytest.fixture
def live(offline_page):
    """The page without a network, as it is at first: tests may run in any order."""
    offline_page.page.evaluate("""() => {
      const first = { slice: 1001, seed: 0, noise: 5000, network: "clean", picture: "errors",
                      view: "centre", pixel: null };
      const wrong = Object.entries(first).filter(([name, value]) => lab.state[name] !== value);
      if (wrong.length) lab.change(Object.fromEntries(wrong));
    }""")
    offline_page.settles()
    return offline_page
