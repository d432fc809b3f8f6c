"""What a reader can do wrong, and the one sentence that it must produce. Nothing is written or changed by it.

A case is what is done to good data, what is called then, and what the sentence must say: file, fault, what was expected
and what to do, in this order, with " ... " between them. A command line is called as such, anything else as a function.
"""

import json
import math
import os
import pickle
import re
import reprlib
import shlex
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from conftest import Harmful, blobs
from safetensors.torch import load_file, save_file

from xraylib import __main__, workers
from xraylib.predict.network import save_weights
from xraylib.predict.volumes import predict_volume
from xraylib.runs.folder import execute, load
from xraylib.runs.parameters import CHECKS, ParameterError, check
from xraylib.runs.profiles import configure
from xraylib.slices import sets
from xraylib.slices.labelled import save
from xraylib.unet import UNet

SET = "sweep 01_baseline -p profile=tiny -p steps=1 -p data_dir=set"
PREDICT = "predict model.safetensors volume out"
CASES: dict[str, tuple] = {}                   # by name: sentence, call, what is done before


def case(name: str, sentence: str, call: str | Callable, *spoil: Callable[[], object]) -> None:
    """Register a case; ``spoil``: what is done before, in the folder of `place`."""
    assert name not in CASES, name
    CASES[name] = sentence, call, spoil


# -- the place --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Good data: a labelled set, a volume of its images, a run, and its weights."""
    folder = tmp_path_factory.mktemp("good")
    slices = blobs(12, 20, 24)
    save(slices, folder / "set")
    shutil.copytree(folder / "set/data", folder / "volume")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XRAYLIB_HOME", str(folder / "home"))
        run = execute(configure("01_baseline", profile="tiny", steps=1, width=2, depth=1),
                      sets.open_source("tiny", str(folder / "set")))
    shutil.copy(run.weights, folder)
    for context, name in ((0, "flat"), (1, "context")):
        model = UNet(2, 1, context=context)
        model.grey.copy_(torch.tensor([30000.0, 8000.0]))
        save_weights(model, folder / f"{name}.safetensors")
    return folder


def hangs(*_) -> None:
    """What waits for ever is ended."""
    raise TimeoutError("it hangs")


@pytest.fixture
def place(good, monkeypatch):
    """A copy of it, in which the test stands for a minute at most, and which other users can reach."""
    before = signal.signal(signal.SIGALRM, hangs)
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(good, folder, dirs_exist_ok=True)
        os.chmod(folder, 0o755)
        monkeypatch.setenv("XRAYLIB_HOME", f"{folder}/home")
        monkeypatch.chdir(folder)
        monkeypatch.setattr(workers, "ANSWER_WITHIN", 0.5)
        for name in ("PROFILE", "SEEDS", "DATA"):
            monkeypatch.setenv(f"XRAYLIB_{name}", "")               # so that what a case sets is taken back
        signal.alarm(60)
        yield Path(folder)
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        for path in Path(folder).rglob("*"):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)


def held(folder: Path) -> dict:
    """All that a folder holds: names, modes and contents."""
    found = {}
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        readable = stat.S_ISREG(mode) and os.access(path, os.R_OK)
        content = path.read_bytes() if readable else os.readlink(path) if stat.S_ISLNK(mode) else None
        found[str(path.relative_to(folder))] = mode, content
    return found


def told(call: str | Callable, patch: pytest.MonkeyPatch, capsys) -> str:
    """What a call says when it refuses."""
    if callable(call):
        with pytest.raises((*__main__.ERRORS, OSError)) as raised:
            call()
        return str(raised.value)
    patch.setattr(sys, "argv", ["xraylib", *shlex.split(call)])
    with pytest.raises(SystemExit) as raised:
        __main__.main()
    code = raised.value.code
    return code if isinstance(code, str) else capsys.readouterr().err.splitlines()[-1]


def must_say(sentence: str, said: str) -> None:
    """The parts of a sentence, in their order, in one line that ends."""
    assert re.search(".*".join(map(re.escape, sentence.split(" ... "))), said), said
    assert "\n" not in said and len(said) < 800


# -- TIFFs ------------------------------------------------------------------------------------------------------------


def raw(path: Path, array: np.ndarray, follows: int = 0, **tags: int) -> None:
    """A TIFF of one strip by hand; ``tags``: what its header says instead, by the names t256, t257, ..."""
    height, width = array.shape
    said = {256: width, 257: height, 258: 8 * array.itemsize, 259: 1, 262: 1, 273: 8, 277: 1, 278: height,
            279: array.nbytes} | {int(name[1:]): value for name, value in tags.items()}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in said.items())
    path.write_bytes(struct.pack("<2sHI", b"II", 42, 8 + array.nbytes) + array.tobytes()
                     + struct.pack("<H", len(said)) + entries + struct.pack("<I", follows))


def written(change: Callable[[np.ndarray], np.ndarray] = lambda array: array, **options) -> Callable:
    """A TIFF of the array as changed."""
    return lambda path, array: tifffile.imwrite(path, change(array), **options)


def then(*ways: Callable) -> Callable:
    """One way after the other."""
    return lambda path, array: [way(path, array) for way in ways]


def cut(size: int) -> Callable:
    """All but the last bytes, or the first ones alone."""
    return lambda path, _: path.write_bytes(path.read_bytes()[:size])


def flipped(path: Path, _: np.ndarray) -> None:
    """Damaged in the middle of its pixels."""
    content = bytearray(path.read_bytes())
    for at in range(len(content) - 90, len(content) - 60):
        content[at] ^= 255
    path.write_bytes(content)


AGAIN = "copy or export it again"
TIFF = f"cannot be read as a TIFF ... {AGAIN}"
GREY = ("page 1 holds ... {} ... slices must be grey (MINISBLACK), (height, width), and uint8, uint16 or float32: save "
        "it so")
NO_FILE = "is no file (but a folder, a pipe or a broken link); take it away"
SIDES = "slices must have 16 px a side or more: crop less, or take it away"
GONE = Path("/nowhere/slice.tif")
ODDITIES: dict[str, tuple[str, Callable]] = {
    "of no bytes": (TIFF, lambda path, _: path.write_bytes(b"")),
    "of text": (TIFF, lambda path, _: path.write_text("hello")),
    "that is a PNG": (TIFF, lambda path, _: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(99))),
    "with half a header": (TIFF, then(written(), cut(6))),
    "cut before its pages": (TIFF, then(written(), cut(20))),
    "cut short": (f"is cut short (it ends before its pixels do); {AGAIN}", then(written(), cut(-100))),
    "packed and cut short": (f"is cut short (it ends before its pixels do); {AGAIN}",
                             then(written(compression="zlib"), cut(-100))),
    "packed and damaged": (f"page 1 cannot be read ... {AGAIN}", then(written(compression="zlib"), flipped)),
    "packed as nobody knows": (f"page 1 cannot be read ... {AGAIN}", partial(raw, t259=64999)),
    "that promises 10^6 x 10^6 px": (f"promises ... 000,000,000,000 bytes of pixels and holds ... {AGAIN}",
                                     partial(raw, t256=10**6, t257=10**6, t278=10**6)),
    "that promises them packed": (f"promises ... 000,000,000,000 bytes of pixels and holds ... {AGAIN}",
                                  partial(raw, t256=10**6, t257=10**6, t278=10**6, t259=32773)),
    "that promises 200 rows": (f"is cut short (it ends before its pixels do); {AGAIN}",
                               partial(raw, t257=200, t278=200)),
    "that lacks strips": (f"page 1 lacks a part of its pixels; {AGAIN}", partial(raw, t257=200)),
    "with sparse strips": (f"page 1 lacks a part of its pixels; {AGAIN}", partial(raw, t273=0)),
    "with empty strips": (f"page 1 lacks a part of its pixels; {AGAIN}", partial(raw, t279=0)),
    "of width 0": (f"page 1 is (20, 0) px; {SIDES}", partial(raw, t256=0)),
    "with a page nowhere": (f"is damaged after its page 1; {AGAIN}", partial(raw, follows=10**7)),
    "of colours": (GREY.format("RGB"), written(lambda array: np.stack([array] * 3, -1), photometric="rgb")),
    "of colours and alpha": (GREY.format("RGB"), written(lambda array: np.stack([array] * 4, -1), photometric="rgb")),
    "of colours one after the other": (GREY.format("RGB"), written(
        lambda array: np.stack([array] * 3), photometric="rgb", planarconfig="separate")),
    "of grey and alpha": (GREY.format("MINISBLACK"), written(
        lambda array: np.stack([array] * 2, -1), photometric="minisblack", planarconfig="contig",
        extrasamples=["unassalpha"])),
    "of a palette": (GREY.format("PALETTE"), written(
        lambda array: array.astype(np.uint8), photometric="palette", colormap=np.zeros((3, 256), np.uint16))),
    "whose white is 0": (GREY.format("MINISWHITE"), written(photometric="miniswhite")),
    **{f"of {dtype}": (GREY.format(dtype), written(lambda array, dtype=dtype: array.astype(dtype)))
       for dtype in ("int8", "int16", "int32", "uint32", "uint64", "float16", "float64", "complex64", "bool")},
    "of pages of two sizes": ("page 2 holds ... page 1 ... all must be alike: save one file a slice", then(
        written(), written(lambda array: array[:-2], append=True))),
    "of pages of two types": ("page 2 holds float32 ... page 1 ... all must be alike: save one file a slice", then(
        written(), written(lambda array: array.astype(np.float32), append=True))),
    "of two images": ("holds 2 separate images, not one stack ... save one stack (slices, height, width)", then(
        written(), written(append=True))),
    "of four dimensions": ("holds 1 separate images, not one stack ... (2, 2, 20, 24); save one stack", written(
        lambda array: np.stack([[array] * 2] * 2), photometric="minisblack")),
    "of 5 x 5 px": (f"page 1 is (5, 5) px; {SIDES}", written(lambda array: array[:5, :5])),
    "of 15 rows": (f"page 1 is (15, 24) px; {SIDES}", written(lambda array: array[:15])),
    "that is a pipe": (NO_FILE, lambda path, _: os.mkfifo(path)),
    "that is a folder": (NO_FILE, lambda path, _: path.mkdir()),
    "that is a broken link": (NO_FILE, lambda path, _: path.symlink_to(GONE)),
    "that is a link to itself": (NO_FILE, lambda path, _: path.symlink_to(path.name)),
    "that is a device": (NO_FILE, lambda path, _: path.symlink_to("/dev/zero")),
}
READERS: dict[str, tuple[str, str | Callable]] = {
    "an image": ("set/data/slice_0002.tif", SET), "a label": ("set/labels/slice_0002.tif", SET),
    "a slice to be segmented": ("volume/slice_0002.tif", PREDICT),
    "a slice to be looked at": ("volume/slice_0002.tif", partial(sets.open_volume, "volume", "tiny")),
    "an image to be converted": ("set/data/slice_0002.tif", "data convert set new"),
}


def replaced(path: str, write: Callable) -> None:
    """A good TIFF made another one."""
    array = tifffile.imread(path)
    Path(path).unlink()
    write(Path(path), array)


for reader, (name, call) in READERS.items():
    for oddity, (sentence, write) in ODDITIES.items():
        case(f"{reader} {oddity}", f"{name} ... {sentence}", call, partial(replaced, name, write))


# -- labelled folders -------------------------------------------------------------------------------------------------


IMAGE, LABEL, NEXT = Path("set/data/slice_0002.tif"), Path("set/labels/slice_0002.tif"), Path("set/data/slice_0003.tif")
CONVERT = "make a copy of the set that fits: python -m xraylib data convert set NEW_FOLDER"
VALUES = "write 0 for pore, 128 for YSZ, 255 for nickel (python -m xraylib data convert does so with 0, 1, 2)"


def rewritten(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> Callable:
    """A TIFF with other values."""
    return lambda: tifffile.imwrite(path, change(tifffile.imread(path)), photometric="minisblack")


def as_jpeg(labels: np.ndarray) -> np.ndarray:
    """What JPEG leaves of labels: values beside the right ones."""
    rng = np.random.default_rng(0)
    return (labels.astype(int) + rng.integers(-3, 4, labels.shape)).clip(0, 255).astype(np.uint8)


def emptied(folder: str) -> Callable:
    """No file left in it."""
    return lambda: [path.unlink() for path in Path(folder).iterdir()]


def few() -> None:
    """Nine slices."""
    for path in [*Path("set").glob("*/slice_001?.tif")]:
        path.unlink()


for name, sentence, *spoil in [
    ("no such folder", "set/data is not a folder; data_dir must name a folder that holds data/ (images) and labels/ (",
     lambda: Path("set").rename("elsewhere")),
    ("a folder without labels", "set/labels is not a folder; data_dir must name a folder that holds data/ (images) a",
     lambda: shutil.rmtree("set/labels")),
    ("a file for a folder", "set/data is not a folder; data_dir must name a folder",
     lambda: shutil.rmtree("set"), lambda: Path("set").write_text("")),
    ("no image", "set/data holds no .tif or .tiff file; put one TIFF a slice there", emptied("set/data")),
    ("no label", "set/labels holds no .tif or .tiff file; put one TIFF a slice there", emptied("set/labels")),
    ("an image without a label", "set: 1 files have no label of the same number: slice_0002.tif; add the missing files",
     LABEL.unlink),
    ("a label without an image", "set: 1 files have no image of the same number: slice_0002.tif; add the missing files",
     IMAGE.unlink),
    ("labels of other numbers", "set: 12 files have no label of the same number: slice_0001.tif ... add the missing",
     lambda: [path.rename(path.with_name(f"m{100 + i}.tif")) for i, path in enumerate(Path("set/labels").iterdir())]),
    ("a name without a number", "set/data/last.tif: the name must end in the slice's number, as in slice_017.tif",
     lambda: IMAGE.rename("set/data/last.tif")),
    ("a number beyond 2^63", f"slice_{2**63}.tif: the name must end in the slice's number ... below 2^63); rename the",
     lambda: IMAGE.rename(f"set/data/slice_{2**63}.tif")),
    ("a number twice", "set/data: b2.tif and slice_0002.tif both end in 2; keep one of them",
     lambda: shutil.copy(IMAGE, "set/data/b2.tif")),
    ("an 8-bit image", f"slice_0002.tif holds uint8, not uint16; {CONVERT}",
     rewritten(IMAGE, lambda array: (array // 257).astype(np.uint8))),
    ("a float image", f"slice_0002.tif holds float32, not uint16; {CONVERT}",
     rewritten(IMAGE, lambda array: array.astype(np.float32))),
    ("a 16-bit label", f"slice_0002.tif holds uint16, not uint8; {CONVERT}",
     rewritten(LABEL, lambda array: array.astype(np.uint16))),
    ("a float label", f"slice_0002.tif holds float32, not uint8; {CONVERT}",
     rewritten(LABEL, lambda array: array.astype(np.float32))),
    ("a stack for an image", "set/data/slice_0002.tif holds 3 images; save one grey slice a file",
     rewritten(IMAGE, lambda array: np.stack([array] * 3))),
    ("a stack for a label", "set/labels/slice_0002.tif holds 3 images; save one grey slice a file",
     rewritten(LABEL, lambda array: np.stack([array] * 3))),
    ("an image of another size", "data/slice_0002.tif is (20, 23) px, the first slice (20, 24); all must have the same "
     "size: crop them", rewritten(IMAGE, lambda array: array[:, 1:])),
    ("a label of another size", "labels/slice_0002.tif is (20, 23) px, the first slice (20, 24); all must have the",
     rewritten(LABEL, lambda array: array[:, 1:])),
    ("a turned label", "labels/slice_0002.tif is (24, 20) px, the first slice (20, 24); all must have the",
     rewritten(LABEL, np.transpose)),
    ("an image of one grey level", "data/slice_0002.tif holds one grey level only, 7; export it again, or take it and "
     "its label away", rewritten(IMAGE, lambda array: np.full_like(array, 7))),
    ("labels that are class indices", f"slice_0002.tif has label values other than (0, 128, 255): 1 ... {VALUES}",
     rewritten(LABEL, lambda array: array // 127)),
    ("labels damaged by JPEG", f"slice_0002.tif has label values other than (0, 128, 255): 1 ... px) ...; {VALUES}",
     rewritten(LABEL, as_jpeg)),
    ("an image for a label", f"slice_0002.tif has label values other than (0, 128, 255): ... {VALUES}",
     lambda: tifffile.imwrite(LABEL, (tifffile.imread(IMAGE) // 257).astype(np.uint8))),
    ("images and labels exchanged", "data/slice_0001.tif holds uint8, not uint16; make a copy of the set that fits",
     lambda: Path("set/data").rename("set/x"), lambda: Path("set/labels").rename("set/data"),
     lambda: Path("set/x").rename("set/labels")),
    ("nine slices", "set holds 9 labelled slices; at least 10 are needed to train and test", few),
]:
    case(f"labelled: {name}", sentence, SET, *spoil)
case("labelled: a line's end in the path", r"a\nset/data is not a folder; data_dir must name a folder that holds data/",
     SET.replace("data_dir=set", "'data_dir=a\nset'"))
case("labelled: a line's end in a file's name", r"data/a\n2.tif holds uint8, not uint16; make a copy", SET,
     rewritten(IMAGE, lambda array: array.astype(np.uint8)), lambda: IMAGE.rename("set/data/a\n2.tif"))
case("labelled: the home of nobody", "~nobody-of-this-name/set/data is not a folder; data_dir must name a folder",
     SET.replace("=set", "=~nobody-of-this-name/set"))
case("labelled: an empty name", "data is not a folder; data_dir must name a folder", SET.replace("=set", "=' '"))


# -- conversion -------------------------------------------------------------------------------------------------------


def floats(change: Callable[[np.ndarray], np.ndarray]) -> Callable:
    """All images of the set as float32."""
    def spoil() -> None:
        for path in Path("set/data").iterdir():
            rewritten(path, lambda array: change(array.astype(np.float32)).astype(np.float32))()
    return spoil


def with_one(value: float) -> Callable[[np.ndarray], np.ndarray]:
    """One pixel of that value."""
    def change(array: np.ndarray) -> np.ndarray:
        array[3, 4] = value
        return array
    return change


FINITE = "set/data holds numbers from ... to ... which are not finite or are all the same; mend them first"
for name, sentence, *spoil in [
    ("into a folder that is there", "new is there already; name a new folder for the converted slices",
     lambda: Path("new").mkdir()),
    ("into a file", "new is there already; name a new folder for the converted slices",
     lambda: Path("new").write_text("mine")),
    ("of nothing", "set/data is not a folder", lambda: shutil.rmtree("set")),
    ("of images without labels", "set: 1 files have no label of the same number: slice_0002.tif; add", LABEL.unlink),
    ("of two types of images", "set/data holds uint16 and uint8; all images must be of the same type",
     rewritten(IMAGE, lambda array: array.astype(np.uint8))),
    ("of one number", FINITE, floats(np.zeros_like)), ("of a NaN", FINITE, floats(with_one(np.nan))),
    ("of an infinity", FINITE, floats(with_one(np.inf))), ("of a negative one", FINITE, floats(with_one(-np.inf))),
    ("of labels 1, 2, 3", "slice_0002.tif holds ... values from 1 to 3; labels must be 0, 1, 2 or 0, 128, 255",
     rewritten(LABEL, lambda array: array // 127 + 1)),
    ("of labels damaged by JPEG", "slice_0002.tif holds ... from 0 to 255; labels must be 0, 1, 2 or 0, 128, 255",
     rewritten(LABEL, as_jpeg)),
    ("of a stack", "slice_0002.tif holds 3 images; save one grey slice a file",
     rewritten(IMAGE, lambda array: np.stack([array] * 3))),
]:
    case(f"convert: {name}", sentence, "data convert set new", *spoil)
case("convert: a folder into itself", "set is there already; name a new folder", "data convert set set")


# -- parameters -------------------------------------------------------------------------------------------------------


OR_NONE = " or None (the default)"
SLICES = "a whole number from 1 to 100000, or a part of a slice between 0 and 1"
TRANSFORMS = "a list of 'rotate', 'scale', 'elastic', 'blur', 'contrast', 'brightness', 'noise', each at most once"
EXPECTED: dict[str, tuple[str, tuple]] = {       # what each must be, and what of `WRONG` is not wrong for it
    "profile": ("one of '', 'tiny', 'laptop', 'paper'", ()), "data_dir": ("a text in quotes", ("many", "1_0")),
    "volume": ("a text in quotes", ("many", "1_0")), "seed": ("a whole number from 0 to 2147483647", ()),
    "n_seeds": ("a whole number from 1 to 100" + OR_NONE, (None,)), "n_train": (SLICES + OR_NONE, (None,)),
    "n_val": ("a whole number from 1 to 100000" + OR_NONE, (None,)),
    "sizes": ("a list of training sizes, as [5, 25]", ()),
    "crops": ("a list of sides in px, as [32, 64]", ()), "split": ("one of 'random', 'block'", ()),
    "split_seed": ("a whole number from 0 to 2147483647" + OR_NONE, (None,)),
    "noise_std": ("a number from 0 to 65535", (1.5,)), "noise_min": ("a number from 0 to 65535", (1.5,)),
    "voxel_nm": ("a number from 0.001 to 1e+09", (1.5,)),
    "steps": ("a whole number from 1 to 10000000" + OR_NONE, (None,)),
    "evaluations": ("a whole number from 1 to 10000" + OR_NONE, (None,)),
    "width": ("a whole number from 1 to 512" + OR_NONE, (None,)),
    "depth": ("a whole number from 1 to 6" + OR_NONE, (None,)), "padding": ("one of 'same', 'valid'", ()),
    "dims": ("a whole number from 2 to 3" + OR_NONE, (None,)),
    "context": ("a whole number from 0 to 8" + OR_NONE, (None,)),
    "crop": ("a whole number from 0 to 100000" + OR_NONE, (None,)),
    "batch": ("a whole number from 1 to 10000" + OR_NONE, (None,)),
    "lr": ("a number from 1e-09 to 1" + OR_NONE, (None,)),
    "flips": ("True or False" + OR_NONE, (None, True)),
    "transforms": (TRANSFORMS, ()), "reuse": ("True or False", (True,)),
}
WRONG = (None, "many", -1, 1.5, math.nan, math.inf, True, "1_0", 10**400)
PARAMETERS = [(name, value, expected) for name, (expected, fine) in EXPECTED.items() for value in WRONG
              if not any(value is each or type(value) is type(each) and value == each for each in fine)] + [
    ("sizes[0]", [0], SLICES), ("sizes[1]", [0.25, 1.5], SLICES), ("sizes[1]", [5, None], SLICES),
    ("crops[1]", [32, 4], "a whole number from 8 to 4096"), ("crops[0]", [16.5], "a whole number from 8 to 4096"),
    ("depth", 7, "a whole number from 1 to 6"), ("dims", 4, "a whole number from 2 to 3"),
    ("lr", 0, "a number from 1e-09 to 1" + OR_NONE),
    ("n_train", 0, SLICES), ("n_seeds", 101, "a whole number from 1 to 100"),
    ("noise_std", 65536, "a number from 0 to 65535"),
    ("seed", 2**31, "a whole number from 0 to 2147483647"), ("transforms", ["flips"], TRANSFORMS),
    ("transforms", ["noise", "noise"], TRANSFORMS + ", or [] (none)"), ("transforms", [["noise"]], TRANSFORMS),
    ("split", ["block"], "one of 'random', 'block'"), ("data_dir", ["a", "b"], "a text in quotes"),
    ("flips", "yes", "True or False" + OR_NONE), ("batch", 2.5, "a whole number from 1 to 10000" + OR_NONE),
    ("crop", "32px", "a whole number from 0 to 100000" + OR_NONE), ("voxel_nm", 0, "a number from 0.001 to 1e+09"),
]


@pytest.mark.parametrize(("name", "value", "expected"), PARAMETERS, ids=lambda part: reprlib.repr(part)[:30])
def test_a_wrong_parameter_is_one_sentence(name, value, expected):
    with pytest.raises(ParameterError) as raised:
        check(**{name.partition("[")[0]: value})
    wrong = value[int(name[-2])] if name.endswith("]") else value
    must_say(f"{name} is {reprlib.repr(wrong)}; it must be {expected}", str(raised.value))


def test_every_parameter_is_tried_and_no_other_is_known():
    assert set(EXPECTED) == set(CHECKS)
    with pytest.raises(ParameterError, match="unknown parameter 'colour'; the known ones are profile, data_dir, "):
        check(colour=1)


# -- sweeps -----------------------------------------------------------------------------------------------------------


SEED = "it must be a whole number from 0 to 2147483647"
SAME = "are the same run of 01_baseline; give each value once, and vary only what it depends on"
RANGE = "is no range of values, or one of more than 100,000; write 0:5 for 0, 1, 2, 3, 4, or list them: 0,3,7"
LOWER = "but there are 10 slices to draw from; lower one of them"
CUBES = ("dims is 3: a network of volumes is trained on cubes (crop above 0), with padding 'same', without transforms "
         "and with context 0; change these, or set dims to 2")
NEIGHBOURS = "a network that sees neighbouring slices ... cannot learn from these ... set split to \"block\""
COUNT = "is not a whole number, 0 or more"
ADDRESS = "is no address of a Dask scheduler; give what it printed as it began, as tcp://10.0.0.1:8786"
for more, sentence in [
    ("-p seed", "-p seed has no value; write -p NAME=VALUE, NAME=A,B,C or NAME=0:5"),
    ("-p seed=0 -p seed=1", "-p seed is given twice; list all its values in one: -p seed=A,B,C"),
    ("-p sede=1", "unknown parameter 'sede'; the known ones are profile, data_dir"),
    ("-p experiment=x", "unknown parameter 'experiment'; the known ones are"),
    ("-p seed=0,0", f"seed=0 and seed=0 {SAME}"), ("-p seed=0,0.0", f"seed=0 and seed=0.0 {SAME}"),
    ("-p n_train=5,5e0", f"n_train=5 and n_train=5e0 {SAME}"),
    ("-p noise_std=1,2", f"noise_std=1 and noise_std=2 {SAME}"),
    *((f"-p seed={text}", f"{reprlib.repr(text)} {RANGE}") for text in (
        "0:100000000000", "0:1_0", "3:1", "1:", ":5", "a:b", "-2:2", "0:9:2", "0:" + 5000 * "9")),
    ("-p seed=1,,2", f"seed is ''; {SEED}"),
    *((f"-p seed={text}", f"seed is '{text}'; {SEED}") for text in ("", "0x10", "1_0", "zero", "1.5", "-1", "nan")),
    ("-p seed=0:1000 -p n_train=1:200", "these parameters make 199,000 runs; a sweep has 100,000 at most"),
    ("-p n_train=400", f"n_train + n_val is 400 + 1 = 401, {LOWER}"), ("-p n_val=10", f"n_val is 1 + 10 = 11, {LOWER}"),
    ("-p n_train=4,400", f"n_train + n_val is 400 + 1 = 401, {LOWER}"),
    ("-p n_val=60", f"n_train + n_val is 1 + 60 = 61, {LOWER}"),
    ("-p n_train=8 -p n_val=3", f"n_train + n_val is 8 + 3 = 11, {LOWER}"),
    ("-p n_train=0.5 -p n_val=10", f"n_train + n_val is 1 + 10 = 11, {LOWER}"),
    ("-p split=block -p n_val=9", "a block split of 10 slices with 9 for validation leaves none to train on; lower n_"),
    ("-p split=blocks", "split is 'blocks'; it must be one of 'random', 'block'"),
    ("-p transforms=blur", "transforms is 'blur'; it must be a list of 'rotate'"),
    *((f"-p dims=3 -p {wrong}", CUBES) for wrong in ("crop=0", "padding=valid", "context=1")),
    ("-p dims=3", NEIGHBOURS), ("-p context=1", NEIGHBOURS),
    *((f"-p {name}=3", f"a sweep has no use for {name}; vary what a run depends on, as -p seed=0:3")
      for name in ("volume", "n_seeds", "sizes", "crops", "voxel_nm", "reuse")),
    *((f"--workers {text}", f"argument --workers: '{text}' {COUNT}") for text in ("-1", "two", "1.5", "1_0")),
    *((f"--scheduler {text}", f"'{text}' {ADDRESS}") for text in (
        "localhost", "10.0.0.1", "8786", "tcp://10.0.0.1", "http://10.0.0.1:8786", "tcp:/10.0.0.1:8786",
        "tcp://10.0.0.1:port", "tcp://10.0.0.1:8786/x")),
]:
    case(f"sweep {more[:60]}", sentence, f"{SET.replace(' -p steps=1', '')} {more}")
for name, line, sentence in [
    ("of no experiment", "sweep 05", "argument experiment: invalid choice: '05' (choose from '01_baseline', "),
    ("of no profile", "sweep 01_baseline -p profile=huge", "profile is 'huge'; it must be one of '', 'tiny', 'laptop'"),
    ("over profiles", "sweep 01_baseline -p profile=tiny,laptop", "profile is 'tiny,laptop'; it must be one of"),
    ("of noise without a level", "sweep 07_fresh_noise -p profile=tiny -p noise_std=5 -p noise_min=6",
     "noise_std is 5, less than noise_min, 6; raise the one or lower the other"),
]:
    case(f"sweep {name}", sentence, line)
for name, value, sentence in [
    ("PROFILE", "lptop", "profile is 'lptop'; it must be one of '', 'tiny', 'laptop', 'paper'"),
    ("SEEDS", "3x", "n_seeds is '3x'; it must be a whole number from 1 to 100"),
    ("SEEDS", "0", "n_seeds is '0'; it must be a whole number from 1 to 100"),
    ("DATA", "nowhere", "nowhere/data is not a folder; data_dir must name a folder that holds data/ (images) and"),
]:
    case(f"environment: XRAYLIB_{name}={value}", sentence,
         "sweep 01_baseline" if name != "SEEDS" else partial(check, n_seeds=None),
         partial(os.environ.__setitem__, f"XRAYLIB_{name}", value))
case("sweep of cubes with transforms", CUBES,
     partial(configure, "09_three_d", profile="tiny", dims=3, transforms=["blur"]))
case("sweep of a network that no memory holds", "width is 512 and depth 6, so that the U-Net has 32,768 channels where "
     "it is coarsest; 2,048 are the most: lower one of them", partial(configure, "01_baseline", width=512, depth=6))
case("sweep of transforms without its own", "transforms is ['blur']; 07_fresh_noise is nothing without 'noise': add it",
     partial(configure, "07_fresh_noise", profile="tiny", transforms=["blur"]))


@contextmanager
def server(answer: bytes | None):
    """The address of what is no Dask scheduler: it answers that, or (None) does not even listen."""
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


def asked(answer: bytes | None) -> None:
    """A prediction is given to such a server."""
    with server(answer) as address:
        predict_volume("flat.safetensors", "volume", "out", scheduler=address)


for name, answer in (("nobody", None), ("a silent server", b""), ("a web server", b"HTTP/1.1 400 Bad Request\r\n\r\n")):
    case(f"scheduler: {name}", "no Dask scheduler answers at tcp://127.0.0.1: ... within 0.5 s ... start one, or give "
         "the address that it printed (tcp://...)", partial(asked, answer))


# -- predictions ------------------------------------------------------------------------------------------------------


def in_volume(change: Callable[[np.ndarray], np.ndarray]) -> Callable:
    """All slices of the volume, changed."""
    return lambda: [rewritten(path, change)() for path in Path("volume").iterdir()]


NO_LEVELS = "one grey level only, or no number; export it again, or name another volume"
WEIGHTS = "model.safetensors is no weights file of this library, or damaged ( ... {}"
TODO = " ... train the run again, or name the model.safetensors of a complete run"
MODEL = Path("model.safetensors")
FACTS = {"width": "2", "depth": "1", "n_classes": "3", "padding": "same"}


def header(**changed: object) -> Callable:
    """The weights with another header."""
    def spoil() -> None:
        save_file(load_file(MODEL), MODEL, FACTS | {name: str(value) for name, value in changed.items()})
    return spoil


def numbers(name: str, value: float) -> Callable:
    """The weights with another number."""
    def spoil() -> None:
        tensors = load_file(MODEL)
        tensors[name].view(-1)[-1] = value
        save_file(tensors, MODEL, FACTS)
    return spoil


for name, sentence, spoil in [
    ("that are not there", "there is no file of that name", MODEL.unlink),
    ("of text", "", lambda: MODEL.write_text("weights")), ("of no bytes", "", lambda: MODEL.write_bytes(b"")),
    ("cut short", "", lambda: MODEL.write_bytes(MODEL.read_bytes()[:-50])),
    ("that would run code", "", lambda: MODEL.write_bytes(pickle.dumps(Harmful(Path("harm"))))),
    ("of torch.save", "", lambda: torch.save(UNet(2, 1).state_dict(), MODEL)),
    ("without a header", "", lambda: save_file(load_file(MODEL), MODEL)),
    ("of depth 40", "its depth is 40, not from 1 to 6", header(depth=40)),
    ("of depth 0", "its depth is 0, not from 1 to 6", header(depth=0)),
    ("of depth two", "invalid literal", header(depth="two")),
    ("of width 10^9", "its width is 1000000000, not from 1 to 512", header(width=10**9)),
    ("of 512 x 6, 60 GB", "Missing key", header(width=512, depth=6)),
    ("of another width", "size mismatch", header(width=4)), ("of another depth", "Missing key", header(depth=2)),
    ("of 2 classes", "its n_classes is 2, not from 3 to 3", header(n_classes=2)),
    ("of 5 classes", "its n_classes is 5, not from 3 to 3", header(n_classes=5)),
    ("of unknown padding", "padding", header(padding="full")), ("of 3 dims", "size mismatch", header(dims=3)),
    ("of 4 dims", "its dims is 4, not from 2 to 3", header(dims=4)),
    ("of neighbours", "size mismatch", header(context=1)), ("of 9 neighbours", "its context is 9", header(context=9)),
    ("of another architecture", "Missing key", lambda: save_file(torch.nn.Conv2d(1, 2, 3).state_dict(), MODEL, {
        "width": "2", "depth": "1", "n_classes": "3", "padding": "same"})),
    ("with a NaN", "it holds numbers that are not finite", numbers("head.bias", math.nan)),
    ("with an infinity", "it holds numbers that are not finite", numbers("head.weight", math.inf)),
    ("with a deviation of 0", "it holds a deviation", numbers("grey", 0)),
]:
    case(f"weights {name}", WEIGHTS.format(sentence) + TODO, PREDICT, spoil)

LOOK = partial(sets.open_volume, "volume", "tiny")
for name, sentence, *spoil in [
    ("that is not there", "volume is neither a TIFF file nor a folder of TIFF files; check the path",
     lambda: shutil.rmtree("volume")),
    ("of one grey level", f"volume holds {NO_LEVELS}", in_volume(np.zeros_like)),
    ("of NaN", f"volume holds {NO_LEVELS}", in_volume(lambda array: np.full(array.shape, np.nan, np.float32))),
    ("of two sizes", "slice_0002.tif is (18, 24) px, the first slice (20, 24); all must have the same size: crop them",
     rewritten(Path("volume/slice_0002.tif"), lambda array: array[2:])),
    ("of two types", "slice_0002.tif holds float32, the first file uint16; all must have the same dtype",
     rewritten(Path("volume/slice_0002.tif"), lambda array: array.astype(np.float32))),
]:
    case(f"looked at: a volume {name}", sentence, LOOK, *spoil)

RECORD = Path("out/prediction.json")


def predicted(*after: Callable[[], object]) -> list[Callable[[], object]]:
    """A prediction has been made, and then something is done."""
    return [lambda: predict_volume("flat.safetensors", "volume", "out"), *after]


AGAINST = "was not made of ... volume as it is now by these weights; name another folder, or take that file away"
ANOTHER = "out/prediction.json is of another prediction, or damaged; name another folder, or take the file away"
LIES = "is, or lies in, the folder of the slices to be segmented"
FLAT = "predict flat.safetensors volume out"
for name, line, sentence, *spoil in [
    ("no such volume", "predict flat.safetensors nowhere out", "nowhere is neither a TIFF file nor a folder of TIFF "
     "files; check the path"),
    ("a volume that is a pipe", FLAT, "volume is neither a TIFF file nor a folder of TIFF files", lambda: shutil.rmtree(
        "volume"), lambda: os.mkfifo("volume")),
    ("an empty volume", FLAT, "volume holds no .tif or .tiff file; put one TIFF a slice there", emptied("volume")),
    ("a volume of one grey level", FLAT, "slice_0001.tif and the slices after it hold one grey level only, or no numb",
     in_volume(np.zeros_like)),
    ("a volume of NaN", FLAT, "slice_0001.tif and the slices after it hold one grey level only, or no number; there is "
     "nothing to segment: export them again", in_volume(lambda array: np.full(array.shape, np.nan, np.float32))),
    ("a volume of infinities", FLAT, "hold one grey level only, or no number; there is nothing to segment: export them",
     in_volume(lambda array: np.full(array.shape, np.inf, np.float32))),
    ("a volume of two types", FLAT, "slice_0002.tif holds float32, the first file uint16; all must have the same dtype",
     rewritten(Path("volume/slice_0002.tif"), lambda array: array.astype(np.float32))),
    ("two sizes for a network of neighbours", "predict context.safetensors volume out", "slice_0002.tif is (18, 24) "
     "px, the first slice (20, 24); a network that sees neighbouring slices needs all of one size: crop them",
     rewritten(Path("volume/slice_0002.tif"), lambda array: array[2:])),
    ("two slices of one name", FLAT, "slice_0001.tif and ... slice_0001.tiff both end in 1; keep one of them",
     lambda: shutil.copy("volume/slice_0001.tif", "volume/slice_0001.tiff")),
    ("two pages of one name", FLAT, "would both be written as a_0_00001.tif; rename one",
     emptied("volume"), lambda: tifffile.imwrite(
         "volume/a_0.tif", np.stack(blobs(2, 20, 24).images), photometric="minisblack"),
     lambda: shutil.copy("set/data/slice_0001.tif", "volume/a_0_00001.tif")),
    ("into a file", FLAT, "out is a file; name a folder for the segmented slices",
     lambda: Path("out").write_text("mine")),
    ("into a folder that is below a file", "predict flat.safetensors volume flat.safetensors/out",
     "flat.safetensors/out: Not a directory; take another folder, or mend this one"),
    ("into the volume itself", "predict flat.safetensors volume volume", f"volume {LIES} ... name another folder"),
    ("into a folder of the volume", "predict flat.safetensors volume volume/out", f"volume/out {LIES} ... name another "
     "folder for the segmented ones"),
    ("into the volume by a link", FLAT, f"volume {LIES} ... name another folder",
     lambda: Path("out").symlink_to("volume")),
    ("over foreign TIFFs of these names", FLAT, f"out/slice_0001.tif is there, and {AGAINST}",
     lambda: shutil.copytree("set/labels", "out")),
    ("over foreign files of these names", FLAT, f"out/slice_0003.tif is there, and {AGAINST}",
     lambda: Path("out").mkdir(), lambda: Path("out/slice_0003.tif").write_text("mine")),
    ("of a slice that has changed", FLAT, AGAINST, *predicted(
        rewritten(Path("volume/slice_0002.tif"), lambda array: array[::-1]))),
    ("of a slice that was touched", FLAT, f"out/slice_0002.tif is there, and {AGAINST}", *predicted(
        lambda: os.utime("volume/slice_0002.tif", (1, 1)))),
    ("by other weights", PREDICT, f"out/slice_0001.tif is there, and {AGAINST}", *predicted()),
    ("over a slice that was cut short", FLAT, f"out/slice_0002.tif is there, and {AGAINST}", *predicted(
        lambda: Path("out/slice_0002.tif").write_bytes(Path("out/slice_0002.tif").read_bytes()[:-9]))),
    ("over a slice that was edited", FLAT, f"out/slice_0002.tif is there, and {AGAINST}", *predicted(
        rewritten(Path("out/slice_0002.tif"), np.zeros_like))),
    ("over an empty record", FLAT, ANOTHER, *predicted(lambda: RECORD.write_text(""))),
    ("over a record that is cut", FLAT, ANOTHER, *predicted(lambda: RECORD.write_text("{"))),
    ("over a record of something else", FLAT, ANOTHER, *predicted(lambda: RECORD.write_text("[]"))),
    ("over a record of bytes", FLAT, ANOTHER, *predicted(lambda: RECORD.write_bytes(b"\xff\xfe"))),
    ("of another folder alike", "predict flat.safetensors again out", "out/slice_0001.tif ... was not made of ... "
     "again as it is now", *predicted(lambda: shutil.copytree("volume", "again", copy_function=shutil.copy))),
    ("by a run without a result", "predict home volume out", "home holds no complete run (no result.json); run it"),
    ("by nothing", "predict nowhere volume out", "nowhere is no weights file of this library, or damaged (there is no"),
    ("with a picture of every -1", f"{FLAT} --preview -1", f"argument --preview: '-1' {COUNT}"),
    ("with a picture of every 1_0", f"{FLAT} --preview 1_0", f"argument --preview: '1_0' {COUNT}"),
    ("in tiles of x", f"{FLAT} --tile x", f"argument --tile: 'x' {COUNT}"),
    ("without OUT", "predict flat.safetensors volume", "the following arguments are required: OUT"),
    ("by a thousand workers", f"{FLAT} --workers 1000", "1000 workers are more than this machine of ... cores "
     "can feed; give"),
    ("by a scheduler nowhere", f"{FLAT} --scheduler here", f"'here' {ADDRESS}"),
]:
    case(f"predict: {name}", sentence, line, *spoil)


# -- run folders ------------------------------------------------------------------------------------------------------


def of_the_run(name: str, change: Callable) -> Callable:
    """A file of the run, changed: of JSON its content, else its text."""
    def spoil() -> None:
        (path,) = Path("home/runs").glob(f"*/*/{name}")
        if name.endswith(".json") and change.__code__.co_varnames[:1] == ("content",):
            path.write_text(json.dumps(change(json.loads(path.read_text()))))
        else:
            path.write_text(change(path.read_text()))
    return spoil


def without(*names: str) -> Callable:
    """JSON that lacks these."""
    return lambda content: {name: value for name, value in content.items() if name not in names}


def val(**changed: object) -> Callable:
    """result.json with other scores."""
    return lambda content: content | {"val": content["val"] | changed}


TABLE = "val is no table of pixels"
for name, sentence, change in [
    ("result.json", "it lacks val or test", lambda text: "{}"), ("result.json", "", lambda text: "[]"),
    ("result.json", "", lambda text: ""), ("result.json", "", lambda text: text[:99]),
    ("result.json", "", lambda text: "3"),
    ("result.json", "", lambda text: "null"), ("result.json", "", lambda text: "[" * 100_000),
    ("result.json", "it lacks val or test", without("val")), ("result.json", "it lacks val or test", without("test")),
    ("result.json", TABLE, val(confusion=[[1, 2], [3, 4]])), ("result.json", TABLE, val(confusion=[])),
    ("result.json", TABLE, val(numbers=[], noise_std=[], confusion=[])), ("result.json", TABLE, val(numbers=[1])),
    ("result.json", TABLE, val(confusion=[[[-1] * 3] * 3] * 2, numbers=[1, 2], noise_std=[0, 0])),
    ("result.json", TABLE, val(confusion=[[[0.5] * 3] * 3] * 2, numbers=[1, 2], noise_std=[0, 0])),
    ("result.json", "", val(confusion="many")), ("result.json", "unexpected keyword", val(more=1)),
    ("result.json", "", lambda content: content | {"test": 3}),
    ("history.csv", "it lacks rows or columns", lambda text: ""),
    ("history.csv", "it lacks rows or columns", lambda text: text.splitlines()[0]),
    ("history.csv", "it lacks rows or columns", lambda text: text.replace("dice,", "dise,")),
    ("history.csv", "", lambda text: text.replace("\n1,", "\none,")), ("history.csv", "", lambda text: text + "2,3"),
    ("history.csv", "", lambda text: text + ",".join("9" * 40)), ("history.csv", "", lambda text: "{}"),
    ("config.json", "", lambda text: ""), ("config.json", "", lambda text: "[]"),
    ("config.json", "", lambda text: text[:50]),
    ("config.json", "it lacks data, fingerprint, note, recipe", lambda text: "{}"),
    ("config.json", "it lacks recipe", without("recipe")),
    ("config.json", "it lacks fingerprint", without("fingerprint")),
    ("config.json", "it lacks data, note", without("data", "note")), ("config.json", "missing", without("seed")),
    ("config.json", "it was changed: what it says is the run", lambda content: content | {"seed": 1}),
    ("config.json", "it was changed: what it says is the run", lambda content: content | {"profile": "laptop"}),
    ("config.json", "it was changed: what it says is the run", lambda content: content | {"fingerprint": "0"}),
    ("config.json", "it was changed: what it says is the run", lambda content: content | {
        "recipe": content["recipe"] | {"width": 64}}),
    ("config.json", "unexpected keyword", lambda content: content | {"recipe": content["recipe"] | {"colour": 1}}),
    ("config.json", "missing", lambda content: content | {"recipe": {}}),
    ("config.json", "", lambda content: content | {"recipe": 3}),
]:
    case(f"run: {name} spoilt in way {len(CASES)}", f"{name} is damaged ( ... {sentence} ... delete ... and run its "
         "notebook again", "report", of_the_run(name, change))
for name in ("history.csv", "config.json"):
    case(f"run: no {name}", f"{name} is damaged ( ... No such file ... delete ... and run its notebook again", "report",
         lambda name=name: next(Path("home/runs").glob(f"*/*/{name}")).unlink())
case("run: not one", "home/runs holds no complete run; run a notebook to its end, or `make run`", "report",
     lambda: shutil.rmtree("home"))
case("run: no result", "home/runs holds no complete run; run a notebook to its end", "report",
     lambda: next(Path("home/runs").glob("*/*/result.json")).unlink())
case("run: no weights", "holds no weights (model.safetensors); few of the published runs do: set reuse = False",
     lambda: load(next(Path("home/runs").glob("*/*"))).model(),
     lambda: next(Path("home/runs").glob("*/*/model.safetensors")).unlink())
case("home: a file", "home ... take another folder, or mend this one; XRAYLIB_HOME says where", "data make",
     lambda: shutil.rmtree("home"), lambda: Path("home").write_text("mine"))


def test_a_full_disk_is_told_as_one_however_numpy_says_it():
    with open("/dev/full", "wb") as full, pytest.raises(OSError) as raised:
        np.zeros(2**20, np.uint8).tofile(full)
    must_say("No space left on device; make room, and give the same command again: what is whole is kept",
             __main__.of_the_disk(raised.value))


# -- what another user may not do -------------------------------------------------------------------------------------


def forbidden(pattern: str, mode: int = 0) -> Callable:
    """What nobody may read or, mode 0o555, write."""
    return lambda: [path.chmod(mode) for path in [*Path().glob(pattern)]]


@contextmanager
def another_user():
    """For root every mode is good: until the end this process is nobody's."""
    try:
        if os.getuid() == 0:
            os.seteuid(65534)
        yield
    finally:
        os.seteuid(os.getuid())


DENIED = "Permission denied; take another folder, or mend this one; XRAYLIB_HOME says where data/ and runs/ are"
for name, line, sentence, *spoil in [
    ("an image", SET, f"set/data/slice_0002.tif: {DENIED}", forbidden("set/data/slice_0002.tif")),
    ("a label", SET, f"set/labels/slice_0002.tif: {DENIED}", forbidden("set/labels/slice_0002.tif")),
    ("the images", SET, f"set/data: {DENIED}", forbidden("set/data")),
    ("a slice", FLAT, f"volume/slice_0002.tif: {DENIED}", forbidden("volume/slice_0002.tif")),
    ("the weights", FLAT, "flat.safetensors ... Permission denied", forbidden("flat.safetensors")),
    ("the place of OUT", FLAT, f"out: {DENIED}", lambda: Path().chmod(0o555)),
    ("OUT", FLAT, f"out/prediction.json ... {DENIED}", lambda: Path("out").mkdir(), forbidden("out", mode=0o555)),
    ("the place of a conversion", "data convert set new", f"new ... {DENIED}", lambda: Path().chmod(0o555)),
    ("a result", "report", f"result.json: {DENIED}", forbidden("home/runs/*/*/result.json")),
    ("the table", "report", f"home/runs/summary.md ... {DENIED}", forbidden("home/runs", mode=0o555)),
    ("the place of the data", "data make --profile tiny", f"home/data: {DENIED}", forbidden("home", mode=0o555)),
    ("the place of the runs", f"{SET} -p seed=5", "1 of 1 runs failed ... Permission denied",
     forbidden("home/runs/*", mode=0o555)),
]:
    case(f"forbidden: {name}", sentence, line, *spoil)


@pytest.mark.parametrize("name", CASES)
def test_it_is_one_sentence_and_nothing_is_written(name, place, monkeypatch, capsys):
    sentence, call, spoil = CASES[name]
    for each in spoil:
        each()
    before = held(place)
    with another_user() if name.startswith("forbidden") else nullcontext():
        said = told(call, monkeypatch, capsys)
    must_say(sentence, said)
    assert held(place) == before


# -- two at once ------------------------------------------------------------------------------------------------------


def test_two_processes_that_make_the_same_data_and_the_same_run_at_once_end_as_one_alone(tmp_path, home, monkeypatch):
    words = "sweep 01_baseline -p profile=tiny -p steps=12 -p evaluations=12"
    commands = [subprocess.Popen([sys.executable, "-m", "xraylib", *words.split()], stdout=subprocess.DEVNULL,
                                 stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in commands:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0 and "Traceback" not in errors, errors
    assert len(list((home / "data/built-in").iterdir())) == 2 and not list(home.rglob("*.part*"))
    source, config = sets.open_source("tiny"), configure("01_baseline", profile="tiny", steps=12, evaluations=12)
    monkeypatch.setenv("XRAYLIB_HOME", str(tmp_path / "alone"))
    alone = execute(config, source).folder
    found = home / alone.relative_to(tmp_path / "alone")
    names = [{str(path.relative_to(each)) for path in each.rglob("*")} for each in (found, alone)]
    assert names[0] == names[1] and (found / "result.json").read_text() == (alone / "result.json").read_text()
    one, other = (load_file(each / "model.safetensors") for each in (found, alone))
    assert all(torch.equal(one[name], other[name]) for name in one)
