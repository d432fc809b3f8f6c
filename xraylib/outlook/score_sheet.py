"""A score sheet: a reader sees slices without labels, the worst first, and scores each from 1 to 5.

Every score and remark is written to a CSV file at once, and read again when the sheet is opened.
"""

from pathlib import Path
from typing import Any

import ipywidgets as widgets
import numpy as np
from scipy.ndimage import binary_dilation
from scipy.ndimage import label as connected_regions

from ..errors import DataError
from ..figures import grey_picture, mask_image, pictures_in_a_row
from ..widgets import MIN_WIDTH, Panel, html_legend, html_table, png_bytes, slider
from .quality import INDICATORS, Inspection, worst_first
from .ratings import (
    CUT_OFF,
    LONGEST_REMARK,
    SCORES,
    Rating,
    clean_remark,
    read_ratings,
    write_rating,
)

OUTLINE = (240, 228, 66)  # yellow: around suspect regions


def outline_regions(shown: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """Tint regions, bool (H, W), of a picture, RGB uint8 (H, W, 3), and draw lines around them."""
    outlined = shown.copy()
    outlined[regions] = (0.6 * shown[regions] + 0.4 * np.array(OUTLINE)).astype(np.uint8)
    outlined[binary_dilation(regions, iterations=3) & ~binary_dilation(regions)] = OUTLINE
    return outlined


def sheet_picture(volume: Inspection, index: int) -> np.ndarray:
    """Show a slice beside its segmentation, with suspect regions outlined in both: RGB uint8."""
    regions, mask = volume.suspect_regions(index), mask_image(volume.labels[index], volume.phases)
    return pictures_in_a_row([outline_regions(grey_picture(volume.images[index]), regions),
                              outline_regions(mask, regions)])


class ScoreSheet(Panel):
    """The panel: one slice at a time, the worst first, with its score and its remark.

    Another window may show the same slice. This window shows the other window's score before it
    overwrites that score, and it appends its remark to the other window's remark.

    Args:
        reference: inspected slices of the training volume, for comparison.
        volume: the inspected slices.
        path: the CSV file.
    Raises:
        DataError: the file is damaged, or it belongs to other slices.
    """

    def __init__(self, reference: Inspection, volume: Inspection, path: Path) -> None:
        self.reference, self.volume, self.path = reference, volume, path
        self.order, self.numbers = worst_first(volume), volume.numbers.tolist()
        style, wrap = {"description_width": "8em"}, {"flex_flow": "row wrap", "grid_gap": "1em"}
        self.place = slider("worst first", 1, len(self.order), 1)
        self.previous, self.next = (widgets.Button(description=name, layout={"width": "6em"})
                                    for name in ("previous", "next"))
        self.score = widgets.ToggleButtons(
            options=[("none", 0), *((f"{score}", score) for score in SCORES)],
            description="score", style=style | {"button_width": "3.5em"})
        self.remark = widgets.Textarea(
            description="remark", placeholder="what is wrong, and where", style=style,
            layout={"width": "26em", "height": "4em"})
        width = 2 * max(volume.labels.shape[2], MIN_WIDTH) + 8
        self.image = widgets.Image(format="png",
                                   layout={"width": "100%", "max_width": f"{width}px"})
        self.text, self.state = widgets.HTML(), widgets.HTML()
        self._show(read_ratings(path, self.numbers))
        self._observe()
        super().__init__([widgets.HBox([self.place, self.previous, self.next], layout=wrap),
                          self.score, self.remark, self.state,
                          widgets.HBox([self.image, self.text], layout=wrap)])

    def _observe(self) -> None:
        """Connect the controls to what they change."""
        self.place.observe(self._move, "value")
        for control in (self.score, self.remark):
            control.observe(self._save, "value")
        for button, step in ((self.previous, -1), (self.next, 1)):
            button.on_click(lambda _button, step=step: self._step(step))

    def _step(self, step: int) -> None:
        """Move by some slices; the slider stays within its range."""
        self.place.value += step

    def _move(self, _change: Any) -> None:
        """Show another slice, with the rating that the file holds now."""
        try:
            self._show(read_ratings(self.path, self.numbers))
        except DataError as error:
            self._show({})
            self._report("Not read", f"{error}")

    @property
    def number(self) -> int:
        """Number of the slice on display."""
        return self.numbers[self.order[self.place.value - 1]]

    def _show(self, ratings: dict[int, Rating]) -> None:
        """Show the slice at the slider's position, and its rating."""
        index = int(self.order[self.place.value - 1])
        # What the file held when this window showed it, and what another window wrote since then.
        self.known, self.others_remark = ratings.get(self.number, Rating()), ""
        self._set_controls(self.known)
        self.image.value = png_bytes(sheet_picture(self.volume, index))
        rows = [["", "this slice", "reference"]] + [
            [name, f"{self.volume.indicators[name][index]:.4f}",
             f"{np.nanmean(self.reference.indicators[name]):.4f}"] for name in INDICATORS]
        suspect = connected_regions(self.volume.suspect_regions(index))[1]
        self.text.value = (html_table(rows, f"Slice {self.number} of the volume") + html_legend(
            self.volume.phases, meaning=f"Outlined: {suspect} suspect regions."))
        self._report_progress(ratings)

    def _set_controls(self, rating: Rating) -> None:
        """Change score and remark without saving them."""
        self.shown = False
        self.score.value, self.remark.value = rating
        self.shown = True

    def _save(self, change: Any) -> None:
        """Write the score or the remark that was changed."""
        if not self.shown:
            return
        try:
            ratings = read_ratings(self.path, self.numbers)
            held = ratings.get(self.number, Rating())
            save = self._save_score if change.owner is self.score else self._save_remark
            save(held, ratings)
        except (DataError, OSError) as error:
            self._report("Not saved", f"{error}")

    def _save_score(self, held: Rating, ratings: dict[int, Rating]) -> None:
        """Write the score, unless another window has set one that this window did not show."""
        if held.score not in (self.known.score, self.score.value):
            self.known = self.known._replace(score=held.score)
            self._set_controls(Rating(held.score, self.remark.value))
            self._report("Not saved", f"Another window has given this slice a {held.score}. Choose "
                         "again to change it.")
            return
        self._write(held._replace(score=self.score.value), ratings)
        self.known = self.known._replace(score=self.score.value)

    def _save_remark(self, held: Rating, ratings: dict[int, Rating]) -> None:
        """Write the remark, appended to a remark that another window has written meanwhile."""
        if held.remark != self.known.remark:
            self.others_remark = f"{held.remark}\n" if held.remark else ""
        remark = clean_remark(self.others_remark + self.remark.value)
        self._write(held._replace(remark=remark), ratings)
        self.known = self.known._replace(remark=remark)

    def _write(self, rating: Rating, ratings: dict[int, Rating]) -> None:
        """Write the rating of this slice and report it."""
        write_rating(self.path, self.volume, self.number, rating)
        self._report_progress(ratings | {self.number: rating})

    def _report_progress(self, ratings: dict[int, Rating]) -> None:
        """Say how many slices are scored, and whether the remark was too long."""
        done = sum(rating.score > 0 for rating in ratings.values())
        messages = [f"in {self.path}"]
        if ratings.get(self.number, Rating()).remark.endswith(CUT_OFF):
            messages += [f"The remark is longer than {LONGEST_REMARK:,} characters: its end is cut "
                         "off."]
        self._report(f"{done} of {len(self.order)} slices scored", *messages)

    def _report(self, heading: str, *messages: str) -> None:
        """Show messages below the controls."""
        self.state.value = html_table([[message] for message in messages], heading)
