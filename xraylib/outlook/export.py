"""Export a network to ONNX and as a bioimage.io package, for web pages, Fiji and ilastik."""

import hashlib
import io
import re
import zipfile
from contextlib import ExitStack
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..datasets import SIZES, TEST_SEED, built_in
from ..errors import ParameterError, WeightsError
from ..files import atomic_file, expand_user, json_bytes, remove_leftovers
from ..inference import load_weights
from ..noise import add_noise
from ..published import NamedNetwork, named_networks, network_file
from ..unet import UNet

TIE = 1e-3  # ONNX and PyTorch may disagree on two phases whose probabilities differ by less
# Height and width of the slices that ONNX and PyTorch are compared on, px.
SHAPES = (501, 501), (128, 128), (126, 127), (64, 35), (17, 33)
AUTHORS, LICENSE = "The authors of xray-unet-notebooks", "BSD-3-Clause"  # as in CITATION.cff
CITE = [{"text": "Ronneberger et al. 2015: U-Net", "doi": "10.1007/978-3-319-24574-4_28"}]
FORMAT = "0.5.4"  # of the description of a bioimage.io package
README = """# {name}

A U-Net that segments X-ray slices into {n} phases: {phases}. {good_for}

## Input and output

The input is one slice of grey levels as the files hold them ({dtype}), without any normalisation:
the network normalises them itself. {scaling}The output holds the probability of each phase, 0 to 1.

## Training data

{training_data}

## Validation

{validation} Before this package was written, ONNX Runtime and PyTorch were compared on built-in
slices, clean and noisy. They agree in the phase of every pixel, unless two probabilities differ by
less than {tie}.
"""


def export_network(network: str | Path, folder: str | Path) -> list[Path]:
    """Write a network as NAME.onnx, NAME-recalibrated.onnx and NAME.zip, all of them or none.

    NAME.onnx holds the network, see `onnx_graph.build_graph`. The batch norm of
    NAME-recalibrated.onnx takes its statistics from the image that it is given, as in training.
    `inference.recalibrate_batch_norm` estimates the variance of a larger sample instead, so the
    probabilities differ by up to 2e-4 at 501 x 501 px and 3e-3 at 128 x 128 px. NAME.zip is a
    bioimage.io package of NAME.onnx.

    Args:
        network: name, weights file or run folder of a network of single slices.
        folder: where to write, created if missing; files with these names are replaced.

    Returns:
        The three files.

    Raises:
        ParameterError: a package is missing, or the network cannot be exported.
        WeightsError: ONNX Runtime and PyTorch disagree in a pixel.
    """
    try:
        import onnxruntime

        from .onnx_graph import OUTPUT, build_graph
    except ModuleNotFoundError as error:
        raise ParameterError(f"The export needs the package {error.name}, which is missing. "
                             "Install it with: pip install onnx onnxruntime") from error
    file, folder = network_file(network), expand_user(folder)
    name, model = _name_of(file), load_weights(file).cpu()
    if type(model) is not UNet or model.margin:
        kind = type(model).__name__ + (' with padding "valid"' if model.margin else "")
        raise ParameterError(f'{network} is a {kind}. Only a UNet with padding "same", which sees '
                             "single slices, can be exported. Use the command predict instead.")
    images, files = _images(model), {}
    for suffix, recalibrate in (("", False), ("-recalibrated", True)):
        graph = build_graph(model, recalibrate)
        session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        outputs = [session.run([OUTPUT], {"grey": image})[0] for image in images]
        _require_agreement(f"{name}{suffix}", model, images, outputs, recalibrate)
        files[f"{name}{suffix}.onnx"] = graph
        if not recalibrate:
            test = images[1], outputs[1]
    origin = next((each for each in named_networks().values() if each.file == file), None)
    files[f"{name}.zip"] = _package(name, model, origin, files[f"{name}.onnx"], *test)
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    with ExitStack() as stack:  # every file is complete before the first one gets its name
        for file_name, content in files.items():
            part = stack.enter_context(atomic_file(folder / file_name))
            part.write(content)
            part.flush()
    return [folder / file_name for file_name in files]


def _name_of(file: Path) -> str:
    """Return a network's short name, or experiment and digest of its run, or its file's name."""
    short = {network.file: name for name, network in named_networks().items()}
    run = "-".join(file.resolve().parts[-3:-1]) if file.name == "model.safetensors" else ""
    return short.get(file) or run or file.name.removesuffix(".safetensors")


def _images(model: UNet) -> list[np.ndarray]:
    """Return inputs: clean and noisy built-in slices, brought to the network's grey levels."""
    _, n, size = SIZES["tiny"]
    mean, std = model.grey.tolist()
    smallest = 2 * model.reach + model.stride  # the smallest tile that the package allows
    slices, images = built_in(n, size, TEST_SEED).images[:len(SHAPES)], []
    for number, (slice_, shape) in enumerate(zip(slices, SHAPES, strict=True)):
        sides = [max(side, smallest if shape == SHAPES[1] else model.stride + 1) for side in shape]
        levels = (slice_ - slice_.mean()) / slice_.std() * std + mean
        levels = np.pad(levels, [(0, max(0, side - size)) for side in sides], "symmetric")
        levels = levels[:sides[0], :sides[1]].clip(0, 65535).round().astype(np.uint16)
        noisy = add_noise(levels, 0 if number % 2 else std / 2, 0, number)
        images.append(noisy[None, None].astype(np.float32))
    return images


@torch.inference_mode()
def _require_agreement(name: str, model: UNet, images: list[np.ndarray],
                       outputs: list[np.ndarray], recalibrate: bool) -> None:
    """Raise unless probabilities from ONNX give each pixel the class that PyTorch gives it."""
    model, wrong = deepcopy(model).train(recalibrate), 0
    for image, output in zip(images, outputs, strict=True):
        expected = torch.softmax(model(torch.from_numpy(image)), 1)
        second, first = expected.topk(2, 1, sorted=True).values.flip(1).unbind(1)
        found = torch.from_numpy(output)
        if found.shape != expected.shape:
            raise WeightsError(f"{name} is not exported: in ONNX, the output for a slice of "
                               f"{image.shape[2:]} px is {tuple(found.shape)}.")
        wrong += int(((found.argmax(1) != expected.argmax(1)) & ~(first - second <= TIE)).sum())
    if wrong:
        raise WeightsError(f"{name} is not exported: ONNX Runtime and PyTorch disagree in {wrong} "
                           "pixels of the built-in slices. Install other versions of both, or "
                           "train the network again.")


def _package(name: str, model: UNet, origin: NamedNetwork | None, graph: bytes,
             image: np.ndarray, output: np.ndarray) -> bytes:
    """Return a bioimage.io package as the content of a zip file."""
    scale, phases = model.grey_scale, model.phases
    mean, std = model.grey.tolist()
    text = README.format(
        name=name, n=len(phases), phases=", ".join(phases.names), tie=TIE, dtype=scale.dtype,
        good_for=origin.good_for if origin else "",
        scaling=f"The package first multiplies them by {scale.gain:g} and adds {scale.offset:g}. "
        if _preprocessing(model) else "",
        training_data=f"{_training_data(origin)} On the 16-bit scale, their grey levels have the "
                      f"mean {mean:.0f} and the standard deviation {std:.0f}.",
        validation=f"On the built-in test set, the mean Dice is {origin.dice['clean']} on clean "
                   f"slices and {origin.dice['noisy']} with noise of 5,000 grey levels."
        if origin else "Ask the network's author for its scores on slices that it has not seen.")
    image = ((image - scale.offset) / scale.gain).astype(np.float32)
    files = {"README.md": text.encode(), "weights.onnx": graph,
             "test-input.npy": _npy(image), "test-output.npy": _npy(output)}
    files["rdf.yaml"] = json_bytes(_description(name, model, origin, files))  # JSON is YAML
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file_name, content in files.items():
            archive.writestr(zipfile.ZipInfo(file_name), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _training_data(origin: NamedNetwork | None) -> str:
    """Say in a sentence what the network was trained on."""
    if origin is None:
        return "The network was trained on labelled slices of its author."
    return ("The network was trained on the built-in slices of xray-unet-notebooks. They look like "
            "X-ray slices of a Ni-YSZ solid oxide cell, but are generated from random numbers "
            f"(experiment {origin.experiment}).")


def _preprocessing(model: UNet) -> list[dict[str, Any]]:
    """Return the steps that bring grey levels of files to the library's scale: none or one."""
    linear = {"gain": model.grey_scale.gain, "offset": model.grey_scale.offset}
    return [] if linear == {"gain": 1, "offset": 0} else [{"id": "scale_linear", "kwargs": linear}]


def _npy(array: np.ndarray) -> bytes:
    """Return the content of a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _description(name: str, model: UNet, origin: NamedNetwork | None,
                 files: dict[str, bytes]) -> dict[str, Any]:
    """Return the description that bioimage.io requires; `files` holds all other files."""
    from .onnx_graph import OPSET

    def file(file_name: str) -> dict[str, str]:
        return {"source": file_name, "sha256": hashlib.sha256(files[file_name]).hexdigest()}

    title = "U-Net " + re.sub(r"[^\w+ -]", "_", name, flags=re.ASCII)[:100]
    names = list(model.phases.names)
    tile = {"min": 2 * model.reach + model.stride, "step": model.stride}
    same = {axis: {"tensor_id": "grey", "axis_id": axis} for axis in "yx"}
    owners = {"authors": [{"name": AUTHORS}], "license": LICENSE} if origin else {}
    return {
        "format_version": FORMAT, "type": "model", "name": title,
        "description": f"Segments X-ray slices into {', '.join(names)}."[:1000],
        "documentation": "README.md", "cite": CITE,
        "tags": ["unet2d", "semantic-segmentation", "x-ray", "2d"],
        "inputs": [{
            "id": "grey", "description": f"grey levels, {model.grey_scale.dtype}",
            "axes": [{"type": "batch"}, {"type": "channel", "channel_names": ["grey"]},
                     *({"type": "space", "id": axis, "size": tile} for axis in "yx")],
            "data": {"type": "float32"}, "test_tensor": file("test-input.npy"),
            "preprocessing": _preprocessing(model),
        }],
        "outputs": [{
            "id": "probabilities", "description": "probability of each phase",
            "axes": [{"type": "batch"}, {"type": "channel", "channel_names": names},
                     *({"type": "space", "id": axis, "size": same[axis], "halo": model.reach}
                       for axis in "yx")],
            "data": {"type": "float32", "range": [0, 1]}, "test_tensor": file("test-output.npy"),
        }],
        "training_data": {"type": "dataset", "format_version": "0.3.0",
                          "name": f"Training data of {title}",
                          "description": _training_data(origin)} | owners,
        "weights": {"onnx": file("weights.onnx") | {"opset_version": OPSET}},
        "config": {"bioimageio": {"reproducibility_tolerance": [
            {"absolute_tolerance": TIE, "relative_tolerance": TIE}]}},
    } | owners
