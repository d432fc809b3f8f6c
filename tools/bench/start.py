"""Time what happens before training: imports, generating the built-in data, reading them."""

import subprocess
import sys

from bench import report, seconds_in_turn

from xraylib import datasets, synthetic

MODULES = "xraylib.checkpoint, xraylib.experiments, xraylib.volumes, xraylib.sweep, xraylib.tables"


def python(code: str) -> str:
    """Return what a new Python process prints when it runs this code."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def generate(n: int, size: int) -> None:
    """Generate built-in slices without writing them."""
    for sample in synthetic.generate_chunks(n, size, 0):
        assert sample.images.shape[1:] == (size, size)


if __name__ == "__main__":
    imports = seconds_in_turn(
        5, torch=lambda: python("import torch"), package=lambda: python("import xraylib"),
        all=lambda: python(f"import {MODULES}"))
    loaded = python(f"import sys, {MODULES}; print([name for name in "
                    "('matplotlib.pyplot', 'ipywidgets') if name in sys.modules])")
    datasets.built_in(500, 501, 0)
    folder = datasets.built_in_folder(500, 501, 0)
    read = seconds_in_turn(3, read=lambda: datasets.load_slices(folder))["read"]
    making = seconds_in_turn(1, large=lambda: generate(500, 501), tiny=lambda: generate(48, 128))
    report("start", ["", "seconds"], [
        ["`import torch`", f"{imports['torch']:.2f}"],
        ["`import xraylib`", f"{imports['package']:.2f}"],
        [f"`import {MODULES}` (loads of pyplot and ipywidgets: {loaded})", f"{imports['all']:.2f}"],
        ["read 500 labelled slices of 501 x 501 px, warm", f"{read:.2f}"],
        ["generate 500 slices of 501 x 501 px, without writing them", f"{making['large']:.1f}"],
        ["generate 48 slices of 128 x 128 px", f"{making['tiny']:.2f}"],
    ], imports=imports, loaded=loaded, read=read, making=making)
