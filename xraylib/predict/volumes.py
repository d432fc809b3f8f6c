"""Volumes larger than memory: read by bands of rows, predicted in overlapping tiles, written slice by slice."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import matplotlib.image
import numpy as np
import tifffile
import torch
from torch import Tensor
from tqdm import tqdm

from ..files import replace, write_json
from ..slices.labelled import PALETTES, as_values, to_classes
from ..slices.tiff import DataError, Page, open_volume, resolution
from ..unet import UNet
from ..workers import spread
from .network import autocast, folded, load_weights, with_margin

RECORD = "prediction.json"                # in the output folder: what its slices were made of
VOXELS_IN_FLIGHT = 2**23                  # channels at the top x pixels of a tile: what bounds the memory


# -- contrast ---------------------------------------------------------------------------------------------------------


def contrast(pages: list[Page], model: UNet) -> tuple[float, float, str]:
    """How grey levels become those of the training set: gain, offset, and the sentence that says so.

    Looks at 16 slices at most. uint16 whose mean and deviation are within a quarter of a deviation of the training
    set's are left alone; all others are brought to its mean and deviation.
    """
    chosen = [pages[index] for index in np.unique(np.linspace(0, len(pages) - 1, min(16, len(pages))).astype(int))]
    sample = np.concatenate([page.rows(0, page.shape[0])[::4, ::4].ravel() for page in chosen]).astype(np.float64)
    sample = sample[np.isfinite(sample)]
    mean, deviation = (sample.mean(), sample.std()) if sample.size else (0.0, 0.0)
    if deviation == 0:
        raise DataError(f"{pages[0].file.parent} holds one grey level only; there is nothing to segment.")
    ours, spread = model.grey.tolist()
    here = f"{pages[0].dtype.name}, grey levels {mean:.4g} ± {deviation:.4g} (mean ± deviation)"
    there = f"the training set's uint16, {ours:.0f} ± {spread:.0f}"
    if pages[0].dtype.name == "uint16" and max(abs(mean - ours), abs(deviation - spread)) < spread / 4:
        return 1.0, 0.0, f"{here}: like {there}; used as they are."
    gain = spread / deviation
    return gain, ours - gain * mean, (f"{here}, against {there}: brought to its mean and deviation. Another material, "
                                      "resolution or contrast than the training set's can still be segmented wrongly; "
                                      "look at the preview.")


# -- tiles ------------------------------------------------------------------------------------------------------------


def tile_side(model: UNet) -> int:
    """The side of a tile that keeps a network of this width within `VOXELS_IN_FLIGHT`, px."""
    return int((VOXELS_IN_FLIGHT / model.width) ** 0.5)


def reach_of(model: UNet) -> int:
    """How far a pixel's surroundings reach that its prediction depends on, px; a multiple of the poolings' step."""
    return 6 * 2**model.depth


def spans(length: int, inner: int, reach: int) -> Iterator[tuple[slice, slice]]:
    """Cuts of 0..length: what each tile is trusted for, and what it must see: ``reach`` more on both sides."""
    for start in range(0, length, inner):
        stop = min(start + inner, length)
        yield slice(start, stop), slice(max(0, start - reach), min(length, stop + reach))


@torch.inference_mode()
def tiled_logits(model: UNet, page: Page, gain: float, offset: float,
                 side: int) -> Iterator[tuple[slice, slice, Tensor]]:
    """Rows, columns and logits (n_classes, rows, columns) of each tile of a slice, in order, without overlap.

    A tile sees as far around it as the network looks, and begins where a pooling window begins: its logits are those
    of the whole slice at once, so that no seams are there to be blended (the overlap-tile strategy of Ronneberger et
    al. 2015, Figure 2). ``model``: as `network.folded` gives it.
    """
    reach, device = reach_of(model), next(model.parameters()).device
    inner = max(side - 2 * reach, reach)
    inner -= inner % 2**model.depth
    for rows, seen in spans(page.shape[0], inner, reach):
        band = page.rows(seen.start, seen.stop)
        for columns, around in spans(page.shape[1], inner, reach):
            window = torch.from_numpy(np.ascontiguousarray(band[:, around], band.dtype.newbyteorder("=")))
            window = window.to(device).float().nan_to_num(0.0) * gain + offset
            with autocast(device):
                logits = model(with_margin(model, window[None, None]))[0]
            top, left = rows.start - seen.start, columns.start - around.start
            yield rows, columns, logits[:, top:top + rows.stop - rows.start, left:left + columns.stop - columns.start]


def predict_page(model: UNet, page: Page, gain: float, offset: float, side: int, path: Path) -> None:
    """Write the segmentation of a slice, uint8 0 / 128 / 255, with its resolution; the file is whole or not there."""
    def write(part: Path) -> None:
        start, _ = tifffile.imwrite(part, shape=page.shape, dtype=np.uint8, returnoffset=True, **resolution(page))
        with part.open("r+b") as file:
            band = np.empty((0, 0), np.uint8)
            for rows, columns, logits in tiled_logits(model, page, gain, offset, side):
                if columns.start == 0:
                    band = np.empty((rows.stop - rows.start, page.shape[1]), np.uint8)
                band[:, columns] = as_values(logits.argmax(0).byte().cpu().numpy())
                if columns.stop == page.shape[1]:
                    file.seek(start + rows.start * page.shape[1])
                    file.write(band.data)
    replace(path, write)


def preview(page: Page, segmented: Path, path: Path) -> None:
    """A colour PNG, at most about 1,000 px a side: the slice on the left, tinted by phase on the right."""
    step = max(1, max(page.shape) // 1000)
    grey = page.rows(0, page.shape[0])[::step, ::step].astype(np.float32)
    low, high = np.nanpercentile(grey, [0.5, 99.5])
    grey = np.nan_to_num(np.clip((grey - low) / max(high - low, 1e-9), 0, 1))[..., None] * 255
    labels = to_classes(tifffile.imread(segmented)[::step, ::step], segmented)
    tinted = 0.55 * grey + 0.45 * PALETTES["safe"][labels]
    both = np.concatenate([np.repeat(grey, 3, -1), tinted], 1).astype(np.uint8)
    path.parent.mkdir(exist_ok=True)
    replace(path, lambda part: matplotlib.image.imsave(part, both, format="png"))


# -- a volume ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """The segmentation of one slice: all that a worker needs to know."""

    weights: Path
    digest: str              # of what is in the weights file
    page: Page
    gain: float              # of the grey levels, before they meet the network
    offset: float
    side: int                # of the tiles, px (0: as memory allows)
    path: Path
    preview: Path | None


@lru_cache(maxsize=1)
def network_of(weights: Path, _digest: str) -> UNet:
    """The network of a weights file, ready to predict: read once a process, and again when the file has changed."""
    return folded(load_weights(weights))


def do(task: Task) -> None:
    """Segment one slice, whole or not at all, and draw its preview, where they are not there."""
    model = network_of(task.weights, task.digest)
    if not task.path.exists():
        predict_page(model, task.page, task.gain, task.offset, task.side or tile_side(model), task.path)
    if task.preview:
        preview(task.page, task.path, task.preview)


def predict_volume(weights: str | Path, source: str | Path, target: str | Path, every: int = 0, side: int = 0,
                   workers: int = 0, scheduler: str = "") -> list[Path]:
    """Segment a volume into a folder, one uint8 TIFF a slice; a second call does only what is missing.

    ``weights``: a weights file; what it holds is kept in ``target``, so that two networks' slices do not mix.
    ``every``: a preview of each such slice. ``side`` of the tiles, px (0: as memory allows). ``workers``,
    ``scheduler``: see `workers.spread`. Raises `DataError`, `WeightsError`, `WorkersError`.
    """
    weights, source, target = (Path(path).expanduser().resolve() for path in (weights, source, target))
    if target.exists() and not target.is_dir():
        raise DataError(f"{target} is a file; name a folder for the segmented slices.")
    pages, model = open_volume(source), load_weights(weights)
    gain, offset, sentence = contrast(pages, model)
    digest = hashlib.blake2b(weights.read_bytes(), digest_size=6).hexdigest()
    record = {"weights": digest, "source": str(source), "contrast": sentence}
    target.mkdir(parents=True, exist_ok=True)
    if (target / RECORD).exists() and json.loads((target / RECORD).read_text()) != record:
        raise DataError(f"{target} holds slices of another prediction (see {target / RECORD}); name another folder.")
    tasks = [Task(weights, digest, page, gain, offset, side, target / f"{page.name}.tif",
                  target / "preview" / f"{page.name}.png" if every and index % every == 0 else None)
             for index, page in enumerate(pages)]
    if not (target / RECORD).exists() and any(task.path.exists() for task in tasks):
        raise DataError(f"{target} holds files of the names that the slices would get; name another folder.")
    write_json(target / RECORD, record)
    print(f"{len(pages)} slices of {pages[0].shape[0]} x {pages[0].shape[1]} px; {sentence}")
    missing = [task for task in tasks if not task.path.exists() or (task.preview and not task.preview.exists())]
    with tqdm(total=len(tasks), initial=len(tasks) - len(missing), desc="predicting", unit="slice") as bar:
        for _ in spread(do, missing, workers, scheduler):
            bar.update()
    return [task.path for task in tasks]
