"""Says what a folder of slices holds, before anything is trained on it."""

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from ..data import Slices, Voxel, dataset_file, mean_grey_levels
from ..errors import printable
from ..figures import mask_image, phase_legend, show_slice
from ..files import expand_user
from ..formats.grey import describe_scale, sample_grey_levels, scale_of
from ..formats.labels import describe_labels, place_of
from ..formats.layouts import (
    DATASET_FILE,
    DatasetFile,
    find_pairs,
    has_labels,
    parse_label_map,
    read_dataset_file,
    write_dataset_file,
)
from ..formats.reading import load_slices
from ..formats.tiff import Page, open_volume
from ..formats.voxel_size import describe_voxel, voxel_nm_of
from ..losses import IGNORE

RARE = 0.01  # a phase with a smaller share is reported as odd
SATURATED = 0.005  # a larger share of pixels with the highest grey level is reported as odd
SAMPLE = 16  # slices that are searched for hot pixels


@dataclass(frozen=True)
class Inspection:
    """What a folder holds."""

    folder: Path
    images: Path  # what `volumes.predict_volume` can segment: the folder or stack of images
    slices: Slices | None  # the labelled slices; None if nothing is labelled
    lines: list[str]  # the report

    def __str__(self) -> str:
        return "\n".join(map(printable, self.lines))

    def figure(self) -> Figure | None:
        """Draw the slice with the most labelled pixels, and its labels; None without labels."""
        if self.slices is None:
            return None
        labelled = [int((label != IGNORE).sum()) for label in self.slices.labels]
        best, phases = int(np.argmax(labelled)), self.slices.phases
        fig, axes = plt.subplots(1, 2, figsize=(10, 5.6), layout="constrained")
        number = self.slices.numbers[best]
        show_slice(self.slices.images[best], axes[0], f"slice {number}", self.slices.voxel_nm)
        axes[1].imshow(mask_image(self.slices.labels[best], phases), interpolation="nearest")
        unlabelled = bool((self.slices.labels[best] == IGNORE).any())
        axes[1].set_title("its labels" + " (pale grey: no label)" * unlabelled)
        axes[1].set_axis_off()
        phase_legend(fig, phases)
        return fig


def inspect_folder(folder: str | Path, labels: str = "",
                   voxel_nm: Voxel | None = None) -> Inspection:
    """Read a folder of slices, report what it holds, and write its dataset.toml.

    An existing dataset.toml is kept, unless `labels` or `voxel_nm` change it.

    Args:
        folder: see `layouts`, or a folder of images alone.
        labels: what each label value means, as in "1=pore,2=YSZ,0=ignore".
        voxel_nm: size of a voxel along z, y and x, nm.

    Raises:
        DataError: The folder cannot be read.
        ParameterError: `labels` cannot be read.
    """
    folder = expand_user(folder)
    old = read_dataset_file(folder)
    known = parse_label_map(labels) if labels else old
    known = known.model_copy(update={"voxel_nm": voxel_nm or old.voxel_nm, "pairing": old.pairing})
    if not has_labels(folder):
        return _without_labels(folder, voxel_nm)
    pairs = find_pairs(folder, known.pairing)
    slices = load_slices(folder, known)
    labelled = {index: page for index, page in pairs.labels.items()
                if pairs.numbers[index] in slices.numbers}
    first, last = min(labelled), max(labelled)
    lines = [
        f"{folder}", f"  {_files(pairs.images)} with {len(pairs.images)} images, "
        f"{_files(list(pairs.labels.values()))} with {len(pairs.labels)} labels. "
        f"{len(slices)} slices are labelled.",
        f"  {_sizes(pairs.images)}. {_grey_range(pairs.images)}",
        f"  {place_of(pairs.images[first])} is paired with {place_of(labelled[first])},",
        f"  {place_of(pairs.images[last])} with {place_of(labelled[last])}.",
        f"  {voxel_sentence(slices.voxel_nm)}", f"  {_neighbours(slices)}",
        *(f"  {line}" for line in (*slices.notes, *describe_labels(slices))),
        *(f"  Odd: {line}" for line in (*oddities(slices), *_hot_pixels(pairs.images)))]
    lines.append(f"  {_write(folder, known, slices, changed=bool(labels or voxel_nm))}")
    return Inspection(folder, _images(pairs.images[0], len(pairs.images)), slices, lines)


def oddities(slices: Slices) -> list[str]:
    """List what is odd about labelled slices and may be a mistake."""
    found, names, n = [], slices.phases.names, len(slices.phases)
    counts = sum(np.bincount(label.ravel(), minlength=IGNORE + 1)[:n] for label in slices.labels)
    shares = counts / counts.sum()
    found += [f"only {100 * share:.2g} % of the labelled pixels are {name}."
              for name, share in zip(names, shares, strict=True) if share < RARE]
    if slices.phases.values[0] == 0 and shares[0] > 0.5 and n > 2:
        others = ",".join(f"{value}=NAME" for value in slices.phases.values[1:])
        found.append("more than half of all pixels have the label value 0. If 0 means that they "
                     f"are not labelled, say so: --labels 0=ignore,{others}")
    means, spread = mean_grey_levels(slices), _spread(slices)
    for i, j in combinations(np.flatnonzero(np.isfinite(means)), 2):
        if abs(means[i] - means[j]) < spread:
            found.append(f"{names[i]} and {names[j]} have nearly the same grey level "
                         f"({means[i]:.0f} and {means[j]:.0f}).")
    levels = sample_grey_levels(slices.images)
    top = (levels == levels.max()).mean()
    if top > SATURATED:
        found.append(f"{100 * top:.2g} % of the pixels have the highest grey level: the images "
                     "may be saturated.")
    corners = [image[:8, :8] for image in slices.images]
    if any(corner.min() == corner.max() for corner in corners):
        found.append("some images have a border of a single grey level. Label it as a phase of its "
                     "own, as no label, or crop it.")
    if len({image.shape for image in slices.images}) > 1:
        found.append("the slices differ in size. Networks of single slices can be trained on them, "
                     "3-D networks cannot.")
    return found


def _spread(slices: Slices) -> float:
    """Half the mean standard deviation of the grey levels inside a phase."""
    deviations = [image[label == phase].std() for image, label in
                  zip(slices.images[:8], slices.labels[:8], strict=True)
                  for phase in range(len(slices.phases)) if (label == phase).any()]
    return float(np.mean(deviations)) / 2


def _without_labels(folder: Path, voxel_nm: Voxel | None) -> Inspection:
    """Report on images without labels."""
    place = next((folder / name for name in ("data", "images") if (folder / name).is_dir()), folder)
    pages = open_volume(place)
    lines = [f"{folder}", f"  {_files(pages)} with {len(pages)} images, without labels.",
             f"  {_sizes(pages)}. {_grey_range(pages)}",
             f"  {voxel_sentence(voxel_nm or voxel_nm_of(pages[0].file))}",
             f"  {describe_scale(scale_of(pages))}",
             *(f"  Odd: {line}" for line in _hot_pixels(pages)),
             "  Nothing can be trained on them. Label a few patches in labels/, or segment them "
             "with a network that you have: python -m xraylib predict NETWORK "
             f"{place} OUT"]
    return Inspection(folder, place, None, lines)


def _files(pages: list[Page]) -> str:
    """Say in which files pages are."""
    files = {page.file for page in pages}
    return f"{pages[0].file.parent.name}/: {len(files)} file{'s' * (len(files) > 1)}"


def _grey_range(pages: list[Page]) -> str:
    """Say the type and the range of the grey levels of pages."""
    low, high = np.quantile(sample_grey_levels(pages), (0.001, 0.999))
    return (f"Grey levels are {pages[0].dtype.name}. All but 0.2 % of them lie between {low:,.5g} "
            f"and {high:,.5g}.")


def _hot_pixels(pages: list[Page]) -> list[str]:
    """Say whether some pixels lie far outside the range of all others, and in which file."""
    low, high = np.quantile(sample_grey_levels(pages), (0.001, 0.999))
    for index in np.unique(np.linspace(0, len(pages) - 1, SAMPLE).astype(int)):
        image = pages[index].whole().astype(np.float64)
        far = np.abs(image - (low + high) / 2) > 1.5 * (high - low)
        if broken := int(far.sum()) + int((~np.isfinite(image)).sum()):
            return [f"{broken} pixels of {place_of(pages[index])} are far brighter or darker than "
                    "all others, or no numbers. They do not change how the others are scaled."]
    return []


def _images(first: Page, n: int) -> Path:
    """Return the stack of images, or the folder of single images."""
    return first.file.parent if place_of(first) == str(first.file) and n > 1 else first.file


def _sizes(pages: list[Page]) -> str:
    """Say the size of the slices, or their smallest and their largest size."""
    sizes = sorted({page.shape for page in pages})
    words = [f"{height} x {width} px" for height, width in sizes]
    return words[0] if len(words) == 1 else f"from {words[0]} to {words[-1]}"


def voxel_sentence(voxel_nm: Voxel | None) -> str:
    """Say how large voxels are, or how to give their size if it is unknown."""
    if voxel_nm is None:
        return ("The voxel size is unknown, so lengths are in pixels. Give it in nm: data inspect "
                "FOLDER --voxel-nm Z,Y,X")
    return f"{describe_voxel(voxel_nm).capitalize()}."


def _neighbours(slices: Slices) -> str:
    """Say whether the labelled slices are neighbours."""
    if len(slices) == 1:
        return "One slice is labelled."
    steps = np.diff(np.sort(slices.numbers))
    if (steps == 1).all():
        return "The labelled slices are neighbours."
    return (f"The labelled slices are not neighbours: their numbers differ by up to {steps.max()}. "
            "What is measured on labels is measured in the plane of a slice.")


def _write(folder: Path, known: DatasetFile, slices: Slices, changed: bool) -> str:
    """Write dataset.toml if it is missing or has changed, and say what was done."""
    path = folder / DATASET_FILE
    if path.exists() and not changed:
        return f"{path} is kept."
    if not known.phases:
        unlabelled = any((label == IGNORE).any() for label in slices.labels)
        guessed = dataset_file(slices.phases, slices.voxel_nm, unlabelled)
        known = guessed.model_copy(update={"pairing": known.pairing})
    try:
        write_dataset_file(folder, known.model_copy(update={"voxel_nm": slices.voxel_nm}))
    except OSError as error:
        return f"{path} could not be written ({error.strerror})."
    return f"{path} is written. Edit it to name the phases."

