import matplotlib
import numpy as np
import pytest
from conftest import blobs

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

from xraylib.predict.scores import Scores  # noqa: E402
from xraylib.show import plots  # noqa: E402
from xraylib.show.draw_unet import draw_unet, feature_maps  # noqa: E402
from xraylib.slices.labelled import PALETTES  # noqa: E402
from xraylib.unet import UNet  # noqa: E402


@pytest.fixture
def ax():
    fig, ax = plt.subplots()
    yield ax
    fig.canvas.draw()
    plt.close(fig)


@pytest.mark.parametrize("palette", PALETTES)
def test_wrong_pixels_have_the_colour_of_their_true_phase_and_right_ones_are_grey(palette):
    truth = np.array([[0, 1, 2, 0, 1, 2]], np.uint8)
    predicted = np.array([[1, 2, 0, 0, 1, 2]], np.uint8)
    picture = plots.error_image(truth, predicted, palette)
    assert np.array_equal(picture[0, :3], PALETTES[palette])
    right = picture[0, 3:]
    assert (right[:, 0] == right[:, 1]).all() and (right[:, 1] == right[:, 2]).all() and len(np.unique(right)) == 3


def test_the_posters_palette_is_red_green_blue():
    assert PALETTES["rgb"].argmax(1).tolist() == [0, 1, 2]


def test_the_drawing_reads_the_network(ax):
    maps = feature_maps(UNet(64, 4), 512)
    assert maps == [(64, 512), (128, 256), (256, 128), (512, 64), (1024, 32), (512, 64), (256, 128), (128, 256),
                    (64, 512)]
    assert feature_maps(UNet(64, 4, padding="valid"), 388)[0] == (64, 568)      # Figure 1 of the paper
    draw_unet(UNet(4, 2), ax)
    texts = [text.get_text() for text in ax.texts]
    assert texts.count("8") == 2 and "128²" in texts


def test_histogram_shares_add_up_to_one(ax):
    slices = blobs(5, 40, 40)
    plots.histogram(slices, ax)
    assert sum(patch.get_data().values.sum() for patch in ax.patches) == pytest.approx(1, abs=0.01)


def test_dice_by_phase_shows_every_image_and_its_means(ax):
    counts = np.array([np.diag([10, 10, 10]), np.diag([10, 10, 0])])
    counts[1, 2, 0] = 10
    plots.dice_by_phase(Scores(counts, np.arange(2), np.zeros(2)), ax)
    assert [len(line.get_xdata()) for line in ax.lines] == [2, 2, 2]
    assert [text.get_text() for text in ax.texts] == ["83.33", "100.00", "50.00"]


def test_curves_show_every_evaluation(ax):
    history = [{"images": 8 * i, "dice": 0.5 + i / 10, "dice_pore": 0.5, "dice_YSZ": 0.5, "dice_nickel": 0.5,
                "train_loss": 1.0, "val_loss": 1.0} for i in range(1, 4)]
    plots.learning_curve(history, ax)
    plots.loss_curve(history, ax)
    assert all(len(line.get_xdata()) == 3 for line in ax.lines)


def test_errors_are_a_row_a_slice_and_say_how_many_pixels_are_wrong(tmp_path, home):
    slices = blobs(2, 40, 40)
    predicted = np.stack(slices.labels)
    predicted[1, :4] = (predicted[1, :4] + 1) % 3
    fig = plots.errors(slices, predicted, ["one", "two"])
    titles = [ax.get_title() for ax in fig.axes]
    assert titles[2] == "misclassified: 0.00 %" and titles[5] == "misclassified: 10.00 %"
    plots.keep(fig, tmp_path / "published/01_baseline/0123", "errors")
    assert (home / "runs/01_baseline/0123/figures/errors.png").stat().st_size > 1000
    plt.close(fig)


def test_a_slice_is_shown_with_a_bar_of_a_micrometre(ax):
    plots.show(blobs(1, 100, 100).images[0], ax, "a slice", scale_bar=True)
    assert ax.patches[0].get_width() == pytest.approx(1000 / 18.4)
