"""Image files of every kind: what is written is read, and what is damaged is refused."""

import struct
import tracemalloc

import numpy as np
import pytest
import tifffile
from PIL import Image

from xraylib.errors import DataError
from xraylib.formats import tiff
from xraylib.formats.file_names import list_tiffs


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 65535, (48, 40), np.uint16)


def write_packbits(path, image):
    """tifffile writes no PackBits without a codec; literal runs of 128 bytes are valid PackBits."""
    raw = image.tobytes()
    runs = [raw[i:i + 128] for i in range(0, len(raw), 128)]
    packed = b"".join(bytes([len(run) - 1]) + run for run in runs)
    entries = [(256, 3, 1, image.shape[1]), (257, 3, 1, image.shape[0]), (258, 3, 1, 16),
               (259, 3, 1, 32773), (262, 3, 1, 1), (273, 4, 1, 8), (277, 3, 1, 1),
               (278, 3, 1, image.shape[0]), (279, 4, 1, len(packed))]
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    path.write_bytes(struct.pack("<2sHI", b"II", 42, 8 + len(packed)) + packed
                     + struct.pack("<H", len(entries)) + table + bytes(4))


def test_a_packbits_tiff_cut_short_is_refused(tmp_path, image):
    """The real set's compression."""
    path = tmp_path / "slice_0002.tif"
    write_packbits(path, image)
    assert np.array_equal(tiff.read_slice(path, np.uint16), image)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="slice_0002.tif"):
        tiff.read_slice(path, np.uint16)


SLICES = np.random.default_rng(1).integers(0, 65536, (4, 20, 24)).astype(np.uint16)
GREY, COLOURS = (SLICES[0] >> 8).astype(np.uint8), (SLICES[:3] >> 8).astype(np.uint8)
SIGNED = (SLICES >> 1).astype(np.int16) - 20000
MASK = SLICES[:1] % 3 == 0
RGB = COLOURS.transpose(1, 2, 0)
BLACK = {"photometric": "minisblack"}
WHITE = {"photometric": "miniswhite"}


def grey_rgb(alpha: int = 0) -> np.ndarray:
    """GREY as equal channels, (H, W, 3 or 4), whose fourth differs."""
    return np.stack([GREY] * 3 + [GREY // 2] * alpha, -1)


# What is written, how, and the slices that are read, (slices, H, W).
KINDS: dict[str, tuple[np.ndarray, dict, np.ndarray]] = {
    **{dtype: (SLICES.astype(dtype), BLACK, SLICES.astype(dtype)) for dtype in (
        "uint8", "uint16", "uint32", "float32", "float64")},
    **{dtype: (SLICES.astype(dtype) - 30000, BLACK, SLICES.astype(dtype) - 30000)
       for dtype in ("int32", "int64")},
    "int16": (SIGNED, BLACK, SIGNED),
    "float16": ((SLICES / 65535).astype(np.float16), BLACK, (SLICES / 65535).astype(np.float16)),
    "1 bit": (MASK, BLACK, MASK.astype(np.uint8)),
    "1 bit by tifffile's default": (MASK, {}, MASK.astype(np.uint8)),
    "1 bit, white is 0": (MASK, WHITE | {"software": "scanner"}, 1 - MASK.astype(np.uint8)),
    "white is 0": (SLICES, WHITE, 65535 - SLICES),
    "white is 0, packed, 8 bits": (GREY, WHITE | {"compression": "zlib"}, 255 - GREY[None]),
    "white is 0, the other byte order": (SLICES, WHITE | {"byteorder": ">"}, 65535 - SLICES),
    "the other byte order": (SLICES, BLACK | {"byteorder": ">"}, SLICES),
    "grey as RGB": (grey_rgb(), {"photometric": "rgb"}, GREY[None]),
    "grey as RGBA": (grey_rgb(1), {"photometric": "rgb"}, GREY[None]),
    "grey as RGB of 16 bits": (np.stack([SLICES[0]] * 3, -1), {"photometric": "rgb"}, SLICES[:1]),
    "grey as a stack of RGB": (np.stack([grey_rgb(), grey_rgb() // 2]), {
        "imagej": True, "metadata": {"axes": "ZYXS"}}, np.stack([GREY, GREY // 2])),
    "grey as RGB by OME": (grey_rgb(), {"ome": True, "photometric": "rgb"}, GREY[None]),
    "grey and alpha": (np.stack([GREY, GREY // 2], -1), BLACK | {
        "planarconfig": "contig", "extrasamples": ["unassalpha"]}, GREY[None]),
    "a palette": (GREY, {"photometric": "palette", "colormap": np.full((3, 256), 7, np.uint16)},
                  GREY[None]),
    **{f"{n} slices as planes{packed and ', packed'}": (
        SLICES[:n], {"photometric": "rgb", "planarconfig": "separate", "compression": packed},
        SLICES[:n]) for n in (3, 4) for packed in (None, "zlib")},
    "no description": (SLICES, BLACK | {"metadata": None}, SLICES),
    "BigTIFF": (SLICES, BLACK | {"bigtiff": True}, SLICES),
    "tiles": (SLICES, BLACK | {"tile": (16, 16)}, SLICES),
    "strips": (SLICES, BLACK | {"rowsperstrip": 3}, SLICES),
    **{f"packed {name}": (SLICES, BLACK | {"compression": "lzw", "predictor": True} | form, SLICES)
       for name, form in (("whole", {}), ("in strips", {"rowsperstrip": 7}),
                          ("in tiles", {"tile": (32, 16)}))},
    "ImageJ's slices": (SLICES, {"imagej": True, "metadata": {"axes": "ZYX"}}, SLICES),
    "ImageJ's points in time": (SLICES, {"imagej": True, "metadata": {"axes": "TYX"}}, SLICES),
    "ImageJ's format beyond 4 GB": (
        SLICES, {"imagej": True, "metadata": {"axes": "ZYX"}, "truncate": True}, SLICES),
    "one page for all slices": (SLICES, BLACK | {"truncate": True}, SLICES),
    "OME": (SLICES, {"ome": True, "metadata": {"axes": "ZYX"}}, SLICES),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_tiff_is_read_pixel_for_pixel(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(tiff, "BAND", 300)
    written, options, expected = KINDS[kind]
    tifffile.imwrite(tmp_path / "stack.tif", written, **options)
    pages = tiff.open_volume(tmp_path / "stack.tif")
    names = [f"stack_{index:05d}" for index in range(1, len(expected) + 1)]
    assert [page.name for page in pages] == (names if len(names) > 1 else ["stack"])
    for page, array in zip(pages, expected, strict=True):
        assert page.shape == array.shape and page.dtype == array.dtype and page.dtype.isnative
        for found, right in ((page.whole(), array), (page.rows(5, 9), array[5:9]),
                             (page.sparse(3), array[::3, ::3])):
            assert found.dtype == array.dtype and np.array_equal(found, right)


@pytest.mark.parametrize("form", [{}, {"tile": (64, 64)}, {"compression": None}])
def test_a_few_pixels_of_a_large_page_need_little_memory(tmp_path, monkeypatch, form):
    """Defect: a sample of 65,536 pixels unpacked all 128 MB of a page and more."""
    monkeypatch.setattr(tiff, "BAND", 2**16)
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((2000, 2000), np.uint16),
                     **{"compression": "zlib"} | form)
    (page,) = tiff.open_pages(tmp_path / "a.tif")
    tracemalloc.start()
    page.sparse(16)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2_000_000


@pytest.mark.filterwarnings("ignore:.*stored as RGB:DeprecationWarning")
@pytest.mark.parametrize("n", [3, 4])
def test_a_stack_of_three_or_four_that_is_saved_by_default_is_a_stack(tmp_path, n):
    tifffile.imwrite(tmp_path / "stack.tif", SLICES[:n])
    assert np.array_equal([page.whole() for page in tiff.open_pages(tmp_path / "stack.tif")],
                          SLICES[:n])


def test_slices_that_are_appended_are_a_stack(tmp_path):
    for array in SLICES:
        tifffile.imwrite(tmp_path / "stack.tif", array, append=True)
    assert np.array_equal([page.whole() for page in tiff.open_pages(tmp_path / "stack.tif")],
                          SLICES)


def test_a_set_of_ome_files_that_describe_each_other_is_read_file_by_file(tmp_path):
    """As Bio-Formats writes one file per slice; no other file is opened."""
    files = "".join(f'<TiffData FirstZ="{z}" IFD="0"><UUID FileName="s{z}.ome.tif">{z}</UUID>'
                    "</TiffData>" for z in range(2))
    told = ('<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image><Pixels '
            f'SizeX="24" SizeY="20" SizeZ="2" SizeC="1" SizeT="1">{files}</Pixels></Image></OME>')
    for index in range(2):
        tifffile.imwrite(tmp_path / f"s{index}.ome.tif", SLICES[index], description=told, ome=False,
                         metadata=None)
    pages = tiff.open_volume(tmp_path)
    assert [page.name for page in pages] == ["s0", "s1"]
    assert np.array_equal([page.whole() for page in pages], SLICES[:2])


PNGS: dict[str, tuple[Image.Image, np.ndarray]] = {
    "1 bit": (Image.fromarray(MASK[0]), MASK[0].astype(np.uint8)),
    "8 bits": (Image.fromarray(GREY), GREY),
    "16 bits": (Image.fromarray(SLICES[0]), SLICES[0]),
    "grey as RGB": (Image.fromarray(grey_rgb()), GREY),
    "grey as RGBA": (Image.fromarray(grey_rgb(1)), GREY),
    "grey and alpha": (Image.fromarray(np.stack([GREY, GREY // 2], -1)), GREY),
    "a palette": (Image.frombytes("P", (24, 20), GREY.tobytes()), GREY),
}


@pytest.mark.parametrize("kind", PNGS)
def test_every_kind_of_png_is_read_under_any_name(tmp_path, kind):
    image, expected = PNGS[kind]
    if image.mode == "P":
        image.putpalette(bytes(range(255, -1, -1)) * 3)
    for name in ("mask.png", "mask.tif"):
        image.save(tmp_path / name, "PNG")
        page = tiff.open_slice(tmp_path / name)
        assert (page.name, page.shape, page.dtype) == ("mask", (20, 24), expected.dtype)
        assert page.whole().dtype == expected.dtype and np.array_equal(page.whole(), expected)
        assert np.array_equal(page.rows(3, 7), expected[3:7])
        assert np.array_equal(page.sparse(4), expected[::4, ::4])


@pytest.mark.parametrize("alpha", [0, 1])
def test_colours_of_a_mask_are_read_on_request(tmp_path, alpha):
    mixed = np.concatenate([RGB, RGB[..., :1]], -1) if alpha else RGB
    red, green, blue = COLOURS.astype(np.uint32)
    tifffile.imwrite(tmp_path / "a.tif", mixed, photometric="rgb")
    tifffile.imwrite(tmp_path / "b.tif", mixed, photometric="rgb", compression="zlib")
    Image.fromarray(mixed).save(tmp_path / "c.png")
    for path in sorted(tmp_path.iterdir()):
        page = tiff.open_slice(path, colours=True)
        assert page.dtype == page.whole().dtype == np.uint32
        assert np.array_equal(page.whole(), red * 65536 + green * 256 + blue)
        with pytest.raises(DataError, match=f"{path.name}, page 1 is in colour"):
            tiff.open_slice(path)
    for name, image in (("d.png", GREY), ("e.png", grey_rgb())):
        Image.fromarray(image).save(tmp_path / name)
    grey, equal = (tiff.open_slice(tmp_path / name, colours=True) for name in ("d.png", "e.png"))
    assert grey.dtype == np.uint8 and np.array_equal(grey.whole(), GREY)
    assert np.array_equal(equal.whole(), GREY * np.uint32(0x010101))


def test_slices_are_written_one_per_file_and_listed_by_number(tmp_path, image):
    tiff.write_slices([image, image + 1], [12, 3], tmp_path / "deep/new", compression="zlib")
    (tmp_path / "deep/new/notes.txt").touch()
    found = list_tiffs(tmp_path / "deep/new")
    assert {number: path.name for number, path in found.items()} == {
        3: "slice_0003.tif", 12: "slice_0012.tif"}
    assert list(found) == [3, 12] and np.array_equal(tiff.read_slice(found[12], np.uint16), image)
    assert [page.name for page in tiff.open_volume(tmp_path / "deep/new")] == [
        "slice_0003", "slice_0012"]


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, image):
    path = tmp_path / "slice_1.tif"
    tifffile.imwrite(path, image)
    (page,) = tiff.open_pages(path)
    page.check_unchanged()
    tifffile.imwrite(path, image[:20])
    with pytest.raises(DataError, match="was changed while it was read"):
        page.check_unchanged()
    with pytest.raises(DataError, match="is cut short"):
        page.whole()
