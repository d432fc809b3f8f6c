"""The score sheet without a browser: its file, and the panel moved by setting values."""

import csv
import io
from dataclasses import replace

import matplotlib.image
import numpy as np
import pytest

from xraylib import files
from xraylib.data import NI_YSZ
from xraylib.errors import DataError
from xraylib.outlook.quality import INDICATORS, Inspection, worst_first
from xraylib.outlook.ratings import Rating, clean_remark, read_ratings, write_rating
from xraylib.outlook.score_sheet import OUTLINE, ScoreSheet, outline_regions, sheet_picture

NUMBERS = [4, 5, 6, 9]


@pytest.fixture
def volume():
    """Four slices. The third is the worst by every indicator, and a region of it is suspect."""
    rng, shape = np.random.default_rng(0), (4, 48, 40)
    doubt = np.array([0.2, 0.1, 0.8, 0.3])
    disagreement = np.zeros(shape, bool)
    disagreement[2, 10:30, 10:30] = True
    full = [np.broadcast_to(value[:, None, None].astype(np.float16), shape)
            for value in (1 - doubt / 4, doubt)]
    return Inspection(list(rng.integers(0, 65535, shape).astype(np.uint16)), np.array(NUMBERS),
                      rng.integers(0, 3, shape).astype(np.uint8), *full, disagreement, doubt)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "scores" / "sheet.csv"


def table(path):
    """The rows of a file as a spreadsheet reads them."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


# -- the file --------------------------------------------------------------------------------------

REMARKS = ["plain", "", "a, b; \"c\"", "two\nlines", "two\r\nlines", "rings at 3 µm, 環", "=1+1",
           "+x", "-", "@SUM(A1)", "'quoted", "''", " = 2", "\ttab", "'=1", "😀"]


@pytest.mark.parametrize("remark", REMARKS)
def test_a_remark_comes_back_unchanged(volume, path, remark):
    given = {5: Rating(3, remark), 9: Rating(0, remark)}
    for number, rating in given.items():
        write_rating(path, volume, number, rating)
    assert read_ratings(path, NUMBERS) == given | {4: Rating(), 6: Rating()}


@pytest.mark.parametrize("remark", ["=1+1", "+1", "-1", "@A1", "\t=1", "\r=1"])
def test_a_spreadsheet_finds_no_formula(volume, path, remark):
    write_rating(path, volume, 5, Rating(1, remark))
    cells = [row["remark"] for row in table(path)]
    assert f"'{remark}" in cells and not any(cell[:1] in tuple("=+-@\t\r") for cell in cells)


@pytest.mark.parametrize(("remark", "kept"), [
    ("half \ud83d an emoji", "half \ufffd an emoji"), ("\udc00\ud800", "\ufffd\ufffd"),
    ("\ud83d\ude00", "😀"), ("a\0b", "ab")])
def test_what_utf_8_cannot_hold_is_replaced(volume, path, remark, kept):
    assert clean_remark(remark) == kept
    write_rating(path, volume, 5, Rating(1, remark))
    assert read_ratings(path, NUMBERS)[5].remark == kept


def test_a_very_long_remark_is_cut_off_with_a_note(volume, path):
    assert clean_remark("x" * 10_000) == "x" * 10_000
    write_rating(path, volume, 5, Rating(1, "=" * 131_073))
    remark = read_ratings(path, NUMBERS)[5].remark
    assert len(remark) == 10_000 and remark.endswith("= [cut off here]")


def test_the_file_has_every_slice_the_worst_first_and_why(volume, path):
    write_rating(path, volume, 6, Rating(2, "blurred"))
    rows = table(path)
    assert list(rows[0]) == ["slice", "score", "remark", "worst first", *INDICATORS]
    expected = {"slice": "6", "score": "2", "remark": "blurred", "worst first": "1"}
    assert rows[0] | expected == rows[0]
    assert [int(row["slice"]) for row in rows] == volume.numbers[worst_first(volume)].tolist()
    assert float(rows[0]["entropy"]) == pytest.approx(0.8, abs=1e-3)


def test_columns_and_order_of_a_spreadsheet_are_kept_or_restored(volume, path):
    write_rating(path, volume, 6, Rating(2, "=blurred"))
    rows = [list(row.values()) for row in table(path)]
    own = ["mine, too", "", "entropy"]                  # also without a name, or with a taken one
    header = [*table(path)[0], *own[:2]]
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerow([*header[:4], own[2], *header[4:]])
        for row in rows[::-1]:
            writer.writerow([*row[:4], f"third of {row[0]}", *row[4:], f"note on {row[0]}", "=1"])
        file.write("\r\n")
    write_rating(path, volume, 9, Rating(5, "sharp"))
    with path.open(newline="", encoding="utf-8-sig") as file:
        header, *rows = csv.reader(file)
    numbers = [str(volume.numbers[index]) for index in worst_first(volume)]
    assert [row[0] for row in rows] == numbers and header[:4] == ["slice", "score", "remark",
                                                                  "worst first"]
    assert set(header[-3:]) == {"mine, too", "", "entropy"} and len(header) == 4 + 7 + 3
    for row in rows:
        mine = dict(zip(header[-3:], row[-3:], strict=True))
        assert (mine["mine, too"], mine[""]) == (f"note on {row[0]}", "=1")
    assert read_ratings(path, NUMBERS) == {6: Rating(2, "=blurred"), 9: Rating(5, "sharp"),
                                           4: Rating(), 5: Rating()}


def test_cells_beyond_the_header_are_kept(volume, path):
    path.parent.mkdir()
    path.write_text("slice,score,remark\r\n4,3,old,a,b\r\n5,,\r\n")
    write_rating(path, volume, 5, Rating(1, "new"))
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = {row[0]: row for row in csv.reader(file)}
    assert rows["4"][:3] == ["4", "3", "old"] and rows["4"][-2:] == ["a", "b"]
    assert rows["5"][-2:] == ["", ""] and len({len(row) for row in rows.values()}) == 1


def test_without_a_file_there_is_no_rating(path):
    assert read_ratings(path, NUMBERS) == {}


@pytest.mark.parametrize(("content", "message"), [
    (b"", "not a score sheet, or it is damaged"),
    (b"what,ever\r\n1,2\r\n", "its first columns are not slice, score, remark"),
    (b"slice,score,remark\r\n4,x,\r\n", "not a score sheet, or it is damaged"),
    (b"slice,score,remark\r\n4\r\n", "a row holds"),
    (b"slice,score,remark\r\n4,3,\"cut off", "not a score sheet, or it is damaged"),
    (b"slice,score,remark\r\n4,3," + 131_073 * b"x", "not a score sheet, or it is damaged"),
    (b"\xff\xfe\x00\x81", "not a score sheet, or it is damaged"),
    (b"slice,score,remark\r\n4,7,\r\n", "slice 4 has the score 7"),
    (b"slice,score,remark\r\n77,3,\r\n", "slice 77 is not among the slices shown"),
    (b"slice,score,remark\r\n4,3,\r\n4,2,\r\n", "it holds a slice twice"),
])
def test_a_damaged_file_is_reported_and_not_overwritten(volume, path, content, message):
    path.parent.mkdir()
    path.write_bytes(content)
    for use in (lambda: ScoreSheet(volume, volume, path),
                lambda: write_rating(path, volume, 5, Rating(1, ""))):
        with pytest.raises(DataError, match=message):
            use()
    assert path.read_bytes() == content


def test_an_interrupted_write_leaves_the_old_file(volume, path, monkeypatch):
    write_rating(path, volume, 5, Rating(3, "kept"))
    before = path.read_bytes()

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_rating(path, volume, 5, Rating(1, "lost"))
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


# -- the pictures ----------------------------------------------------------------------------------


def test_a_region_is_tinted_and_an_outline_lies_around_it():
    regions, black = np.zeros((30, 30), bool), np.zeros((30, 30, 3), np.uint8)
    regions[10:20, 10:20] = True
    shown = outline_regions(black, regions)
    assert (shown[8, 15] == OUTLINE).all() and not shown[2, 15].any()
    assert shown[15, 15].tolist() == [int(0.4 * each) for each in OUTLINE]
    assert not outline_regions(black, regions & False).any() and not black.any()


# -- the sheet -------------------------------------------------------------------------------------


@pytest.fixture
def open_sheet(volume, path):
    """Opens a window on the same file."""
    return lambda: ScoreSheet(volume, volume, path)


def decoded(sheet):
    """The pixels that a sheet shows, RGB uint8."""
    png = matplotlib.image.imread(io.BytesIO(sheet.image.value))
    return np.rint(255 * png[..., :3]).astype(np.uint8)


def test_the_worst_slice_comes_first_with_its_suspect_regions(open_sheet, volume):
    sheet = open_sheet()
    assert np.array_equal(decoded(sheet), sheet_picture(volume, 2))
    assert (decoded(sheet) == OUTLINE).all(-1).any()
    assert "Slice 6 of the volume" in sheet.text.value and "1 suspect region" in sheet.text.value
    sheet.next.click()
    second = worst_first(volume)[1]
    assert sheet.place.value == 2 and np.array_equal(decoded(sheet), sheet_picture(volume, second))
    sheet.previous.click()
    sheet.previous.click()
    assert sheet.place.value == 1 and np.array_equal(decoded(sheet), sheet_picture(volume, 2))


def test_all_controls_are_in_the_panel(open_sheet):
    sheet = open_sheet()
    top, score, remark, state, below = sheet.children
    assert top.children == (sheet.place, sheet.previous, sheet.next)
    assert (score, remark, state) == (sheet.score, sheet.remark, sheet.state)
    assert below.children == (sheet.image, sheet.text)


def test_each_change_is_in_the_file_at_once_and_comes_back(open_sheet, path):
    sheet = open_sheet()
    assert not path.exists() and "0 of 4" in sheet.state.value
    sheet.score.value = 2
    assert read_ratings(path, NUMBERS)[6] == Rating(2, "") and "1 of 4" in sheet.state.value
    sheet.remark.value = "out of focus everywhere"
    assert read_ratings(path, NUMBERS)[6] == Rating(2, "out of focus everywhere")
    sheet.next.click()
    assert (sheet.score.value, sheet.remark.value) == (0, "")
    again = open_sheet()
    assert (again.score.value, again.remark.value) == (2, "out of focus everywhere")
    assert "1 of 4" in again.state.value


def test_moving_does_not_write(open_sheet, path):
    sheet = open_sheet()
    for _ in range(5):
        sheet.next.click()
    assert sheet.place.value == 4 and not path.exists()


def test_a_score_and_a_remark_can_be_taken_back(open_sheet, path):
    sheet = open_sheet()
    sheet.score.value, sheet.remark.value = 4, "good"
    sheet.score.value, sheet.remark.value = 0, ""
    assert read_ratings(path, NUMBERS)[6] == Rating() and "0 of 4" in sheet.state.value


def test_half_an_emoji_or_a_long_remark_does_not_lose_other_remarks(open_sheet, path):
    sheet = open_sheet()
    sheet.remark.value = "\ud83d"
    sheet.place.value = 3
    sheet.score.value = 2
    sheet.place.value = 1
    sheet.remark.value = "x" * 131_073
    assert "its end is cut off" in sheet.state.value
    sheet.score.value = 3
    again = open_sheet()
    assert again.score.value == 3 and len(again.remark.value) == 10_000
    assert "2 of 4" in again.state.value and "its end is cut off" in again.state.value


def test_windows_on_different_slices_keep_each_others_ratings(open_sheet, path):
    one, other = open_sheet(), open_sheet()
    one.score.value = 5
    other.place.value = 3
    other.score.value = 1
    other.remark.value = "other"
    one.remark.value = "one"
    found = read_ratings(path, NUMBERS).values()
    assert sorted(found) == [Rating(), Rating(), Rating(1, "other"), Rating(5, "one")]


def test_a_score_of_another_window_is_shown_before_it_can_be_overwritten(open_sheet, path):
    one, other = open_sheet(), open_sheet()
    one.score.value = 4
    other.score.value = 2
    assert read_ratings(path, NUMBERS)[6].score == 4 == other.score.value
    assert "Another window has given this slice a 4" in other.state.value
    other.score.value = 2
    assert read_ratings(path, NUMBERS)[6].score == 2 and "1 of 4" in other.state.value
    one.score.value = 2                                  # the same one: nothing to warn of
    assert "1 of 4" in one.state.value


def test_a_remark_of_another_window_is_kept_beside_ones_own(open_sheet, path):
    one, other = open_sheet(), open_sheet()
    one.remark.value = "a long remark in window A"
    other.score.value = 2
    assert read_ratings(path, NUMBERS)[6] == Rating(2, "a long remark in window A")
    for text in ("B", "B t", "B too"):                   # key by key
        other.remark.value = text
    assert read_ratings(path, NUMBERS)[6].remark == "a long remark in window A\nB too"
    assert other.remark.value == "B too"                 # not changed while a reader types
    other.next.click()
    other.previous.click()
    assert other.remark.value == "a long remark in window A\nB too"
    other.remark.value = "B alone"                       # it has been shown
    assert read_ratings(path, NUMBERS)[6] == Rating(2, "B alone")


def test_moving_shows_what_another_window_wrote(open_sheet):
    one, other = open_sheet(), open_sheet()
    other.place.value = 2
    other.score.value = 3
    one.next.click()
    assert one.score.value == 3 and "1 of 4" in one.state.value


def test_a_file_damaged_meanwhile_is_reported_and_left(open_sheet, path):
    sheet = open_sheet()
    sheet.score.value = 4
    path.write_text("slice,score,remark\n<img src=x onerror=alert(1)>,2,x\n")
    before = path.read_bytes()
    sheet.score.value = 1
    assert "Not saved" in sheet.state.value and "damaged" in sheet.state.value
    assert "<img" not in sheet.state.value and "&lt;img" in sheet.state.value
    sheet.next.click()
    assert "Not read" in sheet.state.value and "<img" not in sheet.state.value
    assert sheet.place.value == 2 and path.read_bytes() == before


def test_a_folder_that_cannot_be_written_is_reported(open_sheet, path):
    sheet = open_sheet()
    path.parent.write_text("a file in place of the folder")
    sheet.score.value = 4
    assert "Not saved" in sheet.state.value


def test_names_of_phases_and_of_the_file_are_escaped(volume, tmp_path):
    named = replace(volume, phases=replace(NI_YSZ, names=("<b>air", "glass", "iron")))
    sheet = ScoreSheet(named, named, tmp_path / "<i>.csv")
    assert "&lt;b&gt;air" in sheet.text.value and "<b>air" not in sheet.text.value
    assert "&lt;i&gt;.csv" in sheet.state.value and "<i>" not in sheet.state.value
