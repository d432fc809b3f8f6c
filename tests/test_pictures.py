"""What panels show of a slice, without any widget: pictures, predictions and numbers."""

import io

import matplotlib.image
import numpy as np
import pytest
import torch
from conftest import blobs

from xraylib import widgets
from xraylib.data import NI_YSZ, Phases, Slices
from xraylib.figures import grey_picture, mask_image, pictures_in_a_row
from xraylib.inference import predict
from xraylib.losses import IGNORE
from xraylib.metrics import score_masks
from xraylib.noise import add_noise
from xraylib.unet import UNet
from xraylib.widgets import (
    Prediction,
    Predictor,
    error_numbers,
    html_legend,
    html_table,
    picture,
    png_bytes,
)

TRUTH = np.zeros((6, 6), np.uint8)
TRUTH[:, 3:] = 2
WRONG = TRUTH.copy()
WRONG[0, 0], WRONG[1, 5] = 1, 0
PREDICTION = Prediction(WRONG, np.linspace(1 / 3, 1, 36, dtype=np.float32).reshape(6, 6))
IMAGE = np.arange(36, dtype=np.uint16).reshape(6, 6) * 1000
ONE = Slices([IMAGE], [TRUTH], np.array([7]))
TEXT = "<img src=x onerror=alert(1)> & \"quoted\""
ESCAPED = "&lt;img src=x onerror=alert(1)&gt; &amp; &quot;quoted&quot;"


def phases_of(n):
    """n phases of different colours."""
    return Phases(tuple(f"phase {i}" for i in range(n)), tuple(range(n)),
                  tuple(f"#{10 * i:02x}{200 - i:02x}80" for i in range(n)))


@pytest.mark.parametrize("palette", ["rgb", "safe"])
@pytest.mark.parametrize("kind", ["misclassified", "overlay"])
def test_wrong_pixels_have_the_colour_of_their_true_phase(kind, palette):
    shown = picture(kind, IMAGE, TRUTH, PREDICTION, NI_YSZ, palette)
    colours = NI_YSZ.palette(palette)
    assert (shown[0, 0] == colours[0]).all() and (shown[1, 5] == colours[2]).all()
    right = TRUTH == WRONG
    assert (shown[right].max(1) == shown[right].min(1)).all()      # all others are grey


def test_the_other_pictures():
    masks = {"true mask": TRUTH, "prediction": WRONG}
    for kind, labels in masks.items():
        shown = picture(kind, IMAGE, TRUTH, PREDICTION, NI_YSZ)
        assert (shown == mask_image(labels, NI_YSZ)).all()
    grey = picture("image", IMAGE, TRUTH, PREDICTION, NI_YSZ)
    assert grey.min() == 0 and grey.max() == 255
    assert (np.diff(grey[..., 0].ravel().astype(int)) >= 0).all()


@pytest.mark.parametrize("n", [2, 3, 16])
def test_confidence_runs_from_one_nth_to_1(n):
    viridis = matplotlib.colormaps["viridis"]
    confidence = np.array([[1 / n, (1 / n + 1) / 2, 1, 1 / n - 1e-3, 1 + 1e-3]], np.float32)
    shown = picture("confidence", IMAGE, TRUTH, Prediction(TRUTH, confidence), phases_of(n))
    ends = viridis([0.0, 1.0], bytes=True)[:, :3]
    assert (shown[0, [0, 3]] == ends[0]).all() and (shown[0, [2, 4]] == ends[1]).all()
    assert shown.shape == (1, 5, 3) and shown.dtype == np.uint8
    assert np.abs(shown[0, 1].astype(int) - viridis(0.5, bytes=True)[:3]).max() <= 2


def test_a_picture_of_one_grey_level_is_no_reason_to_stop():
    assert not grey_picture(np.full((9, 9), 300, np.uint16)).any()


def test_pictures_stand_in_a_row_with_white_between_them():
    high, low = np.zeros((3, 2, 3), np.uint8), np.full((1, 4, 3), 7, np.uint8)
    row = pictures_in_a_row([high, low])
    assert row.shape == (3, 2 + 8 + 4, 3)
    assert not row[:, :2].any() and (row[0, 10:] == 7).all()
    assert (row[:, 2:10] == 255).all() and (row[1:, 10:] == 255).all()


def test_a_png_holds_the_pixels_of_a_picture():
    shown = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    decoded = matplotlib.image.imread(io.BytesIO(png_bytes(shown)))
    assert (np.rint(255 * decoded[..., :3]) == shown).all() and (decoded[..., 3:] == 1).all()


def test_pixels_without_a_label_are_never_wrong():
    truth = TRUTH.copy()
    truth[0], truth[2:] = IGNORE, IGNORE  # of row 1, one pixel of six is wrong
    overlay, image = (picture(kind, IMAGE, truth, PREDICTION, NI_YSZ)
                      for kind in ("overlay", "image"))
    assert np.argwhere((overlay != image).any(2)).tolist() == [[1, 5]]
    text = error_numbers(Slices([IMAGE], [truth], np.array([7])), WRONG)
    assert "16.67 %" in text and "nan" not in text


def test_a_prediction_is_made_once(monkeypatch):
    torch.manual_seed(0)
    model, slices, calls = UNet(4, 1).eval(), blobs(3, 48, 40), []
    predictor, original = Predictor(model, slices, 0), widgets.logits_of
    monkeypatch.setattr(widgets, "logits_of", lambda *a: calls.append(1) or original(*a))
    first = predictor.predict(1, 5000)
    assert predictor.predict(1, 5000) is first and len(calls) == 1
    noisy = add_noise(slices.images[1], 5000, 0, 2)
    assert (predictor.image(1, 5000) == noisy).all() and predictor.image(1, 0) is slices.images[1]
    assert (first.labels == predict(model, noisy[None])[0]).all()
    assert first.confidence.min() >= 1 / 3 - 1e-3 and first.confidence.max() <= 1


# -- HTML ------------------------------------------------------------------------------------------


def test_numbers_are_those_of_the_slice():
    text, scores = error_numbers(ONE, WRONG), score_masks([WRONG], ONE)
    assert scores.dice[0] == pytest.approx([2 * 17 / 36, np.nan, 2 * 17 / 35], nan_ok=True)
    assert f"{100 * scores.mean:.2f}<" in text and "5.56 %" in text              # 2 of 36
    assert text.count("<td") == text.count("</td") and ">–<" in text             # no YSZ
    assert "pore → YSZ" in text and "nickel → pore" in text
    assert "none is wrong" in error_numbers(ONE, TRUTH)


@pytest.mark.parametrize(("n", "pairs"), [(2, 2), (3, 6), (16, 6)])
def test_the_most_frequent_confusions_come_first(n, pairs):
    rng = np.random.default_rng(0)
    truth, labels = rng.integers(0, n, (2, 40, 40)).astype(np.uint8)
    labels[:20] = truth[:20]
    truth[:, :30], labels[30:, :30] = 1, 0
    text = error_numbers(Slices([truth], [truth], np.array([1]), phases=phases_of(n)), labels)
    listed = text.partition("True → predicted")[2]
    assert listed.count(" → ") == pairs
    assert listed.index("phase 1 → phase 0") == listed.index("phase")


def test_text_of_users_and_files_is_escaped():
    phases = Phases((TEXT, "b", "c"), (0, 1, 2), NI_YSZ.colours)
    one = Slices([IMAGE], [TRUTH], np.array([1]), phases=phases)
    for html in (html_table([[TEXT]], "heading"), html_table([], TEXT), html_legend(phases),
                 html_legend(NI_YSZ, meaning=TEXT), error_numbers(one, WRONG)):
        assert "<img" not in html and ESCAPED in html


def test_a_legend_has_a_box_in_the_colour_of_each_phase():
    html = html_legend(NI_YSZ, "rgb")
    assert html.count("<span") == 3 and "rgb(230,25,25)" in html and "nickel" in html
