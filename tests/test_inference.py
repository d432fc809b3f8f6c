"""Weights on disk, batch-norm statistics, predictions and tiles."""

import json
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from conftest import blobs
from safetensors import safe_open
from safetensors.torch import save_file

from xraylib import tiles
from xraylib.data import NI_YSZ, GreyScale, Phases
from xraylib.device import autocast
from xraylib.errors import ParameterError, WeightsError
from xraylib.inference import (
    first_features,
    fuse_batch_norm,
    load_weights,
    logits_of,
    predict,
    read_weights,
    recalibrate_batch_norm,
    receptive_field,
    save_weights,
)
from xraylib.noise import noisy_copies
from xraylib.tiles import add_margin, tile_spans, tiled_logits
from xraylib.unet import UNet

SLICES = blobs(4, 48, 41)
TWO = Phases(("matrix", "inclusion"), (10, 20), ("#000000", "#ffffff"))
OLD_FACTS = {"width": "2", "depth": "1", "n_classes": "3", "padding": "same"}


def a_network(padding="same", n_classes=3):
    """A network with running statistics that are not 0 and 1."""
    torch.manual_seed(0)
    model = UNet(4, 2, n_classes, padding)
    model.grey.copy_(torch.tensor([30000.0, 8000.0]))
    for _ in range(3):
        model(torch.randn(2, 1, 80, 80) * 8000 + 30000)
    return model


@pytest.fixture
def calibrated():
    """A network of depth 1 with the batch-norm statistics of `SLICES`."""
    torch.manual_seed(0)
    network = UNet(4, 1)
    network.grey.copy_(torch.tensor([33000.0, 8000.0]))
    return recalibrate_batch_norm(network, SLICES.images)


def same_weights(one, other):
    before, after = one.state_dict(), other.state_dict()
    return before.keys() == after.keys() and all(
        torch.equal(before[name], after[name]) for name in before)


# -- weights --------------------------------------------------------------------------------------


def test_saved_weights_are_read_unchanged(tmp_path):
    model = a_network("valid", n_classes=2).eval()
    model.phases = TWO
    save_weights(model, tmp_path / "w.safetensors")
    loaded = load_weights(tmp_path / "w.safetensors")
    assert (loaded.width, loaded.depth, loaded.padding, loaded.training) == (4, 2, "valid", False)
    assert same_weights(model, loaded) and loaded.phases == TWO
    assert same_weights(model, read_weights((tmp_path / "w.safetensors").read_bytes(), "w"))
    save_weights(model, tmp_path / "half.safetensors", half=True)
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("half", "w")]
    assert sizes[0] < 0.6 * sizes[1]


def test_equal_networks_make_equal_files_that_safetensors_reads(tmp_path):
    """safetensors alone writes the metadata in random order."""
    paths = [tmp_path / f"{index}.safetensors" for index in range(5)]
    for path in paths:
        save_weights(a_network(), path)
    assert len({path.read_bytes() for path in paths}) == 1
    with safe_open(paths[0], "pt") as file:
        facts = file.metadata()
        assert set(file.keys()) == set(a_network().state_dict())
    assert facts["network"] == "UNet" and facts["width"] == "4" and list(facts)
    assert Phases.from_dict(json.loads(facts["phases"])) == NI_YSZ
    header = paths[0].read_bytes()[8:]
    order = [header.index(f'"{name}":'.encode()) for name in sorted(facts)]
    assert order == sorted(order) and int.from_bytes(paths[0].read_bytes()[:8], "little") % 8 == 0


def test_weights_of_older_versions_are_2d_networks_of_pore_ysz_and_nickel(tmp_path):
    model = UNet(2, 1)
    for extra in ({}, {"dims": "2", "context": "0"}):
        save_file(model.state_dict(), tmp_path / "old.safetensors", OLD_FACTS | extra)
        loaded = load_weights(tmp_path / "old.safetensors")
        assert type(loaded) is UNet and same_weights(model, loaded) and loaded.phases == NI_YSZ


def test_saved_grey_levels_are_read_unchanged(tmp_path):
    model = a_network()
    model.grey_scale = GreyScale("float32", 812.5, -300.0)
    model.grey_quantiles = np.sort(np.random.default_rng(0).uniform(0, 65535, 101))
    save_weights(model, tmp_path / "w.safetensors")
    loaded = load_weights(tmp_path / "w.safetensors")
    assert loaded.grey_scale == model.grey_scale
    assert loaded.grey_quantiles == pytest.approx(model.grey_quantiles, abs=0.05)
    save_weights(loaded, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (
        tmp_path / "w.safetensors").read_bytes()


def test_weights_without_grey_levels_get_those_of_mean_and_standard_deviation(tmp_path):
    save_weights(a_network(), tmp_path / "w.safetensors")
    loaded = load_weights(tmp_path / "w.safetensors")
    levels = loaded.grey_quantiles
    assert loaded.grey_scale == GreyScale() and levels.shape == (101,)
    assert levels.mean() == pytest.approx(30000) and levels.std() == pytest.approx(8460, rel=0.01)
    assert levels[[16, 50, 84]] == pytest.approx([22000, 30000, 38000], rel=0.01)


@pytest.mark.parametrize(("name", "value"), [
    ("grey_quantiles", [1.0] * 100), ("grey_quantiles", [[1.0]] * 101),
    ("grey_quantiles", list(range(101, 0, -1))), ("grey_quantiles", [float("nan")] * 101),
    ("grey_quantiles", [1e999] * 101), ("grey_quantiles", "high"), ("grey_quantiles", {"a": 1}),
    ("grey_scale", {"gain": 0}), ("grey_scale", {"gain": -1}), ("grey_scale", {"gain": "257"}),
    ("grey_scale", {"gain": float("inf")}), ("grey_scale", {"offset": float("nan")}),
    ("grey_scale", {"dtype": "grey"}), ("grey_scale", {"dtype": "object"}),
    ("grey_scale", {"dtype": 16}), ("grey_scale", {"colour": 1}), ("grey_scale", [1])])
def test_impossible_grey_levels_are_refused(tmp_path, name, value):
    save_file(UNet(2, 1).state_dict(), tmp_path / "w.safetensors",
              OLD_FACTS | {name: json.dumps(value)})
    with pytest.raises(WeightsError, match="not a weights file of this library"):
        load_weights(tmp_path / "w.safetensors")


def test_phases_that_do_not_fit_are_not_saved(tmp_path):
    with pytest.raises(ParameterError, match="2 classes, but its phases are pore, YSZ, nickel"):
        save_weights(UNet(2, 1, n_classes=2), tmp_path / "w.safetensors")


@pytest.mark.parametrize(("name", "tensor"), [
    ("head.bias", torch.full((3,), torch.nan)), ("head.bias", torch.full((3,), torch.inf)),
    ("head.bias", torch.full((3,), 1e300, dtype=torch.float64)),
    ("stem.layers.1.running_mean", torch.zeros(2, dtype=torch.int64)),
    ("stem.layers.1.running_var", -torch.ones(2)),
    ("stem.layers.1.num_batches_tracked", torch.tensor(1.5)),
    ("grey", torch.tensor([30000.0, 0.0]))])
def test_impossible_weights_are_refused(tmp_path, name, tensor):
    """With them, a network would predict one phase everywhere, or not run."""
    save_file(UNet(2, 1).state_dict() | {name: tensor}, tmp_path / "w.safetensors", OLD_FACTS)
    with pytest.raises(WeightsError, match="not finite, or of a wrong type|impossible standard"):
        load_weights(tmp_path / "w.safetensors")


PHASES = {"names": ["a", "b", "c"], "values": [0, 1, 2], "colours": ["#000000"] * 3}


@pytest.mark.parametrize(("facts", "message"), [
    ({"network": "Transformer"}, "its network Transformer is not installed"),
    ({"dims": "4"}, "its dims is 4, not 2 or 3"), ({"context": "9"}, "its context is 9, not 0 or"),
    ({"width": "513"}, "its width is 513, not from 1 to 512"), ({"width": "two"}, "invalid"),
    ({"depth": "0"}, "its depth is 0, not from 1"), ({"depth": "2"}, "Missing key"),
    ({"padding": "full"}, "padding is 'full'"), ({"n_classes": "4"}, "its n_classes is 4, but"),
    ({"phases": "[]"}, "is damaged"), ({"phases": "{"}, "Expecting property name"),
    ({"phases": json.dumps(PHASES | {"values": [0, 1, 70_000]})}, "range"),
    ({"phases": json.dumps(PHASES | {"values": [0, 1]})}, "its phases are"),
    ({"phases": json.dumps(PHASES | {"colours": ["red"] * 3})}, "is damaged")])
def test_impossible_headers_are_refused(tmp_path, facts, message):
    save_file(UNet(2, 1).state_dict(), tmp_path / "w.safetensors", OLD_FACTS | facts)
    with pytest.raises(WeightsError, match=message):
        load_weights(tmp_path / "w.safetensors")


def test_files_that_are_not_weights_are_refused(tmp_path):
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("not weights" * 100)
    save_file({"a": torch.zeros(2)}, tmp_path / "bare")
    save_weights(UNet(2, 1), tmp_path / "cut")
    (tmp_path / "cut").write_bytes((tmp_path / "cut").read_bytes()[:-4])
    for name in ("missing", ".", "empty", "text", "bare", "cut"):
        with pytest.raises(WeightsError, match="is not a weights file of this library, or it is"):
            load_weights(tmp_path / name)


# -- batch norm -----------------------------------------------------------------------------------


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_fused_for_prediction_it_is_the_same_function(padding):
    model = a_network(padding)
    x = torch.randn(2, 1, 48 + 2 * model.margin, 48 + 2 * model.margin) * 8000 + 30000
    fused = fuse_batch_norm(model)
    assert not [layer for layer in fused.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    assert torch.allclose(fused(x), model.eval()(x), atol=1e-5)
    assert [layer for layer in model.modules() if isinstance(layer, torch.nn.BatchNorm2d)]


def test_recalibrated_statistics_are_those_of_the_images_and_the_weights_stay():
    model, slices = a_network().eval(), blobs(6, 40, 44)
    again = recalibrate_batch_norm(model, slices.images)
    assert not again.training and all(
        torch.equal(*pair) for pair in zip(model.parameters(), again.parameters(), strict=True))
    x = torch.from_numpy(np.stack(slices.images).astype(np.float32))[:, None]
    with torch.no_grad():
        first = again.stem.layers[0]((x - again.grey[0]) / again.grey[1])
    after = again.stem.layers[1].running_mean
    assert torch.allclose(after, first.mean((0, 2, 3)), atol=0.05)
    assert not torch.allclose(model.stem.layers[1].running_mean, after, atol=0.05)


def test_features_of_the_training_set_have_mean_0_and_standard_deviation_1(calibrated):
    features = np.stack([first_features(calibrated, image) for image in SLICES.images])
    assert features.shape == (4, 4, 48, 41)
    assert features.mean((0, 2, 3)) == pytest.approx(np.zeros(4), abs=0.1)
    assert features.std((0, 2, 3)) == pytest.approx(np.ones(4), abs=0.1)


def test_noise_widens_the_features(calibrated):
    clean, noisy = (first_features(calibrated, part.images[0]).std((1, 2))
                    for part in (SLICES, noisy_copies(SLICES, 8000, 0)))
    assert (noisy > clean).all() and noisy.max() > 1.2


def test_the_receptive_field_is_that_of_the_layers():
    """Depth 1 by hand: 5 px (two convolutions), 6 (pooling), 14 (at half the size), 18."""
    assert [receptive_field(UNet(2, depth)) for depth in (1, 2, 4)] == [18, 44, 188]


# -- predictions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_slices_are_predicted_whole_in_any_batch(padding):
    model, slices = a_network(padding), blobs(5, 37, 41)
    together = predict(model, slices.images)
    assert together.shape == (5, 37, 41) and together.dtype == np.uint8
    alone = [predict(model, [image]) for image in slices.images]
    assert np.array_equal(together, np.concatenate(alone))


def test_without_padding_the_margin_is_the_mirrored_slice():
    model, image = a_network("valid"), blobs(1, 40, 44).images[0]
    ((_, logits),) = logits_of(model, [image])
    mirrored = np.pad(image, model.margin, mode="reflect").astype(np.float32)
    with torch.inference_mode(), autocast(torch.device("cpu")):
        assert torch.equal(logits, fuse_batch_norm(model)(torch.from_numpy(mirrored)[None, None]))


def test_an_image_smaller_than_the_margin_is_mirrored_again():
    model, image = UNet(2, 2, padding="valid"), torch.arange(12.0).view(1, 1, 3, 4)
    expected = np.pad(image[0, 0].numpy(), model.margin, mode="reflect")
    assert np.array_equal(add_margin(model, image)[0, 0], expected)


@pytest.mark.parametrize(("length", "inner", "reach"), [(10, 4, 3), (8, 8, 0), (1, 5, 2)])
def test_spans_cover_a_side_once_and_see_what_they_need(length, inner, reach):
    spans = list(tile_spans(length, inner, reach))
    assert [i for part, _ in spans for i in range(length)[part]] == list(range(length))
    for part, seen in spans:
        assert seen.start == max(0, part.start - reach) and part.stop - part.start <= inner
        assert seen.stop == min(length, part.stop + reach)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("side", [0, 30, 61])
def test_tiles_have_the_logits_of_whole_slices(monkeypatch, padding, side):
    """In float32; logits are about 1."""
    monkeypatch.setattr(tiles, "autocast", lambda device: nullcontext())
    monkeypatch.setattr(UNet, "TILE_BUDGET", 2**14)
    model, images = a_network(padding), blobs(3, 150, 131).images
    whole = torch.cat([part for _, part in logits_of(model, images)])[1:]
    model = fuse_batch_norm(model)
    cut = torch.full_like(whole, torch.nan)
    count = 0
    for rows, columns, logits in tiled_logits(model, lambda index, rows: images[index][rows], 3,
                                              (150, 131), range(1, 3), side):
        assert cut[..., rows, columns].isnan().all()
        cut[..., rows, columns] = logits
        count += 1
    assert (cut - whole).abs().max() < 1e-4 and count > 4
