"""What a prediction writes: TIFFs with the right scale for Fiji, previews, and slices to correct.

Every file carries its provenance, a tag in its Software entry: a hash of what it was made from.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.image
import numpy as np
import tifffile

from ..data import Phases, Voxel, dataset_file
from ..errors import DataError, ParameterError, printable
from ..files import atomic_file, atomic_folder, expand_user, read_regular, real_path
from ..unet import UNet
from .layouts import write_dataset_file
from .tiff import Page, open_slice, open_volume
from .voxel_size import describe_voxel, resolution_tags

RECORD = "prediction.json"  # in the output folder: what its files were made from
STACK = "segmentation.tif"  # in the output folder: all slices in one file
# What can be written of each slice, and in which folder of the output folder.
FOLDERS = {"labels": "", "probabilities": "probabilities", "uncertainty": "uncertainty"}
STACK_LIMIT = 4_000_000_000  # bytes of pixels; a larger stack is an OME-BigTIFF
PNG_END = b"IEND\xaeB`\x82"


def make_tag(made_of: object) -> str:
    """Return a tag with a hash of the representation of an object."""
    digest = hashlib.blake2b(repr(made_of).encode(), digest_size=8)
    return f"segmented by xraylib, {digest.hexdigest()}"


def provenance_tags(pages: Sequence[Page], model: UNet, made_by: tuple) -> list[str]:
    """Return a tag for each segmented slice: a hash of `made_by` and the slices that it depends on.
    Args:
        pages, model, made_by: The slices; the network; all else that the segmentation depends on.
    """
    contents = {}
    for path in {page.file for page in pages}:
        with path.open("rb") as file:
            contents[path] = hashlib.file_digest(file, "blake2b").hexdigest()
    made_of = [(contents[page.file], page.index) for page in pages]
    return [make_tag((made_by, [made_of[i] for i in model.slices_needed(
        range(index, index + 1), len(pages))])) for index in range(len(pages))]


def _pixel_digest(images: Iterable[np.ndarray]) -> str:
    """Return a hash of the pixels of several images."""
    digest = hashlib.blake2b(digest_size=8)
    for image in images:
        digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def has_provenance(path: Path, tag: str) -> bool:
    """Say whether a TIFF has this tag and unchanged pixels, or a complete PNG has this tag."""
    try:
        if path.suffix == ".png":
            content = read_regular(path)
            return tag.encode() in content and content.endswith(PNG_END)
        with tifffile.TiffFile(path if path.is_file() else "") as tif:
            pixels: Iterator[Any] = (page.asarray() for page in tif.pages)
            return tif.pages.first.software == f"{tag}, {_pixel_digest(pixels)}"
    except Exception:  # a foreign or damaged file can fail anywhere in the reader
        return False


class Output(NamedTuple):
    """The files of one segmented slice."""

    files: dict[str, Path]  # by kind, see `FOLDERS`
    tag: str  # their provenance
    preview: Path | None

    def lacks_preview(self) -> bool:
        """Say whether a preview is wanted but missing, damaged or from another network."""
        return bool(self.preview and not has_provenance(self.preview, self.tag))

    def missing(self) -> list[str]:
        """List the kinds of files that are missing."""
        return [kind for kind, path in self.files.items() if not path.exists()]


def write_image(path: Path, array: np.ndarray, axes: str, voxel_nm: Voxel | None, tag: str,
                like: Page) -> None:
    """Write one image, complete or not at all, in ImageJ's format if ImageJ knows its dtype.
    Args:
        path, array: The file; pixels of any dtype, (H, W) or (C, H, W).
        axes, voxel_nm, tag: "YX" or "CYX"; size of a voxel in nm, z, y, x; the provenance.
        like: A slice whose resolution is kept if `voxel_nm` is unknown.
    """
    scale = scale_tags(voxel_nm, axes) if array.dtype.name in ("uint8", "uint16", "float32") else {
        "photometric": "minisblack", "metadata": {"axes": axes}} | (
        {} if voxel_nm is None else {"resolutionunit": "CENTIMETER", "resolution": (
            1e7 / voxel_nm[2], 1e7 / voxel_nm[1])})
    if voxel_nm is None:
        scale |= resolution_tags(like)
    path.parent.mkdir(exist_ok=True)
    with atomic_file(path) as file:
        tifffile.imwrite(file, array, software=tag and f"{tag}, {_pixel_digest([array])}", **scale)


def scale_tags(voxel_nm: Voxel | None, axes: str) -> dict[str, Any]:
    """Return the arguments of `tifffile.imwrite` that tell ImageJ axes and the size of a voxel."""
    if voxel_nm is None:
        return {"imagej": True, "metadata": {"axes": axes}}
    z, y, x = (side / 1000 for side in voxel_nm)
    return {"imagej": True, "resolution": (1 / x, 1 / y),
            "metadata": {"axes": axes, "unit": "um", "spacing": z}}


def write_stack(path: Path, slices: Sequence[Path], voxel_nm: Voxel | None, tag: str) -> None:
    """Write the segmented slices, (H, W) each, into one file with the axes ZYX.
    Args:
        path, slices: The new file; the files of the slices, in order and of one size.
        voxel_nm, tag: As for `write_image`.
    """
    first = tifffile.memmap(slices[0], mode="r")
    options = scale_tags(voxel_nm, "ZYX") | (
        resolution_tags(open_slice(slices[0])) if voxel_nm is None else {})
    if first.nbytes * len(slices) > STACK_LIMIT:
        sizes = {f"PhysicalSize{axis}": side for axis, side in zip("ZYX", voxel_nm or (),
                                                                   strict=False)}
        units = {f"{name}Unit": "nm" for name in sizes}
        options = {"ome": True, "bigtiff": True, "photometric": "minisblack",
                   "metadata": {"axes": "ZYX"} | sizes | units}
    pixels, hashed = ((tifffile.memmap(file, mode="r") for file in slices) for _ in range(2))
    with atomic_file(path) as file:
        tifffile.imwrite(file, pixels, shape=(len(slices), *first.shape), dtype=first.dtype,
                         software=f"{tag}, {_pixel_digest(hashed)}", **options)


def write_preview(page: Page, out: Output, phases: Phases) -> None:
    """Write a PNG of at most about 1,000 px per side: the slice, and the slice tinted by phase.
    Args:
        page, out, phases: The slice; its files, with its labels; what the label values mean.
    """
    step = max(1, max(page.shape) // 1000)
    grey = page.sparse(step).astype(np.float64)
    finite = grey[np.isfinite(grey)]
    low, high = np.percentile(finite, [0.5, 99.5]) if finite.size else (0, 1)
    span = high - low if high > low else 1
    scaled = np.nan_to_num((grey.clip(low, high) - low) / span)[..., None] * 255
    colours = np.zeros((max(phases.values) + 1, 3), np.uint8)
    colours[list(phases.values)] = phases.palette()
    tint = colours[tifffile.memmap(out.files["labels"], mode="r")[::step, ::step]]
    both = np.concatenate([scaled.repeat(3, -1), 0.55 * scaled + 0.45 * tint], 1)
    assert out.preview
    out.preview.parent.mkdir(exist_ok=True)
    with atomic_file(out.preview) as file:
        matplotlib.image.imsave(file, both.astype(np.uint8), format="png",
                                metadata={"Description": out.tag})


def summary(weights: Path, pages: Sequence[Page], model: UNet, voxel_nm: Voxel | None) -> str:
    """Say in two lines what is segmented, by which network, and into what.
    Args:
        weights, pages, model, voxel_nm: The network's file; the slices; the network; voxel size.
    """
    size = describe_voxel(voxel_nm) if voxel_nm else "voxel size unknown: give --voxel-nm"
    place = min(str(weights), os.path.relpath(weights), key=len)
    phases = ", ".join(f"{name} = {value}" for name, value in
                       zip(model.phases.names, model.phases.values, strict=True))
    return (f"Network: {printable(place)}, {type(model).__name__}; label values: {phases}\n"
            f"{len(pages)} slices of {pages[0].shape[0]} x {pages[0].shape[1]} px; {size}")


# -- a set to correct ------------------------------------------------------------------------------


def check_worst(count: str, folder: Path, target: Path) -> None:
    """Raise `ParameterError` or `DataError` if no slices to correct can be written.
    Args:
        count, folder, target: Number of slices, 1 or more; a new folder; the prediction's folder.
    """
    if not re.fullmatch("0*[1-9][0-9]{0,8}", count):
        raise ParameterError(f"--worst {count}: give a whole number of slices, 1 or more.")
    folder = expand_user(folder)
    if folder.exists() or real_path(folder).is_relative_to(real_path(target)):
        raise DataError(f"{folder} exists, or lies in {target}. Name a new folder for the slices "
                        "to correct.")


def most_uncertain(uncertainty: Sequence[float], count: int) -> list[int]:
    """Choose the most uncertain slices, all more than 2 % of the volume apart.
    Args:
        uncertainty, count: One number per slice; how many slices to choose, at most.
    Returns: Their indices, ascending.
    """
    distance, chosen = max(1, len(uncertainty) // 50), list[int]()
    for index in np.argsort(uncertainty, kind="stable")[::-1].tolist():
        if len(chosen) < count and all(abs(index - other) > distance for other in chosen):
            chosen.append(index)
    return sorted(chosen)


def write_worst(folder: Path, count: int, source: Path, target: Path) -> list[str]:
    """Write the most uncertain slices and their masks as a labelled data set, to be corrected.
    Args:
        folder, count: See `check_worst`. A small volume gives fewer slices (`most_uncertain`).
        source, target: The volume; the folder of its prediction, which holds the uncertainty.
    Returns: The names of the slices.
    """
    pages, target = open_volume(source), expand_user(target)
    record = json.loads((target / RECORD).read_bytes())
    phases, voxel_nm = Phases.from_dict(record["phases"]), record["voxel_nm"]
    files = [target / FOLDERS["uncertainty"] / f"{page.name}.tif" for page in pages]
    means = [float(tifffile.memmap(file, mode="r").mean()) for file in files]
    chosen = most_uncertain(means, count)
    with atomic_folder(expand_user(folder)) as part:
        for index in chosen:
            page, mask = pages[index], target / f"{pages[index].name}.tif"
            labels = (tifffile.imread(mask) if mask.exists() else
                      tifffile.imread(target / STACK, key=index))
            write_image(part / "data" / mask.name, page.whole(), "YX", voxel_nm, "", page)
            write_image(part / "labels" / mask.name, labels, "YX", voxel_nm, "", page)
        write_dataset_file(part, dataset_file(phases, voxel_nm))
    return [pages[index].name for index in chosen]
