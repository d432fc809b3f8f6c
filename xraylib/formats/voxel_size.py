"""The size of a voxel, or the resolution, that an image file states."""

import re
import unicodedata
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile

from .tiff import Page

# Nanometres per unit. Microscopes spell units in many ways, which `_nm` makes the same.
NM = {"pm": 1e-3, "å": 0.1, "angstrom": 0.1, "nm": 1.0, "nanometer": 1.0, "um": 1e3, "μm": 1e3,
      "micron": 1e3, "micrometer": 1e3, "mm": 1e6, "millimeter": 1e6, "cm": 1e7, "m": 1e9}
DPI = (2.54, 72, 96, 100, 150, 200, 300, 600)  # of screens and printers; 2.54 is 1 per cm


def voxel_nm_of(path: Path) -> tuple[float, float, float] | None:
    """Return the size of a voxel along z, y, x in nm that a file states, otherwise None.

    The size comes from OME or ImageJ metadata, or else from a TIFF's resolution per cm. Dots per
    inch are for printers and ignored. If z is not given, the size along z is that along x.
    """
    try:
        with tifffile.TiffFile(path) as tif:
            z, y, x = _sizes(tif)
    except (PermissionError, FileNotFoundError):
        raise
    except Exception:  # the description of an image can hold anything, and need not hold a size
        return None
    sizes = z or x, y or x, x
    return sizes if all(0 < size < np.inf for size in sizes) else None


def describe_voxel(voxel_nm: tuple[float, float, float]) -> str:
    """Say how large a voxel is along z, y, x, in nm."""
    return "voxels of {:g} x {:g} x {:g} nm (z, y, x)".format(*voxel_nm)


def resolution_tags(page: Page) -> dict:
    """Return the resolution tags of a slice for `tifffile.imwrite`, {} if it has no valid ones."""
    try:
        with tifffile.TiffFile(page.file) as tif:
            found: Any = tif.pages[page.index]
            tags = found.tags
            pairs = tags["XResolution"].value, tags["YResolution"].value
            unit = tifffile.RESUNIT(tags["ResolutionUnit"].value if "ResolutionUnit" in tags else 2)
            valid = all(Fraction(over, under) > 0 for over, under in pairs)
    except (KeyError, TypeError, ValueError, ZeroDivisionError, tifffile.TiffFileError):
        return {}  # also for a PNG
    return {"resolution": pairs, "resolutionunit": unit} if valid else {}


def _sizes(tif: tifffile.TiffFile) -> tuple[float, float, float]:
    """Return the voxel size along z, y, x in nm, 0 for unknown z and y; any error means no size."""
    tags: Any = tif.pages.first.tags
    if tif.is_ome:
        pixels = ElementTree.fromstring(str(tif.ome_metadata)).find(".//{*}Pixels")
        if pixels is not None and "PhysicalSizeX" in pixels.attrib:
            x, y, z = (float(pixels.get(f"PhysicalSize{axis}", 0))
                       * _nm(pixels.get(f"PhysicalSize{axis}Unit", "um")) for axis in "XYZ")
            return z, y, x
    x = tags["XResolution"].value[0] / tags["XResolution"].value[1]
    tag = tags.get("YResolution", tags["XResolution"])
    y = tag.value[0] / tag.value[1]
    told = tif.imagej_metadata or {}
    if "unit" in told:
        zyx = [_nm(told.get(name, told["unit"])) for name in ("zunit", "yunit", "unit")]
        return abs(float(told.get("spacing", 0))) * zyx[0], zyx[1] / y, zyx[2] / x
    if tags["ResolutionUnit"].value != 3 or any(abs(x * 2.54 / dpi - 1) < 1e-3 for dpi in DPI):
        raise ValueError("neither the unit cm nor a voxel")
    return 0, 1e7 / y, 1e7 / x


def _nm(unit: object) -> float:
    """Return the nanometres of a unit, however it is spelled; ImageJ writes µ as \\u00B5."""
    text = re.sub(r"\\u([0-9A-Fa-f]{4})", lambda code: chr(int(code[1], 16)), str(unit))
    text = unicodedata.normalize("NFKC", text).lower().replace("metre", "meter")
    return NM[text.removesuffix("s")]
