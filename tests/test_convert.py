"""Labelled data of other types become what the notebooks read."""

import numpy as np
import pytest
import tifffile
from conftest import blobs

from xraylib.convert import convert_dataset
from xraylib.data import NI_YSZ, load_slices, values_from_classes
from xraylib.errors import DataError


def write(folder, slices, image=lambda grey: grey, mask=lambda classes: classes):
    """A data set of the images and masks that these functions make."""
    for number, grey, classes in zip(slices.numbers, slices.images, slices.labels, strict=True):
        for kind, array in (("data", image(grey)), ("labels", mask(classes))):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(folder / kind / f"s{number}.tif", array)


@pytest.mark.parametrize(("image", "mask", "expected", "sentence"), [
    (lambda grey: (grey >> 8).astype(np.uint8), lambda classes: classes,
     lambda grey: (grey >> 8) * 257, "uint8 times 257."),
    (lambda grey: grey, lambda classes: classes.astype(np.uint16), lambda grey: grey,
     "uint16, grey levels unchanged."),
    (lambda grey: (grey / 1000).astype(np.float32),
     lambda classes: values_from_classes(classes, NI_YSZ), None, "float32, 1"),
], ids=["uint8", "uint16", "float32"])
def test_a_converted_set_is_read_and_says_what_was_done(tmp_path, image, mask, expected, sentence):
    slices = blobs(12, 20, 24)
    write(tmp_path / "old", slices, image, mask)
    said = convert_dataset(tmp_path / "old", str(tmp_path / "new"))
    assert said.startswith(f"12 slices: {sentence}")
    found = load_slices(tmp_path / "new")
    assert np.array_equal(found.labels, slices.labels)
    assert found.numbers.tolist() == slices.numbers.tolist()
    grey, before = np.stack(found.images), np.stack(slices.images)
    if expected:
        assert np.array_equal(grey, expected(before))
    else:
        low, high = before.min(), before.max()
        assert (grey.min(), grey.max()) == (0, 65535)
        assert np.abs(grey - (before - low) * (65535 / (high - low))).max() < 1


@pytest.mark.parametrize(("image", "mask", "message"), [
    (None, lambda classes: classes[:, 1:], r"s1.tif is \(20, 23\) px, the first slice \(20, 24\)"),
    (lambda grey: np.full_like(grey, 7), None, "s1.tif holds one grey level only, 7"),
], ids=["labels of another size", "an image of one grey level"])
def test_what_load_slices_refuses_is_refused_in_the_same_words(tmp_path, image, mask, message):
    same = lambda array: array  # noqa: E731
    write(tmp_path / "old", blobs(12, 20, 24), image or same, mask or same)
    with pytest.raises(DataError, match=message) as converted:
        convert_dataset(tmp_path / "old", tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    to_values = lambda classes: values_from_classes((mask or same)(classes), NI_YSZ)  # noqa: E731
    write(tmp_path / "old", blobs(12, 20, 24), image or same, to_values)
    with pytest.raises(DataError) as loaded:
        load_slices(tmp_path / "old")
    assert str(loaded.value) == str(converted.value)


def test_an_existing_folder_stays_as_it_was(tmp_path):
    write(tmp_path / "old", blobs(2, 20, 24))
    with pytest.raises(DataError, match="old exists. Name a new folder"):
        convert_dataset(tmp_path / "old", tmp_path / "old")
