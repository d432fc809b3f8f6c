"""What a network runs on, its weights on disk, its predictions."""

import subprocess
import sys
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from conftest import blobs
from safetensors.torch import save_file

from xraylib.predict import network, tiles
from xraylib.predict.network import (
    WeightsError,
    autocast,
    folded,
    load_weights,
    logits_of,
    predict,
    recollected,
    save_weights,
)
from xraylib.unet import UNet


def a_network(padding="same"):
    """A network with running statistics that are not 0 and 1."""
    torch.manual_seed(0)
    model = UNet(4, 2, padding=padding)
    model.grey.copy_(torch.tensor([30000.0, 8000.0]))
    for _ in range(3):
        model(torch.randn(2, 1, 80, 80) * 8000 + 30000)
    return model


def test_weights_come_back_as_they_were_saved(tmp_path):
    model = a_network("valid").eval()
    save_weights(model, tmp_path / "w.safetensors")
    loaded = load_weights(tmp_path / "w.safetensors")
    assert (loaded.width, loaded.depth, loaded.padding, loaded.training) == (4, 2, "valid", False)
    before, after = model.state_dict(), loaded.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    save_weights(model, tmp_path / "half.safetensors", half=True)
    assert (tmp_path / "half.safetensors").stat().st_size < 0.6 * (tmp_path / "w.safetensors").stat().st_size


@pytest.mark.parametrize(("name", "tensor"), [
    ("head.bias", torch.full((3,), torch.nan)), ("head.bias", torch.full((3,), torch.inf)),
    ("head.bias", torch.full((3,), 1e300, dtype=torch.float64)),
    ("stem.layers.1.running_mean", torch.zeros(2, dtype=torch.int64)), ("stem.layers.1.running_var", -torch.ones(2)),
    ("stem.layers.1.num_batches_tracked", torch.tensor(1.5)), ("grey", torch.tensor([30000.0, 0.0]))])
def test_weights_that_no_network_can_have_are_refused(tmp_path, name, tensor):
    """With them it would predict one phase everywhere, or not at all."""
    model = UNet(2, 1)
    facts = {"width": "2", "depth": "1", "n_classes": "3", "padding": "same"}
    save_file(model.state_dict() | {name: tensor}, tmp_path / "w.safetensors", facts)
    with pytest.raises(WeightsError, match="not finite, or of a wrong type|that cannot be"):
        load_weights(tmp_path / "w.safetensors")


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_folded_for_prediction_it_is_the_same_function(padding):
    model = a_network(padding)
    x = torch.randn(2, 1, 48 + 2 * model.margin, 48 + 2 * model.margin) * 8000 + 30000
    ready = folded(model)
    assert not [layer for layer in ready.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    assert torch.allclose(ready(x), model.eval()(x), atol=1e-5)
    assert [layer for layer in model.modules() if isinstance(layer, torch.nn.BatchNorm2d)]   # the model stays as it is


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_slices_are_predicted_whole_whatever_the_padding_and_the_batch(padding):
    model, slices = a_network(padding), blobs(5, 37, 41)
    together = predict(model, slices.images)
    assert together.shape == (5, 37, 41) and together.dtype == np.uint8
    assert np.array_equal(together, np.concatenate([predict(model, [image]) for image in slices.images]))


def test_without_padding_the_margin_is_the_mirrored_slice():
    model, image = a_network("valid"), blobs(1, 40, 44).images[0]
    ((_, logits),) = logits_of(model, [image])
    by_hand = torch.from_numpy(np.pad(image, model.margin, mode="reflect").astype(np.float32))[None, None]
    with torch.inference_mode(), autocast(torch.device("cpu")):
        assert torch.equal(logits, folded(model)(by_hand))


def test_recollected_statistics_are_those_of_the_images_and_the_weights_stay():
    model, slices = a_network().eval(), blobs(6, 40, 44)
    again = recollected(model, slices.images)
    assert not again.training and all(torch.equal(one, two) for one, two in
                                      zip(model.parameters(), again.parameters(), strict=True))
    x = torch.from_numpy(np.stack(slices.images).astype(np.float32))[:, None]
    with torch.no_grad():
        first = again.stem.layers[0]((x - again.grey[0]) / again.grey[1])
    assert torch.allclose(again.stem.layers[1].running_mean, first.mean((0, 2, 3)), atol=0.05)
    before = model.stem.layers[1].running_mean
    assert not torch.allclose(before, again.stem.layers[1].running_mean, atol=0.05)


# -- networks that see neighbouring slices ----------------------------------------------------------------------------


DEEP = [{"dims": 3}, {"context": 1}, {"context": 2}]


def seeing(how):
    """A network with neighbours, and running statistics that are not 0 and 1."""
    torch.manual_seed(0)
    model = UNet(4, 2, **how)
    model.grey.copy_(torch.tensor([30000.0, 8000.0]))
    shape = (16, 40, 40) if model.dims == 3 else (1 + 2 * model.context, 40, 40)
    for _ in range(3):
        model(torch.randn(2, *((1, *shape) if model.dims == 3 else shape)) * 8000 + 30000)
    return model.eval()


@pytest.mark.parametrize("how", DEEP)
def test_what_network_it_is_stands_in_the_header_and_older_files_are_2d(tmp_path, how):
    model = seeing(how)
    save_weights(model, tmp_path / "w.safetensors", half=True)
    loaded = load_weights(tmp_path / "w.safetensors")
    assert (loaded.dims, loaded.context) == (model.dims, model.context)
    assert torch.allclose(loaded.stem.layers[0].weight, model.stem.layers[0].weight, atol=1e-3)
    assert (tmp_path / "w.safetensors").stat().st_size < 2.5 * sum(part.numel() for part in model.parameters()) + 8000
    flat = a_network()
    old = {name: str(getattr(flat, name)) for name in ("width", "depth", "n_classes", "padding")}
    save_file(flat.state_dict(), tmp_path / "old.safetensors", old)
    loaded = load_weights(tmp_path / "old.safetensors")
    assert (loaded.dims, loaded.context) == (2, 0) and torch.equal(loaded.head.weight, flat.head.weight)


@pytest.mark.parametrize("how", DEEP)
def test_folded_with_neighbours_it_is_the_same_function(how):
    model = seeing(how)
    x = torch.randn(1, 1, 9, 20, 24) if model.dims == 3 else torch.randn(2, 1 + 2 * model.context, 20, 24)
    x = x * 8000 + 30000
    assert torch.allclose(folded(model)(x), model(x), atol=1e-4)


@pytest.mark.parametrize("budget", [2**25, 2**18])
def test_slabs_and_tiles_are_the_whole_volume(monkeypatch, budget):
    """In float32, to 1e-4 of logits of about 1, at the ends of the volume, too."""
    monkeypatch.setattr(network, "autocast", lambda device: nullcontext())
    monkeypatch.setattr(tiles, "IN_FLIGHT", {2: budget, 3: budget})
    model, images = seeing({"dims": 3}), blobs(61, 70, 75).images
    parts, logits = zip(*logits_of(model, images), strict=True)
    assert [index for part in parts for index in range(61)[part]] == list(range(61))
    assert len(parts) == (1 if budget == 2**25 else 3)
    with torch.inference_mode():
        whole = folded(model)(torch.from_numpy(np.stack(images).astype(np.float32))[None, None])[0].transpose(0, 1)
    assert (torch.cat(logits) - whole).abs().max() < 1e-4


def test_each_slice_is_given_its_neighbours_and_at_the_ends_itself_again(monkeypatch):
    monkeypatch.setattr(network, "autocast", lambda device: nullcontext())
    model, images = seeing({"context": 2}), blobs(6, 20, 24).images
    logits = torch.cat([part for _, part in logits_of(model, images)])
    x = torch.from_numpy(np.stack([images[i] for i in (0, 0, 0, 1, 2, 3, 3, 4, 5, 5, 5)]).astype(np.float32))
    with torch.inference_mode():
        for at, seen in ((0, x[:5]), (3, x[[3, 4, 5, 7, 8]]), (5, x[6:])):
            assert torch.allclose(logits[at], folded(model)(seen[None])[0], atol=1e-4)


def test_autocast_runs_on_this_machine():
    with autocast(torch.device("cpu")):
        assert torch.isfinite(UNet(2, 1)(torch.zeros(1, 1, 8, 8))).all()


CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(("device", "bf16", "avx512", "width", "whole", "expected"), [
    (CPU, True, True, 64, True, torch.channels_last),           # bf16: channels_last is faster for every network
    (CPU, False, True, 64, True, torch.channels_last),          # and so it is with AVX-512 alone
    (CPU, False, False, 16, False, torch.channels_last),        # AVX2: for crops and narrow networks
    (CPU, False, False, 16, True, torch.contiguous_format),
    (CPU, False, False, 64, False, torch.contiguous_format),
    (GPU, True, False, 64, True, torch.channels_last),
    (GPU, False, False, 64, True, torch.contiguous_format),     # no tensor cores for float32
])
def test_the_memory_format_follows_processor_and_width(monkeypatch, device, bf16, avx512, width, whole, expected):
    monkeypatch.setattr(network, "fast_bf16", lambda _: bf16)
    monkeypatch.setattr(network, "has_avx512", lambda: avx512)
    assert network.training_format(device, width, whole) == expected


def test_a_cpu_that_is_told_to_use_avx2_does_not_claim_fast_bf16():
    code = "import torch; from xraylib.predict.network import precision; print(precision(torch.device('cpu')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          env={"ATEN_CPU_CAPABILITY": "avx2"})
    assert done.stdout.strip() == "float32"


def test_importing_the_library_changes_nothing():
    """Neither the environment nor the C library: its mallopt is not called, not even by a prediction."""
    code = """
import ctypes, os
before = dict(os.environ)
class Library(ctypes.CDLL):
    def __getattr__(self, name):
        raise AssertionError(f"the C library's {name} is called")
ctypes.CDLL = Library
import xraylib
assert dict(os.environ) == before
import numpy as np
ctypes.CDLL = Library.__base__
import torch
ctypes.CDLL = Library
from xraylib.predict.network import predict
from xraylib.unet import UNet
predict(UNet(2, 1), [np.zeros((16, 16), np.uint16)])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
