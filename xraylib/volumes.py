"""Volumes larger than memory: read by bands of rows, predicted in overlapping tiles, written slice by slice."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib.image
import numpy as np
import tifffile
import torch
from torch import Tensor
from tqdm import tqdm

from . import plots
from .data import DataError, as_values, find, to_classes
from .predict import autocast, folded, replace
from .unet import UNet

RECORD = "prediction.json"                # in the output folder: what its slices were made of
VOXELS_IN_FLIGHT = 2**23                  # channels at the top x pixels of a tile: what bounds the memory


@dataclass(frozen=True)
class Page:
    """One slice on disk: where it is and what it holds. Rows are read, so that memory does not hold it whole."""

    name: str                             # of the slice that is written
    file: Path
    index: int                            # of the page in its file
    shape: tuple[int, int]
    dtype: np.dtype
    offset: int | None                    # of its pixels in the file; None: compressed, so that it is read whole

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows start..stop, (rows, W), in the file's dtype. Raises `DataError` where the file ends before."""
        if self.offset is None:
            try:
                return tifffile.imread(self.file, key=self.index)[start:stop]
            except Exception as error:    # a damaged TIFF can fail anywhere inside the reader, with any exception
                raise DataError(f"{self.file}, page {self.index + 1} cannot be read ({error}); copy or export it "
                                "again.") from error
        width = self.shape[1]
        found = np.fromfile(self.file, self.dtype, (stop - start) * width,
                            offset=self.offset + start * width * self.dtype.itemsize)
        if found.size < (stop - start) * width:
            raise DataError(f"{self.file} is cut short (it ends before its pixels do); copy or export it again.")
        return found.reshape(-1, width)


def pages_of(path: Path) -> list[Page]:
    """The slices of a TIFF file, one or many pages (BigTIFF and ImageJ stacks too)."""
    try:
        with tifffile.TiffFile(path) as tif:
            series = tif.series[0]
            shape, dtype = series.shape, series.dtype.newbyteorder(tif.byteorder)
            start, many, samples = series.dataoffset, len(tif.pages), tif.pages[0].samplesperpixel
    except Exception as error:
        raise DataError(f"{path} cannot be read as a TIFF ({error}); copy or export it again.") from error
    if len(shape) not in (2, 3) or samples != 1 or dtype.kind + str(dtype.itemsize) not in ("u1", "u2", "f4"):
        raise DataError(f"{path} holds {dtype.name} of shape {shape}; slices must be grey, (height, width) or (slices, "
                        "height, width), and uint8, uint16 or float32.")
    count, size = (1 if len(shape) == 2 else shape[0]), shape[-2] * shape[-1] * dtype.itemsize
    if start is None and many < count:
        raise DataError(f"{path} packs {count} slices into {many} pages; save one slice a page.")
    return [Page(path.stem if count == 1 else f"{path.stem}_{index + 1:05d}", path, index, shape[-2:], dtype,
                 None if start is None else start + index * size) for index in range(count)]


def open_volume(path: str | Path) -> list[Page]:
    """The slices of a TIFF file, or of all TIFF files of a folder, in the order of their numbers."""
    path = Path(path).expanduser()
    if path.is_file():
        return pages_of(path)
    if not path.is_dir():
        raise DataError(f"{path} is neither a TIFF file nor a folder of TIFF files.")
    pages = [page for file in find(path).values() for page in pages_of(file)]
    for page in pages:
        if page.dtype.name != pages[0].dtype.name:
            raise DataError(f"{page.file} holds {page.dtype.name}, the first file {pages[0].dtype.name}; all must have "
                            "the same dtype.")
    return pages


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


def margin_of(model: UNet) -> int:
    """How far a pixel's surroundings reach that its prediction depends on, px; a multiple of the poolings' step."""
    return 6 * 2**model.depth


def spans(length: int, inner: int, margin: int) -> Iterator[tuple[slice, slice]]:
    """Cuts of 0..length: what each tile is trusted for, and what it must see: ``margin`` more on both sides."""
    for start in range(0, length, inner):
        stop = min(start + inner, length)
        yield slice(start, stop), slice(max(0, start - margin), min(length, stop + margin))


@torch.inference_mode()
def tiled_logits(model: UNet, page: Page, gain: float, offset: float,
                 side: int) -> Iterator[tuple[slice, slice, Tensor]]:
    """Rows, columns and logits (n_classes, rows, columns) of each tile of a slice, in order, without overlap.

    A tile sees a margin as wide as the network looks, and begins where a pooling window begins: its logits are those
    of the whole slice at once, so that no seams are there to be blended (the overlap-tile strategy of Ronneberger et
    al. 2015, Figure 2). ``model``: as `predict.folded` gives it.
    """
    margin, device = margin_of(model), next(model.parameters()).device
    inner = max(side - 2 * margin, margin)
    inner -= inner % 2**model.depth
    for rows, seen in spans(page.shape[0], inner, margin):
        band = page.rows(seen.start, seen.stop)
        for columns, around in spans(page.shape[1], inner, margin):
            window = torch.from_numpy(np.ascontiguousarray(band[:, around], band.dtype.newbyteorder("=")))
            window = window.to(device).float().nan_to_num(0.0) * gain + offset
            with autocast(device):
                logits = model(window[None, None])[0]
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


def resolution(page: Page) -> dict:
    """The resolution tags of a slice, as `tifffile.imwrite` takes them."""
    with tifffile.TiffFile(page.file) as tif:
        tags = tif.pages[min(page.index, len(tif.pages) - 1)].tags
        if "XResolution" not in tags or "YResolution" not in tags:
            return {}
        unit = tags["ResolutionUnit"].value if "ResolutionUnit" in tags else 2
        return {"resolution": (tags["XResolution"].value, tags["YResolution"].value), "resolutionunit": unit}


def preview(page: Page, segmented: Path, path: Path) -> None:
    """A colour PNG, at most about 1,000 px a side: the slice on the left, tinted by phase on the right."""
    step = max(1, max(page.shape) // 1000)
    grey = page.rows(0, page.shape[0])[::step, ::step].astype(np.float32)
    low, high = np.nanpercentile(grey, [0.5, 99.5])
    grey = np.nan_to_num(np.clip((grey - low) / max(high - low, 1e-9), 0, 1))[..., None] * 255
    labels = to_classes(tifffile.imread(segmented)[::step, ::step], segmented)
    tinted = 0.55 * grey + 0.45 * plots.PALETTES["safe"][labels]
    both = np.concatenate([np.repeat(grey, 3, -1), tinted], 1).astype(np.uint8)
    replace(path, lambda part: matplotlib.image.imsave(part, both, format="png"))


def predict_volume(model: UNet, weights: str, source: str | Path, target: str | Path, every: int = 0,
                   side: int = 0) -> list[Path]:
    """Segment a volume into a folder, one uint8 TIFF a slice; a second call does only what is missing.

    ``weights``: a name of the network, kept in ``target`` so that two networks' slices do not mix. ``every``: a
    preview of each such slice. ``side`` of the tiles, px (0: as memory allows). Raises `DataError`.
    """
    pages, target = open_volume(source), Path(target)
    gain, offset, sentence = contrast(pages, model)
    record = {"weights": weights, "source": str(Path(source).expanduser().resolve()), "contrast": sentence}
    target.mkdir(parents=True, exist_ok=True)
    if (target / RECORD).exists() and json.loads((target / RECORD).read_text()) != record:
        raise DataError(f"{target} holds slices of another prediction (see {target / RECORD}); name another folder.")
    replace(target / RECORD, lambda part: part.write_text(json.dumps(record, indent=1) + "\n"))
    print(f"{len(pages)} slices of {pages[0].shape[0]} x {pages[0].shape[1]} px; {sentence}")
    ready = folded(model)
    side = side or tile_side(model)
    paths = [target / f"{page.name}.tif" for page in pages]
    todo = [index for index, path in enumerate(paths) if not path.exists()]
    bar = tqdm(total=len(pages), initial=len(pages) - len(todo), desc="predicting", unit="slice")
    with bar:
        for index in todo:
            predict_page(ready, pages[index], gain, offset, side, paths[index])
            if every and index % every == 0:
                (target / "preview").mkdir(exist_ok=True)
                preview(pages[index], paths[index], target / "preview" / f"{pages[index].name}.png")
            bar.update()
    return paths
