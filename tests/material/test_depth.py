"""What networks make of a volume, along z: by hand, and on runs."""


import numpy as np
import pytest

from xraylib.material.depth import flips, row_of
from xraylib.material.phases import triple_phase_boundary
from xraylib.predict.network import predict
from xraylib.predict.scores import score
from xraylib.runs.folder import execute
from xraylib.runs.profiles import configure, networks_of
from xraylib.slices.labelled import Slices
from xraylib.slices.sets import open_source


def test_flips_by_hand():
    labels = np.zeros((3, 2, 4), np.uint8)
    labels[1] = 1                                                # every voxel flips twice along z, none along y and x
    assert flips(labels) == {"z": 1, "y": 0, "x": 0}
    labels[:, :, 2:] = 2                                         # half of them do, and one of three pairs along x
    assert flips(labels) == pytest.approx({"z": 0.5, "y": 0, "x": 1 / 3})


@pytest.mark.parametrize("kind", ["2-D", "3-D"])
def test_a_row_tells_what_the_runs_network_makes_of_the_volume(folder, kind):
    source = open_source("tiny", str(folder))
    config = configure("09_three_d", {"profile": "tiny", "data_dir": str(folder), "noise_std": 1000}
                       | networks_of("tiny")[kind], steps=4)
    run = execute(config, source)
    truth = np.random.default_rng(0).integers(3, size=(4, 48, 40)).astype(np.uint8)           # phases that meet
    slices = Slices(source.test.images, truth, source.test.numbers)
    labels = predict(run.model(), slices.images)
    row = row_of(kind, run, slices, labels)
    assert (row["kind"], row["run"], row["seed"], row["noise_std"]) == (kind, run.folder.name, 0, 1000)
    assert row["dice"] == score(labels, slices).mean
    for name, value in (("tpb", triple_phase_boundary), ("flips_z", lambda part: np.mean(part[1:] != part[:-1])),
                        ("flips_x", lambda part: np.mean(part[..., 1:] != part[..., :-1]))):
        assert row[name] == pytest.approx(value(labels) / value(truth) - 1)
