"""The panels of notebooks 5, 9 and 10, moved by setting the values of their controls."""


import numpy as np
import pytest
from conftest import blobs, decoded, text

import xraylib.widgets
from xraylib.data import NI_YSZ, Phases, Slices
from xraylib.figures import mask_image, pictures_in_a_row
from xraylib.noise import add_noise
from xraylib.outlook import widgets
from xraylib.outlook.classical import apply_thresholds, gaussian, grey_order
from xraylib.outlook.transforms import example_crop
from xraylib.outlook.widgets import (
    CUT_LINE,
    cuts_picture,
    explore_thresholds,
    explore_transforms,
    explore_volume,
    orthogonal_cuts,
)
from xraylib.training import TRANSFORMS
from xraylib.widgets import Prediction, error_numbers, picture


def set_controls(panel, **values):
    """Set controls by the first word of their description."""
    controls = {child.description.split()[0]: child for child in panel.children[0].children}
    for name, value in values.items():
        controls[name].value = value


def test_transforms_follow_the_menu_four_draws_at_a_time():
    one = blobs(1, 48, 41)
    panel = explore_transforms(one, side=16, noise_max=3000)
    for names, draws, palette in (((), 1, "safe"), (TRANSFORMS, 1, "rgb"),
                                  (("rotate", "noise"), 7, "safe")):
        set_controls(panel, transforms=names, draws=draws, colours=palette)
        crops = [example_crop(one, (16, 12), 16, names, 3000, 4 * draws + index)
                 for index in range(4)]
        images, labels = zip(*crops, strict=True)
        shown = decoded(panel)[::4, ::4]                           # each pixel is 4 x 4
        masks = pictures_in_a_row([mask_image(label, NI_YSZ, palette) for label in labels])
        assert (shown[-16:] == masks).all() and (decoded(panel)[3::4, 3::4] == shown).all()
        greys = shown[:16, :16, 0].ravel().astype(int)
        assert (np.diff(greys[np.argsort(images[0].ravel())]) >= 0).all() and np.ptp(greys) > 100
    grey, _ = np.split(decoded(panel), 2)
    parts = np.split(grey[:, :grey.shape[1] // 4 * 4], 4, 1)
    assert len({part.tobytes() for part in parts}) == 4


def test_a_volume_is_cut_where_the_sliders_stand(monkeypatch):
    """The grey levels are not stretched, because the stretch looks at every third row alone."""
    monkeypatch.setattr(xraylib.widgets, "grey_picture", lambda image: np.repeat(
        (image >> 8).astype(np.uint8)[..., None], 3, -1))
    slices = blobs(5, 12, 9)
    images, truth = np.stack(slices.images), np.stack(slices.labels)
    guesses = {"a": truth.copy(), "<b>": np.zeros((5, 12, 9), np.uint8)}
    guesses["a"][1, 2, 3] = (truth[1, 2, 3] + 1) % 3
    panel = explore_volume(slices, guesses)
    for z, y, x, network, kind, palette in ((2, 3, 4, "a", "misclassified", "safe"),
                                            (1, 1, 1, "<b>", "overlay", "rgb"),
                                            (5, 12, 9, "<b>", "prediction", "rgb")):
        set_controls(panel, z=z, y=y, x=x, network=network, picture=kind, colours=palette)
        shown, volume = decoded(panel), guesses[network]
        assert shown.shape == (12 + 8 + 5, 9 + 8 + 5, 3)
        assert (shown[12:20] == 255).all() and (shown[20:, 9:] == 255).all()
        places = [(np.s_[z - 1], shown[:12, :9], y - 1, x - 1),
                  (np.s_[:, y - 1], shown[20:, :9], z - 1, x - 1),
                  (np.s_[:, :, x - 1], shown[:12, 17:].swapaxes(0, 1), z - 1, y - 1)]
        for place, part, row, column in places:
            expected = picture(kind, images[place], truth[place], Prediction(volume[place]), NI_YSZ,
                               palette)
            expected[row], expected[:, column] = CUT_LINE, CUT_LINE
            assert (part == expected).all()
        name = network.replace("<", "&lt;").replace(">", "&gt;")
        assert f"The volume by {name}" in text(panel) and "<b>b" not in text(panel)
        assert f"{100 * (volume != truth).mean():.2f} %" in text(panel)
        assert f"{100 * (truth[1:] != truth[:-1]).mean():.2f} %" in text(panel)


def test_lines_are_not_drawn_on_the_pictures_that_were_given():
    cuts = [np.zeros((*cut.shape, 3), np.uint8) for cut in orthogonal_cuts(np.zeros((2, 3, 4)),
                                                                           (1, 1, 1))]
    assert cuts_picture(cuts, (1, 1, 1)).any() and not any(cut.any() for cut in cuts)


def test_thresholds_segment_by_hand():
    slices = blobs(3, 40, 40)
    panel = explore_thresholds(slices, seed=4)
    controls = {child.description: child for child in panel.children[0].children}
    # The phases are at about 21500, 35200 and 41500, half-way between them 28350 and 38350.
    low, high = controls["threshold 1"], controls["threshold 2"]
    assert low.value == pytest.approx(28350, abs=60) and low.value % 100 == 0
    assert high.value == pytest.approx(38350, abs=60)
    assert "none is wrong" in text(panel) and "between pore and YSZ" in text(panel)
    values = {"slice": 2, "added noise": 5000, "Gaussian, 0.1 px": 15, "threshold 1": 40000,
              "threshold 2": 30000}                                # the lower one counts as first
    for name, value in values.items():
        controls[name].value = value
    smooth = gaussian(add_noise(slices.images[1], 5000, 4, 2), 1.5)
    labels = apply_thresholds(smooth, (30000, 40000), grey_order(slices))
    assert error_numbers(slices[[1]], labels) in text(panel)


def test_two_phases_have_one_threshold_and_four_have_three():
    for n in (2, 4):
        label = np.arange(n, dtype=np.uint8).repeat(8).reshape(1, -1).repeat(8, 0)
        levels = np.arange(n)[::-1] * 9000 + 10000                 # the first phase is brightest
        phases = Phases(tuple("abcd"[:n]), tuple(range(n)), ("#d55e00", "#009e73", "#0072b2",
                                                             "#cc79a7")[:n])
        slices = Slices([levels[label].astype(np.uint16)], [label], np.array([1]), phases=phases)
        panel = explore_thresholds(slices)
        names = [child.description for child in panel.children[0].children]
        assert sum(name.startswith("threshold") for name in names) == n - 1
        assert "none is wrong" in text(panel) and "between b and a" in text(panel)


def test_pictures_of_a_volume_have_no_confidence():
    panel = explore_volume(blobs(2, 9, 9), {"a": np.zeros((2, 9, 9), np.uint8)})
    (menu,) = [child for child in panel.children[0].children if child.description == "picture"]
    assert "confidence" not in menu.options and set(menu.options) < set(widgets.PICTURES)
