"""Ratings of slices in a CSV file, which several windows and a spreadsheet may edit."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import DataError, one_line_message
from ..files import atomic_file
from .quality import Inspection, worst_first

SCORES = (1, 2, 3, 4, 5)
COLUMNS = ["slice", "score", "remark"]  # before the indicators and the reader's own columns
FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")  # a spreadsheet takes these for a formula's start
LONGEST_REMARK = 10_000  # characters; a CSV field holds 131,072
CUT_OFF = " [cut off here]"


class Rating(NamedTuple):
    """The score of a slice, 1 (useless) to 5 (as good as by hand) or 0 (none yet), and a remark."""

    score: int = 0
    remark: str = ""


def read_ratings(path: Path, numbers: Sequence[int]) -> dict[int, Rating]:
    """Read a score sheet.

    Args:
        numbers: numbers of the slices that the sheet may hold.
    Returns:
        The ratings by slice number; none if there is no file.
    Raises:
        DataError: the file is damaged, or it belongs to other slices.
    """
    return {number: Rating(int(row[1] or 0), _without_apostrophe(row[2]))
            for number, row in _read_rows(path, numbers)[1].items()}


def _read_rows(path: Path, numbers: Sequence[int]) -> tuple[list[str], dict[int, list[str]]]:
    """Read the header and the rows by slice number, each as long as the header."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *lines = [line for line in csv.reader(file, strict=True) if line] or [[]]
        if header[:3] != COLUMNS:
            raise ValueError(f"its first columns are not {', '.join(COLUMNS)}")
        if short := [line for line in lines if len(line) < len(COLUMNS)]:
            raise ValueError(f"a row holds {short[0]} only")
        header += [""] * (max(map(len, lines), default=0) - len(header))
        pairs = [(int(line[0]), line + [""] * (len(header) - len(line))) for line in lines]
        scores = [(number, int(row[1] or 0)) for number, row in pairs]
    except FileNotFoundError:
        return list(COLUMNS), {}
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path} is not a score sheet, or it is damaged ("
                        f"{one_line_message(error)}). Repair or move the file; it was not "
                        "changed.") from error
    _check_scores(path, scores, numbers)
    return header, dict(pairs)


def _check_scores(path: Path, scores: list[tuple[int, int]], numbers: Sequence[int]) -> None:
    """Raise DataError unless each slice is in `numbers`, occurs once and has a possible score."""
    wrong = [f"slice {number} has the score {score}; scores are 1 to 5"
             for number, score in scores if score not in (0, *SCORES)]
    wrong += [f"slice {number} is not among the slices shown"
              for number, _ in scores if number not in numbers]
    wrong += ["it holds a slice twice"] * (len(dict(scores)) < len(scores))
    if wrong:
        raise DataError(f"{path} does not fit these slices: {wrong[0]}. Repair or move the file; "
                        "it was not changed.")


def write_rating(path: Path, volume: Inspection, number: int, rating: Rating) -> None:
    """Write the rating of one slice, and keep all else that the file holds.

    The file is read again first, so that the ratings of other windows and the columns added in a
    spreadsheet stay. A remark that a spreadsheet would take for a formula gets an apostrophe.

    Args:
        volume: its slices are the rows, the worst first, with their indicators.
        number: number of the slice.
    Raises:
        DataError: the file is damaged, or it belongs to other slices.
    """
    sheet = _sheet_rows(volume)
    header, rows = _read_rows(path, volume.numbers.tolist())
    own = [*COLUMNS, *next(iter(sheet.values()))]
    others = [place for place, name in enumerate(header)
              if name not in own or place != header.index(name)]
    remark = clean_remark(rating.remark)
    rated = [f"{rating.score or ''}", f"'{remark}" if remark.startswith(FORMULA) else remark]
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path, "w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerow([*own, *(header[place] for place in others)])
        for each, facts in sheet.items():
            row = rows.get(each, [""] * len(header))
            writer.writerow([each, *(rated if each == number else row[1:3]), *facts.values(),
                             *(row[place] for place in others)])


def clean_remark(remark: str) -> str:
    """Return a remark that a CSV file in UTF-8 can hold.

    Half an emoji (a lone surrogate) becomes U+FFFD, NUL is removed, and a very long remark is cut.
    """
    text = remark.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "")
    if len(text) > LONGEST_REMARK:
        text = text[:LONGEST_REMARK - len(CUT_OFF)] + CUT_OFF
    return text


def _without_apostrophe(remark: str) -> str:
    """Remove the apostrophe that `write_rating` adds."""
    return remark[1:] if remark.startswith("'") else remark


def _sheet_rows(volume: Inspection) -> dict[int, dict[str, str]]:
    """Return the place ("worst first") and the indicators by slice number, the worst first."""
    return {int(volume.numbers[index]): {"worst first": f"{place}"} | {
                name: f"{values[index]:.5g}" for name, values in volume.indicators.items()}
            for place, index in enumerate(worst_first(volume), 1)}
