"""All quantities of a segmentation, their uncertainty, table and figure."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from xraylib.data import NI_YSZ, Phases
from xraylib.errors import DataError, ParameterError
from xraylib.losses import IGNORE
from xraylib.outlook import measure, paths
from xraylib.outlook.measure import measure_quantities, measure_volume, relative_error
from xraylib.outlook.microstructure import interface_area, triple_phase_boundary, volume_fractions

QUARTERS = np.array([[0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 2, 2], [1, 1, 2, 2]], np.uint8)
# One line: chords of 2 (touches the border), 3, 1 and 2 (touches the border) voxels.
LINE = np.array([[0, 0, 1, 1, 1, 0, 2, 2]], np.uint8)
FOUR = Phases(("a", "b", "c", "d"), (0, 1, 2, 3), ("#000000", "#444444", "#888888", "#cccccc"))
TWO = Phases(("void", "solid"), (0, 255), ("#000000", "#888888"))
NM = (40, 20, 20)  # twice as long along z


def grains(n_phases, side=24, seed=0, sigma=2):
    """Phases cut out of smooth noise, at the same levels for every seed."""
    noise = np.random.default_rng(seed).normal(size=(side,) * 3)
    field = gaussian_filter(noise, sigma, mode="wrap") * sigma**1.5  # standard deviation 0.21
    return np.digitize(field, np.linspace(-0.3, 0.3, n_phases + 1)[1:-1]).astype(np.uint8)


def values(found):
    return {str(each.name): each.value for each in found.quantities}


# -- all quantities --------------------------------------------------------------------------------


def test_quantities_by_hand():
    found = measure_quantities(np.vstack([LINE] * 3), (500,) * 3, NI_YSZ)
    assert list(found) == [
        "pore, volume fraction", "YSZ, volume fraction", "nickel, volume fraction",
        "pore-YSZ interface, 1/µm", "pore-nickel interface, 1/µm", "YSZ-nickel interface, 1/µm",
        "triple-phase boundary, 1/µm²",
        "pore, mean chord, µm", "YSZ, mean chord, µm", "nickel, mean chord, µm",
        "pore, percolated fraction", "YSZ, percolated fraction", "nickel, percolated fraction"]
    # Along the line 2 of 7 steps are pore|YSZ and 1 is pore|nickel; across there are none. All
    # three phases reach from top to bottom, and none from left to right.
    assert list(found.values()) == pytest.approx(
        [3 / 8, 3 / 8, 2 / 8, 2 * 2 / 7 / 0.5 / 2, 2 * 1 / 7 / 0.5 / 2, 0, 0, 0.5, 1.5, np.nan,
         0.5, 0.5, 0.5], nan_ok=True)
    quarters = measure_quantities(QUARTERS, (500,) * 3, NI_YSZ)
    assert quarters["triple-phase boundary, 1/µm²"] == pytest.approx(2 / 9 * 4)


def test_quantities_of_two_and_of_four_phases():
    labels = np.array([[3, 3, 1], [0, 2, 1], [0, 2, 2]], np.uint8)
    found = measure_quantities(labels, (1000,) * 3, FOUR)
    assert sum(found[f"{name}, volume fraction"] for name in "abcd") == pytest.approx(1)
    assert found["a-c-d triple-phase boundary, 1/µm²"] == 2 / 4
    assert found["a-b-c triple-phase boundary, 1/µm²"] == 0
    assert sum("interface" in name for name in found) == 6
    found = measure_quantities(np.eye(4, dtype=np.uint8), (1000,) * 3, TWO)
    assert found["void-solid interface, 1/µm"] > 0 and not any("triple" in name for name in found)


def test_lengths_are_in_px_if_the_voxel_is_unknown():
    known, unknown = (measure_quantities(grains(3), size, NI_YSZ) for size in ((500,) * 3, None))
    assert unknown["pore-YSZ interface, 1/px"] == known["pore-YSZ interface, 1/µm"] / 2 > 0
    assert unknown["YSZ, mean chord, px"] == known["YSZ, mean chord, µm"] * 2
    assert unknown["triple-phase boundary, 1/px²"] == pytest.approx(
        known["triple-phase boundary, 1/µm²"] / 4)
    assert unknown["pore, volume fraction"] == known["pore, volume fraction"]


def test_slices_that_are_not_neighbours_tell_nothing_about_percolation():
    labels = grains(3)[::6]
    apart = measure_quantities(labels, NM, NI_YSZ, neighbours=False)
    assert not any("percolated" in name for name in apart)
    assert apart["pore-YSZ interface, 1/µm"] == interface_area(labels, NM, 3, False)[0, 1]
    whole = measure_quantities(grains(3), (20,) * 3, NI_YSZ)["pore-YSZ interface, 1/µm"]
    wrong = measure_quantities(labels, (20,) * 3, NI_YSZ)["pore-YSZ interface, 1/µm"]
    alike = measure_quantities(labels, (20,) * 3, NI_YSZ, neighbours=False)
    assert alike["pore-YSZ interface, 1/µm"] == pytest.approx(whole, rel=0.2)
    assert wrong > 1.3 * whole  # what taking them for neighbours would cost


def test_relative_errors():
    found = relative_error({"one": 126, "two": 30, "three": 5, "more": 1},
                           {"one": 100, "two": 40, "three": 0})
    assert found == pytest.approx({"one": 0.26, "two": -0.25, "three": np.nan}, nan_ok=True)


# -- with an uncertainty ---------------------------------------------------------------------------


def test_a_volume_has_the_quantities_of_the_whole_and_an_error_of_its_parts():
    labels = grains(3)
    found = measure_volume(labels, NM, NI_YSZ, with_tortuosity=True)
    by_name = {str(each.name): each for each in found.quantities}
    fraction = by_name["YSZ, volume fraction"]
    octants = [volume_fractions(labels[z:z + 12, y:y + 12, x:x + 12], 3)[1]
               for z in (0, 12) for y in (0, 12) for x in (0, 12)]
    assert fraction.value == volume_fractions(labels, 3)[1] == pytest.approx(np.mean(octants))
    assert fraction.error == pytest.approx(np.std(octants, ddof=1) / 8**0.5) and fraction.parts == 8
    line = by_name["triple-phase boundary"]
    assert line.value == triple_phase_boundary(labels, NM) > 0 and line.name.unit == "1/µm²"
    for axis in "zyx":
        assert 0 < by_name[f"YSZ, percolated fraction along {axis}"].value <= 1
        assert by_name[f"YSZ, tortuosity along {axis}"].value > 1
    assert not any("tortuosity" in name for name in values(measure_volume(labels, NM, NI_YSZ)))
    row = next(row for row in found.table() if row[0] == "triple-phase boundary")
    assert row == ["triple-phase boundary", "1/µm²", f"{line.value:.4g}", f"{line.error:.4g}", "8"]


def test_one_part_has_no_error_and_two_phases_have_no_triple_line():
    found = measure_volume(grains(2), None, TWO, parts=1)
    assert {row[3] for row in found.table()} == {""} and all(np.isnan(
        each.error) for each in found.quantities)
    assert not any("triple" in name for name in values(found))
    assert {each.name.unit for each in found.quantities} == {"", "1/px", "px"}
    assert found.notes == []


def test_the_triple_line_of_three_named_phases_of_four():
    labels = grains(4, sigma=1)
    found = measure_volume(labels, NM, FOUR, triple=("d", "b", "c"))
    lines = {name: value for name, value in values(found).items() if "triple" in name}
    assert lines == {"d-b-c triple-phase boundary": triple_phase_boundary(labels, NM, (1, 2, 3))}
    assert [*lines.values()][0] > 0
    assert sum("triple" in name for name in values(measure_volume(labels, NM, FOUR))) == 4


def test_the_standard_error_is_about_the_scatter_of_repeated_volumes():
    many = [measure_volume(grains(2, 48, seed, 1.5)[:40], (20,) * 3, TWO) for seed in range(1, 17)]
    assert not any("not reliable" in note for note in many[0].notes)
    for name in ("void, volume fraction", "void-solid interface", "solid, mean chord"):
        found = [next(each for each in one.quantities if str(each.name) == name) for one in many]
        scatter = np.std([each.value for each in found], ddof=1)
        assert 0.6 < np.mean([each.error for each in found]) / scatter < 1.6, name


def test_quantities_that_are_left_out_are_reported(monkeypatch):
    labels = grains(2)
    assert not any("left out" in note for note in measure_volume(labels, None, TWO).notes)
    monkeypatch.setattr(paths, "TORTUOSITY_VOXELS", labels.size - 1)
    (first, *others) = measure_volume(labels, None, TWO, with_tortuosity=True).notes
    assert "8 sub-volumes of 12 x 12 x 12 voxels" in first
    assert "cube of 23 voxels" in others[-1]
    monkeypatch.undo()
    monkeypatch.setattr(paths, "find_spec", lambda name: None)
    found = measure_volume(labels, None, TWO, with_tortuosity=True)
    assert "pip install taufactor" in found.notes[-1]
    assert not any("tortuosity" in name for name in values(found))
    for one in (measure_volume(labels[:1], None, TWO, parts=4),
                measure_volume(labels, None, TWO, neighbours=False)):
        assert one.notes[-1].startswith("Percolation and tortuosity are left out")
        assert not any("percolated" in name for name in values(one))
    absent = measure_volume(grains(2), None, NI_YSZ)
    assert "The segmentation contains no nickel." in absent.notes
    assert np.isnan(values(absent)["nickel, mean chord"])


@pytest.mark.parametrize(("labels", "options", "error", "message"), [
    (np.full((4, 4, 4), IGNORE, np.uint8), {}, DataError, "64 of 64 pixels have no label"),
    (np.full((4, 4, 4), 3, np.uint8), {}, DataError, "class 3"),
    (grains(3), {"triple": ["pore", "YSZ"]}, ParameterError, "three different.*pore, YSZ, nickel"),
    (grains(3), {"triple": ["pore", "YSZ", "Ni"]}, ParameterError, "pore, YSZ, Ni; name three"),
    (grains(3), {"parts": 7000}, ParameterError, "parts is 7000.*24 x 24 x 24"),
    (grains(3), {"parts": 0}, ParameterError, "parts is 0"),
])
def test_wrong_arguments_are_named(labels, options, error, message):
    with pytest.raises(error, match=message):
        measure_volume(labels, None, NI_YSZ, **options)


# -- the figure ------------------------------------------------------------------------------------


def test_the_figure_draws_the_numbers_of_the_table():
    found = measure_volume(grains(3), NM, NI_YSZ, parts=2, with_tortuosity=True)
    figure = found.figure()
    figure.canvas.draw()
    panels = {ax.get_xlabel().split(",")[0]: ax for ax in figure.axes}
    assert list(panels) == [*measure.KINDS, "length of a chord (dashed: mean)"]
    chords = panels["length of a chord (dashed: mean)"]
    bars = panels["volume fraction"].patches
    assert [bar.get_width() for bar in bars] == pytest.approx(list(values(found).values())[:3])
    ticks = [tick.get_text() for tick in panels["interface"].get_yticklabels()]
    assert ticks == ["pore-YSZ", "pore-nickel", "YSZ-nickel"]
    assert panels["interface"].get_xlabel() == "interface, 1/µm"
    assert chords.get_xlabel() == "length of a chord (dashed: mean), µm"
    for stairs in chords.patches:  # all chords are inside
        assert stairs.get_data().values.sum() == pytest.approx(100)
    means = [each for name, each in values(found).items() if "mean chord" in str(name)]
    assert [line.get_xdata()[0] for line in chords.lines] == pytest.approx(means)


def test_the_figure_of_many_phases_shows_the_largest_quantities():
    phases = Phases.numbered(range(8))
    labels = np.random.default_rng(0).integers(0, 8, (8, 8, 8), np.uint8)
    figure = measure_volume(labels, None, phases, neighbours=False).figure()
    figure.canvas.draw()
    labels = [ax.get_xlabel() for ax in figure.axes]
    assert labels == ["volume fraction", "interface, 1/px (12 largest of 28)",
                      "triple-phase boundary, 1/px² (12 largest of 56)",
                      "length of a chord (dashed: mean), px"]
    assert len(figure.axes[1].patches) == 12
