"""Segmentations of any origin are read, and measured from the command line."""

import csv
import json

import numpy as np
import pytest
import tifffile
from matplotlib.image import imread, imsave

from xraylib.__main__ import main
from xraylib.data import NI_YSZ, Phases, dataset_file, values_from_classes
from xraylib.errors import DataError
from xraylib.formats.layouts import write_dataset_file
from xraylib.formats.outputs import RECORD, STACK
from xraylib.losses import IGNORE
from xraylib.outlook.measure import HEADER, measure_volume
from xraylib.outlook.microstructure import triple_phase_boundary
from xraylib.outlook.segmentations import open_segmentation

FOUR = Phases(("a", "b", "c", "d"), (1, 2, 3, 700), NI_YSZ.colours + ("#cc79a7",))
LABELS = np.random.default_rng(0).integers(0, 3, (6, 20, 24), np.uint8).repeat(2, 1).repeat(2, 2)
VOXEL = (40.0, 20.0, 20.0)


def write(folder, labels=LABELS, phases=NI_YSZ, step=1):
    """Masks as `predict` or another program writes them, one TIFF per slice."""
    folder.mkdir(parents=True)
    for index, mask in enumerate(values_from_classes(labels, phases)):
        tifffile.imwrite(folder / f"slice_{step * index + 1:03d}.tif", mask)
    return folder


def record(folder, phases=NI_YSZ, voxel_nm=VOXEL):
    content = {"phases": phases.to_dict(), "voxel_nm": voxel_nm, "contrast": "none"}
    (folder / RECORD).write_text(json.dumps(content))
    return folder


def test_the_output_of_predict_knows_its_phases_and_voxels(tmp_path):
    for name, phases in (("three", NI_YSZ), ("four", FOUR)):
        found = open_segmentation(record(write(tmp_path / name, phases=phases), phases))
        assert np.array_equal(found.labels, LABELS) and found.labels.dtype == np.uint8
        assert (found.phases, found.voxel_nm, found.neighbours) == (phases, VOXEL, True)
    assert found.notes == ["value 1 is a; value 2 is b; value 3 is c; value 700 is d."]
    assert open_segmentation(tmp_path / "four", (1, 2, 3)).voxel_nm == (1, 2, 3)


def test_predict_with_one_stack(tmp_path):
    folder = record(write(tmp_path / "out", LABELS[:1]), voxel_nm=None)
    tifffile.imwrite(folder / STACK, values_from_classes(LABELS, NI_YSZ), imagej=True,
                     metadata={"axes": "ZYX"})
    for path in (folder, folder / STACK):
        found = open_segmentation(path)
        assert np.array_equal(found.labels, LABELS) and found.phases == NI_YSZ
        assert found.voxel_nm is None and found.neighbours


def test_masks_with_a_dataset_file_beside_them_or_above(tmp_path):
    masks = write(tmp_path / "set" / "labels", phases=FOUR)
    for folder in (masks.parent, masks):
        write_dataset_file(folder, dataset_file(FOUR, VOXEL))
        found = open_segmentation(masks)
        assert np.array_equal(found.labels, LABELS)
        assert (found.phases, found.voxel_nm) == (FOUR, VOXEL)
        (folder / "dataset.toml").unlink()


def test_masks_without_any_description(tmp_path):
    found = open_segmentation(write(tmp_path / "masks", phases=FOUR))
    assert np.array_equal(found.labels, LABELS) and found.voxel_nm is None
    assert found.phases == Phases.numbered([1, 2, 3])
    tifffile.imwrite(tmp_path / "stack.tif", LABELS, imagej=True, resolution=(50, 50),
                     metadata={"axes": "ZYX", "unit": "um", "spacing": 0.04})
    found = open_segmentation(tmp_path / "stack.tif")
    assert np.array_equal(found.labels, LABELS) and found.voxel_nm == pytest.approx(VOXEL)


def test_masks_in_colour_and_png(tmp_path):
    for index, mask in enumerate(LABELS):
        imsave(tmp_path / f"m{index}.png", NI_YSZ.palette()[mask])
    (tmp_path / "dataset.toml").write_text("".join(
        f'[[phases]]\nname = "{name}"\nrgb = "{colour}"\n'
        for name, colour in zip(NI_YSZ.names, NI_YSZ.colours, strict=True)))
    found = open_segmentation(tmp_path)
    assert np.array_equal(found.labels, LABELS) and found.phases.names == NI_YSZ.names


def test_slices_with_gaps_are_not_neighbours(tmp_path):
    assert not open_segmentation(write(tmp_path / "tenth", step=10)).neighbours
    assert not open_segmentation(write(tmp_path / "one", LABELS[:1])).neighbours


def spoilt(folder, change):
    change(record(write(folder)))
    return folder


@pytest.mark.parametrize(("change", "message"), [
    (lambda folder: tifffile.imwrite(folder / "slice_003.tif", np.zeros((40, 46), np.uint8)),
     "slice_003.tif has 40 x 46 px, but .*slice_001.tif 40 x 48"),
    (lambda folder: tifffile.imwrite(folder / "slice_002.tif", np.full((40, 48), 7, np.uint8)),
     "slice_002.tif has label values without a meaning: 7"),
    (lambda folder: (folder / RECORD).write_text("{}"), f"{RECORD} is damaged.*phases"),
    (lambda folder: (folder / RECORD).write_text("[1"), f"{RECORD} is damaged"),
    (lambda folder: record(folder, voxel_nm=[1, -1, 1]), f"{RECORD} is damaged"),
    (lambda folder: [file.unlink() for file in folder.glob("*.tif")], "holds no .tif"),
    (lambda folder: (folder / "slice_001.tif").write_text("text"), "neither TIFF nor PNG"),
])
def test_an_input_that_cannot_be_measured_is_named(tmp_path, change, message):
    with pytest.raises(DataError, match=message):
        open_segmentation(spoilt(tmp_path / "out", change))
    with pytest.raises(DataError, match="nowhere"):
        open_segmentation(tmp_path / "nowhere")


def test_pixels_without_a_label_are_refused(tmp_path):
    labels = LABELS.copy()
    labels[2, :4] = IGNORE
    folder = write(tmp_path / "masks", labels, Phases.numbered(range(3)))
    with pytest.raises(DataError, match=r"masks: 1.67 % of the pixels have no label.*network"):
        open_segmentation(folder)


def test_a_volume_larger_than_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    folder = write(tmp_path / "masks")
    needed = 6 * LABELS.size
    monkeypatch.setattr("os.sysconf", {"SC_PAGE_SIZE": 6, "SC_PHYS_PAGES": LABELS.size}.get)
    open_segmentation(folder)
    monkeypatch.setattr("os.sysconf", {"SC_PAGE_SIZE": 6, "SC_PHYS_PAGES": LABELS.size - 1}.get)
    monkeypatch.setattr("xraylib.outlook.segmentations.read_labels", None)
    with pytest.raises(DataError, match=f"{LABELS.size:,} voxels.*{needed / 1e9:.3g} GB.*crop"):
        open_segmentation(folder)


# -- from the command line -------------------------------------------------------------------------


def test_a_segmentation_is_measured_from_the_command_line(tmp_path, capsys, monkeypatch):
    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["xraylib", *arguments])
        main()

    folder = record(write(tmp_path / "segmented", phases=FOUR), FOUR)
    run("measure", str(folder), "--triple", "c,a,b", "--parts", "4")
    printed = capsys.readouterr().out
    out = tmp_path / "segmented-measured"
    with (out / "measurements.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == HEADER
    expected = measure_volume(LABELS, VOXEL, FOUR, ("c", "a", "b"), 4)
    assert rows == expected.table()
    (line,) = [row for row in rows if "triple" in row[0]]
    assert line[:2] == ["c-a-b triple-phase boundary", "1/µm²"] and line[4] == "4"
    length = triple_phase_boundary(LABELS, VOXEL, (0, 1, 2))
    assert float(line[2]) == pytest.approx(length, rel=1e-3)
    assert imread(out / "measurements.png").std() > 0
    for said in ("value 700 is d", "Voxels of 40 x 20 x 20 nm (z, y, x).",
                 "| c-a-b triple-phase boundary | 1/µm² |", str(out), "contains no d"):
        assert said in printed
    with pytest.raises(SystemExit, match="exists"):
        run("measure", str(folder))
    monkeypatch.chdir(folder)
    run("measure", ".", "--out", "../again", "--voxel-nm", "20", "--parts", "1")
    assert "1/µm" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "home") == [
        "again", "segmented", "segmented-measured"]
