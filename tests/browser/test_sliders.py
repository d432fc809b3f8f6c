"""The panels as a reader meets them: JupyterLab, Chromium and the notebooks, profile "tiny"."""

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

import matplotlib.image
import numpy as np
import pytest
from conftest import dataset_of
from playwright.sync_api import expect, sync_playwright

from xraylib.curves import curve_picture
from xraylib.figures import error_image, pictures_in_a_row
from xraylib.inference import predict
from xraylib.metrics import score_masks
from xraylib.noise import noisy_copies
from xraylib.outlook.experiments import stack_networks
from xraylib.outlook.ratings import Rating, read_ratings
from xraylib.outlook.widgets import cuts_picture, orthogonal_cuts
from xraylib.params import configure
from xraylib.runs import config_of, load_run
from xraylib.widgets import Prediction, Predictor, picture

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
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
    """A JupyterLab on a copy of the notebooks: its address, token, home and log."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(NOTEBOOKS, folder / "notebooks")
    port, token, log = free_port(), secrets.token_hex(16), folder / "lab.log"
    environment = os.environ | {"XRAYLIB_PROFILE": "tiny", "XRAYLIB_HOME": str(folder / "home"),
                                "TQDM_DISABLE": "1"}
    for kind in ("CONFIG", "DATA", "RUNTIME"):
        environment[f"JUPYTER_{kind}_DIR"] = str(folder / kind.lower())
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root",
               f"--ServerApp.port={port}", f"--IdentityProvider.token={token}",
               f"--ServerApp.root_dir={folder / 'notebooks'}"]
    with log.open("w") as output:
        process = subprocess.Popen(command, env=environment, stdout=output,
                                   stderr=subprocess.STDOUT)
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
    names = "chromium", "chromium-browser", "google-chrome"
    executable = next(filter(None, map(shutil.which, names)), None)
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
        self.page.on("console", self._note)
        self.page.route(lambda url: "127.0.0.1" not in url,
                        lambda route: route.fulfill(body=""))      # badges
        self.page.goto(f"{address}/{name}.ipynb?token={token}&reset")
        self.page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.locator(".lm-Menu-itemLabel:text-is('Run All Cells')").click()

    def _note(self, line) -> None:
        if line.type == "error":
            self.errors.append(line.text)

    def panel(self, number: int):
        """The n-th panel of the notebook, scrolled to."""
        found = self.page.locator(".jp-OutputArea-output .widget-vbox:has(img)").nth(number)
        found.wait_for(timeout=300_000)
        found.scroll_into_view_if_needed()
        return found

    def close(self) -> None:
        assert not self.errors
        log = self.log.read_text()
        assert not re.search(r"Traceback|\[E |ERROR", log), log[-3000:]
        self.page.close()


def handle(panel, description: str):
    return panel.locator(f".widget-slider:has(label:text-is('{description}')) .noUi-handle")


def readout(panel, description: str):
    return panel.locator(f".widget-slider:has(label:text-is('{description}')) .widget-readout")


def track_of(panel, description: str) -> dict:
    slider = panel.locator(f".widget-slider:has(label:text-is('{description}')) .noUi-base")
    return slider.bounding_box()


def value(panel, description: str) -> int:
    return int(readout(panel, description).text_content())


def pixels(panel) -> np.ndarray:
    """What the browser has decoded, RGB uint8 (H, W, 3)."""
    png = base64.b64decode(panel.locator("img").evaluate(PIXELS))
    return np.rint(255 * matplotlib.image.imread(io.BytesIO(png))[..., :3]).astype(np.uint8)


def settles(panel, expected, seconds: float = 60) -> None:
    """The panel comes to show these pixels, and stays so."""
    end = time.monotonic() + seconds
    while True:
        shown = pixels(panel)
        if shown.shape == expected.shape and (shown == expected).all():
            break
        assert time.monotonic() < end, f"another picture: {shown.shape}, not {expected.shape}"
        time.sleep(0.05)
    time.sleep(0.3)
    assert (pixels(panel) == expected).all()


def move_by_mouse(page, panel, description: str, share: float) -> None:
    """Click on the slider's track, at this share of its length."""
    track = track_of(panel, description)
    page.mouse.click(track["x"] + share * track["width"], track["y"] + track["height"] / 2)


def drag(page, panel, description: str, shares) -> None:
    track = track_of(panel, description)
    box = handle(panel, description).bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    for share in shares:
        page.mouse.move(track["x"] + share * track["width"], track["y"] + track["height"] / 2)
    page.mouse.up()


def the_run(home: Path, experiment: str, **config):
    """The run of an experiment, by some of its configuration."""
    found = [run for run in map(load_run, (home / "runs" / experiment).iterdir())
             if all(run.config[name] == wanted for name, wanted in config.items())]
    assert len(found) == 1
    return found[0]


@pytest.fixture
def here(lab, monkeypatch):
    """The home of the notebooks' kernels, for this process too."""
    monkeypatch.setenv("XRAYLIB_HOME", str(lab[2]))
    return lab[2]


def clean_slices(run):
    """The validation slices of a run without their noisy copies."""
    val = config_of(run).draw(dataset_of(run).slices).val
    return val[val.noise_std == 0]


def errors_panel(page, panel, run, slices):
    """Drive an `explore_errors` panel by keyboard, mouse, drag, menu and button."""
    predictor = Predictor(run.model(), slices, run.config["seed"])

    def check(kind="misclassified", palette="safe"):
        index, noise = value(panel, "slice") - 1, value(panel, "added noise")
        guess, one = predictor.predict(index, noise), slices[[index]]
        image = predictor.image(index, noise)
        settles(panel, picture(kind, image, one.labels[0], guess, slices.phases, palette))
        expect(panel).to_contain_text(f"{100 * score_masks([guess.labels], one).mean:.2f}")
        expect(panel).to_contain_text(f"{(one.labels[0] != guess.labels).sum():,}")

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
    shares = np.concatenate([np.linspace(0, 1, 40), np.linspace(1, 0.4, 25)])
    drag(page.page, panel, "added noise", shares)
    assert value(panel, "added noise") == pytest.approx(6000, abs=1000)
    check()
    menu(panel, "picture").select_option("overlay")
    check("overlay")
    menu(panel, "colours").select_option("red, green, blue (the poster's)")
    check("overlay", "rgb")
    panel.get_by_role("button", name="worst").click()
    guesses = [predictor.predict(index, 0).labels for index in range(len(slices))]
    worst = score_masks(guesses, slices).image_dice.argmin()
    expect(readout(panel, "slice")).to_have_text(f"{worst + 1}")
    check("overlay", "rgb")


def menu(panel, description: str):
    return panel.locator(f".widget-dropdown:has(label:text-is('{description}')) select")


def move_both_ways(page, panel, share: float, check) -> None:
    """Move the sliders for slice and noise, each by keyboard and by mouse, to this share."""
    for description in ("slice", "added noise"):
        handle(panel, description).focus()
        page.page.keyboard.press("ArrowRight")
        check()
        move_by_mouse(page.page, panel, description, share)
        check()


def training_panel(page, panel, run, slices):
    """Drive an `explore_training` panel by keyboard and mouse."""
    snapshots = run.snapshots()
    predictors = [Predictor(load(), slices, run.config["seed"]) for load in snapshots.values()]

    def check():
        index, noise, kept = (value(panel, name) for name in ("slice", "added noise", "evaluation"))
        labels = predictors[kept - 1].predict(index - 1, noise).labels
        errors = error_image(slices.labels[index - 1], labels, slices.phases)
        curve = curve_picture(run.history, slices.phases, list(snapshots)[kept - 1])
        settles(panel, pictures_in_a_row([errors, curve]))

    check()
    handle(panel, "evaluation").focus()
    page.page.keyboard.press("ArrowLeft")
    assert value(panel, "evaluation") == len(predictors) - 1
    check()
    move_by_mouse(page.page, panel, "evaluation", 0.01)
    assert value(panel, "evaluation") == 1
    check()
    move_both_ways(page, panel, 0.6, check)


def comparison(page, panel, runs, slices):
    """Drive a `compare_networks` panel by keyboard and mouse."""
    predictors = [Predictor(run.model(), slices, runs[0].config["seed"]) for run in runs]

    def check():
        index, noise = value(panel, "slice") - 1, value(panel, "added noise")
        settles(panel, pictures_in_a_row([
            error_image(slices.labels[index], predictor.predict(index, noise).labels, slices.phases)
            for predictor in predictors]))

    check()
    move_both_ways(page, panel, 0.3, check)


def test_baseline(lab, browser, here):
    page = Page(browser, lab, "01_baseline")
    page.panel(1)                                        # the last: all before it has run
    run = the_run(here, "01_baseline")
    slices = clean_slices(run)
    errors_panel(page, page.panel(0), run, slices)
    training_panel(page, page.panel(1), run, slices)
    page.close()


@pytest.mark.heavy
def test_noisy_training(lab, browser, here):
    page = Page(browser, lab, "02_noisy_train")
    panel = page.panel(0)
    runs = [the_run(here, "02_noisy_train", noise_std=std) for std in (0, 5000)]
    comparison(page, panel, runs, dataset_of(runs[0]).test)
    page.close()


@pytest.mark.heavy
def test_noisy_validation(lab, browser, here):
    page = Page(browser, lab, "03_noisy_val")
    panel = page.panel(0)
    run = the_run(here, "03_noisy_val", noise_std=5000)
    errors_panel(page, panel, run, clean_slices(run))
    page.close()


def volume_panel(page, panel, test, guesses):
    """Drive an `explore_volume` panel by keyboard, mouse, drag and menu."""
    images, truth = np.stack(test.images), np.stack(test.labels)

    def check(network):
        at = tuple(value(panel, axis) - 1 for axis in "zyx")
        cuts = [orthogonal_cuts(volume, at) for volume in (images, truth, guesses[network])]
        shown = [picture("misclassified", image, true, Prediction(labels), test.phases)
                 for image, true, labels in zip(*cuts, strict=True)]
        settles(panel, cuts_picture(shown, at))

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
    menu(panel, "network").select_option(last)
    check(last)


@pytest.mark.heavy
def test_three_d(lab, browser, here):
    page = Page(browser, lab, "outlook/09_three_d")
    panel = page.panel(0)
    kinds = {kind: {"profile": "tiny"} | stack_networks("tiny")[kind]
             for kind in ("2-D", "2.5-D", "3-D")}
    runs = {kind: the_run(here, "09_three_d", noise_std=5000,
                          recipe=configure("09_three_d", changes).facts()["recipe"])
            for kind, changes in kinds.items()}
    test = noisy_copies(dataset_of(runs["2-D"]).test, 5000, runs["2-D"].config["seed"])
    guesses = {kind: predict(run.model(), test.images) for kind, run in runs.items()}
    volume_panel(page, panel, test, guesses)
    page.close()


@pytest.mark.heavy
def test_size_sweep(lab, browser, here):
    page = Page(browser, lab, "04_size_sweep")
    panel = page.panel(0)
    runs = [the_run(here, "04_size_sweep", n_train=n) for n in (2, 8)]
    comparison(page, panel, runs, clean_slices(runs[0]))
    page.close()


def test_score_sheet(lab, browser, here):
    """A reader scores two slices. The scores are in the file at once, and back after a restart."""
    page = Page(browser, lab, "outlook/08_unlabelled")
    panel = page.panel(0)
    first = pixels(panel)
    panel.get_by_role("button", name="2", exact=True).click()
    panel.get_by_role("textbox").last.fill('=rings, "here"')
    expect(panel).to_contain_text("1 of 12 slices scored")
    (path,) = (here / "runs" / "08_unlabelled").glob("*.csv")
    ratings = read_ratings(path, range(1, 13))
    (worst,) = [number for number, each in ratings.items() if each == Rating(2, '=rings, "here"')]
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
