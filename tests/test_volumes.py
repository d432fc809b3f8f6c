"""Volumes: tiles equal whole slices, any TIFF is read, a prediction resumes and refuses clearly."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from contextlib import nullcontext

import numpy as np
import psutil
import pytest
import tifffile
import torch
from conftest import a_network

from xraylib import tiles, volumes
from xraylib.errors import DataError, WeightsError
from xraylib.files import create_exclusively
from xraylib.formats.tiff import open_volume
from xraylib.inference import fuse_batch_norm, logits_of, predict, save_weights
from xraylib.outlook.stacks import UNet3D, UNet25D
from xraylib.unet import UNet


@pytest.fixture(params=["same", "valid"])
def model(request):
    return a_network(request.param)


@pytest.fixture
def out(tmp_path_factory):
    """A folder that does not lie among the slices."""
    return tmp_path_factory.mktemp("out")


def volume(n=3, height=150, width=171, seed=0):
    grey = np.random.default_rng(seed).normal(30000, 8000, (n, height, width))
    return grey.clip(0, 65535).astype(np.uint16)


def whole(model, images):
    return np.concatenate([logits.float().numpy() for _, logits in logits_of(model, images)])


@pytest.mark.parametrize("side", [60, 96, 1000])
def test_tiles_are_the_whole_slice(model, tmp_path, monkeypatch, side):
    """In float32, probabilities to 1e-5, up to the border, whatever the tile and the padding."""
    monkeypatch.setattr(tiles, "autocast", lambda device: nullcontext())
    images = volume(1)
    tifffile.imwrite(tmp_path / "one.tif", images[0])
    (page,) = open_volume(tmp_path / "one.tif")
    together = np.full((3, *images.shape[1:]), np.nan, np.float32)
    found = list(tiles.tiled_logits(
        fuse_batch_norm(model), lambda _, rows: page.rows(rows.start, rows.stop), 1, page.shape,
        range(1), side))
    for rows, columns, logits in found:
        assert np.isnan(together[:, rows, columns]).all()  # no pixel is written twice
        together[:, rows, columns] = logits[0].numpy()
    expected = whole(model, images)[0]
    assert len(found) == 1 if side == 1000 else len(found) > 6
    tiled, at_once = (torch.tensor(logits).softmax(0) for logits in (together, expected))
    assert (tiled - at_once).abs().max() < 1e-5
    assert np.array_equal(together.argmax(0), expected.argmax(0))


def test_prediction_of_a_folder_equals_that_of_the_slices_in_memory(model, tmp_path, out):
    """In the precision that this machine predicts in."""
    images = volume()
    for number, image in enumerate(images, 1):
        tifffile.imwrite(tmp_path / f"in{number}.tif", image)
    save_weights(model, tmp_path / "w.safetensors")
    paths = volumes.predict_volume(tmp_path / "w.safetensors", tmp_path, out, tile=96)
    assert [path.name for path in paths] == ["in1.tif", "in2.tif", "in3.tif"]
    found = np.stack([tifffile.imread(path) for path in paths])
    assert set(np.unique(found)) == {0, 128, 255}
    assert np.array_equal(found, np.array([0, 128, 255], np.uint8)[predict(model, images)])


@pytest.mark.parametrize("kind", [
    "pages", "bigtiff", "imagej", "compressed", "big-endian", "tiled"])
def test_a_volume_in_one_file(weights, tmp_path, kind):
    images, path = volume(), tmp_path / "stack.tif"
    options = {"pages": {"photometric": "minisblack"},
               "bigtiff": {"bigtiff": True, "photometric": "minisblack"},
               "imagej": {"imagej": True, "metadata": {"axes": "ZYX"}},
               "compressed": {"compression": "zlib", "photometric": "minisblack"},
               "big-endian": {"byteorder": ">", "photometric": "minisblack"},
               "tiled": {"tile": (64, 64), "photometric": "minisblack"}}[kind]
    tifffile.imwrite(path, images, **options)
    pages = open_volume(path)
    assert [page.name for page in pages] == ["stack_00001", "stack_00002", "stack_00003"]
    assert all(np.array_equal(page.rows(10, 90), image[10:90])
               for page, image in zip(pages, images, strict=True))
    paths = volumes.predict_volume(weights, path, tmp_path / "out")
    assert len(paths) == 3 and tifffile.imread(paths[2]).shape == images.shape[1:]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_another_bit_depth_and_contrast_is_scaled_and_reported(
        weights, tmp_path, capsys, dtype):
    images = volume()
    share = images / 65535
    other = (share * 255 if dtype == np.uint8 else share - 0.5).astype(dtype)
    for name, stack in (("same", images), ("other", other)):
        tifffile.imwrite(tmp_path / f"{name}.tif", stack, photometric="minisblack")
    same, changed = (np.stack([tifffile.imread(path) for path in volumes.predict_volume(
        weights, tmp_path / f"{name}.tif", tmp_path / name)]) for name in ("same", "other"))
    assert (same == changed).mean() > 0.97
    told = capsys.readouterr().out
    assert "used unchanged" in told and f"{np.dtype(dtype).name}, grey levels" in told
    assert "They are scaled so that 98 % of them lie from" in told


def test_the_resolution_of_the_input_is_kept_as_the_size_of_a_voxel(weights, tmp_path):
    """543,478 px per cm are 18.4 nm; ImageJ counts px per micrometre."""
    tifffile.imwrite(tmp_path / "a1.tif", volume(1)[0], resolution=(543478.0, 543478.0),
                     resolutionunit="CENTIMETER")
    (path,) = volumes.predict_volume(weights, tmp_path / "a1.tif", tmp_path / "out")
    with tifffile.TiffFile(path) as tif:
        numerator, denominator = tif.pages[0].tags["XResolution"].value
        assert numerator / denominator == pytest.approx(54.3478, rel=1e-4)
        assert tif.imagej_metadata["unit"] == "um" and tif.pages[0].dtype == np.uint8
        assert tif.imagej_metadata["spacing"] == pytest.approx(0.0184, rel=1e-4)


def test_a_second_call_does_only_what_is_missing(weights, tmp_path):
    tifffile.imwrite(tmp_path / "s.tif", volume(), photometric="minisblack")
    paths = volumes.predict_volume(weights, tmp_path / "s.tif", tmp_path / "out")
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}
    paths[1].unlink()
    volumes.predict_volume(weights, tmp_path / "s.tif", tmp_path / "out")
    assert [path.read_bytes() for path in paths] == [content for content, _ in before.values()]
    assert [path.stat().st_mtime_ns == before[path][1] for path in paths] == [True, False, True]


def again(weights, tmp_path):
    return volumes.predict_volume(weights, tmp_path / "in", tmp_path / "out")


@pytest.fixture
def predicted(weights, tmp_path):
    """A folder of three slices, and another of their segmentations."""
    (tmp_path / "in").mkdir()
    for index, image in enumerate(volume(), 1):
        tifffile.imwrite(tmp_path / f"in/s_{index}.tif", image)
    return again(weights, tmp_path)


@pytest.mark.parametrize("stack", [False, True])
def test_a_mask_that_was_edited_in_place_is_not_counted_as_done(weights, tmp_path, stack):
    tifffile.imwrite(tmp_path / "in.tif", volume(), photometric="minisblack")
    arguments = weights, tmp_path / "in.tif", tmp_path / "out"
    mask = volumes.predict_volume(*arguments, stack=stack)[-1]
    tifffile.memmap(mask, mode="r+")[..., 5, 5] = 99
    with pytest.raises(DataError, match=rf"{mask.name} exists and was not made of .*in.tif in its"):
        volumes.predict_volume(*arguments, stack=stack)


@pytest.mark.parametrize("network", [UNet3D, UNet25D])
def test_slices_made_with_another_neighbour_are_refused(tmp_path, network):
    """The fourth of six slices changes, its segmentation is missing: its neighbours are refused."""
    save_weights(seeing(network), tmp_path / "model.safetensors")
    (tmp_path / "in").mkdir()
    for index, image in enumerate(volume(6, 40, 40), 1):
        tifffile.imwrite(tmp_path / f"in/s_{index}.tif", image)
    again(tmp_path / "model.safetensors", tmp_path)[3].unlink()
    again(tmp_path / "model.safetensors", tmp_path)[3].unlink()  # nothing has changed yet
    tifffile.imwrite(tmp_path / "in/s_4.tif", volume(1, 40, 40, seed=9)[0])
    message = r"out/s_[123].tif exists and was not made of .*in in its present state"
    with pytest.raises(DataError, match=message):
        again(tmp_path / "model.safetensors", tmp_path)


@pytest.mark.parametrize("how", ["rewritten", "touched"])
def test_a_slice_that_is_changed_while_it_is_read_is_not_segmented(
        weights, tmp_path, monkeypatch, how):
    """It ends there, before it writes that slice; later another folder takes all of them."""
    source = tmp_path / "s"
    source.mkdir()
    for index, image in enumerate(volume()):
        tifffile.imwrite(source / f"s_{index}.tif", image)
    with monkeypatch.context() as patch:
        def read_then_change(model, read, *arguments):
            for tile in tiles.tiled_logits(model, read, *arguments):
                if (tmp_path / "out/s_0.tif").exists():  # the second slice is being read
                    if how == "touched":
                        os.utime(source / "s_1.tif", ns=(1, 1))
                    else:
                        tifffile.imwrite(source / "s_1.tif", volume(4)[3])
                yield tile
        patch.setattr(volumes, "tiled_logits", read_then_change)
        with pytest.raises(DataError, match=r"s_1.tif was changed while it was read. Wait until"):
            volumes.predict_volume(weights, source, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "s_0.tif", volumes.outputs.RECORD, volumes.NETWORK}
    assert len(volumes.predict_volume(weights, source, tmp_path / "anew")) == 3


def test_only_one_of_two_simultaneous_predictions_gets_the_folder(
        weights, tmp_path, monkeypatch):
    """Both find the folder empty; then the other is faster."""
    tifffile.imwrite(tmp_path / "s.tif", volume(2))
    model = a_network()
    model.head.bias.data += 1
    other = tmp_path / "other.safetensors"
    save_weights(model, other)
    began = []

    def a_moment_later(place):
        if not began:
            began.append([])
            began[0] = volumes.predict_volume(other, tmp_path / "s.tif", tmp_path / "out")
    monkeypatch.setattr(volumes, "remove_leftovers", a_moment_later)
    with pytest.raises(DataError, match="belongs to another prediction"):
        volumes.predict_volume(weights, tmp_path / "s.tif", tmp_path / "out")
    expected = volumes.predict_volume(other, tmp_path / "s.tif", tmp_path / "alone")
    assert all((tifffile.imread(one) == tifffile.imread(two)).all()
               for one, two in zip(*began, expected, strict=True))
    assert not list((tmp_path / "out").glob(".*"))


def test_a_file_system_without_links_works(tmp_path, monkeypatch):
    def link(*_):
        raise PermissionError(1, "Operation not permitted")
    monkeypatch.setattr(os, "link", link)
    create_exclusively(tmp_path / "record", b"once")
    assert (tmp_path / "record").read_bytes() == b"once" and len(list(tmp_path.iterdir())) == 1


def test_leftovers_of_a_killed_prediction_are_removed_by_the_next(weights, tmp_path, predicted):
    leftover, foreign = tmp_path / "out/.0123456789abcdef.xraylib-tmp", tmp_path / "out/notes.tmp"
    for path in (leftover, foreign):
        path.write_bytes(b"half")
    again(weights, tmp_path)
    assert not leftover.exists() and foreign.exists()


def test_an_input_that_changed_and_kept_size_and_time_is_noticed(weights, tmp_path, predicted):
    path = tmp_path / "in/s_2.tif"
    before = path.stat()
    tifffile.imwrite(path, volume(1, seed=5)[0])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    with pytest.raises(DataError, match=r"out/s_2.tif exists and was not made of"):
        again(weights, tmp_path)


def test_an_input_with_a_new_date_is_still_the_same(weights, tmp_path, predicted):
    os.utime(tmp_path / "in/s_2.tif", (1, 1))
    before = [path.stat().st_mtime_ns for path in predicted]
    assert [path.stat().st_mtime_ns for path in again(weights, tmp_path)] == before


def test_weights_replaced_during_a_prediction_have_no_effect(weights, tmp_path, monkeypatch):
    """All slices are made by the network that was there when the prediction began."""
    tifffile.imwrite(tmp_path / "s.tif", volume(3), photometric="minisblack")
    expected = volumes.predict_volume(weights, tmp_path / "s.tif", tmp_path / "alone")
    other = a_network()
    other.head.bias.data += torch.tensor([5.0, 0, 0])
    run_task = volumes.run_task

    def replace_first(task):
        save_weights(other, weights)
        run_task(task)
    monkeypatch.setattr(volumes, "run_task", replace_first)
    found = volumes.predict_volume(weights, tmp_path / "s.tif", tmp_path / "out")
    assert all(one.read_bytes() == two.read_bytes()
               for one, two in zip(expected, found, strict=True))


def test_a_preview_of_another_network_or_a_damaged_one_is_drawn_again(weights, tmp_path, predicted):
    volumes.predict_volume(weights, tmp_path / "in", tmp_path / "out", preview_every=1)
    first, second, third = sorted((tmp_path / "out/preview").iterdir())
    good = first.read_bytes()
    first.write_bytes(good[:len(good) // 2])
    second.write_bytes(good)
    kept = third.stat().st_mtime_ns
    volumes.predict_volume(weights, tmp_path / "in", tmp_path / "out", preview_every=1)
    assert first.read_bytes() == good and second.read_bytes() != good
    assert third.stat().st_mtime_ns == kept


@pytest.mark.parametrize("number", [np.inf, -np.inf, np.nan, 1e38])
def test_a_pixel_without_a_grey_level_changes_only_its_surroundings(weights, tmp_path, number):
    """There all three phases stay possible: it counts as an end or the mean of the grey levels."""
    grey = volume(1, 150, 171)[0].astype(np.float32)
    outputs = []
    for name, value in (("plain", 30000), ("odd", number)):
        grey[76, 86] = value
        tifffile.imwrite(tmp_path / f"{name}.tif", grey)
        (path,) = volumes.predict_volume(weights, tmp_path / f"{name}.tif", tmp_path / name,
                                         preview_every=1, contrast="none")
        outputs.append(tifffile.imread(path))
    changed = np.argwhere(outputs[0] != outputs[1])
    assert len(changed) < 100 and (np.abs(changed - [76, 86]) <= 24).all()


def test_permissions_of_the_segmentation_follow_the_umask(weights, tmp_path, predicted):
    before = os.umask(0o027)
    try:
        (path, *_) = volumes.predict_volume(weights, tmp_path / "in", tmp_path / "other")
        save_weights(UNet(2, 1), tmp_path / "w.safetensors")
    finally:
        os.umask(before)
    assert [stat.S_IMODE(each.stat().st_mode)
            for each in (path, tmp_path / "w.safetensors")] == [0o640, 0o640]


def command(*arguments):
    """``python -m xraylib predict`` with these arguments."""
    line = [sys.executable, "-m", "xraylib", "predict", *map(str, arguments)]
    return subprocess.Popen(line, env=os.environ, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, start_new_session=True)


@pytest.mark.heavy
def test_slices_of_a_killed_worker_are_done_by_another(weights, tmp_path):
    """One of two local workers is killed at work; all is there, as one process alone writes it."""
    tifffile.imwrite(tmp_path / "s.tif", volume(60, 300, 300), photometric="minisblack")
    process = command(weights, tmp_path / "s.tif", tmp_path / "out", "--workers", "2")
    while len(list((tmp_path / "out").glob("*.tif"))) < 5:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    workers = [child for child in psutil.Process(process.pid).children(recursive=True)
               if "spawn_main" in " ".join(child.cmdline())]
    assert len(workers) == 2
    workers[0].kill()
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    paths = volumes.predict_volume(weights, tmp_path / "s.tif", tmp_path / "alone")
    assert len(paths) == 60
    assert all(path.read_bytes() == (tmp_path / "out" / path.name).read_bytes() for path in paths)


def test_weights_too_large_for_finite_predictions_are_one_error(tmp_path, out):
    """Defect: every pixel became the first phase."""
    model = a_network()
    model.head.weight.data.fill_(3e38)
    save_weights(model, tmp_path / "w.safetensors")
    tifffile.imwrite(tmp_path / "s.tif", volume(), photometric="minisblack")
    with pytest.raises(WeightsError, match="gives numbers that are not finite for .*s.tif: its "
                                           "weights are too large. Train the network again"):
        volumes.predict_volume(tmp_path / "w.safetensors", tmp_path / "s.tif", out)
    assert not list(out.glob("*.tif"))


def test_ctrl_c_says_how_to_continue_a_prediction(weights, tmp_path):
    tifffile.imwrite(tmp_path / "s.tif", volume(60, 300, 300), photometric="minisblack")
    process = command(weights, tmp_path / "s.tif", tmp_path / "out", "--tile", "32")
    while not list((tmp_path / "out").glob("*.tif")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and "Give the same command again to continue" in errors
    assert "Traceback" not in errors
    assert not list((tmp_path / "out").glob(".*"))


def test_the_command_takes_weights_and_makes_previews(weights, tmp_path):
    tifffile.imwrite(tmp_path / "s.tif", volume(), photometric="minisblack")
    process = command(weights, tmp_path / "s.tif", tmp_path / "out", "--preview", "2")
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert {path.name for path in (tmp_path / "out/preview").iterdir()} == {
        "s_00001.png", "s_00003.png"}
    record = json.loads((tmp_path / "out" / volumes.outputs.RECORD).read_text())
    assert record["source"] == str(tmp_path / "s.tif")


def test_previews_that_are_missing_are_drawn_by_a_second_call(weights, tmp_path):
    tifffile.imwrite(tmp_path / "s.tif", volume(), photometric="minisblack")
    done = volumes.predict_volume(weights, tmp_path / "s.tif", tmp_path / "out")
    before = [path.stat().st_mtime_ns for path in done]
    volumes.predict_volume(weights, tmp_path / "s.tif", tmp_path / "out", preview_every=1)
    assert len(list((tmp_path / "out/preview").iterdir())) == 3
    assert [path.stat().st_mtime_ns for path in done] == before


# -- networks that see neighbouring slices ---------------------------------------------------------


def seeing(network):
    """As `a_network`, for a network that sees neighbouring slices."""
    torch.manual_seed(0)
    model = network(4, 1)
    model.grey.copy_(torch.tensor([30000.0, 8000.0]))
    shape = (1, 16, 48, 48) if network is UNet3D else (model.in_channels, 48, 48)
    x = torch.randn(2, *shape) * 8000 + 30000
    for _ in range(20):
        model(x)
    model.eval()
    with torch.inference_mode():
        logits = model(x)
        model.head.bias -= logits.transpose(0, 1).flatten(1).mean(1)
    return model


@pytest.mark.parametrize("network", [UNet3D, UNet25D])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_volume_in_slabs_and_tiles_equals_that_in_memory(tmp_path, out, network, workers):
    """40 slices, in 3-D as slabs of 16 + 16 + 8 that see 12 more at each end, in tiles of 40 px."""
    model, images = seeing(network), volume(40, 61, 75)
    for number, image in enumerate(images, 1):
        tifffile.imwrite(tmp_path / f"in{number}.tif", image)
    save_weights(model, tmp_path / "w.safetensors")
    paths = volumes.predict_volume(tmp_path / "w.safetensors", tmp_path, out, tile=40,
                                   workers=workers)
    assert [path.name for path in paths] == [f"in{number}.tif" for number in range(1, 41)]
    expected = np.array([0, 128, 255], np.uint8)[predict(model, images)]
    assert all(len(np.unique(part)) == 3 for part in expected)
    found = np.stack([tifffile.imread(path) for path in paths])
    assert (found != expected).mean() < 1e-4  # a voxel between two phases, by rounding


def test_only_the_missing_slices_of_a_slab_are_written(tmp_path):
    weights, source, target = (tmp_path / name for name in ("w.safetensors", "s.tif", "out"))
    save_weights(seeing(UNet3D), weights)
    tifffile.imwrite(source, volume(40, 50, 50), photometric="minisblack")
    paths = volumes.predict_volume(weights, source, target, tile=40)
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}
    paths[18].unlink()
    volumes.predict_volume(weights, source, target, preview_every=20, tile=40)
    assert paths[18].read_bytes() == before[paths[18]][0]
    assert [path for path in paths if path.stat().st_mtime_ns != before[path][1]] == [paths[18]]
    assert {path.name for path in (target / "preview").iterdir()} == {
        "s_00001.png", "s_00021.png"}
    assert sorted(tmp_path.glob("out/*.tif")) == paths and not list((tmp_path / "out").glob("tmp*"))
