"""Hold PyTorch, ONNX Runtime, WASM in Node and the live page to the same segmentation.

    make site && python tools/prove/engines.py

Every pixel of the slices of the page must get the same class from all of them, with all of its
networks and at all noise levels, unless two probabilities differ by less than `TIE`.
"""

import base64
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from playwright.sync_api import Page, sync_playwright

from xraylib.datasets import TEST_SEED
from xraylib.inference import load_weights
from xraylib.outlook.export import TIE
from xraylib.outlook.onnx_graph import OUTPUT, build_graph
from xraylib.published import network_file
from xraylib.synthetic import generate_chunks
from xraylib.tables import markdown_table

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "site"), str(ROOT / "tools")]

from make_assets import GRAPHS, SHOWN, SIZE  # noqa: E402 (they stand beside the page)
from page_noise import add_page_noise  # noqa: E402
from page_server import open_browser, serve  # noqa: E402

NOISES = 0, 1000, 5000, 15000  # grey levels
SEED = 0  # of the noise
PROBABILITIES = """async ([name]) => {
  const bytes = new Uint8Array(cliff.results[name].probabilities.buffer);
  let text = "";
  for (let at = 0; at < bytes.length; at += 30000) {
    text += String.fromCharCode(...bytes.subarray(at, at + 30000));
  }
  return btoa(text);
}"""


@dataclass(frozen=True)
class Case:
    """A noisy slice and a network of the page."""

    slice: int  # its number in the test set, from 1
    noise: int  # grey levels
    network: str  # "clean", "repaired" or "noisy"

    @property
    def number(self) -> int:
        """The number of the slice in its volume."""
        return 1000 * TEST_SEED + self.slice


def noisy_images(cases: list[Case]) -> dict[tuple[int, int], np.ndarray]:
    """Generate the slices of some cases and add noise: uint16 (H, W) by (number, noise)."""
    found = {}
    for index in sorted({case.slice for case in cases}):
        (chunk,) = generate_chunks(1, SIZE, TEST_SEED, index - 1)
        for noise in sorted({case.noise for case in cases if case.slice == index}):
            number = 1000 * TEST_SEED + index
            found[number, noise] = add_page_noise(chunk.images[0], noise, SEED, number)
    return found


def by_torch(case: Case, image: np.ndarray) -> np.ndarray:
    """Compute the probabilities of a case with PyTorch, float32 (C, H, W)."""
    source, recalibrate = GRAPHS[case.network]
    model = deepcopy(load_weights(network_file(source)).cpu()).train(recalibrate)
    with torch.inference_mode():
        return torch.softmax(model(torch.from_numpy(image[None, None].astype(np.float32))),
                             1)[0].numpy()


def by_onnxruntime(case: Case, image: np.ndarray) -> np.ndarray:
    """Compute the probabilities of a case with ONNX Runtime, float32 (C, H, W)."""
    source, recalibrate = GRAPHS[case.network]
    graph = build_graph(load_weights(network_file(source)).cpu(), recalibrate)
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return session.run([OUTPUT], {"grey": image[None, None].astype(np.float32)})[0][0]


def by_node(cases: list[Case]) -> Iterator[np.ndarray]:
    """Compute the probabilities of all cases with the page's modules in Node."""
    with tempfile.TemporaryDirectory() as folder:
        names = [f"{case.number},{case.noise},{SEED},{case.network}" for case in cases]
        subprocess.run(["node", ROOT / "tools/prove/engines.mjs", folder, *names], check=True)
        for name in names:
            yield np.fromfile(Path(folder) / name, np.float32).reshape(-1, SIZE, SIZE)


def by_page(cases: list[Case], page: Page, address: str) -> Iterator[np.ndarray]:
    """Read the probabilities of all cases from the live page, which opens their addresses."""
    shown = None
    for case in cases:
        wanted = f"{address}#slice={case.number}&seed={SEED}&noise={case.noise}"
        if wanted != shown:
            page.goto(wanted)
            done = f"{case.number} {SEED} {case.noise}"
            page.locator(f"#status[data-done='{done}']").wait_for(timeout=120_000)
            shown = wanted
        content = base64.b64decode(page.evaluate(PROBABILITIES, [case.network]))
        yield np.frombuffer(content, np.float32).reshape(-1, SIZE, SIZE)


def disagreement(expected: np.ndarray, found: np.ndarray) -> tuple[int, int, float]:
    """Return the wrong pixels, the ties, and the largest difference between probabilities.

    Args:
        expected, found: probabilities of PyTorch and of another engine, float32 (C, H, W).
    """
    if found.shape != expected.shape or not np.isfinite(found).all():
        raise ValueError(f"probabilities of shape {found.shape}, not {expected.shape}, all finite")
    second, first = np.sort(expected, 0)[-2:]
    tie = first - second <= TIE
    wrong = (found.argmax(0) != expected.argmax(0)) & ~tie
    return int(wrong.sum()), int(tie.sum()), float(np.abs(found - expected).max())


def compare(cases: list[Case], page: Page, address: str) -> list[dict[str, object]]:
    """Compare all engines with PyTorch in some cases.

    Args:
        cases, page, address: sorted by slice and noise; a page of a browser; where it finds ours.

    Returns:
        A row per case: "case", "ties", and of each other engine the wrong pixels and the largest
        difference.
    """
    images, rows = noisy_images(cases), []
    for case, node, web in zip(cases, by_node(cases), by_page(cases, page, address), strict=True):
        image = images[case.number, case.noise]
        expected = by_torch(case, image)
        engines = {"ONNX Runtime": by_onnxruntime(case, image), "Node": node, "page": web}
        found = {name: disagreement(expected, each) for name, each in engines.items()}
        rows.append({"case": case, "ties": found["page"][1]} | {
            name: (wrong, most) for name, (wrong, _, most) in found.items()})
    return rows


def main() -> None:
    """Compare the engines on all slices of the page, at all noises, and print a table."""
    cases = [Case(index, noise, network)
             for index in SHOWN for noise in NOISES for network in GRAPHS]
    start = time.perf_counter()
    with serve(ROOT / "build/site") as address, sync_playwright() as playwright:
        browser = open_browser(playwright)
        rows = compare(cases, browser.new_page(), f"{address}/index.html")
        browser.close()
    engines = [name for name in rows[0] if name not in ("case", "ties")]
    print(markdown_table(
        ["slice", "noise", "network", "ties", *engines],
        [[str(row["case"].number), str(row["case"].noise), row["case"].network, str(row["ties"]),
          *(f"{row[name][0]} wrong, {row[name][1]:.1e}" for name in engines)] for row in rows]))
    wrong = sum(row[name][0] for row in rows for name in engines)
    pixels = len(rows) * SIZE**2
    print(f"\n{wrong} of {pixels:,} pixels differ from PyTorch in any engine; "
          f"{sum(row['ties'] for row in rows)} are ties. {time.perf_counter() - start:.0f} s")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
