"""What several test files share: small data and networks, and a home of its own for each test."""

import io
import os
from pathlib import Path

import matplotlib
import matplotlib.image
import matplotlib.pyplot as plt
import numpy as np
import psutil
import pytest
import torch

from xraylib.data import Slices, save_slices
from xraylib.datasets import BUILT_IN, Dataset, open_dataset
from xraylib.inference import save_weights
from xraylib.runs import Run
from xraylib.synthetic import Material, Sample, generate_chunks
from xraylib.unet import UNet


def blobs(n: int, height: int, width: int, seed: int = 0) -> Slices:
    """Slices of three smooth phases with separate grey levels: quick to make, easy to learn."""
    z, y, x = np.meshgrid(np.arange(n) / 8, np.arange(height), np.arange(width), indexing="ij")
    field = np.sin(0.21 * x + z) + np.cos(0.17 * y - z) + np.sin(0.11 * (x + y) + seed)
    labels = np.digitize(field, [-0.6, 0.6]).astype(np.uint8)
    noise = np.random.default_rng(seed).normal(0, 700, labels.shape)
    images = np.clip(np.array([21500, 35200, 41500])[labels] + noise, 0, 65535).astype(np.uint16)
    return Slices(list(images), list(labels), np.arange(1, n + 1))


def generate(n: int, size: int, seed: int = 0, start: int = 0,
             material: Material | None = None) -> Sample:
    """Slices of the built-in volume of a seed, in one piece."""
    chunks = list(generate_chunks(n, size, seed, start, material or Material()))
    return Sample(*(np.concatenate([getattr(chunk, name) for chunk in chunks])
                    for name in ("images", "labels", "truth")))


def a_network(padding="same"):
    """A network with running statistics, whose prediction has all three phases."""
    torch.manual_seed(0)
    model = UNet(4, 2, padding=padding)
    model.grey.copy_(torch.tensor([30000.0, 8000.0]))
    for _ in range(20):
        model(torch.randn(2, 1, 64, 64) * 8000 + 30000)
    model.eval()
    with torch.inference_mode():
        model.head.bias -= model(torch.randn(1, 1, 64, 64) * 8000 + 30000).mean((0, 2, 3))
    return model


def dataset_of(run: Run) -> Dataset:
    """The data set of a run."""
    data = run.config["data"]
    return open_dataset(run.config["profile"], "" if data == BUILT_IN else data, min_slices=1)


def probe(_item: int) -> tuple:
    """Two variables of a worker, and the addresses at which it and its parent listen."""
    me = psutil.Process()
    addresses = {connection.laddr.ip for process in (me, me.parent())
                 for connection in process.net_connections("inet")
                 if connection.status == "LISTEN"}
    return os.getenv("MALLOC_TRIM_THRESHOLD_"), os.getenv("OMP_NUM_THREADS"), addresses


class Harmful:
    """Creates this folder when it is unpickled: what a pickle from a stranger could do."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __reduce__(self):
        return Path.mkdir, (self.folder,)


def decoded(panel):
    """The pixels that a panel shows, RGB uint8."""
    (image,) = panel.children[1].children[0].children
    png = matplotlib.image.imread(io.BytesIO(image.value))
    return np.rint(255 * png[..., :3]).astype(np.uint8)


def text(panel):
    """The HTML that a panel shows."""
    return panel.children[1].children[1].value


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Runs and built-in slices of a test go into its temporary folder."""
    monkeypatch.setenv("XRAYLIB_HOME", str(tmp_path / "home"))
    for name in ("XRAYLIB_PROFILE", "XRAYLIB_DATA", "XRAYLIB_SEEDS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


@pytest.fixture
def folder(tmp_path):
    """A labelled data set of 40 slices of 48 x 40 on disk."""
    save_slices(blobs(40, 48, 40), tmp_path / "set")
    return tmp_path / "set"


@pytest.fixture
def weights(tmp_path):
    """The file of `a_network`."""
    save_weights(a_network(), tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


@pytest.fixture
def ax():
    """An axis to draw on, whose figure must draw."""
    matplotlib.use("Agg")
    fig, ax = plt.subplots()
    yield ax
    fig.canvas.draw()
    plt.close(fig)
