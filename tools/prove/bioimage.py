"""Check that bioimage.io's own tool accepts the packages that `xraylib export` writes.

bioimageio.core does not run with the newest pydantic, so it gets an environment of its own.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from xraylib.data import GreyScale
from xraylib.inference import load_weights, save_weights
from xraylib.outlook.export import export_network
from xraylib.published import named_networks, network_file

PACKAGES = ("bioimageio.core==0.11.*", "pydantic<2.14", "onnxruntime", "imagecodecs")


def main() -> None:
    """Export the named networks of single slices and one that was trained on 8-bit files."""
    with tempfile.TemporaryDirectory() as folder:
        place, own = Path(folder), Path(folder) / "8-bit files.safetensors"
        subprocess.run([sys.executable, "-m", "venv", place / "venv"], check=True)
        pip = [place / "venv/bin/python", "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "--disable-pip-version-check", *PACKAGES], check=True)
        model = load_weights(network_file("baseline"))
        model.grey_scale = GreyScale("uint8", 257.0)
        save_weights(model, own)
        single = [name for name, network in named_networks().items()
                  if network.experiment != "09_three_d"]
        offline = os.environ | {"HOME": folder, "https_proxy": "http://127.0.0.1:9",
                                "http_proxy": "http://127.0.0.1:9"}
        for network in [*single, own]:
            start = time.perf_counter()
            *_, package = export_network(network, place / "out")
            seconds = time.perf_counter() - start
            done = subprocess.run([place / "venv/bin/bioimageio", "test", package], env=offline,
                                  capture_output=True, text=True)
            assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
            assert done.stdout.count("Run onnx inference for inputs") == 6, done.stdout
            print(f"{package.name}: exported in {seconds:.1f} s, `bioimageio test` passed, offline",
                  flush=True)


if __name__ == "__main__":
    main()
