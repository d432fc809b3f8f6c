"""Time the live page in Chromium: opening, slider moves, whole slices; memory and weight.

    make site && python tools/bench/site.py

The server is local, the browser new, and the networks run on one thread, as they always do there.
"""

import os
import re
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
from bench import report
from playwright.sync_api import Page, sync_playwright

TOOLS = Path(__file__).resolve().parents[1]
sys.path.append(str(TOOLS))

from page_server import open_browser, serve  # noqa: E402 (it stands one folder higher)

SITE = TOOLS.parent / "build" / "site"
OPENINGS, MOVES, WHOLE = 5, 40, 6
MANY, PARTS = 1000, 5  # moves while memory is watched, and how often it is read
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
# Drag the slider without waiting for the networks, as a reader does, and wait at the end.
DRAG = """async (moves) => {
  for (let move = 0; move < moves; move++) {
    lab.change({ noise: 100 * (move % 151) }, true);
    await new Promise((resolve) => setTimeout(resolve, 40));
  }
  const done = new Promise((resolve) => lab.addEventListener("predicted", resolve, { once: true }));
  lab.change({ noise: 5000 }, true);
  await done;
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


def browser_processes() -> list[Path]:
    """Return the folders in /proc of the browser's processes: all that this process has started."""
    children: dict[int, list[Path]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(folder)
    found, waiting = [], [os.getpid()]
    while waiting:
        started = children.get(waiting.pop(), [])
        found += started
        waiting += [int(folder.name) for folder in started]
    return found


def memory() -> float:
    """Return the memory of the browser, GB; what processes share is counted once."""
    total = 0
    for folder in browser_processes():
        with suppress(OSError):
            text = (folder / "smaps_rollup").read_text()
            total += 1024 * int(re.findall(r"^Pss:\s+(\d+)", text, re.MULTILINE)[0])
    return total / 1e9


def processor_ms() -> float:
    """Return the processor time that the browser has taken, ms."""
    ticks = 0
    for folder in browser_processes():
        with suppress(OSError):
            ticks += sum(map(int, (folder / "stat").read_text().rpartition(")")[2].split()[11:13]))
    return 1e3 * ticks / os.sysconf("SC_CLK_TCK")


def processor() -> str:
    """Return what /proc/cpuinfo calls the processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores"


def row(name: str, goal: str, values: list[float], unit: str, taken: float = 0) -> list[str]:
    """Return a row of the table: median and 95th percentile of some values.

    Args:
        name, goal, values, unit: what the row shows.
        taken: processor time, ms; 0: not measured.
    """
    digits = 1 if unit == "s" else 0
    return [name, goal, *(f"{value:.{digits}f} {unit}"
                          for value in (np.median(values), np.percentile(values, 95))),
            f"{taken:.0f} ms" if taken else ""]


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
        before = processor_ms()
        moves = [page.evaluate(MOVE, noise)
                 for noise in np.linspace(0, 15000, MOVES).astype(int).tolist()]
        per_move = (processor_ms() - before) / MOVES
        rest(page)
        whole, taken = {}, {}
        for name in ("clean", "repaired", "noisy"):
            before = processor_ms()
            whole[name] = [page.evaluate(PREDICT, name) for _ in range(WHOLE)]
            taken[name] = (processor_ms() - before) / WHOLE
        held = [memory()]
        for _ in range(PARTS):
            page.evaluate(DRAG, MANY // PARTS)
            held.append(memory())
        browser.close()
    assets = sum(path.stat().st_size for path in (SITE / "assets").iterdir())
    load = Path("/proc/loadavg").read_text().split()[0]
    report("site", ["", "goal", "median", "95 %", "processor time"], [
        row("opening to the first network's picture", "3 s", openings, "s"),
        row("slider move to the first network, 256 px", "250 ms", [a for a, _ in moves], "ms"),
        row("slider move to all three networks, 256 px", "", [b for _, b in moves], "ms", per_move),
        *(row(f"whole slice, {name}", "900 ms", times, "ms", taken[name])
          for name, times in whole.items()),
        ["memory of the browser before and during 1,000 moves", "no growth",
         ", ".join(f"{each:.2f}" for each in held) + " GB", "", ""],
        ["assets, compressed", "4.5 MB with scripts", f"{assets / 1e6:.2f} MB", "", ""],
    ])
    print(f"{processor()}, load at the end {load}")


if __name__ == "__main__":
    main()
