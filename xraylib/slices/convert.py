"""A labelled data set of other types, made into one that `labelled.load` reads."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..files import expanded, whole_folder
from .labelled import LABEL_VALUES, as_values, paired
from .tiff import DataError, Page, page_of, write


def convert(source: str | Path, target: str | Path) -> str:
    """Write the data set of a folder (layout: see labelled.py) into a new one, as uint16 images and uint8 labels.

    Images: uint16 are left alone, uint8 taken times 257 (255 becomes 65535), float32 brought from the least and the
    greatest number of all images to 0..65535. Labels 0, 1, 2 become 0, 128, 255; those are left alone. Returns the
    sentence that says so. Raises `DataError` where files are unpaired, damaged, or hold anything else.
    """
    source, target = expanded(source), expanded(target)
    if target.exists():
        raise DataError(f"{target} is there already; name a new folder for the converted slices.")
    images, masks = ({number: page_of(path) for number, path in paths.items()} for paths in paired(source))
    change, sentence = _change_of(list(images.values()))
    with whole_folder(target) as part:
        for number, page in images.items():
            write([change(page.whole())], [number], part / "data")
            write([label_of(masks[number])], [number], part / "labels")
    return f"{len(images)} slices: {sentence}"


def _change_of(pages: list[Page]) -> tuple[Callable[[np.ndarray], np.ndarray], str]:
    """What makes uint16 (H, W) of each of these images, and the sentence that says it."""
    kinds = sorted({page.dtype.name for page in pages})
    if len(kinds) > 1:
        raise DataError(f"{pages[0].file.parent} holds {' and '.join(kinds)}; all images must be of the same type.")
    if kinds == ["uint16"]:
        return lambda image: image, "uint16, grey levels as they were."
    if kinds == ["uint8"]:
        return lambda image: image * np.uint16(257), "uint8 times 257."
    ends = np.array([(image.min(), image.max()) for image in map(Page.whole, pages)], np.float64)
    low, high = ends[:, 0].min(), ends[:, 1].max()
    if not (np.isfinite(ends).all() and low < high):
        raise DataError(f"{pages[0].file.parent} holds numbers from {low:g} to {high:g}, which are not finite or are "
                        "all the same; mend them first.")
    return (lambda image: np.rint((image - low) * (65535 / (high - low))).astype(np.uint16),
            f"float32, {low:g} became 0 and {high:g} 65535.")


def label_of(page: Page) -> np.ndarray:
    """The values of a label file, uint8 (H, W), of a slice that holds them or class indices. Raises `DataError`."""
    mask = page.whole()
    found = set(np.unique(mask).tolist())
    if found <= set(LABEL_VALUES):
        return mask.astype(np.uint8)
    if found <= set(range(len(LABEL_VALUES))):
        return as_values(mask.astype(np.uint8))
    raise DataError(f"{page.file} holds {len(found)} values from {min(found):g} to {max(found):g}; labels must be "
                    f"0, 1, 2 or {', '.join(map(str, LABEL_VALUES))}.")
