"""What the tests of bad input share: cases, the check of a message, and ways to spoil good files.

A case is a message, a call, and what spoils the good data before it. The message is given by its
fragments in their order, with " ... " between them: file, fault, what is allowed and what to do. A
call is a command line, or a function without arguments.
"""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile

SET = "sweep 01_baseline -p profile=tiny -p steps=1 -p data_dir=set"
PREDICT = "predict model.safetensors volume out"  # by the weights of the run
FLAT = "predict flat.safetensors volume out"  # by those of a network that is not trained
IMAGE, LABEL = Path("set/data/slice_0002.tif"), Path("set/labels/slice_0002.tif")
SLICE = Path("volume/slice_0002.tif")
COUNT = "is not a whole number, 0 or more"
ADDRESS = ("is not the address of a Dask scheduler. Give what it printed when it started, such as "
           "tcp://10.0.0.1:8786")

Spoil = Callable[[], object]
Change = Callable[[np.ndarray], np.ndarray]


class Cases(dict[str, tuple[str, str | Callable, tuple[Spoil, ...]]]):
    """Cases by name, to be given to the fixture `refuse`."""

    def add(self, name: str, message: str, call: str | Callable, *spoil: Spoil) -> None:
        """Add a case; `spoil` is done before the call, in the folder of the fixture `place`."""
        assert name not in self, name
        self[name] = message, call, spoil


def must_say(fragments: str, message: str) -> None:
    """Check that a message is one line with these fragments in their order."""
    assert re.search(".*".join(map(re.escape, fragments.split(" ... "))), message), message
    assert "\n" not in message and len(message) < 800


def rewritten(path: Path, change: Change) -> Spoil:
    """A TIFF gets other pixels."""
    return lambda: tifffile.imwrite(path, change(tifffile.imread(path)), photometric="minisblack")


def all_rewritten(folder: str, change: Change) -> Spoil:
    """All TIFFs of a folder get other pixels."""
    return lambda: [rewritten(path, change)() for path in Path(folder).iterdir()]


def emptied(folder: str) -> Spoil:
    """A folder loses its files."""
    return lambda: [path.unlink() for path in Path(folder).iterdir()]
