"""Networks that see neighbouring slices: sizes, weights on disk, slabs, training crops."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import blobs
from safetensors.torch import save_file

from xraylib import tiles
from xraylib.data import Slices
from xraylib.errors import ParameterError
from xraylib.files import packaged_data
from xraylib.inference import (
    fuse_batch_norm,
    load_weights,
    logits_of,
    recalibrate_batch_norm,
    save_weights,
)
from xraylib.metrics import evaluate
from xraylib.outlook import stacks
from xraylib.outlook.stacks import UNet3D, UNet25D
from xraylib.training import TRANSFORMS, Recipe, TrainingState, train
from xraylib.unet import UNet

BOTH = [UNet25D, UNet3D]
RECIPE = Recipe(4, 2, crop=4, batch=4, flips=True, optimiser="nadam", lr=1e-2, steps=4, epochs=0,
                evaluations=2, eval_slices=0)


def a_network(kind):
    """A network with running statistics that are not 0 and 1."""
    torch.manual_seed(0)
    model = kind(4, 2)
    model.grey.copy_(torch.tensor([30000.0, 8000.0]))
    shape = (1, 16, 40, 40) if kind is UNet3D else (5, 40, 40)
    for _ in range(3):
        model(torch.randn(2, *shape) * 8000 + 30000)
    return model.eval()


# -- the networks ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1, 1), (5, 33, 18), (8, 8, 8), (3, 7, 16)])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_volume_of_any_sides(size, depth):
    assert UNet3D(2, depth).eval()(torch.zeros(2, 1, *size)).shape == (2, 3, *size)


@pytest.mark.parametrize(("kind", "width", "depth", "n_classes"), [
    (UNet25D, 16, 2, 3), (UNet3D, 9, 2, 3), (UNet3D, 4, 3, 2)])
def test_the_number_of_weights_by_arithmetic(kind, width, depth, n_classes):
    """Kernels of 3^dims and, upwards, of 2^dims; batch norm has two numbers per channel."""
    dims, channels = (3, 1) if kind is UNet3D else (2, 5)

    def double(before, after):
        return 3**dims * (before * after + after * after) + 4 * after
    expected = double(channels, width) + n_classes * width + n_classes
    for c in [width * 2**level for level in range(depth)]:
        expected += double(c, 2 * c) + 2**dims * 2 * c * c + c + double(2 * c, c)
    assert sum(w.numel() for w in kind(width, depth, n_classes).parameters()) == expected


def test_initial_weights_depend_on_the_seed_and_are_those_of_3d_layers():
    """The first is the first tensor that a 3-D convolution draws; building it in 2-D draws none."""
    torch.manual_seed(3)
    model, after = UNet3D(4, 2), torch.rand(1)
    torch.manual_seed(3)
    first = torch.nn.Conv3d(1, 4, 3, padding=1, bias=False)
    assert torch.equal(model.stem.layers[0].weight, first.weight)
    torch.manual_seed(3)
    again = UNet3D(4, 2)
    assert all(map(torch.equal, model.state_dict().values(), again.state_dict().values()))
    assert torch.equal(torch.rand(1), after)
    kinds = {type(layer).__name__ for layer in model.modules()}
    assert {"Conv3d", "BatchNorm3d", "ConvTranspose3d", "MaxPool3d"} <= kinds
    assert not {kind for kind in kinds if kind.endswith("2d")}


def along_z(flat):
    """The 3-D network that treats every slice as a 2-D network does."""
    model, weights = UNet3D(flat.width, flat.depth), {}
    for name, deep in model.state_dict().items():
        own = flat.state_dict()[name]
        if own.ndim < 4:
            weights[name] = own
        elif ".up." in name:                                       # the same for both slices
            weights[name] = own.unsqueeze(2).expand(deep.shape)
        else:                                                      # 0 except in the middle along z
            weights[name] = torch.zeros_like(deep)
            weights[name][:, :, deep.shape[2] // 2] = own
    model.load_state_dict(weights)
    return model.eval()


def test_a_3d_network_that_looks_at_single_slices_is_the_2d_network():
    """On a volume that does not change along z, so that its poolings along z change nothing."""
    torch.manual_seed(0)
    flat = UNet(4, 2).eval()
    image = torch.randn(1, 1, 21, 34)
    deep = along_z(flat)(image.unsqueeze(2).expand(1, 1, 8, 21, 34))
    assert torch.allclose(deep, flat(image).unsqueeze(2).expand(deep.shape), atol=1e-5)


def test_neighbours_are_seen_and_all_axes_of_a_volume_count_alike():
    torch.manual_seed(0)
    model = UNet25D(4, 2).eval()
    x = torch.randn(1, 5, 16, 16)
    assert not torch.allclose(model(x), model(x.flip(1)), atol=1e-3)
    deep, turned = UNet3D(4, 2).eval(), UNet3D(4, 2).eval()
    turned.load_state_dict({name: value.transpose(2, 4) if value.ndim == 5 else value
                            for name, value in deep.state_dict().items()})
    volume = torch.randn(1, 1, 7, 12, 18)
    assert torch.allclose(deep(volume), turned(volume.transpose(2, 4)).transpose(2, 4), atol=1e-5)


def test_a_3d_network_without_padding_is_refused():
    with pytest.raises(ParameterError, match="padding is 'valid'; a 3-D network needs 'same'"):
        UNet3D(4, 2, padding="valid")


@pytest.mark.parametrize("kind", BOTH)
def test_channels_last_means_its_form_for_volumes(kind):
    model = kind(4, 1).to(memory_format=torch.channels_last)
    expected = torch.channels_last_3d if kind is UNet3D else torch.channels_last
    assert model.down[0].conv.layers[3].weight.is_contiguous(memory_format=expected)
    assert kind(4, 1).to(torch.float64).head.weight.dtype == torch.float64


# -- weights and batch norm -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", BOTH)
def test_the_header_names_the_network(tmp_path, kind):
    model = a_network(kind)
    save_weights(model, tmp_path / "w.safetensors", half=True)
    loaded = load_weights(tmp_path / "w.safetensors")
    assert type(loaded) is kind and not loaded.training and loaded.phases.names[0] == "pore"
    first, again = model.stem.layers[0].weight, loaded.stem.layers[0].weight
    assert torch.allclose(first, again, atol=1e-3)
    n_weights = sum(part.numel() for part in model.parameters())
    assert (tmp_path / "w.safetensors").stat().st_size < 2.5 * n_weights + 8000


@pytest.mark.parametrize(("kind", "facts"), [
    (UNet25D, {"dims": "2", "context": "2"}), (UNet3D, {"dims": "3", "context": "0"})])
def test_weights_of_older_versions_are_read(tmp_path, kind, facts):
    model = a_network(kind)
    sizes = {name: str(getattr(model, name)) for name in ("width", "depth", "n_classes", "padding")}
    save_file(model.state_dict(), tmp_path / "old.safetensors", sizes | facts)
    loaded = load_weights(tmp_path / "old.safetensors")
    assert type(loaded) is kind
    assert all(map(torch.equal, model.state_dict().values(), loaded.state_dict().values()))


def test_the_published_networks_of_notebook_9_are_read():
    paths = (packaged_data() / "published" / "weights").glob("09_three_d*.safetensors")
    assert {type(load_weights(path)) for path in paths} == {UNet, UNet25D, UNet3D}


@pytest.mark.parametrize("kind", BOTH)
def test_fused_for_prediction_it_is_the_same_function(kind):
    model = a_network(kind)
    x = torch.randn(1, 1, 9, 20, 24) if kind is UNet3D else torch.randn(2, 5, 20, 24)
    x = x * 8000 + 30000
    fused = fuse_batch_norm(model)
    assert not [layer for layer in fused.modules() if "BatchNorm" in type(layer).__name__]
    assert torch.allclose(fused(x), model(x), atol=1e-4)


@pytest.mark.parametrize("kind", BOTH)
def test_their_batch_norm_cannot_be_recalibrated(kind):
    message = f"A {kind.__name__} sees neighbouring slices; only a network of single slices"
    with pytest.raises(ParameterError, match=message):
        recalibrate_batch_norm(a_network(kind), blobs(6, 20, 24).images)


# -- predictions ----------------------------------------------------------------------------------


def test_the_slices_that_a_prediction_needs():
    assert UNet25D(2, 1).slices_needed(range(0, 2), 9) == [0, 0, 0, 1, 2, 3]
    assert UNet25D(2, 1).slices_needed(range(8, 9), 9) == [6, 7, 8, 8, 8]
    assert UNet3D(2, 1).slices_needed(range(20, 22), 90) == list(range(8, 34))
    assert UNet3D(2, 1).slices_needed(range(4, 9), 9) == list(range(9))
    assert all(kind(2, 1).sees_neighbours for kind in BOTH)


def test_slabs_are_what_a_cube_of_the_budget_can_predict():
    model = UNet3D(2, 2)                                         # (2^24 / 2)^(1/3) = 203 px
    assert [model.slab_size(n) for n in (1, 203, 204)] == [1, 203, 203 - 2 * 24 - (203 - 48) % 4]
    assert model.slab_size(61, tile=60) == 24 and model.slab_size(61, tile=61) == 61


@pytest.mark.parametrize("budget", [2**25, 2**18])
def test_slabs_and_tiles_have_the_logits_of_the_volume(monkeypatch, budget):
    """In float32, to 1e-4 of logits of about 1, at the ends of the volume, too."""
    monkeypatch.setattr(tiles, "autocast", lambda device: nullcontext())
    monkeypatch.setattr(UNet3D, "TILE_BUDGET", budget)
    model, images = a_network(UNet3D), blobs(61, 70, 75).images
    parts, logits = zip(*logits_of(model, images), strict=True)
    assert [index for part in parts for index in range(61)[part]] == list(range(61))
    assert len(parts) == (1 if budget == 2**25 else 3)
    x = torch.from_numpy(np.stack(images).astype(np.float32))[None, None]
    with torch.inference_mode():
        whole = fuse_batch_norm(model)(x)[0].transpose(0, 1)
    assert (torch.cat(logits) - whole).abs().max() < 1e-4


def test_each_slice_is_given_its_neighbours_and_at_the_ends_itself_again(monkeypatch):
    monkeypatch.setattr(tiles, "autocast", lambda device: nullcontext())
    model, images = a_network(UNet25D), blobs(6, 20, 24).images
    logits = torch.cat([part for _, part in logits_of(model, images)])
    seen = [images[i] for i in (0, 0, 0, 1, 2, 3, 3, 4, 5, 5, 5)]
    x = torch.from_numpy(np.stack(seen).astype(np.float32))
    with torch.inference_mode():
        for index, window in ((0, x[:5]), (3, x[[3, 4, 5, 7, 8]]), (5, x[6:])):
            expected = fuse_batch_norm(model)(window[None])[0]
            assert torch.allclose(logits[index], expected, atol=1e-4)


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("side", [0, 40])
def test_part_of_a_stack_in_tiles_has_its_logits(monkeypatch, kind, side):
    monkeypatch.setattr(tiles, "autocast", lambda device: nullcontext())
    model, images = a_network(kind), blobs(31, 60, 70).images
    whole = torch.cat([part for _, part in logits_of(model, images)])[8:11]
    cut = torch.full_like(whole, torch.nan)
    for rows, columns, logits in tiles.tiled_logits(
            fuse_batch_norm(model), lambda index, rows: images[index][rows], 31, (60, 70),
            range(8, 11), side):
        cut[..., rows, columns] = logits
    assert (cut - whole).abs().max() < 1e-4


# -- training crops -------------------------------------------------------------------------------


def numbered(n, height, width):
    """A stack of voxels that are numbered 100 z + 10 y + x, labelled by that number modulo 3."""
    z, y, x = np.meshgrid(np.arange(n), np.arange(height), np.arange(width), indexing="ij")
    grey = (100 * z + 10 * y + x).astype(np.uint16)
    return Slices(list(grey), list((grey % 3).astype(np.uint8)), np.arange(n))


def sampler(slices, network, **changes):
    """What draws the crops of a network; crops are 4 px wide and not transformed."""
    return TrainingState(replace(RECIPE, network=network, **changes), slices, 0).batches


def test_cubes_are_real_ones_and_their_labels_move_with_them():
    cut = sampler(numbered(7, 8, 9), "UNet3D").cut_crops
    batch, target = cut(torch.tensor([3] * 512))
    assert batch.shape == (512, 1, 4, 4, 4) and target.shape == (512, 4, 4, 4)
    assert torch.equal(batch[:, 0].long() % 3, target)
    steps = {tuple(int(each - crop[0, 0, 0]) for each in (crop[1, 0, 0], crop[0, 1, 0],
                                                          crop[0, 0, 1])) for crop in batch[:, 0]}
    assert steps == {(100 * up, *turn) for up in (1, -1) for s in (1, -1) for t in (10, -10)
                     for turn in ((s, t), (t, s))}                                # all sixteen
    corners = {100 + 10 * y + x for y in range(5) for x in range(6)}
    assert {int(crop.min()) for crop in batch} == corners


def test_a_cube_has_its_slice_in_the_middle_unless_an_end_is_near():
    cubes = [stacks._cube(index, 4, 7) for index in (0, 3, 6)]
    assert cubes == [[0, 1, 2, 3], [1, 2, 3, 4], [3, 4, 5, 6]]
    assert stacks._cube(1, 8, 3) == stacks._cube(2, 0, 3) == [0, 1, 2]        # fewer than asked


def test_a_crop_with_neighbours_has_the_label_of_its_middle_slice():
    chosen = torch.tensor([0, 2, 4] * 100)
    batch, target = sampler(numbered(5, 8, 9), "UNet25D").cut_crops(chosen)
    assert batch.shape == (300, 5, 4, 4) and target.shape == (300, 4, 4)
    assert torch.equal(batch[:, 2].long() % 3, target)
    seen = {(int(index), *(((crop - crop[2]) / 100).int()[:, 0, 0].tolist()))
            for index, crop in zip(chosen, batch, strict=True)}
    assert seen == {(0, 0, 0, 0, 1, 2), (0, 2, 1, 0, 0, 0), (2, -2, -1, 0, 1, 2),
                    (2, 2, 1, 0, -1, -2), (4, -2, -1, 0, 0, 0), (4, 0, 0, 0, -1, -2)}


@pytest.mark.parametrize("network", ["UNet25D", "UNet3D"])
def test_without_flips_crops_are_as_in_the_volume(network):
    slices = numbered(7, 8, 9)
    batch, _ = sampler(slices, network, flips=False).cut_crops(torch.tensor([3] * 40))
    volume = batch.view(40, -1, 4, 4)
    steps = torch.stack([volume[:, 1, 0, 0], volume[:, 0, 1, 0], volume[:, 0, 0, 1]])
    assert (steps - volume[:, 0, 0, 0]).unique(dim=1).flatten().tolist() == [100, 10, 1]


def test_a_seed_draws_the_places_that_it_draws_for_single_slices():
    """The first random numbers of a batch are the same; those of the reversal come last."""
    slices = numbered(7, 8, 9)
    one, many = (sampler(slices, name) for name in ("UNet", "UNet25D"))
    images, _ = one.cut_crops(torch.arange(7))
    batch, _ = many.cut_crops(torch.arange(7))
    assert torch.equal(images[:, 0], batch[:, 2])


@pytest.mark.parametrize("changes", [
    {"network": "UNet3D", "batch": 2, "crop": 12}, {"network": "UNet25D"},
    {"network": "UNet25D", "transforms": TRANSFORMS, "noise_std_max": 1000.0}])
def test_networks_of_neighbouring_slices_learn(changes):
    recipe = replace(RECIPE, **{"steps": 120, "width": 8, "crop": 24} | changes)
    state, best = TrainingState(recipe, blobs(20, 40, 36), 0), []
    train(state, blobs(9, 40, 36), on_evaluation=lambda scores: best.append(scores.mean))
    assert type(state.model).__name__ == changes["network"] and max(best) > 0.95


def test_a_network_of_neighbours_is_evaluated_as_any_other():
    scores = evaluate(a_network(UNet25D), blobs(4, 20, 24))
    assert scores.confusion.sum() == 4 * 20 * 24
