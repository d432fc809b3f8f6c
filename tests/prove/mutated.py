"""Damaged TIFFs through every reader: whatever a file holds, it is slices or one sentence, in bounded memory and time.

    python tests/prove/mutated.py [N]     10,000 files, 3 minutes on one core

Each file is a valid TIFF of one of many kinds, with one to three faults of those that a disk, a copy or an enemy makes.
`outcome` is also what `tests/test_properties.py` calls, on a few hundred files.
"""

import resource
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import tifffile
from tqdm import tqdm

from xraylib.slices import tiff
from xraylib.slices.excerpt import excerpt
from xraylib.slices.labelled import as_values, to_classes
from xraylib.slices.tiff import DataError

EXTREMES = (0, 1, 2, 3, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1)
ROOM = 2**30          # bytes that a reader may take beyond what the process has when it begins
LONGEST = 5           # seconds for one file


def kinds(rng: np.random.Generator) -> list[bytes]:
    """Valid TIFFs, 24 x 31 px, of the kinds that microscopes and programs write."""
    stack = rng.integers(0, 65536, (3, 24, 31), np.uint16)
    grey, ways = {"photometric": "minisblack"}, []
    for images, how in ((stack, {}), (stack, {"compression": "zlib"}), (stack, {"bigtiff": True}), (stack[0], {}),
                        (stack, {"byteorder": ">"}), (stack, {"tile": (16, 16)}), (stack, {"rowsperstrip": 5}),
                        (stack[0], {"compression": "lzw", "predictor": True}), (stack, {"compression": "packbits"}),
                        (stack.astype(np.float32), {"compression": "zlib", "predictor": 3, "metadata": None}),
                        ((stack >> 8).astype(np.uint8), {"resolution": (543478.0, 543478.0), "resolutionunit": 3})):
        tifffile.imwrite(file := BytesIO(), images, **grey | how)
        ways.append(file.getvalue())
    for images, how in ((stack, {"imagej": True, "resolution": (54.3, 54.3), "metadata": {"unit": "um"}}),
                        (as_values(stack[0] % 3), {"compression": "zlib"})):
        tifffile.imwrite(file := BytesIO(), images, **how)
        ways.append(file.getvalue())
    return ways


def flip(content: bytearray, rng: np.random.Generator) -> None:
    """Other bits in a few bytes, near the beginning as often as anywhere."""
    end = int(rng.choice([min(400, len(content)), len(content)]))
    for index in rng.integers(end, size=int(rng.integers(1, 9))):
        content[index] ^= int(rng.integers(1, 256))


def extreme(content: bytearray, rng: np.random.Generator) -> None:
    """A number of 2, 4 or 8 bytes, as tags have them, becomes one at which sums and products overflow."""
    form = str(rng.choice(list("HIQ")))
    place = int(rng.integers(len(content) // 2)) * 2
    number = int(rng.choice([*EXTREMES, len(content), len(content) - 1])) % 2**(8 * struct.calcsize(form))
    content[place:place + struct.calcsize(form)] = struct.pack("<>"[int(rng.integers(2))] + form, number)


def entry(content: bytearray, rng: np.random.Generator) -> None:
    """Code, type, count or value of an entry of the first directory becomes another."""
    order, (first,) = ("<", ">")[content[:2] == b"MM"], struct.unpack_from("<H", content, 2)
    big = 43 in (first, first >> 8)
    start = struct.unpack_from(order + "IQ"[big], content, 8 if big else 4)[0]
    if start + 20 > len(content):
        return
    (count,) = struct.unpack_from(order + "HQ"[big], content, start)
    at = start + (8 if big else 2) + int(rng.integers(max(count, 1) % 100 + 1)) * (20 if big else 12)
    place, form = [(0, "H"), (2, "H"), (4, "IQ"[big]), (12 if big else 8, "IQ"[big]), (8, "H")][int(rng.integers(5))]
    if at + 20 <= len(content):
        number = int(rng.choice([*EXTREMES, *range(254, 340), len(content)]))
        struct.pack_into(order + form, content, at + place, number % 2**(8 * struct.calcsize(form)))


def cut(content: bytearray, rng: np.random.Generator) -> None:
    """The end is not there."""
    del content[int(rng.integers(len(content))):]


def move(content: bytearray, rng: np.random.Generator) -> None:
    """A piece is lost, or comes twice, or random bytes stand where none were: what follows is elsewhere."""
    start, stop = sorted(rng.integers(len(content), size=2).tolist())
    stop = min(stop, start + 200)
    content[start:stop] = [b"", content[start:stop] * 2, rng.bytes(20)][int(rng.integers(3))]


FAULTS: tuple[Callable[[bytearray, np.random.Generator], None], ...] = (flip, extreme, entry, entry, cut, move)


def mutant(seed: int) -> bytes:
    """The damaged TIFF of this seed."""
    rng = np.random.default_rng(seed)
    valid = kinds(rng)
    content = bytearray(valid[seed % len(valid)])
    for fault in rng.integers(len(FAULTS), size=int(rng.integers(1, 4))):
        if len(content) > 20:
            FAULTS[fault](content, rng)
    return bytes(content)


def by_pages(path: Path) -> None:
    """As a prediction reads a volume, and writes its resolution."""
    for page in tiff.pages_of(path):
        for rows in (page.rows(3, 9), page.whole()):
            assert rows.shape[1] == page.shape[1] and rows.dtype == page.dtype, (rows.shape, rows.dtype)
        assert page.whole().shape == page.shape
        tifffile.imwrite(BytesIO(), page.whole(), **tiff.resolution(page))


def as_label(path: Path) -> None:
    """As the labels of a data set are read."""
    to_classes(tiff.read(path, np.uint8), path)


READERS: tuple[Callable[[Path], object], ...] = (by_pages, as_label, excerpt, lambda path: tiff.read(path, np.uint16))


def outcome(content: bytes, path: Path) -> str:
    """What all readers make of a file of this content: "slices", "sentence" or, of different ones, "both".

    Raises whatever is neither, and `AssertionError` where a sentence does not name the file, or is none.
    """
    path.write_bytes(content)
    found = set()
    for read in READERS:
        try:
            read(path)
            found.add("slices")
        except DataError as error:
            sentence = str(error)
            assert str(path) in sentence and "\n" not in sentence and len(sentence) < 700, sentence
            found.add("sentence")
    return found.pop() if len(found) == 1 else "both"


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "v_1.tif"
        outcome(mutant(0), path)
        held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + ROOM, -1))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        told, slowest, wrong = Counter(), 0.0, []
        for seed in tqdm(range(number), mininterval=5):
            begin = time.perf_counter()
            try:
                told[outcome(mutant(seed), path)] += 1
            except Exception as error:
                wrong.append(f"{seed}: {error!r}")
            slowest = max(slowest, time.perf_counter() - begin)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{number} damaged TIFFs: {dict(told)}; at most {grown:.0f} MB more memory and {slowest:.2f} s a file")
    assert not wrong, "\n".join(wrong)
    assert slowest < LONGEST


if __name__ == "__main__":
    main()
