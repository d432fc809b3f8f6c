"""The size of a voxel is read where a file states one, and never made up."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from xraylib.formats.tiff import open_slice
from xraylib.formats.voxel_size import resolution_tags, voxel_nm_of

STACK = np.random.default_rng(0).integers(0, 255, (2, 20, 24)).astype(np.uint8)


def imagej(unit, side=1.0, **metadata):
    return {"imagej": True, "resolution": (1 / side, 1 / side),
            "metadata": {"axes": "ZYX", "unit": unit} | metadata}


def ome(**metadata):
    return {"ome": True, "metadata": {"axes": "ZYX"} | metadata}


@pytest.mark.parametrize(("options", "expected"), [
    (imagej("um", 0.0184, spacing=0.05), (50, 18.4, 18.4)),
    ({"imagej": True, "resolution": (1 / 0.0184, 1 / 0.02), "metadata": {
        "axes": "ZYX", "unit": "micron"}}, (18.4, 20, 18.4)),
    *[(imagej(unit, 3.0, spacing=5.0), (5 * nm, 3 * nm, 3 * nm)) for unit, nm in (
        ("pm", 1e-3), ("\\u00C5", 0.1), ("angstrom", 0.1), ("nm", 1), ("nanometers", 1),
        ("\\u00B5m", 1e3), ("um", 1e3), ("micrometre", 1e3), ("microns", 1e3), ("mm", 1e6),
        ("cm", 1e7))],
    (imagej("um", 3.0, spacing=5.0, zunit="nm"), (5, 3000, 3000)),
    (imagej("um", 3.0, spacing=-5.0), (5000, 3000, 3000)),
    (imagej("um", 3.0, spacing=0.0), (3000, 3000, 3000)),
    *[(imagej(unit, 3.0), None) for unit in ("pixel", "inch", "furlong", "")],
    (ome(PhysicalSizeX=0.0184, PhysicalSizeY=0.02, PhysicalSizeZ=0.05), (50, 20, 18.4)),
    (ome(PhysicalSizeX=18.4, PhysicalSizeXUnit="nm"), (18.4, 18.4, 18.4)),
    (ome(PhysicalSizeX=2.0, PhysicalSizeXUnit="Å", PhysicalSizeZ=3.0, PhysicalSizeZUnit="nm"),
     (3, 0.2, 0.2)),
    (ome(PhysicalSizeX=2.0, PhysicalSizeXUnit="pixel"), None), (ome(), None),
    ({"resolution": ((12_500_000, 23), (500_000, 1)), "resolutionunit": "CENTIMETER"},
     (18.4, 20, 18.4)),
    *[({"resolution": (x, x), "resolutionunit": "CENTIMETER"}, None)
      for x in (28.346, 28.35, 37.795, 118.11, 236.22, 1)],
    *[({"resolution": (x, x), "resolutionunit": "INCH"}, None) for x in (72, 25400)],
    ({"resolution": (543478.26, 543478.26), "resolutionunit": "NONE"}, None), ({}, None),
])
def test_a_stated_size_is_read_in_nanometres(tmp_path, options, expected):
    tifffile.imwrite(tmp_path / "s.tif", STACK, photometric="minisblack", **options)
    found = voxel_nm_of(tmp_path / "s.tif")
    assert found == (None if expected is None else pytest.approx(expected, rel=1e-5))


def test_a_png_gives_no_voxel_size(tmp_path):
    Image.fromarray(STACK[0]).save(tmp_path / "s.png", dpi=(72, 72))
    assert voxel_nm_of(tmp_path / "s.png") is None
    assert resolution_tags(open_slice(tmp_path / "s.png")) == {}


def test_resolution_is_kept_if_it_means_something(tmp_path):
    path = tmp_path / "slice_1.tif"
    tifffile.imwrite(path, STACK[0], resolution=(1000, 500), resolutionunit="CENTIMETER")
    tags = resolution_tags(open_slice(path))
    assert tags == {"resolution": ((1000, 1), (500, 1)), "resolutionunit": 3}
    tifffile.imwrite(path, STACK[0], resolution=(0, 0))
    assert resolution_tags(open_slice(path)) == {} and voxel_nm_of(path) is None
