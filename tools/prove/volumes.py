"""Predict volumes of 0.5 to 20 GB: peak memory, throughput, and a kill half-way.

    python tools/prove/volumes.py        half an hour on 2 cores, 15 GB of disk
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

from xraylib import volumes
from xraylib.datasets import built_in
from xraylib.device import autocast, best_device
from xraylib.formats.tiff import Page, open_volume
from xraylib.inference import fuse_batch_norm, save_weights
from xraylib.params import PROFILES
from xraylib.training import build_unet
from xraylib.unet import UNet

SIDE = 1000


def write_volume(path: Path, pages: int, images: list[np.ndarray]) -> None:
    """Write a BigTIFF of this many pages of 1000 x 1000 px, uint16, from slices of 501 x 501 px."""
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        for index in range(pages):
            tif.write(np.tile(images[index % len(images)], (2, 2))[:SIDE, :SIDE], contiguous=True)


def write_folder(folder: Path, slices: int, images: list[np.ndarray]) -> None:
    """Write a TIFF per slice: twenty of 1000 x 1000 px, and links to them, which take no disk."""
    folder.mkdir()
    for index in range(slices):
        path = folder / f"s_{index:05d}.tif"
        if index < 20:
            tifffile.imwrite(path, np.tile(images[index], (2, 2))[:SIDE, :SIDE])
        else:
            os.link(folder / f"s_{index % 20:05d}.tif", path)


def start(weights: Path, volume: Path, target: Path) -> subprocess.Popen:
    """Start a prediction in a process of its own."""
    command = [sys.executable, "-m", "xraylib", "predict", weights, volume, target]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def finish(process: subprocess.Popen) -> float:
    """Wait for a process and return its peak memory, GB."""
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, status
    return usage.ru_maxrss * 1024 / 1e9


def timed(name: str, slices: int, weights: Path, volume: Path, target: Path) -> float:
    """Predict a volume, print how long it took, and return the peak memory, GB."""
    begin = time.perf_counter()
    peak = finish(start(weights, volume, target))
    seconds = time.perf_counter() - begin
    print(f"{name}, {slices} slices of {SIDE} x {SIDE} px: {seconds:.0f} s, "
          f"{slices * SIDE**2 / 1e6 / seconds:.2f} Mvoxel/s with the start of Python, "
          f"peak memory {peak:.2f} GB", flush=True)
    return peak


def throughput(model: UNet, page: Page, folder: Path, rounds: int = 7) -> tuple[float, float]:
    """Measure Mvoxel/s of a task, from file to file, and of the bare network on its tiles."""
    ready, windows = fuse_batch_norm(model), []
    volumes._network_of = lambda path, digest: ready
    hook = ready.register_forward_pre_hook(lambda _, inputs: windows.append(inputs[0]))

    def predict(name: str) -> None:
        named = [replace(page, name=name)]
        outputs = [volumes.outputs.Output({"labels": folder / f"{name}.tif"}, "", None)]
        network = folder / volumes.NETWORK
        volumes.run_task(volumes.Task(network, "", named, range(1), outputs, volumes.GreyScale(),
                                      None, 0))

    predict("warm")
    hook.remove()
    times: dict[str, list[float]] = {"task": [], "bare": []}
    for number in range(rounds):
        begin = time.perf_counter()
        predict(str(number))
        times["task"].append(time.perf_counter() - begin)
        begin = time.perf_counter()
        with torch.inference_mode(), autocast(best_device()):
            for window in windows:
                ready(window)
        times["bare"].append(time.perf_counter() - begin)
    task, bare = (SIDE**2 / 1e6 / float(np.median(values)) for values in times.values())
    return task, bare


def kill_and_continue(weights: Path, volume: Path, complete: Path, target: Path) -> None:
    """Kill a prediction after 125 slices, start it again, and compare with a complete one."""
    process = start(weights, volume, target)
    while len(list(target.glob("*.tif"))) < 125:
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = {path.name: path.stat().st_mtime_ns for path in target.glob("*.tif")}
    finish(start(weights, volume, target))
    assert all((target / name).stat().st_mtime_ns == when for name, when in done.items())
    paths = sorted(complete.glob("*.tif"))
    assert len(paths) == len(list(target.glob("*.tif"))) == 250
    for path in paths:
        same = np.array_equal(tifffile.imread(path), tifffile.imread(target / path.name))
        assert same, path.name
    print(f"killed after {len(done)} of 250 slices and started again: these stayed, and all 250 "
          "are identical", flush=True)


def main() -> None:
    """Run all parts; each prints what it measured and fails if a promise is broken."""
    slices = built_in(500, 501, 0)
    model = build_unet(PROFILES["laptop"], 0, slices[:20], best_device())
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        weights, volume = folder / "model.safetensors", folder / "volume.tif"
        save_weights(model, weights)
        peaks = {}
        for name, pages in (("0.5 GB", 250), ("2 GB", 1000)):
            write_volume(volume, pages, slices.images)
            peaks[name] = timed(name, pages, weights, volume, folder / name)
        assert max(peaks.values()) < 1.2 and peaks["2 GB"] < peaks["0.5 GB"] + 0.05

        task, bare = throughput(model, open_volume(volume)[0], folder)
        print(f"from file to file {task:.2f} Mvoxel/s, the bare network on the same tiles "
              f"{bare:.2f}: {task / bare:.0%}")
        assert task > 0.85 * bare

        write_volume(volume, 250, slices.images)
        kill_and_continue(weights, volume, folder / "0.5 GB", folder / "again")

        recipe = replace(PROFILES["laptop"], width=2, depth=1)
        small = folder / "small.safetensors"
        save_weights(build_unet(recipe, 0, slices[:20], best_device()), small)
        for name, count in (("0.5 GB, a small network", 250), ("20 GB, a small network", 10_000)):
            write_folder(folder / "slices", count, slices.images)
            peaks[name] = timed(name, count, small, folder / "slices", folder / name)
            shutil.rmtree(folder / "slices")
        assert peaks["20 GB, a small network"] < peaks["0.5 GB, a small network"] + 0.05


if __name__ == "__main__":
    main()
