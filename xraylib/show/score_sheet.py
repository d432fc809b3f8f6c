"""A score sheet: a reader looks at slices without labels, the worst first, and gives each 1 to 5 and a remark.

What is given is in a CSV at once, and comes back when the sheet is opened again.
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import ipywidgets as widgets
import numpy as np
from scipy.ndimage import binary_dilation
from scipy.ndimage import label as connected

from ..files import replace
from ..material.unlabelled import INDICATORS, Look, worst_first
from ..slices.tiff import DataError
from .explore import SMALLEST, Panel, slider
from .plots import mask_image
from .views import grey_picture, legend, png, side_by_side, table

OUTLINE = np.array([240, 228, 66], np.uint8)            # yellow: around what is suspected
SCORES = (1, 2, 3, 4, 5)
COLUMNS = ["slice", "score", "remark"]                  # followed by those that say why a slice is shown so early
FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")         # what a spreadsheet takes for the start of a formula


class Given(NamedTuple):
    """What a reader gave a slice: 1 (useless) to 5 (as good as a hand's), 0 for not yet; and a remark."""

    score: int = 0
    remark: str = ""


# -- the file ---------------------------------------------------------------------------------------------------------


def read_scores(path: Path, numbers: Sequence[int]) -> dict[int, Given]:
    """What was given so far, by slice number; nothing where there is no file.

    Raises `DataError` where the file is damaged, or is of slices other than these.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            found = [(int(row["slice"]), Given(int(row["score"] or 0), plain(row["remark"]))) for row in reader]
            if reader.fieldnames is None or reader.fieldnames[:3] != COLUMNS:
                raise ValueError(f"its first columns are not {', '.join(COLUMNS)}")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, csv.Error) as error:
        raise DataError(f"{path} is no score sheet, or damaged ({error}); mend it, or move it away. It was left as it "
                        "is.") from error
    wrong = [f"slice {number} has the score {each.score}" for number, each in found if each.score not in (0, *SCORES)]
    wrong += [f"slice {number} is not among those shown" for number, _ in found if number not in numbers]
    if len(dict(found)) < len(found):
        wrong.append("a slice stands there twice")
    if wrong:
        raise DataError(f"{path} does not fit these slices: {wrong[0]}; mend it, or move it away. It was left as it "
                        "is.")
    return dict(found)


def write_scores(path: Path, rows: Sequence[Mapping], given: Mapping[int, Given]) -> None:
    """All slices as a CSV, whole or not at all: number, score, remark, and the rest of ``rows`` (`sheet_rows`).

    A remark that a spreadsheet would take for a formula gets an apostrophe in front, which `read_scores` takes off.
    """
    def write(part: Path) -> None:
        with part.open("w", newline="", encoding="utf-8-sig") as file:
            writer = csv.DictWriter(file, [*COLUMNS, *(name for name in rows[0] if name not in COLUMNS)])
            writer.writeheader()
            for row in rows:
                score, remark = given.get(row["slice"], Given())
                safe = f"'{remark}" if remark.startswith(FORMULA) else remark
                writer.writerow({**row, "score": score or "", "remark": safe})
    path.parent.mkdir(parents=True, exist_ok=True)
    replace(path, write)


def plain(remark: str) -> str:
    """A remark as it was given, without the apostrophe that `write_scores` put in front."""
    return remark[1:] if remark.startswith("'") else remark


def sheet_rows(here: Look) -> list[dict]:
    """A row a slice, the worst first: "slice", its number, "worst first", its place, and its indicators."""
    return [{"slice": int(here.numbers[index]), "worst first": place + 1}
            | {name: f"{each[index]:.5g}" for name, each in here.indicators.items()}
            for place, index in enumerate(worst_first(here))]


# -- the pictures -----------------------------------------------------------------------------------------------------


def outlined(picture: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """A picture with a line around each region: RGB uint8 (H, W, 3), bool (H, W) -> RGB uint8 (H, W, 3)."""
    shown = picture.copy()
    shown[binary_dilation(regions, iterations=3) & ~binary_dilation(regions)] = OUTLINE
    return shown


def sheet_picture(here: Look, index: int) -> np.ndarray:
    """A slice, and its segmentation with the suspected faults outlined, side by side: RGB uint8."""
    regions = here.suspected(index)
    return side_by_side([outlined(grey_picture(here.images[index]), regions),
                         outlined(mask_image(here.labels[index]), regions)])


# -- the sheet --------------------------------------------------------------------------------------------------------


def score_sheet(here: Look, path: Path, usual: Look) -> Panel:
    """The sheet: slices the worst first, beside their segmentation; what is given goes to ``path`` at once.

    ``usual``: the look at slices of the training volume, for comparison. Raises `DataError` as `read_scores` does.
    """
    rows, order, numbers = sheet_rows(here), worst_first(here), here.numbers.tolist()
    given = read_scores(path, numbers)
    place = slider("worst first", 1, len(order), 1)
    score = widgets.ToggleButtons(options=[("none", 0), *((str(value), value) for value in SCORES)],
                                  description="score", style={"description_width": "8em", "button_width": "3.5em"})
    remark = widgets.Textarea(description="remark", placeholder="what is wrong, and where",
                              style={"description_width": "8em"}, layout={"width": "26em", "height": "4em"})
    previous, following = (widgets.Button(description=name, layout={"width": "6em"}) for name in ("previous", "next"))
    side = 2 * max(here.labels.shape[2], SMALLEST) + 8
    image = widgets.Image(format="png", layout={"width": "100%", "max_width": f"{side}px"})
    text, state, busy = widgets.HTML(), widgets.HTML(), [False]

    def index() -> int:
        return int(order[place.value - 1])

    def say() -> None:
        done = sum(each.score > 0 for each in given.values())
        state.value = f"{done} of {len(order)} slices scored, in {path}"

    def show(_change=None) -> None:
        busy[0] = True
        score.value, remark.value = given.get(numbers[index()], Given())
        busy[0] = False
        image.value = png(sheet_picture(here, index()))
        lines = [["", "this slice", "usual"]] + [
            [name, f"{here.indicators[name][index()]:.4f}", f"{np.nanmean(usual.indicators[name]):.4f}"]
            for name in INDICATORS]
        text.value = table(lines, f"Slice {numbers[index()]} of the volume") + (
            legend(meaning=f"Outlined: {connected(here.suspected(index()))[1]} suspected regions."))

    def give(_change) -> None:
        if busy[0]:
            return
        try:
            given.update(read_scores(path, numbers))            # another window may have written
            given[numbers[index()]] = Given(score.value, remark.value)
            write_scores(path, rows, given)
            say()
        except (DataError, OSError) as error:
            state.value = f"<b>Not kept:</b> {error}"

    def go(button: widgets.Button) -> None:
        place.value += -1 if button is previous else 1         # the slider keeps it within its ends

    for control in (score, remark):
        control.observe(give, "value")
    place.observe(show, "value")
    for button in (previous, following):
        button.on_click(go)
    show()
    say()
    return Panel([widgets.HBox([place, previous, following], layout={"flex_flow": "row wrap"}), score, remark, state,
                  widgets.HBox([image, text], layout={"flex_flow": "row wrap", "grid_gap": "1em"})])
