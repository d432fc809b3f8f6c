"""Distances from validation to training slices, to see whether Dice is higher nearby."""

import numpy as np

from ..datasets import SIZES, dummy_slices
from ..runs import Run, config_of


def distance_to_training(train_numbers: np.ndarray, val_numbers: np.ndarray) -> np.ndarray:
    """Return the distance in slices from each validation slice to its nearest training slice."""
    return np.abs(val_numbers[:, None] - train_numbers[None]).min(1)


def training_distances(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Return the distance of each built-in validation slice to the training set, and its Dice."""
    numbers, val = np.arange(1, SIZES[run.config["profile"]][0] + 1), run.scores["val"]
    train = config_of(run).draw(dummy_slices(numbers)).train
    return distance_to_training(train.numbers, val.numbers), val.image_dice
