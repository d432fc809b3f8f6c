"""Figures of slices: what they show, and how they are shown and kept."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from conftest import blobs

from xraylib.show import plots
from xraylib.show.draw_unet import draw_unet, feature_maps, receptive_field
from xraylib.slices.labelled import PALETTES, Slices
from xraylib.unet import UNet


@pytest.mark.parametrize("palette", PALETTES)
def test_wrong_pixels_have_the_colour_of_their_true_phase_and_right_ones_are_grey(palette):
    truth = np.array([[0, 1, 2, 0, 1, 2]], np.uint8)
    predicted = np.array([[1, 2, 0, 0, 1, 2]], np.uint8)
    picture = plots.error_image(truth, predicted, palette)
    assert np.array_equal(picture[0, :3], PALETTES[palette])
    right = picture[0, 3:]
    assert (right[:, 0] == right[:, 1]).all() and (right[:, 1] == right[:, 2]).all() and len(np.unique(right)) == 3
    assert np.array_equal(plots.mask_image(truth, palette)[0, :3], PALETTES[palette])


def test_the_posters_palette_is_red_green_blue():
    assert PALETTES["rgb"].argmax(1).tolist() == [0, 1, 2]


def test_what_is_no_phase_has_no_phases_colour():
    phases = [tuple(colour / 255) for colour in PALETTES["safe"]]
    for ink in (plots.INK, plots.OTHER_INK, plots.PALE_INK):
        colour = np.array(matplotlib.colors.to_rgb(ink))
        assert min(np.abs(colour - phase).max() for phase in phases) > 0.2


def test_the_drawing_reads_the_network(ax):
    maps = feature_maps(UNet(64, 4), 512)
    assert maps == [(64, 512), (128, 256), (256, 128), (512, 64), (1024, 32), (512, 64), (256, 128), (128, 256),
                    (64, 512)]
    assert feature_maps(UNet(64, 4, padding="valid"), 388)[0] == (64, 568)      # Figure 1 of the paper
    draw_unet(UNet(4, 2), ax)
    texts = [text.get_text() for text in ax.texts]
    assert texts.count("8") == 2 and "4 channels" in texts and "512 x 512 px" in texts and "128²" in texts


def test_the_receptive_field_is_that_of_the_layers():
    """Depth 1 by hand: two convolutions, a pooling, two at half the size, and back: 5, 6, 14, and 2 + 2 px more."""
    assert [receptive_field(UNet(2, depth)) for depth in (1, 2, 4)] == [18, 44, 188]


def test_histogram_shares_add_up_to_one(ax):
    plots.histogram(blobs(5, 40, 40), ax)
    assert sum(patch.get_data().values.sum() for patch in ax.patches) == pytest.approx(1, abs=0.01)


def test_a_profile_from_pore_to_nickel(ax):
    label = np.zeros((3, 40), np.uint8)
    label[:, :5], label[1, 20:] = 1, 2
    image = np.where(label == 2, 41500, np.where(label == 1, 35200, 21500)).astype(np.uint16)
    plots.edge_profile(Slices([image], [label], np.array([1])), ax)
    assert ax.lines[0].get_ydata().tolist() == [21500] * 8 + [41500] * 8


def test_slices_without_such_an_edge_are_no_reason_to_stop(ax):
    image = np.array([[20000, 35000], [20000, 41000]], np.uint16).repeat(10, 1)
    plots.edge_profile(Slices([image], [(image > 30000).astype(np.uint8)], np.array([1])), ax)


def test_a_figure_is_shown_once_with_a_text_and_kept(tmp_path, home, monkeypatch):
    shown = []
    monkeypatch.setattr(plots, "display", lambda figure, metadata: shown.append(metadata))
    fig, _ = plt.subplots()
    plots.keep(fig, tmp_path / "published/01_baseline/0123", "errors", "an empty figure")
    assert shown == [{"image/png": {"alt": "an empty figure"}}] and not plt.fignum_exists(fig.number)
    assert (home / "runs/01_baseline/0123/figures/errors.png").stat().st_size > 1000


def test_a_slice_is_shown_with_a_bar_of_a_micrometre(ax):
    plots.show(blobs(1, 100, 100).images[0], ax, "a slice", scale_bar=True)
    assert ax.patches[0].get_width() == pytest.approx(1000 / 18.4)
