"""Figures of slices and errors: what they show, and how they are shown and saved."""

from dataclasses import replace
from types import SimpleNamespace

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from conftest import blobs

from xraylib import data, figures
from xraylib.data import NI_YSZ, UNLABELLED, Phases, Slices
from xraylib.figures import _zoom as zoom
from xraylib.figures import (
    compare_predictions,
    error_image,
    error_panels,
    mask_image,
    show_slice,
    worst_place,
)
from xraylib.losses import IGNORE

FOUR = Phases(("a", "b", "c", "d"), (0, 85, 170, 255),
              ("#d55e00", "#009e73", "#0072b2", "#cc79a7"))
TWO = Phases(("pore", "solid"), (0, 255), ("#d55e00", "#0072b2"))


def partly_labelled(n: int) -> Slices:
    """Slices of 60 x 60 px, each with a square and a line without labels."""
    slices = blobs(n, 60, 60)
    for label in slices.labels:
        label[20:40, 10:30], label[55] = IGNORE, IGNORE
    return slices


@pytest.mark.parametrize("palette", ["safe", "rgb"])
@pytest.mark.parametrize("phases", [TWO, NI_YSZ, FOUR])
def test_wrong_pixels_have_the_colour_of_their_true_phase_and_right_ones_are_grey(phases, palette):
    classes = np.arange(len(phases), dtype=np.uint8)
    truth, predicted = np.stack([classes, classes]), np.stack([np.roll(classes, 1), classes])
    wrong, right = error_image(truth, predicted, phases, palette)
    assert np.array_equal(wrong, phases.palette(palette))
    assert (right == right[:, :1]).all() and (np.diff(right[:, 0].astype(int)) > 0).all()
    assert np.array_equal(mask_image(classes[None], phases, palette)[0], phases.palette(palette))


@pytest.mark.parametrize("phases", [TWO, FOUR])
def test_pixels_without_a_label_are_pale_grey_and_never_wrong(phases):
    truth = np.array([[IGNORE, 0, 1]], np.uint8)
    predicted = np.array([[1, 0, 0]], np.uint8)
    (unlabelled, right, wrong), = error_image(truth, predicted, phases)
    assert unlabelled.tolist() == list(UNLABELLED) and (right < 20).all()
    assert np.array_equal(wrong, phases.palette()[1])
    assert mask_image(truth, phases)[0, 0].tolist() == list(UNLABELLED)


def test_the_posters_palette_is_red_green_blue():
    assert NI_YSZ.palette("rgb").argmax(1).tolist() == [0, 1, 2]


def test_lines_that_stand_for_no_phase_have_no_colour_of_a_phase():
    colours = NI_YSZ.palette() / 255
    for ink in (figures.INK, figures.OTHER_INK, figures.PALE_INK):
        assert (np.abs(colours - matplotlib.colors.to_rgb(ink)).max(1) > 0.2).all()


@pytest.mark.parametrize(("width", "voxel_nm", "length", "text"), [
    (501, 18.4, 1000, "1 µm"), (160, 18.4, 500, "500 nm"), (1000, 25_000, 5e6, "5 mm"),
    (100, 5, 100, "100 nm"), (2000, 0.5, 200, "200 nm"), (300, 650, 20_000, "20 µm")])
def test_a_scale_bar_has_a_round_length(ax, width, voxel_nm, length, text):
    show_slice(np.zeros((40, width), np.uint16), ax, "a slice", (1.0, 2.0, voxel_nm))
    (bar,), (label,) = ax.patches, ax.texts
    assert bar.get_width() == pytest.approx(length / voxel_nm) and label.get_text() == text
    assert 0.08 * width < bar.get_width() <= 0.2 * width


def test_a_slice_without_a_voxel_size_has_no_scale_bar(ax):
    show_slice(np.zeros((40, 40), np.uint16), ax)
    assert not ax.patches and not ax.texts


def test_figures_of_a_readers_slices_have_no_scale_bar():
    slices = blobs(1, 60, 60)
    for voxel_nm, bars in ((None, 0), ((9, 9, 20), 1)):
        part = replace(slices, voxel_nm=voxel_nm)
        (image,), (truth,) = part.images, part.labels
        for fig in (error_panels(part, [truth], ["one"]),
                    compare_predictions(image, truth, [truth], ["one"], part.phases,
                                        part.voxel_nm)):
            assert sum(len(ax.texts) for ax in fig.axes) == bars
            plt.close(fig)


def test_a_legend_names_every_phase():
    fig = plt.figure(layout="constrained")
    figures.phase_legend(fig, FOUR, "what it means")
    (legend,) = fig.legends
    assert [text.get_text() for text in legend.get_texts()] == list(FOUR.names)
    assert [matplotlib.colors.to_hex(patch.get_facecolor()) for patch in legend.get_patches()] == [
        *FOUR.colours]
    assert legend.get_title().get_text() == "what it means"
    plt.close(fig)


def test_shares_in_a_histogram_add_up_to_one(ax):
    figures.grey_histogram(blobs(5, 40, 40), ax)
    assert sum(patch.get_data().values.sum() for patch in ax.patches) == pytest.approx(1, abs=0.01)


def test_a_histogram_takes_slices_of_any_sizes_and_counts_the_labelled_pixels(ax):
    slices = replace(partly_labelled(3), phases=FOUR)
    slices.images[1], slices.labels[1] = slices.images[1][:30], slices.labels[1][:30]
    figures.grey_histogram(slices, ax)
    shares = [patch.get_data().values.sum() for patch in ax.patches]
    known = np.concatenate([label[label != IGNORE] for label in slices.labels])
    assert shares == pytest.approx(np.bincount(known, minlength=4) / len(known), abs=0.01)


def test_a_profile_from_the_darkest_to_the_brightest_phase(ax):
    label = np.zeros((3, 40), np.uint8)
    label[:, :5], label[1, 20:] = 1, 2
    for order in ((0, 1, 2), (2, 0, 1)):                # whatever the class indices of the phases
        classes = np.array(order, np.uint8)[label]
        image = np.array([21500, 35200, 41500], np.uint16)[label]
        ax.clear()
        figures.edge_profile(Slices([image], [classes], np.array([1])), ax)
        assert ax.lines[0].get_ydata().tolist() == [21500] * 8 + [41500] * 8
        names = [NI_YSZ.names[phase] for phase in order]
        assert [text.get_text() for text in ax.texts] == names
        assert f"true {names[0]} on the left, true {names[2]} on the right" in ax.get_xlabel()


def test_a_profile_keeps_to_labelled_pixels(ax):
    slices = partly_labelled(2)
    for label in slices.labels:
        label[:, 40:] = IGNORE
    figures.edge_profile(slices, ax)
    assert [text.get_text() for text in ax.texts] == list(NI_YSZ.names)
    means = data.mean_grey_levels(slices)
    assert means == pytest.approx([21500, 35200, 41500], abs=100)


def test_slices_without_such_an_edge_or_such_a_phase_still_have_a_profile(ax):
    image = np.array([[20000, 35000], [20000, 41000]], np.uint16).repeat(10, 1)
    figures.edge_profile(Slices([image], [(image > 30000).astype(np.uint8)], np.array([1])), ax)
    assert [text.get_text() for text in ax.texts] == ["pore", "YSZ"]
    assert len(ax.lines[0].get_ydata()) == 16
    ax.clear()
    scattered = np.random.default_rng(0).permutation(image.ravel()).reshape(image.shape)
    slices = Slices([scattered], [(scattered > 30000).astype(np.uint8)], np.array([1]))
    figures.edge_profile(slices, ax)
    assert len(ax.lines[0].get_ydata()) == 0


def test_positions_of_a_profile_are_in_micrometres_only_if_the_voxel_size_is_known(ax):
    images = [np.arange(40, dtype=np.uint16).reshape(4, 10)] * 2
    figures.line_profile(images, ["noisy", "original"], ax, 2, voxel_nm=(9, 9, 500))
    assert ax.lines[0].get_xdata()[-1] == 4.5 and ax.get_xlabel() == "position, µm"
    assert ax.lines[1].get_ydata().tolist() == list(range(20, 30))
    ax.clear()
    figures.line_profile(images, ["noisy", "original"], ax, 2)
    assert ax.lines[0].get_xdata()[-1] == 9 and ax.get_xlabel() == "position, px"


def test_marking_a_row_does_not_move_the_slice(ax):
    show_slice(np.zeros((30, 40), np.uint16), ax)
    before = ax.get_xlim(), ax.get_ylim()
    figures.mark_row(ax, 12, 40)
    ax.figure.canvas.draw()
    assert (ax.get_xlim(), ax.get_ylim()) == before
    assert ax.collections[0].get_segments()[0][:, 1].tolist() == [12, 12]


def test_a_figure_is_shown_once_with_its_caption_and_saved_below_runs(tmp_path, home, monkeypatch):
    shown = []
    monkeypatch.setattr(figures, "display",
                        lambda content, metadata=None: shown.append(metadata or content.data))
    fig, _ = plt.subplots()
    run = SimpleNamespace(folder=tmp_path / "elsewhere/01_baseline/0123")
    figures.save_figure(fig, run, "errors", "An empty figure.")
    assert shown == [{"image/png": {"alt": "An empty figure."}}, "*An empty figure.*"]
    assert not plt.fignum_exists(fig.number)
    assert (home / "runs/01_baseline/0123/figures/errors.png").stat().st_size > 1000


def test_a_notebook_can_show_the_source_of_a_function():
    assert "def mask_image(" in figures.show_source(mask_image).data


# -- errors ----------------------------------------------------------------------------------------


def test_the_worst_place_holds_the_most_wrong_pixels():
    wrong = np.zeros((100, 90), bool)
    wrong[70:75, 60:66] = True
    wrong[5, 5] = True
    rows, columns = worst_place(wrong, side=16)
    assert (rows.stop - rows.start, columns.stop - columns.start) == (16, 16)
    assert wrong[rows, columns].sum() == 30
    small = worst_place(wrong[:10, :12], side=48)                  # smaller than the square
    assert small == (slice(0, 10), slice(0, 10))


def test_a_place_with_every_phase_is_preferred_on_request():
    truth = np.ones((60, 60), np.uint8)
    truth[40:, :10], truth[40:, 10:20] = 0, 2
    wrong = np.zeros((60, 60), bool)
    wrong[:20, 40:], wrong[50, 5] = True, True
    place = worst_place(wrong, truth, side=20)
    counts = np.bincount(truth[place].ravel(), minlength=3)
    assert (counts >= 0.1 * 20 * 20).all() and wrong[place].sum() == 1
    assert wrong[worst_place(wrong, side=20)].sum() == 400
    truth[truth == 2] = 0                                # a phase that is absent is not waited for
    assert np.unique(truth[worst_place(wrong, truth, side=20)]).tolist() == [0, 1]


@pytest.mark.parametrize(("wrong", "lines"),
                         [([[1]], 4), ([[1, 1]], 6), ([[1, 0, 1]], 8), ([[0, 0]], 0)])
def test_wrong_pixels_are_framed_along_their_outline(ax, wrong, lines):
    wrong = np.array(wrong, bool)
    zoom(np.zeros(wrong.shape, np.uint8), wrong, ax, "", NI_YSZ)
    assert sum(len(collection.get_segments()) for collection in ax.collections) == lines


def test_the_lines_of_a_frame_lie_between_wrong_and_right_pixels(ax):
    wrong = np.arange(9).reshape(3, 3) == 5                        # row 1, column 2
    zoom(np.zeros((3, 3), np.uint8), wrong, ax, "", NI_YSZ)
    corners = {tuple(point) for line in ax.collections[0].get_segments() for point in line}
    assert corners == {(1.5, 0.5), (2.5, 0.5), (1.5, 1.5), (2.5, 1.5)}


def test_errors_have_a_row_per_slice_with_the_share_of_wrong_pixels():
    slices = blobs(2, 60, 60)
    predicted = np.stack(slices.labels)
    predicted[1, :6] = (predicted[1, :6] + 1) % 3
    fig = error_panels(slices, predicted, ["one", "two"])
    titles = [ax.get_title() for ax in fig.axes]
    assert titles[1] == "0.00 % wrong" and titles[6] == "10.00 % wrong"
    fig.canvas.draw()
    plt.close(fig)


@pytest.mark.parametrize("phases", [TWO, FOUR])
def test_the_share_of_wrong_pixels_is_that_of_the_labelled_ones(phases):
    slices = replace(partly_labelled(1), phases=phases)
    (image,), (truth,) = slices.images, [label % len(phases) for label in slices.labels]
    truth[slices.labels[0] == IGNORE] = IGNORE
    guess = np.where(truth == 0, 1, 0).astype(np.uint8)  # all wrong
    guess[:30] = truth[:30] % 4
    share = f"{100 * (truth[30:] != IGNORE).sum() / (truth != IGNORE).sum():.2f} % wrong"
    for fig in (error_panels(replace(slices, labels=[truth]), [guess], ["one"]),
                compare_predictions(image, truth, [guess], ["one"], phases, (9, 9, 20))):
        assert any(share in ax.get_title() for ax in fig.axes)
        assert [text.get_text() for text in fig.legends[0].get_texts()] == [
            *phases.names, "no label"]
        fig.canvas.draw()
        plt.close(fig)


def test_predictions_of_several_networks_are_compared_at_one_place():
    (image,), (truth,) = blobs(1, 60, 60).images, blobs(1, 60, 60).labels
    fig = compare_predictions(image, truth, [truth, 2 - truth], ["right", "wrong"], NI_YSZ)
    titles = [ax.get_title() for ax in fig.axes]
    assert titles[1] == "right:\n0.00 % wrong"
    assert f"{100 * (truth != 2 - truth).mean():.2f} % wrong" in titles[2]
    assert len({ax.patches[0].get_xy() for ax in fig.axes[:3]}) == 1
    fig.canvas.draw()
    plt.close(fig)
