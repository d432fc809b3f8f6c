"""The same measures by another program, taufactor, on three phases cut out of smooth noise."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from taufactor import metrics

from xraylib.outlook.microstructure import (
    interface_area,
    triple_phase_boundary,
    triple_point_map,
    volume_fractions,
)
from xraylib.outlook.paths import percolated_fractions


def rough(*shape):
    field = gaussian_filter(np.random.default_rng(0).normal(size=shape), 2)
    return np.digitize(field, np.quantile(field, [0.3, 0.65])).astype(np.uint8)


def test_volume_fractions():
    theirs = metrics.volume_fraction(rough(24, 28, 32))
    ours = volume_fractions(rough(24, 28, 32), 3)
    assert ours == pytest.approx([theirs[phase] for phase in "012"])


def test_triple_phase_boundary():
    """Taufactor takes one mean over the corners of all planes. Its labels must be signed."""
    labels = rough(24, 28, 32).astype(int)
    corners = 23 * 27 * 32 + 23 * 31 * 28 + 27 * 31 * 24  # of planes z-y, z-x and y-x
    ours = sum(int(triple_point_map(labels, plane).sum()) for plane in ((0, 1), (0, 2), (1, 2)))
    theirs = float(metrics.triple_phase_boundary(labels)) * corners
    assert ours > 100 and ours == pytest.approx(theirs, rel=1e-6)
    theirs = float(metrics.triple_phase_boundary(labels[0]))
    assert triple_phase_boundary(labels[0], None) == pytest.approx(2 * theirs, rel=1e-6) != 0


def test_interfaces():
    """Taufactor divides the faces by the number of voxels; we divide by the number of faces."""
    labels = rough(24, 24, 24)
    theirs = metrics.interfacial_areas(labels, method="face_counting", device="cpu",
                                       spacing=(1, 1, 1))
    assert len(theirs) == 3 and interface_area(labels, None, 3) == pytest.approx(
        {pair: 2 / 3 * faces * 24**3 / (23 * 24**2) for pair, faces in theirs.items()})


@pytest.mark.parametrize("phase", range(3))
def test_percolation(phase):
    labels = rough(24, 28, 32)
    ours = [*percolated_fractions(labels, phase).values()]
    theirs = [metrics.extract_through_feature(labels, phase, axis)[1][0] for axis in "xyz"]
    assert ours == pytest.approx(theirs, rel=1e-6)
