"""The live page as a reader meets it: every control, after the network has gone."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from page_noise import add_page_noise
from playwright.sync_api import expect

from xraylib.data import Slices
from xraylib.inference import load_weights, predict
from xraylib.metrics import score_masks
from xraylib.published import network_file

ROOT = Path(__file__).resolve().parents[2]
SLOW = 120_000  # ms that a busy computer may need
NUMBER, NOISE = 1001, 5000  # of the slice that the page shows first


@pytest.fixture(scope="module")
def shown(built):
    """The first slice of the page: grey levels and labels, as Python unpacks them."""
    size = 501 * 501
    content = (built.parent / "site-assets" / f"slice-{NUMBER}.bin").read_bytes()
    high, low, labels = np.frombuffer(content, np.uint8).reshape(3, size)
    signed = high.astype(int) << 8 | low
    rest = np.where(signed & 1, -(signed + 1) // 2, signed // 2).reshape(501, 501)
    image = rest.cumsum(0).cumsum(1).astype(np.uint16)
    return Slices([image], [labels.reshape(501, 501).copy()], np.array([NUMBER]))


def dice_of(network: str, slices: Slices, noise: int) -> float:
    noisy = add_page_noise(slices.images[0], noise, 0, NUMBER)
    mask = predict(load_weights(network_file(network)).cpu(), [noisy])
    return score_masks(mask, slices).mean


def test_the_scores_are_those_of_the_library(live, shown):
    for name, network in {"clean": "baseline", "noisy": "clean-and-noisy"}.items():
        text = live.page.locator(f"[data-network={name}] figcaption").text_content()
        assert f"Dice {100 * dice_of(network, shown, NOISE):.1f} %" in text
    dice = live.table("units")["Dice"]
    assert float(dice[1].split()[0]) < 60 < float(dice[2].split()[0]) < float(dice[3].split()[0])
    assert "New batch-norm statistics" in live.text("verdict")


def test_the_slider_moves_the_noise_by_keyboard(live, shown):
    live["noise"].focus()
    live.page.keyboard.press("Home")
    live.settles(noise=0)
    assert live.state()["noise"] == "0" and live.text("noise-value") == "0"
    text = live.page.locator("[data-network=clean] figcaption").text_content()
    assert f"Dice {100 * dice_of('baseline', shown, 0):.1f} %" in text
    rows = live.table("units")
    triples = next(cells for name, cells in rows.items() if name.startswith("triple"))
    assert float(re.search(r"\(([\d.]+)\)", triples[1])[1]) == pytest.approx(1, abs=0.4)
    for _ in range(3):
        live.page.keyboard.press("ArrowRight")
    assert live.state()["noise"] == "300"


def test_pictures_views_slices_and_seeds(live, facts):
    errors = live.pixels("canvas-clean")
    live["picture"].select_option("mask")
    mask = live.pixels("canvas-clean")
    colours = {tuple(bytes.fromhex(colour[1:])) for colour in facts["phases"]["colours"]}
    assert set(map(tuple, mask.reshape(-1, 3).tolist())) <= colours
    live["picture"].select_option("confidence")
    assert not np.array_equal(live.pixels("canvas-clean"), mask)
    live["picture"].select_option("truth")
    assert np.array_equal(live.pixels("canvas-clean"), live.pixels("canvas-noisy"))
    live["picture"].select_option("errors")
    assert np.array_equal(live.pixels("canvas-clean"), errors)
    for view in ("upper-left", "upper-right", "lower-left", "lower-right"):
        live["view"].select_option(view)
        assert live.pixels("canvas-clean").shape == (256, 256, 3)
        assert live.state()["view"] == view
    live["view"].select_option("whole")
    assert live.pixels("canvas-input").shape == (501, 501, 3)
    live["seed"].fill("7")
    live["seed"].blur()
    live["slice"].select_option("1026")
    live.settles(slice_=1026, seed=7)
    assert live.state() | {"network": ""} == {
        "slice": "1026", "seed": "7", "noise": "5000", "picture": "errors", "view": "whole",
        "network": ""}


def test_why_a_pixel_is_wrong(live, facts):
    live["network"].select_option("clean")
    live["next-wrong"].click()
    expect(live["pixel-text"]).to_contain_text("so it is wrong")
    expect(live["occlusion-text"]).to_contain_text("Each square was hidden once", timeout=SLOW)
    first = live.text("pixel-text")
    live["next-wrong"].click()
    expect(live["pixel-text"]).not_to_have_text(first)
    live["row"].fill("250")
    live["column"].fill("251")
    live["column"].blur()
    expect(live["pixel-text"]).to_contain_text("Row 250, column 251 is")
    assert live.state()["pixel"] == "250,251"
    assert len(live.table("pixel-table")) == 3
    assert live["channels"].locator("canvas").count() == 16
    assert str(facts["networks"]["baseline"]["field"]) in live.text("field-text")
    expect(live["occlusion-text"]).to_contain_text("Each square was hidden once", timeout=SLOW)
    live["network"].select_option("repaired")
    expect(live["occlusion-text"]).to_contain_text("from the whole slice")
    expect(live["channels-text"]).to_contain_text("on this slice")


def test_a_pixel_is_chosen_by_mouse_and_by_keyboard(live):
    place = live["canvas-noisy"].bounding_box()
    live["canvas-noisy"].click(position={"x": 1, "y": place["height"] - 1})
    assert live.state()["network"] == "noisy" and live["network"].input_value() == "noisy"
    row, column = map(int, live.state()["pixel"].split(","))
    assert (row, column) == (pytest.approx(120 + 256, abs=1), 120 + 1)
    live["canvas-noisy"].focus()
    live.page.keyboard.press("Shift+ArrowRight")
    live.page.keyboard.press("ArrowUp")
    live.page.keyboard.press("Enter")
    assert live.state()["pixel"] == f"{120 + 128},{120 + 128 + 10 + 1}"


def test_an_occluded_part_predicts_what_the_whole_slice_does(live):
    """The part around a pixel, also at a corner, gives the probabilities of the whole slice."""
    found = live.page.evaluate("""async () => {
      const { slice, grey, results } = cliff;
      const rows = [];
      for (const [row, column] of [[0, 0], [500, 500], [250, 251], [3, 499], [123, 77]]) {
        lab.change({ network: "clean", pixel: { row, column } });
        await why.explained;
        const at = row * slice.width + column;
        const whole = [0, 1, 2].map((one) => results.clean.probabilities[one * grey.length + at]);
        rows.push([why.part, whole]);
      }
      return rows;
    }""")
    for part, whole in found:
        assert part == pytest.approx(whole, abs=1e-4)


def test_the_reader_beats_the_network(live):
    live["beat"].scroll_into_view_if_needed()
    live["contest"].locator("td").first.wait_for(timeout=SLOW)
    live["median"].select_option("7")
    live["low"].fill("28300")
    live["high"].fill("38400")
    assert float(live.table("contest")["clean slice"][0].split()[0]) > 95
    assert live.table("contest")["noise of 5,000"] == ["?", "?"]
    live["reveal"].click()
    mine, theirs = (float(cell.split()[0]) for cell in live.table("contest")["noise of 5,000"])
    assert mine > 90 and theirs < 60
    expect(live["outcome"]).to_contain_text(f"You win by {mine - theirs:.0f} points")
    live["low"].fill("50000")
    assert float(live["high"].input_value()) >= 50000
    assert float(live.table("contest")["noise of 5,000"][0].split()[0]) < mine
    live["reveal"].click()
    assert live.table("contest")["noise of 5,000"] == ["?", "?"]


def test_an_address_opens_the_same_failure(live, open_page):
    live.page.evaluate("lab.change({ noise: 3000, view: 'lower-left', network: 'clean', "
                       "pixel: { row: 300, column: 40 } })")
    live.settles(noise=3000)
    shared = live["address"].input_value()
    live["copy"].click()
    expect(live["copy"]).to_have_text("Copied")
    other = open_page(shared)
    other.settles(noise=3000)
    for name in ("input", "clean", "repaired", "noisy"):
        assert np.array_equal(other.pixels(f"canvas-{name}"), live.pixels(f"canvas-{name}"))
    assert other.text("pixel-text") == live.text("pixel-text")
    assert "Notebook 3" in other.text("explanation")
    other.close()


def test_addresses_are_read_as_they_are_written(javascript):
    code = """import { readState, writeState } from "./state.js";
        const slices = [1001, 7].map((number) => ({ number, height: 99, width: 501 }));
        const wrong = "#slice=5&noise=99999&seed=-1&view=moon&pixel=100,1&network=x";
        say([writeState(readState(SHARED, slices)), readState("", slices),
             readState(wrong, slices)]);"""
    shared = "#slice=7&seed=3&noise=250&network=noisy&picture=mask&view=whole&pixel=99,1"
    written, first, wrong = javascript(code.replace("SHARED", f'"{shared}"'))
    assert written == shared
    assert first == wrong == {"slice": 1001, "seed": 0, "noise": 5000, "view": "centre",
                              "network": "clean", "picture": "errors", "pixel": None}


def test_every_explanation_can_be_shown(live, facts):
    """Each notebook and section that the page names is in the repository."""
    named = live.page.evaluate("Object.values(EXPLANATIONS)")
    assert len(named) == 4
    page = (ROOT / "site/index.html").read_text()
    named += re.findall(r'data-notebook="(.*?)"\s+data-section="(.*?)"', page)
    assert len(named) == 5
    for notebook, section, *_ in named:
        cells = json.loads((ROOT / f"notebooks/{notebook}.ipynb").read_text())["cells"]
        headings = [line.strip() for cell in cells for line in cell["source"]]
        assert f"## {section}" in headings
    links = live.page.locator("[data-path]")
    for path in links.evaluate_all("all => all.map(link => link.dataset.path)"):
        assert (ROOT / path).exists()


def test_one_file_works_from_disk_without_a_network(browser, open_page, built):
    page = open_page("about:blank")
    page.context.set_offline(True)
    page.page.goto(f"{(built / 'xray.html').as_uri()}#slice=1050&noise=2000")
    page.page.locator("[data-network=noisy] b").first.wait_for(timeout=SLOW)
    assert len(np.unique(page.pixels("canvas-noisy").reshape(-1, 3), axis=0)) > 3
    assert not page["problem"].is_visible()
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone_in_both_themes(live, scheme):
    live.page.emulate_media(color_scheme=scheme)
    paper = live.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (min(map(int, re.findall(r"\d+", paper))) > 200) == (scheme == "light")
    for width in (390, 1280):
        live.page.set_viewport_size({"width": width, "height": 800})
        assert live.page.evaluate("document.documentElement.scrollWidth") <= width
    places = [live[name].bounding_box() for name in ("noise", "canvas-clean", "canvas-noisy")]
    live.page.evaluate("scrollTo(0, 0)")
    assert all(place["y"] + place["height"] < 800 for place in places)  # without scrolling


def test_every_control_has_a_name(live):
    nameless = live.page.locator("input, select, button, canvas, svg[role]").evaluate_all("""all =>
      all.filter((each) => !(each.labels?.length || each.textContent.trim()
        || each.getAttribute("aria-label"))).map((each) => each.id || each.outerHTML)""")
    assert nameless == []


@pytest.mark.parametrize("name", ["index.html", "xray.html"])
def test_no_built_page_refers_to_another_host(built, name):
    """Links to the repository are made when the page starts; everything else is part of it."""
    text = (built / name).read_text()
    assert not re.search(r"(src|href|action)\s*=\s*[\"']?(https?:)?//", text)
    assert "@import" not in text and "default-src 'none'" in text
