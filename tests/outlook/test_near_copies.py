"""How far validation slices are from the training set."""

import numpy as np

from xraylib import published
from xraylib.outlook.near_copies import distance_to_training, training_distances


def test_distance_is_to_the_nearest_training_slice():
    distances = distance_to_training(np.array([1, 4, 8, 30]), np.array([10, 3]))
    assert distances.tolist() == [2, 1]


def test_distances_of_a_published_run_are_those_of_its_own_sets():
    run = published.published("01_baseline", n_seeds=1, n_train=25, n_val=475)[0]
    distance, dice = training_distances(run)
    val = run.scores["val"]
    assert len(distance) == len(dice) == len(val.numbers) == 475
    assert distance.min() == 1 and distance.max() > 20
    train = sorted(set(range(1, 501)) - set(val.numbers))
    assert len(train) == 25  # all other slices train
    assert np.array_equal(distance, [min(abs(number - each) for each in train)
                                     for number in val.numbers])
