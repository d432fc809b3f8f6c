"""Segmentation of volumes larger than memory: read and predicted in tiles, written by slice."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from math import prod
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor
from tqdm import tqdm

from .contrast import choose_contrast
from .data import GreyScale, Voxel, values_from_classes
from .errors import DataError, WeightsError
from .files import (
    create_exclusively,
    json_bytes,
    name_in_errors,
    read_regular,
    real_path,
    remove_leftovers,
)
from .formats import outputs
from .formats.grey import to_uint16
from .formats.tiff import Page, open_volume
from .formats.voxel_size import voxel_nm_of
from .inference import fuse_batch_norm, read_weights
from .tiles import tile_spans, tiled_logits
from .unet import UNet
from .workers import map_tasks

NETWORK = "network.safetensors"  # in the output folder: a copy of the weights


class Task(NamedTuple):
    """The segmentation of one slice, or of a slab of slices: all that a worker needs to know."""

    network: Path  # its weights file
    digest: str  # of that file
    pages: Sequence[Page]  # the neighbouring slices that the network must see
    part: range  # which of them are segmented
    outputs: Sequence[outputs.Output]  # of the segmented slices
    scale: GreyScale  # how their grey levels become those of the network
    voxel_nm: Voxel | None  # size of their voxels
    tile: int  # side of the tiles in px (0: the largest that memory allows)

    def missing(self) -> int:
        """Count the slices that lack a file or their preview."""
        return sum(bool(out.missing()) or out.lacks_preview() for out in self.outputs)


@lru_cache(maxsize=1)
def _network_of(path: Path, digest: str) -> UNet:
    """Load a network for prediction, once per process."""
    content = path.read_bytes()
    if _digest(content) != digest:
        raise DataError(f"{path} was changed during the prediction. Name another folder.")
    return fuse_batch_norm(read_weights(content, path))


def _digest(content: bytes) -> str:
    """Return 12 hexadecimal digits that identify the content of a weights file."""
    return hashlib.blake2b(content, digest_size=6).hexdigest()


def run_task(task: Task) -> None:
    """Write the missing files and previews of a task, each complete or not at all."""
    model = _network_of(task.network, task.digest)
    if any(out.missing() for out in task.outputs):
        _predict_slab(model, task)
    for index, out in zip(task.part, task.outputs, strict=True):
        if out.lacks_preview():
            outputs.write_preview(task.pages[index], out, model.phases)


def _predict_slab(model: UNet, task: Task) -> None:
    """Segment the slices of a task. They are assembled on disk, so that memory holds tiles only."""
    pages, shape = task.pages, task.pages[0].shape

    def read(index: int, rows: slice) -> np.ndarray:
        grey = pages[index].rows(rows.start, rows.stop)
        unknown = ~np.isfinite(grey) if grey.dtype.kind == "f" else False
        levels = to_uint16(np.where(unknown, 0, grey), task.scale).astype(np.float32)
        levels[unknown] = model.grey[0].item()
        return levels

    kinds = {kind for out in task.outputs for kind in out.missing()}
    with ExitStack() as stack:
        arrays = {kind: stack.enter_context(_scratch(task.network.parent, kind, model,
                                                     len(task.part), shape)) for kind in kinds}
        for rows, columns, logits in tiled_logits(model, read, len(pages), shape, task.part,
                                                  task.tile):
            if not logits.isfinite().all():
                raise WeightsError(f"{task.network} gives numbers that are not finite for "
                                   f"{pages[task.part.start].file}: its weights are too large. "
                                   "Train the network again.")
            for kind, array in arrays.items():
                array[..., rows, columns] = _pixels(kind, logits, model)
        for page in pages:
            page.check_unchanged()
        for place, (index, out) in enumerate(zip(task.part, task.outputs, strict=True)):
            for kind in out.missing():
                axes = "CYX" if kind == "probabilities" else "YX"
                outputs.write_image(out.files[kind], arrays[kind][place], axes, task.voxel_nm,
                                    out.tag, pages[index])


@contextmanager
def _scratch(folder: Path, kind: str, model: UNet, n: int,
             shape: tuple[int, int]) -> Iterator[np.ndarray]:
    """Yield an array on disk for n slices of what `_pixels` returns."""
    dtype = {"labels": values_from_classes(np.zeros(1, np.uint8), model.phases).dtype,
             "probabilities": np.dtype(np.float16), "uncertainty": np.dtype(np.uint8)}[kind]
    size = (n, model.n_classes, *shape) if kind == "probabilities" else (n, *shape)
    with name_in_errors(folder), TemporaryFile(dir=folder) as scratch:
        if hasattr(os, "posix_fallocate"):  # a full disk raises here; a memory map would crash
            os.posix_fallocate(scratch.fileno(), 0, prod(size) * dtype.itemsize)
        yield np.memmap(scratch, dtype, "w+", shape=size)


def _pixels(kind: str, logits: Tensor, model: UNet) -> np.ndarray:
    """Turn logits (P, C, H, W) into label values, uncertainty (P, H, W), or probabilities."""
    if kind == "labels":
        return values_from_classes(logits.argmax(1).byte().cpu().numpy(), model.phases)
    probability = logits.float().softmax(1)
    if kind == "probabilities":
        return probability.half().cpu().numpy()
    return (100 * (1 - probability.amax(1))).round().byte().cpu().numpy()  # per cent


def predict_volume(weights: str | Path, source: str | Path, target: str | Path,
                   preview_every: int = 0, tile: int = 0, workers: int = 0, scheduler: str = "", *,
                   contrast: str = "", voxel_nm: Voxel | None = None, stack: bool = False,
                   probabilities: bool = False, uncertainty: bool = False) -> list[Path]:
    """Segment a volume into a folder, as one TIFF per slice, or one for all.

    A second call adds only what is missing. A copy of the weights, a record, and a tag in each file
    say what the folder was made from, so results of two networks or inputs are never mixed.
    Args:
        weights, source: A weights file; a folder of TIFFs, or one TIFF with many pages.
        target: The output folder, outside the source; created if missing.
        preview_every, tile: Preview every n-th slice (0: none); side of tiles, px (0: automatic).
        workers, scheduler: See `workers.map_tasks`.
        contrast, voxel_nm: See `contrast.choose_contrast`; size of a voxel in nm, z, y, x (None: as
            the source says).
        stack: Write all slices into one file, `outputs.STACK`.
        probabilities, uncertainty: Also write for each slice float16 (C, H, W), one channel per
            phase; uint8 (H, W), 100 times one minus the highest probability.
    Returns: The files of the slices in order, or of the stack, in the training data's label values.
    Raises: DataError, ParameterError, WeightsError or WorkersError, before anything is written;
        WeightsError later if the network gives numbers that are not finite.
    """
    weights, source, target = map(real_path, (weights, source, target))
    content, pages = weights.read_bytes() if weights.is_file() else b"", open_volume(source)
    model = read_weights(content, weights)
    _check_inputs(source, target, pages, model, stack)
    scale, sentence = choose_contrast(pages, model, contrast)
    voxel_nm = voxel_nm or voxel_nm_of(pages[0].file)
    record: dict[str, Any] = {
        "weights": _digest(content), "source": str(source), "contrast": sentence,
        "phases": model.phases.to_dict(), "voxel_nm": voxel_nm}
    tags = outputs.provenance_tags(pages, model, (record["weights"], scale, voxel_nm))
    kinds = ["labels", *["probabilities"] * probabilities, *["uncertainty"] * uncertainty]
    previewed = range(0, len(pages), preview_every) if preview_every else range(0)
    folders = {kind: target / outputs.FOLDERS[kind] for kind in kinds}
    planned = [outputs.Output({kind: folders[kind] / f"{page.name}.tif" for kind in kinds}, tag,
                              target / f"preview/{page.name}.png" if index in previewed else None)
               for index, (page, tag) in enumerate(zip(pages, tags, strict=True))]
    slices, whole = [out.files["labels"] for out in planned], target / outputs.STACK
    made = {path: out.tag for out in planned for path in out.files.values()}
    for path, tag in (made | ({whole: outputs.make_tag(tags)} if stack else {})).items():
        if path.exists() and not outputs.has_provenance(path, tag):
            raise DataError(f"{path} exists and was not made of {source} in its present state by "
                            "these weights. Name another folder, or remove that file.")
    if stack and whole.exists():  # then slices are only needed to make other missing files
        for out in planned:
            if out.missing() == ["labels"] and not out.lacks_preview():
                del out.files["labels"]
    belongs = {target / NETWORK: content, target / outputs.RECORD: json_bytes(record)}
    _check_belongs(belongs)

    tasks = []
    for part, _ in tile_spans(len(pages), model.slab_size(len(pages), tile), 0):
        needed = sorted(set(model.slices_needed(range(len(pages))[part], len(pages))))
        inside = range(part.start - needed[0], part.stop - needed[0])
        tasks.append(Task(target / NETWORK, record["weights"], [pages[index] for index in needed],
                          inside, planned[part], scale, voxel_nm, tile))
    counted = [(task, count) for task in tasks if (count := task.missing())]
    todo, missing = [task for task, _ in counted], [count for _, count in counted]
    results = map_tasks(run_task, todo, workers, scheduler)  # raises before anything is written
    target.mkdir(parents=True, exist_ok=True)
    for folder in {target, target / "preview", *(path.parent for path in made)}:
        remove_leftovers(folder)
    for path, expected in belongs.items():
        create_exclusively(path, expected)
    _check_belongs(belongs)  # another prediction may have started meanwhile
    print(outputs.summary(weights, pages, model, voxel_nm), sentence, sep="\n")
    with tqdm(total=len(pages), initial=len(pages) - sum(missing), desc="predicting",
              unit="slice") as bar:
        for index, _ in results:
            bar.update(missing[index])
    if not stack:
        return slices
    if not whole.exists():
        outputs.write_stack(whole, slices, voxel_nm, outputs.make_tag(tags))
    for path in slices:
        path.unlink(missing_ok=True)
    return [whole]


def _check_inputs(source: Path, target: Path, pages: Sequence[Page], model: UNet,
                  stack: bool) -> None:
    """Raise `DataError` if the folders or the sizes of the slices do not fit."""
    for folder in (target, *(target / name for name in ("preview", *outputs.FOLDERS.values()))):
        if folder.exists() and not folder.is_dir():
            raise DataError(f"{folder} is a file. Name a folder for the segmented slices.")
    if target.is_relative_to(source):
        raise DataError(f"{target} is, or lies in, the folder of the slices to segment, {source}. "
                        "Name another folder for the segmented slices.")
    odd = [page for page in pages if page.shape != pages[0].shape]
    if odd and (stack or model.sees_neighbours):
        what = "One stack" if stack else "A network that sees neighbouring slices"
        raise DataError(f"{odd[0].file} is {odd[0].shape} px, the first slice {pages[0].shape}. "
                        f"{what} needs all of one size: crop them, or "
                        f"{'leave out --stack' if stack else 'use a 2-D network'}.")


def _check_belongs(belongs: dict[Path, bytes]) -> None:
    """Raise `DataError` if a file of the output folder belongs to another prediction."""
    for path, expected in belongs.items():
        if path.exists() and read_regular(path) != expected:
            raise DataError(f"{path} belongs to another prediction, or it is damaged. Name another "
                            "folder, or remove the file.")
