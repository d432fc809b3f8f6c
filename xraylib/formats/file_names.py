"""Which files of a folder are slices, and the numbers in their names."""

import re
from collections.abc import Iterable
from pathlib import Path

from ..errors import DataError

TIFF_SUFFIXES, SUFFIXES = (".tif", ".tiff"), (".tif", ".tiff", ".png")
# What programs append to a slice's name: the kind of the image, its channel, or its format.
KIND = re.compile(r"([-_ ](masks?|labels?|seg|(simple )?segmentation|ch\d+)|\.ome)+$", re.I)


def image_files(folder: Path, suffixes: tuple[str, ...] = SUFFIXES) -> list[Path]:
    """List the files of a folder with these suffixes by name, without hidden ones (._a.tif)."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder. data_dir must name a folder that holds data/ "
                        "(images) and labels/ (masks).")
    return sorted(path for path in folder.iterdir()
                  if path.suffix.lower() in suffixes and not path.name.startswith("."))


def stem_without_suffix(path: Path) -> str:
    """Return a file's name without its suffix, and without endings such as _mask and .ome."""
    return KIND.sub("", path.stem)


def slice_number(path: Path) -> int | None:
    """Return the last number in `stem_without_suffix`: 17 for scan2_017_mask.tif."""
    numbers = re.findall("[0-9]+", stem_without_suffix(path))
    return int(numbers[-1]) if numbers else None


def number_files(paths: Iterable[Path]) -> dict[int, Path]:
    """Return files by `slice_number`, ascending; `DataError` if a number is missing or repeated."""
    numbered: dict[int, Path] = {}
    copies: dict[bool, Path] = {}  # first file whose name ends like a copy's (True) or not
    for path in paths:
        number = slice_number(path)
        if number is None or number >= 2**63:
            raise DataError(f"{path}: rename the file. Its name must hold the slice's number "
                            "(below 2^63), as in slice_017.tif.")
        other = numbered.setdefault(number, path)
        if other is not path:
            raise DataError(f"{path.parent}: the last number in the names of {other.name} and "
                            f"{path.name} is {number}. Keep one of them, or rename them.")
        copies.setdefault(bool(re.search(r"\([0-9]+\)$", path.stem)), path)
    if len(copies) == 2:
        raise DataError(f"{copies[True]} has the name of a copy, unlike {copies[False].name}. "
                        "Remove the file, or rename it.")
    return dict(sorted(numbered.items()))


def list_tiffs(folder: Path) -> dict[int, Path]:
    """List the TIFF files of a folder by the last number in each name (17 in slice__017.tif)."""
    files = image_files(folder, TIFF_SUFFIXES)
    if len(files) == 1 and slice_number(files[0]) is None:  # one stack needs no number
        return {0: files[0]}
    numbered = number_files(files)
    if not numbered:
        raise DataError(f"{folder} holds no .tif or .tiff file. Put one TIFF per slice there.")
    return numbered
