"""Reads a segmented volume: what `predict` wrote, or any masks."""

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from ..data import Phases, Voxel, dataset_file
from ..errors import DataError, one_line_message
from ..figures import INK, OTHER_INK
from ..files import expand_user
from ..formats.file_names import image_files, number_files
from ..formats.labels import read_labels
from ..formats.layouts import DATASET_FILE, DatasetFile, read_dataset_file
from ..formats.outputs import RECORD, STACK
from ..formats.tiff import Page, open_pages, open_volume
from ..formats.voxel_size import voxel_nm_of
from ..losses import IGNORE
from .microstructure import are_neighbours

BYTES_PER_VOXEL = 6  # of memory to measure a volume: its labels, and the regions of one phase


@dataclass(frozen=True)
class Segmentation:
    """A segmented volume in memory."""

    labels: np.ndarray  # class indices, uint8 (Z, Y, X)
    phases: Phases
    voxel_nm: Voxel | None  # None: unknown
    neighbours: bool  # whether the slices are neighbours
    notes: list[str]  # sentences for the user on how the files were read


def open_segmentation(path: str | Path, voxel_nm: Voxel | None = None) -> Segmentation:
    """Read a segmented volume into memory. Measuring it needs `BYTES_PER_VOXEL` bytes per voxel.

    Args:
        path: the output of `predict`, or a stack or folder of masks. A dataset.toml beside masks,
            or in the folder above, names their phases.
        voxel_nm: size of a voxel along z, y and x, nm. None: as the files say.

    Raises:
        DataError: The volume cannot be read, slices differ in size, pixels have no label, or the
            volume is larger than memory.
    """
    path = expand_user(path)
    folder = path if path.is_dir() else path.parent
    known = _what_is_known(folder)
    pages, neighbours = _open_masks(path)
    odd = [page for page in pages if page.shape != pages[0].shape]
    if odd:
        raise DataError(f"{odd[0].file} has {' x '.join(map(str, odd[0].shape))} px, but "
                        f"{pages[0].file} {' x '.join(map(str, pages[0].shape))} px. A volume "
                        "needs slices of one size.")
    _check_memory(path, len(pages) * pages[0].shape[0] * pages[0].shape[1])
    masks = read_labels(pages, folder, known)
    labels, phases = np.stack(masks.classes), masks.phases
    if (labels == IGNORE).any():
        raise DataError(f"{path}: {100 * (labels == IGNORE).mean():.2f} % of the pixels have no "
                        "label, and a microstructure can only be measured where all pixels have "
                        "one. Segment these slices with a network and measure the result.")
    values = zip(phases.values, phases.names, strict=True)
    notes = [*masks.notes, f"{'; '.join(f'value {value} is {name}' for value, name in values)}."]
    return Segmentation(labels, phases, voxel_nm or known.voxel_nm or voxel_nm_of(pages[0].file),
                        neighbours, notes)


def _check_memory(path: Path, voxels: int) -> None:
    """Raise `DataError` if a volume cannot be measured in all the memory of this computer."""
    memory = float("inf")
    with suppress(AttributeError):  # Windows has no sysconf
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if voxels * BYTES_PER_VOXEL > memory:
        raise DataError(f"{path} holds {voxels:,} voxels. To measure them takes "
                        f"{voxels * BYTES_PER_VOXEL / 1e9:.3g} GB of memory, and this computer has "
                        f"{memory / 1e9:.3g} GB. Measure a part: crop the stack, or copy "
                        "neighbouring slices into a folder of their own.")


def _open_masks(path: Path) -> tuple[list[Page], bool]:
    """Open the pages of a stack or a folder of slices, and say whether they are neighbours."""
    stack = path / STACK if (path / STACK).exists() else path
    if not stack.is_dir():
        pages = open_pages(stack, colours=True)
        return pages, len(pages) > 1
    files = number_files(image_files(stack))
    if not files:
        raise DataError(f"{stack} holds no .tif, .tiff or .png file. Name a segmentation.")
    pages = [page for file in files.values() for page in open_pages(file, colours=True)]
    return pages, len(pages) > len(files) or are_neighbours(list(files))


def _what_is_known(folder: Path) -> DatasetFile:
    """Read what `predict` wrote about a segmentation, or else what dataset.toml says."""
    record = folder / RECORD
    try:
        content = json.loads(record.read_bytes())
        return dataset_file(Phases.from_dict(content["phases"]), content["voxel_nm"])
    except (FileNotFoundError, NotADirectoryError):
        return read_dataset_file(folder if (folder / DATASET_FILE).exists() else folder.parent)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataError(f"{record} is damaged ({one_line_message(error)}). Segment the volume "
                        "again into another folder.") from error


def mean_uncertainty(folder: str | Path) -> np.ndarray:
    """Return the mean uncertainty of each slice that `predict` wrote, (Z,), in per cent."""
    return np.array([page.whole().mean() for page in open_volume(Path(folder) / "uncertainty")])


def draw_along_z(segmentation: Segmentation, uncertainty: np.ndarray) -> Figure:
    """Draw the shares of the phases, the consistency and the uncertainty, (Z,), slice by slice.

    The most uncertain three slices are marked.
    """
    labels, phases = segmentation.labels, segmentation.phases
    numbers = np.arange(1, len(labels) + 1)
    fig, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
    for phase, (name, colour) in enumerate(zip(phases.names, phases.colours, strict=True)):
        axes[0].plot(numbers, 100 * (labels == phase).mean((1, 2)), color=colour, label=name)
    axes[0].legend(frameon=False)
    axes[1].plot(numbers[1:], 100 * (labels[1:] == labels[:-1]).mean((1, 2)), color=INK)
    axes[2].plot(numbers, uncertainty, color=INK)
    worst = np.argsort(uncertainty)[::-1][:3]
    axes[2].plot(numbers[worst], uncertainty[worst], "D", color=OTHER_INK, label="most uncertain")
    axes[2].legend(frameon=False)
    names, limits = ("share of a phase", "consistency", "uncertainty"), (None, 100, None)
    for ax, name, high in zip(axes, names, limits, strict=True):
        ax.set(xlabel="slice", ylabel=f"{name}, %", ylim=(0, high))
    return fig
