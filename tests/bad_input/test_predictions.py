"""Weights, volumes, output folders and schedulers with which no prediction can be made."""

import json
import math
import os
import pickle
import shutil
import socket
import threading
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from bad_input.spoiling import (
    ADDRESS,
    COUNT,
    FLAT,
    PREDICT,
    SLICE,
    Cases,
    Spoil,
    all_rewritten,
    emptied,
    rewritten,
)
from conftest import Harmful, blobs
from safetensors.torch import load_file, save_file

from xraylib.data import NI_YSZ
from xraylib.inference import load_weights
from xraylib.outlook.second_sample import open_excerpt
from xraylib.unet import UNet
from xraylib.volumes import predict_volume

CASES = Cases()


# -- weights ---------------------------------------------------------------------------------------


WEIGHTS = "model.safetensors is not a weights file of this library, or it is damaged ( ... {}"
REMEDY = " ... ). Train the run again, or name the weights file of a complete run."
MODEL = Path("model.safetensors")
OLD = {"width": "2", "depth": "1", "n_classes": "3", "padding": "same"}  # before version 1.0
FACTS = OLD | {"network": "UNet", "phases": json.dumps(NI_YSZ.to_dict())}


def header(facts: dict[str, str] = FACTS, **changed: object) -> Spoil:
    """The weights get another header."""
    texts = {name: str(value) for name, value in changed.items()}
    return lambda: save_file(load_file(MODEL), MODEL, facts | texts)


def phases(**changed: object) -> Spoil:
    """The weights get other phases."""
    return header(phases=json.dumps(NI_YSZ.to_dict() | changed))


def number(name: str, value: float) -> Spoil:
    """The weights get another number."""
    def spoil() -> None:
        tensors = load_file(MODEL)
        tensors[name].view(-1)[-1] = value
        save_file(tensors, MODEL, FACTS)
    return spoil


for name, message, spoil in [
    ("of text", "", lambda: MODEL.write_text("weights")),
    ("of no bytes", "it is empty", lambda: MODEL.write_bytes(b"")),
    ("cut short", "", lambda: MODEL.write_bytes(MODEL.read_bytes()[:-50])),
    ("that would run code", "", lambda: MODEL.write_bytes(pickle.dumps(Harmful(Path("harm"))))),
    ("of torch.save", "", lambda: torch.save(UNet(2, 1).state_dict(), MODEL)),
    ("without a header", "", lambda: save_file(load_file(MODEL), MODEL)),
    ("of depth 40", "its depth is 40, not from 1 to 6", header(depth=40)),
    ("of depth 0", "its depth is 0, not from 1 to 6", header(depth=0)),
    ("of depth two", "invalid literal", header(depth="two")),
    ("of width 10^9", "its width is 1000000000, not from 1 to 512", header(width=10**9)),
    ("of 512 x 6, 60 GB", "Missing key", header(width=512, depth=6)),
    ("of another width", "size mismatch", header(width=4)),
    ("of another depth", "Missing key", header(depth=2)),
    ("of 1 class", "its n_classes is 1, not from 2 to 256", header(n_classes=1)),
    ("of 2 classes", "its n_classes is 2, but its phases are ... 'pore'", header(n_classes=2)),
    ("of 5 classes", "its n_classes is 5, but its phases are ... 'pore'", header(n_classes=5)),
    ("of unknown padding", "padding is 'full'", header(padding="full")),
    ("of an unknown network", "its network UNet4D is not installed (known: UNet, UNet25D, UNet3D)",
     header(network="UNet4D")),
    ("of a network of neighbours", "size mismatch", header(network="UNet25D")),
    ("of a network of cubes", "size mismatch", header(network="UNet3D")),
    ("of cubes without padding", "padding is 'valid'", header(network="UNet3D", padding="valid")),
    ("of 3 dims, as before 1.0", "size mismatch", header(OLD, dims=3)),
    ("of 4 dims", "its dims is 4, not 2 or 3", header(OLD, dims=4)),
    ("of neighbours, as before 1.0", "size mismatch", header(OLD, context=2)),
    ("of 9 neighbours", "its context is 9, not 0 or 2", header(OLD, context=9)),
    ("of phases that are text", "Expecting value", header(phases="pore and nickel")),
    ("of phases that are a list", "", header(phases="[]")),
    ("of phases without colours", "'colours'", header(
        phases=json.dumps({"names": NI_YSZ.names, "values": NI_YSZ.values}))),
    ("of two phases", "its n_classes is 3, but its phases are", phases(names=["pore", "metal"])),
    ("of a label value 70000", "70000 is not in range", phases(values=[0, 128, 70000])),
    ("of a colour by name", "", phases(colours=["red", "green", "blue"])),
    ("of another architecture", "Missing key",
     lambda: save_file(torch.nn.Conv2d(1, 2, 3).state_dict(), MODEL, FACTS)),
    ("with a NaN", "it holds numbers that are not finite", number("head.bias", math.nan)),
    ("with an infinity", "it holds numbers that are not finite", number("head.weight", math.inf)),
    ("with a standard deviation of 0", "it holds an impossible standard deviation or variance",
     number("grey", 0)),
]:
    CASES.add(f"weights {name}", WEIGHTS.format(message) + REMEDY, PREDICT, spoil)
CASES.add("weights that are missing", WEIGHTS.format("there is no such file") + REMEDY,
          partial(load_weights, MODEL), MODEL.unlink)
CASES.add("weights that are a folder", WEIGHTS.format("there is no such file") + REMEDY,
          partial(predict_volume, MODEL, "volume", "out"), MODEL.unlink, MODEL.mkdir)


# -- volumes to look at ----------------------------------------------------------------------------


NO_LEVELS = "one grey level only, or no number. Export it again, or name another volume."
NEITHER = "volume is neither a TIFF file nor a folder of TIFFs. Check the path."
TWO_TYPES = ("slice_0002.tif holds float32, the first file uint16. All files must have the same "
             "dtype.")
for name, message, *spoil in [
    ("that is missing", NEITHER, lambda: shutil.rmtree("volume")),
    ("of one grey level", f"volume holds {NO_LEVELS}", all_rewritten("volume", np.zeros_like)),
    ("of NaN", f"volume holds {NO_LEVELS}", all_rewritten(
        "volume", lambda array: np.full(array.shape, np.nan, np.float32))),
    ("of two sizes", "slice_0002.tif is (18, 24) px, the first slice (20, 24). All images and "
     "labels must have the same size: crop them, or remove this file.",
     rewritten(SLICE, lambda array: array[2:])),
    ("of two types", TWO_TYPES, rewritten(SLICE, lambda array: array.astype(np.float32))),
]:
    CASES.add(f"look: a volume {name}", message, partial(open_excerpt, "volume", "tiny"), *spoil)


# -- predictions -----------------------------------------------------------------------------------


RECORD, NETWORK = Path("out/prediction.json"), Path("out/network.safetensors")


def predicted(*after: Spoil) -> list[Spoil]:
    """A prediction has been made, and then something is done."""
    return [lambda: predict_volume("flat.safetensors", "volume", "out"), *after]


def next_grey_level(array: np.ndarray) -> np.ndarray:
    """One pixel becomes brighter by one grey level."""
    array[1, 1] += 1
    return array


AGAINST = ("exists and was not made of ... volume in its present state by these weights. Name "
           "another folder, or remove that file.")
ANOTHER = ("belongs to another prediction, or it is damaged. Name another folder, or remove the "
           "file.")
INSIDE = "is, or lies in, the folder of the slices to segment, ... Name another folder for the"
FLAT_GREY = ("slice_0001.tif and the slices after it hold one grey level only, or no number, so "
             "there is nothing to segment. Export them again.")
NO_SIZE = "is neither a size such as 18.4 nor Z,Y,X, in nm"
NO_NAME = ("nowhere is neither a file, a run folder nor the name of a network. The names "
           "are baseline, ")
for name, line, message, *spoil in [
    ("no such volume", "predict flat.safetensors nowhere out",
     "nowhere is neither a TIFF file nor a folder of TIFFs. Check the path."),
    ("a volume that is a pipe", FLAT, NEITHER, lambda: shutil.rmtree("volume"),
     lambda: os.mkfifo("volume")),
    ("an empty volume", FLAT, "volume holds no .tif or .tiff file. Put one TIFF per slice there.",
     emptied("volume")),
    ("a volume of one grey level", FLAT, FLAT_GREY, all_rewritten("volume", np.zeros_like)),
    ("a volume of NaN", FLAT, FLAT_GREY, all_rewritten(
        "volume", lambda array: np.full(array.shape, np.nan, np.float32))),
    ("a volume of infinities", FLAT, FLAT_GREY, all_rewritten(
        "volume", lambda array: np.full(array.shape, np.inf, np.float32))),
    ("a volume of two types", FLAT, TWO_TYPES, rewritten(
        SLICE, lambda array: array.astype(np.float32))),
    ("two sizes for a network of neighbours", "predict context.safetensors volume out",
     "slice_0002.tif is (18, 24) px, the first slice (20, 24). A network that sees neighbouring "
     "slices needs all of one size: crop them, or use a 2-D network.",
     rewritten(SLICE, lambda array: array[2:])),
    ("two slices of one name", FLAT,
     "slice_0001.tif and ... slice_0001.tiff is 1. Keep one of them, or rename them.",
     lambda: shutil.copy("volume/slice_0001.tif", "volume/slice_0001.tiff")),
    ("two pages of one name", FLAT, "a_0.tif and ... a_0_00001.tif would both be written as "
     "a_0_00001.tif. Rename one.", emptied("volume"), lambda: tifffile.imwrite(
         "volume/a_0.tif", np.stack(blobs(2, 20, 24).images), photometric="minisblack"),
     lambda: shutil.copy("set/data/slice_0001.tif", "volume/a_0_00001.tif")),
    ("into a file", FLAT, "out is a file. Name a folder for the segmented slices.",
     lambda: Path("out").write_text("mine")),
    ("into a folder that is below a file", "predict flat.safetensors volume flat.safetensors/out",
     "flat.safetensors/out: Not a directory. Choose another folder, or change this one."),
    ("into the volume itself", "predict flat.safetensors volume volume", f"volume {INSIDE}"),
    ("into a folder of the volume", "predict flat.safetensors volume volume/out",
     f"volume/out {INSIDE}"),
    ("into the volume by a link", FLAT, f"volume {INSIDE}",
     lambda: Path("out").symlink_to("volume")),
    ("over foreign TIFFs of these names", FLAT, f"out/slice_0001.tif {AGAINST}",
     lambda: shutil.copytree("set/labels", "out")),
    ("over foreign files of these names", FLAT, f"out/slice_0003.tif {AGAINST}",
     lambda: Path("out").mkdir(), lambda: Path("out/slice_0003.tif").write_text("mine")),
    ("of a slice that has changed", FLAT, f"out/slice_0002.tif {AGAINST}", *predicted(
        rewritten(SLICE, next_grey_level))),
    ("by other weights", PREDICT, f"out/slice_0001.tif {AGAINST}", *predicted()),
    ("over a slice that was cut short", FLAT, f"out/slice_0002.tif {AGAINST}", *predicted(
        lambda: Path("out/slice_0002.tif").write_bytes(
            Path("out/slice_0002.tif").read_bytes()[:-9]))),
    ("over a slice that was edited", FLAT, f"out/slice_0002.tif {AGAINST}", *predicted(
        rewritten(Path("out/slice_0002.tif"), np.zeros_like))),
    ("over a preview that is a pipe", f"{FLAT} --preview 1", f"{RECORD} {ANOTHER}", *predicted(
        lambda: Path("out/preview").mkdir(), lambda: os.mkfifo("out/preview/slice_0001.png"),
        lambda: RECORD.write_text(""))),
    ("over a file in place of a folder", f"{FLAT} --uncertainty",
     "out/uncertainty is a file. Name a folder for the segmented slices.", *predicted(
         lambda: Path("out/uncertainty").write_text("mine"))),
    ("over an uncertainty that is a pipe", f"{FLAT} --uncertainty",
     f"out/uncertainty/slice_0001.tif {AGAINST}", *predicted(
         lambda: Path("out/uncertainty").mkdir(),
         lambda: os.mkfifo("out/uncertainty/slice_0001.tif"))),
    ("over a record that is a pipe", FLAT, f"{RECORD}: It is not a file", *predicted(
        RECORD.unlink, lambda: os.mkfifo(RECORD))),
    ("over an empty record", FLAT, f"{RECORD} {ANOTHER}", *predicted(
        lambda: RECORD.write_text(""))),
    ("over a record that is cut", FLAT, f"{RECORD} {ANOTHER}", *predicted(
        lambda: RECORD.write_text("{"))),
    ("over a record of something else", FLAT, f"{RECORD} {ANOTHER}", *predicted(
        lambda: RECORD.write_text("[]"))),
    ("over a record of bytes", FLAT, f"{RECORD} {ANOTHER}", *predicted(
        lambda: RECORD.write_bytes(b"\xff\xfe"))),
    ("over a network that is cut", FLAT, f"{NETWORK} {ANOTHER}", *predicted(
        lambda: NETWORK.write_bytes(NETWORK.read_bytes()[:-9]))),
    ("over another network without slices", PREDICT, f"{NETWORK} {ANOTHER}", *predicted(
        RECORD.unlink, lambda: [path.unlink() for path in Path("out").glob("*.tif")])),
    ("of another folder alike", "predict flat.safetensors again out", f"{RECORD} {ANOTHER}",
     *predicted(lambda: shutil.copytree("volume", "again", copy_function=shutil.copy))),
    ("by a run without a result", "predict home volume out",
     "home holds no complete run (no result.json). Run its notebook, or `make run`, to the end."),
    ("by nothing", "predict nowhere volume out", NO_NAME),
    ("by weights that are gone", PREDICT, NO_NAME.replace("nowhere", "model.safetensors"),
     MODEL.unlink),
    ("with a picture of every -1", f"{FLAT} --preview -1", f"argument --preview: '-1' {COUNT}"),
    ("with a picture of every 1_0", f"{FLAT} --preview 1_0", f"argument --preview: '1_0' {COUNT}"),
    ("in tiles of x", f"{FLAT} --tile x", f"argument --tile: 'x' {COUNT}"),
    ("with an unknown contrast", f"{FLAT} --contrast auto",
     "argument --contrast: invalid choice: 'auto' (choose from "),
    ("of voxels of no size", f"{FLAT} --voxel-nm 0", f"argument --voxel-nm: '0' {NO_SIZE}"),
    ("of voxels of two sides", f"{FLAT} --voxel-nm 1,2", f"argument --voxel-nm: '1,2' {NO_SIZE}"),
    ("of voxels of nan", f"{FLAT} --voxel-nm 1,nan,2",
     f"argument --voxel-nm: '1,nan,2' {NO_SIZE}"),
    ("as a stack, of two sizes", f"{FLAT} --stack",
     "slice_0002.tif is (18, 24) px, the first slice (20, 24). One stack needs all of one size: "
     "crop them, or leave out --stack.", rewritten(SLICE, lambda array: array[2:])),
    ("with the worst 0", f"{FLAT} --worst 0 worst",
     "--worst 0: give a whole number of slices, 1 or more."),
    ("with the worst few", f"{FLAT} --worst few worst",
     "--worst few: give a whole number of slices, 1 or more."),
    ("with the worst in a folder that exists", f"{FLAT} --worst 2 set",
     "set exists, or lies in out. Name a new folder for the slices to correct."),
    ("with the worst among the segmented", f"{FLAT} --worst 2 out",
     "out exists, or lies in out. Name a new folder for the slices to correct."),
    ("without OUT", "predict flat.safetensors volume",
     "the following arguments are required: OUT"),
    ("by a thousand workers", f"{FLAT} --workers 1000", "1000 workers are more than this machine "
     "of ... cores can feed. Give ... or fewer, best one per core."),
    ("by a scheduler nowhere", f"{FLAT} --scheduler here", f"'here' {ADDRESS}"),
]:
    CASES.add(f"predict: {name}", message, line, *spoil)


# -- schedulers ------------------------------------------------------------------------------------


@contextmanager
def server(answer: bytes | None):
    """The address of something other than a Dask scheduler; None: it does not even listen."""
    with socket.socket() as here:
        here.bind(("127.0.0.1", 0))
        if answer is not None:
            here.listen()

            def serve() -> None:
                with here.accept()[0] as there:
                    there.sendall(answer)
                    there.recv(2**16)
            threading.Thread(target=serve, daemon=True).start()
        yield f"tcp://127.0.0.1:{here.getsockname()[1]}"


def ask(answer: bytes | None) -> None:
    """Give a prediction to such a server."""
    with server(answer) as address:
        predict_volume("flat.safetensors", "volume", "out", scheduler=address)


for name, answer in (("nobody", None), ("a silent server", b""),
                     ("a web server", b"HTTP/1.1 400 Bad Request\r\n\r\n")):
    CASES.add(f"scheduler: {name}", "no Dask scheduler answers at tcp://127.0.0.1: ... within 0.5 "
              "s ( ... ). Start one, or give the address that it printed (tcp://...).",
              partial(ask, answer))


@pytest.mark.parametrize("name", CASES)
def test_it_is_one_line_and_nothing_is_written(name, refuse):
    refuse(*CASES[name])
