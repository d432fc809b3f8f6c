"""Write what the live page needs of the library: slices, networks, and numbers about both.

    python site/make_assets.py FOLDER

FOLDER then holds facts.json and slice-NUMBER.bin (see `pack_slice`). NETWORK.bin holds all weights
of a network, float32: first all lowest bytes, then the next ones, which gzip makes smaller.
GRAPH.onnx is a graph with zeros in place of the weights. Weights are written once: networks.js
makes from them the graph with the statistics of the training set ("clean") and the graph that takes
its statistics from the image ("repaired").
"""

import json
import sys
import tomllib
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from page_noise import add_page_noise

from xraylib.contrast import BINS, CROWDED, DIFFERENT, UNEVEN, UNKNOWN, _expected
from xraylib.data import NI_YSZ, NI_YSZ_VOXEL_NM, Slices
from xraylib.datasets import SIZES, TEST_SEED, built_in
from xraylib.inference import load_weights, predict, receptive_field
from xraylib.metrics import score_masks
from xraylib.outlook.classical import NETWORK, grey_order, midpoint_thresholds
from xraylib.outlook.export import TIE
from xraylib.outlook.onnx_graph import build_graph
from xraylib.outlook.quality import ALARM_LIMIT, grey_quantiles, inspect_volume
from xraylib.published import named_networks, network_file, published_rows
from xraylib.unet import UNet

ROOT = Path(__file__).resolve().parents[1]
_, N_TEST, SIZE = SIZES["laptop"]  # of the built-in test set
SHOWN = (1, 26, 50)  # slices of the test set that the page shows
REFERENCE = (5, 10, 15, 20, 30, 35, 40, 45)  # slices that say what is normal (notebook 8)
# Graphs on the page: their name, the network that they come from, and whether batch norm takes its
# statistics from the image.
GRAPHS = {"clean": ("baseline", False), "repaired": ("baseline", True),
          "noisy": ("clean-and-noisy", False)}
INDICATORS = ("confidence", "entropy", "rarest", "shift")  # those that need no other slice
NOISE = 5000  # grey levels: of the published tables
N_LABELLED = 5  # slices that the methods of the published table were tuned on
MINIMUM = 64  # bytes: smaller constants stay in the graph


def pack_slice(image: np.ndarray, labels: np.ndarray) -> bytes:
    """Return a slice in a form that gzip makes small; assets.js unpacks it.

    Each grey level is written as its difference from left + above - above left, with the sign in
    the lowest bit: first all high bytes, then all low bytes. The labels follow, a byte per pixel.

    Args:
        image, labels: uint16 and uint8 (H, W).
    """
    around = np.pad(image.astype(np.int64), ((1, 0), (1, 0)))
    guess = around[1:, :-1] + around[:-1, 1:] - around[:-1, :-1]
    rest = (image - guess).astype(np.uint16).view(np.int16).astype(np.int64)
    signed = np.where(rest < 0, -2 * rest - 1, 2 * rest).astype(np.uint16)
    return ((signed >> 8).astype(np.uint8).tobytes() + signed.astype(np.uint8).tobytes()
            + labels.astype(np.uint8).tobytes())


def split_graph(model: UNet, recalibrate: bool) -> tuple[bytes, list[dict[str, Any]]]:
    """Return a graph with zeros in place of its weights, and what belongs where.

    Args:
        model, recalibrate: as for `onnx_graph.build_graph`.

    Returns:
        The graph, and a list of {"at": byte, "tensor": name in `model.state_dict()`}. Where batch
        norm is part of a convolution, "norm" names the layer: networks.js multiplies the kernel
        by its scale, and makes the bias (no "tensor") from its statistics.
    """
    content = bytearray(build_graph(model, recalibrate))
    raw = [weights.raw_data for weights in onnx.load_from_string(bytes(content)).graph.initializer
           if len(weights.raw_data) >= MINIMUM or weights.dims == [model.n_classes]]
    sources = _sources(model, recalibrate)
    places = []
    for weights, source in zip(raw, sources, strict=True):
        if content.count(weights) != 1:
            raise ValueError(f"{source} does not stand exactly once in the graph.")
        at = content.find(weights)
        content[at:at + len(weights)] = bytes(len(weights))
        places.append({"at": at} | source)
    return bytes(content), places


def _sources(model: UNet, recalibrate: bool) -> list[dict[str, str]]:
    """Say of which tensors the weights of a graph are made, in the order of the graph."""
    sources = []
    for name, layer in model.named_modules():
        if isinstance(layer, torch.nn.Conv2d) and layer.bias is None:
            *path, index = name.split(".")
            norm = ".".join([*path, str(int(index) + 1)])
            sources += [[{"tensor": f"{name}.weight"}] if recalibrate else
                        [{"tensor": f"{name}.weight", "norm": norm}, {"norm": norm}]]
        elif isinstance(layer, torch.nn.BatchNorm2d) and not recalibrate:
            continue
        elif list(layer.parameters(recurse=False)):
            sources += [[{"tensor": f"{name}.{part}"}
                         for part, _ in layer.named_parameters(recurse=False)]]
    return list(chain.from_iterable(sources))


def describe_network(model: UNet) -> dict[str, Any]:
    """Return what the page must know of a network: normalisation, reach and first layer."""
    conv, norm = model.stem.layers[:2]
    return {
        "grey": model.grey.tolist(), "quantiles": model.grey_quantiles.tolist(),
        "expected": _expected(model.grey_quantiles).tolist(), "dtype": model.grey_scale.dtype,
        "stride": model.stride, "reach": model.reach, "field": receptive_field(model),
        "first": {"kernels": conv.weight.flatten(1).tolist(), "mean": norm.running_mean.tolist(),
                  "variance": norm.running_var.tolist(), "epsilon": norm.eps},
    }


def reference(model: UNet, slices: Slices) -> dict[str, Any]:
    """Return what is normal for a network: the indicators of notebook 8 on slices without noise."""
    levels = grey_quantiles(slices.images)
    found = inspect_volume([model], slices.images, slices.numbers, levels).indicators
    return {"levels": levels.round(1).tolist()} | {
        name: {"mean": float(found[name].mean()), "deviation": float(max(found[name].std(), 1e-6))}
        for name in INDICATORS}


def published_numbers() -> dict[str, Any]:
    """Return Dice from the published tables: of the test set, and of methods without a network."""
    repair = [row["repaired"] for row in published_rows("repair")]
    methods = [row for row in published_rows("methods")
               if row["n_train"] == N_LABELLED and row["noise_std"] == 0]
    return {
        "networks": {name: named_networks()[source].dice
                     for name, (source, _) in GRAPHS.items() if name != "repaired"},
        "repaired": float(np.mean(repair)),
        "methods": {name: float(np.mean([row["dice"][row["noise_stds"].index(NOISE)]
                                         for row in methods if row["method"] == name]))
                    for name in ("median + thresholds", NETWORK)}}


def main() -> None:
    """Write everything into the folder that the command line names."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    slices = built_in(N_TEST, SIZE, TEST_SEED)
    shown = slices[[number - 1 for number in SHOWN]]
    normal = slices[[number - 1 for number in REFERENCE]]
    for image, labels, number in zip(shown.images, shown.labels, shown.numbers, strict=True):
        (folder / f"slice-{number}.bin").write_bytes(pack_slice(image, labels))
    networks, graphs = {}, {}
    for source in dict.fromkeys(source for source, _ in GRAPHS.values()):
        model = load_weights(network_file(source)).cpu()
        tensors = {name: part for name, part in model.state_dict().items()
                   if part.is_floating_point() and name != "grey"}
        ends = np.cumsum([part.numel() for part in tensors.values()]).tolist()
        networks[source] = describe_network(model) | {
            "reference": reference(model, normal),
            "tensors": {name: [end - part.numel(), part.numel()]
                        for end, (name, part) in zip(ends, tensors.items(), strict=True)}}
        weights = torch.cat([part.flatten() for part in tensors.values()]).numpy()
        (folder / f"{source}.bin").write_bytes(weights.view(np.uint8).reshape(-1, 4).T.tobytes())
        for name, (origin, recalibrate) in GRAPHS.items():
            if origin == source:
                content, places = split_graph(model, recalibrate)
                (folder / f"{name}.onnx").write_bytes(content)
                graphs[name] = {"network": source, "places": places}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    facts = {
        "repository": project["urls"]["repository"], "tie": TIE,
        "phases": NI_YSZ.to_dict(), "voxel_um": NI_YSZ_VOXEL_NM[2] / 1000,
        "slices": [{"number": int(number), "height": SIZE, "width": SIZE}
                   for number in shown.numbers],
        "networks": networks, "graphs": graphs,
        "order": grey_order(shown).tolist(), "thresholds": midpoint_thresholds(shown).tolist(),
        "contrast": {"bins": BINS.tolist(), "crowded": CROWDED, "unknown": UNKNOWN,
                     "uneven": UNEVEN, "different": DIFFERENT},
        "alarm": ALARM_LIMIT, "published": published_numbers(),
    }
    (folder / "facts.json").write_text(json.dumps(facts) + "\n")
    noisy = [add_page_noise(image, NOISE, 0, int(number))
             for image, number in zip(shown.images, shown.numbers, strict=True)]
    dice = score_masks(predict(load_weights(network_file("baseline")), noisy), shown).mean
    print(f"{folder}: {len(shown)} slices, {len(graphs)} graphs. At noise of 5,000, PyTorch gives "
          f"the clean-trained network a Dice of {100 * dice:.1f} %.")


if __name__ == "__main__":
    main()
