"""Read damaged TIFFs and PNGs with every reader: each is read, or rejected with a clear error.

    python tools/prove/mutated.py [N]     10,000 files, 3 minutes on one core

Each file is a valid image of one of many kinds, with one to three of the faults that a disk, a copy
or an attacker makes. Memory and time are bounded. tests/test_properties.py calls `outcome` on a few
hundred files.
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
from PIL import Image
from tqdm import tqdm

from xraylib.data import NI_YSZ, classes_from_values, values_from_classes
from xraylib.errors import DataError
from xraylib.formats import tiff, voxel_size
from xraylib.outlook.second_sample import read_excerpt

EXTREMES = (0, 1, 2, 3, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1)
MEMORY_LIMIT = 2**30  # bytes that a reader may take beyond what the process has at the start
TIME_LIMIT = 5  # seconds for one file


def valid_tiffs(rng: np.random.Generator) -> list[bytes]:
    """Make TIFFs and PNGs of 24 x 31 px of the kinds that microscopes and programs write."""
    stack = rng.integers(0, 65536, (3, 24, 31), np.uint16)
    kinds: list[tuple[np.ndarray, dict]] = [
        (stack, {}), (stack, {"compression": "zlib"}), (stack, {"bigtiff": True}), (stack[0], {}),
        (stack, {"byteorder": ">"}), (stack, {"tile": (16, 16)}), (stack, {"rowsperstrip": 5}),
        (stack[0], {"compression": "lzw", "predictor": True}),
        (stack, {"compression": "packbits"}),
        (stack.astype(np.float32), {"compression": "zlib", "predictor": 3, "metadata": None}),
        ((stack >> 8).astype(np.uint8), {"resolution": (543478.0, 543478.0), "resolutionunit": 3})]
    kinds = [(images, {"photometric": "minisblack"} | options) for images, options in kinds]
    imagej = {"imagej": True, "resolution": (54.3, 54.3), "metadata": {"axes": "ZYX", "unit": "um"}}
    ome = {"ome": True, "metadata": {"axes": "ZYX", "PhysicalSizeX": 0.0184}}
    label = values_from_classes(stack[0] % 3, NI_YSZ)
    grey = (stack[0] >> 8).astype(np.uint8)
    kinds += [(stack, imagej), (stack, ome), (label > 0, {}),
              (stack, {"photometric": "miniswhite"}), (grey, {"compression": "jpeg"}),
              (np.stack([grey] * 3, -1), {"photometric": "rgb"}),
              (stack, {"photometric": "rgb", "planarconfig": "separate"})]
    contents = []
    for image in (stack[0], grey, label > 0, np.stack([grey] * 3, -1)):
        Image.fromarray(image).save(file := BytesIO(), "PNG")
        contents.append(file.getvalue())
    for images, options in [*kinds, (label, {"compression": "zlib"})]:
        tifffile.imwrite(file := BytesIO(), images, **options)
        contents.append(file.getvalue())
    return contents


def flip_bits(content: bytearray, rng: np.random.Generator) -> None:
    """Change bits in a few bytes, near the beginning as often as anywhere."""
    end = int(rng.choice([min(400, len(content)), len(content)]))
    for index in rng.integers(end, size=int(rng.integers(1, 9))):
        content[index] ^= int(rng.integers(1, 256))


def write_extreme(content: bytearray, rng: np.random.Generator) -> None:
    """Replace a number of 2, 4 or 8 bytes by one at which sums and products overflow."""
    form = str(rng.choice(list("HIQ")))
    place = int(rng.integers(len(content) // 2)) * 2
    size, order = struct.calcsize(form), "<>"[int(rng.integers(2))]
    number = int(rng.choice([*EXTREMES, len(content), len(content) - 1])) % 2**(8 * size)
    content[place:place + size] = struct.pack(order + form, number)


def change_entry(content: bytearray, rng: np.random.Generator) -> None:
    """Change code, type, count or value of an entry of the first directory."""
    order, (first,) = ("<", ">")[content[:2] == b"MM"], struct.unpack_from("<H", content, 2)
    big = 43 in (first, first >> 8)
    long, length = ("Q", 20) if big else ("I", 12)
    start = struct.unpack_from(order + long, content, 8 if big else 4)[0]
    if start + 20 > len(content):
        return
    (count,) = struct.unpack_from(order + "HQ"[big], content, start)
    at = start + (8 if big else 2) + int(rng.integers(max(count, 1) % 100 + 1)) * length
    fields = [(0, "H"), (2, "H"), (4, long), (12 if big else 8, long), (8, "H")]
    place, form = fields[int(rng.integers(5))]
    if at + 20 <= len(content):
        number = int(rng.choice([*EXTREMES, *range(254, 340), len(content)]))
        struct.pack_into(order + form, content, at + place, number % 2**(8 * struct.calcsize(form)))


def truncate(content: bytearray, rng: np.random.Generator) -> None:
    """Remove the end."""
    del content[int(rng.integers(len(content))):]


def shift(content: bytearray, rng: np.random.Generator) -> None:
    """Lose or repeat a piece, or insert random bytes, so that what follows is elsewhere."""
    start, stop = sorted(rng.integers(len(content), size=2).tolist())
    stop = min(stop, start + 200)
    content[start:stop] = [b"", content[start:stop] * 2, rng.bytes(20)][int(rng.integers(3))]


Fault = Callable[[bytearray, np.random.Generator], None]
FAULTS: tuple[Fault, ...] = (
    flip_bits, write_extreme, change_entry, change_entry, truncate, shift)


def mutant(seed: int) -> bytes:
    """Make the damaged TIFF of this seed."""
    rng = np.random.default_rng(seed)
    valid = valid_tiffs(rng)
    content = bytearray(valid[seed % len(valid)])
    for fault in rng.integers(len(FAULTS), size=int(rng.integers(1, 4))):
        if len(content) > 20:
            FAULTS[fault](content, rng)
    return bytes(content)


def read_pages(path: Path) -> None:
    """Read a volume as a prediction does, and its resolution."""
    for page in tiff.open_pages(path):
        for rows in (page.rows(3, 9), page.whole()):
            assert rows.shape[1] == page.shape[1], (rows.shape, page.shape)
            assert rows.dtype == page.dtype, (rows.dtype, page.dtype)
        assert page.whole().shape == page.shape
        tifffile.imwrite(BytesIO(), page.whole(), **voxel_size.resolution_tags(page))
        assert min(voxel_size.voxel_nm_of(path) or (1,)) > 0


def read_label(path: Path) -> None:
    """Read a label of a data set."""
    classes_from_values(tiff.read_slice(path, np.uint8), path, NI_YSZ)


def read_image(path: Path) -> None:
    """Read an image of a data set."""
    tiff.read_slice(path, np.uint16)


READERS: tuple[Callable[[Path], object], ...] = (
    read_pages, read_label, read_excerpt, read_image)


def outcome(content: bytes, path: Path) -> str:
    """Read a file with this content by all readers.

    Returns:
        "read" or "rejected", or "both" if the readers differ.

    Raises:
        AssertionError: The error message does not name the file, or is not one short line.
    """
    path.write_bytes(content)
    found = set()
    for read in READERS:
        try:
            read(path)
            found.add("read")
        except DataError as error:
            message = str(error)
            assert str(path) in message and "\n" not in message and len(message) < 700, message
            found.add("rejected")
    return found.pop() if len(found) == 1 else "both"


def main() -> None:
    """Read many damaged files within the limits of memory and time, and print the outcomes."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "v_1.tif"
        outcome(mutant(0), path)
        held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY_LIMIT, -1))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        outcomes, slowest, wrong = Counter(), 0.0, []
        for seed in tqdm(range(number), mininterval=5):
            begin = time.perf_counter()
            try:
                outcomes[outcome(mutant(seed), path)] += 1
            except Exception as error:
                wrong.append(f"{seed}: {error!r}")
            slowest = max(slowest, time.perf_counter() - begin)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{number} damaged TIFFs: {dict(outcomes)}; at most {grown:.0f} MB more memory and "
          f"{slowest:.2f} s per file")
    assert not wrong, "\n".join(wrong)
    assert slowest < TIME_LIMIT


if __name__ == "__main__":
    main()
