"""The score sheet without a browser: its file, and the panel moved by setting values."""

import csv
import io

import numpy as np
import pytest
from PIL import Image

from xraylib import files
from xraylib.material.unlabelled import INDICATORS, Look, worst_first
from xraylib.show import score_sheet
from xraylib.show.score_sheet import Given, outlined, read_scores, sheet_picture, sheet_rows, write_scores
from xraylib.slices.tiff import DataError

NUMBERS = [4, 5, 6, 9]


@pytest.fixture
def here():
    """Four slices, of which the third is the worst in every indicator; a region of it is suspected."""
    rng, shape = np.random.default_rng(0), (4, 48, 40)
    doubt = np.array([0.2, 0.1, 0.8, 0.3])
    disagree = np.zeros(shape, bool)
    disagree[2, 10:30, 10:30] = True
    full = [np.broadcast_to(value[:, None, None].astype(np.float16), shape) for value in (1 - doubt / 4, doubt)]
    return Look(list(rng.integers(0, 65535, shape).astype(np.uint16)), np.array(NUMBERS),
                rng.integers(0, 3, shape).astype(np.uint8), *full, disagree, doubt)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "scores" / "sheet.csv"


REMARKS = ["plain", "", "a, b; \"c\"", "two\nlines", "two\r\nlines", "rings at 3 µm, 環", "=1+1", "+x", "-", "@SUM(A1)",
           "'quoted", "''", " = 2", "\ttab", "'=1"]


@pytest.mark.parametrize("remark", REMARKS)
def test_a_remark_comes_back_as_it_was(here, path, remark):
    given = {5: Given(3, remark), 9: Given(0, remark)}
    write_scores(path, sheet_rows(here), given)
    found = read_scores(path, NUMBERS)
    assert {number: found[number] for number in given} == given
    assert found[4] == found[6] == Given(0, "")


@pytest.mark.parametrize("remark", ["=1+1", "+1", "-1", "@A1", "\t=1", "\r=1"])
def test_a_spreadsheet_finds_no_formula(here, path, remark):
    write_scores(path, sheet_rows(here), {5: Given(1, remark)})
    with path.open(newline="", encoding="utf-8-sig") as file:
        cells = [row["remark"] for row in csv.DictReader(file)]
    assert f"'{remark}" in cells and not any(cell[:1] in tuple("=+-@\t\r") for cell in cells)


def test_the_file_has_every_slice_the_worst_first_and_why(here, path):
    write_scores(path, sheet_rows(here), {6: Given(2, "blurred")})
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["slice", "score", "remark", "worst first", *INDICATORS]
    assert rows[0] | {"slice": "6", "score": "2", "remark": "blurred", "worst first": "1"} == rows[0]
    assert [int(row["slice"]) for row in rows] == here.numbers[worst_first(here)].tolist()
    assert float(rows[0]["entropy"]) == pytest.approx(0.8, abs=1e-3)


def test_no_file_is_no_score(path):
    assert read_scores(path, NUMBERS) == {}


@pytest.mark.parametrize(("content", "message"), [
    (b"", "no score sheet, or damaged"),
    (b"what,ever\r\n1,2\r\n", "no score sheet, or damaged"),
    (b"slice,score,remark\r\n4,x,\r\n", "no score sheet, or damaged"),
    (b"slice,score,remark\r\n4\r\n", "no score sheet, or damaged"),
    (b"slice,score,remark\r\n4,3,\"cut off", "no score sheet, or damaged"),
    (b"\xff\xfe\x00\x81", "no score sheet, or damaged"),
    (b"slice,score,remark\r\n4,7,\r\n", "slice 4 has the score 7"),
    (b"slice,score,remark\r\n77,3,\r\n", "slice 77 is not among those shown"),
    (b"slice,score,remark\r\n4,3,\r\n4,2,\r\n", "stands there twice"),
])
def test_a_damaged_file_is_one_sentence_and_is_not_overwritten(here, path, content, message):
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        score_sheet.score_sheet(here, path, here)
    assert path.read_bytes() == content


def test_a_write_that_is_broken_off_leaves_the_old_file(here, path, monkeypatch):
    write_scores(path, sheet_rows(here), {5: Given(3, "kept")})
    before = path.read_bytes()

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_scores(path, sheet_rows(here), {5: Given(1, "lost")})
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


# -- the pictures -----------------------------------------------------------------------------------------------------


def test_an_outline_lies_around_a_region_and_not_on_it():
    regions = np.zeros((30, 30), bool)
    regions[10:20, 10:20] = True
    shown = outlined(np.zeros((30, 30, 3), np.uint8), regions)
    assert not shown[regions].any() and (shown[8, 15] == score_sheet.OUTLINE).all() and not shown[2, 15].any()
    assert not outlined(np.zeros((30, 30, 3), np.uint8), regions & False).any()


# -- the sheet --------------------------------------------------------------------------------------------------------


class Sheet:
    """The parts of the panel, by what a reader sees."""

    def __init__(self, here, path):
        self.panel = score_sheet.score_sheet(here, path, here)
        top, self.score, self.remark, self.state, below = self.panel.children
        self.place, self.previous, self.next = top.children
        self.image, self.text = below.children

    @property
    def shown(self):
        return np.asarray(Image.open(io.BytesIO(self.image.value)))


def test_it_shows_the_worst_first_and_what_is_suspected(here, path):
    sheet = Sheet(here, path)
    assert np.array_equal(sheet.shown, sheet_picture(here, 2))
    assert (sheet.shown == score_sheet.OUTLINE).all(-1).any()
    assert "Slice 6 of the volume" in sheet.text.value and "1 suspected region" in sheet.text.value
    sheet.next.click()
    assert sheet.place.value == 2 and np.array_equal(sheet.shown, sheet_picture(here, worst_first(here)[1]))
    sheet.previous.click()
    sheet.previous.click()
    assert sheet.place.value == 1 and np.array_equal(sheet.shown, sheet_picture(here, 2))


def test_each_change_is_in_the_file_at_once_and_comes_back(here, path):
    sheet = Sheet(here, path)
    assert not path.exists() and "0 of 4" in sheet.state.value
    sheet.score.value = 2
    assert read_scores(path, NUMBERS)[6] == Given(2, "") and "1 of 4" in sheet.state.value
    sheet.remark.value = "out of focus, all of it"
    assert read_scores(path, NUMBERS)[6] == Given(2, "out of focus, all of it")
    sheet.next.click()
    assert sheet.score.value == 0 and sheet.remark.value == ""
    assert read_scores(path, NUMBERS)[6] == Given(2, "out of focus, all of it")      # moving on writes nothing
    again = Sheet(here, path)
    assert (again.score.value, again.remark.value) == (2, "out of focus, all of it") and "1 of 4" in again.state.value


def test_moving_does_not_write(here, path):
    sheet = Sheet(here, path)
    for _ in range(5):
        sheet.next.click()
    assert sheet.place.value == 4 and not path.exists()


def test_two_windows_keep_each_others_scores(here, path):
    one, other = Sheet(here, path), Sheet(here, path)
    one.score.value = 5
    other.place.value = 3
    other.score.value = 1
    found = read_scores(path, NUMBERS)
    assert sorted(each.score for each in found.values()) == [0, 0, 1, 5]


def test_a_file_damaged_meanwhile_is_said_and_left(here, path):
    sheet = Sheet(here, path)
    sheet.score.value = 4
    path.write_text("what,ever\n")
    sheet.score.value = 1
    assert "Not kept" in sheet.state.value and "damaged" in sheet.state.value and path.read_text() == "what,ever\n"
