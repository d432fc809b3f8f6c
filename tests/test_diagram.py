"""The drawing of a U-Net."""

import pytest

from xraylib.diagram import draw_unet
from xraylib.unet import UNet


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_the_drawing_shows_the_channels_and_sides_of_all_feature_maps(ax):
    draw_unet(UNet(64, 4), ax)
    maps = [("64 channels", "512 x 512 px"), ("128", "256²"), ("256", "128²"), ("512", "64²"),
            ("1024", "32²"), ("512", "64²"), ("256", "128²"), ("128", "256²"), ("64", "512²")]
    assert texts(ax)[:18] == [text for pair in maps for text in pair]
    assert texts(ax)[18:22] == ["1", "image", "3", "3 phases"]
    assert "31.04 million weights" in ax.get_title()


def test_without_padding_the_input_is_larger_as_in_figure_1_of_the_paper(ax):
    draw_unet(UNet(64, 4, padding="valid"), ax, side=388)
    assert texts(ax)[1] == "568 x 568 px"                       # after two convolutions of 572 px


@pytest.mark.parametrize("n_classes", [2, 5])
def test_the_number_of_phases_and_input_channels_is_that_of_the_network(ax, n_classes):
    draw_unet(UNet(4, 2, n_classes, in_channels=5), ax)
    assert f"{n_classes} phases" in texts(ax) and texts(ax)[10] == "5"


def test_there_is_an_arrow_per_layer(ax):
    """From the image, 4 between 5 feature maps, 2 skip connections, and to the output."""
    draw_unet(UNet(4, 2), ax)
    assert sum(text.get_text() == "" for text in ax.texts) == 1 + 4 + 2 + 1
