"""Time the live page in Chromium: opening, slider moves, whole slices; memory and weight.

    make site && python tools/bench/site.py

The server is local, the browser new, and the networks run on one thread, as they always do there.
"""

import re
import sys
import time
from pathlib import Path

import numpy as np
from bench import report
from playwright.sync_api import Page, sync_playwright

TOOLS = Path(__file__).resolve().parents[1]
sys.path.append(str(TOOLS))

from page_server import open_browser, serve  # noqa: E402 (it stands one folder higher)

SITE = TOOLS.parent / "build" / "site"
OPENINGS, MOVES, WHOLE, MANY = 5, 40, 6, 1000
WAIT = 300_000  # ms that a busy computer may need
# Move the slider, and return the milliseconds until the first and all three networks are shown.
MOVE = """async (noise) => {
  const start = performance.now();
  const seen = [];
  const note = (name) => seen.push(performance.now() - start);
  const show = cliff.show;
  cliff.show = function (name) { show.call(this, name); if (name !== "input") note(name); };
  const done = new Promise((resolve) => lab.addEventListener("preview", resolve, { once: true }));
  lab.change({ noise }, true);
  await done;
  cliff.show = show;
  return [seen[0], seen[2]];
}"""
# Predict a whole slice with one network, and return the milliseconds.
PREDICT = """async (network) => {
  const input = Float32Array.from(cliff.grey);
  const start = performance.now();
  await lab.thorough.predict(network, input, [1, cliff.slice.height, cliff.slice.width]);
  return performance.now() - start;
}"""


def opened(page: Page, address: str) -> float:
    """Open the page, and return the seconds until the first network's picture is shown."""
    start = time.perf_counter()
    page.goto(address)
    page.locator("[data-network=clean] b").first.wait_for(timeout=WAIT)
    return time.perf_counter() - start


def rest(page: Page) -> None:
    """Wait until the whole slice is shown."""
    page.locator("#status[data-done]").wait_for(timeout=WAIT)
    page.get_by_text("The numbers are those of the whole slice.").wait_for(timeout=WAIT)


def memory_of(browser_pid: int) -> float:
    """Return the memory of a browser and its processes, GB (Linux): no page is counted twice."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            parent = re.search(r"^PPid:\s+(\d+)", status.read_text(), re.MULTILINE)
        except OSError:  # it has ended
            continue
        children.setdefault(int(parent[1]), []).append(int(status.parent.name))
    total, waiting = 0.0, [browser_pid]
    while waiting:
        pid = waiting.pop()
        waiting += children.get(pid, [])
        try:
            share = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(),
                              re.MULTILINE)
        except OSError:
            continue
        total += int(share[1]) * 1024 / 1e9
    return total


def browser_pid() -> int:
    """Return the number of the browser that this process has started."""
    own = [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline")
           if b"--headless" in path.read_bytes() and b"--type=" not in path.read_bytes()]
    return max(own)


def processor() -> str:
    """Return what /proc/cpuinfo calls the processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores"


def row(name: str, goal: str, values: list[float], unit: str) -> list[str]:
    """Return a row of the table: median and 95th percentile of some values."""
    digits = 1 if unit == "s" else 0
    return [name, goal, *(f"{value:.{digits}f} {unit}"
                          for value in (np.median(values), np.percentile(values, 95)))]


def main() -> None:
    """Measure, and print the table."""
    with serve(SITE) as address, sync_playwright() as playwright:
        address = f"{address}/index.html"
        openings = []
        for _ in range(OPENINGS):
            browser = open_browser(playwright)
            openings.append(opened(browser.new_page(), address))
            browser.close()
        browser = open_browser(playwright)
        page = browser.new_page()
        opened(page, address)
        rest(page)
        moves = []
        for noise in np.linspace(0, 15000, MOVES).astype(int).tolist():
            moves.append(page.evaluate(MOVE, noise))
        rest(page)
        whole = {name: [page.evaluate(PREDICT, name) for _ in range(WHOLE)]
                 for name in ("clean", "repaired", "noisy")}
        pid, memory = browser_pid(), []
        for move in range(MANY + 1):
            if move % (MANY // 5) == 0:
                memory.append(memory_of(pid))
            page.evaluate(MOVE, 100 * (move % 151))
        browser.close()
    assets = sum(path.stat().st_size for path in (SITE / "assets").iterdir())
    load = Path("/proc/loadavg").read_text().split()[0]
    report("site", ["", "goal", "median", "95 %"], [
        row("opening to the first network's picture", "3 s", openings, "s"),
        row("slider move to the first network, 256 px", "250 ms", [a for a, _ in moves], "ms"),
        row("slider move to all three networks, 256 px", "", [b for _, b in moves], "ms"),
        *(row(f"whole slice, {name}", "900 ms", times, "ms") for name, times in whole.items()),
        ["memory of the browser before, during and after 1,000 moves", "no growth",
         ", ".join(f"{each:.2f}" for each in memory) + " GB", ""],
        ["assets, compressed", "4.5 MB with scripts", f"{assets / 1e6:.2f} MB", ""],
        ["processor, load at the end", "", f"{processor()}, load {load}", ""],
    ])


if __name__ == "__main__":
    main()
