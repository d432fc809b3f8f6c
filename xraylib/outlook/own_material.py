"""Training on the reader's own slices, however few are labelled (notebook 11)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ..data import Slices
from ..datasets import Dataset
from ..errors import DataError, ParameterError, RunError
from ..experiments import Sets, Split, experiment
from ..files import create_exclusively, home
from ..inference import predict
from ..losses import IGNORE
from ..metrics import Scores
from ..params import RunConfig, configure
from ..published import named_networks
from ..runs import Run, folder_of, run_experiment
from ..tables import dice_table, markdown_table, percent
from .transforms import GEOMETRIC

EXPERIMENT = "11_your_material"
FEW = 5  # with fewer labelled slices, the recipe is that of notebook 5
FEW_STEPS = {"laptop": 1500, "paper": 21_000}  # of that recipe
MAX_FOLDS = 5
EVERYTHING = 0  # the fold that leaves nothing out


@experiment("11_your_material", counts=(400, 100), tiny=(24, 8), split="block", poster="",
            poster_sets="")
def your_material(slices: Slices, split: Split, fold: int | None) -> Sets:
    """Split many slices into blocks. With few, leave out one part, or train on all (fold 0)."""
    if fold is None:
        return split(slices)
    return (slices, slices) if fold == EVERYTHING else leave_out(slices, fold)


def parts_of(slices: Slices) -> list[list[np.ndarray]]:
    """Divide the labelled pixels into the parts of a cross-validation.

    Several slices are grouped in the order of the volume, so that neighbours, which are
    near-copies, stay together. The labelled area of a single slice is cut into four along its
    median row and column. Pixels of two parts then touch, and the score is a little too high.

    Returns:
        For each of at most five parts, the pixels that belong to it, bool (H, W) per slice.

    Raises:
        DataError: Only one pixel is labelled.
    """
    n = len(slices)
    if n > 1:
        groups = _in_order(np.argsort(slices.numbers, kind="stable"))
        return [[np.full(label.shape, index in group) for index, label in enumerate(slices.labels)]
                for group in groups]
    known = slices.labels[0] != IGNORE
    rows, columns = np.nonzero(known)
    row, column = np.indices(known.shape)
    quarters = 2 * (row >= np.median(rows)) + (column >= np.median(columns))
    found = [known & (quarters == quarter) for quarter in range(4)]
    parts = [[part] for part in found if part.any()]
    if len(parts) < 2:
        raise DataError("Only one pixel is labelled. Label a patch that shows every phase.")
    return parts


def _in_order(values: np.ndarray) -> list[np.ndarray]:
    """Split one value per slice, (N,) in the order of the volume, into the parts."""
    return np.array_split(values, min(len(values), MAX_FOLDS))


def leave_out(slices: Slices, fold: int) -> Sets:
    """Return two sets: without the labels of one part (1, 2 ...), and with only these labels."""
    parts = parts_of(slices)
    if fold > len(parts):
        raise ParameterError(f"fold is {fold}, but these slices make {len(parts)} parts; it must "
                             f"be 0 (leave nothing out) to {len(parts)}.")
    part = parts[fold - 1]
    pairs = list(zip(part, slices.labels, strict=True))
    sets = []
    for labels in ([np.where(inside, IGNORE, label) for inside, label in pairs],
                   [np.where(inside, label, IGNORE) for inside, label in pairs]):
        chosen = [index for index, label in enumerate(labels) if (label != IGNORE).any()]
        sets.append(replace(slices, labels=[each.astype(np.uint8) for each in labels])[chosen])
    return sets[0], sets[1]


@dataclass(frozen=True)
class Check:
    """How well networks segment slices that they have not seen."""

    runs: list[Run]
    parts: list[Slices]  # what each network was scored on
    sentence: str  # how the scores were obtained

    @property
    def scores(self) -> Scores:
        """The scores of all parts together."""
        each = [run.scores["val"] for run in self.runs]
        return Scores(*(np.concatenate([getattr(scores, name) for scores in each])
                        for name in ("confusion", "numbers", "noise_std")))

    def table(self) -> str:
        """Return a table of Dice in per cent: by set, or by part and for all parts together."""
        if "test" in self.runs[0].scores:
            return dice_table(self.runs)
        named = {str(index): run.scores["val"] for index, run in enumerate(self.runs, 1)}
        rows = [[part, f"{scores.confusion.sum():,}",
                 *(percent([dice]) for dice in (scores.mean, *scores.class_dice))]
                for part, scores in (named | {"**all**": self.scores}).items()]
        names = self.runs[0].phases.names
        return markdown_table(["part left out", "labelled pixels", "Dice, %", *names], rows)

    def worst(self) -> tuple[Slices, np.ndarray]:
        """Return the slice with the lowest Dice and its prediction, uint8 (H, W)."""
        dice = [run.scores["val"].image_dice for run in self.runs]
        lowest = min(range(len(dice)), key=lambda index: np.nanmin(dice[index]))
        numbers = self.runs[lowest].scores["val"].numbers
        part, worst = self.parts[lowest], numbers[np.nanargmin(dice[lowest])]
        one = part[part.numbers == worst][:1]
        return one, predict(self.runs[lowest].model(), one.images)[0]


def config_for(dataset: Dataset, parameters: Mapping[str, Any], fold: int | None) -> RunConfig:
    """Return the configuration of a run on the reader's slices, with the recipe for few labels.

    Args:
        dataset: from `datasets.open_dataset` or `datasets.make_dataset`.
        parameters: of the notebook, which may overrule the recipe.
        fold: see `your_material`.
    """
    own: dict[str, Any] = {}
    if len(dataset.slices) < FEW:
        own = {"transforms": GEOMETRIC, "steps": FEW_STEPS.get(parameters["profile"])}
    known = {name: value for name, value in parameters.items() if value is not None}
    # With few labels, the last weights are kept, because no labels are left to choose the best.
    last = {} if fold is None else {"evaluations": 1}
    return configure(EXPERIMENT, own | known, fold=fold, **last)


def cross_validate(dataset: Dataset, parameters: Mapping[str, Any]) -> Check:
    """Score networks on labels that they have not seen.

    Args:
        dataset: with a test set, one network is trained and scored on validation slices. Without,
            one network per part is trained without this part and scored on it.
        parameters: of the notebook.

    Raises:
        DataError: The labels cannot be divided.
    """
    if len(dataset.test):
        config = final_config(dataset, parameters)
        run = run_experiment(config, dataset)
        part = config.draw(dataset.slices).val
        return Check([run], [part], (
            f"The {len(part)} validation slices chose the best weights. The {len(dataset.test)} "
            "test slices had no say in anything, so theirs is the score to report. Slices between "
            f"the sets are left out. {run.config['note']}"))
    folds = range(1, len(parts_of(dataset.slices)) + 1)
    runs = [run_experiment(config_for(dataset, parameters, fold), dataset) for fold in folds]
    parts = [leave_out(dataset.slices, fold)[1] for fold in folds]
    return Check(runs, parts, " ".join([
        f"Cross-validation in {len(runs)} parts: each part was scored by a network that was "
        "trained without it.", *_cautions(dataset.slices)]))


def _cautions(slices: Slices) -> list[str]:
    """Say why a score from cross-validation is too high or too low, if so."""
    found, parts = [], _in_order(np.sort(slices.numbers))
    if len(slices) == 1:
        found.append("The parts are quarters of the labelled area of one slice. They touch, so "
                     "the score is a little too high.")
    elif any(after[0] - before[-1] <= 1 for before, after in pairwise(parts)):
        found.append("Neighbouring slices are near-copies. Some stand in different parts, so the "
                     "score is too high.")
    for fold in range(1, len(parts_of(slices)) + 1):
        absent = _shown(slices) - _shown(leave_out(slices, fold)[0])
        if absent:
            found.append(f"Without part {fold}, no label shows {' or '.join(sorted(absent))}, so "
                         "the network could not learn it.")
    return found


def _shown(slices: Slices) -> set[str]:
    """Return the names of the phases that occur in the labels."""
    classes = set(np.unique(np.concatenate([np.unique(label) for label in slices.labels])))
    return {name for index, name in enumerate(slices.phases.names) if index in classes}


def final_config(dataset: Dataset, parameters: Mapping[str, Any]) -> RunConfig:
    """Return the configuration of `train_final`."""
    return config_for(dataset, parameters, None if len(dataset.test) else EVERYTHING)


def train_final(dataset: Dataset, parameters: Mapping[str, Any]) -> Run:
    """Train the network to keep: on all labels or, with a test set, as `cross_validate` does."""
    return run_experiment(final_config(dataset, parameters), dataset)


def check_name(name: str) -> Path:
    """Return the file for a network of this name; raise `ParameterError` if the name is invalid."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name):
        raise ParameterError(f"--name is {name!r}; it must consist of at most 64 letters, digits, "
                             "- and _, and begin with a letter or digit.")
    if name in named_networks():
        raise ParameterError(f"--name is {name}, which is a network that came with the library. "
                             "Choose another name.")
    return home() / "networks" / f"{name}.safetensors"


def check_name_is_free(name: str, dataset: Dataset, parameters: Mapping[str, Any]) -> None:
    """Raise an error, before anything is trained, if `name_network` would refuse a name.

    Args:
        name, dataset, parameters: as for `name_network` and `train_final`.
    """
    path = check_name(name)
    folder = folder_of(final_config(dataset, parameters), dataset.fingerprint)
    if path.exists():
        done = (folder / "result.json").exists()
        _check_same(path, (folder / "model.safetensors").read_bytes() if done else b"")


def name_network(run: Run, name: str) -> Path:
    """Give the network of a run a name, by which the command `predict` finds it.

    Raises:
        ParameterError: The name is invalid.
        RunError: Another network has this name.
    """
    path, content = check_name(name), run.weights.read_bytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    create_exclusively(path, content)
    _check_same(path, content)
    return path


def _check_same(path: Path, content: bytes) -> None:
    """Raise `RunError` if the file of a named network has other content."""
    if path.read_bytes() != content:
        raise RunError(f"{path} is another network. Choose another --name, or remove that file.")
