"""Labelled data of other types, made into what the notebooks read."""

import sys

import numpy as np
import pytest
import tifffile
from conftest import blobs

from xraylib import __main__
from xraylib.slices import labelled


@pytest.mark.parametrize(("image", "mask", "back", "said"), [
    (lambda grey: (grey >> 8).astype(np.uint8), lambda classes: classes, lambda grey: (grey >> 8) * 257,
     "uint8 times 257."),
    (lambda grey: grey, lambda classes: classes.astype(np.uint16), lambda grey: grey,
     "uint16, grey levels as they were."),
    (lambda grey: (grey / 1000).astype(np.float32), labelled.as_values, None, "float32, 1"),
], ids=["uint8", "uint16", "float32"])
def test_a_converted_set_is_read_and_says_what_was_done(tmp_path, monkeypatch, capsys, image, mask, back, said):
    slices = blobs(12, 20, 24)
    for number, grey, classes in zip(slices.numbers, slices.images, slices.labels, strict=True):
        for kind, array in (("data", image(grey)), ("labels", mask(classes))):
            (tmp_path / "old" / kind).mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(tmp_path / "old" / kind / f"s{number}.tif", array)
    monkeypatch.setattr(sys, "argv", ["xraylib", "data", "convert", str(tmp_path / "old"), str(tmp_path / "new")])
    __main__.main()
    told = capsys.readouterr().out
    assert told.startswith(f"12 slices: {said}") and str(tmp_path / "new") in told
    found = labelled.load(tmp_path / "new")
    assert np.array_equal(found.labels, slices.labels) and found.numbers.tolist() == slices.numbers.tolist()
    grey, before = np.stack(found.images), np.stack(slices.images)
    if back:
        assert np.array_equal(grey, back(before))
    else:
        low, high = before.min(), before.max()
        assert (grey.min(), grey.max()) == (0, 65535)
        assert np.abs(grey - (before - low) * (65535 / (high - low))).max() < 1
