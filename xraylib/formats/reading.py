"""Reads labelled data sets, in the layouts that `layouts` describes."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..data import GreyScale, Slices, concatenate
from ..errors import DataError
from ..files import expand_user
from ..losses import IGNORE
from .alignment import check_alignment
from .grey import describe_scale, scale_of, to_uint16
from .labels import place_of, read_labels
from .layouts import DatasetFile, find_pairs, read_dataset_file
from .voxel_size import voxel_nm_of


def load_slices(folder: str | Path, known: DatasetFile | None = None,
                scale: GreyScale | None = None) -> Slices:
    """Read the slices of a data set that have a label; see `layouts` for what a data set is.
    Args:
        folder, known: The data set; what to use instead of its dataset.toml, if anything.
        scale: How its grey levels become 16 bits. None: as `grey.scale_of` decides.
    Raises: DataError: The files cannot be read, or do not fit together.
    """
    folder = expand_user(folder)
    known = known or read_dataset_file(folder)
    pairs = find_pairs(folder, known.pairing)
    first, images = pairs.images[0], []
    for page in pairs.images:
        if page.dtype.name != first.dtype.name:
            raise DataError(f"{page.file} holds {page.dtype.name}, {first.file.name} "
                            f"{first.dtype.name}. All images must have the same type.")
    for index, mask in pairs.labels.items():
        if mask.shape != pairs.images[index].shape:
            raise DataError(f"{place_of(mask)} is {mask.shape} px, its image "
                            f"{pairs.images[index].shape}. Crop one of them, or remove both.")
    labels = read_labels(list(pairs.labels.values()), folder, known)
    classes = {index: mask for index, mask in zip(pairs.labels, labels.classes, strict=True)
               if (mask != IGNORE).any()}
    empty = [place_of(page) for index, page in pairs.labels.items() if index not in classes]
    if not classes:
        raise DataError(f"{folder}: no label holds a labelled pixel. Label some pixels first.")
    scale = scale or scale_of([pairs.images[index] for index in classes])
    if not known.pairing:
        check_alignment(folder, pairs, classes, scale)
    for index in classes:
        page = pairs.images[index]
        images.append(to_uint16(page.whole(), scale))
        if images[-1].min() == images[-1].max():
            raise DataError(f"{place_of(page)} holds one grey level only, {page.whole()[0, 0]:g}. "
                            "Export it again, or remove it and its label.")
    notes = [*labels.notes, describe_scale(scale)]
    if empty:
        notes.append(f"{len(empty)} labels hold no labelled pixel and are left aside, the first of "
                     f"them in {empty[0]}.")
    if len(pairs.labels) < len(pairs.images):
        notes.append(f"{len(pairs.images) - len(pairs.labels)} of {len(pairs.images)} images have "
                     "no label and are left aside.")
    return Slices(images, list(classes.values()), pairs.numbers[list(classes)],
                  phases=labels.phases, voxel_nm=known.voxel_nm or voxel_nm_of(first.file),
                  grey_scale=scale, notes=tuple(notes))


def load_folders(folders: Sequence[str | Path]) -> Slices:
    """Read several data sets of the same phases as one; slices of two sets are never neighbours.

    The first folder comes last, because the end becomes the test set. Folders that are added to the
    first one, for example corrected slices, are meant for training.
    Args:
        folders: At least one. Integer grey levels are scaled folder by folder, all others as in
            the first folder.
    Raises: DataError: A set cannot be read, or its phases differ from those of the first.
    """
    parts: list[Slices] = []
    for folder in folders:
        scale = parts[0].grey_scale if parts and parts[0].grey_scale.offset else None
        part = load_slices(folder, scale=scale)
        if parts:
            first = parts[0].phases
            if part.phases != first:
                raise DataError(f"{folder} has the phases {part.phases.to_dict()}, {folders[0]} "
                                f"has {first.to_dict()}. Write the same dataset.toml into both.")
        parts.append(part)
    ordered, start = [], 1
    for part in reversed(parts):
        numbers = part.numbers - part.numbers.min() + start
        ordered.append(replace(part, numbers=numbers))
        start = numbers.max() + 2
    return replace(concatenate(*ordered), voxel_nm=parts[0].voxel_nm,
                   grey_scale=parts[0].grey_scale,
                   notes=tuple(note for part in parts for note in part.notes))
