"""What happens before training: import, making the built-in data, reading it."""

import subprocess
import sys

from bench import report, seconds_in_turn

from xraylib.files import home
from xraylib.slices import labelled, sets, synthetic


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def make(n: int, size: int) -> None:
    for sample in synthetic.chunks(n, size, 0):
        assert sample.images.shape[1:] == (size, size)


if __name__ == "__main__":
    modules = "xraylib.train, xraylib.experiments, xraylib.predict.volumes, xraylib.runs.sweep, xraylib.runs.tables"
    imports = seconds_in_turn(5, torch=lambda: python("import torch"), package=lambda: python("import xraylib"),
                              all=lambda: python(f"import {modules}"))
    loaded = python(f"import sys, {modules}; "
                    "print([n for n in ('matplotlib.pyplot', 'ipywidgets') if n in sys.modules])")
    sets.built_in(500, 501, 0)
    folder = home() / "data" / "built-in" / f"v{sets.VERSION}-500x501-seed0"
    read = seconds_in_turn(3, read=lambda: labelled.load(folder))["read"]
    making = seconds_in_turn(1, large=lambda: make(500, 501), tiny=lambda: make(48, 128))
    report("start", ["", "seconds"], [
        ["`import torch`", f"{imports['torch']:.2f}"],
        ["`import xraylib`", f"{imports['package']:.2f}"],
        [f"`import {modules}` (loaded of pyplot and ipywidgets: {loaded})", f"{imports['all']:.2f}"],
        ["read 500 labelled slices of 501 x 501, warm", f"{read:.2f}"],
        ["make 500 slices of 501 x 501 (without writing them)", f"{making['large']:.1f}"],
        ["make 48 slices of 128 x 128", f"{making['tiny']:.2f}"],
    ], imports=imports, loaded=loaded, read=read, making=making)
