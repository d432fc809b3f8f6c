"""Contrast: slices of the same scan keep their grey levels, and a warning tells what is serious."""

import numpy as np
import pytest
import tifffile
import torch
from conftest import generate

from xraylib import contrast
from xraylib.contrast import choose_contrast
from xraylib.data import GreyScale, grey_quantiles
from xraylib.errors import DataError, ParameterError
from xraylib.formats.grey import to_uint16
from xraylib.formats.tiff import open_volume
from xraylib.inference import load_weights, predict
from xraylib.noise import add_noise
from xraylib.outlook.second_sample import MATERIAL
from xraylib.published import network_file
from xraylib.unet import UNet

SIDE = 256


@pytest.fixture(scope="module")
def sample():
    """Four slices of a built-in volume, spread over it, with their labels."""
    made = generate(32, SIDE, seed=1)
    return made.images[::10], made.labels[::10]


@pytest.fixture(scope="module")
def another_material():
    return generate(32, SIDE, seed=2, material=MATERIAL).images[::10]


@pytest.fixture(scope="module", params=["clean", "noisy"])
def model(request):
    """A network that knows the grey levels of another volume, clean or with noise up to 15,000."""
    return knowing(generate(32, SIDE).images[::4], request.param == "noisy")


def knowing(images, noisy=False, dtype="uint16"):
    network = UNet(2, 1)
    stds = np.linspace(0, 15000 * noisy, len(images))
    seen = [add_noise(image, std, 0, index) for index, (image, std) in
            enumerate(zip(images, stds, strict=True))]
    network.grey.copy_(torch.tensor([np.mean(images), np.std(images)]))
    network.grey_scale, network.grey_quantiles = GreyScale(dtype), grey_quantiles(seen)
    network.noisy = noisy
    return network


def pages_of(folder, stack):
    tifffile.imwrite(folder / "v.tif", stack, photometric="minisblack")
    return open_volume(folder / "v.tif")


def filled(images, area, level, noise=1500):
    """A copy with another material, or a border of one value, in some area."""
    fill = level + np.random.default_rng(0).normal(0, noise, images.shape)
    return np.where(area, fill.clip(0, 65535), images).astype(np.uint16)


def scaled(images, gain, offset=0.0):
    return np.clip(images * np.float64(1) * gain + offset, 0, 65535).astype(np.uint16)


def noisy(images, std):
    return np.stack([add_noise(image, std, 1, index) for index, image in enumerate(images)])


Y, X = np.mgrid[:SIDE, :SIDE] / SIDE
PORE, NICKEL = 21500, 41000
HARMLESS = {
    "as it is": lambda images: images,
    "20 % resin": lambda images: filled(images, X < 0.2, PORE),
    "50 % resin": lambda images: filled(images, X < 0.5, PORE),
    "50 % collector": lambda images: filled(images, X < 0.5, NICKEL, 1000),
    "round field of view": lambda images: filled(images, np.hypot(X - .5, Y - .5) > .5, 0, 0),
    "white border": lambda images: filled(images, (X < 0.08) | (Y < 0.08), 65535, 0),
    "black border": lambda images: filled(images, (X < 0.08) | (Y < 0.08), 0, 0),
    "hot pixels": lambda images: filled(images, (X == 0.5) & (Y == 0.5), 65535, 0),
    "8-bit": lambda images: (images / 257).round().astype(np.uint8),
    "8-bit, stretched": lambda images: (255 * ((images - 18000.0) / 27000).clip(0, 1)).astype("u1"),
    "float": lambda images: (images / 65535 - 0.2).astype(np.float32),
    "signed": lambda images: (images - 32768.0).astype(np.int16),
}
SERIOUS = {
    "gain 1.3": lambda images: scaled(images, 1.3),
    "gain 0.8": lambda images: scaled(images, 0.8),
    "offset +5000": lambda images: scaled(images, 1, 5000),
    "offset -5000": lambda images: scaled(images, 1, -5000),
    "inverted": lambda images: 65535 - images,
    "inverted within its range": lambda images: scaled(images, -1, 63700),
    "shading of 15 %": lambda images: scaled(images, 1 + 0.15 * np.sin(np.pi * (X - 0.5))),
    "shading of 30 %": lambda images: scaled(images, 1 + 0.3 * np.sin(np.pi * (X - 0.5))),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_harmless_changes_cause_no_warning(sample, model, tmp_path, name):
    scale, sentence = choose_contrast(pages_of(tmp_path, HARMLESS[name](sample[0])), model)
    assert "WARNING" not in sentence
    as_usual = scale.dtype == "uint16"
    assert (scale == GreyScale("uint16")) == as_usual == ("are used unchanged" in sentence)
    if "resin" in name and name != "20 % resin" or "collector" in name:
        assert "shares of grey levels differ from those of the training set" in sentence
    assert ("look at previews" in sentence) != as_usual


@pytest.mark.parametrize("name", SERIOUS)
def test_harmful_changes_cause_a_warning(sample, model, tmp_path, name):
    _, sentence = choose_contrast(pages_of(tmp_path, SERIOUS[name](sample[0])), model)
    assert "WARNING: do not trust" in sentence and "--contrast percentiles" in sentence
    assert ("shading" in sentence) == ("shading" in name)


def test_noise_causes_a_warning_for_a_network_that_has_not_seen_it(sample, model, tmp_path):
    for std in (1500, 5000):
        _, sentence = choose_contrast(pages_of(tmp_path, noisy(sample[0], std)), model)
        assert ("WARNING" in sentence) != model.noisy


def test_another_material_causes_a_warning(another_material, model, tmp_path):
    _, sentence = choose_contrast(pages_of(tmp_path, another_material), model)
    assert "WARNING" in sentence and "another material" in sentence


@pytest.mark.parametrize("kind", ["match", "percentiles"])
def test_a_changed_contrast_is_brought_back(sample, model, tmp_path, kind):
    pages = pages_of(tmp_path, scaled(sample[0], 0.7, 9000))
    scale, sentence = choose_contrast(pages, model, kind)
    assert scale.gain == pytest.approx(1 / 0.7, rel=0.2 if model.noisy else 0.05)
    assert kind == "match" or "WARNING" not in sentence
    assert f"--contrast {kind}" not in sentence  # it is done already


@pytest.mark.parametrize("kind", ["none", "match", "percentiles"])
def test_borders_hot_pixels_and_nan_make_no_difference(
        sample, tmp_path, kind):
    model, plain = knowing(sample[0], dtype="float32"), sample[0].astype(np.float32)
    odd = plain.copy()
    odd[:, :20] = odd[:, :, :20] = 0
    odd[1, 100, 100], odd[2, 64:80, 64:80] = 1e9, np.nan
    odd[3, 200, 200], odd[3, 100, 200] = np.inf, -np.inf
    (one, _), (two, sentence) = (choose_contrast(pages_of(tmp_path, stack), model, kind)
                                 for stack in (plain, odd))
    assert two.gain == pytest.approx(one.gain, rel=0.02)
    assert two.offset == pytest.approx(one.offset, abs=600)
    assert "WARNING" not in sentence


@pytest.mark.parametrize("factor", [1e-40, 1e-35, 1e30])
def test_tiny_and_huge_numbers_keep_their_digits(sample, tmp_path, factor):
    pages = pages_of(tmp_path, (sample[0] * factor).astype(np.float32))
    scale, _ = choose_contrast(pages, knowing(sample[0]))
    found = to_uint16(pages[0].whole(), scale).astype(float)
    assert np.abs(found - sample[0][0]).max() < 300


def test_black_areas_of_the_material_are_no_border(tmp_path):
    """All phases count where they also lie in the middle, although one of them fills a corner."""
    phases = np.zeros((1, 64, 64), np.uint8)
    phases[0, ::16], phases[0, :, 40:] = 100, 200
    model = knowing(phases.astype(np.uint16) * 257)
    scale, _ = choose_contrast(pages_of(tmp_path, phases), model)
    assert (scale.gain, scale.offset) == pytest.approx((257, 0), abs=1)


def test_blank_slices_are_left_out(sample, tmp_path):
    """All 16 slices that are looked at first are blank; the 84 others are not."""
    stack = np.zeros((100, 64, 64), np.uint16)
    stack[:] = sample[0][0, :64, :64]
    stack[np.linspace(0, 99, 16).astype(int)] = 0
    scale, sentence = choose_contrast(pages_of(tmp_path, stack), knowing(stack[1:2]))
    assert scale == GreyScale() and "WARNING" not in sentence
    with pytest.raises(DataError, match="one grey level only"):
        choose_contrast(pages_of(tmp_path, np.zeros((40, 32, 32), np.uint16)), knowing(stack[1:2]))


def test_the_sample_of_large_slices_is_small(tmp_path):
    """It holds no view of a slice, which would keep all of that slice in memory."""
    stack = np.random.default_rng(0).integers(0, 65535, (3, 700, 900), np.uint16)
    parts = contrast._sample(pages_of(tmp_path, stack))
    assert [part.size <= contrast.PIXELS and part.base is None for part in parts] == 3 * [True]


def test_the_training_sets_own_scale_is_used_for_its_own_type(sample, tmp_path):
    """12-bit grey levels in 16 bits: what the training set multiplied by 16 is multiplied by 16."""
    model = knowing(sample[0])
    model.grey_scale = GreyScale("uint16", 16.0)
    scale, sentence = choose_contrast(pages_of(tmp_path, sample[0] // 16), model)
    assert scale == GreyScale("uint16", 16.0)
    assert "scaled as those of the training set" in sentence and "WARNING" not in sentence


def test_grey_levels_left_alone_mean_the_same_in_8_and_16_bits(sample, tmp_path):
    eight = pages_of(tmp_path, (sample[0] / 257).round().astype(np.uint8))
    assert choose_contrast(eight, knowing(sample[0]), "none")[0] == GreyScale("uint8", 257.0)


def test_an_unknown_contrast_is_refused(sample, tmp_path):
    with pytest.raises(ParameterError, match="contrast is 'auto'; it must be one of none, match"):
        choose_contrast(pages_of(tmp_path, sample[0]), knowing(sample[0]), "auto")


@pytest.mark.parametrize("name", ["as it is", "50 % resin", "50 % collector", "black border",
                                  "8-bit, stretched", "hot pixels", "float"])
def test_a_published_network_is_right_on_other_compositions(sample, tmp_path, name):
    """Where nothing was changed, at least 97 % of the pixels are right."""
    network = load_weights(network_file("baseline"))
    network.grey_quantiles = grey_quantiles(sample[0])
    stack = HARMLESS[name](sample[0])
    pages = pages_of(tmp_path, stack)
    scale, _ = choose_contrast(pages, network)
    right = predict(network, [to_uint16(pages[2].whole(), scale)])[0] == sample[1][2]
    kept = (X > 0.6) & (Y > 0.2)
    assert right[kept].mean() > 0.97
