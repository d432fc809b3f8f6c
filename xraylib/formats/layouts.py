"""The layout of a labelled data set: its images and labels, how they are paired, and dataset.toml.

A labelled data set is a folder with two sub-folders: data/ or images/, and labels/ or masks/. Each
holds one file per slice, or one stack. An image and its label have the same number in their names
(``SOCprist0001``, ``slice__001``), or else the same name, apart from suffixes such as ``_mask``.
The pages of two stacks belong together in their order. dataset.toml says what no rule can guess:
the phases, the label values without a meaning, the size of a voxel.
"""

import json
import tomllib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, Field, StrictInt, ValidationError, model_validator

from ..errors import DataError, ParameterError, one_line_message
from ..files import atomic_file
from .file_names import image_files, number_files, stem_without_suffix
from .tiff import Page, open_pages

DATASET_FILE, MAX_PHASES = "dataset.toml", 16
EXAMPLE = "--labels 1=pore,2=YSZ,0=ignore"
Colour = Annotated[str, Field(pattern="^#[0-9a-fA-F]{6}$")]
Value = Annotated[StrictInt, Field(ge=0, le=65535)]
Length = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def label_key(value: int | str) -> int:
    """Return the number in a label file for a label value, or for a colour "#rrggbb"."""
    return int(value[1:], 16) if isinstance(value, str) else value


class PhaseEntry(BaseModel, extra="forbid", frozen=True):
    """A phase in dataset.toml: name, value or colour (`rgb`) in label files, colour in figures."""

    name: Annotated[str, Field(min_length=1, max_length=40)]
    value: Value | None = None
    rgb: Colour | None = None
    colour: Colour | None = None

    @property
    def key(self) -> int:
        """The number of the phase in a label file."""
        return label_key(self.rgb) if self.rgb else int(self.value or 0)


class DatasetFile(BaseModel, extra="forbid", frozen=True):
    """The content of dataset.toml; phases that are not given are guessed from the labels."""

    voxel_nm: Annotated[tuple[Length, Length, Length] | None, BeforeValidator(
        lambda size: [size] * 3 if isinstance(size, int | float) else size)] = None
    ignore: tuple[Value | Colour, ...] = ()  # label values without a meaning
    pairing: Literal["number", "order"] | None = None
    phases: tuple[PhaseEntry, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> "DatasetFile":
        """Require 2 to 16 phases with different names, and one meaning per label value."""
        names, n = [phase.name for phase in self.phases], len(self.phases)
        keys = [*(phase.key for phase in self.phases), *map(label_key, self.ignore)]
        if n == 1 or n > MAX_PHASES:
            raise ValueError(f"it names {n} phase{'s'[:n - 1]}, not 2 to {MAX_PHASES}")
        if not all(name.isprintable() and name.strip() for name in names) or len(set(names)) < n:
            raise ValueError("the names of the phases must be printable and different")
        if any((phase.value is None) == (phase.rgb is None) for phase in self.phases) or len(
                {phase.rgb is None for phase in self.phases}) > 1:
            raise ValueError("either all phases must have a value, or all must have rgb")
        if len(set(keys)) < len(keys):
            raise ValueError("a label value is given twice")
        return self

    @property
    def in_colour(self) -> bool:
        """Whether the phases are colours in the label files."""
        return any(phase.rgb for phase in self.phases)


def read_dataset_file(folder: Path) -> DatasetFile:
    """Read dataset.toml in a folder. A missing file counts as an empty one."""
    path = folder / DATASET_FILE
    try:
        return DatasetFile.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        return DatasetFile()
    except ValueError as error:
        raise DataError(f"{path} {_fault(error)}. Correct it, or remove it and run python -m "
                        f"xraylib data inspect {folder}.") from error


def parse_label_map(text: str) -> DatasetFile:
    """Parse what each label value means: "1=pore,2=YSZ,0=ignore" or "#ff0000=pore,...".
    Raises: ParameterError: The text is not such a list, or names a value or a phase twice.
    """
    phases: list[dict[str, Any]] = []
    ignore: list[int | str] = []
    for item in text.split(","):
        value, equals, name = (part.strip() for part in item.partition("="))
        if not equals or not (value.startswith("#") or value.isdecimal()):
            raise ParameterError(f"--labels {text}: {item!r} is not VALUE=NAME. Write {EXAMPLE}, "
                                 "or --labels '#ff0000=pore,#0000ff=YSZ' for masks in colour.")
        key = value if value.startswith("#") else int(value)
        if name == "ignore":
            ignore.append(key)
        else:
            phases.append({"name": name, "rgb" if isinstance(key, str) else "value": key})
    try:
        return DatasetFile.model_validate({"ignore": ignore, "phases": phases})
    except ValidationError as error:
        raise ParameterError(f"--labels {text} {_fault(error)}. Write {EXAMPLE}.") from error


def write_dataset_file(folder: Path, content: DatasetFile) -> None:
    """Write dataset.toml into a folder, with comments for the reader who edits it."""
    lines = ["# What the labels in this folder mean. You can edit this file."]
    if content.voxel_nm:
        lines += [f"voxel_nm = {list(content.voxel_nm)}  # size of a voxel along z, y, x in nm"]
    if content.ignore:
        lines += [f"ignore = {json.dumps(content.ignore)}  # label values without a meaning"]
    if content.pairing:
        lines += [f'pairing = "{content.pairing}"  # images and labels belong together by this']
    for phase in content.phases:
        lines += ["", "[[phases]]"]
        lines += [f"{name} = {json.dumps(entry, ensure_ascii=False)}"
                  for name, entry in phase.model_dump(exclude_none=True).items()]
    with atomic_file(folder / DATASET_FILE, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


@dataclass(frozen=True)
class Pairs:
    """The images of a data set in order, and the labels of all or some of them."""

    images: list[Page]
    numbers: np.ndarray  # int (N,), of each image; those of neighbours in a volume differ by 1
    labels: dict[int, Page]  # by index of the image


def find_pairs(folder: Path, pairing: str | None = None) -> Pairs:
    """Find the images and labels of a data set, or raise `DataError` if they do not fit together.
    Args:
        folder, pairing: The data set; "order": the first label belongs to the first image, and so
            on. "number" or None: see the top of this file.
    """
    images = _open_side(folder, ("data", "images"), colours=False)
    masks = _open_side(folder, ("labels", "masks"), colours=True)
    keys: Sequence[int | str] = range(len(images.pages))
    mask_keys: Sequence[int | str] = range(len(masks.pages))
    numbered, both = images.numbers and masks.numbers, images.is_stack and masks.is_stack
    if pairing == "order" or both or len(keys) == len(mask_keys) == 1 and not numbered:
        if len(keys) != len(mask_keys):
            raise DataError(f"{folder} holds {len(keys)} images and {len(mask_keys)} labels. To be "
                            "paired in their order they must be equally many: add an empty label "
                            "for each image that you have not labelled.")
    elif images.is_stack or masks.is_stack:
        raise DataError(f"{folder} holds a stack on one side and slices on the other. If both are "
                        f'in the same order, write pairing = "order" into {folder / DATASET_FILE}.')
    elif numbered:
        keys, mask_keys = images.numbers, masks.numbers
        _check_partners(folder, keys, masks, mask_keys, "number")
    else:
        keys, mask_keys = _stems(images), _stems(masks)
        _check_partners(folder, keys, masks, mask_keys, "number or name")
    # Without numbers it is unknown which slices are neighbours, so all are numbered with gaps.
    numbers = images.numbers or range(1, 2 * len(images.pages), 2)
    found = dict(zip(mask_keys, masks.pages, strict=True))
    labels = {index: found[key] for index, key in enumerate(keys) if key in found}
    return Pairs(images.pages, np.array(numbers), labels)


def has_labels(folder: Path) -> bool:
    """Return whether a folder holds labels in one of the layouts."""
    return any((folder / name).is_dir() for name in ("labels", "masks"))


@dataclass(frozen=True)
class _Side:
    """The images or the labels of a data set: pages in order of number, else of name."""

    pages: list[Page]
    numbers: Sequence[int]  # of the pages; empty if the names hold no number of their own
    is_stack: bool


def _open_side(folder: Path, names: tuple[str, str], colours: bool) -> _Side:
    """Open all images or all labels, in the sub-folder that has one of these two names."""
    found = [folder / name for name in names if (folder / name).is_dir()]
    if len(found) > 1:
        raise DataError(f"{folder} holds both {names[0]}/ and {names[1]}/. Keep one of them.")
    if not found:
        raise DataError(f"{folder / names[0]} is not a folder. data_dir must name a folder that "
                        "holds data/ (images) and labels/ (masks).")
    files = image_files(found[0])
    if not files:
        raise DataError(f"{found[0]} holds no .tif, .tiff or .png file. Put one file per slice "
                        "there, or one stack.")
    numbered: dict[int, Path] = {}
    with suppress(DataError):  # then files are paired by name
        numbered = number_files(files)
    opened = [open_pages(file, colours) for file in numbered.values() or files]
    pages, stack = sum(opened, []), max(opened, key=len)
    if len(pages) > len(files) > 1:
        raise DataError(f"{stack[0].file} holds {len(stack)} images. Save one slice per file, or "
                        "all slices in one file.")
    is_stack = len(pages) > 1 == len(files)
    return _Side(pages, range(1, len(pages) + 1) if is_stack else list(numbered), is_stack)


def _stems(side: _Side) -> list[str]:
    """The names of files without suffixes, which must all be different."""
    stems: dict[str, Path] = {}
    for page in side.pages:
        other = stems.setdefault(stem_without_suffix(page.file), page.file)
        if other is not page.file:
            raise DataError(f"{other} and {page.file.name} have the same name, apart from suffixes "
                            "such as _mask. Keep one of them.")
    return list(stems)


def _check_partners(folder: Path, keys: Sequence, masks: _Side, mask_keys: Sequence,
                    kind: str) -> None:
    """Raise `DataError` if a label has no image."""
    known, named = set(keys), zip(mask_keys, masks.pages, strict=True)
    alone = [page.file.name for key, page in named if key not in known]
    shifts = {key - other for key, other in zip(keys, mask_keys, strict=False)} \
        if kind == "number" and len(keys) == len(mask_keys) else {0}
    if alone and len(shifts) == 1 and shifts != {0}:
        raise DataError(f"{folder}: images have the numbers {keys[0]} to {keys[-1]}, labels "
                        f"{mask_keys[0]} to {mask_keys[-1]}. If the first label belongs to the "
                        'first image, and so on, write pairing = "order" into '
                        f"{folder / DATASET_FILE}. Do not remove files.")
    if alone:
        raise DataError(f"{folder}: {len(alone)} labels have no image of the same {kind}: "
                        f"{', '.join(alone[:5])}{' ...' * (len(alone) > 5)}. Add the missing "
                        "images, or rename the labels. Removing these labels does not help if the "
                        "numbers of all labels are shifted.")


def _fault(error: ValueError) -> str:
    """Say what is wrong with a file or a text."""
    if not isinstance(error, ValidationError):
        return f"cannot be read ({one_line_message(error)})"
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return f"has a fault{place and f' in {place}'}: {message}"
