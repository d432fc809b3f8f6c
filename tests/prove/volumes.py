"""Volumes of 0.5 to 20 GB: peak memory, throughput against the bare network, and a kill half-way.

    python tests/prove/volumes.py        half an hour on 2 cores, 15 GB of disk
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import tifffile
import torch

from xraylib import train
from xraylib.predict import volumes
from xraylib.predict.network import autocast, best_device, folded, save_weights
from xraylib.runs.profiles import RECIPES
from xraylib.slices import sets
from xraylib.slices.tiff import Page, open_volume

SIDE = 1000


def make(path: Path, pages: int, images: list[np.ndarray]) -> None:
    """A BigTIFF of this many pages of 1000 x 1000 px, uint16, from slices of 501 x 501."""
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        for index in range(pages):
            tif.write(np.tile(images[index % len(images)], (2, 2))[:SIDE, :SIDE], contiguous=True)


def make_folder(folder: Path, slices: int, images: list[np.ndarray]) -> None:
    """So many slices of 1000 x 1000 px, a file each: the first twenty, and links to them, which take no disk."""
    folder.mkdir()
    for index in range(slices):
        if index < 20:
            tifffile.imwrite(folder / f"s_{index:05d}.tif", np.tile(images[index], (2, 2))[:SIDE, :SIDE])
        else:
            os.link(folder / f"s_{index % 20:05d}.tif", folder / f"s_{index:05d}.tif")


def start(weights: Path, volume: Path, target: Path) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", "xraylib", "predict", weights, volume, target],
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def finish(process: subprocess.Popen) -> float:
    """Wait for the process; its peak memory, GB."""
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, status
    return usage.ru_maxrss * 1024 / 1e9


def timed(name: str, slices: int, weights: Path, volume: Path, target: Path) -> float:
    """Predict a volume and say how long it took; returns the most memory that was held, GB."""
    begin = time.perf_counter()
    peak = finish(start(weights, volume, target))
    seconds = time.perf_counter() - begin
    print(f"{name}, {slices} slices of {SIDE} x {SIDE}: {seconds:.0f} s, {slices * SIDE**2 / 1e6 / seconds:.2f} "
          f"Mvoxel/s with the start of Python, {peak:.2f} GB at most", flush=True)
    return peak


def throughput(model, page: Page, folder: Path, rounds: int = 7) -> tuple[float, float]:
    """Mvoxel/s of `predict_slab`, from file to file, and of the bare network on the same tiles; in turn."""
    ready, windows = folded(model), []
    original, ready.forward = ready.forward, lambda x: windows.append(x) or original(x)
    volumes.predict_slab(ready, [page], range(1), 1, 0, 0, [folder / "warm.tif"], [""])
    ready.forward = original
    times: dict[str, list[float]] = {"whole": [], "bare": []}
    for number in range(rounds):
        begin = time.perf_counter()
        volumes.predict_slab(ready, [page], range(1), 1, 0, 0, [folder / f"{number}.tif"], [""])
        times["whole"].append(time.perf_counter() - begin)
        begin = time.perf_counter()
        with torch.inference_mode(), autocast(best_device()):
            for window in windows:
                ready(window)
        times["bare"].append(time.perf_counter() - begin)
    return tuple(SIDE**2 / 1e6 / np.median(times[name]) for name in ("whole", "bare"))


def main() -> None:
    slices = sets.built_in(500, 501, 0)
    model = train.new_unet(RECIPES["laptop"], 0, slices[:20], best_device())
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        save_weights(model, folder / "model.safetensors")
        peaks = {}
        for name, pages in (("0.5 GB", 250), ("2 GB", 1000)):
            make(folder / "volume.tif", pages, slices.images)
            peaks[name] = timed(name, pages, folder / "model.safetensors", folder / "volume.tif", folder / name)
        assert max(peaks.values()) < 1.2 and peaks["2 GB"] < peaks["0.5 GB"] + 0.05

        whole, bare = throughput(model, open_volume(folder / "volume.tif")[0], folder)
        print(f"from file to file {whole:.2f} Mvoxel/s, the bare network on the same tiles {bare:.2f}: "
              f"{whole / bare:.0%}")
        assert whole > 0.85 * bare

        make(folder / "volume.tif", 250, slices.images)
        process = start(folder / "model.safetensors", folder / "volume.tif", folder / "again")
        while len(list((folder / "again").glob("*.tif"))) < 125:
            time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
        process.wait()
        done = {path.name: path.stat().st_mtime_ns for path in (folder / "again").glob("*.tif")}
        finish(start(folder / "model.safetensors", folder / "volume.tif", folder / "again"))
        assert all((folder / "again" / name).stat().st_mtime_ns == when for name, when in done.items())
        for path in sorted((folder / "0.5 GB").glob("*.tif")):
            assert np.array_equal(tifffile.imread(path), tifffile.imread(folder / "again" / path.name)), path.name
        assert len(list((folder / "again").glob("*.tif"))) == 250
        print(f"killed after {len(done)} of 250 slices and started again: these stayed, all 250 are identical",
              flush=True)

        small = train.new_unet(replace(RECIPES["laptop"], width=2, depth=1), 0, slices[:20], best_device())
        save_weights(small, folder / "small.safetensors")
        for name, count in (("0.5 GB, a small network", 250), ("20 GB, a small network", 10_000)):
            make_folder(folder / "slices", count, slices.images)
            peaks[name] = timed(name, count, folder / "small.safetensors", folder / "slices", folder / name)
            shutil.rmtree(folder / "slices")
        assert peaks["20 GB, a small network"] < peaks["0.5 GB, a small network"] + 0.05


if __name__ == "__main__":
    main()
