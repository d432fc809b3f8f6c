"""Makes a labelled data set of other types into one that `data.load_slices` reads."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from .data import NI_YSZ, check_not_constant, pair_files, values_from_classes
from .errors import DataError
from .files import atomic_folder, expand_user
from .tiff import Page, check_size, open_slice, write_slices


def convert_dataset(source: str | Path, target: str | Path) -> str:
    """Write a data set as uint16 images and uint8 labels.

    Args:
        source: A folder with data/ and labels/. Images are uint16 (kept), uint8 (times 257) or
            float32 (the range of all images becomes 0..65535). Labels hold the values of the
            phases (kept) or class indices.
        target: A new folder.

    Returns:
        What was done, for the reader.

    Raises:
        DataError: Files are unpaired, damaged, of several sizes or types, or hold other labels.
    """
    source, target = expand_user(source), expand_user(target)
    if target.exists():
        raise DataError(f"{target} exists. Name a new folder for the converted slices.")
    images, masks = ({number: open_slice(path) for number, path in paths.items()}
                     for paths in pair_files(source))
    pages = [page for number in images for page in (images[number], masks[number])]
    for page in pages:
        check_size(page.file, page.shape, pages[0].shape)
    change, sentence = _conversion(list(images.values()))
    with atomic_folder(target) as part:
        for number, page in images.items():
            image = change(page.whole())
            check_not_constant(page.file, image)
            write_slices([image], [number], part / "data")
            write_slices([_label_values(masks[number])], [number], part / "labels")
    return f"{len(images)} slices: {sentence}"


def _conversion(pages: list[Page]) -> tuple[Callable[[np.ndarray], np.ndarray], str]:
    """What turns these images into uint16 (H, W), and the sentence that says it."""
    folder, kinds = pages[0].file.parent, sorted({page.dtype.name for page in pages})
    if len(kinds) > 1:
        raise DataError(f"{folder} holds {' and '.join(kinds)}. All images must have one type.")
    if kinds == ["uint16"]:
        return lambda image: image, "uint16, grey levels unchanged."
    if kinds == ["uint8"]:
        return lambda image: image * np.uint16(257), "uint8 times 257."
    ends = np.array([(image.min(), image.max()) for image in map(Page.whole, pages)], np.float64)
    low, high = ends[:, 0].min(), ends[:, 1].max()
    if not (np.isfinite(ends).all() and low < high):
        raise DataError(f"{folder} holds numbers from {low:g} to {high:g}, which are not finite or "
                        "are all the same. Repair them first.")
    return (lambda image: np.rint((image - low) * (65535 / (high - low))).astype(np.uint16),
            f"float32, {low:g} became 0 and {high:g} became 65535.")


def _label_values(page: Page) -> np.ndarray:
    """Label values, uint8 (H, W), of a slice that holds them or class indices."""
    mask = page.whole()
    found, values = set(np.unique(mask).tolist()), NI_YSZ.values
    if found <= set(values):
        return mask.astype(np.uint8)
    if found <= set(range(len(values))):
        return values_from_classes(mask.astype(np.uint8), NI_YSZ)
    raise DataError(f"{page.file} holds {len(found)} values from {min(found):g} to {max(found):g}. "
                    f"Labels must be {', '.join(map(str, range(len(values))))} or "
                    f"{', '.join(map(str, values))}.")
