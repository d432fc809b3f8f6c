"""Makes a labelled data set of other types into one that `data.load_slices` reads."""

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
    Returns: What was done, for the reader.
    Raises: DataError: Files are unpaired, damaged, of several sizes or types, or hold other labels.
    """
    source, target = expand_user(source), expand_user(target)
    if target.exists():
        raise DataError(f"{target} exists. Name a new folder for the converted slices.")
    pairs = {number: (open_slice(image), open_slice(mask))
             for number, (image, mask) in pair_files(source).items()}
    images = [image for image, _ in pairs.values()]
    for pair in pairs.values():
        for page in pair:
            check_size(page.file, page.shape, images[0].shape)
    low, factor, sentence = _conversion(images)
    with atomic_folder(target) as part:
        for number, (page, mask) in pairs.items():
            image = np.rint((page.whole() - low) * factor).astype(np.uint16)
            check_not_constant(page.file, image)
            write_slices([image], [number], part / "data")
            write_slices([_label_values(mask)], [number], part / "labels")
    return f"{len(images)} slices: {sentence}"


def _conversion(pages: list[Page]) -> tuple[float, float, str]:
    """The grey level that becomes 0, the factor of the others, and a sentence that says so."""
    folder, kinds = pages[0].file.parent, sorted({page.dtype.name for page in pages})
    if len(kinds) > 1:
        raise DataError(f"{folder} holds {' and '.join(kinds)}. All images must have one type.")
    if kinds == ["uint16"]:
        return 0.0, 1.0, "uint16, grey levels unchanged."
    if kinds == ["uint8"]:
        return 0.0, 257.0, "uint8 times 257."
    ends = np.array([(image.min(), image.max()) for image in map(Page.whole, pages)], np.float64)
    low, high = ends[:, 0].min(), ends[:, 1].max()
    if not (np.isfinite(ends).all() and low < high):
        raise DataError(f"{folder} holds numbers from {low:g} to {high:g}, which are not finite or "
                        "are all the same. Repair them first.")
    return low, 65535 / (high - low), f"float32, {low:g} became 0 and {high:g} became 65535."


def _label_values(page: Page) -> np.ndarray:
    """Label values, uint8 (H, W), of a slice that holds them or class indices."""
    mask, values = page.whole(), NI_YSZ.values
    found = set(np.unique(mask).tolist())
    if found <= set(values):
        return mask.astype(np.uint8)
    if found <= set(range(len(values))):
        return values_from_classes(mask.astype(np.uint8), NI_YSZ)
    raise DataError(f"{page.file} holds {len(found)} values from {min(found):g} to {max(found):g}. "
                    f"Labels must be {', '.join(map(str, range(len(values))))} or "
                    f"{', '.join(map(str, values))}.")
