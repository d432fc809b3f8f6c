"""Volumes larger than memory: read by bands of rows, predicted in overlapping tiles, written slice by slice."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from math import prod
from pathlib import Path
from tempfile import TemporaryFile

import matplotlib.image
import numpy as np
import tifffile
from tqdm import tqdm

from ..files import as_json, clean, expanded, replace, write_once
from ..slices.labelled import PALETTES, as_values, to_classes
from ..slices.tiff import DataError, Page, open_volume, resolution
from ..unet import UNet
from ..workers import spread
from .network import folded, load_weights, tiled_logits
from .tiles import seen_by, slab_of, spans

RECORD = "prediction.json"                # in the output folder: what its slices were made of


# -- contrast ---------------------------------------------------------------------------------------------------------


def contrast(pages: list[Page], model: UNet) -> tuple[float, float, str]:
    """How grey levels become those of the training set: gain, offset, and the sentence that says so.

    Looks at 16 slices at most. uint16 whose mean and deviation are within a quarter of a deviation of the training
    set's are left alone; all others are brought to its mean and deviation.
    """
    chosen = [pages[index] for index in np.unique(np.linspace(0, len(pages) - 1, min(16, len(pages))).astype(int))]
    sample = np.concatenate([page.whole()[::4, ::4].ravel() for page in chosen]).astype(np.float64)
    sample = sample[np.isfinite(sample)]
    mean, deviation = (sample.mean(), sample.std()) if sample.size else (0.0, 0.0)
    if deviation == 0:
        raise DataError(f"{pages[0].file} and the slices after it hold one grey level only, or no number; there is "
                        "nothing to segment: export them again.")
    ours, spread = model.grey.tolist()
    here = f"{pages[0].dtype.name}, grey levels {mean:.4g} ± {deviation:.4g} (mean ± deviation)"
    there = f"the training set's uint16, {ours:.0f} ± {spread:.0f}"
    if pages[0].dtype.name == "uint16" and max(abs(mean - ours), abs(deviation - spread)) < spread / 4:
        return 1.0, 0.0, f"{here}: like {there}; used as they are."
    gain = spread / deviation
    return gain, ours - gain * mean, (f"{here}, against {there}: brought to its mean and deviation. Another material, "
                                      "resolution or contrast than the training set's can still be segmented wrongly; "
                                      "look at the preview.")


# -- slices -----------------------------------------------------------------------------------------------------------


def marks_of(pages: Sequence[Page], model: UNet, made_by: tuple) -> list[str]:
    """What the segmentation of each slice says in its description: it changes with the slices that are seen for it.

    ``made_by``: whatever else it must change with.
    """
    held = [(*page.stamp, page.index) for page in pages]
    made_of = (repr((made_by, [held[seen] for seen in seen_by(model, range(index, index + 1), len(pages))]))
               for index in range(len(pages)))
    return [f"segmented by xraylib, {hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}" for text in made_of]


def bears(path: Path, mark: str) -> bool:
    """Whether this file is a segmentation with this mark, and whole."""
    try:
        with tifffile.TiffFile(path) as tif:
            page = tif.pages.first
            return page.description == mark and page.dataoffsets[-1] + page.databytecounts[-1] <= tif.filehandle.size
    except Exception:       # whatever lies there may fail anywhere inside the reader
        return False


def predict_slab(model: UNet, pages: Sequence[Page], part: range, gain: float, offset: float, side: int,
                 paths: Sequence[Path], marks: Sequence[str]) -> None:
    """Write the segmentations of a part of these neighbouring slices, uint8 0 / 128 / 255, each with its resolution.

    ``pages``: what `tiles.seen_by` asks for; ``paths``, ``marks``: of each slice of the part. A file is whole or not
    there; one that is there stays as it is. The slab is put together on disk, so that memory holds tiles alone. Grey
    levels beyond those of 16 bits are taken as their ends, and what is no number as the training set's mean. Raises
    `DataError`, and writes nothing, where a slice was changed meanwhile.
    """
    def read(index: int, rows: slice) -> np.ndarray:
        grey = pages[index].rows(rows.start, rows.stop).astype(np.float32)
        with np.errstate(over="ignore"):
            grey = np.clip(grey * np.float32(gain) + np.float32(offset), 0, 65535)
        return np.nan_to_num(grey, nan=float(model.grey[0]))

    with TemporaryFile(dir=paths[0].parent) as scratch:
        if hasattr(os, "posix_fallocate"):      # a disk that is full says so here; to a memory map it would be a crash
            os.posix_fallocate(scratch.fileno(), 0, len(part) * prod(pages[0].shape))
        segmented = np.memmap(scratch, np.uint8, "w+", shape=(len(part), *pages[0].shape))
        for rows, columns, logits in tiled_logits(model, read, len(pages), pages[0].shape, part, side):
            segmented[:, rows, columns] = as_values(logits.argmax(1).byte().cpu().numpy())
        for page in pages:
            page.must_be_as_opened()
        for index, path, mark, values in zip(part, paths, marks, segmented, strict=True):
            if not path.exists():
                replace(path, partial(tifffile.imwrite, data=values, description=mark, **resolution(pages[index])))


def preview(page: Page, segmented: Path, path: Path) -> None:
    """A colour PNG, at most about 1,000 px a side: the slice on the left, tinted by phase on the right."""
    step = max(1, max(page.shape) // 1000)
    grey = page.whole()[::step, ::step].astype(np.float32)
    finite = grey[np.isfinite(grey)]
    low, high = np.percentile(finite, [0.5, 99.5]) if finite.size else (0, 1)
    grey = np.nan_to_num((grey.clip(low, high) - low) / max(high - low, 1e-9))[..., None] * 255
    labels = to_classes(tifffile.imread(segmented)[::step, ::step], segmented)
    tinted = 0.55 * grey + 0.45 * PALETTES["safe"][labels]
    both = np.concatenate([np.repeat(grey, 3, -1), tinted], 1).astype(np.uint8)
    path.parent.mkdir(exist_ok=True)
    replace(path, lambda part: matplotlib.image.imsave(part, both, format="png"))


# -- a volume ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """The segmentation of a slice, or of a slab by a 3-D network: all that a worker needs to know."""

    weights: Path
    digest: str              # of what is in the weights file
    pages: list[Page]        # the neighbouring slices that the network must see ...
    part: range              # ... and which of them are to be segmented
    gain: float              # of the grey levels, before they meet the network
    offset: float
    side: int                # of the tiles, px (0: as memory allows)
    paths: list[Path]        # of the slices of the part
    marks: list[str]         # what they are known by again
    previews: list[Path | None]

    def missing(self) -> int:
        """How many of its slices are not there, or have no preview where one is wanted."""
        return sum(not path.exists() or bool(picture and not picture.exists())
                   for path, picture in zip(self.paths, self.previews, strict=True))


@lru_cache(maxsize=1)
def network_of(weights: Path, _digest: str) -> UNet:
    """The network of a weights file, ready to predict: read once a process, and again when the file has changed."""
    return folded(load_weights(weights))


def do(task: Task) -> None:
    """Segment its slices, each whole or not at all, and draw their previews, where they are not there."""
    model = network_of(task.weights, task.digest)
    if not all(path.exists() for path in task.paths):
        predict_slab(model, task.pages, task.part, task.gain, task.offset, task.side, task.paths, task.marks)
    for index, path, picture in zip(task.part, task.paths, task.previews, strict=True):
        if picture:
            preview(task.pages[index], path, picture)


def _must_be(record: dict, path: Path) -> None:
    if path.exists() and path.read_bytes() != as_json(record):
        raise DataError(f"{path} is of another prediction, or damaged; name another folder, or take the file away.")


def predict_volume(weights: str | Path, source: str | Path, target: str | Path, every: int = 0, side: int = 0,
                   workers: int = 0, scheduler: str = "") -> list[Path]:
    """Segment a volume into a folder, one uint8 TIFF a slice; a second call does only what is missing.

    ``weights``: a weights file. Each slice bears a mark of what it was made of, so that two networks' slices do not
    mix, nor those of an input that has changed, nor anything else that has such a name.
    ``every``: a preview of each such slice. ``side`` of the tiles, px (0: as memory allows). ``workers``,
    ``scheduler``: see `workers.spread`. Raises `DataError`, `WeightsError`, `WorkersError`.
    """
    weights, source, target = (expanded(path).resolve() for path in (weights, source, target))
    if target.exists() and not target.is_dir():
        raise DataError(f"{target} is a file; name a folder for the segmented slices.")
    if target.is_relative_to(source):
        raise DataError(f"{target} is, or lies in, the folder of the slices to be segmented, {source}; name another "
                        "folder for the segmented ones.")
    pages, model = open_volume(source), load_weights(weights)
    odd = [page for page in pages if page.shape != pages[0].shape]
    if odd and (model.dims == 3 or model.context):
        raise DataError(f"{odd[0].file} is {odd[0].shape} px, the first slice {pages[0].shape}; a network that "
                        "sees neighbouring slices needs all of one size: crop them, or take a 2-D network.")
    gain, offset, sentence = contrast(pages, model)
    digest = hashlib.blake2b(weights.read_bytes(), digest_size=6).hexdigest()
    record = {"weights": digest, "source": str(source), "contrast": sentence}
    paths = [target / f"{page.name}.tif" for page in pages]
    marks = marks_of(pages, model, (digest, gain, offset))
    foreign = [path for path, mark in zip(paths, marks, strict=True) if path.exists() and not bears(path, mark)]
    if foreign:
        raise DataError(f"{foreign[0]} is there, and was not made of {source} as it is now by these weights; name "
                        "another folder, or take that file away.")
    _must_be(record, target / RECORD)
    pictures = [target / "preview" / f"{page.name}.png" if every and index % every == 0 else None
                for index, page in enumerate(pages)]
    tasks = []
    for part, _ in spans(len(pages), slab_of(model, len(pages), side), 0):
        seen = sorted(set(seen_by(model, range(len(pages))[part], len(pages))))
        inside = range(part.start - seen[0], part.stop - seen[0])
        tasks.append(Task(weights, digest, [pages[index] for index in seen], inside, gain, offset, side, paths[part],
                          marks[part], pictures[part]))
    todo = [task for task in tasks if task.missing()]
    missing = [task.missing() for task in todo]
    done = spread(do, todo, workers, scheduler)
    target.mkdir(parents=True, exist_ok=True)
    for place in (target, target / "preview"):
        clean(place)
    write_once(target / RECORD, as_json(record))
    _must_be(record, target / RECORD)           # and not that of another prediction that began at the same moment
    print(f"{len(pages)} slices of {pages[0].shape[0]} x {pages[0].shape[1]} px; {sentence}")
    with tqdm(total=len(pages), initial=len(pages) - sum(missing), desc="predicting", unit="slice") as bar:
        for index, _ in done:
            bar.update(missing[index])
    return paths
