"""Outputs of a prediction: what Fiji opens with its scale, resumes, and a set to correct."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from conftest import a_network
from test_volumes import command, volume

from xraylib import volumes
from xraylib.data import Phases
from xraylib.datasets import load_slices
from xraylib.errors import DataError, WeightsError
from xraylib.formats import outputs
from xraylib.formats.outputs import STACK, has_provenance, most_uncertain
from xraylib.inference import predict, save_weights
from xraylib.volumes import predict_volume

VOXEL = (50.0, 20.0, 18.4)  # z, y, x in nm: all differ


@pytest.fixture
def source(tmp_path):
    """Five slices of 150 x 171 px, as an ImageJ stack that says the size of its voxels."""
    z, y, x = (side / 1000 for side in VOXEL)
    tifffile.imwrite(tmp_path / "s.tif", volume(5), imagej=True, resolution=(1 / x, 1 / y),
                     metadata={"axes": "ZYX", "unit": "um", "spacing": z})
    return tmp_path / "s.tif"


def scale_of(path):
    """The voxel size in nm that ImageJ reads, and the axes."""
    with tifffile.TiffFile(path) as tif:
        page, found = tif.pages.first, tif.imagej_metadata
        assert found["unit"] == "um"
        y, x = (under / over for over, under in (page.tags[f"{axis}Resolution"].value
                                                 for axis in "YX"))
        return pytest.approx([1000 * side for side in (found["spacing"], y, x)], rel=1e-4), \
            tif.series[0].axes


def test_slices_and_stack_keep_the_size_of_voxels(weights, source, tmp_path, capsys):
    paths = predict_volume(weights, source, tmp_path / "slices")
    (stack,) = predict_volume(weights, source, tmp_path / "stack", stack=True)
    assert "voxels of 50 x 20 x 18.4 nm (z, y, x)" in capsys.readouterr().out
    for path, axes in ((paths[0], "YX"), (stack, "ZYX")):
        assert scale_of(path) == (list(VOXEL), axes)
        record = json.loads((path.parent / volumes.outputs.RECORD).read_text())
        assert record["voxel_nm"] == pytest.approx(VOXEL)
        assert record["phases"]["names"] == ["pore", "YSZ", "nickel"]
    assert np.array_equal(tifffile.imread(stack), [tifffile.imread(path) for path in paths])
    assert np.array_equal(tifffile.imread(stack),
                          np.array([0, 128, 255], np.uint8)[predict(a_network(), volume(5))])


def test_a_given_voxel_size_overrides_that_of_the_file(weights, source, tmp_path):
    path, *_ = predict_volume(weights, source, tmp_path / "out", voxel_nm=(30.0, 20.0, 10.0))
    assert scale_of(path) == ([30, 20, 10], "YX")


def test_an_unknown_voxel_size_is_reported_and_the_resolution_is_kept(
        weights, tmp_path, capsys):
    tifffile.imwrite(tmp_path / "s.tif", volume(2), photometric="minisblack",
                     resolution=(300, 300), resolutionunit="INCH")
    for stack in (False, True):
        path, *_ = predict_volume(weights, tmp_path / "s.tif", tmp_path / f"{stack}", stack=stack)
        assert "voxel size unknown: give --voxel-nm" in capsys.readouterr().out
        with tifffile.TiffFile(path) as tif:
            assert "unit" not in tif.imagej_metadata
            assert tif.pages.first.tags["XResolution"].value == (300, 1)
            assert tif.pages.first.resolutionunit == 2


def test_a_complete_stack_is_left_alone_and_its_slices_are_gone(weights, source, tmp_path):
    target = tmp_path / "out"
    (stack,) = predict_volume(weights, source, target, stack=True)
    before = stack.stat().st_mtime_ns
    assert [path.name for path in target.glob("*.tif")] == [STACK]
    assert predict_volume(weights, source, target, stack=True) == [stack]
    assert stack.stat().st_mtime_ns == before and list(target.glob("*.tif")) == [stack]
    predict_volume(weights, source, target, 4, stack=True, uncertainty=True)  # more is asked for
    assert stack.stat().st_mtime_ns == before and list(target.glob("*.tif")) == [stack]
    assert len(list((target / "preview").iterdir())) == 2
    assert len(list((target / "uncertainty").iterdir())) == 5


def test_existing_slices_become_a_stack_without_a_new_prediction(
        weights, source, tmp_path, monkeypatch):
    paths = predict_volume(weights, source, tmp_path / "out")
    expected = [tifffile.imread(path) for path in paths]
    monkeypatch.setattr(volumes, "run_task", None)
    (stack,) = predict_volume(weights, source, tmp_path / "out", stack=True)
    assert np.array_equal(tifffile.imread(stack), expected)


def test_a_stack_of_another_prediction_or_cut_short_is_refused(weights, source, tmp_path):
    (stack,) = predict_volume(weights, source, tmp_path / "out", stack=True)
    content = stack.read_bytes()
    for wrong in (content[:len(content) // 2], content[:-200]):
        stack.write_bytes(wrong)
        with pytest.raises(DataError, match=f"{STACK} exists and was not made of"):
            predict_volume(weights, source, tmp_path / "out", stack=True)


def test_slices_of_two_sizes_cannot_become_a_stack(weights, tmp_path):
    (tmp_path / "in").mkdir()
    for number, side in ((1, 40), (2, 50)):
        tifffile.imwrite(tmp_path / f"in/s_{number}.tif", volume(1, side, side)[0])
    with pytest.raises(DataError, match=r"s_2.tif is \(50, 50\) px.*leave out --stack"):
        predict_volume(weights, tmp_path / "in", tmp_path / "out", stack=True)
    paths = predict_volume(weights, tmp_path / "in", tmp_path / "out")
    assert [tifffile.imread(path).shape for path in paths] == [(40, 40), (50, 50)]


def test_a_large_stack_is_an_ome_bigtiff(weights, source, tmp_path, monkeypatch):
    (small,) = predict_volume(weights, source, tmp_path / "small", stack=True)
    monkeypatch.setattr(outputs, "STACK_LIMIT", 100_000)
    (large,) = predict_volume(weights, source, tmp_path / "large", stack=True)
    assert np.array_equal(tifffile.imread(large), tifffile.imread(small))
    with tifffile.TiffFile(large) as tif:
        assert tif.is_bigtiff and tif.is_ome and tif.series[0].axes == "ZYX"
        pixels = tifffile.xml2dict(tif.ome_metadata)["OME"]["Image"]["Pixels"]
    for axis, side in zip("ZYX", VOXEL, strict=True):
        assert pixels[f"PhysicalSize{axis}"] == pytest.approx(side, rel=1e-4)
        assert pixels[f"PhysicalSize{axis}Unit"] == "nm"
    assert predict_volume(weights, source, tmp_path / "large", stack=True) == [large]


def test_probabilities_and_uncertainty_fit_the_labels(weights, source, tmp_path):
    paths = predict_volume(weights, source, tmp_path / "out", tile=96, probabilities=True,
                           uncertainty=True)
    for path in paths:
        with tifffile.TiffFile(tmp_path / "out/probabilities" / path.name) as tif:
            assert tif.series[0].axes == "CYX"
            probabilities = tif.asarray()
        uncertainty = tifffile.imread(tmp_path / "out/uncertainty" / path.name)
        assert probabilities.dtype == np.float16 and probabilities.shape == (3, 150, 171)
        assert probabilities.astype(float).sum(0) == pytest.approx(1, abs=2e-3)
        assert np.abs(100 * (1 - probabilities.max(0).astype(float)) - uncertainty).max() < 0.6
        assert uncertainty.dtype == np.uint8 and 10 < uncertainty.max() <= 67
        right = np.array([0, 128, 255])[probabilities.argmax(0)] == tifffile.imread(path)
        assert right.mean() > 0.99  # all but ties
        assert scale_of(tmp_path / "out/uncertainty" / path.name) == (list(VOXEL), "YX")


def test_only_missing_files_are_written(weights, source, tmp_path):
    target = tmp_path / "out"
    plain = predict_volume(weights, source, target)
    predict_volume(weights, source, target, probabilities=True)
    files = [*plain, *(target / "probabilities").iterdir()]
    assert len(files) == 10
    lost = target / "probabilities" / plain[2].name
    content = lost.read_bytes()
    before = {path: path.stat().st_mtime_ns for path in files if path != lost}
    lost.unlink()
    predict_volume(weights, source, target, probabilities=True)
    assert lost.read_bytes() == content
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.parametrize("kind", ["probabilities", "uncertainty"])
def test_files_of_another_prediction_are_refused(weights, source, tmp_path, kind):
    predict_volume(weights, source, tmp_path / "out", **{kind: True})
    foreign = tmp_path / f"out/{kind}/s_00002.tif"
    foreign.write_bytes(foreign.read_bytes().replace(b"by xraylib, ", b"by xraylib, 0"))
    with pytest.raises(DataError, match=f"{kind}/s_00002.tif exists and was not made of"):
        predict_volume(weights, source, tmp_path / "out", **{kind: True})


def test_another_voxel_size_is_another_prediction(weights, source, tmp_path):
    predict_volume(weights, source, tmp_path / "out")
    with pytest.raises(DataError, match=r"s_00001.tif exists and was not made of"):
        predict_volume(weights, source, tmp_path / "out", voxel_nm=(1.0, 1.0, 1.0))


def test_label_values_above_255_are_written_as_16_bits(source, tmp_path):
    model = a_network()
    model.phases = replace(Phases.numbered([1, 700, 65535]), names=("a", "b", "c"))
    save_weights(model, tmp_path / "w.safetensors")
    paths = predict_volume(tmp_path / "w.safetensors", source, tmp_path / "out", 1)
    (stack,) = predict_volume(tmp_path / "w.safetensors", source, tmp_path / "stack", stack=True)
    found = np.stack([tifffile.imread(path) for path in paths])
    assert found.dtype == np.uint16 and set(np.unique(found)) == {1, 700, 65535}
    assert np.array_equal(tifffile.imread(stack), found) and scale_of(stack)[1] == "ZYX"


def test_weights_that_give_numbers_that_are_not_finite_are_refused(source, tmp_path):
    model = a_network()
    model.head.weight.data.fill_(3e38)
    save_weights(model, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="numbers that are not finite for .*s.tif"):
        predict_volume(tmp_path / "w.safetensors", source, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.tif"))


# -- slices to correct -----------------------------------------------------------------------------


@pytest.mark.parametrize(("uncertainty", "count", "expected"), [
    ([1, 5, 6, 2, 0], 2, [0, 2]),  # 1 and 3 are neighbours of 2
    ([0, 1, 2], 3, [0, 2]),
    ([3, 3, 3, 3], 1, [3]),
    (np.r_[np.arange(100), 200, np.zeros(99)], 2, [95, 100]),
])
def test_the_most_uncertain_slices_are_not_neighbours(uncertainty, count, expected):
    assert most_uncertain(uncertainty, count) == expected


def folder_of(tmp_path, dtype):
    """Eight slices in a folder, with numbers that begin at 1300."""
    (tmp_path / "in").mkdir()
    for number, image in enumerate(volume(8, 64, 64), 1300):
        tifffile.imwrite(tmp_path / f"in/Slice_ {number}.tif", image.astype(dtype))
    return tmp_path / "in"


@pytest.mark.parametrize(("dtype", "options"), [("uint16", []), ("float32", ["--stack"])])
def test_the_worst_slices_become_a_data_set_to_correct(weights, tmp_path, dtype, options):
    source = folder_of(tmp_path, dtype)
    process = command(weights, source, tmp_path / "out", "--voxel-nm", "50,20,18.4", *options,
                      "--worst", "2", tmp_path / "worst")
    told, errors = process.communicate()
    assert process.returncode == 0, errors
    assert f"The 2 most uncertain slices are in {tmp_path / 'worst'}: Slice_ 13" in told
    means = {path.name: tifffile.imread(path).mean()
             for path in (tmp_path / "out/uncertainty").iterdir()}
    names = sorted(path.name for path in (tmp_path / "worst/data").iterdir())
    assert max(means, key=means.get) in names and len(names) == 2
    masks = dict(zip(sorted(means), tifffile.imread(tmp_path / "out" / STACK), strict=True)
                 if options else ((path.name, tifffile.imread(path))
                                  for path in (tmp_path / "out").glob("*.tif")))
    for name in names:
        data, labels = (tifffile.imread(tmp_path / "worst" / side / name)
                        for side in ("data", "labels"))
        assert data.dtype == dtype and np.array_equal(data, tifffile.imread(source / name))
        assert np.array_equal(labels, masks[name])
    assert scale_of(tmp_path / "worst/labels" / names[0]) == (list(VOXEL), "YX")
    slices = load_slices(tmp_path / "worst")
    assert slices.phases.names == ("pore", "YSZ", "nickel")
    assert slices.phases.values == (0, 128, 255) and slices.voxel_nm == VOXEL
    assert [f"Slice_ {number}.tif" for number in slices.numbers] == names
    assert all(has_provenance(path, "") is False for path in (tmp_path / "worst/labels").iterdir())


def test_the_command_prints_what_it_did(weights, source, tmp_path):
    process = command(weights, source, tmp_path / "out", "--stack", "--voxel-nm", "18.4",
                      "--contrast", "match")
    told, errors = process.communicate()
    assert process.returncode == 0, errors
    network = min(str(weights), os.path.relpath(weights), key=len)
    for part in (f"Network: {network}, UNet; label values: pore = 0, YSZ = 128, nickel = 255\n",
                 "5 slices of 150 x 171 px; voxels of 18.4 x 18.4 x 18.4 nm (z, y, x)\n",
                 "brought to the mean and standard deviation of the training set, 30000 ± 8000",
                 f"The segmentation is {tmp_path / 'out' / STACK}."):
        assert part in told
