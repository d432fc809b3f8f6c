"""What the values in label files mean, decided once for a whole data set."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..data import COLOURS, MAX_PHASES, Phases, Slices, unknown_values
from ..errors import DataError
from ..losses import IGNORE
from .layouts import EXAMPLE, DatasetFile, label_key
from .tiff import Page

RARE = 10_000  # a value with fewer than one in this many labelled pixels is taken for a mistake
GREYS = 0x010101  # colours are 0xRRGGBB, so this times 0..255 are the greys
MAX_VALUES = 256  # values to count in a data set; no error message needs more


@dataclass(frozen=True)
class LabelSet:
    """The labels of a data set."""

    classes: list[np.ndarray]  # N arrays uint8 (H, W), class indices or `losses.IGNORE`
    phases: Phases
    notes: tuple[str, ...]  # sentences for the user on what was decided


def read_labels(pages: Sequence[Page], folder: Path, known: DatasetFile) -> LabelSet:
    """Read all labels of a data set, and find out what their values mean.
    Args:
        pages, folder, known: The labels; the data set, for errors; the content of dataset.toml.
    Raises: DataError: A value has no meaning, or its meaning cannot be guessed.
    """
    codes: dict[int, int] = {}  # of each value, in order of appearance
    found: list[dict[int, int]] = []  # pixels of each value, page by page
    classes: list[np.ndarray] = []
    for page in pages:
        mask = _values(page, known.in_colour, folder)
        values, counts = _count(mask)
        found.append(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        if known.phases:
            _check_known(page, found[-1], known)
        for value in found[-1]:
            codes.setdefault(value, len(codes))
        if len(codes) > MAX_VALUES:
            raise _too_many(place_of(page), len(found[-1]), folder)
        own = np.array([codes[value] for value in found[-1]], np.uint8)
        classes.append(own[np.searchsorted(values, mask)] if values[-1] >= 2**16 else
                       _table(values, own)[mask])
    ignored = set(map(label_key, known.ignore))
    if known.phases:
        keys, phases = [phase.key for phase in known.phases], given_phases(known)
    else:
        phases, guessed = guess_phases(found, [place_of(page) for page in pages], folder, ignored)
        keys, ignored = list(phases.values), ignored | guessed
    table = np.full(MAX_VALUES, IGNORE, np.uint8)
    for index, key in enumerate(keys):
        if key in codes:
            table[codes[key]] = index
    for mask in classes:
        mask[...] = table[mask]
    return LabelSet(classes, phases, tuple(_notes(known, ignored & set(codes))))


def given_phases(known: DatasetFile) -> Phases:
    """Return the phases that dataset.toml names; colours in masks get the values 0, 1, ..."""
    taken = {phase.colour for phase in known.phases}
    free = iter([colour for colour in COLOURS if colour not in taken])
    colours = tuple(phase.colour or next(free) for phase in known.phases)
    values = range(len(colours)) if known.in_colour else [phase.key for phase in known.phases]
    return Phases(tuple(phase.name for phase in known.phases), tuple(values), colours)


def guess_phases(found: Sequence[Mapping[int, int]], places: Sequence[str], folder: Path,
                 ignored: set[int]) -> tuple[Phases, set[int]]:
    """Take all label values for phases, in order; 255 next to values such as 0, 1, 2 is no label.
    Args:
        found, places: Pixels of each value in each label file, and the names of these files.
        folder, ignored: The data set, for errors; values that are known to have no meaning.
    Returns: The phases, and the values that were guessed to have no meaning.
    Raises: DataError: There is only one value, there are too many, or some look like mistakes.
    """
    counts: Counter[int] = Counter()
    first: dict[int, str] = {}  # file that holds a value
    for each, place in zip(found, places, strict=True):
        counts.update(each)
        first = dict.fromkeys(each, place) | first
    values = sorted(set(counts) - ignored)
    others, guessed = [value for value in values if value != IGNORE], set[int]()
    in_a_row = len(others) > 1 and others[-1] - others[0] == len(others) - 1
    if IGNORE in values and in_a_row and IGNORE - 1 not in others:
        values, guessed = others, {IGNORE}
    if len(values) > MAX_PHASES:
        raise _too_many(str(folder), len(values), folder)
    if len(values) < 2:
        raise DataError(f"{folder}: the labels hold {len(values)} value (or none) that can be a "
                        f"phase: {', '.join(map(str, values))}. At least two are needed. "
                        f"Label a second phase, or {_remedy(folder)}")
    if {1, IGNORE} <= set(counts) and not any({1, IGNORE} <= set(each) for each in found):
        raise DataError(f"{folder}: some labels use the value 1 ({first[1]}), others 255 "
                        f"({first[IGNORE]}), none both. They seem to be written in two ways: write "
                        f"all in one way. If both values are meant, {_remedy(folder)}")
    total = sum(counts[value] for value in values)
    for value in values:
        if counts[value] * RARE < total:
            raise DataError(f"{folder}: only {counts[value]} of {total} labelled pixels have the "
                            f"value {value} ({first[value]} is the first file). Correct them if "
                            f"they are stray pixels. If {value} is a phase, {_remedy(folder)}")
    return Phases.numbered(values), guessed


def describe_labels(slices: Slices) -> list[str]:
    """Describe each label value in a line: its meaning, and its share of the pixels or absence."""
    counts = np.zeros(IGNORE + 1)
    for label in slices.labels:
        counts += np.bincount(label.ravel(), minlength=IGNORE + 1)
    total, labelled = counts.sum(), counts[: len(slices.phases)].sum()
    lines = [f"value {value} -> {name} ({_percent(count / labelled)} of the labelled pixels)"
             if count else f"value {value} -> {name} (absent from all labels)"
             for value, name, count in zip(slices.phases.values, slices.phases.names, counts,
                                           strict=False)]
    if labelled < total:
        lines.append(f"{_percent(1 - labelled / total)} of the pixels have no label, and count in "
                     "neither loss nor score.")
    return lines


def place_of(page: Page) -> str:
    """Name the file of a page, and its number in a stack."""
    return f"{page.file}" + f", page {page.index + 1}" * (f"{page.name}." not in page.file.name)


def _percent(share: float) -> str:
    """A share in per cent."""
    return f"{100 * share:.1f} %" if share >= 0.0005 else f"{100 * share:.2g} %"


def _remedy(folder: Path) -> str:
    """Say how to give the meaning of label values."""
    return f"say what each value means (python -m xraylib data inspect {folder} {EXAMPLE})."


def _too_many(place: str, count: int, folder: Path) -> DataError:
    """Return the error for labels that hold more values than there can be phases."""
    return DataError(f"{place} holds {count} label values. Up to {MAX_PHASES} can be phases. JPEG "
                     "or a resampling with interpolation may have smeared them, or it is an image "
                     "and no mask: export the labels again, without either. If most values have "
                     f"no meaning, {_remedy(folder)}")


def _values(page: Page, in_colour: bool, folder: Path) -> np.ndarray:
    """The values of a label file, integers (H, W): 0..65535, or colours 0xRRGGBB."""
    mask = page.whole()
    if mask.dtype.kind == "f":
        whole = np.isfinite(mask) & (np.rint(mask) == mask)
        if not whole.all():
            raise DataError(f"{place_of(page)} holds numbers that are not whole, or no numbers. "
                            "Labels must be whole numbers: export them again.")
        mask = mask.astype(np.int64)
    if page.colours and not in_colour:
        grey = mask & 255
        if (grey * np.uint32(GREYS) != mask).any():
            colours, counts = np.unique(mask, return_counts=True)
            names = [f"#{colours[index]:06x}" for index in counts.argsort()[::-1][:4]]
            raise DataError(f"{place_of(page)} is in colour ({len(colours)} colours, most often "
                            f"{', '.join(names)}). Say what each colour means (python -m xraylib "
                            f"data inspect {folder} --labels '{names[0]}=pore,{names[-1]}=YSZ').")
        return grey.astype(np.uint8)
    if not page.colours and (mask.min() < 0 or mask.max() >= 2**16):
        raise DataError(f"{place_of(page)} holds values from {mask.min()} to {mask.max()}. Label "
                        "values must be 0 to 65535: export the labels again.")
    return mask


def _count(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values of a mask in ascending order, and the pixels of each."""
    if mask.max() >= 2**16:
        return np.unique(mask, return_counts=True)
    counts = np.bincount(mask.ravel())
    values = np.flatnonzero(counts)
    return values, counts[values]


def _table(values: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """A table that gives the code of each value."""
    table = np.zeros(values[-1] + 1, np.uint8)
    table[values] = codes
    return table


def _check_known(page: Page, counts: Mapping[int, int], known: DatasetFile) -> None:
    """Raise `DataError` if a label file holds a value that dataset.toml does not name."""
    meanings = {phase.key: phase.name for phase in known.phases}
    meanings |= dict.fromkeys(map(label_key, known.ignore), "no label")
    wrong = {value: count for value, count in counts.items() if value not in meanings}
    if wrong:
        name = "#{:06x}".format if known.in_colour else str
        raise unknown_values(place_of(page), {name(value): wrong[value] for value in wrong},
                             [(name(key), meaning) for key, meaning in meanings.items()])


def _notes(known: DatasetFile, ignored: Iterable[int]) -> Iterable[str]:
    """Say which label values mean that there is no label, and which colours are which phases."""
    name = "#{:06x}".format if known.in_colour else str
    values = [name(value) for value in sorted(ignored)]
    if values:
        yield f"Pixels with the label value {', '.join(values)} have no label."
    if known.in_colour:
        means = [f"{phase.rgb} is {phase.name}, value {index}"
                 for index, phase in enumerate(known.phases)]
        yield f"The labels are in colour: {'; '.join(means)}."
