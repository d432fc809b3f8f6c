"""From a slider's move to the new picture in the kernel: slices of 501 x 501, the laptop network, 100 moves each."""

import tempfile
import time
from pathlib import Path

import numpy as np
from bench import report

from xraylib import train
from xraylib.predict.network import best_device, save_weights
from xraylib.runs.folder import Run
from xraylib.runs.profiles import RECIPES
from xraylib.show import explore
from xraylib.slices import sets


def latencies(control, values) -> np.ndarray:
    """Milliseconds from the change of a value to the new bytes in the image widget."""
    times = []
    for value in values:
        start = time.perf_counter()
        control.value = value
        times.append(1e3 * (time.perf_counter() - start))
    return np.array(times)


if __name__ == "__main__":
    slices = sets.built_in(500, 501, 0)[:100]
    with tempfile.TemporaryDirectory() as folder:
        model = train.new_unet(RECIPES["laptop"], 0, slices, best_device())
        save_weights(model, Path(folder) / "model.safetensors")
        panel = explore.explore_errors(Run(Path(folder), {"seed": 0, "noise_std": 0}, [], {}), slices)
        controls = {child.description: child for child in panel.children[0].children}
        number, noise, picture = controls["slice"], controls["added noise"], controls["picture"]
        noise.value = 5000
        moves = {"another slice with noise, predicted anew": latencies(number, range(2, 101)),
                 "back over slices already predicted": latencies(number, [*range(99, 49, -1), *range(51, 101)]),
                 "another picture of the same slice": latencies(picture, 17 * list(picture.options))}
    report("sliders", ["move", "moves", "median, ms", "95 %, ms"], [
        [name, str(len(times)), f"{np.median(times):.0f}", f"{np.percentile(times, 95):.0f}"]
        for name, times in moves.items()], moves={name: times.tolist() for name, times in moves.items()})
