"""Time a slider from its move to the new picture in the kernel.

Slices of 501 x 501 px, the laptop network, 100 moves of each kind.
"""

import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from bench import report

from xraylib import datasets, training, widgets
from xraylib.data import NI_YSZ
from xraylib.device import best_device
from xraylib.inference import save_weights
from xraylib.params import PROFILES
from xraylib.runs import Run


def latencies(control, values: Iterable) -> np.ndarray:
    """Return the milliseconds from each change of a value to the new bytes in the image widget."""
    times = []
    for value in values:
        start = time.perf_counter()
        control.value = value
        times.append(1e3 * (time.perf_counter() - start))
    return np.array(times)


if __name__ == "__main__":
    slices = datasets.built_in(500, 501, 0)[:100]
    with tempfile.TemporaryDirectory() as temporary:
        weights = Path(temporary) / "model.safetensors"
        save_weights(training.build_unet(PROFILES["laptop"], 0, slices, best_device()), weights)
        config = {"seed": 0, "noise_std": 0, "phases": NI_YSZ.to_dict()}
        panel = widgets.explore_errors(Run(Path(temporary), config, [], {}, weights), slices)
        controls = {child.description: child for child in panel.children[0].children}
        number, noise, picture = controls["slice"], controls["added noise"], controls["picture"]
        noise.value = 5000
        back_and_forth = [*range(99, 49, -1), *range(51, 101)]
        moves = {
            "another slice with noise, predicted anew": latencies(number, range(2, 101)),
            "back over slices already predicted": latencies(number, back_and_forth),
            "another picture of the same slice": latencies(picture, 17 * list(picture.options)),
        }
    report("sliders", ["move", "moves", "median, ms", "95 %, ms"], [
        [name, str(len(times)), f"{np.median(times):.0f}", f"{np.percentile(times, 95):.0f}"]
        for name, times in moves.items()],
        moves={name: times.tolist() for name, times in moves.items()})
