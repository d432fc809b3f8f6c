"""The page adapts grey levels, and warns, as the command line does."""

import json

import numpy as np
import pytest
import tifffile

from xraylib.contrast import choose_contrast
from xraylib.datasets import TEST_SEED, built_in
from xraylib.formats.grey import to_uint16
from xraylib.formats.tiff import open_pages
from xraylib.inference import load_weights
from xraylib.outlook.quality import grey_quantiles, grey_shift
from xraylib.published import network_file

RNG = np.random.default_rng(0)


def with_border(image):
    image[:, :20] = image[:20] = 0
    return image


CASES = {
    "as trained": lambda image: image,
    "brighter": lambda image: image + np.uint16(9000),
    "inverted": lambda image: np.uint16(65535) - image,
    "noisy": lambda image: (image + RNG.normal(0, 4000, image.shape)).clip(0, 65535)
    .astype(np.uint16),
    "8 bits": lambda image: (image >> 8).astype(np.uint8),
    "floating point, with gaps": lambda image: np.where(
        RNG.random(image.shape) < 0.01, np.nan, image / 7e4 - 0.2).astype(np.float32),
    "black border": lambda image: with_border(image.copy()),
    "large": lambda image: np.tile(image, (3, 4)),
}


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XRAYLIB_HOME", str(tmp_path_factory.mktemp("home")))
        return built_in(8, 128, TEST_SEED).images[3]


@pytest.mark.parametrize("kind", ["", "match", "percentiles"])
@pytest.mark.parametrize("case", CASES)
def test_levels_and_warnings_are_those_of_the_command_line(javascript, built, tmp_path, image,
                                                           case, kind):
    page = CASES[case](image)
    tifffile.imwrite(tmp_path / "page.tif", page)
    model = load_weights(network_file("clean-and-noisy")).cpu()
    scale, text = choose_contrast(open_pages(tmp_path / "page.tif"), model, kind)
    code = f"""import {{ chooseContrast, toGreyLevels }} from "./contrast.js";
        const facts = JSON.parse(readFileSync("{built.parent}/site-assets/facts.json"));
        const page = {{ data, dtype: "{page.dtype}", height: {len(page)}, width: {page.shape[1]} }};
        const chosen = chooseContrast(page, facts.networks["clean-and-noisy"], facts.contrast,
                                      {json.dumps(kind)});
        say([chosen, toGreyLevels(data, chosen)]);"""
    chosen, levels = javascript(code, data=page)
    assert (chosen["gain"], chosen["offset"]) == pytest.approx((scale.gain, scale.offset))
    assert bool(chosen["faults"]) == ("WARNING: do not trust" in text)
    for fault in chosen["faults"]:
        assert fault in text
    if not chosen["faults"]:
        assert chosen["differs"] == ("shares of grey levels differ" in text)
    expected = to_uint16(page, scale).astype(int)
    assert np.abs(np.reshape(levels, page.shape) - expected).max() <= 1  # 0.5 is rounded up there


def test_both_verdicts_occur(tmp_path, image):
    model = load_weights(network_file("clean-and-noisy")).cpu()
    verdicts = set()
    for case in ("as trained", "brighter"):
        tifffile.imwrite(tmp_path / "page.tif", CASES[case](image))
        verdicts.add("WARNING" in choose_contrast(open_pages(tmp_path / "page.tif"), model)[1])
    assert verdicts == {False, True}


def test_a_page_of_one_grey_level_is_refused(javascript, built):
    code = f"""import {{ chooseContrast }} from "./contrast.js";
        const facts = JSON.parse(readFileSync("{built.parent}/site-assets/facts.json"));
        try {{
          const page = {{ data, dtype: "uint16", height: 20, width: 20 }};
          chooseContrast(page, facts.networks.baseline, facts.contrast);
        }} catch (error) {{ say(error.message); }}"""
    message = javascript(code, data=np.full((20, 20), 7, np.uint16))
    assert message.startswith("This page holds one grey level only")


def test_the_shift_of_grey_levels(javascript, facts, image):
    usual = facts["networks"]["baseline"]["reference"]["levels"]
    code = """import { greyQuantiles, greyShift } from "./contrast.js";
              say(greyShift(greyQuantiles(image, 128, 128), usual));"""
    found = javascript(code, image=image, usual=np.array(usual))
    assert found == pytest.approx(float(grey_shift([image], np.array(usual))[0]), rel=1e-3)
    assert len(grey_quantiles([image])) == len(usual)
