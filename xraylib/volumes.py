"""Segmentation of volumes larger than memory: read and predicted in tiles, written by slice."""

import hashlib
import os
from collections.abc import Sequence
from functools import lru_cache
from math import prod
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple

import matplotlib.image
import numpy as np
import tifffile
from tqdm import tqdm

from .contrast import match_contrast
from .data import classes_from_values, values_from_classes
from .errors import DataError
from .files import atomic_file, create_exclusively, expand_user, json_bytes, remove_leftovers
from .inference import fuse_batch_norm, read_weights
from .tiff import Page, open_volume, resolution_tags
from .tiles import tile_spans, tiled_logits
from .unet import UNet
from .workers import map_tasks

RECORD = "prediction.json"  # in the output folder: what its slices were made of
NETWORK = "network.safetensors"  # in the output folder: a copy of the weights
PNG_END = b"IEND\xaeB`\x82"


def _provenance_tags(pages: Sequence[Page], model: UNet, made_by: tuple) -> list[str]:
    """Make a text for each segmented slice that changes with `made_by` and the slices it needs."""
    contents = {}
    for path in {page.file for page in pages}:
        with path.open("rb") as file:
            contents[path] = hashlib.file_digest(file, "blake2b").hexdigest()
    made_of = [(contents[page.file], page.index) for page in pages]
    tags = []
    for index in range(len(pages)):
        needed = model.slices_needed(range(index, index + 1), len(pages))
        text = repr((made_by, [made_of[i] for i in needed])).encode()
        tags.append(f"segmented by xraylib, {hashlib.blake2b(text, digest_size=8).hexdigest()}")
    return tags


def has_provenance(path: Path, tag: str) -> bool:
    """Tell whether a TIFF or PNG of a segmentation carries this tag and is complete."""
    try:
        if path.suffix == ".png":
            content = path.read_bytes()
            return tag.encode() in content and content.endswith(PNG_END)
        with tifffile.TiffFile(path) as tif:
            page = tif.pages.first
            end = page.dataoffsets[-1] + page.databytecounts[-1]
            return page.description == tag and end <= tif.filehandle.size
    except Exception:  # a foreign or damaged file can fail anywhere in the reader
        return False


class Output(NamedTuple):
    """The files of one segmented slice."""

    path: Path
    tag: str  # its provenance
    preview: Path | None

    def lacks_preview(self) -> bool:
        """Say whether the preview is asked for and missing, damaged or of another network."""
        return bool(self.preview and not has_provenance(self.preview, self.tag))


class Task(NamedTuple):
    """The segmentation of one slice, or of a slab of slices: all that a worker needs to know."""

    network: Path  # its weights file
    digest: str  # of that file
    pages: Sequence[Page]  # the neighbouring slices that the network must see
    part: range  # which of them are segmented
    outputs: Sequence[Output]  # of these
    gain: float  # grey levels are multiplied by it ...
    offset: float  # ... and then this is added
    tile: int  # side of the tiles in px (0: the largest that memory allows)

    def missing(self) -> int:
        """Count the slices that are missing, or lack their preview."""
        return sum(not out.path.exists() or out.lacks_preview() for out in self.outputs)


@lru_cache(maxsize=1)
def _network_of(path: Path, digest: str) -> UNet:
    """Load a network for prediction, once per process."""
    content = path.read_bytes()
    if _digest(content) != digest:
        raise DataError(f"{path} was changed during the prediction. Name another folder.")
    return fuse_batch_norm(read_weights(content, path))


def _digest(content: bytes) -> str:
    """12 hexadecimal digits of the content of a weights file."""
    return hashlib.blake2b(content, digest_size=6).hexdigest()


def run_task(task: Task) -> None:
    """Write the missing slices and previews of a task, each complete or not at all."""
    model = _network_of(task.network, task.digest)
    if not all(out.path.exists() for out in task.outputs):
        _predict_slab(model, task)
    for index, out in zip(task.part, task.outputs, strict=True):
        if out.preview and out.lacks_preview():
            _write_preview(task.pages[index], out.path, out.preview, out.tag, model)


def _predict_slab(model: UNet, task: Task) -> None:
    """Segment the part of a task; it is put together on disk, so that memory holds tiles only."""
    pages, shape = task.pages, task.pages[0].shape

    def read(index: int, rows: slice) -> np.ndarray:
        grey = pages[index].rows(rows.start, rows.stop).astype(np.float32)
        with np.errstate(over="ignore"):
            grey = np.clip(grey * np.float32(task.gain) + np.float32(task.offset), 0, 65535)
        return np.nan_to_num(grey, nan=float(model.grey[0]))

    with TemporaryFile(dir=task.network.parent) as scratch:
        if hasattr(os, "posix_fallocate"):  # a full disk raises here; a memory map would crash
            os.posix_fallocate(scratch.fileno(), 0, len(task.part) * prod(shape))
        segmented = np.memmap(scratch, np.uint8, "w+", shape=(len(task.part), *shape))
        for rows, columns, logits in tiled_logits(model, read, len(pages), shape, task.part,
                                                  task.tile):
            classes = logits.argmax(1).byte().cpu().numpy()
            segmented[:, rows, columns] = values_from_classes(classes, model.phases)
        for page in pages:
            page.check_unchanged()
        for index, out, values in zip(task.part, task.outputs, segmented, strict=True):
            if not out.path.exists():
                with atomic_file(out.path) as file:
                    tifffile.imwrite(file, values, description=out.tag,
                                     **resolution_tags(pages[index]))


def _write_preview(page: Page, segmented: Path, path: Path, tag: str, model: UNet) -> None:
    """Write a PNG of at most about 1,000 px per side: the slice, and the slice tinted by phase."""
    step = max(1, max(page.shape) // 1000)
    grey = page.whole()[::step, ::step].astype(np.float32)
    finite = grey[np.isfinite(grey)]
    low, high = np.percentile(finite, [0.5, 99.5]) if finite.size else (0, 1)
    scaled = np.nan_to_num((grey.clip(low, high) - low) / max(high - low, 1e-9))[..., None] * 255
    values = tifffile.imread(segmented)[::step, ::step]
    colours = model.phases.palette()[classes_from_values(values, segmented, model.phases)]
    both = np.concatenate([scaled.repeat(3, -1), 0.55 * scaled + 0.45 * colours], 1)
    path.parent.mkdir(exist_ok=True)
    with atomic_file(path) as file:
        matplotlib.image.imsave(file, both.astype(np.uint8), format="png",
                                metadata={"Description": tag})


def predict_volume(weights: str | Path, source: str | Path, target: str | Path,
                   preview_every: int = 0, tile: int = 0, workers: int = 0,
                   scheduler: str = "") -> list[Path]:
    """Segment a volume into a folder, one uint8 TIFF per slice.

    A second call does only what is missing. A copy of the weights, `RECORD` and the tag of every
    slice say what the folder was made of, so that two networks or a changed input never mix.
    Args:
        weights, source: A weights file; a folder of TIFFs, or one TIFF with many pages.
        target: The output folder, outside the source; created if missing.
        preview_every, tile: Preview every such slice (0: none); px per tile (0: as memory allows).
        workers, scheduler: See `workers.map_tasks`.
    Returns: The segmented slices, in order, with the label values of the training data.
    Raises: DataError, WeightsError or WorkersError, before anything is written.
    """
    weights, source, target = (expand_user(path).resolve() for path in (weights, source, target))
    content, pages = weights.read_bytes() if weights.is_file() else b"", open_volume(source)
    model = read_weights(content, weights)
    _check_inputs(source, target, pages, model)
    gain, offset, contrast = match_contrast(pages, model)
    record = {"weights": _digest(content), "source": str(source), "contrast": contrast}
    tags = _provenance_tags(pages, model, (record["weights"], gain, offset))
    outputs = []
    for index, (page, tag) in enumerate(zip(pages, tags, strict=True)):
        path, preview = target / f"{page.name}.tif", target / "preview" / f"{page.name}.png"
        if path.exists() and not has_provenance(path, tag):
            raise DataError(f"{path} exists and was not made of {source} in its present state by "
                            "these weights. Name another folder, or remove that file.")
        shown = preview_every and index % preview_every == 0
        outputs.append(Output(path, tag, preview if shown else None))
    belongs = {target / NETWORK: content, target / RECORD: json_bytes(record)}
    _check_belongs(belongs)

    tasks = []
    for part, _ in tile_spans(len(pages), model.slab_size(len(pages), tile), 0):
        needed = sorted(set(model.slices_needed(range(len(pages))[part], len(pages))))
        inside = range(part.start - needed[0], part.stop - needed[0])
        tasks.append(Task(target / NETWORK, record["weights"], [pages[index] for index in needed],
                          inside, outputs[part], gain, offset, tile))
    counts = [task.missing() for task in tasks]
    todo = [task for task, count in zip(tasks, counts, strict=True) if count]
    missing = [count for count in counts if count]
    results = map_tasks(run_task, todo, workers, scheduler)  # refuses before anything is written
    target.mkdir(parents=True, exist_ok=True)
    for folder in (target, target / "preview"):
        remove_leftovers(folder)
    for path, expected in belongs.items():
        create_exclusively(path, expected)
    _check_belongs(belongs)  # another prediction may have begun at the same moment
    print(f"{len(pages)} slices of {pages[0].shape[0]} x {pages[0].shape[1]} px; {contrast}")
    with tqdm(total=len(pages), initial=len(pages) - sum(missing), desc="predicting",
              unit="slice") as bar:
        for index, _ in results:
            bar.update(missing[index])
    return [out.path for out in outputs]


def _check_inputs(source: Path, target: Path, pages: Sequence[Page], model: UNet) -> None:
    """Raise `DataError` if the folders or the sizes of the slices do not fit."""
    if target.exists() and not target.is_dir():
        raise DataError(f"{target} is a file. Name a folder for the segmented slices.")
    if target.is_relative_to(source):
        raise DataError(f"{target} is, or lies in, the folder of the slices to segment, {source}. "
                        "Name another folder for the segmented slices.")
    odd = [page for page in pages if page.shape != pages[0].shape]
    if odd and model.sees_neighbours:
        raise DataError(f"{odd[0].file} is {odd[0].shape} px, the first slice {pages[0].shape}. A "
                        "network that sees neighbouring slices needs all of one size: crop them, "
                        "or use a 2-D network.")


def _check_belongs(belongs: dict[Path, bytes]) -> None:
    """Raise `DataError` if a file of the output folder belongs to another prediction."""
    for path, expected in belongs.items():
        if path.exists() and path.read_bytes() != expected:
            raise DataError(f"{path} belongs to another prediction, or it is damaged. Name another "
                            "folder, or remove the file.")
