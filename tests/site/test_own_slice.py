"""The reader's own slice: six kinds of TIFF, files that cannot be read, warnings, and the mask."""

import numpy as np
import pytest
import tifffile
from playwright.sync_api import expect

from xraylib.datasets import TEST_SEED, built_in
from xraylib.inference import load_weights, predict
from xraylib.published import network_file


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XRAYLIB_HOME", str(tmp_path_factory.mktemp("home")))
        return built_in(8, 128, TEST_SEED).images[3]


def as_float(image):
    return (image / 65535).astype(np.float32)


KINDS = {
    "16 bits": (lambda image: image, {}),
    "8 bits, LZW": (lambda image: (image >> 8).astype(np.uint8), {"compression": "lzw"}),
    "floating point, deflate": (as_float, {"compression": "zlib", "predictor": True}),
    "pages": (lambda image: np.stack([image[::-1], image, image.T]), {"photometric": "minisblack"}),
    "big-endian, tiles": (lambda image: image, {"byteorder": ">", "tile": (64, 64)}),
    "BigTIFF, zstd": (lambda image: image, {"bigtiff": True, "compression": "zstd"}),
}


def mask_of(live, tmp_path):
    """The mask that the page hands over as a TIFF."""
    with live.page.expect_download() as download:
        live["download"].click()
    assert download.value.suggested_filename.endswith("-mask.tif")
    download.value.save_as(tmp_path / "mask.tif")
    return tifffile.imread(tmp_path / "mask.tif")


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_tiff(live, facts, tmp_path, image, kind):
    """The page reads what was written, and its mask is that of the library."""
    change, options = KINDS[kind]
    tifffile.imwrite(tmp_path / "slice.tif", change(image), **options)
    live.open_file(tmp_path / "slice.tif")
    assert not live["own-error"].is_visible(), live.text("own-error")
    if kind == "pages":
        assert "page 1 of 3" in live.text("own-status")
        live["page"].fill("2")
        live["page"].blur()
        expect(live["own-status"]).to_contain_text("page 2 of 3")
    mask = mask_of(live, tmp_path)
    expected = predict(load_weights(network_file("clean-and-noisy")).cpu(), [image])[0]
    values = np.array(facts["phases"]["values"])[expected]
    assert mask.dtype == np.uint8 and mask.shape == image.shape
    exact = live.text("own-status").endswith("used unchanged.")
    assert exact == (kind not in ("8 bits, LZW", "floating point, deflate"))
    assert (mask != values).mean() < (2e-4 if exact else 0.02)
    assert not live["own-warning"].locator(".warning").filter(has_text="Do not trust").count()


def test_grey_levels_that_the_network_does_not_know(live, tmp_path, image):
    tifffile.imwrite(tmp_path / "bright.tif", image + np.uint16(9000))
    live.open_file(tmp_path / "bright.tif")
    expect(live["own-warning"]).to_contain_text("Do not trust this segmentation")
    expect(live["own-warning"]).to_contain_text("shift")
    assert live.table("own-table")["shift"][-1] == "yes"
    live["contrast"].select_option("match")
    expect(live["own-status"]).to_contain_text("brought to the mean")
    assert "Do not trust" not in live.text("own-warning")
    live["contrast"].select_option("")
    live["own-network"].select_option("repaired")
    expect(live["own-status"]).to_contain_text("used unchanged")
    live["own-network"].select_option("noisy")


def test_a_large_slice_is_predicted_in_parts(live, tmp_path, image):
    large = np.tile(image, (5, 4))[:601, :490]
    tifffile.imwrite(tmp_path / "large.tif", large)
    live.open_file(tmp_path / "large.tif")
    mask = mask_of(live, tmp_path)
    expected = predict(load_weights(network_file("clean-and-noisy")).cpu(), [large])[0]
    assert (mask != np.array([0, 128, 255])[expected]).mean() < 2e-4


def damaged(kind, path, image):
    """Write a file that cannot be read, and return what the page must say."""
    if kind == "cut short":
        tifffile.imwrite(path, image)
        path.write_bytes(path.read_bytes()[:20_000])
        return "cut short"
    if kind == "no TIFF":
        path.write_text("grey levels: 1, 2, 3")
        return "is no TIFF, whatever its name says"
    if kind == "in colour":
        tifffile.imwrite(path, np.stack([image] * 3, -1), photometric="rgb")
        return "Save one channel in grey"
    if kind == "big-endian with predictor":
        tifffile.imwrite(path, image, byteorder=">", compression="zlib", predictor=True)
        return "little-endian"
    if kind == "promises too much":
        tifffile.imwrite(path, np.zeros((4000, 4000), np.uint16), compression="zlib")
        content = bytearray(path.read_bytes())
        place = content.find((4000).to_bytes(4, "little"))
        content[place:place + 4] = (4_000_000).to_bytes(4, "little")
        path.write_bytes(content)
        return "promises"
    tifffile.imwrite(path, np.full((64, 64), 7, np.uint16))
    return "one grey level only"


@pytest.mark.parametrize("kind", ["cut short", "no TIFF", "in colour", "big-endian with predictor",
                                  "promises too much", "one grey level"])
def test_files_that_cannot_be_read_are_reported(live, tmp_path, image, kind):
    said = damaged(kind, tmp_path / "bad.tif", image)
    live.open_file(tmp_path / "bad.tif")
    expect(live["own-error"]).to_contain_text(said)
    expect(live["own-error"]).to_contain_text("bad.tif")
    assert not live["own-result"].is_visible() and live["download"].is_disabled()


def test_a_file_can_be_dropped(live, tmp_path, image):
    tifffile.imwrite(tmp_path / "dropped.tif", image)
    content = list((tmp_path / "dropped.tif").read_bytes())
    live.page.evaluate("""(content) => {
      const dropped = new DataTransfer();
      dropped.items.add(new File([new Uint8Array(content)], "dropped.tif"));
      for (const kind of ["dragover", "drop"]) {
        document.getElementById("drop").dispatchEvent(
          new DragEvent(kind, { dataTransfer: dropped, bubbles: true, cancelable: true }));
      }
    }""", content)
    expect(live["own-status"]).to_contain_text("dropped.tif: 128 x 128 px, uint16")
