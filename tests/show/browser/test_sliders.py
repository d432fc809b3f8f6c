"""The sliders as a reader meets them: JupyterLab, Chromium, and the notebooks themselves in the tiny profile."""

import base64
import io
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect, sync_playwright

from xraylib.noise import add_noise, noisy_copies
from xraylib.predict.network import load_weights, predict
from xraylib.runs.folder import load, source_of
from xraylib.runs.profiles import configure, networks_of
from xraylib.show import explore, plots, views
from xraylib.show.score_sheet import Given, read_scores

NOTEBOOKS = Path(__file__).resolve().parents[3] / "notebooks"
PIXELS = """async image => {
    for (let wait = 0; wait < 200 && !(image.complete && image.naturalWidth); wait++)
        await new Promise(done => setTimeout(done, 50));
    const canvas = document.createElement('canvas');
    canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
    canvas.getContext('2d').drawImage(image, 0, 0);
    return canvas.toDataURL('image/png').split(',')[1];
}"""

expect.set_options(timeout=60_000)      # a machine that does other things, too, may take its time


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab on loopback, with its token, on a copy of the notebooks; yields its address, home and log."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(NOTEBOOKS, folder / "notebooks")
    port, token, log = free_port(), secrets.token_hex(16), folder / "lab.log"
    environment = os.environ | {"XRAYLIB_PROFILE": "tiny", "XRAYLIB_HOME": str(folder / "home"), "TQDM_DISABLE": "1"}
    for kind in ("CONFIG", "DATA", "RUNTIME"):
        environment[f"JUPYTER_{kind}_DIR"] = str(folder / kind.lower())
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--ServerApp.port={port}",
               f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder / 'notebooks'}"]
    with log.open("w") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api?token={token}").close()
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/lab/tree", token, folder / "home", log
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def browser():
    executable = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield opened
        opened.close()


class Page:
    """A notebook in the browser, run from top to bottom."""

    def __init__(self, browser, lab, name: str):
        address, token, _, self.log = lab
        self.errors: list[str] = []
        self.page = browser.new_page(viewport={"width": 1280, "height": 1000})
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda line: self.errors.append(line.text) if line.type == "error" else None)
        self.page.route(lambda url: "127.0.0.1" not in url, lambda route: route.fulfill(body=""))    # badges
        self.page.goto(f"{address}/{name}.ipynb?token={token}&reset")
        self.page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.locator(".lm-Menu-itemLabel:text-is('Run All Cells')").click()

    def panel(self, number: int):
        """The n-th panel of the notebook, scrolled to."""
        found = self.page.locator(".jp-OutputArea-output .widget-vbox:has(img)").nth(number)
        found.wait_for(timeout=300_000)
        found.scroll_into_view_if_needed()
        return found

    def close(self) -> None:
        assert not self.errors
        assert not re.search(r"Traceback|\[E |ERROR", self.log.read_text()), self.log.read_text()[-3000:]
        self.page.close()


def handle(panel, description: str):
    return panel.locator(f".widget-slider:has(label:text-is('{description}')) .noUi-handle")


def value(panel, description: str) -> int:
    return int(panel.locator(f".widget-slider:has(label:text-is('{description}')) .widget-readout").text_content())


def pixels(panel) -> np.ndarray:
    """What the browser has decoded, RGB uint8 (H, W, 3)."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(panel.locator("img").evaluate(PIXELS)))).convert("RGB"))


def settles(panel, expected, seconds: float = 60) -> None:
    """The panel comes to show these pixels, and stays so."""
    end = time.monotonic() + seconds
    while True:
        shown = pixels(panel)
        if shown.shape == expected.shape and (shown == expected).all():
            break
        assert time.monotonic() < end, f"the picture did not become the expected one: {shown.shape}, {expected.shape}"
        time.sleep(0.05)
    time.sleep(0.3)
    assert (pixels(panel) == expected).all()


def move_by_mouse(page, panel, description: str, share: float) -> None:
    """Click on the slider's track, at this share of its length."""
    track = panel.locator(f".widget-slider:has(label:text-is('{description}')) .noUi-base").bounding_box()
    page.mouse.click(track["x"] + share * track["width"], track["y"] + track["height"] / 2)


def drag(page, panel, description: str, shares) -> None:
    track = panel.locator(f".widget-slider:has(label:text-is('{description}')) .noUi-base").bounding_box()
    box = handle(panel, description).bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    for share in shares:
        page.mouse.move(track["x"] + share * track["width"], track["y"] + track["height"] / 2)
    page.mouse.up()


def the_run(home: Path, experiment: str, **config):
    """The run of an experiment, by some of its configuration."""
    found = [run for run in map(load, (home / "runs" / experiment).iterdir())
             if all(run.config[name] == wanted for name, wanted in config.items())]
    assert len(found) == 1
    return found[0]


@pytest.fixture
def here(lab, monkeypatch):
    """The home of the notebooks' kernels, for this process too."""
    monkeypatch.setenv("XRAYLIB_HOME", str(lab[2]))
    return lab[2]


def errors_panel(page, panel, run, slices):
    """Drive an `explore_errors` panel by keyboard, mouse, drag, menu and button, against the pure functions."""
    guesser = views.Guesser(run.model(), slices, run.config["seed"])

    def check(kind="misclassified", palette="safe"):
        index, noise = value(panel, "slice") - 1, value(panel, "added noise")
        guess, truth = guesser.guess(index, noise), slices.labels[index]
        settles(panel, views.picture(kind, guesser.image(index, noise), truth, guess, palette))
        expect(panel).to_contain_text(f"{100 * views.dice_of(truth, guess.labels).mean():.2f} %")
        expect(panel).to_contain_text(f"{(truth != guess.labels).sum():,}")

    check()
    handle(panel, "slice").focus()
    page.page.keyboard.press("ArrowRight")
    assert value(panel, "slice") == 2
    check()
    move_by_mouse(page.page, panel, "slice", 0.99)
    assert value(panel, "slice") == len(slices)
    check()
    handle(panel, "added noise").focus()
    page.page.keyboard.press("ArrowRight")
    assert value(panel, "added noise") == 500
    check()
    drag(page.page, panel, "added noise", np.concatenate([np.linspace(0, 1, 40), np.linspace(1, 0.4, 25)]))
    assert value(panel, "added noise") == pytest.approx(6000, abs=1000)
    check()
    panel.get_by_role("combobox").first.select_option("overlay")
    check("overlay")
    panel.get_by_role("combobox").last.select_option("red, green, blue (the poster's)")
    check("overlay", "rgb")
    panel.get_by_role("button", name="worst").click()
    clean = [views.dice_of(truth, guesser.guess(index, 0).labels).mean() for index, truth in enumerate(slices.labels)]
    expect(panel.locator(".widget-slider:has(label:text-is('slice')) .widget-readout")).to_have_text(
        str(np.argmin(clean) + 1))
    check("overlay", "rgb")


def move_both_ways(page, panel, share: float, check) -> None:
    """Move the sliders for slice and noise, each by keyboard and by mouse, to this share of the track."""
    for description in ("slice", "added noise"):
        handle(panel, description).focus()
        page.page.keyboard.press("ArrowRight")
        check()
        move_by_mouse(page.page, panel, description, share)
        check()


def training_panel(page, panel, run, slices):
    guessers = [views.Guesser(load_weights(path), slices, run.config["seed"])
                for path in explore.snapshots(run).values()]

    def check():
        index, noise, kept = (value(panel, name) for name in ("slice", "added noise", "evaluation"))
        errors = plots.error_image(slices.labels[index - 1], guessers[kept - 1].guess(index - 1, noise).labels)
        curve = views.curve_picture(run.history, int(list(explore.snapshots(run))[kept - 1]))
        settles(panel, views.side_by_side([errors, curve]))

    check()
    handle(panel, "evaluation").focus()
    page.page.keyboard.press("ArrowLeft")
    assert value(panel, "evaluation") == len(guessers) - 1
    check()
    move_by_mouse(page.page, panel, "evaluation", 0.01)
    assert value(panel, "evaluation") == 1
    check()
    move_both_ways(page, panel, 0.6, check)


def comparison(page, panel, found, slices):
    def check():
        index, noise = value(panel, "slice") - 1, value(panel, "added noise")
        image = add_noise(slices.images[index], noise, found[0].config["seed"], int(slices.numbers[index]))
        guesses = [views.Guesser(run.model(), slices, found[0].config["seed"]).guess(index, noise) for run in found]
        settles(panel, views.side_by_side([views.picture("misclassified", image, slices.labels[index], guess)
                                           for guess in guesses]))

    check()
    move_both_ways(page, panel, 0.3, check)


def test_baseline(lab, browser, here):
    page = Page(browser, lab, "01_baseline")
    page.panel(1)                                                 # the last: all before it has run
    run = the_run(here, "01_baseline")
    slices = explore.own_slices(run)
    errors_panel(page, page.panel(0), run, slices)
    training_panel(page, page.panel(1), run, slices)
    page.close()


def test_noisy_training(lab, browser, here):
    page = Page(browser, lab, "02_noisy_train")
    panel = page.panel(0)
    found = [the_run(here, "02_noisy_train", noise_std=std) for std in (0, 5000)]
    comparison(page, panel, found, source_of(found[0]).test)
    page.close()


def test_noisy_validation(lab, browser, here):
    page = Page(browser, lab, "03_noisy_val")
    page.panel(2)
    found = [the_run(here, name, noise_std=5000) for name in ("03_noisy_val", "02_noisy_train")]
    slices = explore.own_slices(found[0])
    comparison(page, page.panel(0), found, source_of(found[0]).test)
    errors_panel(page, page.panel(1), found[0], slices)
    training_panel(page, page.panel(2), found[0], slices)
    page.close()


def volume_panel(page, panel, test, guesses):
    """The sliders through x, y and z and the menu of networks, by keyboard and mouse."""
    images, truth = np.stack(test.images), np.stack(test.labels)

    def check(network):
        at = tuple(value(panel, axis) - 1 for axis in "zyx")
        planes = zip(*(views.cuts(volume, at) for volume in (images, truth, guesses[network])), strict=True)
        settles(panel, views.orthogonal([views.picture("misclassified", image, true, views.Guess(labels, None))
                                         for image, true, labels in planes], at))

    first, *_, last = guesses
    check(first)
    for axis, length in zip("zyx", truth.shape, strict=True):
        before = value(panel, axis)
        handle(panel, axis).focus()
        page.page.keyboard.press("ArrowRight")
        assert value(panel, axis) == before + 1
        check(first)
        move_by_mouse(page.page, panel, axis, 0.99)
        assert value(panel, axis) > 0.95 * length
        check(first)
        drag(page.page, panel, axis, np.linspace(1, 0.2, 25))
        assert value(panel, axis) < length / 2
        check(first)
    panel.get_by_role("combobox").first.select_option(last)
    check(last)


def test_three_d(lab, browser, here):
    page = Page(browser, lab, "outlook/09_three_d")
    panel = page.panel(0)
    recipes = {kind: configure("09_three_d", {"profile": "tiny"} | networks_of("tiny")[kind]).facts()["recipe"]
               for kind in ("2-D", "2.5-D", "3-D")}
    found = {kind: the_run(here, "09_three_d", noise_std=5000, recipe=recipe) for kind, recipe in recipes.items()}
    test = noisy_copies(source_of(found["2-D"]).test, 5000, found["2-D"].config["seed"])
    volume_panel(page, panel, test, {kind: predict(run.model(), test.images) for kind, run in found.items()})
    page.close()


def test_size_sweep(lab, browser, here):
    page = Page(browser, lab, "04_size_sweep")
    panel = page.panel(0)
    found = [the_run(here, "04_size_sweep", n_train=n) for n in (2, 8)]
    comparison(page, panel, found, explore.own_slices(found[0]))
    page.close()


def test_score_sheet(lab, browser, here):
    """A reader scores the worst slice and the next one; it is in the file at once, and there after a restart."""
    page = Page(browser, lab, "outlook/08_unlabelled")
    panel = page.panel(0)
    first = pixels(panel)
    panel.get_by_role("button", name="2", exact=True).click()
    panel.get_by_role("textbox").last.fill('=rings, "here"')
    expect(panel).to_contain_text("1 of 12 slices scored")
    (path,) = (here / "runs" / "08_unlabelled").glob("*.csv")
    given = read_scores(path, range(1, 13))
    (worst,) = [number for number, each in given.items() if each == Given(2, '=rings, "here"')]
    panel.get_by_role("button", name="next").click()
    expect(panel.get_by_role("textbox").last).to_have_value("")
    assert value(panel, "worst first") == 2 and not np.array_equal(pixels(panel), first)
    panel.get_by_role("button", name="5", exact=True).click()
    expect(panel).to_contain_text("2 of 12 slices scored")
    page.close()
    again = Page(browser, lab, "outlook/08_unlabelled")
    panel = again.panel(0)
    expect(panel).to_contain_text(f"Slice {worst} of the volume")
    expect(panel.get_by_role("textbox").last).to_have_value('=rings, "here"')
    expect(panel).to_contain_text("2 of 12 slices scored")
    settles(panel, first)
    again.close()
