"""What `data inspect` says of a folder, what it finds odd, and what it writes."""

from dataclasses import replace

import numpy as np
import pytest
import tifffile
from conftest import blobs

from xraylib.__main__ import make_parser
from xraylib.data import save_slices
from xraylib.errors import DataError, ParameterError
from xraylib.losses import IGNORE
from xraylib.outlook import commands, inspect_data
from xraylib.outlook.inspect_data import inspect_folder, oddities


def call(*words):
    arguments = make_parser().parse_args([*map(str, words)])
    arguments.call(arguments)


def test_an_inspection_reports_what_is_odd_and_keeps_an_edited_file(tmp_path):
    slices = blobs(12, 48, 40)
    save_slices(slices, tmp_path / "set")
    (tmp_path / "set" / "dataset.toml").unlink()
    first = inspect_folder(tmp_path / "set")
    assert "data/: 12 files with 12 images, labels/: 12 files with 12 labels. 12 slices are " \
        "labelled." in str(first)
    assert "48 x 40 px. Grey levels are uint16. All but 0.2 % of them lie between 19," in str(first)
    assert "slice_0001.tif is paired with" in str(first) and "value 128 -> phase 1" in str(first)
    assert "The labelled slices are neighbours." in str(first) and "Odd" not in str(first)
    text = (tmp_path / "set" / "dataset.toml").read_text()
    edited = text.replace("phase 1", "YSZ")
    (tmp_path / "set" / "dataset.toml").write_text(edited)
    again = inspect_folder(tmp_path / "set")
    assert "is kept" in str(again) and "YSZ" in str(again)
    inspect_folder(tmp_path / "set", voxel_nm=(40.0, 20.0, 20.0))
    assert "voxel_nm = [40.0, 20.0, 20.0]" in (tmp_path / "set" / "dataset.toml").read_text()
    assert "YSZ" in (tmp_path / "set" / "dataset.toml").read_text()


@pytest.mark.parametrize(("spoil", "words"), [
    (lambda s: replace(s, labels=[np.where(label == 2, 0, label) for label in s.labels[:-1]]
                       + [s.labels[-1]]), "of the labelled pixels are nickel"),
    (lambda s: replace(s, images=[np.where(label == 1, image, 30_000 + image % 700)
                                  for image, label in zip(s.images, s.labels, strict=True)]),
     "nearly the same grey level"),
    (lambda s: replace(s, images=[np.minimum(image, 41_000) for image in s.images]),
     "saturated"),
    (lambda s: replace(s, images=[np.pad(image[9:], ((9, 0), (0, 0))) for image in s.images]),
     "border of a single grey level"),
])
def test_oddities(spoil, words):
    slices = blobs(40, 48, 40)
    assert not [line for line in oddities(slices) if words in line]
    spoilt = replace(spoil(slices), images=[i.astype(np.uint16) for i in spoil(slices).images],
                     labels=[np.asarray(each, np.uint8) for each in spoil(slices).labels])
    assert [line for line in oddities(spoilt) if words in line]


def test_images_without_labels_can_only_be_segmented(tmp_path):
    save_slices(blobs(3, 48, 40), tmp_path / "set")
    for file in (tmp_path / "set" / "labels").iterdir():
        file.unlink()
    (tmp_path / "set" / "labels").rmdir()
    inspection = inspect_folder(tmp_path / "set", voxel_nm=(5.0, 4.0, 3.0))
    assert "data/: 3 files with 3 images, without labels." in str(inspection)
    assert "Voxels of 5 x 4 x 3 nm" in str(inspection) and inspection.figure() is None
    assert f"python -m xraylib predict NETWORK {tmp_path / 'set' / 'data'} OUT" in str(inspection)
    assert inspection.slices is None and inspection.images == tmp_path / "set" / "data"


def test_single_ome_files_are_segmented_as_a_folder(tmp_path):
    save_slices(blobs(3, 48, 40), tmp_path / "set")
    for file in [*(tmp_path / "set").rglob("*.tif")]:
        file.rename(file.with_suffix(".ome.tif"))
    inspection = inspect_folder(tmp_path / "set")
    assert inspection.images == tmp_path / "set" / "data" and ", page" not in str(inspection)


def test_hot_pixels_are_reported_with_their_file(tmp_path):
    (tmp_path / "set/images").mkdir(parents=True)
    for number in range(3):
        image = np.random.default_rng(number).normal(0, 1, (40, 40)).astype(np.float32)
        if number == 2:
            image[3, 5:8] = 1e6, np.nan, -1e6
        tifffile.imwrite(tmp_path / f"set/images/a_{number}.tif", image)
    said = str(inspect_folder(tmp_path / "set"))
    assert f"Odd: 3 pixels of {tmp_path / 'set/images/a_2.tif'} are far brighter or" in said
    assert said.count("Odd") == 1


def test_slices_of_different_size_and_zeros_that_may_mean_no_label_are_odd():
    slices = blobs(2, 48, 40)
    uneven = replace(slices, images=[slices.images[0], slices.images[1][:40]],
                     labels=[slices.labels[0], slices.labels[1][:40]])
    assert any("differ in size" in line for line in oddities(uneven))
    zeros = replace(slices, labels=[np.where(np.indices(label.shape)[0] < 30, 0, label)
                                    for label in slices.labels])
    assert any("--labels 0=ignore,128=NAME" in line for line in oddities(zeros))
    assert not any("--labels" in line for line in oddities(slices))


def test_what_labels_mean_is_written_into_dataset_toml_and_drawn(tmp_path, capsys):
    slices = blobs(4, 48, 40)
    save_slices(slices, tmp_path / "set")
    call("data", "inspect", tmp_path / "set", "--labels", "0=ignore,128=stone,255=metal",
         "--voxel-nm", "20,10,10")
    said = capsys.readouterr().out
    assert "value 128 -> stone" in said and "of the pixels have no label" in said
    assert "Voxels of 20 x 10 x 10 nm (z, y, x)." in said
    inspection = inspect_folder(tmp_path / "set")
    assert inspection.slices.phases.names == ("stone", "metal")
    assert (inspection.slices.labels[0] == IGNORE).any()
    assert "dataset.toml is kept" in str(inspection)
    _, right = inspection.figure().axes
    assert "pale grey: no label" in right.get_title()
    with pytest.raises(ParameterError, match="--labels 0: '0' is not VALUE=NAME"):
        inspect_folder(tmp_path / "set", "0")
    with pytest.raises(DataError, match="has label values other than|label value"):
        inspect_folder(tmp_path / "set", "0=ignore,1=stone,2=metal")
    assert inspect_folder(tmp_path / "set").slices.phases.names == ("stone", "metal")


def test_a_folder_without_write_permission_is_inspected(tmp_path, capsys, monkeypatch):
    save_slices(blobs(4, 48, 40), tmp_path / "set")
    (tmp_path / "set/dataset.toml").unlink()

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(inspect_data, "write_dataset_file", refuse)
    monkeypatch.setattr(commands, "atomic_file", refuse)
    call("data", "inspect", tmp_path / "set")
    said = capsys.readouterr().out
    assert "4 slices are labelled" in said
    assert "dataset.toml could not be written (Permission denied)." in said
    assert "inspection.png could not be written (Permission denied)." in said
