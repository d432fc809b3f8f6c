"""What a file claims is compared with its size before memory is taken, and large files are read."""

import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from bad_input.test_tiffs import inflated, ome, packed_jpeg, raw
from PIL import Image

from xraylib.formats import tiff

SLICE = np.random.default_rng(0).integers(0, 65536, (20, 24)).astype(np.uint16)
SIDE = 30_000
# Opens and reads a file as the library does, without the codecs that a user may lack.
OPEN = """
import json, resource, sys, time
from pathlib import Path
if sys.argv[2] == "plain":
    sys.modules["imagecodecs"] = None
from xraylib.formats import tiff, voxel_size
from xraylib.errors import DataError
start, held = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
path, refused = Path(sys.argv[1]), ""
try:
    tiff.open_pages(path)[0].whole()
except DataError as error:
    refused = str(error)
voxel_size.voxel_nm_of(path)
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held
print(json.dumps([refused, grown / 1024, time.perf_counter() - start]))
"""


def zeros(side: int) -> np.ndarray:
    """About side x side zeros of 16 bits, a thousandth of that in bytes."""
    packer = zlib.compressobj(9)
    begin = packer.compress(b"") + packer.flush(zlib.Z_FULL_FLUSH)
    rows = packer.compress(bytes(2 * side * 1000)) + packer.flush(zlib.Z_FULL_FLUSH)
    return np.frombuffer(begin + rows * (side // 1000) + packer.flush(), np.uint8)


def packed_zeros(path: Path, _: np.ndarray) -> None:
    """A page of 1.8 GB in 1.8 MB."""
    raw(path, zeros(SIDE)[None], t256=SIDE, t257=SIDE, t258=16, t259=8, t278=SIDE)


def huge_tile(path: Path, _: np.ndarray) -> None:
    """A page of 20 x 24 px in a tile of 2 GB."""
    packed = zeros(32_000)
    raw(path, packed[None], t256=24, t257=20, t258=16, t259=8, t322=32_000, t323=32_000, t324=8,
        t325=packed.size)


def huge_png(path: Path, _: np.ndarray) -> None:
    """A PNG that claims 338 MB, which is less than Pillow refuses."""
    Image.fromarray(SLICE).save(path, "PNG")
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", 13_000, 13_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)


BOMBS = {
    "a shape": ("is cut short", lambda path, array: raw(
        path, array, told=b'{"shape": [1000000000, 20, 24]}')),
    "an OME stack": ("is cut short", lambda path, array: raw(
        path, array, told=ome('SizeZ="1000000000"'))),
    "an ImageJ stack": ("is cut short", lambda path, array: raw(
        path, array, told=b"ImageJ=1\nimages=1000000000\n")),
    "30,000 pages": ("promise more pixels", lambda path, array: raw(path, array, pages=30_000)),
    "a packed page": ("promises 1,800,000,000 bytes", packed_zeros),
    "packed bytes": ("more packed bytes", inflated),
    "a tile": ("promises 2,048,000,000 bytes", huge_tile),
    "a JPEG": ("a JPEG of [65500, 65500] px", packed_jpeg),
    "a PNG": ("promises 338,000,000 bytes", huge_png),
}


@pytest.mark.parametrize("codecs", ["plain", "all"])
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_small_file_takes_little_memory_and_time_whatever_it_claims(tmp_path, bomb, codecs):
    path = tmp_path / "s_1.tif"
    words, write = BOMBS[bomb]
    write(path, SLICE)
    assert path.stat().st_size < 2**24
    done = subprocess.run([sys.executable, "-c", OPEN, str(path), codecs], check=True,
                          capture_output=True, text=True, timeout=100)
    refused, grown, seconds = json.loads(done.stdout)
    assert str(path) in refused and words in refused, refused
    assert grown < 150 and seconds < 30, (grown, seconds)


@pytest.mark.parametrize("in_one_page", [True, False])
def test_a_stack_of_more_than_4_gb_is_read_by_rows(tmp_path, in_one_page):
    """The file is sparse: on disk, only what is written takes space."""
    path, side, count = tmp_path / "stack.tif", 1024, 4200
    told = f"ImageJ=1.54\nimages={count}\nslices={count}\n".encode()
    if in_one_page:  # the pixels begin where the directory ends, as ImageJ writes them
        raw(path, np.zeros((1, 1), np.uint8), told, t256=side, t257=side, t273=4096, t278=side,
            t279=side**2)
    else:
        tifffile.imwrite(path, shape=(count, side, side), dtype=np.uint8, bigtiff=True,
                         photometric="minisblack")
    with path.open("r+b") as file:
        offset = 4096 if in_one_page else tiff.open_pages(path)[0].offset
        file.truncate(max(path.stat().st_size, offset + count * side**2))
        file.seek(offset + 4150 * side**2 + 700 * side)
        file.write(bytes(range(1, 200)))
    pages = tiff.open_pages(path)
    assert len(pages) == count and pages[4149].rows(700, 701).max() == 0
    assert pages[4150].rows(699, 702)[1, :199].tolist() == list(range(1, 200))


def test_a_mask_that_compresses_well_is_read(tmp_path):
    """A mask without a phase packs 1,000 to 1."""
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 4000, 4000), np.uint8), compression="zlib",
                     photometric="minisblack")
    Image.fromarray(np.zeros((4000, 4000), np.uint8)).save(tmp_path / "b.png")
    assert (tmp_path / "a.tif").stat().st_size < 100_000
    pages = [*tiff.open_pages(tmp_path / "a.tif"), *tiff.open_pages(tmp_path / "b.png")]
    assert len(pages) == 6 and not any(page.whole().any() for page in pages)
